//! Which adapter and which device a rig means.

use std::path::Path;

use crate::channel::{
    ble::{Advertisement, uuid},
    link::{LinkError, Parameters},
};

/// Longest name that a device can advertise or have (Core Specification, volume 3, part C, 12.1).
const LONGEST_NAME: usize = 248;

/// How a rig names the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AdapterName {
    /// `hci0`.
    Hci(String),
    /// `00:1A:AB:00:00:01`, capitals.
    Address(String),
}

impl std::fmt::Display for AdapterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Hci(text) | Self::Address(text)) = self;
        f.write_str(text)
    }
}

/// Which device is meant: all that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Target {
    /// Address, capitals.
    pub(super) address: Option<String>,
    /// Exactly this name.
    pub(super) name: Option<String>,
    /// UUID of an advertised service.
    pub(super) service: Option<String>,
}

fn wrong(what: impl Into<String>) -> LinkError {
    LinkError::new("open ble", what)
}

/// An address with capitals, if it is one.
pub(super) fn address(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split(':').collect();
    let good = groups.len() == 6 && groups.iter().all(|group| group.len() == 2 && group.bytes().all(|b| b.is_ascii_hexdigit()));
    good.then(|| text.to_ascii_uppercase())
}

fn given<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.values.get(name).map(|value| value.trim())
}

/// The adapter that the rig names.
pub(super) fn adapter(parameters: &Parameters) -> Result<Option<AdapterName>, LinkError> {
    let Some(text) = given(parameters, "adapter") else { return Ok(None) };
    let number = text.strip_prefix("hci").filter(|number| (1..=3).contains(&number.len()));
    if number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(Some(AdapterName::Hci(text.to_owned())));
    }
    let address = address(text).map(AdapterName::Address).map(Some);
    address.ok_or_else(|| {
        wrong(format!("`adapter: {text}` is neither a name such as hci0 nor an address; `bluetoothctl list` shows them"))
    })
}

impl Target {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, LinkError> {
        let mut target = Self::default();
        if let Some(text) = given(parameters, "address") {
            let good =
                address(text).ok_or_else(|| wrong(format!("`address: {text}` is not six pairs of hex digits with colons")))?;
            target.address = Some(good);
        }
        if let Some(text) = given(parameters, "name") {
            if text.is_empty() || text.len() > LONGEST_NAME {
                return Err(wrong(format!("`name` has from 1 to {LONGEST_NAME} bytes")));
            }
            target.name = Some(text.to_owned());
        }
        if let Some(text) = given(parameters, "service") {
            let good =
                uuid(text).ok_or_else(|| wrong(format!("`service: {text}` is not a UUID; write it in full, or 4 hex digits")))?;
            target.service = Some(good);
        }
        if given(parameters, "powered-by").is_some_and(str::is_empty) {
            return Err(wrong("`powered-by` names a supply channel"));
        }
        if target == Self::default() {
            return Err(wrong("nothing says which device is meant; give `address`, `name` or `service`"));
        }
        Ok(target)
    }

    /// Whether the device that says this is meant.
    pub(super) fn fits(&self, heard: &Advertisement) -> bool {
        self.address.as_ref().is_none_or(|address| *address == heard.address)
            && self.name.as_ref().is_none_or(|name| heard.name.as_ref() == Some(name))
            && self
                .service
                .as_ref()
                .is_none_or(|service| heard.services.contains(service) || heard.service_data.contains_key(service))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let given = [("address", &self.address), ("name", &self.name), ("service", &self.service)];
        let given: Vec<String> = given.iter().filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?))).collect();
        f.write_str(&given.join(", "))
    }
}

/// The adapter for the lease, by its name where that can be known. `class` is `/sys/class/bluetooth`.
pub(super) fn identity(adapter: Option<&AdapterName>, class: &Path) -> String {
    let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // Links that exist are listed beside the adapters: `hci0:64`.
    let present: Vec<String> = names.filter(|name| name.starts_with("hci") && !name.contains(':')).collect();
    let name = match adapter {
        Some(AdapterName::Hci(name)) => name.clone(),
        // Newer kernels do not tell the address here; then the rig's own words have to do.
        Some(AdapterName::Address(wanted)) => {
            let address = |name: &&String| std::fs::read_to_string(class.join(name.as_str()).join("address")).unwrap_or_default();
            let found = present.iter().find(|name| address(name).trim().eq_ignore_ascii_case(wanted));
            found.unwrap_or(wanted).clone()
        }
        None => match present.as_slice() {
            [only] => only.clone(),
            _ => "the only one".to_owned(),
        },
    };
    format!("bluetooth adapter {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        Parameters { values: values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), ..Parameters::default() }
    }

    #[test]
    fn malformed_values_are_refused() {
        for bad in [
            vec![],
            vec![("adapter", "hci0")],
            vec![("address", "C0:1A:AB:00:00")],
            vec![("address", "C0:1A:AB:00:00:0G")],
            vec![("name", "")],
            vec![("service", "lock")],
            vec![("name", "x"), ("powered-by", "")],
        ] {
            assert!(Target::read(&parameters(&bad)).is_err(), "{bad:?}");
        }
        for bad in ["", "hci", "hcix", "usb0", "hci0000", "00:1A:AB:00:00"] {
            assert!(adapter(&parameters(&[("adapter", bad)])).is_err(), "{bad}");
        }
        assert_eq!(adapter(&parameters(&[])).unwrap(), None);
    }

    #[test]
    fn all_that_is_given_must_fit() {
        let target =
            Target::read(&parameters(&[("name", "lock"), ("service", "180f"), ("address", "c0:1a:ab:00:00:07")])).unwrap();
        let mut heard = Advertisement {
            address: "C0:1A:AB:00:00:07".to_owned(),
            name: Some("lock".to_owned()),
            services: vec![uuid("180f").unwrap()],
            ..Advertisement::default()
        };
        assert!(target.fits(&heard));
        heard.name = Some("lock 2".to_owned());
        assert!(!target.fits(&heard));
        heard.name = Some("lock".to_owned());
        heard.services.clear();
        assert!(!target.fits(&heard));
        heard.service_data.insert(uuid("180f").unwrap(), vec![1]);
        assert!(target.fits(&heard));
        heard.address = "C0:1A:AB:00:00:08".to_owned();
        assert!(!target.fits(&heard));
    }

    #[test]
    fn the_lease_is_on_the_adapter_however_it_is_named() {
        let class = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(class.path().join("hci1")).unwrap();
        std::fs::create_dir_all(class.path().join("hci1:64")).unwrap();
        std::fs::write(class.path().join("hci1/address"), "00:1a:ab:00:00:01\n").unwrap();
        for values in [vec![], vec![("adapter", "hci1")], vec![("adapter", "00:1A:AB:00:00:01")]] {
            let adapter = adapter(&parameters(&values)).unwrap();
            assert_eq!(identity(adapter.as_ref(), class.path()), "bluetooth adapter hci1");
        }
    }
}
