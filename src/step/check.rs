//! What a table of keys cannot express about steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Template, pattern, supply,
    template::{ImageField, Part, Role, ValueRef},
    usb,
    world::{ImageFacts, ProcedureFacts, WAITS, World},
};
use crate::{
    channel::link::{ChannelKind, Measurand},
    diagnostic::{Code, Diagnostic, Place, Report, nearest},
    document::{Data, Map, Named, Value},
    units::Span,
};

/// For messages: `a console`.
#[must_use]
pub const fn kind_noun(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Console => "a console",
        ChannelKind::Supply => "a supply",
        ChannelKind::Button => "a button",
        ChannelKind::Probe => "a debug probe",
        ChannelKind::Usb => "a USB port",
        ChannelKind::Ble => "a Bluetooth link",
        ChannelKind::Network => "a network",
        ChannelKind::Cloud => "a cloud",
        ChannelKind::Api => "an API",
    }
}

/// Where the steps stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// A procedure of the device profile.
    Procedure,
    /// A plan.
    Plan,
}

/// Walks over steps and collects what is wrong with them.
pub struct Walk<'a> {
    /// What they may refer to; without it (a plan before it is bound to a rig) names are not looked up.
    pub world: Option<&'a World>,
    /// Where they stand.
    pub setting: Setting,
    /// Altered images of the plan.
    pub altered: &'a BTreeMap<String, ImageFacts>,
    /// Channels that the plan and the case list under `requires`.
    pub required: &'a BTreeSet<String>,
    /// The timeout around the steps and where it is written.
    pub timeout: Option<(Duration, Place)>,
    /// Values known so far.
    pub known: BTreeSet<String>,
    /// Channels used, procedures included.
    pub channels: BTreeSet<String>,
    /// Supplies whose power is cut at every flash operation.
    pub searched: BTreeSet<String>,
    /// Images used by their name.
    pub images: BTreeSet<String>,
    /// What is wrong.
    pub report: &'a mut Report,
    /// Inside the steps of a power-cut search.
    pub searching: bool,
}

/// The kind of channel that a step acts on.
fn kind_of(step: &str) -> Option<ChannelKind> {
    Some(match step {
        "power" | "power-cycle" | "measure-supply" | "power-cut-search" => ChannelKind::Supply,
        "press" | "button" => ChannelKind::Button,
        "send" | "expect" | "refrain" | "send-image" | "break" | "line-state" | "baud-sweep" | "time-to" => ChannelKind::Console,
        "flash" | "reset" | "read-memory" | "halt" | "resume" | "dump-memory" | "search-memory" | "read-lock" => {
            ChannelKind::Probe
        }
        "network" => ChannelKind::Network,
        "cloud" => ChannelKind::Cloud,
        name if name.starts_with("usb-") => ChannelKind::Usb,
        name if name.starts_with("ble-") => ChannelKind::Ble,
        name if name.starts_with("network-") => ChannelKind::Network,
        name if name.starts_with("cloud-") => ChannelKind::Cloud,
        name if name.starts_with("api-") => ChannelKind::Api,
        _ => return None,
    })
}

/// Whether a search can replay the step: it repeats what is sent and expected on consoles, and nothing that acts on the device past them.
fn replayable(step: &str) -> bool {
    !matches!(step, "prompt" | "break" | "line-state" | "baud-sweep")
        && matches!(kind_of(step), None | Some(ChannelKind::Console))
}

