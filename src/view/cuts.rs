//! What a power-cut search has found so far.

use std::collections::BTreeMap;

use crate::event::{CutOutcome, CutPoint, EvidenceRef};

/// Bad cuts kept with their details. A device that fails at every point must not fill the memory of a display.
pub(super) const MOST_BAD: usize = 1000;

/// State of a power-cut search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CutsView {
    /// Flash operations of the uninterrupted update.
    pub operations: u32,
    /// Cut points that will be tried.
    pub points: u64,
    /// Points per outcome, from the batches judged so far.
    pub outcomes: BTreeMap<CutOutcome, u64>,
    /// Details of bad cuts, the first 1000 of them.
    pub bad: Vec<BadCut>,
    /// Bad cuts that details were recorded of, kept or not.
    pub told: u64,
    /// The result, once the search has ended: points judged, points there are, bad ones, 95 % upper bound of the share of bad ones.
    pub result: Option<(u64, u64, u64, f64)>,
}

/// One bad cut.
#[derive(Debug, Clone, PartialEq)]
pub struct BadCut {
    /// Where.
    pub point: CutPoint,
    /// What it led to.
    pub outcome: CutOutcome,
    /// Transcript.
    pub evidence: Option<EvidenceRef>,
    /// Command line that repeats it.
    pub reproduce: String,
}

impl CutsView {
    /// Points judged so far.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.result.map_or_else(|| self.outcomes.values().fold(0_u64, |sum, n| sum.saturating_add(*n)), |(judged, ..)| judged)
    }

    /// Points with a bad outcome so far: the larger of what the result says and what the batches say.
    #[must_use]
    pub fn bad(&self) -> u64 {
        let counted =
            self.outcomes.iter().filter(|(outcome, _)| !outcome.is_good()).fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        counted.max(self.result.map_or(0, |(_, _, bad, _)| bad))
    }

    /// Points there are.
    #[must_use]
    pub fn of(&self) -> u64 {
        self.result.map_or(self.points, |(_, of, ..)| of)
    }
}
