//! What is wrong with a plan, by itself and against a device: one walk for both.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostic::{Code, Diagnostic, Report},
    document::{Map, Value},
    standard,
    step::{
        check::{Setting, Walk, span},
        world::{ImageFacts, World},
    },
};

/// What the steps of a plan use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// What each case needs, in order.
    pub(super) cases: Vec<Needs>,
    /// Images named anywhere.
    pub(super) images: BTreeSet<String>,
}

/// What a case needs of a rig.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Channels; those of its procedures, of `before-each` and of `requires` included.
    pub(super) channels: BTreeSet<String>,
    /// Supplies that must be able to cut at every flash operation.
    pub(super) searched: BTreeSet<String>,
}

/// Checks the steps of a plan; with a world against that device.
pub(super) fn steps(map: &Map, world: Option<&World>, altered: &BTreeMap<String, ImageFacts>, report: &mut Report) -> Uses {
    let mut uses = Uses::default();
    let required: BTreeSet<String> = map.strings("requires").into_iter().collect();
    let no_names = BTreeSet::new();

    // `before-each` is checked once by itself, so that its problems are not told for every case.
    let mut before = walk(world, altered, &required, &no_names, report);
    before.timeout = map.get("timeout").map(|value| (value.duration(), value.place.clone()));
    before.steps(map.list("before-each"));
    let (known, channels) = (before.known, before.channels);
    uses.images.extend(before.images);

    for value in map.list("cases") {
        let case = value.map();
        let mut needed = required.clone();
        needed.extend(case.strings("requires"));
        let mut walk = walk(world, altered, &needed, &known, report);
        walk.timeout = case.get("timeout").map(|value| (value.duration(), value.place.clone()));
        walk.steps(case.list("steps"));
        let mut all = std::mem::take(&mut walk.channels);
        let searched = std::mem::take(&mut walk.searched);
        uses.images.append(&mut walk.images);
        all.extend(channels.iter().cloned());
        all.extend(needed);
        uses.cases.push(Needs { channels: all, searched });
    }

    // Whatever happened before, `finally` runs: nothing that a case captured can be relied on.
    let mut last = walk(world, altered, &required, &no_names, report);
    last.timeout = map.get("timeout").map(|value| (value.duration(), value.place.clone()));
    last.steps(map.list("finally"));
    uses.images.extend(last.images);
    uses
}

fn walk<'a>(
    world: Option<&'a World>,
    altered: &'a BTreeMap<String, ImageFacts>,
    required: &'a BTreeSet<String>,
    known: &BTreeSet<String>,
    report: &'a mut Report,
) -> Walk<'a> {
    Walk {
        world,
        setting: Setting::Plan,
        altered,
        required,
        timeout: None,
        known: known.clone(),
        channels: BTreeSet::new(),
        searched: BTreeSet::new(),
        images: BTreeSet::new(),
        report,
        searching: false,
    }
}

/// What can be said without a device: ids, timeouts, duplicates.
pub(super) fn alone(map: &Map, report: &mut Report) {
    crate::rig::unique(map.list("requires"), report);
    let ids: Vec<Value> = map.list("cases").iter().filter_map(|case| case.map().get("id").cloned()).collect();
    crate::rig::unique(&ids, report);
    for case in map.list("cases").iter().map(Value::map) {
        crate::rig::unique(case.list("requires"), report);
        crate::rig::unique(case.list("assesses"), report);
        for value in case.list("assesses") {
            test_case(value, report);
        }
        if let (Some(inner), Some(outer)) = (case.get("timeout"), map.get("timeout"))
            && inner.duration() > outer.duration()
        {
            let message =
                format!("the case may take {}, longer than the plan's {}", span(inner.duration()), span(outer.duration()));
            report.push(
                Diagnostic::new(Code::TimeoutNesting, inner.place.clone(), message)
                    .related(outer.place.clone(), "timeout of the plan"),
            );
        }
    }
}

fn test_case(value: &Value, report: &mut Report) {
    let id = value.text();
    if id.is_empty() || standard::test_case(id).is_some() {
        return;
    }
    let diagnostic = Diagnostic::new(Code::UnknownTestCase, value.place.clone(), format!("TS 103 701 has no test case `{id}`"));
    let catalogue = standard::catalogue();
    report.push(match catalogue.provision(id) {
        Some(provision) => {
            let cases: Vec<String> = provision.cases.iter().map(|case| format!("`{}`", case.id)).collect();
            diagnostic.help(format!("this is the id of a provision; its test cases are {}", cases.join(", ")))
        }
        None => diagnostic.did_you_mean(id, catalogue.test_cases().map(|(_, case)| case.id.as_str())),
    });
}
