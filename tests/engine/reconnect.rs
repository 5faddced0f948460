//! Verdicts about how a device comes back to its service: each rule with intervals that break it.

use hilbench::{
    channel::cloud::EventKind,
    fleet::{Law, Random},
    step::{
        cloud::CloudStep,
        reconnect::{FleetStep, ReconnectStep},
    },
};

use super::{
    cloud::{Happens, around},
    *,
};

/// `count` intervals under a law, as a plan has them.
fn under(law: &str, count: usize, seed: u64) -> String {
    let law: Law = law.parse().unwrap();
    let delays = law.delays(count, &mut Random::stream(seed, 0));
    delays.iter().map(|delay| format!("{delay:.3}")).collect::<Vec<_>>().join(" ")
}

const FIXED: &str = "fixed 10s";
const NARROW: &str = "exponential base 1s factor 2 cap 60s jitter subtractive 10%";
const FULL: &str = "exponential base 1s factor 2 cap 60s jitter full";

fn noise() -> Duration {
    Duration::from_millis(50)
}

fn back_off(intervals: &str) -> Step {
    let jitter = "30%".parse().unwrap();
    step(StepKind::Reconnect(ReconnectStep::BackOff {
        intervals: text(intervals),
        jitter,
        noise: noise(),
        fail_as: code("NET-NO-JITTER"),
    }))
}

fn differ(of: &[&str]) -> Step {
    let of = of.iter().map(|one| text(one)).collect();
    step(StepKind::Reconnect(ReconnectStep::Differ { of, noise: noise(), fail_as: code("NET-SAME-SEED") }))
}

fn fleet(intervals: &str, peak: Option<&str>, drain: Option<u64>) -> Step {
    step(StepKind::Reconnect(ReconnectStep::Fleet(Box::new(FleetStep {
        intervals: text(intervals),
        devices: 20_000,
        outage: span(601_000),
        capacity: text("0.5%"),
        spread: None,
        peak: peak.map(text),
        drain: drain.map(|seconds| span(seconds * 1000)),
        noise: noise(),
        fail_as: code("NET-FLEET"),
    }))))
}

#[tokio::test(start_paused = true)]
async fn the_width_of_the_jitter_is_judged_and_what_is_not_known_is_not() {
    ran(one(vec![back_off(&under(FULL, 24, 1))])).await.is(Verdict::Pass, "");
    ran(one(vec![back_off(&under(FIXED, 24, 1))])).await.is(Verdict::Fail, "NET-NO-JITTER");
    ran(one(vec![back_off(&under(NARROW, 24, 1))])).await.is(Verdict::Fail, "NET-NO-JITTER");
    // Growing delays without jitter are wide apart, and still no jitter.
    let growing = "exponential base 1s factor 2 cap 60s";
    ran(one(vec![back_off(&under(growing, 24, 1))])).await.is(Verdict::Fail, "NET-NO-JITTER");
    ran(one(vec![back_off("1 2 3")])).await.is(Verdict::Inconclusive, "3 intervals are too few");
    ran(one(vec![back_off("1 2 soon")])).await.is(Verdict::Inconclusive, "no intervals");
    // Wide enough as seen, but twelve intervals leave room below the limit.
    let narrowly = "10 7.2 9 8 7.5 9.9 8.8 7.1 9.3 8.2 9.6 7.9";
    ran(one(vec![back_off(narrowly)])).await.is(Verdict::Inconclusive, "measure more intervals");
}

#[tokio::test(start_paused = true)]
async fn the_same_delays_after_every_start_fail() {
    let (first, second, third) = (under(FULL, 14, 1), under(FULL, 14, 2), under(FULL, 14, 3));
    ran(one(vec![differ(&[&first, &second, &third])])).await.is(Verdict::Pass, "");
    ran(one(vec![differ(&[&first, &second, &first])])).await.is(Verdict::Fail, "NET-SAME-SEED: sequences 1 and 3 are the same");
    let fixed = under(FIXED, 14, 1);
    ran(one(vec![differ(&[&fixed, &fixed])])).await.is(Verdict::Inconclusive, "vary too little");
    ran(one(vec![differ(&["1 2 3", &first])])).await.is(Verdict::Inconclusive, "too short");
}

#[tokio::test]
async fn a_fleet_is_held_against_its_limits() {
    ran(one(vec![fleet(&under(FULL, 24, 1), Some("20%"), Some(1200))])).await.is(Verdict::Pass, "");
    let told = ran(one(vec![fleet(&under(FIXED, 24, 1), Some("20%"), None)])).await;
    told.is(Verdict::Fail, "NET-FLEET: a fleet of 20000 devices under `fixed 10");
    let measured =
        told.events.iter().any(|event| matches!(&event.fact, Fact::Measured { name, within: false, .. } if name == "peak"));
    assert!(measured, "{:#?}", told.events);
    // Not served in the time that is simulated: told, and a number that the journal can hold.
    let slow = ran(one(vec![fleet(&under("fixed 1h", 14, 1), None, Some(60))])).await;
    slow.is(Verdict::Fail, "NET-FLEET");
    let finite =
        |event: &Event| matches!(&event.fact, Fact::Measured { name, value, .. } if name == "drain" && value.is_finite());
    assert!(slow.events.iter().any(finite));
    // The limit lies within what 12 intervals leave open.
    ran(one(vec![fleet(&under(FULL, 12, 1), Some("3.3%"), None)])).await.is(Verdict::Inconclusive, "cannot decide it");
}

