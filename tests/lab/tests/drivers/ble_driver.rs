//! The driver `ble` over BlueZ and the kernel, in front of the emulated controller.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hilbench::{
    channel::{
        ble::{Answer, BleLink, CharacteristicId, Connection, LinkState, Listening, Refusal, Why},
        link::{Cause, Driver as _, LinkError, Notice, Opened, Parameters},
    },
    driver::ble::Ble,
};
use lab::ble::{Characteristic, Peripheral, Radio, Uuid};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::host::{PATIENCE, block_on, eventually, in_guest};

const SERVICE: u128 = 0x6c61_6200_0001_1000_8000_0080_5f9b_34fb;
const STATE: u128 = SERVICE + 1;
const SECRET: u128 = SERVICE + 2;
const OTHER: u128 = SERVICE + 0x100;
/// Where the controller is, while it is plugged in.
const HCI: &str = "/sys/class/bluetooth/hci0";

fn uuid(value: u128) -> String {
    let hex = format!("{value:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn characteristic(value: u128) -> CharacteristicId {
    CharacteristicId { service: None, uuid: uuid(value) }
}

/// Plugs a controller in and waits until BlueZ has it.
fn plug(peripheral: Peripheral) -> Radio {
    let radio = Radio::new(peripheral).unwrap();
    wait_for_bluez();
    radio
}

fn wait_for_bluez() {
    let args = ["--system", "--print-reply", "--dest=org.bluez", "/org/bluez/hci0", "org.freedesktop.DBus.Properties.GetAll"];
    let known = || Command::new("dbus-send").args(args).arg("string:org.bluez.Adapter1").output();
    eventually("BlueZ knows the controller", || known().is_ok_and(|output| output.status.success()));
}

fn pull(radio: Radio) {
    drop(radio);
    eventually("the controller goes", || !Path::new(HCI).exists());
}

fn lock(name: &str, number: u8) -> Peripheral {
    let state = Characteristic::new(Uuid::long(STATE), b"locked");
    // 05: insufficient authentication.
    let secret = Characteristic::new(Uuid::long(SECRET), b"1234").guarded(0x05);
    Peripheral::new(name, number).service(Uuid::long(SERVICE), vec![state, secret])
}

fn parameters(values: &[(&str, &str)]) -> Parameters {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Parameters { values, ..Parameters::default() }
}

async fn try_open(values: &[(&str, &str)]) -> Result<Box<dyn BleLink>, LinkError> {
    match Ble.open(&parameters(values)).await? {
        Opened::Ble(link) => Ok(link),
        _ => panic!("another kind of channel"),
    }
}

async fn open(name: &str) -> Box<dyn BleLink> {
    try_open(&[("adapter", "hci0"), ("name", name)]).await.unwrap()
}

async fn connected(link: &mut dyn BleLink) {
    assert_eq!(link.connect(PATIENCE / 2).await.unwrap(), Connection::Connected);
}

/// A connection that the device does not take. BlueZ itself was seen to crash there: that is the bench's doing and no word about the device,
/// and a driver that is opened anew works with the BlueZ that is started anew.
async fn not_taken(link: &mut Box<dyn BleLink>, name: &str, within: Duration) -> Connection {
    for _ in 0..3 {
        match link.connect(within).await {
            Ok(connection) => return connection,
            Err(error) => {
                assert!(error.lost && error.cause == Cause::Instrument, "{error:?}");
                wait_for_bluez();
                *link = open(name).await;
            }
        }
    }
    panic!("BlueZ crashes each time");
}

fn why<T: std::fmt::Debug>(answer: Answer<T>) -> Why {
    match answer {
        Answer::Refused(Refusal { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_driver_hears_what_is_advertised_now_and_silence_only_if_it_listened() {
    in_guest();
    let device = lock("drv heard", 0x21).manufacturer(0x0A5C, &[1, 2, 3]).power(-7).offers(0x180F).service_data(0x180F, &[99]);
    let radio = plug(device);
    block_on(async {
        let mut link = open("drv heard").await;
        let Listening { heard, doubt, .. } = link.listen(Duration::from_secs(2), false).await.unwrap();
        let heard = heard.unwrap();
        assert_eq!((heard.address.as_str(), heard.address_type.as_deref()), ("C0:1A:AB:00:00:21", Some("random")));
        assert_eq!((heard.name.as_deref(), heard.rssi, heard.tx_power), (Some("drv heard"), Some(-50), Some(-7)));
        assert_eq!(heard.manufacturer, [(0x0A5C, vec![1, 2, 3])].into());
        let battery = "0000180f-0000-1000-8000-00805f9b34fb".to_owned();
        assert_eq!((heard.services, heard.service_data), (vec![battery.clone()], [(battery, vec![99])].into()));
        assert_eq!(doubt, None);

        // BlueZ still remembers the device; that is not hearing it. Longer than one round of the kernel's discovery.
        radio.advertise(false);
        let begun = Instant::now();
        let silence = link.listen(Duration::from_secs(12), true).await.unwrap();
        assert_eq!((silence.heard, silence.doubt), (None, None));
        assert!(silence.listened >= Duration::from_secs(12) && begun.elapsed() >= Duration::from_secs(12));
        radio.advertise(true);
        assert!(link.listen(PATIENCE / 4, true).await.unwrap().heard.is_some());
        link.close().await;

        // By service, by address, and by a name that nobody has.
        for (key, value, is) in [("service", "180f", true), ("address", "c0:1a:ab:00:00:21", true), ("name", "drv", false)] {
            let mut link = try_open(&[(key, value)]).await.unwrap();
            let time = if is { PATIENCE / 4 } else { Duration::from_secs(1) };
            let listening = link.listen(time, true).await.unwrap();
            assert_eq!((listening.heard.is_some(), listening.others > 0), (is, !is), "{key}");
            link.close().await;
        }
        let error = try_open(&[("adapter", "hci7"), ("name", "x")]).await.err().unwrap();
        assert!(error.what.contains("there is hci0"), "{error}");
    });
    pull(radio);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn an_adapter_that_is_switched_off_while_it_listens_is_a_fault_of_the_bench() {
    in_guest();
    let radio = plug(lock("drv off", 0x22));
    radio.advertise(false);
    block_on(async {
        let mut link = open("drv off").await;
        std::thread::spawn(|| {
            crate::host::pass(Duration::from_secs(1));
            let power = ["--system", "--print-reply", "--dest=org.bluez", "/org/bluez/hci0"];
            let set =
                ["org.freedesktop.DBus.Properties.Set", "string:org.bluez.Adapter1", "string:Powered", "variant:boolean:false"];
            Command::new("dbus-send").args(power).args(set).output().unwrap();
        });
        let error = link.listen(PATIENCE / 2, false).await.unwrap_err();
        assert!(error.what.contains("switched off") && error.lost, "{error}");
        link.close().await;
        // The next run switches it on again.
        radio.advertise(true);
        let mut link = open("drv off").await;
        assert!(link.listen(PATIENCE / 4, true).await.unwrap().heard.is_some());
        link.close().await;
    });
    pull(radio);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn values_are_read_written_and_notified_and_nothing_is_lost() {
    in_guest();
    let other = vec![Characteristic::new(Uuid::long(OTHER + 1), b"log").properties(0x02)];
    let radio = plug(lock("drv values", 0x23).service(Uuid::long(OTHER), other));
    block_on(async {
        let mut link = open("drv values").await;
        let (notified, noticed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (sink, notices) = (Arc::clone(&notified), Arc::clone(&noticed));
        link.capture(Arc::new(move |notification| sink.lock().unwrap().push(notification.bytes)));
        link.watch(Arc::new(move |Notice { what, .. }| notices.lock().unwrap().push(what)));
        assert!(matches!(link.read(characteristic(STATE)).await.unwrap(), Answer::Unlinked(_)), "not connected yet");
        connected(link.as_mut()).await;

        let Answer::Done(services) = link.services().await.unwrap() else { panic!() };
        let all: Vec<_> = services.iter().flat_map(|s| &s.characteristics).map(|c| (c.uuid.clone(), c.access.clone())).collect();
        assert!(all.contains(&(uuid(OTHER + 1), vec!["read".to_owned()])), "{all:?}");
        let state = all.iter().find(|(own, _)| *own == uuid(STATE)).unwrap();
        assert!(["read", "write", "notify"].iter().all(|access| state.1.iter().any(|own| own == access)), "{state:?}");

        assert_eq!(link.read(characteristic(STATE)).await.unwrap(), Answer::Done(b"locked".to_vec()));
        assert_eq!(link.subscribe(characteristic(STATE)).await.unwrap(), Answer::Done(()));
        // What is read is told as if it were notified; it is not.
        assert_eq!(link.read(characteristic(STATE)).await.unwrap(), Answer::Done(b"locked".to_vec()));
        assert_eq!(link.write(characteristic(STATE), b"open".to_vec(), true).await.unwrap(), Answer::Done(()));
        while radio.written(PATIENCE).unwrap() != (Uuid::long(STATE), b"open".to_vec()) {}
        let sent: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n / 2]).collect();
        sent.iter().for_each(|value| radio.notify(Uuid::long(STATE), value));
        while notified.lock().unwrap().len() < sent.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(*notified.lock().unwrap(), sent, "in order, each once, equal ones too");

        assert!(matches!(link.read(characteristic(7)).await.unwrap(), Answer::Unknown(_)));
        assert_eq!(why(link.write(characteristic(OTHER + 1), vec![1], true).await.unwrap()), Why::NotPermitted);
        radio.refuse(Some(0x81));
        assert_eq!(why(link.read(characteristic(STATE)).await.unwrap()), Why::Application(0x81));
        radio.refuse(None);
        assert_eq!(link.link(Duration::ZERO).await.unwrap(), LinkState::Up);
        link.disconnect().await.unwrap();
        assert_eq!(link.link(Duration::ZERO).await.unwrap(), LinkState::Ended);
        let told = noticed.lock().unwrap().join("; ");
        assert!(told.contains("connected") && told.contains("disconnected by the bench") && !told.contains("lost"), "{told}");
        link.close().await;
    });
    pull(radio);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn access_without_a_bond_is_never_granted_and_makes_none() {
    in_guest();
    let radio = plug(lock("drv guarded", 0x24));
    block_on(async {
        let mut link = open("drv guarded").await;
        connected(link.as_mut()).await;
        link.refuse_bonds(true).await.unwrap();
        // The kernel asks the device to pair when it refuses for lack of security, and the device here lets the link go then. BlueZ shows only
        // that, so whether it was a refusal cannot be told; that it was no access can.
        let answer = link.read(characteristic(SECRET)).await.unwrap();
        assert!(!matches!(answer, Answer::Done(_)), "{answer:?}");
        assert!(radio.pairings() > 0, "the kernel does ask");
        link.refuse_bonds(false).await.unwrap();
        let bond = link.bond().await.unwrap();
        assert!(!bond.paired && !bond.bonded, "{bond:?}");
        connected(link.as_mut()).await;
        assert_eq!(link.read(characteristic(STATE)).await.unwrap(), Answer::Done(b"locked".to_vec()));
        link.close().await;
    });
    pull(radio);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_lost_link_is_noticed_and_made_again() {
    in_guest();
    let radio = plug(lock("drv lost", 0x25));
    block_on(async {
        let mut link = open("drv lost").await;
        connected(link.as_mut()).await;
        assert_eq!(link.link(Duration::from_secs(1)).await.unwrap(), LinkState::Up);
        radio.lose_link();
        assert_eq!(link.link(PATIENCE / 4).await.unwrap(), LinkState::Lost);
        assert!(matches!(link.read(characteristic(STATE)).await.unwrap(), Answer::Unlinked(_)));
        connected(link.as_mut()).await;
        assert_eq!(link.read(characteristic(STATE)).await.unwrap(), Answer::Done(b"locked".to_vec()));
        link.disconnect().await.unwrap();

        // It is there, but does not answer to a connection; or it is not there.
        radio.accept(false);
        let refused = not_taken(&mut link, "drv lost", Duration::from_secs(20)).await;
        assert!(matches!(refused, Connection::Refused(_)), "{refused:?}");
        // Once is not enough: BlueZ loses an order to connect now and then.
        let once = not_taken(&mut link, "drv lost", Duration::from_secs(4)).await;
        assert!(matches!(once, Connection::Doubtful(_)), "{once:?}");
        radio.advertise(false);
        assert_eq!(link.connect(Duration::from_secs(2)).await.unwrap(), Connection::Unheard { doubt: None });
        radio.accept(true);
        radio.advertise(true);
        connected(link.as_mut()).await;
        // Whoever drops it without closing leaves no link behind: the peripheral advertises again.
        drop(link);
        let mut link = open("drv lost").await;
        assert!(link.listen(PATIENCE / 4, true).await.unwrap().heard.is_some());
        link.close().await;
    });
    pull(radio);
}

/// Ends BlueZ as a crash would; the guest starts it again.
fn crash_bluez() {
    let mut ended = 0;
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(id) = id.filter(|_| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "bluetoothd")) {
            kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
            ended += 1;
        }
    }
    assert_eq!(ended, 1, "there is one BlueZ");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_bluez_that_crashes_is_a_fault_of_the_bench_and_works_when_it_is_started_again() {
    in_guest();
    let radio = plug(lock("drv crash", 0x2A));
    block_on(async {
        let mut link = open("drv crash").await;
        assert!(link.listen(PATIENCE / 4, true).await.unwrap().heard.is_some());
        crash_bluez();
        let error = link.connect(PATIENCE / 4).await.unwrap_err();
        assert!(error.lost && error.cause == Cause::Instrument, "{error:?}");
        drop(link);
        wait_for_bluez();
        let mut link = open("drv crash").await;
        connected(link.as_mut()).await;
        assert_eq!(link.read(characteristic(STATE)).await.unwrap(), Answer::Done(b"locked".to_vec()));
        link.close().await;
    });
    pull(radio);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn services_are_those_of_now_and_not_those_remembered() {
    in_guest();
    let access = |radio: Radio, wanted: u128| {
        block_on(async {
            let mut link = open("drv update").await;
            connected(link.as_mut()).await;
            let Answer::Done(services) = link.services().await.unwrap() else { panic!() };
            let there = services.iter().any(|service| service.uuid == uuid(wanted));
            link.close().await;
            there
        })
        .then(|| pull(radio))
        .is_some()
    };
    assert!(access(plug(lock("drv update", 0x26)), SERVICE));
    let update = vec![Characteristic::new(Uuid::long(OTHER + 1), b"x")];
    assert!(access(plug(Peripheral::new("drv update", 0x26).service(Uuid::long(OTHER), update)), OTHER));
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_pulled_adapter_is_a_fault_of_the_bench_and_works_when_it_is_back() {
    in_guest();
    for number in 0..3_u8 {
        let name = format!("drv pulled {number}");
        let radio = plug(lock(&name, 0x30 + number));
        block_on(async {
            let mut link = open(&name).await;
            if number > 0 {
                connected(link.as_mut()).await;
            }
            let pulled = std::thread::spawn(move || {
                crate::host::pass(Duration::from_millis(700));
                pull(radio);
            });
            let error = match number {
                0 => link.listen(PATIENCE / 2, false).await.unwrap_err(),
                1 => link.link(PATIENCE / 2).await.unwrap_err(),
                _ => loop {
                    if let Err(error) = link.read(characteristic(STATE)).await {
                        break error;
                    }
                },
            };
            assert!(error.lost && error.what.contains("pulled"), "{error}");
            pulled.join().unwrap();
            let begun = Instant::now();
            link.close().await;
            assert!(begun.elapsed() < Duration::from_secs(10), "closing does not wait for what is gone");
            // Without any adapter: advice, no crash.
            let error = try_open(&[("name", &name)]).await.err().unwrap();
            assert!(error.what.contains("no Bluetooth adapter"), "{error}");
        });
        let radio = plug(lock(&name, 0x30 + number));
        block_on(async {
            let mut link = open(&name).await;
            connected(link.as_mut()).await;
            assert_eq!(link.read(characteristic(STATE)).await.unwrap(), Answer::Done(b"locked".to_vec()));
            link.close().await;
        });
        pull(radio);
    }
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_bond_is_seen_and_forgotten() {
    in_guest();
    // As BlueZ stores a bond that was made earlier.
    let stored = Path::new("/var/lib/bluetooth/00:1A:AB:00:00:01/C0:1A:AB:00:00:27");
    fs::create_dir_all(stored).unwrap();
    let key = "[LongTermKey]\nKey=00112233445566778899AABBCCDDEEFF\nAuthenticated=0\nEncSize=16\nEDiv=1\nRand=1\n";
    let general = "[General]\nName=drv bonded\nAddressType=static\nSupportedTechnologies=LE;\nTrusted=true\nBlocked=false\n";
    fs::write(stored.join("info"), format!("{general}\n{key}")).unwrap();
    let radio = plug(lock("drv bonded", 0x27));
    block_on(async {
        let mut link = open("drv bonded").await;
        let bond = link.bond().await.unwrap();
        assert!(bond.known && bond.paired && bond.trusted, "{bond:?}");
        link.forget().await.unwrap();
        assert!(!link.bond().await.unwrap().known);
        assert!(!stored.join("info").exists());
        link.close().await;
    });
    pull(radio);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn an_abandoned_operation_is_given_up() {
    in_guest();
    let radio = plug(lock("drv abandoned", 0x28));
    radio.advertise(false);
    block_on(async {
        let mut link = open("drv abandoned").await;
        let given_up = tokio::time::timeout(Duration::from_secs(1), link.listen(PATIENCE * 5, true)).await;
        assert!(given_up.is_err());
        radio.advertise(true);
        radio.accept(false);
        let given_up = tokio::time::timeout(Duration::from_secs(3), link.connect(PATIENCE * 5)).await;
        assert!(given_up.is_err());
        radio.accept(true);
        connected(link.as_mut()).await;
        link.close().await;
    });
    pull(radio);
}
