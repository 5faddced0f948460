//! The steps of one case.
//!
//! Steps only wait: channels own the I/O, and every wait is bounded by the step's own time, the case's and the run's, and ends at
//! once when the run is stopped. A stimulus takes the mark from which later expectations look *before* it is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use regex::bytes::Regex;

use super::{
    bench::Bench,
    console::Seen,
    cuts::{self, CutOptions},
    describe,
    desk::Desk,
    freeze::Freeze,
    images::Images,
    outage::Outage,
    outcome::{Ended, Ledger, code},
    probe::Wanted,
    record::Recorder,
    stop::StopSignal,
    values::{self, Unresolved, Values},
};
use crate::{
    channel::{
        console::Mark,
        link::{Cause, LinkError, Proof},
    },
    event::{Act, ChannelName, EvidenceRef, Fact, Limit, Nanos, Reason, StepId, StopLevel, Verdict},
    rig::model::{Device, OutcomeSpec, Procedure},
    step::{Comparison, FailAs, Outcome, Silence, Step, StepKind, Template, Within, pattern},
};

/// What all steps of a run share.
pub struct Shared {
    /// The device profile.
    pub device: Device,
    /// Images by role and name.
    pub images: Images,
    /// The channels.
    pub bench: Bench,
    /// The pen.
    pub recorder: Recorder,
    /// Stop requests.
    pub stop: StopSignal,
    /// How power-cut searches are done in this run.
    pub cuts: CutOptions,
    /// Where the operator is asked.
    pub desk: Desk,
}

/// One case (or the steps of `finally`) in execution.
pub struct Executor {
    pub(super) shared: Arc<Shared>,
    /// Case id, `finally` and the like: first part of every step id.
    scope: String,
    /// By when everything must have ended.
    pub(super) deadline: Nanos,
    pub(super) values: Values,
    /// Per console: where the next expectation looks from.
    pub(super) marks: BTreeMap<String, Mark>,
    /// Per cloud: where the next expectation looks from.
    pub(super) cloud_marks: BTreeMap<String, u64>,
    /// Per Bluetooth channel: from which notification on the next expectation looks.
    pub(super) notified: BTreeMap<String, u64>,
    pub(super) ledger: Ledger,
    /// The outage that holds.
    pub(super) outage: Option<Outage>,
    /// The service that is frozen.
    pub(super) freeze: Option<Freeze>,
    /// Secrets that a search through a channel has found in this case.
    pub(super) found: BTreeSet<(String, String)>,
    /// Whether stop requests end the steps; not in `finally`.
    stoppable: bool,
}

/// How one step ended well.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) evidence: Vec<EvidenceRef>,
    pub(super) judged: bool,
}

pub(super) type StepResult = Result<Passed, Ended>;
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        match error.cause {
            Cause::Instrument => Self::fault(error.to_string()),
            Cause::Person => Self::judged(Verdict::Inconclusive, code::OPERATOR, error.to_string()),
            Cause::Device => Self::judged(Verdict::Inconclusive, code::UNEXPECTED, error.to_string()),
        }
    }
}

impl From<Unresolved> for Ended {
    fn from(error: Unresolved) -> Self {
        Self::judged(Verdict::Inconclusive, code::UNEXPECTED, error.to_string())
    }
}

