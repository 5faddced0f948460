//! ARMv6-M Thumb encodings into a form that executes fast (DDI 0419, chapter A5).
//!
//! Decoding looks only at the instruction's own bits (plus, inside one flash page, the literal that a load refers to), so that decoded
//! pages can be shared by all machines that hold the same page.

/// What an instruction does. The comment gives the use of the fields of [`Op`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// `a` = rd, `b` = rm.
    Movs,
    /// `a` = rd, `b` = rm, `imm` = 1..=31.
    LslImm,
    /// `a` = rd, `b` = rm, `imm` = 1..=32.
    LsrImm,
    /// As `LsrImm`.
    AsrImm,
    /// `a` = rd, `b` = rn, `c` = rm.
    AddReg,
    /// As `AddReg`.
    SubReg,
    /// `a` = rd, `b` = rn, `imm`.
    AddImm,
    /// As `AddImm`.
    SubImm,
    /// `a` = rd, `imm`.
    MovImm,
    /// `a` = rn, `imm`.
    CmpImm,
    /// `a` = rdn, `b` = rm, down to `Mvn`.
    And,
    Eor,
    LslReg,
    LsrReg,
    AsrReg,
    Adc,
    Sbc,
    Ror,
    Tst,
    Rsb,
    CmpReg,
    Cmn,
    Orr,
    Mul,
    Bic,
    Mvn,
    /// `a` = rdn, `b` = rm, any register but `a` not PC.
    AddHi,
    /// `ADD PC, rm`.
    AddPc,
    /// `a` = rn, `b` = rm, any register.
    CmpHi,
    /// `a` = rd, `b` = rm, any register but `a` not PC.
    MovHi,
    /// `MOV PC, rm`.
    MovPc,
    /// `b` = rm.
    Bx,
    /// `b` = rm.
    Blx,
    /// `a` = rt, `imm` = offset from the aligned PC.
    LdrLit,
    /// `a` = rt, `imm` = the literal itself.
    LdrValue,
    /// `a` = rt, `b` = rn, `c` = rm, down to `LdrshReg`.
    StrReg,
    StrhReg,
    StrbReg,
    LdrsbReg,
    LdrReg,
    LdrhReg,
    LdrbReg,
    LdrshReg,
    /// `a` = rt, `b` = rn (SP included), `imm` = offset in bytes, down to `LdrhImm`.
    StrImm,
    LdrImm,
    StrbImm,
    LdrbImm,
    StrhImm,
    LdrhImm,
    /// `a` = rd, `imm` = offset from the aligned PC.
    Adr,
    /// `a` = rd, `imm`.
    AddSpImm,
    /// `imm`.
    AddSp,
    /// `imm`.
    SubSp,
    /// `imm` = register list, LR as bit 14.
    Push,
    /// `imm` = register list without PC.
    Pop,
    /// `imm` = register list without PC, which comes last.
    PopPc,
    /// `a` = rn, `imm` = register list.
    Stm,
    Ldm,
    /// `a` = rd, `b` = rm, down to `Revsh`.
    Sxth,
    Sxtb,
    Uxth,
    Uxtb,
    Rev,
    Rev16,
    Revsh,
    /// `imm` = offset from this instruction, down to `B`.
    Beq,
    Bne,
    Bcs,
    Bcc,
    Bmi,
    Bpl,
    Bvs,
    Bvc,
    Bhi,
    Bls,
    Bge,
    Blt,
    Bgt,
    Ble,
    B,
    /// `imm` = offset from this instruction; four bytes long.
    Bl,
    /// NOP, YIELD and the unallocated hints.
    Nop,
    // The rest changes more than registers and memory, and is left to the slow path.
    /// `imm` = 1 to set PRIMASK.
    Cps,
    Wfe,
    Wfi,
    Sev,
    Svc,
    Bkpt,
    /// `a` = rn, `imm` = SYSm; four bytes.
    Msr,
    /// `a` = rd, `imm` = SYSm; four bytes.
    Mrs,
    /// DSB, DMB, ISB; four bytes.
    Barrier,
    Undefined,
    /// The first half of a 32-bit instruction whose second half was not at hand.
    Split,
}

