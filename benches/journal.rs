//! How fast the journal writes and reads. Figures and the command are in `docs/journal.md`.

#![expect(clippy::print_stdout, reason = "figures of a bench are for whoever runs it")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hilbench::{
    event::{Event, Fact, Nanos, RunId, Verdict},
    journal::{Journal, Options, RunDir},
    view::RunView,
};
use tempfile::TempDir;

/// What a busy run writes: traffic above all, now and then a step.
fn fact(n: u64) -> Fact {
    match n % 8 {
        6 => Fact::StepStarted { step: "downgrade-refused/3".into(), text: "install lock-v1".into(), deadline: Nanos(n) },
        7 => Fact::StepFinished { step: "downgrade-refused/3".into(), verdict: Verdict::Pass, reason: None, evidence: vec![] },
        n if n % 2 == 0 => Fact::Sent { channel: "console".into(), offset: n * 64, len: 64 },
        n => Fact::Received { channel: "console".into(), offset: n * 10, len: 10 },
    }
}

fn journal(store: &TempDir, run: u64) -> Journal {
    let clock = AtomicU64::new(0);
    let id = RunId(format!("20261123-{:06}-{:04x}", run / 65_536, run % 65_536));
    Journal::create(Options::new(store.path(), id, Arc::new(move || Nanos(clock.fetch_add(1, Ordering::Relaxed)))))
        .expect("journal")
}

fn append(c: &mut Criterion) {
    let store = tempfile::tempdir().expect("store");
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    let (plain, observed) = (journal(&store, 0), journal(&store, 1));
    let mut n = 0;
    let mut next = || {
        n += 1;
        fact(n)
    };
    group
        .bench_function("file", |b| b.iter_batched(&mut next, |fact| plain.append(fact).expect("append"), BatchSize::SmallInput));
    let cursor = observed.observe();
    group.bench_function("file, one observer waiting", |b| {
        b.iter_batched(&mut next, |fact| observed.append(fact).expect("append"), BatchSize::SmallInput);
    });
    drop(cursor);
    group.finish();
}

fn read(c: &mut Criterion) {
    const EVENTS: u64 = 1_000_000;
    let store = tempfile::tempdir().expect("store");
    let journal = journal(&store, 0);
    let start = Instant::now();
    for n in 0..EVENTS {
        journal.append(fact(n)).expect("append");
    }
    println!("wrote {EVENTS} events: {:.0} per second", EVENTS as f64 / start.elapsed().as_secs_f64());
    let run = RunDir::open(journal.directory()).expect("run");
    let mut group = c.benchmark_group("1 M events");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS));
    let all = |run: &RunDir| {
        let log = run.read().expect("read");
        assert_eq!((log.events.len() as u64, log.damage.len()), (EVENTS, 0));
        log.events
    };
    group.bench_function("read all", |b| b.iter_with_large_drop(|| all(&run)));
    group.bench_function("stream one by one", |b| {
        b.iter(|| run.events().expect("events").fold(0_u64, |sum, event| sum ^ black_box(event).seq));
    });
    let events: Vec<Event> = all(&run);
    group.bench_function("fold into a view", |b| b.iter(|| RunView::of(&events)));
    drop(events);
    let start = Instant::now();
    let closed = journal.close().expect("close");
    println!("closed (digest, gzip, synchronise) in {:.2} s", start.elapsed().as_secs_f64());
    let run = RunDir::open(closed.directory).expect("run");
    group.bench_function("read all, compressed", |b| b.iter_with_large_drop(|| all(&run)));
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
