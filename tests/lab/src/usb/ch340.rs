//! A cheap relay behind a CH340 serial converter, as sold under the name LCUS-1. The host's driver is `ch341`; the chip has no serial
//! number, so such boards can only be told apart by their port.
//!
//! Requests: the kernel's `drivers/usb/serial/ch341.c` (the maker's own documents do not list them). The relay's frame `A0 channel state
//! sum` is what its sellers publish; no maker's document is known.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    description::{Description, Direction, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
};

const READ_VERSION: u8 = 0x5F;
const READ_REGISTER: u8 = 0x95;

const FRAME: usize = 4;
const FRAME_START: u8 = 0xA0;

/// The relay board.
pub struct Ch340Relay {
    description: Description,
    closed: Arc<AtomicBool>,
    /// Bytes of a frame that is not complete.
    partial: Vec<u8>,
}

impl Ch340Relay {
    /// A board, and whether its contact is closed.
    #[must_use]
    pub fn new() -> (Self, Arc<AtomicBool>) {
        let interface = Interface {
            class: [0xFF, 1, 2],
            endpoints: vec![
                Endpoint::bulk(2, Direction::In, 32),
                Endpoint::bulk(2, Direction::Out, 32),
                Endpoint::interrupt(1, 8, 1),
            ],
            ..Interface::default()
        };
        let mut description = Description::new(Speed::Full, 0x1A86, 0x7523, "USB Serial").interface(interface);
        description.version = 0x0264;
        description.class = [0xFF, 0, 0];
        let closed = Arc::new(AtomicBool::new(false));
        (Self { description, closed: Arc::clone(&closed), partial: Vec::new() }, closed)
    }

    fn take(&mut self, byte: u8) {
        // Bytes before a frame's start are noise.
        if self.partial.is_empty() && byte != FRAME_START {
            return;
        }
        self.partial.push(byte);
        if let Ok([start, channel, state, sum]) = <[u8; FRAME]>::try_from(self.partial.as_slice()) {
            self.partial.clear();
            if sum == start.wrapping_add(channel).wrapping_add(state) && channel == 1 && state <= 1 {
                self.closed.store(state == 1, Ordering::SeqCst);
            }
        }
    }
}

impl Model for Ch340Relay {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, _waker: Waker) {}

    fn unplugged(&mut self) {
        self.partial.clear();
        self.closed.store(false, Ordering::SeqCst);
    }

    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Answer {
        match setup.request {
            READ_VERSION => Answer::Done(vec![0x31, 0]),
            // Modem lines are inverted: none is on.
            READ_REGISTER => Answer::Done(vec![0xFF, 0xEE]),
            _ if setup.kind & 0x80 == 0 => Answer::ACK,
            _ => Answer::Stall,
        }
    }

    fn output(&mut self, _endpoint: u8, data: &[u8]) -> Answer {
        for byte in data {
            self.take(*byte);
        }
        Answer::ACK
    }

    fn input(&mut self, _endpoint: u8, _space: usize) -> Answer {
        Answer::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_with_their_sum_switch() {
        let (mut board, closed) = Ch340Relay::new();
        for (bytes, expected) in [
            (&[0x00, 0xA0, 0x01][..], false),
            (&[0x01, 0xA2], true),
            (&[0xA0, 0x01, 0x00, 0xA0], true),
            (&[0xA0, 0x02, 0x00, 0xA2], true),
            (&[0xA0, 0x01, 0x00, 0xA1], false),
        ] {
            assert_eq!(board.output(2, bytes), Answer::ACK);
            assert_eq!(closed.load(Ordering::SeqCst), expected, "{bytes:02x?}");
        }
    }
}
