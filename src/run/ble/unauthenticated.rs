//! Access without authentication, tried on everything that the profile declares to need it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{inconclusive, json as as_json, on, show};
use crate::{
    channel::ble::{Answer, CharacteristicId, Service},
    event::{Act, StepId},
    run::{
        execute::{Executor, Passed, StepResult, failed},
        outcome::{Ended, code},
    },
    step::FailAs,
};

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attempt {
    characteristic: CharacteristicId,
    act: &'static str,
    outcome: Outcome,
    words: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The device did it.
    Allowed,
    /// The device said that it may not be done.
    Denied,
    /// Neither: another error, no such characteristic.
    Open,
    /// There was no link when the answer was due. The last attempt.
    Unlinked,
}

/// What an answer means.
fn outcome<T>(answer: &Answer<T>, value: impl FnOnce(&T) -> String) -> (Outcome, String) {
    match answer {
        Answer::Done(done) => (Outcome::Allowed, value(done)),
        Answer::Refused(refusal) if refusal.why.denies() => (Outcome::Denied, refusal.words.clone()),
        Answer::Refused(refusal) => (Outcome::Open, refusal.words.clone()),
        Answer::Unknown(why) => (Outcome::Open, why.clone()),
        Answer::Unlinked(why) => (Outcome::Unlinked, why.clone()),
    }
}

/// Ways of access to try, by what the device says can be done.
fn ways(found: &[Service], wanted: &CharacteristicId, written: bool) -> Vec<&'static str> {
    let own = found.iter().filter(|service| wanted.service.as_ref().is_none_or(|uuid| *uuid == service.uuid));
    let access: Vec<&str> = own
        .flat_map(|service| &service.characteristics)
        .filter(|characteristic| characteristic.uuid == wanted.uuid)
        .flat_map(|characteristic| characteristic.access.iter().map(String::as_str))
        .collect();
    let has = |words: &[&str]| words.iter().any(|word| access.contains(word));
    let mut ways = Vec::new();
    if has(&["read"]) {
        ways.push("read");
    }
    if has(&["notify", "indicate"]) {
        ways.push("subscribe");
    }
    if written && has(&["write"]) {
        ways.push("write");
    }
    ways
}

/// The verdict over all attempts.
fn judge(attempts: &[Attempt], paired: bool, fail_as: &FailAs) -> Result<(), Ended> {
    let of = |outcome| attempts.iter().filter(move |attempt| attempt.outcome == outcome);
    let list = |outcome| {
        let all: Vec<String> =
            of(outcome).map(|attempt| format!("{} {}: {}", attempt.act, attempt.characteristic, attempt.words)).collect();
        all.join("; ")
    };
    if of(Outcome::Allowed).next().is_some() {
        let how = if paired { " after a pairing that nobody confirmed" } else { "" };
        return Err(failed(Some(fail_as), "", &format!("possible without authentication{how}: {}", list(Outcome::Allowed))));
    }
    for (outcome, code) in [(Outcome::Unlinked, code::NO_LINK), (Outcome::Open, code::UNEXPECTED)] {
        if of(outcome).next().is_some() {
            return Err(inconclusive(code, format!("neither allowed nor refused: {}", list(outcome))));
        }
    }
    if attempts.is_empty() {
        return Err(inconclusive(code::NOTHING_JUDGED, "nothing could be tried"));
    }
    Ok(())
}

