//! TIMER0..2 (reference manual, chapter TIMER). TIMER0 is 32 bits wide, the others 16.

use super::events::{EventBlock, NEVER};

const EVENTS: u32 = 0xF << 16;

/// Registers of one timer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Timer {
    pub(super) block: EventBlock,
    wide: bool,
    running: bool,
    /// Count at device time `since`, which lies on a tick of the prescaler.
    count: u32,
    since: u64,
    shorts: u32,
    counter_mode: bool,
    bitmode: u32,
    prescaler: u32,
    cc: [u32; 4],
}

impl Timer {
    pub(super) fn new(wide: bool) -> Self {
        Self {
            block: EventBlock::default(),
            wide,
            running: false,
            count: 0,
            since: 0,
            shorts: 0,
            counter_mode: false,
            bitmode: 0,
            prescaler: 4,
            cc: [0; 4],
        }
    }

    const fn mask(&self) -> u32 {
        match self.bitmode {
            1 => 0xFF,
            2 if self.wide => 0x00FF_FFFF,
            3 if self.wide => u32::MAX,
            _ => 0xFFFF,
        }
    }

    const fn ticking(&self) -> bool {
        self.running && !self.counter_mode
    }

    /// Ticks since `since`; the count follows from them.
    const fn ticks(&self, now: u64) -> u64 {
        now.saturating_sub(self.since) >> self.prescaler
    }

    const fn value(&self, now: u64) -> u32 {
        if self.ticking() { self.count.wrapping_add(self.ticks(now) as u32) & self.mask() } else { self.count }
    }

    /// Ticks from `since` to the next time the count becomes `cc`, not counting where it is now.
    const fn distance(&self, cc: u32) -> u64 {
        let away = (cc & self.mask()).wrapping_sub(self.count) & self.mask();
        if away == 0 { self.mask() as u64 + 1 } else { away as u64 }
    }

    /// Whether reaching this compare value can have any effect that somebody may see.
    const fn matters(&self, channel: usize) -> bool {
        self.cc[channel] & !self.mask() == 0
    }

    pub(super) fn next(&self) -> u64 {
        if !self.ticking() {
            return NEVER;
        }
        (0..4)
            .filter(|&channel| self.matters(channel))
            .map(|channel| self.distance(self.cc[channel]))
            .min()
            .map_or(NEVER, |ticks| self.since.saturating_add(ticks << self.prescaler))
    }

    pub(super) fn advance(&mut self, now: u64) {
        while self.ticking() && self.next() <= now {
            let at = self.next();
            self.count = self.value(at);
            self.since = at;
            self.compare();
        }
    }

    /// The count has just become what it is.
    fn compare(&mut self) {
        let (mut clear, mut stop) = (false, false);
        for channel in 0..4 {
            if self.matters(channel) && self.cc[channel] == self.count {
                self.block.fire(16 + channel as u32);
                clear |= self.shorts >> channel & 1 == 1;
                stop |= self.shorts >> (8 + channel) & 1 == 1;
            }
        }
        if clear {
            self.count = 0;
        }
        if stop {
            self.running = false;
        }
    }

    /// Makes `count` and `since` current without losing the phase of the prescaler.
    const fn settle(&mut self, now: u64) {
        if self.ticking() {
            self.count = self.value(now);
            self.since += self.ticks(now) << self.prescaler;
        } else {
            self.since = now;
        }
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            0x200 => self.shorts,
            0x504 => u32::from(self.counter_mode),
            0x508 => self.bitmode,
            0x510 => self.prescaler,
            0x540..=0x54C => self.cc[(offset as usize - 0x540) / 4],
            _ => self.block.read(offset).unwrap_or(0),
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, now: u64) {
        self.advance(now);
        self.settle(now);
        let task = value & 1 == 1;
        match offset {
            0x000 => self.running |= task,
            0x004 | 0x010 => {
                self.running &= !task;
                if offset == 0x010 && task {
                    self.count = 0;
                }
            }
            0x008 if task && self.running && self.counter_mode => {
                self.count = self.count.wrapping_add(1) & self.mask();
                self.compare();
            }
            0x00C if task => {
                self.count = 0;
                self.since = now;
            }
            0x040..=0x04C if task => self.cc[(offset as usize - 0x040) / 4] = self.count,
            0x200 => self.shorts = value & 0xF0F,
            0x504 => self.counter_mode = task,
            0x508 => {
                self.bitmode = value & 3;
                self.count &= self.mask();
            }
            0x510 => self.prescaler = (value & 15).min(9),
            0x540..=0x54C => self.cc[(offset as usize - 0x540) / 4] = value,
            _ => {
                self.block.write(offset, value, EVENTS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_comes_after_prescaled_ticks_and_can_repeat() {
        let mut timer = Timer::new(true);
        for (offset, value) in [(0x508, 3), (0x510, 4), (0x540, 1000), (0x200, 1), (0x000, 1)] {
            timer.write(offset, value, 0);
        }
        assert_eq!(timer.next(), 16_000);
        timer.advance(15_999);
        assert!(!timer.block.is_set(16));
        timer.advance(16_000);
        assert!(timer.block.is_set(16));
        assert_eq!(timer.next(), 32_000, "COMPARE0_CLEAR starts over");
        timer.write(0x044, 1, 24_007);
        assert_eq!(timer.read(0x544), 500);
    }

    #[test]
    fn a_compare_beyond_the_width_never_comes() {
        let mut timer = Timer::new(false);
        for (offset, value) in [(0x508, 3), (0x510, 0), (0x000, 1)] {
            timer.write(offset, value, 0);
        }
        for channel in 0..4 {
            timer.write(0x540 + 4 * channel, 0x1_0000, 0);
        }
        assert_eq!(timer.next(), NEVER);
        timer.write(0x54C, 5, 0x1_0007);
        assert_eq!(timer.next(), 0x2_0005, "16 bits wrapped");
    }

    #[test]
    fn counter_mode_counts_tasks_and_stop_keeps_the_value() {
        let mut timer = Timer::new(true);
        for (offset, value) in [(0x504, 1), (0x540, 2), (0x000, 1), (0x008, 1), (0x008, 1), (0x004, 1), (0x008, 1)] {
            timer.write(offset, value, 50);
        }
        timer.write(0x048, 1, 99);
        assert_eq!((timer.read(0x548), timer.block.is_set(16)), (2, true));
    }
}
