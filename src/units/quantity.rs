//! A number with a unit of one of the known dimensions.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};
use thiserror::Error;

/// What a quantity measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// A duration; smallest unit 1 ns.
    Time,
    /// An electric current; smallest unit 1 nA.
    Current,
    /// A voltage; smallest unit 1 nV.
    Voltage,
    /// An amount of memory; smallest unit 1 byte.
    Size,
    /// How fast data flows; smallest unit 1 bit per second.
    Rate,
    /// A plain count, written without a unit.
    Count,
}

/// One unit: how it is written, how many of the smallest unit it holds, and whether [`fmt::Display`] may choose it.
struct Unit {
    name: &'static str,
    scale: u64,
    shown: Shown,
}

/// When a unit is chosen for display.
#[derive(PartialEq)]
enum Shown {
    /// If the value is at least one of it; a decimal fraction may follow.
    AtLeastOne,
    /// Only if the value is a whole number of it, because nobody reads `1.0166m` or `0.9765625KiB` with ease.
    Whole,
    /// Accepted, but another spelling is printed.
    Never,
}

const fn unit(name: &'static str, scale: u64, shown: Shown) -> Unit {
    Unit { name, scale, shown }
}

// Largest first: display takes the first that fits.
static TIME: [Unit; 8] = [
    unit("h", 3_600_000_000_000, Shown::Whole),
    unit("m", 60_000_000_000, Shown::Whole),
    unit("min", 60_000_000_000, Shown::Never),
    unit("s", 1_000_000_000, Shown::AtLeastOne),
    unit("ms", 1_000_000, Shown::AtLeastOne),
    unit("us", 1_000, Shown::AtLeastOne),
    unit("µs", 1_000, Shown::Never),
    unit("ns", 1, Shown::AtLeastOne),
];
static CURRENT: [Unit; 5] = [
    unit("A", 1_000_000_000, Shown::AtLeastOne),
    unit("mA", 1_000_000, Shown::AtLeastOne),
    unit("uA", 1_000, Shown::AtLeastOne),
    unit("µA", 1_000, Shown::Never),
    unit("nA", 1, Shown::AtLeastOne),
];
static VOLTAGE: [Unit; 6] = [
    unit("kV", 1_000_000_000_000, Shown::Never),
    unit("V", 1_000_000_000, Shown::AtLeastOne),
    unit("mV", 1_000_000, Shown::AtLeastOne),
    unit("uV", 1_000, Shown::AtLeastOne),
    unit("µV", 1_000, Shown::Never),
    unit("nV", 1, Shown::AtLeastOne),
];
static SIZE: [Unit; 7] = [
    unit("GiB", 1 << 30, Shown::Whole),
    unit("MiB", 1 << 20, Shown::Whole),
    unit("KiB", 1 << 10, Shown::Whole),
    unit("GB", 1_000_000_000, Shown::Never),
    unit("MB", 1_000_000, Shown::Never),
    unit("kB", 1_000, Shown::Never),
    unit("B", 1, Shown::AtLeastOne),
];
static RATE: [Unit; 4] = [
    unit("Gbit/s", 1_000_000_000, Shown::AtLeastOne),
    unit("Mbit/s", 1_000_000, Shown::AtLeastOne),
    unit("kbit/s", 1_000, Shown::AtLeastOne),
    unit("bit/s", 1, Shown::AtLeastOne),
];
static COUNT: [Unit; 1] = [unit("", 1, Shown::AtLeastOne)];

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] = [Self::Time, Self::Current, Self::Voltage, Self::Size, Self::Rate, Self::Count];

    fn units(self) -> &'static [Unit] {
        match self {
            Self::Time => &TIME,
            Self::Current => &CURRENT,
            Self::Voltage => &VOLTAGE,
            Self::Size => &SIZE,
            Self::Rate => &RATE,
            Self::Count => &COUNT,
        }
    }

    /// What a message calls it, with its article: `a duration`.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Time => "a duration",
            Self::Current => "a current",
            Self::Voltage => "a voltage",
            Self::Size => "a size",
            Self::Rate => "a data rate",
            Self::Count => "a count",
        }
    }

    /// What is accepted, for messages and schemas: a number, the units, an example.
    #[must_use]
    pub const fn accepted(self) -> &'static str {
        match self {
            Self::Time => "a number and one of h, m (or min), s, ms, us (or µs), ns, such as `500ms` or `2m`",
            Self::Current => "a number and one of A, mA, uA (or µA), nA, such as `120mA`",
            Self::Voltage => "a number and one of kV, V, mV, uV (or µV), nV, such as `3.3V`",
            Self::Size => "a whole number of bytes and one of GiB, MiB, KiB, GB, MB, kB, B, such as `64KiB`",
            Self::Rate => "a number and one of Gbit/s, Mbit/s, kbit/s, bit/s, such as `2Mbit/s`",
            Self::Count => "a whole number without a unit, such as `3`",
        }
    }

    /// Regular expression of what is accepted, for JSON schemas.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Time => r"^[0-9]+(\.[0-9]+)? ?(h|m|min|s|ms|us|µs|ns)$",
            Self::Current => r"^[0-9]+(\.[0-9]+)? ?(A|mA|uA|µA|nA)$",
            Self::Voltage => r"^[0-9]+(\.[0-9]+)? ?(kV|V|mV|uV|µV|nV)$",
            Self::Size => r"^[0-9]+(\.[0-9]+)? ?(GiB|MiB|KiB|GB|MB|kB|B)$",
            Self::Rate => r"^[0-9]+(\.[0-9]+)? ?(Gbit/s|Mbit/s|kbit/s|bit/s)$",
            Self::Count => r"^[0-9]+$",
        }
    }

    /// Unit of [`Quantity::value`], in which measurements are recorded: `s`, `mA`, `V`, `B`, `bit/s`, `1`.
    #[must_use]
    pub const fn measured_in(self) -> &'static str {
        match self {
            Self::Time => "s",
            Self::Current => "mA",
            Self::Voltage => "V",
            Self::Size => "B",
            Self::Rate => "bit/s",
            Self::Count => "1",
        }
    }
}

