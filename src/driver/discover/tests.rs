use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::*;

/// A tree like that of the kernel, with files in `/dev` and processes.
struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { root: tempfile::tempdir().unwrap() };
        for directory in ["sys/bus/usb/devices", "sys/class/tty", "dev", "proc/self", "proc/net"] {
            fs::create_dir_all(tree.path(directory)).unwrap();
        }
        tree.write("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.path(to), path).unwrap();
    }

    /// A USB device; its own directory is below `sys/devices`, as in life.
    fn usb(&self, location: &str, ids: (&str, &str), serial: Option<&str>, product: &str) -> String {
        let device = format!("sys/devices/pci0/usb1/{location}");
        let number = location.len().to_string();
        for (name, value) in
            [("idVendor", ids.0), ("idProduct", ids.1), ("product", product), ("busnum", "1"), ("devnum", number.as_str())]
        {
            self.write(&format!("{device}/{name}"), value);
        }
        if let Some(serial) = serial {
            self.write(&format!("{device}/serial"), serial);
        }
        self.write(&format!("dev/bus/usb/001/{:03}", location.len()), "");
        self.link(&format!("sys/bus/usb/devices/{location}"), &device);
        device
    }

    fn found(&self) -> Vec<Instrument> {
        let label = |_: &Path| Some(("ftdi-cbus".to_owned(), 4));
        listed(&self.path("sys"), &self.path("dev"), &self.path("proc"), &[], &label)
    }

    fn one(&self, kind: Kind) -> Instrument {
        let mut of_kind = self.found().into_iter().filter(|instrument| instrument.kind == kind);
        let one = of_kind.next().unwrap();
        assert_eq!(of_kind.next(), None);
        one
    }
}

#[test]
fn a_usb_device_that_is_nothing_else_is_listed_by_what_it_is() {
    let tree = Tree::new();
    tree.usb("1-4", ("1209", "0003"), Some("X1"), "Lock");
    let found = tree.one(Kind::Usb);
    assert_eq!((found.identity.as_str(), found.place.as_str()), ("usb 1209:0003 serial number X1", "1-4"));
    assert_eq!((found.name.as_deref(), found.problem), (Some("Lock"), None));
    fs::remove_file(tree.path("dev/bus/usb/001/003")).unwrap();
    assert!(tree.one(Kind::Usb).problem.unwrap().contains("bus/usb/001/003"));
}

#[test]
fn an_adapter_whose_driver_is_missing_says_so() {
    let tree = Tree::new();
    let device = tree.usb("1-4", ("1a86", "7523"), None, "USB Serial");
    fs::create_dir_all(tree.path(&format!("{device}/1-4:1.0"))).unwrap();
    let found = tree.one(Kind::Usb);
    assert_eq!(found.identity, "usb 1a86:7523 at 1-4");
    assert!(found.problem.unwrap().contains("ch341 is not loaded"));
}

#[test]
fn lines_of_a_chip_are_told_with_the_board_that_has_them() {
    let tree = Tree::new();
    let device = tree.usb("1-4", ("0403", "6001"), Some("R1"), "FT232R");
    fs::create_dir_all(tree.path(&format!("{device}/1-4:1.0/gpiochip3"))).unwrap();
    tree.link("sys/bus/gpio/devices/gpiochip3", &format!("{device}/1-4:1.0/gpiochip3"));
    tree.write("dev/gpiochip3", "");
    let found = tree.one(Kind::Gpio);
    assert_eq!(found.identity, "4 lines of ftdi-cbus, usb 0403:6001 serial number R1");
    assert!(found.place.ends_with("/dev/gpiochip3") && found.problem.is_none(), "{found:?}");
    assert!(!tree.found().iter().any(|instrument| instrument.kind == Kind::Usb), "it is listed once");
}

#[test]
fn an_adapter_without_its_service_or_switched_off_says_so() {
    let tree = Tree::new();
    let device = tree.usb("1-4", ("0a12", "0001"), None, "dongle");
    let adapter = format!("{device}/1-4:1.0/bluetooth/hci0");
    fs::create_dir_all(tree.path(&adapter)).unwrap();
    tree.link("sys/class/bluetooth/hci0", &adapter);
    tree.link("sys/class/bluetooth/hci0:11", &adapter);
    let found = tree.one(Kind::Bluetooth);
    assert_eq!((found.identity.as_str(), found.place.as_str()), ("Bluetooth adapter usb 0a12:0001 at 1-4", "hci0"));
    assert!(found.problem.unwrap().contains("systemctl start bluetooth"));
    tree.write("proc/812/comm", "bluetoothd\n");
    assert_eq!(tree.one(Kind::Bluetooth).problem, None);
    tree.write(&format!("{adapter}/rfkill0/soft"), "1\n");
    assert!(tree.one(Kind::Bluetooth).problem.unwrap().contains("rfkill unblock"));
}

