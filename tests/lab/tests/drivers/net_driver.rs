//! hilbench's driver `netns` on the port behind which a device is: every disturbance as a program on the device sees it, and what is left
//! of it afterwards.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use hilbench::{
    channel::{
        link::{Driver as _, Opened, Parameters, Proof},
        network::{
            ClockAnswer, Counted, DhcpAnswer, Direction, Disturbance, DnsAnswer, Filter, FilterAction, Impairment, NetworkLink,
            Portal, Protocol,
        },
    },
    driver::network::netns::Netns,
};
use lab::net::{BENCH, Network};
use tokio::runtime::Runtime;

use crate::host::{PATIENCE, eventually, in_guest};

/// Longer than any answer here takes.
const QUIET: Duration = Duration::from_millis(1500);
const PORT: u16 = 4445;

const EVERYTHING: Filter =
    Filter { action: FilterAction::Drop, direction: Direction::Both, protocol: None, port: None, address: None };

/// A device behind a port, the bench's driver on that port, and a service on the bench that says everything back.
struct Rig {
    network: Network,
    port: String,
    link: Box<dyn NetworkLink>,
    runtime: Runtime,
}

fn open(runtime: &Runtime, port: &str, more: &[(&str, &str)]) -> Box<dyn NetworkLink> {
    let mut values = [("interface".to_owned(), port.to_owned())].to_vec();
    values.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let parameters = Parameters { values: values.into_iter().collect(), ..Parameters::default() };
    Netns.check(&parameters).unwrap();
    let Opened::Network(link) = runtime.block_on(Netns.open(&parameters)).unwrap() else { panic!("not a network") };
    link
}

impl Rig {
    fn new(name: &str, more: &[(&str, &str)]) -> Self {
        let network = Network::new(name).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let port = format!("{name}0");
        let mut link = open(&runtime, &port, more);
        runtime.block_on(link.start()).unwrap();
        let rig = Self { network, port, link, runtime };
        // Accepted by the service of another test, or refused: both come from the bench.
        eventually("the device reaches the bench", || {
            rig.connect(QUIET).map_or_else(|error| error.kind() == ErrorKind::ConnectionRefused, |_| true)
        });
        rig
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        let proof = self.runtime.block_on(self.link.disturb(disturbance)).unwrap();
        assert!(matches!(proof, Proof::Seen(_)), "{proof:?}");
    }

    fn filter(&mut self, action: FilterAction) {
        let direction =
            if matches!(action, FilterAction::Reject | FilterAction::Reset) { Direction::Up } else { Direction::Both };
        self.disturb(Disturbance::Filter(Filter { action, direction, ..EVERYTHING }));
    }

    fn restore(&mut self) {
        let proof = self.runtime.block_on(self.link.restore()).unwrap();
        assert!(matches!(proof, Proof::Seen(_)), "{proof:?}");
    }

    fn count(&mut self, what: Counted) -> Option<u64> {
        self.runtime.block_on(self.link.count(what)).unwrap()
    }

    fn connect(&self, time: Duration) -> io::Result<TcpStream> {
        self.network.on_device(|| TcpStream::connect_timeout(&SocketAddr::from((BENCH, PORT)), time)).unwrap()
    }
}

fn echo() -> TcpListener {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
    let served = listener.try_clone().unwrap();
    thread::spawn(move || {
        for stream in served.incoming().flatten() {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    listener
}

fn talk(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(QUIET))?;
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])
}

