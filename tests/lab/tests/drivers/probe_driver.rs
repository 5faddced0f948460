//! hilbench's probe driver over USB: CMSIS-DAP commands to an emulated nRF51822.

use std::collections::BTreeMap;

use hilbench::{
    channel::link::{Driver, LinkError, Opened, Parameters, ProbeLink, Proof, Segment},
    driver::probe::ProbeRs,
    virtual_dut::{Machine, MachineConfig},
};
use lab::usb::{
    Cable,
    dap::{CmsisDap, Nrf51},
};
use probe_rs::probe::list::Lister;

use crate::host::{block_on, eventually, in_guest};

/// A device with power behind a probe that is plugged in and that probe-rs lists.
fn plugged(serial: &str) -> (Nrf51, Cable) {
    let device = Nrf51::new(Machine::new(MachineConfig::default()));
    device.power(true);
    let mut cable = Cable::new(CmsisDap::with_target(serial, device.port()));
    cable.plug().unwrap();
    eventually("probe-rs lists the probe", || {
        Lister::new().list_all().iter().any(|probe| probe.serial_number.as_deref() == Some(serial))
    });
    (device, cable)
}

fn parameters(serial: &str) -> Parameters {
    let values = [("probe", format!("1209:0002:{serial}")), ("chip", "nRF51822_xxAA".to_owned())];
    Parameters { values: BTreeMap::from(values.map(|(name, value)| (name.to_owned(), value))), ..Parameters::default() }
}

async fn open(serial: &str) -> Result<Box<dyn ProbeLink>, LinkError> {
    match ProbeRs.open(&parameters(serial)).await? {
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

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn probe_rs_flashes_and_verifies_an_image_on_the_emulated_nrf51822_through_usb() {
    in_guest();
    let (device, _cable) = plugged("NRF51-FLASH");
    let bytes = image(5000);
    block_on(async {
        let mut link = open("NRF51-FLASH").await.unwrap();
        let proof = link.flash(vec![Segment { address: 0x4000, bytes: bytes.clone() }], false).await.unwrap();
        let Proof::Seen(witness) = proof else { panic!("it was read back") };
        assert!(witness.what.contains("wrote 5000 bytes"), "{}", witness.what);
        assert_eq!(link.read(0x4000, 5000).await.unwrap().unwrap(), bytes);
    });
    assert_eq!(device.with(|machine| machine.nv().read(0x4000, 5000)).unwrap(), bytes, "and it is in the flash");
}
