//! Plans as values, and a run of one in a store of its own: what the tests of the engine have in common.

use std::{path::Path, sync::Arc, time::Duration};

use hilbench::{
    channel::{
        clock::{Clock, WallClock},
        link::Parameters,
    },
    event::{Event, Fact, Request, RunHeader, RunId, SCHEMA, Verdict},
    journal::{Journal, Options, Sink},
    plan::model::{Case, Plan},
    rig::model::{ChannelSpec, Rig},
    run::{
        cuts::CutOptions,
        desk::Desk,
        dispatch::{RunEnd, Setup, run},
        registry::Registry,
    },
    step::{FailAs, Step, StepKind, Template},
};
use tokio::sync::mpsc;

/// A text as a plan has it.
pub(crate) fn text(text: &str) -> Template {
    Template(text.to_owned())
}

/// A reason to fail.
pub(crate) fn code(code: &str) -> FailAs {
    FailAs { code: code.to_owned(), text: String::new() }
}

/// A step; where it stands in a file does not matter.
pub(crate) fn step(kind: StepKind) -> Step {
    Step { kind, line: 1 }
}

/// A case that may take a minute.
pub(crate) fn case(id: &str, steps: Vec<Step>) -> Case {
    Case { id: id.to_owned(), title: id.to_owned(), assesses: Vec::new(), timeout: Duration::from_mins(1), steps, line: 1 }
}

/// A plan of nothing but cases.
pub(crate) fn plan(cases: Vec<Case>) -> Plan {
    Plan {
        name: "plan".to_owned(),
        title: "plan".to_owned(),
        requires: Vec::new(),
        images: Vec::new(),
        before_each: Vec::new(),
        cases,
        finally: Vec::new(),
        timeout: Duration::from_mins(10),
    }
}

/// A plan of one case, which is called `case`.
pub(crate) fn one(steps: Vec<Step>) -> Plan {
    plan(vec![case("case", steps)])
}

/// A channel of a rig, with a driver that wants no parameters.
pub(crate) fn channel(driver: &str) -> ChannelSpec {
    ChannelSpec { driver: driver.to_owned(), parameters: Parameters::default(), sees_flash: false }
}

/// A run in this store, without a guard, that nobody attends; `sink` wraps the journal's files.
pub(crate) fn setup(store: &Path, sink: Option<Sink>, plan: Plan, rig: Rig, registry: Registry) -> Setup {
    let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
    let id = RunId::from("20260101-000000-0001");
    let bench_clock = Arc::clone(&clock);
    let options = Options { sink, ..Options::new(store, id.clone(), Arc::new(move || bench_clock.now())) };
    let header = RunHeader {
        schema: SCHEMA.to_owned(),
        tool: "test".to_owned(),
        run: id,
        command: Vec::new(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        clock: clock.name().to_owned(),
        seed: 1,
        plan: plan.name.clone(),
        rig: rig.name.clone(),
        device: rig.device.name.clone(),
        files: Vec::new(),
        cases: Vec::new(),
    };
    Setup {
        plan,
        rig,
        skipped: Vec::new(),
        registry,
        clock,
        journal: Journal::create(options).unwrap(),
        header,
        leases: store.join("leases"),
        wait: None,
        guard: None,
        cuts: CutOptions::default(),
        desk: Desk::default(),
        fail_fast: false,
        hold: None,
    }
}

/// Runs it to its end, while each request comes so long after the one before; how it ended, and all that was recorded.
pub(crate) async fn ended(setup: Setup, requests: Vec<(Duration, Request)>) -> (RunEnd, Vec<Event>) {
    let mut cursor = setup.journal.observe();
    let (sender, served) = mpsc::channel(4);
    tokio::spawn(async move {
        for (after, request) in requests {
            tokio::time::sleep(after).await;
            let _ = sender.send(request).await;
        }
    });
    let end = run(setup, served).await;
    let events = std::iter::from_fn(|| cursor.try_next()).map(|event| (*event).clone()).collect();
    (end, events)
}

/// The verdict on a case with its reason, if it was finished.
pub(crate) fn judged(events: &[Event], id: &str) -> Option<(Verdict, String)> {
    events.iter().find_map(|event| match &event.fact {
        Fact::CaseFinished { case, verdict, reason, .. } if case.as_str() == id => {
            Some((*verdict, reason.as_ref().map(ToString::to_string).unwrap_or_default()))
        }
        _ => None,
    })
}

/// Asserts the verdict on the only case, and a part of its reason.
#[track_caller]
pub(crate) fn is(events: &[Event], verdict: Verdict, reason: &str) {
    let (found, why) = judged(events, "case").unwrap_or_else(|| panic!("the case did not finish: {events:#?}"));
    assert!(found == verdict && why.contains(reason), "expected {verdict} {reason}, found {found} {why}");
}
