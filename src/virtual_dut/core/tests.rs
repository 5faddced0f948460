//! The core with programs of a few instructions.

use std::sync::Arc;

use super::super::{Machine, MachineConfig, RAM_BASE, RAM_SIZE, Size, VerifyMemo, nvic};

const HERE: u16 = 0xE7FE;
const BX_LR: u16 = 0x4770;
const UDF: u16 = 0xDE00;
const SVC: u16 = 0xDF00;
const WFI: u16 = 0xBF30;
const NOP: u16 = 0xBF00;
const MAIN: u32 = 0x800;
const TOP: u32 = RAM_BASE + RAM_SIZE;

/// Where the handler of an exception is.
const fn handler(exception: u32) -> u32 {
    0x100 + 0x20 * exception
}

/// A started machine: `main`, and handlers for some exceptions; the others return at once.
fn started(main: &[u16], handlers: &[(u32, &[u16])]) -> Machine {
    let mut machine = Machine::new(MachineConfig::default());
    let mut put = |address, code: &[u16]| {
        let bytes: Vec<u8> = code.iter().flat_map(|half| half.to_le_bytes()).collect();
        machine.preload(address, &bytes).unwrap();
    };
    for exception in 2..48 {
        let vector = handler(exception) | 1;
        put(4 * exception, &[vector as u16, 0]);
        put(handler(exception), &[BX_LR]);
    }
    put(0, &[0x4000, 0x2000, MAIN as u16 | 1, 0]);
    put(MAIN, main);
    for (exception, code) in handlers {
        put(handler(*exception), code);
    }
    machine.power_on();
    let start = machine.core.starts_at.unwrap();
    machine.run_until(start);
    assert_eq!((machine.core.registers.pc, machine.instructions()), (MAIN, 0));
    machine
}

/// Enables interrupts 0 to 3 with priorities 2, 1, 1, 0.
fn with_interrupts(mut machine: Machine) -> Machine {
    machine.soc.nvic.write(0x100, 0xF);
    machine.soc.nvic.write(0x400, 0x0040_4080);
    machine
}

fn pend(machine: &mut Machine, irq: u32) {
    machine.soc.nvic.set_pending(nvic::IRQ0 + irq);
}

/// Steps until the exception number changes, and tells it.
fn next_exception(machine: &mut Machine) -> u32 {
    let before = machine.core.ipsr;
    for _ in 0..100 {
        machine.step();
        if machine.core.ipsr != before {
            break;
        }
    }
    machine.core.ipsr
}

#[test]
fn the_more_urgent_nests_and_the_equal_waits() {
    let mut machine = with_interrupts(started(&[HERE], &[]));
    pend(&mut machine, 0);
    assert_eq!(next_exception(&mut machine), 16);
    assert_eq!(machine.core.registers.r[14], 0xFFFF_FFF9);
    pend(&mut machine, 1);
    machine.step();
    assert_eq!((machine.core.ipsr, machine.core.registers.r[14]), (17, 0xFFFF_FFF1));
    pend(&mut machine, 2);
    pend(&mut machine, 0);
    // 17 returns to 16, which 18 preempts before it goes on; 16 comes a second time only after the first has returned.
    assert_eq!([(); 6].map(|()| next_exception(&mut machine)), [16, 18, 16, 0, 16, 0], "one after the other");
    assert_eq!(machine.core.registers.r[13], TOP);
}

#[test]
fn of_equal_urgency_the_lower_number_comes_first_and_a_pending_one_follows_without_thread_mode_between() {
    let mut machine = with_interrupts(started(&[0x3001, 0xE7FD], &[]));
    pend(&mut machine, 2);
    pend(&mut machine, 1);
    machine.step();
    assert_eq!(machine.core.ipsr, 17);
    let executed = machine.core.registers.r[0];
    // The model returns and enters anew, but executes nothing between.
    assert_eq!([(); 3].map(|()| next_exception(&mut machine)), [0, 18, 0]);
    assert_eq!(machine.core.registers.r[0], executed, "no instruction of thread mode between");
}

#[test]
fn primask_holds_back_all_but_nmi_and_hard_fault() {
    let mut machine = with_interrupts(started(&[0xB672, NOP, NOP, UDF, 0xB662, HERE], &[(3, &[HERE]), (2, &[BX_LR])]));
    machine.step();
    pend(&mut machine, 3);
    machine.step();
    assert_eq!(machine.core.ipsr, 0);
    machine.soc.nvic.set_pending(nvic::NMI);
    machine.step();
    assert_eq!(machine.core.ipsr, nvic::NMI);
    assert_eq!(next_exception(&mut machine), 0);
    assert_eq!(next_exception(&mut machine), nvic::HARD_FAULT, "by UDF");
}

#[test]
fn an_interrupt_that_waited_is_taken_when_primask_is_cleared() {
    let mut machine = with_interrupts(started(&[0xB672, NOP, 0xB662, NOP, HERE], &[]));
    machine.step();
    pend(&mut machine, 0);
    machine.step();
    machine.step();
    assert_eq!(machine.core.ipsr, 0);
    machine.step();
    assert_eq!((machine.core.ipsr, machine.core.registers.pc), (16, handler(16)));
}

#[test]
fn a_call_that_cannot_be_taken_is_a_fault() {
    let mut machine = started(&[0xB672, SVC, HERE], &[(3, &[HERE])]);
    machine.step();
    machine.step();
    assert_eq!(machine.core.ipsr, nvic::HARD_FAULT);
}

