//! Nordic Semiconductor.

use super::{
    Certainty, LockState, Profile, Questions, Rule, Seen, Sheet,
    question::{NON_SECURE_WORDS, WORDS},
    sheet::{not_in_effect, undetermined},
    transcript::{Port, mem_ap},
};

const AHB: Port = Port::Ap(0);
const ERASES_ALL: &str = "ERASEALL of the control port, which erases flash, UICR and RAM";

pub(super) static NRF51: Profile = Profile {
    name: "nrf51",
    chips: &["nrf51"],
    multidrop: None,
    reads: "UICR.RBPCONF 0x10001004, UICR.CLENR0 0x10001000, code at 0x0 and 0x4, through AP 0",
    proves_open: "RBPCONF.PALL (bits 15:8) is 0xFF and code reads as other than zero",
    proves_locked: "PALL is 0x00 (all code), or PR0 (bits 7:0) is 0x00 with a region 0 (that region), and code reads as zero or is refused",
    traps: "protected code does not fault but reads as zero; there is no control port; a changed RBPCONF takes effect with a reset",
    source: "nRF51 Series Reference Manual v3.0, chapters UICR and Memory protection",
    certainty: Certainty::Documented,
    rule: &Rbpconf,
};

struct Rbpconf;

impl Rule for Rbpconf {
    fn ask(&self, questions: &mut Questions) {
        questions.open(AHB, WORDS).words(AHB, &[0x1000_1004, 0x1000_1000, 0x0, 0x4]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.control(AHB) {
            return state;
        }
        let Some(protection) = sheet.word(AHB, 0x1000_1004, "UICR.RBPCONF").value() else {
            return undetermined("UICR could not be read, which no protection of this chip forbids");
        };
        let region = sheet.word(AHB, 0x1000_1000, "UICR.CLENR0").value();
        let code = [sheet.word(AHB, 0x0, "code"), sheet.word(AHB, 0x4, "code")];
        let shown = code.iter().any(|word| word.shows_content());
        // A vector table has no zeros in its first two entries, so zeros are what protection shows.
        let hidden = code.iter().all(|word| matches!(word, Seen::Value(0) | Seen::Refused));
        let region = region.filter(|&length| length != u32::MAX && length != 0);
        let what = match (protection >> 8 & 0xFF, protection & 0xFF, region) {
            (0x00, ..) => "all code".to_owned(),
            (0xFF, 0x00, Some(length)) => format!("code region 0, the first {length} bytes"),
            (0xFF, 0xFF, _) | (0xFF, 0x00, None) if shown => return LockState::Open,
            (0xFF, 0xFF, _) | (0xFF, 0x00, None) => return undetermined("RBPCONF protects nothing, and code cannot be read"),
            _ => return undetermined(format!("RBPCONF {protection:#010x} is neither on nor off")),
        };
        match (hidden, shown) {
            (true, _) => LockState::ReadProtected { what, opened_by: "erasing all of flash and UICR through the NVMC".into() },
            (_, true) => not_in_effect(&format!("RBPCONF protects {what}")),
            _ => undetermined("RBPCONF protects code, and whether code can be read is not known"),
        }
    }
}

pub(super) static NRF52: Profile = Profile {
    name: "nrf52",
    chips: &["nrf52"],
    multidrop: None,
    reads: "control port (AP 1): IDR, APPROTECTSTATUS 0x0C; through AP 0: FICR.INFO.PART and .VARIANT, UICR.APPROTECT 0x10001208, code at 0x0",
    proves_open: "control port identifies itself, APPROTECTSTATUS bit 0 is 1, and memory can be read",
    proves_locked: "control port identifies itself, APPROTECTSTATUS bit 0 is 0, and no memory can be read",
    traps: "hardened revisions lock at every reset until software opens them, so the state depends on the moment; 0x5A in UICR.APPROTECT opens them and locks older ones",
    source: "nRF52840 Product Specification v1.7, chapters Debug and trace (CTRL-AP) and UICR; revisions by the table in pyOCD",
    certainty: Certainty::Documented,
    rule: &Approtect,
};

struct Approtect;

const CTRL: Port = Port::Ap(1);
/// IDR of the control port without its revision: Nordic's JEP106 code, class and type 0.
const CTRL_AP: u32 = 0x0288_0000;
const WITHOUT_REVISION: u32 = 0x0FFF_FFFF;

/// Parts, and the first revision that needs software to open the port.
const HARDENED: &[(u32, [u8; 2])] = &[
    (0x52805, *b"B0"),
    (0x52810, *b"E0"),
    (0x52811, *b"B0"),
    (0x52820, *b"D0"),
    (0x52832, *b"G0"),
    (0x52833, *b"B0"),
    (0x52840, *b"F0"),
];

impl Rule for Approtect {
    fn ask(&self, questions: &mut Questions) {
        questions.identify(CTRL).register(CTRL, 0x0C);
        questions.open(AHB, WORDS).words(AHB, &[0x1000_0100, 0x1000_0104, 0x1000_1208, 0x0]);
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        if let Err(state) = sheet.vendor_port(CTRL, WITHOUT_REVISION, CTRL_AP, "a control port of Nordic") {
            return state;
        }
        let Some(status) = sheet.register(CTRL, 0x0C, "APPROTECTSTATUS").value() else {
            return undetermined("APPROTECTSTATUS could not be read");
        };
        let part = sheet.word(AHB, 0x1000_0100, "FICR.INFO.PART").value();
        let variant = sheet.word(AHB, 0x1000_0104, "FICR.INFO.VARIANT").value();
        let configured = sheet.word(AHB, 0x1000_1208, "UICR.APPROTECT").value();
        let code = sheet.word(AHB, 0x0, "code");
        if let (Some(part), Some(variant)) = (part, variant)
            && let Some((_, first)) = HARDENED.iter().find(|(known, _)| *known == part)
        {
            // Four letters, the last two of which are the revision.
            let revision = variant.to_be_bytes();
            if revision[2..] >= first[..] {
                sheet.finding("this revision is locked after each reset until software opens it: read it at several moments");
            } else if configured.is_some_and(|value| value & 0xFF == 0x5A) {
                sheet.finding("UICR.APPROTECT is 0x5A, which locks a chip of this revision at the next reset");
            }
        }
        match (status & 1, code) {
            (1, Seen::Value(_)) => LockState::Open,
            (1, _) => undetermined("APPROTECTSTATUS says unlocked, and memory cannot be read"),
            (_, word) if word.shows_content() => undetermined("APPROTECTSTATUS says locked, and memory can be read"),
            _ => LockState::Locked { permanent: false, opened_by: ERASES_ALL.into() },
        }
    }
}

pub(super) static NRF53: Profile = Profile {
    name: "nrf53",
    chips: &["nrf53"],
    multidrop: None,
    reads: "both control ports (AP 2, AP 3): IDR; 0x0C and 0x18 of AP 2 (kept, not judged); both memory ports (AP 0, AP 1): CSW, code, application code also as non-secure",
    proves_open: "any core: CSW.DeviceEn, for the application SDeviceEn too, and its code can be read",
    proves_locked: "both cores: the control port identifies itself, CSW.DeviceEn is 0, and reads are refused; the secure part alone: SDeviceEn is 0 and only non-secure reads work",
    traps: "the network core may be held off by the application, and is then undetermined; an open network core opens the verdict; sources differ on where the protection status is (0x0C or 0x10)",
    source: "nRF5340 Product Specification v1.3, chapter Debug and trace; CSW as probe-rs uses it",
    certainty: Certainty::Uncertain,
    rule: &TrustZone {
        control: 0x1288_0000,
        status: None,
        others: &[(0x0C, "APPROTECT status"), (0x18, "ERASEPROTECT.STATUS")],
        cores: &[
            Core { name: "application", ahb: Port::Ap(0), ctrl: Port::Ap(2), code: 0x0, secure: true },
            Core { name: "network", ahb: Port::Ap(1), ctrl: Port::Ap(3), code: 0x0100_0000, secure: false },
        ],
    },
};

pub(super) static NRF91: Profile = Profile {
    name: "nrf91",
    chips: &["nrf91"],
    multidrop: None,
    reads: "control port (AP 4): IDR, APPROTECTSTATUS 0x0C, ERASEPROTECT.STATUS 0x18; AP 0: CSW, code at 0x0 as secure and as non-secure",
    proves_open: "both status bits are 1, CSW.DeviceEn, and code can be read",
    proves_locked: "status bit 0 is 0, CSW.DeviceEn is 0, and nothing can be read; the secure part alone: bit 1 is 0 and only non-secure reads work",
    traps: "a status of 1 or 2 is half a lock, which tools that compare with 0 call unlocked",
    source: "nRF9160 Product Specification v2.1, chapter Debug and trace (CTRL-AP)",
    certainty: Certainty::Documented,
    rule: &TrustZone {
        control: 0x1288_0000,
        status: Some(0x0C),
        others: &[(0x18, "ERASEPROTECT.STATUS")],
        cores: &[Core { name: "application", ahb: Port::Ap(0), ctrl: Port::Ap(4), code: 0x0, secure: true }],
    },
};

pub(super) static NRF54L: Profile = Profile {
    name: "nrf54l",
    chips: &["nrf54l"],
    multidrop: None,
    reads: "control port (AP 2): IDR, APPROTECT status 0x14 and ERASEPROTECT status 0x0C (kept, not judged); AP 0: CSW, code at 0x0 as secure and as non-secure",
    proves_open: "CSW.DeviceEn and CSW.SDeviceEn, and code can be read",
    proves_locked: "control port identifies itself, CSW.DeviceEn is 0, and reads are refused; the secure part alone: SDeviceEn is 0 and only non-secure reads work",
    traps: "the status registers are elsewhere than in nRF91",
    source: "nRF54L15 Datasheet, chapter CTRL-AP; CSW as probe-rs and pyOCD use it",
    certainty: Certainty::Uncertain,
    rule: &TrustZone {
        control: 0x3288_0000,
        status: None,
        others: &[(0x14, "APPROTECT status"), (0x0C, "ERASEPROTECT status")],
        cores: &[Core { name: "application", ahb: Port::Ap(0), ctrl: Port::Ap(2), code: 0x0, secure: true }],
    },
};

/// Chips with a control port per core, of which some have a secure part.
struct TrustZone {
    /// IDR of the control ports.
    control: u32,
    /// Register with protection in bit 0 and that of the secure part in bit 1; 0 is protected.
    status: Option<u16>,
    /// Registers of the first control port that are kept for the record.
    others: &'static [(u16, &'static str)],
    cores: &'static [Core],
}

