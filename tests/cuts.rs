//! The power-cut search on the real firmware. Exhaustive searches belong to the release build (`cargo bench --bench cuts`, and the plan
//! `testplans/secure-update.yaml`); here each kind of point is sampled.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "cuts/lock.rs"]
mod lock;

use hilbench::{
    channel::link::{CutProgress, CutSummary},
    event::{CutOutcome, CutPoint},
    virtual_dut::cuts::CutSearch,
};
use lock::{Lock, plan};

/// Outcomes in order, and the points told.
fn run(search: &CutSearch) -> (CutSummary, Vec<CutOutcome>, Vec<(CutPoint, CutOutcome, String)>) {
    let (mut outcomes, mut told) = (Vec::new(), Vec::new());
    let summary = search.run(&mut |progress| {
        match progress {
            CutProgress::Judged(batch) => {
                outcomes.extend(batch.into_iter().flat_map(|(outcome, n)| std::iter::repeat_n(outcome, n as usize)));
            }
            CutProgress::Told { point, outcome, transcript } => told.push((point, outcome, transcript)),
        }
        true
    });
    (summary.unwrap(), outcomes, told)
}

#[test]
fn a_good_bootloader_survives_cuts_at_sampled_operations() {
    let lock = Lock::good();
    let recording = lock.update("lock-v2");
    let search = CutSearch::new(&recording, lock.entry, &plan("lock-v2")).unwrap().every(37);
    let (summary, outcomes, told) = run(&search);
    assert_eq!(summary.bad, 0, "{told:?}");
    assert_eq!(summary.judged, summary.of);
    assert_eq!(outcomes.len() as u64, summary.judged);
    assert_eq!(summary.judged, u64::from(search.operations().div_ceil(37)) * 4);
    assert!(!summary.exhaustive);
    // Before the swap the old version, then a trial of the new one, at the end the confirmed new one.
    assert_eq!(outcomes.first(), Some(&CutOutcome::Old));
    assert!(outcomes.contains(&CutOutcome::New));
}