/// A quantity: a whole number of the smallest unit of its dimension. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    dimension: Dimension,
    smallest: u64,
}

/// Why a text is not a quantity. Every message says what would be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseQuantityError {
    /// No number at the start: empty, signed, `NaN`, `1e3`, ...
    #[error("`{text}` is not {}: write {}", .wanted.noun(), .wanted.accepted())]
    NotANumber {
        /// The text, shortened.
        text: String,
        /// What was asked for.
        wanted: Dimension,
    },
    /// A minus sign.
    #[error("`{text}` is negative: write {}", .wanted.accepted())]
    Negative {
        /// The text, shortened.
        text: String,
        /// What was asked for.
        wanted: Dimension,
    },
    /// A number alone where a unit is needed.
    #[error("`{text}` has no unit: write {}", .wanted.accepted())]
    NoUnit {
        /// The text, shortened.
        text: String,
        /// What was asked for.
        wanted: Dimension,
    },
    /// A unit that is not one of this dimension.
    #[error("`{unit}` is not a unit of {}: write {}", .wanted.noun(), .wanted.accepted())]
    WrongUnit {
        /// The unit as written, shortened.
        unit: String,
        /// What was asked for.
        wanted: Dimension,
    },
    /// A unit that no dimension has.
    #[error(
        "`{unit}` is not a known unit: write a duration (`500ms`), current (`120mA`), voltage (`3.3V`), size (`64KiB`), data rate (`2Mbit/s`) or count (`3`)"
    )]
    UnknownUnit {
        /// The unit as written, shortened.
        unit: String,
    },
    /// More than the type holds.
    #[error("`{text}` is too large: at most `{}`", Quantity::new(*.wanted, u64::MAX))]
    TooLarge {
        /// The text, shortened.
        text: String,
        /// What was asked for.
        wanted: Dimension,
    },
    /// A fraction of the smallest unit.
    #[error("`{text}` is finer than the smallest step of {}, `{}`", .wanted.noun(), Quantity::new(*.wanted, 1))]
    TooFine {
        /// The text, shortened.
        text: String,
        /// What was asked for.
        wanted: Dimension,
    },
}

/// A piece of the input that is safe to put in a message: input may be a megabyte long.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    let mut out: String = text.chars().take(MOST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

impl Quantity {
    /// `smallest` smallest units (ns, nA, nV, bytes, bit/s, 1) of `dimension`.
    #[must_use]
    pub const fn new(dimension: Dimension, smallest: u64) -> Self {
        Self { dimension, smallest }
    }

    /// What it measures.
    #[must_use]
    pub const fn dimension(self) -> Dimension {
        self.dimension
    }

    /// As a number of the dimension's smallest unit.
    #[must_use]
    pub const fn smallest(self) -> u64 {
        self.smallest
    }

