//! STMicroelectronics STM32: readout protection (RDP), a level in the option bytes.
//!
//! Level 1 leaves the debug port alive and refuses flash to it; level 2 switches the port off. The register that shows the level is not
//! protected, so it can be read at levels 0 and 1.

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet, question::WORDS, sheet::undetermined, transcript::Port,
};

const AP: Port = Port::Ap(0);
const FLASH: u32 = 0x0800_0000;
/// The secure view of flash in chips with TrustZone.
const SECURE_FLASH: u32 = 0x0C00_0000;

const OPEN: &str = "the level is 0 and flash can be read";
const LOCKED: &str = "the level is 1 and reading flash is refused; level 2 switches the port off, which gives no-debug-port";
const TRAPS: &str = "a read of flash at level 1 can stop the firmware until the next power-up: power-cycle the device afterwards; \
                     level 2 in the register of a port that answers is not in effect yet, and undetermined";
const REGRESSION: &str = "regression to level 0, which erases flash";

/// Where a family keeps its level.
struct Rdp {
    /// Name of the register.
    name: &'static str,
    address: u32,
    level: fn(u32) -> Level,
    /// Whether there is a secure view of flash.
    trust_zone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Zero,
    /// Secure memory only.
    Half,
    One,
    Two,
    /// The bits are of no level.
    Odd,
}

/// A byte in which everything that is not another level is level 1.
fn byte(value: u32) -> Level {
    match value & 0xFF {
        0xAA => Level::Zero,
        0xCC => Level::Two,
        _ => Level::One,
    }
}

fn second_byte(value: u32) -> Level {
    byte(value >> 8)
}

/// FLASH_OBR of F1: a single bit.
fn one_bit(value: u32) -> Level {
    if value & 1 << 1 == 0 { Level::Zero } else { Level::One }
}

/// FLASH_OBR of F0 and F3: two bits.
fn two_bits(value: u32) -> Level {
    match value >> 1 & 3 {
        0 => Level::Zero,
        1 => Level::One,
        3 => Level::Two,
        _ => Level::Odd,
    }
}

/// FLASH_OPTR of L5 and U5: level 0.5 exists with TrustZone (bit 31).
fn byte_with_half(value: u32) -> Level {
    match (value & 0xFF, value >> 31) {
        (0x55, 1) => Level::Half,
        (0x55, _) => Level::Odd,
        _ => byte(value),
    }
}

impl Rule for Rdp {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AP, WORDS).words(AP, &[self.address, FLASH]);
        if self.trust_zone {
            questions.words(AP, &[SECURE_FLASH]);
        }
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.control(AP) {
            return state;
        }
        let register = sheet.word(AP, self.address, self.name);
        let flash = sheet.word(AP, FLASH, "flash");
        let secure = if self.trust_zone { sheet.word(AP, SECURE_FLASH, "flash as secure") } else { Seen::Nothing };
        if flash == Seen::Refused {
            sheet.finding("a refused read of flash can stop the firmware until the next power-up: power-cycle the device");
        }
        // The register always has bits of both values; a bus that is off reads as all zeros or all ones.
        let Some(value) = register.value().filter(|&value| value != 0 && value != u32::MAX) else {
            return undetermined(format!("{} could not be read", self.name));
        };
        let level = (self.level)(value);
        let protected = if level == Level::Half { secure } else { flash };
        match level {
            Level::Zero if matches!(flash, Seen::Value(_)) => LockState::Open,
            Level::Zero => undetermined(format!("{} says level 0, and flash cannot be read", self.name)),
            // Any value that is not another level is this one, so the register alone would prove it for any register of any chip.
            Level::One | Level::Half if protected != Seen::Refused => {
                undetermined(format!("{} says that flash is protected, and reading it is not refused", self.name))
            }
            Level::One => LockState::ReadProtected { what: "flash (level 1)".into(), opened_by: REGRESSION.into() },
            Level::Half => LockState::ReadProtected { what: "secure memory (level 0.5)".into(), opened_by: REGRESSION.into() },
            Level::Two => undetermined(format!("{} says level 2, and the debug port answers", self.name)),
            Level::Odd => undetermined(format!("{} {value:#010x} is of no level", self.name)),
        }
    }
}

