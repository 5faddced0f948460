//! The debug probe: probe-rs over USB, as it would use a probe on a desk.

use lab::usb::{
    Cable, Fault,
    dap::{CmsisDap, SimpleTarget},
};
use probe_rs::{
    architecture::arm::{ArmDebugInterface, FullyQualifiedApAddress, dp::DpAddress, sequences::DefaultArmSequence},
    probe::{DebugProbeInfo, WireProtocol, list::Lister},
};

use crate::host::{eventually, in_guest};

const WORD: (u64, u32) = (0x2000_0000, 0xC0FF_EE01);

fn plugged(serial: &str) -> Cable {
    let mut cable = Cable::new(CmsisDap::with_target(serial, SimpleTarget::new([(WORD.0 as u32, WORD.1)])));
    cable.plug().unwrap();
    cable
}

fn listed(serial: &str) -> Option<DebugProbeInfo> {
    Lister::new().list_all().into_iter().find(|probe| probe.serial_number.as_deref() == Some(serial))
}

#[track_caller]
fn wait_listed(serial: &str) -> DebugProbeInfo {
    let mut found = None;
    eventually("probe-rs lists the probe", || {
        found = listed(serial);
        found.is_some()
    });
    found.unwrap()
}

fn attach(info: &DebugProbeInfo) -> Box<dyn ArmDebugInterface> {
    let mut probe = info.open().unwrap();
    probe.select_protocol(WireProtocol::Swd).unwrap();
    probe.set_speed(1000).unwrap();
    probe.attach_to_unspecified().unwrap();
    let mut arm = probe.try_into_arm_debug_interface(DefaultArmSequence::create()).map_err(|(_, error)| error).unwrap();
    arm.select_debug_port(DpAddress::Default).unwrap();
    arm
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn probe_rs_reads_and_writes_memory() {
    in_guest();
    let cable = plugged("PROBE1");
    let info = wait_listed("PROBE1");
    assert_eq!(info.probe_type(), "CMSIS-DAP");
    let mut arm = attach(&info);
    let mut memory = arm.memory_interface(&FullyQualifiedApAddress::v1_with_default_dp(0)).unwrap();
    assert_eq!(memory.read_word_32(WORD.0).unwrap(), WORD.1);
    let words: Vec<u32> = (0..700).map(|index| index * 3 + 1).collect();
    memory.write_32(0x2000_0100, &words).unwrap();
    let mut got = vec![0; words.len()];
    memory.read_32(0x2000_0100, &mut got).unwrap();
    assert_eq!(got, words);
    drop(cable);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_probe_that_hangs_or_is_pulled_is_an_error_and_not_a_hang() {
    in_guest();
    for pull in [false, true] {
        let mut cable = plugged("PROBE2");
        let mut arm = attach(&wait_listed("PROBE2"));
        let mut memory = arm.memory_interface(&FullyQualifiedApAddress::v1_with_default_dp(0)).unwrap();
        if pull {
            cable.unplug().unwrap();
        } else {
            cable.fault(Fault::Hang);
        }
        assert!(memory.read_word_32(WORD.0).is_err());
        cable.unplug().unwrap();
        assert!(listed("PROBE2").is_none());
    }
}
