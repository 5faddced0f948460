//! From paths to checked rigs and profiles.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    device::{Replaced, device},
    drivers::DriverCatalogue,
    keys::{DEVICE, RIG},
    model::{BenchFault, ChannelSpec, Device, Rig, SafeAction, VirtualDevice, VirtualHub},
};
use crate::{
    channel::link::{ChannelKind, POWERED_BY, Parameters, RETURNS_WITHIN},
    diagnostic::{Code, Diagnostic, Report, Source},
    document::{Named, Shape, Value, check, read},
    step::{check::kind_noun, world::World},
    units::Span,
};

/// A checked rig, with what is needed to bind plans to it.
#[derive(Debug, Clone, PartialEq)]
pub struct RigFile {
    /// The rig.
    pub rig: Rig,
    /// What steps may refer to.
    pub world: World,
    /// The rig file and the profile, as they were read.
    pub sources: Vec<Arc<Source>>,
    /// Warnings.
    pub report: Report,
}

/// A checked device profile.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFile {
    /// The profile.
    pub device: Device,
    /// What steps may refer to.
    pub world: World,
    /// The profile, as it was read.
    pub source: Arc<Source>,
    /// Warnings.
    pub report: Report,
}

fn finish(mut report: Report) -> Result<Report, Report> {
    report.sort();
    if report.has_errors() { Err(report) } else { Ok(report) }
}

/// Reads a device profile with its images.
///
/// # Errors
/// All its problems.
pub fn load_device(path: &Path) -> Result<DeviceFile, Report> {
    let mut report = Report::default();
    let (source, loaded) = profile(path, None, &mut report);
    let report = finish(report)?;
    // Without errors there is a profile.
    let (device, world) = loaded.ok_or_else(|| report.clone())?;
    Ok(DeviceFile { device, world, source, report })
}

fn profile(path: &Path, replaced: Option<&Replaced<'_>>, report: &mut Report) -> (Arc<Source>, Option<(Device, World)>) {
    let (source, node) = read(path);
    let node = match node {
        Ok(node) => node,
        Err(problem) => {
            report.push(*problem);
            return (source, None);
        }
    };
    let root = check(&source, &node, &Shape::Map(&DEVICE), report);
    let loaded = device(path, &root, replaced, report);
    (source, Some(loaded))
}

/// Reads a rig with its device profile and images.
///
/// # Errors
/// All their problems.
pub fn load_rig(path: &Path, drivers: &DriverCatalogue) -> Result<RigFile, Report> {
    let mut report = Report::default();
    let (source, node) = read(path);
    let node = node.map_err(|problem| Report { diagnostics: vec![*problem] })?;
    let root = check(&source, &node, &Shape::Map(&RIG), &mut report);
    let map = root.map();
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut sources = vec![source];

    let mut loaded = None;
    if let Some(value) = map.get("device") {
        let replaced = Replaced { base: &base, images: map.named("images") };
        let file = base.join(value.text());
        let (source, found) = profile(&file, Some(&replaced), &mut report);
        if source.text.is_empty()
            && let Some(last) = report.diagnostics.last_mut()
        {
            // Nothing of the profile can be shown, but the line that asks for it can.
            last.primary.place = value.place.clone();
        }
        sources.push(source);
        loaded = found;
    }
    let world = loaded.as_ref().map(|(_, world)| world);
    let mut channels = std::collections::BTreeMap::new();
    let mut kinds = Vec::new();
    for named in map.named("channels") {
        let kind = channel(named, drivers, world, &mut report);
        kinds.push((named, kind));
        channels.insert(named.name.clone(), spec(named, drivers, &base));
    }
    for (named, _) in kinds.iter().filter(|(_, kind)| matches!(kind, Some(ChannelKind::Console | ChannelKind::Probe))) {
        console(named, &kinds, &mut report);
    }
    let safe_state = safe_state(map.list("safe-state"), &kinds, &mut report);
    let report = finish(report)?;
    let (device, mut world) = loaded.ok_or_else(|| report.clone())?;
    let sacrificial = map.flag("sacrificial");
    // Without a probe nothing can be erased, and cases that would are not applicable.
    world.may_erase = sacrificial || !kinds.iter().any(|(_, kind)| *kind == Some(ChannelKind::Probe));
    let rig = Rig {
        name: map.string("name"),
        file: path.to_owned(),
        device,
        channels,
        safe_state,
        sacrificial,
        device_time: map.has("device-time").then(|| map.string("device-time").into()),
        safe_state_timeout: map.get("safe-state-timeout").map_or(Duration::from_secs(10), Value::duration),
        virtual_hub: map.get("virtual-hub").map(|value| {
            let map = value.map();
            VirtualHub {
                seed: map.get("seed").map_or(1, |value| u64::try_from(value.integer()).unwrap_or(1)),
                flaw: map.has("flaw").then(|| map.string("flaw")),
                bench_fault: BenchFault::named(&map.string("bench-fault")),
            }
        }),
        virtual_device: map.get("virtual").map(|value| {
            let map = value.map();
            VirtualDevice {
                chip: map.string("chip"),
                seed: map.get("seed").map_or(1, |value| u64::try_from(value.integer()).unwrap_or(1)),
                bench_fault: BenchFault::named(&map.string("bench-fault")),
                verify_entry: map.get("verify-entry").and_then(|value| u32::try_from(value.integer()).ok()),
            }
        }),
    };
    Ok(RigFile { rig, world, sources, report })
}

