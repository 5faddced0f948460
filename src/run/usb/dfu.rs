//! The attempt to read firmware through firmware update interfaces.
//!
//! USB Device Firmware Upgrade 1.1: requests in table 3.2, states in 6.1.2, the functional descriptor in 4.1.3. ST's variant (AN3156, version
//! 1.1a in the functional descriptor) gives its commands as block 0 and memory from block 2 on. Nothing is written: besides the upload there are
//! only GETSTATUS, CLRSTATUS and ABORT, which move the state machine back to idle.

use std::time::Duration;

use super::{On, Outcome, to_interface};
use crate::{
    channel::usb::{
        Answer,
        descriptors::{Configuration, Tree},
    },
    event::{Nanos, Verdict},
    run::{
        execute::{Executor, Passed, StepResult, failed},
        outcome::{Ended, code},
    },
    step::FailAs,
};

/// Time for one request. Reading flash and answering is quick; some devices are slow to refuse.
const REQUEST: Duration = Duration::from_secs(3);
/// Requests to an interface: type class.
const READ: u8 = 0xA1;
const WRITE: u8 = 0x21;
const UPLOAD: u8 = 2;
const GETSTATUS: u8 = 3;
const CLRSTATUS: u8 = 4;
const ABORT: u8 = 6;
const STATE_ERROR: u8 = 10;
/// Functional descriptor.
const FUNCTIONAL: u8 = 0x21;
/// Version that marks ST's variant.
const ST: u16 = 0x011A;

/// A firmware update interface, or one of its alternate settings: those are parts of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    setting: (u8, u8),
    /// It is in firmware update mode, not in the run-time mode that only offers to go there.
    update_mode: bool,
    size: u16,
    first: u16,
}

/// What one place gave.
struct Tried {
    bytes: Vec<u8>,
    /// Why there were no more.
    end: String,
    /// It answered neither way.
    unclear: bool,
}

impl Executor {
    pub(super) async fn usb_dfu_upload(&mut self, on: On<'_>, limit: usize, end: Nanos, fail_as: &FailAs) -> StepResult {
        let dump = self.usb_dump(on).await?;
        let tree = Tree::read(dump.now.as_ref().unwrap_or(&dump.arrival));
        let places = places(&tree);
        if places.is_empty() {
            if !tree.problems.is_empty() {
                return Err(inconclusive(code::UNEXPECTED, format!("its descriptors are broken: {}", tree.problems.join("; "))));
            }
            self.usb_observed(on, "it has no firmware update interface".to_owned(), None);
            return Ok(Passed { evidence: Vec::new(), judged: true });
        }
        let (mut evidence, mut found, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            if self.shared.bench.clock.now() >= end {
                unclear.push("the time was over before all interfaces were tried".to_owned());
                break;
            }
            let tried = self.usb_upload(on, place, limit, end).await?;
            let (number, alternate) = place.setting;
            let mode = if place.update_mode { "in update mode" } else { "in run-time mode; its update mode is another device" };
            let what =
                format!("interface {number} setting {alternate} ({mode}): {} bytes, then {}", tried.bytes.len(), tried.end);
            let stored = if tried.bytes.is_empty() { None } else { self.usb_evidence(on, "dfu.bin", &tried.bytes) };
            self.usb_observed(on, what.clone(), stored.clone());
            evidence.extend(stored);
            match tried.bytes.first() {
                // Erased flash, or a device that hides what is there: nothing of the firmware has been shown.
                Some(first) if tried.bytes.iter().all(|byte| byte == first) => unclear.push(format!("{what}, all {first:#04x}")),
                Some(_) => found.push(what),
                None if tried.unclear => unclear.push(what),
                None => {}
            }
        }
        if !found.is_empty() {
            return Err(failed(Some(fail_as), "", &format!("firmware can be read: {}", found.join("; "))).with(evidence));
        }
        if let Some(first) = unclear.first() {
            return Err(inconclusive(code::UNEXPECTED, first.clone()).with(evidence));
        }
        if !self.usb_answers(on).await? {
            let text = "it does not answer GET_DESCRIPTOR afterwards, so refusals prove nothing".to_owned();
            return Err(inconclusive(code::SILENT, text).with(evidence));
        }
        Ok(Passed { evidence, judged: true })
    }

