//! WDT (reference manual, chapter WDT).

use super::events::{EventBlock, NEVER, lf_cycle, lf_tick};

const RELOAD: u32 = 0x6E52_4635;

/// Registers. Once started it cannot be stopped or changed, only fed, until a reset that reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wdt {
    pub(super) block: EventBlock,
    running: bool,
    /// Low-frequency tick at which the counter reaches zero.
    expires: u64,
    /// Time at which the reset follows a time-out.
    reset_at: u64,
    /// Reload requests that have not come yet.
    wanted: u32,
    crv: u32,
    rren: u32,
    config: u32,
    /// Tick at which it was paused.
    paused: Option<u64>,
}

impl Wdt {
    pub(super) fn new() -> Self {
        Self {
            block: EventBlock::default(),
            running: false,
            expires: 0,
            reset_at: NEVER,
            wanted: 0,
            crv: u32::MAX,
            rren: 1,
            config: 1,
            paused: None,
        }
    }

    pub(super) const fn next(&self) -> u64 {
        if self.reset_at != NEVER {
            self.reset_at
        } else if self.running && self.paused.is_none() {
            lf_cycle(self.expires)
        } else {
            NEVER
        }
    }

    /// `true` if the device is to be reset now.
    pub(super) fn advance(&mut self, now: u64) -> bool {
        if self.reset_at == NEVER && self.next() <= now {
            self.block.fire(0);
            // With the interrupt enabled the reset waits for two ticks, so that a handler can run.
            let ticks = if self.block.inten & 1 == 1 { 2 } else { 0 };
            self.reset_at = lf_cycle(self.expires + ticks);
        }
        self.reset_at <= now
    }

    fn reload(&mut self, now: u64) {
        self.expires = lf_tick(now) + u64::from(self.crv.max(15)) + 1;
        self.wanted = self.rren & 0xFF;
        if self.paused.is_some() {
            self.paused = Some(lf_tick(now));
        }
    }

    /// The core sleeps, or is halted by the debugger: CONFIG says whether the counter goes on.
    pub(super) fn set_core_state(&mut self, sleeping: bool, halted: bool, now: u64) {
        let runs = !(sleeping && self.config & 1 == 0 || halted && self.config & 8 == 0);
        match (runs, self.paused) {
            (true, Some(since)) => {
                self.expires += lf_tick(now).saturating_sub(since);
                self.paused = None;
            }
            (false, None) => self.paused = Some(lf_tick(now)),
            _ => {}
        }
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            0x400 => u32::from(self.running),
            0x404 => self.wanted,
            0x504 => self.crv,
            0x508 => self.rren,
            0x50C => self.config,
            _ => self.block.read(offset).unwrap_or(0),
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, now: u64) {
        match offset {
            0x000 if value & 1 == 1 && !self.running => {
                self.running = true;
                self.reload(now);
            }
            0x504 if !self.running => self.crv = value,
            0x508 if !self.running => self.rren = value & 0xFF,
            0x50C if !self.running => self.config = value & 9,
            0x600..=0x61C if value == RELOAD && self.running && self.reset_at == NEVER => {
                self.wanted &= !(1 << ((offset - 0x600) / 4));
                if self.wanted == 0 {
                    self.reload(now);
                }
            }
            _ => {
                self.block.write(offset, value, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(crv: u32, rren: u32) -> Wdt {
        let mut wdt = Wdt::new();
        for (offset, value) in [(0x504, crv), (0x508, rren), (0x000, 1)] {
            wdt.write(offset, value, 0);
        }
        wdt
    }

    #[test]
    fn it_expires_after_crv_plus_one_ticks() {
        let mut wdt = started(32_767, 1);
        assert!(!wdt.advance(15_999_999));
        assert!(wdt.advance(16_000_000));
    }

    #[test]
    fn every_enabled_channel_must_be_fed() {
        let mut wdt = started(32_767, 3);
        wdt.write(0x600, RELOAD, 8_000_000);
        assert_eq!(wdt.next(), 16_000_000);
        wdt.write(0x604, 1, 8_000_000);
        assert_eq!(wdt.next(), 16_000_000, "wrong value");
        wdt.write(0x604, RELOAD, 8_000_000);
        assert_eq!(wdt.next(), 24_000_000);
    }

    #[test]
    fn it_cannot_be_changed_once_started() {
        let mut wdt = started(32_767, 1);
        for (offset, value) in [(0x504, 1_000_000), (0x508, 2), (0x50C, 0)] {
            wdt.write(offset, value, 0);
        }
        assert_eq!((wdt.read(0x504), wdt.read(0x508), wdt.read(0x50C)), (32_767, 1, 1));
    }

    #[test]
    fn it_pauses_while_halted_unless_told_otherwise() {
        let mut wdt = started(32_767, 1);
        wdt.set_core_state(false, true, 8_000_000);
        assert!(!wdt.advance(100_000_000));
        wdt.set_core_state(false, false, 16_000_000);
        assert_eq!(wdt.next(), 24_000_000);
        wdt.set_core_state(true, false, 16_000_000);
        assert_eq!(wdt.next(), 24_000_000, "CONFIG.SLEEP is set");
    }

    #[test]
    fn the_interrupt_gets_two_ticks() {
        let mut wdt = started(32_767, 1);
        wdt.write(0x304, 1, 0);
        assert!(!wdt.advance(16_000_000) && wdt.block.line());
        assert!(wdt.advance(lf_cycle(32_770)));
    }
}