fn spec(named: &Named, drivers: &DriverCatalogue, base: &Path) -> ChannelSpec {
    let map = named.value.map();
    let values = map.others.iter().map(|other| (other.name.clone(), other.value.text().to_owned())).collect();
    let driver = map.string("driver");
    let sees_flash = drivers.drivers.get(&driver).is_some_and(|facts| facts.sees_flash);
    ChannelSpec { driver, parameters: Parameters { values, base: PathBuf::from(base) }, sees_flash }
}

/// A channel against its driver and the profile; returns its kind.
fn channel(named: &Named, drivers: &DriverCatalogue, world: Option<&World>, report: &mut Report) -> Option<ChannelKind> {
    let map = named.value.map();
    let declared = world.map(|world| world.channels.get(&named.name));
    if let (Some(None), Some(world)) = (declared, world) {
        let message = format!("the device profile has no channel `{}`", named.name);
        let diagnostic = Diagnostic::new(Code::UnknownChannel, named.place.clone(), message);
        let known: Vec<&str> = world.channels.keys().map(String::as_str).collect();
        report.push(diagnostic.did_you_mean(&named.name, known));
    }
    let value = map.get("driver")?;
    let Some(facts) = drivers.drivers.get(value.text()) else {
        let diagnostic =
            Diagnostic::new(Code::UnknownDriver, value.place.clone(), format!("there is no driver `{}`", value.text()));
        report.push(diagnostic.did_you_mean(value.text(), drivers.drivers.keys().map(String::as_str)));
        // The profile still tells what the rest of the rig may do with the channel.
        return declared.flatten().map(|(kind, _)| *kind);
    };
    if let Some(Some((kind, place))) = declared
        && *kind != facts.kind
    {
        let message =
            format!("driver `{}` provides {}, but `{}` is {}", value.text(), kind_noun(facts.kind), named.name, kind_noun(*kind));
        report.push(
            Diagnostic::new(Code::WrongKind, value.place.clone(), message)
                .related(place.clone(), "the device profile says so here"),
        );
    }
    let common = |name: &str| facts.kind == ChannelKind::Console && [POWERED_BY, RETURNS_WITHIN].contains(&name);
    for other in map.others.iter().filter(|other| !common(&other.name)) {
        if !facts.parameters.iter().any(|parameter| parameter.name == other.name) {
            let message = format!("driver `{}` has no parameter `{}`", value.text(), other.name);
            let diagnostic = Diagnostic::new(Code::UnknownParameter, other.place.clone(), message);
            let known = facts.parameters.iter().map(|parameter| parameter.name.as_str());
            report.push(diagnostic.did_you_mean(&other.name, known));
        }
    }
    for parameter in facts.parameters.iter().filter(|parameter| parameter.required) {
        if !map.others.iter().any(|other| other.name == parameter.name) {
            let message = format!("driver `{}` needs `{}`", value.text(), parameter.name);
            report.push(
                Diagnostic::new(Code::MissingParameter, named.place.clone(), message)
                    .help(format!("`{}`: {}", parameter.name, parameter.what)),
            );
        }
    }
    Some(facts.kind)
}

