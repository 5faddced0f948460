//! The core as a whole: special registers and modes (DDI 0419, B1). What it does with them is in the modules below.

mod exceptions;
mod remember;
mod run;
mod system;
#[cfg(test)]
mod tests;

use std::mem;

use super::{
    cpu::{Flags, Registers},
    nvic::Nvic,
};

/// Registers and modes of the core.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Core {
    pub(super) registers: Registers,
    /// The stack pointer that is not in `registers`: PSP in use of MSP, and the reverse.
    other_sp: u32,
    /// CONTROL.SPSEL: thread mode uses PSP.
    process_stack: bool,
    pub(super) ipsr: u32,
    primask: bool,
    /// The T bit. Cleared, every instruction faults.
    thumb: bool,
    /// The event register of WFE.
    pub(super) event: bool,
    pub(super) sleeping: bool,
    /// Asleep by WFE: an event wakes it too.
    by_event: bool,
    pub(super) locked_up: bool,
    /// Time of the first instruction after a reset.
    pub(super) starts_at: Option<u64>,
    /// The core is inside a call whose effects are already in place.
    pub(super) busy_until: u64,
    /// The debugger has let it go on: the breakpoint it stands at does not count.
    pub(super) skip_breakpoint: bool,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            registers: Registers { r: [0; 16], flags: Flags::from_apsr(0), pc: 0 },
            other_sp: 0,
            process_stack: false,
            ipsr: 0,
            primask: false,
            thumb: true,
            event: false,
            sleeping: false,
            by_event: false,
            locked_up: false,
            starts_at: None,
            busy_until: 0,
            skip_breakpoint: false,
        }
    }
}

impl Core {
    /// In reset until `starts_at`.
    pub(super) fn in_reset(starts_at: u64) -> Self {
        Self { starts_at: Some(starts_at), ..Self::default() }
    }

    /// Reset state with the vectors.
    pub(super) fn start(&mut self, sp: u32, entry: u32) {
        *self = Self::default();
        self.registers.r[13] = sp & !3;
        self.registers.r[14] = u32::MAX;
        self.registers.pc = entry & !1;
        self.thumb = entry & 1 == 1;
    }

    const fn xpsr(&self) -> u32 {
        self.registers.flags.apsr() | (self.thumb as u32) << 24 | self.ipsr
    }

    const fn main_sp(&self) -> u32 {
        if self.process_stack { self.other_sp } else { self.registers.r[13] }
    }

    const fn process_sp(&self) -> u32 {
        if self.process_stack { self.registers.r[13] } else { self.other_sp }
    }

    /// Puts the stack pointer of `process` into r13.
    const fn select_stack(&mut self, process: bool) {
        if self.process_stack != process {
            self.process_stack = process;
            mem::swap(&mut self.registers.r[13], &mut self.other_sp);
        }
    }

    /// Whether sleep is over.
    pub(super) fn awake(&mut self, nvic: &Nvic) -> bool {
        if self.by_event && self.event {
            self.event = false;
            return true;
        }
        nvic.wakes()
    }

    /// A register by the number the debugger uses (DDI 0419, C1.6.4).
    pub(super) fn debug_register(&self, number: u32) -> u32 {
        match number {
            15 => self.registers.pc,
            16 => self.xpsr(),
            17 => self.main_sp(),
            18 => self.process_sp(),
            20 => u32::from(self.primask) | u32::from(self.process_stack) << 25,
            0..=14 => self.registers.r[number as usize],
            _ => 0,
        }
    }

    pub(super) fn set_debug_register(&mut self, number: u32, value: u32) {
        match number {
            13 => self.registers.r[13] = value & !3,
            15 => {
                self.registers.pc = value & !1;
                self.locked_up = false;
            }
            16 => {
                self.registers.flags = Flags::from_apsr(value);
                self.thumb = value >> 24 & 1 == 1;
                self.ipsr = value & 0x3F;
            }
            17 if self.process_stack => self.other_sp = value & !3,
            17 => self.registers.r[13] = value & !3,
            18 if self.process_stack => self.registers.r[13] = value & !3,
            18 => self.other_sp = value & !3,
            20 => {
                self.primask = value & 1 == 1;
                if self.ipsr == 0 {
                    self.select_stack(value >> 25 & 1 == 1);
                }
            }
            0..=14 => self.registers.r[number as usize] = value,
            _ => {}
        }
    }
}
