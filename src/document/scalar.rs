//! Scalars: text to typed values.

use super::{
    shape::{Shape, Word},
    value::Data,
};
use crate::{
    diagnostic::{Code, nearest},
    units::{Dimension, Quantity, Span},
};

/// Why a scalar is wrong.
pub(super) struct Wrong {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: String,
    pub(super) suggestion: Option<String>,
}

impl Wrong {
    fn new(code: Code, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into(), suggestion: None }
    }
}

/// Whether it can name a channel, procedure, case ...: a small letter, then small letters, digits and dashes; 64 characters at most.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A piece of input for a message.
fn short(text: &str) -> String {
    let mut out: String = text.chars().take(40).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// Reads a scalar of the shape. Shapes of lists and maps are not its business.
pub(super) fn scalar(shape: &Shape, text: &str) -> Result<Data, Wrong> {
    let owned = || Ok(Data::Text(text.to_owned()));
    match shape {
        Shape::Text | Shape::Pattern | Shape::Template => owned(),
        Shape::Line | Shape::Path => {
            if text.trim().is_empty() || text.contains(['\n', '\r']) {
                return Err(Wrong::new(
                    Code::WrongType,
                    "one line of text is needed here",
                    "write something, without line breaks",
                ));
            }
            owned()
        }
        Shape::Name => {
            if is_name(text) {
                return owned();
            }
            let mut wrong = Wrong::new(
                Code::BadName,
                format!("`{}` is not a name", short(text)),
                "names start with a small letter and hold small letters, digits and dashes, 64 characters at most",
            );
            let folded = text.trim().to_lowercase().replace(['_', ' ', '.'], "-");
            wrong.suggestion = is_name(&folded).then_some(folded);
            Err(wrong)
        }
        Shape::Variable => {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
            if text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(good) {
                return owned();
            }
            let help = "such names start with a small letter and hold small letters, digits, dashes and underscores";
            Err(Wrong::new(Code::BadName, format!("`{}` is not a name", short(text)), help))
        }
        Shape::ValueName => {
            let good = |c: char| c.is_ascii_alphanumeric() || "_-.${}".contains(c);
            if !text.is_empty() && text.len() <= 200 && text.chars().all(good) && !text.starts_with('$') {
                return owned();
            }
            let mut wrong = Wrong::new(
                Code::BadName,
                format!("`{}` does not name a value", short(text)),
                "write the name of a capture (`version`), or `declared.NAME`, `image.ROLE.version`, `image.ROLE.length`",
            );
            wrong.suggestion = text
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'))
                .filter(|name| name.chars().all(good))
                .map(str::to_owned);
            Err(wrong)
        }
        Shape::ReasonCode => reason_code(text),
        Shape::Duration(least, most) => {
            let span = duration(text)?;
            if span < *least || span > *most {
                return Err(Wrong::new(
                    Code::OutOfRange,
                    format!("`{}` is out of range", short(text)),
                    format!("it may be from {} to {}", show(*least), show(*most)),
                ));
            }
            Ok(Data::Duration(span))
        }
        Shape::Within => match text.strip_prefix("declared.") {
            Some(name) if is_name(name) => Ok(Data::Declared(name.to_owned())),
            Some(name) => Err(Wrong::new(
                Code::BadName,
                format!("`{}` is not a name", short(name)),
                "write `declared.` and the name of a value under `declared:` in the device profile",
            )),
            None => duration(text).map(Data::Duration).map_err(|mut wrong| {
                wrong.help = "or write `declared.NAME` for a duration that the device profile declares".into();
                wrong
            }),
        },
        Shape::Integer(least, most) => {
            let number = integer(text).ok_or_else(|| {
                Wrong::new(
                    Code::BadQuantity,
                    format!("`{}` is not a whole number", short(text)),
                    "write digits, or 0x and hex digits",
                )
            })?;
            if number < *least || number > *most {
                let help = format!("it may be from {least} to {most}");
                return Err(Wrong::new(Code::OutOfRange, format!("`{}` is out of range", short(text)), help));
            }
            Ok(Data::Integer(number))
        }
        Shape::Address => match integer(text) {
            Some(address) if (0..=i64::from(u32::MAX)).contains(&address) => Ok(Data::Integer(address)),
            Some(_) => Err(Wrong::new(
                Code::OutOfRange,
                format!("`{}` is out of range", short(text)),
                "addresses have 32 bits: '0x00000000' to '0xffffffff'",
            )),
            None => Err(Wrong::new(Code::BadQuantity, format!("`{}` is not an address", short(text)), "write '0x6000'")),
        },
        Shape::Bytes => bytes(text).map(Data::Bytes).ok_or_else(|| {
            Wrong::new(
                Code::BadBytes,
                format!("`{}` is not bytes in hex", short(text)),
                "write pairs of hex digits: 'de ad be ef'",
            )
        }),
        Shape::Sha256 => {
            if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Ok(Data::Text(text.to_ascii_lowercase()));
            }
            Err(Wrong::new(Code::BadBytes, "not a SHA-256 digest", "write its 64 hex digits, as `sha256sum` prints them"))
        }
        Shape::Percent => percent(text),
        Shape::Rate => rate(text),
        Shape::Flag => match text {
            "true" => Ok(Data::Flag(true)),
            "false" => Ok(Data::Flag(false)),
            _ => Err(Wrong::new(
                Code::WrongType,
                format!("`{}` is neither true nor false", short(text)),
                "write `true` or `false`",
            )),
        },
        Shape::Word(words) => word(words, text),
        Shape::Exactly(wanted) if text == *wanted => owned(),
        Shape::Exactly(wanted) => {
            let mut wrong = Wrong::new(
                Code::WrongSchema,
                format!("schema `{}` is not known here", short(text)),
                format!("this file must say `schema: {wanted}`"),
            );
            wrong.suggestion = Some((*wanted).to_owned());
            Err(wrong)
        }
        Shape::List(..) | Shape::Map(_) | Shape::Named(_) | Shape::One(_) => {
            Err(Wrong::new(Code::WrongType, format!("{} is needed here", needed(shape)), ""))
        }
    }
}

