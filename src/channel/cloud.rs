//! What a driver of the device's cloud gives the bench.

use super::{
    clock::BoxFuture,
    link::{LinkError, Notices, Proof},
};

/// How the cloud treats the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As a good service does.
    Accept,
    /// Connections are refused.
    Refuse,
}

/// The services that the device talks to, played by the bench.
pub trait CloudLink: Send {
    /// Behaves like this from now on, for connections that are there and for new ones.
    fn behave(&mut self, behaviour: Behaviour) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Tells of every attempt to connect and what became of it from now on.
    fn watch(&mut self, notices: Notices) {
        let _ = notices;
    }
}
