//! Steps over Bluetooth Low Energy.
//!
//! What a device did not do over the air can have three reasons: the device, the air, the adapter. Only an answer of the device is its doing.
//! Silence counts if the adapter proved that it listened all the time; a link that is lost before the answer proves nothing.

mod json;
mod services;
mod unauthenticated;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use regex::bytes::Regex;
use tokio::sync::Mutex;

use super::{
    execute::{Executor, Passed, Shared, StepResult, compile, failed, out_of_time},
    outcome::{Ended, code},
    values,
};
use crate::{
    channel::{
        ble::{
            Answer, BleLink, CharacteristicId, Connection, LinkState, Listening,
            notifications::{Arrived, Looked},
        },
        link::Proof,
    },
    event::{Act, ChannelName, EvidenceRef, Fact, StepId, Verdict, Witness},
    step::{
        FailAs, Template, Within,
        ble::{BleStep, WriteData},
    },
};

/// Bytes of a value that are shown in a reason; all are in the evidence.
const SHOWN: usize = 64;

type Link = Mutex<Box<dyn BleLink>>;

fn link<'a>(shared: &'a Shared, channel: &str) -> Result<&'a Link, Ended> {
    let missing = || Ended::fault(format!("the rig has no Bluetooth channel {channel}"));
    shared.bench.bles.get(channel).ok_or_else(missing)
}

fn inconclusive(code: &str, text: impl Into<String>) -> Ended {
    Ended::judged(Verdict::Inconclusive, code, text)
}

/// Bytes for people: text if they are, else hex.
fn show(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    let head = &bytes[..bytes.len().min(SHOWN)];
    match std::str::from_utf8(head) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => format!("`{text}`{more}"),
        _ if bytes.is_empty() => "no bytes".to_owned(),
        _ => format!("{}{more}", json::hex(head)),
    }
}

/// Named groups of a match, as text.
fn captures(regex: &Regex, bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let found = regex.captures(bytes)?;
    let named = regex.capture_names().flatten().filter_map(|name| {
        let group = found.name(name)?;
        Some((name.to_owned(), String::from_utf8_lossy(group.as_bytes()).into_owned()))
    });
    Some(named.collect())
}

/// Has a channel's link do something, until the run is stopped or the case is over.
macro_rules! on {
    ($executor:expr, $channel:expr, $link:ident => $work:expr) => {{
        let shared = std::sync::Arc::clone(&$executor.shared);
        let locked = $crate::run::ble::link(&shared, $channel)?;
        $executor
            .in_time(async {
                let mut $link = locked.lock().await;
                $work.await
            })
            .await??
    }};
}
use on;

