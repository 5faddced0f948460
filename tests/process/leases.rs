//! Two runs on one instrument: the second is refused, or waits its turn.

use nix::sys::signal::Signal;

use super::bench::{Bench, Running};

const ONE_CASE: [&str; 5] = ["testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml", "--case", "header-magic-wrong"];

fn waiting(bench: &Bench, time: &str) -> Running {
    let mut run = bench.start(ONE_CASE.iter().chain(&["--wait", time]));
    let told = run.until("lease-awaited");
    let what = told["fact"]["lease-awaited"]["what"].as_str().unwrap();
    assert!(what.contains("in use by process") && what.contains("for plan secure-update"), "{what}");
    run
}

#[test]
fn a_run_that_waits_gets_the_bench_when_it_is_free_and_says_how_long_it_waited() {
    let bench = Bench::new();
    let mut first = bench.start_shipped();
    first.until("case-started");
    let mut second = waiting(&bench, "2min");
    let listed = bench.hilbench(["leases"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for (word, run) in [("in use", &first), ("waits", &second)] {
        assert!(listed.stdout.contains(word) && listed.stdout.contains(&format!("process {}", run.pid())), "{listed:?}");
    }
    listed.is_clean();
    // Who does not wait is told, and does not overtake.
    assert_eq!(bench.start(ONE_CASE).end().code, Some(4));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().code, Some(3));
    let taken = second.until("lease-taken");
    assert!(taken["fact"]["lease-taken"]["waited-ms"].as_u64().unwrap_or_default() > 0, "{taken}");
    let ended = second.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!bench.supply_is_up("virtual-lock"));
    let nobody = bench.hilbench(["leases"]);
    assert!(nobody.stderr.contains("no instrument is in use"), "{nobody:?}");
}

#[test]
fn waiting_has_an_end_and_can_be_interrupted_and_touches_nothing() {
    let bench = Bench::new();
    let mut first = bench.start_shipped();
    first.until("case-started");
    let bored = waiting(&bench, "300ms").end();
    assert_eq!(bored.code, Some(4), "{bored:?}");
    assert!(bored.stdout.contains("after 300ms of waiting"), "{bored:?}");
    let interrupted = waiting(&bench, "10min");
    interrupted.signal(Signal::SIGINT);
    let interrupted = interrupted.end();
    assert_eq!(interrupted.code, Some(3), "{interrupted:?}");
    for ended in [&bored, &interrupted] {
        assert!(!ended.stdout.contains("acting") && !ended.stdout.contains("channel-opened"), "{ended:?}");
    }
    // The one that holds the bench has not noticed.
    first.until("sent");
    assert!(bench.supply_is_up("virtual-lock"));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().code, Some(3));
}

#[test]
fn a_time_that_is_none_is_refused() {
    let bench = Bench::new();
    for wrong in ["10", "soon", "-1s"] {
        let ended = bench.hilbench(std::iter::once("run").chain(ONE_CASE).chain(["--wait", wrong]));
        assert_eq!(ended.code, Some(2), "{wrong}: {ended:?}");
    }
}
