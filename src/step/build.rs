//! From a checked document to steps.

use super::{
    Comparison, FailAs, Outcome, SendData, Silence, Step, StepKind, Template, Within, api, ble, cloud, line, network, probe,
    prompt, reconnect, supply, usb,
};
use crate::document::{Data, Map, Value};

/// The steps of a list. Only meaningful if the document's report has no errors.
#[must_use]
pub fn steps(values: &[Value]) -> Vec<Step> {
    values.iter().filter_map(step).collect()
}

/// A template of a key.
#[must_use]
pub fn template(map: &Map, key: &str) -> Template {
    Template(map.string(key))
}

/// A template of a key that may be missing.
#[must_use]
pub fn optional_template(map: &Map, key: &str) -> Option<Template> {
    map.get(key).map(|value| Template(value.text().to_owned()))
}

/// A duration or `declared.NAME` of a key.
#[must_use]
pub fn within(map: &Map, key: &str) -> Within {
    match map.get(key).map(|value| &value.data) {
        Some(Data::Duration(duration)) => Within::Span(*duration),
        Some(Data::Declared(name)) => Within::Declared(name.clone()),
        _ => Within::Span(std::time::Duration::ZERO),
    }
}

/// The reason that a step must have.
#[must_use]
pub fn fail_as(map: &Map) -> FailAs {
    FailAs { code: map.string("reason"), text: map.string("meaning") }
}

/// The reason that a step may have.
#[must_use]
pub fn optional_fail_as(map: &Map) -> Option<FailAs> {
    map.has("reason").then(|| fail_as(map))
}

/// What silence means; inconclusive unless the step says otherwise.
#[must_use]
pub fn silence(map: &Map) -> Silence {
    if map.text("silence") == "fail" { Silence::Fail } else { Silence::Inconclusive }
}

fn number(map: &Map, key: &str, default: u32) -> u32 {
    map.get(key).map_or(default, |value| u32::try_from(value.integer()).unwrap_or(default))
}

fn step(value: &Value) -> Option<Step> {
    let entry = value.one()?;
    let map = entry.value.map();
    let channel = map.string("channel");
    let kind = match entry.name.as_str() {
        "power" => StepKind::Power { channel, up: map.text("state") == "up" },
        "power-cycle" => StepKind::PowerCycle { channel, down_for: map.duration("down-for") },
        "press" => StepKind::Press { channel, hold: map.duration("hold") },
        "send" => {
            let data = if map.has("line") {
                SendData::Line(template(map, "line"))
            } else if map.has("text") {
                SendData::Text(template(map, "text"))
            } else {
                SendData::Bytes(map.get("bytes").map_or_else(Vec::new, |value| value.bytes().to_vec()))
            };
            StepKind::Send { channel, data }
        }
        "expect" => StepKind::Expect {
            channel,
            pattern: template(map, "pattern"),
            within: within(map, "within"),
            refused: optional_template(map, "refused"),
            silence: silence(map),
            proves: map.has("proves").then(|| map.string("proves")),
            fail_as: optional_fail_as(map),
        },
        "refrain" => {
            StepKind::Refrain { channel, pattern: template(map, "pattern"), during: within(map, "during"), fail_as: fail_as(map) }
        }
        "send-image" => StepKind::SendImage {
            channel,
            image: template(map, "image"),
            chunk: number(map, "chunk", 1),
            ack: template(map, "ack"),
            within: within(map, "within"),
            refused: optional_template(map, "refused"),
        },
        "flash" => StepKind::Flash { channel, images: map.strings("images"), erase_all: map.flag("erase-all") },
        "reset" => StepKind::Reset { channel },
        "read-memory" => StepKind::ReadMemory {
            channel,
            address: number(map, "address", 0),
            length: number(map, "length", 1),
            readable: map.get("expect").map(|value| value.text() == "readable"),
            holds: optional_template(map, "holds"),
            lacks: optional_template(map, "lacks"),
            fail_as: optional_fail_as(map),
        },
        "prompt" => StepKind::Prompt(Box::new(prompt::step(map))),
        "wait" => StepKind::Wait { time: within(map, "time") },
        "do" => StepKind::Do {
            procedure: map.string("procedure"),
            with: map.named("with").iter().map(|arg| (arg.name.clone(), Template(arg.value.text().to_owned()))).collect(),
            expect: if map.text("expect") == "refused" { Outcome::Refused } else { Outcome::Done },
            fail_as: optional_fail_as(map),
            silence: silence(map),
        },
        "check" => {
            let must = if map.has("equals") {
                Comparison::Equals(template(map, "equals"))
            } else if map.has("differs") {
                Comparison::Differs(template(map, "differs"))
            } else {
                Comparison::Matches(template(map, "matches"))
            };
            StepKind::Check { value: Template(format!("${{{}}}", map.text("that"))), must, fail_as: fail_as(map) }
        }
        "measure" => StepKind::Measure {
            name: map.string("name"),
            steps: steps(map.list("steps")),
            at_most: within(map, "at-most"),
            fail_as: fail_as(map),
        },
        "retry" => StepKind::Retry {
            attempts: number(map, "attempts", 2),
            pause: map.duration("pause"),
            steps: steps(map.list("steps")),
        },
        "power-cut-search" => StepKind::PowerCutSearch {
            channel,
            during: steps(map.list("during")),
            old: map.string("old"),
            new: map.string("new"),
            torn: number(map, "torn", 2),
            second: number(map, "second", 0),
            settings: map.has("settings").then(|| map.string("settings")),
            fail_as: optional_fail_as(map),
        },
        // The table of steps and this match are compared by a test.
        name => family(name, channel, map)?,
    };
    Some(Step { kind, line: u32::try_from(entry.place.line()).unwrap_or(u32::MAX) })
}

/// Steps that have a file of their own.
fn family(name: &str, channel: String, map: &Map) -> Option<StepKind> {
    let kind = |step| StepKind::Usb { channel: channel.clone(), step };
    if let Some(kind) = supply::step(name, &channel, map) {
        return Some(kind);
    }
    usb::step(name, map)
        .map(kind)
        .or_else(|| line::step(name, map).map(|step| StepKind::Line { channel: channel.clone(), step }))
        .or_else(|| probe::step(name, map).map(|step| StepKind::Probe { channel: channel.clone(), step }))
        .or_else(|| ble::step(name, map).map(|step| StepKind::Ble { channel: channel.clone(), step }))
        .or_else(|| network::step(name, map).map(|step| StepKind::Network { channel: channel.clone(), step }))
        .or_else(|| cloud::step(name, map).map(|step| StepKind::Cloud { channel: channel.clone(), step }))
        .or_else(|| api::step(name, map).map(|step| StepKind::Api { channel: channel.clone(), step }))
        .or_else(|| reconnect::step(name, map).map(StepKind::Reconnect))
}

#[cfg(test)]
mod tests {
    use super::step;
    use crate::{
        diagnostic::{Place, Source},
        document::{Data, Map, Named, Value},
        step::keys::STEP,
    };

    #[test]
    fn every_step_of_the_table_is_built() {
        let source = Source::new(std::path::Path::new("x"), "");
        let place = Place::start(&source);
        for choice in STEP.choices {
            let value = Value { place: place.clone(), data: Data::Map(Map::default()) };
            let entry = Named { name: choice.name.to_owned(), place: place.clone(), value };
            assert!(step(&Value { place: place.clone(), data: Data::One(Box::new(entry)) }).is_some(), "{}", choice.name);
        }
    }
}
