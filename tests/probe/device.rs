//! A virtual device on a bench of its own, shared between a test and the probe.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hilbench::{
    event::CutPhase,
    virtual_dut::{
        BusFault, Machine, MachineConfig, RAM_BASE, Size,
        dap::DebugTarget,
        probe::{Registered, register},
    },
};

struct Bench {
    machine: Machine,
    power_ups: u64,
}

/// A handle of the device; clones are the same device.
#[derive(Clone)]
pub(crate) struct Device(Arc<Mutex<Bench>>);

/// Where [`counting_program`] keeps its count.
pub(crate) const COUNTER: u32 = RAM_BASE;

/// Addresses of the first and last instruction of the endless loop of [`counting_program`].
pub(crate) struct Loop {
    pub(crate) start: u32,
    pub(crate) end: u32,
}
pub(crate) const LOOP: Loop = Loop { start: 0x44, end: 0x48 };

/// A program that counts in RAM for ever: vectors, then
/// `movs r0, #0; ldr r1, =COUNTER; 1: adds r0, #1; str r0, [r1]; b 1b`.
pub(crate) fn counting_program() -> Vec<u8> {
    let mut program = Vec::new();
    program.extend((RAM_BASE + 0x4000).to_le_bytes());
    program.extend(0x41_u32.to_le_bytes());
    program.resize(0x40, 0);
    for halfword in [0x2000_u16, 0x4902, 0x3001, 0x6008, 0xE7FC, 0x46C0] {
        program.extend(halfword.to_le_bytes());
    }
    program.extend(COUNTER.to_le_bytes());
    program
}

/// Bytes that look random and depend on `seed`.
pub(crate) fn image(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed) | 0x100;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

impl Device {
    /// A device with `flash` in it, powered up a while ago.
    pub(crate) fn running(flash: &[u8]) -> Self {
        let mut machine = Machine::new(MachineConfig::default());
        machine.preload(0, flash).expect("it fits into flash");
        let device = Self(Arc::new(Mutex::new(Bench { machine, power_ups: 0 })));
        device.power(true);
        device.run(10_000);
        device
    }

    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn plug_in(&self, serial: &str) -> Registered {
        register(serial, self.clone()).expect("each test has a serial number of its own")
    }

    pub(crate) fn power(&self, up: bool) {
        let mut bench = self.bench();
        if up {
            bench.power_ups += 1;
            bench.machine.power_on();
            let settled = bench.machine.now() + 10_000;
            bench.machine.run_until(settled);
        } else {
            bench.machine.power_off();
        }
    }

    pub(crate) fn powered(&self) -> bool {
        self.bench().machine.is_powered()
    }

    /// Lets cycles pass.
    pub(crate) fn run(&self, cycles: u64) {
        let mut bench = self.bench();
        let until = bench.machine.now() + cycles;
        while bench.machine.now() < until && bench.machine.is_powered() {
            bench.machine.run_until(until);
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.bench().machine.now()
    }

    pub(crate) fn preload(&self, address: u32, bytes: &[u8]) {
        self.bench().machine.preload(address, bytes).expect("it fits into flash");
    }

    /// Content of flash or UICR, past any protection.
    pub(crate) fn flash(&self, address: u32, len: u32) -> Vec<u8> {
        self.bench().machine.nv().read(address, len).expect("it is inside flash")
    }

    /// The count of [`counting_program`], as a debugger would see it.
    pub(crate) fn counter(&self) -> u32 {
        self.bench().machine.debug_read(COUNTER, Size::Word).expect("RAM answers while powered")
    }

    /// Cuts the supply at a flash operation, counted from the next.
    pub(crate) fn cut_at_flash_operation(&self, operation: u64, phase: CutPhase) {
        let mut bench = self.bench();
        let absolute = bench.machine.nv().counts().total() + operation;
        bench.machine.arm_cut(absolute, phase);
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.bench().machine.digest()
    }
}

impl DebugTarget for Device {
    fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        self.bench().machine.debug_read(address, size)
    }

    fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        self.bench().machine.debug_write(address, size, value)
    }

    fn run(&mut self, cycles: u64) {
        Device::run(self, cycles);
    }

    fn powered(&mut self) -> bool {
        Device::powered(self)
    }

    fn power_ups(&mut self) -> u64 {
        self.bench().power_ups
    }

    fn set_nrst(&mut self, high: bool) {
        if !high {
            self.bench().machine.pin_reset();
        }
    }
}

/// A device with power whose debug port is switched off: the sense pin sees the supply, and nobody answers.
pub(crate) struct Silent {
    pub(crate) sensed: bool,
}

impl DebugTarget for Silent {
    fn debug_read(&mut self, address: u32, _: Size) -> Result<u32, BusFault> {
        Err(BusFault { address })
    }

    fn debug_write(&mut self, address: u32, _: Size, _: u32) -> Result<(), BusFault> {
        Err(BusFault { address })
    }

    fn run(&mut self, _: u64) {}

    /// The first to ask is the sense pin; the debug port asks after it, and a port without power is one that does not answer.
    fn powered(&mut self) -> bool {
        !std::mem::replace(&mut self.sensed, true)
    }

    fn power_ups(&mut self) -> u64 {
        1
    }

    fn set_nrst(&mut self, _: bool) {}
}
