//! A document after the check: typed values with places.
//!
//! The getters never fail: a value that is missing or was found wrong (and reported) reads as the default. What is built from them
//! is thrown away if the report has errors, so no second list of "missing" cases is needed.

use std::time::Duration;

use crate::diagnostic::Place;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub data: Data,
}

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Wrong, and reported.
    Bad,
    /// Text, name, word, path.
    Text(String),
    /// A number, address or rate.
    Integer(i64),
    /// True or false.
    Flag(bool),
    /// A duration.
    Duration(Duration),
    /// Name after `declared.`.
    Declared(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Thousandths.
    Permille(u16),
    /// A list.
    List(Vec<Value>),
    /// A map with known keys.
    Map(Map),
    /// A map with keys chosen by the writer, in order.
    Named(Vec<Named>),
    /// A map with one key.
    One(Box<Named>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The key.
    pub name: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// A map with known keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    /// Known keys that are given.
    pub known: Vec<Named>,
    /// Other keys, where the table allows them.
    pub others: Vec<Named>,
}

const NO_VALUES: &[Value] = &[];
const NO_NAMED: &[Named] = &[];

impl Value {
    /// The map, or an empty one.
    #[must_use]
    pub fn map(&self) -> &Map {
        const EMPTY: &Map = &Map { known: Vec::new(), others: Vec::new() };
        if let Data::Map(map) = &self.data { map } else { EMPTY }
    }

    /// The text, or an empty one.
    #[must_use]
    pub fn text(&self) -> &str {
        if let Data::Text(text) = &self.data { text } else { "" }
    }

    /// The items, or none.
    #[must_use]
    pub fn list(&self) -> &[Self] {
        if let Data::List(items) = &self.data { items } else { NO_VALUES }
    }

    /// The entries, or none.
    #[must_use]
    pub fn named(&self) -> &[Named] {
        if let Data::Named(entries) = &self.data { entries } else { NO_NAMED }
    }

    /// The only entry of a one-key map.
    #[must_use]
    pub fn one(&self) -> Option<&Named> {
        if let Data::One(entry) = &self.data { Some(entry) } else { None }
    }

    /// The duration, or zero.
    #[must_use]
    pub fn duration(&self) -> Duration {
        if let Data::Duration(duration) = self.data { duration } else { Duration::ZERO }
    }

    /// The number, or zero.
    #[must_use]
    pub fn integer(&self) -> i64 {
        if let Data::Integer(number) = self.data { number } else { 0 }
    }

    /// The bytes, or none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if let Data::Bytes(bytes) = &self.data { bytes } else { &[] }
    }
}

impl Map {
    /// The value of a key, if it is given and good.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.known.iter().find(|entry| entry.name == key).map(|entry| &entry.value).filter(|value| value.data != Data::Bad)
    }

    /// Whether the key is given, good or not.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.known.iter().any(|entry| entry.name == key)
    }

    /// The text of a key, or an empty one.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.get(key).map_or("", Value::text)
    }

    /// The text of a key, owned.
    #[must_use]
    pub fn string(&self, key: &str) -> String {
        self.text(key).to_owned()
    }

    /// The items of a key, or none.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Value] {
        self.get(key).map_or(NO_VALUES, Value::list)
    }

    /// The texts of a list.
    #[must_use]
    pub fn strings(&self, key: &str) -> Vec<String> {
        self.list(key).iter().map(|item| item.text().to_owned()).collect()
    }

    /// The entries of a key, or none.
    #[must_use]
    pub fn named(&self, key: &str) -> &[Named] {
        self.get(key).map_or(NO_NAMED, Value::named)
    }

    /// The duration of a key, or zero.
    #[must_use]
    pub fn duration(&self, key: &str) -> Duration {
        self.get(key).map_or(Duration::ZERO, Value::duration)
    }

    /// The number of a key, or zero.
    #[must_use]
    pub fn integer(&self, key: &str) -> i64 {
        self.get(key).map_or(0, Value::integer)
    }

    /// The percentage of a key in thousandths, or zero.
    #[must_use]
    pub fn permille(&self, key: &str) -> u16 {
        self.get(key).map_or(0, |value| if let Data::Permille(permille) = value.data { permille } else { 0 })
    }

    /// The flag of a key, or false.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.data == Data::Flag(true))
    }
}
