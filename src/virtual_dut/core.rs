//! The core as a whole: special registers, exceptions, sleep, and the loops that execute instructions (DDI 0419, B1).

use std::mem;

use super::{
    FLASH_SIZE, RAM_BASE, Size,
    access::{Fast, Full},
    cpu::{Flags, Registers, Trap, execute},
    debug::{DFSR_BKPT, DFSR_HALTED, DFSR_VCATCH},
    decode::{Kind, Op, decode, is_wide},
    machine::Machine,
    memo::{Effect, Key, MESSAGE_LIMIT, Watched},
    nvic::{self, Nvic},
    power::ResetReason,
    soc::{RAM, Request},
};

/// Cycles from recognition of an exception to its first instruction, and back (DDI 0432, 1.4).
const ENTRY: u64 = 16;

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

impl Machine {
    /// Enters the most urgent exception that may preempt now.
    pub(super) fn take_exception(&mut self) -> bool {
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
    fn enter(&mut self, exception: u32, return_to: u32) {
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
    fn fault(&mut self, return_to: u32) {
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

    /// Executes until device time `until`, or until something needs the machine's attention.
    pub(super) fn burst(&mut self, until: u64) {
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
        let (mut now, mut count) = (self.now, 0_u64);
        let nv = &self.soc.nv;
        let mut memory = Fast { ram: &mut self.soc.ram, nv, watched: self.watched.as_mut() };
        'pages: while let Some(page) = nv.page(pc) {
            let (code, base) = (page.code(), pc >> 10);
            while pc >> 10 == base {
                if now >= until || pc == entry && count > 0 {
                    break 'pages;
                }
                let op = code[(pc as usize & 1023) >> 1];
                if execute(&mut r, &mut flags, &mut pc, &mut now, &mut memory, op).is_err() {
                    break 'pages;
                }
                count += 1;
            }
        }
        self.now = now;
        self.instructions += count;
        self.core.registers = Registers { r, flags, pc };
        count > 0 && pc == entry
    }

    /// One instruction, wherever it is and whatever it does.
    fn slow(&mut self) {
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
        let mut now = self.now;
        let mut memory = Full { soc: &mut self.soc, now, watched: self.watched.as_mut() };
        let result = execute(&mut r, &mut flags, &mut pc, &mut now, &mut memory, op);
        match result {
            Ok(()) => {
                self.core.registers = Registers { r, flags, pc };
                self.now = now;
                self.instructions += 1;
            }
            Err(Trap::Jump(target)) => {
                self.core.registers = Registers { r, flags, pc };
                self.now = now;
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

    /// Exception return (DDI 0419, B1.5.8).
    fn leave(&mut self, link: u32) {
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

    /// Instructions that are more than registers and memory.
    fn system(&mut self, op: Op, at: u32) {
        let wide = matches!(op.kind, Kind::Msr | Kind::Mrs | Kind::Barrier);
        let next = at.wrapping_add(if wide { 4 } else { 2 });
        let mut cost = if wide { 4 } else { 1 };
        match op.kind {
            Kind::Cps => self.core.primask = op.imm & 1 == 1,
            Kind::Sev => self.core.event = true,
            Kind::Wfe => {
                cost = 2;
                if self.core.event {
                    self.core.event = false;
                } else {
                    self.sleep(true);
                }
            }
            Kind::Wfi => {
                cost = 2;
                self.sleep(false);
            }
            Kind::Svc => {
                self.core.registers.pc = next;
                self.instructions += 1;
                if self.soc.nvic.can_take(nvic::SV_CALL, self.core.primask) {
                    self.soc.nvic.set_pending(nvic::SV_CALL);
                    self.enter(nvic::SV_CALL, next);
                } else {
                    self.fault(at);
                }
                return;
            }
            Kind::Bkpt => {
                if self.soc.debug.enabled {
                    self.soc.debug.halt(DFSR_BKPT);
                } else {
                    self.fault(at);
                }
                return;
            }
            Kind::Msr => self.move_to_special(op),
            Kind::Mrs => self.move_from_special(op),
            Kind::Barrier => {}
            _ => return self.fault(at),
        }
        self.core.registers.pc = next;
        self.now += cost;
        self.instructions += 1;
    }

    fn sleep(&mut self, by_event: bool) {
        self.core.sleeping = true;
        self.core.by_event = by_event;
        // The watchdog may pause while the core sleeps.
        self.soc.touched = true;
    }

    fn move_to_special(&mut self, op: Op) {
        let value = self.core.registers.r[usize::from(op.a & 15)];
        let core = &mut self.core;
        match op.imm {
            0..=3 => core.registers.flags = Flags::from_apsr(value),
            8 if core.process_stack => core.other_sp = value & !3,
            8 => core.registers.r[13] = value & !3,
            9 if core.process_stack => core.registers.r[13] = value & !3,
            9 => core.other_sp = value & !3,
            16 => core.primask = value & 1 == 1,
            20 if core.ipsr == 0 => core.select_stack(value & 2 == 2),
            _ => {}
        }
    }

    fn move_from_special(&mut self, op: Op) {
        let core = &mut self.core;
        let apsr = core.registers.flags.apsr();
        let value = match op.imm {
            0 | 2 => apsr,
            1 | 3 => apsr | core.ipsr,
            5 | 7 => core.ipsr,
            8 => core.main_sp(),
            9 => core.process_sp(),
            16 => u32::from(core.primask),
            20 => u32::from(core.process_stack) << 1,
            _ => 0,
        };
        core.registers.r[usize::from(op.a & 15)] = value;
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

    // --- remembered calls ---

    /// At the entry of a remembered function: answers from memory, or begins to watch. At its return: learns. Whether time has been used.
    fn remember(&mut self) -> bool {
        let pc = self.core.registers.pc;
        if let Some(watched) = &self.watched {
            if watched.return_to == pc && watched.sp == self.core.registers.r[13] {
                self.learn();
            }
            return false;
        }
        let Some((entry, memo)) = &self.memo else { return false };
        if *entry != pc {
            return false;
        }
        let memo = memo.clone();
        let Some(key) = self.call_key() else {
            // Cannot be remembered: step over the entry so that the fast loop does not stop there again.
            self.slow();
            return true;
        };
        if let Some(effect) = memo.find(&key) {
            for (at, value) in &effect.written {
                if let Some(byte) = self.soc.ram.get_mut(usize::from(*at)) {
                    *byte = *value;
                }
            }
            self.core.registers = Registers { r: effect.r, flags: effect.flags, pc: effect.r[15] };
            self.core.busy_until = self.now + effect.cycles;
            self.instructions += effect.instructions;
            return true;
        }
        let r = &self.core.registers.r;
        self.watched = Some(Watched {
            key,
            return_to: r[14] & !1,
            sp: r[13],
            cycles: self.now,
            instructions: self.instructions,
            written: Box::new([0; RAM / 64]),
        });
        self.slow();
        true
    }

    fn learn(&mut self) {
        let (Some(watched), Some((_, memo))) = (self.watched.take(), &self.memo) else { return };
        let mut r = self.core.registers.r;
        // Unused by instructions: here it carries the address to go on at.
        r[15] = self.core.registers.pc;
        let effect = Effect {
            r,
            flags: self.core.registers.flags,
            cycles: self.now - watched.cycles,
            instructions: self.instructions - watched.instructions,
            written: watched.collect(&self.soc.ram),
        };
        memo.learn(watched.key, effect);
    }

    /// Digest of everything the call can depend on: registers, arguments in memory, the code. `None` if interrupts could come between, or an
    /// argument is not in plain memory. The call must not read stack that it has not written.
    fn call_key(&self) -> Option<Key> {
        if !self.core.primask && self.soc.nvic.enabled() != 0 || self.soc.debug.enabled {
            return None;
        }
        let r = &self.core.registers.r;
        let [signature, key, message, length] = [r[0], r[1], r[2], r[3]];
        if length > MESSAGE_LIMIT {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for register in &r[..15] {
            hasher.update(&register.to_le_bytes());
        }
        for (address, len) in [(signature, 64), (key, 32), (message, length)] {
            let offset = address.wrapping_sub(RAM_BASE) as usize;
            if let Some(bytes) = self.soc.ram.get(offset..offset.wrapping_add(len as usize)) {
                hasher.update(bytes);
                continue;
            }
            // Flash content enters by the page: its digest is at hand, the bytes need not be touched.
            let end = address.checked_add(len).filter(|end| *end <= FLASH_SIZE)?;
            let (mut at, mut left) = (address, len);
            while left > 0 {
                let page = self.soc.nv.page_bytes(at)?;
                let within = (at & 1023) as usize;
                let take = (1024 - within).min(left as usize);
                hasher.update(&page[within..within + take]);
                at += take as u32;
                left -= take as u32;
            }
            debug_assert!(at == end);
        }
        for page in 0..24 {
            hasher.update(&self.soc.nv.page(page * 1024)?.digest().to_le_bytes());
        }
        Some(*hasher.finalize().as_bytes())
    }
}
