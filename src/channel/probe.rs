//! What a debug probe tells about the lock of a device, for whoever judges it.

use super::link::LinkError;

/// What the debug port lets through, as far as it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockVerdict {
    /// Memory can be read.
    Open,
    /// The port works, and part of the memory cannot be read through it.
    ReadProtected,
    /// The port answers and lets nothing through.
    Locked,
    /// The device has power and nobody answers: switched off, or a loose wire. It proves neither.
    NoDebugPort,
    /// Nothing is proven.
    Undetermined,
}

/// One reading of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockReading {
    /// The rule by which it was read: `nrf52`.
    pub family: String,
    /// The verdict.
    pub verdict: LockVerdict,
    /// The verdict in words, with what would open the lock or what is missing.
    pub text: String,
    /// Whether the rule is from the vendor's manual. If not, sources differ or leave room.
    pub documented: bool,
    /// What was asked and answered, then the values that decided; the file that is kept as evidence.
    pub transcript: String,
}

/// For probes that cannot do something.
pub(super) fn unable<T>(what: &str) -> Result<T, LinkError> {
    Err(LinkError::new(what, "this probe's driver cannot do that"))
}
