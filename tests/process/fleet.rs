//! `hilbench fleet`: numbers, limits, and files that people write by hand.

use serde_json::Value;

use super::bench::{Bench, Ended};

const SMALL: [&str; 6] = ["--outage", "10m", "--devices", "20000", "--capacity", "1%"];

fn fleet(bench: &Bench, source: [&str; 2], more: &[&str]) -> Ended {
    bench.hilbench(["fleet"].iter().chain(&source).chain(&SMALL).chain(more))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn a_law_is_judged_against_limits() {
    let bench = Bench::new();
    let full = ["--law", "exponential base 1s factor 2 cap 64s jitter full"];
    let good = fleet(&bench, full, &["--peak-limit", "10%", "--drain-limit", "10m"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.contains("peak limit   10% holds") && good.stdout.contains("drain limit  10m holds"), "{good:?}");
    good.is_clean();
    let bad = fleet(&bench, ["--law", "fixed 67s"], &["--peak-limit", "10%", "--drain-limit", "10m"]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(
        bad.stdout.contains("peak limit   10% is exceeded") && bad.stdout.contains("drain limit  10m is exceeded"),
        "{bad:?}"
    );
    assert_eq!(fleet(&bench, ["--law", "fixed 67s"], &[]).code, Some(0), "without limits nothing is judged");
    assert!(!bench.store().exists());
}

#[test]
fn the_json_form_has_every_number_and_is_the_same_on_any_threads() {
    let bench = Bench::new();
    let law = ["--law", "fixed 20s jitter proportional 5%"];
    let more = |threads| ["--message-format", "json", "--seed", "7", "--peak-limit", "5%", "--threads", threads];
    let one = fleet(&bench, law, &more("1"));
    assert_eq!(one.stdout, fleet(&bench, law, &more("3")).stdout);
    let found = json(&one);
    assert_eq!(found["law"], "fixed 20s jitter proportional 5%");
    assert_eq!(found["fleet"]["seed"], 7);
    for path in ["/outcome/all_attempts/share", "/outcome/first_attempts/share", "/outcome/served/2/after_s"] {
        let [value, low, high] = ["value", "low", "high"].map(|name| found.pointer(path).unwrap()[name].as_f64().unwrap());
        assert!(low <= value && value <= high, "{path}: {found}");
    }
    assert_eq!(found["limits"][0]["holds"], "no");
    assert!(found["estimate"].is_null());
}

#[test]
fn a_law_is_estimated_from_a_file() {
    let bench = Bench::new();
    let lines: String = [67.02, 66.98, 67.04, 66.97, 67.0, 67.01, 66.99, 67.03, 67.0, 66.96, 67.02, 67.01]
        .iter()
        .fold("# unit 7\n".to_owned(), |text, seconds| text + &format!("{seconds}s\n"));
    let file = bench.file("intervals.txt", lines).display().to_string();
    let human = fleet(&bench, ["--intervals", &file], &["--peak-limit", "10%"]);
    assert_eq!(human.code, Some(1), "{human:?}");
    for words in ["law          fixed 67s", "12 intervals, 12 at the cap: jitter none", "unknown", "other laws"] {
        assert!(human.stdout.contains(words), "no {words:?} in {human:?}");
    }
    let array = "[3.1, 27.9, 15.5, 9.0, 29.7, 1.2, 22.0, 18.8, 6.4, 25.1, 12.3, 20.9]";
    let file = bench.file("intervals.json", array).display().to_string();
    let found = json(&fleet(&bench, ["--intervals", &file], &["--message-format", "json"]));
    assert_eq!(found["estimate"]["jitter"]["class"], "full", "{found}");
    assert!(
        found["law_uncertainty"]["first_attempts"]["low"].as_f64() < found["law_uncertainty"]["first_attempts"]["high"].as_f64()
    );
    // A limit amid what the law may be is neither met nor missed.
    let middle = found["outcome"]["all_attempts"]["share"]["value"].as_f64().unwrap();
    let limit = format!("{:.3}%", middle * 100.0);
    assert_eq!(fleet(&bench, ["--intervals", &file], &["--peak-limit", &limit]).code, Some(3));
}

#[test]
fn what_cannot_be_used_is_refused() {
    let bench = Bench::new();
    let file = |name: &str, content: &[u8]| bench.file(name, content).display().to_string();
    let nothing = bench.path("nothing").display().to_string();
    for (path, words) in [
        (file("few", b"1s\n2s\n"), &["few", "2 intervals are too few", "12"][..]),
        (file("word", b"1s\n2s\nsoon\n"), &["word", "line 3", "soon"]),
        (file("bare", b"1s\n2\n"), &["line 2", "no unit"]),
        (file("zero", "0s\n".repeat(12).as_bytes()), &["interval 1"]),
        (file("json", b"[1, 2, \"x\"]"), &["json", "array of seconds", "line 1"]),
        (file("binary", b"\xFF\x1b[2J"), &["binary", "no text"]),
        (file("escape", b"\x1b[2J\n"), &["escape", "line 1"]),
        (file("huge", "1s\n".repeat(400_000).as_bytes()), &["huge", "larger than 1 MiB"]),
        (file("many", "1s\n".repeat(10_001).as_bytes()), &["many", "10001 intervals are too many"]),
        (bench.path("").display().to_string(), &["intervals"]),
        (nothing, &["nothing"]),
    ] {
        fleet(&bench, ["--intervals", &path], &[]).refused(words);
    }
    for (arguments, words) in [
        (&["fleet", "--outage", "1h"][..], &["--law"][..]),
        (&["fleet", "--law", "fixed 5s"], &["--outage"]),
        (&["fleet", "--law", "fixed 5s", "--intervals", "x", "--outage", "1h"], &["--intervals"]),
        (&["fleet", "--law", "sometimes", "--outage", "1h"], &["sometimes", "fixed 67s"]),
        (&["fleet", "--law", "fixed 5s", "--outage", "10"], &["no unit"]),
        (&["fleet", "--law", "fixed 5s", "--outage", "1h", "--capacity", "0.5"], &["0.5%"]),
        (&["fleet", "--law", "fixed 5s", "--outage", "1h", "--devices", "10"], &["10 devices"]),
        (&["fleet", "--law", "fixed 5s", "--outage", "8784h"], &["outage"]),
        (
            &["fleet", "--law", "fixed 5s", "--outage", "1h", "--devices", "1000", "--capacity", "0.01%"],
            &["less than one device"],
        ),
    ] {
        bench.hilbench(arguments).refused(words);
    }
}
