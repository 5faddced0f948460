//! The whole device: what the bench switches, feeds and watches.

use std::{hash::Hash as _, sync::Arc};

use super::{
    BusFault, NvMemory, Size, VerifyMemo,
    core::Core,
    debug::{DFSR_HALTED, DFSR_VCATCH},
    events::NEVER,
    memo::Watched,
    noise::decay,
    power::ResetReason,
    soc::{Request, Soc},
};
use crate::event::CutPhase;

/// What distinguishes one device of the type from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MachineConfig {
    /// Seed of everything that is random in a real device: RNG, SRAM after power-on, torn flash cells.
    pub seed: u64,
    /// FICR.DEVICEID.
    pub device_id: u64,
    /// Bits per second of whoever is at the other end of the serial line. A device set to another rate receives garbage.
    pub serial_baud: u32,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self { seed: 1, device_id: 0x0123_4567_89AB_CDEF, serial_baud: 115_200 }
    }
}

/// Why [`Machine::run_until`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Device time is at or (by the last instruction's cycles) just after the one asked for.
    TimeReached,
    /// The core entered debug state during this call. A core that was halted before the call stays halted and time passes.
    Halted,
    /// The armed power cut happened; the machine is off.
    CutReached,
    /// A byte left TXD, and [`Machine::stop_on_uart`] was asked for.
    UartOutput,
}

/// A byte on the device's TXD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxByte {
    /// Device time at the end of its stop bit.
    pub at: u64,
    /// The byte.
    pub byte: u8,
}

/// From the release of reset to the first instruction. The product specification gives some hundred microseconds; uncertain.
const START_UP: u64 = 400 * 16;

/// The virtual device. Cloning is a snapshot: flash pages are shared until written, everything else is copied (about 20 KiB).
#[derive(Debug, Clone)]
pub struct Machine {
    pub(super) config: MachineConfig,
    pub(super) now: u64,
    powered: bool,
    /// When the supply was dropped, and how often it was raised: for what the RAM keeps.
    off_since: u64,
    boots: u64,
    /// In System OFF until a pin wakes it.
    system_off: bool,
    pub(super) core: Core,
    pub(super) soc: Soc,
    /// Time of the next event of the peripherals.
    pub(super) horizon: u64,
    stop_on_uart: bool,
    pub(super) instructions: u64,
    pub(super) memo: Option<(u32, Arc<VerifyMemo>)>,
    pub(super) watched: Option<Watched>,
}

impl Machine {
    /// A blank device: flash and UICR erased, no supply, device time 0.
    #[must_use]
    pub fn new(config: MachineConfig) -> Self {
        let soc = Soc::new(&config);
        Self {
            config,
            now: 0,
            powered: false,
            off_since: 0,
            boots: 0,
            system_off: false,
            core: Core::default(),
            soc,
            horizon: 0,
            stop_on_uart: false,
            instructions: 0,
            memo: None,
            watched: None,
        }
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// Raises the supply: power-on reset. SRAM holds what its cells kept while off. No effect when powered.
    pub fn power_on(&mut self) {
        if self.powered {
            return;
        }
        let off = if self.boots == 0 { u64::MAX } else { self.now - self.off_since };
        decay(&mut *self.soc.ram, self.config.seed, self.boots, off);
        self.boots += 1;
        self.powered = true;
        while self.soc.line.take(self.now).is_some() {}
        self.reset(ResetReason::PowerOn);
    }

    /// Drops the supply. A flash operation under way is torn by the seed. No effect when off.
    pub fn power_off(&mut self) {
        if !self.powered {
            return;
        }
        self.soc.lose_power(self.now);
        self.soc.gpio.reset();
        self.powered = false;
        self.system_off = false;
        self.off_since = self.now;
        self.watched = None;
        self.core = Core::default();
    }

    /// Whether the supply is up.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// Pulses nRST: a pin reset. No effect when off.
    pub fn pin_reset(&mut self) {
        if self.powered {
            self.reset(ResetReason::Pin);
        }
    }

    /// Device time in cycles of 16 MHz. Never goes back, and goes on while the device is off.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    fn reset(&mut self, reason: ResetReason) {
        self.soc.reset(reason);
        self.watched = None;
        self.system_off = false;
        self.core = Core::in_reset(self.now + START_UP);
        self.horizon = 0;
    }

