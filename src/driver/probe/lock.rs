//! Whether a device's debug port is locked, told from raw reads.
//!
//! probe-rs knows the lock of few families, and attaching to a locked chip is for some of them the first half of erasing it. So nothing
//! attaches here: a fixed list of transactions ([`questions`]) is put to the debug port, all of them reads and the writes that reading
//! needs; question and answer are kept ([`Transcript`]), and a pure function of the transcript ([`decode`]) gives the verdict. The same
//! transcript gives the same verdict on any desk, years later.
//!
//! # What it takes
//! - A lock is *proven*: by a register that says so, or by a port that answers and refuses to read memory. Silence is never a lock. It is
//!   [`LockState::NoDebugPort`] if the device is known to have power and [`LockState::Undetermined`] otherwise, because a loose wire
//!   looks the same.
//! - An open port is proven as well: protected memory was read, or a status says that it is unlocked and nothing contradicts it.
//! - Whatever fits neither is [`LockState::Undetermined`]: an access port with another identification, a register that is all zeros
//!   or all ones, a lock bit that is set while memory can be read, contact lost on the way.
//!
//! A reading holds for the moment of it. Which moments to look at, and the comparison with a device known to be open on the same fixture,
//! are the plan's business.
//!
//! # What a device may be put through
//! [`permits`] is an allow-list over single transactions, and [`read_lock`](super::ProbeRsLink::read_lock) passes every question through it. It permits reads, power-up, and
//! setting up reads in ports that have said that they are memory access ports. Everything else takes a [`Licence`] that only a plan
//! with `destructive: true` on a unit marked as sacrificial has.
//!
//! probe-rs 0.32 as a library does not read `PROBE_RS_ALLOW_ERASE_ALL`, nor any other variable that concerns a chip: it is an option of its
//! command-line tools (`--allow-erase-all`). What grants erasing to the library is `Permissions::allow_erase_all`, which this driver
//! calls for a `flash` with `erase_all` only. A test holds both.

mod ask;
mod family;
mod microchip;
mod nordic;
mod nxp;
mod page;
mod policy;
mod question;
mod raspberry;
mod sheet;
mod silabs;
mod stm32;
mod text;
mod ti;
mod transcript;

use std::fmt;

use serde::Serialize;

pub(super) use ask::ask;
pub use family::{Family, UnknownFamily};
pub use page::reference;
pub use policy::{Licence, Refusal, permits};
pub use text::TextError;
pub use transcript::{Access, Answer, Exchange, Port, Supply, Transaction, Transcript};

use question::Questions;
use sheet::{Seen, Sheet, undetermined};

/// What the debug port lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockState {
    /// Memory can be read.
    Open,
    /// The port works and part of the memory cannot be read through it.
    ReadProtected {
        /// What is protected.
        what: String,
        /// What would lift it.
        opened_by: String,
    },
    /// The port answers and lets nothing through.
    Locked {
        /// The registers say that nothing opens it. `false` if something does, and if that could not be told.
        permanent: bool,
        /// What would open it, as far as known.
        opened_by: String,
    },
    /// The device has power and nobody answers: the port is switched off, or not wired.
    NoDebugPort,
    /// None of the above is proven.
    Undetermined {
        /// What is missing or contradicts itself.
        why: String,
    },
}

/// How well a rule is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The vendor's manual describes register and values; they may have been taken over by way of tools that use them.
    Documented,
    /// Sources differ or leave room; to be confirmed on hardware.
    Uncertain,
}

/// A register value that a verdict is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// Name in the manual.
    pub name: String,
    /// Where it was read: `ap1 0x0c`, `0x10001208 by ap0`.
    pub place: String,
    /// What was read.
    pub value: u32,
}

/// The verdict on a transcript, with what it is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// By which rule.
    pub family: Family,
    /// The verdict.
    pub state: LockState,
    /// How well the rule is founded for this verdict.
    pub certainty: Certainty,
    /// Manual and chapter behind the rule.
    pub source: String,
    /// What else was seen.
    pub findings: Vec<String>,
    /// Values read, in the order in which the rule looked at them.
    pub values: Vec<Value>,
}

