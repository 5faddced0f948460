//! The smallest thing that a debugger can talk to: a debug port, one memory access port, and some memory. For tests of the probe; the
//! device of the virtual bench has a debug port of its own.

use std::collections::BTreeMap;

use super::swd::{Ack, Swd};

const DPIDR: u32 = 0x0BB1_1477;
const AP_IDR: u32 = 0x0477_0021;
/// Power-up requests of CTRL/STAT; the acknowledges are the bits above them.
const POWER_UP: u32 = 1 << 28 | 1 << 30;
const STICKY_ERROR: u32 = 1 << 5;
/// Ones in a row that reset the line.
const LINE_RESET: u8 = 50;

/// Debug port, access port and memory. Words that were never written read as zero; unaligned addresses are bus errors.
#[derive(Debug, Clone, Default)]
pub struct SimpleTarget {
    memory: BTreeMap<u32, u32>,
    ready: bool,
    ones: u8,
    ctrl: u32,
    select: u32,
    buffer: u32,
    csw: u32,
    tar: u32,
}

impl SimpleTarget {
    /// A target with these words in its memory.
    #[must_use]
    pub fn new(memory: impl IntoIterator<Item = (u32, u32)>) -> Self {
        Self { memory: memory.into_iter().collect(), csw: 0x4300_0002, ..Self::default() }
    }

    fn usable(&mut self) -> Result<(), Ack> {
        self.ones = 0;
        if self.ready { Ok(()) } else { Err(Ack::Silent) }
    }

    /// Address of the access port's register, if it is the port that exists.
    fn register(&self, address: u8) -> Option<u8> {
        (self.select >> 24 == 0).then_some(self.select as u8 & 0xF0 | address)
    }

    /// The word that DRW stands for; moves on if that is wanted.
    fn word(&mut self) -> Option<u32> {
        if self.tar & 3 != 0 || self.ctrl & POWER_UP != POWER_UP {
            self.ctrl |= STICKY_ERROR;
            return None;
        }
        let address = self.tar;
        if self.csw & 0x30 != 0 {
            // The increment wraps in the low ten bits, as on silicon (ADIv5, C2.2.2).
            self.tar = self.tar & !0x3FF | self.tar.wrapping_add(4) & 0x3FF;
        }
        Some(address)
    }
}

impl Swd for SimpleTarget {
    fn read(&mut self, ap: bool, address: u8) -> Result<u32, Ack> {
        self.usable()?;
        if self.ctrl & STICKY_ERROR != 0 && (ap || address > 4) {
            return Err(Ack::Fault);
        }
        match (ap, address) {
            (false, 0x0) => Ok(DPIDR),
            (false, 0x4) => Ok(if self.select & 0xF == 0 { self.ctrl | (self.ctrl & POWER_UP) << 1 } else { 0 }),
            (false, _) => Ok(self.buffer),
            (true, _) => {
                let posted = self.buffer;
                self.buffer = match self.register(address) {
                    Some(0x00) => self.csw | 1 << 6,
                    Some(0x04) => self.tar,
                    Some(0x0C) => self.word().and_then(|address| self.memory.get(&address).copied()).unwrap_or(0),
                    Some(0xFC) => AP_IDR,
                    _ => 0,
                };
                Ok(posted)
            }
        }
    }

    fn write(&mut self, ap: bool, address: u8, value: u32) -> Result<(), Ack> {
        self.usable()?;
        if (ap, address) == (false, 0) {
            self.ctrl &= if value & 1 << 2 != 0 { !STICKY_ERROR } else { !0 };
            return Ok(());
        }
        if self.ctrl & STICKY_ERROR != 0 {
            return Err(Ack::Fault);
        }
        match (ap, address) {
            (false, 0x4) if self.select & 0xF == 0 => self.ctrl = value & POWER_UP,
            (false, 0x8) => self.select = value,
            (false, _) => {}
            (true, _) => match self.register(address) {
                Some(0x00) => self.csw = value & !0x7 | 2,
                Some(0x04) => self.tar = value,
                Some(0x0C) => {
                    if let Some(address) = self.word() {
                        self.memory.insert(address, value);
                    }
                }
                _ => {}
            },
        }
        Ok(())
    }

    fn line(&mut self, count: u8, bits: u64) {
        for index in 0..count.min(64) {
            self.ones = if bits >> index & 1 == 1 { self.ones.saturating_add(1) } else { 0 };
            self.ready |= self.ones >= LINE_RESET;
        }
    }

    fn set_reset(&mut self, _high: bool) {}
}
