//! The power-cut search as a step: record a good operation, cut it at every flash operation, judge each.
//!
//! The device is questioned after each cut with the profile's own procedures, compiled here to console exchanges, because
//! hundreds of thousands of cuts are judged on copies of the device and not through the channels of the bench.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    execute::{Executor, Shared, compile, failed},
    outcome::{Ended, code},
    values::{self, Unresolved, Values},
};
use crate::{
    channel::link::{CutLab, CutPlan, CutProgress, CutSelect, CutSummary, Exchange, LinkError},
    event::{CutOutcome, CutPoint, EvidenceRef, Fact, Reason, StepId, StopLevel, Verdict},
    rig::model::Interruption,
    step::{SendData, Step, StepKind},
};

/// Bad points that get a fact and a transcript of their own; the others are only counted.
const TOLD: u32 = 50;

/// Procedures may call procedures this deep.
const DEPTH: u32 = 8;

/// How power-cut searches are done in a run.
#[derive(Debug, Clone, Default)]
pub struct CutOptions {
    /// Only this point.
    pub only: Option<CutPoint>,
    /// Threads; 0 for one per core.
    pub threads: usize,
    /// Execute every signature check instead of remembering those already seen.
    pub execute_checks: bool,
    /// Command line that repeats this run, without `--case` and `--cut`.
    pub command: String,
}

/// Performs a [`StepKind::PowerCutSearch`].
///
/// # Errors
/// The good operation did not pass, the bench could not search, or a cut had a bad outcome.
pub async fn search(
    executor: &mut Executor,
    shared: &Arc<Shared>,
    kind: &StepKind,
    id: &StepId,
    number: &str,
) -> Result<Vec<EvidenceRef>, Ended> {
    let StepKind::PowerCutSearch { channel, during, old, new, torn, second, settings, fail_as } = kind else {
        return Err(Ended::fault("not a power-cut search"));
    };
    let lab = match shared.bench.supplies.get(channel) {
        Some(supply) => supply.lock().await.cut_lab(),
        None => None,
    };
    let lab =
        lab.ok_or_else(|| Ended::fault(format!("the supply on {channel} cannot see flash operations; use a virtual rig")))?;
    let plan = cut_plan(shared, old, new, *torn, *second, settings.as_deref())?;

    blocking(shared, &lab, |lab| lab.begin()).await?;
    let mut deeper = None;
    let good = executor.nested(during, number, &mut deeper).await;
    let baseline = blocking(shared, &lab, |lab| lab.end()).await;
    good?;
    let baseline = baseline?;
    if baseline.operations == 0 {
        let text = "the uninterrupted operation made no flash operation, so there was nothing to cut";
        return Err(Ended::judged(Verdict::Inconclusive, code::NO_WITNESS, text));
    }
    let found = run(shared, lab, plan, id, baseline.operations).await?;
    let Found { judged, of, bad, .. } = found;
    if let Some(of) = of {
        // What comes first is no random sample of what would have come: any point that was not judged may be bad.
        let upper_95 = if judged < of { may_be_bad(bad, judged, of) } else { upper_bound(bad, judged, found.exhaustive) };
        shared.recorder.fact(Fact::CutsFinished { step: id.clone(), judged, of, bad, upper_95 });
    }
    if let Some(outcome) = found.worst {
        let told = found.told.map(|(point, reproduce)| format!(" at {point}; repeat it with: {reproduce}")).unwrap_or_default();
        let text = format!("{bad} of {judged} cuts ended badly; worst: {}{told}", words(outcome));
        // The plan's own words are about the value that it asks for, and about nothing worse.
        if outcome == CutOutcome::SettingsLost {
            return Err(failed(fail_as.as_ref(), outcome.reason_code().unwrap_or(code::UNEXPECTED), &text).with(found.evidence));
        }
        let code = outcome.reason_code().unwrap_or(code::UNEXPECTED).to_owned();
        return Err(Ended::Judged { verdict: Verdict::Fail, reason: Reason { code, text }, evidence: found.evidence });
    }
    if of.is_none_or(|of| judged < of) {
        return Err(Ended::cancelled());
    }
    Ok(found.evidence)
}

