//! Serial adapters that are plugged in and have no serial port: their driver is missing, or another program has taken them from it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::sysfs::{UsbDevice, hexadecimal, text};
use crate::channel::finding::Finding;

/// Drivers of serial adapters, by vendor and product; a product of `None` is any. From the tables of the kernel's `drivers/usb/serial`.
const ADAPTERS: &[(u16, Option<u16>, &str)] = &[
    (0x1A86, Some(0x5523), "ch341"),
    (0x1A86, Some(0x7522), "ch341"),
    (0x1A86, Some(0x7523), "ch341"),
    (0x0403, Some(0x6001), "ftdi_sio"),
    (0x0403, Some(0x6010), "ftdi_sio"),
    (0x0403, Some(0x6011), "ftdi_sio"),
    (0x0403, Some(0x6014), "ftdi_sio"),
    (0x0403, Some(0x6015), "ftdi_sio"),
    (0x10C4, Some(0xEA60), "cp210x"),
    (0x10C4, Some(0xEA70), "cp210x"),
    (0x10C4, Some(0xEA71), "cp210x"),
    (0x067B, Some(0x2303), "pl2303"),
];

/// Interface class and subclass of a communication device with a modem's control model (USB CDC PSTN 1.2): the driver is `cdc_acm`.
const ACM: (u16, u16) = (0x02, 0x02);

/// Why an adapter at `location` has no port; nothing if it should have none.
#[must_use]
pub fn reason(sys: &Path, device: &UsbDevice) -> Option<Finding> {
    let directory = sys.join("bus/usb/devices").join(&device.location);
    let interfaces = interfaces(&directory, &device.location);
    let known =
        ADAPTERS.iter().find(|(vendor, product, _)| *vendor == device.vendor && product.is_none_or(|p| p == device.product));
    let is_acm = |interface: &PathBuf| {
        let number = |name| hexadecimal(&text(interface, name)?);
        number("bInterfaceClass").zip(number("bInterfaceSubClass")) == Some(ACM)
    };
    let wanted = known.map(|(_, _, module)| *module).or_else(|| interfaces.iter().any(is_acm).then_some("cdc_acm"))?;
    let concerned = interfaces.iter().filter(|interface| known.is_some() || is_acm(interface));
    let bound: Vec<Option<String>> = concerned.map(|interface| driver(interface)).collect();
    let what = |why: &str| {
        format!(
            "usb {:04x}:{:04x} at {} is a serial adapter without a port: {why}",
            device.vendor, device.product, device.location
        )
    };
    if bound.is_empty() {
        return None;
    }
    if bound.iter().flatten().any(|driver| driver == "usbfs") {
        return Some(Finding::problem(
            what("a program has taken it from its driver"),
            "brltty does so with adapters that it takes for Braille displays (`sudo apt-get remove brltty`); then plug it in again",
        ));
    }
    if bound.iter().flatten().next().is_some() {
        // Its driver has it; a port that is not there yet will come.
        return None;
    }
    let loaded = sys.join("module").join(wanted).is_dir();
    Some(if loaded {
        Finding::problem(
            what(&format!("driver {wanted} is loaded and has not taken it")),
            "plug it in again; brltty may have taken it meanwhile (`sudo apt-get remove brltty`), `sudo dmesg` tells",
        )
    } else {
        Finding::problem(
            what(&format!("kernel module {wanted} is not loaded")),
            format!(
                "`sudo modprobe {wanted}`; a kernel for clouds or containers may lack it: `sudo apt-get install linux-image-amd64`"
            ),
        )
    })
}

fn interfaces(device: &Path, location: &str) -> Vec<PathBuf> {
    let begins = format!("{location}:");
    let entries = fs::read_dir(device).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&begins)).map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn driver(interface: &Path) -> Option<String> {
    Some(fs::read_link(interface.join("driver")).ok()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::driver::sysfs::usb_devices;

    fn found(vendor: &str, product: &str, class: (&str, &str), driver: Option<&str>, module: Option<&str>) -> Option<Finding> {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("bus/usb/devices/1-3");
        let interface = device.join("1-3:1.0");
        fs::create_dir_all(&interface).unwrap();
        fs::write(device.join("idVendor"), vendor).unwrap();
        fs::write(device.join("idProduct"), product).unwrap();
        fs::write(interface.join("bInterfaceClass"), class.0).unwrap();
        fs::write(interface.join("bInterfaceSubClass"), class.1).unwrap();
        if let Some(driver) = driver {
            symlink(format!("../../../../bus/usb/drivers/{driver}"), interface.join("driver")).unwrap();
        }
        if let Some(module) = module {
            fs::create_dir_all(root.path().join("module").join(module)).unwrap();
        }
        reason(root.path(), &usb_devices(root.path()).unwrap()[0])
    }

    #[test]
    fn why_an_adapter_has_no_port_is_told() {
        let text = |finding: Option<Finding>| finding.unwrap().to_string();
        let missing = text(found("1a86", "7523", ("ff", "01"), None, None));
        assert!(missing.contains("kernel module ch341 is not loaded") && missing.contains("modprobe ch341"), "{missing}");
        let stolen = text(found("1a86", "7523", ("ff", "01"), Some("usbfs"), Some("ch341")));
        assert!(stolen.contains("a program has taken it") && stolen.contains("brltty"), "{stolen}");
        assert!(text(found("0403", "6001", ("ff", "ff"), None, Some("ftdi_sio"))).contains("has not taken it"));
        assert!(text(found("1209", "0001", ("02", "02"), None, None)).contains("cdc_acm"));
    }

    #[test]
    fn what_is_no_adapter_or_has_its_driver_is_left_alone() {
        assert_eq!(found("1a86", "7523", ("ff", "01"), Some("ch341"), Some("ch341")), None);
        assert_eq!(found("0951", "1666", ("08", "06"), None, None), None);
    }
}
