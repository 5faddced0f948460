//! What BlueZ's errors mean.
//!
//! BlueZ turns errors of the attribute protocol into D-Bus errors (`create_gatt_dbus_error` in `src/gatt-client.c`): authentication, encryption and
//! key size all become "Not paired", authorization has a name of its own, most others keep their number in the text.

use crate::channel::ble::{Refusal, Why};

/// What an error of an operation on a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The device's refusal.
    Refused(Refusal),
    /// There is no link any more.
    Unlinked(String),
    /// Neither: something is wrong between us and BlueZ.
    Fault(String),
}

const NUMBERED: &str = "ATT error: 0x";

/// The meaning of a D-Bus error by its name and text.
pub(super) fn meaning(name: &str, text: &str) -> Meaning {
    let words = if text.is_empty() { name.to_owned() } else { text.to_owned() };
    let refused = |why| Meaning::Refused(Refusal { why, words: words.clone() });
    let lower = text.to_ascii_lowercase();
    if let Some(code) = text.split_once(NUMBERED).and_then(|(_, code)| u8::from_str_radix(code.get(..2)?, 16).ok()) {
        return refused(match code {
            0x05 | 0x08 | 0x0C | 0x0F => Why::Security,
            0x02 | 0x03 | 0x06 => Why::NotPermitted,
            0x80..=0x9F => Why::Application(code),
            _ => Why::Other,
        });
    }
    match name.rsplit('.').next().unwrap_or_default() {
        _ if lower.contains("not connected") || lower.contains("disconnected") => Meaning::Unlinked(words),
        "NotPermitted" if lower.contains("not paired") => refused(Why::Security),
        "NotAuthorized" => refused(Why::Security),
        "NotPermitted" | "NotSupported" => refused(Why::NotPermitted),
        "InvalidOffset" | "InvalidValueLength" | "InvalidArguments" => refused(Why::Other),
        // The object goes with the link.
        "NotConnected" | "UnknownObject" | "UnknownMethod" | "UnknownInterface" => Meaning::Unlinked(words),
        "NoReply" | "Timeout" | "TimedOut" => Meaning::Unlinked(format!("no answer from the device: {words}")),
        _ => Meaning::Fault(format!("{words} ({name})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(name: &str, text: &str) -> Option<Why> {
        match meaning(name, text) {
            Meaning::Refused(refusal) => Some(refusal.why),
            _ => None,
        }
    }

    #[test]
    fn refusals_are_told_from_lost_links_and_faults() {
        assert_eq!(why("org.bluez.Error.NotPermitted", "Not paired"), Some(Why::Security));
        assert_eq!(why("org.bluez.Error.NotAuthorized", "Operation Not Authorized"), Some(Why::Security));
        assert_eq!(why("org.bluez.Error.NotPermitted", "Read not permitted"), Some(Why::NotPermitted));
        assert_eq!(why("org.bluez.Error.Failed", "Operation failed with ATT error: 0x80"), Some(Why::Application(0x80)));
        assert_eq!(why("org.bluez.Error.Failed", "Operation failed with ATT error: 0x0e"), Some(Why::Other));
        assert_eq!(why("org.bluez.Error.Failed", "Operation failed with ATT error: 0x05"), Some(Why::Security));
        for (name, text) in [
            ("org.bluez.Error.Failed", "Not connected"),
            ("org.bluez.Error.NotConnected", ""),
            ("org.freedesktop.DBus.Error.UnknownObject", "Method \"ReadValue\" ... doesn't exist"),
            ("org.freedesktop.DBus.Error.NoReply", "Did not receive a reply"),
        ] {
            assert!(matches!(meaning(name, text), Meaning::Unlinked(_)), "{name} {text}");
        }
        assert!(matches!(meaning("org.bluez.Error.InProgress", "In Progress"), Meaning::Fault(_)));
        assert!(matches!(meaning("org.bluez.Error.Failed", "ATT error: 0x\u{e9}"), Meaning::Fault(_)));
    }
}
