//! `hilbench prove`: a matrix that holds, rows that do not, and files that are wrong.

use serde_json::Value;

use super::bench::{Bench, Ended, shipped};

const PLAN: &str = "schema: testplan/1
name: short
title: Two cases of the shipped plan
requires: [console, supply, probe]
timeout: 1h
before-each:
  - power: { channel: supply, state: up }
  - do: { procedure: provision }
cases:
  - id: genuine
    title: A genuine update installs
    assesses: []
    timeout: 5m
    steps:
      - do: { procedure: install, with: { image: lock-v2 }, reason: UPD-GENUINE-REFUSED }
  - id: rollback
    title: An older image is refused
    assesses: []
    timeout: 5m
    steps:
      - do: { procedure: install, with: { image: lock-v2 }, reason: UPD-GENUINE-REFUSED }
      - do: { procedure: confirm }
      - power-cycle: { channel: supply, down-for: 1s }
      - do: { procedure: wait-ready, reason: NOT-UP }
      - do: { procedure: install, with: { image: lock-v1 }, expect: refused, reason: ROLLBACK-DIRECT }
finally:
  - power: { channel: supply, state: down }
";

struct Files {
    bench: Bench,
}

impl Files {
    fn new() -> Self {
        let bench = Bench::new();
        bench.file("plan.yaml", PLAN);
        Self { bench }
    }

    fn prove(&self, rows: &str, more: &[&str]) -> Ended {
        let rig = shipped("rigs").display().to_string();
        let text = format!(
            "schema: matrix/1\nname: short\ngood:\n  - {{ rig: {rig}/virtual-lock.yaml, plan: plan.yaml }}\n{}",
            rows.replace("RIGS", &rig)
        );
        let matrix = self.bench.file("matrix.yaml", text);
        let ended = self.bench.hilbench(["prove", matrix.to_str().unwrap()].iter().chain(more));
        ended.is_clean();
        ended
    }
}

fn variant(rig: &str, what: &str) -> String {
    format!("variants:\n  - {{ id: V13, name: a variant, rig: RIGS/{rig}, plan: plan.yaml, {what} }}\n")
}

const ROLLBACK: &str = "case: rollback, reason: ROLLBACK-DIRECT";

#[test]
fn a_matrix_that_holds_ends_with_0_and_its_table_is_kept() {
    let files = Files::new();
    let fault = "bench-faults:\n  - { id: F01, name: welded, rig: RIGS/bench-faults/welded.yaml, plan: plan.yaml, verdict: error, reason: BENCH-FAULT }\n";
    let rows = variant("variants/no-version-check.yaml", ROLLBACK) + fault;
    let (markdown, json) = (files.bench.path("proof.md"), files.bench.path("proof.json"));
    let more = ["--seeds", "2", "--markdown", markdown.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let ended = files.prove(&rows, &more);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("1 of 1 faults found") && ended.stdout.contains("0 false fails in 2 runs (4 cases)"),
        "{ended:?}"
    );
    let proof: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((proof["holds"].as_bool(), proof["rows"].as_array().unwrap().len()), (Some(true), 4), "{proof}");
    assert_eq!(proof["sensitivity"][0]["reason"], "ROLLBACK-DIRECT");
    let table = std::fs::read_to_string(markdown).unwrap();
    assert!(table.contains("| V13 | a variant | plan | rollback: ROLLBACK-DIRECT | rollback: ROLLBACK-DIRECT | ok |"), "{table}");
    assert!(table.contains("2 of 2 cases pass (2 seeds) | ok |"), "{table}");
}

#[test]
fn a_row_that_does_not_hold_is_told_and_ends_with_1() {
    let files = Files::new();
    let wrong = |rig: &str, what: &str, words: &str| {
        let ended = files.prove(&variant(rig, what), &["--variant", "V13"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    };
    wrong("virtual-lock.yaml", ROLLBACK, "MISSED: every case passed");
    wrong(
        "variants/no-version-check.yaml",
        "case: genuine, reason: ROLLBACK-DIRECT",
        "MISSED: first came rollback fail ROLLBACK-DIRECT",
    );
    wrong("variants/no-version-check.yaml", "case: rollback, reason: SIG-SIG", "not rollback SIG-SIG");
    wrong("variants/no-version-check.yaml", "twin: true", "FALSE FAIL: rollback fail ROLLBACK-DIRECT");
    wrong("bench-faults/welded.yaml", ROLLBACK, "NO VERDICT: rollback error BENCH-FAULT");
}

#[test]
fn a_wrong_matrix_costs_nothing_but_a_message() {
    let files = Files::new();
    files.prove(&variant("virtual-lock.yaml", "case: no-such, reason: SIG"), &[]).refused(&["no case `no-such`", "V13"]);
    files.prove(&variant("nothing.yaml", ROLLBACK), &[]).refused(&["V13", "nothing.yaml"]);
    files.prove(&variant("virtual-lock.yaml", "case: rollback"), &[]).refused(&["needs `case` and `reason`"]);
    files.prove(&variant("virtual-lock.yaml", ROLLBACK), &["--variant", "V99"]).refused(&["no `V99`", "V13"]);
    assert!(!files.bench.store().join("proofs").exists(), "nothing was run");
}

#[test]
fn a_run_that_ends_with_the_first_bad_case_skips_the_others_and_is_safe() {
    let files = Files::new();
    let swapped = PLAN.replace("id: genuine", "id: zz").replace("id: rollback", "id: genuine");
    let (first, second) = (swapped.find("  - id: zz").unwrap(), swapped.find("  - id: genuine").unwrap());
    let end = swapped.find("finally:").unwrap();
    let text = format!("{}{}{}{}", &swapped[..first], &swapped[second..end], &swapped[first..second], &swapped[end..]);
    let plan = files.bench.file("plan.yaml", text);
    let rig = shipped("rigs/variants/no-version-check.yaml");
    let run = |more: &[&str]| {
        let words = ["run", plan.to_str().unwrap(), "--rig", rig.to_str().unwrap()];
        let ended = files.bench.hilbench(words.iter().chain(more));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        files.bench.summary()
    };
    let summary = run(&["--fail-fast"]);
    assert_eq!((summary["cases"][0]["verdict"].as_str(), summary["cases"][1]["state"].as_str()), (Some("fail"), Some("skipped")));
    assert!(summary["cases"][1]["skipped"].as_str().unwrap().contains("`genuine` did not pass"), "{summary}");
    assert_eq!(summary["safe-state"]["ok"], true);
}
