//! A console over USB as many microcontrollers have it: communications class, abstract control model. USB CDC 1.2 and its PSTN 1.2
//! subclass specification; the host's driver is `cdc-acm`, the terminal `ttyACM*`.

use super::{
    description::{Description, Direction, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
    serial::Peer,
};

/// Requests: PSTN 1.2, table 13.
const SET_LINE_CODING: u8 = 0x20;
const GET_LINE_CODING: u8 = 0x21;
const SET_CONTROL_LINE_STATE: u8 = 0x22;
const SEND_BREAK: u8 = 0x23;

/// The device.
pub struct Acm {
    description: Description,
    peer: Peer,
    /// Baud rate, stop bits, parity, data bits: PSTN 1.2, table 17.
    coding: [u8; 7],
}

impl Acm {
    /// A console with a serial number, and the firmware's end of it.
    #[must_use]
    pub fn new(serial: &str) -> (Self, Peer) {
        Self::with(description(serial))
    }

    fn with(description: Description) -> (Self, Peer) {
        let peer = Peer::default();
        (Self { description, peer: peer.clone(), coding: [0x00, 0xC2, 0x01, 0x00, 0, 0, 8] }, peer)
    }
}

fn description(serial: &str) -> Description {
    let control = Interface {
        class: [2, 2, 1],
        // Header (CDC 1.10), call management (none), abstract control (line coding and break), union of interfaces 0 and 1.
        extra: vec![5, 0x24, 0, 0x10, 0x01, 5, 0x24, 1, 0, 1, 4, 0x24, 2, 6, 5, 0x24, 6, 0, 1],
        endpoints: vec![Endpoint::interrupt(3, 8, 16)],
        ..Interface::default()
    };
    let data = Interface {
        number: 1,
        class: [10, 0, 0],
        endpoints: vec![Endpoint::bulk(1, Direction::In, 64), Endpoint::bulk(2, Direction::Out, 64)],
        ..Interface::default()
    };
    // Vendor and product for tests only: pid.codes keeps 1209:0001 to 0010 for private use.
    let mut device =
        Description::new(Speed::Full, 0x1209, 0x0001, "lab console").serial(serial).interface(control).interface(data);
    device.class = [2, 0, 0];
    device
}

impl Model for Acm {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, waker: Waker) {
        self.peer.plugged(waker);
    }

    fn unplugged(&mut self) {
        self.peer.unplugged();
    }

    fn control(&mut self, setup: &Setup, data: &[u8]) -> Answer {
        match setup.request {
            SET_LINE_CODING => {
                let Ok(coding) = data.try_into() else { return Answer::Stall };
                self.coding = coding;
                let baud = u32::from_le_bytes([coding[0], coding[1], coding[2], coding[3]]);
                self.peer.set_lines(|lines| lines.baud = baud);
                Answer::ACK
            }
            GET_LINE_CODING => Answer::Done(self.coding.to_vec()),
            SET_CONTROL_LINE_STATE => {
                self.peer.set_lines(|lines| (lines.dtr, lines.rts) = (setup.value & 1 != 0, setup.value & 2 != 0));
                Answer::ACK
            }
            SEND_BREAK => Answer::ACK,
            _ => Answer::Stall,
        }
    }

    fn output(&mut self, _endpoint: u8, data: &[u8]) -> Answer {
        self.peer.output(data)
    }

    fn input(&mut self, endpoint: u8, space: usize) -> Answer {
        // Nothing is ever notified on the interrupt endpoint.
        let bytes = if endpoint == 0x81 { self.peer.input(space) } else { Vec::new() };
        if bytes.is_empty() { Answer::Wait } else { Answer::Done(bytes) }
    }

    fn twin(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(Self::with(twin_of(&self.description)).0))
    }
}

/// The same under another serial number.
pub(super) fn twin_of(description: &Description) -> Description {
    let serial = description.serial.as_deref().unwrap_or_default();
    description.clone().serial(&format!("{serial}-twin"))
}
