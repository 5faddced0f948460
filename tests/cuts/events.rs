//! Event log and crash dump of the lock: how much is kept, what a cut leaves of an entry, what a fault leaves.

use hilbench::{
    channel::link::Exchange,
    event::CutPhase,
    virtual_dut::{CYCLES_PER_SECOND, StopReason},
};

use super::lock::{Lock, exchange, install, login};

fn unlock() -> [Exchange; 1] {
    [exchange("unlock\n", r"(?m)^ok\r", 2)]
}

#[test]
fn the_latest_events_are_kept_round_and_round_and_over_a_restart() {
    let mut lock = Lock::good();
    lock.ask(&[login()], &mut Vec::new());
    for _ in 0..100 {
        lock.ask(&unlock(), &mut Vec::new());
    }
    // More than a page of 42 and less than two: the start, the oldest, is gone.
    let full = exchange("log\n", r"\A(?:log \d+ opened by admin\r\n){43,84}log end \d+\r", 2);
    lock.ask(&[full], &mut Vec::new());
    lock.machine.power_off();
    lock.machine.power_on();
    let after = exchange("log\n", r"\A(?:log \d+ opened by admin\r\n){43,84}log \d+ start power-on\r\nlog end \d+\r", 2);
    lock.ask(&[exchange("", r"smart-lock 1\.0\.0 ready\r", 15), login(), after], &mut Vec::new());
}

#[test]
fn an_event_that_a_cut_has_torn_is_left_out_and_the_next_one_is_kept() {
    let mut lock = Lock::good();
    lock.ask(&[login()], &mut Vec::new());
    let before = lock.machine.nv().counts().total();
    let end = {
        let mut whole = Lock { machine: lock.machine.clone(), entry: lock.entry };
        whole.ask(&unlock(), &mut Vec::new());
        whole.machine.nv().counts().total()
    };
    assert!(end - before >= 4, "an event is several words: {before} to {end}");
    for operation in before..end {
        for seed in 0..2 {
            let mut cut = Lock { machine: lock.machine.clone(), entry: lock.entry };
            cut.machine.arm_cut(operation, CutPhase::Torn { seed });
            cut.machine.uart_push(b"unlock\n");
            cut.machine.stop_on_uart(false);
            assert_eq!(cut.machine.run_until(cut.machine.now() + 2 * CYCLES_PER_SECOND), StopReason::CutReached, "{operation}");
            cut.machine.disarm_cut();
            cut.machine.power_on();
            // The last word may have been finished by a tear that left nothing out; then the event counts.
            let told = exchange(
                "unlock\nlog\n",
                r"\Aok\r\nlog \d+ start power-on\r\n(?:log \d+ opened by admin\r\n)?log \d+ start power-on\r\nlog \d+ opened by admin\r\nlog end [34]\r",
                2,
            );
            cut.ask(&[exchange("", r"smart-lock 1\.0\.0 ready\r", 15), login(), told], &mut Vec::new());
        }
    }
}

#[test]
fn a_fault_and_a_watchdog_are_dumped_and_noted() {
    let mut lock = Lock::good();
    let crash = exchange("crash\n", r"\Aok\r\nBL: reset soft\r\n(?s:.*)smart-lock 1\.0\.0 ready\r", 15);
    // The handler's stack pointer lies in RAM, the program counter in slot A.
    let fault = r"dump \d+ fault lr 0000[6-9a-f][0-9a-f]{3} pc 0000[6-9a-f][0-9a-f]{3} psr [0-9a-f]{8} sp 20003[0-9a-f]{3}\r\n";
    let dump = exchange("dump\n", &format!(r"\A{fault}dump end 1\r"), 2);
    let log = exchange("log\n", r"log \d+ fault hard\r\nlog \d+ start soft\r\nlog end 3\r", 2);
    lock.ask(&[login(), crash, login(), dump, log], &mut Vec::new());
    lock.ask(&install("lock-v2-hang"), &mut Vec::new());
    let dump = exchange("dump\n", &format!(r"\A{fault}dump \d+ watchdog\r\ndump end 2\r"), 2);
    let log = exchange("log\n", r"log \d+ start watchdog\r\nlog end \d+\r", 2);
    lock.ask(&[login(), dump, log], &mut Vec::new());
}
