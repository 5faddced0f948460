//! How long cases took in earlier runs, and how long a run will still take from that.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use crate::{
    event::{Fact, Nanos},
    journal::{RunDir, RunState, runs},
    view::{CaseState, RunView},
};

/// Earlier runs that are looked at.
const RUNS: usize = 3;
/// Runs that are looked through for them.
const LOOKED: usize = 60;
/// Journals above this are not read for an estimate.
const LARGEST: u64 = 16 << 20;

/// What earlier runs of the same plan on the same rig took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Bench time of each case.
    cases: BTreeMap<String, Duration>,
    /// Wall time per bench time.
    pace: f64,
}

impl History {
    /// Reads it from the store. Takes up to some seconds.
    #[must_use]
    pub fn read(store: &Path, plan: &str, rig: &str, but: &str) -> Self {
        let mut spans: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        let (mut wall, mut bench) = (0.0, 0.0);
        let fits = |run: &crate::journal::RunSummary| {
            let same = run.summary.plan.as_deref() == Some(plan) && run.summary.rig.as_deref() == Some(rig);
            same && run.state == RunState::Closed && run.id.as_str() != but
        };
        let known = runs(store).unwrap_or_default();
        for run in known.iter().take(LOOKED).filter(|run| fits(run)).take(RUNS) {
            let size = ["events.jsonl", "events.jsonl.gz"].iter().find_map(|name| fs::metadata(run.directory.join(name)).ok());
            if size.is_none_or(|size| size.len() > LARGEST) {
                continue;
            }
            let Ok(events) = RunDir::open(&run.directory).and_then(|run| run.events()) else { continue };
            let mut view = RunView::default();
            for event in events {
                // Only what the estimate is made of.
                if matches!(event.fact, Fact::CaseStarted { .. } | Fact::CaseFinished { .. } | Fact::RunFinished { .. }) {
                    view.apply(&event);
                }
            }
            for case in &view.cases {
                if let Some(took) = case.took() {
                    spans.entry(case.name().to_owned()).or_default().push(took);
                }
            }
            if let Some(finish) = &view.finish {
                wall += finish.wall_ms as f64 / 1e3;
                bench += view.at.0 as f64 / 1e9;
            }
        }
        let mean = |spans: Vec<Duration>| spans.iter().sum::<Duration>() / spans.len().max(1) as u32;
        let cases = spans.into_iter().map(|(name, spans)| (name, mean(spans))).collect();
        Self { cases, pace: if bench > 0.0 { wall / bench } else { 1.0 } }
    }

    /// Wall time that a run will still take; `None` if too little is known.
    #[must_use]
    pub fn remaining(&self, view: &RunView, now: Nanos) -> Option<Duration> {
        let (mut left, mut known, mut open) = (Duration::ZERO, 0, 0);
        for case in view.plan_cases() {
            let gone = match case.state {
                CaseState::Waiting => Duration::ZERO,
                CaseState::Running => case.started.map_or(Duration::ZERO, |started| now.since(started)),
                CaseState::Skipped(_) | CaseState::Finished { .. } => continue,
            };
            open += 1;
            if let Some(took) = self.cases.get(case.name()) {
                known += 1;
                left += took.saturating_sub(gone);
            }
        }
        // A run that is told its cases one by one would seem to end with each of them.
        let enough = open > 0 && known * 10 >= open * 9 && self.pace.is_finite();
        enough.then(|| left.mul_f64(self.pace.clamp(0.0, 1e6)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    #[test]
    fn what_is_left_is_what_the_open_cases_took_before() {
        let view = RunView::of(&fixture::passing());
        let mut early = RunView::default();
        early.apply(&fixture::passing()[0]);
        let cases = view.plan_cases().map(|case| (case.name().to_owned(), Duration::from_secs(10))).collect();
        let history = History { cases, pace: 0.5 };
        assert_eq!(history.remaining(&early, Nanos(0)), Some(Duration::from_secs(15)));
        assert_eq!(history.remaining(&view, view.at), None, "nothing is open");
        assert_eq!(History::default().remaining(&early, Nanos(0)), None, "nothing is known");
    }
}
