//! Which device a rig means.

use std::{fmt, path::Path};

use crate::{
    channel::link::{LinkError, Parameters},
    driver::{
        serial::ports::Wanted as Port,
        sysfs::{UsbDevice, usb_devices},
    },
};

/// What a rig says about a device: everything given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Vendor and product.
    pub usb: Option<(u16, u16)>,
    /// Serial number.
    pub serial_number: Option<String>,
    /// Place in the tree of hubs.
    pub location: Option<String>,
}

impl Wanted {
    /// From a channel's parameters.
    ///
    /// # Errors
    /// Nothing is given, or something that no device can fit.
    pub fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let refused = |what: String| LinkError::new("open usb", what);
        let value = |name: &str| parameters.values.get(name).map(|value| value.trim().to_owned());
        let usb = value("usb").map(|text| {
            Port::parse_usb(&text)
                .ok_or_else(|| refused(format!("`usb: {text}` is not vendor and product in hex, such as '1209:0003'")))
        });
        let location = value("location").map(|text| {
            if is_location(&text) {
                Ok(text)
            } else {
                Err(refused(format!("`location: {text}` is not a place in the tree of hubs, such as 1-1.2")))
            }
        });
        let wanted = Self { usb: usb.transpose()?, serial_number: value("serial-number"), location: location.transpose()? };
        if wanted == Self::default() {
            return Err(refused(
                "say which device: `usb`, `serial-number` or `location`; `hilbench discover` lists them".to_owned(),
            ));
        }
        Ok(wanted)
    }

    /// Whether a device is meant.
    #[must_use]
    pub fn fits(&self, device: &UsbDevice) -> bool {
        self.usb.is_none_or(|usb| usb == (device.vendor, device.product))
            && self.serial_number.as_ref().is_none_or(|number| device.serial_number.as_ref() == Some(number))
            && self.location.as_ref().is_none_or(|location| *location == device.location)
    }

    /// The device, if it is on the bus.
    ///
    /// # Errors
    /// The bus cannot be looked at, or more than one device fits.
    pub fn find(&self, sys: &Path) -> Result<Option<UsbDevice>, LinkError> {
        let failed = |what: String| LinkError::new(format!("look for {self}"), what);
        let mut fitting: Vec<_> = usb_devices(sys)
            .map_err(|error| failed(format!("{}: {error}", sys.display())))?
            .into_iter()
            .filter(|device| self.fits(device))
            .collect();
        if fitting.len() > 1 {
            let places: Vec<_> = fitting.iter().map(|device| device.location.as_str()).collect();
            return Err(failed(format!("more than one fits, at {}; add `serial-number` or `location`", places.join(", "))));
        }
        Ok(fitting.pop())
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("USB device")?;
        if let Some((vendor, product)) = self.usb {
            write!(f, " {vendor:04x}:{product:04x}")?;
        }
        if let Some(number) = &self.serial_number {
            write!(f, " serial number {number}")?;
        }
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        Ok(())
    }
}

/// Bus and ports as the kernel names them, `1-1.2`, or a root hub, `usb1`.
#[must_use]
pub fn is_location(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix("usb") {
        Some(bus) => number(bus),
        None => text.split_once('-').is_some_and(|(bus, ports)| number(bus) && ports.split('.').all(number)),
    }
}

/// Place of the hub that a device is plugged into: `1-1` for `1-1.2`, `usb1` for `1-1`.
#[must_use]
pub(super) fn parent(location: &str) -> Option<String> {
    match location.rsplit_once('.') {
        Some((hub, _)) => Some(hub.to_owned()),
        None => location.split_once('-').map(|(bus, _)| format!("usb{bus}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(values: &[(&str, &str)]) -> Result<Wanted, LinkError> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wanted::from(&Parameters { values, base: std::path::PathBuf::new() })
    }

    #[test]
    fn a_rig_must_say_which_device() {
        assert!(wanted(&[]).unwrap_err().what.contains("hilbench discover"));
        for (name, value) in
            [("usb", "1209"), ("usb", "1209:zzzz"), ("location", "1"), ("location", "1-"), ("location", "1-1/../x")]
        {
            assert!(wanted(&[(name, value)]).is_err(), "{name} {value}");
        }
        let all = wanted(&[("usb", "1209:0003"), ("serial-number", "A"), ("location", "1-1.2")]).unwrap();
        assert_eq!(all.to_string(), "USB device 1209:0003 serial number A at 1-1.2");
    }

    #[test]
    fn one_device_fits_or_it_is_said_what_does() {
        let root = tempfile::tempdir().unwrap();
        for (place, serial) in [("1-1", "A"), ("1-2", "B")] {
            let directory = root.path().join("bus/usb/devices").join(place);
            std::fs::create_dir_all(&directory).unwrap();
            for (name, value) in [("idVendor", "1209"), ("idProduct", "0003"), ("serial", serial)] {
                std::fs::write(directory.join(name), value).unwrap();
            }
        }
        let find = |values| wanted(values).unwrap().find(root.path());
        assert!(find(&[("usb", "1209:0003")]).unwrap_err().what.contains("at 1-1, 1-2"));
        assert_eq!(find(&[("usb", "1209:0003"), ("serial-number", "B")]).unwrap().unwrap().location, "1-2");
        assert_eq!(find(&[("location", "1-1")]).unwrap().unwrap().serial_number.as_deref(), Some("A"));
        assert_eq!(find(&[("usb", "1209:0003"), ("location", "1-3")]).unwrap(), None);
    }

    #[test]
    fn the_hub_of_a_device_is_one_step_up() {
        assert_eq!(parent("1-1.2").unwrap(), "1-1");
        assert_eq!(parent("3-4").unwrap(), "usb3");
        assert_eq!(parent("usb3"), None);
    }
}
