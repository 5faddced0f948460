//! The emulated device against QEMU's `microbit` machine, an independent model of the same chip. `HILBENCH_DIFF_COUNT` sets the number of
//! instructions compared, `HILBENCH_DIFF_SEED` which.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![expect(clippy::print_stderr, reason = "what was compared and what was skipped must be seen")]

#[path = "qemu/console.rs"]
mod console;
#[path = "qemu/emulator.rs"]
mod emulator;
#[path = "qemu/exceptions.rs"]
mod exceptions;
#[path = "qemu/instructions.rs"]
mod instructions;
#[path = "qemu/rules.rs"]
mod rules;
#[path = "qemu/state.rs"]
mod state;

#[test]
fn sixteen_bit_instructions_do_the_same() {
    if emulator::is_there() {
        instructions::sixteen_bit();
    }
}

#[test]
fn special_and_undefined_instructions_do_the_same() {
    if emulator::is_there() {
        instructions::thirty_two_bit();
    }
}

#[test]
fn exceptions_nest_and_return_the_same() {
    if emulator::is_there() {
        exceptions::same_trace();
    }
}

#[test]
fn the_firmware_says_the_same_on_its_console() {
    if emulator::is_there() {
        console::same_transcript();
    }
}
