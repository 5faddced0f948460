//! What a driver of Bluetooth Low Energy gives the bench.

pub mod notifications;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    clock::BoxFuture,
    link::{LinkError, Notices},
};

/// The tail of UUIDs that the Bluetooth SIG assigns: `0000XXXX-0000-1000-8000-00805f9b34fb` (Core Specification, volume 3, part B, 2.5.1).
const BASE: &str = "-0000-1000-8000-00805f9b34fb";

/// A UUID in its long form with small letters. 4 and 8 hex digits stand for assigned ones. `None` if it is none.
#[must_use]
pub fn uuid(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.len() {
        4 if hex(&text) => Some(format!("0000{text}{BASE}")),
        8 if hex(&text) => Some(format!("{text}{BASE}")),
        36 => {
            let groups: Vec<&str> = text.split('-').collect();
            let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            (lengths == [8, 4, 4, 4, 12] && groups.into_iter().all(hex)).then_some(text)
        }
        _ => None,
    }
}

/// A UUID as people write it: assigned ones short.
#[must_use]
pub fn short_uuid(uuid: &str) -> &str {
    match uuid.strip_suffix(BASE) {
        Some(head) if head.starts_with("0000") => &head[4..],
        Some(head) => head,
        None => uuid,
    }
}

/// What a device says of itself to everybody. Everything in it is the device's word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// `C0:1A:AB:00:00:07`.
    pub address: String,
    /// `public` or `random`.
    pub address_type: Option<String>,
    /// Complete or shortened name.
    pub name: Option<String>,
    /// Received signal strength, dBm.
    pub rssi: Option<i16>,
    /// Transmission power that it states, dBm.
    pub tx_power: Option<i16>,
    /// Manufacturer data by the number of the company.
    pub manufacturer: BTreeMap<u16, Vec<u8>>,
    /// Service data by UUID.
    pub service_data: BTreeMap<String, Vec<u8>>,
    /// UUIDs of services.
    pub services: Vec<String>,
}

/// What listening led to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listening {
    /// The device's newest advertisement, if there was one.
    pub heard: Option<Advertisement>,
    /// Other devices that were heard: the adapter does hear.
    pub others: usize,
    /// How long the adapter really listened.
    pub listened: Duration,
    /// Why silence proves nothing; `None` if the adapter listened all the time.
    pub doubt: Option<String>,
}

/// What an attempt to connect led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// There is a link, and the device's services are known.
    Connected,
    /// The device advertised, but there was no link in time, however often it was tried.
    Refused(String),
    /// The device advertised, and there was no link, but it was not tried often enough to hold that against the device.
    Doubtful(String),
    /// The device was not heard, so nothing could be tried. The doubt is that of [`Listening`].
    Unheard {
        /// Why silence proves nothing, if so.
        doubt: Option<String>,
    },
    /// There was a link, and it was lost before the services were known.
    Lost(String),
}

/// The link to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// There was none yet.
    Never,
    /// There is one.
    Up,
    /// The bench ended it.
    Ended,
    /// It was lost, or the device ended it.
    Lost,
}

/// What the device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It did as asked.
    Done(T),
    /// It refused, with an error of the attribute protocol.
    Refused(Refusal),
    /// There is no link, or it was lost before the answer.
    Unlinked(String),
    /// It has no such characteristic, or several that cannot be told apart.
    Unknown(String),
}

/// Why a device refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Kind of error.
    pub why: Why,
    /// The error in words.
    pub words: String,
}

/// Kinds of errors of the attribute protocol (Core Specification, volume 3, part F, 3.4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Authentication, authorization or encryption is missing (05, 08, 0C, 0F).
    Security,
    /// The attribute cannot be used this way by anybody (02, 03, 06).
    NotPermitted,
    /// The application's own error (80 to 9F).
    Application(u8),
    /// Another one; whether the device would ever allow it is not known.
    Other,
}

impl Why {
    /// Whether the device says that this may not be done, rather than that something went wrong.
    #[must_use]
    pub const fn denies(self) -> bool {
        !matches!(self, Self::Other)
    }
}

/// Names a characteristic of the device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CharacteristicId {
    /// UUID of its service; `None` if any will do.
    pub service: Option<String>,
    /// Its UUID.
    pub uuid: String,
}

impl CharacteristicId {
    /// From `UUID` or `SERVICE/UUID`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some((service, own)) => Some(Self { service: Some(uuid(service)?), uuid: uuid(own)? }),
            None => Some(Self { service: None, uuid: uuid(text)? }),
        }
    }
}

impl std::fmt::Display for CharacteristicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(service) = &self.service {
            write!(f, "{}/", short_uuid(service))?;
        }
        f.write_str(short_uuid(&self.uuid))
    }
}