    /// As a number of [`Dimension::measured_in`], rounded to the nearest `f64`.
    #[must_use]
    pub fn value(self) -> f64 {
        let scale = match self.dimension {
            Dimension::Time | Dimension::Voltage => 1e9,
            Dimension::Current => 1e6,
            Dimension::Size | Dimension::Rate | Dimension::Count => 1.0,
        };
        self.smallest as f64 / scale
    }

    /// Reads a quantity that must be of `wanted`.
    ///
    /// # Errors
    /// If `text` is not a non-negative decimal number directly followed by (or one space away from) a unit of `wanted`.
    pub fn parse_as(wanted: Dimension, text: &str) -> Result<Self, ParseQuantityError> {
        let (number, name) = split(text);
        if number.is_empty() {
            let short = shortened(text);
            return Err(match text.trim_start().strip_prefix('-') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                    ParseQuantityError::Negative { text: short, wanted }
                }
                _ => ParseQuantityError::NotANumber { text: short, wanted },
            });
        }
        let Some(unit) = wanted.units().iter().find(|unit| unit.name == name) else {
            return Err(if name.is_empty() {
                ParseQuantityError::NoUnit { text: shortened(text), wanted }
            } else {
                ParseQuantityError::WrongUnit { unit: shortened(name), wanted }
            });
        };
        decimal(number, unit.scale).map(|smallest| Self::new(wanted, smallest)).map_err(|problem| match problem {
            Problem::Malformed => ParseQuantityError::NotANumber { text: shortened(text), wanted },
            Problem::TooLarge => ParseQuantityError::TooLarge { text: shortened(text), wanted },
            Problem::TooFine => ParseQuantityError::TooFine { text: shortened(text), wanted },
        })
    }
}

/// Number and unit, blanks around both removed.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.strip_prefix(' ').unwrap_or(unit))
}

enum Problem {
    Malformed,
    TooLarge,
    TooFine,
}

/// `number * scale`, exactly.
fn decimal(number: &str, scale: u64) -> Result<u64, Problem> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    if whole.is_empty() || fraction.is_some_and(|f| f.is_empty() || f.contains('.')) {
        return Err(Problem::Malformed);
    }
    let whole: u64 = whole.parse().map_err(|_| Problem::TooLarge)?;
    let mut total = u128::from(whole) * u128::from(scale);
    let digits = fraction.unwrap_or("").trim_end_matches('0');
    if !digits.is_empty() {
        // More digits than this cannot be a whole number of any smallest unit; the bound also keeps the power in range.
        if digits.len() > 18 {
            return Err(Problem::TooFine);
        }
        let value: u64 = digits.parse().map_err(|_| Problem::TooFine)?;
        let power = 10_u128.pow(digits.len() as u32);
        let scaled = u128::from(value) * u128::from(scale);
        if scaled % power != 0 {
            return Err(Problem::TooFine);
        }
        total += scaled / power;
    }
    u64::try_from(total).map_err(|_| Problem::TooLarge)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.dimension.units();
        // The last unit is the smallest one and always fits; zero is written with the unit people use most.
        let unit = if self.smallest == 0 {
            units.iter().find(|unit| unit.shown == Shown::AtLeastOne)
        } else {
            units.iter().find(|unit| match unit.shown {
                Shown::AtLeastOne => self.smallest >= unit.scale,
                Shown::Whole => self.smallest.is_multiple_of(unit.scale),
                Shown::Never => false,
            })
        };
        let (name, scale) = unit.map_or(("", 1), |unit| (unit.name, unit.scale));
        let mut text = (self.smallest / scale).to_string();
        let rest = self.smallest % scale;
        if rest != 0 {
            // Scales with a remainder are powers of ten: as many places as the scale has zeros.
            let places = scale.ilog10() as usize;
            let digits = format!("{rest:0places$}");
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        text.push_str(name);
        f.pad(&text)
    }
}

