//! Steps over Bluetooth Low Energy: what they are, how they are written, how they are told.

use super::{FailAs, Within, build, keys};
use crate::document::{Key, Keys, Map, Shape, Word};

/// A step over Bluetooth Low Energy.
#[derive(Debug, Clone, PartialEq)]
pub enum BleStep {
    /// The device must advertise, or must not.
    Presence {
        /// Which.
        present: bool,
        /// How long to listen.
        within: Within,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Bluetooth channel.");
const PRESENCE_WORDS: &[Word] = &[
    Word { word: "present", what: "The device must advertise." },
    Word { word: "absent", what: "The device must not advertise for the whole time." },
];

/// `ble-presence`.
pub static PRESENCE: Keys = Keys::new(
    "ble-presence",
    "Listens whether the device advertises over Bluetooth Low Energy.",
    &[
        CHANNEL,
        Key::needed("state", Shape::Word(PRESENCE_WORDS), "Which."),
        Key::needed("within", Shape::Within, "How long to listen."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<BleStep> {
    match name {
        "ble-presence" => Some(BleStep::Presence {
            present: map.text("state") == "present",
            within: build::within(map, "within"),
            fail_as: build::fail_as(map),
        }),
        _ => None,
    }
}

impl BleStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Presence { present: true, within, .. } => format!("{channel} advertises within {within}"),
            Self::Presence { present: false, within, .. } => format!("{channel} does not advertise for {within}"),
        }
    }
}
