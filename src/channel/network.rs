//! What a driver of the device's network gives the bench.

use super::{
    clock::BoxFuture,
    link::{LinkError, Notices, Proof},
};

/// What is done to the device's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    /// No carrier, as if the cable were pulled or the access point off.
    Down,
}

/// The network between the device and the world, with the bench in the middle.
pub trait NetworkLink: Send {
    /// Puts one disturbance in place of whatever was there before.
    fn disturb(&mut self, disturbance: Disturbance) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Ends every disturbance. Idempotent: also what the guard calls on a link that it has just opened, after the controller was killed.
    fn restore(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Tells of what the device does on the network from now on.
    fn watch(&mut self, notices: Notices) {
        let _ = notices;
    }
}
