//! Bad input costs nothing but a message.

use super::bench::{Bench, shipped};

const PLAN: &str = "testplans/secure-update.yaml";
const RIG: &str = "rigs/virtual-lock.yaml";

#[test]
fn what_cannot_run_is_refused_before_anything_is_touched() {
    let bench = Bench::new();
    let nothing = bench.path("nothing.yaml").display().to_string();
    let directory = bench.path("").display().to_string();
    let broken = bench.file("broken.yaml", "schema: testplan/1\ncases: [\n").display().to_string();
    let binary = bench.file("binary.yaml", [0xFF, 0x00, 0x1B, b'[', b'2', b'J']).display().to_string();
    let huge = bench.file("huge.yaml", "a: &a [x,x]\nb: [*a,*a,*a]\n".repeat(400_000)).display().to_string();
    let rows: &[(&[&str], &[&str])] = &[
        (&["run", &nothing, "--rig", RIG], &["nothing.yaml"]),
        (&["run", PLAN, "--rig", &nothing], &["nothing.yaml"]),
        (&["run", &directory, "--rig", RIG], &["director"]),
        (&["run", &broken, "--rig", RIG], &["broken.yaml:"]),
        (&["run", &binary, "--rig", RIG], &["binary.yaml"]),
        (&["run", &huge, "--rig", RIG], &["huge.yaml"]),
        (&["run", RIG, "--rig", PLAN], &["testplan/1", "rig/1"]),
        (&["run", PLAN, "--rig", RIG, "--case", "genuine-updat"], &["did you mean `genuine-update`?"]),
        (&["run", PLAN, "--rig", RIG, "--cut", "117:sideways"], &["117:sideways"]),
        (&["run", PLAN, "--rig", RIG, "--cut", "99999999999999:before"], &["99999999999999:before"]),
        (&["run", PLAN, "--rig", RIG, "--cut", "117:before+0"], &["117:before+0"]),
        (&["run", PLAN, "--rig", RIG, "--cut", "117:after"], &["--cut 117:after", "--case", "power-cut-during-revert"]),
        (
            &["run", PLAN, "--rig", RIG, "--cut", "117:after", "--case", "genuine-update"],
            &["no selected case", "power-cut-during-update, power-cut-during-revert"],
        ),
        (&["run", PLAN, "--rig", RIG, "--seed", "minus one"], &["seed"]),
        (&["run", PLAN], &["--rig"]),
        (&["jump"], &["jump"]),
        (&["check", &broken, &nothing], &["broken.yaml:", "nothing.yaml"]),
        (&["show", "20260101-000000-0000"], &["no run"]),
        (&["show", "../../etc"], &["no run"]),
    ];
    for (arguments, words) in rows {
        bench.hilbench(*arguments).refused(words);
        assert!(!bench.store().exists(), "{arguments:?} made a store");
    }
}

#[test]
fn an_image_that_is_not_what_the_profile_says_is_refused() {
    let bench = Bench::new();
    let profile = std::fs::read_to_string(shipped("rigs/devices/smart-lock.yaml")).unwrap();
    let images = shipped("firmware-fixtures/smart-lock/images").display().to_string();
    let rig = std::fs::read_to_string(shipped(RIG)).unwrap().replace("devices/smart-lock.yaml", "profile.yaml");
    let rig = bench.file("rig.yaml", rig).display().to_string();
    let here = profile.replace("../../firmware-fixtures/smart-lock/images", &images);
    let rows = [
        ("lock-v2.bin, address", "not-there.bin, address", "profile.yaml:", "not-there.bin"),
        ("address: '0x00006000'", "address: '0x00040000'", "image lock-v1", "0x00040000"),
        ("address: '0x00006000'", "address: 'somewhere'", "profile.yaml:", "somewhere"),
        ("signature:      { from: -64 }", "signature:      { from: 9000000 }", "secure-update.yaml:", "signature"),
        ("name: smart-lock", "nome: smart-lock", "profile.yaml:", "nome"),
    ];
    for (from, to, place, word) in rows {
        assert!(here.contains(from), "{from}");
        bench.file("profile.yaml", here.replacen(from, to, 1));
        bench.hilbench(["run", PLAN, "--rig", &rig]).refused(&[place, word]);
        assert!(!bench.store().exists());
    }
    bench.file("profile.yaml", &here);
    let strange = std::fs::read_to_string(&rig).unwrap().replace("chip: nRF51822_xxAA }", "chip: nRF51822_xxZZ }");
    let strange = bench.file("strange.yaml", strange).display().to_string();
    bench.hilbench(["run", PLAN, "--rig", &strange]).refused(&["channel probe", "nRF51822_xxZZ"]);
    assert_eq!(bench.hilbench(["check", &rig]).code, Some(0));
}

#[test]
fn an_altered_image_that_goes_beside_the_memory_is_refused() {
    let bench = Bench::new();
    let plan = std::fs::read_to_string(shipped("testplans/recovery.yaml")).unwrap();
    let rig = "rigs/virtual-lock-sample.yaml";
    for (address, words) in [
        ("0x00040000", ["image to-go-back-to-changed", "plan recovery"]),
        ("0xfffffffe", ["plan.yaml:", "32-bit address space"]),
        ("somewhere", ["plan.yaml:", "somewhere"]),
    ] {
        assert!(plan.contains("address: '0x00010000'"));
        let plan = bench.file("plan.yaml", plan.replace("address: '0x00010000'", &format!("address: '{address}'")));
        let plan = plan.display().to_string();
        bench.hilbench(["run", &plan, "--rig", rig]).refused(&words);
        bench.hilbench(["check", &plan, "--rig", rig]).refused(&words);
        assert!(!bench.store().exists());
    }
}

#[test]
fn a_run_directory_that_is_none_is_told() {
    let bench = Bench::new();
    let runs = bench.store().join("runs");
    for name in ["20260101-000000-0001", "20260101-000000-0002.partial", "not a run", "\u{1b}[2J"] {
        std::fs::create_dir_all(runs.join(name)).unwrap();
    }
    std::fs::write(runs.join("20260101-000000-0001/events.jsonl"), [0x1B, 0xFF, 0, b'\n']).unwrap();
    std::fs::write(runs.join("20260101-000000-0001/manifest.json"), "{\"run\": 7").unwrap();
    let listed = bench.hilbench(["runs"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    listed.is_clean();
    for name in ["20260101-000000-0001", "20260101-000000-0002"] {
        let shown = bench.hilbench(["show", name]);
        assert!(matches!(shown.code, Some(0 | 2)), "{shown:?}");
        shown.is_clean();
        assert!(!shown.stdout.contains("pass"), "{shown:?}");
    }
}

#[test]
fn what_is_there_is_listed_and_a_rig_written_once() {
    let bench = Bench::new();
    let rig = bench.path("found.yaml").display().to_string();
    let found = bench.hilbench(["discover", "--write", &rig]);
    assert_eq!(found.code, Some(0), "{found:?}");
    found.is_clean();
    let text = std::fs::read_to_string(&rig).unwrap();
    assert!(text.starts_with("schema: rig/1\n") && text.contains("channels:\n"), "{text}");
    // It is a start: the check says what is missing, and understands the rest.
    bench.hilbench(["check", &rig]).refused(&["DEVICE.yaml"]);
    bench.hilbench(["discover", "--write", &rig]).refused(&["cannot write"]);
    assert_eq!(std::fs::read_to_string(&rig).unwrap(), text);
    for line in bench.hilbench(["discover", "--message-format", "json"]).stdout.lines() {
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["event"], "there");
    }
}
