//! The rules of the engine, each on a bench of fakes: what a step, a fault, a stop, a panic and a broken journal lead to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "engine/bench.rs"]
mod bench;
#[path = "engine/fake.rs"]
mod fake;
#[path = "engine/usb.rs"]
mod usb;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bench::{case, channel, code, ended, judged, one, plan, setup, step, text};
use fake::fake;
use hilbench::{
    channel::{
        clock::BoxFuture,
        link::{ButtonLink, ChannelKind, Driver, LinkError, Measurand, Opened, Parameters, Proof, SupplyLink},
    },
    event::{Event, Fact, Request, RunId, StopLevel, Verdict, Witness},
    journal::Sink,
    plan::model::{Alteration, AlteredImage, Plan},
    rig::model::{ChannelSpec, Device, Image, OutcomeSpec, Procedure, Rig, SafeAction},
    run::{dispatch::RunEnd, registry::Registry},
    step::{Comparison, FailAs, Outcome, SendData, Silence, Step, StepKind, Within, supply::SupplyMeasurement},
};
#[path = "engine/ble.rs"]
mod ble;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[path = "engine/api.rs"]
mod api;
#[path = "engine/cloud.rs"]
mod cloud;
#[path = "engine/reconnect.rs"]
mod reconnect;
#[path = "engine/serial.rs"]
mod serial;

/// What the fake device answers to a line; `None` is silence.
type Answer = fn(&str) -> Option<String>;

/// How the fake supply behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supply {
    Proven,
    Unproven,
    Broken,
    Panics,
    Stuck,
}

/// State of the fake bench, seen by the tests afterwards.
#[derive(Default)]
struct World {
    up: AtomicBool,
    pressed: AtomicBool,
    switched: AtomicU32,
}

fn witness(what: &str) -> Proof {
    Proof::Seen(Witness { what: what.to_owned(), evidence: None })
}

fn console(answer: Answer) -> Arc<dyn Driver> {
    fake("fake-console", ChannelKind::Console, "console 1", move || {
        let (ours, theirs) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let (read, mut write) = tokio::io::split(theirs);
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(text) = answer(&line)
                    && write.write_all(text.as_bytes()).await.is_err()
                {
                    return;
                }
            }
        });
        Opened::Console(Box::new(ours))
    })
}

fn supply(how: Supply, world: &Arc<World>) -> Arc<dyn Driver> {
    let world = Arc::clone(world);
    let open = move || Opened::Supply(Box::new(SupplyState(how, Arc::clone(&world))));
    fake("fake-supply", ChannelKind::Supply, "supply 1", open)
}

struct SupplyState(Supply, Arc<World>);

impl SupplyLink for SupplyState {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.1.switched.fetch_add(1, Ordering::SeqCst);
            match (self.0, up) {
                (Supply::Broken, true) => return Err(LinkError::new("switch supply 1 up", "no answer from the relay")),
                (Supply::Panics, true) => panic!("a step breaks off"),
                (Supply::Stuck, false) => return Ok(witness("commanded")),
                _ => {}
            }
            self.1.up.store(up, Ordering::SeqCst);
            Ok(if self.0 == Supply::Unproven { Proof::None("rail read-back".to_owned()) } else { witness("rail read back") })
        })
    }
    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move { Ok(Some(self.1.up.load(Ordering::SeqCst))) })
    }
    fn measure(&mut self, what: Measurand) -> BoxFuture<'_, Result<Option<f64>, LinkError>> {
        Box::pin(async move {
            match (self.0, what) {
                (Supply::Stuck, _) => Err(LinkError::new("measure supply 1", "no answer")),
                (_, Measurand::Voltage) => Ok(Some(if self.1.up.load(Ordering::SeqCst) { 5.0 } else { 0.0 })),
                (_, Measurand::Current) => Ok(None),
            }
        })
    }
}

fn button(world: &Arc<World>, panics: bool) -> Arc<dyn Driver> {
    let world = Arc::clone(world);
    let open = move || Opened::Button(Box::new(ButtonState(Arc::clone(&world), panics)));
    fake("fake-button", ChannelKind::Button, "button 1", open)
}

