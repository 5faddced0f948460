//! Descriptors: from the bytes of a device to what they say.
//!
//! USB 2.0 specification, chapter 9.5 and 9.6. The bytes come from the device and may be anything: truncated, of length zero, contradicting
//! themselves. What is wrong is collected as text; what can be read is still read. One pass, so time and memory are bounded by the number of
//! bytes.

use serde_json::{Value, json};

use super::Dump;

/// Problems that are kept; a device that has more is bad enough.
const MOST_PROBLEMS: usize = 32;
/// Length of a device descriptor.
pub const DEVICE_LENGTH: usize = 18;
const CONFIGURATION_LENGTH: usize = 9;

const DEVICE: u8 = 1;
const CONFIGURATION: u8 = 2;
const STRING: u8 = 3;
const INTERFACE: u8 = 4;
const ENDPOINT: u8 = 5;

/// What descriptors say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The device as a whole; `None` if its descriptor cannot be read.
    pub device: Option<Device>,
    /// Its configurations.
    pub configurations: Vec<Configuration>,
    /// What is wrong with the bytes.
    pub problems: Vec<String>,
}

/// Device descriptor (table 9-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// `bcdUSB`.
    pub usb: u16,
    /// Class, subclass, protocol of the whole device; zero if its interfaces say it.
    pub class: [u8; 3],
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
    /// `bcdDevice`.
    pub version: u16,
    /// Numbers of the strings for manufacturer, product, serial number; zero for none.
    pub strings: [u8; 3],
    /// `bNumConfigurations`.
    pub configurations: u8,
}

/// Configuration descriptor (table 9-10) and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// `bConfigurationValue`.
    pub value: u8,
    /// Number of its string.
    pub name: u8,
    /// `bmAttributes`.
    pub attributes: u8,
    /// Largest current in mA, at the speeds of USB 2.0.
    pub current: u16,
    /// Interfaces and their alternate settings, in order.
    pub settings: Vec<Setting>,
    /// Other descriptors before the first interface.
    pub extra: Vec<Vec<u8>>,
}

/// Interface descriptor (table 9-12): an interface, or an alternate setting of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `bInterfaceNumber`.
    pub number: u8,
    /// `bAlternateSetting`.
    pub alternate: u8,
    /// Class, subclass, protocol.
    pub class: [u8; 3],
    /// Number of its string.
    pub name: u8,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Class-specific descriptors of it and its endpoints.
    pub extra: Vec<Vec<u8>>,
}

/// Endpoint descriptor (table 9-13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Number, with bit 7 for endpoints to the host.
    pub address: u8,
    /// `bmAttributes`; bits 1 and 0 are the type of transfer.
    pub attributes: u8,
    /// `wMaxPacketSize`.
    pub packet: u16,
    /// `bInterval`.
    pub interval: u8,
}

