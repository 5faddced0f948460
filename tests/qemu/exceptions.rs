//! A program of exceptions: every handler writes down where it is. Afterwards registers and the whole RAM are the same on both sides.

use hilbench::virtual_dut::{RAM_BASE, RAM_SIZE};

use super::{
    emulator::Qemu,
    state::{self, State},
};

const ICSR: u32 = 0xE000_ED04;
const PEND_SV: u32 = 1 << 28;
const SET_PENDING: u32 = 0xE000_E200;
const SYS_TICK: u32 = 0xE000_E010;

// Routines, each at a place of its own.
const RECORD: u32 = 0x200;
const HARD_FAULT: u32 = 0x280;
const SV_CALL: u32 = 0x300;
const PENDED: u32 = 0x380;
const TICK: u32 = 0x3C0;
/// Handlers of the interrupts 20 to 23.
const INTERRUPTS: [u32; 4] = [0x400, 0x480, 0x4C0, 0x500];
const MAIN: u32 = 0x600;

/// Where the next record goes, and the first one.
const POINTER: u32 = RAM_BASE;
const TRACE: u32 = RAM_BASE + 0x100;
/// Of a record, in bytes.
const RECORD_SIZE: u32 = 36;

// Special registers (DDI 0419, B4.2).
const IPSR: u16 = 5;
const MSP: u16 = 8;
const PSP: u16 = 9;
const PRIMASK: u16 = 16;
const CONTROL: u16 = 20;

/// `CPSID i` and `CPSIE i`.
const DISABLE: u16 = 0xB672;
const ENABLE: u16 = 0xB662;

/// Assembles into flash. Registers are low ones.
struct Assembler {
    flash: Vec<u8>,
    at: u32,
}

impl Assembler {
    fn at(&mut self, address: u32) -> &mut Self {
        assert!(self.flash.len() <= address as usize, "routines overlap at {address:#x}");
        self.flash.resize(address as usize, 0xFF);
        self.at = address;
        self
    }

    fn code(&mut self, halves: &[u16]) -> &mut Self {
        self.flash.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        self.at += 2 * halves.len() as u32;
        self
    }

    /// `rd = value`.
    fn load(&mut self, rd: u16, value: u32) -> &mut Self {
        let [first, rest @ ..] = value.to_be_bytes();
        self.code(&[0x2000 | rd << 8 | u16::from(first)]);
        for byte in rest {
            self.code(&[0x0200 | rd << 3 | rd, 0x3000 | rd << 8 | u16::from(byte)]);
        }
        self
    }

    /// Writes `value` to `address`, and waits until it has taken effect (DSB, ISB).
    fn store(&mut self, address: u32, value: u32) -> &mut Self {
        self.load(0, address).load(1, value).code(&[0x6001, 0xF3BF, 0x8F4F, 0xF3BF, 0x8F6F])
    }

    /// Pends an interrupt that is taken right away: masked until the store has taken effect, or each side would take it a different number
    /// of instructions after the store.
    fn interrupt(&mut self, bits: u32) -> &mut Self {
        self.code(&[DISABLE]).store(SET_PENDING, bits).code(&[ENABLE])
    }

    fn read_special(&mut self, rd: u16, special: u16) -> &mut Self {
        self.code(&[0xF3EF, 0x8000 | rd << 8 | special])
    }

    fn write_special(&mut self, special: u16, value: u32) -> &mut Self {
        self.load(0, value).code(&[0xF380, 0x8800 | special, 0xF3BF, 0x8F6F])
    }

    fn call(&mut self, target: u32) -> &mut Self {
        let offset = target.wrapping_sub(self.at + 4);
        let sign = (offset >> 24 & 1) as u16;
        let j = |bit: u32| (offset >> bit & 1) as u16 ^ sign ^ 1;
        let second = 0xD000 | j(23) << 13 | j(22) << 11 | (offset >> 1 & 0x7FF) as u16;
        self.code(&[0xF000 | sign << 10 | (offset >> 12 & 0x3FF) as u16, second])
    }

