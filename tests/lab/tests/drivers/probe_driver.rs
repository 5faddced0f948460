//! hilbench's probe driver over USB: CMSIS-DAP commands to an emulated nRF51822.

use std::{collections::BTreeMap, thread, time::Duration};

use hilbench::{
    channel::{
        link::{Driver, LinkError, Opened, Parameters, ProbeLink, Proof, Segment},
        probe::LockVerdict,
    },
    driver::probe::ProbeRs,
    virtual_dut::{Machine, MachineConfig},
};
use lab::usb::{
    Cable, Fault,
    dap::{CmsisDap, Nrf51},
};
use probe_rs::probe::list::Lister;

use crate::host::{block_on, eventually, in_guest};

/// Endpoints of the probe.
const COMMANDS: u8 = 0x01;
const ANSWERS: u8 = 0x82;

fn listed(serial: &str) -> bool {
    Lister::new().list_all().iter().any(|probe| probe.serial_number.as_deref() == Some(serial))
}

fn wait_listed(serial: &str) {
    eventually("probe-rs lists the probe", || listed(serial));
}

/// A device with power, with some bytes in its flash.
fn device() -> Nrf51 {
    let mut machine = Machine::new(MachineConfig::default());
    machine.preload(0, &image(1024)).unwrap();
    let device = Nrf51::new(machine);
    device.power(true);
    device
}

/// That device behind a probe that is plugged in and that probe-rs lists.
fn plugged(serial: &str) -> (Nrf51, Cable) {
    let device = device();
    let mut cable = Cable::new(CmsisDap::with_target(serial, device.port()));
    cable.plug().unwrap();
    wait_listed(serial);
    (device, cable)
}

fn parameters(serial: &str, more: &[(&str, &str)]) -> Parameters {
    let probe = format!("1209:0002:{serial}");
    let values = [("probe", probe.as_str()), ("chip", "nRF51822_xxAA")].into_iter().chain(more.iter().copied());
    let values: BTreeMap<_, _> = values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Parameters { values, ..Parameters::default() }
}

/// With the operations in a worker process, as on a bench.
async fn open(serial: &str, more: &[(&str, &str)]) -> Result<Box<dyn ProbeLink>, LinkError> {
    let driver = ProbeRs::with_worker(vec![env!("CARGO_BIN_EXE_lab").to_owned(), "probe-worker".to_owned()]);
    match driver.open(&parameters(serial, more)).await? {
        Opened::Probe(link) => Ok(link),
        _ => panic!("it is a probe"),
    }
}

