//! Points of a power-cut search and what they led to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where in a flash operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutPhase {
    /// The operation has not touched the array.
    Before,
    /// The operation has changed a pseudo-random part of its bits, chosen by the seed.
    Torn {
        /// Seed of the torn pattern.
        seed: u32,
    },
    /// The operation is complete, nothing after it has run.
    After,
}

/// One cut: a flash operation of the recorded good run, counted from 0, and the phase; optionally a second cut during recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CutPoint {
    /// Index of the flash operation (word write or page erase), from 0.
    pub operation: u32,
    /// Where in that operation.
    pub phase: CutPhase,
    /// A second cut *after* this many flash operations of the recovery from the first, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<u32>,
}

/// `117:before`, `117:torn:3`, `117:after`; with a second cut `117:torn:3+40`.
impl fmt::Display for CutPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.operation)?;
        match self.phase {
            CutPhase::Before => write!(f, "before")?,
            CutPhase::Torn { seed } => write!(f, "torn:{seed}")?,
            CutPhase::After => write!(f, "after")?,
        }
        match self.again {
            Some(n) => write!(f, "+{n}"),
            None => Ok(()),
        }
    }
}

impl FromStr for CutPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a cut point; write OPERATION:before, OPERATION:torn:SEED or OPERATION:after, with +N for a second cut after N operations of the recovery"
            )
        };
        let (first, again) = match text.split_once('+') {
            Some((first, n)) => (first, Some(n.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let mut parts = first.split(':');
        let operation = parts.next().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
        let phase = match (parts.next(), parts.next()) {
            (Some("before"), None) => CutPhase::Before,
            (Some("after"), None) => CutPhase::After,
            (Some("torn"), Some(seed)) => CutPhase::Torn { seed: seed.parse().map_err(|_| wrong())? },
            _ => return Err(wrong()),
        };
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { operation, phase, again })
    }
}

/// What the interruption oracle says of one cut. Ordered from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutOutcome {
    /// Came up by itself on the image it had before.
    Old,
    /// Came up by itself on the new image.
    New,
    /// Settings were not what they were before the update.
    SettingsLost,
    /// An image that nobody confirmed stayed after a further power cycle.
    UnconfirmedKept,
    /// The security counter was lower than before the cut.
    CounterLowered,
    /// A genuine update no longer worked afterwards.
    Poisoned,
    /// Ran an image that is neither the old nor the new one.
    WrongImage,
    /// Did not come up within the declared time without human action.
    Bricked,
}

impl CutOutcome {
    /// Whether the oracle accepts it.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Old | Self::New)
    }

    /// Reason code of the security catalogue for a bad outcome; `None` for a good one.
    #[must_use]
    pub const fn reason_code(self) -> Option<&'static str> {
        match self {
            Self::Old | Self::New => None,
            Self::SettingsLost => Some("SETTINGS-LOST"),
            Self::UnconfirmedKept => Some("NO-REVERT"),
            Self::CounterLowered => Some("COUNTER-LOWERED"),
            Self::Poisoned => Some("UPD-POISONED"),
            Self::WrongImage => Some("WRONG-IMAGE"),
            Self::Bricked => Some("BRICK-META"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CutPoint;

    #[test]
    fn points_read_back_as_written() {
        for text in ["0:before", "117:torn:3", "9:after", "117:torn:3+40"] {
            assert_eq!(text.parse::<CutPoint>().unwrap().to_string(), text);
        }
        for text in ["", "x", "1", "1:torn", "1:before:2", "1:after+", "-1:after", "1:torn:3:4"] {
            assert!(text.parse::<CutPoint>().is_err(), "{text}");
        }
    }
}
