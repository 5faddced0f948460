//! Debug probes, through probe-rs.
//!
//! [`ProbeRsLink`] does each operation as a session of its own: open the probe, attach, act, detach. Between operations no debugger is
//! on the device, so what is observed then is the device as a customer has it (an enabled debug unit changes sleep, lock-up and
//! watchdog), and a power cut between two operations cannot leave a dead session behind. Attaching costs some ten milliseconds.
//!
//! probe-rs blocks, so each link has a thread, on which sessions also end. A step that gives up waiting does not cut an operation in the
//! middle: it is finished, and the next one waits for it.
//!
//! Nothing is erased that was not asked for: sessions have no permission to erase, except that of a `flash` with `erase_all`.

mod examine;
mod failure;
pub mod lock;
mod nrf51;
mod operations;

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread,
};

use probe_rs::probe::DebugProbeSelector;
use tokio::sync::oneshot;

use crate::channel::{
    clock::BoxFuture,
    finding::{Finding, look_at},
    link::{ChannelKind, Driver, LinkError, Opened, Parameters, ProbeLink, Proof, Segment},
};

use failure::Failure;
use operations::Instrument;
pub use operations::Listed;

/// Operations that may wait for the one at work. More than one only waits if steps gave up on their own.
const QUEUE: usize = 8;

type Job = Box<dyn FnOnce(&Instrument) + Send>;

/// A debug probe with a chip at its other end. See the [module](self) for how it behaves.
#[derive(Debug)]
pub struct ProbeRsLink {
    instrument: Instrument,
    worker: Option<SyncSender<Job>>,
}

impl ProbeRsLink {
    /// A link to the probe that `selector` (`VID:PID:SERIAL`) names, with a `chip` by its probe-rs name. `identity` is what messages
    /// call it: `probe-rs 0d28:0204:99...`. Nothing is touched before the first operation.
    #[must_use]
    pub fn new(selector: String, chip: String, identity: String) -> Self {
        Self { instrument: Instrument { selector, chip, identity, speed_khz: None }, worker: None }
    }

    /// Uses this clock on the wire, in kHz, or the probe's next lower one.
    #[must_use]
    pub fn at_speed(mut self, khz: u32) -> Self {
        self.instrument.speed_khz = Some(khz);
        self
    }

    /// Checks that the chip is known and that the probe is there and can be opened. The device does not notice.
    pub async fn check(&mut self) -> Result<(), LinkError> {
        self.act("open", Instrument::check).await
    }

    /// Reads the lock of a device of this family, without a session: what is not read is left as it is. The transcript is evidence, and
    /// [`lock::decode`] gives its verdict. A device that refuses or is silent is in the transcript; an error is a fault of the bench.
    pub async fn read_lock(&mut self, family: lock::Family) -> Result<lock::Transcript, LinkError> {
        self.act("read the lock", move |instrument| instrument.read_lock(family)).await
    }

    /// Runs one operation on the worker thread.
    async fn act<T: Send + 'static>(
        &mut self,
        verb: &'static str,
        operation: impl FnOnce(&Instrument) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LinkError> {
        let named = format!("{verb} with {}", self.instrument.identity);
        let gone = |what: &str| LinkError { operation: named.clone(), what: what.to_owned(), lost: true };
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |instrument| {
            // Nobody listens any more if the step gave up; the operation was still done.
            let _ = answer.send(operation(instrument));
        });
        let worker = match &self.worker {
            Some(worker) => worker,
            None => self.worker.insert(start(self.instrument.clone()).map_err(|error| gone(&format!("no thread: {error}")))?),
        };
        match worker.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(LinkError::new(named.clone(), "earlier operations that nobody waits for any more are still at work"));
            }
            Err(TrySendError::Disconnected(_)) => return Err(gone("the probe's thread has ended")),
        }
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(failure.into_link_error(named)),
            Err(_) => Err(gone("the probe driver panicked; unplug the probe and plug it in again")),
        }
    }
}

