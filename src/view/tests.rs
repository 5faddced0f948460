//! What the fold promises: live equals replayed, batches do not matter, nothing makes it panic, and every count is right.

use std::sync::Arc;

use proptest::prelude::*;

use super::{CaseState, Counts, RunView, fixture};
use crate::{
    event::{CutOutcome, Event, Fact, Limit, Nanos, Reason, StopLevel, Verdict},
    journal::{Journal, Options, RunDir},
};

/// Facts over a few names, in any order: far stranger than an engine would write.
fn any_fact() -> impl Strategy<Value = Fact> {
    let case = prop_oneof![Just("a"), Just("b"), Just("setup")];
    let step = proptest::sample::select(vec!["a/1", "a/2", "a/2.1", "b/1", "setup/1", "finally/1", "odd"]);
    let channel = prop_oneof![Just("console"), Just("supply")];
    let verdict =
        proptest::sample::select(vec![Verdict::None, Verdict::Pass, Verdict::Inconclusive, Verdict::Fail, Verdict::Error]);
    let reason = proptest::option::of(any::<String>().prop_map(|text| Reason { code: "X".into(), text }));
    (0..16_u8, case, step, channel, verdict, reason, any::<u32>()).prop_map(|(kind, case, step, channel, verdict, reason, n)| {
        match kind {
            0 => Fact::CaseStarted { case: case.into(), title: "t".into(), assesses: vec![] },
            1 => Fact::CaseFinished { case: case.into(), verdict, reason, step: Some(step.into()) },
            2 => Fact::CaseSkipped { case: case.into(), why: "w".into() },
            3 => Fact::StepStarted { step: step.into(), text: "t".into(), deadline: Nanos(u64::from(n)) },
            4 => Fact::StepFinished { step: step.into(), verdict, reason, evidence: vec![] },
            5 => Fact::Received { channel: channel.into(), offset: 0, len: u64::from(n) },
            6 => Fact::Sent { channel: channel.into(), offset: u64::MAX, len: u64::MAX },
            7 => Fact::ChannelLost { channel: channel.into(), why: "gone".into() },
            8 => Fact::BenchFault { channel: None, what: "fault".into() },
            9 => Fact::CutsJudged { step: step.into(), first: 0, outcomes: vec![(CutOutcome::Bricked, n), (CutOutcome::New, 1)] },
            10 => Fact::CutsFinished { step: step.into(), judged: 1, of: 2, bad: 0, upper_95: 0.5 },
            11 => {
                Fact::StopRequested { level: if n % 2 == 0 { StopLevel::Graceful } else { StopLevel::Now }, by: channel.into() }
            }
            12 => Fact::SafeStateFinished { ok: n % 2 == 0, by: "guard".into() },
            13 => Fact::Measured {
                step: step.into(),
                name: "m".into(),
                value: f64::from(n),
                unit: "s".into(),
                limit: Some(Limit { at_least: None, at_most: Some(1.0) }),
                within: n <= 1,
            },
            14 => Fact::Unwitnessed { step: step.into(), missing: "m".into() },
            _ => Fact::RunFinished { verdict, reason, wall_ms: u64::from(n) },
        }
    })
}

fn any_events() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec((any_fact(), any::<u32>()), 0..80).prop_map(|facts| {
        facts.into_iter().enumerate().map(|(seq, (fact, at))| Event { seq: seq as u64, at: Nanos(u64::from(at)), fact }).collect()
    })
}

proptest! {
    #[test]
    fn batches_do_not_matter(events in any_events(), cuts in proptest::collection::vec(0_usize..80, 0..5)) {
        let whole = RunView::of(&events);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(events.len())).chain([events.len()]).collect();
        cuts.sort_unstable();
        let (mut view, mut from) = (RunView::default(), 0_usize);
        for to in cuts {
            // A display that goes on from a copy, and one that sees the overlap again, come to the same.
            view = view.clone();
            view.extend(&events[from.saturating_sub(3)..to]);
            from = to;
        }
        prop_assert_eq!(view, whole);
    }

    #[test]
    fn a_case_never_gets_better_by_a_run_verdict(events in any_events()) {
        let view = RunView::of(&events);
        for case in view.plan_cases() {
            if let CaseState::Finished { verdict, .. } = &case.state {
                prop_assert!(view.verdict() >= *verdict);
            }
        }
        if let Some(finish) = &view.finish {
            prop_assert!(view.verdict() >= finish.verdict);
        } else {
            prop_assert_eq!(view.final_verdict(), Verdict::Error);
        }
    }
}

