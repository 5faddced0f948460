//! The whole run.

use std::collections::BTreeMap;

use super::{CaseState, CaseView, StepView};
use crate::event::{Act, ChannelName, Event, Nanos, Reason, RunHeader, StepId, StopLevel, Verdict};

/// Everything a run has come to, as far as it was told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunView {
    /// What was known at the start.
    pub header: Option<RunHeader>,
    /// Cases in the order of the plan, and sections where their first step began.
    pub cases: Vec<CaseView>,
    /// Instruments that are ours.
    pub leases: Vec<String>,
    /// Channels.
    pub channels: BTreeMap<ChannelName, Channel>,
    /// Steps that are running, the innermost last.
    pub current: Vec<StepId>,
    /// The last act on the world: channel and act.
    pub last_act: Option<(ChannelName, Act)>,
    /// Faults of the bench.
    pub faults: Vec<Fault>,
    /// What the operator was asked, in order.
    pub prompts: Vec<Prompt>,
    /// The way to the safe state.
    pub safe_state: SafeState,
    /// Who asked the run to end, and how urgently; the most urgent one.
    pub stop: Option<(StopLevel, String)>,
    /// How it ended.
    pub finish: Option<Finish>,
    /// Bench time of the latest event.
    pub at: Nanos,
    /// Number of events seen.
    pub seen: u64,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Channel {
    /// Driver and instrument.
    pub identity: String,
    /// Why it is gone, if it is.
    pub lost: Option<String>,
    /// Bytes to the device.
    pub sent: u64,
    /// Bytes from the device.
    pub received: u64,
    /// Times that bytes were lost on the way to the capture.
    pub gaps: u64,
    /// Supply up or down, as it was last switched.
    pub power: Option<bool>,
    /// Button or strap pressed, as it was last switched.
    pub pressed: Option<bool>,
    /// What was last done to the device's network.
    pub network: Option<String>,
    /// What happened last on it, and when.
    pub last: Option<(Nanos, Last)>,
}

/// What happened last on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Last {
    /// It was opened.
    Opened,
    /// It was lost.
    Lost,
    /// It came back.
    Reopened,
    /// An act on the world.
    Acted(Act),
    /// So many bytes went to the device.
    Sent(u64),
    /// So many bytes came from the device.
    Received(u64),
    /// Bytes were lost.
    Gap,
    /// A pattern was found.
    Matched(String),
    /// Something was seen.
    Observed(String),
}

/// A fault of the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub channel: Option<ChannelName>,
    /// What.
    pub what: String,
    /// When.
    pub at: Nanos,
}

/// A question to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its number.
    pub number: u32,
    /// Step that asks, if one does.
    pub step: Option<StepId>,
    /// What to do or to look at.
    pub text: String,
    /// A picture that shows it.
    pub picture: Option<String>,
    /// Answers to choose from.
    pub choices: Vec<String>,
    /// Whether any other text is an answer too.
    pub free: bool,
    /// When it was asked.
    pub asked: Nanos,
    /// Time for the answer, in milliseconds of the wall clock.
    pub within_ms: u64,
    /// What became of it; `None` while it is open.
    pub outcome: Option<PromptOutcome>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptOutcome {
    /// Answered: the answer, and by whom.
    Answered(String, String),
    /// Not answered, and why.
    Unanswered(String),
}

/// The way to the safe state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SafeState {
    /// Whether it was begun.
    pub started: bool,
    /// Actions that were tried, in order.
    pub actions: Vec<SafeAction>,
    /// Actions that were not confirmed: channel and problem.
    pub problems: Vec<(ChannelName, String)>,
    /// Whether all was confirmed, and who did it (`controller`, `guard`), once every action was tried.
    pub finished: Option<(bool, String)>,
}

