//! Whether the evidence of several runs holds together.
//!
//! Each run is judged by itself; what it relies on may be denied by what it, or another run of the same device, has recorded elsewhere: a debug
//! port that is closed in one plan and is written through in another, a console that speaks while the supply is said to be down. Then at least
//! one of the two is wrong, and no verdict that builds on either can be believed. Nothing here says which.

use std::collections::BTreeMap;

use super::sanitise;
use crate::event::{Act, CaseId, ChannelName, Event, Fact, FileDigest, Nanos, RunHeader, StepId, Verdict};

/// Time in which a cut may still be under way: rails fall, what is on a line arrives.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);
/// Contradictions of one kind in one run that are told.
const MOST: usize = 3;
/// What the lock of a debug port has to do with: TS 103 701 test cases of provision 5.6-4 begin so.
const DEBUG_PORT: &str = "5.6-4";
/// What a device does at its service, as the service's driver words it. Its channel's bytes are a log, which also tells when connections end.
const AT_THE_SERVICE: [&str; 4] = [" client-hello:", " mqtt-connect:", " publish:", " data:"];
/// Capture that holds a security counter, by custom of the device profiles.
const COUNTER: &str = "counter";

/// What can be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A device without power says nothing.
    Power,
    /// A device without network reaches no service.
    Network,
    /// A closed debug port is not written through, unless all is erased first.
    DebugPort,
    /// A security counter does not fall, unless all is erased.
    Counter,
    /// The same plan with the same files on the same device comes to the same verdict.
    Verdict,
    /// All runs are of one firmware.
    Firmware,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Power, Self::Network, Self::DebugPort, Self::Counter, Self::Verdict, Self::Firmware];

    /// Its code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Power => "SPEAKS-WITHOUT-POWER",
            Self::Network => "CONNECTS-WITHOUT-NETWORK",
            Self::DebugPort => "CLOSED-PORT-USED",
            Self::Counter => "COUNTER-FELL",
            Self::Verdict => "TWO-VERDICTS",
            Self::Firmware => "TWO-FIRMWARES",
        }
    }

    /// What it demands, in words.
    #[must_use]
    pub fn demand(self) -> &'static str {
        match self {
            Self::Power => "a device whose supply is down says nothing",
            Self::Network => "a device whose network is down reaches no service",
            Self::DebugPort => "a debug port that is closed is not written through unless all is erased first",
            Self::Counter => "a security counter does not fall unless all is erased",
            Self::Verdict => "the same plan with the same files comes to the same verdict",
            Self::Firmware => "all runs are of the same images",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Power => {
                "the supply does not switch this device, or its read-back is wrong; run `hilbench doctor`, look at the relay and for a second way to power"
            }
            Self::Network => {
                "the device has another way to its service, or the bench does not cut this one; compare the rig with the bench"
            }
            Self::DebugPort => {
                "the port was open when it was said to be closed, another unit was on the bench, or the plan writes through a port before it is closed: let it erase all first"
            }
            Self::Counter => "another unit was on the bench, it was erased by hand, or its counter can be lowered",
            Self::Verdict => {
                "device or bench is not deterministic here: repeat both with `hilbench run` and look at what differs before believing either"
            }
            Self::Firmware => "run all plans with the same images, or check their runs apart",
        }
    }
}

/// A place in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Name of the run.
    pub run: String,
    /// Number of the event.
    pub seq: u64,
    /// Its time.
    pub at: Nanos,
    /// What it says.
    pub what: String,
}

/// Two records that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The rule that they break together.
    pub rule: Rule,
    /// The one.
    pub one: Spot,
    /// The other.
    pub other: Spot,
}

/// What came of the examination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crosscheck {
    /// For each rule, how often there was something to hold against it.
    pub examined: BTreeMap<Rule, u64>,
    /// What cannot be.
    pub contradictions: Vec<Contradiction>,
}

/// One run: its name and its events.
pub type Recorded<'a> = (&'a str, &'a [Event]);

