//! Everything on the buses around the core: memories, peripherals, system control space.

use super::{
    FICR_BASE, FLASH_SIZE, NvMemory, PAGE_SIZE, RAM_BASE, RAM_SIZE, Size, UICR_BASE,
    debug::{self, Debug},
    events::NEVER,
    gpio::{Gpio, Gpiote},
    machine::MachineConfig,
    noise::seed_of,
    nv::{Begun, NvOperation},
    nvic::{self, Nvic},
    power::{Power, ResetReason},
    rng::Rng,
    rtc::Rtc,
    systick::SysTick,
    timer::Timer,
    uart::{Line, Uart},
    wdt::Wdt,
};
use crate::event::CutPhase;

/// Cycles of a flash word write, and of a page or full erase (nRF51822 product specification, NVMC: 46 us, 21 ms, 21 ms).
const WRITE_CYCLES: u64 = 46 * 16;
const ERASE_CYCLES: u64 = 21_000 * 16;

/// RBPCONF in UICR: byte 1 is PALL; 0 protects all code flash against reading through the debug port, from the next reset on.
const RBPCONF: u32 = UICR_BASE + 4;

/// Bytes of RAM.
pub(super) const RAM: usize = RAM_SIZE as usize;

/// What an access asks the machine to do once it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Request {
    Reset(ResetReason),
    /// The armed cut has come.
    Cut,
}

/// The system without the core's registers.
#[derive(Debug, Clone)]
pub(super) struct Soc {
    pub(super) nv: NvMemory,
    pub(super) ram: Box<[u8; RAM]>,
    pub(super) nvic: Nvic,
    pub(super) systick: SysTick,
    pub(super) power: Power,
    pub(super) gpio: Gpio,
    gpiote: Gpiote,
    uart: Uart,
    pub(super) line: Line,
    timers: [Timer; 3],
    rtcs: [Rtc; 2],
    rng: Rng,
    pub(super) wdt: Wdt,
    nvmc_config: u32,
    pub(super) debug: Debug,
    /// Number of the exception that executes: the core's IPSR.
    pub(super) present: u32,
    /// System Control Register: sleep on exit, deep sleep, send event on pending.
    pub(super) scr: u32,
    /// Set by readback protection at the last reset.
    protected: bool,
    /// A flash operation under way and its end; the core stands still meanwhile.
    begun: Option<Begun>,
    pub(super) busy_until: u64,
    pub(super) cut: Option<(u64, CutPhase)>,
    pub(super) request: Option<Request>,
    /// Set when an access may have changed interrupt lines or the time of the next event.
    pub(super) touched: bool,
    seed: u64,
    device_id: u64,
    lf_running: bool,
}

impl Soc {
    pub(super) fn new(config: &MachineConfig) -> Self {
        Self {
            nv: NvMemory::new(),
            ram: Box::new([0; RAM]),
            nvic: Nvic::default(),
            systick: SysTick::default(),
            power: Power::new(),
            gpio: Gpio::new(),
            gpiote: Gpiote::new(),
            uart: Uart::new(),
            line: Line::new(config.serial_baud),
            timers: [Timer::new(true), Timer::new(false), Timer::new(false)],
            rtcs: [Rtc::new(), Rtc::new()],
            rng: Rng::new(seed_of(&[config.seed, 0x524E])),
            wdt: Wdt::new(),
            nvmc_config: 0,
            debug: Debug::default(),
            present: 0,
            scr: 0,
            protected: false,
            begun: None,
            busy_until: 0,
            cut: None,
            request: None,
            touched: true,
            seed: config.seed,
            device_id: config.device_id,
            lf_running: false,
        }
    }

    /// Registers after a reset. The watchdog lives on over resets that the software or the core caused; the debug units lose their state
    /// only with the supply or by the reset pin (reference manual, chapter POWER, reset behaviour).
    pub(super) fn reset(&mut self, reason: ResetReason) {
        self.power.reset(reason);
        self.nvic = Nvic::default();
        self.systick = SysTick::default();
        self.gpio.reset();
        self.gpiote = Gpiote::new();
        self.uart = Uart::new();
        self.timers = [Timer::new(true), Timer::new(false), Timer::new(false)];
        self.rtcs = [Rtc::new(), Rtc::new()];
        self.lf_running = false;
        self.rng.reset();
        self.nvmc_config = 0;
        self.scr = 0;
        self.present = 0;
        self.request = None;
        self.touched = true;
        if !matches!(reason, ResetReason::Soft | ResetReason::Lockup) {
            self.wdt = Wdt::new();
        }
        if reason == ResetReason::PowerOn {
            self.debug = Debug::default();
        } else {
            // A debugger that is attached keeps its hold on the core over a pin reset, or it could not catch the first instruction.
            self.debug.was_reset = true;
            self.debug.halted = false;
        }
        self.protected = self.nv.word(RBPCONF).is_some_and(|word| word >> 8 & 0xFF == 0);
    }

