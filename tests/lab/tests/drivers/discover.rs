//! `hilbench discover` and `hilbench doctor` in front of real kernel drivers, with cables that come and go.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use gpiocdev::line::Value as Level;
use hilbench::virtual_dut::{Machine, MachineConfig};
use lab::{
    bench::SUPPLY_LINE,
    usb::{
        Cable, Description, Direction, Endpoint, Interface, Peer, Speed,
        acm::Acm,
        ch340::Ch340Relay,
        dap::{CmsisDap, Nrf51},
        vendor::Loopback,
    },
};
use regex::Regex;
use serde_json::Value;

use crate::{
    host::{by_id, eventually, in_guest},
    program::{REPOSITORY, Store, bench},
    relay::output,
};

/// The repository at a place that every user may enter, which its own may not be.
fn visible() -> PathBuf {
    let place = PathBuf::from("/run/repository");
    if !place.join("rigs").exists() {
        fs::create_dir_all(&place).unwrap();
        let repository = fs::canonicalize(REPOSITORY).unwrap();
        let mounted = Command::new("mount").arg("--bind").arg(repository).arg(&place).status().unwrap();
        assert!(mounted.success(), "cannot show the repository at another place");
    }
    place
}

/// The user that may open nothing.
const NOBODY: u32 = 65534;

