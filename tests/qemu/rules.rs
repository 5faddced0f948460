//! What is not compared, each rule with its source, and what an instruction touches in memory.

use hilbench::virtual_dut::{FLASH_SIZE, RAM_BASE, RAM_SIZE};

use super::state::State;

pub(crate) type Rule = &'static str;

const ZERO_BITS: Rule = "UNPREDICTABLE: should-be-zero bits set (DDI 0419, A6.7 BX and BLX, B4.2 CPS, MRS and MSR)";
const REGISTER: Rule =
    "UNPREDICTABLE: a register the instruction must not have (DDI 0419, A6.7 ADD, BLX and CMP, B4.2 MRS and MSR)";
const LIST: Rule = "UNPREDICTABLE: an empty register list (DDI 0419, A6.7 LDM, POP, PUSH and STM)";
const BASE_IN_LIST: Rule = "UNKNOWN value stored: the base is in the list but not first (DDI 0419, A6.7 STM)";
const SPECIAL: Rule = "UNPREDICTABLE: no such special register (DDI 0419, B4.2 MRS and MSR)";
const MASK: Rule = "needs the state reset afterwards: CPS, compared among the special instructions";
const BREAKPOINT: Rule = "BKPT belongs to QEMU's debugger stub (target/arm/op_helper.c, EXCP_BKPT)";
const SLEEP: Rule = "WFI and WFE let QEMU's stub wait for an interrupt; WFI is in the exception program";
const Q: Rule = "QEMU lets MSR set APSR.Q, which ARMv6-M does not have (target/arm/m_helper.c, v7m_msr; DDI 0419, B1.4 APSR)";
const COMPARE_BRANCH: Rule =
    "QEMU executes CBZ and CBNZ on a Cortex-M0 (target/arm/translate.c, trans_CBZ; not in DDI 0419, A5.2.5)";
const IF_THEN: Rule = "QEMU executes IT on a Cortex-M0 (target/arm/translate.c, trans_IT; not in DDI 0419, A5.2.5)";
const END: Rule = "QEMU executes SETEND on a Cortex-M0 (target/arm/translate.c, trans_SETEND; not in DDI 0419, A5.2.5)";
const DEVICES: Rule =
    "QEMU does not refuse addresses without a device in 0x40000000..0x60000000 and from 0xE0000000 on (hw/arm/nrf51_soc.c)";
const INFORMATION: Rule = "FICR and UICR are shorter in QEMU (hw/nvram/nrf51_nvm.c)";
const FLASH_STORE: Rule = "QEMU ignores stores to flash while they are not enabled (hw/nvram/nrf51_nvm.c, flash_write)";
const PARTLY: Rule = "UNKNOWN registers: a multiple load that faults half way (DDI 0419, A6.7 LDM)";
const OWN_CODE: Rule = "reads or writes the line it stands in, which grows while it is made";
const STACK: Rule = "QEMU aborts on lock-up: the exception frame would not be in RAM";

/// Bytes an instruction reads or writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) address: u32,
    pub(crate) len: u32,
    pub(crate) store: bool,
}

/// What a 16-bit instruction at `state.pc()` touches.
pub(crate) fn access(code: u16, state: &State) -> Option<Access> {
    let hw = u32::from(code);
    let r = |shift: u32| state.0[(hw >> shift & 7) as usize];
    let imm5 = hw >> 6 & 31;
    let some = |address, len, store| Some(Access { address, len, store });
    let load = hw >> 11 & 1 == 1;
    let list = (hw & 0xFF).count_ones() * 4;
    match hw >> 12 {
        4 if load => some((state.pc() & !3).wrapping_add(4 + 4 * (hw & 0xFF)), 4, false),
        5 => {
            let (len, store) = [(4, true), (2, true), (1, true), (1, false), (4, false), (2, false), (1, false), (2, false)]
                [(hw >> 9 & 7) as usize];
            some(r(3).wrapping_add(r(6)), len, store)
        }
        6 => some(r(3).wrapping_add(4 * imm5), 4, !load),
        7 => some(r(3).wrapping_add(imm5), 1, !load),
        8 => some(r(3).wrapping_add(2 * imm5), 2, !load),
        9 => some(state.sp().wrapping_add(4 * (hw & 0xFF)), 4, !load),
        11 if hw & 0x0600 == 0x0400 => {
            let len = list + 4 * (hw >> 8 & 1);
            if load { some(state.sp(), len, false) } else { some(state.sp().wrapping_sub(len), len, true) }
        }
        12 => some(r(8), list, !load),
        _ => None,
    }
}

