use std::collections::BTreeMap;

use super::*;

/// Memory only, with a word that becomes ready after a time and a hole in the address map.
#[derive(Default)]
struct Memory {
    words: BTreeMap<u32, u32>,
    now: u64,
    off: bool,
    ups: u64,
}

const HOLE: u32 = 0x4000_0000;

impl DebugTarget for Memory {
    fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        if address >= HOLE || !address.is_multiple_of(size.bytes()) {
            return Err(BusFault { address });
        }
        let word = self.words.get(&(address & !3)).copied().unwrap_or(0);
        Ok(word >> (8 * (address & 3)) & size.mask())
    }
    fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        if address >= HOLE || !address.is_multiple_of(size.bytes()) {
            return Err(BusFault { address });
        }
        let shift = 8 * (address & 3);
        let word = self.words.entry(address & !3).or_default();
        *word = *word & !(size.mask() << shift) | value << shift;
        Ok(())
    }
    fn run(&mut self, cycles: u64) {
        self.now += cycles;
    }
    fn powered(&mut self) -> bool {
        !self.off
    }
    fn power_ups(&mut self) -> u64 {
        self.ups
    }
    fn set_nrst(&mut self, _: bool) {}
}

const ONES: u64 = (1 << 51) - 1;

fn connected() -> (Dap, Memory) {
    let (mut dap, mut memory) = (Dap::new(), Memory { ups: 1, ..Memory::default() });
    dap.line_bits(&mut memory, 54, ONES);
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Ok(DPIDR));
    dap.write(&mut memory, Port::Dp, 4, 0x5000_0000).unwrap();
    (dap, memory)
}

fn ap_read(dap: &mut Dap, memory: &mut Memory, register: u8) -> Result<u32, Refusal> {
    dap.write(memory, Port::Dp, 8, u32::from(register & 0xF0))?;
    dap.read(memory, Port::Ap, register)?;
    dap.read(memory, Port::Dp, Dap::READ_BUFFER)
}

fn ap_write(dap: &mut Dap, memory: &mut Memory, register: u8, value: u32) -> Result<(), Refusal> {
    dap.write(memory, Port::Dp, 8, u32::from(register & 0xF0))?;
    dap.write(memory, Port::Ap, register, value)?;
    dap.read(memory, Port::Dp, Dap::READ_BUFFER).map(drop)
}

#[test]
fn nothing_answers_before_a_line_reset_and_only_the_identification_right_after() {
    let (mut dap, mut memory) = (Dap::new(), Memory::default());
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Err(Refusal::Silent));
    dap.line_bits(&mut memory, 49, ONES);
    dap.line_bits(&mut memory, 1, 0);
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Err(Refusal::Silent), "49 ones are not a reset");
    dap.line_bits(&mut memory, 40, ONES);
    dap.line_bits(&mut memory, 13, 0b0_0011_1111_1111);
    assert_eq!(dap.read(&mut memory, Port::Dp, 4), Err(Refusal::Silent), "identification must come first");
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Err(Refusal::Silent), "and the violation needs a new reset");
    dap.line_bits(&mut memory, 54, ONES);
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Ok(DPIDR));
    assert_eq!(dap.read(&mut memory, Port::Dp, 4), Ok(0));
}

#[test]
fn power_up_requests_are_acknowledged_and_needed() {
    let (mut dap, mut memory) = connected();
    assert_eq!(dap.read(&mut memory, Port::Dp, 4), Ok(0xF000_0000));
    assert_eq!(ap_read(&mut dap, &mut memory, 0xFC), Ok(AHB_AP_IDR));
    assert_eq!(ap_read(&mut dap, &mut memory, 0xF8), Ok(AHB_AP_BASE));
    dap.write(&mut memory, Port::Dp, 4, 0).unwrap();
    assert_eq!(ap_read(&mut dap, &mut memory, 0xFC), Err(Refusal::Fault));
    assert_eq!(dap.read(&mut memory, Port::Dp, 4), Ok(ctrl::STICKY_ERR));
}

#[test]
fn access_port_reads_are_posted() {
    let (mut dap, mut memory) = connected();
    memory.words.insert(0x2000_0000, 11);
    memory.words.insert(0x2000_0004, 22);
    ap_write(&mut dap, &mut memory, 0x00, 0x12).unwrap();
    ap_write(&mut dap, &mut memory, 0x04, 0x2000_0000).unwrap();
    dap.read(&mut memory, Port::Ap, 0xC).unwrap();
    assert_eq!(dap.read(&mut memory, Port::Ap, 0xC), Ok(11));
    assert_eq!(dap.read(&mut memory, Port::Dp, Dap::READ_BUFFER), Ok(22));
}

