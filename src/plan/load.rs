//! From a path to a checked plan.

use std::{path::Path, sync::Arc};

use super::{
    check,
    keys::PLAN,
    model::{Alteration, AlteredImage, Case, Plan, Truncation},
};
use crate::{
    diagnostic::{Report, Source},
    document::{self, Data, Map, Named, Shape, Value, read},
    step::build,
};

/// A plan that is right by itself, with what is needed to bind it to a rig.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanFile {
    /// The plan.
    pub plan: Plan,
    /// The file, as it was read.
    pub source: Arc<Source>,
    /// Warnings.
    pub report: Report,
    /// The document, for the places.
    pub(super) root: Value,
}

/// Reads a plan.
///
/// # Errors
/// All problems that can be found without a rig.
pub fn load_plan(path: &Path) -> Result<PlanFile, Report> {
    let mut report = Report::default();
    let (source, node) = read(path);
    let node = node.map_err(|problem| Report { diagnostics: vec![*problem] })?;
    let root = document::check(&source, &node, &Shape::Map(&PLAN), &mut report);
    let map = root.map();
    check::alone(map, &mut report);
    check::steps(map, None, &std::collections::BTreeMap::new(), &mut report);
    report.sort();
    if report.has_errors() {
        return Err(report);
    }
    let plan = plan(map);
    Ok(PlanFile { plan, source, report, root })
}

fn plan(map: &Map) -> Plan {
    Plan {
        name: map.string("name"),
        title: map.string("title"),
        requires: map.strings("requires"),
        images: map.named("images").iter().map(altered).collect(),
        before_each: build::steps(map.list("before-each")),
        cases: map.list("cases").iter().map(case).collect(),
        finally: build::steps(map.list("finally")),
        timeout: map.duration("timeout"),
    }
}

fn case(value: &Value) -> Case {
    let map = value.map();
    Case {
        id: map.string("id"),
        title: map.string("title"),
        assesses: map.strings("assesses"),
        timeout: map.duration("timeout"),
        steps: build::steps(map.list("steps")),
        line: u32::try_from(value.place.line()).unwrap_or(u32::MAX),
    }
}

fn altered(named: &Named) -> AlteredImage {
    let map = named.value.map();
    let alteration = if let Some(flip) = map.get("flip-bit") {
        let flip = flip.map();
        Alteration::FlipBit {
            region: flip.string("region"),
            at: flip.integer("at"),
            bit: u8::try_from(flip.integer("bit")).unwrap_or(0),
        }
    } else if let Some(replace) = map.get("replace") {
        let replace = replace.map();
        let repeat = replace.get("repeat").map_or(1, |value| usize::try_from(value.integer()).unwrap_or(1));
        let bytes = replace.get("bytes").map_or(&[][..], Value::bytes);
        // Both factors are bounded by the file and by the table of keys; the product is bounded here.
        let repeat = repeat.min((16 << 20) / bytes.len().max(1));
        Alteration::Replace { region: replace.string("region"), at: replace.integer("at"), bytes: bytes.repeat(repeat) }
    } else {
        let truncate = map.get("truncate").map(Value::map);
        let keep = truncate.and_then(|map| map.get("keep")).map(|value| &value.data);
        Alteration::Truncate(match keep {
            Some(Data::Permille(permille)) => Truncation::Permille(*permille),
            _ => Truncation::AllBut(truncate.map_or(0, |map| u64::try_from(map.integer("drop")).unwrap_or(0))),
        })
    };
    let address = map.get("address").and_then(|value| u32::try_from(value.integer()).ok());
    AlteredImage { name: named.name.clone(), from: map.string("from"), address, alteration }
}
