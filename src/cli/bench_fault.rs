//! Benches that are broken on purpose: the bench's own tests need them, as its plans need faulty devices.
//!
//! Only virtual benches can be broken like this (`virtual: { bench-fault: ... }`). The links of a working bench are wrapped, so that what is proven is
//! what the engine makes of an instrument that does not do what it says.

use std::{sync::Arc, time::Duration};

use crate::{
    channel::{
        clock::{BoxFuture, Clock},
        cloud::{Behaviour, CloudLink, CloudLog},
        link::{
            ButtonLink, ChannelKind, Driver, LinkError, Measurand, Opened, Parameters, ProbeLink, Proof, Segment, SupplyLink,
        },
        probe::LockReading,
    },
    driver::cloud::CloudMqtt,
    event::{Nanos, Witness},
    rig::model::BenchFault,
    virtual_dut::bench::VirtualBench,
};

/// How long the capacitors of a slow supply hold its rail.
const HOLDS: Duration = Duration::from_secs(2);

/// The opened channel of a bench with this fault.
pub(super) fn broken(opened: Opened, fault: BenchFault, bench: &Arc<VirtualBench>) -> Opened {
    match (opened, fault) {
        (Opened::Supply(inner), BenchFault::Welded) => Opened::Supply(Box::new(Welded { inner, closed: false })),
        (Opened::Supply(inner), BenchFault::BlindSupply) => Opened::Supply(Box::new(Blind(inner))),
        (Opened::Button(_), BenchFault::OpenButton) => Opened::Button(Box::new(OpenButton)),
        (Opened::Probe(inner), BenchFault::OpenProbe) => Opened::Probe(Box::new(OpenProbe { inner, bench: Arc::clone(bench) })),
        (Opened::Supply(inner), BenchFault::SlowSupply) => {
            Opened::Supply(Box::new(SlowSupply { inner, clock: bench.clock(), down_since: None }))
        }
        (Opened::Probe(inner), BenchFault::WrongRegion) => Opened::Probe(Box::new(WrongRegion(inner))),
        (Opened::Probe(inner), BenchFault::MisplacedImage) => Opened::Probe(Box::new(MisplacedImage(inner))),
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

/// A probe whose addresses lack their upper bits: what it reads is the first part of the flash, again and again.
struct WrongRegion(Box<dyn ProbeLink>);

/// Bytes that this probe's addresses reach.
const REACHED: u32 = 16 << 10;

impl ProbeLink for WrongRegion {
    fn flash(&mut self, segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.0.flash(segments, erase_all)
    }

    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.0.reset()
    }

    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>> {
        Box::pin(async move {
            let first = match self.0.read(0, REACHED).await? {
                Ok(first) => first,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let from = (address % REACHED) as usize;
            Ok(Ok(first.iter().copied().cycle().skip(from).take(len as usize).collect()))
        })
    }

    fn lock_state(&mut self, family: Option<String>) -> BoxFuture<'_, Result<LockReading, LinkError>> {
        self.0.lock_state(family)
    }
}

/// A probe that was given a wrong address: what it writes is written, and lies where the device does not look for what it runs.
struct MisplacedImage(Box<dyn ProbeLink>);

/// How far off: the size of one slot of the lock.
const OFF: u32 = 40 << 10;

impl ProbeLink for MisplacedImage {
    fn flash(&mut self, mut segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        if !erase_all {
            segments.iter_mut().for_each(|segment| segment.address += OFF);
        }
        self.0.flash(segments, erase_all)
    }

    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.0.reset()
    }

    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>> {
        self.0.read(address, len)
    }

    fn lock_state(&mut self, family: Option<String>) -> BoxFuture<'_, Result<LockReading, LinkError>> {
        self.0.lock_state(family)
    }
}

/// A supply behind large capacitors: it says that the rail is down, and the rail holds for a while. A shorter cut never reaches the device.
struct SlowSupply {
    inner: Box<dyn SupplyLink>,
    clock: Arc<dyn Clock>,
    down_since: Option<Nanos>,
}

impl SupplyLink for SlowSupply {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let what = format!("the supply says that it is {}", if up { "up" } else { "down" });
            match (up, self.down_since.take()) {
                (true, Some(since)) if now.since(since) < HOLDS => {}
                (true, since) => {
                    if since.is_some() {
                        self.inner.set(false).await?;
                    }
                    self.inner.set(true).await?;
                }
                (false, since) => self.down_since = since.or(Some(now)),
            }
            Ok(Proof::Seen(Witness { what, evidence: None }))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(std::future::ready(Ok(Some(self.down_since.is_none()))))
    }
}

/// The driver of a service that is started anew when it is told to freeze, as by a script that knows no better way.
pub(super) struct RestartedService;

impl Driver for RestartedService {
    fn name(&self) -> &'static str {
        CloudMqtt.name()
    }

    fn kind(&self) -> ChannelKind {
        CloudMqtt.kind()
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        CloudMqtt.parameters()
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        CloudMqtt.check(parameters)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        CloudMqtt.identity(parameters)
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            Ok(match CloudMqtt.open(parameters).await? {
                Opened::Cloud(inner) => Opened::Cloud(Box::new(Restarted(inner))),
                other => other,
            })
        })
    }
}

struct Restarted(Box<dyn CloudLink>);

impl CloudLink for Restarted {
    fn behave(&mut self, behaviour: Behaviour) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let instead = if behaviour == Behaviour::Silent { Behaviour::Drop } else { behaviour };
        self.0.behave(instead)
    }

    fn log(&self) -> Arc<CloudLog> {
        self.0.log()
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn publish(&mut self, topic: String, payload: Vec<u8>) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.0.publish(topic, payload)
    }
}
