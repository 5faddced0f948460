//! Steps on what the device offers on its own network, with a device that answers what the test says.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Mutex};

use hilbench::{
    channel::api::{ApiLink, Ask, Heard, Instance, Scanned},
    step::api::{ApiStep, RequestStep},
};

use super::*;

/// What the fake device does.
#[derive(Default)]
struct Behaviour {
    heard: Option<Heard>,
    /// Does not answer at all.
    hangs: bool,
    /// The bench's own part fails.
    broken: bool,
    open: Vec<u16>,
    announced: Option<Vec<Instance>>,
    asked: Mutex<Vec<Ask>>,
}

struct Link(Arc<Behaviour>);

impl ApiLink for Link {
    fn request<'a>(&'a mut self, ask: &'a Ask) -> BoxFuture<'a, Result<Heard, LinkError>> {
        Box::pin(async move {
            self.0.asked.lock().unwrap().push(ask.clone());
            if self.0.hangs {
                std::future::pending::<()>().await;
            }
            if self.0.broken {
                return Err(LinkError::new("ask", "no socket"));
            }
            Ok(self.0.heard.clone().unwrap_or(Heard::Nothing("no connection".to_owned())))
        })
    }
    fn scan<'a>(&'a mut self, _: &'a [RangeInclusive<u16>], _: Duration) -> BoxFuture<'a, Result<Scanned, LinkError>> {
        Box::pin(async move {
            if self.0.hangs {
                std::future::pending::<()>().await;
            }
            let open: BTreeSet<_> = self.0.open.iter().copied().collect();
            Ok(Scanned { open, closed: 100, silent: 0 })
        })
    }
    fn announced<'a>(&'a mut self, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<Instance>>, LinkError>> {
        let announced = self.0.announced.clone();
        Box::pin(async move { Ok(announced) })
    }
}

async fn on(behaviour: Behaviour, device_with: Option<Procedure>, steps: Vec<Step>) -> (Verdict, String, Vec<Ask>) {
    let behaviour = Arc::new(behaviour);
    let mut rig = rig_of(&[("api", "fake-api")]);
    rig.device.procedures.extend(device_with.map(|procedure| ("enter".to_owned(), procedure)));
    let device = Arc::clone(&behaviour);
    let open = move || Opened::Api(Box::new(Link(Arc::clone(&device))));
    let registry = Registry::new().with(fake("fake-api", ChannelKind::Api, "device 1", open));
    let ran = Bench::default().run_on(one(steps), rig, registry, Arc::default()).await;
    let (verdict, why) = judged(&ran.events, "case").unwrap_or_default();
    let asked = behaviour.asked.lock().unwrap().clone();
    (verdict, why, asked)
}

fn api(step_on_it: ApiStep) -> Step {
    step(StepKind::Api { channel: "api".to_owned(), step: step_on_it })
}

/// A request that must be answered with 200.
fn request(change: impl FnOnce(&mut RequestStep)) -> Step {
    let mut request = RequestStep {
        method: "GET".to_owned(),
        path: text("/status"),
        bearer: None,
        body: None,
        status: vec![200],
        refused: vec![401],
        pattern: None,
        lacks: Vec::new(),
        within: span(1000),
        silence: Silence::Inconclusive,
        fail_as: Some(code("API-OPEN")),
    };
    change(&mut request);
    api(ApiStep::Request(Box::new(request)))
}

