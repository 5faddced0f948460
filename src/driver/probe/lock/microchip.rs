//! Microchip SAM D, E5, L2, DA1, C2 (Cortex-M0+ and M4 with a device service unit).

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet, question::WORDS, sheet::undetermined, transcript::Port,
};

const AP: Port = Port::Ap(0);

pub(super) static SAM: Profile = Profile {
    name: "sam-d-e",
    chips: &["atsamd", "atsame5", "atsamda1", "atsaml21", "atsaml22", "atsamc2", "atsamr"],
    multidrop: None,
    reads: "DSU CTRL/STATUSA/STATUSB as a word at 0x41002100 and DID at 0x41002118 (the external view), code at 0x0, through AP 0",
    proves_open: "DID is plausible, STATUSB.PROT (bit 16 of the word) is 0, and code can be read",
    proves_locked: "DID is plausible, PROT is 1, and code cannot be read; STATUSB.CELCK (bit 21, SAM D5x and E5x) says whether erasing is locked too",
    traps: "PROT is set at power-up and never cleared, so it tells of the last power-up; L10 and L11 have access levels instead and are not covered",
    source: "SAM D21 data sheet DS40001882, chapter DSU; SAM D5x/E5x data sheet DS60001507, chapter DSU",
    certainty: Certainty::Documented,
    rule: &Dsu,
};

struct Dsu;

const PROT: u32 = 1 << 16;
const CELCK: u32 = 1 << 21;

impl Rule for Dsu {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AP, WORDS).words(AP, &[0x4100_2100, 0x4100_2118, 0x0]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.control(AP) {
            return state;
        }
        let status = sheet.word(AP, 0x4100_2100, "DSU CTRL, STATUSA, STATUSB").value();
        let identified = sheet.word(AP, 0x4100_2118, "DSU DID").value();
        let code = sheet.word(AP, 0x0, "code");
        let Some(status) = status.filter(|&value| value != u32::MAX) else {
            return undetermined("the status of the device service unit could not be read");
        };
        // The processor field is 1 for Cortex-M0+ and 6 for M4; anything else is no SAM of this kind.
        if !identified.is_some_and(|value| matches!(value >> 28, 1 | 6)) {
            return undetermined("what answers is not the device service unit of a SAM D or E");
        }
        match (status & PROT != 0, code) {
            (false, Seen::Value(_)) => LockState::Open,
            (false, _) => undetermined("STATUSB.PROT says unprotected, and code cannot be read"),
            (true, word) if word.shows_content() => undetermined("STATUSB.PROT says protected, and code can be read"),
            (true, _) if status & CELCK != 0 => LockState::Locked {
                permanent: false,
                opened_by: "chip erase, once the firmware has lifted the chip-erase lock".into(),
            },
            (true, _) => LockState::Locked { permanent: false, opened_by: "chip erase by the device service unit".into() },
        }
    }
}
