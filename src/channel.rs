//! Ways to reach the device and its surroundings.
//!
//! [`link`] holds the small traits that drivers implement, [`clock`] the time base that both sides share. The tasks that own the
//! I/O and the byte matcher live beside them. Steps of a plan never touch a link themselves: they wait for these tasks.

pub mod api;
pub mod ble;
pub mod capture;
pub mod clock;
pub mod cloud;
pub mod console;
pub mod finding;
pub mod line;
pub mod link;
pub mod matcher;
pub mod network;
pub mod operator;
pub mod probe;
pub mod residue;
pub mod tap;
pub mod usb;
