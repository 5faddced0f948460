//! The smart lock for power-cut searches: images on a machine, and a console that records what it sends.

use std::{fs, path::Path, time::Duration};

use hilbench::{
    channel::link::{CutPlan, CutSelect, Exchange},
    virtual_dut::{
        CYCLES_PER_SECOND, Machine, MachineConfig,
        bench::{Input, Recording},
    },
};
use regex::bytes::Regex;

fn firmware() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures")
}

/// Content of an image by its id.
pub(crate) fn image(id: &str) -> Vec<u8> {
    fs::read(firmware().join(format!("smart-lock/images/{id}.bin"))).unwrap()
}

fn verify_entry(bootloader: &str) -> u32 {
    let manifest = fs::read_to_string(firmware().join("manifest.toml")).unwrap();
    let section = manifest.split("[[image]]").find(|part| part.contains(&format!("id = \"{bootloader}\"\n"))).unwrap();
    let line = section.lines().find_map(|line| line.strip_prefix("verify-entry = 0x")).unwrap();
    u32::from_str_radix(line, 16).unwrap()
}

/// A lock with lock-v1 and settings of its own, up and running.
pub(crate) struct Lock {
    pub machine: Machine,
    pub entry: Option<u32>,
}

pub(crate) fn exchange(send: &str, expect: &str, seconds: u64) -> Exchange {
    Exchange { send: send.into(), expect: Some(Regex::new(expect).unwrap()), within: Duration::from_secs(seconds) }
}

pub(crate) fn login() -> Exchange {
    exchange("login admin 24681357\n", r"(?m)^ok\r", 2)
}

/// A complete update without confirmation.
pub(crate) fn install(image_id: &str) -> Vec<Exchange> {
    let bytes = image(image_id);
    let mut all = vec![login(), exchange(&format!("update {}\n", bytes.len()), r"(?m)^send\r", 2)];
    let ack = Regex::new(r"(?m)^ack \d+\r").unwrap();
    all.extend(bytes.chunks(64).map(|part| Exchange {
        send: part.to_vec(),
        expect: Some(ack.clone()),
        within: Duration::from_secs(2),
    }));
    all.push(exchange("", r"BL: swap\r", 30));
    all.push(exchange("", r"smart-lock (?<running>\S+) ready\r", 30));
    all
}

pub(crate) fn confirm() -> Vec<Exchange> {
    vec![login(), exchange("confirm\n", r"(?m)^confirmed\r", 2)]
}

/// From lock-v1 to `new`, as the device profile of the shipped rig says it.
pub(crate) fn plan(new: &str) -> CutPlan {
    CutPlan {
        select: CutSelect::All,
        torn: 2,
        second: 0,
        ready: Regex::new(r"smart-lock (?<version>\S+) ready\r").unwrap(),
        recovery: Duration::from_secs(15),
        old_version: "1.0.0".into(),
        new_version: format!("{}.0.0", &new[new.len() - 1..]),
        settings: vec![login(), exchange("settings\n", r"settings (?<value>name=\S+ volume=\d+ autolock=\d+)\r", 2)],
        counter: vec![exchange("version\n", r"version \S+ counter (?<value>\d+) \w+\r", 2)],
        confirm: confirm(),
        update: [install(new), confirm()].concat(),
        threads: 0,
        memoise: true,
    }
}

impl Lock {
    pub(crate) fn good() -> Self {
        Self::with("bootloader")
    }

    pub(crate) fn with(bootloader: &str) -> Self {
        let mut machine = Machine::new(MachineConfig::default());
        machine.preload(0, &image(bootloader)).unwrap();
        machine.preload(0x6000, &image("lock-v1")).unwrap();
        let entry = verify_entry(bootloader);
        machine.power_on();
        let mut lock = Self { machine, entry: Some(entry) };
        lock.ask(
            &[exchange("", r"smart-lock 1\.0\.0 ready\r", 15), login(), exchange("set volume 9\n", r"(?m)^ok\r", 2)],
            &mut Vec::new(),
        );
        lock
    }

    /// Asks and records what was sent.
    pub(crate) fn ask(&mut self, exchanges: &[Exchange], inputs: &mut Vec<(u64, Input)>) {
        let machine = &mut self.machine;
        for exchange in exchanges {
            if !exchange.send.is_empty() {
                inputs.push((machine.now(), Input::Serial(exchange.send.clone())));
                machine.uart_push(&exchange.send);
            }
            let Some(pattern) = &exchange.expect else { continue };
            let until = machine.now() + exchange.within.as_secs() * CYCLES_PER_SECOND;
            let mut output = Vec::new();
            machine.stop_on_uart(true);
            while !(output.ends_with(b"\n") && pattern.is_match(&output)) {
                assert!(machine.now() < until, "`{pattern}` not in: {}", String::from_utf8_lossy(&output));
                machine.run_until(until);
                output.extend(machine.uart_take());
            }
        }
    }

    /// Does it and records it.
    pub(crate) fn record(&self, exchanges: &[Exchange]) -> Recording<Machine> {
        let mut lock = Self { machine: self.machine.clone(), entry: self.entry };
        let mut inputs = Vec::new();
        lock.ask(exchanges, &mut inputs);
        Recording { start: self.machine.clone(), inputs, end_cycle: lock.machine.now() }
    }

    /// A whole genuine update, confirmation included.
    pub(crate) fn update(&self, new: &str) -> Recording<Machine> {
        self.record(&[install(new), confirm()].concat())
    }
}
