//! Power-cut searches as their users meet them: one point repeated, a search stopped.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::bench::{Bench, Ended, shipped, stored};

const FAULTY: &str = "rigs/variants/swap-status-not-persisted.yaml";
const GOOD: &str = "rigs/virtual-lock.yaml";

fn cut(bench: &Bench, rig: &str, point: &str) -> Ended {
    let case = ["--case", "power-cut-during-update", "--cut", point];
    bench.hilbench(["run", "testplans/secure-update.yaml", "--rig", rig].into_iter().chain(case))
}

/// What the step recorded of the power-cut search in the latest run.
fn transcript(bench: &Bench, name: &str) -> String {
    let run = bench.runs().pop().unwrap();
    String::from_utf8(stored(&run, &format!("evidence/{name}"))).unwrap()
}

#[test]
fn a_bad_point_is_repeated_with_its_outcome_and_its_transcript() {
    let bench = Bench::new();
    let ended = cut(&bench, FAULTY, "2754:torn:0");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for words in ["BRICK-META", "1 of 1 cuts ended badly", "at 2754:torn:0", "chosen by hand", "cut-2754-torn-0.txt"] {
        assert!(ended.stdout.contains(words), "no {words:?} in {}", ended.stdout);
    }
    ended.is_clean();
    let text = transcript(&bench, "cut-2754-torn-0.txt");
    assert!(text.contains("power cut at point 2754:torn:0") && text.contains("outcome Bricked"), "{text}");
}

#[test]
fn a_good_point_is_told_as_well_and_passes() {
    let bench = Bench::new();
    for point in ["2754:torn:0", "117:torn:3", "4000:after+2"] {
        let ended = cut(&bench, GOOD, point);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let text = transcript(&bench, &format!("cut-{}.txt", point.replace([':', '+'], "-")));
        assert!(text.contains(&format!("power cut at point {point}")) && text.contains("everything held"), "{text}");
        assert_eq!(text.contains("second power cut"), point.contains('+'), "{text}");
    }
}

#[test]
fn a_point_that_the_update_does_not_have_is_said_to_be_so() {
    let bench = Bench::new();
    let ended = cut(&bench, GOOD, "99999:before");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stdout.contains("there is no point 99999:before: the recorded run has the flash operations 0 to"), "{ended:?}");
}

/// A search that is stopped by `signal` when it has judged some points.
fn stopped_by(signal: Signal) -> Value {
    let bench = Bench::new();
    // One thread and executed checks: it goes on for long enough to be met.
    let case = ["--case", "power-cut-during-update", "--threads", "1", "--execute-checks"];
    let mut run = bench.start(["testplans/secure-update.yaml", "--rig", GOOD].into_iter().chain(case));
    run.until("cuts-judged");
    run.signal(signal);
    let ended = run.end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!bench.supply_is_up("virtual-lock"));
    let verified = bench.hilbench(["show", "latest", "--verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    bench.summary()
}

/// The figures of the search in a summary.
fn figures(summary: &Value) -> (u64, u64) {
    fn find(value: &Value) -> Option<&Value> {
        match value {
            Value::Object(map) => map.get("cuts").filter(|cuts| cuts.is_object()).or_else(|| map.values().find_map(find)),
            Value::Array(list) => list.iter().find_map(find),
            _ => None,
        }
    }
    let cuts = find(summary).unwrap();
    (cuts["judged"].as_u64().unwrap(), cuts["of"].as_u64().unwrap())
}

#[test]
fn a_search_that_is_stopped_tells_how_far_it_came_and_never_passes() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let summary = stopped_by(signal);
        assert_eq!(summary["verdict"], "inconclusive", "{summary}");
        let (judged, of) = figures(&summary);
        assert!(judged > 0 && judged < of, "{signal}: {judged} of {of}");
        assert!(summary.to_string().contains("CANCELLED"), "{summary}");
    }
}

/// The fenced block of `language` in the documentation.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let (_, from) = text.split_once(&format!("```{language}\n")).unwrap();
    from.split_once("```").unwrap().0
}

#[test]
fn the_documentation_shows_what_the_program_prints() {
    let document = std::fs::read_to_string(shipped("docs/power-cuts.md")).unwrap();
    let (command, lines) = block(&document, "console").split_once('\n').unwrap();
    let bench = Bench::new();
    let ended = bench.hilbench(command.strip_prefix("$ hilbench ").unwrap().split(' '));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for line in lines.lines() {
        assert!(ended.stdout.contains(line), "no {line:?} in {}", ended.stdout);
    }
    assert_eq!(transcript(&bench, "cut-2754-torn-0.txt"), block(&document, "text"));
}
