//! NXP.

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet,
    question::WORDS,
    sheet::{not_in_effect, undetermined},
    transcript::{Port, mem_ap},
};

const AP: Port = Port::Ap(0);

pub(super) static KINETIS: Profile = Profile {
    name: "kinetis",
    chips: &["mk", "s32k11", "s32k14"],
    multidrop: None,
    reads: "MDM-AP (AP 1): IDR, STATUS 0x00 32 times; through AP 0: code at 0x0, FSEC in the word at 0x40C",
    proves_open: "MDM-AP identifies itself, System Security (bit 2) is 0 in all reads, Flash Ready (bit 1) is 0 in 8 at most, and code can be read",
    proves_locked: "MDM-AP identifies itself, System Security is 1 in at least 25 reads of 32, Flash Ready is 0 in 8 at most, and code cannot be read; for good if Mass Erase Enable (bit 5) and Backdoor Key Enable (bit 6) are 0",
    traps: "System Security is set during every reset, so a chip that resets in a loop looks secured: hence the vote, which is OpenOCD's",
    source: "K64 Sub-Family Reference Manual K64P144M120SF5RM, chapters Debug (MDM-AP) and FTFE; KL25 likewise",
    certainty: Certainty::Documented,
    rule: &Mdm,
};

struct Mdm;

const MDM: Port = Port::Ap(1);
const READS: usize = 32;
const SECURED: usize = 25;
const NOT_READY: usize = 8;

mod status {
    pub(super) const FLASH_READY: u32 = 1 << 1;
    pub(super) const SECURITY: u32 = 1 << 2;
    pub(super) const MASS_ERASE: u32 = 1 << 5;
    pub(super) const BACKDOOR: u32 = 1 << 6;
}

impl Rule for Mdm {
    fn ask(&self, questions: &mut Questions) {
        questions.identify(MDM);
        for _ in 0..READS {
            questions.register(MDM, 0x00);
        }
        questions.open(AP, WORDS).words(AP, &[0x0, 0x40C]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        // Bits 7 to 4 are the revision.
        if let Err(state) = sheet.vendor_port(MDM, !0xF0, 0x001C_0000, "the MDM-AP of a Kinetis") {
            return state;
        }
        let reads = sheet.every(MDM, 0x00);
        sheet.register(MDM, 0x00, "MDM-AP STATUS");
        let code = sheet.word(AP, 0x0, "code");
        let security = sheet.word(AP, 0x40C, "FSEC, FOPT");
        if reads.len() < READS {
            return undetermined(format!("STATUS was read {} times of {READS}", reads.len()));
        }
        let count = |bit: u32, set: bool| reads.iter().filter(|&&value| (value & bit != 0) == set).count();
        let (secured, not_ready) = (count(status::SECURITY, true), count(status::FLASH_READY, false));
        sheet.finding(format!("secured in {secured} and flash not ready in {not_ready} of {} reads", reads.len()));
        if not_ready > NOT_READY {
            return undetermined("the flash controller is not ready: the chip may be resetting in a loop");
        }
        match (secured, code) {
            (0, Seen::Value(_)) => match security {
                Seen::Value(word) if word & 3 != 2 => not_in_effect("FSEC secures the chip"),
                _ => LockState::Open,
            },
            (0, _) => undetermined("STATUS says unsecured, and code cannot be read"),
            (SECURED.., word) if word.shows_content() => undetermined("STATUS says secured, and code can be read"),
            (SECURED.., _) => {
                let can = |bit: u32| count(bit, true) >= SECURED;
                let cannot = count(status::MASS_ERASE, false).min(count(status::BACKDOOR, false)) >= SECURED;
                let opened_by = match (can(status::MASS_ERASE), can(status::BACKDOOR)) {
                    (true, true) => "mass erase by the MDM-AP, or the back-door key",
                    (true, false) => "mass erase by the MDM-AP",
                    (false, true) => "the back-door key, which the firmware has to take",
                    (false, false) if cannot => "nothing: mass erase and back-door key are disabled",
                    (false, false) => "unknown: whether mass erase is enabled differs from read to read",
                };
                LockState::Locked { permanent: cannot, opened_by: opened_by.into() }
            }
            _ => undetermined("STATUS says secured in some reads and not in others"),
        }
    }
}

pub(super) static LPC_CRP: Profile = Profile {
    name: "lpc-crp",
    chips: &["lpc8", "lpc11", "lpc12", "lpc13", "lpc15", "lpc17", "lpc40", "lpc541", "lpc546"],
    multidrop: None,
    reads: "code at 0x0 and the CRP word at 0x2FC, through AP 0",
    proves_open: "both can be read, and the CRP word is none of CRP1 to CRP3",
    proves_locked: "AP 0 is a memory access port, and both reads are refused; which CRP level it is cannot be told",
    traps: "with CRP most chips switch SWD off altogether, which gives no-debug-port; NO_ISP (0x4E697370) closes the ISP and leaves SWD open",
    source: "LPC111x User manual UM10398, LPC81x UM10601, LPC17xx UM10360, chapters on code read protection",
    certainty: Certainty::Documented,
    rule: &Crp,
};

struct Crp;

const CRP_WORD: u32 = 0x2FC;

impl Rule for Crp {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AP, WORDS).words(AP, &[CRP_WORD, 0x0]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.control(AP) {
            return state;
        }
        let word = sheet.word(AP, CRP_WORD, "CRP");
        let code = sheet.word(AP, 0x0, "code");
        match (word, code) {
            (Seen::Value(0x1234_5678), _) => not_in_effect("the CRP word is that of CRP1"),
            (Seen::Value(0x8765_4321), _) => not_in_effect("the CRP word is that of CRP2"),
            (Seen::Value(0x4321_8765), _) => not_in_effect("the CRP word is that of CRP3"),
            (Seen::Value(crp), Seen::Value(_)) => {
                if crp == 0x4E69_7370 {
                    sheet.finding("NO_ISP: the boot loader's ISP is closed");
                } else if [0x1234_5678_u32, 0x8765_4321, 0x4321_8765].map(u32::swap_bytes).contains(&crp) {
                    sheet.finding("the CRP word has its bytes in the wrong order, so it protects nothing");
                }
                LockState::Open
            }
            (Seen::Refused, Seen::Refused) => {
                // The manuals speak of SWD being disabled; how far a given part goes is not documented.
                sheet.doubtful = true;
                LockState::Locked {
                    permanent: false,
                    opened_by: "erasing by ISP up to CRP2; CRP3 leaves it to the firmware".into(),
                }
            }
            _ => undetermined("one of CRP word and code can be read and the other cannot"),
        }
    }
}