/// A decoded instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) a: u8,
    pub(super) b: u8,
    pub(super) c: u8,
    pub(super) imm: u32,
}

impl Op {
    const fn new(kind: Kind, a: u32, b: u32, c: u32, imm: u32) -> Self {
        Self { kind, a: a as u8, b: b as u8, c: c as u8, imm }
    }
}

/// Instructions of a flash page, one per halfword.
pub(super) type CodePage = [Op; 512];

/// Whether a halfword is the first of a 32-bit instruction.
pub(super) const fn is_wide(first: u16) -> bool {
    first >= 0xE800
}

/// Decodes the instruction that starts with `first`; `second` is the halfword after it, if known.
pub(super) fn decode(first: u16, second: Option<u16>) -> Op {
    if is_wide(first) {
        return second.map_or(Op::new(Kind::Split, 0, 0, 0, 0), |second| decode_wide(first, second));
    }
    let hw = u32::from(first);
    let low = hw & 7;
    let mid = (hw >> 3) & 7;
    let imm5 = (hw >> 6) & 31;
    let imm8 = hw & 0xFF;
    let reg8 = (hw >> 8) & 7;
    let undefined = Op::new(Kind::Undefined, 0, 0, 0, 0);
    match hw >> 11 {
        0 if imm5 == 0 => Op::new(Kind::Movs, low, mid, 0, 0),
        0 => Op::new(Kind::LslImm, low, mid, 0, imm5),
        1 => Op::new(Kind::LsrImm, low, mid, 0, if imm5 == 0 { 32 } else { imm5 }),
        2 => Op::new(Kind::AsrImm, low, mid, 0, if imm5 == 0 { 32 } else { imm5 }),
        3 => {
            let third = (hw >> 6) & 7;
            match (hw >> 9) & 3 {
                0 => Op::new(Kind::AddReg, low, mid, third, 0),
                1 => Op::new(Kind::SubReg, low, mid, third, 0),
                2 => Op::new(Kind::AddImm, low, mid, 0, third),
                _ => Op::new(Kind::SubImm, low, mid, 0, third),
            }
        }
        4 => Op::new(Kind::MovImm, reg8, 0, 0, imm8),
        5 => Op::new(Kind::CmpImm, reg8, 0, 0, imm8),
        6 => Op::new(Kind::AddImm, reg8, reg8, 0, imm8),
        7 => Op::new(Kind::SubImm, reg8, reg8, 0, imm8),
        8 => decode_data_and_special(hw),
        9 => Op::new(Kind::LdrLit, reg8, 0, 0, imm8 << 2),
        10 | 11 => {
            let kind = [
                Kind::StrReg,
                Kind::StrhReg,
                Kind::StrbReg,
                Kind::LdrsbReg,
                Kind::LdrReg,
                Kind::LdrhReg,
                Kind::LdrbReg,
                Kind::LdrshReg,
            ][((hw >> 9) & 7) as usize];
            Op::new(kind, low, mid, (hw >> 6) & 7, 0)
        }
        12 => Op::new(Kind::StrImm, low, mid, 0, imm5 << 2),
        13 => Op::new(Kind::LdrImm, low, mid, 0, imm5 << 2),
        14 => Op::new(Kind::StrbImm, low, mid, 0, imm5),
        15 => Op::new(Kind::LdrbImm, low, mid, 0, imm5),
        16 => Op::new(Kind::StrhImm, low, mid, 0, imm5 << 1),
        17 => Op::new(Kind::LdrhImm, low, mid, 0, imm5 << 1),
        18 => Op::new(Kind::StrImm, reg8, 13, 0, imm8 << 2),
        19 => Op::new(Kind::LdrImm, reg8, 13, 0, imm8 << 2),
        20 => Op::new(Kind::Adr, reg8, 0, 0, imm8 << 2),
        21 => Op::new(Kind::AddSpImm, reg8, 0, 0, imm8 << 2),
        22 | 23 => decode_misc(hw),
        24 => Op::new(Kind::Stm, reg8, 0, 0, imm8),
        25 => Op::new(Kind::Ldm, reg8, 0, 0, imm8),
        26 | 27 => {
            let offset = (i32::from(imm8 as i8) << 1).wrapping_add(4) as u32;
            let kind = match (hw >> 8) & 15 {
                0 => Kind::Beq,
                1 => Kind::Bne,
                2 => Kind::Bcs,
                3 => Kind::Bcc,
                4 => Kind::Bmi,
                5 => Kind::Bpl,
                6 => Kind::Bvs,
                7 => Kind::Bvc,
                8 => Kind::Bhi,
                9 => Kind::Bls,
                10 => Kind::Bge,
                11 => Kind::Blt,
                12 => Kind::Bgt,
                13 => Kind::Ble,
                14 => return undefined,
                _ => Kind::Svc,
            };
            Op::new(kind, 0, 0, 0, offset)
        }
        _ => {
            let offset = (((hw << 21) as i32) >> 20).wrapping_add(4) as u32;
            Op::new(Kind::B, 0, 0, 0, offset)
        }
    }
}

