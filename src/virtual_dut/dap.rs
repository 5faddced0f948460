//! The debug port of the virtual device, as seen from the two wires: SW-DP and the one AHB access port of the nRF51822.
//!
//! Written from the ARM Debug Interface v5 specification (IHI 0031), the Cortex-M0 Technical Reference Manual (DDI 0432, chapter on
//! debug) and the nRF51 Series Reference Manual v3.0. The nRF51 has no control access port: only AP 0 answers, all others read as zero.
//!
//! The port reaches the device through [`DebugTarget`]. Registers of the core (DHCSR, BPU, ...) are memory to it, as on silicon.
//!
//! # Device time
//! Time on the virtual bench passes only while somebody uses it. Each transfer takes the time that its 46 bits need on a fast wire, and
//! reading the same word twice in a row is polling, which costs a probe a turn-around with its host. Both are fixed numbers
//! of cycles, so the same session gives the same transfers, however busy the machine is.

use super::{BusFault, Size};

/// Cycles that one transfer takes: 46 wire bits at 11.5 MHz are 4 µs.
pub const TRANSFER_CYCLES: u64 = 64;

/// Cycles that pass before a word is read that was also the last one read: 1.25 ms, about one turn-around of a full-speed USB probe.
pub const POLL_CYCLES: u64 = 20_000;

/// What a debug port needs of the device behind it. On the bench the device is shared with its other channels: implement this on a
/// handle that locks it per call.
pub trait DebugTarget: Send {
    /// Reads through the access port: the value stands in the low bits, whatever the address.
    fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault>;
    /// Writes through the access port: the value stands in the low bits, whatever the address.
    fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault>;
    /// Lets this many cycles (16 MHz) of device time pass.
    fn run(&mut self, cycles: u64);
    /// Whether the supply is up.
    fn powered(&mut self) -> bool;
    /// How often the supply has been raised so far. The debug port loses its state when this changes.
    fn power_ups(&mut self) -> u64;
    /// Drives the reset line of the device. Its falling edge is a pin reset.
    fn set_nrst(&mut self, high: bool);
}

/// Why a transfer gave no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody drove the acknowledge bits: no power, or no line reset since power came.
    Silent,
    /// FAULT: a sticky error is set and must be cleared through ABORT first.
    Fault,
}

/// Which of the two register files a transfer addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Debug port.
    Dp,
    /// The access port that SELECT points at.
    Ap,
}

/// DPIDR of the nRF51: DPv1, minimal, designed by ARM.
pub const DPIDR: u32 = 0x0BB1_1477;
/// IDR of the access port: AHB, designed by ARM.
pub const AHB_AP_IDR: u32 = 0x0477_0021;
/// BASE of the access port: Nordic's ROM table at 0xF0000000, which is on the device's debug bus like all memory; present, 32-bit format.
pub const AHB_AP_BASE: u32 = 0xF000_0003;

mod ctrl {
    pub(super) const STICKY_ERR: u32 = 1 << 5;
    /// Overrun detection, debug reset request, debug and system power-up requests; the rest of a minimal DP does not exist.
    pub(super) const WRITABLE: u32 = 1 | 1 << 26 | POWER_UP_REQUESTS;
    pub(super) const POWER_UP_REQUESTS: u32 = 1 << 28 | 1 << 30;
    pub(super) const DEBUG_POWER_UP_REQUEST: u32 = 1 << 28;
}

mod csw {
    pub(super) const SIZE: u32 = 0b111;
    pub(super) const INCREMENT: u32 = 0b11 << 4;
    pub(super) const DEVICE_ENABLED: u32 = 1 << 6;
    /// Size, increment and the protection bits.
    pub(super) const WRITABLE: u32 = SIZE | INCREMENT | 0x7F << 24 | 1 << 31;
    /// Word accesses, no increment, privileged data.
    pub(super) const RESET: u32 = 0x4300_0002;
}

/// State of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Since power came there was no line reset.
    Deaf,
    /// After a line reset only the identification register may be read.
    Reset,
    /// Transfers are accepted.
    Ready,
}

