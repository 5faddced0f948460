//! The services that the device talks to, played by the bench: drivers `cloud-mqtt`, `cloud-https` and `tls-interposer`.
//!
//! One front (`front`) stands before each: it accepts or refuses, speaks TLS with good and bad certificates, falls silent, and records every
//! attempt to connect. What speaks the protocol stands behind it and never sees a connection that the front did not let through.

pub mod authority;
mod front;
mod gate;
pub mod hello;
mod https;
mod interposer;
mod mqtt;
mod packet;
mod tls;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use self::{
    authority::Authority,
    front::{Front, Service},
    https::{Files, Https},
    interposer::Interposer,
    mqtt::{Embedded, Mqtt},
};
use crate::{
    channel::{
        clock::BoxFuture,
        cloud::{Behaviour, CloudLink, CloudLog},
        link::{ChannelKind, Driver, LinkError, Notice, Notices, Opened, Parameters, Proof},
    },
    event::Witness,
};

/// Driver `cloud-mqtt`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudMqtt;

/// Driver `cloud-https`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudHttps;

/// Driver `tls-interposer`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsInterposer;

const LISTEN: (&str, bool, &str) = ("listen", true, "address and port, such as 127.0.0.1:8883; port 0 takes a free one");
const TLS: (&str, bool, &str) = ("tls", false, "true (as without it) or false");
const NAMES: (&str, bool, &str) =
    ("names", false, "names in the certificate, separated by commas; without it localhost and the address");
const CA_FILE: (&str, bool, &str) = (
    "ca-file",
    false,
    "certificate of the authority (PEM), its key in FILE.key; made if neither exists. Without it a new one each run",
);

/// Bytes that mean nothing, the same for the same seed.
fn rubbish(seed: u64, count: usize) -> Vec<u8> {
    let mut out = vec![0; count];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut out);
    out
}

fn text<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.values.get(name).map(String::as_str)
}

fn file(parameters: &Parameters, name: &str) -> Option<PathBuf> {
    text(parameters, name).map(|path| parameters.base.join(path))
}

fn flag(parameters: &Parameters, driver: &str, name: &str, default: bool) -> Result<bool, LinkError> {
    match text(parameters, name) {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(LinkError::new(format!("open {driver}"), format!("`{name}: {other}` is neither true nor false"))),
    }
}

fn listen(parameters: &Parameters, driver: &str) -> Result<SocketAddr, LinkError> {
    let what = "`listen` is an address with a port, such as 127.0.0.1:8883 or [::1]:8883";
    text(parameters, "listen")
        .and_then(|listen| listen.parse().ok())
        .ok_or_else(|| LinkError::new(format!("open {driver}"), what))
}

fn upstream(parameters: &Parameters, driver: &str) -> Result<Option<String>, LinkError> {
    match text(parameters, "upstream") {
        None => Ok(None),
        Some(upstream) => {
            let good = upstream
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
            let what = format!("`upstream: {upstream}` is not a host and a port, such as 127.0.0.1:1883");
            if good { Ok(Some(upstream.to_owned())) } else { Err(LinkError::new(format!("open {driver}"), what)) }
        }
    }
}

fn credentials(parameters: &Parameters, driver: &str) -> Result<Option<(String, String)>, LinkError> {
    match (text(parameters, "user"), text(parameters, "password")) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => Ok(Some((user.to_owned(), password.to_owned()))),
        _ => Err(LinkError::new(format!("open {driver}"), "`user` and `password` belong together")),
    }
}

/// The authority behind a service's certificates; `None` without TLS.
fn authority(parameters: &Parameters, driver: &str) -> Result<Option<Arc<Authority>>, LinkError> {
    if !flag(parameters, driver, "tls", true)? {
        return Ok(None);
    }
    let names = authority::names(text(parameters, "names"), Some(listen(parameters, driver)?.ip()));
    let made = match file(parameters, "ca-file") {
        Some(file) => Authority::at(&file, &names)?,
        None => Authority::new(&names, false)?,
    };
    Ok(Some(Arc::new(made)))
}

/// The lease is on the address: two runs cannot listen there. A free port is nobody else's.
fn identity(parameters: &Parameters, driver: &str) -> Result<String, LinkError> {
    let listen = listen(parameters, driver)?;
    let free = if listen.port() == 0 { format!(" of process {}", std::process::id()) } else { String::new() };
    Ok(format!("{listen}{free}"))
}

/// What can be checked without touching anything.
fn check(parameters: &Parameters, driver: &str) -> Result<(), LinkError> {
    listen(parameters, driver)?;
    let tls = flag(parameters, driver, "tls", true)?;
    if let Some(key) = ["names", "ca-file"].iter().find(|key| !tls && text(parameters, key).is_some()) {
        return Err(LinkError::new(format!("open {driver}"), format!("`{key}` means nothing with `tls: false`")));
    }
    // Names that no certificate can hold.
    Authority::new(&authority::names(text(parameters, "names"), None), false).map(drop)
}

/// An opened service.
struct Link {
    front: Front,
    authority: Option<Arc<Authority>>,
    /// Where files can be put, for HTTP.
    files: Option<Files>,
    /// What is published to, for MQTT.
    broker: Option<(String, Option<(String, String)>)>,
    /// Ends with the link.
    _embedded: Option<Embedded>,
    told: AtomicBool,
}

