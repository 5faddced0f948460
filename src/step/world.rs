//! What steps may refer to: the device profile, as far as steps can see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    channel::link::ChannelKind,
    diagnostic::Place,
    document::{Data, Map, Value},
    step::{
        Template,
        template::{Part, Role, ValueRef},
    },
    units::Span,
};

/// A device profile as steps see it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// Channels that the product has, with their kinds.
    pub channels: BTreeMap<String, (ChannelKind, Place)>,
    /// Declared values as written.
    pub declared: BTreeMap<String, (String, Place)>,
    /// Images.
    pub images: BTreeMap<String, ImageFacts>,
    /// Procedures.
    pub procedures: BTreeMap<String, ProcedureFacts>,
    /// Whether the profile says how to judge an interruption.
    pub interruption: bool,
    /// Whether the rig allows the whole device to be erased.
    pub may_erase: bool,
    /// USB channels of which the profile declares what they show.
    pub usb: BTreeSet<String>,
}

/// What steps need to know of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Flash address.
    pub address: Option<u32>,
    /// Version the device reports when it runs it.
    pub version: Option<String>,
    /// Bytes.
    pub length: u64,
}

/// What callers need to know of a procedure, what it calls included.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcedureFacts {
    /// Its name in the profile.
    pub place: Place,
    /// Parameters.
    pub parameters: Vec<String>,
    /// Parameters that name an image.
    pub image_parameters: BTreeSet<String>,
    /// Values that it gives.
    pub returns: Vec<String>,
    /// Whether its outcome can be `refused`.
    pub can_refuse: bool,
    /// Channels that it uses.
    pub channels: BTreeSet<String>,
    /// Kinds of steps in it.
    pub kinds: BTreeSet<String>,
    /// Whether it erases the whole device.
    pub erases: bool,
    /// Whether its last pattern captures `value`, for who asks it a question.
    pub gives_value: bool,
    /// Its longest single wait.
    pub longest: Duration,
    /// Procedures that it runs directly, with the place.
    pub calls: Vec<(String, Place)>,
}

/// A declared value read as a duration.
#[must_use]
pub fn declared_duration(text: &str) -> Option<Duration> {
    text.parse::<Span>().ok().map(Span::duration)
}

impl World {
    /// Duration of a key that is written out or declared; nothing if it is neither.
    #[must_use]
    pub fn duration(&self, value: &Value) -> Option<Duration> {
        match &value.data {
            Data::Duration(duration) => Some(*duration),
            Data::Declared(name) => self.declared.get(name).and_then(|(text, _)| declared_duration(text)),
            _ => None,
        }
    }

    /// Facts of one procedure by itself.
    #[must_use]
    pub fn procedure(&self, place: &Place, map: &Map) -> ProcedureFacts {
        let mut facts = ProcedureFacts {
            place: place.clone(),
            parameters: map.strings("parameters"),
            image_parameters: BTreeSet::new(),
            returns: map.strings("returns"),
            can_refuse: false,
            channels: BTreeSet::new(),
            kinds: BTreeSet::new(),
            erases: false,
            gives_value: false,
            longest: Duration::ZERO,
            calls: Vec::new(),
        };
        self.gather(map.list("steps"), &mut facts);
        if let Some(outcome) = map.get("outcome") {
            let outcome = outcome.map();
            facts.can_refuse |= outcome.has("refused");
            facts.channels.extend(outcome.get("channel").map(|value| value.text().to_owned()));
            facts.longest = facts.longest.max(outcome.get("within").and_then(|value| self.duration(value)).unwrap_or_default());
        }
        facts
    }

    /// Whether steps erase the whole device, by themselves or through a procedure.
    #[must_use]
    pub fn erases(&self, steps: &[Value]) -> bool {
        steps.iter().filter_map(Value::one).any(|entry| {
            let map = entry.value.map();
            let called = map.get("procedure").and_then(|value| self.procedures.get(value.text()));
            map.flag("erase-all")
                || called.is_some_and(|facts| facts.erases)
                || self.erases(map.list("steps"))
                || self.erases(map.list("during"))
        })
    }

