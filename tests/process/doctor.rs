//! `hilbench doctor`: what is wrong with a bench, and what to do about it.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::bench::{Bench, Ended, shipped};

/// A rig for the shipped lock, with these lines for its channels.
fn rig(bench: &Bench, is_virtual: bool, channels: &[&str], safe_state: &[&str]) -> PathBuf {
    let device = shipped("rigs/devices/smart-lock.yaml");
    let section = if is_virtual { "virtual: { chip: nRF51822_xxAA, seed: 1, verify-entry: '0x00003b9a' }\n" } else { "" };
    let list = |lines: &[&str]| lines.iter().flat_map(|line| ["  ", line, "\n"]).collect::<String>();
    let safe = if safe_state.is_empty() { "safe-state: []\n".to_owned() } else { format!("safe-state:\n{}", list(safe_state)) };
    let text = format!(
        "schema: rig/1\nname: bench\ndevice: {}\nsacrificial: true\n{section}channels:\n{}{safe}",
        device.display(),
        list(channels)
    );
    bench.file("rig.yaml", text)
}

fn doctor(bench: &Bench, rig: &std::path::Path, more: &[&str]) -> Ended {
    let rig = rig.to_str().unwrap();
    let ended = bench.hilbench(["doctor", "--rig", rig].iter().chain(more));
    ended.is_clean();
    ended
}

/// The finding about `subject`, of those that are printed as JSON.
fn finding(ended: &Ended, subject: &str) -> Value {
    let mut objects = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects.find(|object| object["subject"] == subject).unwrap_or_else(|| panic!("nothing of {subject}: {ended:?}"))
}

