//! What a driver of the device's own USB port gives the bench.
//!
//! Numbers are those of the USB 2.0 specification, chapter 9. What a device answers is an observation ([`Answer`]); only what the bench itself
//! cannot do is a [`LinkError`].

pub mod descriptors;

use std::{collections::BTreeMap, time::Duration};

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

    /// Everything that the device tells about itself; `None` if it is not on the bus. Reads only.
    fn descriptors(&mut self) -> BoxFuture<'_, Result<Option<Dump>, LinkError>>;

    /// One transfer.
    fn transfer(&mut self, transfer: Transfer) -> BoxFuture<'_, Result<Answer, LinkError>>;
}

/// What a device tells about itself, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dump {
    /// Where it is in the tree of hubs.
    pub place: String,
    /// Device descriptor and all configurations in a row, as the host read them when the device arrived.
    pub arrival: Vec<u8>,
    /// The same, as the device answers now; `None` if it could not be asked.
    pub now: Option<Vec<u8>>,
    /// String descriptors by number, in the device's first language.
    pub strings: BTreeMap<u8, Vec<u8>>,
    /// Binary object store, if the device has one.
    pub bos: Option<Vec<u8>>,
    /// HID report descriptors by interface.
    pub reports: BTreeMap<u8, Vec<u8>>,
    /// What could not be obtained, and why.
    pub missing: Vec<String>,
}

/// First eight bytes of a control transfer (table 9-2), without the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setup {
    /// `bmRequestType`: direction in bit 7, type in bits 6 and 5, recipient below.
    pub kind: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
}

impl Setup {
    /// Whether data go to the host.
    #[must_use]
    pub const fn inward(self) -> bool {
        self.kind & 0x80 != 0
    }
}

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, request, value, index } = self;
        write!(f, "request {request:#04x} of type {kind:#04x}, value {value:#06x}, index {index:#06x}")
    }
}

/// Which endpoint a transfer is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Endpoint 0.
    Control(Setup),
    /// A bulk endpoint by its address; bit 7 is set for those to the host.
    Bulk(u8),
    /// An interrupt endpoint by its address.
    Interrupt(u8),
}

impl Pipe {
    /// Whether data go to the host.
    #[must_use]
    pub const fn inward(self) -> bool {
        match self {
            Self::Control(setup) => setup.inward(),
            Self::Bulk(endpoint) | Self::Interrupt(endpoint) => endpoint & 0x80 != 0,
        }
    }
}

impl std::fmt::Display for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Control(setup) => setup.fmt(f),
            Self::Bulk(endpoint) => write!(f, "bulk endpoint {endpoint:#04x}"),
            Self::Interrupt(endpoint) => write!(f, "interrupt endpoint {endpoint:#04x}"),
        }
    }
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// With what.
    pub pipe: Pipe,
    /// Bytes for the device; empty for transfers to the host.
    pub data: Vec<u8>,
    /// Most bytes from the device.
    pub length: u16,
    /// Time for it.
    pub within: Duration,
    /// Interface to be claimed for it, with its alternate setting. Those of bulk and interrupt endpoints are found by themselves.
    pub interface: Option<(u8, u8)>,
}

impl Transfer {
    /// A request for data.
    #[must_use]
    pub const fn request(setup: Setup, length: u16, within: Duration) -> Self {
        Self { pipe: Pipe::Control(setup), data: Vec::new(), length, within, interface: None }
    }
}

/// What a device made of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, with these bytes from the device.
    Done(Vec<u8>),
    /// Done; the device took so many bytes.
    Taken(usize),
    /// Refused with a stall.
    Stalled,
    /// No answer in time.
    Silent,
    /// More came than was asked for; the bytes are lost.
    Overrun,
    /// It has no such endpoint or interface.
    Lacking(String),
    /// It was on the bus before, and left it while the transfer ran; the hub that it is plugged into is still there.
    Left,
    /// It was not on the bus to begin with.
    Absent,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(bytes) => write!(f, "answered with {} bytes", bytes.len()),
            Self::Taken(count) => write!(f, "took {count} bytes"),
            Self::Stalled => f.write_str("refused (stall)"),
            Self::Silent => f.write_str("did not answer in time"),
            Self::Overrun => f.write_str("answered with more than was asked for"),
            Self::Lacking(what) => write!(f, "has no {what}"),
            Self::Left => f.write_str("left the bus"),
            Self::Absent => f.write_str("is not on the bus"),
        }
    }
}
