//! The tables that describe documents.

use std::time::Duration;

/// What a value must look like.
#[derive(Debug)]
pub enum Shape {
    /// Any text that is not blank, of one line.
    Line,
    /// Any text, blank and several lines too.
    Text,
    /// A regular expression with placeholders. Here it is only text; the step checker compiles it.
    Pattern,
    /// Text with placeholders. Here it is only text; the step checker reads the placeholders.
    Template,
    /// Small letters, digits and dashes.
    Name,
    /// Name of a parameter or capture: small letters, digits, dashes and underscores.
    Variable,
    /// Name of a value: a name, or names joined by dots, placeholders included: `image.${image}.version`.
    ValueName,
    /// A reason code: capitals, digits and dashes.
    ReasonCode,
    /// A duration in a range.
    Duration(Duration, Duration),
    /// A duration, or `declared.NAME`.
    Within,
    /// A whole number in a range, decimal or `0x`.
    Integer(i64, i64),
    /// A 32-bit address, `'0x6000'`.
    Address,
    /// Hex digits in pairs.
    Bytes,
    /// 64 hex digits.
    Sha256,
    /// `50%` or `12.5%`.
    Percent,
    /// A data rate from one bit per second to 100 Gbit/s: `2Mbit/s`.
    Rate,
    /// `true` or `false`.
    Flag,
    /// A path, relative to the file that names it.
    Path,
    /// One of some words.
    Word(&'static [Word]),
    /// Exactly this text: the schema of the file.
    Exactly(&'static str),
    /// A list of at least so many values.
    List(&'static Shape, usize),
    /// A map with known keys.
    Map(&'static Keys),
    /// A map whose keys are names that the writer chooses, for values of one shape.
    Named(&'static Shape),
    /// A map with exactly one key, which tells what the value is. A function, because steps hold steps.
    One(fn() -> &'static OneOf),
}

/// A word and what it means.
#[derive(Debug)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// What it means.
    pub what: &'static str,
}

/// A map with known keys.
#[derive(Debug)]
pub struct Keys {
    /// Name in schema and documentation: `expect`.
    pub name: &'static str,
    /// What the map is.
    pub what: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Keys of which not all may be given.
    pub groups: &'static [Group],
    /// Shape of keys that are not in the table, if there may be any.
    pub others: Option<&'static Shape>,
}

/// One key of a map.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// Shape of its value.
    pub shape: Shape,
    /// Whether it must be given.
    pub needed: bool,
    /// What it means, with the default.
    pub what: &'static str,
}

/// Keys of which at most one may be given.
#[derive(Debug)]
pub struct Group {
    /// The keys.
    pub keys: &'static [&'static str],
    /// Whether one of them must be.
    pub needed: bool,
}

/// A map with exactly one key.
#[derive(Debug)]
pub struct OneOf {
    /// What it is called: `step`.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The keys and the shapes of their values.
    pub choices: &'static [Key],
}

impl Keys {
    /// A closed map without groups.
    #[must_use]
    pub const fn new(name: &'static str, what: &'static str, keys: &'static [Key]) -> Self {
        Self { name, what, keys, groups: &[], others: None }
    }

    /// With keys of which exactly one (`needed`) or at most one may be given.
    #[must_use]
    pub const fn groups(mut self, groups: &'static [Group]) -> Self {
        self.groups = groups;
        self
    }
}

impl Key {
    /// A key that must be given.
    #[must_use]
    pub const fn needed(name: &'static str, shape: Shape, what: &'static str) -> Self {
        Self { name, shape, needed: true, what }
    }

    /// A key that may be left out; `what` says what that means.
    #[must_use]
    pub const fn optional(name: &'static str, shape: Shape, what: &'static str) -> Self {
        Self { name, shape, needed: false, what }
    }
}
