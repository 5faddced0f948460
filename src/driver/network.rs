//! The device's network: the bench is what lies between the device and the world.
//!
//! [`netns`] disturbs packets with the kernel's own means on the port behind which the device is. [`interposer`] needs no privileges: the device talks to
//! a proxy. Both can play the services that a home network has: DNS, time, and (where there is a port) DHCP and a captive portal.

mod capture;
mod clock;
mod dhcp;
mod dns;
pub mod interposer;
pub mod netns;
mod place;
mod portal;
mod program;
mod rules;
mod services;
mod sink;

use crate::channel::link::{LinkError, Parameters};

/// A parameter, if it is given and not blank.
fn given<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// A parameter that must be given.
fn needed<'a>(parameters: &'a Parameters, name: &str, driver: &str) -> Result<&'a str, LinkError> {
    given(parameters, name).ok_or_else(|| LinkError::new(format!("open {driver}"), format!("the parameter `{name}` is missing")))
}
