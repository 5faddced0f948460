//! Instruments that are neither serial ports nor debug probes, read from sysfs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Instrument, Kind};
use crate::{
    channel::finding::Finding,
    driver::{
        access::{self, Rule},
        sysfs::{UsbDevice, text},
    },
};

/// The machine as the kernel shows it.
pub(super) struct Machine<'a> {
    pub(super) sys: &'a Path,
    pub(super) dev: &'a Path,
    pub(super) proc: &'a Path,
    /// USB devices, hubs included.
    pub(super) usb: &'a [UsbDevice],
    /// Label and number of lines of a chip of GPIO lines, if it may be asked.
    pub(super) label: &'a dyn Fn(&Path) -> Option<(String, u32)>,
}

/// USB vendor and product that relay boards behind a V-USB HID share (the list of free ids of obdev.at).
const HID_RELAY: (u16, u16) = (0x16C0, 0x05DF);

/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const ETHERNET: &str = "1";

/// `CAP_NET_ADMIN` of `linux/capability.h`.
const NET_ADMIN: u32 = 12;

impl Machine<'_> {
    /// All of them.
    pub(super) fn instruments(&self) -> Vec<Instrument> {
        let mut found = self.gpio();
        found.extend(self.bluetooth());
        found.extend(self.networks());
        found.extend(self.usbtmc());
        found.extend(self.hid_relays());
        found.extend(self.hubs());
        found
    }

    /// Names in a directory, sorted as people count.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.sys.join(directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    /// The USB device that something in sysfs belongs to, and where in the machine it is otherwise.
    fn behind(&self, entry: &Path) -> (Option<&UsbDevice>, Option<String>) {
        let Ok(place) = fs::canonicalize(entry) else { return (None, None) };
        let usb = place.ancestors().find_map(|directory| {
            let name = directory.file_name()?.to_string_lossy();
            self.usb.iter().find(|device| *device.location == *name && directory.join("idVendor").is_file())
        });
        (usb, Some(place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()))
    }

    fn instrument(&self, kind: Kind, entry: &Path, place: String, what: &str, problem: Option<Finding>) -> Instrument {
        let (usb, own) = self.behind(&entry.join("device"));
        let (usb, own) = if usb.is_none() && own.is_none() { self.behind(entry) } else { (usb, own) };
        let identity = match (usb, own) {
            (Some(usb), _) => format!("{what}{}", super::usb_identity(usb)),
            (None, Some(own)) if !own.is_empty() => format!("{what}{own}"),
            _ => format!("{what}{place}"),
        };
        Instrument {
            kind,
            identity,
            place,
            name: usb.and_then(|usb| usb.product_name.clone()),
            problem: problem.map(|problem| problem.to_string()),
            rig: None,
            lease: None,
            location: usb.map(|usb| usb.location.clone()),
        }
    }

    fn gpio(&self) -> Vec<Instrument> {
        let chip = |name: String| {
            let (entry, file) = (self.sys.join("bus/gpio/devices").join(&name), self.dev.join(&name));
            let problem = access::denied(&file, Rule::Gpio);
            let label = if problem.is_none() { (self.label)(&file) } else { None };
            let what = match &label {
                Some((label, lines)) => format!("{lines} lines of {label}, "),
                None => String::new(),
            };
            let mut instrument = self.instrument(Kind::Gpio, &entry, file.display().to_string(), &what, problem);
            instrument.name = label.map(|(label, _)| label).or(instrument.name);
            instrument
        };
        self.names("bus/gpio/devices").into_iter().map(chip).collect()
    }

    fn bluetooth(&self) -> Vec<Instrument> {
        // Connections stand beside the adapters: `hci0:11`.
        let adapters = self.names("class/bluetooth").into_iter().filter(|name| !name.contains(':'));
        let adapter = |name: String| {
            let entry = self.sys.join("class/bluetooth").join(&name);
            let blocked = fs::read_dir(&entry).into_iter().flatten().flatten().any(|file| {
                file.file_name().to_string_lossy().starts_with("rfkill")
                    && ["soft", "hard"].iter().any(|switch| text(&file.path(), switch).as_deref() == Some("1"))
            });
            let problem = if blocked {
                Some(Finding::problem(format!("{name} is switched off"), "`sudo rfkill unblock bluetooth`, or its switch"))
            } else if !self.runs("bluetoothd") {
                let advice = "`sudo apt-get install bluez`, then `sudo systemctl start bluetooth`";
                Some(Finding::problem("bluetoothd does not run, without which no program can use it", advice))
            } else {
                None
            };
            self.instrument(Kind::Bluetooth, &entry, name, "Bluetooth adapter ", problem)
        };
        adapters.map(adapter).collect()
    }

    /// Whether a program of that name runs.
    fn runs(&self, name: &str) -> bool {
        let entries = fs::read_dir(self.proc).into_iter().flatten().flatten();
        let numbered = entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|c| c.is_ascii_digit()));
        numbered.into_iter().any(|entry| fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
    }

    /// Interfaces that a device could hang on: Ethernet and wireless hardware, and ends of virtual cables.
    fn networks(&self) -> Vec<Instrument> {
        let own = self.default_routes();
        let interface = |name: String| {
            let entry = self.sys.join("class/net").join(&name);
            if text(&entry, "type").as_deref() != Some(ETHERNET) {
                return None;
            }
            let hardware = entry.join("device").exists();
            let cable = text(&entry, "iflink") != text(&entry, "ifindex");
            if !hardware && !cable {
                return None;
            }
            let problem = if own.contains(&name) {
                let advice = "use another interface for a device: what a plan does to this one cuts off the machine";
                Some(Finding::problem("this is the machine's own way to the network", advice))
            } else if self.may_not_change_networks() {
                let advice = "run as root, or `sudo setcap cap_net_admin,cap_net_raw+ep` on the program";
                Some(Finding::problem("this user may not change networks (CAP_NET_ADMIN)", advice))
            } else {
                None
            };
            let address = text(&entry, "address").map(|address| format!("{address} ")).unwrap_or_default();
            let kind = if entry.join("phy80211").exists() { "wireless " } else { "" };
            let what = if hardware { format!("{kind}{address}on ") } else { "end of a virtual cable, ".to_owned() };
            let mut instrument = self.instrument(Kind::Network, &entry, name, &what, problem);
            if !hardware {
                instrument.identity = format!("end of a virtual cable {}", address.trim());
            }
            Some(instrument)
        };
        self.names("class/net").into_iter().filter_map(interface).collect()
    }

    /// Interfaces with a default route (`proc(5)`: destination and mask of all zeros in `/proc/net/route`).
    fn default_routes(&self) -> BTreeSet<String> {
        let table = fs::read_to_string(self.proc.join("net/route")).unwrap_or_default();
        let default = |line: &str| {
            let mut fields = line.split_whitespace();
            let name = fields.next()?;
            (fields.next()? == "00000000" && fields.nth(5)? == "00000000").then(|| name.to_owned())
        };
        table.lines().skip(1).filter_map(default).collect()
    }

    fn may_not_change_networks(&self) -> bool {
        let status = fs::read_to_string(self.proc.join("self/status")).unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        bits.is_some_and(|bits| bits >> NET_ADMIN & 1 == 0)
    }

    fn usbtmc(&self) -> Vec<Instrument> {
        let names = self.names("class/usbmisc").into_iter().filter(|name| name.starts_with("usbtmc"));
        let one = |name: String| {
            let file = self.dev.join(&name);
            let problem = access::denied(&file, Rule::Usbtmc).or_else(|| access::in_use(&file, self.proc));
            let entry = self.sys.join("class/usbmisc").join(&name);
            self.instrument(Kind::Usbtmc, &entry, file.display().to_string(), "", problem)
        };
        names.map(one).collect()
    }

    fn hid_relays(&self) -> Vec<Instrument> {
        let one = |name: String| {
            let entry = self.sys.join("class/hidraw").join(&name);
            let usb = self.behind(&entry.join("device")).0?;
            if (usb.vendor, usb.product) != HID_RELAY {
                return None;
            }
            let file = self.dev.join(&name);
            let problem =
                access::denied(&file, Rule::Hidraw(usb.vendor, usb.product)).or_else(|| access::in_use(&file, self.proc));
            Some(self.instrument(Kind::HidRelay, &entry, file.display().to_string(), "relay board ", problem))
        };
        self.names("class/hidraw").into_iter().filter_map(one).collect()
    }

    /// Hubs whose ports the kernel can disable.
    fn hubs(&self) -> Vec<Instrument> {
        self.usb.iter().filter_map(|hub| self.hub(hub)).collect()
    }

    fn hub(&self, hub: &UsbDevice) -> Option<Instrument> {
        let location = &hub.location;
        let interface = location.strip_prefix("usb").map_or_else(|| format!("{location}:1.0"), |bus| format!("{bus}-0:1.0"));
        let interface = self.sys.join("bus/usb/devices").join(interface);
        let begins = format!("{location}-port");
        let mut ports: Vec<(u8, PathBuf)> = fs::read_dir(interface)
            .ok()?
            .flatten()
            .filter_map(|entry| {
                let number = entry.file_name().to_string_lossy().strip_prefix(&begins)?.parse().ok()?;
                let file = entry.path().join("disable");
                file.is_file().then_some((number, file))
            })
            .collect();
        ports.sort();
        let numbers: Vec<String> = ports.iter().map(|(number, _)| number.to_string()).collect();
        let problem = access::denied(&ports.first()?.1, Rule::HubPort);
        Some(Instrument {
            kind: Kind::Hub,
            identity: format!("hub {:04x}:{:04x}, ports that can be switched: {}", hub.vendor, hub.product, numbers.join(" ")),
            place: location.clone(),
            name: hub.product_name.clone(),
            problem: problem.map(|problem| problem.to_string()),
            rig: None,
            lease: None,
            location: Some(location.clone()),
        })
    }
}