impl Walk<'_> {
    fn push(&mut self, diagnostic: Diagnostic) {
        self.report.push(diagnostic);
    }

    /// Checks steps in order.
    pub fn steps(&mut self, steps: &[Value]) {
        for entry in steps.iter().filter_map(Value::one) {
            self.step(entry);
        }
    }

    fn step(&mut self, entry: &Named) {
        let map = entry.value.map();
        if self.searching && !replayable(&entry.name) {
            let message = format!("`{}` cannot be used inside a power-cut search", entry.name);
            self.push(
                Diagnostic::new(Code::StepNotAllowed, entry.place.clone(), message)
                    .help("the search repeats what is sent and expected on consoles; put other steps before it"),
            );
        }
        if map.has("meaning") && !map.has("reason") {
            let place = map.known.iter().find(|known| known.name == "meaning").map_or(&entry.place, |known| &known.place);
            self.push(
                Diagnostic::new(Code::MissingKey, place.clone(), "`meaning` needs `reason`")
                    .help("give the reason code that it explains"),
            );
        }
        for (key, what) in
            super::cloud::problems(&entry.name, map).into_iter().chain(super::reconnect::problems(&entry.name, map))
        {
            let place = map.get(key).map_or_else(|| entry.place.clone(), |value| value.place.clone());
            self.push(Diagnostic::new(Code::KeyConflict, place, what));
        }
        let kind = kind_of(&entry.name);
        if let (Some(kind), Some(channel)) = (kind, map.get("channel")) {
            self.channel(channel, kind);
        }
        self.waits(map);
        match entry.name.as_str() {
            "send" => self.templates(map, &["line", "text"]),
            "expect" => {
                let captures = self.patterns(map, &["pattern"]);
                self.patterns(map, &["refused"]);
                self.known.extend(captures);
            }
            "baud-sweep" => {
                self.templates(map, &["line"]);
                let captures = self.patterns(map, &["pattern"]);
                self.known.extend(captures);
                self.known.insert("baud".to_owned());
            }
            "refrain" | "cloud-refrain" => drop(self.patterns(map, &["pattern"])),
            "cloud-expect" => {
                let captures = self.patterns(map, &["pattern"]);
                self.known.extend(captures);
            }
            "api-request" => {
                self.templates(map, &["path", "body", "bearer"]);
                map.list("lacks").iter().for_each(|value| drop(self.template(value)));
                let captures = self.patterns(map, &["pattern"]);
                self.known.extend(captures);
            }
            "api-scan" => self.templates(map, &["ports", "declared"]),
            "api-mdns" => {
                self.templates(map, &["service", "keys"]);
                map.list("lacks").iter().for_each(|value| drop(self.template(value)));
            }
            "cloud-publish" => self.templates(map, &["topic", "payload"]),
            "cloud-offer" => {
                self.templates(map, &["path", "image"]);
                if let Some(image) = map.get("image") {
                    self.image(image, image.text());
                }
            }
            "cloud-attempts" => self.templates(map, &["at-most", "at-least"]),
            "cloud-intervals" => drop(self.known.insert(map.string("save-as"))),
            "back-off" => self.templates(map, &["intervals"]),
            "fleet" => self.templates(map, &["intervals", "capacity", "peak-limit"]),
            "search-memory" => {
                for value in map.list("for").iter().chain(map.list("networks")) {
                    drop(self.template(value));
                }
            }
            "time-to" => {
                drop(self.patterns(map, &["pattern"]));
                self.known.insert(map.string("save-as"));
            }
            "intervals-differ" | "restart-phase" => {
                for value in map.list("of") {
                    self.template(value);
                }
            }
            "send-image" => {
                self.templates(map, &["image"]);
                if let Some(image) = map.get("image") {
                    self.image(image, image.text());
                }
                self.patterns(map, &["ack"]);
                self.patterns(map, &["refused"]);
            }
            "flash" => self.flash(entry),
            "read-memory" => {
                drop(self.patterns(map, &["holds"]));
                drop(self.patterns(map, &["lacks"]));
                if let Some(value) = ["holds", "lacks"].into_iter().find_map(|key| map.get(key))
                    && map.text("expect") == "refused"
                {
                    let message = "what is refused cannot be searched".to_owned();
                    self.push(
                        Diagnostic::new(Code::KeyConflict, value.place.clone(), message)
                            .help("write two steps: one that must be refused, one that is searched"),
                    );
                }
            }
            "do" => self.procedure(map),
            "check" => self.comparison(map),
            "prompt" => self.prompt(map),
            "measure-supply" => self.measurement(map),
            "measure" | "retry" => self.steps(map.list("steps")),
            "power-cut-search" => self.search(entry),
            name if name.starts_with("ble-") => super::ble::check(self, name, map),
            name if name.starts_with("usb-") => self.usb(entry),
            _ => {}
        }
        let contradiction = super::network::contradiction(&entry.name, map);
        if let Some((key, why)) = contradiction.or_else(|| super::api::contradiction(&entry.name, map)) {
            let place = map.known.iter().find(|known| known.name == key).map_or(&entry.place, |known| &known.value.place);
            self.push(Diagnostic::new(Code::KeyConflict, place.clone(), why));
        }
    }

    /// A channel by name and kind.
    pub fn channel(&mut self, value: &Value, kind: ChannelKind) {
        let name = value.text();
        self.channels.insert(name.to_owned());
        if self.setting == Setting::Plan && !self.required.contains(name) {
            let message = format!("channel `{name}` is not listed under `requires`");
            let diagnostic = Diagnostic::new(Code::NotRequired, value.place.clone(), message);
            let required: Vec<&str> = self.required.iter().map(String::as_str).collect();
            let diagnostic = match nearest(name, required.iter().copied()) {
                Some(near) => diagnostic.replace_by(near),
                None => diagnostic.help(format!("add `{name}` to `requires` of the plan or of the case")),
            };
            self.push(diagnostic);
            return;
        }
        let Some(world) = self.world else { return };
        match world.channels.get(name) {
            Some((found, place)) if *found != kind => {
                let message = format!("{} is needed here, `{name}` is {}", kind_noun(kind), kind_noun(*found));
                self.push(
                    Diagnostic::new(Code::WrongKind, value.place.clone(), message)
                        .related(place.clone(), "the device profile says so here"),
                );
            }
            None if self.setting == Setting::Procedure => {
                let message = format!("the profile has no channel `{name}`");
                let diagnostic = Diagnostic::new(Code::UnknownChannel, value.place.clone(), message);
                let known: Vec<&str> = world.channels.keys().map(String::as_str).collect();
                self.push(diagnostic.did_you_mean(name, known));
            }
            // A plan whose device lacks a channel is not wrong but not applicable: the binding says so.
            _ => {}
        }
    }

    /// The durations of a step: declared ones exist, none is longer than the time there is.
    fn waits(&mut self, map: &Map) {
        for key in WAITS {
            if let Some(value) = map.get(key) {
                self.wait(key, value);
            }
        }
    }

    /// One duration.
    pub fn wait(&mut self, key: &str, value: &Value) {
        if let Data::Declared(name) = &value.data {
            self.declared(value, name, true);
        }
        let duration = match (&value.data, self.world) {
            (Data::Duration(duration), _) => Some(*duration),
            (_, Some(world)) => world.duration(value),
            _ => None,
        };
        if let Some(duration) = duration {
            self.fits(&value.place, duration, &format!("`{key}`"));
        }
    }

    fn fits(&mut self, place: &Place, duration: Duration, what: &str) {
        let Some((timeout, written)) = &self.timeout else { return };
        if duration <= *timeout {
            return;
        }
        let message = format!("{what} is {}, longer than the whole timeout of {}", span(duration), span(*timeout));
        let diagnostic = Diagnostic::new(Code::TimeoutNesting, place.clone(), message)
            .related(written.clone(), "the timeout")
            .help("raise the timeout or wait for less");
        self.push(diagnostic);
    }

    fn declared(&mut self, value: &Value, name: &str, as_duration: bool) {
        let Some(world) = self.world else { return };
        match world.declared.get(name) {
            None => {
                let message = format!("the device profile declares no `{name}`");
                let diagnostic = Diagnostic::new(Code::UnknownDeclared, value.place.clone(), message);
                let known = world.declared.keys().map(String::as_str);
                let diagnostic = hint(diagnostic, name, known, "add it under `declared:` in the device profile");
                self.push(diagnostic);
            }
            Some((text, place)) if as_duration && super::world::declared_duration(text).is_none() => {
                let message = format!("a duration is needed here, `declared.{name}` is `{text}`");
                self.push(Diagnostic::new(Code::WrongUnit, value.place.clone(), message).related(place.clone(), "declared here"));
            }
            Some(_) => {}
        }
    }

    fn templates(&mut self, map: &Map, keys: &[&str]) {
        for key in keys {
            if let Some(value) = map.get(key) {
                self.template(value);
            }
        }
    }

    /// Placeholders of a text; returns the text with each replaced by a letter.
    pub fn template(&mut self, value: &Value) -> Option<String> {
        let parts = match Template(value.text().to_owned()).parts() {
            Ok(parts) => parts,
            Err(error) => {
                self.push(Diagnostic::new(Code::BadTemplate, value.place.clone(), error.message).help(error.help));
                return None;
            }
        };
        let mut plain = String::new();
        for part in &parts {
            match part {
                Part::Text(text) => plain.push_str(text),
                Part::Value(reference) => {
                    self.reference(value, reference);
                    plain.push('x');
                }
            }
        }
        Some(plain)
    }

    fn reference(&mut self, value: &Value, reference: &ValueRef) {
        match reference {
            ValueRef::Name(name) | ValueRef::Image(Role::Parameter(name), _) => self.name(value, name),
            ValueRef::Declared(name) => self.declared(value, name, false),
            ValueRef::Image(Role::Named(role), field) => {
                self.image(value, role);
                if *field == ImageField::Version && self.facts(role).is_some_and(|facts| facts.version.is_none()) {
                    let message = format!("image `{role}` has no version");
                    self.push(
                        Diagnostic::new(Code::NoVersion, value.place.clone(), message)
                            .help("add `version:` to the image in the device profile"),
                    );
                }
            }
        }
    }

    fn name(&mut self, value: &Value, name: &str) {
        if self.world.is_none() || self.known.contains(name) {
            return;
        }
        let message = format!("nothing before this place gives a value `{name}`");
        let diagnostic = Diagnostic::new(Code::UndefinedName, value.place.clone(), message);
        let general =
            "values come from captures `(?<name>...)` of earlier patterns, from what procedures return, and from parameters";
        let diagnostic = hint(diagnostic, name, self.known.iter().map(String::as_str), general);
        self.push(diagnostic);
    }

    fn facts(&self, image: &str) -> Option<&ImageFacts> {
        self.altered.get(image).or_else(|| self.world.and_then(|world| world.images.get(image)))
    }

    /// An image by a text that is its name, unless it is a placeholder.
    fn image(&mut self, value: &Value, name: &str) {
        if name.contains("${") {
            return;
        }
        self.images.insert(name.to_owned());
        let Some(world) = self.world else { return };
        if self.facts(name).is_some() {
            return;
        }
        let diagnostic = Diagnostic::new(Code::UnknownImage, value.place.clone(), format!("there is no image `{name}`"));
        let known: Vec<&str> = world.images.keys().chain(self.altered.keys()).map(String::as_str).collect();
        // The place is exactly the name only where the whole text is.
        let diagnostic = if value.text() == name {
            diagnostic.did_you_mean(name, known)
        } else {
            hint(diagnostic, name, known, "images are those of the device profile and the altered ones of the plan")
        };
        self.push(diagnostic);
    }

    /// Patterns compile and are not met by nothing; returns the names they capture.
    pub fn patterns(&mut self, map: &Map, keys: &[&str]) -> BTreeSet<String> {
        keys.iter().filter_map(|key| map.get(key)).flat_map(|value| self.pattern(value, false)).collect()
    }

    fn pattern(&mut self, value: &Value, may_be_empty: bool) -> BTreeSet<String> {
        let Some(plain) = self.template(value) else { return BTreeSet::new() };
        match pattern::compile(&plain) {
            Ok(regex) if !may_be_empty && regex.is_match(b"") => {
                let message = "the pattern also matches nothing at all, so it would be met at once";
                self.push(Diagnostic::new(Code::BadPattern, value.place.clone(), message).help("demand at least one character"));
                BTreeSet::new()
            }
            Ok(regex) => regex.capture_names().flatten().map(str::to_owned).collect(),
            Err(why) => {
                self.push(
                    Diagnostic::new(Code::BadPattern, value.place.clone(), format!("the pattern cannot be used: {why}"))
                        .help("patterns are regular expressions; put a backslash before ( ) [ ] { } . * + ? ^ $ | that stand for themselves"),
                );
                BTreeSet::new()
            }
        }
    }

    fn comparison(&mut self, map: &Map) {
        if let Some(that) = map.get("that") {
            match ValueRef::parse(that.text()) {
                Ok(reference) => self.reference(that, &reference),
                Err(error) => self.push(Diagnostic::new(Code::BadTemplate, that.place.clone(), error.message).help(error.help)),
            }
        }
        self.templates(map, &["equals", "differs"]);
        if let Some(value) = map.get("matches") {
            self.pattern(value, true);
        }
    }

    fn measurement(&mut self, map: &Map) {
        let what = supply::measurand(map.text("quantity"));
        let mut bounds = Vec::new();
        for value in ["at-least", "at-most"].into_iter().filter_map(|key| map.get(key)) {
            match supply::limit(what, value.text()) {
                Some(bound) => bounds.push(bound),
                None => {
                    let (noun, example) = match what {
                        Measurand::Voltage => ("a voltage", "`4.75V`"),
                        Measurand::Current => ("a current", "`120mA`"),
                    };
                    let message = format!("{noun} is needed here, not `{}`", value.text());
                    self.push(Diagnostic::new(Code::WrongUnit, value.place.clone(), message).help(format!("such as {example}")));
                }
            }
            if !map.has("reason") {
                self.push(
                    Diagnostic::new(Code::MissingKey, value.place.clone(), "a limit needs `reason`")
                        .help("give the reason code of the device's failure"),
                );
            }
        }
        if let ([low, high], Some(value)) = (bounds.as_slice(), map.get("at-most"))
            && low > high
        {
            self.push(
                Diagnostic::new(Code::OutOfRange, value.place.clone(), "no value is within these limits").help("exchange them"),
            );
        }
    }

    fn prompt(&mut self, map: &Map) {
        self.templates(map, &["text"]);
        let choices = map.strings("choices");
        for value in ["pass", "fail"].into_iter().flat_map(|key| map.list(key)) {
            if !choices.iter().any(|choice| choice == value.text()) {
                let message = format!("`{}` is not one of `choices`", value.text());
                let diagnostic = Diagnostic::new(Code::UndefinedName, value.place.clone(), message);
                self.push(hint(diagnostic, value.text(), choices.iter().map(String::as_str), "list it under `choices`"));
            } else if map.strings("pass").contains(&value.text().to_owned())
                && map.strings("fail").contains(&value.text().to_owned())
            {
                let message = format!("`{}` cannot be good and bad", value.text());
                self.push(Diagnostic::new(Code::DuplicateName, value.place.clone(), message).help("remove one of the two"));
            }
        }
        if let Some(fail) = map.list("fail").first()
            && !map.has("reason")
        {
            self.push(
                Diagnostic::new(Code::MissingKey, fail.place.clone(), "`fail` needs `reason`")
                    .help("give the reason code of the device's failure"),
            );
        }
        if let Some(name) = map.get("save-as") {
            self.known.insert(name.text().to_owned());
        }
    }

    fn flash(&mut self, entry: &Named) {
        let map = entry.value.map();
        if map.flag("erase-all") && !map.flag("destructive") {
            let place = map.get("erase-all").map_or_else(|| entry.place.clone(), |value| value.place.clone());
            self.push(
                Diagnostic::new(Code::NotDestructive, place, "erasing the whole device is destructive")
                    .help("if everything on the device may be lost, write `destructive: true` beside it"),
            );
        }
        if map.flag("erase-all") {
            let place = map.get("erase-all").map_or_else(|| entry.place.clone(), |value| value.place.clone());
            self.sacrifice(place, "this step", None);
        }
        let mut written: Vec<(&str, u64, u64, &Value)> = Vec::new();
        for value in map.list("images") {
            let name = value.text();
            self.image(value, name);
            let Some((address, length)) = self.facts(name).map(|facts| (facts.address, facts.length)) else { continue };
            let Some(address) = address else {
                let diagnostic = Diagnostic::new(Code::NoAddress, value.place.clone(), format!("image `{name}` has no address"));
                let whose = if self.altered.contains_key(name) {
                    "here, or to the one in the device profile that it is made from"
                } else {
                    "in the device profile"
                };
                self.push(diagnostic.help(format!("add `address:` to the image {whose}")));
                continue;
            };
            let (start, end) = (u64::from(address), u64::from(address) + length);
            if let Some((other, ..)) = written.iter().find(|(_, s, e, _)| start < *e && *s < end) {
                let message = format!("images `{other}` and `{name}` occupy the same addresses");
                self.push(
                    Diagnostic::new(Code::ImagesOverlap, value.place.clone(), message)
                        .help("write them in two steps, or correct an address"),
                );
            }
            written.push((name, start, end, value));
        }
    }

    /// Whole devices are erased on rigs that say so only. A profile by itself is of no rig.
    fn sacrifice(&mut self, place: Place, what: &str, related: Option<Place>) {
        if self.setting != Setting::Plan || self.world.is_none_or(|world| world.may_erase) {
            return;
        }
        let message = format!("{what} erases the whole device, and the rig does not say that it may");
        let diagnostic = Diagnostic::new(Code::NotSacrificial, place, message)
            .help("if this unit may lose everything on it, write `sacrificial: true` at the top of the rig file");
        self.push(match related {
            Some(place) => diagnostic.related(place, "the procedure"),
            None => diagnostic,
        });
    }

    fn procedure(&mut self, map: &Map) {
        for argument in map.named("with") {
            self.template(&argument.value);
        }
        let Some(world) = self.world else { return };
        let Some(called) = map.get("procedure") else { return };
        let name = called.text();
        let Some(facts) = world.procedures.get(name) else {
            let diagnostic = Diagnostic::new(
                Code::UnknownProcedure,
                called.place.clone(),
                format!("the device profile has no procedure `{name}`"),
            );
            self.push(diagnostic.did_you_mean(name, world.procedures.keys().map(String::as_str)));
            return;
        };
        self.channels.extend(facts.channels.iter().cloned());
        if facts.erases {
            self.sacrifice(called.place.clone(), &format!("procedure `{name}`"), Some(facts.place.clone()));
        }
        for argument in map.named("with") {
            if !facts.parameters.contains(&argument.name) {
                let message = format!("procedure `{name}` has no parameter `{}`", argument.name);
                let diagnostic = Diagnostic::new(Code::UnknownParameter, argument.place.clone(), message);
                let diagnostic = if facts.parameters.is_empty() { diagnostic.help("it has none") } else { diagnostic };
                self.push(diagnostic.did_you_mean(&argument.name, facts.parameters.iter().map(String::as_str)));
            } else if facts.image_parameters.contains(&argument.name) {
                self.image(&argument.value, argument.value.text());
            }
        }
        for parameter in &facts.parameters {
            if !map.named("with").iter().any(|argument| argument.name == *parameter) {
                let message = format!("procedure `{name}` needs the parameter `{parameter}`");
                self.push(
                    Diagnostic::new(Code::MissingParameter, called.place.clone(), message)
                        .related(facts.place.clone(), "the procedure")
                        .help(format!("write `with: {{ {parameter}: ... }}`")),
                );
            }
        }
        if map.text("expect") == "refused" && !facts.can_refuse {
            let place = map.get("expect").map_or_else(|| called.place.clone(), |value| value.place.clone());
            self.push(
                Diagnostic::new(Code::CannotRefuse, place, format!("procedure `{name}` cannot be refused"))
                    .related(facts.place.clone(), "the procedure has no `refused` pattern")
                    .help("add a `refused` pattern to its outcome or to one of its steps"),
            );
        }
        if self.searching {
            for kind in facts.kinds.iter().filter(|kind| !replayable(kind)) {
                let message = format!("procedure `{name}` uses `{kind}`, which cannot be used inside a power-cut search");
                self.push(
                    Diagnostic::new(Code::StepNotAllowed, called.place.clone(), message)
                        .related(facts.place.clone(), "the procedure"),
                );
            }
        }
        self.fits(&called.place, facts.longest, &format!("a wait inside procedure `{name}`"));
        if map.text("expect") != "refused" {
            self.known.extend(facts.returns.iter().cloned());
        }
    }

    fn usb(&mut self, entry: &Named) {
        let map = entry.value.map();
        for wrong in usb::check(&entry.name, map) {
            let place = map.get(wrong.key).map_or(&entry.place, |value| &value.place);
            self.push(Diagnostic::new(wrong.code, place.clone(), wrong.message).help(wrong.help));
        }
        drop(self.patterns(map, &["pattern"]));
        let (Some(world), Some(channel)) = (self.world, map.get("channel")) else { return };
        // A device without the channel is not wrong but not judged: the binding says so.
        if entry.name == "usb-descriptors" && world.channels.contains_key(channel.text()) && !world.usb.contains(channel.text()) {
            let message = format!("the device profile does not declare what `{}` shows", channel.text());
            self.push(
                Diagnostic::new(Code::UnknownDeclared, channel.place.clone(), message)
                    .help(format!("add it to the profile: `usb: {{ {}: {{ interfaces: [...] }} }}`", channel.text())),
            );
        }
    }

    fn search(&mut self, entry: &Named) {
        let map = entry.value.map();
        self.searched.extend(map.get("channel").map(|supply| supply.text().to_owned()));
        if self.setting == Setting::Procedure {
            self.push(
                Diagnostic::new(Code::StepNotAllowed, entry.place.clone(), "a procedure cannot hold a power-cut search")
                    .help("put it into a case of the plan"),
            );
        }
        if self.world.is_some_and(|world| !world.interruption) {
            self.push(
                Diagnostic::new(Code::NoInterruption, entry.place.clone(), "the device profile has no `interruption:`")
                    .help("a power-cut search needs to know when the device is up and how to question it"),
            );
        }
        for value in ["old", "new"].into_iter().filter_map(|key| map.get(key)) {
            let name = value.text();
            self.image(value, name);
            if self.facts(name).is_some_and(|facts| facts.version.is_none()) {
                self.push(
                    Diagnostic::new(Code::NoVersion, value.place.clone(), format!("image `{name}` has no version"))
                        .help("the search tells old and new apart by the version that the device reports"),
                );
            }
        }
        if let (Some(value), Some(world)) = (map.get("settings"), self.world) {
            self.question(value, world);
        }
        // What the steps capture belongs to the one uninterrupted run; nothing after the search may build on it.
        let known = self.known.clone();
        let outer = std::mem::replace(&mut self.searching, true);
        self.steps(map.list("during"));
        self.searching = outer;
        self.known = known;
    }

    /// A procedure that a power-cut search asks copies of the device.
    fn question(&mut self, value: &Value, world: &World) {
        let name = value.text();
        let Some(facts) = world.procedures.get(name) else {
            let message = format!("the device profile has no procedure `{name}`");
            let diagnostic = Diagnostic::new(Code::UnknownProcedure, value.place.clone(), message);
            self.push(diagnostic.did_you_mean(name, world.procedures.keys().map(String::as_str)));
            return;
        };
        for parameter in &facts.parameters {
            let message = format!("procedure `{name}` needs the parameter `{parameter}`, which a search cannot give");
            let diagnostic = Diagnostic::new(Code::UnknownParameter, value.place.clone(), message);
            self.push(diagnostic.related(facts.place.clone(), "the procedure"));
        }
        if !facts.gives_value {
            self.push(no_value(name, &value.place));
        }
        for diagnostic in unrepeatable(name, facts, &value.place) {
            self.push(diagnostic);
        }
    }
}