    fn gather(&self, steps: &[Value], facts: &mut ProcedureFacts) {
        for entry in steps.iter().filter_map(Value::one) {
            let map = entry.value.map();
            facts.kinds.insert(entry.name.clone());
            facts.channels.extend(map.get("channel").map(|value| value.text().to_owned()));
            facts.can_refuse |= map.has("refused");
            facts.erases |= map.flag("erase-all");
            for key in WAITS {
                if let Some(duration) = map.get(key).and_then(|value| self.duration(value)) {
                    facts.longest = facts.longest.max(duration);
                }
            }
            if entry.name == "do" {
                facts.calls.extend(map.get("procedure").map(|value| (value.text().to_owned(), value.place.clone())));
            }
            // `${image}` where an image is needed, and `${image.${image}.length}` anywhere, tell that the parameter names an image.
            if matches!(entry.name.as_str(), "send-image" | "cloud-offer")
                && let Ok(parts) = Template(map.string("image")).parts()
                && let [Part::Value(ValueRef::Name(name))] = parts.as_slice()
            {
                facts.image_parameters.insert(name.clone());
            }
            for value in
                map.known.iter().map(|known| &known.value).chain(map.named("with").iter().map(|argument| &argument.value))
            {
                let Ok(parts) = Template(value.text().to_owned()).parts() else { continue };
                facts.image_parameters.extend(parts.into_iter().filter_map(|part| match part {
                    Part::Value(ValueRef::Image(Role::Parameter(name), _)) => Some(name),
                    _ => None,
                }));
            }
            self.gather(map.list("steps"), facts);
            self.gather(map.list("during"), facts);
        }
    }

    /// Adds to each procedure what those it runs do. Cycles are returned, each once, as the calls that close them.
    pub fn close(&mut self, arguments: &BTreeMap<String, Vec<PassedOn>>) -> Vec<(String, Place)> {
        let names: Vec<String> = self.procedures.keys().cloned().collect();
        // As many rounds as there are procedures: each round carries facts one call further.
        for _ in 0..names.len() {
            let before = self.procedures.clone();
            for (name, facts) in &mut self.procedures {
                for (callee, _) in facts.calls.clone() {
                    let Some(inner) = before.get(&callee) else { continue };
                    facts.channels.extend(inner.channels.iter().cloned());
                    facts.kinds.extend(inner.kinds.iter().cloned());
                    facts.erases |= inner.erases;
                    facts.longest = facts.longest.max(inner.longest);
                }
                for passed in arguments.get(name).into_iter().flatten() {
                    let names_image =
                        before.get(&passed.procedure).is_some_and(|inner| inner.image_parameters.contains(&passed.parameter));
                    if names_image {
                        facts.image_parameters.insert(passed.value.clone());
                    }
                }
            }
            if before == self.procedures {
                break;
            }
        }
        names.iter().filter_map(|name| self.cycle(name)).collect()
    }

    /// The call by which `start` comes back to itself, if it does.
    fn cycle(&self, start: &str) -> Option<(String, Place)> {
        let calls = |name: &str| self.procedures.get(name).map(|facts| facts.calls.as_slice()).unwrap_or_default();
        calls(start).iter().find_map(|(first, place)| {
            let mut seen = BTreeSet::new();
            let mut todo = vec![first.as_str()];
            while let Some(name) = todo.pop() {
                if name == start {
                    return Some((start.to_owned(), place.clone()));
                }
                if seen.insert(name) {
                    todo.extend(calls(name).iter().map(|(callee, _)| callee.as_str()));
                }
            }
            None
        })
    }
}

/// Keys that make a step wait.
pub(super) const WAITS: &[&str] = &["within", "during", "time", "hold", "down-for", "pause", "at-most"];

/// A parameter handed on to another procedure: `with: { image: '${image}' }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOn {
    /// The callee.
    pub procedure: String,
    /// Its parameter.
    pub parameter: String,
    /// The caller's own name for the value.
    pub value: String,
}

/// The parameters that steps hand on unchanged.
#[must_use]
pub fn passed_on(steps: &[Value]) -> Vec<PassedOn> {
    let mut out = Vec::new();
    for entry in steps.iter().filter_map(Value::one) {
        let map = entry.value.map();
        for argument in map.named("with") {
            if let Ok(parts) = Template(argument.value.text().to_owned()).parts()
                && let [Part::Value(ValueRef::Name(value))] = parts.as_slice()
            {
                out.push(PassedOn { procedure: map.string("procedure"), parameter: argument.name.clone(), value: value.clone() });
            }
        }
        out.extend(passed_on(map.list("steps")));
        out.extend(passed_on(map.list("during")));
    }
    out
}