pub(super) static LPC55: Profile = Profile {
    name: "lpc55",
    chips: &["lpc55"],
    multidrop: None,
    reads: "debug mailbox (AP 2): IDR; AP 0: CSW, code at 0x0, CC_SOCU_PIN 0x9E410, CC_SOCU_DFLT 0x9E414",
    proves_open: "CSW.DeviceEn of AP 0, and code can be read",
    proves_locked: "the mailbox identifies itself (IDR 0x002A0000), CSW.DeviceEn of AP 0 is 0, and both memory reads are refused",
    traps: "an open chip looks locked while its boot ROM runs and without a valid image; starting a debug session would tell, and resets the chip; the mailbox answers in any case",
    source: "LPC55S6x User manual UM11126, chapters Debug subsystem and PFR (CMPA)",
    certainty: Certainty::Uncertain,
    rule: &Mailbox,
};

struct Mailbox;

const MAILBOX: Port = Port::Ap(2);

impl Rule for Mailbox {
    fn ask(&self, questions: &mut Questions) {
        questions.identify(MAILBOX);
        questions.open(AP, WORDS).words(AP, &[0x0, 0x0009_E410, 0x0009_E414]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        let mailbox = sheet.identification(MAILBOX);
        let csw = match sheet.control(AP) {
            Ok(csw) => csw,
            Err(state) => return state,
        };
        let code = sheet.word(AP, 0x0, "code");
        let pin = sheet.word(AP, 0x0009_E410, "CC_SOCU_PIN");
        sheet.word(AP, 0x0009_E414, "CC_SOCU_DFLT");
        match (csw & mem_ap::DEVICE_ENABLED != 0, code, pin) {
            (true, Seen::Value(_), _) => LockState::Open,
            (true, ..) => undetermined("CSW.DeviceEn is set, and code cannot be read"),
            (false, Seen::Refused, Seen::Refused) if mailbox == Seen::Value(0x002A_0000) => {
                sheet.finding("an open chip without a valid image, or in its boot ROM, looks the same");
                LockState::Locked { permanent: false, opened_by: "debug authentication, if its keys are provisioned".into() }
            }
            (false, Seen::Refused, Seen::Refused) => {
                undetermined("memory is refused, and the debug mailbox does not identify itself")
            }
            (false, ..) => undetermined("CSW.DeviceEn is clear, and reads of memory are not refused"),
        }
    }
}
