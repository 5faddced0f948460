//! Reads everything that a device tells about itself.
//!
//! The kernel's copy of the descriptors (`ABI/stable/sysfs-bus-usb`: `descriptors`) needs no permission and disturbs nobody; it is what the
//! device said when it arrived. What the device says now, its strings, its binary object store and its HID reports are asked for with
//! standard requests (USB 2.0 specification, 9.4.3; HID 1.11, 7.1.1), which every device must answer without any effect.

use std::{collections::BTreeMap, fs, time::Duration};

use super::session::Session;
use crate::channel::{
    link::LinkError,
    usb::{
        Answer, Dump, Setup, Transfer,
        descriptors::{DEVICE_LENGTH, Tree, total_length},
    },
};

/// Time for each request: five times what a device has (9.2.6.4).
const REQUEST: Duration = Duration::from_millis(2500);
/// Time for all of them.
pub(super) const ALL: Duration = Duration::from_secs(20);
/// Configurations that are asked for; devices have one, seldom two.
const CONFIGURATIONS: u8 = 8;
/// Strings that are asked for.
const STRINGS: usize = 64;

const GET_DESCRIPTOR: u8 = 6;
const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;
const BOS: u8 = 15;
const REPORT: u8 = 0x22;

struct Reader<'a> {
    session: &'a mut Session,
    dump: Dump,
    /// By when the last request must have begun.
    end: std::time::Instant,
    /// The device has stopped answering: every further request would only cost time.
    dead: bool,
}

pub(super) fn read(session: &mut Session) -> Result<Option<Dump>, LinkError> {
    let Some(device) = session.find()? else { return Ok(None) };
    let arrival = session.arrival(&device.location)?;
    if arrival.is_empty() {
        return Ok(None);
    }
    let tree = Tree::read(&arrival);
    let dump = Dump { place: device.location.clone(), arrival, ..Dump::default() };
    let mut reader = Reader { session, dump, end: std::time::Instant::now() + ALL, dead: false };
    reader.now();
    if let Some(bytes) = &reader.dump.now {
        // What it has become may refer to other strings.
        let more = Tree::read(bytes).string_numbers();
        reader.strings(tree.string_numbers().into_iter().chain(more).collect());
    }
    reader.bos(&tree);
    reader.reports(&device.location, &tree);
    Ok(Some(reader.dump))
}

impl Reader<'_> {
    /// A descriptor of the device, or of an interface.
    fn descriptor(&mut self, what: &str, kind: u8, [high, low]: [u8; 2], index: u16, length: u16) -> Option<Vec<u8>> {
        if self.dead {
            return None;
        }
        if std::time::Instant::now() >= self.end {
            self.dead = true;
            self.dump.missing.push(format!("{what} and what follows: {ALL:?} are over"));
            return None;
        }
        let setup = Setup { kind, request: GET_DESCRIPTOR, value: u16::from_be_bytes([high, low]), index };
        match self.session.transfer(&Transfer::request(setup, length, REQUEST)) {
            Ok(Answer::Done(bytes)) => return Some(bytes),
            Ok(Answer::Stalled) => self.dump.missing.push(format!("{what}: refused")),
            Ok(answer) => {
                self.dead = true;
                self.dump.missing.push(format!("{what} and what follows: it {answer}"));
            }
            Err(error) => {
                self.dead = true;
                self.dump.missing.push(format!("{what} and what follows: {}", error.what));
            }
        }
        None
    }

    fn now(&mut self) {
        let Some(mut all) = self.descriptor("device descriptor", 0x80, [DEVICE, 0], 0, DEVICE_LENGTH as u16) else { return };
        let count = all.get(DEVICE_LENGTH - 1).copied().unwrap_or(0);
        for number in 0..count.min(CONFIGURATIONS) {
            let what = format!("configuration {number}");
            let Some(head) = self.descriptor(&what, 0x80, [CONFIGURATION, number], 0, 9) else { return };
            let total = total_length(&head).unwrap_or(9);
            let Some(bytes) = self.descriptor(&what, 0x80, [CONFIGURATION, number], 0, total) else { return };
            all.extend(bytes);
        }
        if count > CONFIGURATIONS {
            self.dump.missing.push(format!("configurations from {CONFIGURATIONS} on"));
        }
        self.dump.now = Some(all);
    }

    fn strings(&mut self, numbers: std::collections::BTreeSet<u8>) {
        if numbers.is_empty() {
            return;
        }
        let Some(languages) = self.descriptor("languages of strings", 0x80, [STRING, 0], 0, 255) else { return };
        let language = languages.get(2..4).map_or(0x0409, |first| u16::from_le_bytes([first[0], first[1]]));
        for number in numbers.into_iter().take(STRINGS) {
            if let Some(bytes) = self.descriptor(&format!("string {number}"), 0x80, [STRING, number], language, 255) {
                self.dump.strings.insert(number, bytes);
            }
        }
    }

    fn bos(&mut self, tree: &Tree) {
        // It came with USB 2.0 ECN 2.01: older devices must refuse the request, and some hang instead.
        if tree.device.is_none_or(|device| device.usb < 0x0201) {
            return;
        }
        let Some(head) = self.descriptor("binary object store", 0x80, [BOS, 0], 0, 5) else { return };
        let total = head.get(2..4).map_or(5, |length| u16::from_le_bytes([length[0], length[1]]));
        self.dump.bos = self.descriptor("binary object store", 0x80, [BOS, 0], 0, total);
    }

    fn reports(&mut self, location: &str, tree: &Tree) {
        let hids: BTreeMap<u8, u8> = tree
            .configurations
            .iter()
            .flat_map(|configuration| configuration.settings.iter().map(|setting| (configuration.value, setting)))
            .filter(|(_, setting)| setting.class[0] == 3)
            .map(|(configuration, setting)| (setting.number, configuration))
            .collect();
        for (number, configuration) in hids {
            let interface = self.session.directory(&format!("{location}:{configuration}.{number}"));
            // The kernel's driver has it and has read it; without one the device is asked.
            if let Some(bytes) = kernels_report(&interface) {
                self.dump.reports.insert(number, bytes);
            } else if interface.join("driver").exists() {
                self.dump
                    .missing
                    .push(format!("HID report of interface {number}: the kernel's driver has it and does not show it"));
            } else if let Some(bytes) =
                self.descriptor(&format!("HID report of interface {number}"), 0x81, [REPORT, 0], u16::from(number), 4096)
            {
                self.dump.reports.insert(number, bytes);
            }
        }
    }
}

/// `report_descriptor` of the kernel's HID device below an interface (`ABI/testing/sysfs-driver-hid`).
fn kernels_report(interface: &std::path::Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let devices = fs::read_dir(interface).ok()?.flatten();
    devices.into_iter().find_map(|entry| {
        let mut bytes = Vec::new();
        fs::File::open(entry.path().join("report_descriptor")).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    })
}
