//! What a driver of the device's cloud gives the bench.

pub mod log;

use std::{sync::Arc, time::Duration};

pub use self::log::{CloudEvent, CloudLog, EventKind, PAUSE};
use super::{
    clock::BoxFuture,
    link::{LinkError, Notices, Proof},
};

/// How the cloud treats the device. It holds for connections that are there and for new ones: where a behaviour only shows while a
/// connection is made (certificates, refusals), those that are there are reset, so that the device meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As a good service does.
    Accept,
    /// The port is closed. Attempts at it leave no trace in the log; [`Self::Reset`] is refused *and* recorded.
    Refuse,
    /// Connections are accepted and reset at once.
    Reset,
    /// Connections are accepted, nothing is read or answered: a service that is frozen while its system still acknowledges.
    Silent,
    /// The same once TLS is established.
    SilentAfterTls,
    /// Connections that are there are reset; new ones are accepted.
    Drop,
    /// Every answer comes so much later.
    Slow(Duration),
    /// The certificate is one that no device may trust.
    Certificate(BadCertificate),
    /// Answers a TLS hello in plain text.
    Plaintext,
    /// Answers a TLS hello with an old version: minor 1 for TLS 1.0, 2 for TLS 1.1 (RFC 8996 forbids both).
    OldTls(u8),
    /// MQTT: refuses every CONNECT.
    Connack(Refusal),
    /// MQTT: closes the connection right after CONNACK.
    Kick,
    /// HTTP: this status to every request, with `Retry-After` if there is a time.
    Status(u16, Option<Duration>),
    /// HTTP: redirects to the same path over plain HTTP.
    RedirectPlain,
    /// HTTP: announces the whole body, sends half of it, and closes.
    TruncatedBody,
    /// HTTP: the body comes at 16 bytes a second.
    SlowBody,
    /// HTTP: a body of random bytes; MQTT: random bytes instead of CONNACK.
    Rubbish,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadCertificate {
    /// Ended 30 days ago.
    Expired,
    /// Begins in 30 days.
    NotYetValid,
    /// For another name.
    WrongName,
    /// Signed by its own key.
    SelfSigned,
    /// Signed by a certification authority that the device does not know, with the name of one that it knows.
    UnknownCa,
    /// The right certificate, without its private key: the handshake is signed by another one.
    OtherKey,
    /// Signed by a good *server* certificate, which is no certification authority.
    LeafAsCa,
    /// For clients, not for servers.
    ClientOnly,
}

/// Why MQTT refuses a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// MQTT 5 0x88, MQTT 3.1.1 3.
    ServerUnavailable,
    /// MQTT 5 0x89, MQTT 3.1.1 3.
    ServerBusy,
    /// MQTT 5 0x87, MQTT 3.1.1 5.
    NotAuthorized,
    /// MQTT 5 0x86, MQTT 3.1.1 4.
    BadCredentials,
}

impl Refusal {
    /// The code in CONNACK: MQTT 5 section 3.2.2.2, MQTT 3.1.1 table 3.1.
    #[must_use]
    pub const fn code(self, protocol: u8) -> u8 {
        match (self, protocol >= 5) {
            (Self::ServerUnavailable, true) => 0x88,
            (Self::ServerBusy, true) => 0x89,
            (Self::NotAuthorized, true) => 0x87,
            (Self::BadCredentials, true) => 0x86,
            (Self::ServerUnavailable | Self::ServerBusy, false) => 3,
            (Self::NotAuthorized, false) => 5,
            (Self::BadCredentials, false) => 4,
        }
    }
}

impl std::fmt::Display for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accept => f.write_str("accepts"),
            Self::Refuse => f.write_str("refuses (port closed)"),
            Self::Reset => f.write_str("accepts and resets"),
            Self::Silent => f.write_str("is silent"),
            Self::SilentAfterTls => f.write_str("is silent after TLS"),
            Self::Drop => f.write_str("drops what is established, then accepts"),
            Self::Slow(by) => write!(f, "answers {} ms later", by.as_millis()),
            Self::Certificate(bad) => write!(f, "shows a certificate that is {bad}"),
            Self::Plaintext => f.write_str("answers TLS in plain text"),
            Self::OldTls(minor) => write!(f, "offers TLS 1.{}", minor.saturating_sub(1)),
            Self::Connack(refusal) => write!(f, "refuses MQTT sessions ({refusal})"),
            Self::Kick => f.write_str("closes right after CONNACK"),
            Self::Status(code, None) => write!(f, "answers {code}"),
            Self::Status(code, Some(after)) => write!(f, "answers {code} with Retry-After {} s", after.as_secs()),
            Self::RedirectPlain => f.write_str("redirects to plain HTTP"),
            Self::TruncatedBody => f.write_str("truncates bodies"),
            Self::SlowBody => f.write_str("sends bodies slowly"),
            Self::Rubbish => f.write_str("answers rubbish"),
        }
    }
}

impl std::fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
            Self::WrongName => "for another name",
            Self::SelfSigned => "self-signed",
            Self::UnknownCa => "signed by an unknown authority",
            Self::OtherKey => "not backed by its key",
            Self::LeafAsCa => "signed by a server certificate",
            Self::ClientOnly => "for clients only",
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ServerUnavailable => "server unavailable",
            Self::ServerBusy => "server busy",
            Self::NotAuthorized => "not authorized",
            Self::BadCredentials => "bad user name or password",
        })
    }
}

/// The services that the device talks to, played by the bench.
pub trait CloudLink: Send {
    /// Behaves like this from now on. The proof is the state of the listener as the system has it.
    fn behave(&mut self, behaviour: Behaviour) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Everything that the device did at this service since it was opened, bounded. The same log at each call.
    fn log(&self) -> Arc<CloudLog>;
    /// Where the service listens: `127.0.0.1:8883`.
    fn address(&self) -> String;
    /// Publishes to the device, where the service is one that can.
    fn publish(&mut self, topic: String, payload: Vec<u8>) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let _ = payload;
        Box::pin(async move {
            Err(LinkError::new(format!("publish to {topic}"), "this service has no topics; use a cloud-mqtt channel"))
        })
    }
    /// Serves these bytes at a path from now on, in place of what was there.
    fn offer(&mut self, path: String, bytes: Arc<Vec<u8>>) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let _ = bytes;
        Box::pin(
            async move { Err(LinkError::new(format!("offer {path}"), "this service has no files; use a cloud-https channel")) },
        )
    }
    /// Tells of every attempt to connect and what became of it from now on.
    fn watch(&mut self, notices: Notices) {
        self.log().watch(notices);
    }
}
