//! Each rule: what breaks it, and what only looks like that.

use super::*;
use crate::{
    event::{Digest, EvidenceRef},
    view::fixture::Story,
};

fn act(channel: &str, act: Act) -> Fact {
    Fact::Acting { channel: ChannelName::new(channel), act, step: Some(StepId::new("case/1")) }
}

fn received(channel: &str) -> Fact {
    Fact::Received { channel: ChannelName::new(channel), offset: 0, len: 9 }
}

fn story(facts: &[(u64, Fact)]) -> Vec<Event> {
    let mut story = Story::begin("20261126-000000-0001", &[("case", "A case")]);
    for (ms, fact) in facts {
        story.wait(*ms).add(fact.clone());
    }
    story.events
}

fn check(runs: &[&[Event]]) -> Vec<(Rule, String, String)> {
    let names = ["one", "other"];
    let runs: Vec<_> = names.into_iter().zip(runs.iter().copied()).collect();
    let spot = |spot: &Spot| format!("{} {}: {}", spot.run, spot.seq, spot.what);
    let found = crosscheck(&runs).contradictions;
    found.iter().map(|found| (found.rule, spot(&found.one), spot(&found.other))).collect()
}

fn examined(events: &[Event], rule: Rule) -> u64 {
    crosscheck(&[("one", events)]).examined[&rule]
}

#[test]
fn a_device_without_power_says_nothing() {
    let off = || (0, act("supply", Act::Power(false)));
    let speaks = story(&[off(), (1500, received("console"))]);
    let told = check(&[&speaks]);
    assert_eq!(told, [(Rule::Power, "one 1: supply is switched off".to_owned(), "one 2: 9 bytes come on console".to_owned())]);
    // Switching off what is off does not begin anew.
    assert_eq!(check(&[&story(&[off(), (900, off().1), (900, received("console"))])]).len(), 1);
    // What is under way may still arrive.
    let late = story(&[off(), (900, received("console"))]);
    assert!(check(&[&late]).is_empty());
    assert_eq!(examined(&late, Rule::Power), 1);
    assert!(check(&[&story(&[off(), (10, act("supply", Act::Power(true))), (2000, received("console"))])]).is_empty());
    // A service writes down when a connection ends.
    let service = Fact::Observed {
        step: None,
        channel: ChannelName::new("cloud"),
        what: "connection 1 connect: x".to_owned(),
        evidence: None,
    };
    assert!(check(&[&story(&[(0, service), off(), (2000, received("cloud"))])]).is_empty());
    // Which of two supplies the device has is not known.
    assert!(check(&[&story(&[(0, act("other", Act::Power(true))), off(), (2000, received("console"))])]).is_empty());
    let safe =
        Fact::SafeStateAction { channel: ChannelName::new("supply"), act: Act::Power(false), problem: None, witness: None };
    assert_eq!(check(&[&story(&[(0, safe), (1500, received("console"))])]).len(), 1);
}

#[test]
fn a_device_without_network_reaches_no_service() {
    let network = |what: &str| act("network", Act::Network { what: what.to_owned() });
    let told = |what: &str| {
        let (channel, what) = (ChannelName::new("cloud"), format!("connection 1 {what}"));
        Fact::Observed { step: None, channel, what, evidence: None }
    };
    let (connection, publish) = (told("connect: from 127.0.0.1:5 while the service accepts"), told("publish: hub/events qos 1"));
    let reaches = story(&[(0, connection.clone()), (0, network("network down")), (1500, publish.clone())]);
    assert_eq!(check(&[&reaches]).len(), 1);
    assert_eq!(check(&[&reaches])[0].0, Rule::Network);
    let console = story(&[(0, connection.clone()), (0, network("network down")), (1500, received("console"))]);
    assert!(check(&[&console]).is_empty());
    let ends = story(&[
        (0, connection.clone()),
        (0, network("network down")),
        (1500, told("closed: by the device")),
        (0, received("cloud")),
    ]);
    assert!(check(&[&ends]).is_empty(), "the service notices late that the device is gone");
    let back = [(0, connection.clone()), (0, network("network down")), (0, network("network undisturbed")), (1500, publish)];
    assert!(check(&[&story(&back)]).is_empty());
    assert_eq!(examined(&story(&back), Rule::Network), 1);
}

