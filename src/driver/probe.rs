//! Debug probes, through probe-rs.
//!
//! [`ProbeRsLink`] does each operation as a session of its own: open the probe, attach, act, detach. Between operations no debugger is
//! on the device, so what is observed then is the device as a customer has it (an enabled debug unit changes sleep, lock-up and
//! watchdog), and a power cut between two operations cannot leave a dead session behind. Attaching costs some ten milliseconds.
//!
//! probe-rs blocks, and some of its drivers hang, panic or crash on probes that misbehave. So the operations of hardware are done in a worker
//! process of the same executable ([`serve()`]), which is ended when an operation takes too long; whatever happens to it is a fault of the bench.
//! The virtual probe lives in this process, so its operations are done here, on a thread of their own. A step that gives up waiting does
//! not cut an operation in the middle: it is finished, and the next one waits for it.
//!
//! Nothing is erased that was not asked for: sessions have no permission to erase, except that of a `flash` with `erase_all`. If the rig says
//! which unit is on it (`unit`), no other one is changed: every session that changes something compares the chip's own identity first.

mod examine;
mod failure;
mod frame;
mod link;
pub mod lock;
mod nrf51;
mod operations;
mod order;
mod rtt;
mod serve;
mod worker;

use std::{ops::Range, str::FromStr, time::Duration};

use probe_rs::probe::DebugProbeSelector;

use crate::{
    channel::{
        clock::BoxFuture,
        finding::{Finding, look_at},
        link::{ChannelKind, Driver, LinkError, Opened, POWERED_BY, Parameters, RETURNS_WITHIN, RETURNS_WITHIN_DEFAULT},
    },
    units::Span,
};

pub use link::ProbeRsLink;
use link::Stations;
pub use operations::Listed;
use order::Unit;
pub use rtt::Rtt;
pub use serve::serve;

/// The driver `probe-rs` of rig files: any probe that probe-rs supports.
#[derive(Debug, Clone, Default)]
pub struct ProbeRs {
    worker: Option<Vec<String>>,
    stations: Stations,
}

impl ProbeRs {
    /// Does the operations in this process, on a thread that nothing can end: for probes that live in it.
    #[must_use]
    pub fn in_process() -> Self {
        Self::default()
    }

    /// Does the operations in a process that this command starts, which has to run [`serve`](fn@serve).
    #[must_use]
    pub fn with_worker(command: Vec<String>) -> Self {
        Self { worker: Some(command), ..Self::default() }
    }

    fn selector(parameters: &Parameters) -> Result<DebugProbeSelector, LinkError> {
        let text = required(parameters, "probe")?;
        DebugProbeSelector::from_str(text).map_err(|error| {
            LinkError::new(format!("find probe {text:?}"), format!("{error}; write it as VID:PID or VID:PID:SERIAL in hex"))
        })
    }

    fn link(&self, parameters: &Parameters) -> Result<ProbeRsLink, LinkError> {
        let selector = Self::selector(parameters)?.to_string();
        let identity = format!("probe-rs {selector}");
        let wrong = |what: String| LinkError::new(format!("open {identity}"), what);
        let chip = required(parameters, "chip")?;
        let value = |name: &str| parameters.values.get(name).map(|value| value.trim());
        let time = |name: &str, default: Duration| match value(name) {
            None => Ok(default),
            Some(text) => {
                text.parse().map(Span::duration).map_err(|error| wrong(format!("`{name}: {text}` is not a time: {error}")))
            }
        };
        let unit = Unit::parse(value("unit"), value("unit-at"), chip).map_err(wrong)?;
        let timeout = time("operation-timeout", link::TIMEOUT)?;
        if timeout < Duration::from_secs(1) {
            return Err(wrong("`operation-timeout` must be a second at least".to_owned()));
        }
        let mut link = ProbeRsLink::new(selector.clone(), chip.to_owned(), identity.clone())
            .at(&self.stations)
            .with_timeout(timeout)
            .returns_within(time(RETURNS_WITHIN, RETURNS_WITHIN_DEFAULT)?)
            .for_unit(unit);
        if let Some(command) = &self.worker {
            link = link.in_process(command.clone());
        }
        match value("speed") {
            None => Ok(link),
            Some(text) => match text.trim_end_matches("kHz").trim_end().parse() {
                Ok(khz) if khz > 0 => Ok(link.at_speed(khz)),
                _ => Err(wrong(format!("speed {text:?} is not a clock; write it as 4000kHz"))),
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
            ("unit", false, "identity of the chip in hex, as it stands in memory; no other board is changed"),
            ("unit-at", false, "where that identity is, such as 0x10000060/8; known for nRF51 and nRF52"),
            (POWERED_BY, false, "supply channel that the probe hangs on too: it need not be there when the rig is opened"),
            (RETURNS_WITHIN, false, "how long a probe is looked for that is not there; 10s unless given"),
            ("operation-timeout", false, "longest time of an operation, besides that for its bytes; 60s unless given"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        self.link(parameters).map(drop)
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
            let mut link = self.link(parameters)?;
            // A probe on the device's own board is not there while the device has no power, and this is before anything is switched.
            if parameters.powered_by().is_none() {
                link.check().await?;
            }
            Ok(Opened::Probe(Box::new(link)))
        })
    }
}

#[cfg(test)]
mod tests;
