//! Fixed sequences of transactions, as short as the rule for a family allows.

use super::transcript::{Port, Transaction, mem_ap};

/// CSW for reading words: debug master, privileged data access, one word, no increment. Bit 30 clear makes it a secure access where the
/// bus knows the difference.
pub(super) const WORDS: u32 = 0x2300_0002;
/// The same as a non-secure access.
pub(super) const NON_SECURE_WORDS: u32 = WORDS | 1 << 30;

/// ABORT with all sticky flags cleared; nothing is aborted.
const CLEAR_STICKY: u32 = 0x1E;
/// CTRL/STAT with debug and system power requested.
const POWER_UP: u32 = 1 << 30 | 1 << 28;

/// Collects the questions of one family.
pub(super) struct Questions(Vec<Transaction>);

impl Questions {
    /// Starts with what every family is asked: who is there, and power.
    pub(super) fn new() -> Self {
        Self(vec![
            Transaction::read(Port::Dp, 0x00),
            Transaction::write(Port::Dp, 0x00, CLEAR_STICKY),
            Transaction::write(Port::Dp, 0x04, POWER_UP),
            Transaction::read(Port::Dp, 0x04),
        ])
    }

    /// Reads a register of an access port.
    pub(super) fn register(&mut self, port: Port, register: u16) -> &mut Self {
        self.0.push(Transaction::read(port, register));
        self.clear()
    }

    /// Identifies an access port.
    pub(super) fn identify(&mut self, port: Port) -> &mut Self {
        self.register(port, port.at(mem_ap::IDR))
    }

    /// Identifies a memory access port, reads its control word, and sets it up for reading words.
    pub(super) fn open(&mut self, port: Port, csw: u32) -> &mut Self {
        self.identify(port).register(port, port.at(mem_ap::CSW)).control(port, csw)
    }

    /// Sets up an identified memory access port for other reads.
    pub(super) fn control(&mut self, port: Port, csw: u32) -> &mut Self {
        self.0.push(Transaction::write(port, port.at(mem_ap::CSW), csw));
        self
    }

    /// Reads words of memory through a port that was opened.
    pub(super) fn words(&mut self, port: Port, addresses: &[u32]) -> &mut Self {
        for &address in addresses {
            self.0.push(Transaction::write(port, port.at(mem_ap::TAR), address));
            self.register(port, port.at(mem_ap::DRW));
        }
        self
    }

    /// A refused read leaves a flag that fails everything after it, so each read that may be refused is followed by this.
    fn clear(&mut self) -> &mut Self {
        self.0.push(Transaction::write(Port::Dp, 0x00, CLEAR_STICKY));
        self
    }

    pub(super) fn into_transactions(self) -> Vec<Transaction> {
        self.0
    }
}
