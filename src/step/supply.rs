//! Steps on supplies and buttons besides switching and pressing: what they are, how they are written, how they are told.

use super::{FailAs, StepKind, build, keys};
use crate::{
    channel::link::Measurand,
    document::{Key, Keys, Map, Shape, Word},
    units::{Current, Quantity, Voltage},
};

/// A measurement at a supply.
#[derive(Debug, Clone, PartialEq)]
pub struct SupplyMeasurement {
    /// What is measured.
    pub what: Measurand,
    /// Name of the measurement.
    pub name: String,
    /// Smallest good value, in V or mA.
    pub at_least: Option<f64>,
    /// Largest good value, in V or mA.
    pub at_most: Option<f64>,
    /// Reason when it is outside.
    pub fail_as: Option<FailAs>,
}

const QUANTITY: &[Word] =
    &[Word { word: "voltage", what: "What the output is at." }, Word { word: "current", what: "What the device takes." }];
const STATE: &[Word] = &[
    Word { word: "pressed", what: "Held from now on, until it is released or the case ends in the safe state." },
    Word { word: "released", what: "Let go." },
];

/// `measure-supply`.
pub static MEASURE_SUPPLY: Keys = Keys::new(
    "measure-supply",
    "Measures what a supply gives, and holds it against limits if there are any.",
    &[
        Key::needed("channel", Shape::Name, "Supply channel."),
        Key::needed("quantity", Shape::Word(QUANTITY), "What is measured."),
        Key::needed("name", Shape::Name, "Name of the measurement."),
        Key::optional("at-least", Shape::Line, "Smallest good value, `4.75V` or `10mA`."),
        Key::optional("at-most", Shape::Line, "Largest good value."),
        keys::REASON,
        keys::MEANING,
    ],
);

/// `button`.
pub static BUTTON: Keys = Keys::new(
    "button",
    "Presses a button or sets a strap, and leaves it so for the steps that follow.",
    &[Key::needed("channel", Shape::Name, "Button channel."), Key::needed("state", Shape::Word(STATE), "Pressed or released.")],
);

/// What the word means.
#[must_use]
pub fn measurand(word: &str) -> Measurand {
    if word == "current" { Measurand::Current } else { Measurand::Voltage }
}

/// A limit, in V or mA.
#[must_use]
pub fn limit(what: Measurand, text: &str) -> Option<f64> {
    let quantity: Quantity = match what {
        Measurand::Voltage => text.parse::<Voltage>().ok()?.into(),
        Measurand::Current => text.parse::<Current>().ok()?.into(),
    };
    Some(quantity.value())
}

/// The step of that name.
#[must_use]
pub fn step(name: &str, channel: &str, map: &Map) -> Option<StepKind> {
    let channel = channel.to_owned();
    match name {
        "button" => Some(StepKind::Button { channel, pressed: map.text("state") == "pressed" }),
        "measure-supply" => {
            let what = measurand(map.text("quantity"));
            let bound = |key| map.get(key).and_then(|value| limit(what, value.text()));
            let step = SupplyMeasurement {
                what,
                name: map.string("name"),
                at_least: bound("at-least"),
                at_most: bound("at-most"),
                fail_as: build::optional_fail_as(map),
            };
            Some(StepKind::MeasureSupply { channel, step })
        }
        _ => None,
    }
}

/// The unit of a measurement in the journal.
#[must_use]
pub const fn unit(what: Measurand) -> &'static str {
    match what {
        Measurand::Voltage => "V",
        Measurand::Current => "mA",
    }
}

impl SupplyMeasurement {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        let unit = unit(self.what);
        let bound = |word, bound: Option<f64>| bound.map_or_else(String::new, |bound| format!(", {word} {bound} {unit}"));
        format!("measure {} of {channel}{}{}", self.name, bound("at least", self.at_least), bound("at most", self.at_most))
    }
}
