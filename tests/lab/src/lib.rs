//! An emulated bench: the kernel's real drivers, real libraries and real device files, without hardware and without privileges.
//!
//! * [`vm`] prepares a virtual machine from the Debian packages of the host's own suite and runs a command in it.
//! * [`usb`] has the emulated devices, for tests that run in it.
//! * [`ble`] has a Bluetooth controller and a peripheral.
//! * [`net`] has a device's network with faults.
//! * [`mod@bench`] wires some of them to a device whose power can be switched; [`lock`] puts the smart lock there, [`hub`] the smart hub.
//! * [`cli`] is the command line: `cargo lab build`, `cargo lab run`, `cargo lab test`.
//!
//! What is emulated and what is real: `tests/lab/README.md`.

pub mod bench;
pub mod ble;
pub mod cli;
pub mod hub;
pub mod lock;
pub mod net;
pub mod time;
pub mod usb;
pub mod vm;
pub mod wired;
