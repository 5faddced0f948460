//! Steps on the line that carries a console's bytes: what they are, how they are written, how they are told.

use std::time::Duration;

use super::{FailAs, Silence, Template, Within, build, keys};
use crate::{
    channel::line::Lines,
    document::{Key, Keys, Map, Shape, Word},
    units::Span,
};

/// Rates that are tried when a sweep names none, bits per second.
pub const RATES: &[u32] = &[
    9_600, 19_200, 38_400, 57_600, 74_880, 115_200, 230_400, 250_000, 460_800, 500_000, 921_600, 1_000_000, 1_500_000, 2_000_000,
    3_000_000,
];

/// A step on a console's line.
#[derive(Debug, Clone, PartialEq)]
pub enum LineStep {
    /// Hold the line in the break state.
    Break {
        /// How long.
        hold: Duration,
    },
    /// Drive the modem lines.
    State(Lines),
    /// Find the rate at which the device speaks.
    Sweep {
        /// What must appear at the right rate; captures become values.
        pattern: Template,
        /// Rates to try, in this order.
        rates: Vec<u32>,
        /// Time at each rate.
        within: Within,
        /// Sent at each rate, with a line feed.
        line: Option<Template>,
        /// What it means that the device said nothing at any rate.
        silence: Silence,
        /// Reason when it does not appear at any rate.
        fail_as: Option<FailAs>,
    },
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Console channel; a serial port.");
const LEVEL: &[Word] = &[Word { word: "up", what: "Driven (on)." }, Word { word: "down", what: "Not driven (off)." }];
const RATE: Shape = Shape::Integer(50, 20_000_000);

/// `break`.
pub static BREAK: Keys = Keys::new(
    "break",
    "Holds the line in the break state for a time, longer than any character.",
    &[
        CHANNEL,
        Key::needed("hold", Shape::Duration(Duration::from_millis(1), Duration::from_secs(10)), "How long; 250ms is common."),
    ],
);

/// `line-state`.
pub static STATE: Keys = Keys::new(
    "line-state",
    "Drives DTR and RTS of a serial port, both at once. Many boards are reset by them, or started into their loader.",
    &[
        CHANNEL,
        Key::needed("dtr", Shape::Word(LEVEL), "Data terminal ready."),
        Key::needed("rts", Shape::Word(LEVEL), "Request to send."),
    ],
);

/// `baud-sweep`.
pub static SWEEP: Keys = Keys::new(
    "baud-sweep",
    "Tries rates until the pattern appears, and goes back to the rig's rate. The rate that was found is the value `baud`.",
    &[
        CHANNEL,
        Key::needed("pattern", Shape::Pattern, "What appears at the right rate."),
        Key::optional(
            "rates",
            Shape::List(&RATE, 1),
            "Bits per second, in the order in which they are tried. Default: 9600 to 3000000.",
        ),
        Key::needed("within", Shape::Within, "Time at each rate."),
        Key::optional("line", Shape::Template, "Text that is sent at each rate; a line feed is added. Default: only listen."),
        keys::SILENT,
        keys::REASON,
        keys::MEANING,
    ],
);

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<LineStep> {
    let up = |name: &str| map.text(name) == "up";
    Some(match name {
        "break" => LineStep::Break { hold: map.duration("hold") },
        "line-state" => LineStep::State(Lines { dtr: up("dtr"), rts: up("rts") }),
        "baud-sweep" => LineStep::Sweep {
            pattern: build::template(map, "pattern"),
            rates: match map.list("rates") {
                [] => RATES.to_vec(),
                rates => rates.iter().filter_map(|rate| u32::try_from(rate.integer()).ok()).collect(),
            },
            within: build::within(map, "within"),
            line: build::optional_template(map, "line"),
            silence: build::silence(map),
            fail_as: build::optional_fail_as(map),
        },
        _ => return None,
    })
}

impl LineStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Break { hold } => format!("line break on {channel} for {}", Span::from(*hold)),
            Self::State(lines) => format!("{channel}: {lines}"),
            Self::Sweep { pattern, rates, within, .. } => {
                format!("look for `{}` on {channel} at {} rates, {within} each", pattern.0, rates.len())
            }
        }
    }
}
