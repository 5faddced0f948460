//! Raspberry Pi.

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet,
    question::{NON_SECURE_WORDS, WORDS},
    sheet::undetermined,
    transcript::{Port, mem_ap},
};

pub(super) static RP2040: Profile = Profile {
    name: "rp2040",
    chips: &["rp2040"],
    multidrop: Some(0x0100_2927),
    reads: "AP 0 of core 0: IDR, CSW, boot ROM at 0x10, RAM at 0x20000000",
    proves_open: "the boot ROM can be read and has its magic",
    proves_locked: "nothing: the chip has no lock",
    traps: "code is in a flash chip of its own, which can be read without the RP2040",
    source: "RP2040 Datasheet, sections 2.3.4 (SWD) and 2.8.3 (boot ROM contents)",
    certainty: Certainty::Documented,
    rule: &NoLock,
};

struct NoLock;

const CORE: Port = Port::Ap(0);
/// `M`, `u` and a version, three bytes from 0x10.
const ROM_MAGIC: u32 = 0x754D;

impl Rule for NoLock {
    fn ask(&self, questions: &mut Questions) {
        questions.open(CORE, WORDS).words(CORE, &[0x10, 0x2000_0000]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.control(CORE) {
            return state;
        }
        let magic = sheet.word(CORE, 0x10, "boot ROM magic");
        sheet.word(CORE, 0x2000_0000, "RAM");
        match magic {
            Seen::Value(word) if word & 0xFFFF == ROM_MAGIC => LockState::Open,
            Seen::Value(_) => undetermined("what answers has another boot ROM"),
            Seen::Refused | Seen::Nothing => {
                undetermined("the boot ROM cannot be read, and the chip has no lock that forbids it")
            }
        }
    }
}

pub(super) static RP2350: Profile = Profile {
    name: "rp2350",
    chips: &["rp2350", "rp235"],
    multidrop: None,
    reads: "RP-AP 0x80000: IDR; memory port of core 0 at 0x2000: CSW, boot ROM at 0x10 as secure and as non-secure, OTP CRITICAL 0x40120148",
    proves_open: "CSW.DeviceEn, the boot ROM can be read as secure, and CRITICAL has neither DEBUG_DISABLE nor SECURE_DEBUG_DISABLE",
    proves_locked: "RP-AP identifies itself, CSW.DeviceEn is 0, and reads are refused; the secure part alone: SDeviceEn is 0 and only non-secure reads work",
    traps: "OTP keys 5 and 6 and OTP.DEBUGEN change it at run time; the rescue reset of the RP-AP works on a locked chip; the cores may be RISC-V, and then nothing is proven",
    source: "RP2350 Datasheet, sections 3.5.9 (debug disable), 3.5.10 (RP-AP) and 13.9 (OTP registers)",
    certainty: Certainty::Uncertain,
    rule: &CriticalFlags,
};

struct CriticalFlags;

const CORE_0: Port = Port::ApAt(0x2000);
const RP_AP: Port = Port::ApAt(0x8_0000);
const CRITICAL: u32 = 0x4012_0148;
/// CRITICAL: all debugging, and that of secure code, is switched off.
const DISABLED: u32 = 1 << 2 | 1 << 1;

impl Rule for CriticalFlags {
    fn ask(&self, questions: &mut Questions) {
        questions.identify(RP_AP);
        questions.open(CORE_0, WORDS).words(CORE_0, &[0x10, CRITICAL]);
        questions.control(CORE_0, NON_SECURE_WORDS).words(CORE_0, &[0x10]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        let Seen::Value(rescue) = sheet.identification(RP_AP) else {
            return undetermined("the RP-AP does not identify itself");
        };
        let csw = match sheet.control(CORE_0) {
            Ok(csw) => csw,
            Err(state) => return state,
        };
        let rom = sheet.word_as(CORE_0, Some(WORDS), 0x10, "boot ROM magic");
        let flags = sheet.word_as(CORE_0, Some(WORDS), CRITICAL, "OTP CRITICAL");
        let open_part = sheet.word_as(CORE_0, Some(NON_SECURE_WORDS), 0x10, "boot ROM magic as non-secure");
        let (enabled, secure) = (csw & mem_ap::DEVICE_ENABLED != 0, csw & mem_ap::SECURE_ENABLED != 0);
        match (enabled, rom, flags) {
            (true, Seen::Value(_), Seen::Value(flags)) if flags & DISABLED == 0 => LockState::Open,
            (true, Seen::Value(_), Seen::Value(_)) => {
                sheet.finding("debugging is disabled in OTP and was opened by a key or by software: OTP.DEBUGEN");
                undetermined("OTP disables debugging, and memory can be read")
            }
            (true, Seen::Refused, _) if !secure && matches!(open_part, Seen::Value(_)) => LockState::ReadProtected {
                what: "secure memory".into(),
                opened_by: "the debug key of OTP page 5, if one is enrolled, or software".into(),
            },
            (true, ..) => undetermined("CSW.DeviceEn is set, and memory cannot be read"),
            (false, Seen::Refused, _) if rescue != 0 && open_part == Seen::Refused => {
                LockState::Locked { permanent: false, opened_by: "a debug key in OTP, if one is enrolled, or software".into() }
            }
            (false, ..) => undetermined("CSW.DeviceEn is clear, and whether memory is refused is not known"),
        }
    }
}
