//! Two fixture runs that between them show every kind of fact that displays treat specially.

use crate::event::{
    Act, ChannelName, CutOutcome, CutPhase, CutPoint, Digest, Event, EvidenceRef, Fact, FileDigest, Limit, Nanos, Reason,
    RunHeader, StepId, StopLevel, Verdict, Witness,
};

/// Console capture of the failing run.
pub(crate) const CONSOLE: &[u8] = b"BL: verify a ok\r\nsmart-lock 2.0.0 ready\r\n\x1b[2Jversion 2.0.0 counter 1 testing\r\n";

/// Builds a run event by event, 10 ms of bench time apart unless told otherwise.
pub(crate) struct Story {
    pub(crate) events: Vec<Event>,
    at: u64,
}

impl Story {
    pub(crate) fn begin(run: &str, cases: &[(&str, &str)]) -> Self {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let header = RunHeader {
            schema: crate::event::SCHEMA.into(),
            tool: "hilbench 0.1.0".into(),
            run: crate::event::RunId::new(run),
            command: ["hilbench", "run", "testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml"]
                .map(String::from)
                .into(),
            started: "2026-11-23T22:15:30Z".into(),
            clock: "virtual".into(),
            seed: 7,
            plan: "secure-update".into(),
            rig: "virtual-lock".into(),
            device: "smart-lock".into(),
            files: vec![FileDigest { path: "testplans/secure-update.yaml".into(), digest: digest("plan") }],
            cases: cases.iter().map(|(id, title)| ((*id).into(), (*title).to_owned())).collect(),
        };
        let mut story = Self { events: Vec::new(), at: 0 };
        story.add(Fact::RunStarted(Box::new(header)));
        story
    }

    pub(crate) fn add(&mut self, fact: Fact) -> &mut Self {
        let seq = self.events.len() as u64;
        self.events.push(Event { seq, at: Nanos(self.at), fact });
        self.at += 10_000_000;
        self
    }

    pub(crate) fn wait(&mut self, ms: u64) -> &mut Self {
        self.at += ms * 1_000_000;
        self
    }

    fn case(&mut self, case: &str, title: &str, assesses: &[&str]) -> &mut Self {
        self.add(Fact::CaseStarted {
            case: case.into(),
            title: title.into(),
            assesses: assesses.iter().map(|a| (*a).to_owned()).collect(),
        })
    }

    fn step(&mut self, step: &str, text: &str) -> &mut Self {
        let deadline = Nanos(self.at + 2_000_000_000);
        self.add(Fact::StepStarted { step: step.into(), text: text.into(), deadline })
    }

    fn passed(&mut self, step: &str) -> &mut Self {
        self.add(Fact::StepFinished { step: step.into(), verdict: Verdict::Pass, reason: None, evidence: vec![] })
    }

    fn bad(&mut self, step: &str, verdict: Verdict, why: &Reason, evidence: Vec<EvidenceRef>) -> &mut Self {
        self.add(Fact::StepFinished { step: step.into(), verdict, reason: Some(why.clone()), evidence })
    }

    fn judged(&mut self, case: &str, verdict: Verdict, why: Option<(&Reason, &str)>) -> &mut Self {
        let (reason, step) = why.map(|(reason, step)| (reason.clone(), StepId::from(step))).unzip();
        self.add(Fact::CaseFinished { case: case.into(), verdict, reason, step })
    }

    fn open(&mut self) -> &mut Self {
        self.add(Fact::LeaseTaken { instrument: "virtual lock-1".into(), waited_ms: None });
        for (channel, identity) in [("console", "virtual-serial lock-1"), ("supply", "virtual-power lock-1")] {
            self.add(Fact::ChannelOpened { channel: channel.into(), identity: identity.into() });
        }
        self.add(Fact::Acting { channel: "supply".into(), act: Act::Power(true), step: None })
    }

