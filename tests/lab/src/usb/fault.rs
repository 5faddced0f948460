//! Misbehaviour on command.

use std::time::Duration;

/// What a device does wrong from now on, until [`Cable::heal`](super::Cable::heal) or until it is plugged in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers nothing any more, control requests included: crashed firmware whose bus interface still acknowledges.
    Hang,
    /// One endpoint answers nothing any more.
    HangEndpoint(u8),
    /// One endpoint stalls until the host clears its halt. Endpoint 0 stalls until healed.
    Stall(u8),
    /// The next transfer of this endpoint to the host ends after so many bytes; the rest is lost.
    Short(u8, usize),
    /// Each answer comes so much later.
    Delay(Duration),
}

/// The faults that are in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    active: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.active.push(fault);
    }

    pub(super) fn hangs(&self, endpoint: u8) -> bool {
        self.active.iter().any(|fault| *fault == Fault::Hang || *fault == Fault::HangEndpoint(endpoint))
    }

    pub(super) fn stalls(&self, endpoint: u8) -> bool {
        // A control transfer has the direction in its setup, not in its endpoint.
        let endpoint = if endpoint & 0xF == 0 { 0 } else { endpoint };
        self.active.contains(&Fault::Stall(endpoint))
    }

    /// The host clears the halt of an endpoint.
    pub(super) fn clear_halt(&mut self, endpoint: u8) {
        self.active.retain(|fault| *fault != Fault::Stall(endpoint));
    }

    /// Cuts the next transfer of `endpoint`, if that was asked for.
    pub(super) fn shorten(&mut self, endpoint: u8, data: &mut Vec<u8>) {
        let found = self.active.iter().position(|fault| matches!(fault, Fault::Short(place, _) if *place == endpoint));
        if let Some(Fault::Short(_, length)) = found.map(|at| self.active.remove(at)) {
            data.truncate(length);
        }
    }

    pub(super) fn delay(&self) -> Option<Duration> {
        self.active.iter().rev().find_map(|fault| if let Fault::Delay(time) = fault { Some(*time) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_packet_comes_once_and_a_halt_stays_until_cleared() {
        let mut faults = Faults::default();
        faults.add(Fault::Short(0x81, 2));
        faults.add(Fault::Stall(0x81));
        let mut data = b"abcd".to_vec();
        faults.shorten(0x82, &mut data);
        assert_eq!(data.len(), 4);
        faults.shorten(0x81, &mut data);
        assert_eq!(data, b"ab");
        let mut data = b"abcd".to_vec();
        faults.shorten(0x81, &mut data);
        assert_eq!(data.len(), 4);
        assert!(faults.stalls(0x81) && !faults.stalls(0x01));
        faults.clear_halt(0x81);
        assert!(!faults.stalls(0x81));
    }
}
