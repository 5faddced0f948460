//! Quantities whose dimension is known by the type: what the fields of rig, profile and plan files are made of.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de};

use super::{Dimension, ParseQuantityError, Quantity};

macro_rules! typed {
    ($(#[$doc:meta])* $type:ident, $dimension:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $type(u64);

        impl $type {
            /// What it measures.
            pub const DIMENSION: Dimension = $dimension;

            /// As a number of the dimension's smallest unit.
            #[must_use]
            pub const fn smallest(self) -> u64 {
                self.0
            }
        }

        impl From<$type> for Quantity {
            fn from(typed: $type) -> Self {
                Self::new($dimension, typed.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Quantity::from(*self).fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = ParseQuantityError;

            fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
                Quantity::parse_as($dimension, text).map(|q| Self(q.smallest()))
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": concat!($what, " with its unit."),
                    "pattern": $dimension.pattern(),
                })
            }
        }
    };
}

typed! {
    /// A duration from 0 to about 584 years, in steps of 1 ns: `500ms`, `10s`, `2m`.
    Span, Dimension::Time, "A duration (`500ms`, `10s`, `2m`)"
}
typed! {
    /// An electric current, in steps of 1 nA: `120mA`.
    Current, Dimension::Current, "A current (`120mA`)"
}
typed! {
    /// A voltage, in steps of 1 nV: `3.3V`.
    Voltage, Dimension::Voltage, "A voltage (`3.3V`)"
}
typed! {
    /// An amount of memory in bytes: `64KiB`.
    Size, Dimension::Size, "A size (`64KiB`)"
}

impl Span {
    /// `n` milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// `n` seconds; saturates.
    #[must_use]
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000_000))
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// Saturates at the longest span (about 584 years).
impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.duration()
    }
}

impl Current {
    /// `n` microamperes; saturates.
    #[must_use]
    pub const fn from_microamps(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }
}

impl Voltage {
    /// `n` millivolts; saturates.
    #[must_use]
    pub const fn from_millivolts(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }
}

impl Size {
    /// `n` bytes.
    #[must_use]
    pub const fn from_bytes(n: u64) -> Self {
        Self(n)
    }

    /// As a number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Current, Size, Span, Voltage};

    #[test]
    fn typed_quantities_read_their_own_dimension_only() {
        assert_eq!("10s".parse::<Span>().unwrap().duration(), Duration::from_secs(10));
        assert_eq!("120mA".parse::<Current>().unwrap(), Current::from_microamps(120_000));
        assert_eq!("3.3V".parse::<Voltage>().unwrap(), Voltage::from_millivolts(3300));
        assert_eq!("64KiB".parse::<Size>().unwrap().bytes(), 65536);
        assert!("64KiB".parse::<Span>().is_err());
        assert!("10s".parse::<Voltage>().is_err());
    }

    #[test]
    fn files_hold_strings() {
        let span: Span = serde_json::from_str("\"1.5s\"").unwrap();
        assert_eq!(span, Span::from_millis(1500));
        assert_eq!(serde_json::to_string(&span).unwrap(), "\"1.5s\"");
        assert!(serde_json::from_str::<Span>("1.5").is_err(), "a bare number does not say its unit");
        let error = serde_json::from_str::<Span>("\"1.5\"").unwrap_err().to_string();
        assert!(error.contains("has no unit"), "{error}");
    }

    #[test]
    fn spans_longer_than_the_type_saturate() {
        assert_eq!(Span::from(Duration::MAX).smallest(), u64::MAX);
        assert_eq!(Span::from_secs(u64::MAX).smallest(), u64::MAX);
    }
}