#[test]
fn only_the_first_access_port_exists() {
    let (mut dap, mut memory) = connected();
    dap.write(&mut memory, Port::Dp, 8, 0x0100_00F0).unwrap();
    dap.read(&mut memory, Port::Ap, 0xC).unwrap();
    assert_eq!(dap.read(&mut memory, Port::Dp, Dap::READ_BUFFER), Ok(0));
}

#[test]
fn bytes_travel_in_their_lane_and_the_address_wraps_at_a_kibibyte() {
    let (mut dap, mut memory) = connected();
    ap_write(&mut dap, &mut memory, 0x00, 0x10).unwrap();
    ap_write(&mut dap, &mut memory, 0x04, 0x2000_07FE).unwrap();
    for (lane, byte) in [(2, 0xA1), (3, 0xB2), (0, 0xC3)] {
        ap_write(&mut dap, &mut memory, 0x0C, 0xDEAD_BEEF & !(0xFF << (8 * lane)) | byte << (8 * lane)).unwrap();
    }
    assert_eq!(memory.words[&0x2000_07FC], 0xB2A1_0000);
    assert_eq!(memory.words[&0x2000_0400], 0xC3, "the increment counts in ten bits");
    ap_write(&mut dap, &mut memory, 0x04, 0x2000_07FF).unwrap();
    assert_eq!(ap_read(&mut dap, &mut memory, 0x0C), Ok(0xB200_0000));
    assert_eq!(ap_read(&mut dap, &mut memory, 0x04), Ok(0x2000_0400));
}

#[test]
fn banked_data_registers_address_four_words_without_moving() {
    let (mut dap, mut memory) = connected();
    ap_write(&mut dap, &mut memory, 0x04, 0x2000_0010).unwrap();
    ap_write(&mut dap, &mut memory, 0x18, 77).unwrap();
    assert_eq!(memory.words[&0x2000_0018], 77);
    assert_eq!(ap_read(&mut dap, &mut memory, 0x18), Ok(77));
    assert_eq!(ap_read(&mut dap, &mut memory, 0x04), Ok(0x2000_0010));
}

#[test]
fn a_bus_error_sticks_until_it_is_cleared() {
    let (mut dap, mut memory) = connected();
    ap_write(&mut dap, &mut memory, 0x04, HOLE).unwrap();
    assert_eq!(dap.read(&mut memory, Port::Ap, 0xC), Ok(0), "the read itself is acknowledged");
    assert_eq!(dap.read(&mut memory, Port::Dp, Dap::READ_BUFFER), Err(Refusal::Fault));
    assert_eq!(dap.write(&mut memory, Port::Ap, 0x4, 0), Err(Refusal::Fault));
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Ok(DPIDR), "identification is always readable");
    dap.write(&mut memory, Port::Dp, 0, 1 << 2).unwrap();
    assert_eq!(ap_read(&mut dap, &mut memory, 0x04), Ok(HOLE), "a refused access does not count on");
}

#[test]
fn loss_of_power_loses_everything_even_if_nobody_looked_meanwhile() {
    let (mut dap, mut memory) = connected();
    memory.off = true;
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Err(Refusal::Silent));
    dap.line_bits(&mut memory, 54, ONES);
    (memory.off, memory.ups) = (false, 2);
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Err(Refusal::Silent), "a reset of a dead line is none");
    dap.line_bits(&mut memory, 54, ONES);
    assert_eq!(dap.read(&mut memory, Port::Dp, 0), Ok(DPIDR));
    dap.write(&mut memory, Port::Dp, 4, 0x5000_0000).unwrap();
    memory.ups = 3;
    assert_eq!(dap.read(&mut memory, Port::Dp, 4), Err(Refusal::Silent));
}

#[test]
fn polling_lets_time_pass_and_other_traffic_hardly() {
    let (mut dap, mut memory) = connected();
    ap_write(&mut dap, &mut memory, 0x04, 0x2000_0000).unwrap();
    let cost = |dap: &mut Dap, memory: &mut Memory| {
        let before = memory.now;
        ap_read(dap, memory, 0x0C).unwrap();
        memory.now - before
    };
    let first = cost(&mut dap, &mut memory);
    assert_eq!(first, 3 * TRANSFER_CYCLES);
    assert_eq!(cost(&mut dap, &mut memory), first + POLL_CYCLES);
    ap_write(&mut dap, &mut memory, 0x0C, 1).unwrap();
    assert_eq!(cost(&mut dap, &mut memory), first, "a write in between: not polling");
}