impl Executor {
    pub(super) async fn ble(&mut self, channel: &str, step: &BleStep, id: &StepId) -> StepResult {
        match step {
            BleStep::Presence { present, within, fail_as } => self.ble_presence(channel, *present, within, fail_as, id).await,
            BleStep::Scan { during, pattern, fail_as } => {
                self.ble_scan(channel, during, pattern.as_ref(), fail_as.as_ref(), id).await
            }
            BleStep::Connect { within, accepted, fail_as } => self.ble_connect(channel, within, *accepted, fail_as, id).await,
            BleStep::Disconnect => {
                self.exchange(channel, "disconnect", id).await?;
                on!(self, channel, link => link.disconnect());
                let what = "the host's Bluetooth service says that there is no link".to_owned();
                Ok(self.stimulus(Proof::Seen(Witness { what, evidence: None }), id))
            }
            BleStep::Services { fail_as } => self.ble_services(channel, fail_as, id).await,
            BleStep::Read { from, readable, pattern, fail_as } => {
                self.ble_read(channel, from, *readable, pattern.as_ref(), fail_as, id).await
            }
            BleStep::Write { to, data, with_response, accepted, fail_as } => {
                self.ble_write(channel, to, data, (*with_response, *accepted), fail_as, id).await
            }
            BleStep::Subscribe { to, accepted, fail_as } => {
                self.exchange(channel, &format!("subscribe to {to}"), id).await?;
                let answer = on!(self, channel, link => link.subscribe(to.clone()));
                self.answered(channel, &answer, *accepted, &format!("the subscription to {to}"), fail_as, id)
            }
            BleStep::Notify { from, pattern, within, fail_as } => {
                self.ble_notify(channel, from, pattern, within, fail_as, id).await
            }
            BleStep::Unauthenticated { write, bytes, fail_as } => {
                self.ble_unauthenticated(channel, write, bytes, fail_as, id).await
            }
            BleStep::Link { kept, within, fail_as } => self.ble_link(channel, *kept, within, fail_as, id).await,
            BleStep::Bond { bonded, fail_as } => {
                let bond = on!(self, channel, link => link.bond());
                let what = format!("host's record: {}", json::bond_words(bond));
                self.observed(channel, id, &what, None);
                if (bond.paired || bond.bonded) == *bonded {
                    return Ok(Passed { evidence: Vec::new(), judged: true });
                }
                Err(failed(Some(fail_as), "", &format!("{channel}: {what}")))
            }
            BleStep::Forget => {
                self.exchange(channel, "forget the device on the host", id).await?;
                on!(self, channel, link => link.forget());
                let bond = on!(self, channel, link => link.bond());
                if bond.known {
                    return Err(Ended::fault(format!(
                        "{channel}: the host did not forget the device: {}",
                        json::bond_words(bond)
                    )));
                }
                let what = "the host's Bluetooth service does not know the device any more".to_owned();
                Ok(self.stimulus(Proof::Seen(Witness { what, evidence: None }), id))
            }
        }
    }

    /// Announces an act and takes the marks before it.
    async fn exchange(&mut self, channel: &str, what: &str, id: &StepId) -> Result<(), Ended> {
        link(&self.shared, channel)?;
        let shared = Arc::clone(&self.shared);
        shared.bench.announce(channel, Act::Exchange { what: what.to_owned() }, Some(id)).await?;
        self.mark_all();
        Ok(())
    }

    /// Bounds what a driver does by the case's deadline too: it may wait for half a minute for a device that does not answer.
    async fn in_time<T>(&self, act: impl Future<Output = T> + Send) -> Result<T, Ended> {
        let clock = Arc::clone(&self.shared.bench.clock);
        tokio::select! {
            biased;
            done = self.bounded(act) => done,
            () = clock.sleep_until(self.deadline) => Err(out_of_time()),
        }
    }

    /// A duration of a step, if the case has that much time left.
    fn time(&self, within: &Within) -> Result<Duration, Ended> {
        let allowed = values::span(within, &self.shared.device)?;
        if self.shared.bench.clock.now().after(allowed) > self.deadline { Err(out_of_time()) } else { Ok(allowed) }
    }

    fn observed(&self, channel: &str, id: &StepId, what: &str, evidence: Option<EvidenceRef>) {
        let (step, channel) = (Some(id.clone()), ChannelName::new(channel));
        self.shared.recorder.fact(Fact::Observed { step, channel, what: what.to_owned(), evidence });
    }
}

impl Executor {
    async fn listen(
        &mut self,
        channel: &str,
        time: Duration,
        until_heard: bool,
        id: &StepId,
    ) -> Result<(Listening, Vec<EvidenceRef>), Ended> {
        let listening = on!(self, channel, link => link.listen(time, until_heard));
        let mut evidence = Vec::new();
        let what = match &listening.heard {
            Some(heard) => {
                let file = format!("{}-{channel}-advertisement.json", id.as_str().replace(['/', '.'], "-"));
                evidence.extend(self.shared.recorder.evidence(&file, json::advertisement(heard).as_bytes()));
                json::advertisement_words(heard)
            }
            None => {
                let doubt = listening.doubt.as_ref().map(|doubt| format!("; {doubt}")).unwrap_or_default();
                format!("not heard in {:.1?} of listening; {} others were{doubt}", listening.listened, listening.others)
            }
        };
        self.observed(channel, id, &what, evidence.first().cloned());
        Ok((listening, evidence))
    }

