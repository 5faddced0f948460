//! Registers of the core, and what each instruction does to them and to memory.
//!
//! The same semantics run over two kinds of memory: a fast one that knows RAM and flash only and refuses everything else *before*
//! anything has changed, and the full system bus, on which the refused instruction is then executed again.

use super::decode::{Kind, Op};

/// Condition flags in the form that costs least to produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flags {
    /// N is bit 31.
    pub(super) n: u32,
    /// Z is "this is zero".
    pub(super) z: u32,
    pub(super) c: bool,
    pub(super) v: bool,
}

impl Flags {
    /// From bits 31..28 of an APSR.
    pub(super) const fn from_apsr(apsr: u32) -> Self {
        Self { n: apsr, z: !apsr & 1 << 30, c: apsr & 1 << 29 != 0, v: apsr & 1 << 28 != 0 }
    }

    /// Bits 31..28 of the APSR.
    pub(super) const fn apsr(self) -> u32 {
        self.n & 1 << 31 | ((self.z == 0) as u32) << 30 | (self.c as u32) << 29 | (self.v as u32) << 28
    }
}

/// Why an instruction did not simply complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trap {
    /// Not for the fast path, or an access that the bus refuses. No register has changed.
    Refused,
    /// The instruction needs the machine: system instructions, hints, undefined ones. Nothing has changed.
    System,
    /// The instruction is complete except for a jump to this value, which is not a plain code address: the T bit would be cleared,
    /// or it may be an exception return.
    Jump(u32),
}

/// Memory as an instruction sees it. Every error means "nothing was changed by this access".
pub(super) trait Memory {
    /// Whether this is the full system bus: an instruction may then change state before it traps with [`Trap::Jump`].
    const FULL: bool;
    fn load32(&mut self, address: u32) -> Result<u32, Trap>;
    fn load16(&mut self, address: u32) -> Result<u32, Trap>;
    fn load8(&mut self, address: u32) -> Result<u32, Trap>;
    fn store32(&mut self, address: u32, value: u32) -> Result<(), Trap>;
    fn store16(&mut self, address: u32, value: u32) -> Result<(), Trap>;
    fn store8(&mut self, address: u32, value: u32) -> Result<(), Trap>;
}

/// What the core is executing with. `r[13]` is the stack pointer in use, `r[15]` is unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Registers {
    pub(super) r: [u32; 16],
    pub(super) flags: Flags,
    /// Address of the next instruction.
    pub(super) pc: u32,
}

const fn add(x: u32, y: u32, carry: bool, f: &mut Flags) -> u32 {
    let (sum, first) = x.overflowing_add(y);
    let (sum, second) = sum.overflowing_add(carry as u32);
    f.c = first | second;
    f.v = ((x ^ sum) & (y ^ sum)) >> 31 != 0;
    f.n = sum;
    f.z = sum;
    sum
}

/// First address a jump may not simply go to: above are exception returns and the never-executable system space.
const SPECIAL: u32 = 0xF000_0000;

