//! Instructions that are more than registers and memory: special registers, hints, supervisor calls (DDI 0419, A6.7 and B4.2).

use super::super::{
    cpu::Flags,
    debug::DFSR_BKPT,
    decode::{Kind, Op},
    machine::Machine,
    nvic,
};

impl Machine {
    /// Instructions that are more than registers and memory.
    pub(super) fn system(&mut self, op: Op, at: u32) {
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
}
