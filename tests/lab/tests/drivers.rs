//! Real libraries and real kernel drivers in front of emulated devices. Run by `cargo lab test`, in the guest; elsewhere these are ignored.
//!
//! Times in here are only against hangs: the guest is emulated, on a machine that may be busy.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "drivers/bench.rs"]
mod bench;
#[path = "drivers/ble.rs"]
mod ble;
#[path = "drivers/host.rs"]
mod host;
#[path = "drivers/libusb.rs"]
mod libusb;
#[path = "drivers/net.rs"]
mod net;
#[path = "drivers/net_driver.rs"]
mod net_driver;
#[path = "drivers/probe.rs"]
mod probe;
#[path = "drivers/relay.rs"]
mod relay;
#[path = "drivers/serial.rs"]
mod serial;