/// Starts the thread of one link. It ends when the link is dropped and the operation at work is done.
fn start(instrument: Instrument) -> std::io::Result<SyncSender<Job>> {
    let (jobs, queue) = sync_channel::<Job>(QUEUE);
    thread::Builder::new().name("probe".to_owned()).spawn(move || {
        for job in queue {
            // Some drivers of probe-rs panic on wires that misbehave; the answer's sender is dropped with the job and tells of it.
            let _ = catch_unwind(AssertUnwindSafe(|| job(&instrument)));
        }
    })?;
    Ok(jobs)
}

impl ProbeLink for ProbeRsLink {
    fn flash(&mut self, segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.act("flash", move |instrument| instrument.flash(&segments, erase_all)))
    }

    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.act("reset", Instrument::reset))
    }

    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>> {
        Box::pin(self.act("read memory", move |instrument| instrument.read(address, len)))
    }
}

/// The driver `probe-rs` of rig files: any probe that probe-rs supports.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProbeRs;

impl ProbeRs {
    fn selector(parameters: &Parameters) -> Result<DebugProbeSelector, LinkError> {
        let text = required(parameters, "probe")?;
        DebugProbeSelector::from_str(text).map_err(|error| {
            LinkError::new(format!("find probe {text:?}"), format!("{error}; write it as VID:PID or VID:PID:SERIAL in hex"))
        })
    }

    fn link(parameters: &Parameters) -> Result<ProbeRsLink, LinkError> {
        let selector = Self::selector(parameters)?.to_string();
        let identity = format!("probe-rs {selector}");
        let link = ProbeRsLink::new(selector, required(parameters, "chip")?.to_owned(), identity.clone());
        match parameters.values.get("speed") {
            None => Ok(link),
            Some(text) => match text.trim().trim_end_matches("kHz").trim_end().parse() {
                Ok(khz) if khz > 0 => Ok(link.at_speed(khz)),
                _ => {
                    Err(LinkError::new(format!("open {identity}"), format!("speed {text:?} is not a clock; write it as 4000kHz")))
                }
            },
        }
    }
}

/// Debug probes that are there, by their USB identity. None is opened.
#[must_use]
pub fn listed() -> Vec<Listed> {
    operations::listed()
}

/// The probe that a selector without a serial number means, if there is exactly one: one probe has one identity. `list` says which are there.
fn full(selector: &DebugProbeSelector, list: impl FnOnce() -> Vec<Listed>) -> Option<String> {
    if selector.serial_number.is_some() {
        return None;
    }
    let mut fitting =
        list().into_iter().filter(|probe| (probe.vendor, probe.product) == (selector.vendor_id, selector.product_id));
    let one = fitting.next()?;
    fitting.next().is_none().then(|| one.to_string())
}

fn required<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, LinkError> {
    match parameters.values.get(name) {
        Some(value) => Ok(value),
        None => Err(LinkError::new("open probe", format!("the parameter `{name}` is missing"))),
    }
}

impl Driver for ProbeRs {
    fn name(&self) -> &'static str {
        "probe-rs"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Probe
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("probe", true, "the debug probe as VID:PID or VID:PID:SERIAL"),
            ("chip", true, "the chip by its probe-rs name, such as nRF51822_xxAA"),
            ("speed", false, "clock on the wire, such as 4000kHz"),
        ]
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        let selector = Self::selector(parameters)?;
        Ok(format!("debug probe {}", full(&selector, listed).unwrap_or_else(|| selector.to_string())))
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            let selector = match Self::selector(parameters) {
                Ok(selector) => selector,
                Err(error) => return vec![error.into()],
            };
            let denied = tokio::task::spawn_blocking(move || examine::obstacle(&selector)).await;
            match denied {
                Ok(Some(obstacle)) => vec![obstacle],
                _ => look_at(self.open(parameters).await).await,
            }
        })
    }

    fn writable(&self, parameters: &Parameters) -> Result<Option<Vec<Range<u64>>>, LinkError> {
        let chip = required(parameters, "chip")?;
        operations::writable(chip).map(Some).map_err(|failure| LinkError::new(format!("look up chip {chip:?}"), failure.text))
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let mut link = Self::link(parameters)?;
            link.check().await?;
            Ok(Opened::Probe(Box::new(link)))
        })
    }
}

#[cfg(test)]
mod tests;