    fn safe(&mut self, problem: Option<&str>) -> &mut Self {
        self.add(Fact::SafeStateStarted);
        self.add(Fact::SafeStateAction {
            channel: "supply".into(),
            act: Act::Power(false),
            problem: problem.map(String::from),
            witness: Some(Witness { what: "rail 0 mV".into(), evidence: None }),
        });
        self.add(Fact::SafeStateFinished { ok: problem.is_none(), by: "controller".into() })
    }
}

pub(crate) fn reason(code: &str, text: &str) -> Reason {
    Reason { code: code.into(), text: text.into() }
}

fn rx(offset: u64, len: u64) -> EvidenceRef {
    EvidenceRef { file: "console.rx".into(), offset, len }
}

/// Everything passes, one case does not apply, the search is exhaustive.
pub(crate) fn passing() -> Vec<Event> {
    let mut s = Story::begin(
        "20261123-221530-4f1c",
        &[
            ("genuine-update", "installs 2.0.0 and keeps settings"),
            ("power-cuts", "survives a power cut at every flash operation"),
            ("ble-update", "updates over the air"),
        ],
    );
    let console: ChannelName = "console".into();
    s.open();
    s.case("genuine-update", "installs 2.0.0 and keeps settings", &["5.3-2-1", "5.3-2-2"]);
    s.step("genuine-update/1", "install lock-v2");
    s.add(Fact::Sent { channel: console.clone(), offset: 0, len: 8 });
    s.add(Fact::Received { channel: console.clone(), offset: 0, len: 16 });
    s.add(Fact::AttemptFailed {
        step: "genuine-update/1".into(),
        attempt: 1,
        of: 3,
        reason: reason("SILENT", "nothing within 2 s"),
    });
    s.step("genuine-update/1", "install lock-v2").wait(250);
    s.add(Fact::Matched {
        step: "genuine-update/1".into(),
        channel: console,
        pattern: "ready".into(),
        evidence: rx(34, 5),
        captures: std::collections::BTreeMap::from([("version".into(), "2.0.0".into())]),
    });
    let acknowledged = Witness { what: "device acknowledged 6144 bytes".into(), evidence: None };
    s.add(Fact::Witnessed { step: "genuine-update/1".into(), witness: acknowledged });
    s.passed("genuine-update/1");
    s.step("genuine-update/2", "measure the recovery time");
    s.add(Fact::Measured {
        step: "genuine-update/2".into(),
        name: "recovery-time".into(),
        value: 1.25,
        unit: "s".into(),
        limit: Some(Limit { at_least: None, at_most: Some(10.0) }),
        within: true,
    });
    s.passed("genuine-update/2").judged("genuine-update", Verdict::Pass, None);
    s.case("power-cuts", "survives a power cut at every flash operation", &["5.3-2-2"]);
    s.step("power-cuts/1", "cut the power at every flash operation");
    s.add(Fact::CutBaseline { step: "power-cuts/1".into(), operations: 1603, points: 4809 });
    let outcomes = vec![(CutOutcome::Old, 3000), (CutOutcome::New, 1809)];
    s.add(Fact::CutsJudged { step: "power-cuts/1".into(), first: 0, outcomes });
    s.add(Fact::CutsFinished { step: "power-cuts/1".into(), judged: 4809, of: 4809, bad: 0, upper_95: 0.0 });
    s.passed("power-cuts/1").judged("power-cuts", Verdict::Pass, None);
    s.add(Fact::CaseSkipped { case: "ble-update".into(), why: "not applicable: the rig has no channel `ble`".into() });
    s.step("finally/1", "supply down").passed("finally/1");
    s.safe(None);
    s.add(Fact::RunFinished { verdict: Verdict::Pass, reason: None, wall_ms: 812 });
    s.events
}