struct Core {
    name: &'static str,
    ahb: Port,
    ctrl: Port,
    /// First word of its code.
    code: u32,
    /// Whether it has a secure part.
    secure: bool,
}

/// What is proven of one core.
enum Proven {
    Open,
    SecurePart,
    Locked,
    Not(LockState),
}

impl TrustZone {
    fn core(&self, core: &Core, sheet: &mut Sheet<'_>) -> Proven {
        let not = |why: String| Proven::Not(undetermined(format!("{} core: {why}", core.name)));
        if let Err(state) = sheet.vendor_port(core.ctrl, u32::MAX, self.control, "a control port of this family") {
            return Proven::Not(state);
        }
        let status = match self.status.map(|register| sheet.register(core.ctrl, register, "APPROTECTSTATUS")) {
            None => None,
            Some(Seen::Value(value)) => Some(value),
            Some(_) => return not("its protection status could not be read".into()),
        };
        let csw = match sheet.control(core.ahb) {
            Ok(csw) => csw,
            Err(state) => return Proven::Not(state),
        };
        let enabled = csw & mem_ap::DEVICE_ENABLED != 0;
        let code = sheet.word_as(core.ahb, Some(WORDS), core.code, "code");
        let open_part =
            if core.secure { sheet.word_as(core.ahb, Some(NON_SECURE_WORDS), core.code, "code as non-secure") } else { code };
        let secure_enabled = match status {
            Some(status) => status & 2 != 0,
            None => csw & mem_ap::SECURE_ENABLED != 0,
        };
        if status.is_some_and(|status| (status & 1 != 0) != enabled) {
            return not("protection status and CSW.DeviceEn contradict each other".into());
        }
        let readable = code.shows_content() || open_part.shows_content();
        match (enabled, secure_enabled || !core.secure) {
            (false, _) if status.is_none() && code != Seen::Refused => {
                not("CSW.DeviceEn is clear, and reads of memory are not refused".into())
            }
            (false, _) if readable => not("it is locked, and memory can be read".into()),
            (false, _) => Proven::Locked,
            (true, true) if matches!(code, Seen::Value(_)) => Proven::Open,
            (true, false) if open_part == Seen::Nothing || code.shows_content() => {
                not("its secure part is locked, and what can be read does not fit that".into())
            }
            (true, false) if code == Seen::Nothing => not("its secure part was not tried".into()),
            (true, false) => Proven::SecurePart,
            (true, true) => not("it is not locked, and memory cannot be read".into()),
        }
    }
}

