//! The virtual bench around a device that needs no processor: the thread, the clock, the terminal, the recording.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hilbench::{
    channel::{
        clock::Clock,
        console::{Console, Expectation, Found},
        link::{Driver, LinkError, Opened, Parameters, Proof, Segment},
        matcher::Matcher,
        tap::Tap,
    },
    driver::serial::Serial,
    event::{ChannelName, Nanos},
    virtual_dut::{
        Machine,
        bench::{BenchConfig, BenchOptions, Device, Input, Recording, VirtualBench, latch_read, latch_write},
    },
};

const MS: u64 = 16_000;
/// Ten bits at 115200 baud, in cycles of 16 MHz.
const CHARACTER: u64 = 1389;

/// A device that answers lines. What it does is a function of its inputs and their times only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Parrot {
    now: u64,
    powered: bool,
    line: Vec<u8>,
    receiving: VecDeque<(u64, u8)>,
    sending: VecDeque<(u64, u8)>,
    sent: Vec<u8>,
    flood: Option<u64>,
    pressed_at: Option<u64>,
    operations: u64,
}

impl Parrot {
    fn say(&mut self, delay: u64, bytes: &[u8]) {
        let mut at = self.sending.back().map_or(0, |(at, _)| *at).max(self.now + delay);
        for byte in bytes {
            at += CHARACTER;
            self.sending.push_back((at, *byte));
        }
    }

    fn hear(&mut self, byte: u8) {
        if byte != b'\n' {
            return self.line.push(byte);
        }
        self.operations += 1;
        let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap_or_default();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("echo", text) => self.say(MS, format!("{text}\r\n").as_bytes()),
            ("raw", _) => self.say(MS, b"\xff\xfe\x00\x1b[31m\xc3(\r\nnot a whole line"),
            ("flood", _) => self.flood = Some(0),
            ("later", ms) => self.say(ms.parse::<u64>().unwrap_or(0) * MS, b"now\r\n"),
            _ => self.say(0, b"what?\r\n"),
        }
    }
}

impl Device for Parrot {
    fn now(&self) -> u64 {
        self.now
    }

    fn run_until(&mut self, cycle: u64) {
        while self.now < cycle {
            if let Some(n) = &mut self.flood
                && self.sending.is_empty()
            {
                *n += 1;
                let line = format!("flood line {n}\r\n");
                self.say(0, line.as_bytes());
            }
            let reset_at = self.pressed_at.map(|at| at + 10_000 * MS).filter(|at| *at > self.now);
            let events = [self.receiving.front().map(|(at, _)| *at), self.sending.front().map(|(at, _)| *at), reset_at];
            let Some(next) = events.into_iter().flatten().min().filter(|next| *next <= cycle) else {
                self.now = cycle;
                return;
            };
            self.now = self.now.max(next);
            if reset_at == Some(next) {
                self.say(0, b"factory reset done\r\n");
            }
            while self.receiving.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, byte) = self.receiving.pop_front().expect("looked at above");
                self.hear(byte);
            }
            if self.sending.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, byte) = self.sending.pop_front().expect("looked at above");
                self.sent.push(byte);
                return;
            }
        }
    }

    fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    fn apply(&mut self, input: &Input) {
        match input {
            Input::Serial(bytes) if self.powered => {
                let mut at = self.receiving.back().map_or(0, |(at, _)| *at).max(self.now);
                for byte in bytes {
                    at += CHARACTER;
                    self.receiving.push_back((at, *byte));
                }
            }
            Input::Pin { level, .. } => self.pressed_at = (*level == Some(false)).then_some(self.now),
            Input::Power(true) if self.powered => {}
            Input::Power(up) => {
                *self = Self { now: self.now, powered: *up, operations: self.operations, ..Self::default() };
                if *up {
                    self.say(MS, b"boot\r\n");
                }
            }
            Input::Serial(_) | Input::Reset => {}
        }
    }

    fn powered(&self) -> bool {
        self.powered
    }

    fn pin(&self, _pin: u8) -> bool {
        self.powered && self.pressed_at.is_none()
    }
}