    /// Fetches the vectors and begins to execute, or halts before if the debugger asked for it.
    fn start(&mut self) {
        let word = |address| self.soc.nv.word(address).unwrap_or(u32::MAX);
        self.core.start(word(0), word(4));
        let debug = &mut self.soc.debug;
        if debug.enabled && debug.catch_reset {
            debug.halt(DFSR_VCATCH);
        } else if debug.enabled && debug.halt_requested {
            debug.halt(DFSR_HALTED);
        }
    }

    /// Lets device time pass until `cycle`, or until something stops it earlier. Idle and unpowered time is skipped.
    pub fn run_until(&mut self, cycle: u64) -> StopReason {
        let was_halted = self.soc.debug.halted;
        let sent = self.soc.line.sent.len();
        loop {
            if !self.powered {
                self.now = self.now.max(cycle);
                while self.soc.line.take(self.now).is_some() {}
                return StopReason::TimeReached;
            }
            if self.now >= self.horizon || self.soc.touched {
                self.attend();
            }
            match self.soc.request.take() {
                Some(Request::Cut) => {
                    self.now = self.now.max(self.soc.busy_until);
                    self.power_off();
                    return StopReason::CutReached;
                }
                Some(Request::Reset(reason)) => {
                    self.reset(reason);
                    continue;
                }
                None => {}
            }
            if self.stop_on_uart && self.soc.line.sent.len() > sent {
                return StopReason::UartOutput;
            }
            if self.soc.debug.halted && !was_halted {
                return StopReason::Halted;
            }
            if self.now >= cycle {
                return StopReason::TimeReached;
            }
            let until = cycle.min(self.horizon);
            if self.now < self.soc.busy_until {
                // The core stands still while the flash is written or erased.
                self.now = until.min(self.soc.busy_until);
                self.soc.settle(self.now);
                continue;
            }
            if let Some(start) = self.core.starts_at {
                self.now = until.min(start).max(self.now);
                if self.now >= start {
                    self.core.starts_at = None;
                    self.start();
                }
                continue;
            }
            if self.system_off || self.soc.debug.halted || self.core.locked_up {
                self.idle(until);
                continue;
            }
            // A debugger that steps in the middle of a call answered from memory finds it done, and does not wait for it: the rest of its time
            // passes once the core runs again.
            let stepping = self.soc.debug.enabled && self.soc.debug.step;
            if self.now < self.core.busy_until && !stepping {
                self.now = until.min(self.core.busy_until);
                continue;
            }
            // Or a call answered from memory would leave a trace that an executed one does not.
            if self.now >= self.core.busy_until {
                self.core.busy_until = 0;
            }
            if !self.take_exception() && self.core.sleeping {
                if self.core.awake(&self.soc.nvic) {
                    self.wake();
                } else {
                    self.idle(until);
                }
                continue;
            }
            self.burst(until);
        }
    }

    /// Everything that is due happens; the time of the next event is found anew.
    fn attend(&mut self) {
        let pending = self.soc.nvic.pending_bits();
        self.soc.advance(self.now);
        if self.soc.scr & 0x10 != 0 && self.soc.nvic.pending_bits() & !pending != 0 {
            self.core.event = true;
        }
        if self.soc.power.off_requested {
            self.soc.power.off_requested = false;
            self.system_off = !self.soc.debug.interface;
        }
        if self.system_off && self.soc.gpio.detect() {
            self.soc.request = Some(Request::Reset(ResetReason::SystemOff));
        }
        self.soc.wdt.set_core_state(self.core.sleeping, self.soc.debug.halted, self.now);
        self.horizon = self.soc.next();
        // Whatever is still due now has been looked at; time must pass before it is looked at again.
        if self.horizon <= self.now {
            self.horizon = self.now + 1;
        }
    }

    fn idle(&mut self, until: u64) {
        self.now = if until == NEVER { self.now } else { until.max(self.now) };
    }