/// Kinds of steps that a search can put to a copy of the device.
const REPEATABLE: &[&str] = &["send", "expect", "send-image", "do"];

/// What keeps a power-cut search from putting a procedure to copies of the device.
#[must_use]
pub fn unrepeatable(name: &str, facts: &ProcedureFacts, place: &Place) -> Vec<Diagnostic> {
    let told = |kind: &String| {
        let message = format!("procedure `{name}` uses `{kind}`, which a power-cut search cannot repeat");
        Diagnostic::new(Code::StepNotAllowed, place.clone(), message)
            .related(facts.place.clone(), "the procedure")
            .help("only `send`, `expect`, `send-image` and `do` are allowed in it")
    };
    facts.kinds.iter().filter(|kind| !REPEATABLE.contains(&kind.as_str())).map(told).collect()
}

/// A procedure that a power-cut search asks and that gives nothing to compare.
#[must_use]
pub fn no_value(name: &str, place: &Place) -> Diagnostic {
    let message = format!("the last pattern of procedure `{name}` does not capture `value`");
    Diagnostic::new(Code::MissingCapture, place.clone(), message).help("write `(?<value>...)` in it")
}

/// The nearest name as advice, for places that hold more than the name; else `general`.
fn hint<'k>(diagnostic: Diagnostic, wrong: &str, known: impl IntoIterator<Item = &'k str>, general: &str) -> Diagnostic {
    match nearest(wrong, known) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help(general),
    }
}

/// A duration as people write it.
#[must_use]
pub fn span(duration: Duration) -> String {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).to_string()
}
