//! Which virtual probes are plugged in.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, Once, Weak},
};

use probe_rs::plugin::{Plugin, register_plugin};

use super::{DebugTarget, PRODUCT_ID, Shared, Socket, Traffic, VENDOR_ID, driver::Factory, lock};
use crate::channel::link::LinkError;

/// Serial number to device, for the whole process because probe-rs knows drivers by `static` references only.
static TABLE: Mutex<BTreeMap<String, Weak<Mutex<Socket>>>> = Mutex::new(BTreeMap::new());
static DRIVER: Once = Once::new();

/// Plugs a virtual probe in under `serial`, with `target` at its other end.
///
/// # Errors
/// The serial number is in use, or cannot stand in a selector (empty, or with white space).
pub fn register(serial: &str, target: impl DebugTarget + 'static) -> Result<Registered, LinkError> {
    let operation = || format!("register virtual probe {serial:?}");
    if serial.is_empty() || serial.contains(char::is_whitespace) {
        return Err(LinkError::new(operation(), "a serial number needs at least one character and no white space"));
    }
    DRIVER.call_once(|| register_plugin(Plugin { probe_drivers: &[&Factory], ..Plugin::default() }));
    let socket = Arc::new(Mutex::new(Socket::new(Box::new(target))));
    let mut table = lock(&TABLE);
    if table.get(serial).is_some_and(|known| known.strong_count() > 0) {
        return Err(LinkError::new(operation(), "this serial number is in use; give each virtual bench its own"));
    }
    table.insert(serial.to_owned(), Arc::downgrade(&socket));
    drop(table);
    Ok(Registered { serial: serial.to_owned(), socket })
}

/// The device of `serial`, if it is plugged in.
pub(super) fn find(serial: &str) -> Option<Shared> {
    lock(&TABLE).get(serial).and_then(Weak::upgrade)
}

/// Serial numbers of everything plugged in, sorted.
pub(super) fn serials() -> Vec<String> {
    lock(&TABLE).iter().filter(|(_, socket)| socket.strong_count() > 0).map(|(serial, _)| serial.clone()).collect()
}

/// A plugged-in virtual probe. Dropping it unplugs it: sessions that are open get errors from then on.
pub struct Registered {
    serial: String,
    socket: Shared,
}

impl Registered {
    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// What opens it in probe-rs: `f055:0001:SERIAL`.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("{VENDOR_ID:04x}:{PRODUCT_ID:04x}:{}", self.serial)
    }

    /// Takes the wire between probe and device off.
    pub fn pull_wire(&self) {
        lock(&self.socket).wire_off = true;
    }

    /// What crossed its wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        lock(&self.socket).traffic()
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(&self.selector()).finish()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&TABLE).remove(&self.serial);
    }
}
