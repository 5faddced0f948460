//! The questions a power-cut search asks: procedures that can be turned into plain console exchanges.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    channel::link::ChannelKind,
    diagnostic::{Code, Diagnostic, Report},
    document::{Map, Value},
    step::{
        Template,
        check::{REPEATABLE, Setting, Walk},
        pattern,
        world::World,
    },
};

/// Checks `interruption:` of a profile; `profile` is the profile's own map.
pub(super) fn check(world: &World, profile: &Map, map: &Map, report: &mut Report) {
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
        missing(ready, "version", report);
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
        for kind in facts.kinds.iter().filter(|kind| !REPEATABLE.contains(&kind.as_str())) {
            let message = format!("procedure `{name}` uses `{kind}`, which a power-cut search cannot repeat");
            report.push(
                Diagnostic::new(Code::StepNotAllowed, value.place.clone(), message)
                    .related(facts.place.clone(), "the procedure")
                    .help("only `send`, `expect`, `send-image` and `do` are allowed in it"),
            );
        }
        if matches!(key, "settings" | "counter") && !captures_value(profile, name, 16) {
            missing(value, "value", report);
        }
    }
}

fn missing(value: &Value, name: &str, report: &mut Report) {
    let message = match name {
        "version" => "the pattern does not capture `version`".to_owned(),
        _ => format!("the last pattern of procedure `{}` does not capture `{name}`", value.text()),
    };
    report
        .push(Diagnostic::new(Code::MissingCapture, value.place.clone(), message).help(format!("write `(?<{name}>...)` in it")));
}

/// Whether the last pattern of a procedure captures `value`. `depth` bounds chains of procedures, which may be cyclic here.
fn captures_value(profile: &Map, procedure: &str, depth: u32) -> bool {
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
