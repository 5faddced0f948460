//! Benches that are broken on purpose: the bench's own tests need them, as its plans need faulty devices.
//!
//! Only virtual benches can be broken like this (`virtual: { bench-fault: ... }`). The links of a working bench are wrapped, so that what is proven is
//! what the engine makes of an instrument that does not do what it says.

use crate::{
    channel::{
        clock::BoxFuture,
        link::{ButtonLink, LinkError, Measurand, Opened, Proof, SupplyLink},
    },
    rig::model::BenchFault,
};

/// The opened channel of a bench with this fault.
pub(super) fn broken(opened: Opened, fault: BenchFault) -> Opened {
    match (opened, fault) {
        (Opened::Supply(inner), BenchFault::Welded) => Opened::Supply(Box::new(Welded { inner, closed: false })),
        (Opened::Supply(inner), BenchFault::BlindSupply) => Opened::Supply(Box::new(Blind(inner))),
        (Opened::Button(_), BenchFault::OpenButton) => Opened::Button(Box::new(OpenButton)),
        (opened, _) => opened,
    }
}

/// A relay whose contact stays closed once it was.
struct Welded {
    inner: Box<dyn SupplyLink>,
    closed: bool,
}

impl SupplyLink for Welded {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            if up || !self.closed {
                self.closed |= up;
                return self.inner.set(up).await;
            }
            let what = match self.inner.is_up().await? {
                Some(true) => "the rail is still up: it did not follow",
                _ => "the rail cannot be read back",
            };
            Err(LinkError::new("switch the supply down", what))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        self.inner.is_up()
    }
}

/// A supply whose read-back is not wired.
struct Blind(Box<dyn SupplyLink>);

impl SupplyLink for Blind {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.0.set(up).await?;
            Ok(Proof::None("a read-back of the rail".to_owned()))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async { Ok(None) })
    }

    fn measure(&mut self, _: Measurand) -> BoxFuture<'_, Result<Option<f64>, LinkError>> {
        Box::pin(async { Ok(None) })
    }
}

/// A button whose wire has come off: the contact closes, and nothing is pulled.
struct OpenButton;

impl ButtonLink for OpenButton {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let level = if pressed { "the pin reads high with the contact closed" } else { "the pin reads high" };
        Box::pin(async move { Ok(Proof::None(level.to_owned())) })
    }
}