/// Calls the laboratory off the executor. A stop that is to be obeyed at once does not wait for it.
async fn blocking<T: Send + 'static>(
    shared: &Shared,
    lab: &Arc<dyn CutLab>,
    call: impl FnOnce(&dyn CutLab) -> Result<T, LinkError> + Send + 'static,
) -> Result<T, Ended> {
    let lab = Arc::clone(lab);
    let call = tokio::task::spawn_blocking(move || call(&*lab));
    tokio::select! {
        biased;
        () = shared.stop.reached(StopLevel::Now) => Err(Ended::cancelled()),
        called = call => Ok(called.map_err(|error| broke_off(&error))??),
    }
}

fn broke_off(error: &tokio::task::JoinError) -> Ended {
    Ended::judged(Verdict::Error, code::BUG, format!("the power-cut search broke off: {error}"))
}

/// What a search has come to, whether it was stopped or not.
#[derive(Default)]
struct Found {
    judged: u64,
    /// Points there are, if they were counted before it was stopped.
    of: Option<u64>,
    bad: u64,
    exhaustive: bool,
    worst: Option<CutOutcome>,
    /// A point with the worst outcome, and how to repeat it.
    told: Option<(CutPoint, String)>,
    evidence: Vec<EvidenceRef>,
}

/// Runs the search off the executor and writes its facts as they come.
async fn run(shared: &Arc<Shared>, lab: Arc<dyn CutLab>, plan: CutPlan, id: &StepId, operations: u32) -> Result<Found, Ended> {
    let (tx, mut rx) = mpsc::channel(64);
    let stop = shared.stop.clone();
    let search = tokio::task::spawn_blocking(move || {
        let keep_going = || stop.level().is_none() && !tx.is_closed();
        // Who no longer listens has stopped the search.
        lab.search(&plan, &mut |progress| drop(tx.blocking_send(progress)), &keep_going)
    });
    let mut found = Found::default();
    let mut bad_told = 0_u32;
    loop {
        let progress = tokio::select! {
            biased;
            // The point that is under way is not waited for; its result goes nowhere.
            () = shared.stop.reached(StopLevel::Now) => return Ok(found),
            progress = rx.recv() => progress,
        };
        match progress {
            None => break,
            Some(CutProgress::Counted(points)) => {
                found.of = Some(points);
                shared.recorder.fact(Fact::CutBaseline { step: id.clone(), operations, points });
            }
            Some(CutProgress::Judged(outcomes)) => {
                let first = found.judged;
                for (outcome, n) in &outcomes {
                    found.judged += u64::from(*n);
                    if !outcome.is_good() {
                        found.bad += u64::from(*n);
                        if found.worst.is_none_or(|worst| *outcome > worst) {
                            (found.worst, found.told) = (Some(*outcome), None);
                        }
                    }
                }
                shared.recorder.fact(Fact::CutsJudged { step: id.clone(), first, outcomes });
            }
            Some(CutProgress::Told { point, outcome, transcript }) => {
                let case = id.as_str().split('/').next().unwrap_or_default();
                let reproduce = format!("{} --case {case} --cut {point}", shared.cuts.command);
                if outcome.is_good() || bad_told < TOLD {
                    bad_told += u32::from(!outcome.is_good());
                    let name = format!("cut-{}.txt", point.to_string().replace([':', '+'], "-"));
                    let place = shared.recorder.evidence(&name, transcript.as_bytes());
                    if !outcome.is_good() {
                        let (step, evidence, reproduce) = (id.clone(), place.clone(), reproduce.clone());
                        shared.recorder.fact(Fact::CutFailed { step, point, outcome, evidence, reproduce });
                    }
                    found.evidence.extend(place.filter(|_| found.evidence.len() < 4));
                }
                if found.told.is_none() && found.worst == Some(outcome) {
                    found.told = Some((point, reproduce));
                }
            }
        }
    }
    let summary: CutSummary = search.await.map_err(|error| broke_off(&error))??;
    found.exhaustive = summary.exhaustive;
    Ok(found)
}

