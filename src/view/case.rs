//! Cases and steps.

use std::time::Duration;

use super::CutsView;
use crate::event::{CaseId, ChannelName, EvidenceRef, Limit, NOT_SELECTED, Nanos, Reason, StepId, Verdict, Witness};

/// What a case is at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CaseState {
    /// Not begun.
    #[default]
    Waiting,
    /// Begun, not judged.
    Running,
    /// Not run, and why.
    Skipped(String),
    /// Judged.
    Finished {
        /// Verdict.
        verdict: Verdict,
        /// Why, if not pass.
        reason: Option<Reason>,
        /// Step that decided.
        step: Option<StepId>,
    },
}

/// A case, or a section of steps that belong to no case (`setup`, `finally`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CaseView {
    /// Name.
    pub id: Option<CaseId>,
    /// Title.
    pub title: String,
    /// TS 103 701 test cases it contributes to.
    pub assesses: Vec<String>,
    /// What it is at.
    pub state: CaseState,
    /// When it began.
    pub started: Option<Nanos>,
    /// When it was judged.
    pub ended: Option<Nanos>,
    /// Its steps in the order they began.
    pub steps: Vec<StepView>,
    /// Whether it is a section and not a case of the plan.
    pub is_section: bool,
}

impl CaseView {
    /// Name for display.
    #[must_use]
    pub fn name(&self) -> &str {
        self.id.as_ref().map_or("", |id| id.as_str())
    }

    /// Whether the user chose other cases.
    #[must_use]
    pub fn is_unselected(&self) -> bool {
        matches!(&self.state, CaseState::Skipped(why) if why == NOT_SELECTED)
    }

    /// Time it took, in bench time.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        Some(self.ended?.since(self.started?))
    }

    /// The step that decided the verdict, if one did.
    #[must_use]
    pub fn decisive(&self) -> Option<&StepView> {
        let CaseState::Finished { step: Some(id), .. } = &self.state else { return None };
        self.steps.iter().find(|step| step.id == *id)
    }

    /// Every bad cut of its searches.
    pub fn bad_cuts(&self) -> impl Iterator<Item = &super::BadCut> {
        self.steps.iter().filter_map(|step| step.cuts.as_ref()).flat_map(|cuts| &cuts.bad)
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepView {
    /// Place.
    pub id: StepId,
    /// What it does.
    pub text: String,
    /// When it began.
    pub started: Nanos,
    /// By when it must have ended.
    pub deadline: Nanos,
    /// When it ended.
    pub ended: Option<Nanos>,
    /// Verdict, once it has ended.
    pub verdict: Option<Verdict>,
    /// Why, if not pass.
    pub reason: Option<Reason>,
    /// Bytes that decided.
    pub evidence: Vec<EvidenceRef>,
    /// Attempts that did not succeed.
    pub attempts: Vec<Attempt>,
    /// Expectations that were met: channel, pattern, place.
    pub matched: Vec<(ChannelName, String, EvidenceRef)>,
    /// Values that were measured.
    pub measured: Vec<Measurement>,
    /// Proofs of stimuli.
    pub witnesses: Vec<Witness>,
    /// What nothing proves.
    pub unwitnessed: Vec<String>,
    /// Its power-cut search, if it is one.
    pub cuts: Option<CutsView>,
}

impl StepView {
    pub(super) fn new(id: StepId, text: String, started: Nanos, deadline: Nanos) -> Self {
        Self {
            id,
            text,
            started,
            deadline,
            ended: None,
            verdict: None,
            reason: None,
            evidence: Vec::new(),
            attempts: Vec::new(),
            matched: Vec::new(),
            measured: Vec::new(),
            witnesses: Vec::new(),
            unwitnessed: Vec::new(),
            cuts: None,
        }
    }

    /// Number within its case: `3`, `3.2`.
    #[must_use]
    pub fn number(&self) -> &str {
        self.id.as_str().rsplit_once('/').map_or(self.id.as_str(), |(_, number)| number)
    }
}

/// An attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which, from 1.
    pub attempt: u32,
    /// Of how many.
    pub of: u32,
    /// Why it did not.
    pub reason: Reason,
}

/// A measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Name.
    pub name: String,
    /// Value.
    pub value: f64,
    /// Unit.
    pub unit: String,
    /// What it was held against.
    pub limit: Option<Limit>,
    /// Whether it was within.
    pub within: bool,
}
