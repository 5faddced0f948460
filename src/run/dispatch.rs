//! One run, from lease to safe state.
//!
//! The dispatcher takes requests while the run is performed in a task of its own. However that task ends (normally, by a panic, not
//! at all), the bench ends in the safe state: by the controller if it can, by the guard otherwise.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    bench::Bench,
    cuts::CutOptions,
    desk::Desk,
    execute::{Executor, Shared},
    guard::{Guard, Watch, WatchAction, WatchedState},
    images::Images,
    lease::{Holder, Lease},
    outcome::{attribute, code, conclude, unprepared},
    patience::{Obstacle, Queue},
    record::Recorder,
    registry::Registry,
    stop::{StopSignal, StopSwitch},
};
use crate::{
    channel::{clock::Clock, link::LinkError},
    event::{CaseId, Fact, Nanos, Reason, Request, RunHeader, StepId, StopLevel, Verdict},
    journal::Journal,
    plan::model::{Case, Plan},
    rig::model::{Rig, SafeAction},
};

/// Bench time for the plan's `finally` steps.
const FINALLY_LIMIT: Duration = Duration::from_mins(1);

/// Everything a run needs; nothing has been touched yet.
pub struct Setup {
    /// Checked plan.
    pub plan: Plan,
    /// Checked rig the plan is bound to.
    pub rig: Rig,
    /// Cases that are not run, with the reason: not applicable to this rig, or not selected.
    pub skipped: Vec<(CaseId, String)>,
    /// Drivers.
    pub registry: Registry,
    /// Time base; zero is now.
    pub clock: Arc<dyn Clock>,
    /// Open journal.
    pub journal: Journal,
    /// First fact.
    pub header: RunHeader,
    /// Where leases are kept.
    pub leases: PathBuf,
    /// Wall time to wait for instruments that somebody else has; `None` ends the run at once.
    pub wait: Option<Duration>,
    /// Command line of the guard process; `None` runs without (tests of other things).
    pub guard: Option<Vec<String>>,
    /// How power-cut searches are done.
    pub cuts: CutOptions,
    /// Runs no case after the first that did not pass.
    pub fail_fast: bool,
    /// Where the operator is asked.
    pub desk: Desk,
    /// Whatever must live as long as the run: the virtual bench behind the drivers.
    pub hold: Option<Box<dyn std::any::Any + Send>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// Worst verdict.
    pub verdict: Verdict,
    /// Whether the safe state was confirmed.
    pub safe: bool,
    /// Whether the run was left without waiting; the guard reaches the safe state.
    pub forced: bool,
    /// Whether hilbench itself broke.
    pub bug: bool,
}

/// Performs a run and serves requests meanwhile.
pub async fn run(setup: Setup, mut requests: mpsc::Receiver<Request>) -> RunEnd {
    let (switch, signal) = StopSwitch::new();
    let recorder = Recorder::new(setup.journal.clone());
    let desk = setup.desk.clone();
    desk.record(recorder.clone());
    let mut work = tokio::spawn(perform(setup, recorder.clone(), signal));
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            request = requests.recv(), if open => match request {
                Some(request) => {
                    if handle(&request, &switch, &desk, &recorder) {
                        return RunEnd { verdict: Verdict::Error, safe: false, forced: true, bug: false };
                    }
                }
                None => open = false,
            },
            ended = &mut work => return ended.unwrap_or_else(|error| {
                let what = format!("the engine broke off: {error}; the guard reaches the safe state");
                recorder.fact(Fact::BenchFault { channel: None, what });
                RunEnd { verdict: Verdict::Error, safe: false, forced: false, bug: true }
            }),
        }
    }
}

/// Answers one request. Returns whether the run is to be left at once.
fn handle(request: &Request, switch: &StopSwitch, desk: &Desk, recorder: &Recorder) -> bool {
    match request {
        Request::Stop { level, by } => {
            recorder.fact(Fact::StopRequested { level: *level, by: by.clone() });
            switch.raise(*level);
            *level == StopLevel::Forced
        }
        Request::Answer { prompt, answer, by } => {
            // One that fits is recorded by the desk; one that does not changes nothing.
            if let Err(why) = desk.answer(*prompt, answer, by) {
                tracing::warn!(%why, "an answer was not taken");
            }
            false
        }
    }
}

