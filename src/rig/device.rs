//! Device profiles: from a checked document to the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    golden::golden,
    image::{bytes, image},
    interruption,
    model::{Device, Image, Interruption, OutcomeSpec, Procedure},
    usb,
};
use crate::{
    channel::link::ChannelKind,
    diagnostic::{Code, Diagnostic, Place, Report},
    document::{Map, Named, Value},
    step::{
        build,
        check::{Setting, Walk},
        world::{ImageFacts, World, passed_on},
    },
};

/// Images that a rig puts in place of the profile's, with the directory of the rig file.
pub(super) struct Replaced<'a> {
    pub(super) base: &'a Path,
    pub(super) images: &'a [Named],
}

/// A profile, and what its steps and those of plans may refer to.
pub(super) fn device(file: &Path, root: &Value, replaced: Option<&Replaced<'_>>, report: &mut Report) -> (Device, World) {
    let map = root.map();
    let mut world = World::default();
    for channel in map.named("channels") {
        if let Some(kind) = kind(channel.value.text()) {
            world.channels.insert(channel.name.clone(), (kind, channel.place.clone()));
        }
    }
    for declared in map.named("declared") {
        world.declared.insert(declared.name.clone(), (declared.value.text().to_owned(), declared.value.place.clone()));
    }
    let images = images(file, map, replaced, report);
    for (name, image) in &images {
        let facts = ImageFacts { address: image.address, version: image.version.clone(), length: image.bytes.len() as u64 };
        world.images.insert(name.clone(), facts);
    }
    // An image whose file is bad is reported once, where it is; steps that name it are not wrong too.
    for named in map.named("images") {
        let map = named.value.map();
        world.images.entry(named.name.clone()).or_insert_with(|| ImageFacts {
            address: map.get("address").and_then(|value| u32::try_from(value.integer()).ok()),
            version: map.get("version").map(|value| value.text().to_owned()),
            length: 0,
        });
    }
    world.interruption = map.has("interruption");
    let usb = usb::ports(map, &world, report);
    world.usb = usb.keys().cloned().collect();
    let procedures = map.named("procedures");
    for procedure in procedures {
        let facts = world.procedure(&procedure.place, procedure.value.map());
        world.procedures.insert(procedure.name.clone(), facts);
    }
    let arguments = procedures.iter().map(|p| (p.name.clone(), passed_on(p.value.map().list("steps")))).collect();
    for (name, place) in world.close(&arguments) {
        let message = format!("procedure `{name}` runs itself");
        report.push(
            Diagnostic::new(Code::ProcedureCycle, place, message)
                .help("a procedure may only run others that do not lead back to it"),
        );
    }
    for (name, facts) in &mut world.procedures {
        facts.gives_value = interruption::captures_value(map, name, 16);
    }
    for named in procedures {
        check_procedure(&world, named, report);
    }
    for region in map.named("layout") {
        check_region(region, report);
    }
    if let Some(value) = map.get("interruption") {
        interruption::check(&world, value.map(), report);
    }
    let golden = golden(&world, map, report);
    let model = Device {
        golden,
        name: map.string("name"),
        file: file.to_owned(),
        declared: world.declared.iter().map(|(name, (text, _))| (name.clone(), text.clone())).collect(),
        images,
        layout: map
            .named("layout")
            .iter()
            .map(|region| {
                let map = region.value.map();
                (region.name.clone(), (map.integer("from"), map.get("to").map(Value::integer)))
            })
            .collect(),
        procedures: procedures.iter().map(|named| (named.name.clone(), procedure(named.value.map()))).collect(),
        interruption: map.get("interruption").map(|value| {
            let map = value.map();
            Interruption {
                channel: map.string("channel"),
                ready: build::template(map, "ready"),
                recovery: build::within(map, "recovery"),
                settings: map.string("settings"),
                counter: map.string("counter"),
                confirm: map.string("confirm"),
                update: map.string("update"),
            }
        }),
        ble: map.get("ble").map(|value| super::ble::declared(value.map(), report)),
        usb,
    };
    (model, world)
}

fn kind(word: &str) -> Option<ChannelKind> {
    Some(match word {
        "console" => ChannelKind::Console,
        "supply" => ChannelKind::Supply,
        "button" => ChannelKind::Button,
        "probe" => ChannelKind::Probe,
        "usb" => ChannelKind::Usb,
        "ble" => ChannelKind::Ble,
        "network" => ChannelKind::Network,
        "cloud" => ChannelKind::Cloud,
        "api" => ChannelKind::Api,
        _ => return None,
    })
}

