//! A hub that says how it switches the power of its ports, and does or does not: USB 2.0 specification, chapter 11. Nothing can be plugged into it:
//! the virtual host controller knows no devices behind hubs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use super::{
    description::{Description, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
};

/// How a hub switches: the low bits of `wHubCharacteristics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switching {
    /// All ports at once.
    Ganged = 0,
    /// Each by itself.
    Individual = 1,
    /// Not at all.
    None = 2,
}

/// What a test sees of a hub and does to it.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    power: Arc<AtomicU8>,
    welded: Arc<AtomicBool>,
}

impl Ports {
    /// Whether a port, from 1, has power.
    #[must_use]
    pub fn powered(&self, port: u8) -> bool {
        self.power.load(Ordering::SeqCst) >> port & 1 == 1
    }

    /// From now on requests are taken and nothing happens.
    pub fn weld(&self) {
        self.welded.store(true, Ordering::SeqCst);
    }
}

/// The hub; it has four ports.
pub struct Hub {
    description: Description,
    switching: Switching,
    ports: Ports,
}

impl Hub {
    /// A hub, and its ports.
    #[must_use]
    pub fn new(serial: &str, switching: Switching) -> (Self, Ports) {
        let interface = Interface { class: [9, 0, 0], endpoints: vec![Endpoint::interrupt(1, 1, 12)], ..Interface::default() };
        let mut description = Description::new(Speed::High, 0x1209, 0x0005, "lab hub").serial(serial).interface(interface);
        description.class = [9, 0, 1];
        let ports = Ports::default();
        (Self { description, switching, ports: ports.clone() }, ports)
    }
}

impl Model for Hub {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, _waker: Waker) {
        self.ports.power.store(0, Ordering::SeqCst);
    }

    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Answer {
        let port = (setup.index as u8) & 7;
        let bytes = match (setup.kind, setup.request) {
            // GetHubDescriptor: four ports, 100 ms to power good, no current of its own, all removable.
            (0xA0, 6) => vec![9, 0x29, 4, self.switching as u8, 0, 50, 0, 0, 0xFF],
            (0xA0, 0) => vec![0; 4],
            (0xA3, 0) => vec![0, u8::from(self.ports.powered(port)), 0, 0],
            // SetPortFeature and ClearPortFeature; 8 is PORT_POWER.
            (0x23, 1 | 3) => {
                if setup.value == 8 && !self.ports.welded.load(Ordering::SeqCst) {
                    let bit = 1 << port;
                    if setup.request == 3 {
                        self.ports.power.fetch_or(bit, Ordering::SeqCst);
                    } else {
                        self.ports.power.fetch_and(!bit, Ordering::SeqCst);
                    }
                }
                return Answer::ACK;
            }
            (0x20, _) => return Answer::ACK,
            _ => return Answer::Stall,
        };
        Answer::Done(bytes.into_iter().take(usize::from(setup.length)).collect())
    }

    fn output(&mut self, _endpoint: u8, _data: &[u8]) -> Answer {
        Answer::Stall
    }

    /// Nothing ever changes by itself.
    fn input(&mut self, _endpoint: u8, _space: usize) -> Answer {
        Answer::Wait
    }
}
