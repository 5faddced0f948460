//! FT232R: a UART with four more lines, here a relay board. The host's driver is `ftdi_sio`; besides the terminal `ttyUSB*` it makes a
//! `gpiochip` of the lines that the chip's EEPROM says are for general use.
//!
//! Written from FTDI's data sheet DS_FT232R and application note AN_232R-01 (bit bang modes), and the request numbers of the kernel's
//! `drivers/usb/serial/ftdi_sio.h`.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    acm::twin_of,
    description::{Description, Direction, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
    serial::Peer,
};

const SET_MODEM_CONTROL: u8 = 1;
const GET_MODEM_STATUS: u8 = 5;
const GET_LATENCY: u8 = 10;
const SET_BIT_MODE: u8 = 11;
const READ_PINS: u8 = 12;
const READ_EEPROM: u8 = 0x90;

/// Bit mode in which the low nibble of the mask is the level and the high one the direction of CBUS0 to CBUS3.
const CBUS_MODE: u8 = 0x20;
/// Word of the EEPROM with the functions of CBUS0 to CBUS3, four bits each; 10 is general input and output.
const CBUS_WORD: u16 = 0x0A;
const CBUS_GENERAL: u16 = 0xAAAA;

/// Each packet to the host begins with these: CTS and DSR on, transmitter empty (AN232B-04, table "modem status").
const STATUS: [u8; 2] = [0x31, 0x60];
const PACKET: usize = 64;

type Listener = Box<dyn FnMut(u8) + Send>;
type Outside = Box<dyn Fn(u8) -> u8 + Send>;

/// The four lines as the world outside the chip sees them. Clones are the same lines.
#[derive(Clone, Default)]
pub struct Cbus(Arc<Mutex<Pins>>);

#[derive(Default)]
struct Pins {
    high: u8,
    listener: Option<Listener>,
    outside: Option<Outside>,
}

impl Cbus {
    /// The lines that are driven high, bit 0 being CBUS0.
    #[must_use]
    pub fn driven_high(&self) -> u8 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).high
    }

    /// Calls `listener` with [`Cbus::driven_high`] at each change, from the device's thread: it should not take long.
    pub fn on_change(&self, listener: impl FnMut(u8) + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).listener = Some(Box::new(listener));
    }

    /// What the world outside puts on the lines that are inputs, given the lines that are driven high. Without it they are pulled up.
    pub fn outside(&self, levels: impl Fn(u8) -> u8 + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outside = Some(Box::new(levels));
    }

    fn inputs(&self) -> u8 {
        let pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.outside.as_ref().map_or(0xF, |levels| levels(pins.high) & 0xF)
    }

    fn set(&self, high: u8) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.high != high {
            pins.high = high;
            if let Some(listener) = &mut pins.listener {
                listener(high);
            }
        }
    }
}

/// The chip.
pub struct Ft232r {
    description: Description,
    peer: Peer,
    cbus: Cbus,
    /// Directions (high nibble, 1 is output) and levels.
    mask: u8,
    latency: u8,
}

impl Ft232r {
    /// A chip with a serial number, the other end of its UART, and its lines.
    #[must_use]
    pub fn new(serial: &str) -> (Self, Peer, Cbus) {
        let interface = Interface {
            class: [0xFF, 0xFF, 0xFF],
            name: Some("FT232R USB UART".to_owned()),
            endpoints: vec![Endpoint::bulk(1, Direction::In, PACKET as u16), Endpoint::bulk(2, Direction::Out, PACKET as u16)],
            ..Interface::default()
        };
        let mut description =
            Description::new(Speed::Full, 0x0403, 0x6001, "FT232R USB UART").serial(serial).interface(interface);
        "FTDI".clone_into(&mut description.manufacturer);
        // The driver tells chips apart by this number.
        description.version = 0x0600;
        Self::with(description)
    }

    fn with(description: Description) -> (Self, Peer, Cbus) {
        let (peer, cbus) = (Peer::default(), Cbus::default());
        (Self { description, peer: peer.clone(), cbus: cbus.clone(), mask: 0, latency: 16 }, peer, cbus)
    }

    fn set_pins(&mut self, mode: u8, mask: u8) {
        self.mask = if mode == CBUS_MODE { mask } else { 0 };
        self.cbus.set(self.mask & self.mask >> 4 & 0xF);
    }

    /// Outputs as driven; inputs as the world outside has them.
    fn pins(&self) -> u8 {
        let outputs = self.mask >> 4;
        self.mask & outputs | !outputs & self.cbus.inputs()
    }
}

impl Model for Ft232r {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, waker: Waker) {
        self.peer.plugged(waker);
    }

    fn unplugged(&mut self) {
        self.peer.unplugged();
        // Without power nothing is driven.
        self.set_pins(0, 0);
    }

    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Answer {
        let [high, low] = setup.value.to_be_bytes();
        match setup.request {
            SET_MODEM_CONTROL => {
                // The high byte says which of the two lines is meant.
                self.peer.set_lines(|lines| {
                    lines.dtr = if high & 1 != 0 { low & 1 != 0 } else { lines.dtr };
                    lines.rts = if high & 2 != 0 { low & 2 != 0 } else { lines.rts };
                });
                Answer::ACK
            }
            GET_MODEM_STATUS => Answer::Done(STATUS.to_vec()),
            GET_LATENCY => Answer::Done(vec![self.latency]),
            SET_BIT_MODE => {
                self.set_pins(high, low);
                Answer::ACK
            }
            READ_PINS => Answer::Done(vec![self.pins()]),
            READ_EEPROM => {
                let word = if setup.index == CBUS_WORD { CBUS_GENERAL } else { 0 };
                Answer::Done(word.to_le_bytes().to_vec())
            }
            _ if setup.kind & 0x80 == 0 => Answer::ACK,
            _ => Answer::Stall,
        }
    }

    fn output(&mut self, _endpoint: u8, data: &[u8]) -> Answer {
        self.peer.output(data)
    }

    fn input(&mut self, _endpoint: u8, space: usize) -> Answer {
        // A real chip also sends the two status bytes alone every few milliseconds; the driver does not need that, and it would
        // keep the guest busy.
        let packets = (space / PACKET).max(1);
        let bytes = self.peer.input(packets * (PACKET - STATUS.len()));
        if bytes.is_empty() {
            return Answer::Wait;
        }
        Answer::Done(bytes.chunks(PACKET - STATUS.len()).flat_map(|part| [&STATUS, part].concat()).collect())
    }

    fn twin(&self) -> Option<Box<dyn Model>> {
        Some(Box::new(Self::with(twin_of(&self.description)).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit_mode(chip: &mut Ft232r, value: u16) {
        let setup = Setup { kind: 0x40, request: SET_BIT_MODE, value, ..Setup::default() };
        assert_eq!(chip.control(&setup, &[]), Answer::ACK);
    }

    #[test]
    fn a_line_is_high_only_as_an_output_in_its_mode() {
        let (mut chip, _, cbus) = Ft232r::new("R");
        for (value, high) in [(0x2011, 1), (0x2031, 1), (0x2001, 0), (0x20F5, 5), (0x00F5, 0)] {
            bit_mode(&mut chip, value);
            assert_eq!(cbus.driven_high(), high, "{value:04x}");
        }
        bit_mode(&mut chip, 0x2022);
        chip.unplugged();
        assert_eq!(cbus.driven_high(), 0);
    }
}
