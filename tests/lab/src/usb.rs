//! Emulated USB devices in front of the kernel's real drivers.
//!
//! The kernel's virtual host controller (`vhci-hcd`) speaks the USB/IP protocol over a socket that it is handed. Here the other end of
//! that socket is a thread of this process with a [`Model`] of a device, so the kernel enumerates it, binds its driver and makes its device
//! files. Needs root and the module: both are there in the guest (`cargo lab test`).
//!
//! A model says what a device is and how it answers; a [`Cable`] plugs it in, pulls it out and makes it misbehave ([`Fault`]).

pub mod acm;
pub mod cable;
pub mod ch340;
pub mod dap;
pub mod description;
mod engine;
pub mod fault;
pub mod ft232r;
pub mod hid_relay;
pub mod hub;
pub mod model;
pub mod port;
mod queue;
pub mod serial;
mod standard;
pub mod sysfs;
mod usbip;
pub mod vendor;
mod vhci;

pub use cable::Cable;
pub use description::{Description, Direction, Endpoint, Interface, Speed, Transfer};
pub use fault::Fault;
pub use model::{Answer, Model, Setup, Waker};
pub use serial::{Lines, Peer};
pub use vhci::UsbError;