/// Reads a quantity of whatever dimension its unit belongs to; without a unit it is a count.
impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let (_, name) = split(text);
        let dimension = Dimension::ALL.into_iter().find(|dimension| dimension.units().iter().any(|unit| unit.name == name));
        match dimension {
            Some(dimension) => Self::parse_as(dimension, text),
            // A known number with a strange unit, or no number at all.
            None => match split(text).0 {
                "" => Self::parse_as(Dimension::Count, text),
                _ => Err(ParseQuantityError::UnknownUnit { unit: shortened(name) }),
            },
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A quantity with its unit: `500ms`, `120mA`, `3.3V`, `64KiB`, `2Mbit/s`, or a plain count.",
            "pattern": r"^[0-9]+(\.[0-9]+)? ?(h|m|min|s|ms|us|µs|ns|A|mA|uA|µA|nA|kV|V|mV|uV|µV|nV|GiB|MiB|KiB|GB|MB|kB|B|Gbit/s|Mbit/s|kbit/s|bit/s)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Dimension, ParseQuantityError, Quantity};

    fn any_quantity() -> impl Strategy<Value = Quantity> {
        // Plain `any::<u64>()` is nearly always huge; people write small round numbers.
        let number = prop_oneof![
            any::<u64>(),
            0_u64..5_000,
            (0_u64..1000, 0_u32..17).prop_map(|(n, zeros)| n * 10_u64.pow(zeros.min(15))),
            (0_u64..2000, 0_u32..40).prop_map(|(n, shift)| n << shift),
            (0_u64..5000).prop_map(|n| n * 60_000_000_000),
        ];
        (proptest::sample::select(Dimension::ALL.to_vec()), number).prop_map(|(dimension, n)| Quantity::new(dimension, n))
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back(q in any_quantity()) {
            let text = q.to_string();
            prop_assert_eq!(text.parse::<Quantity>(), Ok(q), "{}", text);
            prop_assert_eq!(Quantity::parse_as(q.dimension(), &text), Ok(q));
            let json = serde_json::to_string(&q).unwrap();
            prop_assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap(), q);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(q) = text.parse::<Quantity>() {
                prop_assert_eq!(q.to_string().parse::<Quantity>(), Ok(q));
            }
        }

        #[test]
        fn schema_accepts_what_is_displayed(q in any_quantity()) {
            let pattern = regex::Regex::new(q.dimension().pattern()).unwrap();
            prop_assert!(pattern.is_match(&q.to_string()));
        }
    }

    #[test]
    fn people_see_what_they_wrote() {
        for text in
            ["500ms", "10s", "2m", "90s", "1h", "1.5s", "120mA", "3.3V", "64KiB", "1025B", "0s", "0B", "7", "250us", "1ns"]
        {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), text);
        }
        for (text, shown) in
            [("0.5s", "500ms"), ("60 s", "1m"), (" 1500ms ", "1.5s"), ("2min", "2m"), ("1µs", "1us"), ("1kB", "1000B")]
        {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn values_are_in_the_unit_of_measurements() {
        for (text, value, unit) in
            [("250ms", 0.25, "s"), ("120mA", 120.0, "mA"), ("3.3V", 3.3, "V"), ("1KiB", 1024.0, "B"), ("3", 3.0, "1")]
        {
            let q: Quantity = text.parse().unwrap();
            assert!((q.value() - value).abs() < 1e-12, "{text}");
            assert_eq!(q.dimension().measured_in(), unit);
        }
    }

    #[test]
    fn wrong_texts_are_refused_and_told_what_is_accepted() {
        let cases = [
            ("", "`` is not a duration: write a number and one of h, m"),
            ("-5s", "`-5s` is negative"),
            ("NaN", "`NaN` is not a duration"),
            ("inf s", "`inf s` is not a duration"),
            ("500", "`500` has no unit"),
            ("5 furlong", "`furlong` is not a unit of a duration"),
            ("5mA", "`mA` is not a unit of a duration"),
            ("1e3s", "`e3s` is not a unit"),
            ("1.s", "`1.s` is not a duration"),
            (".5s", "`.5s` is not a duration"),
            ("1.2.3s", "`1.2.3s` is not a duration"),
            ("0.5ns", "`0.5ns` is finer than the smallest step of a duration, `1ns`"),
            ("6000000h", "`6000000h` is too large: at most `18446744073.709551615s`"),
            ("99999999999999999999999s", "is too large"),
            ("5  s", "is not a unit"),
            ("0x10s", "is not a unit"),
        ];
        for (text, message) in cases {
            let error = Quantity::parse_as(Dimension::Time, text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!(matches!("5 furlong".parse::<Quantity>(), Err(ParseQuantityError::UnknownUnit { .. })));
        assert!(matches!("-5".parse::<Quantity>(), Err(ParseQuantityError::Negative { .. })));
        assert!(matches!("0.5".parse::<Quantity>(), Err(ParseQuantityError::TooFine { .. })));
        let long = "9".repeat(1 << 20);
        assert!(long.parse::<Quantity>().unwrap_err().to_string().len() < 200);
    }
}