/// A verdict that only gets worse, with the reason of its worst part.
#[derive(Default)]
struct Tally {
    verdict: Verdict,
    reason: Option<Reason>,
}

impl Tally {
    fn add(&mut self, verdict: Verdict, reason: Option<Reason>) {
        if verdict > self.verdict {
            self.verdict = verdict;
            self.reason = reason;
        }
    }

    fn fault(&mut self, code: &str, text: impl Into<String>) {
        self.add(Verdict::Error, Some(Reason { code: code.to_owned(), text: text.into() }));
    }
}

async fn perform(setup: Setup, recorder: Recorder, stop: StopSignal) -> RunEnd {
    let Setup { plan, rig, skipped, registry, clock, header, leases, wait, guard, cuts, fail_fast, desk, journal, hold } = setup;
    let started = Instant::now();
    let mut tally = Tally::default();
    let holder =
        Holder { pid: std::process::id(), since: header.started.clone(), plan: plan.name.clone(), run: header.run.to_string() };
    recorder.fact(Fact::RunStarted(Box::new(header)));

    let mut safe = true;
    let mut bug = false;
    let queue = Queue { directory: &leases, holder: &holder, wait, stop: &stop, recorder: &recorder };
    match prepare(&rig, &registry, &queue, guard, &journal, &clock).await {
        Err(Obstacle::Stopped) => {
            let text = "the run was stopped while it waited for its instruments";
            tally.add(Verdict::Inconclusive, Some(Reason { code: code::CANCELLED.to_owned(), text: text.to_owned() }));
            skip_all(&plan, &skipped, &recorder, "the run was stopped");
        }
        Err(Obstacle::Fault(what)) => {
            recorder.fact(Fact::BenchFault { channel: None, what: what.clone() });
            tally.fault(code::BENCH_FAULT, what);
            skip_all(&plan, &skipped, &recorder, "the bench could not be opened");
        }
        Ok((held, bench)) => {
            match Images::prepare(&rig.device, &plan.images) {
                Err(what) => {
                    tally.fault(code::BENCH_FAULT, what);
                    safe = finish(bench, &rig, &recorder, &mut tally).await;
                }
                Ok(images) => {
                    let device = rig.device.clone();
                    let shared = Arc::new(Shared { device, images, bench, recorder: recorder.clone(), stop, cuts, desk });
                    bug = cases(&plan, &skipped, &shared, fail_fast, &mut tally).await;
                    finally(&plan, &shared, &mut tally).await;
                    safe = match Arc::try_unwrap(shared) {
                        Ok(shared) => finish(shared.bench, &rig, &recorder, &mut tally).await,
                        // A step's task still holds the bench; drive the safe state through it all the same.
                        Err(shared) => shared.bench.safe_state(&rig).await,
                    };
                }
            }
            drop(held);
        }
    }
    drop(hold);
    if let Some(why) = recorder.failed() {
        tally.fault(code::JOURNAL, format!("the journal cannot be written: {why}"));
    }
    if !safe {
        tally.fault(code::SAFE_STATE, "the safe state could not be confirmed; look at the bench");
    }
    let wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    recorder.fact(Fact::RunFinished { verdict: tally.verdict, reason: tally.reason, wall_ms });
    RunEnd { verdict: tally.verdict, safe, forced: false, bug }
}

/// Leases, guard, channels: in this order, so that nothing is opened that is not ours and nothing switched that nobody guards.
async fn prepare(
    rig: &Rig,
    registry: &Registry,
    queue: &Queue<'_>,
    guard: Option<Vec<String>>,
    journal: &Journal,
    clock: &Arc<dyn Clock>,
) -> Result<(Vec<Lease>, Bench), Obstacle> {
    let fault = |error: LinkError| Obstacle::Fault(error.to_string());
    let recorder = queue.recorder;
    let instruments = instruments(rig, registry).map_err(Obstacle::Fault)?;
    let held = queue.take(&instruments).await?;
    let guard = match guard {
        None => None,
        Some(command) => Some(Guard::start(&command, watch(rig, journal, queue.directory, &held)).await.map_err(fault)?),
    };
    match Bench::open(rig, registry, Arc::clone(clock), recorder, guard).await {
        Ok(bench) => Ok((held, bench)),
        Err((guard, error)) => {
            if let Some(guard) = guard
                && let Err(error) = guard.dismiss().await
            {
                tracing::warn!(%error, "the guard could not be dismissed");
            }
            Err(fault(error))
        }
    }
}

