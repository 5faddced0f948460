//! Steps on the device's USB port: what they are, how they are written, how they are told.

use super::{FailAs, Silence, Template, Within, build, keys};
use crate::{
    channel::usb::{Pipe, Setup},
    diagnostic::Code,
    document::{Key, Keys, Map, Shape, Word},
};

/// Requests in one sweep.
const MOST_REQUESTS: i64 = 20_000;

/// A step on a USB port.
#[derive(Debug, Clone, PartialEq)]
pub enum UsbStep {
    /// The device must be on the bus, or must not.
    Presence {
        /// Which.
        present: bool,
        /// By when.
        within: Within,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// What the device tells about itself must be what its maker declares.
    Descriptors {
        /// Reason when it is not.
        fail_as: FailAs,
    },
    /// One transfer.
    Transfer {
        /// With what.
        pipe: Pipe,
        /// Bytes for the device.
        data: Vec<u8>,
        /// Most bytes from it.
        length: u16,
        /// Time for it.
        within: Within,
        /// What the device must do.
        must: Must,
        /// What the answer must hold.
        pattern: Option<Template>,
        /// What silence means.
        silence: Silence,
        /// Reason when it does otherwise.
        fail_as: Option<FailAs>,
    },
    /// Vendor requests for data, one after another; those that are answered must be declared.
    VendorSweep {
        /// Which.
        sweep: Sweep,
        /// Time for all of them.
        within: Within,
        /// Reason when an undeclared one is answered.
        fail_as: FailAs,
    },
    /// The firmware must not be readable through firmware update interfaces.
    DfuUpload {
        /// Bytes after which reading ends.
        bytes: u32,
        /// Time for all of it.
        within: Within,
        /// Reason when it is readable.
        fail_as: FailAs,
    },
}

/// What a device must make of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// Do it.
    Accept,
    /// Refuse it.
    Refuse,
    /// Either; what it does is recorded.
    Any,
}

/// Which vendor requests a sweep makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// Low bits of `bmRequestType`.
    pub recipients: Vec<u8>,
    /// First request.
    pub first: u8,
    /// Last request.
    pub last: u8,
    /// `wValue`.
    pub values: Vec<u16>,
    /// `wIndex`.
    pub indexes: Vec<u16>,
    /// `wLength`.
    pub length: u16,
}

impl Sweep {
    /// The requests in order. All are from the device to the host: bit 7 of their type is set, so that nothing is written.
    pub fn requests(&self) -> impl Iterator<Item = Setup> + '_ {
        let all =
            self.recipients.iter().flat_map(move |recipient| (self.first..=self.last).map(move |request| (*recipient, request)));
        let all = all.flat_map(move |(recipient, request)| self.values.iter().map(move |value| (recipient, request, *value)));
        all.flat_map(move |(recipient, request, value)| {
            self.indexes.iter().map(move |index| Setup { kind: 0xC0 | (recipient & 3), request, value, index: *index })
        })
    }
}

