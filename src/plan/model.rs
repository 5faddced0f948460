//! A checked test plan.
//!
//! Only `check` builds these: every name in them is known to exist, every quantity is in range, every pattern compiles.

use std::time::Duration;

use crate::step::Step;

/// A checked plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Short name, also the JUnit suite.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Channels (by name) that the plan needs; a rig without one makes the cases not applicable.
    pub requires: Vec<String>,
    /// Images made from the device's own ones by a declared alteration.
    pub images: Vec<AlteredImage>,
    /// Steps before each case, to bring the device into the state the cases start from.
    pub before_each: Vec<Step>,
    /// Cases in order.
    pub cases: Vec<Case>,
    /// Steps after the last case, whatever happened; before the rig's safe state.
    pub finally: Vec<Step>,
    /// Bench time for the whole run.
    pub timeout: Duration,
}

/// One case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Identity within the plan.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// TS 103 701 test cases it gives evidence for (known ids of the catalogue).
    pub assesses: Vec<String>,
    /// Bench time for all its steps.
    pub timeout: Duration,
    /// Steps in order; the first that does not pass ends the case.
    pub steps: Vec<Step>,
    /// Line in the plan file.
    pub line: u32,
}

/// An image made from another one, so that the bytes served differ from a genuine image in the declared place only.
#[derive(Debug, Clone, PartialEq)]
pub struct AlteredImage {
    /// Name used by steps.
    pub name: String,
    /// Role of the image it is made from.
    pub from: String,
    /// Flash address, if another than that of this image.
    pub address: Option<u32>,
    /// What is changed.
    pub alteration: Alteration,
}

/// A declared change to an image. Regions are those of the device profile's image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// One bit inverted: byte `at` of the region (negative counts from its end), bit 0 to 7.
    FlipBit {
        /// Region name.
        region: String,
        /// Byte within the region; negative from the end (-1 is the last).
        at: i64,
        /// Bit, 0 to 7.
        bit: u8,
    },
    /// Bytes of a region replaced.
    Replace {
        /// Region name.
        region: String,
        /// First byte within the region; negative from the end.
        at: i64,
        /// New bytes.
        bytes: Vec<u8>,
    },
    /// Only the first part kept, in thousandths of the length (500 = half), or all but the last `n` bytes.
    Truncate(Truncation),
}

/// How much of an image is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// Thousandths of the length, 0 to 1000.
    Permille(u16),
    /// The last bytes missing.
    AllBut(u64),
}
