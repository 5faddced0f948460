//! SysTick (DDI 0419, B3.3), clocked by the core clock. The model counts while the core sleeps, too.

use super::events::NEVER;

/// The registers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct SysTick {
    enable: bool,
    interrupt: bool,
    count_flag: bool,
    reload: u32,
    /// Counter at device time `since`.
    value: u32,
    since: u64,
}

impl SysTick {
    const fn current(&self, now: u64) -> u32 {
        let passed = now.saturating_sub(self.since);
        if !self.enable || passed == 0 {
            self.value
        } else if self.value as u64 >= passed {
            self.value - passed as u32
        } else if self.reload == 0 {
            0
        } else {
            // `advance` has dealt with every time it reached zero: at most one reload since.
            (self.reload as u64 + 1).saturating_sub(passed - self.value as u64) as u32
        }
    }

    pub(super) const fn next(&self) -> u64 {
        if !self.enable || (self.value == 0 && self.reload == 0) {
            NEVER
        } else if self.value == 0 {
            self.since + 1 + self.reload as u64
        } else {
            self.since + self.value as u64
        }
    }

    /// Whether it can interrupt: together with [`SysTick::next`] when.
    pub(super) const fn interrupts(&self) -> bool {
        self.interrupt
    }

    /// `true` if the exception becomes pending.
    pub(super) const fn advance(&mut self, now: u64) -> bool {
        let mut pend = false;
        while self.next() <= now {
            self.since = self.next();
            self.value = 0;
            self.count_flag = true;
            pend |= self.interrupt;
        }
        pend
    }

    const fn settle(&mut self, now: u64) {
        self.value = self.current(now);
        self.since = now;
    }

    /// CSR, RVR, CVR, CALIB. Time-dependent.
    pub(super) const fn peek(&self, offset: u32, now: u64) -> u32 {
        match offset {
            // There is no other clock: CLKSOURCE reads as one.
            0x10 => (self.count_flag as u32) << 16 | 4 | (self.interrupt as u32) << 1 | self.enable as u32,
            0x14 => self.reload,
            0x18 => self.current(now),
            // No reference clock.
            0x1C => 1 << 31,
            _ => 0,
        }
    }

    pub(super) const fn read(&mut self, offset: u32, now: u64) -> u32 {
        let value = self.peek(offset, now);
        if offset == 0x10 {
            self.count_flag = false;
        }
        value
    }

    pub(super) const fn write(&mut self, offset: u32, value: u32, now: u64) {
        self.settle(now);
        match offset {
            0x10 => {
                self.enable = value & 1 == 1;
                self.interrupt = value & 2 == 2;
            }
            0x14 => self.reload = value & 0x00FF_FFFF,
            0x18 => {
                self.value = 0;
                self.count_flag = false;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_is_reload_plus_one() {
        let mut tick = SysTick::default();
        tick.write(0x14, 99, 0);
        tick.write(0x18, 1234, 0);
        tick.write(0x10, 3, 10);
        assert_eq!((tick.peek(0x18, 10), tick.peek(0x18, 11), tick.peek(0x18, 109)), (0, 99, 1));
        assert_eq!(tick.next(), 110);
        assert!(tick.advance(110));
        assert_eq!((tick.peek(0x18, 110), tick.next()), (0, 210));
        assert_eq!(tick.read(0x10, 110) >> 16, 1);
        assert_eq!(tick.read(0x10, 110) >> 16, 0, "COUNTFLAG clears on read");
    }

    #[test]
    fn without_interrupt_it_only_flags_and_reload_zero_stops() {
        let mut tick = SysTick::default();
        tick.write(0x14, 9, 0);
        tick.write(0x10, 1, 0);
        assert!(!tick.advance(10));
        assert_eq!(tick.peek(0x10, 10) >> 16, 1);
        tick.write(0x14, 0, 12);
        assert_eq!(tick.next(), 20);
        tick.advance(20);
        assert_eq!(tick.next(), NEVER);
    }
}
