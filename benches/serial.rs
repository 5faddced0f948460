//! The console over pseudo-terminals, behind the real serial driver and in front of a real journal: throughput against a plain `read` loop,
//! the time from a byte to the next step's act, and 32 consoles at once.
//!
//! `HILBENCH_BENCH_MB` (default 64) is the size of one round of the first, `HILBENCH_BENCH_STEPS` (2000) the number of answers of the second,
//! `HILBENCH_BENCH_SECONDS` (5) the length of the third.

#![expect(clippy::print_stdout, reason = "figures of a bench are for whoever runs it")]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hilbench::{
    channel::{
        clock::{Clock, WallClock},
        console::Console,
        link::{Driver as _, Opened, Parameters},
    },
    driver::serial::Serial,
    event::{RunHeader, RunId, SCHEMA, Verdict},
    journal::{Journal, Options},
    plan::model::{Case, Plan},
    rig::model::{ChannelSpec, Device, Rig},
    run::{
        cuts::CutOptions,
        dispatch::{Setup, run},
        record::Recorder,
        registry::Registry,
    },
    step::{SendData, Silence, Step, StepKind, Template, Within},
};
use tokio::{runtime::Runtime, sync::mpsc};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The device's end of a pseudo-terminal, the other end kept open, and its name.
fn terminal() -> (File, File, PathBuf) {
    let pty = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    let name = nix::unistd::ttyname(&pty.slave).expect("its name");
    let mut raw = nix::sys::termios::tcgetattr(&pty.slave).expect("its settings");
    nix::sys::termios::cfmakeraw(&mut raw);
    nix::sys::termios::tcsetattr(&pty.slave, nix::sys::termios::SetArg::TCSANOW, &raw).expect("raw");
    (File::from(pty.master), File::from(pty.slave), name)
}

fn parameters(path: &Path) -> Parameters {
    Parameters { values: [("path".to_owned(), path.display().to_string())].into(), base: PathBuf::from("/") }
}

fn journal(store: &Path, number: usize, clock: &Arc<dyn Clock>) -> Journal {
    let run = RunId::from(format!("20260101-{number:06}-0000").as_str());
    let clock = Arc::clone(clock);
    Journal::create(Options::new(store, run, Arc::new(move || clock.now()))).expect("journal")
}

async fn console(name: &str, path: &Path, clock: &Arc<dyn Clock>, journal: &Journal) -> Console {
    let Opened::Console(link) = Serial.open(&parameters(path)).await.expect("it opens") else { panic!("not a console") };
    Console::spawn(name.into(), link, Arc::clone(clock), Arc::new(Recorder::new(journal.clone())))
}

/// Lines of a log, as fast as they are taken.
fn flood(mut device: File, bytes: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let piece = b"[   12.345678] a line of a log as devices write them, 64 bytes..\n".repeat(63);
        let mut left = bytes;
        while left > 0 {
            let now = left.min(piece.len());
            device.write_all(&piece[..now]).expect("it takes bytes");
            left -= now;
        }
        // Not closed before all was read.
        thread::park_timeout(Duration::from_millis(200));
    })
}

fn throughput(runtime: &Runtime, store: &Path) {
    let bytes = setting("HILBENCH_BENCH_MB", 64) << 20;
    let (mut plain, mut ours) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let (device, mut reader, _) = terminal();
        let start = Instant::now();
        let flooding = flood(device, bytes);
        let (mut left, mut piece) = (bytes, vec![0; 64 * 1024]);
        while left > 0 {
            left -= reader.read(&mut piece).expect("bytes");
        }
        plain.push(bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
        flooding.join().expect("it ends");

        let (device, kept, path) = terminal();
        let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
        let journal = journal(store, round, &clock);
        let console = runtime.block_on(console("console", &path, &clock, &journal));
        let start = Instant::now();
        let flooding = flood(device, bytes);
        let all = console.counters().wait(Duration::from_mins(5), |counts| counts.captured == bytes as u64);
        ours.push(bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
        assert!(all, "all of it");
        runtime.block_on(console.close());
        flooding.join().expect("it ends");
        drop(kept);
    }
    let ratios: Vec<f64> = ours.iter().zip(&plain).map(|(ours, plain)| ours / plain).collect();
    println!("throughput, plain read loop      {} MB/s", spread(&plain, 1));
    println!("throughput, console with journal {} MB/s", spread(&ours, 1));
    println!("ratio                            {}", spread(&ratios, 2));
}

/// Median, and the range.
fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    format!("{:.digits$} ({low:.digits$} to {high:.digits$})", sorted[sorted.len() / 2])
}

