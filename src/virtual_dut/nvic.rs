//! Pending, active and enabled exceptions and their priorities (DDI 0419, B1.5 and B3.4).

/// Exception numbers.
pub(super) const NMI: u32 = 2;
pub(super) const HARD_FAULT: u32 = 3;
pub(super) const SV_CALL: u32 = 11;
pub(super) const PEND_SV: u32 = 14;
pub(super) const SYS_TICK: u32 = 15;
/// Exception number of interrupt 0.
pub(super) const IRQ0: u32 = 16;
/// Priority of thread mode: below every exception.
const THREAD: i32 = 4;

/// State of all exceptions, as bits by exception number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Nvic {
    pending: u64,
    active: u64,
    enabled: u32,
    /// Levels of the interrupt lines.
    lines: u32,
    /// Configurable priorities 0..=3: interrupts, then SVCall, PendSV, SysTick.
    priorities: [u8; 32],
    sv_call: u8,
    pend_sv: u8,
    sys_tick: u8,
}

impl Nvic {
    fn priority(&self, exception: u32) -> i32 {
        i32::from(match exception {
            NMI => return -2,
            HARD_FAULT => return -1,
            SV_CALL => self.sv_call,
            PEND_SV => self.pend_sv,
            SYS_TICK => self.sys_tick,
            16..=47 => self.priorities[(exception - IRQ0) as usize],
            _ => return THREAD,
        })
    }

    /// Priority of what executes now; smaller is more urgent.
    pub(super) fn execution_priority(&self, primask: bool) -> i32 {
        let mut lowest = if primask { 0 } else { THREAD };
        let mut left = self.active;
        while left != 0 {
            lowest = lowest.min(self.priority(left.trailing_zeros()));
            left &= left - 1;
        }
        lowest
    }

    const fn candidates(&self) -> u64 {
        self.pending & (0xFFFF | (self.enabled as u64) << 16)
    }

    /// The most urgent pending and enabled exception.
    fn most_urgent(&self) -> Option<(u32, i32)> {
        let mut best = None;
        let mut left = self.candidates();
        while left != 0 {
            let exception = left.trailing_zeros();
            let priority = self.priority(exception);
            if best.is_none_or(|(_, other)| priority < other) {
                best = Some((exception, priority));
            }
            left &= left - 1;
        }
        best
    }

    /// The exception that preempts now, if any.
    pub(super) fn preempting(&self, primask: bool) -> Option<u32> {
        if self.candidates() == 0 {
            return None;
        }
        let (exception, priority) = self.most_urgent()?;
        (priority < self.execution_priority(primask)).then_some(exception)
    }

    /// Whether some exception would preempt if PRIMASK were clear: what ends WFI.
    pub(super) fn wakes(&self) -> bool {
        self.preempting(false).is_some()
    }

    /// Whether a synchronous exception with this number may be taken now; otherwise it escalates to HardFault.
    pub(super) fn can_take(&self, exception: u32, primask: bool) -> bool {
        self.priority(exception) < self.execution_priority(primask)
    }

    pub(super) const fn set_pending(&mut self, exception: u32) {
        self.pending |= 1 << exception;
    }

    pub(super) const fn clear_pending(&mut self, exception: u32) {
        self.pending &= !(1 << exception);
    }

    pub(super) const fn is_pending(&self, exception: u32) -> bool {
        self.pending >> exception & 1 != 0
    }

    /// All pending bits: to see that something new became pending.
    pub(super) const fn pending_bits(&self) -> u64 {
        self.pending
    }

    pub(super) const fn is_active(&self, exception: u32) -> bool {
        self.active >> exception & 1 != 0
    }

    pub(super) const fn active_count(&self) -> u32 {
        self.active.count_ones()
    }

    pub(super) const fn activate(&mut self, exception: u32) {
        self.pending &= !(1 << exception);
        self.active |= 1 << exception;
    }

    /// The handler has returned. An interrupt whose line is still up becomes pending again.
    pub(super) const fn deactivate(&mut self, exception: u32) {
        self.active &= !(1 << exception);
        self.pending |= (self.lines as u64) << 16 & 1 << exception;
    }

    /// Sets the level of an interrupt line. A line that rises makes its interrupt pending.
    pub(super) const fn set_line(&mut self, irq: u32, up: bool) {
        let bit = 1 << irq;
        if !up {
            self.lines &= !bit;
        } else if self.lines & bit == 0 {
            self.lines |= bit;
            self.pending |= (bit as u64) << 16;
        }
    }