    /// Writes down `tag`, LR and the special registers.
    fn record(&mut self, tag: u16) -> &mut Self {
        self.code(&[0x4673, 0x2000 | tag]).call(RECORD)
    }

    /// A handler: `push {r4, lr}`, a record, and what follows up to [`Self::leave`].
    fn handler(&mut self, address: u32, tag: u16) -> &mut Self {
        self.at(address).code(&[0xB510]).record(tag)
    }

    /// `pop {r4, pc}`: exception return.
    fn leave(&mut self) -> &mut Self {
        self.code(&[0xBD10])
    }
}

/// The program, and the address of its end.
fn program() -> (Vec<u8>, u32) {
    let mut a = Assembler { flash: Vec::new(), at: 0 };
    let mut vectors = [MAIN | 1; 48];
    vectors[0] = RAM_BASE + RAM_SIZE;
    (vectors[3], vectors[11], vectors[14], vectors[15]) = (HARD_FAULT | 1, SV_CALL | 1, PENDED | 1, TICK | 1);
    for (vector, handler) in vectors[36..].iter_mut().zip(INTERRUPTS) {
        *vector = handler | 1;
    }
    a.flash = vectors.iter().flat_map(|vector| vector.to_le_bytes()).collect();

    // r0 = tag and r3 = LR, then the special registers, the stack pointer and ICSR.
    a.at(RECORD).load(1, POINTER).code(&[0x680A, 0x6010, 0x6053]);
    for (place, special) in [(2, IPSR), (3, MSP), (4, PSP), (5, PRIMASK), (6, CONTROL)] {
        a.read_special(0, special).code(&[0x6010 | place << 6]);
    }
    a.code(&[0x4668, 0x6010 | 7 << 6]).load(3, ICSR).code(&[0x6818]);
    // Without RETTOBASE, which QEMU shows on a Cortex-M0, too (hw/intc/armv7m_nvic.c; not in DDI 0419, B3.2.4).
    a.load(3, 1 << 11).code(&[0x4398, 0x6010 | 8 << 6]);
    a.code(&[0x3200 | RECORD_SIZE as u16, 0x600A, 0x4770]);

    // Goes on after the faulting halfword, with the T bit set: r0 = the frame, on whichever stack it is.
    a.handler(HARD_FAULT, 3).code(&[0x9B01, 0x2204, 0x4213, 0xD002]).read_special(0, PSP).code(&[0xE000, 0xA802]);
    a.code(&[0x6981, 0x3102, 0x6181, 0x69C1]).load(2, 1 << 24).code(&[0x4311, 0x61C1]).leave();
    // Pends what is less urgent, then what is more urgent than itself.
    a.handler(SV_CALL, 11).store(ICSR, PEND_SV).interrupt(1 << 20).record(12).leave();
    a.handler(PENDED, 14).leave();
    a.handler(TICK, 15).store(SYS_TICK, 0).leave();
    a.handler(INTERRUPTS[0], 20).store(SET_PENDING, 1 << 21).interrupt(1 << 22).record(30).leave();
    a.handler(INTERRUPTS[1], 21).leave();
    a.handler(INTERRUPTS[2], 22).leave();
    // A fault in a handler.
    a.handler(INTERRUPTS[3], 23).code(&[0xDE00]).record(33).leave();

    let supervisor_call = 0xDF00;
    a.at(MAIN).store(POINTER, TRACE).store(0xE000_E414, 0xC000_4040).store(0xE000_E100, 0xF << 20);
    a.store(0xE000_ED1C, 2 << 30).store(0xE000_ED20, 1 << 30 | 3 << 22).record(40);
    a.code(&[supervisor_call]).record(41);
    // Masked: pending, not taken, but WFI does not wait. Then two of the same priority.
    a.code(&[DISABLE]).store(SET_PENDING, 1 << 23).store(ICSR, PEND_SV).record(42).code(&[0xBF30]).record(43);
    a.code(&[ENABLE, 0xF3BF, 0x8F6F]).record(44);
    // A call that cannot be taken becomes a fault.
    a.code(&[DISABLE, supervisor_call, 0xBF00, ENABLE]).record(56);
    // Thread mode on the other stack: a call, one with the stack not aligned to eight, and three faults.
    a.write_special(PSP, RAM_BASE + 0x3000).write_special(CONTROL, 2).record(45).code(&[supervisor_call]).record(46);
    a.code(&[0xB081, supervisor_call, 0xB001]).record(47);
    a.code(&[0xDE00]).record(48).code(&[0x2001, 0x6801]).record(49).load(0, 0x3000_0000).code(&[0x6801]).record(50);
    a.write_special(CONTROL, 0).record(51).code(&[0xDE00]).record(52);
    // To an even address: the T bit is cleared, and the instruction there faults.
    let landing = a.at + 2 * 8;
    a.load(0, landing).code(&[0x4700]);
    assert_eq!(a.at, landing);
    a.code(&[0xBF00, 0xBF00]).record(53);
    a.store(SYS_TICK + 4, 1_000_000).store(SYS_TICK + 8, 0).record(54).store(SYS_TICK, 7).code(&[0xBF30]).record(55);
    let end = a.at;
    a.code(&[0xE7FE]);
    (a.flash.clone(), end)
}

