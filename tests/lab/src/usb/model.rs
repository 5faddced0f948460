//! What a device is, to the engine.

use std::sync::mpsc;

use super::{description::Description, engine::Event};

/// The first eight bytes of a control transfer: USB 2.0 specification, table 9-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setup {
    /// Direction (bit 7), type (bits 6..5) and recipient: `bmRequestType`.
    pub kind: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength`.
    pub length: u16,
}

impl Setup {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let word = |at: usize| u16::from_le_bytes([byte(at), byte(at + 1)]);
        Self { kind: byte(0), request: byte(1), value: word(2), index: word(4), length: word(6) }
    }
}

/// How a device answers a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, with these bytes for the host (none for transfers to the device).
    Done(Vec<u8>),
    /// Not now: the same transfer is offered again after [`Waker::wake`]. On the wire this is NAK.
    Wait,
    /// An error that the host has to clear.
    Stall,
}

impl Answer {
    /// Done, without data.
    pub const ACK: Self = Self::Done(Vec::new());
}

/// Makes the engine offer waiting transfers to the model again. Cheap, and harmless when the device is gone.
#[derive(Debug, Clone)]
pub struct Waker(pub(super) mpsc::Sender<Event>);

impl Waker {
    /// Something has changed: there is data, or room.
    pub fn wake(&self) {
        // The receiver goes with the plug; then nobody waits.
        drop(self.0.send(Event::Wake));
    }
}

/// A USB device. Standard requests (chapter 9) are answered from its description; the rest comes here.
pub trait Model: Send {
    /// What it tells about itself.
    fn description(&self) -> &Description;

    /// It has been plugged in; state of the last time is lost, as in a device without a battery.
    fn plugged(&mut self, waker: Waker);

    /// It has been pulled out.
    fn unplugged(&mut self) {}

    /// A class or vendor request. `data` has the host's bytes if there are any.
    fn control(&mut self, setup: &Setup, data: &[u8]) -> Answer;

    /// Data of the host for an endpoint.
    fn output(&mut self, endpoint: u8, data: &[u8]) -> Answer;

    /// The host has room for `space` bytes of an endpoint (with bit 7).
    fn input(&mut self, endpoint: u8, space: usize) -> Answer;

    /// Another unit of the same kind under another serial number, if the kernel gives numbers to such devices: it takes the number of
    /// this one while this one is away.
    fn twin(&self) -> Option<Box<dyn Model>> {
        None
    }
}