/// Whether an exception can be taken with this stack pointer.
pub(crate) fn has_stack(sp: u32) -> bool {
    (0x200..RAM_SIZE - 0x200).contains(&sp.wrapping_sub(RAM_BASE))
}

fn touches(access: Access, start: u32, len: u32) -> bool {
    access.address.wrapping_sub(start) < len || start.wrapping_sub(access.address) < access.len
}

fn place(access: Access, code: u32) -> Option<Rule> {
    let space = |start, len| touches(access, start, len);
    if space(0x4000_0000, 0x2000_0000) || space(0xE000_0000, 0x2000_0000) {
        return Some(DEVICES);
    }
    if space(0x1000_0000, 0x2000) {
        return Some(INFORMATION);
    }
    let partly = |start, size| space(start, size) && access.address.wrapping_sub(start).saturating_add(access.len) > size;
    if !access.store && access.len > 4 && (partly(RAM_BASE, RAM_SIZE) || partly(0, FLASH_SIZE)) {
        return Some(PARTLY);
    }
    if access.store && space(0, FLASH_SIZE) {
        return Some(FLASH_STORE);
    }
    space(code, 0x100).then_some(OWN_CODE)
}

/// Why an instruction cannot be compared, if so. `code` is where the code under test begins.
pub(crate) fn skipped(first: u16, second: Option<u16>, state: &State, code: u32) -> Option<Rule> {
    if let Some(second) = second {
        return wide(u32::from(first), u32::from(second), state);
    }
    let hw = u32::from(first);
    let (low, rm) = (hw & 7, hw >> 3 & 15);
    let rdn = low | hw >> 4 & 8;
    let encoding = match hw >> 8 {
        0x44 if rdn == 15 && rm == 15 => Some(REGISTER),
        0x45 if rdn < 8 && rm < 8 || rdn == 15 || rm == 15 => Some(REGISTER),
        0x47 if low != 0 => Some(ZERO_BITS),
        0x47 if rm == 15 && hw & 0x80 != 0 => Some(REGISTER),
        0xB1 | 0xB3 | 0xB9 | 0xBB => Some(COMPARE_BRANCH),
        0xB4 | 0xBC if hw & 0xFF == 0 => Some(LIST),
        0xB6 if hw & 0xE0 == 0x40 => Some(END),
        0xB6 if hw & 0xE0 == 0x60 && hw & 0x0F != 2 => Some(ZERO_BITS),
        0xB6 if hw & 0xE0 == 0x60 => Some(MASK),
        0xBE => Some(BREAKPOINT),
        0xBF if hw & 0xFF == 0x20 || hw & 0xFF == 0x30 => Some(SLEEP),
        0xBF if hw & 0x0F != 0 => Some(IF_THEN),
        0xC0..=0xCF if hw & 0xFF == 0 => Some(LIST),
        0xC0..=0xC7 if hw >> (hw >> 8 & 7) & 1 == 1 && (hw & 0xFF).trailing_zeros() != hw >> 8 & 7 => Some(BASE_IN_LIST),
        _ => None,
    };
    let stack = (!has_stack(state.sp())).then_some(STACK);
    encoding.or(stack).or_else(|| place(access(first, state)?, code))
}

fn wide(first: u32, second: u32, state: &State) -> Option<Rule> {
    let known = |special| matches!(special, 0..=3 | 5..=9 | 16 | 20);
    if first >> 4 == 0xF38 || first >> 4 == 0xF39 {
        let (rn, special) = (first & 15, second & 0xFF);
        let value = state.0[rn as usize];
        return match second >> 14 {
            2 if second & 0x3F00 != 0x0800 || first & 0x10 != 0 => Some(ZERO_BITS),
            2 if rn == 13 || rn == 15 => Some(REGISTER),
            2 if !known(special) => Some(SPECIAL),
            2 if special <= 3 && value >> 27 & 1 == 1 => Some(Q),
            _ => None,
        };
    }
    if first >> 4 == 0xF3E || first >> 4 == 0xF3F {
        let (rd, special) = (second >> 8 & 15, second & 0xFF);
        return match second >> 14 {
            2 if first & 0x1F != 0xF || second & 0x2000 != 0 => Some(ZERO_BITS),
            2 if rd == 13 || rd == 15 => Some(REGISTER),
            2 if !known(special) => Some(SPECIAL),
            _ => None,
        };
    }
    (first >> 4 == 0xF3B && second >> 14 == 2 && (first & 15 != 15 || second & 0x2F00 != 0x0F00)).then_some(ZERO_BITS)
}
