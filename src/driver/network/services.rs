//! The services of a home network, played by the bench: each a task that answers as it is told at the moment.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    clock::{self, Clock},
    dhcp::Dhcp,
    dns::{self, Names, Reply},
    place::Place,
    portal,
    sink::{Counter, Sink},
};
use crate::{
    channel::{
        link::{LinkError, Notices, Proof},
        network::{Counted, DhcpAnswer, Disturbance, DnsAnswer, Portal},
    },
    event::Witness,
};

/// Answers that are still to come, and clients of DNS over TCP, at a time.
const WAITING: usize = 256;

/// What the rig wants played, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) dns: Option<SocketAddr>,
    pub(super) names: Names,
    pub(super) clock: Option<SocketAddr>,
    pub(super) dhcp: Option<Dhcp>,
    pub(super) portal: Option<SocketAddr>,
    /// Address that DNS gives for every name while there is a portal.
    pub(super) portal_address: Option<Ipv4Addr>,
}

/// How the services answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub(super) dns: DnsAnswer,
    pub(super) clock: Clock,
    pub(super) dhcp: DhcpAnswer,
    pub(super) portal: Option<Portal>,
}

/// The answers of the moment.
#[derive(Default)]
pub(super) struct Shared(Mutex<Answers>);

impl Shared {
    pub(super) fn now(&self) -> Answers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Counts of questions.
#[derive(Clone, Default)]
struct Counts {
    dns: Counter,
    clock: Counter,
    dhcp: Counter,
    portal: Counter,
}

/// The services of one network. They end with it.
pub(super) struct Services {
    wanted: Wanted,
    place: Place,
    shared: Arc<Shared>,
    counts: Counts,
    sink: Sink,
    tasks: JoinSet<()>,
    portal_port: Option<u16>,
}

impl Services {
    pub(super) fn new(wanted: Wanted, place: Place) -> Self {
        let (shared, counts, sink) = Default::default();
        Self { wanted, place, shared, counts, sink, tasks: JoinSet::new(), portal_port: None }
    }

    pub(super) fn watch(&mut self, notices: Notices) {
        self.sink.set(notices);
    }

    pub(super) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Where the portal listens, if it does.
    pub(super) fn portal_port(&self) -> Option<u16> {
        self.portal_port
    }

