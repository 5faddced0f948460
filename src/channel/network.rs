//! What a driver of the device's network gives the bench.
//!
//! Disturbances come in layers (the link, its quality, filters, and the services that the bench plays). Each act replaces its own layer and leaves
//! the others: a slow link may also have a lying DNS. [`NetworkLink::restore`] ends all of them.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    clock::BoxFuture,
    link::{LinkError, Notices, Proof},
};

/// What is done to the device's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// No carrier, as if the cable were pulled or the access point off.
    Down,
    /// A bad link: packets come late, are lost, doubled, damaged, overtaken, or slowed down.
    Impair(Impairment),
    /// Some packets do not get through. Several filters add up.
    Filter(Filter),
    /// How the bench's DNS answers from now on.
    Dns(DnsAnswer),
    /// What the bench's time server says from now on.
    Clock(ClockAnswer),
    /// How the bench's DHCP server behaves from now on.
    Dhcp(DhcpAnswer),
    /// Whether a captive portal stands in the way.
    Portal(Option<Portal>),
}

/// Which way packets go, seen from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// To and from the device.
    #[default]
    Both,
    /// What the device sends.
    Up,
    /// What the device receives.
    Down,
}

impl Direction {
    /// Whether what the device sends is meant.
    #[must_use]
    pub const fn up(self) -> bool {
        matches!(self, Self::Both | Self::Up)
    }

    /// Whether what the device receives is meant.
    #[must_use]
    pub const fn down(self) -> bool {
        matches!(self, Self::Both | Self::Down)
    }
}

/// A bad link. Shares are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Impairment {
    /// Which way. Both: each way, so that an answer is late by twice the delay.
    pub direction: Direction,
    /// Every packet is this late.
    pub delay: Duration,
    /// The delay varies by this, up and down.
    pub jitter: Duration,
    /// Packets lost.
    pub loss: u16,
    /// Packets that overtake others; needs a delay.
    pub reorder: u16,
    /// Packets sent twice.
    pub duplicate: u16,
    /// Packets with one wrong bit.
    pub corrupt: u16,
    /// Bits per second at most.
    pub rate: Option<u64>,
}

/// What happens to packets that a filter meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterAction {
    /// They vanish, also those that begin a connection.
    Drop,
    /// The device is told that the host cannot be reached (ICMP).
    Reject,
    /// The device's TCP connections are reset.
    Reset,
    /// TCP connections that are there go silent without being closed (half-open); new ones work.
    Silent,
}

/// A protocol that a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of either version.
    Icmp,
}

/// Packets that do not get through. What is not given matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// What happens to them.
    pub action: FilterAction,
    /// Which way. [`FilterAction::Reject`] and [`FilterAction::Reset`] answer what the device sends, whatever stands here.
    pub direction: Direction,
    /// Protocol.
    pub protocol: Option<Protocol>,
    /// Port of either end, TCP or UDP.
    pub port: Option<u16>,
    /// Address of the other end.
    pub address: Option<IpAddr>,
}

/// How DNS answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DnsAnswer {
    /// What the rig's `names` say.
    #[default]
    Right,
    /// There is no such name.
    NxDomain,
    /// The server failed.
    ServFail,
    /// The server refuses.
    Refused,
    /// No answer at all.
    Silent,
    /// An answer that says it was cut short, over UDP; over TCP the right one.
    Truncated,
    /// This address for every name.
    Wrong(Ipv4Addr),
    /// The right answer, late.
    Slow(Duration),
}

/// What the time server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockAnswer {
    /// The time of this machine.
    #[default]
    Right,
    /// That time and so much more.
    Ahead(Duration),
    /// That time less so much.
    Behind(Duration),
    /// Seconds since 1970 at the moment of the step; the clock runs on from there.
    At(u64),
    /// No answer at all.
    Silent,
    /// Kiss of death: go away (`DENY`).
    Kiss,
}

/// How the DHCP server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DhcpAnswer {
    /// A normal lease.
    #[default]
    Right,
    /// Requests are refused.
    Nak,
    /// No answer at all.
    Silent,
    /// Leases of this length.
    Short(Duration),
    /// Leases without a DNS server.
    NoDns,
    /// No address is left: discoveries stay without an offer, requests are refused.
    Exhausted,
}

/// What a captive portal answers to any request on port 80.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portal {
    /// 302 to its login page.
    Redirect,
    /// 200 with a login page.
    Login,
}

/// What can be counted. All counts start at zero with the last disturbance or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Packets (or, with a proxy, connections and datagrams) that met a filter.
    Disturbed,
    /// Packets (or, with a proxy, connections and datagrams) from the device.
    Packets,
    /// Questions to the bench's DNS.
    Dns,
    /// Questions to the bench's time server.
    Clock,
    /// Messages to the bench's DHCP server.
    Dhcp,
    /// Requests to the captive portal.
    Portal,
}

/// What was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Ending of a file of that format: `pcap`, `json`.
    pub ending: &'static str,
    /// Packets or flows in it.
    pub count: u64,
    /// Those for which there was no room.
    pub left_out: u64,
}

/// The network between the device and the world, with the bench in the middle.
pub trait NetworkLink: Send {
    /// Begins to play the services that the rig gives this network. Not called by the guard, which only restores.
    fn start(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async { Ok(()) })
    }
    /// Puts one disturbance in place of whatever its layer had before. The proof is that it was read back, not that the device met it:
    /// that is for [`Self::count`] to say.
    fn disturb(&mut self, disturbance: Disturbance) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Ends every disturbance. Idempotent: also what the guard calls on a link that it has just opened, after the controller was killed.
    fn restore(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// How many since the last change; nothing if that cannot be counted here.
    fn count(&mut self, what: Counted) -> BoxFuture<'_, Result<Option<u64>, LinkError>> {
        let _ = what;
        Box::pin(async { Ok(None) })
    }
    /// Begins to capture traffic; what an earlier capture has is thrown away.
    fn start_capture(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async { Err(LinkError::new("capture traffic", "this network's driver cannot")) })
    }
    /// Ends the capture.
    fn stop_capture(&mut self) -> BoxFuture<'_, Result<Captured, LinkError>> {
        Box::pin(async { Err(LinkError::new("end a capture", "none was started")) })
    }
    /// Tells of what the device does on the network from now on.
    fn watch(&mut self, notices: Notices) {
        let _ = notices;
    }
}
