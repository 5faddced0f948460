//! One way through the proxy, and how it is treated at the moment.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::watch;

use super::flows::Flows;
use crate::{
    channel::network::{Filter, FilterAction, Impairment, Protocol},
    driver::network::sink::{Counter, Sink},
};

/// What goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Where a route begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) listen: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Target {
    /// Reads `mqtt=tcp:127.0.0.1:1883->127.0.0.1:18830`.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let read = || {
            let (name, rest) = word.split_once('=')?;
            let (kind, rest) = rest.split_once(':')?;
            let (listen, to) = rest.split_once("->")?;
            let kind = match kind {
                "tcp" => Kind::Tcp,
                "udp" => Kind::Udp,
                _ => return None,
            };
            let (listen, to): (SocketAddr, SocketAddr) = (listen.parse().ok()?, to.parse().ok()?);
            (!name.is_empty() && listen.port() != 0 && to.port() != 0 && listen != to).then(|| Self {
                name: name.to_owned(),
                kind,
                listen,
                to,
            })
        };
        read().ok_or_else(|| format!("`{word}` is not `NAME=tcp:ADDRESS:PORT->ADDRESS:PORT` (or `udp:`)"))
    }

    /// Whether a filter is about it.
    pub(super) fn meets(&self, filter: &Filter) -> bool {
        let kind = match filter.protocol {
            None => true,
            Some(Protocol::Tcp) => self.kind == Kind::Tcp,
            Some(Protocol::Udp) => self.kind == Kind::Udp,
            Some(Protocol::Icmp) => false,
        };
        let kind = kind && !(self.kind == Kind::Udp && matches!(filter.action, FilterAction::Reset | FilterAction::Silent));
        let port = filter.port.is_none_or(|port| port == self.listen.port() || port == self.to.port());
        kind && port && filter.address.is_none_or(|address| address == self.to.ip() || address == self.listen.ip())
    }
}

/// What is done to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Treatment {
    /// Nothing that begins a connection is answered, not even by the kernel.
    pub(super) hole: bool,
    /// Nobody listens: connections are refused.
    pub(super) closed: bool,
    /// What comes is reset, and what is there was.
    pub(super) reset: bool,
    /// Connections that were there fell silent.
    pub(super) silent: bool,
    /// What the device sends vanishes.
    pub(super) mute_up: bool,
    /// What is sent to it vanishes.
    pub(super) mute_down: bool,
    /// How bad the way is.
    pub(super) impairment: Impairment,
}

impl Treatment {
    /// What is done to a route by all that is in place.
    pub(super) fn of(target: &Target, down: bool, filters: &[Filter], impairment: Option<Impairment>) -> Self {
        let mut treatment = Self { impairment: impairment.unwrap_or_default(), ..Self::default() };
        if down {
            treatment = Self { hole: target.kind == Kind::Tcp, mute_up: true, mute_down: true, ..treatment };
        }
        for filter in filters.iter().filter(|filter| target.meets(filter)) {
            match filter.action {
                FilterAction::Drop => {
                    // A handshake needs both ways.
                    treatment.hole = target.kind == Kind::Tcp;
                    treatment.mute_up |= filter.direction.up();
                    treatment.mute_down |= filter.direction.down();
                }
                FilterAction::Reject => {
                    treatment.closed = true;
                    treatment.mute_up = true;
                }
                FilterAction::Reset => treatment.reset = true,
                FilterAction::Silent => treatment.silent = true,
            }
        }
        treatment
    }

    /// In words, for a witness.
    fn words(self) -> &'static str {
        match self {
            Self { hole: true, .. } => "a connection was tried and got no answer",
            Self { closed: true, .. } => "a connection was tried and refused",
            Self { reset: true, .. } => "connections are reset",
            Self { mute_up: true, .. } | Self { mute_down: true, .. } => "datagrams vanish",
            Self { silent: true, .. } => "connections that were there are silent",
            Self { impairment, .. } if impairment != Impairment::default() => "impaired",
            _ => "open",
        }
    }
}

/// What a route was told: the treatment, and since which connection silence is not for it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Orders {
    pub(super) treatment: Treatment,
    pub(super) serial: u64,
    /// Connections with a smaller number were there when silence began.
    pub(super) silent_before: u64,
    /// Connections with a smaller number are reset.
    pub(super) reset_before: u64,
}

/// A route with what it counts.
pub(super) struct Route {
    target: Target,
    orders: watch::Sender<Orders>,
    done: watch::Sender<(u64, Result<(), String>)>,
    pub(super) flows: Arc<Flows>,
    pub(super) sink: Sink,
    /// Connections or datagrams from the device.
    pub(super) seen: Counter,
    /// Those that met a filter.
    pub(super) disturbed: Counter,
    /// Connections in all, never reset.
    pub(super) born: Counter,
}

impl Route {
    pub(super) fn new(target: Target, flows: Arc<Flows>, sink: Sink) -> Self {
        Self {
            target,
            orders: watch::Sender::new(Orders::default()),
            done: watch::Sender::new((0, Ok(()))),
            flows,
            sink,
            seen: Counter::default(),
            disturbed: Counter::default(),
            born: Counter::default(),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn treatment(&self) -> Treatment {
        self.orders.borrow().treatment
    }

    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    /// Orders another treatment and returns the number of the order.
    pub(super) fn change(&self, treatment: Treatment) -> u64 {
        let born = self.born.get();
        self.orders.send_modify(|orders| {
            if treatment.silent && !orders.treatment.silent {
                orders.silent_before = born;
            }
            if treatment.reset && !orders.treatment.reset {
                orders.reset_before = born;
            }
            orders.treatment = treatment;
            orders.serial += 1;
        });
        self.orders.borrow().serial
    }

    /// The task of the route has done what was ordered, and looked whether it is so.
    pub(super) fn done(&self, serial: u64, how: Result<(), String>) {
        drop(self.done.send_replace((serial, how)));
    }

    /// Waits for that; what is seen then, in words.
    pub(super) async fn settled(&self, serial: u64) -> Result<String, String> {
        let mut done = self.done.subscribe();
        let found = done.wait_for(|(at, _)| *at >= serial).await.map_err(|_| "its task is gone".to_owned())?.1.clone();
        found.map(|()| format!("route {} {}: {}", self.target.name, self.target.listen, self.treatment().words()))
    }
}