impl Link {
    async fn open(
        name: &str,
        parameters: &Parameters,
        authority: Option<Arc<Authority>>,
        service: Arc<dyn Service>,
    ) -> Result<Self, LinkError> {
        let front = Front::start(name, listen(parameters, name)?, authority.clone(), service).await?;
        Ok(Self { front, authority, files: None, broker: None, _embedded: None, told: AtomicBool::new(false) })
    }
}

impl CloudLink for Link {
    fn behave(&mut self, behaviour: Behaviour) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.front.behave(behaviour))
    }

    fn log(&self) -> Arc<CloudLog> {
        self.front.log()
    }

    fn address(&self) -> String {
        self.front.address().to_string()
    }

    fn publish(&mut self, topic: String, payload: Vec<u8>) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            match &self.broker {
                Some((broker, credentials)) => {
                    mqtt::publish(broker, credentials.as_ref(), &self.front.log(), &topic, &payload).await
                }
                None => {
                    Err(LinkError::new(format!("publish to {topic}"), "this service has no topics; use a cloud-mqtt channel"))
                }
            }
        })
    }

    fn offer(&mut self, path: String, bytes: Arc<Vec<u8>>) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let failed = |what: &str| LinkError::new(format!("offer {path} at {}", self.front.address()), what);
            let files = self.files.as_ref().ok_or_else(|| failed("this service has no files; use a cloud-https channel"))?;
            let what = format!("{} serves {} bytes at {path}", self.front.address(), bytes.len());
            files.put(&path, bytes).map_err(failed)?;
            Ok(Proof::Seen(Witness { what, evidence: None }))
        })
    }

    fn watch(&mut self, notices: Notices) {
        if !self.told.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let evidence = self.authority.as_ref().map(|authority| ("pem", authority.pem().as_bytes().to_vec()));
            let tls =
                if evidence.is_some() { "with TLS; the certificate of its authority is the evidence" } else { "without TLS" };
            notices(Notice { what: format!("listens at {} {tls}", self.front.address()), evidence });
        }
        self.front.log().watch(notices);
    }
}

impl Driver for CloudMqtt {
    fn name(&self) -> &'static str {
        "cloud-mqtt"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Cloud
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            LISTEN,
            TLS,
            NAMES,
            CA_FILE,
            ("user", false, "user name that devices must give; without it everybody may connect"),
            ("password", false, "password that belongs to it"),
            ("upstream", false, "a broker of one's own, such as 127.0.0.1:1883, instead of the embedded one"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        upstream(parameters, self.name())?;
        credentials(parameters, self.name())?;
        check(parameters, self.name())
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        identity(parameters, self.name())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let credentials = credentials(parameters, self.name())?;
            let (broker, embedded) = if let Some(upstream) = upstream(parameters, self.name())? {
                (upstream, None)
            } else {
                let embedded = Embedded::start().await?;
                (embedded.address.to_string(), Some(embedded))
            };
            let service = Arc::new(Mqtt { broker: broker.clone(), credentials: credentials.clone() });
            let link = Link::open(self.name(), parameters, authority(parameters, self.name())?, service).await?;
            Ok(Opened::Cloud(Box::new(Link { broker: Some((broker, credentials)), _embedded: embedded, ..link })))
        })
    }
}

impl Driver for CloudHttps {
    fn name(&self) -> &'static str {
        "cloud-https"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Cloud
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            LISTEN,
            TLS,
            NAMES,
            CA_FILE,
            ("root", false, "directory whose files are served, for downloads of updates"),
            ("answers", false, "JSON file with fixed answers: `{ \"GET /v1/config\": { \"status\": 200, \"json\": {} } }`"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        check(parameters, self.name())
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        identity(parameters, self.name())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let service = Https::new(file(parameters, "root"), file(parameters, "answers").as_deref())?;
            let files = Some(service.files());
            let link = Link::open(self.name(), parameters, authority(parameters, self.name())?, Arc::new(service)).await?;
            Ok(Opened::Cloud(Box::new(Link { files, ..link })))
        })
    }
}

impl Driver for TlsInterposer {
    fn name(&self) -> &'static str {
        "tls-interposer"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Cloud
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            LISTEN,
            NAMES,
            (
                "upstream",
                false,
                "the real service, such as mqtt.vendor.example:8883; without it what the device says is only counted",
            ),
            ("upstream-tls", false, "true (as without it) or false"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        upstream(parameters, self.name())?;
        flag(parameters, self.name(), "upstream-tls", true)?;
        check(parameters, self.name())
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        identity(parameters, self.name())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let tls = flag(parameters, self.name(), "upstream-tls", true)?;
            let service = Interposer::new(upstream(parameters, self.name())?, tls)?;
            let names = authority::names(text(parameters, "names"), Some(listen(parameters, self.name())?.ip()));
            // An authority of its own, which is never written anywhere: no device can have been told to trust it.
            let authority = Arc::new(Authority::new(&names, true)?);
            let front = Front::start(self.name(), listen(parameters, self.name())?, Some(authority), Arc::new(service)).await?;
            Ok(Opened::Cloud(Box::new(Link {
                front,
                authority: None,
                files: None,
                broker: None,
                _embedded: None,
                told: AtomicBool::new(false),
            })))
        })
    }
}