/// The physical instruments behind a rig's channels.
///
/// # Errors
/// A channel whose instrument cannot be told, such as one that is not plugged in.
pub fn instruments(rig: &Rig, registry: &Registry) -> Result<BTreeSet<String>, String> {
    let identity = |(name, spec): (&String, &crate::rig::model::ChannelSpec)| {
        let driver =
            registry.get(&spec.driver).ok_or_else(|| format!("channel {name}: no driver `{}` in this build", spec.driver))?;
        driver.identity(&spec.parameters).map_err(|error| format!("channel {name}: {error}"))
    };
    rig.channels.iter().map(identity).collect()
}

/// The guard's task for this rig.
fn watch(rig: &Rig, journal: &Journal, leases: &Path, held: &[Lease]) -> Watch {
    let actions = rig.safe_state.iter().filter_map(|action| {
        let (channel, action) = match action {
            SafeAction::Power { channel, up: true } => (channel, WatchedState::Up),
            SafeAction::Power { channel, up: false } => (channel, WatchedState::Down),
            SafeAction::Release { channel } => (channel, WatchedState::Released),
            SafeAction::Restore { channel } => (channel, WatchedState::Restored),
        };
        let spec = rig.channels.get(channel)?;
        Some(WatchAction {
            channel: channel.clone(),
            driver: spec.driver.clone(),
            parameters: spec.parameters.values.clone(),
            base: spec.parameters.base.clone(),
            action,
        })
    });
    Watch {
        run: journal.run().clone(),
        run_directory: journal.directory().to_owned(),
        actions: actions.collect(),
        timeout_ms: u64::try_from(rig.safe_state_timeout.as_millis()).unwrap_or(u64::MAX),
        leases: leases.to_owned(),
        instruments: held.iter().map(|lease| lease.instrument.clone()).collect(),
    }
}

/// Runs the cases in order. Returns whether a step panicked.
async fn cases(plan: &Plan, skipped: &[(CaseId, String)], shared: &Arc<Shared>, fail_fast: bool, tally: &mut Tally) -> bool {
    let recorder = &shared.recorder;
    let run_deadline = shared.bench.clock.now().after(plan.timeout);
    let mut broken: Option<String> = None;
    let mut ran = 0_u32;
    for case in &plan.cases {
        let id = CaseId::new(&case.id);
        let stopped = shared.stop.level().map(|_| "the run was stopped".to_owned());
        let unselected = skipped.iter().find(|(skipped, _)| *skipped == id).map(|(_, why)| why.clone());
        let late = (shared.bench.clock.now() >= run_deadline).then(|| "the time allowed for the run is over".to_owned());
        let cut_short = broken.clone().or(stopped).or(late);
        if let Some(why) = unselected.clone().or_else(|| cut_short.clone()) {
            recorder.fact(Fact::CaseSkipped { case: id, why: why.clone() });
            if unselected.is_none() {
                tally.add(Verdict::Inconclusive, Some(Reason { code: code::CANCELLED.to_owned(), text: why }));
            }
            continue;
        }
        ran += 1;
        recorder.fact(Fact::CaseStarted { case: id.clone(), title: case.title.clone(), assesses: case.assesses.clone() });
        let deadline = shared.bench.clock.now().after(case.timeout).min(run_deadline);
        let task = tokio::spawn(judge_case(case.clone(), plan.before_each.clone(), Arc::clone(shared), deadline));
        let (verdict, reason, step) = task.await.unwrap_or_else(|error| {
            let text = format!("a step broke off: {}", panic_text(error));
            recorder.fact(Fact::BenchFault { channel: None, what: text.clone() });
            broken = Some("an earlier step broke off".to_owned());
            (Verdict::Error, Some(Reason { code: code::BUG.to_owned(), text }), None)
        });
        if recorder.failed().is_some() {
            broken = Some("the journal cannot be written".to_owned());
        }
        recorder.fact(Fact::CaseFinished { case: id, verdict, reason: reason.clone(), step });
        if fail_fast && verdict != Verdict::Pass && broken.is_none() {
            broken = Some(format!("`{}` did not pass, and the run ends with the first such case", case.id));
        }
        let reason = reason.map(|reason| Reason { text: format!("{}: {}", case.id, reason.text), ..reason });
        tally.add(verdict, reason);
    }
    if ran == 0 {
        let text = "no case was run".to_owned();
        tally.add(Verdict::Inconclusive, Some(Reason { code: code::NOTHING_JUDGED.to_owned(), text }));
    }
    broken.is_some_and(|why| why.contains("broke off"))
}

