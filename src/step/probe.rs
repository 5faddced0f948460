//! Steps with a debug probe that have no other place: what they are, how they are written, how they are told.

use super::{FailAs, Template, build, keys};
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
    /// Search memory for what is left of secrets, in all forms of [`crate::channel::residue`].
    SearchMemory {
        /// First address.
        address: u32,
        /// Bytes, 1 to [`MAX_DUMP`].
        length: u32,
        /// What is searched for.
        secrets: Vec<Template>,
        /// Names of Wi-Fi networks whose keys may have been made of them.
        networks: Vec<Template>,
        /// What has to come of it.
        expect: Residue,
        /// Reason when something is left.
        fail_as: Option<FailAs>,
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

/// What has to come of a search for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residue {
    /// Nothing, because they were not put there yet.
    Unused,
    /// Each of them: the positive control.
    Found,
    /// Nothing, because it was erased.
    Absent,
}

impl Residue {
    /// As written in plans.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Found => "found",
            Self::Absent => "absent",
        }
    }
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

/// Rules by which locks are read, named as the driver has them (a test compares); chips by the beginnings of their names.
pub const FAMILIES: &[Word] = &[
    Word { word: "nrf51", what: "Chips nrf51." },
    Word { word: "nrf52", what: "Chips nrf52." },
    Word { word: "nrf53", what: "Chips nrf53." },
    Word { word: "nrf91", what: "Chips nrf91." },
    Word { word: "nrf54l", what: "Chips nrf54l." },
    Word { word: "stm32-f0-f3", what: "Chips stm32f0, stm32f3." },
    Word { word: "stm32-f1", what: "Chips stm32f1." },
    Word { word: "stm32-f2-f4-f7", what: "Chips stm32f2, stm32f4, stm32f7." },
    Word { word: "stm32-l0", what: "Chips stm32l0." },
    Word { word: "stm32-l1", what: "Chips stm32l1." },
    Word { word: "stm32-g0-g4-l4", what: "Chips stm32g0, stm32g4, stm32l4, stm32c0, stm32u0." },
    Word { word: "stm32-wb-wl", what: "Chips stm32wb, stm32wl." },
    Word { word: "stm32-h7", what: "Chips stm32h7." },
    Word { word: "stm32-l5-u5", what: "Chips stm32l5, stm32u5, stm32u3." },
    Word { word: "sam-d-e", what: "Chips atsamd, atsame5, atsamda1, atsaml21, atsaml22, atsamc2, atsamr." },
    Word { word: "kinetis", what: "Chips mk, s32k11, s32k14." },
    Word { word: "lpc-crp", what: "Chips lpc8, lpc11, lpc12, lpc13, lpc15, lpc17, lpc40, lpc541, lpc546." },
    Word { word: "lpc55", what: "Chips lpc55." },
    Word { word: "efm32", what: "Chips efm32, efr32bg1, efr32fg1, efr32mg1." },
    Word {
        word: "efr32-s2",
        what: "Chips efm32pg2, efr32bg2, efr32fg2, efr32mg2, efr32zg2, bgm21, bgm22, bgm24, mgm21, mgm22, mgm24.",
    },
    Word { word: "cc13xx-cc26xx", what: "Chips cc13, cc26." },
    Word { word: "rp2040", what: "Chips rp2040." },
    Word { word: "rp2350", what: "Chips rp2350, rp235." },
];
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
const RESIDUE: &[Word] = &[
    Word {
        word: "unused",
        what: "Nothing may be there yet. Otherwise the step is inconclusive: these secrets would be found whatever the device erases.",
    },
    Word { word: "found", what: "Each of them must be there: the positive control. Otherwise the step is inconclusive." },
    Word { word: "absent", what: "Nothing may be left, not even a piece of six bytes." },
];
/// `search-memory`.
pub static SEARCH_MEMORY: Keys = Keys::new(
    "search-memory",
    "Reads memory through the debug probe and searches it for secrets in every form in which a device may keep them: plain, UTF-16, hex, \
     as the bytes that they write in hex, Base64, reversed, with reversed words, inverted, escaped, as SHA-1 or SHA-256, and for \
     pieces of six bytes. Memory that cannot be read is inconclusive.",
    &[
        CHANNEL,
        Key::needed("address", Shape::Address, "First address."),
        Key::needed("length", Shape::Integer(1, MAX_DUMP as i64), "Bytes, at most 16 MiB."),
        Key::needed("for", Shape::List(&Shape::Template, 1), "Secrets, of at least eight bytes each."),
        Key::optional(
            "networks",
            Shape::List(&Shape::Template, 1),
            "Names of Wi-Fi networks: keys made of the secrets for them are searched for too.",
        ),
        Key::needed("expect", Shape::Word(RESIDUE), "What has to come of it."),
        keys::REASON,
        keys::MEANING,
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
        "search-memory" => ProbeStep::SearchMemory {
            address: number("address"),
            length: number("length"),
            secrets: map.strings("for").into_iter().map(Template).collect(),
            networks: map.strings("networks").into_iter().map(Template).collect(),
            expect: match map.text("expect") {
                "unused" => Residue::Unused,
                "found" => Residue::Found,
                _ => Residue::Absent,
            },
            fail_as: build::optional_fail_as(map),
        },
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
            Self::SearchMemory { address, length, secrets, expect, .. } => {
                format!(
                    "{} secrets in {length} bytes at {address:#010x} through {channel}, to be {}",
                    secrets.len(),
                    expect.word()
                )
            }
            Self::ReadLock { expect: Some(lock), .. } => format!("lock of {channel}, to be {}", lock.word()),
            Self::ReadLock { expect: None, .. } => format!("lock of {channel}"),
        }
    }
}