/// Holds the records of all runs, which are of one device, against each other.
#[must_use]
pub fn crosscheck(runs: &[Recorded<'_>]) -> Crosscheck {
    let mut result = Crosscheck { examined: Rule::ALL.map(|rule| (rule, 0)).into(), contradictions: Vec::new() };
    let told: Vec<Told<'_>> = runs.iter().map(|(name, events)| Told::of(name, events, &mut result)).collect();
    for (index, one) in told.iter().enumerate() {
        for other in &told[index + 1..] {
            result.pair(one, other);
        }
        for other in &told {
            result.debug_port(one, other);
        }
    }
    result
}

impl Crosscheck {
    fn count(&mut self, rule: Rule) {
        *self.examined.entry(rule).or_default() += 1;
    }

    fn add(&mut self, rule: Rule, one: Spot, other: Spot) {
        let same = |known: &&Contradiction| known.rule == rule && known.one.run == one.run && known.other.run == other.run;
        if self.contradictions.iter().filter(same).count() < MOST {
            self.contradictions.push(Contradiction { rule, one, other });
        }
    }

    /// What two different runs say about the same thing.
    fn pair(&mut self, one: &Told<'_>, other: &Told<'_>) {
        let (Some(first), Some(second)) = (one.header, other.header) else { return };
        let spot = |told: &Told<'_>, what: String| Spot { run: told.name.to_owned(), seq: 0, at: Nanos::default(), what };
        let images =
            |header: &RunHeader| images(header).map(|file| (file.path.clone(), file.digest.clone())).collect::<BTreeMap<_, _>>();
        let (ones, others) = (images(first), images(second));
        for (path, digest) in &ones {
            let Some(same) = others.get(path) else { continue };
            self.count(Rule::Firmware);
            if digest != same {
                let what = |digest: &crate::event::Digest| format!("image {path} is {}", short(&digest.0));
                self.add(Rule::Firmware, spot(one, what(digest)), spot(other, what(same)));
            }
        }
        let digests = |header: &RunHeader| header.files.iter().map(|file| file.digest.clone()).collect::<Vec<_>>();
        if first.plan != second.plan || digests(first) != digests(second) {
            return;
        }
        for (case, (verdict, place)) in &one.cases {
            let Some((contrary, its_place)) = other.cases.get(case) else { continue };
            let both = [*verdict, *contrary];
            if both.iter().all(|verdict| matches!(verdict, Verdict::Pass | Verdict::Fail)) {
                self.count(Rule::Verdict);
                if verdict != contrary {
                    self.add(Rule::Verdict, place.clone(), its_place.clone());
                }
            }
        }
    }

    /// The debug port: closed says the one, written through says the other, which may be the same run.
    fn debug_port(&mut self, one: &Told<'_>, other: &Told<'_>) {
        let Some(closed) = &one.closed else { return };
        self.count(Rule::DebugPort);
        if let Some(written) = &other.written {
            self.add(Rule::DebugPort, closed.clone(), written.clone());
        }
    }
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

/// The files of a run behind plan, rig and device profile are its images.
fn images(header: &RunHeader) -> impl Iterator<Item = &FileDigest> {
    header.files.iter().skip(3)
}

/// What one run has to say to others.
struct Told<'a> {
    name: &'a str,
    header: Option<&'a RunHeader>,
    cases: BTreeMap<&'a CaseId, (Verdict, Spot)>,
    /// A debug port was found closed.
    closed: Option<Spot>,
    /// A debug port was written through without erasing all.
    written: Option<Spot>,
}

/// What is remembered from event to event.
#[derive(Default)]
struct Now<'a> {
    /// Channels that switch power, and since when each is down.
    supplies: BTreeMap<&'a ChannelName, Option<Spot>>,
    /// Network channels, and since when each is down.
    networks: BTreeMap<&'a ChannelName, Option<Spot>>,
    /// Channels on which connections are observed: services.
    services: std::collections::BTreeSet<&'a ChannelName>,
    counters: BTreeMap<&'a ChannelName, (u64, Spot)>,
    /// Steps that write flash without erasing all.
    writing: BTreeMap<&'a StepId, &'a str>,
    /// Cases that assess the debug port.
    on_the_port: Option<&'a CaseId>,
}

impl<'a> Told<'a> {
    fn of(name: &'a str, events: &'a [Event], result: &mut Crosscheck) -> Self {
        let mut told = Self { name, header: None, cases: BTreeMap::new(), closed: None, written: None };
        let mut now = Now::default();
        for event in events {
            told.take(event, &mut now, result);
        }
        told
    }

    fn spot(&self, event: &Event, what: impl Into<String>) -> Spot {
        Spot { run: self.name.to_owned(), seq: event.seq, at: event.at, what: sanitise::line(&what.into(), 200) }
    }