impl Rule for TrustZone {
    fn ask(&self, questions: &mut Questions) {
        for core in self.cores {
            questions.identify(core.ctrl);
            if let Some(register) = self.status {
                questions.register(core.ctrl, register);
            }
        }
        for core in self.cores.iter().take(1) {
            for (register, _) in self.others {
                questions.register(core.ctrl, *register);
            }
        }
        for core in self.cores {
            questions.open(core.ahb, WORDS).words(core.ahb, &[core.code]);
            if core.secure {
                questions.control(core.ahb, NON_SECURE_WORDS).words(core.ahb, &[core.code]);
            }
        }
    }

    fn decode(&self, sheet: &mut Sheet<'_>) -> LockState {
        let cores: Vec<Proven> = self.cores.iter().map(|core| self.core(core, sheet)).collect();
        for core in self.cores.iter().take(1) {
            for (register, name) in self.others {
                sheet.register(core.ctrl, *register, name);
            }
        }
        // One open core is enough to read what the others hold in shared memory; for a lock, all have to be proven locked.
        if let Some(core) = self.cores.iter().zip(&cores).find(|(_, proven)| matches!(proven, Proven::Open)) {
            sheet.finding(format!("the {} core is open", core.0.name));
            return LockState::Open;
        }
        let (mut locked, mut unknown) = (true, None);
        for proven in cores {
            match proven {
                Proven::Not(state) => unknown = unknown.or(Some(state)),
                Proven::Open | Proven::SecurePart => locked = false,
                Proven::Locked => {}
            }
        }
        match unknown {
            Some(state) => state,
            None if locked => {
                LockState::Locked { permanent: false, opened_by: format!("{ERASES_ALL}, unless erasing is protected") }
            }
            None => LockState::ReadProtected { what: "secure memory".into(), opened_by: ERASES_ALL.into() },
        }
    }
}