    /// Loses the supply: an operation under way is torn.
    pub(super) fn lose_power(&mut self, now: u64) {
        if let Some(begun) = self.begun.take()
            && now < self.busy_until
        {
            let operation = self.nv.counts().total();
            self.nv.tear(begun, seed_of(&[self.seed, operation, now]));
        }
        self.busy_until = 0;
        self.request = None;
        self.cut = None;
    }

    /// Time of the next thing that happens by itself.
    pub(super) fn next(&self) -> u64 {
        let timers = self.timers.iter().map(Timer::next).min().unwrap_or(NEVER);
        let rtcs = self.rtcs.iter().map(Rtc::next).min().unwrap_or(NEVER);
        let systick = if self.systick.interrupts() { self.systick.next() } else { NEVER };
        let first = self.uart.next().min(self.line.next()).min(timers).min(rtcs);
        first.min(systick).min(self.rng.next()).min(self.wdt.next()).min(self.power.next())
    }

    /// Lets everything that is due by `now` happen, and sets the interrupt lines.
    pub(super) fn advance(&mut self, now: u64) {
        self.uart.advance(now, &mut self.line);
        self.uart.receive_from(&mut self.line, now);
        for timer in &mut self.timers {
            timer.advance(now);
        }
        self.power.advance(now);
        if self.power.lf_running() != self.lf_running {
            self.lf_running = self.power.lf_running();
            for rtc in &mut self.rtcs {
                rtc.set_clock(self.lf_running, now);
            }
        }
        for rtc in &mut self.rtcs {
            rtc.advance(now);
        }
        self.rng.advance(now);
        if self.systick.advance(now) {
            self.nvic.set_pending(nvic::SYS_TICK);
        }
        if self.wdt.advance(now) {
            self.request.get_or_insert(Request::Reset(ResetReason::Watchdog));
        }
        self.gpiote.watch(&self.gpio);
        let lines = [
            (0, self.power.block.line()),
            (2, self.uart.block.line()),
            (6, self.gpiote.block.line()),
            (8, self.timers[0].block.line()),
            (9, self.timers[1].block.line()),
            (10, self.timers[2].block.line()),
            (11, self.rtcs[0].block.line()),
            (13, self.rng.block.line()),
            (16, self.wdt.block.line()),
            (17, self.rtcs[1].block.line()),
        ];
        for (irq, up) in lines {
            self.nvic.set_line(irq, up);
        }
        self.touched = false;
    }

    /// Starts a flash operation, or loses the power at it if a cut is armed there.
    fn operate(&mut self, operation: NvOperation, now: u64) {
        let index = self.nv.counts().total();
        let span = if matches!(operation, NvOperation::Program { .. }) { WRITE_CYCLES } else { ERASE_CYCLES };
        let start = now.max(self.busy_until);
        match self.cut {
            Some((armed, phase)) if armed == index => {
                self.cut = None;
                self.begun = None;
                self.busy_until = start;
                match phase {
                    CutPhase::Before => self.nv.count_only(operation),
                    CutPhase::Torn { seed } => {
                        let begun = self.nv.begin(operation);
                        self.nv.tear(begun, seed_of(&[self.seed, index, u64::from(seed)]));
                        self.busy_until = start + span / 2;
                    }
                    CutPhase::After => {
                        self.nv.begin(operation);
                        self.busy_until = start + span;
                    }
                }
                self.request = Some(Request::Cut);
            }
            _ => {
                self.begun = Some(self.nv.begin(operation));
                self.busy_until = start + span;
            }
        }
    }

    fn ram_at(address: u32, size: Size) -> Option<usize> {
        let offset = address.wrapping_sub(RAM_BASE);
        (offset < RAM_SIZE && address & (size.bytes() - 1) == 0).then_some(offset as usize)
    }

