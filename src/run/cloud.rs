//! Steps at the device's cloud.
//!
//! What happened is judged from the log of the service, from the mark set before the last stimulus. A log that could not see, because the
//! port was closed, makes absence inconclusive; a recorder that ended by itself is a fault of the bench.

use std::{sync::Arc, time::Duration};

use regex::bytes::Regex;

use super::{
    execute::{Executor, Passed, StepResult, compile, failed, out_of_time, unseen},
    freeze::Freeze,
    outcome::{Ended, code},
    values::{self, Unresolved},
};
use crate::{
    channel::{
        cloud::{Behaviour, CloudEvent, CloudLog, EventKind},
        link::Proof,
    },
    event::{Act, ChannelName, Digest, EvidenceRef, Fact, Limit, Nanos, StepId, Verdict, Witness},
    step::{
        FailAs, Silence, Template, Within,
        cloud::{CloudStep, EventPattern, rate},
    },
};

/// What a wait at a service ended with.
enum Met {
    /// The event.
    Event(Box<CloudEvent>),
    /// Time is over; what the device did instead.
    Nothing {
        /// Events of the device since the mark.
        others: u64,
        /// The last of them.
        last: Option<Box<CloudEvent>>,
    },
}

/// What is looked for in a log.
struct Wanted {
    kind: EventKind,
    pattern: Option<(String, Regex)>,
    /// Event without which absence means nothing.
    needs: Option<EventKind>,
}

impl Wanted {
    fn is(&self, event: &CloudEvent) -> bool {
        event.kind == self.kind && self.pattern.as_ref().is_none_or(|(_, regex)| regex.is_match(event.text.as_bytes()))
    }
}

impl Executor {
    pub(super) async fn cloud(&mut self, channel: &str, step: &CloudStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no cloud channel {channel}"));
        let cloud = shared.bench.clouds.get(channel).ok_or_else(missing)?;
        match step {
            CloudStep::Behave(behaviour) => {
                shared.bench.announce(channel, Act::Exchange { what: step.describe(channel) }, Some(id)).await?;
                self.end_freeze();
                self.mark_all();
                if *behaviour == Behaviour::Silent {
                    self.freeze = Some(Freeze::ordered(channel, self.log(channel)?.mark(), id));
                }
                let proof = self.bounded(async { cloud.lock().await.behave(*behaviour).await }).await??;
                Ok(self.stimulus(proof, id))
            }
            CloudStep::Publish { topic, payload } => {
                let (topic, payload) = (self.text(topic)?, self.text(payload)?);
                let what = format!("publish {} bytes to {topic} at {channel}", payload.len());
                shared.bench.announce(channel, Act::Exchange { what }, Some(id)).await?;
                self.mark_all();
                let act = async { cloud.lock().await.publish(topic, payload.into_bytes()).await };
                let proof = self.bounded(act).await??;
                Ok(self.stimulus(proof, id))
            }
            CloudStep::Offer { path, image } => {
                let (path, name) = (self.text(path)?, self.text(image)?);
                let image = shared.images.get(&name).ok_or_else(|| Unresolved { name: format!("image.{name}") })?;
                shared
                    .bench
                    .announce(channel, Act::Exchange { what: format!("offer {name} as {path} at {channel}") }, Some(id))
                    .await?;
                self.mark_all();
                let act = async { cloud.lock().await.offer(path, Arc::clone(&image.bytes)).await };
                let proof = match (self.bounded(act).await??, image.doubt(&name)) {
                    (Proof::Seen(_), Some(doubt)) => Proof::None(doubt),
                    (Proof::Seen(witness), None) => {
                        let how = image.difference.as_ref().map_or_else(String::new, |d| {
                            format!("; it differs from {} in {} bytes from byte {} on", d.from, d.bytes, d.first)
                        });
                        let what = format!("{}: {name} ({}){how}", witness.what, &Digest::of(&image.bytes).0[..16]);
                        Proof::Seen(Witness { what, ..witness })
                    }
                    (none @ Proof::None(_), _) => none,
                };
                Ok(self.stimulus(proof, id))
            }
            CloudStep::Expect { what, within, silence, fail_as } => {
                self.cloud_expect(channel, what, within, *silence, fail_as.as_ref(), id).await
            }
            CloudStep::Refrain { what, during, needs, fail_as } => {
                self.cloud_refrain(channel, what, during, *needs, fail_as, id).await
            }
            CloudStep::Attempts { event, during, at_most, at_least, silence, fail_as } => {
                let limits = (self.limit(at_most.as_ref())?, self.limit(at_least.as_ref())?);
                self.cloud_attempts(channel, *event, during, limits, *silence, fail_as, id).await
            }
            CloudStep::Intervals { event, count, within, save_as } => {
                self.cloud_intervals(channel, (*event, *count), within, save_as, id).await
            }
        }
    }

