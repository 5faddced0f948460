//! Steps on the device's USB port.
//!
//! What the device does on a transfer is observed and judged; what the bench cannot do is a fault. Between the two stands a device that leaves the
//! bus while a transfer runs: its firmware may have broken down, or a hand may have pulled the cable, and one departure cannot tell. So
//! the same transfer is done again once the device is back. Only a device that leaves again has done so because of it ([`Outcome::Leaves`]);
//! everything else about a departure is inconclusive.

mod descriptors;
mod dfu;
mod judge;
mod sweep;

use std::{sync::Arc, time::Duration};

use super::{
    execute::{Executor, Passed, StepResult, failed, out_of_time},
    outcome::{Ended, code},
    values,
};
use crate::{
    channel::usb::{Answer, Dump, Pipe, Setup, Transfer},
    event::{Act, ChannelName, EvidenceRef, Fact, Nanos, StepId, Verdict},
    step::usb::UsbStep,
};

/// How often the bus is looked at while a step waits for a change.
const LOOK: Duration = Duration::from_millis(20);
/// Time for a device that left the bus on a transfer to come back.
const RETURN: Duration = Duration::from_secs(15);
/// Time for the request that shows that a device still answers.
const WITNESS: Duration = Duration::from_secs(2);

/// A step and its channel.
#[derive(Clone, Copy)]
struct On<'a> {
    channel: &'a str,
    id: &'a StepId,
}

/// What came of a transfer.
enum Outcome {
    /// The device's answer; never [`Answer::Left`].
    Answer(Answer),
    /// The device leaves the bus on this transfer, twice in a row.
    Leaves,
}

impl Executor {
    pub(super) async fn usb(&mut self, channel: &str, step: &UsbStep, id: &StepId) -> StepResult {
        let on = On { channel, id };
        if !self.shared.bench.usbs.contains_key(channel) {
            return Err(Ended::fault(format!("the rig has no USB channel {channel}")));
        }
        if !matches!(step, UsbStep::Presence { .. }) {
            let what = step.describe(channel);
            self.shared.bench.announce(channel, Act::Exchange { what }, Some(id)).await?;
            self.mark_all();
        }
        match step {
            UsbStep::Presence { present, within, fail_as } => {
                let allowed = values::span(within, &self.shared.device)?;
                let own = self.shared.bench.clock.now().after(allowed);
                let until = own.min(self.deadline);
                let place = self.usb_await(on, *present, until).await?;
                if place.is_some() == *present {
                    let what = place.map_or_else(|| "gone from the bus".to_owned(), |place| format!("on the bus at {place}"));
                    self.usb_observed(on, what, None);
                    return Ok(Passed { evidence: Vec::new(), judged: true });
                }
                if own > self.deadline {
                    return Err(out_of_time());
                }
                let seen = place.map_or_else(|| "not on the bus".to_owned(), |place| format!("still on the bus at {place}"));
                Err(failed(Some(fail_as), "", &format!("{channel} was {seen} after {allowed:?}")))
            }
            UsbStep::Descriptors { fail_as } => self.usb_descriptors(on, fail_as).await,
            UsbStep::Transfer { pipe, data, length, within, must, pattern, silence, fail_as } => {
                let within = values::span(within, &self.shared.device)?;
                let pattern = match pattern {
                    Some(pattern) => {
                        let source = self.pattern(pattern)?;
                        Some((super::execute::compile(&source)?, source))
                    }
                    None => None,
                };
                let transfer = Transfer { pipe: *pipe, data: data.clone(), length: *length, within, interface: None };
                let outcome = self.usb_transfer(on, transfer).await?;
                let what = match &outcome {
                    Outcome::Answer(answer) => format!("{pipe}: it {answer}"),
                    Outcome::Leaves => format!("{pipe}: it leaves the bus, twice in a row"),
                };
                let evidence = match &outcome {
                    Outcome::Answer(Answer::Done(bytes)) if !bytes.is_empty() => self.usb_evidence(on, "bin", bytes),
                    _ => None,
                };
                self.usb_observed(on, what.clone(), evidence.clone());
                let evidence: Vec<_> = evidence.into_iter().collect();
                let asked = judge::Asked { sent: data.len(), must: *must, pattern, silence: *silence, fail_as: fail_as.as_ref() };
                match judge::transfer(&asked, &outcome, &what) {
                    Ok(judged) => Ok(Passed { evidence, judged }),
                    Err(ended) => Err(ended.with(evidence)),
                }
            }
            UsbStep::VendorSweep { sweep, within, fail_as } => {
                let end = self.usb_end(values::span(within, &self.shared.device)?);
                self.usb_sweep(on, sweep, end, fail_as).await
            }
            UsbStep::DfuUpload { bytes, within, fail_as } => {
                let end = self.usb_end(values::span(within, &self.shared.device)?);
                self.usb_dfu_upload(on, *bytes as usize, end, fail_as).await
            }
        }
    }

