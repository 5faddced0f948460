//! The whole device: what the bench switches, feeds and watches.

use std::sync::Arc;

use super::{BusFault, NvMemory, Size, VerifyMemo};
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

/// The virtual device. Cloning is a snapshot: flash pages are shared until written, everything else is copied (about 20 KiB).
#[derive(Debug, Clone)]
pub struct Machine {
    config: MachineConfig,
    now: u64,
    powered: bool,
    nv: NvMemory,
}

impl Machine {
    /// A blank device: flash and UICR erased, no supply, device time 0.
    #[must_use]
    pub fn new(config: MachineConfig) -> Self {
        Self { config, now: 0, powered: false, nv: NvMemory::new() }
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// Raises the supply: power-on reset. SRAM holds what its cells kept while off. No effect when powered.
    pub fn power_on(&mut self) {
        self.powered = true;
    }

    /// Drops the supply. A flash operation under way is torn by the seed. No effect when off.
    pub fn power_off(&mut self) {
        self.powered = false;
    }

    /// Whether the supply is up.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.powered
    }

    /// Pulses nRST: a pin reset. No effect when off.
    pub fn pin_reset(&mut self) {}

    /// Device time in cycles of 16 MHz. Never goes back, and goes on while the device is off.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets device time pass until `cycle`, or until something stops it earlier. Idle and unpowered time is skipped.
    pub fn run_until(&mut self, cycle: u64) -> StopReason {
        self.now = self.now.max(cycle);
        StopReason::TimeReached
    }

    /// Runs one instruction or, if the core sleeps, is halted or off, lets one cycle pass. For debugger steps use DHCSR instead.
    pub fn step(&mut self) -> StopReason {
        self.run_until(self.now + 1)
    }

    /// Instructions executed since [`Machine::new`], those of memoised calls included.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        0
    }

    /// Whether [`Machine::run_until`] returns after each byte that leaves TXD.
    pub fn stop_on_uart(&mut self, stop: bool) {
        let _ = stop;
    }

    /// Bytes that left TXD since the last call.
    pub fn uart_take(&mut self) -> Vec<u8> {
        self.uart_take_timed().into_iter().map(|sent| sent.byte).collect()
    }

    /// Bytes that left TXD since the last call, with their times.
    pub fn uart_take_timed(&mut self) -> Vec<TxByte> {
        Vec::new()
    }

    /// Puts bytes on the device's RXD, one after the other from now, or from the end of those already on the line, at `serial_baud`
    /// (ten bit times each). They are lost if the receiver is not on, and from the seventh unread one on.
    pub fn uart_push(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// Device time at which the last byte pushed has fully arrived (not later than now if the line is idle).
    #[must_use]
    pub fn uart_idle_at(&self) -> u64 {
        self.now
    }

    /// Drives GPIO `pin` (0..=31) from outside, or lets go of it.
    pub fn set_pin(&mut self, pin: u8, level: Option<bool>) {
        let _ = (pin, level);
    }

    /// Level at GPIO `pin`: what the device drives if it is an output, otherwise the external or pull level. Low when off and not driven.
    #[must_use]
    pub fn pin(&self, pin: u8) -> bool {
        let _ = pin;
        false
    }

    /// Flash and UICR.
    #[must_use]
    pub fn nv(&self) -> &NvMemory {
        &self.nv
    }

    /// Writes flash or UICR content as the factory does before the device is soldered: no time, no operation counted, no protection.
    pub fn preload(&mut self, address: u32, bytes: &[u8]) -> Result<(), BusFault> {
        let _ = bytes;
        Err(BusFault { address })
    }

    /// Arms one power cut at the flash operation with absolute index `operation` ([`NvCounts::total`](super::NvCounts::total) counts them).
    /// When it comes, [`Machine::run_until`] returns [`StopReason::CutReached`] with the machine off. Replaces an armed one.
    pub fn arm_cut(&mut self, operation: u64, phase: CutPhase) {
        let _ = (operation, phase);
    }

    /// Disarms.
    pub fn disarm_cut(&mut self) {}

    /// Reads as the debugger does through the AHB-AP. Readback protection, when on, makes flash read as zero. Takes no device time.
    pub fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        let _ = size;
        Err(BusFault { address })
    }

    /// Writes as the debugger does through the AHB-AP. Takes no device time except for the flash operations it starts.
    pub fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        let _ = (size, value);
        Err(BusFault { address })
    }

    /// Whether the core is in debug state.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        false
    }

    /// Whether the core is locked up.
    #[must_use]
    pub fn is_locked_up(&self) -> bool {
        false
    }

    /// Answers calls that arrive at code address `entry` from `memo` where the same call was executed before. The machine is then
    /// exactly, RAM, registers and time included, as if the call had been executed.
    pub fn memoise_verify(&mut self, entry: u32, memo: Arc<VerifyMemo>) {
        let _ = (entry, memo);
    }

    /// Digest of the complete state except configuration and memo: equal for machines that will behave equally.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}
