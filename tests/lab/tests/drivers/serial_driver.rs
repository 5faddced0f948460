//! hilbench's own serial driver and console in front of `cdc-acm`, `ftdi_sio` and `ch341`: plugs that are pulled, lines, floods.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use hilbench::{
    channel::{
        clock::{Clock, WallClock},
        console::{Console, Expectation, Mark, Returns, Supplied},
        line::Lines,
        link::{Driver, LinkError, Opened, Parameters},
        matcher::Matcher,
        tap::Tap,
    },
    driver::serial::Serial,
    event::{ChannelName, Nanos},
};
use lab::usb::{Cable, Fault, Peer, acm::Acm, ch340::Ch340Relay, ft232r::Ft232r};
use sha2::{Digest as _, Sha256};

use crate::host::{PATIENCE, eventually, in_guest, wait_by_id};

/// What the console tells.
#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<String>>,
    bytes: Mutex<(u64, Sha256)>,
}

impl Log {
    fn add(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.starts_with(what)).count()
    }
}

impl Tap for Log {
    fn received(&self, _: &ChannelName, _: Nanos, bytes: &[u8]) {
        let mut all = self.bytes.lock().unwrap();
        all.0 += bytes.len() as u64;
        all.1.update(bytes);
    }
    fn sent(&self, _: &ChannelName, _: Nanos, _: &[u8]) {}
    fn lost(&self, _: &ChannelName, _: Nanos, why: &str) {
        self.add(format!("lost {why}"));
    }
    fn gap(&self, _: &ChannelName, _: Nanos, _: Option<u64>) {
        self.add("gap".to_owned());
    }
    fn reopened(&self, _: &ChannelName, _: Nanos, identity: &str) {
        self.add(format!("back {identity}"));
    }
    fn noted(&self, _: &ChannelName, _: Nanos, what: &str) {
        self.add(format!("noted {what}"));
    }
}

fn parameters(values: &[(&str, &str)]) -> Parameters {
    Parameters {
        values: values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        base: "/".into(),
    }
}

pub(crate) struct Rig {
    pub(crate) console: Console,
    clock: Arc<dyn Clock>,
    pub(crate) log: Arc<Log>,
    supply: Arc<Supplied>,
}

impl Rig {
    async fn open(named: Parameters) -> Self {
        Self::with(Arc::new(Serial), named).await
    }

    pub(crate) async fn with(driver: Arc<dyn Driver>, named: Parameters) -> Self {
        let reopen = move || {
            let (driver, named) = (Arc::clone(&driver), named.clone());
            let found = async move {
                let Opened::Console(link) = driver.open(&named).await? else {
                    return Err(LinkError::new("open", "not a console"));
                };
                // Before it is there it is only known by what the rig says of it.
                Ok((link, driver.identity(&named)?))
            };
            Box::pin(found)
                as hilbench::channel::clock::BoxFuture<
                    'static,
                    Result<(Box<dyn hilbench::channel::link::ByteLink>, String), LinkError>,
                >
        };
        let (link, _) = reopen().await.unwrap();
        let (clock, log, supply) = (Arc::new(WallClock::start()), Arc::new(Log::default()), Supplied::new("supply"));
        let returns = Returns { reopen: Arc::new(reopen), within: PATIENCE, powered_by: Some(Arc::clone(&supply)) };
        let console = Console::returning("console".into(), Some(link), clock.clone(), log.clone(), returns);
        Self { console, clock, log, supply }
    }

    pub(crate) async fn expect(&self, from: u64, pattern: &str, time: Duration) -> Expectation {
        let matcher = Matcher::compile(pattern).unwrap();
        self.console.expect(from, &[&matcher], self.clock.now().after(time)).await
    }

    /// Both directions, in a text of its own.
    async fn talk(&self, peer: &Peer, number: usize) {
        self.console.present().await.unwrap();
        let from = self.console.mark();
        let text = format!("line {number}\n");
        assert_eq!(peer.send(text.as_bytes()), text.len());
        let seen = self.expect(from, &format!("line {number}\n"), PATIENCE).await;
        assert!(matches!(seen, Expectation::Matched(_)), "{seen:?}");
        self.console.send(format!("ask {number}\n")).await.unwrap();
        assert!(peer.receive_until(format!("ask {number}\n").as_bytes(), PATIENCE).is_some());
    }

