//! Reconnection laws as data.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{ParseShareError, Random, Share};
use crate::units::{ParseQuantityError, Span};

/// Shortest delay that a law may name.
pub const SHORTEST: Span = Span::from_millis(1);
/// Longest delay that a law may name.
pub const LONGEST: Span = Span::from_secs(24 * 3600);
/// Slowest growth, so that the way to the cap has a few hundred steps at most.
const LEAST_FACTOR: f64 = 1.05;
const MOST_FACTOR: f64 = 100.0;

/// How a device waits before its next attempt: `base * factor^n`, at most `cap`, randomised by `jitter`.
///
/// As text: `fixed 67s`, `fixed 10s jitter proportional 5%`, `exponential base 1s factor 2 cap 128s jitter full`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    base: Span,
    factor: f64,
    cap: Span,
    jitter: Jitter,
}

/// How a delay is randomised. `m` is the delay without jitter, `u` uniform in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// `m`.
    None,
    /// `m (1 - p + 2 p u)`: Azure's .NET SDK with p = 5 %.
    Proportional(Share),
    /// `m (1 - p u)`: Azure IoT Operations with p = 10 %.
    Subtractive(Share),
    /// `m (1 + p u)`: Matter's message reliability protocol with p = 25 %.
    Additive(Share),
    /// `m/2 + m/2 u` (Brooker, Exponential Backoff and Jitter, AWS 2015).
    Equal,
    /// `m u` (same source).
    Full,
    /// `min(cap, base + u (factor * previous - base))`, previous = base at first (same source, with factor 3).
    Decorrelated,
}

/// Why numbers are no law.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LawError {
    /// A delay out of range.
    #[error("{what} {delay} is out of range: a law has delays from {SHORTEST} to {LONGEST}")]
    Delay {
        /// `base` or `cap`.
        what: &'static str,
        /// The delay.
        delay: Span,
    },
    /// The cap is below the base.
    #[error("the cap {cap} is below the base {base}: exchange them")]
    CapBelowBase {
        /// Base.
        base: Span,
        /// Cap.
        cap: Span,
    },
    /// A factor that cannot be followed.
    #[error("factor {0} is out of range: write one from 1.05 to 100, or `fixed` for delays that do not grow")]
    Factor(f64),
    /// A share that would make delays negative or huge.
    #[error("jitter {0} is out of range: at most 100%, `additive` at most 1000%")]
    Jitter(Share),
    /// Decorrelated jitter of a fixed delay.
    #[error("`fixed` has no decorrelated jitter: write `exponential base 1s factor 3 cap 128s jitter decorrelated`")]
    FixedDecorrelated,
}