#[test]
fn the_process_stack_is_used_and_returned_to() {
    let process = RAM_BASE + 0x1004;
    let mut machine = started(&[SVC, HERE], &[]);
    machine.core.set_debug_register(18, process);
    machine.core.set_debug_register(20, 2 << 24);
    machine.core.registers.r[4] = 0x1234;
    machine.step();
    let core = &machine.core;
    assert_eq!((core.ipsr, core.registers.r[14], core.main_sp()), (nvic::SV_CALL, 0xFFFF_FFFD, TOP));
    // The frame is aligned to eight bytes, and the stacked xPSR tells that it has been.
    assert_eq!(core.process_sp(), process - 0x24);
    assert_eq!(machine.debug_read(process - 0x24 + 28, Size::Word).unwrap() >> 9 & 1, 1);
    machine.step();
    let core = &machine.core;
    assert_eq!((core.ipsr, core.process_stack, core.registers.r[13], core.registers.pc), (0, true, process, MAIN + 2));
}

#[test]
fn a_wrong_exception_return_is_a_fault() {
    for link in [0xFFFF_FFF0_u32, 0xFFFF_FFF1, 0xFFFF_FFFF] {
        let mut machine = started(&[SVC, HERE], &[(3, &[HERE])]);
        machine.step();
        machine.core.registers.r[14] = link;
        machine.step();
        assert_eq!(machine.core.ipsr, nvic::HARD_FAULT, "{link:#x}");
    }
}

#[test]
fn a_fault_in_the_fault_handler_locks_up_and_resets_a_device_that_nobody_debugs() {
    let mut machine = started(&[UDF], &[(3, &[UDF])]);
    machine.run_until(machine.now() + 100_000);
    assert_eq!(machine.debug_read(0x4000_0400, Size::Word), Ok(8), "RESETREAS.LOCKUP");
}

#[test]
fn under_a_debugger_lock_up_stays_until_it_halts_the_core() {
    let mut machine = started(&[UDF], &[(3, &[UDF])]);
    machine.debug_write(0xE000_EDF0, Size::Word, 0xA05F_0001).unwrap();
    machine.run_until(machine.now() + 100_000);
    assert!(machine.is_locked_up());
    assert_eq!(machine.debug_read(0xE000_EDF0, Size::Word).unwrap() >> 19 & 1, 1, "S_LOCKUP");
    let executed = machine.instructions();
    machine.run_until(machine.now() + 100_000);
    assert_eq!(machine.instructions(), executed);
    machine.debug_write(0xE000_EDF0, Size::Word, 0xA05F_0003).unwrap();
    assert!(machine.is_halted() && !machine.is_locked_up());
}

#[test]
fn a_frame_that_does_not_fit_into_ram_locks_up() {
    let mut machine = started(&[UDF], &[]);
    machine.core.registers.r[13] = RAM_BASE + 8;
    machine.debug_write(0xE000_EDF0, Size::Word, 0xA05F_0001).unwrap();
    machine.run_until(machine.now() + 1000);
    assert!(machine.is_locked_up());
}

#[test]
fn sleep_ends_by_a_pending_interrupt_even_if_masked() {
    let mut machine = with_interrupts(started(&[0xB672, WFI, NOP, HERE], &[]));
    machine.run_until(machine.now() + 1000);
    assert!(machine.core.sleeping);
    let executed = machine.instructions();
    machine.run_until(machine.now() + 1000);
    assert_eq!(machine.instructions(), executed);
    pend(&mut machine, 0);
    machine.run_until(machine.now() + 10);
    assert!(!machine.core.sleeping && machine.core.ipsr == 0);
}

#[test]
fn sleep_on_exit_sleeps_when_the_last_handler_returns() {
    let mut machine = with_interrupts(started(&[HERE], &[]));
    machine.debug_write(0xE000_ED10, Size::Word, 2).unwrap();
    pend(&mut machine, 0);
    machine.run_until(machine.now() + 100);
    assert!(machine.core.sleeping && machine.core.ipsr == 0);
}

#[test]
fn instructions_in_flash_count_as_retired() {
    let mut machine = started(&[HERE], &[]);
    machine.run_until(machine.now() + 100);
    let retired = |machine: &mut Machine| machine.debug_read(0xE000_EDF0, Size::Word).unwrap() >> 24 & 1;
    assert_eq!((retired(&mut machine), retired(&mut machine)), (1, 0), "cleared by reading");
    machine.run_until(machine.now() + 100);
    assert_eq!(retired(&mut machine), 1);
}

#[test]
fn a_step_is_one_instruction_and_no_time_is_run_past() {
    // Three loads of two cycles, one cycle, and three.
    let mut machine = started(&[0x6808, 0x6808, 0x6808, NOP, 0xE7FA], &[]);
    machine.core.registers.r[1] = RAM_BASE;
    for executed in 1..50 {
        machine.step();
        assert_eq!(machine.instructions(), executed);
    }
    for _ in 0..50 {
        let until = machine.now() + 4;
        machine.run_until(until);
        assert!((until..until + 3).contains(&machine.now()));
        let (now, executed) = (machine.now(), machine.instructions());
        machine.run_until(now);
        assert_eq!((machine.now(), machine.instructions()), (now, executed));
    }
}

#[test]
fn a_remembered_function_is_recognised_even_if_execution_falls_into_it() {
    let memo = Arc::new(VerifyMemo::new());
    let mut machine = started(&[NOP, NOP, NOP, HERE], &[]);
    machine.memoise_verify(MAIN + 4, memo.clone());
    let r = &mut machine.core.registers.r;
    (r[0], r[1], r[3]) = (RAM_BASE, RAM_BASE, 0);
    machine.run_until(machine.now() + 1000);
    assert_eq!(memo.hits_and_misses(), (0, 1));
}
