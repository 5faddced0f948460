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
mod questions;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use self::{
    baseline::{Baseline, Cut, at_end, count, fault, in_order},
    console::Console,
    course::{Counter, Course, Examiner, Memories, Seen},
    log::Log,
    oracle::{Case, Old, judge},
    questions::{Floor, Questions, cleared_bits},
};
use super::{
    FLASH_BASE, FLASH_SIZE, Machine, UICR_BASE, VerifyMemo,
    recording::{Recording, Replay, pass},
};
use crate::{
    channel::link::{CutPlan, CutProgress, CutSelect, CutSummary, LinkError},
    event::{CutOutcome, CutPhase, CutPoint},
};

/// Points in one [`CutProgress::Judged`].
const BATCH: u32 = 200;
/// Bad points of a search that are told in full; the transcripts of the others say how to get one.
const TOLD: u64 = 50;

/// Flash operations in a recording.
///
/// # Errors
/// More than 2^32 of them.
pub fn baseline(recording: &Recording) -> Result<u32, LinkError> {
    count(recording)
}

/// Number of points that [`search`] judges.
///
/// Every flash operation has `2 + torn` first cuts. With `second`, each first cut from which the device comes up also has second cuts:
/// `second` of them, or one per flash operation of that recovery if it does fewer. A recovery without flash operations has none.
///
/// # Errors
/// As [`CutSearch::new`].
pub fn points(recording: &Recording, verify_entry: Option<u32>, plan: &CutPlan) -> Result<u64, LinkError> {
    CutSearch::new(recording, verify_entry, plan)?.points()
}

