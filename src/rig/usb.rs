//! What the maker declares of the device's USB ports, and how a device differs from it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    channel::{
        link::ChannelKind,
        usb::descriptors::{Configuration, Tree, class_name},
    },
    diagnostic::{Code, Diagnostic, Report},
    document::{Key, Keys, Map, Shape, Word},
    step::{
        check::kind_noun,
        usb::{RECIPIENTS, recipient},
        world::World,
    },
};

/// `usb:` of a device profile, for each channel.
pub(super) static PORT: Keys = Keys::new(
    "declared USB port",
    "What the maker declares of a USB port.",
    &[
        Key::optional("id", Shape::Line, "Vendor and product, `'1209:0003'`."),
        Key::needed("interfaces", Shape::List(&Shape::Map(&INTERFACE), 0), "Its interfaces, one entry for each."),
        Key::optional(
            "requests",
            Shape::List(&Shape::Map(&REQUEST), 0),
            "Vendor requests for data that it answers. Default: none.",
        ),
    ],
);

static INTERFACE: Keys = Keys::new(
    "declared USB interface",
    "An interface.",
    &[
        Key::needed("class", Shape::Word(CLASSES), "Its class."),
        Key::optional("subclass", Shape::Integer(0, 255), "Its subclass. Without it, any."),
        Key::optional("protocol", Shape::Integer(0, 255), "Its protocol; needs `subclass`. Without it, any."),
        Key::needed("what", Shape::Line, "What it is for."),
    ],
);

static REQUEST: Keys = Keys::new(
    "declared USB request",
    "A vendor request.",
    &[
        Key::needed("request", Shape::Integer(0, 255), "Its number, `bRequest`."),
        Key::optional("recipient", Shape::Word(RECIPIENTS), "To what it goes. Default: device."),
        Key::needed("what", Shape::Line, "What it is for."),
    ],
);

const CLASSES: &[Word] = &[
    Word { word: "audio", what: "Class 01." },
    Word { word: "cdc", what: "Class 02: communications, such as a serial port's control." },
    Word { word: "hid", what: "Class 03: keyboards, mice and everything that is sold as such." },
    Word { word: "physical", what: "Class 05." },
    Word { word: "image", what: "Class 06." },
    Word { word: "printer", what: "Class 07." },
    Word { word: "mass-storage", what: "Class 08." },
    Word { word: "hub", what: "Class 09." },
    Word { word: "cdc-data", what: "Class 0A: the data of a serial port." },
    Word { word: "smart-card", what: "Class 0B." },
    Word { word: "content-security", what: "Class 0D." },
    Word { word: "video", what: "Class 0E." },
    Word { word: "healthcare", what: "Class 0F." },
    Word { word: "audio-video", what: "Class 10." },
    Word { word: "billboard", what: "Class 11." },
    Word { word: "type-c-bridge", what: "Class 12." },
    Word { word: "diagnostic", what: "Class DC." },
    Word { word: "wireless", what: "Class E0: Bluetooth, RNDIS and others." },
    Word { word: "miscellaneous", what: "Class EF." },
    Word { word: "application", what: "Class FE: firmware update (DFU, subclass 01) and others." },
    Word { word: "vendor", what: "Class FF." },
];

fn class_code(name: &str) -> Option<u8> {
    (0..=255).find(|code| class_name(*code) == name)
}

/// What the maker declares of a USB port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsbPort {
    /// Vendor and product.
    pub id: Option<(u16, u16)>,
    /// Interfaces, one entry for each.
    pub interfaces: Vec<UsbInterface>,
    /// Vendor requests that it answers: recipient and number.
    pub requests: BTreeSet<(u8, u8)>,
}

/// A declared interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbInterface {
    /// Class.
    pub class: u8,
    /// Subclass; any if not given.
    pub subclass: Option<u8>,
    /// Protocol; any if not given.
    pub protocol: Option<u8>,
    /// What it is for.
    pub what: String,
}

impl UsbInterface {
    fn fits(&self, [class, subclass, protocol]: [u8; 3]) -> bool {
        class == self.class && self.subclass.is_none_or(|own| own == subclass) && self.protocol.is_none_or(|own| own == protocol)
    }