    /// Begins to answer.
    pub(super) async fn start(&mut self) -> Result<(), LinkError> {
        let (wanted, place) = (self.wanted.clone(), self.place.clone());
        let bind = move || -> Result<Bound, LinkError> {
            let udp = |what: &str, address: Option<SocketAddr>| {
                let bound = address.map(|address| place.udp(address).map_err(|error| refused(what, address, &error)));
                bound.transpose()
            };
            let tcp = |what: &str, address: Option<SocketAddr>| {
                let bound = address.map(|address| place.tcp(address).map_err(|error| refused(what, address, &error)));
                bound.transpose()
            };
            let dhcp = wanted.dhcp.is_some().then_some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 67)));
            Ok(Bound {
                dns: udp("DNS", wanted.dns)?,
                dns_tcp: tcp("DNS", wanted.dns)?,
                clock: udp("the time", wanted.clock)?,
                dhcp: udp("DHCP", dhcp)?,
                portal: tcp("a captive portal", wanted.portal)?,
            })
        };
        let joined = tokio::task::spawn_blocking(bind).await;
        let bound = joined.map_err(|error| LinkError::new("play network services", error.to_string()))??;
        self.spawn(bound).map_err(|error| LinkError::new("play network services", error.to_string()))
    }

    fn spawn(&mut self, bound: Bound) -> std::io::Result<()> {
        let (names, portal) = (self.wanted.names.clone(), self.wanted.portal_address);
        if let Some(socket) = bound.dns {
            let (socket, shared, names) = (Arc::new(UdpSocket::from_std(socket)?), Arc::clone(&self.shared), names.clone());
            let (sink, count, waiting) = (self.sink.clone(), self.counts.dns.clone(), Arc::new(Semaphore::new(WAITING)));
            self.tasks.spawn(async move {
                let mut buffer = vec![0; 4096];
                loop {
                    let Some((len, from)) = receive(&socket, &mut buffer).await else { continue };
                    let answers = shared.now();
                    let portal = portal.filter(|_| answers.portal.is_some());
                    let Some(reply) = dns::respond(&buffer[..len], &answers.dns, portal, &names, true) else { continue };
                    count.add();
                    sink.tell(asked(&reply, "DNS"));
                    let Some(bytes) = reply.bytes else { continue };
                    let DnsAnswer::Slow(delay) = answers.dns else {
                        drop(socket.send_to(&bytes, from).await);
                        continue;
                    };
                    // Beyond that many an answer that is late anyway is lost.
                    let Ok(permit) = Arc::clone(&waiting).try_acquire_owned() else { continue };
                    let socket = Arc::clone(&socket);
                    tokio::spawn(async move {
                        let _permit = permit;
                        sleep(delay).await;
                        drop(socket.send_to(&bytes, from).await);
                    });
                }
            });
        }
        if let Some(listener) = bound.dns_tcp {
            let listener = TcpListener::from_std(listener)?;
            let (shared, sink, count) = (Arc::clone(&self.shared), self.sink.clone(), self.counts.dns.clone());
            self.tasks.spawn(dns_over_tcp(listener, shared, names, portal, sink, count));
        }
        if let Some(socket) = bound.clock {
            let (socket, shared) = (UdpSocket::from_std(socket)?, Arc::clone(&self.shared));
            let (sink, count) = (self.sink.clone(), self.counts.clock.clone());
            self.tasks.spawn(async move {
                let mut buffer = vec![0; 1024];
                loop {
                    let Some((len, from)) = receive(&socket, &mut buffer).await else { continue };
                    let request = &buffer[..len];
                    if !clock::is_question(request) {
                        continue;
                    }
                    count.add();
                    let reply = clock::respond(request, &shared.now().clock, SystemTime::now());
                    let then = if reply.is_some() { "answered" } else { "no answer" };
                    sink.tell(format!("time asked by {}: {then}", from.ip()));
                    if let Some(reply) = reply {
                        drop(socket.send_to(&reply, from).await);
                    }
                }
            });
        }
        if let (Some(socket), Some(mut server)) = (bound.dhcp, self.wanted.dhcp.clone()) {
            let (socket, shared) = (UdpSocket::from_std(socket)?, Arc::clone(&self.shared));
            let (sink, count) = (self.sink.clone(), self.counts.dhcp.clone());
            self.tasks.spawn(async move {
                let mut buffer = vec![0; 2048];
                loop {
                    let Some((len, _)) = receive(&socket, &mut buffer).await else { continue };
                    let Some(reply) = server.respond(&buffer[..len], shared.now().dhcp) else { continue };
                    count.add();
                    sink.tell(reply.what);
                    if let Some((bytes, to)) = reply.send {
                        drop(socket.send_to(&bytes, (to, 68)).await);
                    }
                }
            });
        }
        if let Some(listener) = bound.portal {
            let listener = TcpListener::from_std(listener)?;
            self.portal_port = Some(listener.local_addr()?.port());
            self.tasks.spawn(portal::serve(listener, Arc::clone(&self.shared), self.sink.clone(), self.counts.portal.clone()));
        }
        Ok(())
    }

    /// Changes an answer. Nothing if the disturbance is not one of a service.
    pub(super) fn disturb(&mut self, disturbance: &Disturbance) -> Option<Result<Proof, LinkError>> {
        let (what, there) = match disturbance {
            Disturbance::Dns(_) => ("dns", self.wanted.dns.is_some()),
            Disturbance::Clock(_) => ("clock", self.wanted.clock.is_some()),
            Disturbance::Dhcp(_) => ("dhcp", self.wanted.dhcp.is_some()),
            Disturbance::Portal(_) => ("portal", self.wanted.portal.is_some()),
            Disturbance::Down | Disturbance::Impair(_) | Disturbance::Filter(_) => return None,
        };
        if !there || self.tasks.is_empty() {
            let why = format!("the rig does not let this network's driver play it; see its parameter for `{what}`");
            return Some(Err(LinkError::new(format!("change the bench's {what}"), why)));
        }
        self.shared.change(|answers| match disturbance {
            Disturbance::Dns(answer) => answers.dns = answer.clone(),
            Disturbance::Clock(answer) => answers.clock = Clock { answer: *answer, since: Some(SystemTime::now()) },
            Disturbance::Dhcp(answer) => answers.dhcp = *answer,
            Disturbance::Portal(answer) => answers.portal = *answer,
            Disturbance::Down | Disturbance::Impair(_) | Disturbance::Filter(_) => {}
        });
        self.reset();
        let what = format!("the bench's own {what} answers {:?}", short(disturbance));
        Some(Ok(Proof::Seen(Witness { what, evidence: None })))
    }

    /// Right answers again.
    pub(super) fn restore(&mut self) {
        self.shared.change(|answers| *answers = Answers::default());
        self.reset();
    }

    /// Counts begin again.
    pub(super) fn reset(&self) {
        for counter in [&self.counts.dns, &self.counts.clock, &self.counts.dhcp, &self.counts.portal] {
            counter.reset();
        }
    }

    /// How many questions since the last change; nothing if nobody would notice one.
    pub(super) fn count(&self, what: Counted) -> Option<u64> {
        let (there, counter) = match what {
            Counted::Dns => (self.wanted.dns.is_some(), &self.counts.dns),
            Counted::Clock => (self.wanted.clock.is_some(), &self.counts.clock),
            Counted::Dhcp => (self.wanted.dhcp.is_some(), &self.counts.dhcp),
            Counted::Portal => (self.wanted.portal.is_some(), &self.counts.portal),
            Counted::Disturbed | Counted::Packets => return None,
        };
        (there && !self.tasks.is_empty()).then(|| counter.get())
    }

    /// The portal in place.
    pub(super) fn portal(&self) -> Option<Portal> {
        self.shared.now().portal
    }
}