    /// The core has entered or left sleep: the watchdog may have been told to pause.
    pub(super) fn wake(&mut self) {
        self.core.sleeping = false;
        self.soc.touched = true;
    }

    /// Runs one instruction or, if the core sleeps, is halted or off, lets one cycle pass. For debugger steps use DHCSR instead.
    pub fn step(&mut self) -> StopReason {
        self.run_until(self.now + 1)
    }

    /// Instructions executed since [`Machine::new`], those of memoised calls included.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// Whether [`Machine::run_until`] returns after each byte that leaves TXD.
    pub fn stop_on_uart(&mut self, stop: bool) {
        self.stop_on_uart = stop;
    }

    /// Bytes that left TXD since the last call.
    pub fn uart_take(&mut self) -> Vec<u8> {
        self.uart_take_timed().into_iter().map(|sent| sent.byte).collect()
    }

    /// Bytes that left TXD since the last call, with their times.
    pub fn uart_take_timed(&mut self) -> Vec<TxByte> {
        std::mem::take(&mut self.soc.line.sent)
    }

    /// Puts bytes on the device's RXD, one after the other from now, or from the end of those already on the line, at `serial_baud`
    /// (ten bit times each). They are lost if the receiver is not on, and from the seventh unread one on.
    pub fn uart_push(&mut self, bytes: &[u8]) {
        self.soc.line.push(bytes, self.now);
        self.horizon = self.horizon.min(self.soc.line.next());
    }

    /// Device time at which the last byte pushed has fully arrived (not later than now if the line is idle).
    #[must_use]
    pub fn uart_idle_at(&self) -> u64 {
        self.soc.line.idle_at()
    }

    /// Drives GPIO `pin` (0..=31) from outside, or lets go of it.
    pub fn set_pin(&mut self, pin: u8, level: Option<bool>) {
        self.soc.gpio.drive(pin, level);
        self.soc.touched = true;
    }

    /// Level at GPIO `pin`: what the device drives if it is an output, otherwise the external or pull level. Low when off and not driven.
    #[must_use]
    pub fn pin(&self, pin: u8) -> bool {
        self.soc.gpio.levels().checked_shr(u32::from(pin)).unwrap_or(0) & 1 == 1
    }

    /// Flash and UICR.
    #[must_use]
    pub fn nv(&self) -> &NvMemory {
        &self.soc.nv
    }

    /// Writes flash or UICR content as the factory does before the device is soldered: no time, no operation counted, no protection.
    ///
    /// # Errors
    /// The range is not all inside flash or UICR.
    pub fn preload(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusFault> {
        if self.soc.nv.preload(address, bytes) { Ok(()) } else { Err(BusFault { address }) }
    }

    /// Arms one power cut at the flash operation with absolute index `operation` ([`NvCounts::total`](super::NvCounts::total) counts them).
    /// When it comes, [`Machine::run_until`] returns [`StopReason::CutReached`] with the machine off. Replaces an armed one.
    pub fn arm_cut(&mut self, operation: u64, phase: CutPhase) {
        self.soc.cut = Some((operation, phase));
    }

    /// Disarms.
    pub fn disarm_cut(&mut self) {
        self.soc.cut = None;
    }

    /// Reads as the debugger does through the AHB-AP. Readback protection, when on, makes flash read as zero. Takes no device time.
    ///
    /// # Errors
    /// Nothing answers at that address, or the device is off.
    pub fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        let fault = BusFault { address };
        if !self.powered {
            return Err(fault);
        }
        match address {
            0xE000_ED04 => Ok(self.soc.nvic.icsr(self.soc.present)),
            0xE000_ED30 => Ok(self.soc.debug.dfsr),
            0xE000_EDF0 => {
                let value = self.soc.debug.dhcsr(self.core.sleeping, self.core.locked_up);
                self.soc.debug.retired = false;
                self.soc.debug.was_reset = false;
                Ok(value)
            }
            0xE000_EDF8 => Ok(self.soc.debug.dcrdr),
            0xE000_EDFC => Ok(self.soc.debug.demcr()),
            _ => self.soc.inspect(address, size, self.now).ok_or(fault),
        }
    }