    /// A word of code memory, information registers or RAM without side effects.
    fn memory_word(&self, address: u32) -> Option<u32> {
        if let Some(at) = Self::ram_at(address, Size::Word) {
            let bytes = self.ram.get(at..at + 4)?;
            return Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
        if NvMemory::contains(address) {
            return self.nv.word(address);
        }
        let offset = address.wrapping_sub(FICR_BASE);
        (offset < PAGE_SIZE).then(|| self.factory(offset))
    }

    /// Factory information (reference manual, chapter FICR).
    fn factory(&self, offset: u32) -> u32 {
        match offset {
            0x010 => PAGE_SIZE,
            0x014 => FLASH_SIZE / PAGE_SIZE,
            0x034 => 2,
            0x038 => 0x2000,
            // Hardware id of the QFAA build code series; uncertain for the individual revision.
            0x05C => 0xFFFF_001D,
            0x060 => self.device_id as u32,
            0x064 => (self.device_id >> 32) as u32,
            0x0A0 => 0xFFFF_FFFF,
            0x0A4 => (self.device_id ^ self.device_id >> 29) as u32,
            0x0A8 => 0xFFFF_0000 | (self.device_id >> 13) as u32 & 0xFFFF,
            _ => u32::MAX,
        }
    }

    /// Reads as the core does. `None` is a bus error.
    pub(super) fn read(&mut self, address: u32, size: Size, now: u64) -> Option<u32> {
        if address & (size.bytes() - 1) != 0 {
            return None;
        }
        if let Some(word) = self.memory_word(address & !3) {
            return Some(word >> (8 * (address & 3)) & size.mask());
        }
        if size != Size::Word {
            return None;
        }
        self.register(address, now)
    }

    /// Writes as the core does. `None` is a bus error.
    pub(super) fn write(&mut self, address: u32, size: Size, value: u32, now: u64, debugging: bool) -> Option<()> {
        if let Some(at) = Self::ram_at(address, size) {
            let count = size.bytes() as usize;
            self.ram.get_mut(at..at + count)?.copy_from_slice(&value.to_le_bytes()[..count]);
            return Some(());
        }
        if size != Size::Word || address & 3 != 0 {
            return None;
        }
        if NvMemory::contains(address) {
            if self.nvmc_config & 3 != 1 || self.power.is_protected(address, debugging) {
                // The flash ignores writes that are not enabled; the bus does not (reference manual, chapter NVMC).
                return None;
            }
            self.operate(NvOperation::Program { address, value }, now);
            return Some(());
        }
        self.set_register(address, value, now, debugging)
    }

    fn register(&mut self, address: u32, now: u64) -> Option<u32> {
        let offset = address & 0xFFF;
        match address >> 12 {
            0x4_0000 => {
                self.advance(now);
                Some(self.power.read(offset))
            }
            0x4_0002 => {
                self.advance(now);
                self.touched = true;
                Some(self.uart.read(offset))
            }
            0x4_0006 => Some(self.gpiote.read(offset)),
            0x4_0008..=0x4_000A => {
                let index = (address >> 12 & 0xF) as usize - 8;
                self.timers[index].advance(now);
                Some(self.timers[index].read(offset))
            }
            0x4_000B => Some(self.rtcs[0].read(offset, now)),
            0x4_0011 => Some(self.rtcs[1].read(offset, now)),
            0x4_000D => {
                self.rng.advance(now);
                Some(self.rng.read(offset))
            }
            0x4_0010 => Some(self.wdt.read(offset)),
            0x4_001E => Some(match offset {
                0x400 => u32::from(now >= self.busy_until),
                0x504 => self.nvmc_config,
                _ => 0,
            }),
            // Peripherals that are there but not modelled read as zero.
            0x4_0001..=0x4_001F => Some(0),
            0x5_0000 => Some(self.gpio.read(offset)),
            0xE_000E => Some(self.system(offset, now)),
            _ => None,
        }
    }

    fn set_register(&mut self, address: u32, value: u32, now: u64, debugging: bool) -> Option<()> {
        let offset = address & 0xFFF;
        self.touched = true;
        match address >> 12 {
            0x4_0000 => {
                self.advance(now);
                self.power.write(offset, value, now);
            }
            0x4_0002 => {
                self.uart.advance(now, &mut self.line);
                self.uart.write(offset, value, now);
            }
            0x4_0006 => self.gpiote.write(offset, value, &mut self.gpio),
            0x4_0008..=0x4_000A => self.timers[(address >> 12 & 0xF) as usize - 8].write(offset, value, now),
            0x4_000B => self.rtcs[0].write(offset, value, now),
            0x4_0011 => self.rtcs[1].write(offset, value, now),
            0x4_000D => self.rng.write(offset, value, now),
            0x4_0010 => self.wdt.write(offset, value, now),
            0x4_001E => self.controller(offset, value, now, debugging),
            0x4_0001..=0x4_001F => {}
            0x5_0000 => {
                self.gpio.write(offset, value);
                self.gpiote.watch(&self.gpio);
            }
            0xE_000E => self.set_system(offset, value, now),
            _ => return None,
        }
        self.touched = true;
        Some(())
    }

    /// NVMC registers.
    fn controller(&mut self, offset: u32, value: u32, now: u64, debugging: bool) {
        let erase = self.nvmc_config & 3 == 2;
        match offset {
            0x504 => self.nvmc_config = value & 3,
            0x508 | 0x510 if erase && value < FLASH_SIZE && !self.power.is_protected(value, debugging) => {
                self.operate(NvOperation::ErasePage { address: value & !(PAGE_SIZE - 1) }, now);
            }
            0x50C if erase && value & 1 == 1 => self.operate(NvOperation::EraseAll, now),
            0x514 if erase && value & 1 == 1 => self.operate(NvOperation::EraseUicr, now),
            _ => {}
        }
    }

    /// System Control Space as the core sees it; debug registers read as zero for it.
    fn system(&mut self, offset: u32, now: u64) -> u32 {
        match offset {
            0x010..=0x01C => {
                if self.systick.advance(now) {
                    self.nvic.set_pending(nvic::SYS_TICK);
                }
                self.systick.read(offset, now)
            }
            0xD00 => 0x410C_C200,
            0xD04 => self.nvic.icsr(self.present),
            0xD0C => 0xFA05_0000,
            0xD10 => self.scr,
            // Configuration and Control: aligned stack, unaligned accesses trap.
            0xD14 => 0x208,
            0xD24 => u32::from(self.nvic.is_pending(nvic::SV_CALL)) << 15,
            0x100..=0x4FF | 0xD1C | 0xD20 => self.nvic.read(offset),
            0xFD0..=0xFFC => debug::component(offset, 0x008, 0xE),
            _ => 0,
        }
    }

    fn set_system(&mut self, offset: u32, value: u32, now: u64) {
        match offset {
            0x010..=0x01C => {
                if self.systick.advance(now) {
                    self.nvic.set_pending(nvic::SYS_TICK);
                }
                self.systick.write(offset, value, now);
            }
            0xD04 => self.nvic.write_icsr(value),
            0xD0C if value >> 16 == 0x05FA && value & 4 == 4 => self.request = Some(Request::Reset(ResetReason::Soft)),
            0xD10 => self.scr = value & 0x16,
            0xD24 => {
                if value >> 15 & 1 == 1 {
                    self.nvic.set_pending(nvic::SV_CALL);
                } else {
                    self.nvic.clear_pending(nvic::SV_CALL);
                }
            }
            0x100..=0x4FF | 0xD1C | 0xD20 => self.nvic.write(offset, value),
            _ => {}
        }
    }

    /// Reads as the debugger does: as the core, but not what readback protection hides, and without the effects of reading.
    pub(super) fn inspect(&mut self, address: u32, size: Size, now: u64) -> Option<u32> {
        if address & (size.bytes() - 1) != 0 {
            return None;
        }
        if self.protected && address < FLASH_SIZE {
            return Some(0);
        }
        let shift = 8 * (address & 3);
        let word = match self.memory_word(address & !3) {
            Some(word) => word,
            None => match address >> 12 {
                0xE_0001 => 0,
                0xE_0002 => self.debug.read_breakpoints(address & 0xFFC),
                0xE_00FF => debug::core_table(address & 0xFFC),
                0xF_0000 => debug::vendor_table(address & 0xFFC),
                _ => self.register(address & !3, now)?,
            },
        };
        Some(word >> shift & size.mask())
    }

    /// Ends a flash operation whose time is over.
    pub(super) fn settle(&mut self, now: u64) {
        if now >= self.busy_until {
            self.begun = None;
        }
    }

    /// Feeds everything that makes two systems behave differently to a hasher.
    pub(super) fn feed<H: std::hash::Hasher>(&self, state: &mut H) {
        use std::hash::Hash as _;
        (self.nv.counts(), &self.line).hash(state);
        self.feed_rest(state);
    }

    /// Like [`Self::feed`] without what only tells of the past.
    pub(super) fn feed_future<H: std::hash::Hasher>(&self, state: &mut H, now: u64) {
        self.line.feed_future(state, now);
        self.feed_rest(state);
    }

    fn feed_rest<H: std::hash::Hasher>(&self, state: &mut H) {
        use std::hash::Hash as _;
        (self.nv.digest(), &*self.ram, &self.nvic, &self.systick, &self.power).hash(state);
        (&self.gpio, &self.gpiote, &self.uart, &self.timers, &self.rtcs, &self.rng, &self.wdt).hash(state);
        (self.nvmc_config, &self.debug, self.scr, self.present, self.protected, self.busy_until, self.request, self.lf_running)
            .hash(state);
    }
}