/// A failed case with hostile evidence, a failed power-cut search, an inconclusive case, a bench fault, an early stop, an unsafe end.
pub(crate) fn failing() -> Vec<Event> {
    let mut s = Story::begin(
        "20261123-221530-0bad",
        &[
            ("tampered-payload", "refuses an image with one changed bit"),
            ("power-cuts", "survives a power cut at every flash operation"),
            ("wrong-key", "refuses an image signed by another key"),
            ("downgrade", "refuses an older image"),
            ("factory-reset", "forgets its users"),
        ],
    );
    s.open();
    s.case("tampered-payload", "refuses an image with one changed bit", &["5.3-2-2", "5.3-10-1"]);
    s.step("tampered-payload/1", "install lock-v2 with bit 800 flipped").wait(200).passed("tampered-payload/1");
    s.step("tampered-payload/2", "the version is still 1.0.0");
    s.add(Fact::Received { channel: "console".into(), offset: 0, len: CONSOLE.len() as u64 });
    let installed = reason("SIG-PAYLOAD", "expected version 1.0.0, but a changed image was installed and runs");
    s.bad("tampered-payload/2", Verdict::Fail, &installed, vec![rx(41, CONSOLE.len() as u64 - 41)]);
    s.judged("tampered-payload", Verdict::Fail, Some((&installed, "tampered-payload/2")));
    s.case("power-cuts", "survives a power cut at every flash operation", &["5.3-2-2"]);
    s.step("power-cuts/1", "cut the power at every flash operation");
    s.add(Fact::CutBaseline { step: "power-cuts/1".into(), operations: 1603, points: 4809 });
    s.add(Fact::CutsJudged {
        step: "power-cuts/1".into(),
        first: 0,
        outcomes: vec![(CutOutcome::Old, 350), (CutOutcome::Bricked, 2), (CutOutcome::New, 648)],
    });
    for (operation, phase) in [(117, CutPhase::Torn { seed: 3 }), (117, CutPhase::After)] {
        let point = CutPoint { operation, phase, again: None };
        s.add(Fact::CutFailed {
            step: "power-cuts/1".into(),
            point,
            outcome: CutOutcome::Bricked,
            evidence: Some(EvidenceRef { file: "cut-117.txt".into(), offset: 0, len: 40 }),
            reproduce: format!("hilbench cut testplans/secure-update.yaml --rig rigs/virtual-lock.yaml --point {point}"),
        });
    }
    s.add(Fact::CutsFinished { step: "power-cuts/1".into(), judged: 1000, of: 4809, bad: 2, upper_95: 0.006_28 });
    let bricked = reason("BRICK-META", "2 of 1000 cuts: did not come up within 10 s");
    s.bad("power-cuts/1", Verdict::Fail, &bricked, vec![]);
    s.judged("power-cuts", Verdict::Fail, Some((&bricked, "power-cuts/1")));
    s.case("wrong-key", "refuses an image signed by another key", &["5.3-9-1"]);
    s.step("wrong-key/1", "install lock-v2-other-key");
    s.add(Fact::Unwitnessed { step: "wrong-key/1".into(), missing: "no acknowledgement past byte 64".into() });
    let unproven = reason("NO-WITNESS", "nothing shows that the image reached the device");
    s.bad("wrong-key/1", Verdict::Inconclusive, &unproven, vec![]);
    s.judged("wrong-key", Verdict::Inconclusive, Some((&unproven, "wrong-key/1")));
    s.case("downgrade", "refuses an older image", &["5.3-2-2"]);
    s.step("downgrade/1", "power the device");
    s.add(Fact::ChannelLost { channel: "console".into(), why: "the pseudo-terminal was closed".into() });
    s.add(Fact::BenchFault { channel: Some("console".into()), what: "read console: input/output error; check the cable".into() });
    let fault = reason("BENCH-FAULT", "channel console was lost: \u{202e}evil\u{1b}[0m");
    s.bad("downgrade/1", Verdict::Error, &fault, vec![]);
    s.judged("downgrade", Verdict::Error, Some((&fault, "downgrade/1")));
    s.add(Fact::StopRequested { level: StopLevel::Graceful, by: "SIGINT".into() });
    s.add(Fact::CaseSkipped { case: "factory-reset".into(), why: "run stopped by SIGINT".into() });
    s.safe(Some("no answer within 2 s"));
    let reason = Some(reason("BENCH-FAULT", "channel console was lost"));
    s.add(Fact::RunFinished { verdict: Verdict::Error, reason, wall_ms: 3_141 });
    s.events
}
