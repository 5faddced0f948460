//! What a driver of Bluetooth Low Energy gives the bench.

use std::time::Duration;

use super::{
    clock::BoxFuture,
    link::{LinkError, Notices},
};

/// The device's Bluetooth Low Energy side, seen from an adapter of the bench.
pub trait BleLink: Send {
    /// Listens until the device advertises, at most this long. What was heard, in words; `None` if nothing was.
    fn advertises(&mut self, within: Duration) -> BoxFuture<'_, Result<Option<String>, LinkError>>;
    /// Tells of connections gained and lost from now on.
    fn watch(&mut self, notices: Notices) {
        let _ = notices;
    }
    /// Disconnects and gives the adapter back. Called on every exit; must not fail when the device is already gone.
    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