/// A bench: console, probe, relay board and the device's own port, all plugged in.
struct Bench {
    console: Cable,
    _peer: Peer,
    probe: Cable,
    _device: Nrf51,
    relay: Cable,
    port: Cable,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new(name: &str) -> Self {
        let (acm, peer) = Acm::new(&format!("{name}-console"));
        let device = Nrf51::new(Machine::new(MachineConfig::default()));
        device.power(true);
        let endpoints = vec![Endpoint::bulk(1, Direction::Out, 512), Endpoint::bulk(1, Direction::In, 512)];
        let interface = Interface { class: [0xFF, 0, 0], endpoints, ..Interface::default() };
        let port =
            Description::new(Speed::High, 0x1209, 0x0003, "smart lock").serial(&format!("{name}-port")).interface(interface);
        let mut bench = Self {
            console: Cable::new(acm),
            _peer: peer,
            probe: Cable::new(CmsisDap::with_target(&format!("{name}-probe"), device.port())),
            _device: device,
            relay: Cable::new(Ch340Relay::new().0),
            port: Cable::new(Loopback::new(port)),
            directory: tempfile::tempdir().unwrap(),
        };
        for cable in [&mut bench.console, &mut bench.probe, &mut bench.relay, &mut bench.port] {
            cable.plug().unwrap();
        }
        fs::set_permissions(bench.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let listed = [format!("{name}-console"), format!("{name}-probe"), "1a86:7523".to_owned(), format!("{name}-port")];
        eventually("everything is listed and can be opened", || {
            let found = bench.discovered();
            let well = |wanted: &String| {
                found.iter().any(|one| one["problem"].is_null() && one["identity"].as_str().unwrap().contains(wanted.as_str()))
            };
            listed.iter().all(well)
        });
        bench
    }

    /// The program that was built with this.
    fn command(&self) -> Command {
        let mut command = Command::new(visible().join("target/debug/hilbench"));
        command
            .current_dir(self.directory.path())
            .env("HILBENCH_STORE", ".hilbench")
            .env("HILBENCH_LEASES", self.directory.path().join("leases"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        ended(self.command().args(arguments))
    }

    fn discovered(&self) -> Vec<Value> {
        let (code, text) = self.run(&["discover", "--message-format", "json"]);
        assert_eq!(code, Some(0), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A rig for what is plugged in.
    fn rig(&self, name: &str) -> PathBuf {
        let profile = visible().join("rigs/devices/smart-lock.yaml");
        let text = format!(
            "schema: rig/1\nname: bench\ndevice: {}\nchannels:\n\
             \x20 console: {{ driver: serial, usb: '1209:0001', serial-number: {name}-console }}\n\
             \x20 probe: {{ driver: probe-rs, probe: '1209:0002:{name}-probe', chip: nRF51822_xxAA }}\n\
             \x20 supply: {{ driver: lcus-relay, usb: '1a86:7523', channel: 1 }}\n\
             safe-state:\n  - power: {{ channel: supply, state: down }}\n",
            profile.display()
        );
        let path = self.directory.path().join("rig.yaml");
        fs::write(&path, text).unwrap();
        path
    }

    /// What `doctor` says of a channel, by its severity, with exit code.
    fn doctor(command: &mut Command, subject: &str) -> (Option<i32>, Value) {
        let (code, text) = ended(command.args(["doctor", "--rig", "rig.yaml", "--message-format", "json"]));
        let mut found = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {text}")));
        (code, found.find(|one| one["subject"] == subject).unwrap_or_else(|| panic!("{text}")))
    }
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// What differs from one boot to the next.
fn steady(text: &str) -> String {
    let same = |text: String, pattern: &str, with: &str| Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    let text = same(text.to_owned(), r"/dev/tty(ACM|USB)\d+", "/dev/tty${1}0");
    let text = same(text, r"\b20\d{6}-\d{6}-\w+", "RUN");
    let text = same(text, r"/dev/gpiochip\d+", "/dev/gpiochip0");
    let text = same(text, r"\b\d+-\d+(\.\d+)*\b", "1-1");
    let text = same(text, r"\d+ [GM]iB free", "SPACE free");
    let text = same(text, r"times come from \S+", "times come from CLOCK");
    let text = same(text, r"\S*/store\b", ".hilbench");
    // A line that an earlier run of this guest has driven keeps its level, and shows it before it is driven again.
    let text = text.replace("opens; its level is read back whenever it is switched", "opens, and reads back down");
    let text = same(text, r"\b[0-9.]+ ?(ms|s)\b", "TIME");
    let text = same(text, r" +", " ");
    // A plug that goes and comes back with the supply is told when the kernel tells.
    same(text, r"(?m)^ (lost|back) channel .*\n", "")
}

/// What a document says that a command prints.
fn documented(command: &str) -> String {
    let text = fs::read_to_string(format!("{REPOSITORY}/docs/discover-and-doctor.md")).unwrap();
    let start = format!("```console\n$ {command}\n");
    let block = text.split(&start).nth(1).unwrap_or_default();
    block.split("```").next().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_documents_show_what_is_printed_of_this_bench() {
    let lock = bench();
    let store = Store::new("documented");
    let supply = output(SUPPLY_LINE.into());
    supply.set_value(SUPPLY_LINE.into(), Level::Active).unwrap();
    eventually("the lock is there", || lock.bench().powered() && by_id("lock-console").is_some());
    let mut differences = String::new();
    let mut compare = |command: &str, found: &str| {
        if steady(found) != steady(&documented(command)) {
            differences += &format!("\n$ {command}\n{found}");
        }
    };
    // Hubs, ports and chips of the machine itself are no part of the example.
    let discovered = || {
        let (mut found, mut ours) = (String::new(), false);
        for line in store.hilbench(&["discover"]).expect(0).stdout.lines() {
            if !line.starts_with(' ') {
                ours = ["1209:", "0403:", "hci0", "lock0", "ftdi"].iter().any(|mark| line.contains(mark));
            }
            if ours {
                found += &format!("{line}\n");
            }
        }
        found
    };
    // Each plug of the lock is found by the kernel in its own time, the console not always last.
    eventually("all plugs of the lock are there", || {
        let found = discovered();
        ["debug probe 1209:0002", "usb 1209:0003"].iter().all(|plug| found.contains(plug))
    });
    compare("hilbench discover", &discovered());
    supply.set_value(SUPPLY_LINE.into(), Level::Inactive).unwrap();
    drop(supply);
    eventually("the lock is away", || !lock.bench().powered() && by_id("lock-console").is_none());
    for command in ["hilbench doctor --rig rigs/emulated-lock.yaml", "hilbench doctor --rig rigs/emulated-lock.yaml --golden"] {
        let words: Vec<_> = command.split(' ').skip(1).collect();
        // On a machine that is busy with other things a plug may be found later than a step waits for it.
        let mut attempts = String::new();
        let printed = (0..3).find_map(|_| {
            let ended = store.hilbench(&words);
            attempts += &format!("exit code {:?}:\n{}{}\n", ended.code, ended.stdout, ended.stderr);
            (ended.code == Some(0)).then_some(ended.stdout)
        });
        compare(command, &printed.unwrap_or_else(|| panic!("$ {command}\n{attempts}")));
    }
    assert!(differences.is_empty(), "docs/discover-and-doctor.md says otherwise:\n{differences}");
}

/// A program that goes on until it is dropped.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn plugging_and_pulling_are_told_while_they_happen() {
    in_guest();
    let mut bench = Bench::new("watched");
    let mut command = bench.command();
    command.args(["discover", "--watch", "--message-format", "json"]).stdout(Stdio::piped());
    let mut watching = Watching(command.spawn().unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let mut until = |event: &str, part: &str| {
        loop {
            let line = lines.next().unwrap().unwrap();
            let seen: Value = serde_json::from_str(&line).unwrap();
            if seen["event"] == event && seen["identity"].as_str().unwrap().contains(part) {
                return seen;
            }
        }
    };
    until("there", "watched-port");
    bench.console.unplug().unwrap();
    assert_eq!(until("gone", "watched-console")["kind"], "serial");
    bench.console.plug().unwrap();
    assert_eq!(until("new", "watched-console")["rig"]["serial-number"], "watched-console");
    bench.port.unplug().unwrap();
    until("gone", "watched-port");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_pulled_probe_and_a_missing_permission_are_told_with_what_to_do() {
    in_guest();
    let mut bench = Bench::new("sick");
    bench.rig("sick");
    let (code, supply) = Bench::doctor(&mut bench.command(), "supply");
    assert_eq!((code, supply["severity"].as_str()), (Some(0), Some("fine")), "{supply}");

    bench.probe.unplug().unwrap();
    let (code, probe) = Bench::doctor(&mut bench.command(), "probe");
    assert_eq!((code, probe["severity"].as_str()), (Some(4), Some("problem")), "{probe}");
    assert!(probe["what"].as_str().unwrap().contains("there is no debug probe 1209:0002:sick-probe"), "{probe}");
    assert!(probe["advice"].as_str().unwrap().contains("plug it in"), "{probe}");

    bench.probe.plug().unwrap();
    eventually("the probe is back", || Bench::doctor(&mut bench.command(), "probe").0 == Some(0));
    for (subject, advice) in [("console", "usermod -aG"), ("probe", r#"ATTR{idVendor}=="1209", ATTR{idProduct}=="0002""#)] {
        let mut command = bench.command();
        command.uid(NOBODY).gid(NOBODY).env("HILBENCH_STORE", bench.directory.path().join("nobody"));
        let (code, found) = Bench::doctor(&mut command, subject);
        assert_eq!((code, found["severity"].as_str()), (Some(4), Some("problem")), "{found}");
        assert!(found["what"].as_str().unwrap().contains("may not open"), "{found}");
        assert!(found["advice"].as_str().unwrap().contains(advice), "{found}");
    }

    bench.relay.unplug().unwrap();
    let (code, supply) = Bench::doctor(&mut bench.command(), "supply");
    assert_eq!(code, Some(4), "{supply}");
    assert!(supply["what"].as_str().unwrap().contains("no serial port is usb 1a86:7523"), "{supply}");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_draft_of_this_bench_maps_its_console_only_where_one_is_there() {
    in_guest();
    let mut bench = Bench::new("draft");
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rigs/devices/smart-lock.yaml");
    let profile = fs::canonicalize(profile).unwrap();
    // Two serial ports: the relay board could be the console.
    let (code, text) = bench.run(&["discover", "--write", "two.yaml", "--device", profile.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let draft = fs::read_to_string(bench.directory.path().join("two.yaml")).unwrap();
    assert!(!draft.contains("\n  console:") && draft.contains("# console: { driver: serial"), "{draft}");
    let checked = bench.run(&["check", "two.yaml"]);
    assert_eq!(checked.0, Some(0), "{checked:?}\n{draft}");
    bench.relay.unplug().unwrap();
    eventually("its port is gone", || {
        !bench.discovered().iter().any(|one| one["identity"].as_str().unwrap().contains("1a86:7523"))
    });
    let machine_has_ports = bench.discovered().iter().filter(|one| one["kind"] == "serial").count() > 1;
    let (code, text) = bench.run(&["discover", "--write", "one.yaml", "--device", profile.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let draft = fs::read_to_string(bench.directory.path().join("one.yaml")).unwrap();
    assert_eq!(draft.contains("\n  console: { driver: serial, usb: \"1209:0001\""), !machine_has_ports, "{draft}");
}
