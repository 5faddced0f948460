//! Texas Instruments.

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet,
    question::WORDS,
    sheet::{not_in_effect, undetermined},
    transcript::Port,
};

const AP: Port = Port::Ap(0);

pub(super) static CC13: Profile = Profile {
    name: "cc13xx-cc26xx",
    chips: &["cc13", "cc26"],
    multidrop: None,
    reads: "through AP 0: CCFG_TAP_DAP_0 0x50003FE4, CCFG_TAP_DAP_1 0x50003FE8, code at 0x0",
    proves_open: "CPU_DAP_ENABLE (bits 23:16 of CCFG_TAP_DAP_0) is 0xC5, and code can be read",
    proves_locked: "nothing: a locked CPU is not put on the scan chain, so the debug port is silent",
    traps: "reached by JTAG through the ICEPick router only, which the bench does not drive yet; the ROM boot loader has a lock of its own; layouts of the x4 and x2x7 parts differ and are not covered",
    source: "CC13x2, CC26x2 Technical Reference Manual SWCU185, chapters JTAG interface and Device configuration",
    certainty: Certainty::Uncertain,
    rule: &TapDap,
};

struct TapDap;

const ENABLED: u32 = 0xC5;

impl Rule for TapDap {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AP, WORDS).words(AP, &[0x5000_3FE4, 0x5000_3FE8, 0x0]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.control(AP) {
            return state;
        }
        let access = sheet.word(AP, 0x5000_3FE4, "CCFG_TAP_DAP_0");
        sheet.word(AP, 0x5000_3FE8, "CCFG_TAP_DAP_1");
        let code = sheet.word(AP, 0x0, "code");
        match (access, code) {
            (Seen::Value(word), Seen::Value(_)) if word >> 16 & 0xFF == ENABLED => LockState::Open,
            (Seen::Value(_), Seen::Value(_)) => not_in_effect("the customer configuration disables the debug port of the CPU"),
            _ => undetermined("the debug port answers, and memory cannot be read"),
        }
    }
}