    pub(crate) async fn away(&self) {
        let end = Instant::now() + PATIENCE;
        while self.console.is_there() {
            assert!(Instant::now() < end, "it is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Several threads: the tests block one with what hands do.
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, future).await }).expect("it hangs")
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_pulled_console_is_found_again_in_the_same_stream() {
    in_guest();
    let (acm, peer) = Acm::new("AGAIN");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    wait_by_id("AGAIN");
    block_on(async {
        let rig =
            Rig::open(parameters(&[("serial-number", "AGAIN"), ("interface", "0"), ("dtr", "down"), ("rts", "down")])).await;
        assert!(peer.wait_lines(PATIENCE, |lines| !lines.dtr && !lines.rts));
        rig.talk(&peer, 0).await;
        let first = cable.wait_terminal().unwrap();
        for round in 1..=12_usize {
            // Also while something is under way, in either direction.
            let (console, sending) = (rig.console.clone(), round % 3 == 0);
            let busy = tokio::spawn(async move { if sending { Some(console.send(vec![b'x'; 100_000]).await) } else { None } });
            if round % 3 == 1 {
                let _ = peer.send(&vec![b'y'; 50_000]);
            }
            tokio::time::sleep(Duration::from_millis(7 * round as u64)).await;
            if round % 4 == 2 {
                tokio::task::block_in_place(|| cable.replug_renumbered()).unwrap();
                assert_ne!(cable.wait_terminal().unwrap(), first, "the twin had the number");
            } else {
                tokio::task::block_in_place(|| cable.unplug()).unwrap();
                rig.away().await;
                tokio::time::sleep(Duration::from_millis(11 * round as u64)).await;
                tokio::task::block_in_place(|| cable.plug()).unwrap();
            }
            if let Some(sent) = busy.await.unwrap() {
                // Either all of it had gone into the kernel before, or it is told how much; with nothing gone it waits and goes out whole.
                let told = sent.map_or_else(|error| error.what, |sent| format!("{} of 100000", sent.len));
                assert!(told.contains("of 100000"), "{told}");
            }
            rig.talk(&peer, round).await;
            assert!(peer.wait_lines(PATIENCE, |lines| !lines.dtr && !lines.rts), "the lines are as declared again");
        }
        let counts = (rig.log.count("lost"), rig.log.count("back serial usb 1209:0001 serial number AGAIN interface 0"));
        assert_eq!(counts, (12, 12), "{:#?}", rig.log.lines.lock().unwrap());
        assert_eq!(rig.log.count("noted DTR down, RTS down"), 13);
        assert_eq!(rig.log.bytes.lock().unwrap().0, rig.console.mark(), "one stream");
        rig.console.close().await;
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_file_of_a_lost_console_is_closed_at_once() {
    in_guest();
    let (acm, peer) = Acm::new("NUMBER");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    let (link, _) = wait_by_id("NUMBER");
    block_on(async {
        // By a link of udev this time.
        let rig = Rig::open(parameters(&[("path", link.to_str().unwrap())])).await;
        let first = cable.wait_terminal().unwrap();
        for round in 0..5 {
            tokio::task::block_in_place(|| cable.unplug()).unwrap();
            rig.away().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            tokio::task::block_in_place(|| cable.plug()).unwrap();
            assert_eq!(
                cable.wait_terminal().unwrap(),
                first,
                "the kernel gives another number while somebody has the old file open"
            );
            rig.talk(&peer, round).await;
        }
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_loss_is_explained_by_the_supply_or_it_is_not() {
    in_guest();
    let (acm, peer) = Acm::new("FED");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    wait_by_id("FED");
    block_on(async {
        let rig = Rig::open(parameters(&[("usb", "1209:0001"), ("serial-number", "FED"), ("interface", "0")])).await;
        rig.talk(&peer, 0).await;
        let mark: Mark = rig.console.stand();
        rig.supply.switched(false, rig.clock.now());
        tokio::task::block_in_place(|| cable.unplug()).unwrap();
        rig.away().await;
        assert_eq!(rig.console.unexplained(mark, rig.clock.now()), None);
        tokio::task::block_in_place(|| cable.plug()).unwrap();
        rig.supply.switched(true, rig.clock.now());
        rig.talk(&peer, 1).await;
        assert_eq!(rig.console.unexplained(mark, rig.clock.now()), None);
        tokio::task::block_in_place(|| cable.replug()).unwrap();
        rig.talk(&peer, 2).await;
        let why = rig.console.unexplained(mark, rig.clock.now()).expect("nobody switched anything");
        assert!(why.contains("was back at"), "{why}");
        assert_eq!(rig.console.unexplained(rig.console.stand(), rig.clock.now()), None, "that is over");
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hung_console_is_not_lost_and_goes_on() {
    in_guest();
    let (acm, peer) = Acm::new("STUCK");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    wait_by_id("STUCK");
    block_on(async {
        let rig = Rig::open(parameters(&[("serial-number", "STUCK"), ("interface", "0")])).await;
        rig.talk(&peer, 0).await;
        let from = rig.console.mark();
        cable.fault(Fault::Hang);
        let _ = peer.send(b"later\n");
        assert!(matches!(rig.expect(from, "later", Duration::from_millis(300)).await, Expectation::TimedOut { .. }));
        assert!(rig.console.is_there());
        cable.heal();
        assert!(matches!(rig.expect(from, "later\n", PATIENCE).await, Expectation::Matched(_)));
        // And one that hangs when it is pulled.
        cable.fault(Fault::Hang);
        tokio::task::block_in_place(|| cable.replug()).unwrap();
        rig.talk(&peer, 1).await;
        assert_eq!(rig.log.count("lost"), 1);
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn lines_break_and_speed_reach_the_device() {
    in_guest();
    let (acm, peer) = Acm::new("LINES");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    wait_by_id("LINES");
    block_on(async {
        let rig = Rig::open(parameters(&[("serial-number", "LINES"), ("interface", "0"), ("baud", "9600")])).await;
        assert!(peer.wait_lines(PATIENCE, |lines| lines.dtr && lines.rts && lines.baud == 9600));
        for wanted in [(true, false), (false, true), (false, false), (true, true)].map(|(dtr, rts)| Lines { dtr, rts }) {
            let found = rig.console.line("drive", move |line| line.set_lines(wanted).and_then(|()| line.lines())).await.unwrap();
            assert_eq!(found, Some(wanted));
            assert!(peer.wait_lines(PATIENCE, |lines| (lines.dtr, lines.rts) == (wanted.dtr, wanted.rts)));
        }
        rig.console.line("speed", |line| line.set_baud(3_000_000)).await.unwrap();
        assert!(peer.wait_lines(PATIENCE, |lines| lines.baud == 3_000_000));
        assert_eq!(rig.console.line("speed", |line| line.baud()).await.unwrap(), 3_000_000);
        rig.console.line("break", |line| line.set_break(true)).await.unwrap();
        rig.console.line("break", |line| line.set_break(false)).await.unwrap();
        assert_eq!(rig.console.line("count", |line| Ok(line.overruns())).await.unwrap(), None, "cdc-acm writes no counts");
        tokio::task::block_in_place(|| cable.unplug()).unwrap();
        rig.away().await;
        assert!(rig.console.line("drive", |line| line.lines()).await.unwrap_err().lost);
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn two_adapters_without_serial_numbers_are_told_apart_by_their_place() {
    in_guest();
    let ((one, one_closed), (two, two_closed)) = (Ch340Relay::new(), Ch340Relay::new());
    let (mut one, mut two) = (Cable::new(one), Cable::new(two));
    one.plug().unwrap();
    two.plug().unwrap();
    let files = [&one, &two].map(|cable| std::path::Path::new("/dev").join(cable.wait_terminal().unwrap()));
    eventually("both device files", || files.iter().all(|file| file.exists()));
    block_on(async {
        let Err(error) = Serial.open(&parameters(&[("usb", "1a86:7523")])).await else { panic!("which one was opened?") };
        assert!(error.what.contains("more than one") && error.what.contains("`location`") && !error.lost, "{}", error.what);
        let place = two.location().unwrap().to_owned();
        let rig = Rig::open(parameters(&[("usb", "1a86:7523"), ("location", &place), ("baud", "9600")])).await;
        rig.console.send(vec![0xA0, 1, 1, 0xA2]).await.unwrap();
        eventually("the contact closes", || two_closed.load(Ordering::SeqCst));
        assert!(!one_closed.load(Ordering::SeqCst));
        // It comes back at its place; the other one is never taken for it.
        tokio::task::block_in_place(|| two.unplug()).unwrap();
        rig.away().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!rig.console.is_there());
        tokio::task::block_in_place(|| two.plug()).unwrap();
        assert_eq!(two.location(), Some(place.as_str()));
        rig.console.present().await.unwrap();
        rig.console.send(vec![0xA0, 1, 0, 0xA1]).await.unwrap();
        eventually("the contact opens", || !two_closed.load(Ordering::SeqCst));
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_flood_over_an_ftdi_converter_is_captured_to_the_last_byte() {
    const TOTAL: usize = 3 << 20;
    in_guest();
    let (chip, peer, _) = Ft232r::new("FLOOD");
    let mut cable = Cable::new(chip);
    cable.plug().unwrap();
    wait_by_id("FLOOD");
    block_on(async {
        let rig = Rig::open(parameters(&[("serial-number", "FLOOD"), ("interface", "0"), ("baud", "3000000")])).await;
        let start = Instant::now();
        let sender = std::thread::spawn(move || {
            let (mut digest, mut sent) = (Sha256::new(), 0);
            while sent < TOTAL {
                let piece: Vec<u8> = (sent..(sent + 6000).min(TOTAL)).map(|at| (at * 31 >> 3) as u8).collect();
                let taken = peer.send(&piece);
                digest.update(&piece[..taken]);
                sent += taken;
                if taken < piece.len() {
                    crate::host::pass(Duration::from_millis(5));
                }
            }
            digest.finalize()
        });
        // Somebody looks all the while for what never comes.
        let busy = rig.expect(0, "(?-u)\\x00never[a-z]+\\xff", PATIENCE);
        let done = async {
            while rig.console.mark() < TOTAL as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! { outcome = busy => panic!("{outcome:?}"), () = done => {} }
        assert_eq!(rig.log.bytes.lock().unwrap().1.clone().finalize(), sender.join().unwrap());
        assert!(start.elapsed() < 2 * PATIENCE);
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_port_of_the_machine_counts_what_it_loses() {
    in_guest();
    block_on(async {
        let rig = Rig::open(parameters(&[("path", "/dev/ttyS0")])).await;
        assert!(rig.console.line("count", |line| Ok(line.overruns())).await.unwrap().is_some());
    });
}
