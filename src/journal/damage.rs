//! What is wrong with a journal, said so that a person can find the place.

use std::fmt;

/// Where and why reading of a file ended before its end. Everything before the place is intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// File in the run directory.
    pub file: String,
    /// Line that cannot be taken, from 1.
    pub line: u64,
    /// Byte where that line begins, in the uncompressed file.
    pub offset: u64,
    /// What is wrong.
    pub why: DamageKind,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamageKind {
    /// The file ends in the middle of the line: the writer was killed, the disk was full, or the file was cut.
    Torn,
    /// The line is longer than [`super::MAX_LINE`].
    TooLong,
    /// The line is not of the form that journals have.
    Malformed(String),
    /// The line's chain value does not follow from the line before and its own bytes: something was changed, removed or added.
    Chain,
    /// The line's number is not the next one.
    Sequence {
        /// Next in order.
        expected: u64,
        /// What the line says.
        found: u64,
    },
    /// The file cannot be read further: an input error, or damaged compression.
    Unreadable(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {} (byte {}): {}", self.file, self.line, self.offset, self.why)
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn => f.write_str("the file ends in the middle of the line"),
            Self::TooLong => write!(f, "the line is longer than {} bytes", super::MAX_LINE),
            Self::Malformed(what) => write!(f, "not a journal line: {what}"),
            Self::Chain => f.write_str("the chain is broken: a line was changed, removed or added"),
            Self::Sequence { expected, found } => write!(f, "number {found} where {expected} is next"),
            Self::Unreadable(what) => write!(f, "cannot be read further: {what}"),
        }
    }
}