/// What the shape needs, for messages.
pub(super) fn needed(shape: &Shape) -> &'static str {
    match shape {
        Shape::List(..) => "a list",
        Shape::Map(_) | Shape::Named(_) => "a map",
        Shape::One(_) => "a map with one key",
        Shape::Flag => "`true` or `false`",
        Shape::Integer(..) => "a whole number",
        Shape::Rate => "a data rate such as `2Mbit/s`",
        Shape::Duration(..) | Shape::Within => "a duration such as `500ms`",
        _ => "text",
    }
}

fn duration(text: &str) -> Result<std::time::Duration, Wrong> {
    text.parse::<Span>().map(Span::duration).map_err(|error| Wrong::new(Code::BadQuantity, error.to_string(), ""))
}

fn show(duration: std::time::Duration) -> String {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).to_string()
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => i64::from_str_radix(hex, 16).ok()?,
        None if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    Some(if negative { -number } else { number })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .map(|b| (b as char).to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if digits.is_empty() || !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn percent(text: &str) -> Result<Data, Wrong> {
    let parse = || -> Option<u32> {
        let (whole, tenth) = match text.strip_suffix('%')?.trim_end().split_once('.') {
            Some((whole, tenth)) => (whole, tenth),
            None => (text.strip_suffix('%')?.trim_end(), "0"),
        };
        let digits = |s: &str, most: usize| !s.is_empty() && s.len() <= most && s.bytes().all(|b| b.is_ascii_digit());
        (digits(whole, 3) && digits(tenth, 1)).then(|| Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?))?
    };
    match parse() {
        Some(permille @ 0..=1000) => Ok(Data::Permille(permille as u16)),
        Some(_) => Err(Wrong::new(Code::OutOfRange, format!("`{}` is out of range", short(text)), "it may be from 0% to 100%")),
        None => Err(Wrong::new(Code::BadQuantity, format!("`{}` is not a percentage", short(text)), "write `50%` or `12.5%`")),
    }
}

