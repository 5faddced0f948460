//! The drivers that a run may use, given by the caller.

use std::sync::Arc;

use crate::channel::link::Driver;

/// Drivers by name.
#[derive(Clone, Default)]
pub struct Registry {
    drivers: Vec<Arc<dyn Driver>>,
}

impl Registry {
    /// No drivers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a driver; a later one of the same name replaces the earlier.
    #[must_use]
    pub fn with(mut self, driver: Arc<dyn Driver>) -> Self {
        self.drivers.retain(|known| known.name() != driver.name());
        self.drivers.push(driver);
        self
    }

    /// With several more drivers, each in place of one of its name.
    #[must_use]
    pub fn with_all(self, drivers: Vec<Arc<dyn Driver>>) -> Self {
        drivers.into_iter().fold(self, Self::with)
    }

    /// The driver of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Driver>> {
        self.drivers.iter().find(|driver| driver.name() == name)
    }

    /// All drivers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Driver>> {
        self.drivers.iter()
    }
}
