//! Why a debug probe cannot be opened, as far as that can be seen without opening it.

use std::path::Path;

use probe_rs::probe::DebugProbeSelector;

use crate::{
    channel::finding::Finding,
    driver::{
        access::{self, Rule},
        sysfs::{UsbDevice, usb_devices},
    },
};

/// What stands in the way of the probe that `selector` names. Blocks for the time of a look at the bus.
pub(super) fn obstacle(selector: &DebugProbeSelector) -> Option<Finding> {
    let devices = usb_devices(Path::new("/sys")).unwrap_or_default();
    let listed: Vec<String> = super::listed().iter().map(ToString::to_string).collect();
    among(selector, &devices, &listed, Path::new("/dev"), Path::new("/proc"))
}

fn among(selector: &DebugProbeSelector, devices: &[UsbDevice], listed: &[String], dev: &Path, proc: &Path) -> Option<Finding> {
    let fits = |device: &&UsbDevice| {
        (device.vendor, device.product) == (selector.vendor_id, selector.product_id)
            && selector.serial_number.as_ref().is_none_or(|number| device.serial_number.as_ref() == Some(number))
    };
    if let Some(device) = devices.iter().find(fits) {
        let file = device.file(dev)?;
        // A probe that may not be opened is often not even listed: its name cannot be read.
        return access::denied(&file, Rule::Usb(device.vendor, device.product)).or_else(|| access::in_use(&file, proc));
    }
    let wanted = selector.to_string();
    let begins = |probe: &String| *probe == wanted || selector.serial_number.is_none() && probe.starts_with(&wanted);
    if listed.iter().any(begins) {
        // Not on USB: in this process, or behind a socket.
        return None;
    }
    let there = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
    Some(Finding::absent(
        format!("there is no debug probe {wanted}, there is: {there}"),
        "plug it in, or correct `probe`; `hilbench discover` lists what is there",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_is_away_or_taken_is_told() {
        let root = tempfile::tempdir().unwrap();
        let (dev, proc) = (root.path().join("dev"), root.path().join("proc"));
        let file = dev.join("bus/usb/001/009");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::create_dir_all(proc.join("41/fd")).unwrap();
        std::fs::write(&file, "").unwrap();
        std::fs::write(proc.join("41/comm"), "openocd\n").unwrap();
        let device = UsbDevice {
            location: "1-1".to_owned(),
            vendor: 0x0D28,
            product: 0x0204,
            class: 0,
            serial_number: Some("9900".to_owned()),
            manufacturer: None,
            product_name: None,
            address: Some((1, 9)),
        };
        let look = |selector: &str, devices: &[UsbDevice], listed: &[String]| {
            among(&selector.parse().unwrap(), devices, listed, &dev, &proc)
        };
        let away = look("0d28:0204:9901", std::slice::from_ref(&device), &["0d28:0204:9900".to_owned()]).unwrap();
        assert!(away.absent && away.what.contains("there is: 0d28:0204:9900"), "{away}");
        assert_eq!(look("0d28:0204:9900", std::slice::from_ref(&device), &[]), None);
        assert_eq!(look("0d28:0204:model", &[], &["0d28:0204:model".to_owned()]), None);
        std::os::unix::fs::symlink(&file, proc.join("41/fd/7")).unwrap();
        let taken = look("0d28:0204", std::slice::from_ref(&device), &[]).unwrap();
        assert!(taken.to_string().contains("process 41 (openocd)"), "{taken}");
    }

    #[test]
    fn a_probe_named_in_short_is_the_one_that_is_there() {
        let listed = |numbers: &[&str]| {
            let probe = |number: &&str| super::super::Listed {
                vendor: 0x0D28,
                product: 0x0204,
                serial_number: Some((*number).to_owned()),
                name: String::new(),
            };
            numbers.iter().map(probe).collect::<Vec<_>>()
        };
        let full = |selector: &str, numbers: &[&str]| super::super::full(&selector.parse().unwrap(), || listed(numbers));
        assert_eq!(full("0d28:0204", &["9900"]).as_deref(), Some("0d28:0204:9900"));
        assert_eq!(full("0d28:0204", &["9900", "9901"]), None);
        assert_eq!(full("0d28:0204:9901", &["9900"]), None);
    }
}