    /// How much it says. Of two entries that fit the same interface, one fits all that the other does; the narrower one is used first,
    /// so that the wider one is left for what only it fits.
    fn narrowness(&self) -> u8 {
        u8::from(self.subclass.is_some()) + u8::from(self.protocol.is_some())
    }
}

impl std::fmt::Display for UsbInterface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.what, class_name(self.class))
    }
}

/// How a device differs from what is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Interfaces that nobody declared, in words.
    pub undeclared: Vec<String>,
    /// Declared interfaces that no configuration has.
    pub missing: Vec<String>,
}

impl UsbPort {
    /// Compares what a device shows with what is declared. An interface whose alternate settings are of different classes needs an
    /// entry for each class. Each configuration may use every entry once, as only one is in force at a time.
    #[must_use]
    pub fn compare(&self, tree: &Tree, name: &dyn Fn(u8) -> Option<String>) -> Difference {
        let mut difference = Difference::default();
        let mut ever = vec![false; self.interfaces.len()];
        for configuration in &tree.configurations {
            let mut used = vec![false; self.interfaces.len()];
            for (number, class, string) in functions(configuration) {
                let fitting = self.interfaces.iter().enumerate().filter(|(index, entry)| !used[*index] && entry.fits(class));
                if let Some((index, _)) = fitting.max_by_key(|(_, entry)| entry.narrowness()) {
                    used[index] = true;
                    ever[index] = true;
                    continue;
                }
                let [code, subclass, protocol] = class;
                let called = name(string).map(|name| format!(", called {name:?}")).unwrap_or_default();
                difference.undeclared.push(format!(
                    "interface {number} of configuration {}: {} ({code:02x} {subclass:02x} {protocol:02x}{called})",
                    configuration.value,
                    class_name(code),
                ));
            }
        }
        difference.missing =
            self.interfaces.iter().zip(ever).filter(|(_, ever)| !ever).map(|(entry, _)| entry.to_string()).collect();
        difference
    }
}

/// Number, class and name of each interface; alternate settings of one class are one.
fn functions(configuration: &Configuration) -> impl Iterator<Item = (u8, [u8; 3], u8)> {
    let mut seen = BTreeSet::new();
    configuration
        .settings
        .iter()
        .filter(move |setting| seen.insert((setting.number, setting.class)))
        .map(|setting| (setting.number, setting.class, setting.name))
}

/// The declared ports of a profile; what is wrong with them goes to the report.
pub(super) fn ports(root: &Map, world: &World, report: &mut Report) -> BTreeMap<String, UsbPort> {
    let mut ports = BTreeMap::new();
    for named in root.named("usb") {
        match world.channels.get(&named.name) {
            Some((ChannelKind::Usb, _)) => {}
            Some((found, place)) => {
                let message =
                    format!("{} is needed here, `{}` is {}", kind_noun(ChannelKind::Usb), named.name, kind_noun(*found));
                report.push(
                    Diagnostic::new(Code::WrongKind, named.place.clone(), message)
                        .related(place.clone(), "the device profile says so here"),
                );
            }
            None => {
                let message = format!("the profile has no channel `{}`", named.name);
                let known = world.channels.keys().map(String::as_str);
                report.push(Diagnostic::new(Code::UnknownChannel, named.place.clone(), message).did_you_mean(&named.name, known));
            }
        }
        ports.insert(named.name.clone(), port(named.value.map(), report));
    }
    ports
}

