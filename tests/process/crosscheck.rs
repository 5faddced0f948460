//! `hilbench crosscheck`: records that hold together, records that do not, and records that somebody has changed.

use serde_json::Value;

use super::bench::{Bench, Ended, shipped};

const PLAN: &str = "schema: testplan/1
name: NAME
title: A lock that is switched off and on
requires: [console, supply, probe]
timeout: 1h
before-each:
  - power: { channel: supply, state: up }
  - do: { procedure: provision }
cases:
  - id: off-and-on
    title: It comes back
    assesses: [5.6-4-1]
    timeout: 5m
    steps:
STEPS      - power: { channel: supply, state: down }
      - wait: { time: 1200ms }
      - send: { channel: console, line: version }
      - wait: { time: 100ms }
      - power: { channel: supply, state: up }
      - do: { procedure: wait-ready, reason: NOT-UP }
      - check: { that: running, equals: 1.0.0, reason: NOT-UP }
finally:
  - power: { channel: supply, state: down }
";

fn run(bench: &Bench, name: &str, steps: &str, rig: &str) -> Ended {
    let plan = bench.file(&format!("{name}.yaml"), PLAN.replace("NAME", name).replace("STEPS", steps));
    let ended = bench.hilbench(["run", plan.to_str().unwrap(), "--rig", shipped(rig).to_str().unwrap()]);
    ended.is_clean();
    ended
}

fn crosscheck(bench: &Bench, more: &[&str]) -> Ended {
    let ended = bench.hilbench(["crosscheck"].iter().chain(more));
    ended.is_clean();
    ended
}

#[test]
fn records_of_a_good_bench_hold_together_and_a_changed_one_is_none() {
    let bench = Bench::new();
    crosscheck(&bench, &[]).refused(&["no run in", "has ended"]);
    assert_eq!(run(&bench, "first", "", "rigs/virtual-lock.yaml").code, Some(0));
    assert_eq!(run(&bench, "second", "", "rigs/virtual-lock.yaml").code, Some(0));
    let ended = crosscheck(&bench, &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("the records hold together") && ended.stdout.contains("  first\n"), "{ended:?}");
    assert!(
        ended.stdout.contains("ok   SPEAKS-WITHOUT-POWER") && ended.stdout.contains("-    CONNECTS-WITHOUT-NETWORK"),
        "{ended:?}"
    );
    crosscheck(&bench, &["20010101"]).refused(&["no run `20010101`"]);

    let runs = bench.store().join("runs");
    let newest = std::fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let file = std::fs::read_dir(newest.join("evidence")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    crosscheck(&bench, &[]).refused(&["is not as it was written", "no evidence"]);
}

#[test]
fn a_device_that_speaks_while_its_supply_is_down_is_noticed() {
    let bench = Bench::new();
    run(&bench, "slow", "", "rigs/bench-faults/slow-supply.yaml");
    let ended = crosscheck(&bench, &["latest", "--message-format", "json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (told["holds"].as_bool(), told["contradictions"][0]["rule"].as_str()),
        (Some(false), Some("SPEAKS-WITHOUT-POWER"))
    );
}

#[test]
fn a_port_that_one_run_calls_closed_and_another_writes_through_is_noticed() {
    let bench = Bench::new();
    assert_eq!(run(&bench, "closed", "", "rigs/virtual-lock.yaml").code, Some(0));
    let write = "      - flash: { channel: probe, images: [lock-v1] }\n";
    // An open port is needed to write through it.
    let ended = run(&bench, "written", write, "rigs/variants/no-lock.yaml");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let runs = bench.hilbench(["runs"]);
    let ids: Vec<_> = runs.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let ended = crosscheck(&bench, &ids);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.contains("CLOSED-PORT-USED") && ended.stdout.contains("one of the two is wrong"), "{ended:?}");
}
