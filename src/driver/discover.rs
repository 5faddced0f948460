//! Which instruments are there, and whether this user could open them. Nothing is opened that a device could notice.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, Gid, Group, access};

use super::{
    probe, serial,
    serial::ports::Port,
    sysfs::{UsbDevice, usb_devices},
};

/// Device class of hubs (USB 2.0, 11.23.1).
const HUB: u8 = 9;

/// What an instrument is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A serial port.
    Serial,
    /// A debug probe.
    Probe,
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
}

/// Everything that is there. `sys`, `dev` and `proc` are `/sys`, `/dev` and `/proc`.
#[must_use]
pub fn instruments(sys: &Path, dev: &Path, proc: &Path) -> Vec<Instrument> {
    let devices = usb_devices(sys).unwrap_or_default();
    let ports = serial::ports::ports(sys, dev).unwrap_or_default();
    let probes = probe::listed();
    let mut found: Vec<_> = ports.iter().map(|port| of_port(port, proc)).collect();
    found.extend(probes.iter().map(|probe| of_probe(probe, &devices, dev)));
    let told = |device: &UsbDevice| {
        ports.iter().filter_map(|port| port.usb.as_ref()).any(|usb| usb.location == device.location)
            || probes.iter().any(|probe| is_probe(device, probe))
    };
    found.extend(devices.iter().filter(|device| device.class != HUB && !told(device)).map(|device| of_device(device, dev)));
    found
}

fn of_port(port: &Port, proc: &Path) -> Instrument {
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
        problem: not_allowed(&port.path).or_else(|| in_use(&port.path, proc)),
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
        problem: device.and_then(|device| not_allowed(&device.file(dev)?)),
        rig: Some(("probe-rs", vec![("probe", selector), ("chip", "CHIP".to_owned())])),
    }
}

fn of_device(device: &UsbDevice, dev: &Path) -> Instrument {
    let number = device.serial_number.as_ref().map(|number| format!(" serial number {number}")).unwrap_or_default();
    let names = [&device.manufacturer, &device.product_name];
    let name = names.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    Instrument {
        kind: Kind::Usb,
        identity: format!("usb {:04x}:{:04x}{number}", device.vendor, device.product),
        place: device.location.clone(),
        name: (!name.is_empty()).then_some(name),
        problem: device.file(dev).and_then(|file| not_allowed(&file)),
        rig: None,
    }
}

/// Whether this user may read and write the file, and if not, what to do.
fn not_allowed(file: &Path) -> Option<String> {
    let Err(error) = access(file, AccessFlags::R_OK | AccessFlags::W_OK) else { return None };
    let shown = file.display();
    if error != nix::errno::Errno::EACCES {
        return Some(format!("{shown}: {}", error.desc()));
    }
    let metadata = fs::metadata(file).ok()?;
    let group = Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten().map(|group| group.name);
    let shared = metadata.mode() & 0o060 == 0o060;
    Some(match group.filter(|name| shared && name != "root") {
        Some(group) => {
            format!(
                "this user may not open {shown}; it is open to group {group}: `sudo usermod -aG {group} $USER`, then log in again"
            )
        }
        None => format!("this user may not open {shown}; add a udev rule for it with TAG+=\"uaccess\", then plug it in again"),
    })
}

/// Who has the file open, as far as this user is told.
fn in_use(file: &Path, proc: &Path) -> Option<String> {
    let processes = fs::read_dir(proc).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let has_it = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten();
        descriptors.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == file))
    };
    let numbered =
        |process: &PathBuf| process.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|c| c.is_ascii_digit()));
    let process = processes.filter(numbered).find(has_it)?;
    let number = process.file_name()?.to_string_lossy().into_owned();
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some(format!("{} is in use by process {number} ({})", file.display(), name.trim()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_port_that_somebody_has_open_is_told_with_who() {
        let root = tempfile::tempdir().unwrap();
        let port = root.path().join("ttyUSB0");
        fs::write(&port, "").unwrap();
        let proc = root.path().join("proc");
        fs::create_dir_all(proc.join("77/fd")).unwrap();
        fs::create_dir_all(proc.join("self/fd")).unwrap();
        assert_eq!(in_use(&port, &proc), None);
        symlink(&port, proc.join("77/fd/3")).unwrap();
        fs::write(proc.join("77/comm"), "ModemManager\n").unwrap();
        assert_eq!(in_use(&port, &proc).unwrap(), format!("{} is in use by process 77 (ModemManager)", port.display()));
    }

    #[test]
    fn a_file_that_is_not_there_or_not_ours_is_told_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("003");
        assert!(not_allowed(&file).unwrap().contains("No such file"));
        fs::write(&file, "").unwrap();
        assert_eq!(not_allowed(&file), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        // The administrator may open everything.
        if !nix::unistd::geteuid().is_root() {
            assert!(not_allowed(&file).unwrap().contains("udev rule"));
        }
    }

    #[test]
    fn a_usb_device_that_is_neither_port_nor_probe_is_listed_by_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/usb/devices/1-4");
        fs::create_dir_all(&device).unwrap();
        for (name, value) in
            [("idVendor", "16c0"), ("idProduct", "05df"), ("product", "USBRelay2"), ("busnum", "1"), ("devnum", "9")]
        {
            fs::write(device.join(name), value).unwrap();
        }
        let found = of_device(&usb_devices(&root.path().join("sys")).unwrap()[0], root.path());
        assert_eq!((found.identity.as_str(), found.place.as_str()), ("usb 16c0:05df", "1-4"));
        assert_eq!(found.name.as_deref(), Some("USBRelay2"));
        assert!(found.problem.unwrap().contains("bus/usb/001/009"));
    }
}
