//! The power-cut search: every flash operation of a recorded update is cut, and a device is judged by what becomes of it.
//!
//! See `docs/power-cuts.md` for what is tried, what is judged and what is not modelled.

mod baseline;
mod console;
mod course;
mod log;
mod memory;
mod oracle;
mod ordered;
mod points;
mod questions;
mod report;
mod tell;
mod uninterrupted;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use self::{
    baseline::{Baseline, Cut, count, fault, in_order},
    course::{Course, Examiner, Memories, Seen},
    log::Log,
    oracle::{Case, Old, judge},
    points::{phases, soon, spread},
    questions::{Floor, Questions},
    report::Report,
};
use super::{
    Machine, VerifyMemo,
    recording::{Recording, Replay, pass},
};
use crate::{
    channel::link::{CutPlan, CutProgress, CutSelect, CutSummary, LinkError},
    event::{CutOutcome, CutPhase, CutPoint},
};

/// Flash operations in a recording.
///
/// # Errors
/// More than 2^32 of them.
pub fn baseline(recording: &Recording) -> Result<u32, LinkError> {
    count(recording)
}

/// Cuts and judges; see [`CutSearch`].
///
/// Every flash operation has `2 + torn` first cuts. With `second`, each first cut from which the device comes up also has second cuts:
/// `second` of them, or one per flash operation of that recovery if it does fewer. A recovery without flash operations has none.
///
/// # Errors
/// As [`CutSearch::new`] and [`CutSearch::run`].
pub fn search(
    recording: &Recording,
    verify_entry: Option<u32>,
    plan: &CutPlan,
    on: &mut dyn FnMut(CutProgress),
    keep_going: KeepGoing,
) -> Result<CutSummary, LinkError> {
    match CutSearch::prepare(recording, verify_entry, plan, keep_going)? {
        Some(search) => search.run(on, keep_going),
        None => Ok(STOPPED),
    }
}

/// Asked before each point, from any thread; `false` ends the search.
pub type KeepGoing<'a> = &'a (dyn Fn() -> bool + Sync);

/// A search that was stopped before its points were counted.
const STOPPED: CutSummary = CutSummary { judged: 0, of: 0, bad: 0, exhaustive: false };

/// One point, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What it led to.
    pub outcome: CutOutcome,
    /// Flash operations of the recovery from it, the last one if there were two cuts.
    pub recovery: u32,
}

/// A search over one recording with one plan. The same point has the same outcome and the same transcript, whatever the number of
/// threads, the order of points, and whether anything is remembered.
#[derive(Debug)]
pub struct CutSearch {
    plan: CutPlan,
    baseline: Baseline,
    questions: Questions,
    floor: Floor,
    lapsed: bool,
    memories: Memories,
    remember: bool,
    every: u32,
    points: OnceLock<u64>,
}

impl CutSearch {
    /// Prepares a search: replays the recording, and finds out what a device says that nobody has cut. `verify_entry` is the code
    /// address of the firmware's signature check, for `plan.memoise`.
    ///
    /// # Errors
    /// The recording has no flash operation, or the plan does not fit the device: uninterrupted, it does not come up by itself within
    /// the time allowed, does not run `old_version`, does not answer the questions, or cannot be updated as the plan says. None of that is
    /// a finding about the device: an oracle that fails the uninterrupted device would fail every point.
    pub fn new(recording: &Recording, verify_entry: Option<u32>, plan: &CutPlan) -> Result<Self, LinkError> {
        let prepared = Self::prepare(recording, verify_entry, plan, &|| true)?;
        prepared.ok_or_else(|| fault("the preparation was stopped"))
    }

    /// As [`Self::new`]; `None` if it was told to stop.
    fn prepare(
        recording: &Recording,
        verify_entry: Option<u32>,
        plan: &CutPlan,
        keep_going: KeepGoing,
    ) -> Result<Option<Self>, LinkError> {
        in_order(recording)?;
        let mut recording = recording.clone();
        // The console that was listening during the recording took what the device put out; here nobody does.
        recording.start.uart_take_timed();
        recording.start.stop_on_uart(false);
        match verify_entry {
            Some(entry) if plan.memoise => recording.start.memoise_verify(entry, Arc::new(VerifyMemo::new())),
            _ => {}
        }
        let mut questions = Questions::new(plan, recording.end_cycle);
        let Some(baseline) = Baseline::new(recording, plan, keep_going)? else { return Ok(None) };
        let examined = uninterrupted::examine(&baseline.recording, &mut questions, plan, keep_going)?;
        let Some((floor, lapsed)) = examined else { return Ok(None) };
        Ok(Some(Self {
            plan: plan.clone(),
            baseline,
            questions,
            floor,
            lapsed,
            memories: Memories::new(),
            remember: true,
            every: 1,
            points: OnceLock::new(),
        }))
    }

