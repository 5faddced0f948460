//! Driver `interposer`: the device is configured to talk to a proxy of the bench. No privileges are needed.
//!
//! A proxy sees connections and datagrams, not packets: what it cannot do to them it says. Nothing outlives the process, so there is nothing for
//! the guard to restore.

mod chance;
mod flows;
mod route;
mod tcp;
mod udp;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;

use self::{
    flows::Flows,
    route::{Kind, Route, Target, Treatment},
};
use super::{
    dns::Names,
    given, needed,
    place::Place,
    services::{Services, Wanted, v4},
};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Notices, Opened, Parameters, Proof},
        network::{Captured, Counted, Disturbance, Filter, FilterAction, Impairment, NetworkLink, Protocol},
    },
    event::Witness,
};

/// Routes of one proxy.
const ROUTES: usize = 32;
/// Time for the routes to have changed.
const SETTLE: Duration = Duration::from_secs(10);

/// Driver `interposer`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interposer;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    routes: Vec<Target>,
    wanted: Wanted,
}

impl Settings {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let wrong = |what: String| LinkError::new("open interposer", what);
        let routes: Vec<Target> = needed(parameters, "routes", "interposer")?
            .split_whitespace()
            .map(|word| Target::parse(word).map_err(wrong))
            .collect::<Result<_, _>>()?;
        if routes.len() > ROUTES {
            return Err(wrong(format!("there are {} routes; {ROUTES} at most", routes.len())));
        }
        for (index, route) in routes.iter().enumerate() {
            if routes[..index]
                .iter()
                .any(|other| other.name == route.name || (other.kind, other.listen) == (route.kind, route.listen))
            {
                return Err(wrong(format!("route `{}` has the name or the address of an earlier one", route.name)));
            }
        }
        let address = |name: &str| {
            let read =
                |text: &str| text.parse::<SocketAddr>().map_err(|_| wrong(format!("`{name}: {text}` is not `ADDRESS:PORT`")));
            given(parameters, name).map(read).transpose()
        };
        let portal = address("portal")?;
        let wanted = Wanted {
            dns: address("dns")?,
            names: Names::parse(given(parameters, "names").unwrap_or_default()).map_err(wrong)?,
            clock: address("clock")?,
            dhcp: None,
            portal,
            portal_address: portal.and_then(|portal| v4(portal.ip())).filter(|address| *address != Ipv4Addr::UNSPECIFIED),
        };
        Ok(Self { routes, wanted })
    }

    fn identity(&self) -> String {
        let routes: Vec<_> = self.routes.iter().map(|route| format!("{} {}", route.kind.word(), route.listen)).collect();
        format!("proxy at {}", routes.join(", "))
    }
}

/// The opened proxy.
struct Proxy {
    identity: String,
    targets: Vec<Target>,
    routes: Vec<Arc<Route>>,
    services: Services,
    flows: Arc<Flows>,
    tasks: JoinSet<()>,
    /// What is in place.
    down: bool,
    impairment: Option<Impairment>,
    filters: Vec<Filter>,
}

