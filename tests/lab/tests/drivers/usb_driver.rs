//! hilbench's `usb` driver and the steps on it, in front of emulated devices: whole plans from their files.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use hilbench::{
    channel::{
        clock::{Clock, WallClock},
        link::{Driver, Notices, Opened, Parameters},
        usb::{Answer, Pipe, Setup as Request, Transfer, UsbLink},
    },
    driver::usb::Usb,
    event::{Fact, RunHeader, RunId, Verdict},
    journal::{Journal, Options},
    plan::{bind, load_plan},
    rig::{DriverCatalogue, load_rig},
    run::{
        cuts::CutOptions,
        dispatch::{Setup, run},
        registry::Registry,
    },
};
use lab::usb::{
    Cable, Fault, Interface,
    acm::Acm,
    port::{Port, update_interface},
    sysfs,
};

use crate::host::{block_on, eventually, in_guest};

fn parameters(values: &[(&str, &str)]) -> Parameters {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Parameters { values, base: PathBuf::new() }
}

fn link(values: &[(&str, &str)]) -> Box<dyn UsbLink> {
    match block_on(Usb.open(&parameters(values))).unwrap() {
        Opened::Usb(link) => link,
        _ => panic!("something else was opened"),
    }
}

/// Plugs a device in and waits until the kernel has configured it.
fn plugged(device: Port) -> Cable {
    let mut cable = Cable::new(device);
    plug(&mut cable);
    cable
}

fn plug(cable: &mut Cable) {
    cable.plug().unwrap();
    let chosen = Path::new("/sys/bus/usb/devices").join(cable.location().unwrap()).join("bConfigurationValue");
    eventually("the kernel chooses a configuration", || {
        std::fs::read_to_string(&chosen).is_ok_and(|value| !value.trim().is_empty())
    });
}

const PROFILE: &str = "\
schema: device/1
name: lock
channels: { usb: usb }
usb:
  usb:
    id: '1209:0003'
    interfaces: [{ class: vendor, subclass: 1, protocol: 1, what: the app on a phone }]
    requests: [{ request: 0x21, what: version }]
";