    /// Writes as the debugger does through the AHB-AP. Takes no device time except for the flash operations it starts.
    ///
    /// # Errors
    /// Nothing answers at that address, the memory refuses the write, or the device is off.
    pub fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        let fault = BusFault { address };
        if !self.powered {
            return Err(fault);
        }
        // What a call leaves after the debugger had its hands in is not what the same call leaves the next time.
        self.watched = None;
        match address {
            0xE000_ED30 => self.soc.debug.dfsr &= !value,
            0xE000_EDF0 => {
                let was_halted = self.soc.debug.halted;
                self.soc.debug.write_dhcsr(value);
                self.soc.debug.interface |= self.soc.debug.enabled;
                let debug = &mut self.soc.debug;
                if debug.enabled && debug.halt_requested && !debug.halted && self.core.starts_at.is_none() {
                    debug.halt(DFSR_HALTED);
                    // What was asleep is awake when the core goes on, and debug state ends lock-up (DDI 0419, B1.5.15).
                    self.core.sleeping = false;
                    self.core.locked_up = false;
                } else if was_halted && !debug.halted {
                    self.core.skip_breakpoint = true;
                }
                self.soc.touched = true;
            }
            0xE000_EDF4 => {
                if self.soc.debug.halted {
                    if value >> 16 & 1 == 1 {
                        self.core.set_debug_register(value & 0x1F, self.soc.debug.dcrdr);
                        self.soc.present = self.core.ipsr;
                    } else {
                        self.soc.debug.dcrdr = self.core.debug_register(value & 0x1F);
                    }
                }
            }
            0xE000_EDF8 => self.soc.debug.dcrdr = value,
            0xE000_EDFC => self.soc.debug.write_demcr(value),
            0xE000_1000..=0xE000_1FFF => {}
            0xE000_2000..=0xE000_2FFF => self.soc.debug.write_breakpoints(address & 0xFFF, value),
            _ => {
                self.soc.write(address, size, value & size.mask(), self.now, true).ok_or(fault)?;
                self.soc.touched = true;
                if let Some(Request::Reset(reason)) = self.soc.request {
                    self.reset(reason);
                }
            }
        }
        Ok(())
    }

    /// Whether the core is in debug state.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.soc.debug.halted
    }

    /// Whether the core is locked up.
    #[must_use]
    pub fn is_locked_up(&self) -> bool {
        self.core.locked_up
    }

    /// Answers calls that arrive at code address `entry` from `memo` where the same call was executed before. RAM, registers and time are then
    /// as if the call had been executed; while it would have run, the core counts as busy and RAM already holds what the call leaves.
    pub fn memoise_verify(&mut self, entry: u32, memo: Arc<VerifyMemo>) {
        self.memo = Some((entry & !1, memo));
    }

    /// Digest of the complete state except configuration and memo: equal for machines that will behave equally.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Feed(blake3::Hasher::new());
        (self.now, self.powered, self.off_since, self.boots, self.system_off, &self.core, self.instructions).hash(&mut hasher);
        self.soc.feed(&mut hasher);
        *hasher.0.finalize().as_bytes()
    }

    /// Digest of everything that the future depends on. Unlike [`Machine::digest`] it leaves out what only tells of the past: instructions
    /// and flash operations counted, when the supply was last dropped, when the last byte had arrived. What still depends on a count is the
    /// index for [`Machine::arm_cut`] and the pattern of a flash operation torn by [`Machine::power_off`].
    pub(super) fn future(&self) -> [u8; 32] {
        let mut hasher = Feed(blake3::Hasher::new());
        let off_since = if self.powered { 0 } else { self.off_since };
        (self.now, self.powered, off_since, self.boots, self.system_off, &self.core).hash(&mut hasher);
        self.soc.feed_future(&mut hasher, self.now);
        *hasher.0.finalize().as_bytes()
    }

    /// Whether a flash operation is under way.
    pub(super) fn is_flash_busy(&self) -> bool {
        self.powered && self.now < self.soc.busy_until
    }
}

/// A cryptographic digest behind the standard library's hashing.
struct Feed(blake3::Hasher);

impl std::hash::Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests;
