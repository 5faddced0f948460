//! Registers of either side, and the machine driven as a debugger drives it.

use std::fmt;

use hilbench::virtual_dut::{Machine, MachineConfig, RAM_BASE, RAM_SIZE, Size};

const DHCSR: u32 = 0xE000_EDF0;
const DCRSR: u32 = 0xE000_EDF4;
const DCRDR: u32 = 0xE000_EDF8;

/// r0 to r15 and xPSR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) [u32; 17]);

impl State {
    pub(crate) const fn sp(&self) -> u32 {
        self.0[13]
    }

    pub(crate) const fn pc(&self) -> u32 {
        self.0[15]
    }

    /// By IPSR: an exception has been taken.
    pub(crate) const fn in_handler(&self) -> bool {
        self.0[16] & 0x3F != 0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in self.0.iter().enumerate() {
            let name =
                ["sp", "lr", "pc", "xpsr"].get(number.wrapping_sub(13)).map_or(format!("r{number}"), |name| (*name).into());
            write!(f, "{}{name}={value:08x}", if number == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32) as u32
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.word() % limit
    }
}

/// A machine, halted before its first instruction, with `flash` at address 0 and `ram`.
pub(crate) fn halted(flash: &[u8], ram: &[u8]) -> Machine {
    let mut machine = Machine::new(MachineConfig::default());
    machine.preload(0, flash).unwrap();
    machine.power_on();
    machine.debug_write(DHCSR, Size::Word, 0xA05F_0003).unwrap();
    machine.run_until(100_000);
    assert!(machine.is_halted());
    write(&mut machine, RAM_BASE, ram);
    machine
}

pub(crate) fn write(machine: &mut Machine, address: u32, bytes: &[u8]) {
    if address < RAM_BASE {
        machine.preload(address, bytes).unwrap();
        return;
    }
    for (at, byte) in (address..).zip(bytes) {
        machine.debug_write(at, Size::Byte, u32::from(*byte)).unwrap();
    }
}

pub(crate) fn read(machine: &mut Machine, address: u32, len: u32) -> Vec<u8> {
    (address..address + len).map(|at| machine.debug_read(at, Size::Byte).unwrap() as u8).collect()
}

pub(crate) fn ram(machine: &mut Machine) -> Vec<u8> {
    read(machine, RAM_BASE, RAM_SIZE)
}

/// Registers of the machine; halts it.
pub(crate) fn state(machine: &mut Machine) -> State {
    machine.debug_write(DHCSR, Size::Word, 0xA05F_0003).unwrap();
    State(std::array::from_fn(|number| {
        machine.debug_write(DCRSR, Size::Word, number as u32).unwrap();
        machine.debug_read(DCRDR, Size::Word).unwrap()
    }))
}

/// Sets the registers of a halted machine and lets it go.
pub(crate) fn release(machine: &mut Machine, state: &State) {
    for (number, value) in (0..).zip(state.0) {
        machine.debug_write(DCRDR, Size::Word, value).unwrap();
        machine.debug_write(DCRSR, Size::Word, 1 << 16 | number).unwrap();
    }
    machine.debug_write(DHCSR, Size::Word, 0xA05F_0001).unwrap();
}