/// One action towards the safe state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeAction {
    /// Where.
    pub channel: ChannelName,
    /// What was done.
    pub act: Act,
    /// What went wrong, if it is not confirmed.
    pub problem: Option<String>,
    /// What was read back, if the instrument can.
    pub read_back: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Verdict the engine came to.
    pub verdict: Verdict,
    /// Why, if not pass.
    pub reason: Option<Reason>,
    /// Wall-clock milliseconds.
    pub wall_ms: u64,
}

/// Number of cases by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Inconclusive, or finished without a verdict.
    pub inconclusive: usize,
    /// Could not be judged for a fault of the bench.
    pub error: usize,
    /// Not run.
    pub skipped: usize,
    /// Not judged: waiting or running.
    pub open: usize,
}

impl RunView {
    /// The view of a whole run.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut view = Self::default();
        view.extend(events);
        view
    }

    /// Takes several events in order.
    pub fn extend<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            self.apply(event);
        }
    }

    /// Verdict so far: the worst of what the engine said and of its cases; `error` for a bench that is not known to be safe.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let cases = self.plan_cases().fold(Verdict::None, |worst, case| match &case.state {
            CaseState::Finished { verdict, .. } => worst.and(*verdict),
            _ => worst,
        });
        let finish = self.finish.as_ref().map_or(Verdict::None, |finish| finish.verdict);
        let unsafe_end = matches!(self.safe_state.finished, Some((false, _)));
        let bench = if unsafe_end { Verdict::Error } else { Verdict::None };
        cases.and(finish).and(bench)
    }

    /// Verdict of a run that is over: as [`RunView::verdict`], but `error` if it ended without saying how.
    #[must_use]
    pub fn final_verdict(&self) -> Verdict {
        self.verdict().and(if self.finish.is_none() { Verdict::Error } else { Verdict::None })
    }

    /// Cases of the plan, without sections.
    pub fn plan_cases(&self) -> impl Iterator<Item = &CaseView> {
        self.cases.iter().filter(|case| !case.is_section)
    }

    /// Whether a case is not part of this run: the user chose others. The command line tells before the engine comes to it.
    #[must_use]
    pub fn is_left_out(&self, case: &CaseView) -> bool {
        if !matches!(case.state, CaseState::Waiting) {
            return case.is_unselected();
        }
        let command = self.header.as_ref().map_or(&[][..], |header| &header.command);
        let mut chosen = command.windows(2).filter(|pair| pair[0] == "--case").peekable();
        !case.is_section && chosen.peek().is_some() && chosen.all(|pair| pair[1] != case.name())
    }

    /// How the cases ended.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in self.plan_cases() {
            *match &case.state {
                CaseState::Waiting | CaseState::Running => &mut counts.open,
                CaseState::Skipped(_) => &mut counts.skipped,
                CaseState::Finished { verdict, .. } => match verdict {
                    Verdict::Pass => &mut counts.passed,
                    Verdict::Fail => &mut counts.failed,
                    Verdict::None | Verdict::Inconclusive => &mut counts.inconclusive,
                    Verdict::Error => &mut counts.error,
                },
            } += 1;
        }
        counts
    }

    /// The innermost step that is running.
    #[must_use]
    pub fn current_step(&self) -> Option<(&CaseView, &StepView)> {
        let id = self.current.last()?;
        let case = self.cases.iter().find(|case| case.name() == case_name(id))?;
        case.steps.iter().rfind(|step| step.id == *id).map(|step| (case, step))
    }

    /// Questions that wait for an answer.
    pub fn open_prompts(&self) -> impl Iterator<Item = &Prompt> {
        self.prompts.iter().filter(|prompt| prompt.outcome.is_none())
    }

    /// Who asked the run to end before its end.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&str> {
        self.stop.as_ref().map(|(_, by)| by.as_str())
    }
}

/// Case or section a step belongs to.
pub(super) fn case_name(step: &StepId) -> &str {
    step.as_str().split_once('/').map_or(step.as_str(), |(case, _)| case)
}