struct Bound {
    dns: Option<std::net::UdpSocket>,
    dns_tcp: Option<std::net::TcpListener>,
    clock: Option<std::net::UdpSocket>,
    dhcp: Option<std::net::UdpSocket>,
    portal: Option<std::net::TcpListener>,
}

fn refused(what: &str, address: SocketAddr, error: &std::io::Error) -> LinkError {
    let advice = match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program has that port; stop it, or let the rig not play this service",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE, a port of its own needs CAP_NET_RAW",
        std::io::ErrorKind::AddrNotAvailable => "the bench does not have that address; give it to the port",
        _ => "check the rig's address and port",
    };
    LinkError::new(format!("serve {what} at {address}"), format!("{error}; {advice}"))
}

fn short(disturbance: &Disturbance) -> String {
    let text = match disturbance {
        Disturbance::Dns(answer) => format!("{answer:?}"),
        Disturbance::Clock(answer) => format!("{answer:?}"),
        Disturbance::Dhcp(answer) => format!("{answer:?}"),
        Disturbance::Portal(answer) => format!("{answer:?}"),
        Disturbance::Down | Disturbance::Impair(_) | Disturbance::Filter(_) => String::new(),
    };
    text.to_lowercase()
}

fn asked(reply: &Reply, how: &str) -> String {
    let question: String = reply.question.chars().take(300).collect();
    format!("{how} asked: {question}{}", if reply.bytes.is_some() { "" } else { ", no answer" })
}

/// A datagram; an error is waited out, because it is about an earlier answer.
async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer).await {
        Ok(received) => Some(received),
        Err(_) => {
            sleep(Duration::from_millis(10)).await;
            None
        }
    }
}

async fn dns_over_tcp(
    listener: TcpListener,
    shared: Arc<Shared>,
    names: Names,
    portal: Option<Ipv4Addr>,
    sink: Sink,
    count: Counter,
) {
    let clients = Arc::new(Semaphore::new(WAITING));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        let Ok((mut client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (shared, names, sink, count) = (Arc::clone(&shared), names.clone(), sink.clone(), count.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let talk = async {
                loop {
                    let len = client.read_u16().await?;
                    let mut message = vec![0; usize::from(len)];
                    client.read_exact(&mut message).await?;
                    let answers = shared.now();
                    let portal = portal.filter(|_| answers.portal.is_some());
                    let Some(reply) = dns::respond(&message, &answers.dns, portal, &names, false) else { return Ok(()) };
                    count.add();
                    sink.tell(asked(&reply, "DNS over TCP"));
                    if let DnsAnswer::Slow(delay) = answers.dns {
                        sleep(delay).await;
                    }
                    let Some(bytes) = reply.bytes else { continue };
                    client.write_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).await?;
                    client.write_all(&bytes).await?;
                }
            };
            drop(timeout(Duration::from_mins(2), talk).await.map(|ended: std::io::Result<()>| ended.is_ok()));
        });
    }
}

/// The IPv4 address of an address, for answers of DNS.
pub(super) fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