fn intervals(count: u32, within: u64) -> StepKind {
    let step = CloudStep::Intervals { event: EventKind::Connect, count, within: span(within), save_as: "gaps".to_owned() };
    StepKind::Cloud { channel: "cloud".to_owned(), step }
}

#[tokio::test(start_paused = true)]
async fn intervals_are_measured_from_the_stimulus_on() {
    let attempts = |times: &[u64]| times.iter().map(|at| (*at, Happens::Event(EventKind::Connect, "from x"))).collect::<Vec<_>>();
    let every: Vec<u64> = (1..=13).map(|number| number * 1500).collect();
    let minutes = Duration::from_mins(10);
    let check =
        |wanted: &str| StepKind::Check { value: text("${gaps}"), must: Comparison::Equals(text(wanted)), fail_as: code("GAPS") };
    let twelve = ["1.5"; 12].join(" ");
    around(attempts(&every), vec![intervals(12, 60_000), check(&twelve)], true, minutes).await.is(Verdict::Pass, "");
    // What the bench does to a connection is no attempt of the device.
    let mut own = attempts(&every);
    own.insert(1, (2000, Happens::Own(EventKind::Connect, "by the bench")));
    around(own, vec![intervals(12, 60_000), check(&twelve)], true, minutes).await.is(Verdict::Pass, "");
    around(attempts(&every[..12]), vec![intervals(12, 60_000)], true, minutes)
        .await
        .is(Verdict::Inconclusive, "12 connect at cloud: 13");
    around(Vec::new(), vec![intervals(12, 60_000)], true, minutes).await.is(Verdict::Inconclusive, "SILENT");
    let closed = vec![(1000, Happens::Closed(true))];
    around(closed, vec![intervals(12, 60_000)], true, minutes).await.is(Verdict::Inconclusive, "was closed");
    around(vec![(1000, Happens::Lost)], vec![intervals(12, 60_000)], true, minutes).await.is(Verdict::Error, "network card");
    around(Vec::new(), vec![intervals(12, 60_000)], true, Duration::from_secs(20)).await.is(Verdict::Inconclusive, "DEADLINE");
}

fn restarts(of: &[&str]) -> Step {
    let of = of.iter().map(|one| text(one)).collect();
    let least = "20%".parse().unwrap();
    step(StepKind::Reconnect(ReconnectStep::Phase { of, least, noise: noise(), fail_as: code("NET-WDT-SYNC") }))
}

#[tokio::test(start_paused = true)]
async fn starts_that_are_locked_to_the_outage_fail() {
    ran(one(vec![restarts(&["none"; 8])])).await.is(Verdict::Pass, "");
    ran(one(vec![restarts(&["1.2", "7.9", "3.3", "5.1", "6.6", "0.4", "2.2", "7.0"])])).await.is(Verdict::Pass, "");
    let locked = ["6.433", "6.438", "6.426", "6.455", "6.438", "6.431", "6.422", "6.447"];
    ran(one(vec![restarts(&locked)])).await.is(Verdict::Fail, "NET-WDT-SYNC: the device starts anew in every outage");
    // Outages that were too short for the rest, or too few.
    let mut some = locked;
    some[3] = "none";
    ran(one(vec![restarts(&some)])).await.is(Verdict::Inconclusive, "in 7 of 8 outages");
    ran(one(vec![restarts(&locked[..7])])).await.is(Verdict::Inconclusive, "more or longer outages");
    ran(one(vec![restarts(&["soon"; 8])])).await.is(Verdict::Inconclusive, "`soon` is no time");
}

#[tokio::test(start_paused = true)]
async fn the_time_to_a_word_is_measured_and_its_absence_too() {
    let time_to = |pattern: &str| {
        let (channel, pattern, save_as) = ("console".to_owned(), text(pattern), "took".to_owned());
        step(StepKind::Reconnect(ReconnectStep::TimeTo { channel, pattern, within: span(3000), save_as }))
    };
    let took = |pattern: &str| {
        step(StepKind::Check { value: text("${took}"), must: Comparison::Matches(text(pattern)), fail_as: code("TIME") })
    };
    ran(one(vec![send("ping"), time_to("pong"), took(r"0\.0\d\d")])).await.is(Verdict::Pass, "");
    ran(one(vec![send("ping"), time_to("never"), took("none")])).await.is(Verdict::Pass, "");
    // It judges nothing, and a case that ends first does not show that the word did not come.
    ran(one(vec![send("ping"), time_to("never")])).await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    let mut short = one(vec![send("ping"), time_to("never"), took("none")]);
    short.cases[0].timeout = Duration::from_secs(1);
    ran(short).await.is(Verdict::Inconclusive, "DEADLINE");
}