    /// Interrupts enabled, as bits.
    pub(super) const fn enabled(&self) -> u32 {
        self.enabled
    }

    /// ICSR as it reads, with the present exception number.
    pub(super) fn icsr(&self, ipsr: u32) -> u32 {
        let waiting = self.most_urgent().map_or(0, |(exception, _)| exception);
        u32::from(self.is_pending(NMI)) << 31
            | u32::from(self.is_pending(PEND_SV)) << 28
            | u32::from(self.is_pending(SYS_TICK)) << 26
            | u32::from(self.pending >> 16 != 0) << 22
            | waiting << 12
            | ipsr
    }

    pub(super) const fn write_icsr(&mut self, value: u32) {
        if value >> 31 & 1 == 1 {
            self.set_pending(NMI);
        }
        if value >> 28 & 1 == 1 {
            self.set_pending(PEND_SV);
        }
        if value >> 27 & 1 == 1 {
            self.clear_pending(PEND_SV);
        }
        if value >> 26 & 1 == 1 {
            self.set_pending(SYS_TICK);
        }
        if value >> 25 & 1 == 1 {
            self.clear_pending(SYS_TICK);
        }
    }

    /// A register of the NVIC or one of SHPR2, SHPR3, by offset in the System Control Space.
    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            0x100 | 0x180 => self.enabled,
            0x200 | 0x280 => (self.pending >> 16) as u32,
            0x400..=0x41C => {
                let first = (offset - 0x400) as usize;
                (0..4).fold(0, |word, byte| word | u32::from(self.priorities[first + byte]) << (8 * byte + 6))
            }
            0xD1C => u32::from(self.sv_call) << 30,
            0xD20 => u32::from(self.sys_tick) << 30 | u32::from(self.pend_sv) << 22,
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32) {
        match offset {
            0x100 => self.enabled |= value,
            0x180 => self.enabled &= !value,
            0x200 => self.pending |= u64::from(value) << 16,
            // A line that is up keeps its interrupt pending.
            0x280 => self.pending &= !(u64::from(value & !self.lines) << 16),
            0x400..=0x41C => {
                let first = (offset - 0x400) as usize;
                for byte in 0..4 {
                    self.priorities[first + byte] = (value >> (8 * byte + 6) & 3) as u8;
                }
            }
            0xD1C => self.sv_call = (value >> 30) as u8,
            0xD20 => {
                self.sys_tick = (value >> 30) as u8;
                self.pend_sv = (value >> 22 & 3) as u8;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_is_priority_then_number() {
        let mut nvic = Nvic::default();
        nvic.write(0x100, u32::MAX);
        nvic.write(0x400, 0x80_C0_80_40);
        nvic.write(0x200, 0b1110);
        assert_eq!(nvic.preempting(false), Some(IRQ0 + 1), "same priority as 3, lower number");
        nvic.write(0x200, 0b0001);
        assert_eq!(nvic.preempting(false), Some(IRQ0));
        nvic.activate(IRQ0);
        assert_eq!(nvic.preempting(false), None);
        assert_eq!(nvic.preempting(true), None);
        nvic.set_pending(NMI);
        assert_eq!(nvic.preempting(true), Some(NMI));
    }

    #[test]
    fn primask_hides_but_still_wakes() {
        let mut nvic = Nvic::default();
        nvic.write(0x100, 1);
        nvic.set_line(0, true);
        assert_eq!((nvic.preempting(true), nvic.wakes()), (None, true));
    }

    #[test]
    fn a_line_that_stays_up_pends_again_after_return_and_a_pulse_is_kept() {
        let mut nvic = Nvic::default();
        nvic.write(0x100, 1);
        nvic.set_line(0, true);
        nvic.activate(IRQ0);
        assert!(!nvic.is_pending(IRQ0));
        nvic.deactivate(IRQ0);
        assert!(nvic.is_pending(IRQ0));
        nvic.write(0x280, 1);
        assert!(nvic.is_pending(IRQ0));
        nvic.set_line(0, false);
        assert!(nvic.is_pending(IRQ0));
        nvic.write(0x280, 1);
        assert!(!nvic.is_pending(IRQ0));
    }

    #[test]
    fn only_two_bits_of_each_priority_exist() {
        let mut nvic = Nvic::default();
        nvic.write(0x404, u32::MAX);
        nvic.write(0xD20, u32::MAX);
        nvic.write(0xD1C, u32::MAX);
        assert_eq!((nvic.read(0x404), nvic.read(0xD20), nvic.read(0xD1C)), (0xC0C0_C0C0, 0xC0C0_0000, 0xC000_0000));
    }
}
