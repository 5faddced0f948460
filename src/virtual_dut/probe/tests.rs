//! The probe with just enough device behind it to attach: memory and the debug register that halts, steps and releases the core.

use std::collections::BTreeMap;

use probe_rs::{
    MemoryInterface, Permissions, Session,
    architecture::arm::{ArmError, DapError},
    config::Registry,
    probe::{DebugProbeError, DebugProbeSelector, Probe, ProbeCreationError, WireProtocol, list::Lister},
};

use super::*;
use crate::virtual_dut::{BusFault, Size};

#[derive(Default)]
struct Core {
    words: BTreeMap<u32, u32>,
    dhcsr: u32,
    off: Arc<Mutex<(bool, u64)>>,
    nrst_falls: Arc<Mutex<u32>>,
}

const DHCSR: u32 = 0xE000_EDF0;

impl DebugTarget for Core {
    fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        match address & !3 {
            0x3000_0000..=0x3FFF_FFFF => Err(BusFault { address }),
            DHCSR => Ok(self.dhcsr | u32::from(self.dhcsr & 0b110 != 0) << 17 | 1 << 16),
            word => Ok(self.words.get(&word).copied().unwrap_or(0) >> (8 * (address & 3)) & size.mask()),
        }
    }
    fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        match (address & !3, size) {
            (0x3000_0000..=0x3FFF_FFFF, _) => return Err(BusFault { address }),
            (DHCSR, Size::Word) if value >> 16 == 0xA05F => self.dhcsr = value & 0xF,
            (DHCSR, _) => {}
            (word, _) => {
                let shift = 8 * (address & 3);
                let word = self.words.entry(word).or_default();
                *word = *word & !(size.mask() << shift) | value << shift;
            }
        }
        Ok(())
    }
    fn run(&mut self, _: u64) {}
    fn powered(&mut self) -> bool {
        !lock(&self.off).0
    }
    fn power_ups(&mut self) -> u64 {
        lock(&self.off).1
    }
    fn set_nrst(&mut self, high: bool) {
        *lock(&self.nrst_falls) += u32::from(!high);
    }
}

fn open(registered: &Registered) -> Result<Probe, DebugProbeError> {
    let selector = registered.selector().parse::<DebugProbeSelector>().unwrap();
    Lister::new().list(Some(&selector))[0].open()
}

fn attach(registered: &Registered) -> Session {
    static REGISTRY: std::sync::LazyLock<Registry> = std::sync::LazyLock::new(Registry::from_builtin_families);
    open(registered).unwrap().attach_with_registry("nRF51822_xxAA", Permissions::new(), &REGISTRY).unwrap()
}

#[test]
fn a_registered_device_is_listed_until_it_is_taken_away() {
    let listed = |serial: &str| Lister::new().list_all().iter().any(|probe| probe.serial_number.as_deref() == Some(serial));
    let registered = register("table-1", Core::default()).unwrap();
    let other = register("table-2", Core::default()).unwrap();
    assert!(listed("table-1") && listed("table-2"));
    assert_eq!(registered.selector(), "f055:0001:table-1");
    drop(registered);
    assert!(!listed("table-1") && listed("table-2"));
    drop(other);
}

#[test]
fn two_devices_cannot_have_one_serial_number_at_a_time() {
    let first = register("twice", Core::default()).unwrap();
    let error = register("twice", Core::default()).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    drop(first);
    register("twice", Core::default()).unwrap();
    assert!(register("a b", Core::default()).is_err() && register("", Core::default()).is_err());
}

#[test]
fn a_probe_has_one_user_at_a_time() {
    let registered = register("one-user", Core::default()).unwrap();
    let held = open(&registered).unwrap();
    let refused = open(&registered);
    assert!(matches!(refused, Err(DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::CouldNotOpen))), "{refused:?}");
    drop(held);
    open(&registered).unwrap();
    Lister::new().open(registered.selector().parse::<DebugProbeSelector>().unwrap()).unwrap();
}

#[test]
fn an_unplugged_probe_answers_with_errors() {
    let registered = register("unplugged", Core::default()).unwrap();
    let mut session = attach(&registered);
    drop(registered);
    assert!(session.core(0).and_then(|mut core| core.read_word_32(0x2000_0000)).is_err());
}

