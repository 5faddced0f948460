//! The lock's own USB port: a vendor interface with a pair of bulk endpoints and an interrupt endpoint, and whatever a test hides beside it.

use std::collections::BTreeMap;

use super::{
    description::{Description, Direction, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
    vendor::Loopback,
};

/// Vendor and product: pid.codes keeps 1209:0001 to 0010 for private use.
pub const VENDOR: u16 = 0x1209;
/// Product.
pub const PRODUCT: u16 = 0x0003;
/// Bytes in a block of a firmware update interface.
const BLOCK: usize = 64;

type Hook = Box<dyn Fn() + Send>;

/// The port. What comes in on endpoint 1 goes out on it again.
pub struct Port {
    echo: Loopback,
    answered: BTreeMap<u8, Vec<u8>>,
    /// What firmware update interfaces give; nothing if they refuse.
    firmware: Vec<u8>,
    hooks: BTreeMap<u8, Hook>,
}

impl Port {
    /// The port as it is declared, under a serial number.
    #[must_use]
    pub fn new(serial: &str) -> Self {
        Self::with(serial, &[])
    }

    /// With more interfaces.
    #[must_use]
    pub fn with(serial: &str, more: &[Interface]) -> Self {
        let lock = Interface {
            class: [0xFF, 1, 1],
            name: Some("lock".to_owned()),
            endpoints: vec![
                Endpoint::bulk(1, Direction::Out, 64),
                Endpoint::bulk(1, Direction::In, 64),
                Endpoint::interrupt(2, 8, 10),
            ],
            ..Interface::default()
        };
        let description = Description::new(Speed::Full, VENDOR, PRODUCT, "lab lock").serial(serial).interface(lock);
        let description = more.iter().cloned().fold(description, Description::interface);
        Self { echo: Loopback::new(description), answered: BTreeMap::new(), firmware: Vec::new(), hooks: BTreeMap::new() }
    }

    /// Answers this vendor request for data, if it goes to the device as a whole.
    #[must_use]
    pub fn answering(mut self, request: u8, bytes: &[u8]) -> Self {
        self.answered.insert(request, bytes.to_vec());
        self
    }

    /// Gives this through its firmware update interfaces.
    #[must_use]
    pub fn giving(mut self, firmware: &[u8]) -> Self {
        self.firmware = firmware.to_vec();
        self
    }

    /// Does something on this vendor request, and does not answer it: firmware that breaks down.
    #[must_use]
    pub fn breaking(mut self, request: u8, hook: impl Fn() + Send + 'static) -> Self {
        self.hooks.insert(request, Box::new(hook));
        self
    }

    fn update(&self, setup: &Setup) -> Answer {
        match setup.request {
            // DFU_UPLOAD, block by block; the last one is shorter.
            2 if self.firmware.is_empty() => Answer::Stall,
            2 => {
                let start = self.firmware.len().min(usize::from(setup.value) * BLOCK);
                let end = self.firmware.len().min(start + BLOCK.min(usize::from(setup.length)));
                Answer::Done(self.firmware[start..end].to_vec())
            }
            // DFU_GETSTATUS: no error, idle.
            3 => Answer::Done(vec![0, 0, 0, 0, 2, 0]),
            _ => Answer::Stall,
        }
    }
}

/// A firmware update interface in update mode, with its functional descriptor.
#[must_use]
pub fn update_interface(number: u8) -> Interface {
    let extra = vec![9, 0x21, 0x0B, 0xFF, 0x00, BLOCK as u8, 0x00, 0x10, 0x01];
    Interface { number, class: [0xFE, 1, 2], name: Some("update".to_owned()), extra, ..Interface::default() }
}

impl Model for Port {
    fn description(&self) -> &Description {
        self.echo.description()
    }

    fn plugged(&mut self, waker: Waker) {
        self.echo.plugged(waker);
    }

    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Answer {
        match setup.kind & 0x60 {
            0x20 if setup.kind == 0xA1 => self.update(setup),
            // CLRSTATUS and ABORT.
            0x20 if setup.kind == 0x21 && [4, 6].contains(&setup.request) => Answer::ACK,
            0x40 => {
                if let Some(hook) = self.hooks.get(&setup.request) {
                    hook();
                    return Answer::Wait;
                }
                match self.answered.get(&setup.request) {
                    Some(bytes) if setup.kind == 0xC0 => {
                        Answer::Done(bytes.iter().copied().take(usize::from(setup.length)).collect())
                    }
                    _ => Answer::Stall,
                }
            }
            _ => Answer::Stall,
        }
    }

    fn output(&mut self, endpoint: u8, data: &[u8]) -> Answer {
        self.echo.output(endpoint, data)
    }

    fn input(&mut self, endpoint: u8, space: usize) -> Answer {
        self.echo.input(endpoint, space)
    }
}