macro_rules! profiles {
    ($($profile:ident = $name:literal, $chips:expr, $register:literal @ $address:literal, $bits:literal, $level:expr, $trust_zone:literal,
       $source:literal, $certainty:ident;)*) => {
        $(pub(super) static $profile: Profile = Profile {
            name: $name,
            chips: &$chips,
            multidrop: None,
            reads: concat!($register, " ", stringify!($address), " ", $bits, ", flash at 0x08000000, through AP 0"),
            proves_open: OPEN,
            proves_locked: LOCKED,
            traps: TRAPS,
            source: $source,
            certainty: Certainty::$certainty,
            rule: &Rdp { name: $register, address: $address, level: $level, trust_zone: $trust_zone },
        };)*
    };
}

profiles! {
    F0F3 = "stm32-f0-f3", ["stm32f0", "stm32f3"], "FLASH_OBR" @ 0x4002_201C, "bits 2:1 (0 is level 0, 1 is 1, 3 is 2)", two_bits, false,
        "RM0091 and RM0316, chapters Embedded flash memory and Option byte", Documented;
    F1 = "stm32-f1", ["stm32f1"], "FLASH_OBR" @ 0x4002_201C, "bit 1 (RDPRT; there is no level 2)", one_bit, false,
        "PM0075, Flash programming manual of STM32F10xxx, section Option byte register", Documented;
    F2F4F7 = "stm32-f2-f4-f7", ["stm32f2", "stm32f4", "stm32f7"], "FLASH_OPTCR" @ 0x4002_3C14,
        "bits 15:8 (0xAA is level 0, 0xCC is 2, others 1)", second_byte, false,
        "RM0033, RM0090 and RM0385, chapter Embedded flash memory", Documented;
    L0 = "stm32-l0", ["stm32l0"], "FLASH_OPTR" @ 0x4002_201C, "bits 7:0 (0xAA is level 0, 0xCC is 2, others 1)", byte, false,
        "RM0367, chapter Flash program memory and data EEPROM", Documented;
    L1 = "stm32-l1", ["stm32l1"], "FLASH_OBR" @ 0x4002_3C1C, "bits 7:0 (0xAA is level 0, 0xCC is 2, others 1)", byte, false,
        "RM0038, chapter Flash program memory and data EEPROM", Documented;
    G0G4L4 = "stm32-g0-g4-l4", ["stm32g0", "stm32g4", "stm32l4", "stm32c0", "stm32u0"], "FLASH_OPTR" @ 0x4002_2020,
        "bits 7:0 (0xAA is level 0, 0xCC is 2, others 1)", byte, false,
        "RM0444, RM0440 and RM0351, chapter Embedded flash memory", Documented;
    WB = "stm32-wb-wl", ["stm32wb", "stm32wl"], "FLASH_OPTR" @ 0x5800_4020, "bits 7:0 (0xAA is level 0, 0xCC is 2, others 1)", byte, false,
        "RM0434 and RM0453, chapter Embedded flash memory; the radio core has a security of its own that is not read", Uncertain;
    H7 = "stm32-h7", ["stm32h7"], "FLASH_OPTSR_CUR" @ 0x5200_201C, "bits 15:8 (0xAA is level 0, 0xCC is 2, others 1)", second_byte, false,
        "RM0433, chapter Embedded flash memory", Documented;
    L5U5 = "stm32-l5-u5", ["stm32l5", "stm32u5", "stm32u3"], "FLASH_OPTR" @ 0x4002_2040,
        "bits 7:0 (0xAA is level 0, 0x55 with TZEN, bit 31, is 0.5, 0xCC is 2, others 1), secure flash at 0x0C000000", byte_with_half, true,
        "RM0438 and RM0456, chapter Embedded flash memory; passwords for going back from level 2 or 1 are not read", Uncertain;
}