/// 0x4000..=0x47FF.
fn decode_data_and_special(hw: u32) -> Op {
    let low = hw & 7;
    let mid = (hw >> 3) & 7;
    if hw & 0x400 == 0 {
        let kind = [
            Kind::And,
            Kind::Eor,
            Kind::LslReg,
            Kind::LsrReg,
            Kind::AsrReg,
            Kind::Adc,
            Kind::Sbc,
            Kind::Ror,
            Kind::Tst,
            Kind::Rsb,
            Kind::CmpReg,
            Kind::Cmn,
            Kind::Orr,
            Kind::Mul,
            Kind::Bic,
            Kind::Mvn,
        ][((hw >> 6) & 15) as usize];
        return Op::new(kind, low, mid, 0, 0);
    }
    let rm = (hw >> 3) & 15;
    let rdn = low | (hw >> 4) & 8;
    match (hw >> 8) & 3 {
        0 if rdn == 15 => Op::new(Kind::AddPc, 15, rm, 0, 0),
        0 => Op::new(Kind::AddHi, rdn, rm, 0, 0),
        1 => Op::new(Kind::CmpHi, rdn, rm, 0, 0),
        2 if rdn == 15 => Op::new(Kind::MovPc, 15, rm, 0, 0),
        2 => Op::new(Kind::MovHi, rdn, rm, 0, 0),
        _ if hw & 0x80 == 0 => Op::new(Kind::Bx, 0, rm, 0, 0),
        _ => Op::new(Kind::Blx, 0, rm, 0, 0),
    }
}

/// 0xB000..=0xBFFF.
fn decode_misc(hw: u32) -> Op {
    let low = hw & 7;
    let mid = (hw >> 3) & 7;
    let kind = match (hw >> 6) & 0x3F {
        0b000_000 | 0b000_001 => return Op::new(Kind::AddSp, 0, 0, 0, (hw & 0x7F) << 2),
        0b000_010 | 0b000_011 => return Op::new(Kind::SubSp, 0, 0, 0, (hw & 0x7F) << 2),
        0b001_000 => Kind::Sxth,
        0b001_001 => Kind::Sxtb,
        0b001_010 => Kind::Uxth,
        0b001_011 => Kind::Uxtb,
        0b010_000..=0b010_111 => return Op::new(Kind::Push, 0, 0, 0, hw & 0xFF | (hw & 0x100) << 6),
        0b011_001 if hw & 0x20 != 0 => return Op::new(Kind::Cps, 0, 0, 0, (hw >> 4) & 1),
        0b101_000 => Kind::Rev,
        0b101_001 => Kind::Rev16,
        0b101_011 => Kind::Revsh,
        0b110_000..=0b110_011 => return Op::new(Kind::Pop, 0, 0, 0, hw & 0xFF),
        0b110_100..=0b110_111 => return Op::new(Kind::PopPc, 0, 0, 0, hw & 0xFF),
        0b111_000..=0b111_011 => Kind::Bkpt,
        0b111_100..=0b111_111 if hw & 15 == 0 => match (hw >> 4) & 15 {
            2 => Kind::Wfe,
            3 => Kind::Wfi,
            4 => Kind::Sev,
            _ => Kind::Nop,
        },
        _ => Kind::Undefined,
    };
    Op::new(kind, low, mid, 0, 0)
}

