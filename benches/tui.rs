//! What the terminal UI costs: a frame with a million events and 32 consoles, a key while 10 MB/s arrive, doing nothing, and a run that is watched.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "figures of a bench are for whoever runs it")]

#[path = "../tests/process/bench.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod bench;
#[path = "../tests/tui/screen.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod screen;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hilbench::{
    event::{Act, Event, Fact, Nanos, Request, RunHeader, RunId, Verdict},
    journal::{Journal, Options, RunDir},
    tui::{
        app::{App, Opening},
        host::{CaseEntry, Choice, Finding, Host, Started, Survey},
        keys::Keymap,
        paper::Abilities,
    },
};
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend, layout::Rect};

const EVENTS: u64 = 1_000_000;
const CONSOLES: u64 = 32;
const LINE: &[u8] = b"[12345.678] sensor 17: value 4711, state ok, next in 250 ms\r\n";

/// A program without a bench.
struct Nobody(PathBuf);

impl Host for Nobody {
    fn survey(&self) -> Survey {
        Survey::default()
    }
    fn cases(&self, _: &Path, _: &Path) -> Result<Vec<CaseEntry>, String> {
        Ok(Vec::new())
    }
    fn doctor(&self, _: &Path) -> Result<Vec<Finding>, String> {
        Ok(Vec::new())
    }
    fn start(&self, _: &Choice) -> Result<Started, String> {
        Err(String::new())
    }
    fn send(&self, _: &Path, _: &Request) -> Result<(), String> {
        Ok(())
    }
    fn runs(&self) -> PathBuf {
        self.0.clone()
    }
    fn user(&self) -> String {
        String::new()
    }
}

fn header(id: &RunId) -> Fact {
    let header = RunHeader {
        schema: "events/1".into(),
        tool: "hilbench".into(),
        run: id.clone(),
        command: vec!["hilbench".into(), "run".into()],
        started: "2026-11-26T04:00:00Z".into(),
        clock: "wall".into(),
        seed: 1,
        plan: "bench".into(),
        rig: "rig".into(),
        device: "device".into(),
        files: vec![],
        cases: (0..200).map(|n| (format!("case-{n}").as_str().into(), format!("the case number {n}"))).collect(),
    };
    Fact::RunStarted(Box::new(header))
}

/// What a busy run writes: mostly consoles, now and then a step, an act, a measurement.
fn fact(n: u64) -> Fact {
    let case = format!("case-{}", n * 200 / EVENTS);
    let step = format!("{case}/{}", n / 40 % 100 + 1);
    match n % 40 {
        0 => Fact::StepStarted {
            step: step.as_str().into(),
            text: "wait for the answer".into(),
            deadline: Nanos(n * 1_000_000 + 9),
        },
        39 => Fact::StepFinished { step: step.as_str().into(), verdict: Verdict::Pass, reason: None, evidence: vec![] },
        20 => Fact::Acting { channel: "supply".into(), act: Act::Power(n % 80 == 20), step: None },
        30 => Fact::Measured {
            step: step.as_str().into(),
            name: "time".into(),
            value: n as f64,
            unit: "s".into(),
            limit: None,
            within: true,
        },
        _ => {
            let console = n % CONSOLES;
            let len = LINE.len() as u64;
            Fact::Received { channel: format!("console-{console}").as_str().into(), offset: n / CONSOLES * len, len }
        }
    }
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * share) as usize]
}

fn main() {
    frames();
    keys_under_load();
    idle();
    watched();
}

/// Frames of every screen.
fn frames() {
    let store = tempfile::tempdir().expect("store");
    let clock = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&clock);
    let id = RunId::from("20261126-040000-be4c");
    let options = Options::new(store.path(), id.clone(), Arc::new(move || Nanos(now.fetch_add(1_000_000, Ordering::Relaxed))));
    let journal = Journal::create(options).expect("journal");
    let block = LINE.repeat(32_000);
    for console in 0..CONSOLES {
        journal.evidence_append(&format!("console-{console}.rx"), &block).expect("evidence");
    }
    journal.append(header(&id)).expect("append");
    for n in 0..EVENTS - 1000 {
        journal.append(fact(n)).expect("append");
    }
    let run = RunDir::open(journal.directory()).expect("run");
    for (width, height) in [(80_u16, 24_u16), (160, 48)] {
        let start = Instant::now();
        let host = Arc::new(Nobody(store.path().to_owned()));
        let mut app =
            App::new(host, Keymap::default(), Abilities { unicode: true, color: true }, Opening::Watch(run.clone()), start);
        let mut turns = Vec::new();
        while app.tick(Instant::now()) && app.is_behind() || turns.is_empty() {
            turns.push(());
        }
        println!(
            "{width}x{height}: {EVENTS} events read and folded in {:.2} s, {} turns",
            start.elapsed().as_secs_f64(),
            turns.len()
        );
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, width, height)) };
        let mut frames = Terminal::with_options(CrosstermBackend::new(std::io::sink()), options).expect("frames");
        for key in ["1", "2", "3", "4", "5", "6", "7"] {
            app.key(key.parse().expect("key"));
            let mut times = Vec::new();
            for _ in 0..300 {
                // A few events between two frames, as in a run.
                let start = Instant::now();
                app.tick(start);
                frames.draw(|frame| app.draw(frame.buffer_mut())).expect("drawn");
                times.push(start.elapsed());
                if times.len() % 3 == 0 && width == 80 {
                    let n = clock.load(Ordering::Relaxed) / 1_000_000;
                    journal.append(fact(n.min(EVENTS))).expect("append");
                }
            }
            let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
            println!(
                "{width}x{height} screen {key}: frame p50 {:.2} ms, p99 {:.2} ms",
                p50.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3
            );
        }
    }
    replayed(&run, store.path());
}