impl Endpoint {
    /// Type of transfer in a word.
    #[must_use]
    pub const fn transfer(self) -> &'static str {
        match self.attributes & 3 {
            0 => "control",
            1 => "isochronous",
            2 => "bulk",
            _ => "interrupt",
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    u16::from_le_bytes([byte(at), byte(at + 1)])
}

/// `wTotalLength` of a configuration, if these are its first bytes.
#[must_use]
pub fn total_length(bytes: &[u8]) -> Option<u16> {
    (bytes.len() >= 4 && bytes[1] == CONFIGURATION).then(|| word(bytes, 2))
}

impl Tree {
    /// Reads a device descriptor and the configurations that follow it, as in the kernel's file `descriptors`.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut tree = Self::default();
        let (first, mut rest) = bytes.split_at(bytes.len().min(DEVICE_LENGTH));
        tree.device = tree.device(first);
        while !rest.is_empty() {
            let number = tree.configurations.len();
            let total = total_length(rest).map_or(0, usize::from);
            if total < CONFIGURATION_LENGTH {
                tree.problem(format!("configuration {number}: {} bytes that are no configuration", rest.len()));
                break;
            }
            if total > rest.len() {
                tree.problem(format!("configuration {number}: {total} bytes announced, {} there", rest.len()));
            }
            let (own, more) = rest.split_at(total.min(rest.len()));
            let configuration = tree.configuration(own, number);
            tree.configurations.extend(configuration);
            rest = more;
        }
        let (wanted, found) = (tree.device.map_or(0, |device| usize::from(device.configurations)), tree.configurations.len());
        if wanted != found {
            tree.problem(format!("{wanted} configurations announced, {found} there"));
        }
        tree
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(what);
        }
    }

    fn device(&mut self, bytes: &[u8]) -> Option<Device> {
        if bytes.len() < DEVICE_LENGTH || bytes[1] != DEVICE {
            self.problem(format!("device descriptor: {} bytes that are none", bytes.len()));
            return None;
        }
        if usize::from(bytes[0]) != DEVICE_LENGTH {
            self.problem(format!("device descriptor: it says that it has {} bytes", bytes[0]));
        }
        Some(Device {
            usb: word(bytes, 2),
            class: [bytes[4], bytes[5], bytes[6]],
            vendor: word(bytes, 8),
            product: word(bytes, 10),
            version: word(bytes, 12),
            strings: [bytes[14], bytes[15], bytes[16]],
            configurations: bytes[17],
        })
    }

    fn configuration(&mut self, bytes: &[u8], number: usize) -> Option<Configuration> {
        if bytes.len() < CONFIGURATION_LENGTH || usize::from(bytes[0]) < CONFIGURATION_LENGTH {
            self.problem(format!("configuration {number}: its descriptor is cut off"));
            return None;
        }
        let mut made = Configuration {
            value: bytes[5],
            name: bytes[6],
            attributes: bytes[7],
            current: u16::from(bytes[8]) * 2,
            settings: Vec::new(),
            extra: Vec::new(),
        };
        // Endpoints that the interface before said it has.
        let mut announced = 0;
        let mut at = usize::from(bytes[0]);
        while at < bytes.len() {
            let length = usize::from(bytes[at]);
            if length < 2 || at + length > bytes.len() {
                self.problem(format!("configuration {number}: a descriptor of {length} bytes at byte {at} of {}", bytes.len()));
                break;
            }
            let own = &bytes[at..at + length];
            match (own[1], length) {
                (INTERFACE, 9..) => {
                    self.endpoints(number, made.settings.last(), announced);
                    announced = usize::from(own[4]);
                    let (interface, alternate) = (own[2], own[3]);
                    if made.settings.iter().any(|setting| (setting.number, setting.alternate) == (interface, alternate)) {
                        self.problem(format!("configuration {number}: interface {interface} setting {alternate} stands twice"));
                    }
                    made.settings.push(Setting {
                        number: interface,
                        alternate,
                        class: [own[5], own[6], own[7]],
                        name: own[8],
                        endpoints: Vec::new(),
                        extra: Vec::new(),
                    });
                }
                (ENDPOINT, 7..) if !made.settings.is_empty() => {
                    let endpoint = Endpoint { address: own[2], attributes: own[3], packet: word(own, 4), interval: own[6] };
                    made.settings.last_mut().into_iter().for_each(|setting| setting.endpoints.push(endpoint));
                }
                (INTERFACE | ENDPOINT | DEVICE | CONFIGURATION, _) => {
                    self.problem(format!("configuration {number}: descriptor of type {} does not belong at byte {at}", own[1]));
                }
                _ => made.settings.last_mut().map_or(&mut made.extra, |setting| &mut setting.extra).push(own.to_vec()),
            }
            at += length;
        }
        self.endpoints(number, made.settings.last(), announced);
        let mut numbers: Vec<u8> = made.settings.iter().map(|setting| setting.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != usize::from(bytes[4]) {
            self.problem(format!("configuration {number}: {} interfaces announced, {} there", bytes[4], numbers.len()));
        }
        Some(made)
    }

    fn endpoints(&mut self, number: usize, setting: Option<&Setting>, announced: usize) {
        let Some(setting) = setting else { return };
        if setting.endpoints.len() != announced {
            self.problem(format!(
                "configuration {number}: interface {} setting {} announces {announced} endpoints, {} there",
                setting.number,
                setting.alternate,
                setting.endpoints.len()
            ));
        }
    }

    /// Numbers of all strings that are referred to.
    #[must_use]
    pub fn string_numbers(&self) -> std::collections::BTreeSet<u8> {
        let device = self.device.iter().flat_map(|device| device.strings);
        let rest = self.configurations.iter().flat_map(|configuration| {
            std::iter::once(configuration.name).chain(configuration.settings.iter().map(|setting| setting.name))
        });
        device.chain(rest).filter(|number| *number != 0).collect()
    }
}

