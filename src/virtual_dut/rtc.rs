//! RTC0 and RTC1 (reference manual, chapter RTC): 24-bit counters of the prescaled 32.768 kHz clock.

use super::events::{EventBlock, NEVER, lf_cycle, lf_tick};

const TICK: u32 = 0;
const OVERFLOW: u32 = 1;
const EVENTS: u32 = 0xF_0003;
const MASK: u64 = 0x00FF_FFFF;

/// Registers of one RTC.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rtc {
    pub(super) block: EventBlock,
    /// Events enabled towards PPI; an event enabled neither here nor in INTEN does not happen.
    evten: u32,
    running: bool,
    /// Low-frequency clock available.
    clocked: bool,
    count: u32,
    /// Low-frequency tick at which `count` was counted.
    since: u64,
    prescaler: u32,
    cc: [u32; 4],
}

impl Rtc {
    pub(super) fn new() -> Self {
        Self {
            block: EventBlock::default(),
            evten: 0,
            running: false,
            clocked: false,
            count: 0,
            since: 0,
            prescaler: 0,
            cc: [0; 4],
        }
    }

    const fn ticking(&self) -> bool {
        self.running && self.clocked
    }

    const fn divisor(&self) -> u64 {
        self.prescaler as u64 + 1
    }

    const fn counts(&self, now: u64) -> u64 {
        if self.ticking() { lf_tick(now).saturating_sub(self.since) / self.divisor() } else { 0 }
    }

    const fn value(&self, now: u64) -> u32 {
        ((self.count as u64 + self.counts(now)) & MASK) as u32
    }

    /// Device time of the count `counts` after the present one.
    const fn cycle_of(&self, counts: u64) -> u64 {
        lf_cycle(self.since.saturating_add(counts.saturating_mul(self.divisor())))
    }

    const fn enabled(&self) -> u32 {
        self.block.inten | self.evten
    }

    const fn distance(&self, value: u64) -> u64 {
        let away = value.wrapping_sub(self.count as u64) & MASK;
        if away == 0 { MASK + 1 } else { away }
    }

    pub(super) fn next(&self) -> u64 {
        let enabled = self.enabled();
        if !self.ticking() || enabled & EVENTS == 0 {
            return NEVER;
        }
        let mut counts = u64::MAX;
        if enabled & 1 << TICK != 0 {
            counts = 1;
        }
        if enabled & 1 << OVERFLOW != 0 {
            counts = counts.min(self.distance(0));
        }
        for channel in 0..4 {
            if enabled >> (16 + channel) & 1 == 1 {
                counts = counts.min(self.distance(u64::from(self.cc[channel])));
            }
        }
        self.cycle_of(counts)
    }

    pub(super) fn advance(&mut self, now: u64) {
        while self.next() <= now {
            self.settle(self.next());
            let enabled = self.enabled();
            if enabled & 1 << TICK != 0 {
                self.block.fire(TICK);
            }
            if enabled & 1 << OVERFLOW != 0 && self.count == 0 {
                self.block.fire(OVERFLOW);
            }
            for channel in 0..4 {
                if enabled >> (16 + channel) & 1 == 1 && self.cc[channel as usize] == self.count {
                    self.block.fire(16 + channel);
                }
            }
        }
    }

    const fn settle(&mut self, now: u64) {
        if self.ticking() {
            let counts = self.counts(now);
            self.count = ((self.count as u64 + counts) & MASK) as u32;
            self.since += counts * self.divisor();
        } else {
            self.since = lf_tick(now);
        }
    }

    /// The low-frequency clock has started or stopped.
    pub(super) fn set_clock(&mut self, on: bool, now: u64) {
        self.advance(now);
        self.settle(now);
        self.clocked = on;
    }

    pub(super) fn read(&self, offset: u32, now: u64) -> u32 {
        match offset {
            0x340..=0x348 => self.evten,
            0x504 => self.value(now),
            0x508 => self.prescaler,
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
            0x004 => self.running &= !task,
            0x008 if task => {
                self.count = 0;
                self.since = lf_tick(now);
            }
            0x00C if task => self.count = 0x00FF_FFF0,
            0x340 => self.evten = value & EVENTS,
            0x344 => self.evten |= value & EVENTS,
            0x348 => self.evten &= !value,
            // Only writable while stopped.
            0x508 if !self.running => self.prescaler = value & 0xFFF,
            0x540..=0x54C => self.cc[(offset as usize - 0x540) / 4] = value & 0x00FF_FFFF,
            _ => {
                self.block.write(offset, value, EVENTS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(prescaler: u32) -> Rtc {
        let mut rtc = Rtc::new();
        rtc.set_clock(true, 0);
        rtc.write(0x508, prescaler, 0);
        rtc.write(0x000, 1, 0);
        rtc
    }

    #[test]
    fn a_second_has_32768_ticks() {
        let rtc = running(0);
        assert_eq!((rtc.read(0x504, 16_000_000 - 1), rtc.read(0x504, 16_000_000)), (32_767, 32_768));
        assert_eq!(running(4095).read(0x504, 16_000_000), 8);
    }

    #[test]
    fn events_happen_only_if_enabled() {
        let mut rtc = running(31);
        rtc.write(0x540, 10, 0);
        assert_eq!(rtc.next(), NEVER);
        rtc.write(0x344, 1 << 16, 0);
        assert_eq!(rtc.next(), lf_cycle(320));
        rtc.advance(lf_cycle(320));
        assert_eq!((rtc.block.events, rtc.block.line()), (1 << 16, false));
        rtc.write(0x304, 1, lf_cycle(320));
        rtc.advance(lf_cycle(352));
        assert_eq!((rtc.block.events, rtc.block.line()), (1 << 16 | 1, true));
    }

    #[test]
    fn without_its_clock_it_stands_still_and_it_overflows() {
        let mut rtc = Rtc::new();
        rtc.write(0x000, 1, 0);
        assert_eq!(rtc.read(0x504, 1_000_000), 0);
        rtc.set_clock(true, 1_000_000);
        rtc.write(0x00C, 1, 1_000_000);
        rtc.write(0x304, 2, 1_000_000);
        rtc.advance(rtc.next());
        assert!(rtc.block.is_set(OVERFLOW));
        assert_eq!(rtc.count, 0);
    }
}