impl Executor {
    /// An executor for the steps of `scope`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, scope: impl Into<String>, deadline: Nanos, stoppable: bool) -> Self {
        let marks = shared.bench.consoles.iter().map(|(name, console)| (name.clone(), console.stand())).collect();
        let cloud_marks = shared.bench.cloud_logs.iter().map(|(name, log)| (name.clone(), log.mark())).collect();
        let notified = shared.bench.notifications.iter().map(|(name, log)| (name.clone(), log.mark())).collect();
        let (scope, values, ledger) = (scope.into(), Values::default(), Ledger::default());
        let found = BTreeSet::new();
        Self {
            shared,
            scope,
            deadline,
            values,
            marks,
            cloud_marks,
            notified,
            ledger,
            outage: None,
            freeze: None,
            found,
            stoppable,
        }
    }

    /// What was collected so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Forgets that steps so far judged the device: what prepares a case is not its judgement.
    pub fn forget_judgements(&mut self) {
        self.ledger.judged = 0;
    }

    /// Runs steps in order until one does not pass. `under` is empty or the step numbers above, `3.`.
    ///
    /// # Errors
    /// How the first step that did not pass ended, and its id.
    pub fn steps<'a>(&'a mut self, steps: &'a [Step], under: String) -> Boxed<'a, Result<(), (Ended, StepId)>> {
        Box::pin(async move {
            for (index, step) in steps.iter().enumerate() {
                let number = format!("{under}{}", index + 1);
                let id = StepId::new(format!("{}/{number}", self.scope));
                self.step(step, &id, &number).await.map_err(|(ended, deeper)| (ended, deeper.unwrap_or(id)))?;
            }
            Ok(())
        })
    }

    async fn step(&mut self, step: &Step, id: &StepId, number: &str) -> Result<(), (Ended, Option<StepId>)> {
        let recorder = self.shared.recorder.clone();
        if self.stoppable && self.shared.stop.level().is_some() {
            return Err((Ended::cancelled(), None));
        }
        if let Some(why) = recorder.failed() {
            return Err((Ended::judged(Verdict::Error, code::JOURNAL, format!("the journal cannot be written: {why}")), None));
        }
        recorder.fact(Fact::StepStarted { step: id.clone(), text: describe::step(step), deadline: self.deadline });
        let mut deeper = None;
        let result = self.perform(&step.kind, id, number, &mut deeper).await;
        let (verdict, reason, evidence) = match &result {
            Ok(passed) => {
                self.ledger.judged += u32::from(passed.judged);
                (Verdict::Pass, None, passed.evidence.clone())
            }
            Err(ended) => {
                let (verdict, reason, evidence) = ended.clone().into_parts();
                (verdict, Some(reason), evidence)
            }
        };
        recorder.fact(Fact::StepFinished { step: id.clone(), verdict, reason, evidence });
        result.map(|_| ()).map_err(|ended| (ended, deeper))
    }

    fn perform<'a>(
        &'a mut self,
        kind: &'a StepKind,
        id: &'a StepId,
        number: &'a str,
        deeper: &'a mut Option<StepId>,
    ) -> Boxed<'a, StepResult> {
        Box::pin(async move {
            match kind {
                StepKind::Power { channel, up } => self.power(channel, *up, id).await,
                StepKind::PowerCycle { channel, down_for } => {
                    self.power(channel, false, id).await?;
                    self.pause(*down_for).await?;
                    // What the device says after power-on counts, not what it said while it went down.
                    self.mark_all();
                    self.power(channel, true, id).await
                }
                StepKind::Press { channel, hold } => self.press(channel, *hold, id).await,
                StepKind::Send { channel, data } => self.send(channel, data).await,
                StepKind::Expect { channel, pattern, within, refused, silence, proves, fail_as } => match proves {
                    None => self.expect(channel, pattern, within, refused.as_ref(), *silence, fail_as.as_ref(), id).await,
                    Some(what) => self.expect_proof(channel, pattern, within, what, id).await,
                },
                StepKind::Refrain { channel, pattern, during, fail_as } => self.refrain(channel, pattern, during, fail_as).await,
                StepKind::SendImage { channel, image, chunk, ack, within, refused } => {
                    let image = self.text(image)?;
                    self.send_image(channel, &image, *chunk, ack, within, refused.as_ref(), id).await
                }
                StepKind::Flash { channel, images, erase_all } => self.flash(channel, images, *erase_all, id).await,
                StepKind::Reset { channel } => {
                    self.shared.bench.announce(channel, Act::Reset, Some(id)).await?;
                    self.mark_all();
                    let proof = self.probe(channel)?.lock().await.reset().await?;
                    Ok(self.stimulus(proof, id))
                }
                StepKind::ReadMemory { channel, address, length, readable, holds, lacks, fail_as } => {
                    let wanted = Wanted { readable: *readable, holds: holds.as_ref(), lacks: lacks.as_ref() };
                    self.read_memory(channel, *address, *length, wanted, fail_as.as_ref(), id).await
                }
                StepKind::Wait { time } => {
                    let time = values::span(time, &self.shared.device)?;
                    self.pause(time).await.map(|()| Passed::default())
                }
                StepKind::Do { procedure, with, expect, fail_as, silence } => {
                    self.procedure(procedure, with, *expect, fail_as.as_ref(), *silence, number, deeper).await
                }
                StepKind::Check { value, must, fail_as } => self.check(value, must, fail_as),
                StepKind::Measure { name, steps, at_most, fail_as } => {
                    self.measure(name, steps, at_most, fail_as, id, number, deeper).await
                }
                StepKind::Retry { attempts, pause, steps } => self.retry(*attempts, *pause, steps, id, number, deeper).await,
                StepKind::Line { channel, step } => self.line(channel, step, id).await,
                StepKind::Probe { channel, step } => self.probe_step(channel, step, id).await,
                StepKind::Usb { channel, step } => self.usb(channel, step, id).await,
                StepKind::Ble { channel, step } => self.ble(channel, step, id).await,
                StepKind::Network { channel, step } => self.network(channel, step, id).await,
                StepKind::Cloud { channel, step } => self.cloud(channel, step, id).await,
                StepKind::Api { channel, step } => self.api(channel, step, id).await,
                StepKind::Reconnect(step) => self.reconnect(step, id).await,
                StepKind::Button { channel, pressed } => self.button(channel, *pressed, id).await,
                StepKind::MeasureSupply { channel, step } => self.measure_supply(channel, step, id).await,
                StepKind::Prompt(step) => self.prompt(step, id).await,
                StepKind::PowerCutSearch { .. } => {
                    let shared = Arc::clone(&self.shared);
                    let found = cuts::search(self, &shared, kind, id, number).await;
                    found.map(|evidence| Passed { evidence, judged: true })
                }
            }
        })
    }

    // --- acts ---

    async fn power(&mut self, channel: &str, up: bool, id: &StepId) -> StepResult {
        self.mark_all();
        let shared = Arc::clone(&self.shared);
        let proof = self.bounded(shared.bench.power(channel, up, Some(id))).await??;
        Ok(self.stimulus(proof, id))
    }

    async fn press(&mut self, channel: &str, hold: Duration, id: &StepId) -> StepResult {
        self.mark_all();
        let shared = Arc::clone(&self.shared);
        let pressed = self.bounded(shared.bench.press(channel, true, Some(id))).await??;
        let held = self.pause(hold).await;
        // Released even if the wait was cut short.
        let released = shared.bench.press(channel, false, Some(id)).await?;
        held?;
        self.stimulus(pressed, id);
        Ok(self.stimulus(released, id))
    }

    // --- judgements ---

    fn check(&mut self, value: &Template, must: &Comparison, fail_as: &FailAs) -> StepResult {
        let value = self.text(value)?;
        let (holds, text) = match must {
            Comparison::Equals(other) => {
                let other = self.text(other)?;
                (value == other, format!("expected `{other}`, found `{value}`"))
            }
            Comparison::Differs(other) => {
                let other = self.text(other)?;
                (value != other, format!("expected anything but `{other}`, found it"))
            }
            Comparison::Matches(pattern) => {
                let pattern = self.values.pattern(pattern, &self.shared.device, &self.shared.images)?;
                (
                    compile(&format!(r"\A(?:{pattern})\z"))?.is_match(value.as_bytes()),
                    format!("expected `{pattern}`, found `{value}`"),
                )
            }
        };
        if holds { Ok(Passed { evidence: Vec::new(), judged: true }) } else { Err(failed(Some(fail_as), "", &text)) }
    }

    async fn measure(
        &mut self,
        name: &str,
        steps: &[Step],
        at_most: &Within,
        fail_as: &FailAs,
        id: &StepId,
        number: &str,
        deeper: &mut Option<StepId>,
    ) -> StepResult {
        let limit = values::span(at_most, &self.shared.device)?;
        let start = self.shared.bench.clock.now();
        self.nested(steps, number, deeper).await?;
        let took = self.shared.bench.clock.now().since(start);
        let within = took <= limit;
        self.shared.recorder.fact(Fact::Measured {
            step: id.clone(),
            name: name.to_owned(),
            value: took.as_secs_f64(),
            unit: "s".to_owned(),
            limit: Some(Limit { at_least: None, at_most: Some(limit.as_secs_f64()) }),
            within,
        });
        if within {
            return Ok(Passed { evidence: Vec::new(), judged: true });
        }
        Err(failed(Some(fail_as), "", &format!("{name} was {:.3} s, allowed {:.3} s", took.as_secs_f64(), limit.as_secs_f64())))
    }

    async fn retry(
        &mut self,
        attempts: u32,
        pause: Duration,
        steps: &[Step],
        id: &StepId,
        number: &str,
        deeper: &mut Option<StepId>,
    ) -> StepResult {
        for attempt in 1.. {
            match self.nested(steps, number, deeper).await {
                Ok(()) => break,
                Err(ended) => {
                    let (verdict, reason, _) = ended.clone().into_parts();
                    // A bench fault is not something to try again until it looks like a pass.
                    let stopped = self.stoppable && self.shared.stop.level().is_some();
                    if attempt >= attempts || verdict == Verdict::Error || stopped {
                        return Err(ended);
                    }
                    self.shared.recorder.fact(Fact::AttemptFailed { step: id.clone(), attempt, of: attempts, reason });
                    *deeper = None;
                    self.pause(pause).await?;
                }
            }
        }
        Ok(Passed::default())
    }

    // --- procedures ---

    async fn procedure(
        &mut self,
        name: &str,
        with: &[(String, Template)],
        wanted: Outcome,
        fail_as: Option<&FailAs>,
        silence: Silence,
        number: &str,
        deeper: &mut Option<StepId>,
    ) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let spec = shared.device.procedures.get(name).ok_or_else(|| Unresolved { name: name.to_owned() })?;
        let mut inner = Values::default();
        for (parameter, value) in with {
            inner.set(parameter, self.text(value)?);
        }
        let outer = std::mem::replace(&mut self.values, inner);
        let result = self.outcome(spec, silence, fail_as, number, deeper).await;
        let inner = std::mem::replace(&mut self.values, outer);
        for value in &spec.returns {
            if let Some(found) = inner.get(value) {
                self.values.set(value, found);
            }
        }
        let (outcome, words, evidence) = match wanted {
            Outcome::Done => result.map_err(|ended| named(ended, fail_as))?,
            // The reason is for a device that did what it should have refused, not for one that did not get that far.
            Outcome::Refused => result?,
        };
        match (wanted, outcome) {
            (Outcome::Done, Outcome::Done) | (Outcome::Refused, Outcome::Refused) => Ok(Passed { evidence, judged: true }),
            (Outcome::Refused, Outcome::Done) => {
                Err(failed(fail_as, code::NOT_REFUSED, &format!("{name} should have been refused, but was done: {words}"))
                    .with(evidence))
            }
            (Outcome::Done, Outcome::Refused) => {
                Err(failed(fail_as, code::REFUSED, &format!("{name} was refused: {words}")).with(evidence))
            }
        }
    }

    /// Runs a procedure's steps and recognises its outcome.
    async fn outcome(
        &mut self,
        spec: &Procedure,
        silence: Silence,
        fail_as: Option<&FailAs>,
        number: &str,
        deeper: &mut Option<StepId>,
    ) -> Result<(Outcome, String, Vec<EvidenceRef>), Ended> {
        let mut refused = None;
        match self.nested(&spec.steps, number, deeper).await {
            Ok(()) => {}
            Err(Ended::Refused { words, evidence }) => {
                *deeper = None;
                refused = Some((words, evidence));
            }
            Err(ended) => return Err(ended),
        }
        let Some(end) = &spec.outcome else {
            return Ok(refused
                .map_or((Outcome::Done, String::new(), Vec::new()), |(words, evidence)| (Outcome::Refused, words, evidence)));
        };
        let found = match refused {
            Some((words, evidence)) => (Outcome::Refused, words, evidence),
            None => self.recognise(end, silence, fail_as).await?,
        };
        if let Some(then) = &end.then {
            let patterns = self.patterns(then, None)?;
            let allowed = values::span(&end.within, &self.shared.device)?;
            match self.await_any(&end.channel, &patterns, allowed).await? {
                Seen::Match { captures, .. } => captures.into_iter().for_each(|(name, value)| self.values.set(name, value)),
                Seen::Nothing { text, evidence, .. } => {
                    let text = format!("the device did not come up again: {text}");
                    return Err(failed(fail_as, code::NOT_READY, &text).with(evidence));
                }
            }
        }
        Ok(found)
    }

    async fn recognise(
        &mut self,
        end: &OutcomeSpec,
        silence: Silence,
        fail_as: Option<&FailAs>,
    ) -> Result<(Outcome, String, Vec<EvidenceRef>), Ended> {
        let patterns = self.patterns(&end.done, end.refused.as_ref())?;
        let allowed = values::span(&end.within, &self.shared.device)?;
        match self.await_any(&end.channel, &patterns, allowed).await? {
            Seen::Match { which, words, captures, evidence } => {
                for (name, value) in captures {
                    self.values.set(name, value);
                }
                Ok((if which == 0 { Outcome::Done } else { Outcome::Refused }, words, vec![evidence]))
            }
            Seen::Nothing { text, evidence, silent } => Err(unseen(silent, silence, fail_as, &text).with(evidence)),
        }
    }

    /// Runs steps below the current one; the id of the deepest step that did not pass goes to `deeper`.
    pub(super) async fn nested(&mut self, steps: &[Step], number: &str, deeper: &mut Option<StepId>) -> Result<(), Ended> {
        self.steps(steps, format!("{number}.")).await.map_err(|(ended, id)| {
            *deeper = Some(id);
            ended
        })
    }

    // --- waiting ---

    /// Lets bench time pass.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Ended> {
        let clock = &self.shared.bench.clock;
        let until = clock.now().after(time);
        tokio::select! {
            biased;
            () = self.stopped() => return Err(Ended::cancelled()),
            () = clock.sleep_until(until.min(self.deadline)) => {}
        }
        if until > self.deadline { Err(out_of_time()) } else { Ok(()) }
    }

    /// Bounds an act of the bench by the case's deadline and the stop signal.
    pub(super) async fn bounded<T>(&self, act: impl Future<Output = T> + Send) -> Result<T, Ended> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Ended::cancelled()),
            done = act => Ok(done),
        }
    }

    /// Completes when waiting is to end.
    pub(super) async fn stopped(&self) {
        if self.stoppable {
            self.shared.stop.reached(StopLevel::Now).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    // --- small things ---

    /// Sets the mark of every console, of every cloud and of all notifications to now. Called before each stimulus.
    pub(super) fn mark_all(&mut self) {
        for (name, log) in &self.shared.bench.notifications {
            self.notified.insert(name.clone(), log.mark());
        }
        for (name, log) in &self.shared.bench.cloud_logs {
            self.cloud_marks.insert(name.clone(), log.mark());
        }
        for (name, console) in &self.shared.bench.consoles {
            self.marks.insert(name.clone(), console.stand());
        }
    }

    pub(super) fn stimulus(&mut self, proof: Proof, id: &StepId) -> Passed {
        match proof {
            Proof::Seen(witness) => self.shared.recorder.fact(Fact::Witnessed { step: id.clone(), witness }),
            Proof::None(missing) => {
                self.ledger.unwitnessed.push(missing.clone());
                self.shared.recorder.fact(Fact::Unwitnessed { step: id.clone(), missing });
            }
        }
        Passed::default()
    }

    pub(super) fn matched(
        &mut self,
        id: &StepId,
        channel: &str,
        pattern: &str,
        captures: &BTreeMap<String, String>,
        evidence: &EvidenceRef,
    ) {
        for (name, value) in captures {
            self.values.set(name, value);
        }
        self.shared.recorder.fact(Fact::Matched {
            step: id.clone(),
            channel: ChannelName::new(channel),
            pattern: pattern.to_owned(),
            evidence: evidence.clone(),
            captures: captures.clone(),
        });
    }

    pub(super) fn probe(&self, channel: &str) -> Result<&tokio::sync::Mutex<Box<dyn crate::channel::link::ProbeLink>>, Ended> {
        self.shared.bench.probes.get(channel).ok_or_else(|| Ended::fault(format!("the rig has no probe channel {channel}")))
    }

    pub(super) fn text(&self, template: &Template) -> Result<String, Unresolved> {
        self.values.text(template, &self.shared.device, &self.shared.images)
    }

    pub(super) fn pattern(&self, template: &Template) -> Result<String, Unresolved> {
        self.values.pattern(template, &self.shared.device, &self.shared.images)
    }
}

/// What it means that something did not appear: a silent device is what the plan says, one that spoke otherwise has failed if the
/// step has a reason for it.
pub(super) fn unseen(silent: bool, silence: Silence, fail_as: Option<&FailAs>, text: &str) -> Ended {
    match (silent, silence, fail_as) {
        (true, Silence::Inconclusive, _) => Ended::judged(Verdict::Inconclusive, code::SILENT, text),
        (true, Silence::Fail, _) => failed(fail_as, code::SILENT, text),
        (false, _, Some(_)) | (false, Silence::Fail, None) => failed(fail_as, code::UNEXPECTED, text),
        (false, Silence::Inconclusive, None) => Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text),
    }
}