fn output(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn every_disturbance_is_what_the_device_sees() {
    in_guest();
    let mut rig = Rig::new("faults", &[]);
    let _service = echo();
    let mut old = rig.connect(PATIENCE).unwrap();
    talk(&mut old).unwrap();

    rig.disturb(Disturbance::Down);
    let device_side = || output("ip -n faults -j link show dev eth0");
    eventually("the device's carrier is gone", || device_side().contains("NO-CARRIER"));
    assert!(is_silence(&talk(&mut old).unwrap_err()));
    rig.restore();
    eventually("the device's carrier is back", || !device_side().contains("NO-CARRIER"));
    let mut old = rig.connect(PATIENCE).unwrap();
    talk(&mut old).unwrap();

    rig.filter(FilterAction::Drop);
    assert_eq!(rig.connect(QUIET).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(rig.count(Counted::Disturbed).unwrap() > 0);
    assert!(rig.count(Counted::Packets).unwrap() > 0);
    rig.restore();
    assert_eq!(rig.count(Counted::Disturbed), None, "nothing counts where there is no filter");

    rig.filter(FilterAction::Reject);
    assert_eq!(rig.connect(PATIENCE).unwrap_err().kind(), ErrorKind::HostUnreachable);
    assert!(rig.count(Counted::Disturbed).unwrap() > 0);
    rig.restore();

    talk(&mut old).unwrap();
    rig.filter(FilterAction::Reset);
    assert_eq!(talk(&mut old).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(rig.connect(PATIENCE).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    rig.restore();

    let mut old = rig.connect(PATIENCE).unwrap();
    talk(&mut old).unwrap();
    rig.filter(FilterAction::Silent);
    assert_eq!(rig.count(Counted::Disturbed), Some(0));
    assert!(is_silence(&talk(&mut old).unwrap_err()), "half-open");
    talk(&mut rig.connect(PATIENCE).unwrap()).unwrap();
    assert!(rig.count(Counted::Disturbed).unwrap() > 0);
    rig.restore();

    let other = Filter { protocol: Some(Protocol::Tcp), port: Some(PORT + 1), ..EVERYTHING };
    rig.disturb(Disturbance::Filter(other));
    talk(&mut rig.connect(PATIENCE).unwrap()).unwrap();
    rig.disturb(Disturbance::Filter(Filter { port: Some(PORT), address: Some(BENCH.into()), ..other }));
    assert_eq!(rig.connect(QUIET).unwrap_err().kind(), ErrorKind::TimedOut);
    rig.restore();
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_bad_link_is_as_bad_as_ordered() {
    in_guest();
    let mut rig = Rig::new("bad", &[]);
    let listener = TcpListener::bind(("0.0.0.0", PORT + 2)).unwrap();
    let connect = |rig: &Rig, time| {
        rig.network.on_device(|| TcpStream::connect_timeout(&SocketAddr::from((BENCH, PORT + 2)), time)).unwrap()
    };
    let delay = Duration::from_millis(80);
    for (direction, least) in [(Direction::Up, delay), (Direction::Down, delay), (Direction::Both, delay * 2)] {
        rig.disturb(Disturbance::Impair(Impairment { direction, delay, ..Impairment::default() }));
        let start = Instant::now();
        connect(&rig, PATIENCE).unwrap();
        assert!(start.elapsed() >= least, "{direction:?}: {:?}", start.elapsed());
    }
    for direction in [Direction::Up, Direction::Down] {
        rig.disturb(Disturbance::Impair(Impairment { direction, loss: 1000, ..Impairment::default() }));
        assert_eq!(connect(&rig, QUIET).unwrap_err().kind(), ErrorKind::TimedOut, "{direction:?}");
    }
    rig.restore();
    // 64 KiB at 512 kbit/s take a second; the first few packets are not held back.
    let rate = Impairment { direction: Direction::Down, rate: Some(512_000), ..Impairment::default() };
    rig.disturb(Disturbance::Impair(rate));
    while let Ok(()) = listener.set_nonblocking(true) {
        if listener.accept().is_err() {
            break;
        }
    }
    listener.set_nonblocking(false).unwrap();
    let mut device = connect(&rig, PATIENCE).unwrap();
    let (mut bench, _) = listener.accept().unwrap();
    let start = Instant::now();
    let sent = thread::spawn(move || bench.write_all(&vec![7; 65_536]));
    device.read_exact(&mut vec![0; 65_536]).unwrap();
    sent.join().unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // Everything together is accepted by the kernel.
    rig.disturb(Disturbance::Impair(Impairment {
        direction: Direction::Both,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        loss: 1,
        reorder: 10,
        duplicate: 10,
        corrupt: 1,
        rate: Some(1_000_000),
    }));
    rig.restore();
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_fresh_driver_undoes_what_a_killed_one_left() {
    in_guest();
    let mut rig = Rig::new("left", &[]);
    let port = rig.port.clone();
    let left = |port: &str| {
        let tables = output("nft list tables");
        let disciplines = output("tc qdisc show");
        let links = output("ip -o link show");
        let ours: Vec<_> = [tables, disciplines, links]
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.contains("hilb") || line.contains(" 68b:") || line.contains("ingress"))
            .map(str::to_owned)
            .collect();
        (ours, output(&format!("ip -j link show dev {port}")).contains("\"UP\""))
    };
    assert_eq!(left(&port), (Vec::new(), true));
    rig.filter(FilterAction::Drop);
    rig.disturb(Disturbance::Impair(Impairment { loss: 500, ..Impairment::default() }));
    rig.disturb(Disturbance::Down);
    assert!(left(&port).0.len() >= 4 && !left(&port).1);

    // What happens after SIGKILL: nothing is dropped, and the guard opens the channel anew and only restores.
    let mut guard = open(&rig.runtime, &port, &[]);
    std::mem::forget(std::mem::replace(&mut rig.link, guard));
    for _ in 0..2 {
        rig.restore();
        assert_eq!(left(&port), (Vec::new(), true), "also when there is nothing to do");
    }
    eventually("the device reaches the bench again", || {
        rig.connect(QUIET).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });

    // Without a guard the next run cleans up before the device is looked at.
    rig.filter(FilterAction::Drop);
    guard = open(&rig.runtime, &port, &[]);
    std::mem::forget(std::mem::replace(&mut rig.link, guard));
    rig.runtime.block_on(rig.link.start()).unwrap();
    assert_eq!(left(&port), (Vec::new(), true));

    // Somebody else's rules stay.
    output("nft add table inet foreign");
    rig.restore();
    assert!(output("nft list tables").contains("foreign"));
    output("nft delete table inet foreign");
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_bench_plays_the_services_of_a_home() {
    in_guest();
    let more = [("address", "10.77.0.1/24"), ("services", "dns clock dhcp portal"), ("names", "broker.example=10.77.0.1")];
    let mut rig = Rig::new("home", &more);
    rig.network.inside("ip route add default via 10.77.0.1").unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    rig.link.watch(Arc::new(move |notice| notes.lock().unwrap().push(notice.what)));
    let ask = |rig: &Rig, request: &[u8], port: u16| {
        let exchange = || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(QUIET))?;
            socket.send_to(request, (BENCH, port))?;
            let mut buffer = vec![0; 512];
            let len = socket.recv(&mut buffer)?;
            buffer.truncate(len);
            io::Result::Ok(buffer)
        };
        rig.network.on_device(exchange).unwrap()
    };
    let question = b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x06broker\x07example\0\0\x01\0\x01";
    let right = ask(&rig, question, 53).unwrap();
    assert_eq!((right[3] & 15, &right[right.len() - 4..]), (0, &[10, 77, 0, 1][..]));
    rig.disturb(Disturbance::Dns(DnsAnswer::ServFail));
    assert_eq!(ask(&rig, question, 53).unwrap()[3] & 15, 2);
    rig.disturb(Disturbance::Dns(DnsAnswer::Silent));
    assert!(is_silence(&ask(&rig, question, 53).unwrap_err()));
    assert_eq!(rig.count(Counted::Dns), Some(1));
    assert!(told.lock().unwrap().contains(&"DNS asked: A broker.example, no answer".to_owned()));
    rig.disturb(Disturbance::Dns(DnsAnswer::Right));

    let mut request = [0; 48];
    request[0] = 4 << 3 | 3;
    rig.disturb(Disturbance::Clock(ClockAnswer::At(2_147_483_640)));
    let reply = ask(&rig, &request, 123).unwrap();
    let seconds = u32::from_be_bytes(reply[40..44].try_into().unwrap());
    assert!(seconds.wrapping_sub(2_208_988_800) - 2_147_483_640 < 60, "{seconds}");

    // DHCP by broadcast from an address of nothing, as a device begins.
    let discover = |rig: &Rig| {
        let exchange = || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
            socket.bind_device(Some(b"eth0"))?;
            socket.set_broadcast(true)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
            let socket = UdpSocket::from(socket);
            socket.set_read_timeout(Some(QUIET))?;
            let mut message = vec![0; 240];
            message[..8].copy_from_slice(&[1, 1, 6, 0, 9, 9, 9, 9]);
            message[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            message[236..].copy_from_slice(&[99, 130, 83, 99]);
            message.extend([53, 1, 1, 255]);
            message.resize(300, 0);
            socket.send_to(&message, (Ipv4Addr::BROADCAST, 67))?;
            let mut buffer = [0; 1024];
            let len = socket.recv(&mut buffer)?;
            io::Result::Ok(buffer[..len].to_vec())
        };
        rig.network.on_device(exchange).unwrap()
    };
    let offer = discover(&rig).unwrap();
    assert_eq!((offer[0], &offer[4..8], &offer[16..20]), (2, &[9; 4][..], &[10, 77, 0, 100][..]));
    rig.disturb(Disturbance::Dhcp(DhcpAnswer::Silent));
    assert!(is_silence(&discover(&rig).unwrap_err()));
    assert_eq!(rig.count(Counted::Dhcp), Some(1));

    // Whatever it wants from port 80 of whomever, it gets the portal.
    let browse = |rig: &Rig| {
        let exchange = || {
            let mut client = TcpStream::connect_timeout(&"192.0.2.9:80".parse().unwrap(), QUIET)?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.write_all(b"GET /fw.bin HTTP/1.1\r\nHost: vendor.example\r\n\r\n")?;
            let mut answer = String::new();
            client.read_to_string(&mut answer)?;
            io::Result::Ok(answer)
        };
        rig.network.on_device(exchange).unwrap()
    };
    rig.disturb(Disturbance::Portal(Some(Portal::Redirect)));
    assert!(browse(&rig).unwrap().starts_with("HTTP/1.1 302 "));
    let captive = ask(&rig, b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x05other\x07example\0\0\x01\0\x01", 53).unwrap();
    assert_eq!(captive[captive.len() - 4..], [10, 77, 0, 1], "every name is the portal's");
    assert_eq!(rig.count(Counted::Portal), Some(1));
    rig.restore();
    assert!(browse(&rig).is_err());
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn traffic_is_captured_as_it_was() {
    in_guest();
    let mut rig = Rig::new("capture", &[]);
    let listener = TcpListener::bind(("0.0.0.0", PORT + 3)).unwrap();
    rig.runtime.block_on(rig.link.start_capture()).unwrap();
    let said = rig.network.on_device(|| {
        TcpStream::connect((BENCH, PORT + 3)).and_then(|mut stream| stream.write_all(b"what the device said")).unwrap();
    });
    said.unwrap();
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    // What is captured on another thread is there a moment later.
    crate::host::pass(Duration::from_millis(300));
    let captured = rig.runtime.block_on(rig.link.stop_capture()).unwrap();
    assert_eq!((captured.ending, captured.left_out), ("pcap", 0));
    assert_eq!(captured.bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let needle = b"what the device said";
    assert_eq!(captured.bytes.windows(needle.len()).filter(|window| window == needle).count(), 1);
    assert!(captured.count >= 5, "a whole connection: {}", captured.count);
    assert!(rig.runtime.block_on(rig.link.stop_capture()).is_err());
}
