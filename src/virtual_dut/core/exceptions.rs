//! Exception entry and return, and faults (DDI 0419, B1.5).

use super::super::{
    RAM_BASE, Size,
    cpu::Flags,
    debug::DFSR_VCATCH,
    machine::Machine,
    nvic,
    power::ResetReason,
    soc::{RAM, Request},
};

/// Cycles from recognition of an exception to its first instruction, and back (DDI 0432, 1.4).
const ENTRY: u64 = 16;

impl Machine {
    /// Enters the most urgent exception that may preempt now.
    pub(in super::super) fn take_exception(&mut self) -> bool {
        if self.soc.debug.enabled && self.soc.debug.mask_interrupts {
            return false;
        }
        let Some(exception) = self.soc.nvic.preempting(self.core.primask) else { return false };
        if self.core.sleeping {
            self.wake();
        }
        self.enter(exception, self.core.registers.pc);
        true
    }

    /// Exception entry: stacks the context and goes to the vector.
    pub(super) fn enter(&mut self, exception: u32, return_to: u32) {
        let core = &mut self.core;
        let sp = core.registers.r[13];
        let frame = sp.wrapping_sub(0x20) & !4;
        let r = &core.registers.r;
        let xpsr = core.xpsr() & !(1 << 9) | (sp & 4) << 7;
        let context = [r[0], r[1], r[2], r[3], r[12], r[14], return_to, xpsr];
        let link = match (core.ipsr != 0, core.process_stack) {
            (true, _) => 0xFFFF_FFF1,
            (false, false) => 0xFFFF_FFF9,
            (false, true) => 0xFFFF_FFFD,
        };
        core.registers.r[13] = frame;
        core.select_stack(false);
        core.registers.r[14] = link;
        core.ipsr = exception;
        core.event = true;
        let mut whole = true;
        for (place, value) in (0..).zip(context) {
            whole &= self.write(frame.wrapping_add(4 * place), value);
        }
        self.soc.nvic.activate(exception);
        self.soc.present = exception;
        let vector = self.soc.nv.word(4 * exception).unwrap_or(u32::MAX);
        self.core.registers.pc = vector & !1;
        self.core.thumb = vector & 1 == 1;
        self.now += ENTRY;
        if !whole {
            self.fault(self.core.registers.pc);
        }
    }

    fn write(&mut self, address: u32, value: u32) -> bool {
        if let Some(watched) = &mut self.watched {
            let offset = address.wrapping_sub(RAM_BASE) as usize;
            if offset < RAM {
                watched.note(offset, 4);
            }
        }
        let debugging = self.soc.debug.enabled;
        self.soc.write(address, Size::Word, value, self.now, debugging).is_some()
    }

    /// HardFault, or lock-up where even that cannot be taken.
    pub(super) fn fault(&mut self, return_to: u32) {
        if self.soc.debug.enabled && self.soc.debug.catch_fault {
            self.soc.debug.halt(DFSR_VCATCH);
            return;
        }
        if self.soc.nvic.can_take(nvic::HARD_FAULT, false) {
            self.soc.nvic.set_pending(nvic::HARD_FAULT);
            self.enter(nvic::HARD_FAULT, return_to);
        } else {
            // A core that nobody debugs resets the device (reference manual, RESETREAS.LOCKUP).
            self.core.locked_up = true;
            if !self.soc.debug.interface {
                self.soc.request = Some(Request::Reset(ResetReason::Lockup));
            }
        }
    }

    /// Exception return (DDI 0419, B1.5.8).
    pub(super) fn leave(&mut self, link: u32) {
        let at = self.core.registers.pc;
        let (to_thread, process) = match link {
            0xFFFF_FFF1 => (false, false),
            0xFFFF_FFF9 => (true, false),
            0xFFFF_FFFD => (true, true),
            _ => return self.fault(at),
        };
        let leaving = self.core.ipsr;
        if !self.soc.nvic.is_active(leaving) || to_thread != (self.soc.nvic.active_count() == 1) {
            return self.fault(at);
        }
        self.soc.nvic.deactivate(leaving);
        self.core.select_stack(process);
        let frame = self.core.registers.r[13];
        let mut context = [0; 8];
        for (place, value) in (0..).zip(&mut context) {
            match self.soc.read(frame.wrapping_add(4 * place), Size::Word, self.now) {
                Some(word) => *value = word,
                None => return self.fault(at),
            }
        }
        let [r0, r1, r2, r3, r12, lr, pc, xpsr] = context;
        let r = &mut self.core.registers.r;
        (r[0], r[1], r[2], r[3], r[12], r[14]) = (r0, r1, r2, r3, r12, lr);
        r[13] = frame.wrapping_add(0x20) | (xpsr >> 9 & 1) << 2;
        self.core.registers.pc = pc & !1;
        self.core.registers.flags = Flags::from_apsr(xpsr);
        self.core.thumb = xpsr >> 24 & 1 == 1;
        self.core.ipsr = if to_thread { 0 } else { xpsr & 0x3F };
        self.soc.present = self.core.ipsr;
        self.core.event = true;
        self.now += ENTRY - 3;
        // An interrupt whose line is still up is pending again.
        self.soc.touched = true;
        if to_thread && self.soc.scr & 2 == 2 {
            self.core.sleeping = true;
            self.core.by_event = false;
        }
    }
}
