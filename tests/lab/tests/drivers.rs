//! Real libraries and real kernel drivers in front of emulated devices. Run by `cargo lab test`, in the guest; elsewhere these are ignored.
//!
//! Times in here are only against hangs: the guest is emulated, on a machine that may be busy.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "drivers/bench.rs"]
mod bench;
#[path = "drivers/ble.rs"]
mod ble;
#[path = "drivers/ble_driver.rs"]
mod ble_driver;
#[path = "drivers/discover.rs"]
mod discover;
#[path = "drivers/faults.rs"]
mod faults;
#[path = "drivers/host.rs"]
mod host;
#[path = "drivers/libusb.rs"]
mod libusb;
#[path = "drivers/lock.rs"]
mod lock;
#[path = "drivers/net.rs"]
mod net;
#[path = "drivers/net_driver.rs"]
mod net_driver;
#[path = "drivers/plans.rs"]
mod plans;
#[path = "drivers/power_driver.rs"]
mod power_driver;
#[path = "drivers/probe.rs"]
mod probe;
#[path = "drivers/probe_driver.rs"]
mod probe_driver;
#[path = "drivers/program.rs"]
mod program;
#[path = "drivers/relay.rs"]
mod relay;
#[path = "drivers/rtt_driver.rs"]
mod rtt_driver;
#[path = "drivers/serial.rs"]
mod serial;
#[path = "drivers/serial_driver.rs"]
mod serial_driver;
#[path = "drivers/usb_driver.rs"]
mod usb_driver;
#[path = "drivers/usb_power.rs"]
mod usb_power;