/// A failure of the device, in the plan's words where it has some.
pub(super) fn failed(fail_as: Option<&FailAs>, otherwise: &str, seen: &str) -> Ended {
    let (code, text) = match fail_as {
        Some(FailAs { code, text }) if text.is_empty() => (code.as_str(), seen.to_owned()),
        Some(FailAs { code, text }) => (code.as_str(), format!("{} ({seen})", text.trim_end_matches('.'))),
        None => (otherwise, seen.to_owned()),
    };
    Ended::Judged { verdict: Verdict::Fail, reason: Reason { code: code.to_owned(), text }, evidence: Vec::new() }
}

/// A failure inside a procedure that has only a general code: the caller's reason says what it means. Reasons of the procedure's own stay.
fn named(ended: Ended, fail_as: Option<&FailAs>) -> Ended {
    const GENERAL: &[&str] = &[code::REFUSED, code::NOT_REFUSED, code::NOT_READY, code::UNEXPECTED, code::SILENT];
    match ended {
        Ended::Judged { verdict: Verdict::Fail, reason, evidence } if GENERAL.contains(&reason.code.as_str()) => {
            failed(fail_as, &reason.code, &reason.text).with(evidence)
        }
        ended => ended,
    }
}

pub(super) fn out_of_time() -> Ended {
    Ended::judged(Verdict::Inconclusive, code::DEADLINE, "the time allowed for this case is over")
}

pub(super) fn compile(source: &str) -> Result<Regex, Ended> {
    pattern::compile(source).map_err(|why| Ended::fault(format!("pattern `{source}`: {why}")))
}
