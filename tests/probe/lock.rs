//! The lock of a device from raw reads, through the bench's link.

use std::process::Command;

use hilbench::{
    driver::probe::lock::{self, Answer, Family, LockState, Port, Supply, Transcript},
    virtual_dut::{
        FLASH_SIZE,
        probe::{Registered, register},
    },
};

use super::device::{Device, Silent, counting_program};
use crate::{PROTECT_ALL, RBPCONF, link};

/// The verdict on a device, and the transcript that it was made from.
async fn lock(registered: &Registered) -> (LockState, Transcript) {
    let transcript = link(registered).read_lock(Family::Nrf51).await.expect("the bench works");
    (lock::decode(Family::Nrf51, &transcript).state, transcript)
}

#[tokio::test]
async fn the_lock_of_an_open_device_is_read_without_touching_it() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("lock-open");
    let (before, counted) = (device.flash(0, FLASH_SIZE), device.counter());
    let (state, transcript) = lock(&registered).await;
    assert_eq!(state, LockState::Open, "{transcript}");
    assert_eq!(transcript.supply, Supply::Millivolts(3300));
    assert_eq!(transcript.memory(Port::Ap(0), None, RBPCONF), Some(Answer::Ok(u32::MAX)));
    let asked: Vec<_> = transcript.exchanges.iter().map(|exchange| exchange.transaction).collect();
    assert_eq!(asked, lock::questions(Family::Nrf51), "everything was asked");
    assert_eq!(transcript.to_string().parse::<Transcript>().unwrap(), transcript, "evidence is read back");
    assert!(device.flash(0, FLASH_SIZE) == before);
    device.run(10_000);
    assert!(device.counter() > counted, "it was neither halted nor reset");
}

#[tokio::test]
async fn a_protected_device_is_read_protected() {
    let device = Device::running(&counting_program());
    device.preload(RBPCONF, &PROTECT_ALL);
    let registered = device.plug_in("lock-protected");
    let (state, transcript) = lock(&registered).await;
    let LockState::Undetermined { why } = state else { panic!("{transcript}") };
    assert!(why.contains("next reset"), "programmed, and not in effect: {why}");

    device.power(false);
    device.power(true);
    let (state, transcript) = lock(&registered).await;
    let LockState::ReadProtected { what, .. } = state else { panic!("{transcript}") };
    assert_eq!(what, "all code");
    assert_eq!(device.flash(0, 64), counting_program()[..64], "nothing was erased");
    let before = device.counter();
    device.run(10_000);
    assert!(device.counter() > before, "it runs");
}

#[tokio::test]
async fn a_device_without_supply_has_no_lock_state_and_is_not_asked() {
    let device = Device::running(&counting_program());
    device.power(false);
    let registered = device.plug_in("lock-off");
    let (state, transcript) = lock(&registered).await;
    assert!(matches!(state, LockState::Undetermined { .. }), "{state}");
    assert_eq!((transcript.supply, transcript.exchanges.len(), registered.traffic().transfers), (Supply::Millivolts(0), 0, 0));
}

#[tokio::test]
async fn a_powered_device_that_is_silent_has_no_debug_port() {
    let registered = register("lock-silent", Silent { sensed: false }).unwrap();
    let (state, transcript) = lock(&registered).await;
    assert_eq!(state, LockState::NoDebugPort, "{transcript}");
    assert_eq!(transcript.to_string(), "supply 3300 mV\ndp r 0x00 = no-ack\n");
}

#[tokio::test]
async fn another_chip_on_the_fixture_is_not_judged_by_the_wrong_rule() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("lock-other-family");
    let mut link = link(&registered);
    // The rules that read nothing but memory: no lock may be told from addresses that this chip does not have.
    for family in Family::ALL {
        if [Family::Nrf51, Family::Rp2040, Family::Rp2350].contains(&family) {
            continue;
        }
        let transcript = link.read_lock(family).await.unwrap();
        let state = lock::decode(family, &transcript).state;
        assert!(matches!(state, LockState::Undetermined { .. } | LockState::Open), "{family}: {state}\n{transcript}");
    }
    let error = link.read_lock(Family::Rp2350).await.unwrap_err();
    assert!(error.what.contains("wrong chip"), "{error}");
}

/// What would grant erasing to probe-rs' command-line tools grants nothing here: the tests of protection hold with the variable set.
#[test]
fn the_environment_does_not_grant_erasing() {
    for test in
        ["readback_protection_refuses_reads_and_only_erasing_all_opens_it", "probe::lock::a_protected_device_is_read_protected"]
    {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env("PROBE_RS_ALLOW_ERASE_ALL", "true")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    }
}