impl Executor {
    pub(super) async fn ble_unauthenticated(
        &mut self,
        channel: &str,
        write: &[CharacteristicId],
        bytes: &[u8],
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let declared = shared.device.ble.as_ref().map(|ble| ble.authenticated().map(|(id, _)| id).collect::<Vec<_>>());
        let Some(declared) = declared.filter(|declared| !declared.is_empty()) else {
            let text = "the device profile declares nothing as `authenticated: true` under `ble:`, so there is nothing to try";
            return Err(inconclusive(code::NOT_DECLARED, text));
        };
        let before = on!(self, channel, link => link.bond());
        if before.paired || before.bonded {
            let text = format!(
                "{channel}: the bench has a bond with the device, so its access is authenticated; use `ble-forget` first"
            );
            return Err(inconclusive(code::UNEXPECTED, text));
        }
        let found = match on!(self, channel, link => link.services()) {
            Answer::Done(found) => found,
            answer => return self.answered(channel, &answer, true, "the list of services", fail_as, id),
        };
        // Pairing on its own would be the host's doing; at least no keys are kept, and what comes of it is told.
        on!(self, channel, link => link.refuse_bonds(true));
        let tried = self.attempts(channel, &found, &declared, write, bytes, id).await;
        // Even if the attempts were cut short.
        shared.bench.bles.get(channel).ok_or_else(|| Ended::fault("no channel"))?.lock().await.refuse_bonds(false).await?;
        let attempts = tried?;
        let after = on!(self, channel, link => link.bond());
        let paired = after.paired || after.bonded;
        let stored: Vec<Value> = attempts
            .iter()
            .map(|attempt| {
                let outcome = format!("{:?}", attempt.outcome).to_lowercase();
                json!({ "characteristic": attempt.characteristic.to_string(), "act": attempt.act, "outcome": outcome, "answer": attempt.words })
            })
            .collect();
        let stored = json!({
            "attempts": stored, "bond-before": as_json::bond_words(before), "bond-after": as_json::bond_words(after),
        });
        let file = format!("{}-{channel}-unauthenticated.json", id.as_str().replace(['/', '.'], "-"));
        let evidence: Vec<_> = shared.recorder.evidence(&file, as_json::text(&stored).as_bytes()).into_iter().collect();
        let count = |outcome| attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
        let what = format!(
            "{} attempts without authentication: {} allowed, {} refused, {} open; bond afterwards: {}",
            attempts.len(),
            count(Outcome::Allowed),
            count(Outcome::Denied),
            attempts.len() - count(Outcome::Allowed) - count(Outcome::Denied),
            as_json::bond_words(after)
        );
        self.observed(channel, id, &what, evidence.first().cloned());
        match judge(&attempts, paired, fail_as) {
            Ok(()) => Ok(Passed { evidence, judged: true }),
            Err(ended) => Err(ended.with(evidence)),
        }
    }

    async fn attempts(
        &mut self,
        channel: &str,
        found: &[Service],
        declared: &[CharacteristicId],
        write: &[CharacteristicId],
        bytes: &[u8],
        id: &StepId,
    ) -> Result<Vec<Attempt>, Ended> {
        let shared = Arc::clone(&self.shared);
        let mut attempts = Vec::new();
        for own in declared {
            let named =
                |named: &CharacteristicId| named.uuid == own.uuid && (named.service.is_none() || named.service == own.service);
            let ways = ways(found, own, write.iter().any(named));
            if ways.is_empty() {
                let words = "the device has no such characteristic, or offers nothing of it that could be tried".to_owned();
                attempts.push(Attempt { characteristic: own.clone(), act: "find", outcome: Outcome::Open, words });
            }
            for act in ways {
                shared.bench.announce(channel, Act::Exchange { what: format!("{act} {own} without a bond") }, Some(id)).await?;
                let (outcome, words) = match act {
                    "read" => outcome(&on!(self, channel, link => link.read(own.clone())), |value| show(value)),
                    "write" => outcome(&on!(self, channel, link => link.write(own.clone(), bytes.to_vec(), true)), |()| {
                        format!("{} was taken", show(bytes))
                    }),
                    _ => outcome(&on!(self, channel, link => link.subscribe(own.clone())), |()| "accepted".to_owned()),
                };
                attempts.push(Attempt { characteristic: own.clone(), act, outcome, words });
                if outcome == Outcome::Unlinked {
                    return Ok(attempts);
                }
            }
        }
        Ok(attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Verdict;

    fn verdict(outcomes: &[Outcome]) -> Verdict {
        let characteristic = CharacteristicId::parse("2000").unwrap();
        let attempts: Vec<_> = outcomes
            .iter()
            .map(|outcome| Attempt {
                characteristic: characteristic.clone(),
                act: "read",
                outcome: *outcome,
                words: "x".to_owned(),
            })
            .collect();
        let fail_as = FailAs { code: "UNAUTH".to_owned(), text: String::new() };
        judge(&attempts, false, &fail_as).map_or_else(|ended| ended.into_parts().0, |()| Verdict::Pass)
    }

    #[test]
    fn only_refusals_pass_and_one_success_fails() {
        use Outcome::{Allowed, Denied, Open, Unlinked};
        assert_eq!(verdict(&[Denied, Denied]), Verdict::Pass);
        assert_eq!(verdict(&[Denied, Open]), Verdict::Inconclusive);
        assert_eq!(verdict(&[Open, Allowed, Denied]), Verdict::Fail);
        assert_eq!(verdict(&[Denied, Unlinked]), Verdict::Inconclusive);
        assert_eq!(verdict(&[]), Verdict::Inconclusive);
    }
}
