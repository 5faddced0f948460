//! Which instruments are there, and whether this user could open them. Nothing is opened that a device could notice.

mod others;

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    access::{self, Rule},
    probe, serial,
    serial::ports::Port,
    sysfs::{UsbDevice, usb_devices},
    unbound,
};

use others::Machine;

/// Device class of hubs (USB 2.0, 11.23.1).
const HUB: u8 = 9;

/// Stands for the chip's name, which no probe knows.
pub const CHIP: &str = "CHIP";

/// What an instrument is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A serial port.
    Serial,
    /// A debug probe.
    Probe,
    /// A chip of GPIO lines.
    Gpio,
    /// A Bluetooth adapter.
    Bluetooth,
    /// A network interface that a device could hang on.
    Network,
    /// An instrument of the USB test and measurement class.
    Usbtmc,
    /// A relay board that is a USB HID.
    HidRelay,
    /// A hub with ports that can be switched.
    Hub,
    /// Any other USB device.
    Usb,
}

/// An instrument or a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// What it is for.
    pub kind: Kind,
    /// What stays the same when it gets another name.
    pub identity: String,
    /// Where it is now: a device file or a place in the tree of hubs.
    pub place: String,
    /// Name that it gives itself; not to be trusted.
    pub name: Option<String>,
    /// Why it cannot be opened, and what to do about that.
    pub problem: Option<String>,
    /// How a rig names it: driver and parameters.
    pub rig: Option<(&'static str, Vec<(&'static str, String)>)>,
    /// What its lease is called, if a driver takes one.
    pub lease: Option<String>,
    /// Place in the tree of hubs, if it is on USB.
    pub location: Option<String>,
}

/// What changes when something is plugged in or out, cheap enough to be asked often.
#[must_use]
pub fn fingerprint(sys: &Path) -> BTreeSet<String> {
    const PLACES: &[&str] =
        &["bus/usb/devices", "bus/gpio/devices", "class/tty", "class/bluetooth", "class/net", "class/usbmisc", "class/hidraw"];
    let names = |place: &&str| {
        let place = (*place).to_owned();
        let entries = fs::read_dir(sys.join(&place)).into_iter().flatten().flatten();
        entries.map(move |entry| format!("{place}/{}", entry.file_name().to_string_lossy()))
    };
    let mut all: BTreeSet<String> = PLACES.iter().flat_map(names).collect();
    // A device that was away for a moment has another number.
    let numbers = usb_devices(sys).unwrap_or_default();
    all.extend(numbers.iter().map(|device| format!("{} {:?}", device.location, device.address)));
    all
}

/// Everything that is there. `sys`, `dev` and `proc` are `/sys`, `/dev` and `/proc`.
#[must_use]
pub fn instruments(sys: &Path, dev: &Path, proc: &Path) -> Vec<Instrument> {
    let label = |file: &Path| {
        let info = gpiocdev::chip::Chip::from_path(file).and_then(|chip| chip.info()).ok()?;
        Some((info.label, info.num_lines))
    };
    listed(sys, dev, proc, &probe::listed(), &label)
}

/// The same with what is not read from files: the probes that are there, and the label of a chip.
fn listed(
    sys: &Path,
    dev: &Path,
    proc: &Path,
    probes: &[probe::Listed],
    label: &dyn Fn(&Path) -> Option<(String, u32)>,
) -> Vec<Instrument> {
    let devices = usb_devices(sys).unwrap_or_default();
    let ports = serial::ports::ports(sys, dev).unwrap_or_default();
    let mut found: Vec<_> = ports.iter().map(|port| of_port(port, &ports, proc)).collect();
    found.extend(probes.iter().map(|probe| of_probe(probe, &devices, dev)));
    found.extend(Machine { sys, dev, proc, usb: &devices, label }.instruments());
    let told: BTreeSet<String> = found.iter().filter_map(|instrument| instrument.location.clone()).collect();
    let others = devices.iter().filter(|device| device.class != HUB && !told.contains(&device.location));
    found.extend(others.map(|device| of_device(device, sys, dev)));
    found
}

/// What stays of a USB device: its serial number, or its place.
fn usb_identity(device: &UsbDevice) -> String {
    let stays = match &device.serial_number {
        Some(number) => format!("serial number {number}"),
        None => format!("at {}", device.location),
    };
    format!("usb {:04x}:{:04x} {stays}", device.vendor, device.product)
}

fn of_port(port: &Port, all: &[Port], proc: &Path) -> Instrument {
    let path = port.path.display().to_string();
    let parameters = match &port.usb {
        None => vec![("path", path.clone())],
        Some(usb) => {
            let mut parameters = vec![("usb", format!("{:04x}:{:04x}", usb.vendor, usb.product))];
            match &usb.serial_number {
                Some(number) => parameters.push(("serial-number", number.clone())),
                None => parameters.push(("location", usb.location.clone())),
            }
            parameters.push(("interface", usb.interface.to_string()));
            parameters
        }
    };
    Instrument {
        kind: Kind::Serial,
        identity: port.usb.as_ref().map_or_else(|| path.clone(), ToString::to_string),
        problem: access::denied(&port.path, Rule::Group)
            .or_else(|| access::in_use(&port.path, proc))
            .map(|problem| problem.to_string()),
        lease: Some(serial::instrument(port, all)),
        location: port.usb.as_ref().map(|usb| usb.location.clone()),
        place: path,
        name: port.usb.as_ref().and_then(|usb| usb.product_name.clone()),
        rig: Some(("serial", parameters)),
    }
}

fn is_probe(device: &UsbDevice, probe: &probe::Listed) -> bool {
    (device.vendor, device.product) == (probe.vendor, probe.product) && device.serial_number == probe.serial_number
}

fn of_probe(probe: &probe::Listed, devices: &[UsbDevice], dev: &Path) -> Instrument {
    let device = devices.iter().find(|device| is_probe(device, probe));
    let selector = probe.to_string();
    Instrument {
        kind: Kind::Probe,
        identity: format!("debug probe {selector}"),
        place: device.map_or_else(|| "?".to_owned(), |device| device.location.clone()),
        name: Some(probe.name.clone()),
        problem: device
            .and_then(|device| access::denied(&device.file(dev)?, Rule::Usb(device.vendor, device.product)))
            .map(|problem| problem.to_string()),
        lease: Some(format!("debug probe {selector}")),
        location: device.map(|device| device.location.clone()),
        rig: Some(("probe-rs", vec![("probe", selector), ("chip", CHIP.to_owned())])),
    }
}

fn of_device(device: &UsbDevice, sys: &Path, dev: &Path) -> Instrument {
    let names = [&device.manufacturer, &device.product_name];
    let name = names.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    Instrument {
        kind: Kind::Usb,
        identity: usb_identity(device),
        place: device.location.clone(),
        name: (!name.is_empty()).then_some(name),
        problem: unbound::reason(sys, device)
            .or_else(|| access::denied(&device.file(dev)?, Rule::Usb(device.vendor, device.product)))
            .map(|problem| problem.to_string()),
        rig: None,
        lease: None,
        location: Some(device.location.clone()),
    }
}

#[cfg(test)]
mod tests;