/// Why a text is no law.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ParseLawError {
    /// Neither form.
    #[error(
        "`{0}` is not a reconnection law: write `fixed 67s` or `exponential base 1s factor 2 cap 128s`, then perhaps `jitter` and one of \
         `none`, `proportional 5%`, `subtractive 10%`, `additive 25%`, `equal`, `full`, `decorrelated`"
    )]
    Form(String),
    /// A word where another is needed.
    #[error("`{found}` in a reconnection law: {wanted} is needed here")]
    Word {
        /// The word, or nothing at the end.
        found: String,
        /// What is needed.
        wanted: &'static str,
    },
    /// A delay cannot be read.
    #[error("reconnection law: {0}")]
    Delay(#[from] ParseQuantityError),
    /// A share cannot be read.
    #[error("reconnection law: {0}")]
    Share(#[from] ParseShareError),
    /// The numbers make no law.
    #[error("reconnection law: {0}")]
    Law(#[from] LawError),
}

impl Law {
    /// A law whose delays grow from `base` by `factor` per attempt up to `cap`.
    ///
    /// # Errors
    /// If a number is out of range.
    pub fn exponential(base: Span, factor: f64, cap: Span, jitter: Jitter) -> Result<Self, LawError> {
        if !(LEAST_FACTOR..=MOST_FACTOR).contains(&factor) {
            return Err(LawError::Factor(factor));
        }
        Self::checked(Self { base, factor, cap, jitter })
    }

    /// A law whose delays do not grow.
    ///
    /// # Errors
    /// If the delay or the jitter is out of range.
    pub fn fixed(delay: Span, jitter: Jitter) -> Result<Self, LawError> {
        if jitter == Jitter::Decorrelated {
            return Err(LawError::FixedDecorrelated);
        }
        Self::checked(Self { base: delay, factor: 1.0, cap: delay, jitter })
    }

    fn checked(law: Self) -> Result<Self, LawError> {
        for (what, delay) in [("base", law.base), ("cap", law.cap)] {
            if !(SHORTEST..=LONGEST).contains(&delay) {
                return Err(LawError::Delay { what, delay });
            }
        }
        if law.cap < law.base {
            return Err(LawError::CapBelowBase { base: law.base, cap: law.cap });
        }
        let (share, most) = match law.jitter {
            Jitter::Proportional(p) | Jitter::Subtractive(p) => (p, 1.0),
            Jitter::Additive(p) => (p, 10.0),
            Jitter::None | Jitter::Equal | Jitter::Full | Jitter::Decorrelated => (Share::ZERO, 1.0),
        };
        if share.fraction() > most { Err(LawError::Jitter(share)) } else { Ok(law) }
    }

    /// First delay, without jitter.
    #[must_use]
    pub const fn base(&self) -> Span {
        self.base
    }

    /// Growth per attempt; 1 if delays do not grow.
    #[must_use]
    pub const fn factor(&self) -> f64 {
        self.factor
    }

    /// Longest delay, without jitter.
    #[must_use]
    pub const fn cap(&self) -> Span {
        self.cap
    }

    /// How delays are randomised.
    #[must_use]
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// Delay before attempt `attempt` (from 0) in seconds, without jitter.
    #[must_use]
    pub fn nominal(&self, attempt: u32) -> f64 {
        let grown = self.base.duration().as_secs_f64() * self.factor.powi(i32::try_from(attempt).unwrap_or(i32::MAX));
        grown.min(self.cap.duration().as_secs_f64())
    }

    /// Number of the first attempt whose delay is the cap.
    #[must_use]
    pub fn attempts_to_cap(&self) -> u32 {
        let cap = self.cap.duration().as_secs_f64();
        // The factor is at least 1.05 where base and cap differ, so 400 rounds lead from the shortest to the longest delay.
        (0..400).find(|attempt| self.nominal(*attempt) >= cap).unwrap_or(400)
    }

    /// Shortest and longest delay before attempt `attempt`, in seconds.
    #[must_use]
    pub fn bounds(&self, attempt: u32) -> (f64, f64) {
        let nominal = self.nominal(attempt);
        match self.jitter {
            Jitter::None => (nominal, nominal),
            Jitter::Proportional(p) => (nominal * (1.0 - p.fraction()), nominal * (1.0 + p.fraction())),
            Jitter::Subtractive(p) => (nominal * (1.0 - p.fraction()), nominal),
            Jitter::Additive(p) => (nominal, nominal * (1.0 + p.fraction())),
            Jitter::Equal => (nominal / 2.0, nominal),
            Jitter::Full => (0.0, nominal),
            Jitter::Decorrelated => (self.base.duration().as_secs_f64(), self.cap.duration().as_secs_f64()),
        }
    }

    /// Delay before attempt `attempt` (from 0) in seconds. `previous` is the delay before, in seconds; only decorrelated jitter needs
    /// it, and takes the base if there is none.
    pub fn delay(&self, attempt: u32, previous: Option<f64>, random: &mut Random) -> f64 {
        let (low, high) = match self.jitter {
            Jitter::Decorrelated => {
                let base = self.base.duration().as_secs_f64();
                (base, previous.unwrap_or(base) * self.factor)
            }
            _ => self.bounds(attempt),
        };
        (low + random.unit() * (high - low)).min(self.bounds(attempt).1)
    }

    /// The first `count` delays of one device, in seconds.
    pub fn delays(&self, count: usize, random: &mut Random) -> Vec<f64> {
        let mut delays = Vec::with_capacity(count);
        for attempt in 0..count as u32 {
            delays.push(self.delay(attempt, delays.last().copied(), random));
        }
        delays
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Proportional(p) => write!(f, "proportional {p}"),
            Self::Subtractive(p) => write!(f, "subtractive {p}"),
            Self::Additive(p) => write!(f, "additive {p}"),
            Self::Equal => f.write_str("equal"),
            Self::Full => f.write_str("full"),
            Self::Decorrelated => f.write_str("decorrelated"),
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base, factor, cap, jitter } = self;
        if *factor > 1.0 {
            write!(f, "exponential base {base} factor {factor} cap {cap}")?;
        } else {
            write!(f, "fixed {cap}")?;
        }
        if *jitter == Jitter::None { Ok(()) } else { write!(f, " jitter {jitter}") }
    }
}

const PERCENTAGE: &str = "a percentage such as `5%`";

/// A piece of the input that is safe to put in a message.
fn shortened(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl FromStr for Law {
    type Err = ParseLawError;

    fn from_str(text: &str) -> Result<Self, ParseLawError> {
        let mut words = text.split_whitespace();
        let mut value = |wanted: &'static str| words.next().ok_or(ParseLawError::Word { found: "the end".to_owned(), wanted });
        let keyword = |found: &str, name: &'static str| {
            if found == name { Ok(()) } else { Err(ParseLawError::Word { found: shortened(found), wanted: name }) }
        };
        let (base, factor, cap) = match value("`fixed` or `exponential`").map_err(|_| ParseLawError::Form(shortened(text)))? {
            "fixed" => {
                let delay: Span = value("a delay such as `67s`")?.parse()?;
                (delay, None, delay)
            }
            "exponential" => {
                keyword(value("`base`")?, "base")?;
                let base = value("a delay such as `1s`")?.parse()?;
                keyword(value("`factor`")?, "factor")?;
                let factor = value("a factor such as `2`")?;
                let number = factor.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                let factor: Option<f64> = if number { factor.parse().ok() } else { None };
                let factor = factor.ok_or(ParseLawError::Form(shortened(text)))?;
                keyword(value("`cap`")?, "cap")?;
                (base, Some(factor), value("a delay such as `128s`")?.parse()?)
            }
            _ => return Err(ParseLawError::Form(shortened(text))),
        };
        let jitter = match words.next() {
            None => Jitter::None,
            Some("jitter") => {
                let mut value =
                    |wanted: &'static str| words.next().ok_or(ParseLawError::Word { found: "the end".to_owned(), wanted });
                match value("a kind of jitter such as `full`")? {
                    "none" => Jitter::None,
                    "proportional" => Jitter::Proportional(value(PERCENTAGE)?.parse()?),
                    "subtractive" => Jitter::Subtractive(value(PERCENTAGE)?.parse()?),
                    "additive" => Jitter::Additive(value(PERCENTAGE)?.parse()?),
                    "equal" => Jitter::Equal,
                    "full" => Jitter::Full,
                    "decorrelated" => Jitter::Decorrelated,
                    _ => return Err(ParseLawError::Form(shortened(text))),
                }
            }
            Some(other) => return Err(ParseLawError::Word { found: shortened(other), wanted: "`jitter` or the end" }),
        };
        if let Some(rest) = words.next() {
            return Err(ParseLawError::Word { found: shortened(rest), wanted: "the end" });
        }
        Ok(match factor {
            None => Self::fixed(cap, jitter)?,
            Some(factor) => Self::exponential(base, factor, cap, jitter)?,
        })
    }
}

impl Serialize for Law {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Jitter, Law, Random, Share, Span};

    fn any_jitter() -> impl Strategy<Value = Jitter> {
        let share = (0_u32..=100_000).prop_map(|n| Share::from_fraction(f64::from(n) / 100_000.0));
        (0..7, share).prop_map(|(kind, p)| match kind {
            0 => Jitter::None,
            1 => Jitter::Proportional(p),
            2 => Jitter::Subtractive(p),
            3 => Jitter::Additive(p),
            4 => Jitter::Equal,
            5 => Jitter::Full,
            _ => Jitter::Decorrelated,
        })
    }

    fn any_law() -> impl Strategy<Value = Law> {
        (1_u64..100_000, 1_u64..100_000, 105_u32..1000, any_jitter(), any::<bool>()).prop_filter_map(
            "a law",
            |(a, b, factor, jitter, fixed)| {
                let (base, cap) = (Span::from_millis(a.min(b)), Span::from_millis(a.max(b)));
                let law =
                    if fixed { Law::fixed(cap, jitter) } else { Law::exponential(base, f64::from(factor) / 100.0, cap, jitter) };
                law.ok()
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back(law in any_law()) {
            prop_assert_eq!(law.to_string().parse::<Law>(), Ok(law));
        }

        #[test]
        fn delays_are_within_their_bounds(law in any_law(), seed in any::<u64>()) {
            for (attempt, delay) in law.delays(40, &mut Random::new(seed)).into_iter().enumerate() {
                let (low, high) = law.bounds(attempt as u32);
                prop_assert!((low..=high).contains(&delay), "{} {}: {} not in {}..{}", law, attempt, delay, low, high);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(fixed|exponential|base|factor|cap|jitter|full|[0-9.%s]{1,4}| |.){0,14}") {
            if let Ok(law) = text.parse::<Law>() {
                prop_assert_eq!(law.to_string().parse::<Law>(), Ok(law));
            }
        }
    }

    #[test]
    fn laws_read_back_as_written() {
        for text in [
            "fixed 67s",
            "fixed 10s jitter proportional 5%",
            "exponential base 1s factor 2 cap 128s jitter full",
            "exponential base 300ms factor 1.6 cap 1m jitter additive 25%",
            "exponential base 1s factor 3 cap 128s jitter decorrelated",
        ] {
            assert_eq!(text.parse::<Law>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "fixed 67s"),
            ("linear 5s", "fixed 67s"),
            ("fixed 67", "no unit"),
            ("fixed 0s", "out of range"),
            ("fixed 25h", "out of range"),
            ("fixed 5s jitter", "kind of jitter"),
            ("fixed 5s jitter some", "proportional 5%"),
            ("fixed 5s jitter proportional 120%", "at most 100%"),
            ("fixed 5s jitter decorrelated", "exponential"),
            ("fixed 5s 6s", "`jitter` or the end"),
            ("fixed 5s jitter full 5%", "the end"),
            ("exponential base 1s cap 5s", "factor"),
            ("exponential base 1s factor 1 cap 5s", "1.05"),
            ("exponential base 1s factor inf cap 5s", "fixed 67s"),
            ("exponential base 9s factor 2 cap 5s", "exchange"),
        ] {
            let message = text.parse::<Law>().unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }

    #[test]
    fn delays_grow_to_the_cap() {
        let law: Law = "exponential base 1s factor 2 cap 100s".parse().unwrap();
        let delays = law.delays(9, &mut Random::new(1));
        assert_eq!(delays, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0, 100.0]);
        assert_eq!(law.attempts_to_cap(), 7);
        assert!((law.nominal(u32::MAX) - 100.0).abs() < 1e-9);
    }
}
