//! Which serial ports are there, and what stays the same when they get another name.
//!
//! Linux numbers ports in the order of their appearance: `ttyACM0` is another instrument tomorrow. What stays is the USB identity (vendor,
//! product, serial number, interface) and the place in the tree of hubs. Both are read from sysfs (kernel documentation
//! `ABI/stable/sysfs-bus-usb` and `ABI/testing/sysfs-bus-usb`), so no system library is needed.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::driver::sysfs::{hexadecimal, text};

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Device file as it is called now: `/dev/ttyACM0`.
    pub path: PathBuf,
    /// What it is on USB; `None` for a port of the machine itself.
    pub usb: Option<UsbPort>,
}

/// A USB serial port's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbPort {
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Serial number; many cheap adapters have none.
    pub serial_number: Option<String>,
    /// Number of the interface, for instruments with several ports.
    pub interface: u8,
    /// Place in the tree of hubs: bus, then port after port, `1-1.2`.
    pub location: String,
    /// Name that the instrument gives itself.
    pub product_name: Option<String>,
}

impl fmt::Display for UsbPort {
    /// The identity that stays: without a serial number that is the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "usb {:04x}:{:04x}", self.vendor, self.product)?;
        match &self.serial_number {
            Some(number) => write!(f, " serial number {number}")?,
            None => write!(f, " at {}", self.location)?,
        }
        write!(f, " interface {}", self.interface)
    }
}