    /// Whether what became of a device is remembered and not executed again when another cut leads to exactly the same device. On unless
    /// switched off. Never changes an outcome.
    #[must_use]
    pub fn remember(mut self, remember: bool) -> Self {
        self.remember = remember;
        self
    }

    /// Cuts only every `n`-th operation. The search is then no longer exhaustive, and says so.
    #[must_use]
    pub fn every(mut self, n: u32) -> Self {
        self.every = n.max(1);
        self.points = OnceLock::new();
        self
    }

    /// Flash operations of the recording.
    pub fn operations(&self) -> u32 {
        self.baseline.operations
    }

    /// For courses, and what followed the second power-on: how often one was known, and how many are.
    pub fn figures(&self) -> [(u64, usize); 2] {
        self.memories.figures()
    }

    /// Number of points; see [`search`]. With `second` the first cuts have to be tried to know it, and their findings are kept for the
    /// search; `None` if that was stopped.
    ///
    /// # Errors
    /// As [`CutSearch::run`].
    pub fn points(&self, keep_going: KeepGoing) -> Result<Option<u64>, LinkError> {
        if let CutSelect::One(point) = self.plan.select {
            return self.in_range(point).map(|()| Some(1));
        }
        if let Some(points) = self.points.get() {
            return Ok(Some(*points));
        }
        let mut points = u64::from(self.baseline.operations.div_ceil(self.every)) * u64::from(self.plan.torn + 2);
        if self.plan.second > 0 {
            let all = self.chunks(
                keep_going,
                &|replay, operation, phase| self.first_cut(replay, operation, phase).map(|(_, _, n)| n.len()),
                |counts| {
                    points += counts.into_iter().map(|n| n as u64).sum::<u64>();
                    Ok(())
                },
            )?;
            if !all {
                return Ok(None);
            }
        }
        Ok(Some(*self.points.get_or_init(|| points)))
    }

    /// Cuts and judges. `on` is called from this thread, in the order of points.
    ///
    /// # Errors
    /// The point selected does not exist, or the recording cannot be replayed.
    pub fn run(&self, on: &mut dyn FnMut(CutProgress), keep_going: KeepGoing) -> Result<CutSummary, LinkError> {
        let Some(of) = self.points(keep_going)? else {
            return Ok(STOPPED);
        };
        on(CutProgress::Counted(of));
        if let CutSelect::One(point) = self.plan.select {
            let (judged, transcript) = self.tell(point)?;
            let outcome = judged.outcome;
            on(CutProgress::Judged(vec![(outcome, 1)]));
            on(CutProgress::Told { point, outcome, transcript });
            return Ok(CutSummary { judged: 1, of, bad: u64::from(!outcome.is_good()), exhaustive: false });
        }
        let mut report = Report::new(self, on, keep_going);
        self.chunks(keep_going, &|replay, operation, phase| self.all_at(replay, operation, phase, keep_going), |chunk| {
            chunk.into_iter().flatten().try_for_each(|(point, outcome)| report.add(point, outcome))
        })?;
        let (judged, bad) = report.finish()?;
        Ok(CutSummary { judged, of, bad, exhaustive: self.every == 1 })
    }

    /// Judges one point.
    ///
    /// # Errors
    /// There is no such point.
    pub fn judge(&self, point: CutPoint) -> Result<Judged, LinkError> {
        self.in_range(point)?;
        let replay = self.baseline.checkpoint(point.operation);
        let cut = self.baseline.cut(&replay, point.operation, point.phase)?;
        let case = self.case(&cut);
        let course = match point.again {
            None => self.course(cut.machine, point, None),
            Some(after) => {
                let (machine, case) = self.second_cut(cut.machine, point, after, case, None)?;
                let course = self.course(machine, point, None);
                return Ok(Judged { outcome: judge(&course, case).0, recovery: course.operations });
            }
        };
        Ok(Judged { outcome: judge(&course, case).0, recovery: course.operations })
    }

    fn in_range(&self, point: CutPoint) -> Result<(), LinkError> {
        let last = self.baseline.operations - 1;
        if point.operation > last {
            return Err(fault(format!("there is no point {point}: the recorded run has the flash operations 0 to {last}")));
        }
        if point.again == Some(0) {
            return Err(fault(format!(
                "there is no point {point}: a second cut comes after at least 1 flash operation of the recovery"
            )));
        }
        Ok(())
    }

