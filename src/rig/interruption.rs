//! The questions a power-cut search asks: procedures that can be turned into plain console exchanges.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    channel::link::ChannelKind,
    diagnostic::{Code, Diagnostic, Report},
    document::{Map, Value},
    step::{
        Template,
        check::{Setting, Walk, no_value, unrepeatable},
        pattern,
        world::World,
    },
};

/// Checks `interruption:` of a profile; `profile` is the profile's own map.
pub(super) fn check(world: &World, map: &Map, report: &mut Report) {
    let (no_images, no_channels) = (BTreeMap::new(), BTreeSet::new());
    let mut walk = Walk {
        world: Some(world),
        setting: Setting::Procedure,
        altered: &no_images,
        required: &no_channels,
        timeout: None,
        known: BTreeSet::new(),
        channels: BTreeSet::new(),
        searched: BTreeSet::new(),
        images: BTreeSet::new(),
        report,
        searching: false,
    };
    if let Some(channel) = map.get("channel") {
        walk.channel(channel, ChannelKind::Console);
    }
    if let Some(recovery) = map.get("recovery") {
        walk.wait("recovery", recovery);
    }
    let captures = walk.patterns(map, &["ready"]);
    if let Some(ready) = map.get("ready")
        && !captures.contains("version")
    {
        let message = "the pattern does not capture `version`";
        report.push(Diagnostic::new(Code::MissingCapture, ready.place.clone(), message).help("write `(?<version>...)` in it"));
    }
    for (key, parameters) in [("settings", &[][..]), ("counter", &[]), ("confirm", &[]), ("update", &["image"])] {
        let Some(value) = map.get(key) else { continue };
        let name = value.text();
        let Some(facts) = world.procedures.get(name) else {
            let diagnostic =
                Diagnostic::new(Code::UnknownProcedure, value.place.clone(), format!("there is no procedure `{name}`"));
            report.push(diagnostic.did_you_mean(name, world.procedures.keys().map(String::as_str)));
            continue;
        };
        if facts.parameters != parameters {
            let has =
                if facts.parameters.is_empty() { "none".to_owned() } else { format!("`{}`", facts.parameters.join("`, `")) };
            let wants = if parameters.is_empty() { "no parameters" } else { "exactly the parameter `image`" };
            report.push(
                Diagnostic::new(
                    Code::UnknownParameter,
                    value.place.clone(),
                    format!("the procedure for `{key}` has {wants}, `{name}` has {has}"),
                )
                .related(facts.place.clone(), "the procedure"),
            );
        }
        unrepeatable(name, facts, &value.place).into_iter().for_each(|one| report.push(one));
        if matches!(key, "settings" | "counter") && !facts.gives_value {
            report.push(no_value(name, &value.place));
        }
    }
}

/// Whether the last pattern of a procedure captures `value`. `depth` bounds chains of procedures, which may be cyclic here.
pub(super) fn captures_value(profile: &Map, procedure: &str, depth: u32) -> bool {
    let Some(named) = profile.named("procedures").iter().find(|named| named.name == procedure) else { return false };
    let map = named.value.map();
    let captures = |text: &str| {
        let plain = Template(text.to_owned()).fill(|_| Ok::<_, crate::step::template::TemplateError>("x".into()));
        let names = plain.ok().and_then(|plain| pattern::compile(&plain).ok());
        names.is_some_and(|regex| regex.capture_names().flatten().any(|name| name == "value"))
    };
    if let Some(outcome) = map.get("outcome") {
        let last = if outcome.map().has("then") { "then" } else { "done" };
        return captures(outcome.map().text(last));
    }
    match map.list("steps").last().and_then(Value::one) {
        Some(step) if step.name == "expect" => captures(step.value.map().text("pattern")),
        Some(step) if step.name == "do" && depth > 0 => captures_value(profile, step.value.map().text("procedure"), depth - 1),
        _ => false,
    }
}
