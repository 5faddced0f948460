//! The two wires between a probe and a debug port.

/// Why a transfer gave no data: the acknowledge of the debug port (ADIv5, IHI 0031, B4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Not ready; the same again later.
    Wait,
    /// A sticky error is set.
    Fault,
    /// Nobody drove the line.
    Silent,
}

impl Ack {
    /// As the probe's protocol has it.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Wait => 2,
            Self::Fault => 4,
            Self::Silent => 7,
        }
    }
}

/// A debug port as seen from the wires. Reads of access ports are posted: each gives the result of the one before, and the debug port's
/// register `0xC` gives the last.
pub trait Swd: Send {
    /// One read transfer of register `address` (0, 4, 8 or 12).
    fn read(&mut self, ap: bool, address: u8) -> Result<u32, Ack>;
    /// One write transfer.
    fn write(&mut self, ap: bool, address: u8, value: u32) -> Result<(), Ack>;
    /// At most 64 bits on the data line outside a transfer, least significant first.
    fn line(&mut self, count: u8, bits: u64);
    /// The reset line of the device.
    fn set_reset(&mut self, high: bool);
}
