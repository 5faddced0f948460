//! Drivers of hilbench that switch supplies and buttons, in front of emulated boards.

use std::time::Duration;

use hilbench::{
    channel::link::{ButtonLink, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    driver::{
        button,
        power::{gpio::GpioSupply, hid::HidRelay},
    },
};
use lab::usb::{
    Cable, Fault,
    ft232r::{Cbus, Ft232r},
    hid_relay,
};

use crate::{
    host::{block_on, eventually, in_guest},
    relay::ftdi_chip,
};

fn parameters(values: &[(&str, &str)]) -> Parameters {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Parameters { values, ..Parameters::default() }
}

/// A board that is plugged in, with the kernel's chip of its lines.
fn board(serial: &str) -> (Cable, Cbus) {
    let (chip, _, cbus) = Ft232r::new(serial);
    let mut cable = Cable::new(chip);
    cable.plug().unwrap();
    eventually("the chip of the lines", || ftdi_chip().is_some());
    (cable, cbus)
}

async fn supply(values: &[(&str, &str)]) -> Result<Box<dyn SupplyLink>, LinkError> {
    match GpioSupply.open(&parameters(values)).await? {
        Opened::Supply(link) => Ok(link),
        _ => panic!("not a supply"),
    }
}

fn up(cbus: &Cbus, line: u8) -> bool {
    cbus.driven_high() >> line & 1 == 1
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_gpio_supply_switches_reads_back_and_is_lost_with_its_chip() {
    in_guest();
    let (mut cable, cbus) = board("GPIO-1");
    let by = [("chip", "ftdi-cbus"), ("serial-number", "GPIO-1"), ("line", "2"), ("read-back", "true")];
    let identity = GpioSupply.identity(&parameters(&by)).unwrap();
    assert_eq!(identity, "line 2 of ftdi-cbus on usb 0403:6001 serial number GPIO-1");
    block_on(async {
        let mut link = supply(&by).await.unwrap();
        assert_eq!(link.is_up().await.unwrap(), None, "nobody has switched it yet");
        assert!(!up(&cbus, 2), "opened and not touched");
        for state in [true, false, true] {
            assert!(matches!(link.set(state).await.unwrap(), Proof::Seen(_)));
            assert_eq!((up(&cbus, 2), link.is_up().await.unwrap()), (state, Some(state)));
        }
        let Err(taken) = supply(&by).await else { panic!("opened twice") };
        assert!(taken.what.contains("`hilbench` has it"), "{taken}");

        // The controller dies: the chip keeps the level, and whoever opens the line next does not change it.
        drop(link);
        assert!(up(&cbus, 2));
        let mut link = supply(&by).await.unwrap();
        assert!(up(&cbus, 2), "opening did not glitch");
        assert_eq!(link.is_up().await.unwrap(), Some(true));
        assert!(matches!(link.set(false).await.unwrap(), Proof::Seen(_)));
        assert!(!up(&cbus, 2));

        cable.unplug().unwrap();
        let error = link.set(true).await.unwrap_err();
        assert!(error.lost && error.what.contains("still plugged in"), "{error}");
        assert!(!up(&cbus, 2));
    });
    eventually("the chip goes", || ftdi_chip().is_none());
    assert!(GpioSupply.identity(&parameters(&by)).is_err());
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn opening_a_gpio_supply_never_glitches() {
    in_guest();
    let (_cable, cbus) = board("GPIO-2");
    let changes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&changes);
    cbus.on_change(move |high| seen.lock().unwrap().push(high));
    let by = [("chip", "ftdi-cbus"), ("serial-number", "GPIO-2"), ("line", "0"), ("active-low", "true")];
    block_on(async {
        for _ in 0..3 {
            // Active low: down is a high level.
            let mut link = supply(&by).await.unwrap();
            assert!(matches!(link.set(false).await.unwrap(), Proof::None(_)), "nothing proves it without a read-back");
            drop(link);
        }
        let mut link = supply(&by).await.unwrap();
        link.set(true).await.unwrap();
    });
    assert_eq!(*changes.lock().unwrap(), [1, 0]);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_line_that_senses_the_rail_tells_a_welded_relay() {
    in_guest();
    let (cable, cbus) = board("GPIO-3");
    let by = [("chip", "ftdi-cbus"), ("serial-number", "GPIO-3"), ("line", "0"), ("read-back-line", "1"), ("settle", "200ms")];
    block_on(async {
        // Line 1 is wired to the rail that line 0 switches.
        cbus.outside(|high| (high & 1) << 1);
        let mut link = supply(&by).await.unwrap();
        assert_eq!(link.is_up().await.unwrap(), Some(false));
        for state in [true, false] {
            let Proof::Seen(witness) = link.set(state).await.unwrap() else { panic!("no witness") };
            assert!(witness.what.contains("senses the rail"), "{}", witness.what);
        }
        link.set(true).await.unwrap();
        cbus.outside(|_| 2);
        let welded = link.set(false).await.unwrap_err();
        assert!(welded.what.contains("reads back up"), "{welded}");
        assert_eq!(link.is_up().await.unwrap(), Some(true));
        cbus.outside(|_| 0);
        let open = link.set(true).await.unwrap_err();
        assert!(open.what.contains("reads back down"), "{open}");

        cable.fault(Fault::Hang);
        let begun = std::time::Instant::now();
        let hung = link.set(false).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(40), "{hung}");
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_gpio_button_is_pressed_and_released() {
    in_guest();
    let (_cable, cbus) = board("GPIO-4");
    let driver = button::drivers().into_iter().find(|driver| driver.name() == "gpio-button").unwrap();
    block_on(async {
        let values = parameters(&[("usb", "0403:6001"), ("serial-number", "GPIO-4"), ("line", "3"), ("read-back", "true")]);
        let mut link: Box<dyn ButtonLink> = match driver.open(&values).await.unwrap() {
            Opened::Button(link) => link,
            _ => panic!("not a button"),
        };
        for pressed in [true, false] {
            assert!(matches!(link.set(pressed).await.unwrap(), Proof::Seen(_)));
            assert_eq!(up(&cbus, 3), pressed);
        }
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hid_relay_board_switches_reads_back_and_is_the_right_one() {
    in_guest();
    let (board, contacts) = hid_relay::HidRelay::new(b"QWERT");
    let mut cable = Cable::new(board);
    cable.plug().unwrap();
    let location = cable.location().unwrap().to_owned();
    let by = |relay: &str, serial: &str| parameters(&[("relay", relay), ("serial", serial), ("location", &location)]);
    eventually("the board", || HidRelay.identity(&by("1", "QWERT")).is_ok());
    block_on(async {
        let open = async |relay: &str| match HidRelay.open(&by(relay, "QWERT")).await.unwrap() {
            Opened::Supply(link) => link,
            _ => panic!("not a supply"),
        };
        let (mut first, mut second) = (open("1").await, open("2").await);
        assert_eq!((contacts.closed(), first.is_up().await.unwrap()), (0, Some(false)));
        assert!(matches!(first.set(true).await.unwrap(), Proof::Seen(_)));
        assert!(matches!(second.set(true).await.unwrap(), Proof::Seen(_)));
        assert!(matches!(first.set(false).await.unwrap(), Proof::Seen(_)));
        assert_eq!((contacts.closed(), second.is_up().await.unwrap()), (2, Some(true)));
        let Err(wrong) = HidRelay.open(&by("1", "OTHER")).await else { panic!("opened") };
        assert!(wrong.what.contains("it is board QWERT"), "{wrong}");
        contacts.stick();
        let stuck = second.set(false).await.unwrap_err();
        assert!(stuck.what.contains("reads back up"), "{stuck}");
        cable.unplug().unwrap();
        assert!(second.set(false).await.unwrap_err().lost);
    });
}
