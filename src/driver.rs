//! Drivers for real instruments: what opens a channel of a rig on hardware.
//!
//! Each file implements [`Driver`](crate::channel::link::Driver) for one kind of instrument. A driver owns no policy: what is done when is
//! up to the steps of a plan, and a fault of an instrument is told as a [`LinkError`](crate::channel::link::LinkError), never as the
//! behaviour of the device.

pub mod access;
pub mod api;
pub mod ble;
pub mod button;
pub mod cloud;
pub mod discover;
mod gpio;
pub mod network;
mod parameters;
pub mod power;
pub mod probe;
pub mod serial;
mod shared;
pub mod sysfs;
pub mod unbound;
pub mod usb;