/// Everything the tap was told, with times.
#[derive(Default)]
struct Transcript(Mutex<Vec<String>>);

impl Transcript {
    fn add(&self, line: String) {
        self.0.lock().expect("no test thread panics with it").push(line);
    }
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no test thread panics with it").clone()
    }
}

impl Tap for Transcript {
    fn received(&self, _: &ChannelName, at: Nanos, bytes: &[u8]) {
        self.add(format!("{} < {}", at.0, bytes.escape_ascii()));
    }
    fn sent(&self, _: &ChannelName, at: Nanos, bytes: &[u8]) {
        self.add(format!("{} > {}", at.0, bytes.escape_ascii()));
    }
    fn lost(&self, _: &ChannelName, at: Nanos, why: &str) {
        self.add(format!("{} lost: {why}", at.0));
    }
    fn gap(&self, _: &ChannelName, at: Nanos, _: Option<u64>) {
        self.add(format!("{} gap", at.0));
    }
}

struct Rig<D: Device = Parrot> {
    bench: Arc<VirtualBench<D>>,
    clock: Arc<dyn Clock>,
    transcript: Arc<Transcript>,
    console: Console,
}

async fn open<D: Device>(bench: &VirtualBench<D>, transcript: &Arc<Transcript>) -> Console {
    let path = bench.console_path().to_str().expect("a path of letters").to_owned();
    let parameters = Parameters { values: [("path".to_owned(), path)].into(), base: "/".into() };
    let Opened::Console(link) = Serial.open(&parameters).await.expect("the terminal opens") else { panic!("not a console") };
    Console::spawn("console".into(), link, bench.clock(), transcript.clone())
}

async fn rig_with(options: BenchOptions) -> Rig {
    rig_on(VirtualBench::with_device(Parrot::default(), options).expect("a bench")).await
}

async fn rig_on<D: Device>(bench: Arc<VirtualBench<D>>) -> Rig<D> {
    let transcript = Arc::new(Transcript::default());
    let console = open(&bench, &transcript).await;
    Rig { clock: bench.clock(), bench, transcript, console }
}

async fn rig() -> Rig {
    rig_with(BenchOptions::new("parrot")).await
}

impl<D: Device> Rig<D> {
    async fn power(&self, up: bool) -> Proof {
        self.bench.supply().set(up).await.expect("the supply switches")
    }

    async fn expect(&self, from: u64, pattern: &str, within: Duration) -> Expectation {
        let deadline = self.clock.now().after(within);
        self.console.expect(from, &[&Matcher::compile(pattern).expect("a pattern")], deadline).await
    }

    /// Sends a line and waits for the answer.
    async fn ask(&self, line: &str, pattern: &str) -> Found {
        let mark = self.console.mark();
        self.console.send(format!("{line}\n")).await.expect("the console is open");
        match self.expect(mark, pattern, Duration::from_secs(30)).await {
            Expectation::Matched(found) => found,
            other => panic!("{line}: {other:?}"),
        }
    }
}

fn witness(proof: Proof) -> String {
    match proof {
        Proof::Seen(witness) => witness.what,
        Proof::None(missing) => panic!("no proof: {missing}"),
    }
}

#[tokio::test]
async fn a_device_answers_through_the_terminal_at_exact_times() {
    let rig = rig().await;
    assert_eq!(witness(rig.power(true).await), "rail 3300 mV 5 ms after the command");
    let found = rig.ask("echo hello", "hello").await;
    // Power up at 0, `boot` from 1 ms on; asked at 5 ms; 11 characters in, 1 ms of thought, 7 characters out, in cycles of 62.5 ns.
    let cycles = 5 * MS + 11 * CHARACTER + MS + 7 * CHARACTER;
    assert_eq!(found.at, Nanos(cycles * 125 / 2));
    assert_eq!(rig.clock.now(), found.at, "and there the clock has stopped");
    let boot = (MS + 6 * CHARACTER) * 125 / 2;
    assert_eq!(
        rig.transcript.lines(),
        [format!(r"{boot} < boot\r\n"), r"5000000 > echo hello\n".to_owned(), format!(r"{} < hello\r\n", found.at.0)]
    );
}

