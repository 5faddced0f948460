//! Silicon Labs.

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet,
    question::WORDS,
    sheet::{not_in_effect, undetermined},
    transcript::{Port, mem_ap},
};

const AP: Port = Port::Ap(0);

pub(super) static EFM32: Profile = Profile {
    name: "efm32",
    chips: &["efm32", "efr32bg1", "efr32fg1", "efr32mg1"],
    multidrop: None,
    reads: "IDR of AP 0; through it, if it is the AHB-AP: debug lock word 0x0FE041FC, code at 0x0",
    proves_open: "AP 0 is a memory access port, code can be read, and the debug lock word (bits 3:0) is 0xF",
    proves_locked: "AP 0 is the authentication access port (AAP): IDR 0x16E60001 or 0x26E60011",
    traps: "in the AAP the offset of CSW is the command register, so nothing is written before IDR is read; the lock word takes effect with a reset",
    source: "EFM32 Series 0 and Series 1 reference manuals, chapter DBG (AAP); AN0062",
    certainty: Certainty::Documented,
    rule: &Aap,
};

struct Aap;

/// Debug lock word: word 127 of the lock bits page.
const LOCK_WORD: u32 = 0x0FE0_41FC;

impl Rule for Aap {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AP, WORDS).words(AP, &[LOCK_WORD, 0x0]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Seen::Value(0x16E6_0001 | 0x26E6_0011) = sheet.identification(AP) {
            return LockState::Locked {
                permanent: false,
                opened_by: "DEVICEERASE of the authentication access port, unless series 1 has that locked as well".into(),
            };
        }
        if let Err(state) = sheet.control(AP) {
            return state;
        }
        let lock = sheet.word(AP, LOCK_WORD, "debug lock word");
        let code = sheet.word(AP, 0x0, "code");
        match (lock, code) {
            (Seen::Value(word), Seen::Value(_)) if word & 0xF == 0xF => LockState::Open,
            (Seen::Value(_), Seen::Value(_)) => not_in_effect("the debug lock word locks"),
            (_, Seen::Value(_)) => undetermined("code can be read, and the debug lock word cannot"),
            _ => undetermined("AP 0 is a memory access port, and code cannot be read"),
        }
    }
}

pub(super) static EFR32_S2: Profile = Profile {
    name: "efr32-s2",
    chips: &["efm32pg2", "efr32bg2", "efr32fg2", "efr32mg2", "efr32zg2", "bgm21", "bgm22", "bgm24", "mgm21", "mgm22", "mgm24"],
    multidrop: None,
    reads: "AP 0: CSW, words at 0x0 and 0x08000000 (flash is at one of them); through AP 1: identification of the challenge interface 0x10FC",
    proves_open: "CSW.DeviceEn of AP 0, and flash can be read",
    proves_locked: "the challenge interface identifies itself (0x000DC11D), CSW.DeviceEn of AP 0 is 0, and nothing can be read through it",
    traps: "which of standard, secure and permanent lock it is, is told by a command of the challenge interface, which is a write and not made",
    source: "AN1303 (challenge interface), AN1190 (secure debug)",
    certainty: Certainty::Uncertain,
    rule: &Challenge,
};

struct Challenge;

const DCI: Port = Port::Ap(1);
const DCI_ID: u32 = 0x10FC;

impl Rule for Challenge {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AP, WORDS).words(AP, &[0x0, 0x0800_0000]);
        questions.open(DCI, WORDS).words(DCI, &[DCI_ID]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        let csw = match sheet.control(AP) {
            Ok(csw) => csw,
            Err(state) => return state,
        };
        let flash = [sheet.word(AP, 0x0, "word"), sheet.word(AP, 0x0800_0000, "word")];
        let challenge = sheet.word(DCI, DCI_ID, "DCIID");
        let enabled = csw & mem_ap::DEVICE_ENABLED != 0;
        let refused = flash.iter().all(|word| *word == Seen::Refused);
        match (enabled, challenge) {
            (true, _) if flash.iter().any(|word| word.shows_content()) => LockState::Open,
            (true, _) => undetermined("CSW.DeviceEn is set, and flash cannot be read"),
            (false, _) if !refused => undetermined("CSW.DeviceEn is clear, and reads of memory are not refused"),
            (false, Seen::Value(0x000D_C11D)) => LockState::Locked {
                permanent: false,
                opened_by: "device erase or an unlock token, if the lock properties allow either; they were not asked for".into(),
            },
            (false, _) => undetermined("memory is refused, and the challenge interface does not identify itself"),
        }
    }
}
