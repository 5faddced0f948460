//! Driver `netns`: the device is behind a port of this machine, perhaps in a network namespace.
//!
//! Everything is done by the kernel, told by `ip`, `tc` and `nft`. What this driver makes has names of its own (a table `hilbench_PORT`, queueing
//! disciplines with the handle `68b:`, a device `hilbPORT`), so that whoever comes after a killed controller finds and removes all of it
//! without knowing what was done.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::{
    capture::Capture,
    dhcp::Dhcp,
    dns::Names,
    given, needed,
    place::Place,
    program::{Tool, Tools, missing_capabilities},
    rules,
    services::{Services, Wanted},
};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Notices, Opened, Parameters, Proof},
        network::{Captured, Counted, Disturbance, Filter, Impairment, NetworkLink},
    },
    event::Witness,
};

/// Filters at a time.
const FILTERS: usize = 64;
/// Services that the bench can play.
const SERVICES: [&str; 4] = ["dns", "clock", "dhcp", "portal"];

/// Driver `netns`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Netns;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    interface: String,
    namespace: Option<String>,
    wanted: Wanted,
}

/// Whether the kernel takes it as the name of a port or namespace, and no tool takes it for something else.
fn is_port(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=15).contains(&name.len()) && name.chars().all(good) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

impl Settings {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let wrong = |what: String| LinkError::new("open netns", what);
        let interface = needed(parameters, "interface", "netns")?.to_owned();
        if !is_port(&interface) {
            return Err(wrong(format!("`{interface}` is not the name of a network port; see `ip link`")));
        }
        let namespace = given(parameters, "namespace").map(str::to_owned);
        if let Some(namespace) = namespace.as_deref().filter(|name| !is_port(name)) {
            return Err(wrong(format!("`{namespace}` is not the name of a network namespace; see `ip netns`")));
        }
        let services: Vec<&str> = given(parameters, "services").unwrap_or_default().split_whitespace().collect();
        if let Some(unknown) = services.iter().find(|name| !SERVICES.contains(name)) {
            return Err(wrong(format!("`{unknown}` is not a service; there are {}", SERVICES.join(", "))));
        }
        let mut wanted =
            Wanted { names: Names::parse(given(parameters, "names").unwrap_or_default()).map_err(wrong)?, ..Wanted::default() };
        let address = given(parameters, "address").map(|text| {
            let (address, prefix) = text.split_once('/').unwrap_or((text, "24"));
            let prefix = prefix.parse().ok().filter(|prefix| (1..=30).contains(prefix));
            let both = address.parse::<Ipv4Addr>().ok().zip(prefix);
            both.ok_or_else(|| wrong(format!("`{text}` is not the bench's IPv4 address with its prefix, `10.77.0.1/24`")))
        });
        match address.transpose()? {
            None if !services.is_empty() => return Err(wrong("services need the bench's `address` on the port".to_owned())),
            None => {}
            Some((address, prefix)) => {
                let at = |name: &str, port| services.contains(&name).then(|| SocketAddr::from((address, port)));
                wanted.dns = at("dns", 53);
                wanted.clock = at("clock", 123);
                // Any port: the device is redirected to it.
                wanted.portal = services.contains(&"portal").then_some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
                wanted.portal_address = Some(address);
                if services.contains(&"dhcp") {
                    let pool = given(parameters, "pool");
                    wanted.dhcp = Some(Dhcp::new(address, prefix, pool, wanted.dns.is_some()).map_err(wrong)?);
                }
            }
        }
        Ok(Self { interface, namespace, wanted })
    }

    fn identity(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("network port {} in namespace {namespace}", self.interface),
            None => format!("network port {}", self.interface),
        }
    }

    fn open(self) -> Result<Port, LinkError> {
        let operation = format!("open {}", self.identity());
        for tool in [Tool::Ip, Tool::Tc, Tool::Nft] {
            tool.find()?;
        }
        let mut capabilities = vec![("CAP_NET_ADMIN", 12)];
        if self.namespace.is_some() {
            capabilities.push(("CAP_SYS_ADMIN", 21));
        }
        let missing = missing_capabilities(&capabilities);
        if !missing.is_empty() {
            let what = format!(
                "{} missing: run hilbench as root, or from a service with `AmbientCapabilities={} CAP_NET_RAW`",
                missing.join(" and "),
                missing.join(" ")
            );
            return Err(LinkError::new(operation, what));
        }
        if let Some(namespace) = self.namespace.as_ref().filter(|name| !Place::file(name).exists()) {
            let what = format!("there is no network namespace `{namespace}`; make it with `ip netns add {namespace}`");
            return Err(LinkError { lost: true, ..LinkError::new(operation, what) });
        }
        let place = Place { interface: Some(self.interface.clone()), namespace: self.namespace.clone() };
        Ok(Port {
            tools: Tools { namespace: self.namespace.clone() },
            services: Services::new(self.wanted.clone(), place.clone()),
            settings: self,
            place,
            filters: Vec::new(),
            received: 0,
            capture: None,
        })
    }
}

