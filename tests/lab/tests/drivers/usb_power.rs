//! Supplies that are ports of USB hubs: the kernel's switch on the ports of its virtual root hub, and the hub's own requests on an emulated hub.

use std::path::PathBuf;

use hilbench::{
    channel::link::{Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    driver::power::{usb_hub::UsbHub, usb_port::UsbPortSupply},
};
use lab::usb::{
    Cable,
    hub::{Hub, Ports, Switching},
    port::Port,
    sysfs,
};

use crate::host::{block_on, eventually, in_guest};

fn open(driver: &dyn Driver, values: &[(&str, &str)]) -> Result<Box<dyn SupplyLink>, LinkError> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parameters = Parameters { values, base: PathBuf::new() };
    driver.check(&parameters)?;
    match block_on(driver.open(&parameters))? {
        Opened::Supply(link) => Ok(link),
        _ => panic!("something else was opened"),
    }
}

/// Root hub and port of a location such as `1-1`.
fn root(location: &str) -> (String, String) {
    let (bus, port) = location.split_once('-').unwrap();
    (format!("usb{bus}"), port.to_owned())
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_kernels_switch_takes_the_device_from_the_bus_and_gives_it_back() {
    in_guest();
    let mut cable = Cable::new(Port::new("PORT-POWER"));
    cable.plug().unwrap();
    let location = cable.location().unwrap().to_owned();
    eventually("the device", || sysfs::present(&location));
    let (hub, port) = root(&location);
    let mut supply = open(&UsbPortSupply, &[("hub", &hub), ("port", &port)]).unwrap();
    for _ in 0..3 {
        assert_eq!(block_on(supply.is_up()).unwrap(), Some(true));
        let proof = block_on(supply.set(false)).unwrap();
        assert!(matches!(proof, Proof::Seen(witness) if witness.what.contains("nothing is on the bus there")));
        assert!(!sysfs::present(&location));
        assert_eq!(block_on(supply.is_up()).unwrap(), Some(false));
        assert!(matches!(block_on(supply.set(true)).unwrap(), Proof::Seen(_)));
        // A real hub tells the kernel of the device that has power again. The virtual one does not: what stays plugged in stays unseen.
        cable.replug().unwrap();
        assert_eq!(cable.location().unwrap(), location);
        eventually("the device is back", || sysfs::present(&location));
    }
}

fn hub(serial: &str, switching: Switching) -> (Cable, String, Ports) {
    let (hub, ports) = Hub::new(serial, switching);
    let mut cable = Cable::new(hub);
    cable.plug().unwrap();
    let location = cable.location().unwrap().to_owned();
    // The kernel's own driver switches the ports on once it has the hub.
    eventually("the kernel's driver of the hub", || ports.powered(2) || switching == Switching::None && has_driver(&location));
    (cable, location, ports)
}

fn has_driver(location: &str) -> bool {
    PathBuf::from(format!("/sys/bus/usb/devices/{location}:1.0/driver")).exists()
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hubs_own_requests_switch_one_port_and_read_back() {
    in_guest();
    let (_cable, location, ports) = hub("HUB-EACH", Switching::Individual);
    let mut supply = open(&UsbHub, &[("hub", &location), ("port", "2")]).unwrap();
    for up in [false, true, false] {
        assert!(matches!(block_on(supply.set(up)).unwrap(), Proof::Seen(_)));
        assert_eq!((ports.powered(2), ports.powered(3)), (up, true));
        assert_eq!(block_on(supply.is_up()).unwrap(), Some(up));
    }
    ports.weld();
    let welded = block_on(supply.set(true)).unwrap_err();
    assert!(welded.what.contains("reads back down"), "{welded}");
    assert!(open(&UsbHub, &[("hub", &location), ("port", "5")]).err().unwrap().what.contains("it has 4 ports"));
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn hubs_that_cannot_switch_a_port_are_refused() {
    in_guest();
    let (_ganged, location, _) = hub("HUB-ALL", Switching::Ganged);
    assert!(open(&UsbHub, &[("hub", &location), ("port", "1")]).err().unwrap().what.contains("ganged: true"));
    assert!(open(&UsbHub, &[("hub", &location), ("port", "1"), ("ganged", "true")]).is_ok());
    let (_none, location, _) = hub("HUB-NONE", Switching::None);
    let none = open(&UsbHub, &[("hub", &location), ("port", "1"), ("ganged", "true")]).err().unwrap();
    assert!(none.what.contains("cannot switch power"), "{none}");
    let mut cable = Cable::new(Port::new("NO-HUB"));
    cable.plug().unwrap();
    let location = cable.location().unwrap();
    eventually("the device", || sysfs::present(location));
    assert!(open(&UsbHub, &[("hub", location), ("port", "1")]).err().unwrap().what.contains("is no hub"));
}

/// The virtual root hub takes the request, says that the port is off, and leaves the device where it is: as cheap hubs do.
#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hub_that_only_says_that_it_switches_is_a_fault_of_the_bench() {
    in_guest();
    let mut cable = Cable::new(Port::new("NO-SWITCH"));
    cable.plug().unwrap();
    let location = cable.location().unwrap().to_owned();
    eventually("the device", || sysfs::present(&location));
    let (hub, port) = root(&location);
    let mut supply = open(&UsbHub, &[("hub", &hub), ("port", &port)]).unwrap();
    let error = block_on(supply.set(false)).unwrap_err();
    assert!(error.what.contains("does not switch the 5 V"), "{error}");
    block_on(supply.set(true)).unwrap();
}
