//! A plan on a rig: the preflight, before anything is touched.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    alter::{AlterError, alter},
    check::{self, Needs},
    load::PlanFile,
    model::Plan,
};
use crate::{
    diagnostic::{Code, Diagnostic, Place, Report, Source},
    document::{Named, Value},
    rig::{
        RigFile,
        model::{Image, Rig},
    },
    step::world::ImageFacts,
};

/// A plan bound to a rig: everything in it is known to exist on this bench.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The plan.
    pub plan: Plan,
    /// The rig.
    pub rig: Rig,
    /// For each case of the plan, in order, whether it applies to this rig.
    pub applicability: Vec<Applicability>,
    /// The plan's altered images, made. They have no version.
    pub altered: BTreeMap<String, Image>,
    /// Warnings of all the files.
    pub report: Report,
    /// Plan, rig and device profile, as they were read: for the digests in the run's header.
    pub sources: Vec<Arc<Source>>,
}

/// Whether a case applies to a rig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applicability {
    /// It can be run.
    Applicable,
    /// It cannot, for this reason.
    NotApplicable(String),
}

impl Bound {
    /// An image by name: of the device profile, or altered.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.altered.get(name).or_else(|| self.rig.device.images.get(name))
    }

    /// Whether the case with this index applies to this rig.
    #[must_use]
    pub fn is_applicable(&self, case: usize) -> bool {
        self.applicability.get(case) == Some(&Applicability::Applicable)
    }
}

/// Checks a plan against a rig and its device profile.
///
/// # Errors
/// All problems that keep the plan from running there. A case whose channels the rig lacks is no problem but not applicable.
pub fn bind(plan: &PlanFile, rig: &RigFile) -> Result<Bound, Report> {
    let mut report = Report::default();
    report.extend(plan.report.clone());
    report.extend(rig.report.clone());
    let map = plan.root.map();
    let (altered, facts) = images(plan, rig, &mut report);
    let uses = check::steps(map, Some(&rig.world), &facts, &mut report);
    for named in map.named("images") {
        if !uses.images.contains(&named.name) {
            let message = format!("no step uses the altered image `{}`", named.name);
            report.push(Diagnostic::new(Code::UnusedImage, named.place.clone(), message).help("use it in a case or remove it"));
        }
    }
    requires(plan, rig, &mut report);
    report.sort();
    if report.has_errors() {
        return Err(report);
    }
    let applicability = uses.cases.iter().map(|needs| applicable(needs, rig)).collect();
    let mut sources = vec![plan.source.clone()];
    sources.extend(rig.sources.iter().cloned());
    Ok(Bound { plan: plan.plan.clone(), rig: rig.rig.clone(), applicability, altered, report, sources })
}

fn applicable(needs: &Needs, rig: &RigFile) -> Applicability {
    let missing: Vec<String> =
        needs.channels.iter().filter(|name| !rig.rig.channels.contains_key(*name)).map(|name| format!("`{name}`")).collect();
    if missing.is_empty() {
        let sees = |name: &&String| rig.rig.channels.get(*name).is_some_and(|spec| spec.sees_flash);
        return match needs.searched.iter().find(|name| !sees(name)) {
            None => Applicability::Applicable,
            Some(blind) => Applicability::NotApplicable(format!(
                "supply `{blind}` of rig `{}` cannot see flash operations; a virtual rig can",
                rig.rig.name
            )),
        };
    }
    let plural = if missing.len() == 1 { "" } else { "s" };
    Applicability::NotApplicable(format!("rig `{}` has no channel{plural} {}", rig.rig.name, missing.join(", ")))
}

/// A channel that is required but that no device of this kind has, while a similar one exists, is a typing error.
fn requires(plan: &PlanFile, rig: &RigFile, report: &mut Report) {
    let map = plan.root.map();
    let lists = map.list("cases").iter().map(|case| case.map().list("requires"));
    for value in std::iter::once(map.list("requires")).chain(lists).flatten() {
        let name = value.text();
        if rig.world.channels.contains_key(name) {
            continue;
        }
        let known = rig.world.channels.keys().map(String::as_str);
        if let Some(near) = crate::diagnostic::nearest(name, known) {
            let message = format!("device `{}` has no channel `{name}`", rig.rig.device.name);
            report.push(Diagnostic::new(Code::UnknownChannel, value.place.clone(), message).replace_by(near));
        }
    }
}

fn images(plan: &PlanFile, rig: &RigFile, report: &mut Report) -> (BTreeMap<String, Image>, BTreeMap<String, ImageFacts>) {
    let device = &rig.rig.device;
    let (mut images, mut facts) = (BTreeMap::new(), BTreeMap::new());
    for (altered, named) in plan.plan.images.iter().zip(plan.root.map().named("images")) {
        let from = device.images.get(&altered.from);
        if device.images.contains_key(&altered.name) {
            let message = format!("the device profile has an image `{}` too", altered.name);
            report.push(
                Diagnostic::new(Code::DuplicateName, named.place.clone(), message).help("give the altered image another name"),
            );
        }
        let bytes = match alter(altered, device) {
            Ok(bytes) => bytes,
            Err(error) => {
                report.push(problem(named, rig, &error));
                Vec::new()
            }
        };
        // No device should ever report the version of an altered image. A probe writes it where the genuine one goes, or elsewhere.
        let address = altered.address.or_else(|| from.and_then(|from| from.address));
        if let Some(start) = address
            && u64::from(start) + bytes.len() as u64 > 1 << 32
        {
            let place = named.value.map().get("address").map_or_else(|| named.place.clone(), |value| value.place.clone());
            let message = format!("the image of {} bytes at 0x{start:08x} ends beyond the 32-bit address space", bytes.len());
            report.push(Diagnostic::new(Code::OutOfRange, place, message));
        }
        facts.insert(altered.name.clone(), ImageFacts { address, version: None, length: bytes.len() as u64 });
        if let Some(from) = from {
            images.insert(altered.name.clone(), Image { file: from.file.clone(), address, version: None, bytes });
        }
    }
    (images, facts)
}

fn problem(named: &Named, rig: &RigFile, error: &AlterError) -> Diagnostic {
    let map = named.value.map();
    let change = ["flip-bit", "replace", "truncate"].into_iter().find_map(|key| map.get(key)).map(Value::map);
    let at = |key: &str| change.and_then(|map| map.get(key)).map(|value| value.place.clone());
    let place: Option<Place> = match error {
        AlterError::NoImage(_) => map.get("from").map(|value| value.place.clone()),
        AlterError::NoRegion(_) => at("region"),
        AlterError::Outside(_) => at("at").or_else(|| at("drop")),
        AlterError::Same => at("bytes").or_else(|| at("keep")),
    };
    let place = place.unwrap_or_else(|| named.place.clone());
    let device = &rig.rig.device;
    match error {
        AlterError::NoImage(name) => Diagnostic::new(Code::UnknownImage, place, error.to_string())
            .did_you_mean(name, device.images.keys().map(String::as_str)),
        AlterError::NoRegion(name) => Diagnostic::new(Code::OutsideImage, place, error.to_string())
            .did_you_mean(name, device.layout.keys().map(String::as_str)),
        AlterError::Outside(_) => Diagnostic::new(Code::OutsideImage, place, error.to_string())
            .help("the region is described under `layout:` in the device profile"),
        AlterError::Same => Diagnostic::new(Code::ChangesNothing, place, error.to_string())
            .help("a genuine image under the name of a tampered one would prove the opposite of what the plan says"),
    }
}