#[tokio::test]
async fn time_stands_still_while_nobody_waits() {
    let rig = rig().await;
    rig.power(true).await;
    let found = rig.ask("echo a", "a").await;
    let before = rig.bench.snapshot();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rig.clock.now(), found.at);
    }
    rig.console.send("echo b\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let after = rig.bench.snapshot();
    assert_eq!(after.now, before.now, "sending alone takes no time");
    assert_eq!(after.receiving.len(), 7, "but the bytes are on the line");
    assert_eq!(rig.ask("echo c", "[bc]").await.bytes, b"b");
}

#[tokio::test]
async fn a_deadline_sees_everything_up_to_it_and_nothing_after() {
    let rig = rig().await;
    rig.power(true).await;
    let mark = rig.console.mark();
    rig.console.send("later 1000\n").await.unwrap();
    let begin = rig.clock.now();
    let sent = Duration::from_nanos(11 * CHARACTER * 125 / 2);
    // The answer begins a second after the last of 11 characters. Stop in the middle of it: after `n`, `o` and half of `w`.
    let within = sent + Duration::from_secs(1) + Duration::from_nanos((2 * CHARACTER + 700) * 125 / 2);
    let Expectation::TimedOut { seen, until } = rig.expect(mark, "now", within).await else { panic!("matched") };
    assert_eq!((seen.as_slice(), until), (&b"no"[..], mark + 2));
    let late = rig.clock.now().since(begin.after(within));
    assert!(late < Duration::from_micros(1), "{late:?}: at most an instruction");
    let Expectation::Matched(found) = rig.expect(mark, "now", Duration::from_secs(1)).await else { panic!("not matched") };
    assert_eq!(found.start, mark);
}

#[tokio::test]
async fn a_button_held_for_ten_seconds_is_held_for_ten_seconds_of_the_device() {
    let rig = rig().await;
    rig.power(true).await;
    let mark = rig.console.mark();
    let mut button = rig.bench.button(17).unwrap();
    assert_eq!(witness(button.set(true).await.unwrap()), "contact closed, P0.17 low");
    let pressed = rig.clock.now();
    rig.clock.sleep_until(pressed.after(Duration::from_millis(9_999))).await;
    assert_eq!(rig.console.mark(), mark, "not yet");
    rig.clock.sleep_until(pressed.after(Duration::from_secs(10))).await;
    assert_eq!(witness(button.set(false).await.unwrap()), "contact open, P0.17 high");
    let Expectation::Matched(found) = rig.expect(mark, "factory reset done", Duration::from_secs(1)).await else { panic!() };
    assert!(found.at > pressed.after(Duration::from_secs(10)));
    assert!(rig.bench.button(32).is_err());
}

#[tokio::test]
async fn power_cut_in_the_middle_of_a_line_leaves_the_part_that_was_said() {
    let rig = rig().await;
    rig.power(true).await;
    let mark = rig.console.mark();
    rig.console.send("echo 0123456789\n").await.unwrap();
    let half = 16 * CHARACTER + MS + 5 * CHARACTER + 100;
    rig.clock.sleep_until(rig.clock.now().after(Duration::from_nanos(half * 125 / 2))).await;
    assert_eq!(witness(rig.power(false).await), "rail 0 mV 5 ms after the command");
    assert_eq!(rig.bench.supply().is_up().await.unwrap(), Some(false));
    let silent = rig.expect(mark, "5", Duration::from_secs(5)).await;
    assert_eq!(silent, Expectation::TimedOut { seen: b"01234".to_vec(), until: mark + 5 });
    rig.power(true).await;
    assert!(matches!(rig.expect(mark + 5, "^boot$", Duration::from_secs(1)).await, Expectation::Matched(_)));
}