    async fn ble_presence(&mut self, channel: &str, present: bool, within: &Within, fail_as: &FailAs, id: &StepId) -> StepResult {
        let time = self.time(within)?;
        let (listening, evidence) = self.listen(channel, time, true, id).await?;
        match (&listening.heard, listening.doubt, present) {
            (Some(_), _, true) => Ok(Passed { evidence, judged: true }),
            (Some(heard), _, false) => {
                let seen = format!("{channel}: heard {}", json::advertisement_words(heard));
                Err(failed(Some(fail_as), "", &seen).with(evidence))
            }
            (None, Some(doubt), _) => Err(inconclusive(
                code::NO_WITNESS,
                format!("{channel} was not heard, but nothing proves that the adapter listened all the time: {doubt}"),
            )),
            (None, None, true) => Err(failed(Some(fail_as), "", &format!("{channel} was not heard within {time:?}"))),
            (None, None, false) => Ok(Passed { evidence, judged: true }),
        }
    }

    async fn ble_scan(
        &mut self,
        channel: &str,
        during: &Within,
        pattern: Option<&Template>,
        fail_as: Option<&FailAs>,
        id: &StepId,
    ) -> StepResult {
        let time = self.time(during)?;
        let (listening, evidence) = self.listen(channel, time, false, id).await?;
        let Some(heard) = listening.heard else {
            let doubt = listening.doubt.map(|doubt| format!("; {doubt}")).unwrap_or_default();
            return Err(inconclusive(code::SILENT, format!("{channel} was not heard, so there is nothing to record{doubt}")));
        };
        let Some(pattern) = pattern else { return Ok(Passed { evidence, judged: false }) };
        let source = self.values.pattern(pattern, &self.shared.device, &self.shared.images)?;
        let text = json::advertisement(&heard);
        match captures(&compile(&source)?, text.as_bytes()) {
            Some(found) => {
                if let Some(place) = evidence.first() {
                    self.matched(id, channel, &source, &found, place);
                }
                Ok(Passed { evidence, judged: true })
            }
            None => {
                let seen = format!("`{source}` does not stand in the advertisement of {}", json::advertisement_words(&heard));
                Err(failed(fail_as, code::UNEXPECTED, &seen).with(evidence))
            }
        }
    }

    async fn ble_connect(&mut self, channel: &str, within: &Within, accepted: bool, fail_as: &FailAs, id: &StepId) -> StepResult {
        let time = self.time(within)?;
        self.exchange(channel, "connect", id).await?;
        let before = on!(self, channel, link => link.link(Duration::ZERO));
        if before == LinkState::Up && !accepted {
            let text = format!("{channel} is already connected, so whether it would refuse cannot be seen; disconnect first");
            return Err(inconclusive(code::UNEXPECTED, text));
        }
        let connection = on!(self, channel, link => link.connect(time));
        let what = match &connection {
            Connection::Connected => "connected".to_owned(),
            Connection::Refused(why) => format!("it advertises, but does not accept a connection: {why}"),
            Connection::Doubtful(why) => format!("it advertises, and whether it accepts a connection is open: {why}"),
            Connection::Unheard { doubt: None } => format!("not heard within {time:?}"),
            Connection::Unheard { doubt: Some(doubt) } => format!("not heard, but that proves nothing: {doubt}"),
            Connection::Lost(why) => format!("connected, but lost before its services were known: {why}"),
        };
        self.observed(channel, id, &what, None);
        let seen = format!("{channel}: {what}");
        match (connection, accepted) {
            (Connection::Connected, true) | (Connection::Refused(_), false) => Ok(Passed { evidence: Vec::new(), judged: true }),
            (Connection::Connected, false) | (Connection::Refused(_), true) => Err(failed(Some(fail_as), "", &seen)),
            (Connection::Unheard { doubt: None }, _) => Err(inconclusive(code::SILENT, seen)),
            (Connection::Doubtful(_) | Connection::Unheard { doubt: Some(_) }, _) => Err(inconclusive(code::NO_WITNESS, seen)),
            (Connection::Lost(_), _) => Err(inconclusive(code::NO_LINK, seen)),
        }
    }

