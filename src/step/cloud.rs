//! Steps at the device's cloud: what they are, how they are written, how they are told.

use crate::{
    channel::cloud::Behaviour,
    document::{Key, Keys, Map, Shape, Word},
};

/// A step at the device's cloud.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudStep {
    /// Behave like this from now on.
    Behave(Behaviour),
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Cloud channel.");
const BEHAVIOURS: &[Word] =
    &[Word { word: "accept", what: "As a good service does." }, Word { word: "refuse", what: "Connections are refused." }];

/// `cloud`.
pub static CLOUD: Keys = Keys::new(
    "cloud",
    "Lets the bench's cloud treat the device in some way from now on.",
    &[CHANNEL, Key::needed("behaviour", Shape::Word(BEHAVIOURS), "Which way.")],
);

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<CloudStep> {
    match name {
        "cloud" => Some(CloudStep::Behave(if map.text("behaviour") == "refuse" { Behaviour::Refuse } else { Behaviour::Accept })),
        _ => None,
    }
}

impl CloudStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Behave(Behaviour::Accept) => format!("{channel} accepts"),
            Self::Behave(Behaviour::Refuse) => format!("{channel} refuses"),
        }
    }
}