    pub(super) fn log(&self, channel: &str) -> Result<Arc<CloudLog>, Ended> {
        let log = self.shared.bench.cloud_logs.get(channel);
        log.cloned().ok_or_else(|| Ended::fault(format!("the rig has no cloud channel {channel}")))
    }

    fn wanted(&self, what: &EventPattern, needs: Option<EventKind>) -> Result<Wanted, Ended> {
        let pattern = match &what.pattern {
            None => None,
            Some(pattern) => {
                let source = self.values.pattern(pattern, &self.shared.device, &self.shared.images)?;
                let regex = compile(&source)?;
                Some((source, regex))
            }
        };
        Ok(Wanted { kind: what.kind, pattern, needs })
    }

    fn limit(&self, template: Option<&Template>) -> Result<Option<f64>, Ended> {
        let Some(template) = template else { return Ok(None) };
        let text = self.text(template)?;
        let what =
            || Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, format!("`{text}` is no number of attempts a minute"));
        rate(&text).map(Some).ok_or_else(what)
    }

    async fn cloud_expect(
        &mut self,
        channel: &str,
        what: &EventPattern,
        within: &Within,
        silence: Silence,
        fail_as: Option<&FailAs>,
        id: &StepId,
    ) -> StepResult {
        let allowed = values::span(within, &self.shared.device)?;
        let (log, wanted) = (self.log(channel)?, self.wanted(what, None)?);
        let begun = log.now();
        let own = self.shared.bench.clock.now().after(allowed);
        match self.meet(channel, &log, &wanted, own.min(self.deadline)).await? {
            Met::Event(event) => {
                self.cloud_marks.insert(channel.to_owned(), event.seq + 1);
                let evidence = self.write(id, channel, &event.json());
                if let Some(evidence) = evidence.first() {
                    self.capture(channel, &wanted, &event, evidence, id);
                }
                Ok(Passed { evidence, judged: true })
            }
            Met::Nothing { .. } if own > self.deadline => Err(out_of_time()),
            Met::Nothing { .. } if log.was_blind_since(begun) => Err(blind(channel)),
            Met::Nothing { others, last } => {
                let seen = match last {
                    None => "the device did nothing at all".to_owned(),
                    Some(last) => {
                        format!("the device did {others} other things, last {}: {}", last.kind.word(), last.text)
                    }
                };
                let text = format!("no {what} at {channel} within {allowed:?}; {seen}");
                Err(unseen(others == 0, silence, fail_as, &text))
            }
        }
    }

    async fn cloud_refrain(
        &mut self,
        channel: &str,
        what: &EventPattern,
        during: &Within,
        needs: Option<EventKind>,
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let span = values::span(during, &self.shared.device)?;
        let (log, wanted) = (self.log(channel)?, self.wanted(what, needs)?);
        let begun = log.now();
        let own = self.shared.bench.clock.now().after(span);
        let from = self.mark_of(channel);
        match self.meet(channel, &log, &wanted, own.min(self.deadline)).await? {
            Met::Event(event) => {
                let evidence = self.write(id, channel, &event.json());
                let text = format!("{} at {channel}: {}", event.kind.word(), event.text);
                Err(failed(Some(fail_as), "", &text).with(evidence))
            }
            Met::Nothing { .. } if own > self.deadline => {
                let text = "the case ended before the time of this step was over";
                Err(Ended::judged(Verdict::Inconclusive, code::DEADLINE, text))
            }
            Met::Nothing { .. } if log.was_blind_since(begun) => Err(blind(channel)),
            Met::Nothing { .. } => {
                let tried = |needs: EventKind| log.since(from).events.iter().any(|event| event.kind == needs && !event.by_bench);
                if let Some(needs) = wanted.needs.filter(|needs| !tried(*needs)) {
                    let text =
                        format!("there was no {} at {channel} either, so that there was no {what} says nothing", needs.word());
                    return Err(Ended::judged(Verdict::Inconclusive, code::SILENT, text));
                }
                Ok(Passed { evidence: Vec::new(), judged: true })
            }
        }
    }

    async fn cloud_attempts(
        &mut self,
        channel: &str,
        kind: EventKind,
        during: &Within,
        (at_most, at_least): (Option<f64>, Option<f64>),
        silence: Silence,
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let span = values::span(during, &self.shared.device)?;
        let log = self.log(channel)?;
        let (begun, from) = (log.now(), log.mark());
        self.pause(span).await?;
        let (ended, since) = (log.now(), log.since(from));
        if let Some(why) = since.lost {
            return Err(lost(channel, &why));
        }
        if log.was_blind_since(begun) {
            return Err(blind(channel));
        }
        let times: Vec<Duration> =
            since.events.iter().filter(|event| event.kind == kind && !event.by_bench).map(|event| event.at).collect();
        let minutes = ended.saturating_sub(begun).max(Duration::from_millis(1)).as_secs_f64() / 60.0;
        let per_minute = times.len() as f64 / minutes;
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        let record = serde_json::json!({
            "event": kind.word(), "during_s": seconds(ended.saturating_sub(begun)), "count": times.len(), "per_minute": per_minute,
            "complete": !since.gap,
            "at_s": times.iter().map(|at| seconds(at.saturating_sub(begun))).collect::<Vec<_>>(),
            "intervals_s": times.windows(2).map(|pair| seconds(pair[1].saturating_sub(pair[0]))).collect::<Vec<_>>(),
        });
        let evidence = self.write(id, channel, &record.to_string());
        let (too_many, too_few) =
            (at_most.is_some_and(|most| per_minute > most), at_least.is_some_and(|least| per_minute < least));
        self.shared.recorder.fact(Fact::Measured {
            step: id.clone(),
            name: "attempts".to_owned(),
            value: per_minute,
            unit: "1/min".to_owned(),
            limit: Some(Limit { at_least, at_most }),
            within: !too_many && !too_few,
        });
        let text = format!("{} {} at {channel} in {span:?}, {per_minute:.1} a minute", times.len(), kind.word());
        // A device that does not try at all may be switched off: its rate is not known to be good.
        if times.is_empty() && at_least != Some(0.0) {
            return Err(unseen(true, silence, Some(fail_as), &text).with(evidence));
        }
        if too_many {
            return Err(
                failed(Some(fail_as), "", &format!("{text}, allowed at most {}", at_most.unwrap_or_default())).with(evidence)
            );
        }
        if since.gap {
            let text = format!("{text}, and more that are no longer in memory");
            return Err(Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text).with(evidence));
        }
        if too_few {
            return Err(
                failed(Some(fail_as), "", &format!("{text}, allowed at least {}", at_least.unwrap_or_default())).with(evidence)
            );
        }
        Ok(Passed { evidence, judged: true })
    }

    pub(super) fn mark_of(&self, channel: &str) -> u64 {
        self.cloud_marks.get(channel).copied().unwrap_or(0)
    }

    /// Waits for an event from the mark on.
    async fn meet(&self, channel: &str, log: &CloudLog, wanted: &Wanted, until: Nanos) -> Result<Met, Ended> {
        let mut changes = log.changes();
        let (mut next, mut others, mut last) = (self.mark_of(channel), 0, None);
        let clock = &self.shared.bench.clock;
        loop {
            let since = log.since(next);
            for event in since.events {
                next = event.seq + 1;
                if wanted.is(&event) {
                    return Ok(Met::Event(Box::new(event)));
                }
                if !event.by_bench {
                    others += 1;
                    last = Some(Box::new(event));
                }
            }
            if let Some(why) = since.lost {
                return Err(lost(channel, &why));
            }
            if since.gap {
                let text = format!("{channel}: so much happened that the oldest of it is no longer in memory");
                return Err(Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text));
            }
            if clock.now() >= until {
                return Ok(Met::Nothing { others, last });
            }
            tokio::select! {
                biased;
                () = self.stopped() => return Err(Ended::cancelled()),
                changed = changes.changed() => if changed.is_err() { return Err(lost(channel, "its log is gone")) },
                () = clock.sleep_until(until) => {}
            }
        }
    }

    fn capture(&mut self, channel: &str, wanted: &Wanted, event: &CloudEvent, evidence: &EvidenceRef, id: &StepId) {
        let mut captures = std::collections::BTreeMap::new();
        if let Some((_, regex)) = &wanted.pattern
            && let Some(found) = regex.captures(event.text.as_bytes())
        {
            for name in regex.capture_names().flatten() {
                if let Some(value) = found.name(name) {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    self.values.set(name, &value);
                    captures.insert(name.to_owned(), value);
                }
            }
        }
        let pattern = wanted.pattern.as_ref().map_or_else(String::new, |(source, _)| format!(" {source}"));
        self.shared.recorder.fact(Fact::Matched {
            step: id.clone(),
            channel: ChannelName::new(channel),
            pattern: format!("{}{pattern}", wanted.kind.word()),
            evidence: evidence.clone(),
            captures,
        });
    }

    pub(super) fn write(&self, id: &StepId, channel: &str, json: &str) -> Vec<EvidenceRef> {
        let name = format!("{channel}-{}.json", id.as_str().replace(['/', '.'], "-"));
        self.shared.recorder.evidence(&name, format!("{json}\n").as_bytes()).into_iter().collect()
    }
}

pub(super) fn lost(channel: &str, why: &str) -> Ended {
    Ended::fault(format!("cloud channel {channel} no longer sees what the device does: {why}"))
}

pub(super) fn blind(channel: &str) -> Ended {
    let text = format!(
        "the port of {channel} was closed meanwhile, and attempts at a closed port leave no trace; use `reset` to refuse visibly"
    );
    Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text)
}
