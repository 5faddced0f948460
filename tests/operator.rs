//! The rules about the person at the bench, on a bench whose only instrument is that person: what an answer, a refusal and silence lead to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hilbench::{
    channel::{
        clock::{Clock, WallClock},
        link::Parameters,
        operator::Ask,
    },
    driver::power::operator::Operator,
    event::{Event, Fact, Request, RunHeader, RunId, StopLevel, Verdict},
    journal::{Journal, Options},
    plan::model::{Case, Plan},
    rig::model::{ChannelSpec, Device, Rig, SafeAction},
    run::{
        cuts::CutOptions,
        desk::{Attendance, Desk, Prepared},
        dispatch::{RunEnd, Setup, run},
        registry::Registry,
    },
    step::{Comparison, FailAs, Step, StepKind, Template, Within, prompt::PromptStep},
};
use tokio::sync::mpsc;

struct Ran {
    end: RunEnd,
    events: Vec<Event>,
}

impl Ran {
    #[track_caller]
    fn is(&self, verdict: Verdict, reason: &str) {
        let found = self.events.iter().find_map(|event| match &event.fact {
            Fact::CaseFinished { verdict, reason, .. } => Some((*verdict, reason.as_ref().map(ToString::to_string))),
            _ => None,
        });
        let (found, why) = found.unwrap();
        let why = why.unwrap_or_default();
        assert!(found == verdict && why.contains(reason), "expected {verdict} {reason}, found {found} {why}");
    }
}

fn prompt(choices: &[&str], pass: &[&str], fail: &[&str]) -> PromptStep {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    PromptStep {
        text: Template("Is the light green?".to_owned()),
        picture: None,
        choices: words(choices),
        free: false,
        within: Within::Span(Duration::from_millis(300)),
        save_as: Some("seen".to_owned()),
        pass: words(pass),
        fail: words(fail),
        fail_as: Some(FailAs { code: "LIGHT".to_owned(), text: String::new() }),
        goes_on: false,
    }
}

fn light() -> PromptStep {
    prompt(&["green", "red", "cannot tell"], &["green"], &["red"])
}

fn asks(step: PromptStep) -> StepKind {
    StepKind::Prompt(Box::new(step))
}

fn check(value: &str) -> StepKind {
    let fail_as = FailAs { code: "SEEN".to_owned(), text: String::new() };
    StepKind::Check { value: Template("${seen}".to_owned()), must: Comparison::Equals(Template(value.to_owned())), fail_as }
}

fn rig(with_supply: bool) -> Rig {
    let parameters = |values: &[(&str, &str)]| Parameters {
        values: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Parameters::default()
    };
    let supply = ChannelSpec {
        driver: "operator-supply".to_owned(),
        sees_flash: false,
        parameters: parameters(&[("what", "the plug"), ("within", "300ms")]),
    };
    Rig {
        name: "hands".to_owned(),
        file: PathBuf::new(),
        device: Device {
            name: "lamp".to_owned(),
            file: PathBuf::new(),
            declared: BTreeMap::new(),
            images: BTreeMap::new(),
            layout: BTreeMap::new(),
            procedures: BTreeMap::new(),
            interruption: None,
            ..Device::default()
        },
        channels: if with_supply { [("supply".to_owned(), supply)].into() } else { BTreeMap::new() },
        safe_state: if with_supply { vec![SafeAction::Power { channel: "supply".to_owned(), up: false }] } else { Vec::new() },
        safe_state_timeout: Duration::from_secs(2),
        virtual_device: None,
        virtual_hub: None,
        sacrificial: false,
    }
}

/// Runs one case whose prompts get these answers, from the file if it is `prepared` and by request otherwise.
async fn ran(rig: Rig, steps: Vec<StepKind>, desk: Desk, requests: Vec<(Duration, Request)>) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
    let ask: Arc<dyn Ask> = Arc::new(desk.clone());
    let run_id = RunId::from("20260101-000000-0001");
    let bench_clock = Arc::clone(&clock);
    let options = Options::new(directory.path(), run_id.clone(), Arc::new(move || bench_clock.now()));
    let journal = Journal::create(options).unwrap();
    let mut cursor = journal.observe();
    let steps = steps.into_iter().map(|kind| Step { kind, line: 1 }).collect();
    let case = Case {
        id: "case".to_owned(),
        title: "case".to_owned(),
        assesses: Vec::new(),
        timeout: Duration::from_mins(1),
        steps,
        line: 1,
    };
    let plan = Plan {
        name: "plan".to_owned(),
        title: "plan".to_owned(),
        requires: Vec::new(),
        images: Vec::new(),
        before_each: Vec::new(),
        cases: vec![case],
        finally: Vec::new(),
        timeout: Duration::from_mins(10),
    };
    let header = RunHeader {
        schema: hilbench::event::SCHEMA.to_owned(),
        tool: "test".to_owned(),
        run: run_id,
        command: Vec::new(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        clock: clock.name().to_owned(),
        seed: 1,
        plan: "plan".to_owned(),
        rig: rig.name.clone(),
        device: rig.device.name.clone(),
        files: Vec::new(),
        cases: Vec::new(),
    };
    let setup = Setup {
        plan,
        rig,
        skipped: Vec::new(),
        registry: Registry::new().with(Arc::new(Operator::supply(ask))),
        clock,
        journal,
        header,
        leases: directory.path().join("leases"),
        wait: None,
        guard: None,
        cuts: CutOptions::default(),
        desk,
        fail_fast: false,
        hold: None,
    };
    let (sender, served) = mpsc::channel(4);
    tokio::spawn(async move {
        for (after, request) in requests {
            tokio::time::sleep(after).await;
            let _ = sender.send(request).await;
        }
    });
    let end = run(setup, served).await;
    let mut events = Vec::new();
    while let Some(event) = cursor.try_next() {
        events.push((*event).clone());
    }
    Ran { end, events }
}

