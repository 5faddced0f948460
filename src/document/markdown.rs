//! The reference of all keys, from the tables, for people.

use std::{collections::BTreeSet, fmt::Write as _};

use super::shape::{Key, Keys, Shape};

/// Markdown for a document and everything in it; maps that are in `seen` already are not told again.
#[must_use]
pub fn key_reference(title: &str, keys: &'static Keys, seen: &mut BTreeSet<&'static str>) -> String {
    let mut out = format!("## {title}\n\n{}\n\n", keys.what);
    let mut queue = Vec::new();
    table(&mut out, keys, &mut queue);
    while !queue.is_empty() {
        for item in std::mem::take(&mut queue) {
            match item {
                Item::Map(keys) if seen.insert(keys.name) => {
                    let _ = write!(out, "### {}\n\n{}\n\n", keys.name, keys.what);
                    table(&mut out, keys, &mut queue);
                }
                Item::One(name, what, choices) if seen.insert(name) => {
                    let _ = write!(out, "### {name}\n\n{what}\n\n| {name} | what it does |\n|---|---|\n");
                    for choice in choices {
                        let _ = writeln!(out, "| `{}` | {} |", choice.name, cell(choice.what));
                        find(&choice.shape, &mut queue);
                    }
                    out.push('\n');
                }
                _ => {}
            }
        }
    }
    out
}

enum Item {
    Map(&'static Keys),
    One(&'static str, &'static str, &'static [Key]),
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn table(out: &mut String, keys: &'static Keys, queue: &mut Vec<Item>) {
    out.push_str("| key | value | needed | meaning |\n|---|---|---|---|\n");
    for key in keys.keys {
        let group = keys.groups.iter().find(|group| group.keys.contains(&key.name));
        let needed = match group {
            Some(group) if group.needed => "one of these",
            Some(_) => "at most one",
            None if key.needed => "yes",
            None => "",
        };
        let _ = writeln!(out, "| `{}` | {} | {needed} | {} |", key.name, cell(&say(&key.shape)), cell(key.what));
        find(&key.shape, queue);
    }
    if let Some(others) = keys.others {
        let _ = writeln!(out, "| any other | {} | | see the description above |", cell(&say(others)));
    }
    out.push('\n');
}

fn find(shape: &'static Shape, queue: &mut Vec<Item>) {
    match shape {
        Shape::Map(keys) => queue.push(Item::Map(keys)),
        Shape::One(one) => queue.push(Item::One(one().name, one().what, one().choices)),
        Shape::List(inner, _) | Shape::Named(inner) => find(inner, queue),
        _ => {}
    }
}

fn say(shape: &Shape) -> String {
    match shape {
        Shape::Line => "text, one line".into(),
        Shape::Text => "text".into(),
        Shape::Pattern => "regular expression, `${...}` allowed".into(),
        Shape::Template => "text, `${...}` allowed".into(),
        Shape::Name => "name".into(),
        Shape::Variable => "name of a parameter or capture".into(),
        Shape::ValueName => "name of a value".into(),
        Shape::ReasonCode => "reason code, `SIG-PAYLOAD`".into(),
        Shape::Duration(..) => "duration, `500ms`".into(),
        Shape::Within => "duration, or `declared.NAME`".into(),
        Shape::Integer(least, most) => format!("whole number, {least} to {most}"),
        Shape::Address => "address, `'0x6000'`".into(),
        Shape::Bytes => "bytes, `'de ad be ef'`".into(),
        Shape::Sha256 => "64 hex digits".into(),
        Shape::Percent => "percentage, `50%`".into(),
        Shape::Rate => "data rate, `2Mbit/s`".into(),
        Shape::Flag => "`true` or `false`".into(),
        Shape::Path => "path".into(),
        Shape::Word(words) => words.iter().map(|word| format!("`{}`", word.word)).collect::<Vec<_>>().join(" or "),
        Shape::Exactly(text) => format!("`{text}`"),
        Shape::List(inner, _) => format!("list of {}", say(inner)),
        Shape::Map(keys) => format!("[{}](#{})", keys.name, keys.name.replace(' ', "-")),
        Shape::Named(inner) => format!("map of names to {}", say(inner)),
        Shape::One(one) => format!("[{}](#{})", one().name, one().name.replace(' ', "-")),
    }
}