/// Text of a string descriptor (9.6.7).
///
/// # Errors
/// What is wrong with it.
pub fn text(bytes: &[u8]) -> Result<String, String> {
    let [length, STRING, ..] = *bytes else { return Err(format!("{} bytes that are no string", bytes.len())) };
    let length = usize::from(length);
    if length < 2 || length > bytes.len() || length % 2 != 0 {
        return Err(format!("a string of {length} bytes in {}", bytes.len()));
    }
    let units = bytes[2..length].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    Ok(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// Name of a class: the list of <https://www.usb.org/defined-class-codes>.
#[must_use]
pub const fn class_name(class: u8) -> &'static str {
    match class {
        0x01 => "audio",
        0x02 => "cdc",
        0x03 => "hid",
        0x05 => "physical",
        0x06 => "image",
        0x07 => "printer",
        0x08 => "mass-storage",
        0x09 => "hub",
        0x0A => "cdc-data",
        0x0B => "smart-card",
        0x0D => "content-security",
        0x0E => "video",
        0x0F => "healthcare",
        0x10 => "audio-video",
        0x11 => "billboard",
        0x12 => "type-c-bridge",
        0x3C => "i3c",
        0xDC => "diagnostic",
        0xE0 => "wireless",
        0xEF => "miscellaneous",
        0xFE => "application",
        0xFF => "vendor",
        _ => "unknown",
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Everything in a dump, as data for people and programs.
#[must_use]
pub fn json(dump: &Dump) -> Value {
    let strings: serde_json::Map<_, _> = dump
        .strings
        .iter()
        .map(|(number, bytes)| (number.to_string(), text(bytes).map_or_else(|why| json!({ "problem": why }), Value::from)))
        .collect();
    json!({
        "place": dump.place,
        "arrival": tree_json(&Tree::read(&dump.arrival), dump),
        "now": dump.now.as_ref().map(|bytes| if *bytes == dump.arrival { json!("the same") } else { tree_json(&Tree::read(bytes), dump) }),
        "strings": strings,
        "bos": dump.bos.as_deref().map(hex),
        "hid-reports": dump.reports.iter().map(|(number, bytes)| (number.to_string(), Value::from(hex(bytes)))).collect::<serde_json::Map<_, _>>(),
        "not-obtained": dump.missing,
    })
}

fn tree_json(tree: &Tree, dump: &Dump) -> Value {
    let name = |number: u8| dump.strings.get(&number).and_then(|bytes| text(bytes).ok());
    let setting = |setting: &Setting| {
        let endpoints: Vec<Value> = setting
            .endpoints
            .iter()
            .map(|endpoint| {
                json!({
                    "address": format!("{:#04x}", endpoint.address),
                    "transfer": endpoint.transfer(),
                    "packet": endpoint.packet,
                    "interval": endpoint.interval,
                })
            })
            .collect();
        json!({
            "interface": setting.number,
            "alternate": setting.alternate,
            "class": class_name(setting.class[0]),
            "codes": hex(&setting.class),
            "name": name(setting.name),
            "endpoints": endpoints,
            "extra": setting.extra.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>(),
        })
    };
    let configurations: Vec<Value> = tree
        .configurations
        .iter()
        .map(|configuration| {
            json!({
                "value": configuration.value,
                "name": name(configuration.name),
                "attributes": format!("{:#04x}", configuration.attributes),
                "milliamperes": configuration.current,
                "interfaces": configuration.settings.iter().map(setting).collect::<Vec<_>>(),
                "extra": configuration.extra.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let device = tree.device.map(|device| {
        json!({
            "id": format!("{:04x}:{:04x}", device.vendor, device.product),
            "usb": format!("{:04x}", device.usb),
            "version": format!("{:04x}", device.version),
            "codes": hex(&device.class),
            "manufacturer": name(device.strings[0]),
            "product": name(device.strings[1]),
            "serial-number": name(device.strings[2]),
        })
    });
    json!({ "device": device, "configurations": configurations, "problems": tree.problems })
}

#[cfg(test)]
mod tests;