fn cut_plan(shared: &Shared, old: &str, new: &str, torn: u32, second: u32, settings: Option<&str>) -> Result<CutPlan, Ended> {
    let spec =
        shared.device.interruption.as_ref().ok_or_else(|| Ended::fault("the device profile declares no `interruption`"))?;
    let version = |role: &str| {
        let known = shared.images.get(role).and_then(|image| image.version.clone());
        known.ok_or_else(|| Unresolved { name: format!("image.{role}.version") })
    };
    let ready = Values::default().pattern(&spec.ready, &shared.device, &shared.images)?;
    let exchanges = |procedure: &str, image: Option<&str>| compile_procedure(shared, spec, procedure, image);
    Ok(CutPlan {
        select: shared.cuts.only.map_or(CutSelect::All, CutSelect::One),
        torn,
        second,
        ready: compile(&ready)?,
        recovery: values::span(&spec.recovery, &shared.device)?,
        old_version: version(old)?,
        new_version: version(new)?,
        settings: exchanges(settings.unwrap_or(&spec.settings), None)?,
        counter: exchanges(&spec.counter, None)?,
        confirm: exchanges(&spec.confirm, None)?,
        update: [exchanges(&spec.update, Some(new))?, exchanges(&spec.confirm, None)?].concat(),
        threads: shared.cuts.threads,
        memoise: !shared.cuts.execute_checks,
    })
}

fn compile_procedure(shared: &Shared, spec: &Interruption, name: &str, image: Option<&str>) -> Result<Vec<Exchange>, Ended> {
    let mut values = Values::default();
    if let Some(image) = image {
        values.set("image", image);
    }
    let mut out = Vec::new();
    procedure(shared, spec, name, &values, DEPTH, &mut out)?;
    Ok(out)
}

fn procedure(
    shared: &Shared,
    spec: &Interruption,
    name: &str,
    values: &Values,
    depth: u32,
    out: &mut Vec<Exchange>,
) -> Result<(), Ended> {
    let found = shared.device.procedures.get(name).ok_or_else(|| Unresolved { name: name.to_owned() })?;
    if depth == 0 {
        return Err(Ended::fault(format!("procedure {name} calls itself")));
    }
    steps(shared, spec, &found.steps, values, depth, out)?;
    if let Some(end) = &found.outcome {
        let pattern = |template| compile(&values.pattern(template, &shared.device, &shared.images)?);
        let within = values::span(&end.within, &shared.device)?;
        wait_for(out, pattern(&end.done)?, within);
        if let Some(then) = &end.then {
            wait_for(out, pattern(then)?, within);
        }
    }
    Ok(())
}

fn steps(
    shared: &Shared,
    spec: &Interruption,
    steps: &[Step],
    values: &Values,
    depth: u32,
    out: &mut Vec<Exchange>,
) -> Result<(), Ended> {
    let (device, images) = (&shared.device, &shared.images);
    for step in steps {
        match &step.kind {
            StepKind::Send { channel, data } if *channel == spec.channel => {
                let send = match data {
                    SendData::Line(text) => format!("{}\n", values.text(text, device, images)?).into_bytes(),
                    SendData::Text(text) => values.text(text, device, images)?.into_bytes(),
                    SendData::Bytes(bytes) => bytes.clone(),
                };
                out.push(Exchange { send, expect: None, within: Duration::ZERO });
            }
            StepKind::Expect { channel, pattern, within, .. } if *channel == spec.channel => {
                wait_for(out, compile(&values.pattern(pattern, device, images)?)?, values::span(within, device)?);
            }
            StepKind::SendImage { channel, image, chunk, ack, within, .. } if *channel == spec.channel => {
                let name = values.text(image, device, images)?;
                let image = images.get(&name).ok_or_else(|| Unresolved { name: format!("image.{name}") })?;
                let expect = compile(&values.pattern(ack, device, images)?)?;
                let within = values::span(within, device)?;
                for part in image.bytes.chunks((*chunk).max(1) as usize) {
                    out.push(Exchange { send: part.to_vec(), expect: Some(expect.clone()), within });
                }
            }
            StepKind::Do { procedure: name, with, .. } => {
                let mut inner = Values::default();
                for (parameter, value) in with {
                    inner.set(parameter, values.text(value, device, images)?);
                }
                procedure(shared, spec, name, &inner, depth - 1, out)?;
            }
            _ => {
                let what = super::describe::step(step);
                return Err(Ended::fault(format!("`{what}` cannot be part of a procedure that a power-cut search uses")));
            }
        }
    }
    Ok(())
}