/// Serial ports that have hardware behind them, by name. `sys` and `dev` are `/sys` and `/dev`.
///
/// # Errors
/// The list of terminals cannot be read.
pub fn ports(sys: &Path, dev: &Path) -> io::Result<Vec<Port>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(sys.join("class/tty"))? {
        let entry = entry?;
        // Virtual terminals have no device. A port that goes away while it is looked at is not there.
        let Ok(device) = fs::canonicalize(entry.path().join("device")) else { continue };
        let usb = usb_port(&device);
        // The machine's own 8250 driver lists ports that do not exist; their type is 0 (`ABI/testing/sysfs-tty`).
        let absent = text(&entry.path(), "type").is_some_and(|kind| kind == "0");
        if usb.is_some() || !absent {
            found.push(Port { path: dev.join(entry.file_name()), usb });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Looks up from a tty's device for the USB interface and the USB device that it belongs to.
fn usb_port(device: &Path) -> Option<UsbPort> {
    let interface = device.ancestors().find(|directory| directory.join("bInterfaceNumber").is_file())?;
    let parent = interface.parent()?;
    Some(UsbPort {
        vendor: hexadecimal(&text(parent, "idVendor")?)?,
        product: hexadecimal(&text(parent, "idProduct")?)?,
        serial_number: text(parent, "serial"),
        interface: u8::from_str_radix(&text(interface, "bInterfaceNumber")?, 16).ok()?,
        location: parent.file_name()?.to_string_lossy().into_owned(),
        product_name: text(parent, "product"),
    })
}

/// What a rig says about a port: everything given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Vendor and product.
    pub usb: Option<(u16, u16)>,
    /// Serial number.
    pub serial_number: Option<String>,
    /// Interface number.
    pub interface: Option<u8>,
    /// Place in the tree of hubs.
    pub location: Option<String>,
}

impl Wanted {
    /// Parses `vvvv:pppp` in hexadecimal.
    #[must_use]
    pub fn parse_usb(text: &str) -> Option<(u16, u16)> {
        let (vendor, product) = text.split_once(':')?;
        let digits = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = |part: &str| digits(part).then(|| hexadecimal(part))?;
        Some((id(vendor)?, id(product)?))
    }

    fn fits(&self, port: &UsbPort) -> bool {
        self.usb.is_none_or(|usb| usb == (port.vendor, port.product))
            && self.serial_number.as_ref().is_none_or(|number| port.serial_number.as_ref() == Some(number))
            && self.interface.is_none_or(|interface| interface == port.interface)
            && self.location.as_ref().is_none_or(|location| *location == port.location)
    }

    /// Whether any port fits.
    #[must_use]
    pub fn is_there(&self, ports: &[Port]) -> bool {
        ports.iter().any(|port| port.usb.as_ref().is_some_and(|usb| self.fits(usb)))
    }

    /// The one port that fits.
    ///
    /// # Errors
    /// None fits, or several do; the text lists what is there and what would tell them apart.
    pub fn choose<'a>(&self, ports: &'a [Port]) -> Result<&'a Port, String> {
        let fitting: Vec<_> = ports.iter().filter(|port| port.usb.as_ref().is_some_and(|usb| self.fits(usb))).collect();
        match fitting.as_slice() {
            [one] => Ok(one),
            [] => {
                let there: Vec<_> = ports.iter().filter_map(|port| port.usb.as_ref()).map(ToString::to_string).collect();
                let there = if there.is_empty() { "no USB serial port".to_owned() } else { there.join("; ") };
                Err(format!("no serial port is {self}; there is: {there}"))
            }
            several => {
                let several: Vec<_> = several
                    .iter()
                    .filter_map(|port| {
                        port.usb.as_ref().map(|usb| format!("{usb} at {} ({})", usb.location, port.path.display()))
                    })
                    .collect();
                let what = several.join("; ");
                Err(format!("{self} is more than one serial port: {what}; add `serial-number`, `interface` or `location`"))
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("usb")?;
        if let Some((vendor, product)) = self.usb {
            write!(f, " {vendor:04x}:{product:04x}")?;
        }
        if let Some(number) = &self.serial_number {
            write!(f, " serial number {number}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        if let Some(interface) = self.interface {
            write!(f, " interface {interface}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree like that of the kernel: two boards of one kind, one of them with two ports, an adapter without serial number, the
    /// machine's own port, one that does not exist, and a virtual terminal.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path().join("sys");
        let usb = |location: &str, ids: (&str, &str), serial: Option<&str>| {
            let device = sys.join("devices/pci0000:00/usb1").join(location);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("idVendor"), format!("{}\n", ids.0)).unwrap();
            fs::write(device.join("idProduct"), format!("{}\n", ids.1)).unwrap();
            fs::write(device.join("product"), "A \u{1b}[2Jboard\n").unwrap();
            if let Some(serial) = serial {
                fs::write(device.join("serial"), format!("{serial}\n")).unwrap();
            }
            device
        };
        let tty = |name: &str, device: &Path| {
            let class = sys.join("class/tty").join(name);
            fs::create_dir_all(&class).unwrap();
            fs::create_dir_all(device).unwrap();
            symlink(device, class.join("device")).unwrap();
            class
        };
        let interface = |device: &Path, location: &str, number: &str| {
            let interface = device.join(format!("{location}:1.{number}"));
            fs::create_dir_all(&interface).unwrap();
            fs::write(interface.join("bInterfaceNumber"), format!("{number:0>2}\n")).unwrap();
            interface
        };
        let first = usb("1-1", ("0d28", "0204"), Some("9900"));
        tty("ttyACM0", &interface(&first, "1-1", "1"));
        tty("ttyACM1", &interface(&first, "1-1", "3"));
        let second = usb("1-2.4", ("0d28", "0204"), Some("9901"));
        tty("ttyACM2", &interface(&second, "1-2.4", "1"));
        // Adapters behind the usbserial driver have one more directory between.
        let cheap = usb("1-3", ("1a86", "7523"), None);
        tty("ttyUSB0", &interface(&cheap, "1-3", "0").join("ttyUSB0"));
        let own = sys.join("devices/pnp0/00:04");
        fs::write(tty("ttyS0", &own).join("type"), "4\n").unwrap();
        fs::write(tty("ttyS1", &own).join("type"), "0\n").unwrap();
        fs::create_dir_all(sys.join("class/tty/tty0")).unwrap();
        root
    }

    fn found(root: &tempfile::TempDir) -> Vec<Port> {
        ports(&root.path().join("sys"), Path::new("/dev")).unwrap()
    }

    fn wanted(usb: &str, serial_number: Option<&str>, interface: Option<u8>, location: Option<&str>) -> Wanted {
        Wanted {
            usb: Wanted::parse_usb(usb),
            serial_number: serial_number.map(str::to_owned),
            interface,
            location: location.map(str::to_owned),
        }
    }

    #[test]
    fn ports_with_hardware_are_found_with_what_stays() {
        let root = tree();
        let found = found(&root);
        let names: Vec<_> = found.iter().map(|port| port.path.to_str().unwrap()).collect();
        assert_eq!(names, ["/dev/ttyACM0", "/dev/ttyACM1", "/dev/ttyACM2", "/dev/ttyS0", "/dev/ttyUSB0"]);
        let identities: Vec<_> = found.iter().filter_map(|port| port.usb.as_ref()).map(ToString::to_string).collect();
        assert_eq!(
            identities,
            [
                "usb 0d28:0204 serial number 9900 interface 1",
                "usb 0d28:0204 serial number 9900 interface 3",
                "usb 0d28:0204 serial number 9901 interface 1",
                "usb 1a86:7523 at 1-3 interface 0",
            ]
        );
    }

    #[test]
    fn exactly_one_port_must_fit() {
        let root = tree();
        let found = found(&root);
        let path = |wanted: Wanted| wanted.choose(&found).map(|port| port.path.display().to_string());
        assert_eq!(path(wanted("0d28:0204", Some("9901"), None, None)).unwrap(), "/dev/ttyACM2");
        assert_eq!(path(wanted("0d28:0204", Some("9900"), Some(3), None)).unwrap(), "/dev/ttyACM1");
        assert_eq!(path(wanted("", None, None, Some("1-3"))).unwrap(), "/dev/ttyUSB0");
        let several = path(wanted("0d28:0204", Some("9900"), None, None)).unwrap_err();
        assert!(several.contains("more than one") && several.contains("ttyACM0") && several.contains("`interface`"), "{several}");
        let none = path(wanted("0403:6001", None, None, None)).unwrap_err();
        assert!(none.contains("no serial port is usb 0403:6001") && none.contains("usb 1a86:7523 at 1-3"), "{none}");
    }

    #[test]
    fn ids_are_four_digits_each() {
        assert_eq!(Wanted::parse_usb("0d28:0204"), Some((0x0D28, 0x0204)));
        for wrong in ["d28:204", "0d28", "0d28:0204:1", "0d28:zzzz", "0d280204", "+d28:0204"] {
            assert_eq!(Wanted::parse_usb(wrong), None, "{wrong}");
        }
    }
}
