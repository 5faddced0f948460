//! What Linux tells of USB devices, read from sysfs: no system library is needed, and no device notices.
//!
//! Attributes are those of the kernel's `Documentation/ABI/testing/sysfs-bus-usb` and `ABI/stable/sysfs-bus-usb`. Texts come from the devices and are
//! not to be trusted: whoever shows them sanitises them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Longest attribute that is taken, in bytes; a USB string has at most 126 characters.
const LONGEST: u64 = 4096;

/// A USB device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbDevice {
    /// Place in the tree of hubs: bus, then port after port, `1-1.2`.
    pub location: String,
    /// Vendor id.
    pub vendor: u16,
    /// Product id.
    pub product: u16,
    /// Class of the device, 9 for a hub.
    pub class: u8,
    /// Serial number.
    pub serial_number: Option<String>,
    /// Name that the maker gives itself.
    pub manufacturer: Option<String>,
    /// Name that the product gives itself.
    pub product_name: Option<String>,
    /// Bus and device number: its file is `/dev/bus/usb/BBB/DDD`.
    pub address: Option<(u16, u16)>,
}

impl UsbDevice {
    /// Device file, below `/dev`.
    #[must_use]
    pub fn file(&self, dev: &Path) -> Option<PathBuf> {
        self.address.map(|(bus, number)| dev.join(format!("bus/usb/{bus:03}/{number:03}")))
    }

    fn read(directory: &Path) -> Option<Self> {
        let number = |name: &str| text(directory, name)?.parse().ok();
        Some(Self {
            location: directory.file_name()?.to_string_lossy().into_owned(),
            vendor: hexadecimal(&text(directory, "idVendor")?)?,
            product: hexadecimal(&text(directory, "idProduct")?)?,
            class: text(directory, "bDeviceClass").and_then(|class| u8::from_str_radix(&class, 16).ok()).unwrap_or(0),
            serial_number: text(directory, "serial"),
            manufacturer: text(directory, "manufacturer"),
            product_name: text(directory, "product"),
            address: number("busnum").zip(number("devnum")),
        })
    }
}

/// USB devices by place, hubs included.
///
/// # Errors
/// The list cannot be read; a machine without USB has an empty one.
pub fn usb_devices(sys: &Path) -> io::Result<Vec<UsbDevice>> {
    let entries = match fs::read_dir(sys.join("bus/usb/devices")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Interfaces stand in the same directory and have no vendor. A device that goes away while it is looked at is not there.
    let mut found: Vec<_> = entries.filter_map(|entry| UsbDevice::read(&entry.ok()?.path())).collect();
    found.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(found)
}

/// The USB device that a device of another class hangs on; `class` is a link such as `/sys/class/tty/ttyUSB0`.
pub(super) fn usb_above(class: &Path) -> Option<UsbDevice> {
    let place = class.canonicalize().ok()?;
    place.ancestors().find(|directory| directory.join("idVendor").exists()).and_then(UsbDevice::read)
}

/// A 16-bit id without a prefix.
pub(super) fn hexadecimal(text: &str) -> Option<u16> {
    u16::from_str_radix(text, 16).ok()
}

/// One attribute: a short line, or nothing.
pub(super) fn text(directory: &Path, attribute: &str) -> Option<String> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(directory.join(attribute)).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_and_interfaces_are_not() {
        let root = tempfile::tempdir().unwrap();
        let devices = root.path().join("bus/usb/devices");
        let device = |location: &str, attributes: &[(&str, &str)]| {
            fs::create_dir_all(devices.join(location)).unwrap();
            for (name, value) in attributes {
                fs::write(devices.join(location).join(name), format!("{value}\n")).unwrap();
            }
        };
        device("usb1", &[("idVendor", "1d6b"), ("idProduct", "0002"), ("bDeviceClass", "09"), ("busnum", "1"), ("devnum", "1")]);
        device(
            "1-2",
            &[
                ("idVendor", "0d28"),
                ("idProduct", "0204"),
                ("serial", "9900"),
                ("product", "A board"),
                ("busnum", "1"),
                ("devnum", "14"),
            ],
        );
        device("1-2:1.0", &[("bInterfaceNumber", "00")]);
        device("1-3", &[("idVendor", "zz"), ("idProduct", "0204")]);
        let found = usb_devices(root.path()).unwrap();
        assert_eq!(found.iter().map(|device| device.location.as_str()).collect::<Vec<_>>(), ["1-2", "usb1"]);
        assert_eq!(found[0].serial_number.as_deref(), Some("9900"));
        assert_eq!(found[0].file(Path::new("/dev")).unwrap(), Path::new("/dev/bus/usb/001/014"));
        assert_eq!((found[1].class, found[1].product_name.as_deref()), (9, None));
    }

    #[test]
    fn a_device_of_another_class_leads_to_its_usb_device() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("devices/usb1/1-3");
        let chip = device.join("1-3:1.0/ttyUSB0/gpiochip4");
        fs::create_dir_all(&chip).unwrap();
        fs::create_dir_all(root.path().join("bus")).unwrap();
        let link = root.path().join("bus/gpiochip4");
        std::os::unix::fs::symlink(&chip, &link).unwrap();
        assert_eq!(usb_above(&link), None);
        fs::write(device.join("idVendor"), "0403\n").unwrap();
        fs::write(device.join("idProduct"), "6001\n").unwrap();
        let usb = usb_above(&link).unwrap();
        assert_eq!((usb.location.as_str(), usb.vendor, usb.product), ("1-3", 0x0403, 0x6001));
    }

    #[test]
    fn a_machine_without_usb_has_none() {
        assert_eq!(usb_devices(tempfile::tempdir().unwrap().path()).unwrap(), []);
    }
}
