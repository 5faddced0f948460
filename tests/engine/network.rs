//! Steps on the device's network, on a network that does what the test says.

use std::sync::Mutex;

use hilbench::{
    channel::network::{Counted, Disturbance, DnsAnswer, NetworkLink},
    run::guard::{Message, Watch, WatchAction, WatchedState, watch},
    step::network::{NetworkStep, Wanted},
};

use super::*;

/// What the fake network was told, and how it behaves.
#[derive(Default)]
pub(crate) struct Net {
    told: Mutex<Vec<String>>,
    /// No read-back.
    blind: bool,
    /// Refuses to disturb.
    broken: bool,
    /// Refuses to start its services.
    unable: bool,
    /// Refuses to be restored.
    stuck: bool,
    /// Counts this from that time on after a change; `None` cannot count.
    traffic: Option<(Duration, u64)>,
}

struct Link(Arc<Net>, tokio::time::Instant);

impl Net {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().unwrap().push(what.into());
    }
    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

pub(crate) fn driver(net: &Arc<Net>) -> Arc<dyn Driver> {
    let net = Arc::clone(net);
    let open = move || Opened::Network(Box::new(Link(Arc::clone(&net), tokio::time::Instant::now())));
    fake("fake-network", ChannelKind::Network, "network 1", open)
}

impl NetworkLink for Link {
    fn start(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async {
            self.0.tell("start");
            if self.0.unable { Err(LinkError::new("answer DNS", "port 53 is taken")) } else { Ok(()) }
        })
    }
    fn disturb(&mut self, disturbance: Disturbance) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.0.tell(format!("{disturbance:?}"));
            self.1 = tokio::time::Instant::now();
            if self.0.broken {
                return Err(LinkError::new("disturb network 1", "no permission"));
            }
            Ok(if self.0.blind { Proof::None("the rule's read-back".to_owned()) } else { witness("the rule reads back") })
        })
    }
    fn restore(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.0.tell("restore");
            if self.0.stuck { Err(LinkError::new("restore network 1", "no permission")) } else { Ok(witness("nothing is left")) }
        })
    }
    fn count(&mut self, _: Counted) -> BoxFuture<'_, Result<Option<u64>, LinkError>> {
        let count = self.0.traffic.map(|(from, count)| if self.1.elapsed() >= from { count } else { 0 });
        Box::pin(async move { Ok(count) })
    }
}

async fn run_on(net: &Arc<Net>, timeout: Duration, steps: Vec<Step>) -> (Verdict, String, RunEnd) {
    let mut plan = one(steps);
    plan.cases[0].timeout = timeout;
    let safe_state = vec![SafeAction::Restore { channel: "network".to_owned() }];
    let rig = Rig { safe_state, ..rig_of(&[("network", "fake-network")]) };
    let registry = Registry::new().with(driver(net));
    let ran = Bench::default().run_on(plan, rig, registry, Arc::default()).await;
    let (verdict, why) = judged(&ran.events, "case").unwrap_or_default();
    (verdict, why, ran.end)
}

async fn on(net: Net, steps: Vec<Step>) -> (Arc<Net>, Verdict, String, RunEnd) {
    let net = Arc::new(net);
    let (verdict, why, end) = run_on(&net, Duration::from_mins(1), steps).await;
    (net, verdict, why, end)
}

fn network(step_on_it: NetworkStep) -> Step {
    step(StepKind::Network { channel: "network".to_owned(), step: step_on_it })
}

fn down() -> Step {
    network(NetworkStep::Disturb(Disturbance::Down))
}

fn traffic(wanted: Wanted, ms: u64, silence: Silence) -> Step {
    let (of, within, fail_as) = (Counted::Disturbed, span(ms), code("NET-HAMMER"));
    network(NetworkStep::Traffic { of, wanted, within, silence, fail_as })
}

const QUIET: Silence = Silence::Inconclusive;

