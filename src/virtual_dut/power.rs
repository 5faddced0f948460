//! POWER, CLOCK and MPU, which share one register block (reference manual, chapters POWER, CLOCK, MPU).

use super::events::{EventBlock, NEVER};

const HFCLKSTARTED: u32 = 0;
const LFCLKSTARTED: u32 = 1;
const DONE: u32 = 3;
const CTTO: u32 = 4;
const EVENTS: u32 = 1 << 2 | 1 << HFCLKSTARTED | 1 << LFCLKSTARTED | 1 << DONE | 1 << CTTO;

/// Typical start-up times: 16 MHz crystal 800 us, 32.768 kHz RC 600 us, its crystal 300 ms, a calibration 16 ms.
const HF_START: u64 = 800 * 16;
const LF_RC_START: u64 = 600 * 16;
const LF_CRYSTAL_START: u64 = 300_000 * 16;
const CALIBRATION: u64 = 16_000 * 16;

/// What reset the device. The bit of RESETREAS it sets; power-on sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ResetReason {
    /// Supply came up.
    PowerOn,
    /// nRST.
    Pin,
    /// Watchdog.
    Watchdog,
    /// AIRCR.SYSRESETREQ.
    Soft,
    /// The core locked up.
    Lockup,
    /// Wake-up from System OFF by a GPIO.
    SystemOff,
}

impl ResetReason {
    const fn bit(self) -> u32 {
        match self {
            Self::PowerOn => 0,
            Self::Pin => 1,
            Self::Watchdog => 1 << 1,
            Self::Soft => 1 << 2,
            Self::Lockup => 1 << 3,
            Self::SystemOff => 1 << 16,
        }
    }
}

/// A clock source that takes time to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Oscillator {
    requested: bool,
    running: bool,
    ready_at: u64,
}

const STOPPED: Oscillator = Oscillator { requested: false, running: false, ready_at: NEVER };

impl Oscillator {
    const fn start(&mut self, ready_at: u64) {
        if !self.requested {
            *self = Self { requested: true, running: false, ready_at };
        } else if self.running {
            // Already there: the event comes at once.
            self.ready_at = 0;
        }
    }

    const fn advance(&mut self, now: u64) -> bool {
        if self.ready_at <= now {
            self.ready_at = NEVER;
            self.running = true;
            return true;
        }
        false
    }
}

/// The registers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Power {
    pub(super) block: EventBlock,
    reset_reason: u32,
    retained: u32,
    pub(super) ram_on: u32,
    ram_on_b: u32,
    dcdc: u32,
    pof: u32,
    hf: Oscillator,
    lf: Oscillator,
    lf_source: u32,
    lf_source_copy: u32,
    interval: u32,
    calibrated_at: u64,
    timeout_at: u64,
    crystal: u32,
    protected: [u32; 2],
    disable_in_debug: u32,
    /// SYSTEMOFF was written.
    pub(super) off_requested: bool,
}

impl Power {
    pub(super) const fn new() -> Self {
        Self {
            block: EventBlock::new(),
            reset_reason: 0,
            retained: 0,
            ram_on: 3,
            ram_on_b: 3,
            dcdc: 0,
            pof: 0,
            hf: STOPPED,
            lf: STOPPED,
            lf_source: 0,
            lf_source_copy: 0,
            interval: 0,
            calibrated_at: NEVER,
            timeout_at: NEVER,
            crystal: 0xFF,
            protected: [0; 2],
            disable_in_debug: 1,
            off_requested: false,
        }
    }

    /// RESETREAS accumulates over resets and is cleared by power-on; GPREGRET is kept except over power-on, pin and watchdog.
    pub(super) const fn reset(&mut self, reason: ResetReason) {
        let (reasons, retained) = match reason {
            ResetReason::PowerOn => (0, 0),
            ResetReason::Pin | ResetReason::Watchdog => (self.reset_reason, 0),
            _ => (self.reset_reason, self.retained),
        };
        *self = Self { reset_reason: reasons | reason.bit(), retained, ..Self::new() };
    }

    /// Whether RTCs count.
    pub(super) const fn lf_running(&self) -> bool {
        self.lf.running
    }

    /// Whether the flash block of 4 KiB that holds `address` is protected against the CPU.
    pub(super) const fn is_protected(&self, address: u32, debugging: bool) -> bool {
        let block = address >> 12;
        let on = block < 64 && self.protected[(block >> 5) as usize & 1] >> (block & 31) & 1 == 1;
        on && !(debugging && self.disable_in_debug & 1 == 1)
    }

    pub(super) fn next(&self) -> u64 {
        self.hf.ready_at.min(self.lf.ready_at).min(self.calibrated_at).min(self.timeout_at)
    }