fn answers(answers: &[(&str, &str)]) -> Desk {
    let prepared =
        |(prompt, answer): &(&str, &str)| Prepared { prompt: regex::Regex::new(prompt).unwrap(), answer: (*answer).to_owned() };
    Desk::new(Attendance::Nobody, answers.iter().map(prepared).collect())
}

async fn seen(step: PromptStep, answer: &str) -> Ran {
    ran(rig(false), vec![asks(step)], answers(&[("light", answer)]), Vec::new()).await
}

#[tokio::test]
async fn the_operators_judgement_is_what_the_plan_says_it_is() {
    seen(light(), "green").await.is(Verdict::Pass, "");
    seen(light(), "red").await.is(Verdict::Fail, "LIGHT");
    seen(light(), "cannot tell").await.is(Verdict::Inconclusive, "OPERATOR");
    // Only something to do: it judges nothing, and who cannot do it is a fault of the bench.
    seen(prompt(&[], &[], &[]), "done").await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    seen(prompt(&[], &[], &[]), "cannot").await.is(Verdict::Error, "BENCH-FAULT");
}

#[tokio::test]
async fn silence_is_neither_pass_nor_fail() {
    let nobody = ran(rig(false), vec![asks(light())], answers(&[]), Vec::new()).await;
    nobody.is(Verdict::Inconclusive, "unattended");
    assert_eq!(nobody.end.verdict, Verdict::Inconclusive);
    let silent = ran(rig(false), vec![asks(light())], Desk::default(), Vec::new()).await;
    silent.is(Verdict::Inconclusive, "no answer within 300ms");
    assert!(silent.events.iter().any(|event| matches!(&event.fact, Fact::Unanswered { prompt: 1, .. })));
    // A case that goes on without the answer is done to its end, and cannot pass.
    let mut goes_on = light();
    goes_on.goes_on = true;
    let steps = vec![asks(goes_on), asks(PromptStep { text: Template("second".to_owned()), ..light() })];
    ran(rig(false), steps, answers(&[("second", "green")]), Vec::new()).await.is(Verdict::Inconclusive, "NO-WITNESS");
}

#[tokio::test]
async fn an_answer_that_comes_as_a_request_is_a_fact_before_it_counts_and_a_value() {
    let answer = Request::Answer { prompt: 1, answer: "RED".to_owned(), by: "kim".to_owned() };
    let wrong = Request::Answer { prompt: 1, answer: "blue".to_owned(), by: "kim".to_owned() };
    let late = Duration::from_millis(60);
    let mut free = prompt(&["green", "red"], &[], &[]);
    free.within = Within::Span(Duration::from_secs(30));
    let ran = ran(rig(false), vec![asks(free), check("green")], Desk::default(), vec![(late, wrong), (late, answer)]).await;
    ran.is(Verdict::Fail, "SEEN");
    let facts: Vec<_> = ran.events.iter().map(|event| &event.fact).collect();
    let answered =
        facts.iter().position(|fact| matches!(fact, Fact::Answered { answer, by, .. } if answer == "red" && by == "kim"));
    let witnessed = facts.iter().position(
        |fact| matches!(fact, Fact::Witnessed { witness, .. } if witness.what == "operator kim answered `red` to `Is the light green?`"),
    );
    assert!(answered.unwrap() < witnessed.unwrap());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_operator() {
    let mut step = light();
    step.within = Within::Span(Duration::from_secs(50));
    let stop = Request::Stop { level: StopLevel::Now, by: "test".to_owned() };
    let begun = std::time::Instant::now();
    let ran = ran(rig(false), vec![asks(step)], Desk::default(), vec![(Duration::from_millis(50), stop)]).await;
    ran.is(Verdict::Inconclusive, "CANCELLED");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(ran.events.iter().any(|event| matches!(&event.fact, Fact::Unanswered { .. })));
}

fn power(up: bool) -> StepKind {
    StepKind::Power { channel: "supply".to_owned(), up }
}

#[tokio::test]
async fn without_an_actuator_the_same_step_is_a_prompt() {
    let desk = answers(&[("switch the plug", "done"), ("light", "green")]);
    let ran1 = ran(rig(true), vec![power(true), asks(light())], desk, Vec::new()).await;
    ran1.is(Verdict::Pass, "");
    assert!(ran1.end.safe, "the operator switched it off");
    // A device that nobody has switched on has not failed: the rest of the case is not done.
    let unattended = ran(rig(true), vec![power(true), check("x")], answers(&[]), Vec::new()).await;
    unattended.is(Verdict::Inconclusive, "OPERATOR");
    assert!(!unattended.end.safe, "nobody has switched it off either");
    assert_eq!(unattended.end.verdict, Verdict::Error);
    let cannot = ran(rig(true), vec![power(true)], answers(&[("plug", "cannot")]), Vec::new()).await;
    cannot.is(Verdict::Error, "BENCH-FAULT");
}