fn port_case(verdict: Verdict) -> [(u64, Fact); 2] {
    let (case, reason) = (CaseId::new("debug-port-running"), None);
    let assesses = vec!["5.6-4-1".to_owned()];
    let started = Fact::CaseStarted { case: case.clone(), title: String::new(), assesses };
    [(0, started), (0, Fact::CaseFinished { case, verdict, reason, step: None })]
}

fn written(erase_all: bool, verdict: Verdict) -> Vec<Event> {
    let finished = Fact::StepFinished { step: StepId::new("case/1"), verdict, reason: None, evidence: Vec::<EvidenceRef>::new() };
    story(&[(0, act("probe", Act::Flash { image: "lock-v1".to_owned(), erase_all })), (0, finished)])
}

#[test]
fn a_closed_port_is_not_written_through() {
    let closed = story(&port_case(Verdict::Pass));
    let told = check(&[&closed, &written(false, Verdict::Pass)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, Rule::DebugPort);
    assert!(
        told[0].1.starts_with("one 2: case debug-port-running") && told[0].2.starts_with("other 2: step case/1 wrote lock-v1"),
        "{told:?}"
    );
    assert_eq!(check(&[&written(false, Verdict::Pass), &closed]).len(), 1, "whichever run was first");
    assert!(check(&[&closed, &written(true, Verdict::Pass)]).is_empty(), "erasing all opens it");
    assert!(check(&[&closed, &written(false, Verdict::Error)]).is_empty(), "nothing was written");
    assert!(
        check(&[&story(&port_case(Verdict::Fail)), &written(false, Verdict::Pass)]).is_empty(),
        "nobody says that it is closed"
    );
    assert_eq!(examined(&closed, Rule::DebugPort), 1);
}

#[test]
fn a_security_counter_does_not_fall() {
    let tells = |value: &str| {
        let captures = [("counter".to_owned(), value.to_owned())].into();
        let (step, channel) = (StepId::new("case/1"), ChannelName::new("console"));
        let evidence = EvidenceRef { file: "console.rx".to_owned(), offset: 0, len: 1 };
        (0, Fact::Matched { step, channel, pattern: String::new(), evidence, captures })
    };
    let told = check(&[&story(&[tells("2"), tells("1")])]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].2, "one 2: console tells counter 1");
    let erased = (0, act("probe", Act::Flash { image: "lock-v1".to_owned(), erase_all: true }));
    assert!(check(&[&story(&[tells("2"), erased, tells("1")])]).is_empty());
    assert!(check(&[&story(&[tells("1"), tells("1"), tells("2"), tells("no number")])]).is_empty());
}

fn verdict(verdict: Verdict, image: &str) -> Vec<Event> {
    let mut events = story(&[(0, Fact::CaseFinished { case: CaseId::new("case"), verdict, reason: None, step: None })]);
    if let Fact::RunStarted(header) = &mut events[0].fact {
        let file = |path: &str, text: &str| FileDigest { path: path.to_owned(), digest: Digest::of(text.as_bytes()) };
        header.files = vec![file("p.yaml", "plan"), file("r.yaml", "rig"), file("d.yaml", "device"), file("v1.bin", image)];
    }
    events
}

#[test]
fn the_same_test_comes_to_the_same_verdict() {
    let told = check(&[&verdict(Verdict::Pass, "a"), &verdict(Verdict::Fail, "a")]);
    assert_eq!(told, [(Rule::Verdict, "one 1: case case is pass".to_owned(), "other 1: case case is fail".to_owned())]);
    assert!(check(&[&verdict(Verdict::Pass, "a"), &verdict(Verdict::Pass, "a")]).is_empty());
    assert!(check(&[&verdict(Verdict::Error, "a"), &verdict(Verdict::Fail, "a")]).is_empty(), "a bench fault says nothing");
}

#[test]
fn evidence_is_of_one_firmware() {
    let told = check(&[&verdict(Verdict::Pass, "a"), &verdict(Verdict::Fail, "b")]);
    assert_eq!(told.len(), 1, "another firmware may come to another verdict: {told:?}");
    assert_eq!(told[0].0, Rule::Firmware);
}

#[test]
fn contradictions_of_one_kind_are_told_a_few_times_only() {
    let off = (0, act("supply", Act::Power(false)));
    let facts: Vec<_> = std::iter::once(off).chain((0..1000).map(|_| (1100, received("console")))).collect();
    assert_eq!(check(&[&story(&facts)]).len(), MOST);
}
