//! Supplies: what switches the device's power on hardware.
//!
//! A supply that reads back what it did returns that as its witness. One that cannot says so, and no verdict that rests on the cut can then be
//! `pass`.

pub mod command;
pub mod gpio;
pub mod hid;
pub mod lcus;
pub mod mqtt;
pub mod operator;
pub mod scpi;
pub mod usb_hub;
pub mod usb_port;

use super::parameters::required;
use crate::channel::link::{LinkError, Proof};
use crate::event::Witness;

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// The proof that a read-back gives.
fn read_back(what: &str, wanted: bool, found: bool) -> Result<Proof, LinkError> {
    if wanted == found {
        return Ok(Proof::Seen(Witness { what: format!("{what} reads back {}", word(found)), evidence: None }));
    }
    Err(LinkError::new(
        format!("switch {what} {}", word(wanted)),
        format!("it reads back {}; the relay may be welded or without its own supply", word(found)),
    ))
}