/// A service that the device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// UUID.
    pub uuid: String,
    /// Whether it is a primary one.
    pub primary: bool,
    /// Its characteristics, in the order of their handles.
    pub characteristics: Vec<Characteristic>,
}

/// A characteristic that the device has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    /// UUID.
    pub uuid: String,
    /// What it says can be done with it: `read`, `write`, `write-without-response`, `notify`, `indicate` ...
    pub access: Vec<String>,
    /// UUIDs of its descriptors.
    pub descriptors: Vec<String>,
}

/// What the bench's host has kept of the device. The device's own memory may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bond {
    /// Whether the host knows the device at all.
    pub known: bool,
    /// Paired: there was an exchange of keys.
    pub paired: bool,
    /// Bonded: the keys are kept.
    pub bonded: bool,
    /// Marked as trusted by somebody.
    pub trusted: bool,
}

/// A notification or indication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// UUID of the characteristic.
    pub characteristic: String,
    /// Its value.
    pub bytes: Vec<u8>,
}

/// Takes notifications in their order, from any thread, without blocking for long.
pub type NotificationSink = Arc<dyn Fn(Notification) + Send + Sync>;

/// The device's Bluetooth Low Energy side, seen from an adapter of the bench.
///
/// Every error is a fault of the bench: no adapter, no Bluetooth service, no permission. What the device does is in the values. Dropping a
/// future gives the operation up.
pub trait BleLink: Send {
    /// Listens for this long, or only until the device is heard. Only what arrives meanwhile counts, not what the host remembers.
    fn listen(&mut self, time: Duration, until_heard: bool) -> BoxFuture<'_, Result<Listening, LinkError>>;
    /// Waits until the device advertises and connects to it.
    fn connect(&mut self, within: Duration) -> BoxFuture<'_, Result<Connection, LinkError>>;
    /// Ends the link; returns once it is gone. Without a link nothing happens.
    fn disconnect(&mut self) -> BoxFuture<'_, Result<(), LinkError>>;
    /// The link's state: at once if it is not up, else when it is lost or `time` is over.
    fn link(&mut self, time: Duration) -> BoxFuture<'_, Result<LinkState, LinkError>>;
    /// What the device offers.
    fn services(&mut self) -> BoxFuture<'_, Result<Answer<Vec<Service>>, LinkError>>;
    /// Reads a value.
    fn read(&mut self, from: CharacteristicId) -> BoxFuture<'_, Result<Answer<Vec<u8>>, LinkError>>;
    /// Writes a value. Without a response, `Done` only means that it was sent.
    fn write(
        &mut self,
        to: CharacteristicId,
        bytes: Vec<u8>,
        with_response: bool,
    ) -> BoxFuture<'_, Result<Answer<()>, LinkError>>;
    /// Asks for notifications or indications; they go to the sink, none is lost from here on.
    fn subscribe(&mut self, to: CharacteristicId) -> BoxFuture<'_, Result<Answer<()>, LinkError>>;
    /// What the host has kept of the device.
    fn bond(&mut self) -> BoxFuture<'_, Result<Bond, LinkError>>;
    /// Forgets the device: keys, and what is remembered of its services. Ends the link.
    fn forget(&mut self) -> BoxFuture<'_, Result<(), LinkError>>;
    /// Lets the adapter make no bonds from now on, or again as it was.
    fn refuse_bonds(&mut self, refuse: bool) -> BoxFuture<'_, Result<(), LinkError>>;
    /// Where notifications go from now on.
    fn capture(&mut self, sink: NotificationSink);
    /// Tells of connections gained and lost from now on.
    fn watch(&mut self, notices: Notices) {
        let _ = notices;
    }
    /// Disconnects and gives the adapter back. Called on every exit; must not fail when the device is already gone.
    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::{CharacteristicId, short_uuid, uuid};

    #[test]
    fn uuids_have_one_form() {
        assert_eq!(uuid("180F").as_deref(), Some("0000180f-0000-1000-8000-00805f9b34fb"));
        assert_eq!(uuid("6C616200-0000-1000-8000-00805F9B34FC").as_deref(), Some("6c616200-0000-1000-8000-00805f9b34fc"));
        assert_eq!(short_uuid(&uuid("180f").unwrap()), "180f");
        assert_eq!(short_uuid(&uuid("6c616200").unwrap()), "6c616200");
        for bad in ["", "180", "18zz", "6c6162000000-1000-8000-00805f9b34fc--", "6c616200-0000-1000-8000-00805f9b34f\u{e9}"] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_characteristic_may_be_named_with_its_service() {
        assert_eq!(CharacteristicId::parse("180f/2a19").unwrap().to_string(), "180f/2a19");
        assert_eq!(CharacteristicId::parse("2a19").unwrap().service, None);
        assert_eq!(CharacteristicId::parse("180f/"), None);
    }
}