    fn take(&mut self, event: &'a Event, now: &mut Now<'a>, result: &mut Crosscheck) {
        match &event.fact {
            Fact::RunStarted(header) => self.header = Some(header),
            Fact::Acting { channel, act, step } => self.act(event, channel, act, step.as_ref(), now),
            Fact::SafeStateAction { channel, act, problem: None, .. } => self.act(event, channel, act, None, now),
            Fact::Received { channel, len, .. } => self.received(event, channel, *len, now, result),
            Fact::Observed { channel, what, .. } if what.starts_with("connection ") => {
                now.services.insert(channel);
                if AT_THE_SERVICE.iter().any(|word| what.contains(word)) {
                    self.at_the_service(event, channel, what, now, result);
                }
            }
            Fact::Matched { channel, captures, .. } => self.counter(event, channel, captures, now, result),
            Fact::CaseStarted { case, assesses, .. } => {
                now.on_the_port = assesses.iter().any(|id| id.starts_with(DEBUG_PORT)).then_some(case);
            }
            Fact::CaseFinished { case, verdict, .. } => {
                let spot = self.spot(event, format!("case {case} is {verdict}"));
                if now.on_the_port == Some(case) && *verdict == Verdict::Pass && self.closed.is_none() {
                    self.closed = Some(
                        self.spot(event, format!("case {case}, which assesses {DEBUG_PORT}, is pass: the debug port is closed")),
                    );
                }
                self.cases.insert(case, (*verdict, spot));
            }
            Fact::StepFinished { step, verdict: Verdict::Pass, .. } => {
                if let Some(image) = now.writing.remove(step)
                    && self.written.is_none()
                {
                    self.written =
                        Some(self.spot(event, format!("step {step} wrote {image} through the debug port without erasing all")));
                }
            }
            _ => {}
        }
    }

    fn act(&self, event: &Event, channel: &'a ChannelName, act: &'a Act, step: Option<&'a StepId>, now: &mut Now<'a>) {
        match act {
            Act::Power(up) => {
                let down = (!up).then(|| self.spot(event, format!("{channel} is switched off")));
                let place = now.supplies.entry(channel).or_default();
                // Switched off twice is off since the first time.
                *place = down.map(|down| place.take().unwrap_or(down));
            }
            Act::Network { what } => {
                let down = (*what == format!("{channel} down")).then(|| self.spot(event, what.as_str()));
                let place = now.networks.entry(channel).or_default();
                *place = down.map(|down| place.take().unwrap_or(down));
            }
            Act::Flash { erase_all: true, .. } => now.counters.clear(),
            Act::Flash { image, erase_all: false } => {
                if let Some(step) = step {
                    now.writing.insert(step, image);
                }
            }
            _ => {}
        }
    }

    fn received(&self, event: &Event, channel: &'a ChannelName, len: u64, now: &Now<'a>, result: &mut Crosscheck) {
        // With two supplies it is not known which of them this channel's device has. A service is not the device.
        if let (1, Some(down), false) = (now.supplies.len(), now.supplies.values().next(), now.services.contains(channel)) {
            result.count(Rule::Power);
            if let Some(down) = down.as_ref().filter(|down| event.at.since(down.at) > GRACE) {
                result.add(Rule::Power, down.clone(), self.spot(event, format!("{len} bytes come on {channel}")));
            }
        }
    }

    fn at_the_service(&self, event: &Event, channel: &ChannelName, what: &str, now: &Now<'a>, result: &mut Crosscheck) {
        if let (1, Some(down)) = (now.networks.len(), now.networks.values().next()) {
            result.count(Rule::Network);
            if let Some(down) = down.as_ref().filter(|down| event.at.since(down.at) > GRACE) {
                result.add(Rule::Network, down.clone(), self.spot(event, format!("{channel}: {what}")));
            }
        }
    }

    fn counter(
        &self,
        event: &Event,
        channel: &'a ChannelName,
        captures: &BTreeMap<String, String>,
        now: &mut Now<'a>,
        result: &mut Crosscheck,
    ) {
        let Some(value) = captures.get(COUNTER).and_then(|text| text.parse::<u64>().ok()) else { return };
        let spot = self.spot(event, format!("{channel} tells counter {value}"));
        if let Some((before, place)) = now.counters.insert(channel, (value, spot.clone())) {
            result.count(Rule::Counter);
            if value < before {
                result.add(Rule::Counter, place, spot);
            }
        }
    }
}

#[cfg(test)]
mod tests;
