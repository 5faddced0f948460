//! Registers of the core, and what each instruction does to them and to memory.
//!
//! The same semantics run over two kinds of memory: a fast one that knows RAM and flash only and refuses everything else *before*
//! anything has changed, and the full system bus, on which the refused instruction is then executed again.

use std::hash::{Hash, Hasher};

use super::decode::{Kind, Op};

/// Condition flags in the form that costs least to produce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// N is the sign, Z is "the lower half is zero": a result is put here with its sign extended.
    nz: i64,
    c: bool,
    /// V is bit 31.
    v: u32,
}

impl Flags {
    /// From bits 31..28 of an APSR.
    pub(super) const fn from_apsr(apsr: u32) -> Self {
        let nz = (apsr >> 31 << 31) as i32 as i64 & !(u32::MAX as i64) | (!apsr >> 30 & 1) as i64;
        Self { nz, c: apsr & 1 << 29 != 0, v: apsr << 3 }
    }

    /// Bits 31..28 of the APSR.
    pub(super) const fn apsr(self) -> u32 {
        (self.n() as u32) << 31 | (self.z() as u32) << 30 | (self.c as u32) << 29 | (self.v() as u32) << 28
    }

    const fn set(&mut self, result: u32) {
        self.nz = result as i32 as i64;
    }

    const fn n(self) -> bool {
        self.nz < 0
    }

    const fn z(self) -> bool {
        self.nz as u32 == 0
    }

    const fn v(self) -> bool {
        self.v >> 31 != 0
    }
}

// The form has many values for the same flags, and which one it is tells only of the past.
impl PartialEq for Flags {
    fn eq(&self, other: &Self) -> bool {
        self.apsr() == other.apsr()
    }
}

impl Eq for Flags {}

impl Hash for Flags {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.apsr().hash(state);
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

    /// Stores the registers in `list` from address `base` up.
    #[inline]
    fn store_list(&mut self, r: &[u32; 16], base: u32, list: u32) -> Result<(), Trap> {
        for (place, index) in (0..).zip(bits(list)) {
            self.store32(base.wrapping_add(4 * place), r[index & 15])?;
        }
        Ok(())
    }

    /// Loads the registers in `list`, all of them or none.
    #[inline]
    fn load_list(&mut self, r: &mut [u32; 16], base: u32, list: u32) -> Result<(), Trap> {
        let mut loaded = *r;
        for (place, index) in (0..).zip(bits(list)) {
            loaded[index & 15] = self.load32(base.wrapping_add(4 * place))?;
        }
        *r = loaded;
        Ok(())
    }
}

/// Places of the bits that are set, from the lowest up.
pub(super) fn bits(mut word: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (place < 32).then_some(place)
    })
}

/// What the core is executing with. `r[13]` is the stack pointer in use, `r[15]` is unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Registers {
    pub(super) r: [u32; 16],
    pub(super) flags: Flags,
    /// Address of the next instruction.
    pub(super) pc: u32,
}

const fn add(x: u32, y: u32, f: &mut Flags) -> u32 {
    let sum = x.wrapping_add(y);
    f.c = sum < x;
    f.v = (x ^ sum) & (y ^ sum);
    f.set(sum);
    sum
}

const fn subtract(x: u32, y: u32, f: &mut Flags) -> u32 {
    let difference = x.wrapping_sub(y);
    f.c = x >= y;
    f.v = (x ^ y) & (x ^ difference);
    f.set(difference);
    difference
}

const fn add_with_carry(x: u32, y: u32, f: &mut Flags) -> u32 {
    let wide = x as u64 + y as u64 + f.c as u64;
    let sum = wide as u32;
    f.c = wide >> 32 != 0;
    f.v = (x ^ sum) & (y ^ sum);
    f.set(sum);
    sum
}

/// First address a jump may not simply go to: above are exception returns and the never-executable system space.
const SPECIAL: u32 = 0xF000_0000;

/// Where execution goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// At the next halfword. (What is longer and no branch is for the machine.)
    Next,
    /// At this address.
    To(u32),
}

