//! What a device offers against what its maker declares.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{inconclusive, json as as_json, on};
use crate::{
    channel::ble::{Answer, Service, short_uuid},
    event::{Act, StepId},
    rig::ble::{Declared, DeclaredCharacteristic},
    run::{
        execute::{Executor, Passed, StepResult, failed},
        outcome::code,
    },
    step::FailAs,
};

/// Services that every device has (Core Specification, volume 3, parts C, 12 and G, 7).
const ALWAYS: [&str; 2] = ["1800", "1801"];
/// Ways of access that a declaration is about. The others only describe these: `encrypt-read`, `extended-properties`.
const ACCESS: [&str; 7] =
    ["read", "write", "write-without-response", "notify", "indicate", "broadcast", "authenticated-signed-writes"];

/// How the two differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// What the device offers beyond its declaration.
    pub(super) undeclared: Vec<String>,
    /// What is declared and not there.
    pub(super) missing: Vec<String>,
}

/// Compares. Each declared service and characteristic covers one of the device's: a second one of the same UUID is not declared.
pub(super) fn compare(declared: &Declared, found: &[Service]) -> Difference {
    let mut difference = Difference::default();
    let mut services: BTreeMap<&str, &[DeclaredCharacteristic]> =
        declared.services.iter().map(|own| (own.uuid.as_str(), own.characteristics.as_slice())).collect();
    for service in found {
        let own = short_uuid(&service.uuid);
        let Some(characteristics) = services.remove(service.uuid.as_str()) else {
            if !ALWAYS.contains(&own) {
                difference.undeclared.push(format!("service {own}"));
            }
            continue;
        };
        let mut characteristics: BTreeMap<&str, &DeclaredCharacteristic> =
            characteristics.iter().map(|own| (own.uuid.as_str(), own)).collect();
        for characteristic in &service.characteristics {
            let name = as_json::name(&service.uuid, &characteristic.uuid);
            let Some(declared) = characteristics.remove(characteristic.uuid.as_str()) else {
                difference.undeclared.push(format!("characteristic {name}"));
                continue;
            };
            let offers = |access: &str| characteristic.access.iter().any(|own| own == access);
            for access in ACCESS {
                match (offers(access), declared.access.iter().any(|own| own == access)) {
                    (true, false) => difference.undeclared.push(format!("{access} of {name}")),
                    (false, true) => difference.missing.push(format!("{access} of {name}")),
                    _ => {}
                }
            }
        }
        let missing = characteristics.keys().map(|uuid| format!("characteristic {}", as_json::name(&service.uuid, uuid)));
        difference.missing.extend(missing);
    }
    difference.missing.extend(services.keys().map(|uuid| format!("service {}", short_uuid(uuid))));
    difference
}

impl Executor {
    pub(super) async fn ble_services(&mut self, channel: &str, fail_as: &FailAs, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        shared.bench.announce(channel, Act::Exchange { what: "list the services".to_owned() }, Some(id)).await?;
        let found = match on!(self, channel, link => link.services()) {
            Answer::Done(found) => found,
            answer => return self.answered(channel, &answer, true, "the list of services", fail_as, id),
        };
        let Some(declared) = &shared.device.ble else {
            let text = "the device profile declares no services; write them under `ble:`, or leave this step out";
            return Err(inconclusive(code::NOT_DECLARED, text));
        };
        let difference = compare(declared, &found);
        let stored = json!({
            "services": as_json::services(&found), "undeclared": difference.undeclared, "missing": difference.missing,
        });
        let file = format!("{}-{channel}-services.json", id.as_str().replace(['/', '.'], "-"));
        let evidence: Vec<_> = shared.recorder.evidence(&file, as_json::text(&stored).as_bytes()).into_iter().collect();
        let list = |list: &[String]| if list.is_empty() { "nothing".to_owned() } else { list.join(", ") };
        let what = format!(
            "{} services; not declared: {}; declared but missing: {}",
            found.len(),
            list(&difference.undeclared),
            list(&difference.missing)
        );
        self.observed(channel, id, &what, evidence.first().cloned());
        if found.is_empty() && !declared.services.is_empty() {
            // A device with services shows some, or the list is not the device's.
            return Err(inconclusive(code::UNEXPECTED, format!("{channel}: no service at all was found")).with(evidence));
        }
        if difference.undeclared.is_empty() {
            return Ok(Passed { evidence, judged: true });
        }
        Err(failed(Some(fail_as), "", &format!("{channel}: not declared: {}", list(&difference.undeclared))).with(evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::ble::{Characteristic, uuid},
        rig::ble::DeclaredService,
    };

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn declared() -> Declared {
        let characteristic =
            DeclaredCharacteristic { uuid: uuid("2000").unwrap(), access: words(&["read", "notify"]), authenticated: false };
        Declared {
            services: vec![DeclaredService {
                uuid: uuid("1000").unwrap(),
                what: "lock".to_owned(),
                characteristics: vec![characteristic],
            }],
        }
    }

    fn service(own: &str, characteristics: &[(&str, &[&str])]) -> Service {
        let characteristic = |(own, access): &(&str, &[&str])| Characteristic {
            uuid: uuid(own).unwrap(),
            access: words(access),
            descriptors: Vec::new(),
        };
        let characteristics = characteristics.iter().map(characteristic).collect();
        Service { uuid: uuid(own).unwrap(), primary: true, characteristics }
    }

    #[test]
    fn what_is_declared_and_what_every_device_has_is_no_finding() {
        let found = [
            service("1800", &[("2a00", &["read"])]),
            service("1801", &[]),
            service("1000", &[("2000", &["read", "notify", "encrypt-read", "extended-properties"])]),
        ];
        assert_eq!(compare(&declared(), &found), Difference::default());
    }

    #[test]
    fn everything_beyond_is_a_finding() {
        let found = [
            service("1000", &[("2000", &["read", "write"]), ("2000", &["read"]), ("2001", &["read"])]),
            service("1000", &[]),
            service("fe59", &[("2002", &["write"])]),
        ];
        let difference = compare(&declared(), &found);
        let undeclared =
            ["write of 1000/2000", "characteristic 1000/2000", "characteristic 1000/2001", "service 1000", "service fe59"];
        assert_eq!(difference.undeclared, words(&undeclared));
        assert_eq!(difference.missing, words(&["notify of 1000/2000"]));
        assert_eq!(compare(&declared(), &[]).missing, words(&["service 1000"]));
    }
}