/// What every console and debug probe may say: the supply that feeds it, and how long it may take to come back.
fn console(named: &Named, channels: &[(&Named, Option<ChannelKind>)], report: &mut Report) {
    for other in &named.value.map().others {
        let written = other.value.text();
        match other.name.as_str() {
            POWERED_BY => match channels.iter().find(|(known, _)| known.name == written) {
                None => {
                    let message = format!("the rig has no channel `{written}`");
                    let diagnostic = Diagnostic::new(Code::UnknownChannel, other.value.place.clone(), message);
                    let supplies = channels.iter().filter(|(_, kind)| *kind == Some(ChannelKind::Supply));
                    report.push(diagnostic.did_you_mean(written, supplies.map(|(known, _)| known.name.as_str())));
                }
                Some((known, Some(kind))) if *kind != ChannelKind::Supply => {
                    let message = format!("a supply is needed here, `{written}` is {}", kind_noun(*kind));
                    let diagnostic = Diagnostic::new(Code::WrongKind, other.value.place.clone(), message);
                    report.push(diagnostic.related(known.place.clone(), "the channel"));
                }
                Some(_) => {}
            },
            RETURNS_WITHIN => match written.parse::<Span>() {
                Err(_) => {
                    let message = format!("`{written}` is not a duration");
                    report.push(
                        Diagnostic::new(Code::BadQuantity, other.value.place.clone(), message)
                            .help("write a number and a unit, `10s`; `0s` does not wait for it"),
                    );
                }
                Ok(span) if span.duration().is_zero() => {
                    let others = &named.value.map().others;
                    if let Some(fed) = others.iter().find(|other| other.name == POWERED_BY) {
                        let message = format!(
                            "`{}` goes with `{}` and would not be looked for when that is up again",
                            named.name,
                            fed.value.text()
                        );
                        report.push(
                            Diagnostic::new(Code::BadQuantity, other.value.place.clone(), message)
                                .related(fed.value.place.clone(), "what feeds it")
                                .help("give it the time that it takes to come back, `10s`"),
                        );
                    }
                }
                Ok(_) => {}
            },
            _ => {}
        }
    }
}

fn safe_state(values: &[Value], channels: &[(&Named, Option<ChannelKind>)], report: &mut Report) -> Vec<SafeAction> {
    let mut actions = Vec::new();
    let mut seen = Vec::new();
    for entry in values.iter().filter_map(Value::one) {
        let map = entry.value.map();
        let wanted = match entry.name.as_str() {
            "power" => ChannelKind::Supply,
            "restore" => ChannelKind::Network,
            _ => ChannelKind::Button,
        };
        let Some(value) = map.get("channel") else { continue };
        seen.push(value.text());
        match channels.iter().find(|(named, _)| named.name == value.text()) {
            None => {
                let diagnostic = Diagnostic::new(
                    Code::UnknownChannel,
                    value.place.clone(),
                    format!("the rig has no channel `{}`", value.text()),
                );
                report.push(diagnostic.did_you_mean(value.text(), channels.iter().map(|(named, _)| named.name.as_str())));
            }
            Some((named, Some(found))) if *found != wanted => {
                let message = format!("{} is needed here, `{}` is {}", kind_noun(wanted), named.name, kind_noun(*found));
                report.push(
                    Diagnostic::new(Code::WrongKind, value.place.clone(), message).related(named.place.clone(), "the channel"),
                );
            }
            Some(_) => {}
        }
        let channel = value.text().to_owned();
        actions.push(match wanted {
            ChannelKind::Supply => SafeAction::Power { channel, up: map.text("state") == "up" },
            ChannelKind::Network => SafeAction::Restore { channel },
            _ => SafeAction::Release { channel },
        });
    }
    for (named, found) in channels {
        let action = match found {
            Some(ChannelKind::Supply) => format!("- power: {{ channel: {}, state: down }}", named.name),
            Some(ChannelKind::Button) => format!("- release: {{ channel: {} }}", named.name),
            Some(ChannelKind::Network) => format!("- restore: {{ channel: {} }}", named.name),
            _ => continue,
        };
        if !seen.contains(&named.name.as_str()) {
            let message = format!("`{}` is left out of the safe state", named.name);
            report.push(
                Diagnostic::new(Code::NotSafe, named.place.clone(), message).help(format!("add `{action}` under `safe-state`")),
            );
        }
    }
    actions
}
