//! What a device tells about itself: USB 2.0 specification, chapter 9.6.

/// How fast a device is. The numbers are those of the kernel's `enum usb_device_speed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// 12 Mbit/s; bulk packets of 64 bytes at most.
    Full = 2,
    /// 480 Mbit/s; bulk packets of 512 bytes.
    High = 3,
}

/// How an endpoint transfers. The numbers are those of `bmAttributes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// When there is room on the bus.
    Bulk = 2,
    /// Asked for regularly.
    Interrupt = 3,
}

/// Direction as seen by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the host.
    In,
    /// To the device.
    Out,
}

/// An endpoint of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Number, with bit 7 for endpoints to the host.
    pub address: u8,
    /// How it transfers.
    pub transfer: Transfer,
    /// Largest packet.
    pub packet: u16,
    /// `bInterval`, of interrupt endpoints.
    pub interval: u8,
}

impl Endpoint {
    /// A bulk endpoint.
    #[must_use]
    pub const fn bulk(number: u8, direction: Direction, packet: u16) -> Self {
        Self { address: address(number, direction), transfer: Transfer::Bulk, packet, interval: 0 }
    }

    /// An interrupt endpoint to the host.
    #[must_use]
    pub const fn interrupt(number: u8, packet: u16, interval: u8) -> Self {
        Self { address: address(number, Direction::In), transfer: Transfer::Interrupt, packet, interval }
    }
}

const fn address(number: u8, direction: Direction) -> u8 {
    match direction {
        Direction::In => number | 0x80,
        Direction::Out => number,
    }
}

/// An interface, or an alternate setting of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// `bInterfaceNumber`.
    pub number: u8,
    /// `bAlternateSetting`.
    pub alternate: u8,
    /// Class, subclass, protocol.
    pub class: [u8; 3],
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Class-specific descriptors, as they stand in the configuration.
    pub extra: Vec<u8>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A device with one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// How fast it is.
    pub speed: Speed,
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
    /// `bcdDevice`.
    pub version: u16,
    /// Class, subclass, protocol of the whole device.
    pub class: [u8; 3],
    /// Who made it.
    pub manufacturer: String,
    /// What it is called.
    pub name: String,
    /// Serial number; cheap devices have none.
    pub serial: Option<String>,
    /// Interfaces and their alternate settings, in order.
    pub interfaces: Vec<Interface>,
}

/// Numbers of strings: manufacturer, name and serial number have the first three, interfaces follow.
const FIRST_INTERFACE_STRING: u8 = 4;

impl Description {
    /// A device whose interfaces say what it does; add them with [`Description::interface`].
    #[must_use]
    pub fn new(speed: Speed, vendor: u16, product: u16, name: &str) -> Self {
        Self {
            speed,
            vendor,
            product,
            version: 0x0100,
            class: [0; 3],
            manufacturer: "hilbench lab".to_owned(),
            name: name.to_owned(),
            serial: None,
            interfaces: Vec::new(),
        }
    }

    /// With a serial number.
    #[must_use]
    pub fn serial(mut self, serial: &str) -> Self {
        self.serial = Some(serial.to_owned());
        self
    }

    /// With one more interface.
    #[must_use]
    pub fn interface(mut self, interface: Interface) -> Self {
        self.interfaces.push(interface);
        self
    }

    /// The device descriptor (table 9-8).
    #[must_use]
    pub fn device_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![18, 1, 0x00, 0x02];
        bytes.extend_from_slice(&self.class);
        bytes.push(64);
        for word in [self.vendor, self.product, self.version] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&[1, 2, if self.serial.is_some() { 3 } else { 0 }, 1]);
        bytes
    }

    /// The configuration with all that is in it (tables 9-10, 9-12, 9-13).
    #[must_use]
    pub fn configuration_bytes(&self) -> Vec<u8> {
        let mut numbers: Vec<u8> = self.interfaces.iter().map(|interface| interface.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        // Bus-powered, 100 mA.
        let mut bytes = vec![9, 2, 0, 0, numbers.len() as u8, 1, 0, 0x80, 50];
        let mut string = FIRST_INTERFACE_STRING;
        for interface in &self.interfaces {
            let name = if interface.name.is_some() { string } else { 0 };
            string += u8::from(interface.name.is_some());
            bytes.extend_from_slice(&[9, 4, interface.number, interface.alternate, interface.endpoints.len() as u8]);
            bytes.extend_from_slice(&interface.class);
            bytes.push(name);
            bytes.extend_from_slice(&interface.extra);
            for endpoint in &interface.endpoints {
                bytes.extend_from_slice(&[7, 5, endpoint.address, endpoint.transfer as u8]);
                bytes.extend_from_slice(&endpoint.packet.to_le_bytes());
                bytes.push(endpoint.interval);
            }
        }
        let length = (bytes.len() as u16).to_le_bytes();
        bytes[2..4].copy_from_slice(&length);
        bytes
    }

    /// The string descriptor of this number (9.6.7): number 0 is the list of languages, which has US English only.
    #[must_use]
    pub fn string_bytes(&self, number: u8) -> Option<Vec<u8>> {
        let text = match number {
            0 => return Some(vec![4, 3, 0x09, 0x04]),
            1 => Some(&self.manufacturer),
            2 => Some(&self.name),
            3 => self.serial.as_ref(),
            _ => self
                .interfaces
                .iter()
                .filter_map(|interface| interface.name.as_ref())
                .nth(usize::from(number - FIRST_INTERFACE_STRING)),
        }?;
        let units: Vec<u8> = text.encode_utf16().take(126).flat_map(u16::to_le_bytes).collect();
        let mut bytes = vec![units.len() as u8 + 2, 3];
        bytes.extend(units);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternate_settings_count_as_one_interface() {
        let bulk = Endpoint::bulk(1, Direction::In, 512);
        let named = Interface { alternate: 1, name: Some("fast".into()), endpoints: vec![bulk], ..Interface::default() };
        let device = Description::new(Speed::High, 1, 2, "x").serial("s").interface(Interface::default()).interface(named);
        let bytes = device.configuration_bytes();
        assert_eq!((bytes[4], usize::from(bytes[2])), (1, bytes.len()));
        assert_eq!(bytes[bytes.len() - 7..], [7, 5, 0x81, 2, 0, 2, 0]);
        assert_eq!(device.string_bytes(4).unwrap(), [10, 3, b'f', 0, b'a', 0, b's', 0, b't', 0]);
        assert_eq!(device.string_bytes(5), None);
        assert_eq!(device.device_bytes().len(), 18);
    }
}