#[tokio::test]
async fn wild_output_arrives_byte_for_byte() {
    let rig = rig().await;
    rig.power(true).await;
    let mark = rig.console.mark();
    rig.ask("raw", "not a whole line").await;
    assert_eq!(rig.console.bytes(mark..u64::MAX).unwrap(), b"\xff\xfe\x00\x1b[31m\xc3(\r\nnot a whole line");
}

#[tokio::test]
async fn an_endless_flood_ends_with_the_deadline() {
    let rig = rig().await;
    rig.power(true).await;
    rig.console.send("flood\n").await.unwrap();
    let mark = rig.console.mark();
    let begin = rig.clock.now();
    let within = Duration::from_secs(2);
    let Expectation::TimedOut { until, .. } = rig.expect(mark, "needle", within).await else { panic!("matched") };
    assert!(rig.clock.now().since(begin) < within + Duration::from_micros(1));
    // The line carries 11520 bytes a second, whatever the bench does.
    assert!((22_900..=23_040).contains(&(until - mark)), "{}", until - mark);
    rig.power(false).await;
    let end = rig.console.mark();
    rig.clock.sleep_until(rig.clock.now().after(Duration::from_secs(1))).await;
    assert_eq!(rig.console.mark(), end);
}

/// A long frame needs more room than the terminal has, and no device time to be taken.
#[tokio::test]
async fn a_long_frame_goes_out_before_anybody_waits() {
    let rig = rig().await;
    rig.power(true).await;
    let frame = format!("echo {}\n", "x".repeat(100_000));
    let sent = rig.console.send(frame.clone()).await.unwrap();
    assert_eq!((sent.len, sent.at), (frame.len() as u64, rig.clock.now()));
    assert!(matches!(rig.expect(0, "x{100}", Duration::from_secs(30)).await, Expectation::Matched(_)));
}

