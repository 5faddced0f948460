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

/// A value of a service, with everything allowed unless told otherwise: reading, writing, notification.
#[derive(Debug, Clone)]
pub struct Characteristic {
    pub(super) uuid: Uuid,
    pub(super) value: Vec<u8>,
    properties: u8,
    guard: Option<u8>,
}

impl Characteristic {
    /// With its first value.
    #[must_use]
    pub fn new(uuid: Uuid, value: &[u8]) -> Self {
        Self { uuid, value: value.to_vec(), properties: PROPERTIES, guard: None }
    }

    /// With other properties (volume 3, part G, 3.3.1.1): 02 read, 04 write without answer, 08 write, 10 notify.
    #[must_use]
    pub fn properties(self, properties: u8) -> Self {
        Self { properties, ..self }
    }

    /// Every access is refused with this error code (volume 3, part F, 3.4.1.1), subscriptions too.
    #[must_use]
    pub fn guarded(self, code: u8) -> Self {
        Self { guard: Some(code), ..self }
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
    /// Error code that every access gets.
    pub(super) guard: Option<u8>,
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
    /// Answer to a scan request.
    pub(super) response: Vec<u8>,
}

impl Peripheral {
    /// A peripheral with a static random address that ends in `number`.
    #[must_use]
    pub fn new(name: &str, number: u8) -> Self {
        let empty =
            Self { name: name.to_owned(), address: [number, 0, 0, 0xAB, 0x1A, 0xC0], table: Vec::new(), response: Vec::new() };
        // Every peripheral has the GAP service with its name.
        empty.service(Uuid::short(0x1800), vec![Characteristic::new(Uuid::short(0x2A00), name.as_bytes())])
    }

    /// With one more service.
    #[must_use]
    pub fn service(mut self, uuid: Uuid, characteristics: Vec<Characteristic>) -> Self {
        let start = self.table.len();
        self.row(Uuid::short(kind::PRIMARY), uuid.0, false, None);
        for characteristic in characteristics {
            let value_handle = (self.table.len() + 2) as u16;
            let declaration = [&[characteristic.properties], &value_handle.to_le_bytes()[..], &characteristic.uuid.0].concat();
            self.row(Uuid::short(kind::CHARACTERISTIC), declaration, false, None);
            let writable = characteristic.properties & 0x0C != 0;
            self.row(characteristic.uuid, characteristic.value, writable, characteristic.guard);
            if characteristic.properties & 0x30 != 0 {
                self.row(Uuid::short(kind::CLIENT_CONFIGURATION), vec![0, 0], true, characteristic.guard);
            }
        }
        self.table[start].group_end = Some(self.table.len() as u16);
        self
    }

    fn row(&mut self, kind: Uuid, value: Vec<u8>, writable: bool, guard: Option<u8>) {
        self.table.push(Attribute { kind, value, writable, guard, group_end: None });
    }

    /// With data of a manufacturer in its answer to scan requests, at most 27 bytes.
    #[must_use]
    pub fn manufacturer(self, company: u16, data: &[u8]) -> Self {
        self.answering(0xFF, &[&company.to_le_bytes(), data].concat())
    }

    /// With its transmission power in its answer to scan requests, in dBm.
    #[must_use]
    pub fn power(self, dbm: i8) -> Self {
        self.answering(0x0A, &dbm.to_le_bytes())
    }

    /// With data of an assigned service in its answer to scan requests.
    #[must_use]
    pub fn service_data(self, service: u16, data: &[u8]) -> Self {
        self.answering(0x16, &[&service.to_le_bytes(), data].concat())
    }

    /// With an assigned service in its answer to scan requests.
    #[must_use]
    pub fn offers(self, service: u16) -> Self {
        self.answering(0x03, &service.to_le_bytes())
    }

    fn answering(mut self, kind: u8, data: &[u8]) -> Self {
        self.response.extend([&[data.len() as u8 + 1, kind], data].concat());
        self
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
