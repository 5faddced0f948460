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
    /// Which points came to what.
    pub map: CutMap,
    /// The result, once the search has ended: points judged, points there are, bad ones, 95 % upper bound of the share of bad ones.
    pub result: Option<(u64, u64, u64, f64)>,
}

/// The points of a search in their order, each part of them with its worst outcome; of fixed size, however many points there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CutMap {
    points: u64,
    cells: Vec<Option<CutOutcome>>,
}

/// Parts of a map at most.
const CELLS: u64 = 4096;

impl CutMap {
    /// An empty map of so many points.
    #[must_use]
    pub fn new(points: u64) -> Self {
        Self { points, cells: vec![None; points.min(CELLS) as usize] }
    }

    /// Points that the map is of.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Takes outcomes of points from number `first` on, each with how many in a row had it.
    pub fn note(&mut self, first: u64, outcomes: &[(CutOutcome, u32)]) {
        let mut point = first;
        for (outcome, count) in outcomes {
            let end = point.saturating_add(u64::from(*count));
            let (from, to) = (self.cell(point), self.cell(end.saturating_sub(1)));
            if *count > 0 && from < self.cells.len() {
                for cell in self.cells.iter_mut().take(to.saturating_add(1)).skip(from) {
                    *cell = Some(cell.map_or(*outcome, |before| before.max(*outcome)));
                }
            }
            point = end;
        }
    }

    fn cell(&self, point: u64) -> usize {
        let cells = self.cells.len() as u128;
        (u128::from(point) * cells).checked_div(u128::from(self.points)).unwrap_or(0) as usize
    }

    /// The worst outcome in part `index` of `of` equal parts; `None` if nothing of it was judged.
    #[must_use]
    pub fn worst(&self, index: usize, of: usize) -> Option<CutOutcome> {
        let cells = self.cells.len();
        let from = index.saturating_mul(cells).checked_div(of)?;
        let to = (index + 1).saturating_mul(cells).checked_div(of)?.max(from + 1);
        self.cells.iter().take(to).skip(from).flatten().max().copied()
    }
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

#[cfg(test)]
mod tests {
    use super::{CutMap, CutOutcome};

    #[test]
    fn a_map_keeps_the_worst_of_each_part_in_bounded_memory() {
        let mut map = CutMap::new(1_000_000);
        map.note(0, &[(CutOutcome::Old, 499_999), (CutOutcome::Bricked, 1), (CutOutcome::New, 300_000)]);
        assert_eq!(map.cells.len(), 4096);
        assert_eq!(
            [0, 1, 2, 3].map(|part| map.worst(part, 4)),
            [Some(CutOutcome::Old), Some(CutOutcome::Bricked), Some(CutOutcome::New), Some(CutOutcome::New)]
        );
        assert_eq!(map.worst(99, 100), None, "not judged yet");
        // What no search writes does no harm.
        map.note(u64::MAX - 1, &[(CutOutcome::Old, u32::MAX)]);
        CutMap::default().note(3, &[(CutOutcome::Old, 3)]);
        assert_eq!((CutMap::default().worst(0, 0), CutMap::new(2).worst(7, 3)), (None, None));
    }
}