/// Going to moments far apart in a recorded run.
fn replayed(run: &RunDir, store: &Path) {
    let start = Instant::now();
    let mut tape = hilbench::tui::tape::Tape::open(run).expect("tape");
    while !tape.is_caught_up() {
        tape.advance(Duration::from_millis(8));
    }
    let _ = (start, store);
    let mut times = Vec::new();
    for n in 0..200_u64 {
        let start = Instant::now();
        tape.seek(n * 7_919_999 % tape.end());
        times.push(start.elapsed());
    }
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    println!("seek to anywhere: p50 {:.1} ms, p99 {:.1} ms", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
    let _: Vec<Event> = tape.events(0, 1);
}

/// A journal that another process can watch.
fn live(bench: &bench::Bench) -> Journal {
    let start = Instant::now();
    let id = RunId::from("20261126-040000-11fe");
    let clock = Arc::new(move || Nanos(start.elapsed().as_nanos() as u64));
    let journal = Journal::create(Options::new(bench.store().join("runs"), id.clone(), clock)).unwrap();
    journal.append(header(&id)).unwrap();
    journal.append(Fact::ChannelOpened { channel: "console-0".into(), identity: "serial".into() }).unwrap();
    journal
}

/// From a key to the screen, with the real program on a real terminal, while 10 MB/s of console data arrive.
fn keys_under_load() {
    let bench = bench::Bench::new();
    let journal = live(&bench);
    let over = Arc::new(AtomicU64::new(0));
    let (writing, ended) = (journal.clone(), Arc::clone(&over));
    let writer = std::thread::spawn(move || {
        let start = Instant::now();
        let (mut written, mut console) = (0_u64, 0);
        let piece = LINE.repeat(4096 / LINE.len());
        while ended.load(Ordering::Relaxed) == 0 {
            if written as f64 > start.elapsed().as_secs_f64() * 10e6 {
                std::thread::park_timeout(Duration::from_millis(1));
                continue;
            }
            console = (console + 1) % CONSOLES;
            let at = Nanos(start.elapsed().as_nanos() as u64);
            writing.received(at, &format!("console-{console}").as_str().into(), &piece).unwrap();
            written += piece.len() as u64;
        }
        written as f64 / start.elapsed().as_secs_f64()
    });
    let mut screen = screen::Screen::start(&bench, &["tui", "--attach"], 160, 48);
    screen.until("RUNNING");
    let mut times = Vec::new();
    for _ in 0..100 {
        for (key, wanted) in [("4", "last event"), ("1", "Cases and steps")] {
            let start = Instant::now();
            screen.keys(key);
            screen.until(wanted);
            times.push(start.elapsed());
            screen.settle_for(Duration::from_millis(20));
        }
    }
    over.store(1, Ordering::Relaxed);
    let rate = writer.join().unwrap();
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    println!(
        "from a key to the screen at {:.1} MB/s: p50 {:.0} ms, p99 {:.0} ms",
        rate / 1e6,
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3
    );
    println!("memory of the terminal UI after that: {} MB at most", screen.memory() / 1024);
    screen.keys("qd");
    screen.end();
}

/// Share of a core while a run goes on and says nothing.
fn idle() {
    let bench = bench::Bench::new();
    let _journal = live(&bench);
    let mut screen = screen::Screen::start(&bench, &["tui", "--attach"], 80, 24);
    screen.until("RUNNING");
    screen.settle_for(Duration::from_secs(2));
    let before = screen.cpu();
    let start = Instant::now();
    screen.settle_for(Duration::from_secs(20));
    let share = (screen.cpu() - before) / start.elapsed().as_secs_f64();
    println!("idle: {:.2} % of a core", share * 100.0);
    screen.keys("qd");
    screen.end();
}

/// The same run with and without somebody who watches it, in turns.
fn watched() {
    let case = [
        "run",
        "testplans/secure-update.yaml",
        "--rig",
        "rigs/virtual-lock.yaml",
        "--case",
        "power-cut-during-update",
        "--threads",
        "1",
    ];
    let took = |bench: &bench::Bench| {
        let run = RunDir::open(bench.runs().pop().unwrap()).unwrap();
        let events = run.read().unwrap().events;
        let wall = events.iter().find_map(|event| match event.fact {
            Fact::RunFinished { wall_ms, .. } => Some(wall_ms),
            _ => None,
        });
        Duration::from_millis(wall.unwrap())
    };
    let (mut plain, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let bench = bench::Bench::new();
        bench.hilbench(case);
        plain.push(took(&bench));
        let bench = bench::Bench::new();
        let arguments: Vec<&str> = case.into_iter().chain(["--tui"]).collect();
        let mut screen = screen::Screen::start(&bench, &arguments, 80, 24);
        screen.until("PASS in");
        screen.keys("q");
        screen.end();
        shown.push(took(&bench));
    }
    let seconds = |times: &mut [Duration], share| percentile(times, share).as_secs_f64();
    for (what, share) in [("median", 0.5), ("fastest", 0.0)] {
        let (plain, shown) = (seconds(&mut plain, share), seconds(&mut shown, share));
        println!("a run watched and not watched, {what} of 9: {shown:.3} s and {plain:.3} s, ratio {:.3}", shown / plain);
    }
}