/// The opened port.
struct Port {
    settings: Settings,
    place: Place,
    tools: Tools,
    services: Services,
    filters: Vec<Filter>,
    /// Packets that had come from the device when the network last changed.
    received: u64,
    capture: Option<Capture>,
}

impl Port {
    fn interface(&self) -> &str {
        &self.settings.interface
    }

    fn wrong(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.settings.identity()), what)
    }

    async fn json(&self, tool: Tool, arguments: &str) -> Result<Value, LinkError> {
        let text = self.tools.run(tool, arguments, None).await?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(|error| self.wrong("read back", format!("what it printed is not JSON: {error}")))
    }

    /// Flags and counts of the port.
    async fn link(&self) -> Result<Value, LinkError> {
        let found = self.json(Tool::Ip, &format!("-s -j link show dev {}", self.interface())).await;
        let found = found.map_err(|error| LinkError { lost: error.what.contains("does not exist"), ..error })?;
        found.get(0).cloned().ok_or_else(|| LinkError { lost: true, ..self.wrong("look at", "it is not there") })
    }

    async fn received(&self) -> Result<u64, LinkError> {
        let link = self.link().await?;
        link.pointer("/stats64/rx/packets").and_then(Value::as_u64).ok_or_else(|| self.wrong("count at", "it has no statistics"))
    }

    /// Counts begin again, before a change: what the device does right after it counts.
    async fn begin(&mut self) -> Result<(), LinkError> {
        self.received = self.received().await?;
        self.services.reset();
        Ok(())
    }

    async fn set_link(&self, up: bool) -> Result<String, LinkError> {
        let word = if up { "up" } else { "down" };
        self.tools.run(Tool::Ip, &format!("link set dev {} {word}", self.interface()), None).await?;
        let link = self.link().await?;
        let flags = link.get("flags").and_then(Value::as_array).cloned().unwrap_or_default();
        if flags.iter().any(|flag| flag == "UP") != up {
            return Err(self.wrong(&format!("set {word}"), "it reads back otherwise; is another program managing it?"));
        }
        let state = link.get("operstate").and_then(Value::as_str).unwrap_or("unknown").to_owned();
        Ok(format!("port {} reads back {word} (operational state {state})", self.interface()))
    }

    /// Puts the filters and the portal in place, and reads them back.
    async fn apply_filters(&self) -> Result<String, LinkError> {
        let portal = self.services.portal().and(self.services.portal_port());
        let (script, rules) = rules::script(self.interface(), &self.filters, portal);
        self.tools.run(Tool::Nft, "-f -", Some(&script)).await?;
        let found = self.table().await?.unwrap_or_default();
        let count = found.iter().filter(|object| object.get("rule").is_some()).count();
        if count != rules {
            return Err(self.wrong("filter at", format!("{rules} rules were written and {count} read back")));
        }
        Ok(format!("table {} reads back {count} rules for {} filters", rules::table(self.interface()), self.filters.len()))
    }

    /// What is in the table; nothing if there is none.
    async fn table(&self) -> Result<Option<Vec<Value>>, LinkError> {
        let name = rules::table(self.interface());
        let tables = self.json(Tool::Nft, "-j list tables").await?;
        let named = |object: &Value| object.pointer("/table/name").is_some_and(|found| *found == name);
        if !tables.get("nftables").and_then(Value::as_array).is_some_and(|objects| objects.iter().any(named)) {
            return Ok(None);
        }
        let listed = self.json(Tool::Nft, &format!("-j list table inet {name}")).await?;
        Ok(Some(listed.get("nftables").and_then(Value::as_array).cloned().unwrap_or_default()))
    }

    /// Kind and handle of the queueing disciplines of a device; none if there is no such device.
    async fn disciplines(&self, device: &str) -> Result<Vec<Value>, LinkError> {
        match self.json(Tool::Tc, &format!("-j qdisc show dev {device}")).await {
            Ok(found) => Ok(found.as_array().cloned().unwrap_or_default()),
            Err(error) if error.what.contains("Cannot find device") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn ours(&self, device: &str) -> Result<Option<Value>, LinkError> {
        let found = self.disciplines(device).await?;
        Ok(found.into_iter().find(|one| one.get("handle").and_then(Value::as_str) == Some(rules::HANDLE)))
    }

    async fn impair(&self, bad: Option<&Impairment>) -> Result<String, LinkError> {
        let (interface, mirror) = (self.interface().to_owned(), rules::mirror(self.interface()));
        let (down, up) = rules::sides(bad);
        let mut shown = Vec::new();
        match &down {
            Some(words) => {
                let handle = rules::HANDLE;
                self.tools
                    .run(Tool::Tc, &format!("qdisc replace dev {interface} root handle {handle} netem {words}"), None)
                    .await?;
                let found = self.ours(&interface).await?.ok_or_else(|| self.wrong("impair", "netem is not read back"))?;
                shown.push(format!("to the device: {}", options(&found)));
            }
            None if self.ours(&interface).await?.is_some() => {
                self.tools.run(Tool::Tc, &format!("qdisc del dev {interface} root"), None).await?;
            }
            None => {}
        }
        // What comes in cannot be queued: it goes through a device of its own, which can.
        match &up {
            Some(words) => {
                let had_mirror = self.has_mirror().await?;
                if !had_mirror {
                    self.tools.run(Tool::Ip, &format!("link add {mirror} type ifb"), None).await?;
                }
                self.tools.run(Tool::Ip, &format!("link set dev {mirror} up"), None).await?;
                let handle = rules::HANDLE;
                self.tools.run(Tool::Tc, &format!("qdisc replace dev {mirror} root handle {handle} netem {words}"), None).await?;
                // A redirection that is there cannot be replaced; one without our mirror is somebody else's.
                match (self.has_ingress().await?, had_mirror) {
                    (true, true) => drop(self.tools.run(Tool::Tc, &format!("qdisc del dev {interface} ingress"), None).await?),
                    (true, false) => return Err(self.wrong("impair", "somebody else redirects what comes in on this port")),
                    (false, _) => {}
                }
                self.tools.run(Tool::Tc, &format!("qdisc add dev {interface} handle ffff: ingress"), None).await?;
                let redirect = format!("matchall action mirred egress redirect dev {mirror}");
                let filter = format!("filter add dev {interface} parent ffff: protocol all pref 1 handle 1 {redirect}");
                self.tools.run(Tool::Tc, &filter, None).await?;
                let found = self.ours(&mirror).await?.ok_or_else(|| self.wrong("impair", "netem is not read back"))?;
                shown.push(format!("from the device: {}", options(&found)));
            }
            None => self.remove_mirror().await?,
        }
        Ok(if shown.is_empty() { "no impairment reads back".to_owned() } else { shown.join("; ") })
    }

    async fn has_ingress(&self) -> Result<bool, LinkError> {
        let found = self.disciplines(self.interface()).await?;
        Ok(found.iter().any(|one| one.get("kind").and_then(Value::as_str) == Some("ingress")))
    }

    async fn has_mirror(&self) -> Result<bool, LinkError> {
        let links = self.json(Tool::Ip, "-j link show").await?;
        let mirror = rules::mirror(self.interface());
        let named = |link: &Value| link.get("ifname").and_then(Value::as_str) == Some(mirror.as_str());
        Ok(links.as_array().is_some_and(|links| links.iter().any(named)))
    }

    async fn remove_mirror(&self) -> Result<(), LinkError> {
        if self.has_mirror().await? {
            // An ingress discipline without our mirror is somebody else's.
            if self.has_ingress().await? {
                self.tools.run(Tool::Tc, &format!("qdisc del dev {} ingress", self.interface()), None).await?;
            }
            self.tools.run(Tool::Ip, &format!("link del dev {}", rules::mirror(self.interface())), None).await?;
        }
        Ok(())
    }

    async fn change(&mut self, disturbance: Disturbance) -> Result<Proof, LinkError> {
        self.begin().await?;
        let what = match disturbance {
            Disturbance::Down => self.set_link(false).await?,
            Disturbance::Impair(bad) => self.impair(Some(&bad)).await?,
            Disturbance::Filter(_) if self.filters.len() >= FILTERS => {
                return Err(self.wrong("filter at", format!("there are {FILTERS} filters already; end them first")));
            }
            Disturbance::Filter(filter) => {
                self.filters.push(filter);
                match self.apply_filters().await {
                    Ok(what) => what,
                    Err(error) => {
                        self.filters.pop();
                        return Err(error);
                    }
                }
            }
            other @ (Disturbance::Dns(_) | Disturbance::Clock(_) | Disturbance::Dhcp(_) | Disturbance::Portal(_)) => {
                let changed = self.services.disturb(&other).unwrap_or_else(|| Err(self.wrong("disturb", "nothing does that")))?;
                if matches!(other, Disturbance::Portal(_)) {
                    self.apply_filters().await?;
                }
                return Ok(changed);
            }
        };
        Ok(Proof::Seen(Witness { what, evidence: None }))
    }

    /// From state alone: what is there is asked, not remembered.
    async fn undo(&mut self) -> Result<Proof, LinkError> {
        self.filters.clear();
        self.services.restore();
        // Each part is tried whatever became of the others.
        let filters = self.tools.run(Tool::Nft, "-f -", Some(&rules::nothing(self.interface()))).await.map(drop);
        let quality = self.impair(None).await.map(drop);
        let link = self.set_link(true).await;
        filters?;
        quality?;
        let link = link?;
        if self.table().await?.is_some() || self.ours(self.interface()).await?.is_some() || self.has_mirror().await? {
            return Err(self.wrong("restore", "rules of this bench are still there; remove them by hand"));
        }
        self.received = self.received().await?;
        Ok(Proof::Seen(Witness { what: format!("no rule of this bench is left; {link}"), evidence: None }))
    }

    async fn disturbed(&self) -> Result<Option<u64>, LinkError> {
        if self.filters.is_empty() {
            return Ok(None);
        }
        let objects = self.table().await?.ok_or_else(|| self.wrong("count at", "its filters are gone; who removed them?"))?;
        let packets = |object: &Value| object.pointer("/counter/packets").and_then(Value::as_u64);
        Ok(Some(objects.iter().filter_map(packets).sum()))
    }
}

fn options(discipline: &Value) -> String {
    let text = discipline.get("options").map(Value::to_string).unwrap_or_default();
    format!("netem {text}")
}

impl NetworkLink for Port {
    fn start(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move {
            let link = self.link().await?;
            if let Some(master) = link.get("master").and_then(Value::as_str) {
                let what = format!("it is part of {master}, where packets pass by the filters; name `{master}` as `interface`");
                return Err(self.wrong("open", what));
            }
            if self.table().await?.is_some() || self.has_mirror().await? || self.ours(self.interface()).await?.is_some() {
                // Left by a bench that could not restore it. The device must not begin in a disturbed network.
                self.undo().await?;
            }
            self.services.start().await?;
            self.begin().await
        })
    }

    fn disturb(&mut self, disturbance: Disturbance) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.change(disturbance))
    }

    fn restore(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.undo())
    }

    fn count(&mut self, what: Counted) -> BoxFuture<'_, Result<Option<u64>, LinkError>> {
        Box::pin(async move {
            match what {
                Counted::Disturbed => self.disturbed().await,
                Counted::Packets => Ok(Some(self.received().await?.saturating_sub(self.received))),
                Counted::Dns | Counted::Clock | Counted::Dhcp | Counted::Portal => Ok(self.services.count(what)),
            }
        })
    }

    fn start_capture(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        Box::pin(async move {
            let started = Capture::start(&self.place, self.interface());
            let failed = |error: std::io::Error| self.wrong("capture at", format!("{error}; it needs CAP_NET_RAW"));
            self.capture = Some(started.map_err(failed)?);
            Ok(())
        })
    }

    fn stop_capture(&mut self) -> BoxFuture<'_, Result<Captured, LinkError>> {
        Box::pin(async move {
            let capture = self.capture.take().ok_or_else(|| self.wrong("end a capture at", "none was started"))?;
            let ended = tokio::task::spawn_blocking(|| capture.finish()).await.ok().flatten();
            ended.ok_or_else(|| self.wrong("end a capture at", "its thread is gone"))
        })
    }

    fn watch(&mut self, notices: Notices) {
        self.services.watch(notices);
    }
}

