//! Drivers that open a model in place of an instrument.

use std::sync::Arc;

use hilbench::channel::{
    clock::BoxFuture,
    link::{ChannelKind, Driver, LinkError, Opened, Parameters},
};

struct Fake<F>(&'static str, ChannelKind, &'static str, F);

impl<F: Fn() -> Opened + Send + Sync> Driver for Fake<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn kind(&self) -> ChannelKind {
        self.1
    }
    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[]
    }
    fn identity(&self, _: &Parameters) -> Result<String, LinkError> {
        Ok(self.2.to_owned())
    }
    fn open<'a>(&'a self, _: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async { Ok((self.3)()) })
    }
}

/// A driver by its name in rigs, for an instrument of this identity; `open` makes the model's link, anew at each opening.
pub(crate) fn fake(
    name: &'static str,
    kind: ChannelKind,
    identity: &'static str,
    open: impl Fn() -> Opened + Send + Sync + 'static,
) -> Arc<dyn Driver> {
    Arc::new(Fake(name, kind, identity, open))
}
