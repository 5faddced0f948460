use super::{
    super::{Ack, SimpleTarget},
    *,
};

/// A target that faults after so many accesses of its memory.
struct Ending(SimpleTarget, u32);

impl Swd for Ending {
    fn read(&mut self, ap: bool, address: u8) -> Result<u32, Ack> {
        if ap {
            self.1 = self.1.checked_sub(1).ok_or(Ack::Fault)?;
        }
        self.0.read(ap, address)
    }

    fn write(&mut self, ap: bool, address: u8, value: u32) -> Result<(), Ack> {
        self.0.write(ap, address, value)
    }

    fn line(&mut self, count: u8, bits: u64) {
        self.0.line(count, bits);
    }

    fn set_reset(&mut self, high: bool) {
        self.0.set_reset(high);
    }
}

fn connected() -> Processor<SimpleTarget> {
    connected_to(SimpleTarget::new([(0x2000_0000, 0x1111_1111), (0x2000_0004, 0x2222_2222)]))
}

fn connected_to<S: Swd>(target: S) -> Processor<S> {
    let mut probe = Processor::new("P", target);
    // Line reset: 51 ones; then DPIDR, and power for debug and system.
    assert_eq!(probe.handle(&[0x12, 51, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x07]), [0x12, 0]);
    assert_eq!(probe.handle(&[5, 0, 1, 0x02]), [5, 1, 1, 0x77, 0x14, 0xB1, 0x0B]);
    assert_eq!(probe.handle(&[5, 0, 1, 0x04, 0, 0, 0, 0x50]), [5, 1, 1]);
    probe
}

#[test]
fn nobody_answers_before_the_line_reset() {
    let mut probe = Processor::new("P", SimpleTarget::default());
    assert_eq!(probe.handle(&[5, 0, 1, 0x02]), [5, 0, Ack::Silent.code()]);
}

#[test]
fn posted_reads_come_back_in_order() {
    let mut probe = connected();
    // CSW with increment, TAR, then two reads of DRW and one of DPIDR in one command.
    let command = [5, 0, 5, 0x01, 0x12, 0, 0, 0x23, 0x05, 0, 0, 0, 0x20, 0x0F, 0x0F, 0x02];
    let answer = probe.handle(&command);
    assert_eq!(answer[..3], [5, 5, 1]);
    assert_eq!(answer[3..7], [0x11; 4]);
    assert_eq!(answer[7..11], [0x22; 4]);
    assert_eq!(answer[11..], [0x77, 0x14, 0xB1, 0x0B]);
}

#[test]
fn blocks_are_written_and_read() {
    let mut probe = connected();
    let tar = [5, 0, 2, 0x01, 0x12, 0, 0, 0x23, 0x05, 0, 1, 0, 0x20];
    probe.handle(&tar);
    assert_eq!(probe.handle(&[6, 0, 2, 0, 0x0D, 1, 2, 3, 4, 5, 6, 7, 8]), [6, 2, 0, 1]);
    probe.handle(&tar);
    assert_eq!(probe.handle(&[6, 0, 2, 0, 0x0F]), [6, 2, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_bus_error_faults_until_it_is_cleared() {
    let mut probe = connected();
    assert_eq!(probe.handle(&[5, 0, 2, 0x05, 1, 0, 0, 0x20, 0x0F])[..3], [5, 2, Ack::Fault.code()]);
    assert_eq!(probe.handle(&[8, 0, 0x1E, 0, 0, 0]), [8, 0]);
    assert_eq!(probe.handle(&[5, 0, 1, 0x02])[2], 1);
}

#[test]
fn only_reads_whose_value_is_there_count() {
    let mut probe = connected_to(Ending(SimpleTarget::default(), 2));
    // Three words, of which the last cannot be read.
    probe.handle(&[5, 0, 2, 0x01, 0x12, 0, 0, 0x23, 0x05, 0, 0, 0, 0x20]);
    let answer = probe.handle(&[6, 0, 3, 0, 0x0F]);
    assert_eq!((answer[1], answer[2], answer[3]), (1, 0, Ack::Fault.code()), "{answer:x?}");
    assert_eq!(answer.len(), 4 + 4, "{answer:x?}");
}

#[test]
fn a_match_that_does_not_come_is_told() {
    let mut probe = connected();
    probe.handle(&[4, 0, 10, 0, 3, 0]);
    let (mask, wanted) = ([0x20, 0xFF, 0, 0, 0], [0x12, 0x78, 0, 0, 0]);
    assert_eq!(probe.handle(&[&[5, 0, 2], &mask[..], &wanted[..]].concat())[..3], [5, 1, 0x11]);
    let wanted = [0x12, 0x77, 0, 0, 0];
    assert_eq!(probe.handle(&[&[5, 0, 2], &mask[..], &wanted[..]].concat())[..3], [5, 2, 1]);
}

#[test]
fn unknown_and_cut_commands_are_answered() {
    let mut probe = connected();
    assert_eq!(probe.handle(&[0x14, 1]), [INVALID]);
    assert_eq!(probe.handle(&[]), [INVALID]);
    assert_eq!(probe.handle(&[5, 0, 1, 0x04, 0])[2], Ack::Silent.code());
    assert_eq!(probe.handle(&[0, 0xFF]), [0, 2, 0, 2]);
}