/// Executes one instruction at `regs.pc`. On success `pc` is that of the next one and `cycles` has grown by the time taken on a Cortex-M0 with
/// the one-cycle multiplier and no wait states (DDI 0432, table 3-1).
#[expect(clippy::inline_always, reason = "the loop around it must keep flags, pc and cycles in host registers")]
#[inline(always)]
pub(super) fn execute<M: Memory>(
    r: &mut [u32; 16],
    f: &mut Flags,
    pc: &mut u32,
    cycles: &mut u64,
    memory: &mut M,
    op: Op,
) -> Result<(), Trap> {
    let a = (op.a & 15) as usize;
    let b = (op.b & 15) as usize;
    let c = (op.c & 15) as usize;
    let at = *pc;
    let mut next = at.wrapping_add(2);
    let mut cost = 1;

    macro_rules! logical {
        ($value:expr) => {{
            let value = $value;
            f.n = value;
            f.z = value;
            r[a] = value;
        }};
    }
    macro_rules! any {
        ($index:expr) => {
            if $index == 15 { at.wrapping_add(4) } else { r[$index] }
        };
    }
    macro_rules! branch {
        ($taken:expr) => {
            if $taken {
                next = at.wrapping_add(op.imm);
                cost = 3;
            }
        };
    }
    macro_rules! load {
        ($load:ident, $address:expr, $value:ident => $result:expr) => {{
            let $value = memory.$load($address)?;
            r[a] = $result;
            cost = 2;
        }};
    }
    macro_rules! store {
        ($store:ident, $address:expr) => {{
            memory.$store($address, r[a])?;
            cost = 2;
        }};
    }

    match op.kind {
        Kind::Movs => logical!(r[b]),
        Kind::LslImm => {
            f.c = r[b] << (op.imm - 1 & 31) >> 31 != 0;
            logical!(r[b] << (op.imm & 31));
        }
        Kind::LsrImm => {
            f.c = r[b] >> (op.imm - 1 & 31) & 1 != 0;
            logical!((u64::from(r[b]) >> (op.imm & 63)) as u32);
        }
        Kind::AsrImm => {
            f.c = r[b] >> (op.imm - 1 & 31) & 1 != 0;
            logical!((i64::from(r[b] as i32) >> (op.imm & 63)) as u32);
        }
        Kind::AddReg => r[a] = add(r[b], r[c], false, f),
        Kind::SubReg => r[a] = add(r[b], !r[c], true, f),
        Kind::AddImm => r[a] = add(r[b], op.imm, false, f),
        Kind::SubImm => r[a] = add(r[b], !op.imm, true, f),
        Kind::MovImm => logical!(op.imm),
        Kind::CmpImm => {
            add(r[a], !op.imm, true, f);
        }
        Kind::And => logical!(r[a] & r[b]),
        Kind::Eor => logical!(r[a] ^ r[b]),
        Kind::LslReg => {
            let by = r[b] & 0xFF;
            if by > 0 {
                f.c = by <= 32 && r[a] >> (32 - by & 31) & 1 != 0;
            }
            logical!(if by < 32 { r[a] << by } else { 0 });
        }
        Kind::LsrReg => {
            let by = r[b] & 0xFF;
            if by > 0 {
                f.c = by <= 32 && r[a] >> (by - 1 & 31) & 1 != 0;
            }
            logical!(if by < 32 { r[a] >> by } else { 0 });
        }
        Kind::AsrReg => {
            let by = (r[b] & 0xFF).min(32);
            if by > 0 {
                f.c = r[a] >> (by - 1) & 1 != 0;
            }
            logical!((i64::from(r[a] as i32) >> by) as u32);
        }
        Kind::Ror => {
            let by = r[b] & 0xFF;
            let value = r[a].rotate_right(by & 31);
            if by > 0 {
                f.c = value >> 31 != 0;
            }
            logical!(value);
        }
        Kind::Adc => r[a] = add(r[a], r[b], f.c, f),
        Kind::Sbc => r[a] = add(r[a], !r[b], f.c, f),
        Kind::Tst => {
            f.n = r[a] & r[b];
            f.z = f.n;
        }
        Kind::Rsb => r[a] = add(!r[b], 0, true, f),
        Kind::CmpReg => {
            add(r[a], !r[b], true, f);
        }
        Kind::Cmn => {
            add(r[a], r[b], false, f);
        }
        Kind::Orr => logical!(r[a] | r[b]),
        Kind::Mul => logical!(r[a].wrapping_mul(r[b])),
        Kind::Bic => logical!(r[a] & !r[b]),
        Kind::Mvn => logical!(!r[b]),
        Kind::AddHi => {
            let sum = r[a].wrapping_add(any!(b));
            r[a] = if a == 13 { sum & !3 } else { sum };
        }
        Kind::CmpHi => {
            add(any!(a), !any!(b), true, f);
        }
        Kind::MovHi => {
            let value = any!(b);
            r[a] = if a == 13 { value & !3 } else { value };
        }
        Kind::AddPc => {
            next = at.wrapping_add(4).wrapping_add(any!(b)) & !1;
            cost = 3;
        }
        Kind::MovPc => {
            next = any!(b) & !1;
            cost = 3;
        }
        Kind::Bx => {
            let target = any!(b);
            if target & 1 == 0 || target >= SPECIAL {
                if M::FULL {
                    *cycles += 3;
                }
                return Err(Trap::Jump(target));
            }
            next = target & !1;
            cost = 3;
        }
        Kind::Blx => {
            let target = any!(b);
            if target & 1 == 0 || target >= SPECIAL {
                if M::FULL {
                    r[14] = next | 1;
                    *cycles += 3;
                }
                return Err(Trap::Jump(target));
            }
            r[14] = next | 1;
            next = target & !1;
            cost = 3;
        }
        Kind::LdrLit => load!(load32, (at & !3).wrapping_add(4).wrapping_add(op.imm), value => value),
        Kind::LdrValue => {
            r[a] = op.imm;
            cost = 2;
        }
        Kind::StrReg => store!(store32, r[b].wrapping_add(r[c])),
        Kind::StrhReg => store!(store16, r[b].wrapping_add(r[c])),
        Kind::StrbReg => store!(store8, r[b].wrapping_add(r[c])),
        Kind::LdrsbReg => load!(load8, r[b].wrapping_add(r[c]), value => value as i8 as u32),
        Kind::LdrReg => load!(load32, r[b].wrapping_add(r[c]), value => value),
        Kind::LdrhReg => load!(load16, r[b].wrapping_add(r[c]), value => value),
        Kind::LdrbReg => load!(load8, r[b].wrapping_add(r[c]), value => value),
        Kind::LdrshReg => load!(load16, r[b].wrapping_add(r[c]), value => value as i16 as u32),
        Kind::StrImm => store!(store32, r[b].wrapping_add(op.imm)),
        Kind::LdrImm => load!(load32, r[b].wrapping_add(op.imm), value => value),
        Kind::StrbImm => store!(store8, r[b].wrapping_add(op.imm)),
        Kind::LdrbImm => load!(load8, r[b].wrapping_add(op.imm), value => value),
        Kind::StrhImm => store!(store16, r[b].wrapping_add(op.imm)),
        Kind::LdrhImm => load!(load16, r[b].wrapping_add(op.imm), value => value),
        Kind::Adr => r[a] = (at & !3).wrapping_add(4).wrapping_add(op.imm),
        Kind::AddSpImm => r[a] = r[13].wrapping_add(op.imm),
        Kind::AddSp => r[13] = r[13].wrapping_add(op.imm),
        Kind::SubSp => r[13] = r[13].wrapping_sub(op.imm),
        Kind::Push => {
            let count = op.imm.count_ones();
            let base = r[13].wrapping_sub(4 * count);
            store_list(r, base, op.imm, memory)?;
            r[13] = base;
            cost += u64::from(count);
        }
        Kind::Stm => {
            let count = op.imm.count_ones();
            store_list(r, r[a], op.imm, memory)?;
            r[a] = r[a].wrapping_add(4 * count);
            cost += u64::from(count);
        }
        Kind::Ldm => {
            let count = op.imm.count_ones();
            let end = r[a].wrapping_add(4 * count);
            load_list(r, r[a], op.imm, memory)?;
            if op.imm & 1 << a == 0 {
                r[a] = end;
            }
            cost += u64::from(count);
        }
        Kind::Pop => {
            let count = op.imm.count_ones();
            load_list(r, r[13], op.imm, memory)?;
            r[13] = r[13].wrapping_add(4 * count);
            cost += u64::from(count);
        }
        Kind::PopPc => {
            let count = op.imm.count_ones() + 1;
            let target = memory.load32(r[13].wrapping_add(4 * (count - 1)))?;
            let special = target & 1 == 0 || target >= SPECIAL;
            if special && !M::FULL {
                return Err(Trap::Refused);
            }
            load_list(r, r[13], op.imm, memory)?;
            r[13] = r[13].wrapping_add(4 * count);
            cost += u64::from(count) + 2;
            if special {
                *cycles += cost;
                return Err(Trap::Jump(target));
            }
            next = target & !1;
        }
        Kind::Sxth => r[a] = r[b] as i16 as u32,
        Kind::Sxtb => r[a] = r[b] as i8 as u32,
        Kind::Uxth => r[a] = r[b] & 0xFFFF,
        Kind::Uxtb => r[a] = r[b] & 0xFF,
        Kind::Rev => r[a] = r[b].swap_bytes(),
        Kind::Rev16 => r[a] = r[b].swap_bytes().rotate_right(16),
        Kind::Revsh => r[a] = (r[b] as u16).swap_bytes() as i16 as u32,
        Kind::Beq => branch!(f.z == 0),
        Kind::Bne => branch!(f.z != 0),
        Kind::Bcs => branch!(f.c),
        Kind::Bcc => branch!(!f.c),
        Kind::Bmi => branch!(f.n >> 31 != 0),
        Kind::Bpl => branch!(f.n >> 31 == 0),
        Kind::Bvs => branch!(f.v),
        Kind::Bvc => branch!(!f.v),
        Kind::Bhi => branch!(f.c && f.z != 0),
        Kind::Bls => branch!(!f.c || f.z == 0),
        Kind::Bge => branch!((f.n >> 31 != 0) == f.v),
        Kind::Blt => branch!((f.n >> 31 != 0) != f.v),
        Kind::Bgt => branch!(f.z != 0 && (f.n >> 31 != 0) == f.v),
        Kind::Ble => branch!(f.z == 0 || (f.n >> 31 != 0) != f.v),
        Kind::B => branch!(true),
        Kind::Bl => {
            r[14] = at.wrapping_add(4) | 1;
            next = at.wrapping_add(op.imm);
            cost = 4;
        }
        Kind::Nop => {}
        Kind::Cps
        | Kind::Wfe
        | Kind::Wfi
        | Kind::Sev
        | Kind::Svc
        | Kind::Bkpt
        | Kind::Msr
        | Kind::Mrs
        | Kind::Barrier
        | Kind::Undefined
        | Kind::Split => return Err(Trap::System),
    }
    *pc = next;
    *cycles += cost;
    Ok(())
}

#[inline]
fn store_list<M: Memory>(r: &[u32; 16], base: u32, list: u32, memory: &mut M) -> Result<(), Trap> {
    let mut left = list;
    let mut address = base;
    while left != 0 {
        let index = left.trailing_zeros() as usize;
        memory.store32(address, r[index & 15])?;
        address = address.wrapping_add(4);
        left &= left - 1;
    }
    Ok(())
}

/// Loads into registers only when every access has succeeded.
#[inline]
fn load_list<M: Memory>(r: &mut [u32; 16], base: u32, list: u32, memory: &mut M) -> Result<(), Trap> {
    let mut values = [0; 8];
    let mut left = list & 0xFF;
    let mut address = base;
    while left != 0 {
        let index = left.trailing_zeros() as usize;
        values[index & 7] = memory.load32(address)?;
        address = address.wrapping_add(4);
        left &= left - 1;
    }
    let mut left = list & 0xFF;
    while left != 0 {
        let index = left.trailing_zeros() as usize & 7;
        r[index] = values[index];
        left &= left - 1;
    }
    Ok(())
}