    /// Judges an answer that has no value.
    fn answered<T>(
        &mut self,
        channel: &str,
        answer: &Answer<T>,
        accepted: bool,
        what: &str,
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let seen = match answer {
            Answer::Done(_) => format!("{what} was accepted"),
            Answer::Refused(refusal) => format!("{what} was refused: {}", refusal.words),
            Answer::Unlinked(why) => format!("{what} was not answered: {why}"),
            Answer::Unknown(why) => format!("{what} cannot be tried: {why}"),
        };
        self.observed(channel, id, &seen, None);
        let seen = format!("{channel}: {seen}");
        match answer {
            Answer::Unlinked(_) => Err(inconclusive(code::NO_LINK, seen)),
            Answer::Unknown(_) => Err(inconclusive(code::UNEXPECTED, seen)),
            // Whether the device would ever allow it is not known, so this shows no protection.
            Answer::Refused(refusal) if !accepted && !refusal.why.denies() => Err(inconclusive(code::UNEXPECTED, seen)),
            Answer::Done(_) | Answer::Refused(_) => {
                if matches!(answer, Answer::Done(_)) == accepted {
                    Ok(Passed { evidence: Vec::new(), judged: true })
                } else {
                    Err(failed(Some(fail_as), "", &seen))
                }
            }
        }
    }

    async fn ble_read(
        &mut self,
        channel: &str,
        from: &CharacteristicId,
        readable: bool,
        pattern: Option<&Template>,
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let pattern = match pattern {
            Some(pattern) => Some(self.values.pattern(pattern, &self.shared.device, &self.shared.images)?),
            None => None,
        };
        let shared = Arc::clone(&self.shared);
        shared.bench.announce(channel, Act::Exchange { what: format!("read {from}") }, Some(id)).await?;
        let answer = on!(self, channel, link => link.read(from.clone()));
        let mut evidence = Vec::new();
        if let Answer::Done(bytes) = &answer {
            let file = format!("{}-{channel}-value.bin", id.as_str().replace(['/', '.'], "-"));
            evidence.extend(shared.recorder.evidence(&file, bytes));
        }
        let passed = self.answered(channel, &answer, readable, &format!("the read of {from}"), fail_as, id);
        let passed = passed.map_err(|ended| ended.with(evidence.clone()))?;
        if let (Answer::Done(bytes), Some(source)) = (&answer, pattern) {
            let Some(found) = captures(&compile(&source)?, bytes) else {
                let seen = format!("{channel}: `{source}` does not stand in {from}, which is {}", show(bytes));
                return Err(failed(Some(fail_as), "", &seen).with(evidence));
            };
            if let Some(place) = evidence.first() {
                self.matched(id, channel, &source, &found, place);
            }
        }
        Ok(Passed { evidence, ..passed })
    }

