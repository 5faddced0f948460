//! A Bluetooth controller and a peripheral in its range, in front of the kernel's Bluetooth stack and BlueZ.
//!
//! The kernel's `hci_vhci` makes a controller of whoever opens `/dev/vhci`: packets as on a UART (Bluetooth Core Specification, volume 4,
//! part A). Here that is a thread with just enough of a Low Energy controller ([`Radio`]) and one peripheral with a table of attributes
//! ([`Peripheral`]). Radio conditions do not exist: what is sent arrives, unless a test says otherwise.

mod att;
mod controller;
mod hci;
mod peripheral;

pub use controller::{BleError, Radio};
pub use peripheral::{Characteristic, Peripheral, Uuid};