/// Adds an expectation to what was sent last, or an exchange that only waits.
fn wait_for(out: &mut Vec<Exchange>, pattern: regex::bytes::Regex, within: Duration) {
    match out.last_mut() {
        Some(last) if last.expect.is_none() => {
            last.expect = Some(pattern);
            last.within = within;
        }
        _ => out.push(Exchange { send: Vec::new(), expect: Some(pattern), within }),
    }
}

fn words(outcome: CutOutcome) -> &'static str {
    match outcome {
        CutOutcome::Old => "old image runs",
        CutOutcome::New => "new image runs",
        CutOutcome::SettingsLost => "settings changed",
        CutOutcome::UnconfirmedKept => "an unconfirmed image stayed",
        CutOutcome::CounterLowered => "the security counter went down",
        CutOutcome::Poisoned => "a genuine update no longer works",
        CutOutcome::WrongImage => "neither the old nor the new image runs",
        CutOutcome::Bricked => "the device does not come up",
    }
}

/// Largest share of bad points there can be when a search was stopped.
fn may_be_bad(bad: u64, judged: u64, of: u64) -> f64 {
    (bad + of - judged) as f64 / of as f64
}

/// 95 % upper bound of the share of bad points. Exact for an exhaustive search, else one-sided Clopper-Pearson, found by bisection of
/// the binomial distribution (Clopper and Pearson, Biometrika 26, 1934).
#[must_use]
pub fn upper_bound(bad: u64, judged: u64, exhaustive: bool) -> f64 {
    if judged == 0 {
        return 1.0;
    }
    if exhaustive || bad >= judged {
        return bad as f64 / judged as f64;
    }
    if bad == 0 {
        return 1.0 - 0.05_f64.powf(1.0 / judged as f64);
    }
    let at_most_bad = |p: f64| {
        // Sum of the binomial terms 0..=bad in logarithms, so that large counts do not underflow.
        let (n, q) = (judged as f64, (1.0 - p).ln());
        let mut term = n * q;
        let mut sum = term.exp();
        for k in 1..=bad {
            term += ((n - k as f64 + 1.0) / k as f64).ln() + p.ln() - q;
            sum += term.exp();
        }
        sum
    };
    let (mut low, mut high) = (bad as f64 / judged as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most_bad(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::{may_be_bad, upper_bound};

    #[test]
    fn upper_bounds_are_the_published_ones() {
        // Rule of three: 0 of 100 gives 2.95 %; tables give 4.66 % for 1 of 100 and 6.16 % for 2 of 100.
        assert!((upper_bound(0, 100, false) - 0.029_513).abs() < 1e-5);
        assert!((upper_bound(1, 100, false) - 0.046_557).abs() < 1e-4, "{}", upper_bound(1, 100, false));
        assert!((upper_bound(2, 100, false) - 0.061_619).abs() < 1e-4, "{}", upper_bound(2, 100, false));
    }

    #[test]
    fn a_search_that_was_stopped_says_nothing_about_the_rest() {
        assert!((may_be_bad(0, 25, 100) - 0.75).abs() < 1e-12);
        assert!((may_be_bad(5, 25, 100) - 0.80).abs() < 1e-12);
    }

    #[test]
    fn an_exhaustive_search_needs_no_bound_and_no_search_bounds_nothing() {
        assert!(upper_bound(0, 100, true).abs() < f64::EPSILON);
        assert!((upper_bound(25, 100, true) - 0.25).abs() < 1e-12);
        assert!((upper_bound(0, 0, false) - 1.0).abs() < f64::EPSILON);
    }
}
