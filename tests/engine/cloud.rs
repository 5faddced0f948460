//! Verdicts of steps at the device's cloud, on a model of it: no socket, no device.

use hilbench::{
    channel::cloud::{Behaviour, CloudLink, CloudLog, EventKind},
    step::cloud::{CloudStep, EventPattern},
};

use super::*;

/// What happens at the service by itself, at so many milliseconds after a behaviour was asked for.
#[derive(Clone)]
pub(crate) enum Happens {
    Event(EventKind, &'static str),
    /// The bench does it to a connection.
    Own(EventKind, &'static str),
    /// So many attempts at once.
    Flood(u32),
    /// Data that is no event.
    Heard,
    Closed(bool),
    Lost,
}

struct Service {
    log: Arc<CloudLog>,
    script: Vec<(u64, Happens)>,
    proven: bool,
}

impl CloudLink for Service {
    fn behave(&mut self, behaviour: Behaviour) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let (log, script) = (Arc::clone(&self.log), self.script.clone());
        tokio::spawn(async move {
            let begun = tokio::time::Instant::now();
            for (at, happens) in script {
                tokio::time::sleep_until(begun + Duration::from_millis(at)).await;
                match happens {
                    Happens::Event(kind, text) => log.record(1, kind, text),
                    Happens::Own(kind, text) => log.record_own(1, kind, text),
                    Happens::Flood(count) => (0..count).for_each(|_| log.record(1, EventKind::Connect, "from x")),
                    Happens::Heard => log.hear(),
                    Happens::Closed(closed) => log.blind(closed),
                    Happens::Lost => log.lose("the network card is gone"),
                }
            }
        });
        Box::pin(async move {
            Ok(if self.proven { witness(&behaviour.to_string()) } else { Proof::None("the state of the listener".to_owned()) })
        })
    }
    fn log(&self) -> Arc<CloudLog> {
        Arc::clone(&self.log)
    }
    fn address(&self) -> String {
        "model".to_owned()
    }
}

/// Runs steps after `cloud: silent`, which sets off what happens.
async fn on(script: Vec<(u64, Happens)>, steps: Vec<CloudStep>) -> Ran {
    with(script, steps, true, Duration::from_mins(10)).await
}

async fn with(script: Vec<(u64, Happens)>, steps: Vec<CloudStep>, proven: bool, timeout: Duration) -> Ran {
    let steps = steps.into_iter().map(|each| StepKind::Cloud { channel: "cloud".to_owned(), step: each });
    around(script, steps.collect(), proven, timeout).await
}

/// The same with steps of any kind.
pub(crate) async fn around(script: Vec<(u64, Happens)>, steps: Vec<StepKind>, proven: bool, timeout: Duration) -> Ran {
    beside(&[], script, steps, proven, timeout).await
}

/// The same on a rig with networks that do as they are told.
pub(crate) async fn beside(
    networks: &[&str],
    script: Vec<(u64, Happens)>,
    steps: Vec<StepKind>,
    proven: bool,
    timeout: Duration,
) -> Ran {
    let stimulus = StepKind::Cloud { channel: "cloud".to_owned(), step: CloudStep::Behave(Behaviour::Silent) };
    let mut plan = one(std::iter::once(stimulus).chain(steps).map(step).collect());
    plan.cases[0].timeout = timeout;
    plan.timeout = Duration::from_hours(2);
    let channels: Vec<_> = networks.iter().map(|name| (*name, "fake-network")).chain([("cloud", "fake-cloud")]).collect();
    let service = move || Service { log: Arc::new(CloudLog::new()), script: script.clone(), proven };
    let registry = Registry::new()
        .with(fake("fake-cloud", ChannelKind::Cloud, "cloud 1", move || Opened::Cloud(Box::new(service()))))
        .with(super::network::driver(&Arc::default()));
    Bench::default().run_on(plan, rig_of(&channels), registry, Arc::default()).await
}

fn pattern(kind: EventKind, pattern: Option<&str>) -> EventPattern {
    EventPattern { kind, pattern: pattern.map(text) }
}

fn expects(kind: EventKind, found: Option<&str>, silence: Silence, reason: Option<&str>) -> CloudStep {
    CloudStep::Expect { what: pattern(kind, found), within: span(5000), silence, fail_as: reason.map(code) }
}

fn refrains(kind: EventKind, needs: Option<EventKind>) -> CloudStep {
    CloudStep::Refrain { what: pattern(kind, None), during: span(5000), needs, fail_as: code("NET-TLS-OPEN") }
}

fn attempts(at_most: Option<&str>, at_least: Option<&str>, silence: Silence) -> CloudStep {
    CloudStep::Attempts {
        event: EventKind::Connect,
        during: span(60_000),
        at_most: at_most.map(text),
        at_least: at_least.map(text),
        silence,
        fail_as: code("NET-HAMMER"),
    }
}

fn connects(count: u64, every_ms: u64) -> Vec<(u64, Happens)> {
    (0..count).map(|i| (1000 + i * every_ms, Happens::Event(EventKind::Connect, "from x"))).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_expected_is_met_from_the_stimulus_on_and_only_once() {
    let script = vec![(0, Happens::Event(EventKind::Publish, "lock/state qos 1 4 bytes: open"))];
    let step = || expects(EventKind::Publish, Some(r"bytes: (?<state>\w+)"), Silence::Inconclusive, None);
    let ran = on(script.clone(), vec![step()]).await;
    ran.is(Verdict::Pass, "");
    let captured =
        ran.events.iter().any(|event| matches!(&event.fact, Fact::Matched { captures, .. } if captures["state"] == "open"));
    assert!(captured, "{:#?}", ran.events);
    // The same event is not met twice.
    on(script, vec![step(), step()]).await.is(Verdict::Inconclusive, "SILENT");
}

#[tokio::test(start_paused = true)]
async fn a_silent_device_is_what_the_plan_says_and_another_answer_fails_only_with_a_reason() {
    let wanted = |silence, reason| vec![expects(EventKind::Connect, None, silence, reason)];
    on(Vec::new(), wanted(Silence::Inconclusive, Some("NET-NO-RECOVER"))).await.is(Verdict::Inconclusive, "SILENT");
    on(Vec::new(), wanted(Silence::Fail, Some("NET-NO-RECOVER"))).await.is(Verdict::Fail, "NET-NO-RECOVER");
    let other = vec![(10, Happens::Event(EventKind::Disconnect, "closed by the device"))];
    on(other.clone(), wanted(Silence::Inconclusive, None)).await.is(Verdict::Inconclusive, "UNEXPECTED");
    on(other, wanted(Silence::Inconclusive, Some("NET-NO-RECOVER"))).await.is(Verdict::Fail, "NET-NO-RECOVER");
    // What the bench did is not an answer of the device.
    let own = vec![(10, Happens::Own(EventKind::Disconnect, "reset by the bench"))];
    on(own, wanted(Silence::Inconclusive, Some("NET-NO-RECOVER"))).await.is(Verdict::Inconclusive, "SILENT");
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_is_gone_is_an_error_and_never_silence_or_a_pass() {
    let gone = vec![(1000, Happens::Lost)];
    on(gone.clone(), vec![expects(EventKind::Connect, None, Silence::Fail, Some("X"))]).await.is(Verdict::Error, "network card");
    on(gone.clone(), vec![refrains(EventKind::Data, None)]).await.is(Verdict::Error, "network card");
    let mut some = connects(3, 1000);
    some.push((30_000, Happens::Lost));
    on(some, vec![attempts(Some("10"), None, Silence::Inconclusive)]).await.is(Verdict::Error, "network card");
}

#[tokio::test(start_paused = true)]
async fn absence_passes_only_if_the_service_could_see_all_the_time() {
    on(Vec::new(), vec![refrains(EventKind::Data, None)]).await.is(Verdict::Pass, "");
    let data = vec![(4000, Happens::Event(EventKind::Data, "6 bytes"))];
    on(data, vec![refrains(EventKind::Data, None)]).await.is(Verdict::Fail, "NET-TLS-OPEN");
    let late = vec![(6000, Happens::Event(EventKind::Data, "6 bytes"))];
    on(late, vec![refrains(EventKind::Data, None)]).await.is(Verdict::Pass, "");
    // Closed for a moment in between, or to the end.
    let moment = vec![(1000, Happens::Closed(true)), (2000, Happens::Closed(false))];
    on(moment.clone(), vec![refrains(EventKind::Data, None)]).await.is(Verdict::Inconclusive, "was closed");
    on(moment[..1].to_vec(), vec![refrains(EventKind::Data, None)]).await.is(Verdict::Inconclusive, "was closed");
    let silent = vec![expects(EventKind::Connect, None, Silence::Fail, Some("X"))];
    on(moment[..1].to_vec(), silent).await.is(Verdict::Inconclusive, "was closed");
    let mut some = connects(3, 1000);
    some.extend([(30_000, Happens::Closed(true)), (40_000, Happens::Closed(false))]);
    on(some, vec![attempts(Some("10"), None, Silence::Inconclusive)]).await.is(Verdict::Inconclusive, "was closed");
}

#[tokio::test(start_paused = true)]
async fn absence_means_nothing_if_the_device_did_not_even_try() {
    let step = || vec![refrains(EventKind::Data, Some(EventKind::ClientHello))];
    on(Vec::new(), step()).await.is(Verdict::Inconclusive, "no client-hello");
    let tried = vec![
        (100, Happens::Event(EventKind::ClientHello, "name x")),
        (110, Happens::Event(EventKind::TlsAlert, "unknown_ca (48)")),
    ];
    on(tried, step()).await.is(Verdict::Pass, "");
}

#[tokio::test(start_paused = true)]
async fn too_much_to_remember_is_not_a_pass() {
    let flood = vec![(100, Happens::Flood(5000))];
    on(flood, vec![refrains(EventKind::Data, None)]).await.is(Verdict::Inconclusive, "no longer in memory");
}

#[tokio::test(start_paused = true)]
async fn a_case_that_is_over_does_not_judge() {
    let short = Duration::from_secs(2);
    with(Vec::new(), vec![refrains(EventKind::Data, None)], true, short).await.is(Verdict::Inconclusive, "DEADLINE");
    let silent = vec![expects(EventKind::Connect, None, Silence::Fail, Some("X"))];
    with(Vec::new(), silent, true, short).await.is(Verdict::Inconclusive, "DEADLINE");
    with(Vec::new(), vec![attempts(Some("1"), None, Silence::Fail)], true, short).await.is(Verdict::Inconclusive, "DEADLINE");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_held_against_their_limits_and_measured() {
    let ran = on(connects(6, 8000), vec![attempts(Some("6.1"), Some("5.9"), Silence::Inconclusive)]).await;
    ran.is(Verdict::Pass, "");
    let measured = ran.events.iter().find_map(|event| match &event.fact {
        Fact::Measured { name, value, unit, within, .. } => Some((name.clone(), *value, unit.clone(), *within)),
        _ => None,
    });
    let (name, value, unit, within) = measured.unwrap();
    assert!(name == "attempts" && (value - 6.0).abs() < 0.01 && unit == "1/min" && within, "{value} {unit}");
    on(connects(7, 8000), vec![attempts(Some("6.5"), None, Silence::Inconclusive)]).await.is(Verdict::Fail, "NET-HAMMER");
    on(connects(2, 8000), vec![attempts(None, Some("3"), Silence::Inconclusive)]).await.is(Verdict::Fail, "NET-HAMMER");
    on(connects(2, 8000), vec![attempts(Some("${declared.recovery-time}"), None, Silence::Inconclusive)])
        .await
        .is(Verdict::Inconclusive, "no number");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_never_tries_has_no_good_rate() {
    on(Vec::new(), vec![attempts(Some("6"), None, Silence::Inconclusive)]).await.is(Verdict::Inconclusive, "SILENT");
    on(Vec::new(), vec![attempts(Some("6"), Some("1"), Silence::Fail)]).await.is(Verdict::Fail, "NET-HAMMER");
    on(Vec::new(), vec![attempts(Some("6"), Some("0"), Silence::Inconclusive)]).await.is(Verdict::Pass, "");
}

#[tokio::test(start_paused = true)]
async fn a_behaviour_that_nothing_proves_never_passes() {
    let script = vec![(10, Happens::Event(EventKind::Connect, "from x"))];
    let steps = vec![expects(EventKind::Connect, None, Silence::Inconclusive, None)];
    with(script, steps, false, Duration::from_mins(1)).await.is(Verdict::Inconclusive, "NO-WITNESS");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_topics_cannot_publish() {
    let publish = CloudStep::Publish { topic: text("t"), payload: text("x") };
    on(Vec::new(), vec![publish]).await.is(Verdict::Error, "no topics");
}
