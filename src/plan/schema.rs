//! What is generated from the tables of keys: JSON schemas for editors, the key reference for people.

use std::collections::BTreeSet;

use super::keys::PLAN;
use crate::{
    document::{self, Keys},
    rig::keys::{DEVICE, RIG},
};

/// The schemas: file name below `docs/schema`, title, table.
pub const SCHEMAS: &[(&str, &str)] = &[
    ("rig-1.json", "hilbench rig, version 1"),
    ("device-1.json", "hilbench device profile, version 1"),
    ("testplan-1.json", "hilbench test plan, version 1"),
];

fn table(name: &str) -> &'static Keys {
    match name {
        "rig-1.json" => &RIG,
        "device-1.json" => &DEVICE,
        _ => &PLAN,
    }
}

/// The JSON schemas (draft 2020-12): file name below `docs/schema`, text.
#[must_use]
pub fn schema() -> Vec<(&'static str, String)> {
    SCHEMAS
        .iter()
        .map(|(file, title)| {
            (*file, document::json_schema(&format!("urn:hilbench:{}", file.trim_end_matches(".json")), title, table(file)))
        })
        .collect()
}

const PREFACE: &str = include_str!("plans-format.md");

/// Text of `docs/plans-format.md`: the preface and all keys.
#[must_use]
pub fn key_reference() -> String {
    let mut seen = BTreeSet::new();
    let mut out = PREFACE.to_owned();
    for (title, keys) in [("Test plan", &PLAN), ("Rig", &RIG), ("Device profile", &DEVICE)] {
        out.push('\n');
        out.push_str(document::key_reference(title, keys, &mut seen).trim_end());
        out.push('\n');
    }
    out
}