/// Panics when pressed, if so told.
struct ButtonState(Arc<World>, bool);

impl ButtonLink for ButtonState {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.0.pressed.store(pressed, Ordering::SeqCst);
            assert!(!(pressed && self.1), "a step breaks off");
            Ok(witness("contact read back"))
        })
    }
}

// --- building plans ---

fn span(ms: u64) -> Within {
    Within::Span(Duration::from_millis(ms))
}

fn send(line: &str) -> Step {
    step(StepKind::Send { channel: "console".to_owned(), data: SendData::Line(text(line)) })
}

fn expect_as(pattern: &str, silence: Silence, fail_as: Option<FailAs>) -> Step {
    let (channel, pattern) = ("console".to_owned(), text(pattern));
    step(StepKind::Expect { channel, pattern, within: span(1000), refused: None, silence, proves: None, fail_as })
}

fn expect(pattern: &str) -> Step {
    expect_as(pattern, Silence::Inconclusive, None)
}

fn power(up: bool) -> Step {
    step(StepKind::Power { channel: "supply".to_owned(), up })
}

fn wait(ms: u64) -> Step {
    step(StepKind::Wait { time: span(ms) })
}

fn perform(procedure: &str, expect: Outcome, reason: &str) -> Step {
    let fail_as = Some(code(reason));
    step(StepKind::Do { procedure: procedure.to_owned(), with: Vec::new(), expect, fail_as, silence: Silence::Inconclusive })
}

/// A lock that answers `ping`, refuses `bad`, takes `good`, and is silent to everything else.
fn lock(line: &str) -> Option<String> {
    match line {
        "ping" => Some("pong\r\n".to_owned()),
        "bad" => Some("refused header\r\nready 1\r\n".to_owned()),
        "good" => Some("swap\r\nready 2\r\n".to_owned()),
        "mute" => Some("refused header\r\n".to_owned()),
        "other" => Some("something else\r\n".to_owned()),
        _ => None,
    }
}

fn device() -> Device {
    let outcome = |then: Option<&str>| {
        Some(OutcomeSpec {
            channel: "console".to_owned(),
            within: span(1000),
            done: text(r"ready (?<version>\d+)"),
            refused: Some(text(r"refused (?<why>\w+)")),
            then: then.map(text),
        })
    };
    let procedure = |line: &str, then| Procedure {
        parameters: Vec::new(),
        returns: vec!["version".to_owned()],
        steps: vec![send(line)],
        outcome: outcome(then),
    };
    let mut procedures = BTreeMap::new();
    procedures.insert("install-bad".to_owned(), procedure("bad", Some("ready")));
    procedures.insert("install-good".to_owned(), procedure("good", None));
    procedures.insert("install-mute".to_owned(), procedure("mute", Some("ready")));
    procedures.insert("install-nothing".to_owned(), procedure("nothing", None));
    let inner = |reason: Option<&str>| StepKind::Do {
        procedure: "install-bad".to_owned(),
        with: Vec::new(),
        expect: Outcome::Done,
        fail_as: reason.map(code),
        silence: Silence::Inconclusive,
    };
    let around =
        |reason| Procedure { parameters: Vec::new(), returns: Vec::new(), steps: vec![step(inner(reason))], outcome: None };
    procedures.insert("around-bad".to_owned(), around(None));
    procedures.insert("around-named-bad".to_owned(), around(Some("INNER")));
    let image = Image { file: PathBuf::new(), address: None, version: Some("2".to_owned()), bytes: b"abcdefgh\n".to_vec() };
    Device {
        name: "lock".to_owned(),
        file: PathBuf::new(),
        declared: [("recovery-time".to_owned(), "2s".to_owned())].into(),
        images: [("update".to_owned(), image)].into(),
        layout: [("all".to_owned(), (0, None))].into(),
        procedures,
        interruption: None,
        golden: Vec::new(),
        ble: None,
        usb: BTreeMap::new(),
    }
}