fn port(map: &Map, report: &mut Report) -> UsbPort {
    let byte = |map: &Map, key: &str| map.get(key).and_then(|value| u8::try_from(value.integer()).ok());
    let id = map.get("id").and_then(|value| {
        let id = value.text().split_once(':').and_then(|(vendor, product)| {
            let number = |text: &str| (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok()).flatten();
            Some((number(vendor)?, number(product)?))
        });
        if id.is_none() {
            let message = format!("`{}` is not vendor and product", value.text());
            report.push(
                Diagnostic::new(Code::BadQuantity, value.place.clone(), message)
                    .help("write four and four hex digits: '1209:0003'"),
            );
        }
        id
    });
    for interface in map.list("interfaces") {
        let interface = interface.map();
        if let Some(value) = interface.get("protocol").filter(|_| !interface.has("subclass")) {
            report.push(
                Diagnostic::new(Code::MissingKey, value.place.clone(), "`protocol` needs `subclass`")
                    .help("protocols are counted within a subclass"),
            );
        }
    }
    UsbPort {
        id,
        interfaces: map
            .list("interfaces")
            .iter()
            .map(|value| value.map())
            .filter_map(|map| {
                Some(UsbInterface {
                    class: class_code(map.text("class"))?,
                    subclass: byte(map, "subclass"),
                    protocol: byte(map, "protocol"),
                    what: map.string("what"),
                })
            })
            .collect(),
        requests: map
            .list("requests")
            .iter()
            .map(|value| value.map())
            .filter_map(|map| Some((recipient(map.text("recipient")), byte(map, "request")?)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::usb::descriptors::Setting;

    fn entry(class: u8, subclass: Option<u8>, protocol: Option<u8>, what: &str) -> UsbInterface {
        UsbInterface { class, subclass, protocol, what: what.to_owned() }
    }

    fn device(configurations: &[&[(u8, [u8; 3])]]) -> Tree {
        let setting = |(number, class): &(u8, [u8; 3])| Setting {
            number: *number,
            alternate: 0,
            class: *class,
            name: 1,
            endpoints: Vec::new(),
            extra: Vec::new(),
        };
        let configuration = |(value, settings): (usize, &&[(u8, [u8; 3])])| Configuration {
            value: value as u8 + 1,
            name: 0,
            attributes: 0x80,
            current: 100,
            settings: settings.iter().map(setting).collect(),
            extra: Vec::new(),
        };
        let configurations = configurations.iter().enumerate().map(configuration).collect();
        Tree { device: None, configurations, problems: Vec::new() }
    }

    fn compare(declared: Vec<UsbInterface>, tree: &Tree) -> Difference {
        UsbPort { interfaces: declared, ..UsbPort::default() }.compare(tree, &|_| Some("x\u{1b}".to_owned()))
    }

    #[test]
    fn every_declared_interface_covers_one() {
        let hid = || entry(3, None, None, "keys");
        let one = device(&[&[(0, [3, 1, 1])]]);
        let two = device(&[&[(0, [3, 1, 1]), (1, [3, 1, 1])]]);
        assert_eq!(compare(vec![hid()], &one), Difference::default());
        // A second keyboard is not covered by the first one's entry.
        let more = compare(vec![hid()], &two);
        assert_eq!(more.undeclared, [r#"interface 1 of configuration 1: hid (03 01 01, called "x\u{1b}")"#]);
        assert_eq!(compare(vec![hid(), hid()], &one).missing, ["keys (hid)"]);
    }

    #[test]
    fn narrow_entries_are_used_first() {
        let declared =
            || vec![entry(0xFF, None, None, "any"), entry(0xFF, Some(1), None, "one"), entry(0xFF, Some(1), Some(2), "exact")];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let all = [(0, [0xFF, 1, 2]), (1, [0xFF, 1, 9]), (2, [0xFF, 7, 7])];
            let tree = device(&[&order.map(|index| all[index])]);
            assert_eq!(compare(declared(), &tree), Difference::default(), "{order:?}");
        }
        assert_eq!(compare(declared(), &device(&[&[(0, [0xFF, 1, 2])]])).missing.len(), 2);
    }

    #[test]
    fn alternate_settings_and_configurations() {
        let declared = || vec![entry(8, Some(6), None, "disk")];
        // The same interface twice, of one class: one. Of another class: another.
        assert_eq!(compare(declared(), &device(&[&[(0, [8, 6, 0x50]), (0, [8, 6, 0x50])]])), Difference::default());
        assert_eq!(compare(declared(), &device(&[&[(0, [8, 6, 0x50]), (0, [8, 6, 0x62])]])).undeclared.len(), 1);
        assert_eq!(compare(declared(), &device(&[&[(0, [8, 6, 0x50])], &[(0, [8, 6, 0x50])]])), Difference::default());
        assert!(
            compare(declared(), &device(&[&[(0, [8, 6, 0x50])], &[(0, [3, 0, 0])]])).undeclared[0]
                .contains("configuration 2: hid")
        );
    }

    #[test]
    fn every_word_is_a_class() {
        for word in CLASSES {
            assert!(class_code(word.word).is_some(), "{}", word.word);
        }
    }
}