#[test]
fn only_interfaces_that_a_device_could_hang_on_are_listed_and_the_machines_own_is_told() {
    let tree = Tree::new();
    let interface = |name: &str, kind: &str, link: &str, device: Option<&str>| {
        let entry = format!("sys/class/net/{name}");
        for (attribute, value) in [("type", kind), ("ifindex", "5"), ("iflink", link), ("address", "02:00:00:00:00:01")] {
            tree.write(&format!("{entry}/{attribute}"), value);
        }
        if let Some(device) = device {
            fs::create_dir_all(tree.path(device)).unwrap();
            tree.link(&format!("{entry}/device"), device);
        }
    };
    interface("lo", "772", "5", None);
    interface("br0", "1", "5", None);
    interface("eth0", "1", "5", Some("sys/devices/pci0/0000:00:03.0"));
    interface("lan9", "1", "5", Some("sys/devices/pci0/0000:00:04.0"));
    interface("veth7", "1", "6", None);
    tree.write("proc/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\neth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\neth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n");
    let found = |name: &str| tree.found().into_iter().find(|instrument| instrument.place == name);
    assert_eq!((found("lo"), found("br0")), (None, None));
    assert!(found("eth0").unwrap().problem.unwrap().contains("machine's own way"));
    let lan = found("lan9").unwrap();
    assert_eq!((lan.identity.as_str(), lan.problem), ("02:00:00:00:00:01 on 0000:00:04.0", None));
    assert_eq!(found("veth7").unwrap().identity, "end of a virtual cable 02:00:00:00:00:01");
    tree.write("proc/self/status", "CapEff:\t0000000000000000\n");
    assert!(found("lan9").unwrap().problem.unwrap().contains("CAP_NET_ADMIN"));
}

#[test]
fn measuring_instruments_relays_and_hubs_are_told() {
    let tree = Tree::new();
    let scope = tree.usb("1-4", ("1ab1", "0e11"), Some("DP8A"), "DP832");
    tree.link("sys/class/usbmisc/usbtmc0/device", &scope);
    tree.write("dev/usbtmc0", "");
    assert_eq!(tree.one(Kind::Usbtmc).identity, "usb 1ab1:0e11 serial number DP8A");
    for (location, product, file) in [("1-10", "05df", "hidraw1"), ("1-100", "0001", "hidraw2")] {
        let device = tree.usb(location, ("16c0", product), None, "USBRelay2");
        fs::create_dir_all(tree.path(&format!("{device}/{location}:1.0/0003:16C0"))).unwrap();
        tree.link(&format!("sys/class/hidraw/{file}/device"), &format!("{device}/{location}:1.0/0003:16C0"));
        tree.write(&format!("dev/{file}"), "");
    }
    assert_eq!(tree.one(Kind::HidRelay).identity, "relay board usb 16c0:05df at 1-10");
    let hub = tree.usb("1-1000", ("05e3", "0610"), None, "USB2.1 Hub");
    tree.write(&format!("{hub}/bDeviceClass"), "09");
    tree.link("sys/bus/usb/devices/1-1000:1.0", &format!("{hub}/1-1000:1.0"));
    assert!(!tree.path(&format!("{hub}/1-1000:1.0")).exists());
    for port in ["2", "10", "1"] {
        tree.write(&format!("{hub}/1-1000:1.0/1-1000-port{port}/disable"), "0\n");
    }
    let found = tree.one(Kind::Hub);
    assert_eq!(found.identity, "hub 05e3:0610, ports that can be switched: 1 2 10");
    assert_eq!((found.place.as_str(), found.problem), ("1-1000", None));
}

#[test]
fn whatever_comes_or_goes_changes_the_fingerprint() {
    let tree = Tree::new();
    let sys = tree.path("sys");
    let empty = fingerprint(&sys);
    let device = tree.usb("1-4", ("1209", "0003"), None, "Lock");
    let plugged = fingerprint(&sys);
    assert_ne!(plugged, empty);
    assert_eq!(fingerprint(&sys), plugged);
    tree.write(&format!("{device}/devnum"), "77");
    assert_ne!(fingerprint(&sys), plugged, "away for a moment, under the same name");
}