#[test]
fn live_and_replayed_are_equal() {
    for events in [fixture::passing(), fixture::failing()] {
        let store = tempfile::tempdir().unwrap();
        let run = crate::event::RunId::new("20261123-221530-4f1c");
        let journal = Journal::create(Options::new(store.path(), run, Arc::new(Nanos::default))).unwrap();
        let mut cursor = journal.observe();
        let mut live = RunView::default();
        for event in &events {
            journal.append_at(event.at, event.fact.clone()).unwrap();
            while let Some(event) = cursor.try_next() {
                live.apply(&event);
            }
        }
        let closed = journal.close().unwrap();
        let log = RunDir::open(closed.directory).unwrap().read().unwrap();
        assert_eq!(log.events, events);
        assert_eq!(RunView::of(&log.events), live);
        assert_eq!(RunView::of(&events), live);
    }
}

#[test]
fn a_passing_run() {
    let view = RunView::of(&fixture::passing());
    assert_eq!((view.verdict(), view.final_verdict()), (Verdict::Pass, Verdict::Pass));
    assert_eq!(view.counts(), Counts { passed: 2, skipped: 1, ..Counts::default() });
    assert_eq!(
        view.cases.iter().map(|case| case.name()).collect::<Vec<_>>(),
        ["genuine-update", "power-cuts", "ble-update", "finally"]
    );
    let update = &view.cases[0];
    assert_eq!((update.steps.len(), update.steps[0].attempts.len(), update.steps[0].witnesses.len()), (2, 1, 1));
    assert_eq!(view.channels[&"console".into()].received, 16);
    let cuts = view.cases[1].steps[0].cuts.as_ref().unwrap();
    assert_eq!((cuts.judged(), cuts.of(), cuts.bad()), (4809, 4809, 0));
}

#[test]
fn a_failing_run() {
    let view = RunView::of(&fixture::failing());
    assert_eq!(view.verdict(), Verdict::Error);
    assert_eq!(view.counts(), Counts { failed: 2, inconclusive: 1, error: 1, skipped: 1, ..Counts::default() });
    assert_eq!(view.cases[0].decisive().unwrap().number(), "2");
    assert_eq!(view.cases[1].bad_cuts().count(), 2);
    assert_eq!(view.stopped_by(), Some("SIGINT"));
    assert_eq!(view.safe_state.finished, Some((false, "controller".into())));
    assert_eq!((view.faults.len(), view.current.len()), (1, 0));
}

/// Half-way: what is shown while a run goes on, and what is known of one whose controller was killed.
#[test]
fn a_run_without_an_end_is_an_error() {
    let events = fixture::passing();
    let half = events.iter().position(|event| matches!(event.fact, Fact::CutBaseline { .. })).unwrap();
    let view = RunView::of(&events[..=half]);
    let (case, step) = view.current_step().unwrap();
    assert_eq!((case.name(), step.number()), ("power-cuts", "1"));
    assert_eq!(view.counts(), Counts { passed: 1, open: 2, ..Counts::default() });
    assert_eq!((view.verdict(), view.final_verdict()), (Verdict::Pass, Verdict::Error));
}

#[test]
fn an_unsafe_end_is_an_error_whatever_the_engine_says() {
    let mut events = fixture::passing();
    for event in &mut events {
        if let Fact::SafeStateFinished { ok, .. } = &mut event.fact {
            *ok = false;
        }
    }
    assert_eq!(RunView::of(&events).verdict(), Verdict::Error);
}

#[test]
fn a_failed_case_is_not_covered_up_by_the_end_of_the_run() {
    let mut events = fixture::failing();
    let last = events.last_mut().unwrap();
    last.fact = Fact::RunFinished { verdict: Verdict::Pass, reason: None, wall_ms: 1 };
    assert!(RunView::of(&events).verdict() >= Verdict::Fail);
}