    fn examiner(&self) -> Examiner<'_> {
        Examiner { questions: &self.questions, memories: self.remember.then_some(&self.memories) }
    }

    fn case(&self, cut: &Cut) -> Case {
        let old = match (self.lapsed, cut.confirmed) {
            (true, _) => Old::Lapsed,
            (false, true) => Old::Contested,
            (false, false) => Old::Holds,
        };
        Case { floor: self.floor.at(&cut.machine), old }
    }

    /// From the power-on after the (last) cut of `point`.
    fn course(&self, mut machine: Machine, point: CutPoint, mut log: Option<&mut Log>) -> Course {
        let examiner = self.examiner();
        examiner.power_on(&mut machine, point.again.is_some(), soon(point), log.as_deref_mut());
        examiner.course(machine, log)
    }

    /// Powers a device that was cut once and cuts it again.
    fn second_cut(
        &self,
        mut machine: Machine,
        point: CutPoint,
        after: u32,
        case: Case,
        mut log: Option<&mut Log>,
    ) -> Result<(Machine, Case), LinkError> {
        let first = CutPoint { again: None, ..point };
        self.examiner().power_on(&mut machine, false, soon(first), log.as_deref_mut());
        let last = machine.nv().counts().total() + u64::from(after) - 1;
        machine.arm_cut(last, CutPhase::After);
        let until = machine.now().saturating_add(console::cycles(self.plan.recovery));
        if pass(&mut machine, until) {
            let done = machine.nv().counts().total() + u64::from(after) - 1 - last;
            return Err(fault(format!(
                "there is no point {point}: the recovery from {first} does {done} flash operations within {:?}",
                self.plan.recovery
            )));
        }
        let output = machine.uart_take_timed();
        if let Some(log) = log {
            log.received(&output);
            log.note(machine.now(), &format!("second power cut, after {after} flash operations of the recovery"));
        }
        let case = Case { floor: case.floor.max(self.floor.at(&machine)), ..case };
        Ok((machine, case))
    }

    /// First cut of a point: the device, what it is judged by, and after how many operations its recovery is cut again.
    fn first_cut(&self, replay: &Replay, operation: u32, phase: CutPhase) -> Result<(Judged, Cut, Vec<u32>), LinkError> {
        let point = CutPoint { operation, phase, again: None };
        let cut = self.baseline.cut(replay, operation, phase)?;
        let course = self.course(cut.machine.clone(), point, None);
        let judged = Judged { outcome: judge(&course, self.case(&cut)).0, recovery: course.operations };
        let up = course.first != Seen::Dark;
        Ok((judged, cut, if up { spread(course.operations, self.plan.second) } else { Vec::new() }))
    }

    /// Every point of one phase of one operation.
    fn all_at(
        &self,
        replay: &Replay,
        operation: u32,
        phase: CutPhase,
        keep_going: KeepGoing,
    ) -> Result<Vec<(CutPoint, CutOutcome)>, LinkError> {
        let first = CutPoint { operation, phase, again: None };
        let (judged, cut, seconds) = self.first_cut(replay, operation, phase)?;
        let mut points = vec![(first, judged.outcome)];
        for after in seconds.into_iter().take_while(|_| keep_going()) {
            let point = CutPoint { again: Some(after), ..first };
            let (machine, case) = self.second_cut(cut.machine.clone(), point, after, self.case(&cut), None)?;
            points.push((point, judge(&self.course(machine, point, None), case).0));
        }
        Ok(points)
    }

    /// Does `each` for every phase of every operation on the plan's threads and delivers the results in order. Whether all was done: `false`
    /// if it was told to stop, and then nothing is delivered behind the first gap.
    fn chunks<T: Send>(
        &self,
        keep_going: KeepGoing,
        each: &(impl Fn(&Replay, u32, CutPhase) -> Result<T, LinkError> + Sync),
        mut deliver: impl FnMut(Vec<T>) -> Result<(), LinkError>,
    ) -> Result<bool, LinkError> {
        let ended = AtomicBool::new(false);
        let work = |chunk: usize| {
            let from = chunk as u32 * self.baseline.apart;
            let to = from.saturating_add(self.baseline.apart).min(self.baseline.operations);
            let mut replay = self.baseline.checkpoint(from);
            let mut results = Vec::new();
            for operation in (from..to).filter(|operation| operation % self.every == 0) {
                self.baseline.approach(&mut replay, operation)?;
                for phase in phases(self.plan.torn) {
                    if ended.load(Ordering::Relaxed) || !keep_going() {
                        return Ok((results, false));
                    }
                    results.push(each(&replay, operation, phase)?);
                }
            }
            Ok((results, true))
        };
        let mut end = Ok(true);
        ordered::ordered(self.plan.threads, self.baseline.chunks(), work, |_, result: Result<_, LinkError>| {
            end = result.and_then(|(results, whole)| deliver(results).map(|()| whole));
            let go_on = matches!(end, Ok(true));
            ended.store(!go_on, Ordering::Relaxed);
            go_on
        });
        end
    }
}
