//! The virtual debug probe: a probe-rs probe driver whose wire leads to a [`Dap`].
//!
//! [`register`] puts a device on the bench's "USB": from then on probe-rs lists it beside real probes and opens it by its selector,
//! and all of probe-rs above the raw DAP registers is the same code that drives hardware. Taking the [`Registered`] away unplugs it.
//!
//! probe-rs keeps one global list of drivers, so there is one driver here, and a table from serial number to device behind it:
//! any number of benches live in one process.

mod driver;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dap::{Dap, DebugTarget, Port, Refusal};

pub use table::{Registered, register};

/// USB vendor id in selectors. The number is from the range of a pool for hobby projects; no virtual probe is ever on a real bus.
pub const VENDOR_ID: u16 = 0xF055;
/// USB product id in selectors.
pub const PRODUCT_ID: u16 = 0x0001;

/// What crossed the wire so far: equal sessions on equal devices have equal traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Transfers, acknowledged or not.
    pub transfers: u64,
    /// Digest of all of them in order: port, direction, register, value, answer.
    pub digest: [u8; 32],
}

/// The far end of the wire: the debug port, the device behind it, and whether a driver holds the probe.
struct Socket {
    dap: Dap,
    target: Box<dyn DebugTarget>,
    opened: bool,
    /// Whether the wire is off: then nothing reaches the device, and nothing answers.
    wire_off: bool,
    /// Level of the reset line.
    nrst: bool,
    transfers: u64,
    transcript: blake3::Hasher,
}

type Shared = Arc<Mutex<Socket>>;

/// A panic in one test's device must not take the table down for all: the data is register values, valid in any state.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    fn new(target: Box<dyn DebugTarget>) -> Self {
        Self {
            dap: Dap::new(),
            target,
            opened: false,
            wire_off: false,
            nrst: true,
            transfers: 0,
            transcript: blake3::Hasher::new(),
        }
    }

    fn read(&mut self, port: Port, address: u8) -> Result<u32, Refusal> {
        let answer = if self.wire_off { Err(Refusal::Silent) } else { self.dap.read(self.target.as_mut(), port, address) };
        self.record(port, 'r', address, answer);
        answer
    }

    fn write(&mut self, port: Port, address: u8, value: u32) -> Result<(), Refusal> {
        let answer =
            if self.wire_off { Err(Refusal::Silent) } else { self.dap.write(self.target.as_mut(), port, address, value) };
        self.record(port, 'w', address, answer.map(|()| value));
        answer
    }

    fn record(&mut self, port: Port, direction: char, address: u8, answer: Result<u32, Refusal>) {
        let (acknowledge, value) = match answer {
            Ok(value) => (1, value),
            Err(Refusal::Silent) => (7, 0),
            Err(Refusal::Fault) => (4, 0),
        };
        let [a, b, c, d] = value.to_le_bytes();
        self.transfers += 1;
        self.transcript.update(&[u8::from(port == Port::Ap), direction as u8, address, acknowledge, a, b, c, d]);
    }

    fn traffic(&self) -> Traffic {
        Traffic { transfers: self.transfers, digest: *self.transcript.finalize().as_bytes() }
    }
}

#[cfg(test)]
mod tests;
