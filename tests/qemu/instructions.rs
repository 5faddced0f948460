//! Instruction by instruction: the same registers, flags and memory before give the same after.
//!
//! Instructions are taken in lines of up to [`SLOTS`], as far as execution goes straight on; on the machine's side a line is first executed
//! one by one, in order to know what it touches, and then at once. Jumps are taken one by one on both sides.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
};

use hilbench::virtual_dut::{FLASH_SIZE, Machine, RAM_BASE, RAM_SIZE};

use super::{
    emulator::Qemu,
    rules::{self, Access, Rule, has_stack},
    state::{self, Random, State},
};

/// Instructions in a line.
const SLOTS: u32 = 24;
const NOP: u16 = 0xBF00;
const HERE: u16 = 0xE7FE;
/// Where every exception goes.
const HANDLER: u32 = 0x100;
/// `BX LR`.
const LEAVE: u32 = 0x104;
/// Clears the special registers, up to `RESTORED`.
const RESTORE: u32 = 0x110;
const RESTORED: u32 = 0x122;
/// Places for the code under test: in flash, where the machine is fast, and in RAM.
const PLACES: [u32; 2] = [0x1400, RAM_BASE + 0x3C00];
/// A line's end, relative to its place.
const END: u32 = 2 * SLOTS + 32;

/// All of it: in QEMU, flash that nobody has written is not erased but zero.
fn flash(random: &mut Random) -> Vec<u8> {
    let mut halves = vec![0xFFFF_u16; FLASH_SIZE as usize / 2];
    for entry in halves[..0x60].chunks_mut(2) {
        entry.copy_from_slice(&[HANDLER as u16 | 1, 0]);
    }
    // movs r0, #0; msr PRIMASK, r0; msr CONTROL, r0; isb; msr PSP, r0
    let restore = [0x2000, 0xF380, 0x8810, 0xF380, 0x8814, 0xF3BF, 0x8F6F, 0xF380, 0x8809];
    for (address, code) in [(HANDLER, &[HERE][..]), (LEAVE, &[0x4770]), (RESTORE, &restore), (RESTORED, &[HERE])] {
        let at = address as usize / 2;
        halves[at..at + code.len()].copy_from_slice(code);
    }
    for half in &mut halves[0x800..0x1000] {
        *half = random.word() as u16;
    }
    halves.into_iter().flat_map(u16::to_le_bytes).collect()
}

/// An instruction: one or two halfwords.
type Code = (u16, Option<u16>);

fn bytes(code: &[Code]) -> Vec<u8> {
    code.iter().flat_map(|(first, second)| [Some(*first), *second]).flatten().flat_map(u16::to_le_bytes).collect()
}

fn random_state(random: &mut Random, at: u32) -> State {
    let mut registers = [0; 17];
    for register in &mut registers[..15] {
        *register = match random.below(16) {
            0..=7 => (RAM_BASE + 0x800 + random.below(0x1800)) & !3,
            8 | 9 => RAM_BASE + 0x800 + random.below(0x1800),
            10 | 11 => random.below(64),
            12 => [0, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, RAM_BASE + RAM_SIZE - 4, 0x1FFF_FFFC][random.below(7) as usize],
            13 => PLACES[0] + random.below(0x800),
            _ => random.word(),
        };
    }
    registers[13] = (RAM_BASE + 0x2400 + random.below(0x800)) & !3;
    registers[15] = at;
    registers[16] = random.word() & 0xF000_0000 | 1 << 24;
    State(registers)
}

struct Comparison {
    qemu: Qemu,
    /// What both sides hold in memory.
    base: Machine,
    seed: u64,
    random: Random,
    compared: u64,
    lines: u64,
    skipped: BTreeMap<Rule, u64>,
}

