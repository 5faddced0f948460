//! Steps on the device's USB port: what they are, how they are written, how they are told.

use super::{FailAs, Within, build, keys};
use crate::document::{Key, Keys, Map, Shape, Word};

/// A step on a USB port.
#[derive(Debug, Clone, PartialEq)]
pub enum UsbStep {
    /// The device must be on the bus, or must not.
    Presence {
        /// Which.
        present: bool,
        /// By when.
        within: Within,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "USB channel.");
const PRESENCE_WORDS: &[Word] = &[
    Word { word: "present", what: "The device must be on the bus." },
    Word { word: "absent", what: "The device must not be on the bus." },
];

/// `usb-presence`.
pub static PRESENCE: Keys = Keys::new(
    "usb-presence",
    "Waits until the device is on the USB bus, or gone from it.",
    &[
        CHANNEL,
        Key::needed("state", Shape::Word(PRESENCE_WORDS), "Which."),
        Key::needed("within", Shape::Within, "By when."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<UsbStep> {
    match name {
        "usb-presence" => Some(UsbStep::Presence {
            present: map.text("state") == "present",
            within: build::within(map, "within"),
            fail_as: build::fail_as(map),
        }),
        _ => None,
    }
}

impl UsbStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Presence { present, within, .. } => {
                format!("{channel} {} within {within}", if *present { "on the bus" } else { "gone from the bus" })
            }
        }
    }
}
