//! How fast power cuts are judged: `cargo bench --bench cuts`. Elements are cuts.
//!
//! Everything runs on one thread and is measured in processor time of that thread, so that a busy machine changes little.

#![expect(clippy::print_stdout, reason = "figures of a bench are for whoever runs it")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

#[path = "../tests/cuts/lock.rs"]
mod lock;

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use hilbench::{
    channel::link::{CutPlan, CutSummary},
    virtual_dut::{Machine, bench::Recording, cuts::CutSearch},
};
use lock::{Lock, plan};

/// Processor time of this thread so far, where the system tells it.
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let (wall, before) = (Instant::now(), processor_time());
    let done = work();
    let took = before.and_then(|before| Some(processor_time()?.saturating_sub(before)));
    (took.unwrap_or_else(|| wall.elapsed()), done)
}

struct Update {
    lock: Lock,
    recording: Recording<Machine>,
    plan: CutPlan,
}

impl Update {
    fn new() -> Self {
        let lock = Lock::good();
        let recording = lock.update("lock-v2");
        Self { lock, recording, plan: CutPlan { threads: 1, ..plan("lock-v2") } }
    }

    fn prepare(&self, plan: &CutPlan) -> CutSearch {
        CutSearch::new(&self.recording, self.lock.entry, plan).unwrap()
    }
}

/// All must be judged, and good: otherwise something else than the speed is the news.
fn judged(search: &CutSearch) -> CutSummary {
    let summary = search.run(&mut |_| (), &|| true).unwrap();
    assert!(summary.bad == 0 && summary.judged == summary.of, "{summary:?}");
    summary
}

fn per_minute(what: &str, cuts: u64, took: Duration) {
    let rate = cuts as f64 * 60.0 / took.as_secs_f64();
    println!("{what}: {cuts} cuts in {:.2} s of one processor, {rate:.0} cuts/min", took.as_secs_f64());
}

fn measure(c: &mut Criterion, name: &str, cuts: u64, mut work: impl FnMut()) {
    let mut group = c.benchmark_group("cuts");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(1));
    group.measurement_time(Duration::from_secs(1)).throughput(Throughput::Elements(cuts));
    group.bench_function(name, |b| b.iter_custom(|n| (0..n).map(|_| timed(&mut work).0).sum()));
    group.finish();
}

fn preparation(c: &mut Criterion) {
    let update = Update::new();
    measure(c, "preparation", 1, || {
        black_box(update.prepare(&update.plan));
    });
}

/// Every flash operation of a genuine update, preparation included.
fn exhaustive(c: &mut Criterion) {
    let update = Update::new();
    let (took, summary) = timed(|| judged(&update.prepare(&update.plan)));
    assert!(summary.exhaustive);
    per_minute("exhaustive, preparation included", summary.of, took);
    measure(c, "exhaustive", summary.of, || {
        black_box(judged(&update.prepare(&update.plan)));
    });
}

/// Signature checks executed, nothing remembered: what each cut costs without the memories.
fn executed(c: &mut Criterion) {
    let update = Update::new();
    let search = update.prepare(&CutPlan { memoise: false, ..update.plan.clone() }).remember(false).every(4000);
    let (took, summary) = timed(|| judged(&search));
    per_minute("executed, nothing remembered, every 4000th operation", summary.of, took);
    measure(c, "executed", summary.of, || {
        black_box(judged(&search));
    });
}

/// Signature checks executed, what became of a device remembered: `hilbench run --execute-checks`.
fn checks_executed(c: &mut Criterion) {
    let update = Update::new();
    let search = || update.prepare(&CutPlan { memoise: false, ..update.plan.clone() }).every(1000);
    let (took, summary) = timed(|| judged(&search()));
    per_minute("checks executed, every 1000th operation, preparation included", summary.of, took);
    measure(c, "checks executed", summary.of, || {
        black_box(judged(&search()));
    });
}

criterion_group!(benches, preparation, exhaustive, executed, checks_executed);
criterion_main!(benches);