    fn usb_end(&self, within: Duration) -> Nanos {
        self.shared.bench.clock.now().after(within).min(self.deadline)
    }

    fn usb_observed(&self, on: On<'_>, what: String, evidence: Option<EvidenceRef>) {
        let (step, channel) = (Some(on.id.clone()), ChannelName::new(on.channel));
        self.shared.recorder.fact(Fact::Observed { step, channel, what, evidence });
    }

    /// A file of evidence, named after the step.
    fn usb_evidence(&self, on: On<'_>, name: &str, bytes: &[u8]) -> Option<EvidenceRef> {
        let step = on.id.as_str().replace(['/', '.'], "-");
        self.shared.recorder.evidence(&format!("{step}-{}.{name}", on.channel), bytes)
    }

    /// Where the device is, once it is there or gone as asked for, or when the time is over.
    async fn usb_await(&self, on: On<'_>, present: bool, until: Nanos) -> Result<Option<String>, Ended> {
        let shared = Arc::clone(&self.shared);
        let port = shared.bench.usbs.get(on.channel).ok_or_else(|| Ended::fault("no such USB channel"))?;
        loop {
            let place = self.bounded(async { port.lock().await.place().await }).await??;
            if place.is_some() == present || shared.bench.clock.now() >= until {
                return Ok(place);
            }
            self.pause(LOOK).await?;
        }
    }

    async fn usb_dump(&self, on: On<'_>) -> Result<Dump, Ended> {
        let shared = Arc::clone(&self.shared);
        let port = shared.bench.usbs.get(on.channel).ok_or_else(|| Ended::fault("no such USB channel"))?;
        let dump = self.bounded(async { port.lock().await.descriptors().await }).await??;
        dump.ok_or_else(|| absent(on))
    }

    /// One transfer, and nothing more: a departure is only an answer here.
    async fn usb_once(&self, on: On<'_>, transfer: &Transfer) -> Result<Answer, Ended> {
        let shared = Arc::clone(&self.shared);
        let port = shared.bench.usbs.get(on.channel).ok_or_else(|| Ended::fault("no such USB channel"))?;
        let left = self.deadline.since(shared.bench.clock.now());
        if left.is_zero() {
            return Err(out_of_time());
        }
        let short = transfer.within > left;
        let transfer = Transfer { within: transfer.within.min(left), ..transfer.clone() };
        let answer = self.bounded(async { port.lock().await.transfer(transfer).await }).await??;
        // Time that the bench did not give is not held against the device.
        if short && answer == Answer::Silent { Err(out_of_time()) } else { Ok(answer) }
    }

    /// One transfer. If the device leaves the bus on it, the transfer is done again once the device is back.
    async fn usb_transfer(&self, on: On<'_>, transfer: Transfer) -> Result<Outcome, Ended> {
        let answer = self.usb_once(on, &transfer).await?;
        if answer != Answer::Left {
            return Ok(Outcome::Answer(answer));
        }
        self.usb_observed(on, format!("left the bus during a transfer ({})", transfer.pipe), None);
        let inconclusive = |text: String| Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text);
        let until = self.usb_end(RETURN);
        let Some(place) = self.usb_await(on, true, until).await? else {
            return Err(inconclusive(format!(
                "{} left the bus during a transfer ({}) and did not come back within {RETURN:?}; \
                 whether the device, its cable or its supply did that cannot be told",
                on.channel, transfer.pipe
            )));
        };
        self.usb_observed(on, format!("back on the bus at {place}; the transfer is done again"), None);
        match self.usb_once(on, &transfer).await? {
            Answer::Left => Ok(Outcome::Leaves),
            answer => Err(inconclusive(format!(
                "{} left the bus during a transfer ({}), but when it was done again it {answer}; \
                 the cable, the supply or chance may have done that",
                on.channel, transfer.pipe
            ))),
        }
    }

    /// Whether the device answers a request that every device must answer: the witness that other silence and refusal were meant.
    async fn usb_answers(&self, on: On<'_>) -> Result<bool, Ended> {
        // GET_DESCRIPTOR of the device descriptor (USB 2.0 specification, 9.4.3).
        let setup = Setup { kind: 0x80, request: 6, value: 0x0100, index: 0 };
        let answer = self.usb_once(on, &Transfer::request(setup, 18, WITNESS)).await?;
        Ok(matches!(answer, Answer::Done(bytes) if bytes.len() >= 8))
    }
}

fn absent(on: On<'_>) -> Ended {
    Ended::judged(Verdict::Inconclusive, code::SILENT, format!("{} is not on the bus", on.channel))
}

/// A request with an interface claimed.
const fn to_interface(kind: u8, request: u8, value: u16, setting: (u8, u8), length: u16, within: Duration) -> Transfer {
    let setup = Setup { kind, request, value, index: setting.0 as u16 };
    Transfer { pipe: Pipe::Control(setup), data: Vec::new(), length, within, interface: Some(setting) }
}
