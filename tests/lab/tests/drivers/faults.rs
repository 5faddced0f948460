//! Cables that are pulled and controllers that are killed at random moments of a run: never a wrong pass or fail, and a bench that is safe and free
//! afterwards.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use lab::{
    bench::{BUTTON_LINE, Part, SUPPLY_LINE},
    lock::Lock,
};

use crate::{
    host::{eventually, pass},
    program::{RIG, Store, bench},
    relay::output,
};

const PLAN: &str = "tests/lab/plans/faults.yaml";

/// How many moments are tried; `HILBENCH_LAB_MOMENTS` says otherwise, as a share of them in percent.
pub(crate) fn moments(full: u32) -> u32 {
    let percent = std::env::var("HILBENCH_LAB_MOMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_u32);
    (full * percent).div_ceil(100)
}

/// Random numbers that a failure can be repeated with (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        limit.mul_f64((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// A run that nobody disturbs passes. How long it took.
#[track_caller]
fn undisturbed(store: &Store) -> Duration {
    let start = Instant::now();
    store.hilbench(&["run", PLAN, "--rig", RIG]).expect(0);
    start.elapsed()
}

#[track_caller]
fn without_power(lock: &Lock) {
    eventually("the supply is off", || !lock.bench().powered());
    assert!(lock.bench().trouble().is_none());
}

/// What the network tools print.
fn told(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// No rule, no queueing discipline and no device of a run is left, and the port is up.
#[track_caller]
fn network_is_free() {
    let mut left = String::new();
    for _ in 0..1000 {
        let (tables, disciplines, links) = (told("nft list tables"), told("tc qdisc show"), told("ip -o link show"));
        let port = links.lines().find(|line| line.contains("lock0")).unwrap_or_default();
        if !tables.contains("hilbench_") && !disciplines.contains("68b:") && !links.contains("hilblock0") && port.contains("UP") {
            return;
        }
        left = [tables, disciplines, links].concat();
        pass(Duration::from_millis(10));
    }
    panic!("of the run is left:\n{left}");
}

/// Pulls and puts back a cable of the device at random moments of runs.
#[expect(clippy::print_stdout, reason = "how the runs ended is a result of these tests beside that none ended wrongly")]
fn pulled_at_random(part: Part, seed: u64) {
    let lock = bench();
    let store = Store::new("pulled");
    let length = undisturbed(&store);
    let mut dice = Dice(seed);
    let mut ends = [0_u32; 5];
    for moment in 0..moments(50) {
        let run = store.start(&["run", PLAN, "--rig", RIG]);
        let (after, for_so_long) = (dice.below(length), dice.below(Duration::from_millis(600)));
        pass(after);
        lock.bench().pull(part).unwrap();
        pass(for_so_long);
        lock.bench().put_back(part).unwrap();
        let ended = run.end();
        // Passed because it was back in time, not to be judged, or a fault of the bench. The device did nothing wrong.
        let code = ended.code.unwrap_or(-1);
        assert!(
            [0, 3, 4].contains(&code),
            "moment {moment}: {part:?} pulled after {after:?} for {for_so_long:?} ended {code}\n{}\n{}",
            ended.stdout,
            ended.stderr
        );
        ends[code as usize] += 1;
        without_power(&lock);
    }
    println!("{part:?}: {} passed, {} inconclusive, {} bench faults", ends[0], ends[3], ends[4]);
    undisturbed(&store);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_console_pulled_at_random_moments_is_never_held_against_the_device() {
    pulled_at_random(Part::Console, 1);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_probe_pulled_at_random_moments_is_never_held_against_the_device() {
    pulled_at_random(Part::Probe, 2);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_usb_port_pulled_at_random_moments_is_never_held_against_the_device() {
    pulled_at_random(Part::Port, 3);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_controller_killed_at_random_moments_leaves_a_safe_and_free_bench() {
    let lock = bench();
    let store = Store::new("killed");
    let length = undisturbed(&store);
    let mut dice = Dice(4);
    let mut disturbed = 0;
    for moment in 0..moments(100) {
        let mut run = store.start(&["run", PLAN, "--rig", RIG]);
        let after = dice.below(length);
        pass(after);
        run.child.kill().unwrap();
        // The guard may have been faster.
        disturbed += u32::from(told("nft list tables").contains("hilbench_"));
        run.end();
        without_power(&lock);
        network_is_free();
        // Nobody holds the relay's lines any more, so the guard is done.
        for line in [SUPPLY_LINE, BUTTON_LINE] {
            drop(output(line.into()));
        }
        if moment % 10 == 9 {
            undisturbed(&store);
        }
    }
    println!("the device's network was disturbed at {disturbed} of these moments");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_welded_relay_is_a_fault_of_the_bench() {
    let lock = bench();
    let store = Store::new("welded");
    let run = store.start(&["run", PLAN, "--rig", RIG]);
    eventually("the relay closes", || lock.bench().powered());
    lock.bench().weld(true);
    let ended = run.end();
    // Not even the safe state can be reached, and that is what the technician has to know first.
    ended.expect(5);
    assert!(ended.stdout.contains("BENCH-FAULT") && ended.stdout.contains("supply"), "{}", ended.stdout);
    lock.bench().weld(false);
    without_power(&lock);
}
