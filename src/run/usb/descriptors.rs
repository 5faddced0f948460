//! What the device shows, against what its maker declares.

use super::{On, absent};
use crate::{
    channel::usb::descriptors::{Tree, json, text},
    event::Verdict,
    rig::usb::{Difference, UsbPort},
    run::{
        execute::{Executor, Passed, StepResult, failed},
        outcome::{Ended, code},
    },
    step::FailAs,
};

impl Executor {
    pub(super) async fn usb_descriptors(&mut self, on: On<'_>, fail_as: &FailAs) -> StepResult {
        let dump = self.usb_dump(on).await?;
        let shown = serde_json::to_vec_pretty(&json(&dump)).unwrap_or_default();
        let mut evidence: Vec<_> = self.usb_evidence(on, "json", &shown).into_iter().collect();
        evidence.extend(self.usb_evidence(on, "descriptors.bin", &dump.arrival));
        if let Some(now) = dump.now.as_ref().filter(|now| **now != dump.arrival) {
            evidence.extend(self.usb_evidence(on, "descriptors-now.bin", now));
        }
        let arrival = Tree::read(&dump.arrival);
        let now = dump.now.as_deref().map(Tree::read);
        let Some(device) = arrival.device else { return Err(absent(on).with(evidence)) };
        let interfaces: usize = arrival.configurations.iter().map(|configuration| configuration.settings.len()).sum();
        let missing =
            if dump.missing.is_empty() { String::new() } else { format!("; not obtained: {}", dump.missing.join("; ")) };
        let what = format!("{:04x}:{:04x} with {interfaces} interface settings{missing}", device.vendor, device.product);
        self.usb_observed(on, what, evidence.first().cloned());

        let name = |number: u8| dump.strings.get(&number).and_then(|bytes| text(bytes).ok());
        let result = match self.shared.device.usb.get(on.channel) {
            Some(declared) => judge(declared, &arrival, now.as_ref(), &name, fail_as),
            None => Err(inconclusive(format!("the device profile does not declare what {} shows", on.channel))),
        };
        match result {
            Ok(()) => Ok(Passed { evidence, judged: true }),
            Err(ended) => Err(ended.with(evidence)),
        }
    }
}

fn inconclusive(text: String) -> Ended {
    Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text)
}

/// The rules, from what decides most to what decides least: another product is not judged at all; what nobody declared is a finding however
/// broken the rest is; only descriptors that can be read to the end can lack something or pass.
fn judge(
    declared: &UsbPort,
    arrival: &Tree,
    now: Option<&Tree>,
    name: &dyn Fn(u8) -> Option<String>,
    fail_as: &FailAs,
) -> Result<(), Ended> {
    let found = arrival.device.map(|device| (device.vendor, device.product));
    if let (Some(wanted), Some(found)) = (declared.id, found)
        && wanted != found
    {
        return Err(inconclusive(format!(
            "it is {:04x}:{:04x}, the profile declares {:04x}:{:04x}: another product, or another mode of this one",
            found.0, found.1, wanted.0, wanted.1
        )));
    }
    let mut difference = declared.compare(arrival, name);
    let mut problems: Vec<&str> = arrival.problems.iter().map(String::as_str).collect();
    if let Some(now) = now.filter(|now| *now != arrival) {
        let Difference { undeclared, .. } = declared.compare(now, name);
        for more in undeclared {
            if !difference.undeclared.contains(&more) {
                difference.undeclared.push(format!("{more}, shown only when asked again"));
            }
        }
        problems.push("it answers with other descriptors than when it arrived");
        problems.extend(now.problems.iter().map(String::as_str));
    }
    if !difference.undeclared.is_empty() {
        return Err(failed(Some(fail_as), "", &format!("nobody declared {}", difference.undeclared.join("; "))));
    }
    if !problems.is_empty() {
        return Err(inconclusive(format!("its descriptors are not to be trusted: {}", problems.join("; "))));
    }
    if !difference.missing.is_empty() {
        return Err(failed(Some(fail_as), "", &format!("declared, but not there: {}", difference.missing.join("; "))));
    }
    Ok(())
}
