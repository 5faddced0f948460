//! Steps with a debug probe that have no other place: what they are, how they are written, how they are told.

use super::{FailAs, build, keys};
use crate::{
    channel::probe::LockVerdict,
    document::{Key, Keys, Map, Shape, Word},
};

/// Most bytes of one dump.
pub const MAX_DUMP: u32 = 16 << 20;

/// A step with a debug probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeStep {
    /// Halt the core.
    Halt,
    /// Let the core run.
    Resume,
    /// Keep memory as evidence.
    DumpMemory {
        /// First address.
        address: u32,
        /// Bytes, 1 to [`MAX_DUMP`].
        length: u32,
        /// Name of the evidence.
        name: String,
    },
    /// Tell from raw accesses whether the debug port is locked.
    ReadLock {
        /// By which rule; otherwise that of the chip.
        family: Option<String>,
        /// What it must be; without it, what is found is recorded and not judged.
        expect: Option<Lock>,
        /// Reason when it is otherwise.
        fail_as: Option<FailAs>,
    },
}

/// What a lock must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Open.
    Open,
    /// Part of the memory is protected, the port works.
    ReadProtected,
    /// Nothing goes through.
    Locked,
    /// Either of the two.
    Closed,
}

impl Lock {
    /// Whether a proven verdict is what it must be. Verdicts that prove nothing are not for here.
    #[must_use]
    pub const fn is_met_by(self, verdict: LockVerdict) -> bool {
        matches!(
            (self, verdict),
            (Self::Open, LockVerdict::Open)
                | (Self::ReadProtected | Self::Closed, LockVerdict::ReadProtected)
                | (Self::Locked | Self::Closed, LockVerdict::Locked)
        )
    }

    /// As written in plans.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ReadProtected => "read-protected",
            Self::Locked => "locked",
            Self::Closed => "closed",
        }
    }
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Debug probe channel.");
const LOCKS: &[Word] = &[
    Word { word: "open", what: "Memory can be read." },
    Word { word: "read-protected", what: "The port works and protected memory cannot be read through it." },
    Word { word: "locked", what: "The port answers and lets nothing through." },
    Word { word: "closed", what: "Read-protected or locked." },
];

/// `halt`.
pub static HALT: Keys = Keys::new(
    "halt",
    "Halts the core through the debug probe. It stays halted until `resume`, `reset`, `flash` or `read-lock`, or the end of the run.",
    &[CHANNEL],
);
/// `resume`.
pub static RESUME: Keys = Keys::new("resume", "Lets a core run that `halt` has halted.", &[CHANNEL]);
/// `dump-memory`.
pub static DUMP_MEMORY: Keys = Keys::new(
    "dump-memory",
    "Keeps memory as evidence, read through the debug probe. Judges nothing.",
    &[
        CHANNEL,
        Key::needed("address", Shape::Address, "First address."),
        Key::needed("length", Shape::Integer(1, MAX_DUMP as i64), "Bytes, at most 16 MiB."),
        Key::needed("name", Shape::Name, "Name of the evidence."),
    ],
);
/// `read-lock`.
pub static READ_LOCK: Keys = Keys::new(
    "read-lock",
    "Tells from raw accesses that change nothing whether the debug port is locked. What is not proven is inconclusive.",
    &[
        CHANNEL,
        Key::optional(
            "family",
            Shape::Name,
            "Rule by which it is read, such as `nrf52`; see lock-states.md. Default: that of the chip.",
        ),
        Key::optional("expect", Shape::Word(LOCKS), "What it must be. Without it, what is found is recorded and not judged."),
        keys::REASON,
        keys::MEANING,
    ],
);

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<ProbeStep> {
    let number = |key| map.get(key).map_or(0, |value| u32::try_from(value.integer()).unwrap_or(0));
    Some(match name {
        "halt" => ProbeStep::Halt,
        "resume" => ProbeStep::Resume,
        "dump-memory" => ProbeStep::DumpMemory { address: number("address"), length: number("length"), name: map.string("name") },
        "read-lock" => ProbeStep::ReadLock {
            family: map.get("family").map(|value| value.text().to_owned()),
            expect: map.get("expect").map(|value| match value.text() {
                "open" => Lock::Open,
                "read-protected" => Lock::ReadProtected,
                "locked" => Lock::Locked,
                _ => Lock::Closed,
            }),
            fail_as: build::optional_fail_as(map),
        },
        _ => return None,
    })
}

impl ProbeStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Halt => format!("halt the core through {channel}"),
            Self::Resume => format!("let the core run through {channel}"),
            Self::DumpMemory { address, length, name } => {
                format!("keep {length} bytes at {address:#010x} through {channel} as {name}")
            }
            Self::ReadLock { expect: Some(lock), .. } => format!("lock of {channel}, to be {}", lock.word()),
            Self::ReadLock { expect: None, .. } => format!("lock of {channel}"),
        }
    }
}