/// The debug port and its access port.
#[derive(Debug, Clone)]
pub struct Dap {
    line: Line,
    /// Ones in a row on SWDIO outside transfers, up to the line reset's fifty.
    ones: u8,
    power_up: u64,
    ctrl_stat: u32,
    select: u32,
    read_buffer: u32,
    csw: u32,
    tar: u32,
    /// Address of the last word read through DRW, if nothing was written since.
    last_read: Option<u32>,
}

impl Default for Dap {
    fn default() -> Self {
        Self {
            line: Line::Deaf,
            ones: 0,
            power_up: 0,
            ctrl_stat: 0,
            select: 0,
            read_buffer: 0,
            csw: csw::RESET,
            tar: 0,
            last_read: None,
        }
    }
}

impl Dap {
    /// A port that has not been powered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Clocks `bits` (least significant first, at most 64) out on SWDIO outside a transfer. Fifty ones in a row reset the line; the nRF51 has no
    /// JTAG to switch from, so nothing else has a meaning.
    pub fn line_bits(&mut self, target: &mut dyn DebugTarget, count: u8, bits: u64) {
        target.run(u64::from(count));
        if !self.follow_power(target) {
            return;
        }
        for index in 0..count.min(64) {
            if bits >> index & 1 == 1 {
                self.ones = self.ones.saturating_add(1);
            } else {
                self.ones = 0;
            }
            if self.ones >= 50 {
                self.line = Line::Reset;
            }
        }
    }

    /// One read transfer. Reads of the access port are posted: the value is that of the read before; [`Dap::READ_BUFFER`] has the last.
    pub fn read(&mut self, target: &mut dyn DebugTarget, port: Port, address: u8) -> Result<u32, Refusal> {
        self.begin(target)?;
        let address = address & 0xC;
        match (port, address) {
            (Port::Dp, 0x0) => {
                self.line = Line::Ready;
                Ok(DPIDR)
            }
            _ if self.line != Line::Ready => {
                self.line = Line::Deaf;
                Err(Refusal::Silent)
            }
            (Port::Dp, 0x4) => Ok(if self.debug_port_bank() == 0 { self.ctrl_stat() } else { 0 }),
            _ if self.ctrl_stat & ctrl::STICKY_ERR != 0 => Err(Refusal::Fault),
            (Port::Dp, _) => Ok(self.read_buffer),
            (Port::Ap, _) => {
                let posted = self.read_buffer;
                match self.access_port_read(target, address) {
                    Ok(value) => self.read_buffer = value,
                    Err(BusFault { .. }) => self.ctrl_stat |= ctrl::STICKY_ERR,
                }
                Ok(posted)
            }
        }
    }

    /// Address of the DP register that has the result of the last access port read.
    pub const READ_BUFFER: u8 = 0xC;

    /// One write transfer. A write through the access port that the bus refuses is acknowledged; the *next* transfer faults.
    pub fn write(&mut self, target: &mut dyn DebugTarget, port: Port, address: u8, value: u32) -> Result<(), Refusal> {
        self.begin(target)?;
        let address = address & 0xC;
        if self.line != Line::Ready {
            self.line = Line::Deaf;
            return Err(Refusal::Silent);
        }
        match (port, address) {
            (Port::Dp, 0x0) => {
                // ABORT: only the sticky error can be set here; transfers never hang, so there is nothing to abort.
                if value & 1 << 2 != 0 {
                    self.ctrl_stat &= !ctrl::STICKY_ERR;
                }
            }
            _ if self.ctrl_stat & ctrl::STICKY_ERR != 0 => return Err(Refusal::Fault),
            (Port::Dp, 0x4) => {
                if self.debug_port_bank() == 0 {
                    self.ctrl_stat = self.ctrl_stat & !ctrl::WRITABLE | value & ctrl::WRITABLE;
                }
            }
            (Port::Dp, 0x8) => self.select = value,
            // TARGETSEL belongs to multi-drop, which a DPv1 does not have.
            (Port::Dp, _) => {}
            (Port::Ap, _) => {
                if self.access_port_write(target, address, value).is_err() {
                    self.ctrl_stat |= ctrl::STICKY_ERR;
                }
            }
        }
        Ok(())
    }