    async fn ble_write(
        &mut self,
        channel: &str,
        to: &CharacteristicId,
        data: &WriteData,
        (with_response, accepted): (bool, bool),
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let bytes = match data {
            WriteData::Text(text) => self.text(text)?.into_bytes(),
            WriteData::Bytes(bytes) => bytes.clone(),
        };
        self.exchange(channel, &format!("write {} to {to}", show(&bytes)), id).await?;
        let file = format!("{}-{channel}-written.bin", id.as_str().replace(['/', '.'], "-"));
        let evidence: Vec<_> = self.shared.recorder.evidence(&file, &bytes).into_iter().collect();
        let answer = on!(self, channel, link => link.write(to.clone(), bytes.clone(), with_response));
        let mut passed = self
            .answered(channel, &answer, accepted, &format!("the write of {} to {to}", show(&bytes)), fail_as, id)
            .map_err(|ended| ended.with(evidence.clone()))?;
        if let Answer::Done(()) = answer {
            let proof = if with_response {
                let what = format!("the device acknowledged the write of {} bytes to {to}", bytes.len());
                Proof::Seen(Witness { what, evidence: evidence.first().cloned() })
            } else {
                // That it was sent is no acceptance.
                passed.judged = false;
                Proof::None(format!("an acknowledgement of the write to {to}; write with response"))
            };
            self.stimulus(proof, id);
        }
        Ok(Passed { evidence, ..passed })
    }

    async fn ble_notify(
        &mut self,
        channel: &str,
        from: &CharacteristicId,
        pattern: &Template,
        within: &Within,
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let source = self.values.pattern(pattern, &self.shared.device, &self.shared.images)?;
        let regex = compile(&source)?;
        let allowed = self.time(within)?;
        let shared = Arc::clone(&self.shared);
        // Again for one that is there already does nothing.
        let what = format!("the subscription to {from}");
        match on!(self, channel, link => link.subscribe(from.clone())) {
            Answer::Done(()) => {}
            answer => return self.answered(channel, &answer, true, &what, fail_as, id),
        }
        let missing = || Ended::fault(format!("the rig has no Bluetooth channel {channel}"));
        let log = shared.bench.notifications.get(channel).ok_or_else(missing)?;
        let mark = self.notified.get(channel).copied().unwrap_or(0);
        let deadline = shared.bench.clock.now().after(allowed);
        let wanted = |arrived: &Arrived| {
            if arrived.characteristic == from.uuid { captures(&regex, &arrived.bytes) } else { None }
        };
        match self.in_time(log.wait(mark, deadline, wanted)).await? {
            Looked::Found(arrived, found) => {
                self.notified.insert(channel.to_owned(), arrived.number + 1);
                self.matched(id, channel, &source, &found, &arrived.evidence);
                Ok(Passed { evidence: vec![arrived.evidence], judged: true })
            }
            Looked::Gap => {
                let text =
                    format!("{channel}: there were more notifications than memory keeps, so the pattern cannot be looked for");
                Err(inconclusive(code::UNEXPECTED, text))
            }
            Looked::None(others) => {
                // A device out of reach cannot notify.
                let state = on!(self, channel, link => link.link(Duration::ZERO));
                let seen = format!(
                    "{channel}: `{source}` was not notified by {from} within {allowed:?}; {others} other notifications came"
                );
                if state == LinkState::Up {
                    return Err(failed(Some(fail_as), "", &seen));
                }
                Err(inconclusive(code::NO_LINK, format!("{seen}, and the link was lost")))
            }
        }
    }

    async fn ble_link(&mut self, channel: &str, kept: bool, within: &Within, fail_as: &FailAs, id: &StepId) -> StepResult {
        let time = self.time(within)?;
        let state = on!(self, channel, link => link.link(time));
        let what = match state {
            LinkState::Up => format!("connected for {time:?}"),
            LinkState::Lost => "link lost".to_owned(),
            LinkState::Ended => "the bench itself has disconnected".to_owned(),
            LinkState::Never => "there was no link yet".to_owned(),
        };
        self.observed(channel, id, &what, None);
        let seen = format!("{channel}: {what}");
        match (state, kept) {
            (LinkState::Up, true) | (LinkState::Lost, false) => Ok(Passed { evidence: Vec::new(), judged: true }),
            (LinkState::Up, false) | (LinkState::Lost, true) => Err(failed(Some(fail_as), "", &seen)),
            (LinkState::Ended | LinkState::Never, _) => Err(inconclusive(code::NO_LINK, format!("{seen}; connect first"))),
        }
    }
}
