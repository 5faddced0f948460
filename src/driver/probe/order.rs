//! An operation as data, so that it can be done on a thread of this process or in another process.

use std::{fmt::Write as _, ops::Range};

use serde::{Deserialize, Serialize};

use super::{
    failure::{Cause, Failure},
    lock::{Family, Transcript},
    operations::{Held, Instrument},
};
use crate::channel::link::Segment;

/// What is to be done. Bytes of images travel beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Operation {
    /// Whether the chip is known and the probe can be opened.
    Check,
    /// Write; `places` are address and length of the parts of the bytes.
    Flash { places: Vec<(u32, u32)>, erase_all: bool },
    /// Reset and let run.
    Reset,
    /// Halt, and stay so.
    Halt,
    /// Let a halted core run.
    Resume,
    /// Read memory.
    Read { address: u32, len: u32 },
    /// Read the lock.
    ReadLock { family: Family },
    /// Exchange bytes with the RTT channel `number`: what the device has written is read, and the order's bytes are offered to it. The control
    /// block is `at` that address, or searched for in the memory of the chip.
    Rtt { number: u32, at: Option<u32> },
    /// For tests of whoever does the operations.
    #[cfg(test)]
    Panic,
}

/// An operation with its bytes.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) operation: Operation,
    pub(super) bytes: Vec<u8>,
}

/// What came of it. Bytes that were read travel beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Done {
    /// Nothing to tell.
    Checked,
    /// An act, with what shows it.
    Seen(String),
    /// Memory was read, or the device refused.
    Memory { refused: Option<String> },
    /// The lock was asked about.
    Lock(Transcript),
    /// So many of the order's bytes were taken; those beside this were read.
    Exchanged { taken: usize },
}

/// What came of it, with its bytes.
pub(super) type Reply = Result<(Done, Vec<u8>), Failure>;

impl From<Operation> for Order {
    fn from(operation: Operation) -> Self {
        Self { operation, bytes: Vec::new() }
    }
}

impl Order {
    pub(super) fn flash(segments: Vec<Segment>, erase_all: bool) -> Self {
        let places = segments.iter().map(|segment| (segment.address, segment.bytes.len() as u32)).collect();
        let bytes = segments.into_iter().flat_map(|segment| segment.bytes).collect();
        Self { operation: Operation::Flash { places, erase_all }, bytes }
    }

    pub(super) fn rtt(number: u32, at: Option<u32>, bytes: Vec<u8>) -> Self {
        Self { operation: Operation::Rtt { number, at }, bytes }
    }

    /// Bytes that cross the wire, for how long it may take.
    pub(super) fn size(&self) -> u64 {
        match self.operation {
            Operation::Read { len, .. } => len.into(),
            _ => self.bytes.len() as u64,
        }
    }

    fn segments(&self, places: &[(u32, u32)]) -> Result<Vec<Segment>, Failure> {
        let mut rest = self.bytes.as_slice();
        let mut segments = Vec::new();
        for &(address, len) in places {
            let Some((bytes, behind)) = rest.split_at_checked(len as usize) else {
                return Err(Failure::new(Cause::Other, "the image is shorter than its parts"));
            };
            rest = behind;
            segments.push(Segment { address, bytes: bytes.to_vec() });
        }
        if rest.is_empty() { Ok(segments) } else { Err(Failure::new(Cause::Other, "the image is longer than its parts")) }
    }

    /// Does it.
    pub(super) fn perform(&self, instrument: &Instrument, held: &mut Held) -> Reply {
        let seen = |what: String| (Done::Seen(what), Vec::new());
        match &self.operation {
            Operation::Check => instrument.check(held).map(|()| (Done::Checked, Vec::new())),
            Operation::Flash { places, erase_all } => instrument.flash(held, &self.segments(places)?, *erase_all).map(seen),
            Operation::Reset => instrument.reset(held).map(seen),
            Operation::Halt => instrument.halt(held).map(seen),
            Operation::Resume => Instrument::resume(held).map(seen),
            Operation::Read { address, len } => instrument.read(held, *address, *len).map(|read| match read {
                Ok(bytes) => (Done::Memory { refused: None }, bytes),
                Err(refusal) => (Done::Memory { refused: Some(refusal) }, Vec::new()),
            }),
            Operation::ReadLock { family } => {
                instrument.read_lock(held, *family).map(|transcript| (Done::Lock(transcript), Vec::new()))
            }
            Operation::Rtt { number, at } => {
                instrument.exchange(held, *number, *at, &self.bytes).map(|(taken, read)| (Done::Exchanged { taken }, read))
            }
            #[cfg(test)]
            Operation::Panic => panic!("driver bug"),
        }
    }
}

/// Which unit has to be attached: bytes that its chip has at a place from the factory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    pub(super) address: u32,
    pub(super) bytes: Vec<u8>,
}

/// Bytes of a chip's identity that make sense: a word at least, and no more than any chip has.
const IDENTITY: Range<usize> = 4..33;

/// Where chips keep their identity: the beginning of their probe-rs name in small letters, address, length. nRF51 Series Reference Manual v3.0,
/// chapter FICR (DEVICEID); nRF52832 Product Specification v1.4, chapter FICR, likewise for the other nRF52.
const KNOWN: &[(&str, u32, usize)] = &[("nrf51", 0x1000_0060, 8), ("nrf52", 0x1000_0060, 8)];

impl Unit {
    /// From the parameters `unit` (bytes in hex, in the order of their addresses) and `unit-at` (`ADDRESS/LENGTH`).
    pub(super) fn parse(unit: Option<&str>, at: Option<&str>, chip: &str) -> Result<Option<Self>, String> {
        let Some(unit) = unit else {
            return match at {
                Some(_) => Err("`unit-at` needs `unit`, what is to be found there".to_owned()),
                None => Ok(None),
            };
        };
        let bytes = hex(unit).ok_or_else(|| format!("`unit: {unit}` is not an even number of hex digits"))?;
        if !IDENTITY.contains(&bytes.len()) {
            return Err(format!("`unit` has {} bytes; an identity has 4 to 32", bytes.len()));
        }
        if bytes.iter().all(|&byte| byte == 0) || bytes.iter().all(|&byte| byte == 0xFF) {
            return Err("`unit` is what memory reads as that is not there; use the identity of the chip".to_owned());
        }
        let chip = chip.to_ascii_lowercase();
        let (address, len) = match (at, KNOWN.iter().find(|(name, ..)| chip.starts_with(name))) {
            (Some(at), _) => place(at).ok_or_else(|| format!("`unit-at: {at}` is not ADDRESS/LENGTH, such as 0x10000060/8"))?,
            (None, Some((_, address, len))) => (*address, *len),
            (None, None) => {
                return Err(format!("where the identity of {chip} is, is not known here; give `unit-at: ADDRESS/LENGTH`"));
            }
        };
        if len != bytes.len() {
            return Err(format!("`unit` has {} bytes, and the identity at {address:#010x} has {len}", bytes.len()));
        }
        Ok(Some(Self { address, bytes }))
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = text.chars().filter(|c| !matches!(c, ' ' | ':' | '-')).collect();
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((high.to_digit(16)? << 4 | low.to_digit(16)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// Bytes in hex.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn place(text: &str) -> Option<(u32, usize)> {
    let (address, len) = text.split_once('/')?;
    let address = match address.trim().strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => address.trim().parse().ok()?,
    };
    Some((address, len.trim().parse().ok()?))
}
