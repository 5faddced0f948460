//! Steps on the device's network: what they are, how they are written, how they are told.

use crate::{
    channel::network::Disturbance,
    document::{Key, Keys, Map, Shape, Word},
};

/// A step on the device's network.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkStep {
    /// Disturb the network.
    Disturb(Disturbance),
    /// End every disturbance.
    Restore,
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Network channel.");
const STATES: &[Word] =
    &[Word { word: "up", what: "Undisturbed." }, Word { word: "down", what: "No carrier, as if the cable were pulled." }];

/// `network`.
pub static NETWORK: Keys = Keys::new(
    "network",
    "Disturbs the device's network, or ends every disturbance.",
    &[CHANNEL, Key::needed("state", Shape::Word(STATES), "What the network is like from now on.")],
);

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<NetworkStep> {
    match (name, map.text("state")) {
        ("network", "down") => Some(NetworkStep::Disturb(Disturbance::Down)),
        ("network", _) => Some(NetworkStep::Restore),
        _ => None,
    }
}

impl NetworkStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Disturb(Disturbance::Down) => format!("{channel} down"),
            Self::Restore => format!("{channel} undisturbed"),
        }
    }
}