struct Ran {
    end: RunEnd,
    events: Vec<Event>,
    world: Arc<World>,
}

impl Ran {
    #[track_caller]
    fn is(&self, verdict: Verdict, reason: &str) {
        bench::is(&self.events, verdict, reason);
    }

    fn safe(&self) -> bool {
        !self.world.up.load(Ordering::SeqCst) && !self.world.pressed.load(Ordering::SeqCst)
    }

    fn started(&self) -> Vec<&str> {
        let ids = self.events.iter().filter_map(|event| match &event.fact {
            Fact::StepStarted { step, .. } => Some(step.as_str()),
            _ => None,
        });
        ids.collect()
    }
}

struct Bench {
    answer: Answer,
    supply: Supply,
    button_panics: bool,
    stop: Option<(Duration, StopLevel)>,
    journal_limit: Option<usize>,
    world: Arc<World>,
    /// In place of the fake console, with parameters.
    console: Option<(Arc<dyn Driver>, Parameters)>,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            answer: lock,
            supply: Supply::Proven,
            button_panics: false,
            stop: None,
            journal_limit: None,
            world: Arc::default(),
            console: None,
        }
    }
}

fn rig() -> Rig {
    Rig {
        name: "fakes".to_owned(),
        file: PathBuf::new(),
        device: device(),
        channels: [
            ("console".to_owned(), channel("fake-console")),
            ("supply".to_owned(), channel("fake-supply")),
            ("button".to_owned(), channel("fake-button")),
        ]
        .into(),
        safe_state: vec![
            SafeAction::Release { channel: "button".to_owned() },
            SafeAction::Power { channel: "supply".to_owned(), up: false },
        ],
        sacrificial: true,
        safe_state_timeout: Duration::from_secs(5),
        device_time: None,
        virtual_device: None,
        virtual_hub: None,
    }
}

/// The same device on these channels only, each with its driver, and nothing to make safe.
fn rig_of(channels: &[(&str, &str)]) -> Rig {
    let channels = channels.iter().map(|(name, driver)| ((*name).to_owned(), channel(driver))).collect();
    Rig { channels, safe_state: Vec::new(), ..rig() }
}