/// `send`, `expect`, again and again, through the whole engine; the device takes the time from its answer to the next line.
fn reaction(runtime: &Runtime, store: &Path) {
    let answers = setting("HILBENCH_BENCH_STEPS", 2_000);
    let (mut device, kept, path) = terminal();
    let measuring = thread::spawn(move || {
        let (mut times, mut line) = (Vec::with_capacity(answers), [0; 64]);
        let mut answered: Option<Instant> = None;
        for _ in 0..answers {
            let got = device.read(&mut line).expect("a line");
            assert_eq!(&line[..got], b"ping\n");
            times.extend(answered.map(|at| at.elapsed().as_secs_f64() * 1e6));
            // Idle for a moment, as devices are.
            thread::park_timeout(Duration::from_micros(300));
            answered = Some(Instant::now());
            device.write_all(b"pong\n").expect("it takes bytes");
        }
        (times, device)
    });
    let channel = || "console".to_owned();
    let send = StepKind::Send { channel: channel(), data: SendData::Line(Template("ping".to_owned())) };
    let expect = StepKind::Expect {
        channel: channel(),
        pattern: Template("pong\\n".to_owned()),
        within: Within::Span(Duration::from_secs(10)),
        refused: None,
        silence: Silence::Inconclusive,
        proves: None,
        fail_as: None,
    };
    let steps = std::iter::repeat_n([send, expect].map(|kind| Step { kind, line: 1 }), answers).flatten().collect();
    let (_requests, served) = mpsc::channel(1);
    let end = runtime.block_on(run(setup(store, &path, steps), served));
    assert_eq!(end.verdict, Verdict::Pass);
    let (mut times, _device) = measuring.join().expect("it ends");
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("from a byte to the next step's act: p50 {:.0} us, p90 {:.0} us, p99 {:.0} us", at(0.5), at(0.9), at(0.99));
    drop(kept);
}

fn setup(store: &Path, path: &Path, steps: Vec<Step>) -> Setup {
    let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
    let journal = journal(store, 1000, &clock);
    let timeout = Duration::from_hours(1);
    let case = Case { id: "case".to_owned(), title: "case".to_owned(), assesses: Vec::new(), timeout, steps, line: 1 };
    let mut channels = BTreeMap::new();
    channels.insert(
        "console".to_owned(),
        ChannelSpec { driver: "serial".to_owned(), parameters: parameters(path), sees_flash: false },
    );
    Setup {
        header: RunHeader {
            schema: SCHEMA.to_owned(),
            tool: "bench".to_owned(),
            run: journal.run().clone(),
            command: Vec::new(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            clock: clock.name().to_owned(),
            seed: 1,
            plan: "plan".to_owned(),
            rig: "rig".to_owned(),
            device: "device".to_owned(),
            files: Vec::new(),
            cases: Vec::new(),
        },
        plan: Plan {
            name: "plan".to_owned(),
            title: "plan".to_owned(),
            requires: Vec::new(),
            images: Vec::new(),
            before_each: Vec::new(),
            cases: vec![case],
            finally: Vec::new(),
            timeout,
        },
        rig: Rig {
            name: "rig".to_owned(),
            file: PathBuf::new(),
            device: Device {
                name: "device".to_owned(),
                file: PathBuf::new(),
                declared: BTreeMap::new(),
                images: BTreeMap::new(),
                layout: BTreeMap::new(),
                procedures: BTreeMap::new(),
                interruption: None,
                ..Device::default()
            },
            channels,
            safe_state: Vec::new(),
            safe_state_timeout: Duration::from_secs(5),
            device_time: None,
            virtual_device: None,
            virtual_hub: None,
            sacrificial: false,
        },
        skipped: Vec::new(),
        registry: Registry::new().with(Arc::new(Serial)),
        clock,
        journal,
        leases: store.join("leases"),
        wait: None,
        guard: None,
        cuts: CutOptions::default(),
        desk: hilbench::run::desk::Desk::default(),
        fail_fast: false,
        hold: None,
    }
}

/// Processor time of this thread or of all, in seconds; the kernel counts it in hundredths.
fn processor(of: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{of}/stat")).expect("Linux");
    let words: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| words[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().to_owned()
}

fn many(runtime: &Runtime, store: &Path) {
    const CONSOLES: usize = 32;
    // 921,600 Bd with start and stop bit.
    const RATE: usize = 92_160;
    let seconds = setting("HILBENCH_BENCH_SECONDS", 5);
    let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
    let journal = journal(store, 2000, &clock);
    let before = memory();
    let (mut devices, mut consoles, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CONSOLES {
        let (device, end, path) = terminal();
        consoles.push(runtime.block_on(console(&format!("console-{number}"), &path, &clock, &journal)));
        devices.push(device);
        kept.push(end);
    }
    let (start, used) = (Instant::now(), processor("self"));
    let writing = thread::spawn(move || {
        let used = processor("thread-self");
        let piece = vec![b'.'; RATE / 100];
        for tick in 1..=seconds * 100 {
            for device in &mut devices {
                device.write_all(&piece).expect("it takes bytes");
            }
            let due = Duration::from_millis(10 * tick as u64);
            thread::park_timeout(due.saturating_sub(start.elapsed()));
        }
        (devices, processor("thread-self") - used)
    });
    let (devices, theirs) = writing.join().expect("it ends");
    let total = (RATE / 100 * seconds * 100) as u64;
    for console in &consoles {
        assert!(console.counters().wait(Duration::from_secs(30), |counts| counts.captured == total), "all of it");
    }
    let took = start.elapsed().as_secs_f64();
    let share = (processor("self") - used - theirs) / took * 100.0;
    println!(
        "{CONSOLES} consoles at {RATE} B/s each for {took:.1} s: every byte; {share:.0} % of one core (the devices' side another {:.0} %), memory {before} before, {} after",
        theirs / took * 100.0,
        memory()
    );
    runtime.block_on(async {
        for console in &consoles {
            console.close().await;
        }
    });
    drop((devices, kept));
}

fn main() {
    let store = tempfile::tempdir().expect("store");
    let runtime = Runtime::new().expect("runtime");
    throughput(&runtime, store.path());
    reaction(&runtime, store.path());
    many(&runtime, store.path());
}