impl Driver for Netns {
    fn name(&self) -> &'static str {
        "netns"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Network
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("interface", true, "port of this machine behind which the device is, such as `enx00e04c680001`"),
            ("namespace", false, "network namespace that the port is in"),
            ("address", false, "the bench's IPv4 address there, such as `10.77.0.1/24`; needed for services"),
            ("services", false, "what the bench plays, separated by spaces: dns, clock, dhcp, portal"),
            ("names", false, "what DNS knows: `broker.example=10.77.0.1 *=10.77.0.1`"),
            ("pool", false, "addresses that DHCP gives: `10.77.0.100-10.77.0.115`"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Settings::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Settings::from(parameters).map(|settings| settings.identity())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move { Ok(Opened::Network(Box::new(Settings::from(parameters)?.open()?))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Result<Settings, LinkError> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::from(&Parameters { values, ..Parameters::default() })
    }

    #[test]
    fn wrong_parameters_are_refused_before_anything_is_touched() {
        for (values, why) in [
            (&[][..], "interface"),
            (&[("interface", "eth0; reboot")], "not the name"),
            (&[("interface", "-all")], "not the name"),
            (&[("interface", "a-name-that-is-too-long")], "not the name"),
            (&[("interface", "eth0"), ("namespace", "../x")], "namespace"),
            (&[("interface", "eth0"), ("services", "dns")], "address"),
            (&[("interface", "eth0"), ("address", "10.0.0.1/24"), ("services", "dns ftp")], "`ftp`"),
            (&[("interface", "eth0"), ("address", "10.0.0/24")], "IPv4"),
            (&[("interface", "eth0"), ("names", "x")], "NAME="),
            (&[("interface", "eth0"), ("address", "10.0.0.1/24"), ("services", "dhcp"), ("pool", "10.1.0.1-10.1.0.2")], "pool"),
        ] {
            let error = settings(values).unwrap_err();
            assert!(error.to_string().contains(why), "{values:?}: {error}");
        }
    }

    #[test]
    fn services_are_at_the_benchs_address() {
        let found = settings(&[("interface", "eth0"), ("address", "10.0.0.1/24"), ("services", "dns portal")]).unwrap();
        assert_eq!(found.wanted.dns, Some("10.0.0.1:53".parse().unwrap()));
        assert_eq!((found.wanted.clock, &found.wanted.dhcp), (None, &None));
        assert_eq!(found.wanted.portal, Some("0.0.0.0:0".parse().unwrap()));
        assert_eq!(found.identity(), "network port eth0");
    }
}
