//! Speed of the byte matcher on a log that holds no match, fed as a console does.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hilbench::channel::matcher::{Matcher, Search};
use std::hint::black_box;

fn search(log: &[u8], piece: usize, matchers: &[&Matcher]) -> bool {
    let mut search = Search::new(0, matchers);
    let mut fed = 0;
    while fed < log.len() {
        fed = (fed + piece).min(log.len());
        let base = (search.needs() as usize).min(fed);
        if search.advance(base as u64, &log[base..fed]).is_some() {
            return true;
        }
    }
    search.finish().is_some()
}

fn matcher(c: &mut Criterion) {
    let log = b"[00012.345] lock: bolt extended, motor current 118 mA, battery 2987 mV\r\n".repeat(1 << 18);
    let compile = |pattern| Matcher::compile(pattern).expect("pattern of the bench");
    let version = compile(r"version (?<version>\S+) counter (?<counter>\d+)");
    let reset = compile("factory reset done");
    let hex = compile(r"[A-F]{3,}[0-9]+x");
    let cases: [(&str, Vec<&Matcher>); 4] = [
        ("literal", vec![&reset]),
        ("captures", vec![&version]),
        ("classes, no literal", vec![&hex]),
        ("three at once", vec![&reset, &version, &hex]),
    ];
    let mut group = c.benchmark_group("matcher");
    group.throughput(Throughput::Bytes(log.len() as u64)).sample_size(20);
    for (name, matchers) in &cases {
        for piece in [4096, 65536] {
            group.bench_function(format!("{name}/{piece}"), |b| b.iter(|| assert!(!search(black_box(&log), piece, matchers))));
        }
    }
    group.finish();
}

criterion_group!(benches, matcher);
criterion_main!(benches);
