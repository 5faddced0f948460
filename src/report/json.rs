//! JSON summary, `summary/1`: a run for scripts that do not want to fold events. Fields are only ever added.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Source;
use crate::{
    event::{CutOutcome, EvidenceRef, Limit, Nanos, Reason, Verdict},
    view::{CaseState, CaseView, StepView, sanitise},
};

/// Bad cuts that the summary lists; the journal has them all.
const MOST_CUTS: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary<'a> {
    schema: &'static str,
    run: Option<&'a str>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    plan: Option<&'a str>,
    rig: Option<&'a str>,
    device: Option<&'a str>,
    started: Option<&'a str>,
    tool: Option<&'a str>,
    command: &'a [String],
    seed: Option<u64>,
    /// Seconds of the bench clock.
    bench_s: f64,
    wall_ms: Option<u64>,
    counts: Counts,
    safe_state: SafeState<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_by: Option<&'a str>,
    problems: Vec<String>,
    cases: Vec<Case<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Counts {
    passed: usize,
    failed: usize,
    inconclusive: usize,
    error: usize,
    skipped: usize,
    not_judged: usize,
}

#[derive(Serialize)]
struct SafeState<'a> {
    /// Absent if the way to it has not ended.
    ok: Option<bool>,
    by: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Case<'a> {
    id: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    assesses: &'a [String],
    /// `waiting`, `running`, `skipped`, `finished`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_s: Option<f64>,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Step<'a> {
    id: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(skip_serializing_if = "is_zero")]
    failed_attempts: usize,
    #[serde(skip_serializing_if = "<[EvidenceRef]>::is_empty")]
    evidence: &'a [EvidenceRef],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measured: Vec<Measured<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cuts: Option<Cuts<'a>>,
}

#[derive(Serialize)]
struct Measured<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    within: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cuts<'a> {
    operations: u32,
    judged: u64,
    of: u64,
    bad: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_95: Option<f64>,
    outcomes: &'a BTreeMap<CutOutcome, u64>,
    failed: Vec<FailedCut<'a>>,
}

#[derive(Serialize)]
struct FailedCut<'a> {
    point: String,
    outcome: CutOutcome,
    reproduce: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The run as JSON, two blanks per level, ending in a newline.
///
/// # Errors
/// If it cannot be serialised.
pub fn summary(source: &Source<'_>) -> Result<String, serde_json::Error> {
    let view = source.view;
    let header = view.header.as_ref();
    let counts = view.counts();
    let summary = Summary {
        schema: "summary/1",
        run: header.map(|header| header.run.as_str()),
        verdict: source.verdict(),
        reason: view.finish.as_ref().and_then(|finish| finish.reason.as_ref()),
        plan: header.map(|header| header.plan.as_str()),
        rig: header.map(|header| header.rig.as_str()),
        device: header.map(|header| header.device.as_str()),
        started: header.map(|header| header.started.as_str()),
        tool: header.map(|header| header.tool.as_str()),
        command: header.map_or(&[], |header| &header.command),
        seed: header.map(|header| header.seed),
        bench_s: view.at.since(Nanos::default()).as_secs_f64(),
        wall_ms: view.finish.as_ref().map(|finish| finish.wall_ms),
        counts: Counts {
            passed: counts.passed,
            failed: counts.failed,
            inconclusive: counts.inconclusive,
            error: counts.error,
            skipped: counts.skipped,
            not_judged: counts.open,
        },
        safe_state: SafeState {
            ok: view.safe_state.finished.as_ref().map(|(ok, _)| *ok),
            by: view.safe_state.finished.as_ref().map(|(_, by)| by.as_str()),
        },
        stopped_by: view.stopped_by(),
        problems: source.problems(),
        cases: view.plan_cases().map(case).collect(),
    };
    let mut text = sanitise::json_document(&serde_json::to_string_pretty(&summary)?);
    text.push('\n');
    Ok(text)
}

fn case(case: &CaseView) -> Case<'_> {
    let (state, verdict, reason, step) = match &case.state {
        CaseState::Waiting => ("waiting", None, None, None),
        CaseState::Running => ("running", None, None, None),
        CaseState::Skipped(_) => ("skipped", None, None, None),
        CaseState::Finished { verdict, reason, step } => ("finished", Some(*verdict), reason.as_ref(), step.as_ref()),
    };
    let skipped = match &case.state {
        CaseState::Skipped(why) => Some(why.as_str()),
        _ => None,
    };
    Case {
        id: case.name(),
        title: &case.title,
        assesses: &case.assesses,
        state,
        verdict,
        reason,
        skipped,
        step: step.map(|step| step.as_str()),
        took_s: case.took().map(|took| took.as_secs_f64()),
        steps: case.steps.iter().map(self::step).collect(),
    }
}

fn step(step: &StepView) -> Step<'_> {
    Step {
        id: step.id.as_str(),
        text: &step.text,
        verdict: step.verdict,
        reason: step.reason.as_ref(),
        failed_attempts: step.attempts.len(),
        evidence: &step.evidence,
        measured: step
            .measured
            .iter()
            .map(|m| Measured { name: &m.name, value: m.value, unit: &m.unit, limit: m.limit, within: m.within })
            .collect(),
        cuts: step.cuts.as_ref().map(|cuts| Cuts {
            operations: cuts.operations,
            judged: cuts.judged(),
            of: cuts.of(),
            bad: cuts.bad(),
            upper_95: cuts.result.map(|(.., upper)| upper),
            outcomes: &cuts.outcomes,
            failed: cuts
                .bad
                .iter()
                .take(MOST_CUTS)
                .map(|cut| FailedCut { point: cut.point.to_string(), outcome: cut.outcome, reproduce: &cut.reproduce })
                .collect(),
        }),
    }
}