    /// What every transfer does first: its time passes, and whether anybody is there.
    fn begin(&mut self, target: &mut dyn DebugTarget) -> Result<(), Refusal> {
        target.run(TRANSFER_CYCLES);
        let powered = self.follow_power(target);
        self.ones = 0;
        if !powered || self.line == Line::Deaf { Err(Refusal::Silent) } else { Ok(()) }
    }

    /// Forgets everything when the supply is down or was down since. `false` while it is down.
    fn follow_power(&mut self, target: &mut dyn DebugTarget) -> bool {
        let (powered, power_up) = (target.powered(), target.power_ups());
        if !powered || power_up != self.power_up {
            *self = Self { power_up, ..Self::default() };
        }
        powered
    }

    /// CTRL/STAT with the acknowledges, which follow the requests at once.
    fn ctrl_stat(&self) -> u32 {
        self.ctrl_stat | (self.ctrl_stat & (ctrl::POWER_UP_REQUESTS | 1 << 26)) << 1
    }

    fn debug_port_bank(&self) -> u32 {
        self.select & 0xF
    }

    fn access_port_register(&self, address: u8) -> Option<u8> {
        (self.select >> 24 == 0).then_some((self.select as u8 & 0xF0) | address)
    }

    fn access_port_read(&mut self, target: &mut dyn DebugTarget, address: u8) -> Result<u32, BusFault> {
        self.require_debug_power()?;
        let Some(register) = self.access_port_register(address) else { return Ok(0) };
        match register {
            0x00 => Ok(self.csw | csw::DEVICE_ENABLED),
            0x04 => Ok(self.tar),
            0x0C => {
                let address = self.tar;
                if self.last_read == Some(address) {
                    target.run(POLL_CYCLES);
                    if !target.powered() {
                        return Err(BusFault { address });
                    }
                }
                self.last_read = Some(address);
                let size = self.size();
                let value = target.debug_read(address, size)? << (8 * (address & 3 & !(size.bytes() - 1)));
                self.increment(size);
                Ok(value)
            }
            0x10..=0x1C => target.debug_read(self.tar & !0xF | u32::from(register & 0xC), Size::Word),
            0xF8 => Ok(AHB_AP_BASE),
            0xFC => Ok(AHB_AP_IDR),
            _ => Ok(0),
        }
    }

    fn access_port_write(&mut self, target: &mut dyn DebugTarget, address: u8, value: u32) -> Result<(), BusFault> {
        self.require_debug_power()?;
        match self.access_port_register(address) {
            Some(0x00) => {
                self.csw = value & csw::WRITABLE;
                if value & csw::SIZE > 2 {
                    // No wider accesses on this bus: the field keeps a legal value.
                    self.csw = self.csw & !csw::SIZE | 2;
                }
            }
            Some(0x04) => self.tar = value,
            Some(0x0C) => {
                self.last_read = None;
                let (address, size) = (self.tar, self.size());
                let value = value >> (8 * (address & 3 & !(size.bytes() - 1))) & size.mask();
                target.debug_write(address, size, value)?;
                self.increment(size);
            }
            Some(register @ 0x10..=0x1C) => {
                self.last_read = None;
                target.debug_write(self.tar & !0xF | u32::from(register & 0xC), Size::Word, value)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Without the debug power-up request every access through an access port is an error.
    fn require_debug_power(&self) -> Result<(), BusFault> {
        if self.ctrl_stat & ctrl::DEBUG_POWER_UP_REQUEST == 0 { Err(BusFault { address: self.tar }) } else { Ok(()) }
    }

    fn size(&self) -> Size {
        match self.csw & csw::SIZE {
            0 => Size::Byte,
            1 => Size::Half,
            _ => Size::Word,
        }
    }

    /// The increment counts in the low ten bits only, as on silicon: a driver has to write TAR at each KiB.
    fn increment(&mut self, size: Size) {
        if self.csw & csw::INCREMENT != 0 {
            self.tar = self.tar & !0x3FF | self.tar.wrapping_add(size.bytes()) & 0x3FF;
        }
    }
}

#[cfg(test)]
mod tests;