/// What is the same for every chip of a family.
struct Profile {
    /// Name in rig files.
    name: &'static str,
    /// Beginnings of probe-rs' names for the chips, in small letters.
    chips: &'static [&'static str],
    /// The debug port on the wire; `None` is the only one there is.
    multidrop: Option<u32>,
    /// For the page: what is read, what proves open, what proves a lock, traps.
    reads: &'static str,
    proves_open: &'static str,
    proves_locked: &'static str,
    traps: &'static str,
    source: &'static str,
    certainty: Certainty,
    rule: &'static dyn Rule,
}

/// How the lock of a family is read.
trait Rule: Sync {
    /// Adds what has to be read beyond DPIDR and power-up.
    fn ask(&self, questions: &mut Questions);
    /// The verdict on a transcript in which the debug port answered and powered up.
    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState;
}

/// The transactions that a verdict on this family takes, in order.
#[must_use]
pub fn questions(family: Family) -> Vec<Transaction> {
    let mut questions = Questions::new();
    family.profile().rule.ask(&mut questions);
    questions.into_transactions()
}

/// The verdict on a transcript. Total: a transcript of anything else is [`LockState::Undetermined`].
#[must_use]
pub fn decode(family: Family, transcript: &Transcript) -> Reading {
    let profile = family.profile();
    let mut sheet = Sheet::new(transcript);
    let state = port(&mut sheet).unwrap_or_else(|| profile.rule.decode(&mut sheet));
    let certainty = if sheet.doubtful { Certainty::Uncertain } else { profile.certainty };
    Reading { family, state, certainty, source: profile.source.to_owned(), findings: sheet.findings, values: sheet.values }
}

/// CTRL/STAT: power-up of debug and system acknowledged.
const POWERED: u32 = 1 << 31 | 1 << 29;

/// The verdict if the debug port itself decides it.
fn port(sheet: &mut Sheet<'_>) -> Option<LockState> {
    let transcript = sheet.transcript;
    let Some(identified) = transcript.reads(Port::Dp, 0x00).last() else {
        let why = if transcript.supply.is_down() { "the device has no supply" } else { "the debug port was not asked" };
        return Some(undetermined(why));
    };
    match identified {
        Answer::Ok(_) => {}
        Answer::NoAck if transcript.supply.is_up() => {
            sheet.finding("a port that is switched off and one that is not wired look the same");
            return Some(LockState::NoDebugPort);
        }
        Answer::NoAck => return Some(undetermined("nobody answers, and nothing shows that the device has power")),
        Answer::Fault | Answer::Wait | Answer::Garbled => return Some(undetermined("the debug port did not identify itself")),
    }
    match sheet.register(Port::Dp, 0x00, "DPIDR") {
        // Bit 0 reads as one in every debug port, and no designer has the code 0.
        Seen::Value(value) if value & 1 == 1 && value & 0xFFE != 0 && value != u32::MAX => {}
        _ => return Some(undetermined("what answers is not the identification of a debug port")),
    }
    if transcript.exchanges.iter().any(|exchange| matches!(exchange.answer, Answer::NoAck | Answer::Garbled)) {
        return Some(undetermined("contact was lost on the way, or the wire is disturbed"));
    }
    match sheet.register(Port::Dp, 0x04, "CTRL/STAT") {
        Seen::Value(value) if value & POWERED == POWERED => None,
        Seen::Value(_) => Some(undetermined("the debug port did not acknowledge power-up, so its access ports prove nothing")),
        Seen::Refused | Seen::Nothing => Some(undetermined("whether the debug port powered up is not known")),
    }
}

impl fmt::Display for LockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::ReadProtected { what, opened_by } => write!(f, "read-protected ({what}; opened by {opened_by})"),
            Self::Locked { permanent: true, opened_by } => write!(f, "locked for good ({opened_by})"),
            Self::Locked { permanent: false, opened_by } => write!(f, "locked (opened by {opened_by})"),
            Self::NoDebugPort => f.write_str("no debug port"),
            Self::Undetermined { why } => write!(f, "undetermined: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