/// Bytes that look random.
fn image(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// The bytes that [`device`] has at the beginning of its flash.
async fn works(link: &mut dyn ProbeLink) {
    assert_eq!(link.read(0, 1024).await.unwrap().expect("nothing is protected"), image(1024));
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn probe_rs_flashes_and_verifies_an_image_on_the_emulated_nrf51822_through_usb() {
    in_guest();
    let (device, _cable) = plugged("NRF51-FLASH");
    let bytes = image(5000);
    block_on(async {
        let mut link = open("NRF51-FLASH", &[]).await.unwrap();
        let proof = link.flash(vec![Segment { address: 0x4000, bytes: bytes.clone() }], false).await.unwrap();
        let Proof::Seen(witness) = proof else { panic!("it was read back") };
        assert!(witness.what.contains("wrote 5000 bytes"), "{}", witness.what);
        assert_eq!(link.read(0x4000, 5000).await.unwrap().unwrap(), bytes);
        works(link.as_mut()).await;
        let reading = link.lock_state(None).await.unwrap();
        assert_eq!(reading.verdict, LockVerdict::Open, "{}", reading.transcript);
        assert!(matches!(link.halt().await.unwrap(), Proof::Seen(_)));
        assert!(device.with(|machine| machine.is_halted()));
        works(link.as_mut()).await;
        assert!(device.with(|machine| machine.is_halted()), "reading does not let it run");
        assert!(matches!(link.resume().await.unwrap(), Proof::Seen(_)));
        assert!(!device.with(|machine| machine.is_halted()));
    });
    assert_eq!(device.with(|machine| machine.nv().read(0x4000, 5000)).unwrap(), bytes, "and it is in the flash");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_probe_that_misbehaves_is_a_fault_of_the_bench_and_works_again_afterwards() {
    in_guest();
    let faults = [
        Fault::Hang,
        Fault::HangEndpoint(ANSWERS),
        Fault::Stall(ANSWERS),
        Fault::Stall(COMMANDS),
        Fault::Short(ANSWERS, 1),
        Fault::Short(ANSWERS, 0),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let serial = format!("NRF51-FAULT-{number}");
        let (_device, mut cable) = plugged(&serial);
        block_on(async {
            let mut link = open(&serial, &[("operation-timeout", "20s"), ("returns-within", "1s")]).await.unwrap();
            works(link.as_mut()).await;
            cable.fault(fault);
            // A refusal or an open port would be a verdict on the device.
            match link.read(0, 1024).await {
                Err(error) => assert!(error.operation.contains(&serial), "{error}"),
                // probe-rs clears a halted endpoint, and asks again after a short answer.
                Ok(Ok(bytes)) => assert_eq!(bytes, image(1024), "{fault:?}"),
                Ok(Err(refusal)) => panic!("{fault:?} was taken for a refusal of the device: {refusal}"),
            }
            cable.heal();
            cable.fault(fault);
            if let Ok(reading) = link.lock_state(None).await {
                assert!(
                    matches!(reading.verdict, LockVerdict::Open | LockVerdict::Undetermined),
                    "{fault:?} was taken for a lock: {}",
                    reading.transcript
                );
            }
            cable.replug().unwrap();
            wait_listed(&serial);
            works(link.as_mut()).await;
        });
    }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_probe_that_hangs_for_good_costs_a_worker_and_not_the_controller() {
    in_guest();
    let (_device, mut cable) = plugged("NRF51-HANG");
    block_on(async {
        // Each answer comes before probe-rs gives up on it; only the deadline ends the whole.
        let mut link = open("NRF51-HANG", &[("operation-timeout", "2s"), ("returns-within", "0s")]).await.unwrap();
        cable.fault(Fault::Delay(Duration::from_millis(30)));
        let error = link.read(0, 1024).await.unwrap_err();
        assert!(error.lost, "{error}");
        assert!(error.what.contains("did not finish within 2s"), "{error}");
        cable.replug().unwrap();
        wait_listed("NRF51-HANG");
        works(link.as_mut()).await;
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_probe_pulled_in_the_middle_of_a_write_is_lost_and_the_next_write_works() {
    in_guest();
    let (device, mut cable) = plugged("NRF51-PULL");
    let segments = || vec![Segment { address: 0x8000, bytes: image(20_000) }];
    let mut cut = 0;
    for wait in [30, 120, 350, 700, 1100] {
        cable = block_on(async {
            let mut link = open("NRF51-PULL", &[("operation-timeout", "20s"), ("returns-within", "30s")]).await.unwrap();
            works(link.as_mut()).await;
            let pulling = thread::spawn(move || {
                crate::host::pass(Duration::from_millis(wait));
                cable.unplug().unwrap();
                cable
            });
            match link.flash(segments(), false).await {
                Ok(Proof::Seen(_)) => {}
                Ok(Proof::None(missing)) => panic!("{missing}"),
                Err(error) => {
                    cut += 1;
                    assert!(error.operation.starts_with("flash with probe-rs"), "{error}");
                }
            }
            let mut cable = pulling.join().unwrap();
            // It is looked for until it is there again.
            let plugging = thread::spawn(move || {
                crate::host::pass(Duration::from_millis(500));
                cable.plug().unwrap();
                cable
            });
            link.flash(segments(), false).await.unwrap();
            assert_eq!(link.read(0x8000, 20_000).await.unwrap().unwrap(), image(20_000));
            plugging.join().unwrap()
        });
    }
    assert!(cut > 0, "the probe was never pulled while it wrote");
    assert_eq!(device.with(|machine| machine.nv().read(0x8000, 20_000)).unwrap(), image(20_000));
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_probe_that_gets_its_power_with_the_device_is_waited_for() {
    in_guest();
    let mut cable = Cable::new(CmsisDap::with_target("NRF51-LATE", device().port()));
    assert!(!listed("NRF51-LATE"));
    block_on(async {
        let error = open("NRF51-LATE", &[("returns-within", "0s")]).await.err().expect("it is not there");
        assert!(error.lost && error.what.contains("there is no debug probe"), "{error}");
        let mut link = open("NRF51-LATE", &[("powered-by", "supply"), ("returns-within", "30s")]).await.unwrap();
        let plugging = thread::spawn(move || {
            crate::host::pass(Duration::from_secs(1));
            cable.plug().unwrap();
            cable
        });
        works(link.as_mut()).await;
        let mut cable = plugging.join().unwrap();
        cable.replug_renumbered().unwrap();
        works(link.as_mut()).await;
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn another_board_behind_the_same_probe_is_not_written() {
    in_guest();
    let (device, mut cable) = plugged("NRF51-UNIT");
    block_on(async {
        let own = open("NRF51-UNIT", &[]).await.unwrap().read(0x1000_0060, 8).await.unwrap().unwrap();
        let own = own.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let mut link = open("NRF51-UNIT", &[("unit", &own), ("returns-within", "10s")]).await.unwrap();
        let segments = || vec![Segment { address: 0x8000, bytes: image(64) }];
        link.flash(segments(), false).await.unwrap();
        cable.unplug().unwrap();

        let other = Nrf51::new(Machine::new(MachineConfig { device_id: 7, ..MachineConfig::default() }));
        other.power(true);
        let mut swapped = Cable::new(CmsisDap::with_target("NRF51-UNIT", other.port()));
        swapped.plug().unwrap();
        wait_listed("NRF51-UNIT");
        for erase in [false, true] {
            let error = link.flash(segments(), erase).await.unwrap_err();
            assert!(error.what.contains("another board is attached"), "{error}");
        }
        assert_eq!(other.with(|machine| machine.nv().counts().total()), 0, "nothing was written");
    });
    assert_eq!(device.with(|machine| machine.nv().read(0x8000, 64)).unwrap(), image(64));
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_device_that_does_not_answer_is_no_lock() {
    in_guest();
    let (device, _cable) = plugged("NRF51-SILENT");
    block_on(async {
        let mut link = open("NRF51-SILENT", &[("operation-timeout", "30s")]).await.unwrap();
        device.power(false);
        let reading = link.lock_state(None).await.unwrap();
        assert_eq!(reading.verdict, LockVerdict::Undetermined, "{}", reading.transcript);
        assert!(link.read(0, 4).await.is_err(), "nor a refusal");
        device.power(true);
        works(link.as_mut()).await;
    });
}
