//! hilbench's driver `rtt`: a console in the memory of the emulated nRF51822, read by probe-rs through a CMSIS-DAP probe over USB.

use std::{sync::Arc, time::Duration};

use hilbench::{
    channel::{
        console::Expectation,
        link::{Driver as _, Opened, Parameters, Proof, Segment},
    },
    driver::probe::{ProbeRs, Rtt},
    virtual_dut::{Machine, MachineConfig, Size},
};
use lab::usb::{
    Cable,
    dap::{CmsisDap, Nrf51},
};
use probe_rs::probe::list::Lister;

use crate::{
    host::{PATIENCE, eventually, in_guest, pass},
    serial_driver::{Rig, block_on},
};

/// Where the firmware has its control block: behind the memory that the flash algorithm of probe-rs uses first.
const BLOCK: u32 = 0x2000_1800;
const UP: u32 = BLOCK + 0x100;
const UP_SIZE: u32 = 64;
const DOWN: u32 = BLOCK + 0x200;
const DOWN_SIZE: u32 = 16;
/// In the control block: identity, two counts, then a ring of six words each way (SEGGER, "RTT", control block): name, buffer, size, write
/// offset, read offset, flags.
const UP_RING: u32 = BLOCK + 24;
const DOWN_RING: u32 = UP_RING + 24;
const WRITE_OFFSET: u32 = 12;
const READ_OFFSET: u32 = 16;

/// What firmware with RTT does, done from outside.
#[derive(Clone)]
struct Firmware(Nrf51);

impl Firmware {
    fn word(&self, address: u32) -> u32 {
        self.0.with(|machine| machine.debug_read(address, Size::Word)).unwrap()
    }

    fn set(&self, address: u32, value: u32) {
        self.0.with(|machine| machine.debug_write(address, Size::Word, value)).unwrap();
    }

    fn begin(&self) {
        for (index, value) in [1, 1, 0, UP, UP_SIZE, 0, 0, 0, 0, DOWN, DOWN_SIZE, 0, 0, 0].into_iter().enumerate() {
            self.set(BLOCK + 16 + 4 * index as u32, value);
        }
        for (index, word) in b"SEGGER RTT\0\0\0\0\0\0".chunks(4).enumerate() {
            self.set(BLOCK + 4 * index as u32, u32::from_le_bytes(word.try_into().unwrap()));
        }
    }

    /// Writes all of it, waiting for room.
    fn say(&self, text: &[u8]) {
        for &byte in text {
            let at = self.word(UP_RING + WRITE_OFFSET);
            let next = (at + 1) % UP_SIZE;
            eventually("room in the buffer", || self.word(UP_RING + READ_OFFSET) != next);
            self.0.with(|machine| machine.debug_write(UP + at, Size::Byte, byte.into())).unwrap();
            self.set(UP_RING + WRITE_OFFSET, next);
        }
    }

    /// Reads so many bytes.
    fn hear(&self, count: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let at = self.word(DOWN_RING + READ_OFFSET);
            eventually("bytes in the buffer", || self.word(DOWN_RING + WRITE_OFFSET) != at);
            heard.push(self.0.with(|machine| machine.debug_read(DOWN + at, Size::Byte)).unwrap() as u8);
            self.set(DOWN_RING + READ_OFFSET, (at + 1) % DOWN_SIZE);
        }
        heard
    }
}

fn parameters(serial: &str, more: &[(&str, &str)]) -> Parameters {
    let probe = format!("1209:0002:{serial}");
    let values = [("probe", probe.as_str()), ("chip", "nRF51822_xxAA")].into_iter().chain(more.iter().copied());
    Parameters { values: values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), ..Parameters::default() }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_console_in_the_devices_memory_shares_the_probe() {
    in_guest();
    // An empty chip: the core locks up and touches nothing.
    let device = Nrf51::new(Machine::new(MachineConfig::default()));
    device.power(true);
    let mut cable = Cable::new(CmsisDap::with_target("NRF51-RTT", device.port()));
    cable.plug().unwrap();
    let listed = || Lister::new().list_all().iter().any(|probe| probe.serial_number.as_deref() == Some("NRF51-RTT"));
    eventually("probe-rs lists the probe", listed);
    let firmware = Firmware(device.clone());
    let probe = ProbeRs::with_worker(vec![env!("CARGO_BIN_EXE_lab").to_owned(), "probe-worker".to_owned()]);
    let rtt = Rtt::beside(&probe);
    block_on(async {
        let Err(none) = rtt.open(&parameters("NRF51-RTT", &[])).await else { panic!("there is no control block yet") };
        assert!(none.lost && none.what.contains("initialise"), "{none}");
        firmware.begin();
        let rig = Rig::with(Arc::new(rtt), parameters("NRF51-RTT", &[("powered-by", "supply")])).await;
        let says = |text: Vec<u8>| {
            let firmware = firmware.clone();
            tokio::task::spawn_blocking(move || firmware.say(&text))
        };
        let from = rig.console.mark();
        // Many times the buffer, so nothing is lost and nothing comes twice.
        let long: Vec<u8> = (0..200).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
        says(long.clone()).await.unwrap();
        says(b"end\n".to_vec()).await.unwrap();
        assert!(matches!(rig.expect(from, "line 199\nend\n", PATIENCE).await, Expectation::Matched(_)));
        assert_eq!(rig.console.mark() - from, long.len() as u64 + 4);
        let asked = b"a question longer than the buffer\n".to_vec();
        rig.console.send(asked.clone()).await.unwrap();
        let (listener, count) = (firmware.clone(), asked.len());
        assert_eq!(tokio::task::spawn_blocking(move || listener.hear(count)).await.unwrap(), asked);

        // The probe does other things meanwhile: reads, halts, writes.
        let Opened::Probe(mut link) = probe.open(&parameters("NRF51-RTT", &[])).await.unwrap() else { panic!("a probe") };
        assert_eq!(link.read(BLOCK, 10).await.unwrap().unwrap(), b"SEGGER RTT");
        assert!(matches!(link.halt().await.unwrap(), Proof::Seen(_)));
        let from = rig.console.mark();
        says(b"said while halted\n".to_vec()).await.unwrap();
        assert!(matches!(rig.expect(from, "said while halted\n", PATIENCE).await, Expectation::Matched(_)));
        assert!(device.with(|machine| machine.is_halted()), "looking at the buffer does not let it run");
        link.flash(vec![Segment { address: 0x4000, bytes: vec![0x5A; 2000] }], false).await.unwrap();
        firmware.begin();
        let from = rig.console.mark();
        says(b"said after a reset\n".to_vec()).await.unwrap();
        assert!(matches!(rig.expect(from, "said after a reset\n", PATIENCE).await, Expectation::Matched(_)));
        assert_eq!(rig.log.count("lost"), 0, "a reset of the device is no loss of the console");

        // Without power there is nothing to read; with it there is, once the firmware has come so far.
        device.power(false);
        rig.away().await;
        device.power(true);
        pass(Duration::from_millis(200));
        firmware.begin();
        rig.console.present().await.unwrap();
        let from = rig.console.mark();
        says(b"back\n".to_vec()).await.unwrap();
        assert!(matches!(rig.expect(from, "back\n", PATIENCE).await, Expectation::Matched(_)));
        assert_eq!((rig.log.count("lost"), rig.log.count("back debug probe 1209:0002:NRF51-RTT")), (1, 1));
        rig.console.close().await;
    });
}