pub(crate) fn same_trace() {
    let (flash, end) = program();
    let ram = [0xA5; RAM_SIZE as usize];
    let start = State([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, RAM_BASE + RAM_SIZE, u32::MAX, MAIN, 1 << 24]);

    let mut machine = state::halted(&flash, &ram);
    state::release(&mut machine, &start);
    machine.run_until(machine.now() + 2_000_000);
    let ours = state::state(&mut machine);
    let our_ram = state::ram(&mut machine);

    let mut qemu = Qemu::new();
    qemu.write(0, &flash);
    qemu.write(RAM_BASE, &ram);
    qemu.set_state(&start);
    qemu.break_at(end);
    qemu.go();
    let theirs = qemu.state();
    let their_ram = qemu.read(RAM_BASE, RAM_SIZE);

    let (ours_told, theirs_told) = (trace(&our_ram), trace(&their_ram));
    for (number, pair) in ours_told.iter().zip(&theirs_told).enumerate() {
        assert_eq!(
            pair.0,
            pair.1,
            "record {number} of tag, LR, IPSR, MSP, PSP, PRIMASK, CONTROL, SP, ICSR; before it {:x?}",
            &ours_told[..number]
        );
    }
    assert_eq!(ours_told.len(), theirs_told.len());
    let different: Vec<usize> = (0..our_ram.len()).filter(|at| our_ram[*at] != their_ram[*at]).collect();
    assert!(different.is_empty(), "RAM differs at the offsets {different:x?}");
    assert_eq!(ours, theirs, "\nmachine {ours}\nqemu    {theirs}");
    let tags: Vec<u32> = ours_told.iter().map(|record| record[0]).collect();
    // What the program is for has happened: nesting, tail-chaining, masking, faults in thread and handler mode, the tick.
    for tag in [3, 11, 12, 14, 15, 20, 21, 22, 23, 30, 33, 55] {
        assert!(tags.contains(&tag), "{tag} is not in {tags:?}");
    }
    eprintln!("exceptions: {} records and {} bytes of RAM compared; order {tags:?}", tags.len(), our_ram.len());
}

fn trace(ram: &[u8]) -> Vec<[u32; 9]> {
    let words: Vec<u32> = ram.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let count = words[0].saturating_sub(TRACE) / RECORD_SIZE;
    let first = (TRACE - RAM_BASE) as usize / 4;
    words[first..].as_chunks::<9>().0.iter().take(count as usize).copied().collect()
}