/// Low bits of `bmRequestType` for a word; the device if there is none.
#[must_use]
pub fn recipient(word: &str) -> u8 {
    RECIPIENTS.iter().position(|known| known.word == word).and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

/// To what a control transfer goes: the low bits of `bmRequestType` are the place in this list.
pub const RECIPIENTS: &[Word] = &[
    Word { word: "device", what: "The device as a whole." },
    Word { word: "interface", what: "An interface." },
    Word { word: "endpoint", what: "An endpoint." },
    Word { word: "other", what: "Something else." },
];
const PRESENCE_WORDS: &[Word] = &[
    Word { word: "present", what: "The device must be on the bus." },
    Word { word: "absent", what: "The device must not be on the bus." },
];
const MUST: &[Word] = &[
    Word { word: "accepted", what: "The device must do it." },
    Word { word: "refused", what: "The device must refuse it with a stall; silence is no refusal." },
    Word { word: "any", what: "What it does is recorded and not judged." },
];

const CHANNEL: Key = Key::needed("channel", Shape::Name, "USB channel.");
const DATA: Key = Key::optional("data", Shape::Bytes, "Bytes for the device.");
const WITHIN: Key = Key::needed("within", Shape::Within, "Time for it.");
const EXPECT: Key = Key::needed("expect", Shape::Word(MUST), "What the device must do.");
const PATTERN: Key =
    Key::optional("pattern", Shape::Pattern, "What the bytes from the device must hold; needs `expect: accepted`.");
const ENDPOINT: Key =
    Key::needed("endpoint", Shape::Integer(1, 0x8F), "Address of the endpoint; bit 7 is set for those to the host.");
const LENGTH: Key = Key::optional("length", Shape::Integer(1, 65535), "Most bytes from the device; of endpoints to the host.");

/// `usb-presence`.
pub static PRESENCE: Keys = Keys::new(
    "usb-presence",
    "Waits until the device is on the USB bus, or gone from it.",
    &[
        CHANNEL,
        Key::needed("state", Shape::Word(PRESENCE_WORDS), "Which."),
        Key::needed("within", Shape::Within, "By when."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);
/// `usb-descriptors`.
pub static DESCRIPTORS: Keys = Keys::new(
    "usb-descriptors",
    "Reads everything that the device tells about itself and compares its interfaces with `usb:` of the device profile.",
    &[CHANNEL, keys::REASON_NEEDED, keys::MEANING],
);
/// `usb-control`.
pub static CONTROL: Keys = Keys::new(
    "usb-control",
    "One control transfer. Numbers are those of the USB specification, decimal or hex.",
    &[
        CHANNEL,
        Key::needed("request-type", Shape::Integer(0, 255), "`bmRequestType`; bit 7 is set for requests for data."),
        Key::needed("request", Shape::Integer(0, 255), "`bRequest`."),
        Key::optional("value", Shape::Integer(0, 65535), "`wValue`. Default: 0."),
        Key::optional("index", Shape::Integer(0, 65535), "`wIndex`. Default: 0."),
        Key::optional("length", Shape::Integer(0, 4096), "Most bytes from the device; of requests for data."),
        DATA,
        WITHIN,
        EXPECT,
        PATTERN,
        keys::SILENT,
        keys::REASON,
        keys::MEANING,
    ],
);
/// `usb-bulk`.
pub static BULK: Keys = Keys::new(
    "usb-bulk",
    "One transfer with a bulk endpoint.",
    &[CHANNEL, ENDPOINT, LENGTH, DATA, WITHIN, EXPECT, PATTERN, keys::SILENT, keys::REASON, keys::MEANING],
);
/// `usb-interrupt`.
pub static INTERRUPT: Keys = Keys::new(
    "usb-interrupt",
    "One transfer with an interrupt endpoint.",
    &[CHANNEL, ENDPOINT, LENGTH, DATA, WITHIN, EXPECT, PATTERN, keys::SILENT, keys::REASON, keys::MEANING],
);
/// `usb-vendor-sweep`.
pub static VENDOR_SWEEP: Keys = Keys::new(
    "usb-vendor-sweep",
    "Tries vendor requests for data, which write nothing. One that is answered must be declared under `usb:` of the device profile.",
    &[
        CHANNEL,
        Key::optional("recipients", Shape::List(&Shape::Word(RECIPIENTS), 1), "To what they go. Default: device."),
        Key::optional("first", Shape::Integer(0, 255), "First request. Default: 0."),
        Key::optional("last", Shape::Integer(0, 255), "Last request. Default: 255."),
        Key::optional("values", Shape::List(&Shape::Integer(0, 65535), 1), "`wValue` of each. Default: 0."),
        Key::optional("indexes", Shape::List(&Shape::Integer(0, 65535), 1), "`wIndex` of each. Default: 0."),
        Key::optional("length", Shape::Integer(1, 4096), "Bytes that are asked for. Default: 64."),
        Key::needed("within", Shape::Within, "Time for all of them."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);
/// `usb-dfu-upload`.
pub static DFU_UPLOAD: Keys = Keys::new(
    "usb-dfu-upload",
    "Tries to read the firmware through the device's firmware update (DFU) interfaces. It passes if the device refuses or has none.",
    &[
        CHANNEL,
        Key::optional("bytes", Shape::Integer(1, 1 << 20), "Bytes after which reading ends. Default: 65536."),
        Key::needed("within", Shape::Within, "Time for all of it."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// Something that the table of keys cannot express.
pub struct Wrong {
    /// Code.
    pub code: Code,
    /// Key that it is about; the step as a whole if it is not there.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

fn wrong(code: Code, key: &'static str, message: impl Into<String>, help: &'static str) -> Wrong {
    Wrong { code, key, message: message.into(), help }
}

/// What is wrong with a step beyond its keys.
#[must_use]
pub fn check(name: &str, map: &Map) -> Vec<Wrong> {
    match name {
        "usb-control" if map.has("request-type") => direction(map, map.integer("request-type") & 0x80 != 0, false),
        "usb-bulk" | "usb-interrupt" if map.has("endpoint") => {
            let endpoint = map.integer("endpoint");
            let mut found = direction(map, endpoint & 0x80 != 0, true);
            if endpoint & 0x0F == 0 || endpoint & 0x70 != 0 {
                found.push(wrong(
                    Code::OutOfRange,
                    "endpoint",
                    format!("{endpoint:#04x} is no endpoint"),
                    "they are 0x01 to 0x0f to the device and 0x81 to 0x8f to the host",
                ));
            }
            found
        }
        "usb-vendor-sweep" => {
            let count = |key: &str| i64::try_from(map.list(key).len().max(1)).unwrap_or(i64::MAX);
            let (first, last) = (integer(map, "first", 0), integer(map, "last", 255));
            let all = [last - first + 1, count("recipients"), count("values"), count("indexes")];
            let all = all.into_iter().fold(1, i64::saturating_mul);
            if first > last {
                vec![wrong(
                    Code::OutOfRange,
                    "last",
                    format!("requests from {first} to {last} are none"),
                    "`last` is the greater one",
                )]
            } else if all > MOST_REQUESTS {
                let help = "sweep in several steps, or fewer values and indexes";
                vec![wrong(Code::OutOfRange, "channel", format!("{all} requests; {MOST_REQUESTS} are the most"), help)]
            } else {
                Vec::new()
            }
        }
        _ => Vec::new(),
    }
}

fn direction(map: &Map, inward: bool, needed: bool) -> Vec<Wrong> {
    let mut found = Vec::new();
    let (wanted, other) = if inward { ("length", "data") } else { ("data", "length") };
    if map.has(other) {
        let (way, help) = if inward {
            ("to the host", "give `length`, or clear bit 7")
        } else {
            ("to the device", "give `data`, or set bit 7 to ask for data")
        };
        found.push(wrong(Code::KeyConflict, other, format!("the transfer is {way}, so it has no `{other}`"), help));
    } else if needed && !map.has(wanted) {
        found.push(wrong(Code::MissingKey, "endpoint", format!("`{wanted}` is missing"), "what goes over the endpoint?"));
    }
    if map.has("pattern") && !(inward && map.text("expect") == "accepted") {
        let help = "a pattern is for the bytes of an accepted request for data";
        found.push(wrong(Code::KeyConflict, "pattern", "there are no bytes from the device for `pattern`", help));
    }
    found
}

fn integer(map: &Map, key: &str, default: i64) -> i64 {
    map.get(key).map_or(default, crate::document::Value::integer)
}

fn number<T: TryFrom<i64> + Default>(map: &Map, key: &str, default: i64) -> T {
    T::try_from(integer(map, key, default)).unwrap_or_default()
}

fn numbers(map: &Map, key: &str) -> Vec<u16> {
    let given: Vec<u16> = map.list(key).iter().filter_map(|value| u16::try_from(value.integer()).ok()).collect();
    if given.is_empty() { vec![0] } else { given }
}

fn transfer(map: &Map, pipe: Pipe) -> UsbStep {
    UsbStep::Transfer {
        pipe,
        data: map.get("data").map_or_else(Vec::new, |value| value.bytes().to_vec()),
        length: number(map, "length", 0),
        within: build::within(map, "within"),
        must: match map.text("expect") {
            "accepted" => Must::Accept,
            "refused" => Must::Refuse,
            _ => Must::Any,
        },
        pattern: build::optional_template(map, "pattern"),
        silence: build::silence(map),
        fail_as: build::optional_fail_as(map),
    }
}

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<UsbStep> {
    let fail_as = build::fail_as(map);
    let within = build::within(map, "within");
    Some(match name {
        "usb-presence" => UsbStep::Presence { present: map.text("state") == "present", within, fail_as },
        "usb-descriptors" => UsbStep::Descriptors { fail_as },
        "usb-control" => {
            let setup = Setup {
                kind: number(map, "request-type", 0),
                request: number(map, "request", 0),
                value: number(map, "value", 0),
                index: number(map, "index", 0),
            };
            transfer(map, Pipe::Control(setup))
        }
        "usb-bulk" => transfer(map, Pipe::Bulk(number(map, "endpoint", 0))),
        "usb-interrupt" => transfer(map, Pipe::Interrupt(number(map, "endpoint", 0))),
        "usb-vendor-sweep" => {
            let given: Vec<u8> = map.strings("recipients").iter().map(|word| recipient(word)).collect();
            let sweep = Sweep {
                recipients: if given.is_empty() { vec![0] } else { given },
                first: number(map, "first", 0),
                last: number(map, "last", 255),
                values: numbers(map, "values"),
                indexes: numbers(map, "indexes"),
                length: number(map, "length", 64),
            };
            UsbStep::VendorSweep { sweep, within, fail_as }
        }
        "usb-dfu-upload" => UsbStep::DfuUpload { bytes: number(map, "bytes", 65536), within, fail_as },
        _ => return None,
    })
}

impl UsbStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Presence { present, within, .. } => {
                format!("{channel} {} within {within}", if *present { "on the bus" } else { "gone from the bus" })
            }
            Self::Descriptors { .. } => format!("{channel} shows what is declared"),
            Self::Transfer { pipe, data, length, must, .. } => {
                let how = if pipe.inward() { format!("ask for {length} bytes") } else { format!("send {} bytes", data.len()) };
                let must = match must {
                    Must::Accept => ", to be accepted",
                    Must::Refuse => ", to be refused",
                    Must::Any => "",
                };
                format!("{channel}: {how} ({pipe}){must}")
            }
            Self::VendorSweep { sweep, .. } => {
                format!("{channel}: vendor requests {:#04x} to {:#04x}, only for data", sweep.first, sweep.last)
            }
            Self::DfuUpload { bytes, .. } => format!("{channel}: read firmware over DFU, {bytes} bytes at most"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_only_asks() {
        let sweep = Sweep { recipients: vec![0, 1, 3], first: 0, last: 255, values: vec![0, 7], indexes: vec![0], length: 64 };
        let all: Vec<_> = sweep.requests().collect();
        assert_eq!(all.len(), 3 * 256 * 2);
        // Vendor type, to the host: nothing else may ever leave.
        assert!(all.iter().all(|setup| setup.kind & 0xE0 == 0xC0 && setup.inward()));
        assert_eq!(all[0], Setup { kind: 0xC0, request: 0, value: 0, index: 0 });
        assert_eq!(all[all.len() - 1], Setup { kind: 0xC3, request: 255, value: 7, index: 0 });
        // A recipient that does not exist cannot turn the direction round either.
        let odd = Sweep { recipients: vec![0xFF], ..sweep };
        assert!(odd.requests().all(|setup| setup.kind == 0xC3));
    }

    #[test]
    fn recipients_have_the_numbers_of_the_specification() {
        assert_eq!(["device", "interface", "endpoint", "other", ""].map(recipient), [0, 1, 2, 3, 0]);
    }
}