    pub(super) const fn advance(&mut self, now: u64) {
        if self.hf.advance(now) {
            self.block.fire(HFCLKSTARTED);
        }
        if self.lf.advance(now) {
            self.block.fire(LFCLKSTARTED);
        }
        if self.calibrated_at <= now {
            self.calibrated_at = NEVER;
            self.block.fire(DONE);
        }
        if self.timeout_at <= now {
            self.timeout_at = NEVER;
            self.block.fire(CTTO);
        }
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        let status = |clock: Oscillator, source: u32| u32::from(clock.running) << 16 | source;
        match offset {
            0x400 => self.reset_reason,
            0x408 => u32::from(self.hf.requested),
            // Without the crystal the core runs from the RC oscillator: source 0, and the clock is always running.
            0x40C => 1 << 16 | u32::from(self.hf.running),
            0x414 => u32::from(self.lf.requested),
            0x418 => status(self.lf, self.lf_source_copy),
            0x41C => self.lf_source_copy,
            0x428 => self.ram_on & 3,
            0x510 => self.pof,
            0x518 => self.lf_source,
            0x51C => self.retained,
            0x524 => self.ram_on,
            0x538 => self.interval,
            0x550 => self.crystal,
            0x554 => self.ram_on_b,
            0x578 => self.dcdc,
            0x600 => self.protected[0],
            0x604 => self.protected[1],
            0x608 => self.disable_in_debug,
            _ => self.block.read(offset).unwrap_or(0),
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, now: u64) {
        let task = value & 1 == 1;
        match offset {
            0x000 if task => self.hf.start(now + HF_START),
            0x004 if task => self.hf = STOPPED,
            0x008 if task => {
                self.lf_source_copy = self.lf_source;
                self.lf.start(now + if self.lf_source == 1 { LF_CRYSTAL_START } else { LF_RC_START });
            }
            0x00C if task => self.lf = STOPPED,
            0x010 if task => self.calibrated_at = now + CALIBRATION,
            0x014 if task => self.timeout_at = now + u64::from(self.interval.max(1)) * 4_000_000,
            0x018 if task => self.timeout_at = NEVER,
            // Bits are cleared by writing ones.
            0x400 => self.reset_reason &= !value,
            0x500 if task => self.off_requested = true,
            0x510 => self.pof = value & 7,
            0x518 if !self.lf.requested => self.lf_source = value & 3,
            0x51C => self.retained = value & 0xFF,
            0x524 => self.ram_on = value & 0x0003_0003,
            0x538 => self.interval = value & 0x7F,
            0x550 => self.crystal = value & 0xFF,
            0x554 => self.ram_on_b = value & 0x0003_0003,
            0x578 => self.dcdc = value & 1,
            0x600 => self.protected[0] |= value,
            0x604 => self.protected[1] |= value,
            0x608 => self.disable_in_debug = value & 1,
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
    fn reset_reasons_accumulate_until_power_on_and_clear_by_writing_ones() {
        let mut power = Power::new();
        power.reset(ResetReason::Watchdog);
        power.reset(ResetReason::Soft);
        assert_eq!(power.read(0x400), 0b110);
        power.write(0x400, 0b010, 0);
        assert_eq!(power.read(0x400), 0b100);
        power.reset(ResetReason::PowerOn);
        assert_eq!(power.read(0x400), 0);
    }

    #[test]
    fn the_retained_register_survives_a_soft_reset_only() {
        let mut power = Power::new();
        power.write(0x51C, 0x1A5, 0);
        power.reset(ResetReason::Soft);
        assert_eq!(power.read(0x51C), 0xA5);
        power.reset(ResetReason::Pin);
        assert_eq!(power.read(0x51C), 0);
    }

    #[test]
    fn clocks_take_time_to_start() {
        let mut power = Power::new();
        power.write(0x008, 1, 100);
        assert_eq!((power.next(), power.lf_running()), (100 + LF_RC_START, false));
        power.advance(100 + LF_RC_START);
        assert!(power.block.is_set(LFCLKSTARTED) && power.lf_running());
        power.write(0x104, 0, 20_000);
        power.write(0x008, 1, 20_000);
        power.advance(20_000);
        assert!(power.block.is_set(LFCLKSTARTED), "starting a running clock answers at once");
    }

    #[test]
    fn protection_of_a_block_stays_and_the_debugger_lifts_it() {
        let mut power = Power::new();
        power.write(0x604, 1, 0);
        power.write(0x604, 0, 0);
        assert!(power.is_protected(0x2_0FFF, false) && !power.is_protected(0x2_1000, false));
        assert!(!power.is_protected(0x2_0000, true));
    }
}
