//! The power-cut search on the real firmware. Exhaustive searches belong to the release build (`cargo bench --bench cuts`, and the plan
//! `testplans/secure-update.yaml`); here each kind of point is sampled.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "cuts/events.rs"]
mod events;
#[path = "cuts/lock.rs"]
mod lock;

use std::sync::atomic::{AtomicU64, Ordering};

use hilbench::{
    channel::link::{CutPlan, CutProgress, CutSummary},
    event::{CutOutcome, CutPhase, CutPoint},
    virtual_dut::cuts::CutSearch,
};
use lock::{Lock, plan};

/// Outcomes in order, and the points told.
fn run(search: &CutSearch) -> (CutSummary, Vec<CutOutcome>, Vec<(CutPoint, CutOutcome, String)>) {
    let (mut outcomes, mut told) = (Vec::new(), Vec::new());
    let mut on = |progress| match progress {
        CutProgress::Judged(batch) => {
            outcomes.extend(batch.into_iter().flat_map(|(outcome, n)| std::iter::repeat_n(outcome, n as usize)));
        }
        CutProgress::Counted(_) => {}
        CutProgress::Told { point, outcome, transcript } => told.push((point, outcome, transcript)),
    };
    let summary = search.run(&mut on, &|| true);
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

/// The same points in all ways of working.
fn agree(lock: &Lock, second: u32, every: u32) -> Vec<CutOutcome> {
    let recording = lock.update("lock-v2");
    let outcomes = |threads, remember| {
        let plan = CutPlan { threads, second, ..plan("lock-v2") };
        let search = CutSearch::new(&recording, lock.entry, &plan).unwrap().every(every).remember(remember);
        let (summary, outcomes, _) = run(&search);
        assert_eq!(summary.judged, summary.of);
        (outcomes, search.figures())
    };
    let (executed, figures) = outcomes(1, false);
    assert_eq!(figures, [(0, 0), (0, 0)]);
    for threads in [1, 2] {
        let (remembered, [(known, _), _]) = outcomes(threads, true);
        assert_eq!(remembered, executed, "{threads} threads");
        assert!(known > 0, "nothing was remembered, so nothing was compared");
    }
    executed
}

#[test]
fn memory_and_threads_change_no_outcome() {
    let good = agree(&Lock::good(), 0, 197);
    assert!(good.iter().all(|outcome| outcome.is_good()));
    let bad = agree(&Lock::with("bootloader-swap-status-not-persisted"), 0, 997);
    assert!(bad.iter().any(|outcome| !outcome.is_good()) && bad.iter().any(|outcome| outcome.is_good()), "{bad:?}");
}

#[test]
fn second_cuts_are_judged_too_and_repeat_alone() {
    let lock = Lock::good();
    let outcomes = agree(&lock, 2, 1597);
    assert!(outcomes.iter().all(|outcome| outcome.is_good()), "{outcomes:?}");
    let search = CutSearch::new(&lock.update("lock-v2"), lock.entry, &plan("lock-v2")).unwrap();
    // In the middle of the swap, so that the recovery has much to do.
    let again = |again| CutPoint { operation: 4000, phase: CutPhase::Torn { seed: 1 }, again };
    let alone = search.judge(again(None)).unwrap();
    assert!(alone.recovery > 40, "{alone:?}");
    let judged = search.judge(again(Some(40))).unwrap();
    let (told, transcript) = search.tell(again(Some(40))).unwrap();
    assert_eq!((judged, judged.outcome), (told, alone.outcome));
    assert!(transcript.contains("second power cut, after 40 flash operations of the recovery"), "{transcript}");
    let beyond = search.judge(again(Some(alone.recovery + 1))).unwrap_err().to_string();
    assert!(beyond.contains(&format!("does {} flash operations", alone.recovery)), "{beyond}");
}

#[test]
fn a_search_that_is_stopped_has_judged_the_first_points() {
    let lock = Lock::good();
    let recording = lock.update("lock-v2");
    for threads in [1, 2] {
        for second in [0, 1] {
            let plan = CutPlan { threads, second, ..plan("lock-v2") };
            let search = CutSearch::new(&recording, lock.entry, &plan).unwrap().every(499);
            let of = search.points(&|| true).unwrap().unwrap();
            let (asked, mut seen) = (AtomicU64::new(0), 0);
            let keep_going = || asked.fetch_add(1, Ordering::Relaxed) < 20;
            let mut on = |progress| {
                if let CutProgress::Judged(batch) = progress {
                    seen += batch.iter().map(|(_, n)| u64::from(*n)).sum::<u64>();
                }
            };
            let summary = search.run(&mut on, &keep_going).unwrap();
            assert_eq!((summary.judged, summary.of, summary.bad), (seen, of, 0));
            assert!(seen > 0 && seen < of && seen <= 20, "{summary:?}");
            let stopped = CutSearch::new(&recording, lock.entry, &plan).unwrap().every(499).run(&mut |_| (), &|| false).unwrap();
            assert_eq!((stopped.judged, stopped.exhaustive && stopped.of == 0), (0, false));
        }
    }
}
