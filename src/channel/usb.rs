//! What a driver of the device's own USB port gives the bench.

use super::{
    clock::BoxFuture,
    link::{LinkError, Notices},
};

/// The device's USB port, seen from the bench's host.
pub trait UsbLink: Send {
    /// Where the device is in the tree of hubs now, such as `1-1.2`; `None` if it is not on the bus.
    fn place(&mut self) -> BoxFuture<'_, Result<Option<String>, LinkError>>;
    /// Tells of every arrival and departure from now on, until the link is dropped.
    fn watch(&mut self, notices: Notices) {
        let _ = notices;
    }
}
