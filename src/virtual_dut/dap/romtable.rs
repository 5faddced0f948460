//! Who is who in the debug system: ROM tables and the identification words of each component (IHI 0031, chapters on ROM tables and
//! component identification).
//!
//! AP 0 points at Nordic's table, which points at ARM's table of the Cortex-M0, which points at system control space, watchpoint unit and
//! breakpoint unit. Host software tells the chip's maker from the first.

/// BASE of AP 0: present, 32-bit format.
pub(super) const BASE: u32 = CHIP_TABLE | 3;

const CHIP_TABLE: u32 = 0xF000_0000;
const CORE_TABLE: u32 = 0xE00F_F000;
const SYSTEM_CONTROL: u32 = 0xE000_E000;
const WATCHPOINTS: u32 = 0xE000_1000;
const BREAKPOINTS: u32 = 0xE000_2000;

/// Maker in the peripheral identification: JEP106 identity and the number of continuation codes before it.
struct Maker(u32, u32);
const ARM: Maker = Maker(0x3B, 4);
const NORDIC: Maker = Maker(0x44, 2);

/// The word at `address` (a multiple of four) if it belongs to a ROM table or an identification page.
pub(super) fn word(address: u32) -> Option<u32> {
    let (page, offset) = (address & !0xFFF, address & 0xFFF);
    let (class, part, maker) = match page {
        CHIP_TABLE => (1, 0x001, NORDIC),
        CORE_TABLE => (1, 0x471, ARM),
        SYSTEM_CONTROL => (0xE, 0x008, ARM),
        WATCHPOINTS => (0xE, 0x00A, ARM),
        BREAKPOINTS => (0xE, 0x00B, ARM),
        _ => return None,
    };
    if offset >= 0xFD0 {
        return Some(identification(offset, class, part, &maker));
    }
    match (page, offset / 4) {
        (CHIP_TABLE, 0) => Some(entry(CHIP_TABLE, CORE_TABLE)),
        (CORE_TABLE, 0) => Some(entry(CORE_TABLE, SYSTEM_CONTROL)),
        (CORE_TABLE, 1) => Some(entry(CORE_TABLE, WATCHPOINTS)),
        (CORE_TABLE, 2) => Some(entry(CORE_TABLE, BREAKPOINTS)),
        // The memory type word: system memory is reachable through this access port.
        (CHIP_TABLE | CORE_TABLE, index) => Some(u32::from(index == 0xFCC / 4)),
        _ => None,
    }
}

/// A present 32-bit entry: the component's distance from the table.
fn entry(table: u32, component: u32) -> u32 {
    component.wrapping_sub(table) & !0xFFF | 3
}

fn identification(offset: u32, class: u32, part: u32, maker: &Maker) -> u32 {
    match offset {
        0xFD0 => maker.1,
        0xFE0 => part & 0xFF,
        0xFE4 => part >> 8 | (maker.0 & 0xF) << 4,
        // Bit 3: the maker is a JEP106 code.
        0xFE8 => 1 << 3 | maker.0 >> 4,
        0xFF0 => 0x0D,
        0xFF4 => class << 4,
        0xFF8 => 0x05,
        0xFFC => 0xB1,
        _ => 0,
    }
}