fn answers(status: u16, body: &str) -> Behaviour {
    Behaviour { heard: Some(Heard::Answer { status, body: body.as_bytes().to_vec() }), ..Behaviour::default() }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_judged_only_if_the_plan_says_so() {
    for silent in [|| Behaviour::default(), || Behaviour { hangs: true, ..Behaviour::default() }] {
        let (verdict, why, _) = on(silent(), None, vec![request(|_| {})]).await;
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(why.starts_with("SILENT"), "{why}");
        let (verdict, why, _) = on(silent(), None, vec![request(|request| request.silence = Silence::Fail)]).await;
        assert_eq!(verdict, Verdict::Fail);
        assert!(why.starts_with("API-OPEN"), "{why}");
    }
    let broken = Behaviour { broken: true, ..Behaviour::default() };
    let (verdict, why, _) = on(broken, None, vec![request(|request| request.silence = Silence::Fail)]).await;
    assert_eq!(verdict, Verdict::Error, "{why}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_against_a_device_that_shows_another_certificate() {
    let stranger = Behaviour { heard: Some(Heard::Stranger("00".repeat(32))), ..Behaviour::default() };
    let (verdict, why, _) = on(stranger, None, vec![request(|request| request.silence = Silence::Fail)]).await;
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(why.starts_with("CERTIFICATE"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn status_pattern_and_secrets_judge_an_answer() {
    let body = r#"{"token":"00ff","name":"hub"}"#;
    let (verdict, why, _) = on(answers(200, body), None, vec![request(|_| {})]).await;
    assert_eq!(verdict, Verdict::Pass, "{why}");
    let (verdict, why, _) = on(answers(500, body), None, vec![request(|_| {})]).await;
    assert!(verdict == Verdict::Fail && why.starts_with("API-OPEN") && why.contains("500"), "{why}");
    let (verdict, ..) = on(answers(500, body), None, vec![request(|request| request.fail_as = None)]).await;
    assert_eq!(verdict, Verdict::Inconclusive, "without a reason it is nothing but unexpected");
    let (verdict, ..) = on(answers(200, body), None, vec![request(|request| request.pattern = Some(text("lamp")))]).await;
    assert_eq!(verdict, Verdict::Fail);
    let lacks = |word: &'static str| move |request: &mut RequestStep| request.lacks = vec![text(word)];
    assert_eq!(on(answers(200, body), None, vec![request(lacks("secret"))]).await.0, Verdict::Pass);
    let (verdict, why, _) = on(answers(200, body), None, vec![request(lacks("00ff"))]).await;
    assert!(verdict == Verdict::Fail && why.contains("00ff"), "{why}");
    let (verdict, ..) = on(answers(404, body), None, vec![request(lacks("00ff"))]).await;
    assert_eq!(verdict, Verdict::Fail, "a secret in an error is told too");
    let (verdict, why, _) = on(answers(200, body), None, vec![request(lacks("00f"))]).await;
    assert_eq!(verdict, Verdict::Inconclusive, "too short a text proves nothing: {why}");
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_captures_is_a_value_for_later_requests() {
    let first = request(|request| request.pattern = Some(text(r#""token":"(?<token>[^"]+)""#)));
    let then = || request(|request| request.bearer = Some(text("${token}")));
    let (verdict, why, asked) = on(answers(200, r#"{"token":"00ff"}"#), None, vec![first.clone(), then()]).await;
    assert_eq!(verdict, Verdict::Pass, "{why}");
    assert_eq!(asked[1].bearer.as_deref(), Some("00ff"));
    // A token with a line break would be a request of the device's own making.
    let (verdict, why, asked) = on(answers(200, "{\"token\":\"a\r\nX: y\"}"), None, vec![first, then()]).await;
    assert_eq!((verdict, asked.len()), (Verdict::Inconclusive, 1), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_outcome_of_a_procedure() {
    let enter = |expect| {
        let (procedure, with, fail_as) = ("enter".to_owned(), Vec::new(), Some(code("API-OPEN")));
        step(StepKind::Do { procedure, with, expect, fail_as, silence: Silence::Inconclusive })
    };
    let procedure = || {
        let steps = vec![request(|request| request.fail_as = None)];
        Some(Procedure { parameters: Vec::new(), returns: Vec::new(), steps, outcome: None })
    };
    let verdict = async |status, expect| {
        let (verdict, why, _) = on(answers(status, "{}"), procedure(), vec![enter(expect)]).await;
        (verdict, why.split(':').next().unwrap_or_default().to_owned())
    };
    assert_eq!(verdict(401, Outcome::Refused).await.0, Verdict::Pass);
    assert_eq!(verdict(200, Outcome::Refused).await, (Verdict::Fail, "API-OPEN".to_owned()));
    assert_eq!(verdict(200, Outcome::Done).await.0, Verdict::Pass);
    assert_eq!(verdict(401, Outcome::Done).await, (Verdict::Fail, "API-OPEN".to_owned()));
    assert_eq!(verdict(500, Outcome::Refused).await.0, Verdict::Inconclusive, "a breakdown is no refusal");
    // Silence is no refusal either.
    let (verdict, ..) = on(Behaviour::default(), procedure(), vec![enter(Outcome::Refused)]).await;
    assert_eq!(verdict, Verdict::Inconclusive);
}

fn scan() -> Step {
    api(ApiStep::Scan { ports: text("1-100"), declared: text("22, 80-90"), within: span(1000), fail_as: code("PHY-NETDBG") })
}

#[tokio::test(start_paused = true)]
async fn an_undeclared_open_port_fails_and_a_scan_that_sees_none_proves_nothing() {
    let open = |open: &[u16]| Behaviour { open: open.to_vec(), ..Behaviour::default() };
    assert_eq!(on(open(&[85]), None, vec![scan()]).await.0, Verdict::Pass);
    let (verdict, why, _) = on(open(&[22, 23]), None, vec![scan()]).await;
    assert!(verdict == Verdict::Fail && why.starts_with("PHY-NETDBG") && why.contains("23"), "{why}");
    let (verdict, why, _) = on(open(&[23]), None, vec![scan()]).await;
    assert_eq!(verdict, Verdict::Fail, "what was seen was seen: {why}");
    let (verdict, why, _) = on(open(&[]), None, vec![scan()]).await;
    assert!(verdict == Verdict::Inconclusive && why.starts_with("NO-WITNESS"), "{why}");
    let (verdict, why, _) = on(Behaviour { hangs: true, ..Behaviour::default() }, None, vec![scan()]).await;
    assert_eq!(verdict, Verdict::Inconclusive, "a scan that does not end says nothing: {why}");
}

fn mdns(silence: Silence) -> Step {
    api(ApiStep::Mdns {
        service: text("_hub._tcp.local"),
        keys: text("id, version"),
        instances: 1,
        lacks: vec![text("bench-network-key")],
        within: span(5000),
        silence,
        fail_as: code("MDNS-SECRET"),
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_compared_with_what_is_declared() {
    let instance = |pairs: &[(&str, &str)]| Instance {
        name: "hub._hub._tcp.local".to_owned(),
        port: Some(9443),
        text: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let announces = |instances: Vec<Instance>| Behaviour { announced: Some(instances), ..Behaviour::default() };
    let judge = async |instances| on(announces(instances), None, vec![mdns(Silence::Inconclusive)]).await;
    assert_eq!(judge(vec![instance(&[("version", "1"), ("id", "7")])]).await.0, Verdict::Pass);
    for bad in [
        vec![instance(&[("debug", "1")])],
        vec![instance(&[("id", "bench-network-key")])],
        Vec::new(),
        vec![instance(&[]), instance(&[])],
    ] {
        let (verdict, why, _) = judge(bad).await;
        assert!(verdict == Verdict::Fail && why.starts_with("MDNS-SECRET"), "{why}");
    }
    assert_eq!(on(Behaviour::default(), None, vec![mdns(Silence::Inconclusive)]).await.0, Verdict::Inconclusive);
    assert_eq!(on(Behaviour::default(), None, vec![mdns(Silence::Fail)]).await.0, Verdict::Fail);
}