impl Proxy {
    fn wrong(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.identity), what)
    }

    async fn listen(&mut self) -> Result<(), LinkError> {
        self.services.start().await?;
        for target in &self.targets {
            let route = Arc::new(Route::new(target.clone(), Arc::clone(&self.flows), self.services.sink().clone()));
            let failed = |error: std::io::Error| {
                LinkError::new(format!("listen at {} for route {}", target.listen, target.name), error.to_string())
            };
            match target.kind {
                Kind::Tcp => {
                    let listener = tcp::listener(target.listen).map_err(failed)?;
                    self.tasks.spawn(tcp::serve(Arc::clone(&route), listener));
                }
                Kind::Udp => {
                    let socket = tokio::net::UdpSocket::bind(target.listen).await.map_err(failed)?;
                    self.tasks.spawn(udp::serve(Arc::clone(&route), socket));
                }
            }
            self.routes.push(route);
        }
        Ok(())
    }

    /// What cannot be done to the routes that a filter meets.
    fn impossible(&self, filter: &Filter) -> Option<&'static str> {
        let mut met = self.targets.iter().filter(|target| target.meets(filter)).peekable();
        if met.peek().is_none() {
            return Some("no route of the proxy fits the filter: it would do nothing");
        }
        if filter.protocol == Some(Protocol::Icmp) {
            return Some("a proxy sees no ICMP; use the driver `netns`");
        }
        let datagrams = met.any(|target| target.kind == Kind::Udp);
        (datagrams && filter.action == FilterAction::Reject)
            .then_some("a proxy cannot tell a sender of datagrams that the host cannot be reached; filter TCP only, or use the driver `netns`")
    }

    /// Gives every route what is in place, and waits until each has done it and looked.
    async fn settle(&self) -> Result<Vec<String>, LinkError> {
        let mut seen = Vec::new();
        for route in &self.routes {
            let treatment = Treatment::of(route.target(), self.down, &self.filters, self.impairment);
            let serial = route.change(treatment);
            let settled = tokio::time::timeout(SETTLE, route.settled(serial)).await;
            let what = settled.map_err(|_| self.wrong("change", format!("route {} did not follow", route.target().name)))?;
            seen.push(what.map_err(|what| self.wrong("change", format!("route {}: {what}", route.target().name)))?);
        }
        Ok(seen)
    }

    async fn change(&mut self, disturbance: Disturbance) -> Result<Proof, LinkError> {
        if self.routes.is_empty() {
            return Err(self.wrong("disturb", "it was not started"));
        }
        self.reset();
        let mut missing = None;
        match disturbance {
            Disturbance::Down => self.down = true,
            Disturbance::Impair(bad) => {
                let lossy = bad.loss > 0 || bad.reorder > 0 || bad.duplicate > 0 || bad.corrupt > 0;
                let (tcp, udp) =
                    (self.targets.iter().any(|t| t.kind == Kind::Tcp), self.targets.iter().any(|t| t.kind == Kind::Udp));
                if lossy && !udp {
                    let what = "a proxy cannot lose, double, damage or reorder TCP segments; use the driver `netns`";
                    return Err(self.wrong("impair", what));
                }
                if lossy && tcp {
                    missing = Some("loss, duplicates, damage and reordering on TCP routes; only the driver `netns` has them");
                }
                self.impairment = Some(bad);
            }
            Disturbance::Filter(filter) => {
                if let Some(what) = self.impossible(&filter) {
                    return Err(self.wrong("filter at", what));
                }
                self.filters.push(filter);
            }
            service => return self.services.disturb(&service).unwrap_or_else(|| Err(self.wrong("disturb", "nothing does that"))),
        }
        let seen = self.settle().await?;
        Ok(match missing {
            Some(missing) => Proof::None(missing.to_owned()),
            None => Proof::Seen(Witness { what: seen.join("; "), evidence: None }),
        })
    }

    fn reset(&self) {
        self.services.reset();
        for route in &self.routes {
            route.seen.reset();
            route.disturbed.reset();
        }
    }

    async fn undo(&mut self) -> Result<Proof, LinkError> {
        (self.down, self.impairment) = (false, None);
        self.filters.clear();
        self.services.restore();
        self.reset();
        let seen = self.settle().await?;
        let what = if seen.is_empty() { "the proxy went with its process".to_owned() } else { seen.join("; ") };
        Ok(Proof::Seen(Witness { what, evidence: None }))
    }

    /// Nothing if something that is turned away never reaches this process.
    fn disturbed(&self) -> Option<u64> {
        let treated = self.routes.iter().map(|route| route.treatment());
        if treated.clone().any(|treatment| treatment.hole || treatment.closed) || (!self.down && self.filters.is_empty()) {
            return None;
        }
        Some(self.routes.iter().map(|route| route.disturbed.get()).sum())
    }

    fn packets(&self) -> Option<u64> {
        let blind = self.routes.iter().map(|route| route.treatment()).any(|treatment| treatment.hole || treatment.closed);
        (!blind && !self.routes.is_empty()).then(|| self.routes.iter().map(|route| route.seen.get()).sum())
    }
}

impl NetworkLink for Proxy {
    fn start(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(self.listen())
    }

    fn disturb(&mut self, disturbance: Disturbance) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.change(disturbance))
    }

    fn restore(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.undo())
    }

    fn count(&mut self, what: Counted) -> BoxFuture<'_, Result<Option<u64>, LinkError>> {
        let count = match what {
            Counted::Disturbed => self.disturbed(),
            Counted::Packets => self.packets(),
            Counted::Dns | Counted::Clock | Counted::Dhcp | Counted::Portal => self.services.count(what),
        };
        Box::pin(async move { Ok(count) })
    }

    fn start_capture(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.flows.start();
        Box::pin(async { Ok(()) })
    }

    fn stop_capture(&mut self) -> BoxFuture<'_, Result<Captured, LinkError>> {
        let captured = self.flows.finish().ok_or_else(|| self.wrong("end a capture at", "none was started"));
        Box::pin(async move { captured })
    }

    fn watch(&mut self, notices: Notices) {
        self.services.watch(notices);
    }
}

impl Driver for Interposer {
    fn name(&self) -> &'static str {
        "interposer"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Network
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            (
                "routes",
                true,
                "`NAME=tcp:LISTEN->TARGET` or `udp:`, separated by spaces: `mqtt=tcp:127.0.0.1:1883->127.0.0.1:18830`",
            ),
            ("dns", false, "where the bench answers DNS, over UDP and TCP: `127.0.0.1:5353`"),
            ("names", false, "what DNS knows: `broker.example=127.0.0.1 *=127.0.0.1`"),
            ("clock", false, "where the bench answers SNTP: `127.0.0.1:1123`"),
            ("portal", false, "where a captive portal may be: `127.0.0.1:8080`"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Settings::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Settings::from(parameters).map(|settings| settings.identity())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let settings = Settings::from(parameters)?;
            Ok(Opened::Network(Box::new(Proxy {
                identity: settings.identity(),
                services: Services::new(settings.wanted, Place::default()),
                targets: settings.routes,
                routes: Vec::new(),
                flows: Arc::new(Flows::default()),
                tasks: JoinSet::new(),
                down: false,
                impairment: None,
                filters: Vec::new(),
            })))
        })
    }
}

#[cfg(test)]
mod tests;
