//! What the engine adds to a step: a run of steps that do nothing, journal on disk included, divided by their number.

#![expect(clippy::print_stdout, reason = "figures of a bench are for whoever runs it")]

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use hilbench::{
    channel::clock::{Clock, WallClock},
    event::{RunHeader, RunId, SCHEMA, Verdict},
    journal::{Journal, Options},
    plan::model::{Case, Plan},
    rig::model::{Device, Rig},
    run::{
        cuts::CutOptions,
        dispatch::{Setup, run},
        registry::Registry,
    },
    step::{Comparison, FailAs, Step, StepKind, Template},
};
use tokio::{runtime::Runtime, sync::mpsc};

/// A comparison that holds: the smallest step that judges.
fn check() -> Step {
    let kind = StepKind::Check {
        value: Template("${declared.name}".to_owned()),
        must: Comparison::Equals(Template("lock".to_owned())),
        fail_as: FailAs { code: "NAME".to_owned(), text: String::new() },
    };
    Step { kind, line: 1 }
}

fn setup(store: &Path, number: u64, steps: usize) -> Setup {
    let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
    let run = RunId::from(format!("20260101-{:06}-{:04x}", number / 65_536, number % 65_536).as_str());
    let journal_clock = Arc::clone(&clock);
    let journal = Journal::create(Options::new(store, run.clone(), Arc::new(move || journal_clock.now()))).expect("journal");
    let timeout = Duration::from_hours(1);
    let case = Case {
        id: "case".to_owned(),
        title: "case".to_owned(),
        assesses: Vec::new(),
        timeout,
        steps: vec![check(); steps],
        line: 1,
    };
    let header = RunHeader {
        schema: SCHEMA.to_owned(),
        tool: "bench".to_owned(),
        run,
        command: Vec::new(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        clock: clock.name().to_owned(),
        seed: 1,
        plan: "plan".to_owned(),
        rig: "rig".to_owned(),
        device: "lock".to_owned(),
        files: Vec::new(),
        cases: Vec::new(),
    };
    Setup {
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
            device: Device {
                name: "lock".to_owned(),
                declared: [("name".to_owned(), "lock".to_owned())].into(),
                ..Device::default()
            },
            safe_state_timeout: Duration::from_secs(5),
            ..Rig::default()
        },
        skipped: Vec::new(),
        registry: Registry::new(),
        clock,
        journal,
        header,
        leases: store.join("leases"),
        wait: None,
        guard: None,
        cuts: CutOptions::default(),
        desk: hilbench::run::desk::Desk::default(),
        fail_fast: false,
        hold: None,
    }
}

fn steps(c: &mut Criterion) {
    const STEPS: usize = 2_000;
    let store = tempfile::tempdir().expect("store");
    let runtime = Runtime::new().expect("runtime");
    let mut number = 0;
    let mut timed = |steps: usize| {
        number += 1;
        let setup = setup(store.path(), number, steps);
        let (_requests, served) = mpsc::channel(1);
        let start = Instant::now();
        let end = runtime.block_on(run(setup, served));
        assert_eq!(end.verdict, Verdict::Pass);
        start.elapsed()
    };
    let mut group = c.benchmark_group("step");
    group.sample_size(20);
    group.bench_function("empty", |b| {
        b.iter_custom(|n| {
            // A run has costs of its own: they are those of a run with one step.
            (0..n).map(|_| timed(STEPS + 1).saturating_sub(timed(1)) / STEPS as u32).sum()
        });
    });
    group.finish();
}

/// `hilbench check` from the start of the process to its end.
fn check_of_the_shipped_plan(c: &mut Criterion) {
    let program = env!("CARGO_BIN_EXE_hilbench");
    let root = env!("CARGO_MANIFEST_DIR");
    let once = || {
        let mut command = Command::new(program);
        let output = command.current_dir(root).args(["check", "testplans/secure-update.yaml"]).output().expect("it starts");
        assert!(output.status.success());
    };
    let mut group = c.benchmark_group("process");
    group.sample_size(50);
    group.bench_function("hilbench check testplans/secure-update.yaml", |b| b.iter(once));
    group.bench_function("true (what a process costs here)", |b| {
        b.iter(|| assert!(Command::new("true").output().expect("it starts").status.success()));
    });
    group.finish();
    println!("the first of the two includes the second");
}

criterion_group!(benches, steps, check_of_the_shipped_plan);
criterion_main!(benches);