#[test]
fn memory_is_reached_in_words_and_bytes_across_the_increment_limit() {
    let registered = register("memory", Core::default()).unwrap();
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    let words: Vec<u32> = (0..700).map(|n: u32| n.wrapping_mul(0x9E37_79B9)).collect();
    core.write_32(0x2000_0004, &words).unwrap();
    let mut back = vec![0; words.len()];
    core.read_32(0x2000_0004, &mut back).unwrap();
    assert_eq!(back, words);
    core.write_8(0x2000_03FD, &[1, 2, 3, 4, 5]).unwrap();
    let mut bytes = [0; 7];
    core.read_8(0x2000_03FC, &mut bytes).unwrap();
    assert_eq!(bytes[1..6], [1, 2, 3, 4, 5]);
    assert_eq!(bytes[0], words[(0x3FC - 4) / 4].to_le_bytes()[0], "the neighbours stay");
    assert_eq!(bytes[6], words[(0x400 - 4) / 4].to_le_bytes()[2]);
}

#[test]
fn one_refused_read_does_not_spoil_the_next() {
    let registered = register("refused", Core::default()).unwrap();
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    core.write_word_32(0x2000_0000, 42).unwrap();
    let error = core.read_word_32(0x3000_0000).unwrap_err();
    assert!(format!("{error:?}").contains("FaultResponse"), "{error:?}");
    assert_eq!(core.read_word_32(0x2000_0000).unwrap(), 42);
    assert!(core.write_word_32(0x3000_0000, 1).is_err(), "a refused write is told by the write itself");
    assert_eq!(core.read_word_32(0x2000_0000).unwrap(), 42);
}

#[test]
fn the_sense_pin_shows_the_supply() {
    let off = Arc::new(Mutex::new((true, 0)));
    let registered = register("sense", Core { off: Arc::clone(&off), ..Core::default() }).unwrap();
    let mut probe = open(&registered).unwrap();
    assert_eq!(probe.get_target_voltage().unwrap(), Some(0.0));
    *lock(&off) = (false, 1);
    assert!(probe.get_target_voltage().unwrap() > Some(3.0));
}

#[test]
fn a_session_dies_with_the_supply_and_a_new_one_works() {
    let off = Arc::new(Mutex::new((false, 1)));
    let registered = register("cut", Core { off: Arc::clone(&off), ..Core::default() }).unwrap();
    let mut session = attach(&registered);
    *lock(&off) = (true, 1);
    let error = session.core(0).and_then(|mut core| core.read_word_32(0x2000_0000)).unwrap_err();
    assert!(matches!(error, probe_rs::Error::Arm(ArmError::Dap(DapError::NoAcknowledge))), "{error:?}");
    *lock(&off) = (false, 2);
    assert!(session.core(0).and_then(|mut core| core.read_word_32(0x2000_0000)).is_err(), "the debug port starts anew");
    drop(session);
    attach(&registered).core(0).unwrap().read_word_32(0x2000_0000).unwrap();
}

#[test]
fn the_reset_line_is_driven_and_read_back() {
    let falls = Arc::new(Mutex::new(0));
    let registered = register("nrst", Core { nrst_falls: Arc::clone(&falls), ..Core::default() }).unwrap();
    let mut probe = open(&registered).unwrap();
    probe.target_reset().unwrap();
    assert_eq!(*lock(&falls), 1);
    let pins = probe.try_as_dap_probe().unwrap();
    assert_eq!(pins.swj_pins(0, 1 << 7, 0).unwrap() & 1 << 7, 0);
    assert_eq!(pins.swj_pins(1 << 7, 1 << 7, 0).unwrap() & 1 << 7, 1 << 7);
    assert_eq!(pins.swj_pins(0, 1, 0).unwrap() & 1 << 7, 1 << 7, "other pins leave it alone");
    assert_eq!(*lock(&falls), 2);
    assert!(probe.select_protocol(WireProtocol::Jtag).is_err());
}

#[test]
fn equal_sessions_have_equal_traffic() {
    let session = |serial: &str, value: u32| {
        let registered = register(serial, Core::default()).unwrap();
        attach(&registered).core(0).unwrap().write_word_32(0x2000_0000, value).unwrap();
        registered.traffic()
    };
    let first = session("traffic", 1);
    assert_eq!(session("traffic", 1), first);
    let other = session("traffic", 2);
    assert_eq!(other.transfers, first.transfers);
    assert_ne!(other.digest, first.digest);
}
