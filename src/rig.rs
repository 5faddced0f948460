//! Rigs and device profiles: YAML to checked specification.
//!
//! [`load_rig`] reads a rig with the device profile it names and the images that names; [`load_device`] reads a profile alone.
//! Both collect all problems of all these files in one report, each with its place.

pub mod ble;
mod device;
mod drivers;
mod golden;
mod image;
mod interruption;
pub mod keys;
mod load;
pub mod model;
pub mod usb;

pub(crate) use device::unique;
pub use drivers::{DriverCatalogue, DriverFacts};
pub use golden::Golden;
pub use image::{MAX_IMAGE, region};
pub use load::{DeviceFile, RigFile, load_device, load_rig};
