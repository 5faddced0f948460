//! What crossed the wire: transactions, their answers, and what can be looked up in them.

use serde::{Deserialize, Serialize};

/// Registers of a memory access port (Arm Debug Interface v5, IHI 0031, chapter on the MEM-AP; v6, IHI 0074, adds 0xD00 to each).
pub(super) mod mem_ap {
    /// Control and status word.
    pub(in super::super) const CSW: u16 = 0x00;
    /// Transfer address.
    pub(in super::super) const TAR: u16 = 0x04;
    /// Data read or written at the transfer address.
    pub(in super::super) const DRW: u16 = 0x0C;
    /// Identification, of every access port.
    pub(in super::super) const IDR: u16 = 0xFC;
    /// CSW: transfers through this port are possible at all.
    pub(in super::super) const DEVICE_ENABLED: u32 = 1 << 6;
    /// CSW: secure transfers are possible.
    pub(in super::super) const SECURE_ENABLED: u32 = 1 << 23;
}

/// Which register file a transaction addresses. Selecting it is the business of whoever performs the transaction, so no transcript has
/// writes of SELECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// The debug port.
    Dp,
    /// An access port by its number (debug interface v5).
    Ap(u8),
    /// An access port by the address of its registers (debug interface v6).
    ApAt(u32),
}

impl Port {
    /// The offset in this port of an access port register that has `register` as its address in version 5.
    pub(super) fn at(self, register: u16) -> u16 {
        match self {
            Self::ApAt(_) => 0xD00 | register,
            Self::Dp | Self::Ap(_) => register,
        }
    }
}

/// What is done with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read it.
    Read,
    /// Write this to it.
    Write(u32),
}

/// One access to one register. In the debug port, bits 7 to 4 of the address are the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// Register file.
    pub port: Port,
    /// Address in it.
    pub address: u16,
    /// Direction and value.
    pub access: Access,
}

impl Transaction {
    pub(super) const fn read(port: Port, address: u16) -> Self {
        Self { port, address, access: Access::Read }
    }

    pub(super) const fn write(port: Port, address: u16, value: u32) -> Self {
        Self { port, address, access: Access::Write(value) }
    }
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Acknowledged; the value read, or for a write the value written.
    Ok(u32),
    /// The debug port refused: the access failed on the far side.
    Fault,
    /// Nobody answered.
    NoAck,
    /// The debug port asked for patience for longer than there was.
    Wait,
    /// Something answered that is none of the above, or with the wrong parity. It proves nothing but trouble on the wire.
    Garbled,
}

/// A transaction with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was done.
    #[serde(flatten)]
    pub transaction: Transaction,
    /// What came back.
    pub answer: Answer,
}

/// Supply of the device as the probe's sense pin saw it before the first transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supply {
    /// The probe cannot tell.
    #[default]
    Unknown,
    /// So many millivolts.
    Millivolts(u32),
}

/// Below this no chip that a probe can drive is running.
const SUPPLY_UP: u32 = 1000;

impl Supply {
    /// Whether the device is known to be powered.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Millivolts(level) if level >= SUPPLY_UP)
    }

    /// Whether the device is known to have no power.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Millivolts(level) if level < SUPPLY_UP)
    }
}

/// Everything that was asked of a debug port, and every answer, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transcript {
    /// Supply before the first transaction.
    pub supply: Supply,
    /// What followed.
    pub exchanges: Vec<Exchange>,
}

impl Transcript {
    /// Answers to the reads of a register.
    pub(super) fn reads(&self, port: Port, address: u16) -> impl Iterator<Item = Answer> + '_ {
        let wanted = Transaction::read(port, address);
        self.exchanges.iter().filter(move |exchange| exchange.transaction == wanted).map(|exchange| exchange.answer)
    }

    /// Answer to the last read of a word of memory through a memory access port; with `csw`, of the last one that was made with this
    /// control word. The data register stands for the word only in the transfer right after its address was written.
    #[must_use]
    pub fn memory(&self, port: Port, csw: Option<u32>, address: u32) -> Option<Answer> {
        let (mut control, mut target, mut found) = (None, None, None);
        for Exchange { transaction, answer } in self.exchanges.iter().filter(|exchange| exchange.transaction.port == port) {
            let register = transaction.address;
            match (transaction.access, answer) {
                (Access::Write(value), Answer::Ok(_)) if register == port.at(mem_ap::CSW) => control = Some(value),
                (Access::Write(value), Answer::Ok(_)) if register == port.at(mem_ap::TAR) => target = Some(value),
                (Access::Write(_), _) => target = None,
                (Access::Read, _) if register == port.at(mem_ap::DRW) => {
                    if target.take() == Some(address) && (csw.is_none() || csw == control) {
                        found = Some(*answer);
                    }
                }
                (Access::Read, _) => {}
            }
        }
        found
    }

    /// Whether an access port has said that it is a memory access port, and nothing happened since that makes it doubtful.
    #[must_use]
    pub fn is_mem_ap(&self, port: Port) -> bool {
        let identification = Transaction::read(port, port.at(mem_ap::IDR));
        self.exchanges
            .iter()
            .rev()
            .take_while(|exchange| !matches!(exchange.answer, Answer::NoAck | Answer::Garbled))
            .find(|exchange| exchange.transaction == identification)
            .is_some_and(|exchange| matches!(exchange.answer, Answer::Ok(value) if is_mem_ap(value)))
    }
}

/// IDR bits 16 to 13 are the class of an access port; 8 is the MEM-AP.
pub(super) fn is_mem_ap(identification: u32) -> bool {
    identification >> 13 & 0xF == 8
}
