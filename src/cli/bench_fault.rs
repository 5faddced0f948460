//! Benches that are broken on purpose: the bench's own tests need them, as its plans need faulty devices.
//!
//! Only virtual benches can be broken like this (`virtual: { bench-fault: ... }`). The links of a working bench are wrapped, so that what is proven is
//! what the engine makes of an instrument that does not do what it says.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Mutex, oneshot};

use crate::{
    channel::{
        clock::{BoxFuture, Clock},
        link::{ButtonLink, LinkError, Measurand, Opened, ProbeLink, Proof, Segment, SupplyLink},
        probe::LockReading,
    },
    event::Witness,
    rig::model::BenchFault,
    virtual_dut::bench::VirtualBench,
};

/// How much later a late supply does what it says.
const LATE: Duration = Duration::from_secs(2);

/// The opened channel of a bench with this fault.
pub(super) fn broken(opened: Opened, fault: BenchFault, bench: &Arc<VirtualBench>) -> Opened {
    match (opened, fault) {
        (Opened::Supply(inner), BenchFault::Welded) => Opened::Supply(Box::new(Welded { inner, closed: false })),
        (Opened::Supply(inner), BenchFault::BlindSupply) => Opened::Supply(Box::new(Blind(inner))),
        (Opened::Button(_), BenchFault::OpenButton) => Opened::Button(Box::new(OpenButton)),
        (Opened::Probe(inner), BenchFault::OpenProbe) => Opened::Probe(Box::new(OpenProbe { inner, bench: Arc::clone(bench) })),
        (Opened::Supply(inner), BenchFault::LateSupply) => Opened::Supply(Box::new(LateSupply::new(inner, bench.clock()))),
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

/// A probe whose wire comes off once the device has been written: what follows could be taken for a closed port.
struct OpenProbe {
    inner: Box<dyn ProbeLink>,
    bench: Arc<VirtualBench>,
}

impl ProbeLink for OpenProbe {
    fn flash(&mut self, segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let proof = self.inner.flash(segments, erase_all).await?;
            self.bench.pull_probe_wire();
            Ok(proof)
        })
    }

    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.inner.reset()
    }

    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>> {
        self.inner.read(address, len)
    }

    fn lock_state(&mut self, family: Option<String>) -> BoxFuture<'_, Result<LockReading, LinkError>> {
        self.inner.lock_state(family)
    }
}

/// A supply that says at once what it does later.
struct LateSupply {
    inner: Arc<Mutex<Box<dyn SupplyLink>>>,
    clock: Arc<dyn Clock>,
    said: Option<bool>,
}

impl LateSupply {
    fn new(inner: Box<dyn SupplyLink>, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), clock, said: None }
    }
}

impl SupplyLink for LateSupply {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.said = Some(up);
            let (clock, inner, due) = (Arc::clone(&self.clock), Arc::clone(&self.inner), self.clock.now().after(LATE));
            let (asleep, is_asleep) = oneshot::channel();
            tokio::spawn(async move {
                let mut sleep = clock.sleep_until(due);
                // Time on a virtual bench passes to the earliest who sleeps: this one has to be among them before anybody else goes on.
                let first = std::future::poll_fn(|context| std::task::Poll::Ready(sleep.as_mut().poll(context))).await;
                let _ = asleep.send(());
                if first.is_pending() {
                    sleep.await;
                }
                // Nobody reads what this supply really does: that is what is wrong with it.
                drop(inner.lock().await.set(up).await);
            });
            is_asleep.await.map_err(|_| LinkError::new("switch the supply", "its task is gone"))?;
            let what = format!("the supply says that it is {}", if up { "up" } else { "down" });
            Ok(Proof::Seen(Witness { what, evidence: None }))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(std::future::ready(Ok(self.said)))
    }
}
