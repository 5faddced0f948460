//! However a run ends, the supply is off and the journal can be read.

use std::{fs, process::Stdio};

use nix::sys::signal::Signal;

use super::bench::{Bench, Running, eventually, stored};

const RIG: &str = "virtual-lock";

/// A run that is stopped by `signal` after its first case, and what it must have left.
fn stopped_by(signal: Signal, name: &str) {
    let bench = Bench::new();
    let mut run = bench.start_shipped();
    run.until("case-finished");
    run.until("sent");
    assert!(bench.supply_is_up(RIG), "the signal is to meet a powered device");
    run.signal(signal);
    let ended = run.end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!bench.supply_is_up(RIG));
    let summary = bench.summary();
    assert_eq!(summary["verdict"], "inconclusive", "{summary}");
    let shown = bench.shown("text");
    assert!(shown.contains("CANCELLED") && shown.contains(name), "{shown}");
    let verified = bench.hilbench(["show", "latest", "--verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn sigint_stops_after_the_step() {
    stopped_by(Signal::SIGINT, "SIGINT");
}

#[test]
fn sigterm_stops_at_once() {
    stopped_by(Signal::SIGTERM, "SIGTERM");
}

#[test]
fn sighup_stops_at_once() {
    stopped_by(Signal::SIGHUP, "SIGHUP");
}

#[test]
fn after_sigkill_the_guard_switches_off_and_the_journal_can_be_read() {
    let bench = Bench::new();
    let mut run = bench.start_shipped();
    run.until("case-finished");
    run.until("sent");
    assert!(bench.supply_is_up(RIG));
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, None);
    eventually("the guard's work", || !bench.supply_is_up(RIG));
    let directory = bench.runs().pop().unwrap();
    eventually("the guard's record", || {
        fs::read_to_string(directory.join("guard.jsonl")).is_ok_and(|text| text.contains("safe-state-finished"))
    });
    let shown = bench.shown("text");
    assert!(
        shown.contains("its controller was gone") && shown.contains("the controller disappeared; touched: supply"),
        "{shown}"
    );
    assert!(shown.contains("genuine-update"), "{shown}");
    let list = bench.hilbench(["runs"]);
    assert!(list.stdout.contains("interrupted"), "{list:?}");
    let recovered = bench.hilbench(["recover", "latest"]);
    assert_eq!(recovered.code, Some(0), "{recovered:?}");
    assert_eq!(bench.hilbench(["show", "latest", "--verify"]).code, Some(0));
    assert_eq!(bench.hilbench(["recover", "latest"]).code, Some(2), "it is closed now");
    // What one run left behind does not hinder the next.
    let arguments = ["run", "testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml", "--case", "header-magic-wrong"];
    assert_eq!(bench.hilbench(arguments).code, Some(0));
}

#[test]
fn a_run_right_after_a_killed_one_waits_for_its_guard() {
    let bench = Bench::new();
    for _ in 0..5 {
        let mut run = bench.start_shipped();
        run.until("sent");
        run.signal(Signal::SIGKILL);
        let arguments = ["testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml", "--case", "header-magic-wrong"];
        let next = bench.start(arguments).end();
        assert_eq!(next.code, Some(0), "{next:?}");
        assert_eq!(run.end().code, None);
        assert!(!bench.supply_is_up(RIG));
    }
}

#[test]
fn a_full_disk_under_the_journal_is_a_bench_error_and_the_supply_is_off() {
    let bench = Bench::new();
    // The limit on the size of files stands for the full disk: the write fails in the same place with another errno. 64 KiB is more than any
    // input that is copied, and less than the journal.
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"";
    let mut command = bench.command("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_hilbench"), "run", "--message-format", "json"]);
    command.args(["testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml"]);
    let ended = Running::of(command).end();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("journal") || ended.stderr.contains("events.jsonl"), "{}", ended.stderr);
    assert!(!bench.supply_is_up(RIG));
    let summary = bench.summary();
    assert_ne!(summary["verdict"], "pass", "{summary}");
}

#[test]
fn a_second_run_is_told_who_holds_the_instrument() {
    let bench = Bench::new();
    let mut first = bench.start_shipped();
    first.until("case-started");
    let second = bench.hilbench(["run", "testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml"]);
    assert_eq!(second.code, Some(4), "{second:?}");
    let said = format!("{}{}", second.stdout, second.stderr);
    assert!(said.contains(&format!("in use by process {}", first.pid())) && said.contains("for plan secure-update"), "{said}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().code, Some(3));
}

#[test]
fn a_reader_that_goes_away_disturbs_nothing() {
    let bench = Bench::new();
    let mut command = bench.command(env!("CARGO_BIN_EXE_hilbench"));
    command.args(["run", "testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml", "--case", "genuine-update"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!bench.supply_is_up(RIG));
}

#[test]
fn a_journal_cut_or_changed_anywhere_can_be_shown_and_is_told() {
    let bench = Bench::new();
    let arguments = ["run", "testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml", "--case", "header-magic-wrong"];
    assert_eq!(bench.hilbench(arguments).code, Some(0));
    assert_eq!(bench.hilbench(["show", "latest", "--verify"]).code, Some(0));
    let directory = bench.runs().pop().unwrap();
    let events = stored(&directory, "events.jsonl");
    fs::remove_file(directory.join("events.jsonl.gz")).unwrap();
    let mut damaged: Vec<Vec<u8>> = [0, 1, events.len() / 3, events.len() - 2].map(|part| events[..part].to_vec()).into();
    let mut wild = events.clone();
    wild[events.len() / 2..events.len() / 2 + 40].fill(0x1B);
    damaged.push(wild);
    for events in damaged {
        fs::write(directory.join("events.jsonl"), &events).unwrap();
        let shown = bench.hilbench(["show", "latest"]);
        assert_eq!(shown.code, Some(0), "{} bytes: {shown:?}", events.len());
        let told = if events.is_empty() { "a run without its beginning" } else { "events.jsonl line" };
        assert!(shown.stdout.contains(told), "{} bytes: {shown:?}", events.len());
        shown.is_clean();
        assert_eq!(bench.hilbench(["show", "latest", "--verify"]).code, Some(2));
    }
}
