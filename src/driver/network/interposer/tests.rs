//! The proxy on loopback, as a device would see it.

use std::{collections::BTreeMap, io::ErrorKind, time::Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

use super::*;
use crate::channel::network::{ClockAnswer, Direction, DnsAnswer, Portal};

/// Against hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// So long is silence.
const QUIET: Duration = Duration::from_millis(400);

const EVERYTHING: Filter =
    Filter { action: FilterAction::Drop, direction: Direction::Both, protocol: None, port: None, address: None };

/// A service that says everything back, over TCP and UDP, and a proxy in front of it.
struct Bench {
    link: Box<dyn NetworkLink>,
    tcp: SocketAddr,
    udp: SocketAddr,
}

fn free(udp: bool) -> SocketAddr {
    let any = (Ipv4Addr::LOCALHOST, 0);
    if udp {
        std::net::UdpSocket::bind(any).unwrap().local_addr().unwrap()
    } else {
        std::net::TcpListener::bind(any).unwrap().local_addr().unwrap()
    }
}

async fn echo() -> (SocketAddr, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            drop(socket.send_to(&buffer[..len], from).await);
        }
    });
    at
}

async fn open(values: BTreeMap<String, String>) -> Box<dyn NetworkLink> {
    let parameters = Parameters { values, ..Parameters::default() };
    let Opened::Network(mut link) = Interposer.open(&parameters).await.unwrap() else { panic!("not a network") };
    link.start().await.unwrap();
    link
}

async fn bench(tcp_only: bool) -> Bench {
    let (tcp_to, udp_to) = echo().await;
    let (tcp, udp) = (free(false), free(true));
    let mut routes = format!("cloud=tcp:{tcp}->{tcp_to}");
    if !tcp_only {
        routes += &format!(" time=udp:{udp}->{udp_to}");
    }
    Bench { link: open([("routes".to_owned(), routes)].into()).await, tcp, udp }
}

impl Bench {
    async fn filter(&mut self, filter: Filter) -> Proof {
        self.link.disturb(Disturbance::Filter(filter)).await.unwrap()
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        timeout(QUIET, TcpStream::connect(self.tcp)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }
}

/// What comes back when something is said.
async fn talk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    let mut back = vec![0; text.len()];
    let exchange = async {
        stream.write_all(text.as_bytes()).await?;
        stream.read_exact(&mut back).await
    };
    timeout(QUIET, exchange).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    assert_eq!(back, text.as_bytes());
    Ok(())
}

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn seen(proof: &Proof) -> bool {
    matches!(proof, Proof::Seen(_))
}

#[tokio::test]
async fn a_link_that_is_down_answers_nothing_and_comes_back() {
    let mut bench = bench(false).await;
    let mut before = bench.connect().await.unwrap();
    talk(&mut before, "hello").await.unwrap();
    assert!(seen(&bench.link.disturb(Disturbance::Down).await.unwrap()));
    assert_eq!(kind(bench.connect().await), ErrorKind::TimedOut, "not accepted, not refused");
    assert_eq!(kind(talk(&mut before, "anyone").await), ErrorKind::TimedOut, "silent, not closed");
    assert_eq!(bench.link.count(Counted::Disturbed).await.unwrap(), None, "what the kernel drops cannot be counted here");
    assert!(seen(&bench.link.restore().await.unwrap()));
    let mut after = timeout(PATIENCE, TcpStream::connect(bench.tcp)).await.unwrap().unwrap();
    talk(&mut after, "back").await.unwrap();
    let mut rest = vec![0; 6];
    timeout(PATIENCE, before.read_exact(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"anyone", "what was said in between was only late");
}

#[tokio::test]
async fn connections_are_reset_refused_and_silenced() {
    let mut bench = bench(true).await;
    let mut before = bench.connect().await.unwrap();
    talk(&mut before, "hello").await.unwrap();

    assert!(seen(&bench.filter(Filter { action: FilterAction::Silent, ..EVERYTHING }).await));
    assert_eq!(kind(talk(&mut before, "anyone").await), ErrorKind::TimedOut);
    let mut new = bench.connect().await.unwrap();
    talk(&mut new, "new ones work").await.unwrap();
    assert_eq!(bench.link.count(Counted::Disturbed).await.unwrap(), Some(1));

    bench.link.restore().await.unwrap();
    assert!(seen(&bench.filter(Filter { action: FilterAction::Reset, ..EVERYTHING }).await));
    assert_eq!(kind(timeout(PATIENCE, new.read_u8()).await.unwrap()), ErrorKind::ConnectionReset);
    let mut late = bench.connect().await.unwrap();
    assert_eq!(kind(timeout(PATIENCE, late.read_u8()).await.unwrap()), ErrorKind::ConnectionReset);
    assert!(bench.link.count(Counted::Disturbed).await.unwrap().unwrap() >= 2);

    bench.link.restore().await.unwrap();
    assert!(seen(&bench.filter(Filter { action: FilterAction::Reject, ..EVERYTHING }).await));
    assert_eq!(kind(bench.connect().await), ErrorKind::ConnectionRefused);
    bench.link.restore().await.unwrap();
    talk(&mut bench.connect().await.unwrap(), "back").await.unwrap();
}

#[tokio::test]
async fn only_what_a_filter_is_about_is_met() {
    let mut bench = bench(false).await;
    let udp = Filter { protocol: Some(Protocol::Udp), ..EVERYTHING };
    bench.filter(udp).await;
    talk(&mut bench.connect().await.unwrap(), "TCP").await.unwrap();
    let device = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    device.send_to(b"lost", bench.udp).await.unwrap();
    let mut buffer = [0; 16];
    assert!(timeout(QUIET, device.recv_from(&mut buffer)).await.is_err());
    assert_eq!(bench.link.count(Counted::Disturbed).await.unwrap(), Some(1));
    bench.link.restore().await.unwrap();
    device.send_to(b"back", bench.udp).await.unwrap();
    let (len, _) = timeout(PATIENCE, device.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..len], b"back");
    assert_eq!(bench.link.count(Counted::Packets).await.unwrap(), Some(1));

    let elsewhere = Filter { port: Some(9), ..EVERYTHING };
    let error = bench.link.disturb(Disturbance::Filter(elsewhere)).await.unwrap_err();
    assert!(error.what.contains("no route"), "{error}");
    for impossible in [
        Filter { protocol: Some(Protocol::Icmp), ..EVERYTHING },
        Filter { action: FilterAction::Reject, protocol: Some(Protocol::Udp), ..EVERYTHING },
    ] {
        assert!(bench.link.disturb(Disturbance::Filter(impossible)).await.is_err(), "{impossible:?}");
    }
}