/// Executes one instruction that is at address `at`. `more` grows by the cycles above one that it takes on a Cortex-M0 with the one-cycle
/// multiplier and no wait states (DDI 0432, table 3-1).
#[expect(clippy::inline_always, reason = "the loop around it must keep flags, addresses and cycles in host registers")]
#[inline(always)]
pub(super) fn execute<M: Memory>(
    r: &mut [u32; 16],
    f: &mut Flags,
    at: u32,
    more: &mut u64,
    memory: &mut M,
    op: &Op,
) -> Result<Flow, Trap> {
    let a = (op.a & 15) as usize;
    let b = (op.b & 15) as usize;
    let c = (op.c & 15) as usize;

    macro_rules! logical {
        ($value:expr) => {{
            let value = $value;
            f.set(value);
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
                *more += 2;
                return Ok(Flow::To(at.wrapping_add(op.imm)));
            }
        };
    }
    macro_rules! load {
        ($load:ident, $address:expr, $value:ident => $result:expr) => {{
            let $value = memory.$load($address)?;
            r[a] = $result;
            *more += 1;
        }};
    }
    macro_rules! store {
        ($store:ident, $address:expr) => {{
            memory.$store($address, r[a])?;
            *more += 1;
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
        Kind::AddReg => r[a] = add(r[b], r[c], f),
        Kind::SubReg => r[a] = subtract(r[b], r[c], f),
        Kind::AddImm => r[a] = add(r[b], op.imm, f),
        Kind::SubImm => r[a] = subtract(r[b], op.imm, f),
        Kind::MovImm => logical!(op.imm),
        Kind::CmpImm => {
            subtract(r[a], op.imm, f);
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
        Kind::Adc => r[a] = add_with_carry(r[a], r[b], f),
        Kind::Sbc => r[a] = add_with_carry(r[a], !r[b], f),
        Kind::Tst => {
            f.set(r[a] & r[b]);
        }
        Kind::Rsb => r[a] = subtract(0, r[b], f),
        Kind::CmpReg => {
            subtract(r[a], r[b], f);
        }
        Kind::Cmn => {
            add(r[a], r[b], f);
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
            subtract(any!(a), any!(b), f);
        }
        Kind::MovHi => {
            let value = any!(b);
            r[a] = if a == 13 { value & !3 } else { value };
        }
        Kind::AddPc => {
            *more += 2;
            return Ok(Flow::To(at.wrapping_add(4).wrapping_add(any!(b)) & !1));
        }
        Kind::MovPc => {
            *more += 2;
            return Ok(Flow::To(any!(b) & !1));
        }
        Kind::Bx => {
            let target = any!(b);
            if target & 1 == 0 || target >= SPECIAL {
                if M::FULL {
                    *more += 2;
                }
                return Err(Trap::Jump(target));
            }
            *more += 2;
            return Ok(Flow::To(target & !1));
        }
        Kind::Blx => {
            let target = any!(b);
            let link = at.wrapping_add(2) | 1;
            if target & 1 == 0 || target >= SPECIAL {
                if M::FULL {
                    r[14] = link;
                    *more += 2;
                }
                return Err(Trap::Jump(target));
            }
            r[14] = link;
            *more += 2;
            return Ok(Flow::To(target & !1));
        }
        Kind::LdrLit => load!(load32, (at & !3).wrapping_add(4).wrapping_add(op.imm), value => value),
        Kind::LdrValue => {
            r[a] = op.imm;
            *more += 1;
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
            memory.store_list(r, base, op.imm)?;
            r[13] = base;
            *more += u64::from(count);
        }
        Kind::Stm => {
            let count = op.imm.count_ones();
            memory.store_list(r, r[a], op.imm)?;
            r[a] = r[a].wrapping_add(4 * count);
            *more += u64::from(count);
        }
        Kind::Ldm => {
            let count = op.imm.count_ones();
            let end = r[a].wrapping_add(4 * count);
            memory.load_list(r, r[a], op.imm)?;
            if op.imm & 1 << a == 0 {
                r[a] = end;
            }
            *more += u64::from(count);
        }
        Kind::Pop => {
            let count = op.imm.count_ones();
            memory.load_list(r, r[13], op.imm)?;
            r[13] = r[13].wrapping_add(4 * count);
            *more += u64::from(count);
        }
        Kind::PopPc => {
            let count = op.imm.count_ones() + 1;
            let target = memory.load32(r[13].wrapping_add(4 * (count - 1)))?;
            let special = target & 1 == 0 || target >= SPECIAL;
            if special && !M::FULL {
                return Err(Trap::Refused);
            }
            memory.load_list(r, r[13], op.imm)?;
            r[13] = r[13].wrapping_add(4 * count);
            *more += u64::from(count) + 2;
            if special {
                return Err(Trap::Jump(target));
            }
            return Ok(Flow::To(target & !1));
        }
        Kind::Sxth => r[a] = r[b] as i16 as u32,
        Kind::Sxtb => r[a] = r[b] as i8 as u32,
        Kind::Uxth => r[a] = r[b] & 0xFFFF,
        Kind::Uxtb => r[a] = r[b] & 0xFF,
        Kind::Rev => r[a] = r[b].swap_bytes(),
        Kind::Rev16 => r[a] = r[b].swap_bytes().rotate_right(16),
        Kind::Revsh => r[a] = (r[b] as u16).swap_bytes() as i16 as u32,
        Kind::Beq => branch!(f.z()),
        Kind::Bne => branch!(!f.z()),
        Kind::Bcs => branch!(f.c),
        Kind::Bcc => branch!(!f.c),
        Kind::Bmi => branch!(f.n()),
        Kind::Bpl => branch!(!f.n()),
        Kind::Bvs => branch!(f.v()),
        Kind::Bvc => branch!(!f.v()),
        Kind::Bhi => branch!(f.c && !f.z()),
        Kind::Bls => branch!(!f.c || f.z()),
        Kind::Bge => branch!(f.n() == f.v()),
        Kind::Blt => branch!(f.n() != f.v()),
        Kind::Bgt => branch!(!f.z() && f.n() == f.v()),
        Kind::Ble => branch!(f.z() || f.n() != f.v()),
        Kind::B => branch!(true),
        Kind::Bl => {
            r[14] = at.wrapping_add(4) | 1;
            *more += 3;
            return Ok(Flow::To(at.wrapping_add(op.imm)));
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
    Ok(Flow::Next)
}
