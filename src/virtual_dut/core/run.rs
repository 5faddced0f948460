//! The loops that execute instructions.

use std::mem;

use super::super::{
    FLASH_SIZE, PAGE_SIZE, Size,
    access::{Fast, Full},
    cpu::{Flow, Registers, Trap, execute},
    debug::{DFSR_BKPT, DFSR_HALTED},
    decode::{decode, is_wide},
    machine::Machine,
};

/// More cycles than any instruction takes.
const LONGEST: u64 = 16;

impl Machine {
    /// Executes until device time `until`, or until something needs the machine's attention.
    pub(in super::super) fn burst(&mut self, until: u64) {
        if self.soc.debug.watches() {
            self.watched_step();
            return;
        }
        if self.remember() {
            return;
        }
        if self.core.thumb && self.core.registers.pc < FLASH_SIZE {
            let called = self.fast(until);
            if called || self.now >= until {
                return;
            }
        }
        self.slow();
    }

    /// Instructions in flash that touch only RAM and flash. Returns whether it has come to the entry or the return of a remembered call.
    fn fast(&mut self, until: u64) -> bool {
        let entry = match (&self.memo, &self.watched) {
            (_, Some(watched)) => watched.return_to,
            (Some((entry, _)), None) => *entry,
            (None, None) => u32::MAX,
        };
        let Registers { mut r, mut flags, mut pc } = self.core.registers;
        // Device time is `self.now + count + more`: every instruction takes a cycle, and some take more.
        let (mut count, mut more) = (0, 0);
        let nv = &self.soc.nv;
        let mut memory = Fast { ram: &mut self.soc.ram, nv, watched: self.watched.as_mut() };
        'pages: while let Some(page) = nv.page(pc) {
            let (code, number) = (page.code(), pc / PAGE_SIZE);
            'lines: while pc / PAGE_SIZE == number {
                let now = self.now + count + more;
                if now >= until || pc == entry && count > 0 {
                    break 'pages;
                }
                // A signature check spends its time in the loop over `line`: as many instructions in a row as need no look at the time, the
                // page or the entry between them.
                let start = pc;
                let first = pc % PAGE_SIZE / 2;
                let to_entry = if entry > pc { (entry - pc) / 2 } else { u32::MAX };
                let in_time = ((until - now) / LONGEST).clamp(1, u64::from(PAGE_SIZE)) as u32;
                let line = &code[first as usize..(PAGE_SIZE / 2).min(first + to_entry.min(in_time)) as usize];
                for op in line {
                    match execute(&mut r, &mut flags, pc, &mut more, &mut memory, op) {
                        Ok(Flow::Next) => pc += 2,
                        Ok(Flow::To(target)) => {
                            count += u64::from(pc - start) / 2 + 1;
                            pc = target;
                            continue 'lines;
                        }
                        Err(_) => {
                            count += u64::from(pc - start) / 2;
                            break 'pages;
                        }
                    }
                }
                count += line.len() as u64;
            }
        }
        self.now += count + more;
        self.instructions += count;
        self.soc.debug.retired |= count > 0;
        self.core.registers = Registers { r, flags, pc };
        count > 0 && pc == entry
    }

    /// One instruction, wherever it is and whatever it does.
    pub(super) fn slow(&mut self) {
        let at = self.core.registers.pc;
        self.soc.debug.retired = true;
        if !self.core.thumb || at >= 0xE000_0000 || (0x4000_0000..0x6000_0000).contains(&at) {
            self.fault(at);
            return;
        }
        let Some(first) = self.soc.read(at, Size::Half, self.now) else { return self.fault(at) };
        let second = if is_wide(first as u16) {
            match self.soc.read(at.wrapping_add(2), Size::Half, self.now) {
                Some(second) => Some(second as u16),
                None => return self.fault(at),
            }
        } else {
            None
        };
        let op = decode(first as u16, second);
        let Registers { mut r, mut flags, mut pc } = self.core.registers;
        let mut more = 0;
        let mut memory = Full { soc: &mut self.soc, now: self.now, watched: self.watched.as_mut() };
        let result = execute(&mut r, &mut flags, pc, &mut more, &mut memory, &op);
        match result {
            Ok(flow) => {
                pc = match flow {
                    Flow::Next => pc.wrapping_add(2),
                    Flow::To(target) => target,
                };
                self.core.registers = Registers { r, flags, pc };
                self.now += 1 + more;
                self.instructions += 1;
            }
            Err(Trap::Jump(target)) => {
                self.core.registers = Registers { r, flags, pc };
                self.now += 1 + more;
                self.instructions += 1;
                self.jump(target);
            }
            Err(Trap::Refused) => self.fault(at),
            Err(Trap::System) => self.system(op, at),
        }
    }

    /// A jump to something other than a plain code address.
    fn jump(&mut self, target: u32) {
        if target >= 0xF000_0000 && self.core.ipsr != 0 {
            self.leave(target);
            return;
        }
        self.core.registers.pc = target & !1;
        self.core.thumb = target & 1 == 1;
    }

    /// One instruction under breakpoints or single step.
    fn watched_step(&mut self) {
        let skip = mem::take(&mut self.core.skip_breakpoint);
        if !skip && self.soc.debug.breaks_at(self.core.registers.pc) {
            self.soc.debug.halt(DFSR_BKPT);
            return;
        }
        self.slow();
        if self.soc.debug.step {
            self.soc.debug.halt(DFSR_HALTED);
            self.core.locked_up = false;
        }
    }
}