fn images(file: &Path, map: &Map, replaced: Option<&Replaced<'_>>, report: &mut Report) -> BTreeMap<String, Image> {
    let base = file.parent().unwrap_or(Path::new(""));
    let own = map.named("images");
    let mut images = BTreeMap::new();
    for named in own {
        let mut map = named.value.map().clone();
        let other = replaced.and_then(|r| r.images.iter().find(|o| o.name == named.name).map(|o| (r.base, o)));
        let Some((base, other)) = other else {
            images.extend(image(base, &map, report).map(|image| (named.name.clone(), image)));
            continue;
        };
        // The profile's own file is not needed on this rig; address and version stay.
        let Some(value) = other.value.map().get("file") else { continue };
        let path = base.join(value.text());
        if let Some(bytes) = bytes(&path, other.value.map(), value, report) {
            map.known.retain(|entry| entry.name != "file");
            let address = map.get("address").and_then(|value| u32::try_from(value.integer()).ok());
            let version = map.get("version").map(|value| value.text().to_owned());
            images.insert(named.name.clone(), Image { file: path, address, version, bytes });
        }
    }
    for other in replaced.map(|r| r.images).unwrap_or_default() {
        if !own.iter().any(|named| named.name == other.name) {
            let message = format!("the device profile has no image `{}`", other.name);
            let diagnostic = Diagnostic::new(Code::UnknownImage, other.place.clone(), message);
            report.push(diagnostic.did_you_mean(&other.name, own.iter().map(|named| named.name.as_str())));
        }
    }
    images
}

fn procedure(map: &Map) -> Procedure {
    Procedure {
        parameters: map.strings("parameters"),
        returns: map.strings("returns"),
        steps: build::steps(map.list("steps")),
        outcome: map.get("outcome").map(|value| {
            let map = value.map();
            OutcomeSpec {
                channel: map.string("channel"),
                within: build::within(map, "within"),
                done: build::template(map, "done"),
                refused: build::optional_template(map, "refused"),
                then: build::optional_template(map, "then"),
            }
        }),
    }
}

fn check_procedure(world: &World, named: &Named, report: &mut Report) {
    let map = named.value.map();
    for key in ["parameters", "returns"] {
        unique(map.list(key), report);
    }
    let (no_images, no_channels) = (BTreeMap::new(), BTreeSet::new());
    let mut walk = Walk {
        world: Some(world),
        setting: Setting::Procedure,
        altered: &no_images,
        required: &no_channels,
        timeout: None,
        known: map.strings("parameters").into_iter().collect(),
        channels: BTreeSet::new(),
        searched: BTreeSet::new(),
        images: BTreeSet::new(),
        report,
        searching: false,
    };
    walk.steps(map.list("steps"));
    if let Some(outcome) = map.get("outcome") {
        let outcome = outcome.map();
        if let Some(channel) = outcome.get("channel") {
            walk.channel(channel, ChannelKind::Console);
        }
        if let Some(within) = outcome.get("within") {
            walk.wait("within", within);
        }
        let captures = walk.patterns(outcome, &["done", "then"]);
        walk.patterns(outcome, &["refused"]);
        walk.known.extend(captures);
    }
    let known = walk.known;
    for value in map.list("returns") {
        let name = value.text();
        if !name.is_empty() && !known.contains(name) {
            let message = format!("procedure `{}` returns `{name}`, but nothing in it captures that", named.name);
            report.push(
                Diagnostic::new(Code::MissingCapture, value.place.clone(), message)
                    .help(format!("write `(?<{name}>...)` in a pattern")),
            );
        }
    }
}

/// Reports values that stand twice in a list.
pub(crate) fn unique(values: &[Value], report: &mut Report) {
    let mut seen: BTreeMap<&str, &Place> = BTreeMap::new();
    for value in values {
        if let Some(first) = seen.get(value.text()) {
            let message = format!("`{}` is given twice", value.text());
            report.push(
                Diagnostic::new(Code::DuplicateName, value.place.clone(), message)
                    .related((*first).clone(), "first given here")
                    .help("remove one of the two"),
            );
        } else if !value.text().is_empty() {
            seen.insert(value.text(), &value.place);
        }
    }
}

fn check_region(region: &Named, report: &mut Report) {
    let map = region.value.map();
    let (Some(from), Some(to)) = (map.get("from"), map.get("to")) else { return };
    let (start, end) = (from.integer(), to.integer());
    let same_side = (start < 0) == (end < 0);
    if (same_side && start >= end) || (start < 0 && end >= 0) {
        let message = format!("region `{}` from {start} to {end} is empty", region.name);
        report.push(
            Diagnostic::new(Code::OutOfRange, to.place.clone(), message)
                .help("`to` is the byte after the last one; negative numbers count from the end"),
        );
    }
}
