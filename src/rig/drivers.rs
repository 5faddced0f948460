//! The drivers a rig may name, as data: this module does not know any driver.

use std::collections::BTreeMap;

use crate::channel::link::{ChannelKind, Driver};

/// The drivers by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriverCatalogue {
    /// What each provides and accepts.
    pub drivers: BTreeMap<String, DriverFacts>,
}

/// One driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverFacts {
    /// What it provides.
    pub kind: ChannelKind,
    /// Parameters besides `driver`.
    pub parameters: Vec<ParameterFacts>,
    /// Whether it is a supply that can cut at every flash operation.
    pub sees_flash: bool,
}

/// One parameter of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterFacts {
    /// Its key in the rig file.
    pub name: String,
    /// Whether it must be given.
    pub required: bool,
    /// What it is.
    pub what: String,
}

impl DriverCatalogue {
    /// The catalogue of some drivers.
    pub fn of<'a>(drivers: impl IntoIterator<Item = &'a dyn Driver>) -> Self {
        let mut catalogue = Self::default();
        for driver in drivers {
            catalogue.add(driver.name(), driver.kind(), driver.parameters());
            if let Some(facts) = catalogue.drivers.get_mut(driver.name()) {
                facts.sees_flash = driver.sees_flash();
            }
        }
        catalogue
    }

    /// Adds a driver: parameters as name, whether required, what it is.
    pub fn add(&mut self, name: &str, kind: ChannelKind, parameters: &[(&str, bool, &str)]) {
        let parameters = parameters
            .iter()
            .map(|(name, required, what)| ParameterFacts {
                name: (*name).to_owned(),
                required: *required,
                what: (*what).to_owned(),
            })
            .collect();
        self.drivers.insert(name.to_owned(), DriverFacts { kind, parameters, sees_flash: false });
    }
}
