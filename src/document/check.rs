//! A tree against a shape: all problems at once.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    node::{Node, NodeKind},
    scalar::{needed, scalar},
    shape::{Key, Keys, OneOf, Shape},
    value::{Data, Map, Named, Value},
};
use crate::diagnostic::{Code, Diagnostic, Place, Report, Source, nearest};

/// Compares `node` with `shape`; every problem goes to `report`.
pub fn check(source: &Arc<Source>, node: &Node, shape: &Shape, report: &mut Report) -> Value {
    Checker { source, report }.value(node, shape, None)
}

/// One entry of a map.
struct Entry<'n> {
    name: String,
    place: Place,
    key: &'n Node,
    node: &'n Node,
}

struct Checker<'a> {
    source: &'a Arc<Source>,
    report: &'a mut Report,
}

impl Checker<'_> {
    /// Where the value is written: what is wrong with it has to be mended there, even if it is used elsewhere through an alias.
    fn place(&self, node: &Node) -> Place {
        let range = node.defined.clone();
        // Lists and maps are shown by their first line only: marking a whole block hides the place in it.
        if let NodeKind::Map(entries) = &node.kind
            && let Some((first, _)) = entries.first()
            && first.defined.start >= range.start
        {
            return Place::new(self.source, first.defined.clone());
        }
        let text = self.source.text.get(range.start..).unwrap_or("");
        let line = text.find(['\n', '\r']).unwrap_or(text.len());
        let length = match node.kind {
            NodeKind::List(_) | NodeKind::Map(_) => text.chars().next().map_or(0, char::len_utf8),
            _ => range.len().min(line),
        };
        Place::new(self.source, range.start..range.start + length)
    }

    /// Reports a problem of `node`, with the alias through which it is used, if there is one. Problems that several aliases share are
    /// joined when the report is sorted.
    fn push(&mut self, diagnostic: Diagnostic, node: &Node) {
        let diagnostic = if node.defined == node.range {
            diagnostic
        } else {
            diagnostic.related(Place::new(self.source, node.range.clone()), "used through this alias")
        };
        self.report.push(diagnostic);
    }

    /// `owner` is the key that holds the value: the best place to say that something is missing in it.
    fn value(&mut self, node: &Node, shape: &Shape, owner: Option<&Place>) -> Value {
        let place = self.place(node);
        let data = match (shape, &node.kind) {
            (Shape::Map(keys), NodeKind::Map(entries)) => Data::Map(self.map(entries, keys, owner.unwrap_or(&place))),
            (Shape::Named(shape), NodeKind::Map(entries)) => Data::Named(self.named(entries, shape)),
            (Shape::One(one), NodeKind::Map(entries)) => self.one(node, entries, one()),
            (Shape::List(shape, least), NodeKind::List(items)) => {
                if items.len() < *least {
                    let at = owner.unwrap_or(&place).clone();
                    self.report
                        .push(Diagnostic::new(Code::EmptyList, at, "the list is empty").help("it needs at least one item"));
                }
                Data::List(items.iter().map(|item| self.value(item, shape, None)).collect())
            }
            (Shape::List(..) | Shape::Map(_) | Shape::Named(_) | Shape::One(_), kind) => {
                let at = if matches!(kind, NodeKind::Null) { owner.unwrap_or(&place).clone() } else { place.clone() };
                let mut diagnostic =
                    Diagnostic::new(Code::WrongType, at, format!("{} is needed here, not {}", needed(shape), kind.noun()));
                if let (Shape::One(one), NodeKind::Scalar(text)) = (shape, kind) {
                    let one = one();
                    diagnostic = diagnostic.help(match one.choices.iter().find(|choice| choice.name == text) {
                        Some(choice) => format!("write `{}: {{ ... }}`", choice.name),
                        None => format!("a {} is one of {}", one.name, list(one.choices)),
                    });
                }
                self.push(diagnostic, node);
                Data::Bad
            }
            (shape, NodeKind::Scalar(text)) => self.scalar(node, &place, shape, text),
            // Nothing is a text where any text will do: `text:` may be empty.
            (Shape::Text, NodeKind::Null) => Data::Text(String::new()),
            (shape, kind) => {
                let at = if matches!(kind, NodeKind::Null) { owner.unwrap_or(&place).clone() } else { place.clone() };
                let message = format!("{} is needed here, not {}", needed(shape), kind.noun());
                self.push(Diagnostic::new(Code::WrongType, at, message), node);
                Data::Bad
            }
        };
        Value { place, data }
    }

    fn scalar(&mut self, node: &Node, place: &Place, shape: &Shape, text: &str) -> Data {
        match scalar(shape, text) {
            Ok(data) => data,
            Err(wrong) => {
                let mut diagnostic = Diagnostic::new(wrong.code, place.clone(), wrong.message).help(wrong.help);
                // Quotes are part of the place, not of the replacement: what is suggested never needs them.
                if let Some(suggestion) = wrong.suggestion {
                    diagnostic = diagnostic.replace_by(suggestion);
                }
                self.push(diagnostic, node);
                Data::Bad
            }
        }
    }

    /// The key's text and place; reports keys that are no text.
    fn key(&mut self, node: &Node) -> Option<(String, Place)> {
        let place = self.place(node);
        if let NodeKind::Scalar(text) = &node.kind {
            return Some((text.clone(), place));
        }
        let message = format!("a key must be text, not {}", node.kind.noun());
        self.report.push(Diagnostic::new(Code::WrongType, place, message));
        None
    }

    /// Keys with their values; reports duplicates and leaves them out.
    fn entries<'n>(&mut self, entries: &'n [(Node, Node)]) -> Vec<Entry<'n>> {
        let mut out: Vec<Entry<'n>> = Vec::new();
        // A map of a large file must not cost the square of its size.
        let mut seen = std::collections::HashMap::<String, usize>::new();
        for (key, node) in entries {
            let Some((name, place)) = self.key(key) else { continue };
            if let Some(first) = seen.get(&name) {
                let first = out[*first].place.clone();
                self.report.push(
                    Diagnostic::new(Code::DuplicateKey, place, format!("`{name}` is given twice"))
                        .related(first, "first given here")
                        .help("remove one of the two"),
                );
                continue;
            }
            seen.insert(name.clone(), out.len());
            out.push(Entry { name, place, key, node });
        }
        out
    }

    fn map(&mut self, entries: &[(Node, Node)], keys: &Keys, owner: &Place) -> Map {
        let mut map = Map::default();
        let entries = self.entries(entries);
        // Only a key that is not there yet can be meant by one that is unknown.
        let given: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let missing: Vec<&str> = keys.keys.iter().map(|key| key.name).filter(|name| !given.contains(name)).collect();
        for Entry { name, place, key, node } in entries {
            if let Some(key) = keys.keys.iter().find(|key| key.name == name) {
                let value = self.value(node, &key.shape, Some(&place));
                map.known.push(Named { name, place, value });
            } else if let Some(shape) = keys.others {
                let value = self.value(node, shape, Some(&place));
                map.others.push(Named { name, place, value });
            } else {
                let diagnostic = Diagnostic::new(Code::UnknownKey, place, format!("{} has no key `{name}`", keys.name));
                let diagnostic = match nearest(&name, missing.iter().copied()) {
                    Some(near) => diagnostic.replace_by(near),
                    None => diagnostic.help(format!("its keys are {}", list(keys.keys))),
                };
                self.push(diagnostic, key);
            }
        }
        for key in keys.keys.iter().filter(|key| key.needed && !map.has(key.name)) {
            let code = if matches!(key.shape, Shape::Exactly(_)) { Code::WrongSchema } else { Code::MissingKey };
            let message = format!("{} needs `{}`", keys.name, key.name);
            let help = match key.shape {
                Shape::Exactly(wanted) => format!("the first line of the file is `schema: {wanted}`"),
                _ => format!("`{}`: {}", key.name, key.what),
            };
            self.report.push(Diagnostic::new(code, owner.clone(), message).help(help));
        }
        for group in keys.groups {
            let given: Vec<&Named> = map.known.iter().filter(|entry| group.keys.contains(&entry.name.as_str())).collect();
            let names = group.keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            match given.as_slice() {
                [] if group.needed => {
                    let message = format!("{} needs one of {names}", keys.name);
                    self.report.push(Diagnostic::new(Code::MissingKey, owner.clone(), message));
                }
                [first, second, ..] => {
                    let message = format!("`{}` and `{}` exclude each other", first.name, second.name);
                    self.report.push(
                        Diagnostic::new(Code::KeyConflict, second.place.clone(), message)
                            .related(first.place.clone(), "first one here")
                            .help(format!("give only one of {names}")),
                    );
                }
                _ => {}
            }
        }
        map
    }

    fn named(&mut self, entries: &[(Node, Node)], shape: &Shape) -> Vec<Named> {
        let mut out = Vec::new();
        for Entry { name, place, key, node } in self.entries(entries) {
            if let Err(wrong) = scalar(&Shape::Name, &name) {
                let mut diagnostic = Diagnostic::new(wrong.code, place.clone(), wrong.message).help(wrong.help);
                if let Some(suggestion) = wrong.suggestion {
                    diagnostic = diagnostic.replace_by(suggestion);
                }
                self.push(diagnostic, key);
            }
            let value = self.value(node, shape, Some(&place));
            out.push(Named { name, place, value });
        }
        out
    }

    fn one(&mut self, node: &Node, entries: &[(Node, Node)], one: &OneOf) -> Data {
        let good = self.entries(entries);
        let [Entry { name, place, key, node: value }] = good.as_slice() else {
            if good.is_empty() && !entries.is_empty() {
                return Data::Bad;
            }
            let place = good.get(1).map_or_else(|| self.place(node), |second| second.place.clone());
            let message = format!("a {} has exactly one key, this has {}", one.name, good.len());
            let mut diagnostic = Diagnostic::new(Code::OneKeyMap, place, message);
            if let [first, second, ..] = good.as_slice() {
                let owner = one.choices.iter().find(|choice| choice.name == first.name);
                let belongs = matches!(owner, Some(Key { shape: Shape::Map(keys), .. }) if keys.keys.iter().any(|key| key.name == second.name));
                diagnostic = diagnostic.related(first.place.clone(), "the first key").help(if belongs {
                    format!("indent it further, so that it belongs to `{}`", first.name)
                } else {
                    format!("begin each {} with its own `- `", one.name)
                });
            } else {
                diagnostic = diagnostic.help(format!("a {} is one of {}", one.name, list(one.choices)));
            }
            self.push(diagnostic, node);
            return Data::Bad;
        };
        let Some(choice) = one.choices.iter().find(|choice| choice.name == name) else {
            let diagnostic = Diagnostic::new(Code::UnknownStep, place.clone(), format!("there is no {} `{name}`", one.name));
            let diagnostic = diagnostic.did_you_mean(name, one.choices.iter().map(|choice| choice.name));
            self.push(diagnostic, key);
            return Data::Bad;
        };
        let value = self.value(value, &choice.shape, Some(place));
        if value.data == Data::Bad {
            return Data::Bad;
        }
        Data::One(Box::new(Named { name: name.clone(), place: place.clone(), value }))
    }
}

fn list(keys: &[Key]) -> String {
    keys.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ")
}
