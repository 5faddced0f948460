//! What all nRF51 peripherals have in common: tasks, events and interrupt enables at the same offsets.

/// "Never" as a device time.
pub(super) const NEVER: u64 = u64::MAX;

/// EVENTS registers at 0x100 and the INTEN registers whose bits follow them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct EventBlock {
    /// Bit `n` is the event register at 0x100 + 4 `n`.
    pub(super) events: u32,
    /// Which of them interrupt.
    pub(super) inten: u32,
}

impl EventBlock {
    pub(super) const fn new() -> Self {
        Self { events: 0, inten: 0 }
    }

    /// The event with register 0x100 + 4 `bit` happens.
    pub(super) const fn fire(&mut self, bit: u32) {
        self.events |= 1 << bit;
    }

    #[cfg(test)]
    pub(super) const fn is_set(&self, bit: u32) -> bool {
        self.events >> bit & 1 != 0
    }

    /// State of the interrupt line.
    pub(super) const fn line(&self) -> bool {
        self.events & self.inten != 0
    }

    /// Registers 0x100..=0x17C and 0x300..=0x308.
    pub(super) const fn read(&self, offset: u32) -> Option<u32> {
        match offset {
            0x100..=0x17C => Some(self.events >> ((offset - 0x100) / 4) & 1),
            0x300 | 0x304 | 0x308 => Some(self.inten),
            _ => None,
        }
    }

    /// Whether the register is one of these. `mask` are the events that exist.
    pub(super) const fn write(&mut self, offset: u32, value: u32, mask: u32) -> bool {
        match offset {
            0x100..=0x17C => {
                let bit = 1 << ((offset - 0x100) / 4) & mask;
                self.events = if value & 1 == 0 { self.events & !bit } else { self.events | bit };
            }
            0x300 => self.inten = value & mask,
            0x304 => self.inten |= value & mask,
            0x308 => self.inten &= !value,
            _ => return false,
        }
        true
    }
}

/// Device time of tick `tick` of the 32.768 kHz clock: the first cycle at which it has happened.
pub(super) const fn lf_cycle(tick: u64) -> u64 {
    // 16 000 000 / 32 768 = 15 625 / 32
    (tick.saturating_mul(15_625)).div_ceil(32)
}

/// Ticks of the 32.768 kHz clock that have happened at device time `cycle`.
pub(super) const fn lf_tick(cycle: u64) -> u64 {
    ((cycle as u128 * 32) / 15_625) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_cycles_agree() {
        for tick in (0..100_000).chain([32_768 * 3600 * 24 * 365]) {
            assert_eq!(lf_tick(lf_cycle(tick)), tick);
            if tick > 0 {
                assert_eq!(lf_tick(lf_cycle(tick) - 1), tick - 1);
            }
        }
        assert_eq!(lf_cycle(32_768), 16_000_000);
    }

    #[test]
    fn clearing_an_event_drops_the_line() {
        let mut block = EventBlock::default();
        block.write(0x304, 1 << 2, 0x384);
        block.fire(2);
        assert!(block.line() && block.read(0x108) == Some(1));
        block.write(0x108, 0, 0x384);
        assert!(!block.line());
    }
}
