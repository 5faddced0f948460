//! Halting debug (DDI 0419, C1): debug registers, breakpoint unit, watchpoint stub and the ROM tables.

/// DFSR bits.
pub(super) const DFSR_HALTED: u32 = 1;
pub(super) const DFSR_BKPT: u32 = 2;
pub(super) const DFSR_VCATCH: u32 = 8;

/// Breakpoint comparators.
const COMPARATORS: usize = 4;

/// State of the debug units. Survives every reset but power-on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Debug {
    pub(super) enabled: bool,
    pub(super) halted: bool,
    pub(super) halt_requested: bool,
    pub(super) step: bool,
    pub(super) mask_interrupts: bool,
    /// Sticky: an instruction has retired, and the core was reset, since DHCSR was read.
    pub(super) retired: bool,
    pub(super) was_reset: bool,
    pub(super) catch_reset: bool,
    pub(super) catch_fault: bool,
    pub(super) trace: bool,
    pub(super) dfsr: u32,
    pub(super) dcrdr: u32,
    pub(super) breakpoints_on: bool,
    pub(super) comparators: [u32; COMPARATORS],
    /// The debugger has been seen since power-on or pin reset.
    pub(super) interface: bool,
}

impl Debug {
    /// Whether single instructions need a look before or after: breakpoints or stepping.
    pub(super) fn watches(&self) -> bool {
        self.enabled && (self.step || self.breakpoints_on && self.comparators.iter().any(|comparator| comparator & 1 == 1))
    }

    /// Whether a comparator matches the instruction at `pc`.
    pub(super) fn breaks_at(&self, pc: u32) -> bool {
        self.enabled
            && self.breakpoints_on
            && self.comparators.iter().any(|comparator| {
                let half = if pc & 2 == 0 { 1 << 30 } else { 2 << 30 };
                comparator & 1 == 1 && comparator & half != 0 && comparator & 0x1FFF_FFFC == pc & !3
            })
    }

    pub(super) const fn halt(&mut self, reason: u32) {
        self.halted = true;
        self.dfsr |= reason;
    }

    /// DHCSR as it reads, without the effect of reading.
    pub(super) fn dhcsr(&self, sleeping: bool, locked_up: bool) -> u32 {
        u32::from(self.was_reset) << 25
            | u32::from(self.retired) << 24
            | u32::from(locked_up) << 19
            | u32::from(sleeping) << 18
            | u32::from(self.halted) << 17
            | 1 << 16
            | u32::from(self.mask_interrupts) << 3
            | u32::from(self.step) << 2
            | u32::from(self.halt_requested) << 1
            | u32::from(self.enabled)
    }

    /// Writes DHCSR. Leaving debug state is for the caller: it happens when C_HALT is cleared.
    pub(super) const fn write_dhcsr(&mut self, value: u32) {
        if value >> 16 != 0xA05F {
            return;
        }
        self.enabled = value & 1 == 1;
        if !self.enabled {
            (self.halted, self.halt_requested, self.step, self.mask_interrupts) = (false, false, false, false);
            return;
        }
        self.halt_requested = value & 2 == 2;
        if self.halted && !self.halt_requested {
            self.halted = false;
        }
        self.step = value & 4 == 4;
        self.mask_interrupts = value & 8 == 8;
    }

    pub(super) fn demcr(&self) -> u32 {
        u32::from(self.trace) << 24 | u32::from(self.catch_fault) << 10 | u32::from(self.catch_reset)
    }

    pub(super) const fn write_demcr(&mut self, value: u32) {
        self.trace = value >> 24 & 1 == 1;
        self.catch_fault = value >> 10 & 1 == 1;
        self.catch_reset = value & 1 == 1;
    }

    /// Registers of the breakpoint unit, by offset from 0xE0002000.
    pub(super) fn read_breakpoints(&self, offset: u32) -> u32 {
        match offset {
            0 => (COMPARATORS as u32) << 4 | u32::from(self.breakpoints_on),
            8..=0x14 => self.comparators[(offset as usize - 8) / 4],
            _ => component(offset, 0x00B, 0xE),
        }
    }

    pub(super) fn write_breakpoints(&mut self, offset: u32, value: u32) {
        match offset {
            // Writes without the key bit are ignored.
            0 if value & 2 == 2 => self.breakpoints_on = value & 1 == 1,
            8..=0x14 => self.comparators[(offset as usize - 8) / 4] = value & 0xDFFF_FFFD,
            _ => {}
        }
    }
}

/// Identification registers of an ARM component with a part number and a class.
pub(super) const fn component(offset: u32, part: u32, class: u32) -> u32 {
    identification(offset, part, class, 0x3B, 4)
}

const fn identification(offset: u32, part: u32, class: u32, jep106: u32, continuation: u32) -> u32 {
    match offset {
        0xFD0 => continuation,
        0xFE0 => part & 0xFF,
        0xFE4 => (jep106 & 15) << 4 | part >> 8 & 15,
        0xFE8 => 8 | jep106 >> 4 & 7,
        0xFF0 => 0x0D,
        0xFF4 => class << 4,
        0xFF8 => 0x05,
        0xFFC => 0xB1,
        _ => 0,
    }
}

/// Vendor's ROM table at 0xF0000000: its only entry is the core's table.
pub(super) const fn vendor_table(offset: u32) -> u32 {
    match offset {
        0 => 0xF00F_F003,
        0xFCC => 1,
        _ => identification(offset, 0x001, 1, 0x44, 2),
    }
}

/// The core's ROM table at 0xE00FF000: System Control Space, watchpoints, breakpoints.
pub(super) const fn core_table(offset: u32) -> u32 {
    match offset {
        0 => 0xFFF0_F003,
        4 => 0xFFF0_2003,
        8 => 0xFFF0_3003,
        0xFCC => 1,
        _ => component(offset, 0x471, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparator_matches_the_halfword_it_names() {
        let mut debug = Debug { enabled: true, ..Debug::default() };
        debug.write_breakpoints(0, 1);
        assert!(!debug.breakpoints_on, "no key");
        debug.write_breakpoints(0, 3);
        debug.write_breakpoints(8, 0x8000_0101);
        assert!(debug.breaks_at(0x102) && !debug.breaks_at(0x100));
        debug.write_breakpoints(8, 0xC000_0101);
        assert!(debug.breaks_at(0x102) && debug.breaks_at(0x100) && !debug.breaks_at(0x104));
        debug.write_breakpoints(8, 0xC000_0100);
        assert!(!debug.breaks_at(0x102) && !debug.watches());
    }

    #[test]
    fn dhcsr_needs_its_key_and_disabling_releases_the_core() {
        let mut debug = Debug::default();
        debug.write_dhcsr(3);
        assert!(!debug.enabled);
        debug.write_dhcsr(0xA05F_0003);
        debug.halt(DFSR_HALTED);
        assert_eq!(debug.dhcsr(false, false) & 0x2_0003, 0x2_0003);
        debug.write_dhcsr(0xA05F_0000);
        assert!(!debug.halted && !debug.halt_requested);
    }
}
