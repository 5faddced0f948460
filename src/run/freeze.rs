//! A service that was ordered to freeze has frozen only if what was established stays so: its device must find out by itself.
//!
//! A service that is stopped or started anew closes its connections, which every device notices. One that then connects again has shown nothing
//! about noticing silence, and one that does not was not given any.

use super::execute::Executor;
use crate::{
    channel::cloud::EventKind,
    event::{Fact, StepId},
};

/// A service that is to be frozen.
#[derive(Debug, Clone)]
pub(super) struct Freeze {
    step: StepId,
    channel: String,
    /// First event on its log that may speak against it.
    from: u64,
}

impl Freeze {
    /// One that is about to be ordered: what the order itself does counts.
    pub(super) fn ordered(channel: &str, from: u64, step: &StepId) -> Self {
        Self { step: step.clone(), channel: channel.to_owned(), from }
    }
}

impl Executor {
    /// The frozen service, if there is one, is to do something else, or nothing more of this case comes: looks whether it was frozen.
    pub fn end_freeze(&mut self) {
        let Some(freeze) = self.freeze.take() else { return };
        let Ok(log) = self.log(&freeze.channel) else { return };
        let since = log.since(freeze.from);
        let closed = since.events.iter().find(|event| event.kind == EventKind::Disconnect && event.by_bench);
        let why = match closed {
            Some(event) => format!("the bench ended connection {} meanwhile ({})", event.connection, event.text),
            None if since.gap => "so much happened meanwhile that the oldest of it is no longer in memory".to_owned(),
            None => return,
        };
        let missing = format!("that {} fell silent and closed nothing: {why}", freeze.channel);
        self.ledger.unwitnessed.push(missing.clone());
        self.shared.recorder.fact(Fact::Unwitnessed { step: freeze.step, missing });
    }
}
