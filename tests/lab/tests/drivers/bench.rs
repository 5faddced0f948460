//! The wired bench: relay off, and everything of the device is gone.

use gpiocdev::line::Value;
use lab::{
    bench::{Bench, Part, SUPPLY_LINE},
    usb::{Fault, dap::SimpleTarget, sysfs},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    host::{PATIENCE, block_on, by_id, eventually, in_guest, open, wait_by_id},
    relay::output,
};

const PARTS: [Part; 3] = [Part::Console, Part::Probe, Part::Port];

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_relay_feeds_all_of_the_device() {
    in_guest();
    let bench = Bench::new("DUT", SimpleTarget::default()).unwrap();
    let supply = output(SUPPLY_LINE.into());
    assert!(PARTS.iter().all(|part| bench.location(*part).is_none()));

    for _ in 0..2 {
        supply.set_value(SUPPLY_LINE.into(), Value::Active).unwrap();
        assert!(bench.relay_closed() && bench.wait_power(true, PATIENCE));
        let (link, _) = wait_by_id("DUT-console");
        let locations = PARTS.map(|part| bench.location(part).unwrap());
        eventually("the kernel lists all parts", || locations.iter().all(|location| sysfs::present(location)));
        block_on(async {
            let mut port = open(&link);
            port.write_all(b"version\n").await.unwrap();
            assert_eq!(bench.console().receive_until(b"\n", PATIENCE).unwrap(), b"version\n");
            supply.set_value(SUPPLY_LINE.into(), Value::Inactive).unwrap();
            // Ends: the terminal is hung up.
            drop(port.read_to_end(&mut Vec::new()).await);
        });
        assert!(bench.wait_power(false, PATIENCE));
        eventually("nothing of the device is left", || !locations.iter().any(|location| sysfs::present(location)));
        eventually("the console's link goes", || by_id("DUT-console").is_none());
        assert_eq!(bench.console().send(b"x"), 0);
    }
    assert!(bench.trouble().is_none());
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_pulled_plug_stays_out_when_power_returns() {
    in_guest();
    let bench = Bench::new("HAND", SimpleTarget::default()).unwrap();
    let supply = output(SUPPLY_LINE.into());
    supply.set_value(SUPPLY_LINE.into(), Value::Active).unwrap();
    let (_, first) = wait_by_id("HAND-console");
    bench.renumber(Part::Console).unwrap();
    eventually("another number", || by_id("HAND-console").is_some_and(|(_, file)| file != first));
    bench.fault(Part::Console, Fault::Hang);
    bench.pull(Part::Probe).unwrap();
    for value in [Value::Inactive, Value::Active] {
        supply.set_value(SUPPLY_LINE.into(), value).unwrap();
        assert!(bench.wait_power(value == Value::Active, PATIENCE));
    }
    // The fault went with the power; the hand's work did not.
    wait_by_id("HAND-console");
    assert!(bench.location(Part::Probe).is_none());
    bench.put_back(Part::Probe).unwrap();
    assert!(bench.location(Part::Probe).is_some());
}