#[tokio::test]
async fn a_slow_link_is_slow_each_way() {
    let mut bench = bench(false).await;
    let mut stream = bench.connect().await.unwrap();
    let delay = Duration::from_millis(60);
    let late = Impairment { delay, ..Impairment::default() };
    assert!(seen(&bench.link.disturb(Disturbance::Impair(late)).await.unwrap()));
    let start = Instant::now();
    talk(&mut stream, "there and back").await.unwrap();
    assert!(start.elapsed() >= delay * 2, "{:?}", start.elapsed());
    let device = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (start, mut buffer) = (Instant::now(), [0; 16]);
    device.send_to(b"x", bench.udp).await.unwrap();
    timeout(PATIENCE, device.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert!(start.elapsed() >= delay * 2);

    // 8 KiB at 128 kbit/s: half a second.
    let slow = Impairment { direction: Direction::Up, rate: Some(128_000), ..Impairment::default() };
    bench.link.disturb(Disturbance::Impair(slow)).await.unwrap();
    let (start, mut back) = (Instant::now(), vec![0; 8192]);
    stream.write_all(&[7; 8192]).await.unwrap();
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_a_proxy_cannot_do_is_said() {
    let lossy = Disturbance::Impair(Impairment { loss: 1000, ..Impairment::default() });
    let mut both = bench(false).await;
    let proof = both.link.disturb(lossy.clone()).await.unwrap();
    assert!(matches!(proof, Proof::None(what) if what.contains("TCP")));
    let device = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    device.send_to(b"lost", both.udp).await.unwrap();
    assert!(timeout(QUIET, device.recv_from(&mut [0; 16])).await.is_err(), "datagrams are lost all the same");
    let mut tcp = bench(true).await;
    assert!(tcp.link.disturb(lossy).await.unwrap_err().what.contains("netns"));
}

#[tokio::test]
async fn a_fresh_one_has_nothing_to_restore_and_opens_nothing() {
    let listen = free(false);
    let routes = format!("cloud=tcp:{listen}->127.0.0.1:9");
    let parameters = Parameters { values: [("routes".to_owned(), routes)].into(), ..Parameters::default() };
    let Opened::Network(mut link) = Interposer.open(&parameters).await.unwrap() else { panic!("not a network") };
    assert!(seen(&link.restore().await.unwrap()));
    assert_eq!(kind(TcpStream::connect(listen).await), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn flows_are_the_evidence() {
    let mut bench = bench(true).await;
    bench.link.start_capture().await.unwrap();
    let mut stream = bench.connect().await.unwrap();
    talk(&mut stream, "hello").await.unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let captured = bench.link.stop_capture().await.unwrap();
    assert_eq!((captured.ending, captured.count, captured.left_out), ("json", 1, 0));
    let flows: serde_json::Value = serde_json::from_slice(&captured.bytes).unwrap();
    assert_eq!((&flows[0]["route"], &flows[0]["bytes-up"], &flows[0]["bytes-down"]), (&"cloud".into(), &5.into(), &5.into()));
    assert_eq!(flows[0]["end"], "closed");
    assert!(bench.link.stop_capture().await.is_err());
}

#[tokio::test]
async fn services_answer_as_told_and_tell_what_was_asked() {
    let (dns, clock, portal) = (free(true), free(true), free(false));
    let values = [
        ("routes", format!("cloud=tcp:{}->127.0.0.1:9", free(false))),
        ("dns", dns.to_string()),
        ("names", "broker.example=127.0.0.1".to_owned()),
        ("clock", clock.to_string()),
        ("portal", portal.to_string()),
    ];
    let mut link = open(values.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    link.watch(Arc::new(move |notice| notes.lock().unwrap().push(notice.what)));

    // Question for the address of broker.example, with id 0x0102.
    let question = b"\x01\x02\x01\0\0\x01\0\0\0\0\0\0\x06broker\x07example\0\0\x01\0\x01";
    let device = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut buffer = [0; 512];
    for (answer, code, answers) in [(DnsAnswer::Right, 0, 1), (DnsAnswer::NxDomain, 3, 0), (DnsAnswer::ServFail, 2, 0)] {
        assert!(seen(&link.disturb(Disturbance::Dns(answer)).await.unwrap()));
        device.send_to(question, dns).await.unwrap();
        let (len, _) = timeout(PATIENCE, device.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert!(len > 12 && buffer[..2] == [1, 2], "it answers this question");
        assert_eq!((buffer[3] & 15, buffer[7]), (code, answers));
        assert_eq!(link.count(Counted::Dns).await.unwrap(), Some(1), "counted from the last change on");
    }
    let delay = Duration::from_millis(300);
    link.disturb(Disturbance::Dns(DnsAnswer::Slow(delay))).await.unwrap();
    let start = Instant::now();
    device.send_to(question, dns).await.unwrap();
    timeout(PATIENCE, device.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert!(start.elapsed() >= delay);
    link.disturb(Disturbance::Dns(DnsAnswer::Silent)).await.unwrap();
    device.send_to(question, dns).await.unwrap();
    assert!(timeout(QUIET, device.recv_from(&mut buffer)).await.is_err());
    assert_eq!(link.count(Counted::Dns).await.unwrap(), Some(1), "a question without an answer is one");
    assert!(told.lock().unwrap().iter().any(|what| what == "DNS asked: A broker.example, no answer"));

    let mut request = [0; 48];
    request[0] = 4 << 3 | 3;
    link.disturb(Disturbance::Clock(ClockAnswer::At(0))).await.unwrap();
    device.send_to(&request, clock).await.unwrap();
    timeout(PATIENCE, device.recv_from(&mut buffer)).await.unwrap().unwrap();
    let seconds = u32::from_be_bytes([buffer[40], buffer[41], buffer[42], buffer[43]]);
    assert!((2_208_988_800..2_208_988_830).contains(&seconds), "the beginning of 1970: {seconds}");

    let ask = async || {
        let mut client = TcpStream::connect(portal).await?;
        client.write_all(b"GET / HTTP/1.1\r\nHost: vendor.example\r\n\r\n").await?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.map(|_| answer)
    };
    assert!(ask().await.is_err(), "there is no portal yet");
    link.disturb(Disturbance::Portal(Some(Portal::Redirect))).await.unwrap();
    assert!(timeout(PATIENCE, ask()).await.unwrap().unwrap().starts_with("HTTP/1.1 302 "));
    assert_eq!(link.count(Counted::Portal).await.unwrap(), Some(1));
    let error = link.disturb(Disturbance::Dhcp(crate::channel::network::DhcpAnswer::Nak)).await.unwrap_err();
    assert!(error.to_string().contains("dhcp"), "{error}");
}

#[test]
fn wrong_parameters_are_refused_before_anything_is_touched() {
    let read = |routes: &str| {
        let values = [("routes".to_owned(), routes.to_owned())].into();
        Settings::from(&Parameters { values, ..Parameters::default() })
    };
    assert!(read("a=tcp:127.0.0.1:1->127.0.0.1:2 b=udp:127.0.0.1:1->127.0.0.1:2").is_ok());
    for bad in [
        "",
        "a=tcp:127.0.0.1:1",
        "a=sctp:127.0.0.1:1->127.0.0.1:2",
        "a=tcp:127.0.0.1:0->127.0.0.1:2",
        "a=tcp:127.0.0.1:1->127.0.0.1:1",
        "a=tcp:127.0.0.1:1->127.0.0.1:2 a=tcp:127.0.0.1:3->127.0.0.1:2",
        "a=tcp:127.0.0.1:1->127.0.0.1:2 b=tcp:127.0.0.1:1->127.0.0.1:3",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