/// Cuts and judges; see [`CutSearch`].
///
/// # Errors
/// As [`CutSearch::new`] and [`CutSearch::run`].
pub fn search(
    recording: &Recording,
    verify_entry: Option<u32>,
    plan: &CutPlan,
    on: &mut dyn FnMut(CutProgress) -> bool,
) -> Result<CutSummary, LinkError> {
    CutSearch::new(recording, verify_entry, plan)?.run(on)
}

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
        let baseline = Baseline::new(recording, plan)?;
        let (floor, lapsed) = examine_uninterrupted(&baseline.recording, &mut questions, plan)?;
        Ok(Self {
            plan: plan.clone(),
            baseline,
            questions,
            floor,
            lapsed,
            memories: Memories::new(),
            remember: true,
            every: 1,
            points: OnceLock::new(),
        })
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

    /// For courses, what followed the second power-on, and updates: how often one was known, and how many are.
    pub fn figures(&self) -> [(u64, usize); 3] {
        self.memories.figures()
    }

    /// Number of points; see [`points`]. With `second` the first cuts have to be tried to know it; their findings are kept for the search.
    ///
    /// # Errors
    /// As [`CutSearch::run`].
    pub fn points(&self) -> Result<u64, LinkError> {
        if let CutSelect::One(point) = self.plan.select {
            return self.in_range(point).map(|()| 1);
        }
        if let Some(points) = self.points.get() {
            return Ok(*points);
        }
        let mut points = u64::from(self.baseline.operations.div_ceil(self.every)) * u64::from(self.plan.torn + 2);
        if self.plan.second > 0 {
            let mut fault = None;
            self.chunks(
                &|replay, operation, phase| self.first_cut(replay, operation, phase).map(|(_, _, n)| n.len()),
                |counts| {
                    match counts {
                        Ok(counts) => points += counts.into_iter().map(|n| n as u64).sum::<u64>(),
                        Err(error) => fault = Some(error),
                    }
                    fault.is_none()
                },
            );
            if let Some(error) = fault {
                return Err(error);
            }
        }
        Ok(*self.points.get_or_init(|| points))
    }

    /// Cuts and judges. `on` is called from this thread, in the order of points; returning `false` ends the search early.
    ///
    /// # Errors
    /// The point selected does not exist, or the recording cannot be replayed.
    pub fn run(&self, on: &mut dyn FnMut(CutProgress) -> bool) -> Result<CutSummary, LinkError> {
        if let CutSelect::One(point) = self.plan.select {
            let (judged, transcript) = self.tell(point)?;
            let outcome = judged.outcome;
            on(CutProgress::Judged(vec![(outcome, 1)]));
            on(CutProgress::Told { point, outcome, transcript });
            return Ok(CutSummary { judged: 1, of: 1, bad: u64::from(!outcome.is_good()), exhaustive: false });
        }
        let of = self.points()?;
        let mut report =
            Report { search: self, on, batch: Vec::new(), waiting: 0, bad: Vec::new(), judged: 0, told: Vec::new(), count: 0 };
        let mut fault = None;
        self.chunks(&|replay, operation, phase| self.all_at(replay, operation, phase), |chunk| {
            let went_on = chunk.and_then(|points| {
                for (point, outcome) in points.into_iter().flatten() {
                    if !report.add(point, outcome)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            });
            went_on.unwrap_or_else(|error| {
                fault = Some(error);
                false
            })
        });
        if let Some(error) = fault {
            return Err(error);
        }
        report.flush()?;
        let (judged, bad) = (report.judged, report.count);
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

    /// Judges one point, executing everything, and tells what happened.
    ///
    /// # Errors
    /// There is no such point.
    pub fn tell(&self, point: CutPoint) -> Result<(Judged, String), LinkError> {
        self.in_range(point)?;
        let replay = self.baseline.checkpoint(point.operation);
        let cut = self.baseline.cut(&replay, point.operation, point.phase)?;
        let mut log = Log::new(cut.machine.now());
        let mut case = self.case(&cut);
        log.note(cut.machine.now(), &format!("power cut at point {point}: {}", self.describe(&replay, point)?));
        let claim = match case.old {
            Old::Holds => "the confirmation had not been sent",
            Old::Contested => "the confirmation had been sent",
            Old::Lapsed => "the old version was on trial and is being reverted",
        };
        log.note(cut.machine.now(), &format!("{claim}; the security counter must be at least {}", case.floor));
        let mut machine = cut.machine;
        // What was on its way when the power went was sent before the cut and belongs to the run, not to the recovery.
        machine.uart_take_timed();
        if let Some(after) = point.again {
            (machine, case) = self.second_cut(machine, point, after, case, Some(&mut log))?;
        }
        let course = self.course(machine, point, Some(&mut log));
        let (outcome, why) = judge(&course, case);
        Ok((Judged { outcome, recovery: course.operations }, log.finish(&format!("outcome {outcome:?}: {why}"))))
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
    fn all_at(&self, replay: &Replay, operation: u32, phase: CutPhase) -> Result<Vec<(CutPoint, CutOutcome)>, LinkError> {
        let first = CutPoint { operation, phase, again: None };
        let (judged, cut, seconds) = self.first_cut(replay, operation, phase)?;
        let mut points = vec![(first, judged.outcome)];
        for after in seconds {
            let point = CutPoint { again: Some(after), ..first };
            let (machine, case) = self.second_cut(cut.machine.clone(), point, after, self.case(&cut), None)?;
            points.push((point, judge(&self.course(machine, point, None), case).0));
        }
        Ok(points)
    }

    /// Does `each` for every phase of every operation on the plan's threads and delivers the results in order.
    fn chunks<T: Send>(
        &self,
        each: &(impl Fn(&Replay, u32, CutPhase) -> Result<T, LinkError> + Sync),
        mut deliver: impl FnMut(Result<Vec<T>, LinkError>) -> bool,
    ) {
        let stop = AtomicBool::new(false);
        let work = |chunk: usize| {
            let from = chunk as u32 * self.baseline.apart;
            let to = from.saturating_add(self.baseline.apart).min(self.baseline.operations);
            let mut replay = self.baseline.checkpoint(from);
            let mut results = Vec::new();
            for operation in (from..to).filter(|operation| operation % self.every == 0) {
                if stop.load(Ordering::Relaxed) {
                    break; // nobody will look at this chunk
                }
                self.baseline.approach(&mut replay, operation)?;
                for phase in phases(self.plan.torn) {
                    results.push(each(&replay, operation, phase)?);
                }
            }
            Ok(results)
        };
        ordered::ordered(self.plan.threads, self.baseline.chunks(), work, |_, result| {
            let on = deliver(result);
            stop.store(!on, Ordering::Relaxed);
            on
        });
    }

    /// What the operation of `point` does to the flash.
    fn describe(&self, replay: &Replay, point: CutPoint) -> Result<String, LinkError> {
        let content = |phase| {
            let cut = self.baseline.cut(replay, point.operation, phase)?;
            let nv = cut.machine.nv();
            let flash = nv.read(FLASH_BASE, FLASH_SIZE).unwrap_or_default();
            let uicr = nv.read(UICR_BASE, 0x100).unwrap_or_default();
            Ok::<_, LinkError>([(FLASH_BASE, flash), (UICR_BASE, uicr)])
        };
        let (before, after) = (content(CutPhase::Before)?, content(CutPhase::After)?);
        let mut changed = Vec::new();
        for ((base, old), (_, new)) in before.iter().zip(&after) {
            let differs = |i: &usize| old[*i] != new[*i];
            if let (Some(first), Some(last)) = ((0..old.len()).find(differs), (0..old.len()).rfind(differs)) {
                changed.push(format!("{:#010x}..={:#010x}", base + first as u32, base + last as u32));
            }
        }
        let what = if changed.is_empty() { "changes nothing".to_owned() } else { format!("changes {}", changed.join(" and ")) };
        Ok(format!("operation {} of 0..{} {what}", point.operation, self.baseline.operations))
    }
}

/// Collects outcomes into batches and hands them out with their transcripts.
struct Report<'a, 'on> {
    search: &'a CutSearch,
    on: &'on mut dyn FnMut(CutProgress) -> bool,
    batch: Vec<(CutOutcome, u32)>,
    waiting: u32,
    bad: Vec<(CutPoint, CutOutcome)>,
    judged: u64,
    /// Bad outcomes met so far.
    told: Vec<CutOutcome>,
    /// Bad points so far.
    count: u64,
}

impl Report<'_, '_> {
    /// `Ok(false)`: no more.
    fn add(&mut self, point: CutPoint, outcome: CutOutcome) -> Result<bool, LinkError> {
        match self.batch.last_mut() {
            Some((last, n)) if *last == outcome => *n += 1,
            _ => self.batch.push((outcome, 1)),
        }
        self.waiting += 1;
        if !outcome.is_good() {
            self.bad.push((point, outcome));
        }
        if self.waiting == BATCH { self.flush() } else { Ok(true) }
    }

    fn flush(&mut self) -> Result<bool, LinkError> {
        if self.waiting == 0 {
            return Ok(true);
        }
        self.judged += u64::from(std::mem::take(&mut self.waiting));
        let mut go_on = (self.on)(CutProgress::Judged(std::mem::take(&mut self.batch)));
        for (point, outcome) in std::mem::take(&mut self.bad) {
            self.count += 1;
            // Full transcripts take the time of a full execution each. The first ones and the first of each kind are enough to read.
            let transcript = if self.count > TOLD && self.told.contains(&outcome) {
                format!("point {point}: {outcome:?}. One of many; select this point alone for its transcript.\n")
            } else if go_on {
                self.told.push(outcome);
                let (judged, transcript) = self.search.tell(point)?;
                if judged.outcome != outcome {
                    let executed = judged.outcome;
                    return Err(fault(format!(
                        "point {point} is {outcome:?} from memory and {executed:?} executed: a defect of the bench"
                    )));
                }
                transcript
            } else {
                String::new()
            };
            go_on = go_on && (self.on)(CutProgress::Told { point, outcome, transcript });
        }
        Ok(go_on)
    }
}

/// Finds out what the device says that nobody has cut, and that the plan's questions work on it at all.
fn examine_uninterrupted(recording: &Recording, questions: &mut Questions, plan: &CutPlan) -> Result<(Floor, bool), LinkError> {
    if !plan.ready.capture_names().any(|name| name == Some("version")) {
        return Err(fault(
            "the pattern for readiness has no capture `version`, so nobody can tell what runs; add it to the profile",
        ));
    }
    let examine = |questions: &Questions, machine: Machine| Examiner { questions, memories: None }.restarted(machine);
    let start =
        if recording.start.is_powered() { recording.start.clone() } else { examine(questions, recording.start.clone()).1 };
    let mut console = Console::new(start.clone(), None);
    let Some(expected) = questions.settings(&mut console) else {
        return Err(fault(
            "the device did not answer the question for its settings before the update; check `settings` of the profile",
        ));
    };
    questions.expected = expected;
    let Counter::Is(before) = questions.counter(&mut console) else {
        return Err(fault(
            "the device did not answer the question for its security counter with a number before the update; check `counter` of the profile",
        ));
    };
    let (seen, machine) = examine(questions, start.clone());
    // A device whose old version is itself on trial reverts at any power cycle, to the version that it then keeps.
    let lapsed = seen == Seen::New && examine(questions, machine.clone()).0 == Seen::New;
    if seen != Seen::Old && !lapsed {
        return Err(fault(format!(
            "before the update, after a power cycle, the device was to come up with version {} within {:?}; it came up as: {seen:?}",
            plan.old_version, plan.recovery
        )));
    }
    let memories = Memories::new();
    let (updated, after, _) = Examiner { questions, memories: Some(&memories) }.update(machine, None);
    if !updated || after != Seen::New {
        return Err(fault(format!(
            "the update as the plan writes it does not work on the device even without a power cut (exchanges answered: {updated}, then up: {after:?})"
        )));
    }
    let end = at_end(recording, plan.recovery);
    let in_uicr = match questions.counter(&mut Console::new(end.clone(), None)) {
        Counter::Is(now) => before == cleared_bits(&start) && now == cleared_bits(&end),
        Counter::Unknown => false,
    };
    Ok((Floor { before, in_uicr }, lapsed))
}

/// Phases of an operation, in the order of points.
fn phases(torn: u32) -> impl Iterator<Item = CutPhase> {
    [CutPhase::Before].into_iter().chain((0..torn).map(|seed| CutPhase::Torn { seed })).chain([CutPhase::After])
}

/// After which of `operations` operations `cuts` cuts come: spread evenly, none twice.
fn spread(operations: u32, cuts: u32) -> Vec<u32> {
    let at = |i: u32| ((u64::from(operations) * u64::from(i)).div_ceil(u64::from(cuts) + 1) as u32).max(1);
    if operations <= cuts { (1..=operations).collect() } else { (1..=cuts).map(at).collect() }
}

/// Whether the power comes back so soon after the last cut of this point that SRAM keeps part of its content: one point in sixteen, chosen
/// by the point alone.
fn soon(point: CutPoint) -> bool {
    let phase = match point.phase {
        CutPhase::Before => 0,
        CutPhase::After => 1,
        CutPhase::Torn { seed } => seed.wrapping_add(2),
    };
    let mixed = [point.operation, phase, point.again.unwrap_or(0)]
        .into_iter()
        .fold(0x9E37_79B9_u32, |hash, part| (hash ^ part).wrapping_mul(0x85EB_CA6B).rotate_left(13));
    mixed.wrapping_mul(0xC2B2_AE35) >> 28 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_cuts_are_spread_evenly_and_never_coincide() {
        assert_eq!(spread(0, 4), Vec::<u32>::new());
        assert_eq!(spread(3, 4), [1, 2, 3]);
        assert_eq!(spread(100, 3), [25, 50, 75]);
        for operations in 1..60 {
            for cuts in 0..20 {
                let all = spread(operations, cuts);
                assert_eq!(all.len() as u32, cuts.min(operations));
                assert!(all.windows(2).all(|two| two[0] < two[1]) && all.iter().all(|n| (1..=operations).contains(n)));
            }
        }
    }

    #[test]
    fn about_one_point_in_sixteen_is_powered_soon() {
        let points = (0..10_000).flat_map(|operation| phases(2).map(move |phase| CutPoint { operation, phase, again: None }));
        let share = points.filter(|point| soon(*point)).count();
        assert!((2000..3000).contains(&share), "{share} of 40000");
    }

    #[test]
    fn phases_are_before_torn_after() {
        let expected = [CutPhase::Before, CutPhase::Torn { seed: 0 }, CutPhase::Torn { seed: 1 }, CutPhase::After];
        assert_eq!(phases(2).collect::<Vec<_>>(), expected);
    }
}