async fn session(name: &str, disturb: bool) -> (Vec<String>, Nanos, Parrot) {
    let rig = rig_with(BenchOptions::new(name)).await;
    let pause = async || {
        if disturb {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    rig.power(true).await;
    for i in 0..40 {
        pause().await;
        let text = "word ".repeat(i * 3 % 90);
        rig.ask(&format!("echo {i} {text}"), &format!(r"^{i} .*$")).await;
    }
    rig.console.send("flood\n").await.expect("the console is open");
    pause().await;
    let from = rig.console.mark();
    assert!(matches!(rig.expect(from, "line 50\r", Duration::from_secs(9)).await, Expectation::Matched(_)));
    pause().await;
    rig.power(false).await;
    rig.clock.sleep_until(rig.clock.now().after(Duration::from_millis(250))).await;
    rig.power(true).await;
    let from = rig.console.mark();
    assert!(matches!(rig.expect(from, "nothing", Duration::from_secs(3)).await, Expectation::TimedOut { .. }));
    (rig.transcript.lines(), rig.clock.now(), rig.bench.snapshot())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_session_is_the_same_to_the_nanosecond_on_a_busy_machine() {
    let calm = session("calm", false).await;
    let busy = Arc::new(AtomicBool::new(true));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let busy = Arc::clone(&busy);
            std::thread::spawn(move || {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let loaded = session("loaded", true).await;
    busy.store(false, Ordering::Relaxed);
    for thread in load {
        thread.join().unwrap();
    }
    assert_eq!(calm.0, loaded.0);
    assert_eq!((calm.1, calm.2), (loaded.1, loaded.2));
}

#[tokio::test]
async fn a_recording_replays_to_the_same_device() {
    let rig = rig().await;
    rig.power(true).await;
    rig.ask("echo before", "before").await;
    let recorder = rig.bench.recorder();
    assert!(recorder.end().is_err());
    recorder.begin().unwrap();
    assert!(recorder.begin().is_err(), "one at a time");
    let from = rig.console.mark();
    rig.ask("echo one", "one").await;
    rig.bench.button(17).unwrap().set(true).await.unwrap();
    rig.clock.sleep_until(rig.clock.now().after(Duration::from_millis(123))).await;
    rig.bench.button(17).unwrap().set(false).await.unwrap();
    rig.power(false).await;
    rig.power(true).await;
    rig.ask("echo two", "two").await;
    rig.console.send("unanswered").await.unwrap();
    let recording = recorder.end().unwrap();
    let live = rig.bench.snapshot();
    let (replayed, output) = recording.replay();
    assert_eq!(replayed, live);
    assert!(replayed.operations > recording.start.operations, "something happened in it");
    assert_eq!(output, rig.console.bytes(from..u64::MAX).unwrap());
    assert_eq!(recording.inputs.len(), 7, "two lines, half a line, two of the button, two of the supply: {:?}", recording.inputs);
}

#[tokio::test]
async fn the_relay_outlives_the_bench() {
    let dir = tempfile::tempdir().unwrap();
    let latch = dir.path().join("relay");
    let options = BenchOptions { latch: Some(latch.clone()), ..BenchOptions::new("relay") };
    let rig = rig_with(options.clone()).await;
    assert_eq!(rig.bench.supply().is_up().await.unwrap(), Some(false));
    rig.power(true).await;
    assert!(latch_read(&latch).unwrap());
    drop(rig);
    let rig = rig_with(options.clone()).await;
    assert_eq!(rig.bench.supply().is_up().await.unwrap(), Some(true), "nobody switched it off");
    drop(rig);
    latch_write(&latch, false).unwrap();
    let rig = rig_with(options.clone()).await;
    assert_eq!(rig.bench.supply().is_up().await.unwrap(), Some(false), "the guard has switched it off");
    drop(rig);
    std::fs::write(&latch, "sideways").unwrap();
    assert!(VirtualBench::with_device(Parrot::default(), options).is_err());
}

#[tokio::test]
async fn a_relay_that_cannot_be_written_is_a_fault_and_the_device_does_not_follow() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig_with(BenchOptions { latch: Some(dir.path().join("gone/relay")), ..BenchOptions::new("stuck") }).await;
    let error: LinkError = rig.bench.supply().set(true).await.unwrap_err();
    assert_eq!(error.operation, "switch supply stuck up");
    assert!(!rig.bench.snapshot().powered);
}

#[tokio::test]
async fn the_end_of_the_bench_ends_everything_that_waits() {
    let rig = rig().await;
    rig.power(true).await;
    let console = rig.console.clone();
    let (mut supply, clock) = (rig.bench.supply(), rig.bench.clock());
    // Nothing sleeps on the clock but this; a year of device time would take the test's patience.
    let waiting = tokio::spawn(async move {
        let never = Nanos(u64::MAX);
        console.expect(0, &[&Matcher::compile("never").unwrap()], never).await
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let Rig { bench, .. } = rig;
    drop(bench);
    assert!(matches!(waiting.await.unwrap(), Expectation::Lost { .. }));
    clock.sleep_until(Nanos(u64::MAX)).await;
    assert!(supply.set(false).await.unwrap_err().lost);
}

#[tokio::test]
async fn output_without_a_console_is_lost_and_the_next_console_starts_clean() {
    let bench = VirtualBench::with_device(Parrot::default(), BenchOptions::new("unread")).unwrap();
    bench.supply().set(true).await.unwrap();
    assert_eq!(bench.unread(), 6, "`boot` went nowhere");
    for round in 0..3 {
        let transcript = Arc::new(Transcript::default());
        let console = open(&bench, &transcript).await;
        console.send(format!("echo {round}\n")).await.unwrap();
        let answer = Matcher::compile(r"^(?<n>\d)\r").unwrap();
        let deadline = bench.clock().now().after(Duration::from_secs(1));
        let Expectation::Matched(found) = console.expect(0, &[&answer], deadline).await else { panic!("no answer") };
        assert_eq!((found.start, found.captures["n"].as_str()), (0, round.to_string().as_str()));
        console.close().await;
    }
}

const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware-fixtures/smart-lock/images");

/// The smart lock as it leaves the factory, with its real firmware.
async fn lock(name: &str) -> Rig<Machine> {
    let part = |address, file| Segment { address, bytes: std::fs::read(format!("{IMAGES}/{file}")).expect("a committed image") };
    let factory = vec![part(0, "bootloader.bin"), part(0x6000, "lock-v1.bin")];
    rig_on(VirtualBench::start(BenchConfig { factory, ..BenchConfig::new(name) }).expect("a bench")).await
}

/// Boots, logs in, stages a whole update over the console, and is recorded from the login until the new image runs.
async fn update(name: &str) -> (Vec<String>, Recording<Machine>, Machine) {
    let rig = lock(name).await;
    rig.power(true).await;
    assert!(matches!(rig.expect(0, r"^smart-lock 1\.0\.0 ready$", Duration::from_secs(20)).await, Expectation::Matched(_)));
    let recorder = rig.bench.recorder();
    recorder.begin().expect("nothing else records");
    rig.ask("login admin 24681357", "^ok$").await;
    let image = std::fs::read(format!("{IMAGES}/lock-v2.bin")).expect("a committed image");
    rig.ask(&format!("update {}", image.len()), "^send$").await;
    let mut total = 0;
    let mut mark = 0;
    for chunk in image.chunks(64) {
        total += chunk.len();
        mark = rig.console.mark();
        rig.console.send(chunk).await.expect("the console is open");
        let answer = rig.expect(mark, &format!(r"^ack {total}$"), Duration::from_secs(2)).await;
        assert!(matches!(answer, Expectation::Matched(_)), "{answer:?}");
    }
    let ready = rig.expect(mark, r"^smart-lock 2\.0\.0 ready$", Duration::from_mins(1)).await;
    assert!(matches!(ready, Expectation::Matched(_)), "{ready:?}: {:?}", rig.transcript.lines().last());
    let recording = recorder.end().expect("nothing else records");
    (rig.transcript.lines(), recording, rig.bench.snapshot())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_firmware_updates_itself_the_same_way_twice_and_in_a_replay() {
    let (transcript, recording, live) = update("lock-first").await;
    let (again, _, _) = update("lock-second").await;
    assert_eq!(transcript, again, "to the nanosecond");
    let operations = live.nv().counts().total() - recording.start.nv().counts().total();
    let image = std::fs::metadata(format!("{IMAGES}/lock-v2.bin")).unwrap().len();
    assert!(operations > 2 * image / 4, "an update writes the image into two slots, {operations} operations");
    let (replayed, output) = recording.replay();
    assert_eq!(replayed.nv().counts(), live.nv().counts());
    assert_eq!(replayed.digest(), live.digest());
    assert!(output.ends_with(b"smart-lock 2.0.0 ready\r\n"));
}

#[tokio::test]
async fn the_real_firmware_is_reset_by_its_button_and_silent_without_power() {
    let rig = lock("lock-button").await;
    rig.power(true).await;
    assert!(matches!(rig.expect(0, "ready$", Duration::from_secs(20)).await, Expectation::Matched(_)));
    let mark = rig.console.mark();
    let mut button = rig.bench.button(17).unwrap();
    assert_eq!(witness(button.set(true).await.unwrap()), "contact closed, P0.17 low");
    rig.clock.sleep_until(rig.clock.now().after(Duration::from_secs(11))).await;
    assert!(witness(button.set(false).await.unwrap()).starts_with("contact open"), "its level is up to the firmware's pull-up");
    assert!(matches!(rig.expect(mark, "^factory reset done$", Duration::from_secs(5)).await, Expectation::Matched(_)));
    assert_eq!(witness(rig.power(false).await), "rail 0 mV 5 ms after the command");
    let mark = rig.console.mark();
    rig.console.send("status\n").await.unwrap();
    let silence = rig.expect(mark, ".", Duration::from_mins(1)).await;
    assert_eq!(silence, Expectation::TimedOut { seen: Vec::new(), until: mark });
}