async fn judge_case(
    case: Case,
    before: Vec<crate::step::Step>,
    shared: Arc<Shared>,
    deadline: Nanos,
) -> (Verdict, Option<Reason>, Option<StepId>) {
    let mut executor = Executor::new(shared, case.id.clone(), deadline, true);
    let mut ended = executor.steps(&before, "before.".to_owned()).await;
    executor.forget_judgements();
    let prepared = ended.is_ok();
    if prepared {
        ended = executor.steps(&case.steps, String::new()).await;
    }
    executor.end_outage();
    executor.end_freeze();
    match ended {
        Ok(()) => {
            let (verdict, reason) = conclude(executor.ledger());
            (verdict, reason, None)
        }
        Err((ended, step)) => {
            let (verdict, reason, _) = ended.into_parts();
            let (verdict, reason) = if prepared { (verdict, reason) } else { unprepared(verdict, reason) };
            let (verdict, reason) = attribute(executor.ledger(), verdict, reason);
            (verdict, Some(reason), Some(step))
        }
    }
}

/// The plan's own clean-up: every step is tried, whatever the others did, outside the run's stop requests and with its own time.
async fn finally(plan: &Plan, shared: &Arc<Shared>, tally: &mut Tally) {
    let deadline = shared.bench.clock.now().after(FINALLY_LIMIT);
    for (index, step) in plan.finally.iter().enumerate() {
        let (step, shared) = (step.clone(), Arc::clone(shared));
        let task = tokio::spawn(async move {
            let mut executor = Executor::new(shared, format!("finally.{}", index + 1), deadline, false);
            executor.steps(std::slice::from_ref(&step), String::new()).await.map_err(|(ended, _)| ended.into_parts())
        });
        match tokio::time::timeout(FINALLY_LIMIT, task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err((verdict, reason, _)))) => tally.add(verdict, Some(reason)),
            Ok(Err(error)) => tally.fault(code::BUG, format!("a `finally` step broke off: {}", panic_text(error))),
            Err(_) => tally.fault(code::BENCH_FAULT, format!("a `finally` step took longer than {FINALLY_LIMIT:?}")),
        }
    }
}

/// Safe state, channels closed, guard dismissed. A guard whose bench is not confirmed safe is left to try itself.
async fn finish(mut bench: Bench, rig: &Rig, recorder: &Recorder, tally: &mut Tally) -> bool {
    let safe = bench.safe_state(rig).await;
    bench.close().await;
    if let Some(guard) = bench.take_guard().await {
        if safe {
            if let Err(error) = guard.dismiss().await {
                recorder.fact(Fact::BenchFault { channel: None, what: error.to_string() });
                tally.fault(code::BENCH_FAULT, error.to_string());
            }
        } else {
            drop(guard);
        }
    }
    safe
}

fn skip_all(plan: &Plan, skipped: &[(CaseId, String)], recorder: &Recorder, why: &str) {
    for case in &plan.cases {
        let id = CaseId::new(&case.id);
        let own = skipped.iter().find(|(known, _)| *known == id).map(|(_, why)| why.clone());
        recorder.fact(Fact::CaseSkipped { case: id, why: own.unwrap_or_else(|| why.to_owned()) });
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic without a text".to_owned())
        }
        Err(error) => error.to_string(),
    }
}