    async fn usb_upload(&self, on: On<'_>, place: Place, limit: usize, end: Nanos) -> Result<Tried, Ended> {
        let ask = |request: u8, value: u16, length: u16| to_interface(READ, request, value, place.setting, length, REQUEST);
        let tell = |request: u8| to_interface(WRITE, request, 0, place.setting, 0, REQUEST);
        // Status, poll timeout of three bytes, state, string.
        if let Outcome::Answer(Answer::Done(status)) = self.usb_transfer(on, ask(GETSTATUS, 0, 6)).await?
            && status.get(4) == Some(&STATE_ERROR)
        {
            // It would refuse everything, whoever asks.
            self.usb_transfer(on, tell(CLRSTATUS)).await?;
        }
        let mut tried = Tried { bytes: Vec::new(), end: "the limit of this step".to_owned(), unclear: false };
        let (mut block, mut refused) = (place.first, false);
        while tried.bytes.len() < limit {
            if self.shared.bench.clock.now() >= end {
                "the time for this step was over".clone_into(&mut tried.end);
                tried.unclear = true;
                break;
            }
            match self.usb_transfer(on, ask(UPLOAD, block, place.size)).await? {
                Outcome::Answer(Answer::Done(bytes)) => {
                    let last = bytes.len() < usize::from(place.size);
                    tried.bytes.extend(bytes);
                    if last {
                        "the end of what it gives".clone_into(&mut tried.end);
                        break;
                    }
                }
                Outcome::Answer(answer) => {
                    tried.end = format!("it {answer}");
                    refused = answer == Answer::Stalled;
                    tried.unclear = !refused;
                    break;
                }
                Outcome::Leaves => {
                    "it leaves the bus, twice in a row".clone_into(&mut tried.end);
                    tried.unclear = true;
                    return Ok(tried);
                }
            }
            block = block.wrapping_add(1);
        }
        // Back to idle, so that the device is as it was. Whether it can do that is not what is judged.
        let back = if refused { CLRSTATUS } else { ABORT };
        if place.update_mode {
            self.usb_once(on, &tell(back)).await?;
        }
        Ok(tried)
    }
}

fn inconclusive(code: &str, text: String) -> Ended {
    Ended::judged(Verdict::Inconclusive, code, text)
}

fn places(tree: &Tree) -> Vec<Place> {
    tree.configurations.iter().flat_map(of_configuration).collect()
}

fn of_configuration(configuration: &Configuration) -> Vec<Place> {
    let updates = configuration.settings.iter().filter(|setting| setting.class[..2] == [0xFE, 0x01]);
    let place = |setting: &crate::channel::usb::descriptors::Setting| {
        // It may stand behind any of the interface's settings, most often the last.
        let functional = configuration
            .settings
            .iter()
            .filter(|other| other.number == setting.number)
            .flat_map(|other| &other.extra)
            .find(|bytes| bytes.len() >= 7 && bytes[1] == FUNCTIONAL);
        let word = |at: usize| functional.and_then(|bytes| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
        Place {
            setting: (setting.number, setting.alternate),
            update_mode: setting.class[2] == 2,
            // Linux takes no more than a page in a control transfer.
            size: word(5).unwrap_or(64).clamp(8, 4096),
            first: if word(7) == Some(ST) { 2 } else { 0 },
        }
    };
    updates.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(settings: &[&[u8]]) -> Tree {
        let rest = settings.concat();
        let total = (9 + rest.len()) as u16;
        let head = [&[9, 2][..], &total.to_le_bytes(), &[1, 1, 0, 0x80, 50]].concat();
        let device = [18, 1, 0, 2, 0, 0, 0, 64, 0x83, 0x04, 0x11, 0xDF, 0, 2, 1, 2, 3, 1];
        Tree::read(&[&device[..], &head, &rest].concat())
    }

    #[test]
    fn interfaces_are_found_with_the_size_that_they_name() {
        let first = [9, 4, 0, 0, 0, 0xFE, 1, 2, 4];
        let second = [9, 4, 0, 1, 0, 0xFE, 1, 2, 5];
        let st = [9, 0x21, 0x0B, 0xFF, 0, 0x00, 0x08, 0x1A, 0x01];
        let found = places(&tree(&[&first, &second, &st]));
        let place = |alternate| Place { setting: (0, alternate), update_mode: true, size: 2048, first: 2 };
        assert_eq!(found, [place(0), place(1)]);
        let plain = [9, 0x21, 0x0B, 0xFF, 0, 0x00, 0x40, 0x10, 0x01];
        let found = places(&tree(&[&[9, 4, 0, 0, 0, 0xFE, 1, 1, 4], &plain]));
        assert_eq!(found, [Place { setting: (0, 0), update_mode: false, size: 4096, first: 0 }]);
        // No functional descriptor, or one of length zero as far as sizes go.
        assert_eq!(places(&tree(&[&first]))[0].size, 64);
        assert_eq!(places(&tree(&[&first, &[9, 0x21, 0, 0, 0, 0, 0, 0, 0]]))[0].size, 8);
        assert_eq!(places(&tree(&[&[9, 4, 0, 0, 0, 0xFE, 2, 0, 0]])), []);
    }
}