fn rate(text: &str) -> Result<Data, Wrong> {
    let rate = Quantity::parse_as(Dimension::Rate, text).map_err(|error| Wrong::new(Code::BadQuantity, error.to_string(), ""))?;
    match i64::try_from(rate.smallest()) {
        Ok(rate @ 1..=100_000_000_000) => Ok(Data::Integer(rate)),
        _ => {
            Err(Wrong::new(Code::OutOfRange, format!("`{}` is out of range", short(text)), "it may be from 1bit/s to 100Gbit/s"))
        }
    }
}

fn reason_code(text: &str) -> Result<Data, Wrong> {
    /// Codes with which the bench speaks of itself: a plan must not put them into the device's mouth.
    const BENCH: &[&str] = &["NO-WITNESS", "SILENT", "TIMEOUT", "BENCH-FAULT", "CANCELLED"];
    let good = |text: &str| {
        text.len() <= 40
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && !text.ends_with('-')
            && !text.contains("--")
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    if BENCH.contains(&text) {
        return Err(Wrong::new(
            Code::BadReasonCode,
            format!("`{text}` is a code of the bench itself"),
            "choose a code that says what the device did",
        ));
    }
    if good(text) {
        return Ok(Data::Text(text.to_owned()));
    }
    let mut wrong = Wrong::new(
        Code::BadReasonCode,
        format!("`{}` is not a reason code", short(text)),
        "reason codes hold capitals, digits and dashes, 40 characters at most: `SIG-PAYLOAD`",
    );
    let folded = text.trim().to_uppercase().replace(['_', ' '], "-");
    wrong.suggestion = good(&folded).then_some(folded);
    Err(wrong)
}

fn word(words: &[Word], text: &str) -> Result<Data, Wrong> {
    if words.iter().any(|w| w.word == text) {
        return Ok(Data::Text(text.to_owned()));
    }
    let list = words.iter().map(|w| format!("`{}`", w.word)).collect::<Vec<_>>().join(", ");
    let mut wrong =
        Wrong::new(Code::UnknownWord, format!("`{}` is not accepted here", short(text)), format!("write one of {list}"));
    wrong.suggestion = nearest(text, words.iter().map(|w| w.word)).map(str::to_owned);
    Err(wrong)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Shape, bytes, integer, scalar};
    use crate::document::Data;

    #[test]
    fn numbers_are_read_as_written() {
        assert_eq!(integer("0x10"), Some(16));
        assert_eq!(integer("-1"), Some(-1));
        assert_eq!(integer("010"), Some(10));
        for bad in ["", "-", "0x", "1_000", "1.0", "1e3", "9999999999999999999999", "--1", "0xg"] {
            assert_eq!(integer(bad), None, "{bad}");
        }
    }

    #[test]
    fn bytes_are_pairs() {
        assert_eq!(bytes("de AD\nbe"), Some(vec![0xde, 0xad, 0xbe]));
        for bad in ["", "d", "de a", "xx", "0x12"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn percentages_have_one_decimal() {
        let read = |text| scalar(&Shape::Percent, text).ok();
        assert_eq!(read("50%"), Some(Data::Permille(500)));
        assert_eq!(read("12.5 %"), Some(Data::Permille(125)));
        assert_eq!(read("100.0%"), Some(Data::Permille(1000)));
        for bad in ["", "%", "50", "100.1%", "1.25%", "-1%", ".5%"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_have_units_and_ranges() {
        let shape = Shape::Duration(Duration::from_millis(1), Duration::from_mins(1));
        assert_eq!(scalar(&shape, "500ms").ok(), Some(Data::Duration(Duration::from_millis(500))));
        for bad in ["500", "0ms", "61s", "", "soon"] {
            assert!(scalar(&shape, bad).is_err(), "{bad}");
        }
        assert_eq!(scalar(&Shape::Within, "declared.recovery-time").ok(), Some(Data::Declared("recovery-time".into())));
        assert!(scalar(&Shape::Within, "declared.").is_err());
    }
}
