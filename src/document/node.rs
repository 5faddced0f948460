//! The tree of a YAML document, with places.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// A value with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes where it is used. For lists and maps only the start counts.
    pub range: Range<usize>,
    /// Bytes where it is written: elsewhere if it is used through an alias.
    pub defined: Range<usize>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar as written, so that `1.10` stays `1.10` and `0x10` stays `0x10`.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map; keys in order, duplicates included.
    Map(Vec<(Node, Node)>),
}

impl NodeKind {
    /// For messages: `a list`.
    #[must_use]
    pub const fn noun(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// A node as serde sees it: plain scalars are still what YAML made of them.
pub(super) struct Raw(RawKind);

enum RawKind {
    Null,
    Text(String),
    /// A plain scalar that YAML reads as a number or boolean; what was written is looked up in the text.
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Self)
    }
}

struct RawVisitor;

macro_rules! typed {
    ($($visit:ident $type:ty;)*) => {
        $(fn $visit<E: Error>(self, value: $type) -> Result<RawKind, E> {
            Ok(RawKind::Typed(value.to_string()))
        })*
    };
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, a list or a map")
    }

    typed! {
        visit_bool bool;
        visit_i64 i64;
        visit_u64 u64;
        visit_i128 i128;
        visit_u128 u128;
        visit_f64 f64;
    }

    fn visit_unit<E: Error>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }

    fn visit_none<E: Error>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<RawKind, E> {
        Ok(RawKind::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<RawKind, E> {
        Ok(RawKind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawKind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawKind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawKind::Map(entries))
    }
}

/// Bytes of a location; the text's start if it is unknown.
pub(super) fn range(location: Location) -> Range<usize> {
    let span = location.span();
    let at = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let start = at(span.byte_offset());
    start..start.saturating_add(at(span.byte_len()))
}

pub(super) fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let defined = range(raw.defined);
    let kind = match raw.value.0 {
        RawKind::Null => NodeKind::Null,
        RawKind::Text(value) => NodeKind::Scalar(value),
        RawKind::Typed(value) => NodeKind::Scalar(text.get(defined.clone()).map_or(value, |written| written.trim().to_owned())),
        RawKind::List(items) => NodeKind::List(items.into_iter().map(|item| node(item, text)).collect()),
        RawKind::Map(entries) => NodeKind::Map(entries.into_iter().map(|(k, v)| (node(k, text), node(v, text))).collect()),
    };
    Node { kind, range: range(raw.referenced), defined }
}