#[test]
fn a_bench_in_order_is_told_part_by_part_and_nothing_is_switched() {
    let bench = Bench::new();
    let ended = doctor(&bench, &shipped("rigs/virtual-lock.yaml"), &["--plan", "testplans/secure-update.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in ["console", "probe", "reset", "supply", "clock", "guard", "store"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(&format!("ok   {part}"))), "{part}: {ended:?}");
    }
    assert!(
        ended.stdout.contains("reads back down") && ended.stdout.contains("cases of secure-update can run here"),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains("n/a"), "{ended:?}");
    assert_eq!(bench.runs(), Vec::<PathBuf>::new(), "an examination is no run");
}

#[test]
fn a_bench_that_somebody_uses_is_left_alone() {
    let bench = Bench::new();
    let mut run = bench.start_shipped();
    run.until("sent");
    let ended = doctor(&bench, &shipped("rigs/virtual-lock.yaml"), &["--message-format", "json"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let found = finding(&ended, "supply");
    let what = found["what"].as_str().unwrap();
    assert!(what.contains(&format!("in use by process {}", run.pid())), "{found}");
    assert!(found["advice"].as_str().unwrap().contains("--wait"), "{found}");
    run.until("matched");
    run.signal(Signal::SIGTERM);
    assert_eq!(run.end().code, Some(3));
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let bench = Bench::new();
    bench.file("no-permission", "");
    let rig = rig(
        &bench,
        false,
        &[
            "console: { driver: serial, usb: '1209:0001', serial-number: not-there }",
            "probe: { driver: probe-rs, probe: '1209:0002:not-there', chip: nRF51822_xxAA }",
            "supply: { driver: command, up: './no-pdu on', down: './no-pdu off' }",
        ],
        &["- power: { channel: supply, state: down }"],
    );
    let ended = doctor(&bench, &rig, &["--message-format", "json"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    for (subject, what, advice) in [
        ("console", "no serial port is usb 1209:0001", "plug it in"),
        ("probe", "there is no debug probe 1209:0002:not-there", "hilbench discover"),
        ("supply", "there is no program `./no-pdu`", "install it"),
    ] {
        let found = finding(&ended, subject);
        assert_eq!(found["severity"], "problem", "{found}");
        assert!(found["what"].as_str().unwrap().contains(what), "{found}");
        assert!(found["advice"].as_str().unwrap().contains(advice), "{found}");
    }
    assert_eq!(finding(&ended, "guard")["severity"], "fine");
    // Nothing is proven, and nothing switched, on a bench that is not in order.
    let golden = doctor(&bench, &rig, &["--golden"]);
    assert_eq!(golden.code, Some(4), "{golden:?}");
    assert!(golden.stderr.contains("mend first") && bench.runs().is_empty(), "{golden:?}");
}

#[test]
fn cases_that_cannot_run_here_are_told_with_the_reason() {
    let bench = Bench::new();
    let rig = rig(
        &bench,
        true,
        &["supply: { driver: virtual-power }", "console: { driver: virtual-serial }"],
        &["- power: { channel: supply, state: down }"],
    );
    let ended = doctor(&bench, &rig, &["--plan", "testplans/secure-update.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("n/a  case genuine-update: rig `bench` has no channel `probe`"), "{ended:?}");
    assert!(ended.stdout.contains("\n0 of "), "{ended:?}");
}

#[test]
fn bad_files_are_refused() {
    let bench = Bench::new();
    doctor(&bench, &bench.path("nothing.yaml"), &[]).refused(&["nothing.yaml"]);
    let plan = bench.file("plan.yaml", "schema: testplan/1\n");
    doctor(&bench, &shipped("rigs/virtual-lock.yaml"), &["--plan", plan.to_str().unwrap()]).refused(&["plan.yaml"]);
}

#[test]
fn a_golden_device_proves_every_channel_and_is_left_off() {
    let bench = Bench::new();
    let ended = doctor(&bench, &shipped("rigs/virtual-lock.yaml"), &["--golden"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("this switches it"), "{ended:?}");
    assert!(!bench.supply_is_up("virtual-lock"));
    let summary = bench.summary();
    assert_eq!(summary["verdict"], "pass", "{summary}");
    for channel in ["supply", "probe", "console", "reset"] {
        let proven = ended.stdout.lines().any(|line| line.trim_start().starts_with("PASS") && line.contains(channel));
        assert!(proven, "{channel}: {ended:?}");
    }
}

#[test]
fn a_channel_that_is_wired_wrongly_is_the_one_that_is_told() {
    let bench = Bench::new();
    // The pin of another function: nothing that can be seen without a device tells.
    let rig = rig(
        &bench,
        true,
        &[
            "supply: { driver: virtual-power }",
            "console: { driver: virtual-serial }",
            "probe: { driver: virtual-probe, chip: nRF51822_xxAA }",
            "reset: { driver: virtual-button, pin: 5 }",
        ],
        &["- release: { channel: reset }", "- power: { channel: supply, state: down }"],
    );
    assert_eq!(doctor(&bench, &rig, &[]).code, Some(0));
    let ended = doctor(&bench, &rig, &["--golden"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("did not show what a golden device shows"), "{ended:?}");
    for (channel, good) in [("supply", true), ("probe", true), ("console", true), ("reset", false)] {
        let proven = ended.stdout.lines().any(|line| line.trim_start().starts_with("PASS") && line.contains(channel));
        assert_eq!(proven, good, "{channel}: {ended:?}");
    }
    assert!(!bench.supply_is_up("bench"));
}

#[test]
fn a_channel_without_golden_steps_is_not_proven() {
    let bench = Bench::new();
    let profile = std::fs::read_to_string(shipped("rigs/devices/smart-lock.yaml")).unwrap();
    let (profile, _) = profile.split_once("\n  reset:\n    - power").unwrap();
    let images = format!("{}/firmware-fixtures", env!("CARGO_MANIFEST_DIR"));
    bench.file("lock.yaml", profile.replace("../../firmware-fixtures", &images));
    let text = std::fs::read_to_string(shipped("rigs/virtual-lock.yaml")).unwrap();
    let rig = bench.file("rig.yaml", text.replace("devices/smart-lock.yaml", "lock.yaml"));
    let ended = doctor(&bench, &rig, &["--golden"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("note reset  not proven: device profile smart-lock has no `golden` steps"), "{ended:?}");
}

#[test]
fn a_device_that_may_not_be_erased_is_not_proven_by_erasing_it() {
    let bench = Bench::new();
    let text = std::fs::read_to_string(shipped("rigs/virtual-lock.yaml")).unwrap();
    let devices = shipped("rigs/devices/smart-lock.yaml");
    let text = text.replace("devices/smart-lock.yaml", devices.to_str().unwrap()).replace("sacrificial: true\n", "");
    let rig = bench.file("rig.yaml", text);
    assert_eq!(doctor(&bench, &rig, &[]).code, Some(0));
    let ended = doctor(&bench, &rig, &["--golden"]);
    ended.refused(&["rig.yaml", "erase the whole device", "sacrificial: true"]);
    assert_eq!(bench.runs(), Vec::<PathBuf>::new());
}

#[test]
fn two_channels_on_one_port_are_refused_before_anything_is_opened() {
    let bench = Bench::new();
    let rig = |console: &str, supply: &str| {
        let console = format!("console: {{ driver: serial, {console} }}");
        let supply = format!("supply: {{ driver: lcus-relay, channel: 1, {supply} }}");
        rig(&bench, false, &[&console, &supply], &["- power: { channel: supply, state: down }"])
    };
    let port = bench.file("ttyACM9", "");
    let link = bench.path("usb-Maker_Board_9900-if01");
    std::os::unix::fs::symlink(&port, &link).unwrap();
    let (port, link) = (format!("path: {}", port.display()), format!("path: {}", link.display()));
    for (console, supply) in
        [(port.as_str(), link.as_str()), ("usb: '1a86:7523', location: 9-9", "location: 9-9, usb: '1a86:7523'")]
    {
        let file = rig(console, supply);
        bench.hilbench(["check", file.to_str().unwrap()]).refused(&["channels console and supply", "only one of them"]);
        bench.hilbench(["run", "testplans/secure-update.yaml", "--rig", file.to_str().unwrap()]).refused(&["only one of them"]);
    }
    let file = rig(&port, "usb: '1a86:7523', location: 9-9");
    let ended = bench.hilbench(["check", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