/// A sink that is full after some bytes.
struct Full(std::fs::File, usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1 = self.1.checked_sub(bytes.len()).ok_or_else(|| std::io::Error::other("no space left on device"))?;
        std::io::Write::write(&mut self.0, bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn full_after(limit: usize) -> Sink {
    Arc::new(move |_, file| Box::new(Full(file, limit)))
}

impl Bench {
    async fn run(self, plan: Plan) -> Ran {
        let world = Arc::clone(&self.world);
        let mut registry =
            Registry::new().with(console(self.answer)).with(supply(self.supply, &world)).with(button(&world, self.button_panics));
        let mut rig = rig();
        if let Some((driver, parameters)) = self.console.clone() {
            registry = registry.with(driver);
            let known = rig.channels["console"].clone();
            rig.channels.insert("console".to_owned(), ChannelSpec { parameters, ..known });
        }
        self.run_on(plan, rig, registry, world).await
    }

    /// On another rig with other drivers.
    async fn run_on(self, plan: Plan, rig: Rig, registry: Registry, world: Arc<World>) -> Ran {
        let store = tempfile::tempdir().unwrap();
        let sink = self.journal_limit.map(full_after);
        let stop = self.stop.map(|(after, level)| (after, Request::Stop { level, by: "test".to_owned() }));
        let (end, events) = ended(setup(store.path(), sink, plan, rig, registry), stop.into_iter().collect()).await;
        Ran { end, events, world }
    }
}

async fn ran(plan: Plan) -> Ran {
    Bench::default().run(plan).await
}

// --- judging the device ---

#[tokio::test(start_paused = true)]
async fn what_is_expected_and_seen_passes() {
    let ran = ran(one(vec![power(true), send("ping"), expect("pong")])).await;
    ran.is(Verdict::Pass, "");
    assert_eq!((ran.end.verdict, ran.end.safe), (Verdict::Pass, true));
    assert!(ran.safe());
}

#[tokio::test(start_paused = true)]
async fn a_silent_device_is_what_the_plan_says() {
    ran(one(vec![send("hello"), expect("pong")])).await.is(Verdict::Inconclusive, "SILENT");
    let must_answer = expect_as("pong", Silence::Fail, Some(code("NO-RECOVERY")));
    ran(one(vec![send("hello"), must_answer])).await.is(Verdict::Fail, "NO-RECOVERY");
    // A reason alone does not turn silence into failure.
    let reason_only = expect_as("pong", Silence::Inconclusive, Some(code("NO-RECOVERY")));
    ran(one(vec![send("hello"), reason_only])).await.is(Verdict::Inconclusive, "SILENT");
}

#[tokio::test(start_paused = true)]
async fn another_answer_fails_only_where_the_plan_has_a_reason() {
    ran(one(vec![send("other"), expect("pong")])).await.is(Verdict::Inconclusive, "UNEXPECTED");
    let reason = expect_as("pong", Silence::Inconclusive, Some(code("WRONG-ANSWER")));
    ran(one(vec![send("other"), reason])).await.is(Verdict::Fail, "WRONG-ANSWER");
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_the_stimulus_does_not_count() {
    ran(one(vec![send("ping"), wait(100), send("hello"), expect("pong")])).await.is(Verdict::Inconclusive, "SILENT");
    // And one answer satisfies one expectation.
    ran(one(vec![send("ping"), expect("pong"), expect("pong")])).await.is(Verdict::Inconclusive, "SILENT");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_judged_by_who_asked() {
    ran(one(vec![perform("install-bad", Outcome::Refused, "SIG")])).await.is(Verdict::Pass, "");
    ran(one(vec![perform("install-bad", Outcome::Done, "GENUINE-REFUSED")])).await.is(Verdict::Fail, "GENUINE-REFUSED");
    ran(one(vec![perform("install-good", Outcome::Refused, "SIG-PAYLOAD")])).await.is(Verdict::Fail, "SIG-PAYLOAD");
    ran(one(vec![perform("install-good", Outcome::Done, "X")])).await.is(Verdict::Pass, "");
    ran(one(vec![perform("install-nothing", Outcome::Refused, "X")])).await.is(Verdict::Inconclusive, "SILENT");
    ran(one(vec![perform("install-mute", Outcome::Refused, "DEAD-AFTERWARDS")])).await.is(Verdict::Fail, "DEAD-AFTERWARDS");
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_procedure_is_given_by_its_caller_unless_it_has_its_own() {
    ran(one(vec![perform("around-bad", Outcome::Done, "OUTER")])).await.is(Verdict::Fail, "OUTER: install-bad was refused");
    ran(one(vec![perform("around-named-bad", Outcome::Done, "OUTER")])).await.is(Verdict::Fail, "INNER");
    // Whoever wants a refusal names what it means that there is none, not that something before it went wrong.
    ran(one(vec![perform("around-bad", Outcome::Refused, "SIG")])).await.is(Verdict::Fail, "REFUSED: install-bad was refused");
}

#[tokio::test(start_paused = true)]
async fn values_returned_by_a_procedure_are_checked() {
    let check = |wanted: &str| {
        let must = Comparison::Equals(text(wanted));
        step(StepKind::Check { value: text("${version}"), must, fail_as: code("VERSION") })
    };
    ran(one(vec![perform("install-good", Outcome::Done, "X"), check("2")])).await.is(Verdict::Pass, "");
    ran(one(vec![perform("install-good", Outcome::Done, "X"), check("3")])).await.is(Verdict::Fail, "VERSION");
}

#[tokio::test(start_paused = true)]
async fn what_must_not_appear_fails_when_it_does() {
    let refrain = |pattern: &str| {
        let (channel, pattern) = ("console".to_owned(), text(pattern));
        step(StepKind::Refrain { channel, pattern, during: span(500), fail_as: code("LEAK") })
    };
    ran(one(vec![send("ping"), refrain("pong")])).await.is(Verdict::Fail, "LEAK");
    ran(one(vec![send("ping"), refrain("secret")])).await.is(Verdict::Pass, "");
}

#[tokio::test(start_paused = true)]
async fn a_measurement_is_held_against_its_limit() {
    let measure = |ms| {
        let (name, at_most, fail_as) = ("recovery-time".to_owned(), Within::Declared("recovery-time".to_owned()), code("SLOW"));
        step(StepKind::Measure { name, steps: vec![wait(ms)], at_most, fail_as })
    };
    ran(one(vec![measure(1900)])).await.is(Verdict::Pass, "");
    let slow = ran(one(vec![measure(2100)])).await;
    slow.is(Verdict::Fail, "SLOW");
    let measured =
        slow.events.iter().any(|e| matches!(&e.fact, Fact::Measured { within: false, value, .. } if (*value - 2.1).abs() < 0.01));
    assert!(measured);
}

// --- witnesses ---

#[tokio::test(start_paused = true)]
async fn a_stimulus_without_a_witness_neither_passes_nor_fails() {
    let bench = Bench { supply: Supply::Unproven, ..Bench::default() };
    bench.run(one(vec![power(true), send("ping"), expect("pong")])).await.is(Verdict::Inconclusive, "NO-WITNESS: nothing proves");
    // Nor is anything that is seen after it held against the device: it may not have felt the stimulus. What was seen is told.
    let bench = Bench { supply: Supply::Unproven, ..Bench::default() };
    let wrong = expect_as("pong", Silence::Fail, Some(code("WRONG")));
    let ran = bench.run(one(vec![power(true), send("other"), wrong.clone()])).await;
    ran.is(Verdict::Inconclusive, "NO-WITNESS: nothing proves");
    ran.is(Verdict::Inconclusive, "seen after it: WRONG: `pong` did not appear");
    Bench::default().run(one(vec![power(true), send("other"), wrong])).await.is(Verdict::Fail, "WRONG");
}

#[tokio::test(start_paused = true)]
async fn what_proves_a_stimulus_is_no_judgement_and_its_absence_no_failure() {
    let proof = |pattern: &str| {
        let (channel, pattern, proves) = ("console".to_owned(), text(pattern), Some("the stimulus hit".to_owned()));
        step(StepKind::Expect {
            channel,
            pattern,
            within: span(1000),
            refused: None,
            silence: Silence::Inconclusive,
            proves,
            fail_as: None,
        })
    };
    let ran_well = ran(one(vec![send("ping"), proof("pong"), send("ping"), expect("pong")])).await;
    ran_well.is(Verdict::Pass, "");
    let witnessed = |event: &Event| matches!(&event.fact, Fact::Witnessed { witness, .. } if witness.what == "the stimulus hit");
    assert!(ran_well.events.iter().any(witnessed));
    ran(one(vec![send("ping"), proof("pong")])).await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    ran(one(vec![send("other"), proof("pong")]))
        .await
        .is(Verdict::Inconclusive, "NO-WITNESS: nothing proves that the stimulus hit");
}

#[tokio::test(start_paused = true)]
async fn a_case_that_judges_nothing_never_passes() {
    ran(one(vec![power(true), wait(10)])).await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    // What prepares the case does not judge it.
    let mut prepared = one(vec![power(true)]);
    prepared.before_each = vec![send("ping"), expect("pong")];
    ran(prepared).await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    // Nor does it fail the device: the case has not looked at what it is about. A fault of the bench stays one.
    let mut unprepared = one(vec![send("ping"), expect("pong")]);
    unprepared.before_each = vec![send("other"), expect_as("pong", Silence::Fail, Some(code("WRONG")))];
    ran(unprepared.clone())
        .await
        .is(Verdict::Inconclusive, "NOT-PREPARED: the device is not in the state that this case starts from: WRONG");
    let bench = Bench { supply: Supply::Broken, ..Bench::default() };
    unprepared.before_each = vec![power(true)];
    bench.run(unprepared).await.is(Verdict::Error, "BENCH-FAULT");
}

/// A device that takes every chunk.
fn acknowledges(line: &str) -> Option<String> {
    let known = [("ping", "pong\r\n")].into_iter().find(|(question, _)| *question == line);
    known.map(|(_, answer)| answer).or(Some("ack\r\n")).map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn an_altered_image_refused_before_its_altered_byte_proves_nothing() {
    let plan_with = |at: i64| {
        let alteration = Alteration::FlipBit { region: "all".to_owned(), at, bit: 0 };
        let send_image = step(StepKind::SendImage {
            channel: "console".to_owned(),
            image: text("altered"),
            chunk: 9,
            ack: text("ack"),
            within: span(500),
            refused: None,
        });
        let mut plan = one(vec![send_image, send("ping"), expect("pong")]);
        plan.images = vec![AlteredImage { name: "altered".to_owned(), from: "update".to_owned(), address: None, alteration }];
        plan
    };
    let taken = Bench { answer: acknowledges, ..Bench::default() }.run(plan_with(2)).await;
    taken.is(Verdict::Pass, "");
    assert!(
        taken.events.iter().any(
            |e| matches!(&e.fact, Fact::Witnessed { witness, .. } if witness.what.contains("differs from update in 1 bytes"))
        )
    );
    // A device that takes nothing gives no witness, and the case no verdict about it.
    let deaf = ran(plan_with(2)).await;
    deaf.is(Verdict::Inconclusive, "no acknowledgement");
    assert!(deaf.events.iter().any(|e| matches!(&e.fact, Fact::Unwitnessed { .. })));
}

// --- the bench's own troubles ---

#[tokio::test(start_paused = true)]
async fn a_bench_fault_is_an_error_and_never_a_failure() {
    let ran =
        Bench { supply: Supply::Broken, ..Bench::default() }.run(one(vec![power(true), send("ping"), expect("pong")])).await;
    ran.is(Verdict::Error, "no answer from the relay");
    assert_eq!(ran.end.verdict, Verdict::Error);
    assert!(ran.safe() && ran.end.safe);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_step_is_an_error_and_the_bench_ends_safe() {
    let mut plan = plan(vec![
        case("case", vec![power(true), send("ping"), expect("pong")]),
        case("next", vec![send("ping"), expect("pong")]),
    ]);
    plan.finally = vec![step(StepKind::Press { channel: "button".to_owned(), hold: Duration::from_millis(10) })];
    let ran = Bench { supply: Supply::Panics, ..Bench::default() }.run(plan).await;
    ran.is(Verdict::Error, "BUG: a step broke off: a step breaks off");
    assert!(ran.end.bug && ran.end.safe && ran.safe());
    assert!(ran.events.iter().any(|e| matches!(&e.fact, Fact::CaseSkipped { case, .. } if case.as_str() == "next")));
    assert!(ran.started().contains(&"finally.1/1"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_a_powered_bench_leaves_it_off_and_released() {
    let press = step(StepKind::Press { channel: "button".to_owned(), hold: Duration::from_millis(10) });
    let bench = Bench { button_panics: true, ..Bench::default() };
    let ran = bench.run(one(vec![power(true), send("ping"), expect("pong"), press])).await;
    ran.is(Verdict::Error, "BUG: a step broke off: a step breaks off");
    assert!(ran.end.bug && ran.end.safe && ran.safe());
    assert!(ran.world.switched.load(Ordering::SeqCst) > 1, "it had been up");
}

#[tokio::test(start_paused = true)]
async fn a_supply_that_does_not_go_down_is_said() {
    let ran = Bench { supply: Supply::Stuck, ..Bench::default() }.run(one(vec![power(true), send("ping"), expect("pong")])).await;
    ran.is(Verdict::Pass, "");
    assert_eq!((ran.end.verdict, ran.end.safe), (Verdict::Error, false));
    let finished =
        ran.events.iter().find_map(|e| if let Fact::SafeStateFinished { ok, .. } = &e.fact { Some(*ok) } else { None });
    assert_eq!(finished, Some(false));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_under_the_journal_is_an_error_and_the_bench_ends_safe() {
    for limit in [0, 900, 2000, 4000] {
        let bench = Bench { journal_limit: Some(limit), ..Bench::default() };
        let steps = std::iter::once(power(true)).chain((0..50).flat_map(|_| [send("ping"), expect("pong")])).collect();
        let ran = bench.run(one(steps)).await;
        assert_eq!(ran.end.verdict, Verdict::Error, "limit {limit}");
        assert!(ran.end.safe && ran.safe(), "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_the_bench_did_not_give_is_not_held_against_the_device() {
    let mut hurried = one(vec![send("hello"), expect_as("pong", Silence::Fail, Some(code("DEAD")))]);
    hurried.cases[0].timeout = Duration::from_millis(300);
    ran(hurried).await.is(Verdict::Inconclusive, "DEADLINE");
    let mut refrain = one(vec![step(StepKind::Refrain {
        channel: "console".to_owned(),
        pattern: text("x"),
        during: span(500),
        fail_as: code("X"),
    })]);
    refrain.cases[0].timeout = Duration::from_millis(300);
    ran(refrain).await.is(Verdict::Inconclusive, "DEADLINE");
}

// --- retries, stops, clean-up ---

#[tokio::test(start_paused = true)]
async fn attempts_stay_visible_and_a_bench_fault_is_not_tried_again() {
    let retry = |steps| step(StepKind::Retry { attempts: 3, pause: Duration::from_millis(10), steps });
    let failed = ran(one(vec![retry(vec![send("hello"), expect("pong")])])).await;
    failed.is(Verdict::Inconclusive, "SILENT");
    let attempts = failed.events.iter().filter(|e| matches!(e.fact, Fact::AttemptFailed { .. })).count();
    assert_eq!(attempts, 2, "two attempts were followed by another");
    let broken = Bench { supply: Supply::Broken, ..Bench::default() }.run(one(vec![retry(vec![power(true)])])).await;
    broken.is(Verdict::Error, "relay");
    assert!(!broken.events.iter().any(|e| matches!(e.fact, Fact::AttemptFailed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_finishes_the_step_and_starts_no_other() {
    let bench = Bench { stop: Some((Duration::from_millis(500), StopLevel::Graceful)), ..Bench::default() };
    let ran = bench
        .run(plan(vec![case("case", vec![power(true), wait(1000), send("ping"), expect("pong")]), case("next", vec![wait(1)])]))
        .await;
    ran.is(Verdict::Inconclusive, "CANCELLED");
    let waited = ran.events.iter().any(
        |e| matches!(&e.fact, Fact::StepFinished { step, verdict: Verdict::Pass, .. } if step.as_str() == "case/2" && e.at.0 >= 1_000_000_000),
    );
    assert!(waited, "the running step was finished");
    assert!(!ran.started().contains(&"case/3") && !ran.started().contains(&"next/1"));
    assert!(ran.safe() && ran.end.safe && ran.end.verdict == Verdict::Inconclusive);
}

#[tokio::test(start_paused = true)]
async fn a_stop_now_ends_the_waiting() {
    let bench = Bench { stop: Some((Duration::from_millis(500), StopLevel::Now)), ..Bench::default() };
    let mut plan = one(vec![power(true), wait(30_000), send("ping"), expect("pong")]);
    plan.finally = vec![send("ping"), expect("pong")];
    let ran = bench.run(plan).await;
    ran.is(Verdict::Inconclusive, "CANCELLED");
    assert!(ran.events.last().is_some_and(|e| e.at.0 < 2_000_000_000), "ended soon after the request");
    assert!(ran.started().contains(&"finally.2/1"), "clean-up is outside the stop");
    assert!(ran.safe() && ran.end.safe);
}

#[tokio::test(start_paused = true)]
async fn a_button_is_released_even_when_the_hold_is_cut_short() {
    let bench = Bench { stop: Some((Duration::from_millis(500), StopLevel::Now)), ..Bench::default() };
    let hold = step(StepKind::Press { channel: "button".to_owned(), hold: Duration::from_secs(10) });
    let ran = bench.run(one(vec![hold])).await;
    assert!(ran.safe());
    let releases =
        ran.events.iter().filter(|e| matches!(&e.fact, Fact::Acting { act: hilbench::event::Act::Press(false), .. })).count();
    assert_eq!(releases, 1);
}

#[tokio::test(start_paused = true)]
async fn every_clean_up_step_is_tried() {
    let mut plan = one(vec![send("ping"), expect("pong")]);
    plan.finally = vec![expect_as("never", Silence::Fail, Some(code("F"))), power(false)];
    let ran = ran(plan).await;
    assert!(ran.started().contains(&"finally.2/1"));
    assert_eq!(ran.end.verdict, Verdict::Fail);
}

#[tokio::test(start_paused = true)]
async fn facts_about_acts_precede_the_acts() {
    let ran = ran(one(vec![power(true), send("ping"), expect("pong")])).await;
    let position = |wanted: fn(&Fact) -> bool| ran.events.iter().position(|e| wanted(&e.fact)).unwrap();
    let acting = position(|f| matches!(f, Fact::Acting { .. }));
    let witnessed = position(|f| matches!(f, Fact::Witnessed { .. }));
    let received = position(|f| matches!(f, Fact::Received { .. }));
    let matched = position(|f| matches!(f, Fact::Matched { .. }));
    assert!(acting < witnessed && witnessed < received && received < matched);
    assert!(ran.events.iter().enumerate().all(|(i, e)| e.seq == i as u64));
}

// --- supplies that measure, buttons that stay ---

fn measure(what: Measurand, at_least: Option<f64>, at_most: Option<f64>) -> Step {
    let measurement = SupplyMeasurement { what, name: "rail".to_owned(), at_least, at_most, fail_as: Some(code("RAIL")) };
    step(StepKind::MeasureSupply { channel: "supply".to_owned(), step: measurement })
}

#[tokio::test(start_paused = true)]
async fn a_measured_rail_is_held_against_its_limits() {
    let volts = |at_least, at_most| one(vec![power(true), measure(Measurand::Voltage, at_least, at_most)]);
    ran(volts(Some(4.75), Some(5.25))).await.is(Verdict::Pass, "");
    // Bounds are part of the range.
    ran(volts(Some(5.0), Some(5.0))).await.is(Verdict::Pass, "");
    ran(volts(None, Some(4.9))).await.is(Verdict::Fail, "RAIL");
    ran(volts(Some(5.1), None)).await.is(Verdict::Fail, "RAIL");
    // Recorded only: nothing was judged.
    ran(volts(None, None)).await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    // A supply that cannot measure says nothing about the device, and one that is broken neither.
    ran(one(vec![measure(Measurand::Current, None, Some(100.0))])).await.is(Verdict::Inconclusive, "cannot measure");
    let broken = Bench { supply: Supply::Stuck, ..Bench::default() };
    broken.run(one(vec![measure(Measurand::Voltage, None, Some(1.0))])).await.is(Verdict::Error, "BENCH-FAULT");
}

#[tokio::test(start_paused = true)]
async fn a_strap_stays_set_until_it_is_released_or_the_run_ends() {
    let strap = |pressed| step(StepKind::Button { channel: "button".to_owned(), pressed });
    let held = ran(one(vec![strap(true), power(true), send("ping"), expect("pong")])).await;
    held.is(Verdict::Pass, "");
    let acts: Vec<_> = held
        .events
        .iter()
        .filter_map(|event| match &event.fact {
            Fact::Acting { channel, act, .. } if channel.as_str() == "button" => Some(act.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(acts, [hilbench::event::Act::Press(true)], "not released before the end of the case");
    assert!(held.safe(), "the safe state released it");
    ran(one(vec![strap(true), strap(false), send("ping"), expect("pong")])).await.is(Verdict::Pass, "");
}
#[path = "engine/freeze.rs"]
mod freeze;
#[path = "engine/network.rs"]
mod network;
#[path = "engine/outage.rs"]
mod outage;
