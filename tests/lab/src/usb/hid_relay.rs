//! The relay boards 16c0:05df: a HID device whose feature report tells a serial number and its relays, and switches them.
//!
//! The descriptor of its report is not there, so the kernel's HID driver leaves the board alone; libusb is what it is for.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    description::{Description, Direction, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
};

const GET_REPORT: (u8, u8) = (0xA1, 0x01);
const SET_REPORT: (u8, u8) = (0x21, 0x09);
const CLOSE: u8 = 0xFF;
const OPEN: u8 = 0xFD;

/// The contacts as the world outside sees them.
#[derive(Clone, Default)]
pub struct Contacts(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    closed: u8,
    stuck: bool,
}

impl Contacts {
    /// The relays that are closed, bit 0 being the first.
    #[must_use]
    pub fn closed(&self) -> u8 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// From now on commands change nothing.
    pub fn stick(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stuck = true;
    }
}

/// The board.
pub struct HidRelay {
    description: Description,
    letters: [u8; 5],
    contacts: Contacts,
}

impl HidRelay {
    /// A board with two relays that tells these letters, and its contacts.
    #[must_use]
    pub fn new(letters: &[u8; 5]) -> (Self, Contacts) {
        let interface =
            Interface { class: [3, 0, 0], endpoints: vec![Endpoint::bulk(1, Direction::In, 8)], ..Interface::default() };
        let description = Description::new(Speed::Full, 0x16C0, 0x05DF, "USBRelay2").interface(interface);
        let contacts = Contacts::default();
        (Self { description, letters: *letters, contacts: contacts.clone() }, contacts)
    }
}

impl Model for HidRelay {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, _: Waker) {}

    fn unplugged(&mut self) {
        self.contacts.0.lock().unwrap_or_else(PoisonError::into_inner).closed = 0;
    }

    fn control(&mut self, setup: &Setup, data: &[u8]) -> Answer {
        let mut state = self.contacts.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (setup.kind, setup.request) {
            GET_REPORT => Answer::Done([self.letters.as_slice(), &[0, 0, state.closed]].concat()),
            SET_REPORT => {
                let (Some(word @ (&CLOSE | &OPEN)), Some(relay @ 1..=2)) = (data.first(), data.get(1)) else {
                    return Answer::Stall;
                };
                let bit = 1 << (relay - 1);
                if !state.stuck {
                    state.closed = if *word == CLOSE { state.closed | bit } else { state.closed & !bit };
                }
                Answer::ACK
            }
            _ if setup.kind & 0x80 == 0 => Answer::ACK,
            _ => Answer::Stall,
        }
    }

    fn output(&mut self, _: u8, _: &[u8]) -> Answer {
        Answer::Stall
    }

    fn input(&mut self, _: u8, _: usize) -> Answer {
        Answer::Wait
    }
}
