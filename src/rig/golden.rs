//! What a known good device shows on each channel.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostic::{Code, Diagnostic, Report},
    document::{Key, Map, Named, Shape},
    step::{
        Step, build,
        check::{Setting, Walk},
        keys::STEPS,
        world::World,
    },
};

/// The section of a device profile.
pub(super) const GOLDEN: Key = Key::optional(
    "golden",
    Shape::Named(&STEPS),
    "For each channel, steps that a known good device passes: `hilbench doctor --golden` runs them to prove that the channel sees what it should. \
     Each list starts from any state of the device.",
);

/// Proof of one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// The channel that is proven.
    pub channel: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// Channels that they use, procedures included.
    pub channels: BTreeSet<String>,
    /// Whether they erase the whole device.
    pub erases: bool,
}

/// Checks the section and reads it.
pub(super) fn golden(world: &World, map: &Map, report: &mut Report) -> Vec<Golden> {
    map.named("golden").iter().map(|named| one(world, named, report)).collect()
}

fn one(world: &World, named: &Named, report: &mut Report) -> Golden {
    if !world.channels.contains_key(&named.name) {
        let message = format!("the device has no channel `{}`", named.name);
        let known = world.channels.keys().map(String::as_str);
        report.push(Diagnostic::new(Code::UnknownChannel, named.place.clone(), message).did_you_mean(&named.name, known));
    }
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
    walk.steps(named.value.list());
    let channels = walk.channels;
    if !channels.contains(&named.name) && world.channels.contains_key(&named.name) {
        let message = format!("no step uses `{}`, so they prove nothing of it", named.name);
        report.push(
            Diagnostic::new(Code::GoldenElsewhere, named.place.clone(), message)
                .help("let a step use the channel, directly or through a procedure"),
        );
    }
    let erases = world.erases(named.value.list());
    Golden { channel: named.name.clone(), steps: build::steps(named.value.list()), channels, erases }
}