impl Comparison {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let flash = flash(&mut random);
        let ram: Vec<u8> = (0..RAM_SIZE).map(|_| random.word() as u8).collect();
        let mut qemu = Qemu::new();
        qemu.write(0, &flash);
        qemu.write(RAM_BASE, &ram);
        for address in [HANDLER, RESTORED, PLACES[0] + END, PLACES[1] + END] {
            qemu.break_at(address);
        }
        let base = state::halted(&flash, &ram);
        Self { qemu, base, seed, random, compared: 0, lines: 0, skipped: BTreeMap::new() }
    }

    /// Writes to both.
    fn put(&mut self, address: u32, bytes: &[u8]) {
        self.qemu.write(address, bytes);
        state::write(&mut self.base, address, bytes);
    }

    /// Executes one instruction of a copy of the base and tells the state after. Jumps have gone one step.
    fn try_one(&self, before: &State, code: Code) -> (State, Machine) {
        let mut machine = self.base.clone();
        state::write(&mut machine, before.pc(), &bytes(&[code]));
        state::release(&mut machine, before);
        machine.step();
        (state::state(&mut machine), machine)
    }

    /// Takes instructions from the queue for as long as they go straight on from `start`. Jumps go to `jumps`.
    fn line(
        &mut self,
        start: &State,
        queue: &mut VecDeque<u16>,
        jumps: &mut Vec<(State, Code)>,
    ) -> (Vec<Code>, Vec<Access>, State) {
        let (mut code, mut touched, mut now) = (Vec::new(), Vec::new(), *start);
        let base = self.base.clone();
        for _ in 0..SLOTS {
            let Some(half) = queue.pop_front() else { break };
            if let Some(rule) = rules::skipped(half, None, &now, start.pc()) {
                *self.skipped.entry(rule).or_default() += 1;
                continue;
            }
            let (after, machine) = self.try_one(&now, (half, None));
            if after.pc() != now.pc() + 2 && !after.in_handler() {
                jumps.push((State([&now.0[..15], &[start.pc(), now.0[16]]].concat().try_into().unwrap()), (half, None)));
                continue;
            }
            code.push((half, None));
            touched.extend(rules::access(half, &now).filter(|access| access.store));
            now = after;
            self.base = machine;
            if after.in_handler() || !has_stack(after.sp()) {
                break;
            }
        }
        self.base = base;
        (code, touched, now)
    }

    /// Runs a line on both sides and compares.
    fn run(&mut self, before: &State, code: &[Code], mut touched: Vec<Access>) -> State {
        let place = before.pc();
        let mut text = bytes(code);
        text.extend(NOP.to_le_bytes().repeat((END as usize - text.len()) / 2));
        text.extend(HERE.to_le_bytes());
        self.put(place, &text);
        let mut machine = self.base.clone();
        state::release(&mut machine, before);
        machine.run_until(machine.now() + 1000);
        let ours = state::state(&mut machine);
        self.qemu.set_state(before);
        self.qemu.go();
        let theirs = self.qemu.state();
        if ours.in_handler() {
            touched.push(Access { address: ours.sp(), len: 32, store: true });
        }
        self.judge(before, code, (ours, &mut machine), theirs, &touched);
        self.compared += code.len() as u64;
        self.recover(&theirs);
        ours
    }

    fn jump(&mut self, before: &State, code: Code) {
        self.put(before.pc(), &bytes(&[code]));
        let (ours, mut machine) = self.try_one(before, code);
        self.qemu.set_state(before);
        self.qemu.step();
        let theirs = self.qemu.state();
        let frame = Access { address: ours.sp(), len: 32, store: true };
        let touched = if ours.in_handler() { vec![frame] } else { Vec::new() };
        self.judge(before, &[code], (ours, &mut machine), theirs, &touched);
        self.compared += 1;
        self.recover(&theirs);
    }

    /// Compares registers and what was touched, which then is in the base, too.
    fn judge(&mut self, before: &State, code: &[Code], ours: (State, &mut Machine), theirs: State, touched: &[Access]) {
        self.lines += 1;
        let seed = self.seed;
        let told = || {
            let halves: Vec<String> =
                bytes(code).as_chunks::<2>().0.iter().map(|half| format!("{:04x}", u16::from_le_bytes(*half))).collect();
            format!("seed {seed}, instructions {}\nbefore  {before}", halves.join(" "))
        };
        assert_eq!(ours.0, theirs, "{}\nmachine {}\nqemu    {theirs}", told(), ours.0);
        for access in touched {
            let a = access.address.max(RAM_BASE);
            // A multiple store may end beyond the RAM.
            let len = access.address.saturating_add(access.len).min(RAM_BASE + RAM_SIZE).saturating_sub(a);
            let (here, there) = (state::read(ours.1, a, len), self.qemu.read(a, len));
            assert_eq!(here, there, "{}\nafter   {theirs}\nmemory at {a:#x}, {len} bytes", told());
            state::write(&mut self.base, a, &here);
        }
    }

    /// QEMU leaves the exception handler; the machine is a copy that is thrown away.
    fn recover(&mut self, after: &State) {
        if !after.in_handler() {
            return;
        }
        let frame = self.qemu.read(after.sp(), 32);
        self.qemu.write(after.sp() + 24, &[PLACES[0] + END, 1 << 24].map(u32::to_le_bytes).concat());
        let mut leaving = *after;
        leaving.0[15] = LEAVE;
        self.qemu.set_state(&leaving);
        self.qemu.go();
        self.qemu.write(after.sp(), &frame);
    }

    fn restore(&mut self) {
        self.qemu.set_state(&State([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, RAM_BASE + 0x2000, 0, RESTORE, 1 << 24]));
        self.qemu.go();
    }

    /// A special instruction, then all special registers read into r0 to r5.
    fn special(&mut self, code: Code) {
        let place = PLACES[self.random.below(2) as usize];
        let before = random_state(&mut self.random, place);
        if let Some(rule) = code.1.and_then(|_| rules::skipped(code.0, code.1, &before, place)) {
            *self.skipped.entry(rule).or_default() += 1;
            return;
        }
        let after = self.try_one(&before, code).0;
        if after.pc() != place + 2 * (1 + u32::from(code.1.is_some())) && !after.in_handler() {
            return self.jump(&before, code);
        }
        let mut line = vec![code];
        line.extend(
            [(0, 1), (1, 5), (2, 8), (3, 9), (4, 16), (5, 20)].map(|(rd, special)| (0xF3EF, Some(0x8000 | rd << 8 | special))),
        );
        self.run(&before, &line, Vec::new());
        self.restore();
    }

    /// That nothing else was touched either.
    fn whole_ram(&mut self) {
        let (ours, theirs) = (state::ram(&mut self.base), self.qemu.read(RAM_BASE, RAM_SIZE));
        let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!(first, None, "seed {}: RAM differs after {} lines", self.seed, self.lines);
    }

    fn report(&self, what: &str) {
        eprintln!("{what}: {} instructions in {} lines compared, seed {}", self.compared, self.lines, self.seed);
        for (rule, count) in &self.skipped {
            eprintln!("  {count:6} skipped: {rule}");
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// All 16-bit encodings, in random order, again and again.
pub(crate) fn sixteen_bit() {
    let mut comparison = Comparison::new(number("HILBENCH_DIFF_SEED", 1));
    let wanted = number("HILBENCH_DIFF_COUNT", 60_000);
    let (mut queue, mut jumps) = (VecDeque::new(), Vec::new());
    while comparison.compared < wanted {
        if queue.len() < SLOTS as usize {
            let mut all: Vec<u16> = (0..0xE800).collect();
            for place in (1..all.len()).rev() {
                all.swap(place, comparison.random.below(place as u32 + 1) as usize);
            }
            queue.extend(all);
        }
        let place = PLACES[usize::from(comparison.random.below(4) == 0)];
        let start = random_state(&mut comparison.random, place);
        let (code, touched, mut one_by_one) = comparison.line(&start, &mut queue, &mut jumps);
        let at_once = comparison.run(&start, &code, touched);
        one_by_one.0[15] = at_once.pc();
        assert_eq!(one_by_one, at_once, "seed {}: executed one by one, the line gives something else", comparison.seed);
        // Single steps are slow in QEMU: one jump in eight.
        if jumps.len() >= 8 {
            let (before, code) = jumps.swap_remove(0);
            jumps.clear();
            comparison.jump(&before, code);
        }
        if comparison.lines.is_multiple_of(500) {
            comparison.whole_ram();
        }
    }
    comparison.whole_ram();
    comparison.report("16-bit");
}

/// BL, MSR, MRS, CPS, barriers, and what ARMv6-M does not define.
pub(crate) fn thirty_two_bit() {
    let mut comparison = Comparison::new(number("HILBENCH_DIFF_SEED", 1));
    let wanted = number("HILBENCH_DIFF_COUNT", 60_000) / 20;
    while comparison.lines < wanted {
        let random = &mut comparison.random;
        let (register, special, any) = (random.below(15) as u16, [0, 1, 2, 3, 5, 6, 7, 8, 9, 16, 20], random.word());
        let special = special[random.below(11) as usize];
        let (high, low) = ((any >> 16) as u16, any as u16);
        let code = match random.below(12) {
            0..=2 => (0xF380 | register, Some(0x8800 | special)),
            3 | 4 => (0xF3EF, Some(0x8000 | register << 8 | special)),
            5 => (0xF3BF, Some(0x8F40 | high & 0x3F)),
            6 => (0xF000 | high & 0x7FF, Some(0xD000 | low & 0x2FFF)),
            7 => (0xB662 | high & 0x10, None),
            8 => (0xF380 | high & 0x7F, Some(0x8000 | low & 0x3FFF)),
            9 => (0xF000 | high & 0x7FF, Some(low)),
            _ => (0xE800 | high & 0x17FF, Some(low)),
        };
        comparison.special(code);
    }
    comparison.whole_ram();
    comparison.report("32-bit");
}