fn decode_wide(first: u16, second: u16) -> Op {
    let first = u32::from(first);
    let second = u32::from(second);
    if first >> 11 == 0b11110 && second & 0x8000 != 0 {
        if second & 0xD000 == 0xD000 {
            let sign = (first >> 10) & 1;
            let i1 = ((second >> 13) & 1) ^ sign ^ 1;
            let i2 = ((second >> 11) & 1) ^ sign ^ 1;
            let offset = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1;
            let offset = ((offset << 7) as i32 >> 7).wrapping_add(4) as u32;
            return Op::new(Kind::Bl, 0, 0, 0, offset);
        }
        if second & 0xD000 == 0x8000 {
            if first & 0xFFE0 == 0xF380 {
                return Op::new(Kind::Msr, first & 15, 0, 0, second & 0xFF);
            }
            if first & 0xFFE0 == 0xF3E0 {
                return Op::new(Kind::Mrs, (second >> 8) & 15, 0, 0, second & 0xFF);
            }
            if first & 0xFFF0 == 0xF3B0 && matches!((second >> 4) & 15, 4..=6) {
                return Op::new(Kind::Barrier, 0, 0, 0, 0);
            }
        }
    }
    Op::new(Kind::Undefined, 0, 0, 0, 0)
}

/// Decodes a page. Literals inside the page are resolved: a page whose bytes change is decoded anew.
pub(super) fn decode_page(bytes: &[u8; 1024]) -> Box<CodePage> {
    let half = |index: usize| u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]);
    let mut page = Box::new([Op::new(Kind::Undefined, 0, 0, 0, 0); 512]);
    for (index, slot) in page.iter_mut().enumerate() {
        let mut op = decode(half(index), (index < 511).then(|| half(index + 1)));
        if op.kind == Kind::LdrLit {
            let place = (((2 * index as u32) & !3) + 4 + op.imm) as usize;
            if let Some(word) = bytes.get(place..place + 4) {
                let value = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                op = Op { kind: Kind::LdrValue, imm: value, ..op };
            }
        }
        *slot = op;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_the_pipeline_in_them() {
        assert_eq!(decode(0xE7FE, None), Op::new(Kind::B, 0, 0, 0, 0), "b .");
        assert_eq!(decode(0xD0FE, None), Op::new(Kind::Beq, 0, 0, 0, 0), "beq .");
        assert_eq!(decode(0xF7FF, Some(0xFFFE)), Op::new(Kind::Bl, 0, 0, 0, 0), "bl .");
        assert_eq!(decode(0xF000, Some(0xF800)), Op::new(Kind::Bl, 0, 0, 0, 4), "bl .+4");
    }

    #[test]
    fn what_armv6m_does_not_have_is_undefined() {
        // CBZ, CBNZ, IT, SETEND, UDF, and 32-bit ADD and LDREX of ARMv7-M.
        for hw in [0xB100, 0xB900, 0xBF08, 0xB650, 0xDE00, 0xBA80] {
            assert_eq!(decode(hw, None).kind, Kind::Undefined, "{hw:#x}");
        }
        for (first, second) in [(0xF101, 0x0101), (0xE851, 0x0F00), (0xF7F0, 0xA000)] {
            assert_eq!(decode(first, Some(second)).kind, Kind::Undefined);
        }
    }

    #[test]
    fn only_literals_inside_the_page_are_resolved() {
        let mut bytes = [0; 1024];
        bytes[0..2].copy_from_slice(&0x4800_u16.to_le_bytes()); // ldr r0, [pc, #0] -> word at 4
        bytes[4..8].copy_from_slice(&0xCAFE_F00D_u32.to_le_bytes());
        bytes[1020..1022].copy_from_slice(&0x4900_u16.to_le_bytes()); // -> word at 1024
        let page = decode_page(&bytes);
        assert_eq!((page[0].kind, page[0].imm), (Kind::LdrValue, 0xCAFE_F00D));
        assert_eq!((page[510].kind, page[510].imm), (Kind::LdrLit, 0));
        bytes[1022..1024].copy_from_slice(&0xF000_u16.to_le_bytes());
        assert_eq!(decode_page(&bytes)[511].kind, Kind::Split);
    }
}
