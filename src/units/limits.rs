//! Bounds of a measurement.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{Dimension, ParseQuantityError, Quantity, quantity::shortened};

/// What a measured quantity must lie within, bounds included: `<= 10s`, `>= 3V`, `3V..3.6V`.
///
/// At least one bound is set, both are of one dimension, and the lower one is not above the upper one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    at_least: Option<Quantity>,
    at_most: Option<Quantity>,
}

/// Why a pair of bounds is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseLimitsError {
    /// Neither form.
    #[error("`{0}` is not a limit: write `<= 10s`, `>= 3V` or `3V..3.6V`")]
    Malformed(String),
    /// A bound cannot be read.
    #[error(transparent)]
    Quantity(#[from] ParseQuantityError),
    /// Bounds of different dimensions.
    #[error("`{low}` is {} and `{high}` is {}: both bounds of a limit measure the same", .low.dimension().noun(), .high.dimension().noun())]
    Mixed {
        /// Lower bound.
        low: Quantity,
        /// Upper bound.
        high: Quantity,
    },
    /// The lower bound is above the upper one.
    #[error("nothing is both at least `{0}` and at most `{1}`: exchange the bounds")]
    Empty(Quantity, Quantity),
}

impl Limits {
    /// At most `bound`.
    #[must_use]
    pub const fn at_most(bound: Quantity) -> Self {
        Self { at_least: None, at_most: Some(bound) }
    }

    /// At least `bound`.
    #[must_use]
    pub const fn at_least(bound: Quantity) -> Self {
        Self { at_least: Some(bound), at_most: None }
    }

    /// From `low` to `high`, both included.
    ///
    /// # Errors
    /// If they are of different dimensions, or `low` is above `high`.
    pub fn between(low: Quantity, high: Quantity) -> Result<Self, ParseLimitsError> {
        if low.dimension() != high.dimension() {
            return Err(ParseLimitsError::Mixed { low, high });
        }
        if low > high {
            return Err(ParseLimitsError::Empty(low, high));
        }
        Ok(Self { at_least: Some(low), at_most: Some(high) })
    }

    /// Smallest good value.
    #[must_use]
    pub const fn lower(&self) -> Option<Quantity> {
        self.at_least
    }

    /// Largest good value.
    #[must_use]
    pub const fn upper(&self) -> Option<Quantity> {
        self.at_most
    }

    /// What is measured; `None` never occurs for limits that were built here.
    #[must_use]
    pub fn dimension(&self) -> Option<Dimension> {
        self.at_least.or(self.at_most).map(Quantity::dimension)
    }

    /// Whether `measured` is within. A quantity of another dimension never is.
    #[must_use]
    pub fn contains(&self, measured: Quantity) -> bool {
        self.dimension() == Some(measured.dimension())
            && self.at_least.is_none_or(|low| measured >= low)
            && self.at_most.is_none_or(|high| measured <= high)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (Some(low), Some(high)) => write!(f, "{low}..{high}"),
            (Some(low), None) => write!(f, ">= {low}"),
            (None, Some(high)) => write!(f, "<= {high}"),
            (None, None) => Ok(()),
        }
    }
}

impl FromStr for Limits {
    type Err = ParseLimitsError;

    fn from_str(text: &str) -> Result<Self, ParseLimitsError> {
        let text = text.trim();
        if let Some(bound) = text.strip_prefix("<=") {
            Ok(Self::at_most(bound.parse()?))
        } else if let Some(bound) = text.strip_prefix(">=") {
            Ok(Self::at_least(bound.parse()?))
        } else if let Some((low, high)) = text.split_once("..") {
            Self::between(low.parse()?, high.parse()?)
        } else {
            Err(ParseLimitsError::Malformed(shortened(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, ParseLimitsError, Quantity};

    fn q(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn bounds_are_part_of_the_range() {
        let limits: Limits = "3V..3.6V".parse().unwrap();
        for (text, within) in
            [("3V", true), ("3.6V", true), ("3.3V", true), ("2.999999999V", false), ("3.600000001V", false), ("3A", false)]
        {
            assert_eq!(limits.contains(q(text)), within, "{text}");
        }
        assert!("<= 10s".parse::<Limits>().unwrap().contains(q("10s")));
        assert!(!"<= 10s".parse::<Limits>().unwrap().contains(q("10.000000001s")));
        assert!(">=10s".parse::<Limits>().unwrap().contains(q("10s")));
        assert!(!">=10s".parse::<Limits>().unwrap().contains(q("9.999999999s")));
    }

    #[test]
    fn limits_read_back_as_written() {
        for text in ["<= 10s", ">= 3V", "3V..3.6V", "1KiB..2KiB", "2..3", "<= 1.5s"] {
            assert_eq!(text.parse::<Limits>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn impossible_limits_are_refused() {
        assert!(matches!("10s".parse::<Limits>(), Err(ParseLimitsError::Malformed(_))));
        assert!(matches!("3V..2V".parse::<Limits>(), Err(ParseLimitsError::Empty(..))));
        assert!(matches!("3V..2s".parse::<Limits>(), Err(ParseLimitsError::Mixed { .. })));
        assert!(matches!("<= -1s".parse::<Limits>(), Err(ParseLimitsError::Quantity(_))));
    }
}
