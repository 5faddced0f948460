//! What is stored of Bluetooth, as JSON, and in words.

use serde_json::{Value, json};

use crate::channel::ble::{Advertisement, Bond, Service, short_uuid};

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Pretty, with a line feed: people read evidence too.
pub(super) fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// An advertisement.
pub(super) fn advertisement(heard: &Advertisement) -> String {
    let manufacturer: serde_json::Map<_, _> =
        heard.manufacturer.iter().map(|(company, bytes)| (format!("{company:04x}"), hex(bytes).into())).collect();
    let service_data: serde_json::Map<_, _> =
        heard.service_data.iter().map(|(uuid, bytes)| (uuid.clone(), hex(bytes).into())).collect();
    text(&json!({
        "address": heard.address, "address-type": heard.address_type, "name": heard.name, "rssi-dbm": heard.rssi,
        "tx-power-dbm": heard.tx_power, "manufacturer-data": manufacturer, "service-data": service_data, "services": heard.services,
    }))
}

/// An advertisement in a few words.
pub(super) fn advertisement_words(heard: &Advertisement) -> String {
    let name = heard.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
    let rssi = heard.rssi.map(|rssi| format!(" at {rssi} dBm")).unwrap_or_default();
    format!("{}{name}{rssi}", heard.address)
}

/// What a device offers.
pub(super) fn services(services: &[Service]) -> Value {
    let characteristics = |service: &Service| -> Vec<Value> {
        let all = service.characteristics.iter();
        all.map(|own| json!({ "uuid": own.uuid, "access": own.access, "descriptors": own.descriptors })).collect()
    };
    let all = services.iter();
    all.map(|service| json!({ "uuid": service.uuid, "primary": service.primary, "characteristics": characteristics(service) }))
        .collect()
}

/// A bond in words.
pub(super) fn bond_words(bond: Bond) -> String {
    if !bond.known {
        return "the device is not known".to_owned();
    }
    let yes = |word: &str, is: bool| if is { word.to_owned() } else { format!("not {word}") };
    [yes("paired", bond.paired), yes("bonded", bond.bonded), yes("trusted", bond.trusted)].join(", ")
}

/// Service and characteristic as people write them.
pub(super) fn name(service: &str, characteristic: &str) -> String {
    format!("{}/{}", short_uuid(service), short_uuid(characteristic))
}
