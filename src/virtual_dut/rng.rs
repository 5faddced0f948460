//! RNG (reference manual, chapter RNG).

use super::{
    events::{EventBlock, NEVER},
    noise::Noise,
};

/// Typical time per byte with and without bias correction.
const CORRECTED: u64 = 677 * 16;
const RAW: u64 = 167 * 16;

/// Registers, and the source of noise, which survives reset and power loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Rng {
    pub(super) block: EventBlock,
    shorts: u32,
    config: u32,
    value: u8,
    ready_at: u64,
    source: Noise,
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self { block: EventBlock::default(), shorts: 0, config: 0, value: 0, ready_at: NEVER, source: Noise::new(seed) }
    }

    pub(super) fn reset(&mut self) {
        let source = self.source;
        *self = Self { source, ..Self::new(0) };
    }

    const fn period(&self) -> u64 {
        if self.config & 1 == 1 { CORRECTED } else { RAW }
    }

    pub(super) const fn next(&self) -> u64 {
        self.ready_at
    }

    pub(super) fn advance(&mut self, now: u64) {
        while self.ready_at <= now {
            self.value = self.source.next() as u8;
            self.ready_at = if self.shorts & 1 == 1 { NEVER } else { self.ready_at + self.period() };
            self.block.fire(0);
        }
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            0x200 => self.shorts,
            0x504 => self.config,
            0x508 => u32::from(self.value),
            _ => self.block.read(offset).unwrap_or(0),
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, now: u64) {
        match offset {
            0x000 if value & 1 == 1 && self.ready_at == NEVER => self.ready_at = now + self.period(),
            0x004 if value & 1 == 1 => self.ready_at = NEVER,
            0x200 => self.shorts = value & 1,
            0x504 => self.config = value & 1,
            _ => {
                self.block.write(offset, value, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_one_per_period_and_go_on_after_reset() {
        let bytes = |seed| {
            let mut rng = Rng::new(seed);
            let mut now = 0;
            let mut bytes = Vec::new();
            for round in 0..16 {
                if round == 8 {
                    rng.reset();
                }
                rng.write(0x000, 1, now);
                now = rng.next();
                rng.advance(now);
                bytes.push(rng.read(0x508));
            }
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        assert_ne!(bytes(1)[..8], bytes(1)[8..], "a reset does not replay the sequence");
    }
}
