//! Devices per second of the fleet simulation: ten million through an outage of one hour, against a service that admits 0.5 % per second.
//!
//! `fixed 67s` is the worst of the usual laws: its fleet comes back together, is refused, and comes again about ninety times.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hilbench::{
    fleet::{Fleet, Law, Random, Share, estimate, simulate},
    units::Span,
};

const DEVICES: u64 = 10_000_000;

fn fleet(c: &mut Criterion) {
    let fleet = Fleet {
        devices: DEVICES,
        outage: Span::from_secs(3600),
        capacity: Share::from_fraction(0.005),
        noise: Span::from_millis(50),
        spread: Span::default(),
        seed: 1,
        threads: 0,
    };
    let mut group = c.benchmark_group("fleet");
    group.throughput(Throughput::Elements(DEVICES)).sample_size(10);
    for text in ["exponential base 1s factor 2 cap 128s jitter full", "fixed 67s"] {
        let law: Law = text.parse().expect("law of the bench");
        group.bench_function(text, |b| b.iter(|| black_box(simulate(&law, &fleet).expect("fleet of the bench"))));
    }
    group.finish();

    let law: Law = "exponential base 1s factor 2 cap 128s jitter equal".parse().expect("law of the bench");
    let mut random = Random::new(1);
    c.bench_function("fleet/estimate from 24 intervals", |b| {
        b.iter_batched(
            || law.delays(24, &mut random),
            |intervals| black_box(estimate(&intervals, Span::from_millis(50)).expect("intervals of the bench")),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, fleet);
criterion_main!(benches);
