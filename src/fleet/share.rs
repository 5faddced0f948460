//! A share of the fleet, or of a delay.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// A share in steps of 10^-9, written as a percentage: `0.5%`. May be above 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Share(u64);

/// One whole.
const WHOLE: u64 = 1_000_000_000;
/// 1 %.
const PERCENT: u64 = WHOLE / 100;
/// Decimals of a percentage.
const DECIMALS: usize = 7;
/// Largest share that is read: 100,000 %. More is a slip of the keyboard.
const MOST: u64 = 1000 * WHOLE;

/// Why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a share: write a percentage such as `0.5%`, with at most 7 decimals and at most `100000%`")]
pub struct ParseShareError(String);

impl Share {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The nearest share to a fraction (0.005 for 0.5 %); what is below 0 or no number becomes 0, what is above the largest the largest.
    #[must_use]
    pub fn from_fraction(fraction: f64) -> Self {
        // `as` saturates and makes NaN 0.
        Self(((fraction * WHOLE as f64).round() as u64).min(MOST))
    }

    /// As a fraction: 0.005 for 0.5 %.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0 as f64 / WHOLE as f64
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = (self.0 / PERCENT).to_string();
        let rest = self.0 % PERCENT;
        if rest != 0 {
            let digits = format!("{rest:0DECIMALS$}");
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        text.push('%');
        f.pad(&text)
    }
}

impl FromStr for Share {
    type Err = ParseShareError;

    fn from_str(text: &str) -> Result<Self, ParseShareError> {
        let error = || ParseShareError(text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect());
        let number = text.trim().strip_suffix('%').ok_or_else(error)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > DECIMALS {
            return Err(error());
        }
        let whole: u64 = whole.parse().map_err(|_| error())?;
        let decimals: u64 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| error())?;
        let share = whole.checked_mul(PERCENT).and_then(|whole| whole.checked_add(decimals)).ok_or_else(error)?;
        if share > MOST { Err(error()) } else { Ok(Self(share)) }
    }
}

/// As a fraction.
impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.fraction())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{MOST, Share};

    proptest! {
        #[test]
        fn what_is_displayed_reads_back(parts in 0..=MOST) {
            let share = Share(parts);
            prop_assert_eq!(share.to_string().parse::<Share>(), Ok(share));
            prop_assert_eq!(Share::from_fraction(share.fraction()), share);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(share) = text.parse::<Share>() {
                prop_assert_eq!(share.to_string().parse::<Share>(), Ok(share));
            }
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!("0.5%".parse::<Share>().unwrap(), Share(5_000_000));
        assert_eq!("100 %".parse::<Share>().unwrap().to_string(), "100%");
        for bad in ["0.5", "%", "-1%", "1e3%", ".5%", "5.%", "0.00000001%", "100001%", "99999999999999999999%", "NaN%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
