//! Verdicts and their lattice.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Outcome of a step, case or run, ordered as in TTCN-3 (ETSI ES 201 873-1, clause 24): combining only ever worsens.
///
/// A fault of the bench is [`Verdict::Error`], never [`Verdict::Fail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing judged yet.
    #[default]
    None,
    /// Everything expected was observed, every stimulus witnessed.
    Pass,
    /// Neither pass nor fail can be said: something needed for the judgement is missing.
    Inconclusive,
    /// The device did not do what the plan demands.
    Fail,
    /// The bench could not do its part.
    Error,
}

impl Verdict {
    /// The worse of the two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    /// Lower-case word, as in the journal.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Why a verdict is not `pass`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable code: one of the plan (`SIG-PAYLOAD`) or of the bench (`NO-WITNESS`, `SILENT`, `TIMEOUT`, `BENCH-FAULT`, `CANCELLED`).
    pub code: String,
    /// One sentence for a person: what was expected, what was seen instead.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Error, Fail, Inconclusive, None, Pass};

    #[test]
    fn verdicts_only_get_worse() {
        let all = [None, Pass, Inconclusive, Fail, Error];
        for (i, a) in all.into_iter().enumerate() {
            for (j, b) in all.into_iter().enumerate() {
                assert_eq!(a.and(b), all[i.max(j)]);
            }
        }
    }
}