#[tokio::test(start_paused = true)]
async fn a_disturbance_that_nothing_shows_never_passes() {
    let seen = || vec![down(), traffic(Wanted::Some, 1000, QUIET)];
    let busy = Some((Duration::ZERO, 3));
    let (_, verdict, ..) = on(Net { traffic: busy, ..Net::default() }, seen()).await;
    assert_eq!(verdict, Verdict::Pass);
    let (_, verdict, why, _) = on(Net { traffic: busy, blind: true, ..Net::default() }, seen()).await;
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(why.contains("NO-WITNESS"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_the_bench_cannot_do_is_not_the_devices_fault() {
    let (net, verdict, why, end) = on(Net { broken: true, ..Net::default() }, vec![down()]).await;
    assert_eq!(verdict, Verdict::Error, "{why}");
    assert_eq!(net.told(), ["start", "Down", "restore"], "also after a failed act");
    assert!(end.safe);
    let (net, _, _, end) = on(Net { unable: true, ..Net::default() }, vec![down()]).await;
    assert_eq!(end.verdict, Verdict::Error);
    assert!(!net.told().contains(&"Down".to_owned()), "nothing is done on a bench that did not open");
}

#[tokio::test(start_paused = true)]
async fn the_network_belongs_to_the_safe_state() {
    let (net, _, _, end) = on(Net::default(), vec![network(NetworkStep::Disturb(Disturbance::Dns(DnsAnswer::Silent)))]).await;
    assert_eq!(net.told(), ["start", "Dns(Silent)", "restore"]);
    assert!(end.safe);
    let (_, _, _, end) = on(Net { stuck: true, ..Net::default() }, vec![down()]).await;
    assert!(!end.safe, "a network that could not be restored is told");
    assert_eq!(end.verdict, Verdict::Error);
}

#[tokio::test(start_paused = true)]
async fn traffic_is_judged_as_the_plan_says() {
    let late = |at| Net { traffic: Some((Duration::from_millis(at), 5)), ..Net::default() };
    for (net, step, verdict, reason) in [
        (late(500), traffic(Wanted::Some, 1000, QUIET), Verdict::Pass, ""),
        (late(2000), traffic(Wanted::Some, 1000, QUIET), Verdict::Inconclusive, "SILENT"),
        (late(2000), traffic(Wanted::Some, 1000, Silence::Fail), Verdict::Fail, "NET-HAMMER"),
        (late(500), traffic(Wanted::AtMost(5), 1000, QUIET), Verdict::Pass, ""),
        (late(500), traffic(Wanted::AtMost(4), 1000, QUIET), Verdict::Fail, "NET-HAMMER"),
        (late(500), traffic(Wanted::AtMost(0), 1000, QUIET), Verdict::Fail, "NET-HAMMER"),
        (late(2000), traffic(Wanted::AtMost(0), 1000, QUIET), Verdict::Pass, ""),
        (Net::default(), traffic(Wanted::AtMost(0), 1000, QUIET), Verdict::Inconclusive, "NO-WITNESS"),
        (Net::default(), traffic(Wanted::Some, 1000, Silence::Fail), Verdict::Inconclusive, "NO-WITNESS"),
    ] {
        let (_, found, why, _) = on(net, vec![down(), step.clone()]).await;
        assert!(found == verdict && why.contains(reason), "{step:?}: expected {verdict} {reason}, found {found} {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_that_the_case_cut_short_is_not_judged() {
    let never = || Arc::new(Net { traffic: Some((Duration::from_hours(1), 1)), ..Net::default() });
    for wanted in [Wanted::AtMost(0), Wanted::Some] {
        let steps = vec![down(), traffic(wanted, 10_000, Silence::Fail)];
        let (verdict, why, _) = run_on(&never(), Duration::from_secs(2), steps).await;
        assert_eq!(verdict, Verdict::Inconclusive, "{wanted:?}: {why}");
        assert!(why.contains("DEADLINE"), "{why}");
    }
    // What was seen before is.
    let soon = Arc::new(Net { traffic: Some((Duration::from_secs(1), 1)), ..Net::default() });
    let steps = vec![down(), traffic(Wanted::AtMost(0), 10_000, QUIET)];
    assert_eq!(run_on(&soon, Duration::from_secs(2), steps).await.0, Verdict::Fail);
}

#[test]
fn the_guard_restores_the_network_of_a_controller_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let task = Watch {
        run: RunId::from("20260101-000000-0001"),
        run_directory: directory.path().join("run"),
        actions: vec![WatchAction {
            channel: "network".to_owned(),
            driver: "fake-network".to_owned(),
            parameters: BTreeMap::new(),
            base: PathBuf::new(),
            action: WatchedState::Restored,
        }],
        timeout_ms: 5000,
        leases: directory.path().join("leases"),
        instruments: vec!["network 1".to_owned()],
    };
    std::fs::create_dir_all(&task.run_directory).unwrap();
    let acting = Message::Acting { channel: "network".to_owned(), at: hilbench::event::Nanos::default() };
    let said: String =
        [Message::Watch(task), acting].iter().map(|message| serde_json::to_string(message).unwrap() + "\n").collect();
    let guard = |net: &Arc<Net>, said: &str| {
        let drivers = Registry::new().with(driver(net));
        watch(said.as_bytes(), Vec::new(), |_| drivers).unwrap()
    };
    let net = Arc::new(Net::default());
    assert!(guard(&net, &said));
    assert_eq!(net.told(), ["restore"], "it restores and does not begin to serve");
    let stuck = Arc::new(Net { stuck: true, ..Net::default() });
    assert!(!guard(&stuck, &said), "a guard that cannot says so");
    let net = Arc::new(Net::default());
    assert!(guard(&net, &(said + &serde_json::to_string(&Message::Farewell).unwrap() + "\n")));
    assert!(net.told().is_empty());
}