/// Runs the steps as a plan of one case against the device with this serial number; the case's verdict with its reason, and the
/// run's directory with the journal and the evidence.
fn verdict(serial: &str, steps: &str) -> (Verdict, String, PathBuf) {
    let directory = std::env::temp_dir().join(format!("usb-{serial}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(directory.join(name), text).unwrap();
        directory.join(name)
    };
    write("lock.yaml", PROFILE);
    let rig = format!(
        "schema: rig/1\nname: lab\ndevice: lock.yaml\nchannels: {{ usb: {{ driver: usb, serial-number: {serial} }} }}\nsafe-state: []\n"
    );
    let rig = write("rig.yaml", &rig);
    let plan = format!(
        "schema: testplan/1\nname: usb\ntitle: USB\nrequires: [usb]\ntimeout: 5m\ncases:\n  - id: case\n    title: One case\n    assesses: []\n    timeout: 50s\n    steps:\n{steps}"
    );
    let plan = write("plan.yaml", &plan);
    let mut drivers = DriverCatalogue::default();
    drivers.add(Usb.name(), Usb.kind(), Usb.parameters());
    let rig = load_rig(&rig, &drivers).unwrap_or_else(|report| panic!("{report}"));
    let bound =
        bind(&load_plan(&plan).unwrap_or_else(|report| panic!("{report}")), &rig).unwrap_or_else(|report| panic!("{report}"));

    let clock: Arc<dyn Clock> = Arc::new(WallClock::start());
    let id = RunId::from("20260101-000000-0001");
    let time = Arc::clone(&clock);
    let store = directory.join(format!("store-{}", steps.len()));
    let journal = Journal::create(Options::new(&store, id.clone(), Arc::new(move || time.now()))).unwrap();
    let mut cursor = journal.observe();
    let header = RunHeader {
        schema: hilbench::event::SCHEMA.to_owned(),
        tool: "lab".to_owned(),
        run: id,
        command: Vec::new(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        clock: clock.name().to_owned(),
        seed: 1,
        plan: "usb".to_owned(),
        rig: "lab".to_owned(),
        device: "lock".to_owned(),
        files: Vec::new(),
        cases: Vec::new(),
    };
    let setup = Setup {
        plan: bound.plan,
        rig: bound.rig,
        skipped: Vec::new(),
        registry: Registry::new().with(Arc::new(Usb)),
        clock,
        journal,
        header,
        leases: directory.join("leases"),
        wait: None,
        desk: hilbench::run::desk::Desk::default(),
        guard: None,
        cuts: CutOptions::default(),
        fail_fast: false,
        hold: None,
    };
    let (_requests, served) = tokio::sync::mpsc::channel(1);
    block_on(run(setup, served));
    let mut found = None;
    while let Some(event) = cursor.try_next() {
        if let Fact::CaseFinished { verdict, reason, .. } = &event.fact {
            found = Some((*verdict, reason.as_ref().map(ToString::to_string).unwrap_or_default()));
        }
    }
    let (verdict, reason) = found.expect("the case ends");
    (verdict, reason, store)
}

#[track_caller]
fn is(found: &(Verdict, String, PathBuf), verdict: Verdict, reason: &str) {
    assert!(found.0 == verdict && found.1.contains(reason), "expected {verdict} {reason}, found {} {}", found.0, found.1);
}

const DESCRIPTORS: &str = "      - usb-descriptors: { channel: usb, reason: PHY-USB-EXTRA }\n";
const SWEEP: &str =
    "      - usb-vendor-sweep: { channel: usb, recipients: [device, interface], within: 40s, reason: PHY-USB-READ }\n";
const UPLOAD: &str = "      - usb-dfu-upload: { channel: usb, within: 20s, reason: PHY-USB-DFU }\n";

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_port_as_declared_passes_and_a_hidden_interface_is_named() {
    in_guest();
    let good = plugged(Port::new("USB-GOOD"));
    is(&verdict("USB-GOOD", DESCRIPTORS), Verdict::Pass, "");
    drop(good);

    // A second interface that the kernel's own driver takes: found all the same, and its report with it.
    let keyboard = Interface {
        number: 1,
        class: [3, 1, 1],
        name: Some("service\u{1b}[31m".to_owned()),
        extra: vec![9, 0x21, 0x11, 0x01, 0, 1, 0x22, 9, 0],
        endpoints: vec![lab::usb::Endpoint::interrupt(3, 8, 10)],
        ..Interface::default()
    };
    let _hidden = plugged(Port::with("USB-HIDDEN", &[keyboard]));
    let found = verdict("USB-HIDDEN", DESCRIPTORS);
    is(
        &found,
        Verdict::Fail,
        r#"PHY-USB-EXTRA: nobody declared interface 1 of configuration 1: hid (03 01 01, called "service\u{1b}[31m")"#,
    );
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_dump_has_what_the_device_says() {
    in_guest();
    let _device = plugged(Port::with("USB-DUMP", &[update_interface(1)]));
    let mut link = link(&[("usb", "1209:0003"), ("serial-number", "USB-DUMP")]);
    let dump = block_on(link.descriptors()).unwrap().unwrap();
    assert_eq!(dump.now.as_ref(), Some(&dump.arrival));
    let shown = hilbench::channel::usb::descriptors::json(&dump);
    assert_eq!(shown["arrival"]["device"]["serial-number"], "USB-DUMP");
    let interfaces = &shown["arrival"]["configurations"][0]["interfaces"];
    assert_eq!((&interfaces[0]["name"], &interfaces[1]["codes"]), (&"lock".into(), &"fe0102".into()));
    assert_eq!(interfaces[0]["endpoints"][2]["transfer"], "interrupt");
    assert_eq!(shown["not-obtained"].as_array().unwrap().len(), 0, "{shown}");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_vendor_request_that_answers_is_found() {
    in_guest();
    let good = plugged(Port::new("USB-QUIET").answering(0x21, b"2.0.0"));
    is(&verdict("USB-QUIET", SWEEP), Verdict::Pass, "");
    drop(good);
    let _bad = plugged(Port::new("USB-LEAK").answering(0x21, b"2.0.0").answering(0x5A, b"key material"));
    let found = verdict("USB-LEAK", SWEEP);
    is(
        &found,
        Verdict::Fail,
        "PHY-USB-READ: nobody declared request 0x5a of type 0xc0, value 0x0000, index 0x0000: it answered with 12 bytes",
    );
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hung_device_refuses_nothing() {
    in_guest();
    let cable = plugged(Port::new("USB-HUNG"));
    cable.fault(Fault::Hang);
    is(&verdict("USB-HUNG", SWEEP), Verdict::Inconclusive, "before the sweep");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn firmware_that_can_be_uploaded_is_found() {
    in_guest();
    let closed = plugged(Port::with("USB-CLOSED", &[update_interface(1)]));
    is(&verdict("USB-CLOSED", UPLOAD), Verdict::Pass, "");
    drop(closed);
    let firmware: Vec<u8> = (0..1000_u16).map(|number| (number % 251) as u8).collect();
    let _open = plugged(Port::with("USB-OPEN", &[update_interface(1)]).giving(&firmware));
    let found = verdict("USB-OPEN", UPLOAD);
    is(&found, Verdict::Fail, "PHY-USB-DFU: firmware can be read: interface 1 setting 0 (in update mode): 1000 bytes");
    let none = plugged(Port::new("USB-PLAIN"));
    is(&verdict("USB-PLAIN", UPLOAD), Verdict::Pass, "");
    drop(none);
}

fn bulk(data: &[u8], length: u16, within: u64) -> Transfer {
    let address = if data.is_empty() { 0x81 } else { 0x01 };
    let within = Duration::from_millis(within);
    Transfer { pipe: Pipe::Bulk(address), data: data.to_vec(), length, within, interface: None }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn transfers_are_answered_refused_cut_short_or_silent() {
    in_guest();
    let cable = plugged(Port::new("USB-DATA").answering(0x21, b"2.0.0"));
    let mut link = link(&[("serial-number", "USB-DATA")]);
    let mut ask = |transfer: Transfer| block_on(link.transfer(transfer)).unwrap();
    assert_eq!(ask(bulk(b"hello", 0, 5000)), Answer::Taken(5));
    assert_eq!(ask(bulk(b"", 64, 5000)), Answer::Done(b"hello".to_vec()));
    assert_eq!(ask(bulk(b"", 64, 300)), Answer::Silent);

    cable.fault(Fault::Short(0x81, 2));
    assert_eq!(ask(bulk(b"hello", 0, 5000)), Answer::Taken(5));
    assert_eq!(ask(bulk(b"", 64, 5000)), Answer::Done(b"he".to_vec()));

    cable.fault(Fault::Stall(0x81));
    assert_eq!(ask(bulk(b"", 64, 5000)), Answer::Stalled);
    // The halt is cleared, so the next transfer is not refused for it.
    assert_eq!(ask(bulk(b"again", 0, 5000)), Answer::Taken(5));
    assert_eq!(ask(bulk(b"", 64, 5000)), Answer::Done(b"again".to_vec()));

    let vendor = |request| Transfer::request(Request { kind: 0xC0, request, value: 0, index: 0 }, 64, Duration::from_secs(5));
    assert_eq!(ask(vendor(0x21)), Answer::Done(b"2.0.0".to_vec()));
    assert_eq!(ask(vendor(0x22)), Answer::Stalled);
    let interrupt = Transfer { pipe: Pipe::Interrupt(0x82), ..bulk(b"", 8, 300) };
    assert_eq!(ask(interrupt), Answer::Silent);
    let none = Transfer { pipe: Pipe::Bulk(0x85), ..bulk(b"", 8, 300) };
    assert!(matches!(ask(none), Answer::Lacking(_)));
    let wrong = Transfer { pipe: Pipe::Bulk(0x82), ..bulk(b"", 8, 300) };
    assert!(matches!(ask(wrong), Answer::Lacking(what) if what.contains("interrupt")));

    cable.fault(Fault::Hang);
    assert_eq!(ask(bulk(b"x", 0, 300)), Answer::Silent);
    assert_eq!(ask(Transfer { within: Duration::from_millis(300), ..vendor(0x21) }), Answer::Silent);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_device_that_is_pulled_while_a_transfer_runs_has_left_and_is_found_again() {
    in_guest();
    let mut cable = plugged(Port::new("USB-PULLED"));
    let mut link = link(&[("serial-number", "USB-PULLED")]);
    for _ in 0..3 {
        let puller = std::thread::spawn(move || {
            // The transfer is under way: nothing tells of that, and if it is not, the device is absent instead.
            std::thread::park_timeout(Duration::from_millis(150));
            cable.unplug().unwrap();
            cable
        });
        let answer = block_on(link.transfer(bulk(b"", 64, 20_000))).unwrap();
        cable = puller.join().unwrap();
        assert!(matches!(answer, Answer::Left), "{answer:?}");
        eventually("the device goes", || block_on(link.place()).unwrap().is_none());
        assert_eq!(block_on(link.transfer(bulk(b"", 64, 300))).unwrap(), Answer::Absent);
        assert_eq!(block_on(link.descriptors()).unwrap(), None);
        plug(&mut cable);
        assert_eq!(block_on(link.transfer(bulk(b"back", 0, 5000))).unwrap(), Answer::Taken(4));
        assert_eq!(block_on(link.transfer(bulk(b"", 64, 5000))).unwrap(), Answer::Done(b"back".to_vec()));
    }
}

/// A device that loses its connection on a vendor request and comes back by itself, so many times.
fn crashing(serial: &str, times: usize) -> Arc<Mutex<Cable>> {
    let (broke, told) = mpsc::channel();
    let tell = move || {
        // Nobody listens any more once the device has broken down often enough.
        let _ = broke.send(());
    };
    let device = Port::new(serial).breaking(0x5A, tell);
    let cable = Arc::new(Mutex::new(plugged(device)));
    let hands = Arc::clone(&cable);
    std::thread::spawn(move || {
        // The model's thread must be able to end, so another one pulls.
        for () in told.iter().take(times) {
            let mut cable = hands.lock().unwrap();
            cable.unplug().unwrap();
            plug(&mut cable);
        }
    });
    cable
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_request_that_breaks_the_firmware_is_told_from_a_pulled_cable() {
    in_guest();
    let step = "      - usb-control: { channel: usb, request-type: 0xC0, request: 0x5A, length: 8, within: 3s, expect: refused, reason: RAD-CRASH }\n";
    let broken = crashing("USB-CRASH", usize::MAX);
    is(&verdict("USB-CRASH", step), Verdict::Fail, "RAD-CRASH");
    drop(broken);
    let once = crashing("USB-ONCE", 1);
    is(&verdict("USB-ONCE", step), Verdict::Inconclusive, "when it was done again it did not answer");
    drop(once);
    // Pulled, and left out.
    let cable = plugged(Port::new("USB-OUT"));
    let puller = std::thread::spawn(move || {
        let mut cable = cable;
        std::thread::park_timeout(Duration::from_secs(1));
        cable.unplug().unwrap();
        cable
    });
    let wait = "      - usb-bulk: { channel: usb, endpoint: 0x81, length: 8, within: 20s, expect: accepted, silence: fail, reason: DEAD }\n";
    is(&verdict("USB-OUT", wait), Verdict::Inconclusive, "did not come back");
    drop(puller.join().unwrap());
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn arrivals_and_departures_are_told() {
    in_guest();
    let mut cable = Cable::new(Port::new("USB-COMES"));
    let absent = block_on(Usb.open(&parameters(&[("serial-number", "USB-COMES")])));
    assert!(absent.err().unwrap().what.contains("powered-by"));
    let mut link = link(&[("serial-number", "USB-COMES"), ("powered-by", "supply")]);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let list = Arc::clone(&told);
    let notices: Notices = Arc::new(move |notice| list.lock().unwrap().push(notice.what));
    link.watch(notices);
    for round in 1..=2 {
        plug(&mut cable);
        let place = cable.location().unwrap().to_owned();
        assert_eq!(block_on(link.place()).unwrap(), Some(place.clone()));
        eventually("the arrival", || told.lock().unwrap().iter().filter(|what| what.contains("appeared at")).count() == round);
        assert!(told.lock().unwrap().contains(&format!("USB device 1209:0003 appeared at {place}")));
        cable.unplug().unwrap();
        eventually("the departure", || told.lock().unwrap().iter().filter(|what| what.contains("left")).count() == round);
        assert_eq!(block_on(link.place()).unwrap(), None);
    }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn an_interface_of_the_kernel_is_taken_only_when_the_rig_says_so() {
    in_guest();
    let (console, _peer) = Acm::new("USB-ACM");
    let mut cable = Cable::new(console);
    cable.plug().unwrap();
    cable.wait_terminal().unwrap();
    let location = cable.location().unwrap().to_owned();
    let write = || Transfer { pipe: Pipe::Bulk(0x02), ..bulk(b"x", 0, 3000) };
    let mut held = link(&[("location", &location)]);
    let error = block_on(held.transfer(write())).unwrap_err();
    assert!(error.what.contains("cdc_acm") && error.what.contains("detach: true"), "{error}");
    let mut taken = link(&[("location", &location), ("detach", "true")]);
    assert_eq!(block_on(taken.transfer(write())).unwrap(), Answer::Taken(1));
    // It gets its interface back.
    eventually("the kernel's driver is back", || {
        Path::new("/sys/bus/usb/devices").join(format!("{location}:1.1/driver")).exists()
    });
    assert!(sysfs::present(&location));
}
