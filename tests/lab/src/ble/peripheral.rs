//! What a peripheral offers.

/// A UUID as the protocol sends it: least significant byte first, 2 or 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uuid(pub(super) Vec<u8>);

impl Uuid {
    /// One that the Bluetooth SIG has assigned.
    #[must_use]
    pub fn short(value: u16) -> Self {
        Self(value.to_le_bytes().to_vec())
    }

    /// One of a vendor, written as a number.
    #[must_use]
    pub fn long(value: u128) -> Self {
        Self(value.to_le_bytes().to_vec())
    }
}

/// A value of a service, with everything allowed: reading, writing, notification.
#[derive(Debug, Clone)]
pub struct Characteristic {
    pub(super) uuid: Uuid,
    pub(super) value: Vec<u8>,
}

impl Characteristic {
    /// With its first value.
    #[must_use]
    pub fn new(uuid: Uuid, value: &[u8]) -> Self {
        Self { uuid, value: value.to_vec() }
    }
}

/// Types of attributes: Core Specification, volume 3, part G, 3.
mod kind {
    pub(super) const PRIMARY: u16 = 0x2800;
    pub(super) const CHARACTERISTIC: u16 = 0x2803;
    pub(super) const CLIENT_CONFIGURATION: u16 = 0x2902;
}

/// Read, write without answer, write, notify.
const PROPERTIES: u8 = 0x02 | 0x04 | 0x08 | 0x10;

/// One row of the table; its handle is its place, from 1.
#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub(super) kind: Uuid,
    pub(super) value: Vec<u8>,
    pub(super) writable: bool,
    /// Last handle of the service that this row begins.
    pub(super) group_end: Option<u16>,
}

/// A peripheral that is advertising.
#[derive(Debug, Clone)]
pub struct Peripheral {
    pub(super) name: String,
    /// Least significant byte first; a static random address has its top two bits set.
    pub(super) address: [u8; 6],
    pub(super) table: Vec<Attribute>,
}

impl Peripheral {
    /// A peripheral with a static random address that ends in `number`.
    #[must_use]
    pub fn new(name: &str, number: u8) -> Self {
        let empty = Self { name: name.to_owned(), address: [number, 0, 0, 0xAB, 0x1A, 0xC0], table: Vec::new() };
        // Every peripheral has the GAP service with its name.
        empty.service(Uuid::short(0x1800), vec![Characteristic::new(Uuid::short(0x2A00), name.as_bytes())])
    }

    /// With one more service.
    #[must_use]
    pub fn service(mut self, uuid: Uuid, characteristics: Vec<Characteristic>) -> Self {
        let start = self.table.len();
        self.row(Uuid::short(kind::PRIMARY), uuid.0, false);
        for characteristic in characteristics {
            let value_handle = (self.table.len() + 2) as u16;
            let declaration = [&[PROPERTIES], &value_handle.to_le_bytes()[..], &characteristic.uuid.0].concat();
            self.row(Uuid::short(kind::CHARACTERISTIC), declaration, false);
            self.row(characteristic.uuid, characteristic.value, true);
            self.row(Uuid::short(kind::CLIENT_CONFIGURATION), vec![0, 0], true);
        }
        self.table[start].group_end = Some(self.table.len() as u16);
        self
    }

    fn row(&mut self, kind: Uuid, value: Vec<u8>, writable: bool) {
        self.table.push(Attribute { kind, value, writable, group_end: None });
    }

    /// The handle of the value of a characteristic.
    pub(super) fn handle(&self, uuid: &Uuid) -> Option<u16> {
        let at = self.table.iter().position(|row| row.kind == *uuid)?;
        Some(at as u16 + 1)
    }

    /// Flags (general discovery, no BR/EDR) and the complete name: Core Specification Supplement, part A.
    pub(super) fn advertisement(&self) -> Vec<u8> {
        let name = self.name.as_bytes();
        let name = &name[..name.len().min(26)];
        [&[2, 0x01, 0x06, name.len() as u8 + 1, 0x09], name].concat()
    }
}
