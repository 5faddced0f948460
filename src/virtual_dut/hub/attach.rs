//! Where the hub's network is: on loopback, at an address of the bench, or at a port of its own that it lets DHCP configure.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, process::Command};

use super::{
    ANNOUNCE_PORT, CLOCK_PORT, Hardware, NAME_PORT, PLAIN_PORT, SERVICE_NAME, SERVICE_PORT, announce,
    dhcp::{self, Answer, Ask, Lease, Offer},
    names,
    pace::Pace,
};

/// How long an answer of DHCP is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between attempts to get an address. A home network is not laid out for a fleet of one household's devices.
const AGAIN: Duration = Duration::from_millis(500);

/// How the hub is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// Over loopback.
    Loopback {
        /// Where service, time and names are.
        bench: Ipv4Addr,
        /// The hub's own address, where its local API is.
        own: Ipv4Addr,
    },
    /// By a network port (`eth0`), in the network namespace of the thread on which the hub was started. The hub sets it up with `ip`, which needs
    /// CAP_NET_ADMIN; names and time are asked for at the ports of the standards.
    Port(String),
}

impl Attachment {
    /// Address at which the hub listens.
    pub(super) fn listens(&self) -> Ipv4Addr {
        match self {
            Self::Loopback { own, .. } => *own,
            Self::Port(_) => Ipv4Addr::UNSPECIFIED,
        }
    }
}

/// Where things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Servers {
    /// Which of the hub's own addresses it asks from.
    local: Ipv4Addr,
    /// Address and port at which the hub is to be found by mDNS.
    pub(super) announces: (Ipv4Addr, u16),
    pub(super) names: SocketAddr,
    pub(super) clock: SocketAddr,
    /// Its service, where it need not be asked for by name.
    service: Option<SocketAddr>,
    /// Port for plain HTTP.
    pub(super) plain: u16,
}

impl Servers {
    fn on_loopback(bench: Ipv4Addr, own: Ipv4Addr) -> Self {
        let at = |port| SocketAddr::from((bench, port));
        let (names, clock, service) = (at(NAME_PORT), at(CLOCK_PORT), Some(at(SERVICE_PORT)));
        Self { local: bench, announces: (own, ANNOUNCE_PORT), names, clock, service, plain: PLAIN_PORT }
    }

    fn behind(lease: &Lease) -> Self {
        let (names, clock) = (SocketAddr::from((lease.names, 53)), SocketAddr::from((lease.clock, 123)));
        let announces = (lease.address, announce::MDNS);
        Self { local: Ipv4Addr::UNSPECIFIED, announces, names, clock, service: None, plain: 80 }
    }

    /// A socket to ask one of them by.
    pub(super) async fn udp(&self, server: SocketAddr) -> Option<UdpSocket> {
        let socket = UdpSocket::bind((self.local, 0)).await.ok()?;
        socket.connect(server).await.ok()?;
        Some(socket)
    }

    /// The service.
    pub(super) async fn service(&self, pace: &Pace) -> Option<SocketAddr> {
        match self.service {
            Some(address) => Some(address),
            None => Some(SocketAddr::new(names::resolve(self, SERVICE_NAME, pace).await?, SERVICE_PORT)),
        }
    }
}

/// Waits until the network is there.
pub(super) async fn attached(hardware: &Hardware) -> (Servers, Option<Lease>) {
    match &hardware.config.attachment {
        Attachment::Loopback { bench, own } => (Servers::on_loopback(*bench, *own), None),
        Attachment::Port(port) => loop {
            if let Some(lease) = first(port, hardware).await {
                return (Servers::behind(&lease), Some(lease));
            }
            hardware.pace.sleep(AGAIN).await;
        },
    }
}

/// Returns when the address is lost.
pub(super) async fn lost(hardware: &Hardware, lease: Option<Lease>) {
    let (Attachment::Port(port), Some(mut lease)) = (&hardware.config.attachment, lease) else {
        return std::future::pending().await;
    };
    loop {
        let got = hardware.now();
        // When half of it is over it is asked for again, and again until the end (RFC 2131 section 4.4.5).
        hardware.pace.sleep(lease.time / 2).await;
        loop {
            match ask(port, Ask::Keep(lease.address), hardware).await {
                Some(Answer::Ack(again)) if again.address == lease.address => {
                    lease = again;
                    break;
                }
                Some(Answer::Ack(_) | Answer::Nak) => return release(port).await,
                _ if hardware.pace.since(got) >= lease.time => return release(port).await,
                _ => hardware.pace.sleep(AGAIN).await,
            }
        }
    }
}

/// An address from a network that the hub knows nothing of.
async fn first(port: &str, hardware: &Hardware) -> Option<Lease> {
    let Some(Answer::Offer(offer)) = ask(port, Ask::Discover, hardware).await else { return None };
    let Some(Answer::Ack(lease)) = ask(port, Ask::Take(offer), hardware).await else { return None };
    configure(port, &lease, offer).await.then_some(lease)
}

/// Asks, and returns the first answer in time.
async fn ask(port: &str, question: Ask, hardware: &Hardware) -> Option<Answer> {
    let own = own_address(port)?;
    let socket = socket(port).ok()?;
    // Nobody else has to guess it: it only tells one question of this hub from the next.
    let number = (hardware.now().0 / 1000) as u32;
    let to = SocketAddr::from((Ipv4Addr::BROADCAST, dhcp::SERVER));
    socket.send_to(&question.message(number, own), to).await.ok()?;
    let answer = async {
        let mut bytes = [0; 1500];
        loop {
            let read = socket.recv(&mut bytes).await.ok()?;
            if let Some(answer) = dhcp::read(bytes.get(..read)?, number, own) {
                return Some(answer);
            }
        }
    };
    hardware.pace.within(PATIENCE, answer).await?
}

fn own_address(port: &str) -> Option<dhcp::Hardware> {
    let mut all = getifaddrs().ok()?.filter(|one| one.interface_name == port);
    all.find_map(|one| one.address?.as_link_addr()?.addr())
}

fn socket(port: &str) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(port.as_bytes()))?;
    socket.set_broadcast(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, dhcp::CLIENT)).into())?;
    UdpSocket::from_std(socket.into())
}

/// Gives the port its address and its way out.
async fn configure(port: &str, lease: &Lease, offer: Offer) -> bool {
    let Lease { address, prefix, router, .. } = lease;
    offer.address == *address
        && ip(&format!("addr replace {address}/{prefix} dev {port}")).await
        && ip(&format!("route replace default via {router} dev {port}")).await
}

async fn release(port: &str) {
    // A port that is gone has no address either.
    let _ = ip(&format!("addr flush dev {port}")).await;
}

async fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split(' ')).stdin(std::process::Stdio::null()).kill_on_drop(true);
    command.output().await.is_ok_and(|done| done.status.success())
}
