//! The rules about the person at the bench, on a bench whose only instrument is that person: what an answer, a refusal and silence lead to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "engine/bench.rs"]
mod bench;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bench::{channel, code, ended, one, setup, step, text};
use hilbench::{
    channel::{link::Parameters, operator::Ask},
    driver::power::operator::Operator,
    event::{Event, Fact, Request, StopLevel, Verdict},
    rig::model::{ChannelSpec, Device, Rig, SafeAction},
    run::{
        desk::{Attendance, Desk, Prepared},
        dispatch::{RunEnd, Setup},
        registry::Registry,
    },
    step::{Comparison, StepKind, Within, prompt::PromptStep},
};

struct Ran {
    end: RunEnd,
    events: Vec<Event>,
}

impl Ran {
    #[track_caller]
    fn is(&self, verdict: Verdict, reason: &str) {
        bench::is(&self.events, verdict, reason);
    }
}

fn prompt(choices: &[&str], pass: &[&str], fail: &[&str]) -> PromptStep {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    PromptStep {
        text: text("Is the light green?"),
        picture: None,
        choices: words(choices),
        free: false,
        within: Within::Span(Duration::from_millis(300)),
        save_as: Some("seen".to_owned()),
        pass: words(pass),
        fail: words(fail),
        fail_as: Some(code("LIGHT")),
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
    StepKind::Check { value: text("${seen}"), must: Comparison::Equals(text(value)), fail_as: code("SEEN") }
}

fn rig(with_supply: bool) -> Rig {
    let values = [("what", "the plug"), ("within", "300ms")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let parameters = Parameters { values, ..Parameters::default() };
    let supply = ChannelSpec { parameters, ..channel("operator-supply") };
    Rig {
        name: "hands".to_owned(),
        device: Device { name: "lamp".to_owned(), ..Device::default() },
        channels: if with_supply { [("supply".to_owned(), supply)].into() } else { BTreeMap::new() },
        safe_state: if with_supply { vec![SafeAction::Power { channel: "supply".to_owned(), up: false }] } else { Vec::new() },
        safe_state_timeout: Duration::from_secs(2),
        device_time: None,
        ..Rig::default()
    }
}

/// Runs one case whose prompts get these answers, from the file if it is `prepared` and by request otherwise.
async fn ran(rig: Rig, steps: Vec<StepKind>, desk: Desk, requests: Vec<(Duration, Request)>) -> Ran {
    let store = tempfile::tempdir().unwrap();
    let ask: Arc<dyn Ask> = Arc::new(desk.clone());
    let registry = Registry::new().with(Arc::new(Operator::supply(ask)));
    let plan = one(steps.into_iter().map(step).collect());
    let setup = Setup { desk, ..setup(store.path(), None, plan, rig, registry) };
    let (end, events) = ended(setup, requests).await;
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
    let steps = vec![asks(goes_on), asks(PromptStep { text: text("second"), ..light() })];
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
