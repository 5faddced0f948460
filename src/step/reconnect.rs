//! Steps that judge how a device comes back to its service, from intervals that were measured: what they are, how they are written, how
//! they are told.

use std::time::Duration;

use super::{FailAs, Template, Within, build, keys};
use crate::{
    document::{Key, Keys, Map, Shape},
    fleet::Share,
};

/// A step that judges measured intervals. It touches nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum ReconnectStep {
    /// The delays must vary.
    BackOff {
        /// Intervals in seconds, separated by spaces.
        intervals: Template,
        /// Least width of the jitter.
        jitter: Share,
        /// What measuring adds.
        noise: Duration,
        /// Reason when they do not.
        fail_as: FailAs,
    },
    /// No two sequences may be the same.
    Differ {
        /// Sequences of intervals.
        of: Vec<Template>,
        /// What measuring adds.
        noise: Duration,
        /// Reason when two are.
        fail_as: FailAs,
    },
    /// Measure how long it takes until something is said on a console, which may not happen.
    TimeTo {
        /// Console channel.
        channel: String,
        /// What.
        pattern: Template,
        /// For how long it is waited for.
        within: Within,
        /// Name of the value that the time becomes: seconds, or `none`.
        save_as: String,
    },
    /// Times from several outages to the device's own start must vary, if it starts anew at all.
    Phase {
        /// Times in seconds, or `none`.
        of: Vec<Template>,
        /// Least width.
        least: Share,
        /// What measuring adds.
        noise: Duration,
        /// Reason when they do not vary.
        fail_as: FailAs,
    },
    /// A fleet of such devices must not overrun its service.
    Fleet(Box<FleetStep>),
}

/// What a fleet is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetStep {
    /// Intervals in seconds, separated by spaces.
    pub intervals: Template,
    /// Devices.
    pub devices: u64,
    /// How long the service is away.
    pub outage: Within,
    /// Share of the fleet that the service admits per second.
    pub capacity: Template,
    /// Within what time the devices notice the outage.
    pub spread: Option<Within>,
    /// Largest share of the fleet in one second.
    pub peak: Option<Template>,
    /// Longest time until 99 % are served.
    pub drain: Option<Within>,
    /// What measuring adds.
    pub noise: Duration,
    /// Reason when a limit is exceeded.
    pub fail_as: FailAs,
}

const NOISE: Key = Key::optional(
    "noise",
    Shape::Duration(Duration::ZERO, Duration::from_mins(1)),
    "By how much a measured interval may be off, either way. Default: 50ms.",
);
const INTERVALS: Key =
    Key::needed("intervals", Shape::Template, "Intervals in seconds, separated by spaces: what `cloud-intervals` saved.");

/// `back-off`.
pub static BACK_OFF: Keys = Keys::new(
    "back-off",
    "Estimates the law behind measured intervals and holds the width of its jitter against a limit. What so few intervals cannot tell is inconclusive.",
    &[
        INTERVALS,
        Key::needed(
            "jitter-at-least",
            Shape::Percent,
            "Least width of the jitter: (longest - shortest) / longest delay at the cap.",
        ),
        NOISE,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `intervals-differ`.
pub static DIFFER: Keys = Keys::new(
    "intervals-differ",
    "Compares sequences of intervals, one from each power-on or each unit. No two may be the same: a seed that is always the same makes a fleet move as one.",
    &[
        Key::needed("of", Shape::List(&Shape::Template, 2), "Sequences of intervals: what several `cloud-intervals` saved."),
        NOISE,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `time-to`.
pub static TIME_TO: Keys = Keys::new(
    "time-to",
    "Measures the time from the beginning of the step until something is said on a console. That nothing is said in the time is recorded, and not judged.",
    &[
        Key::needed("channel", Shape::Name, "Console channel."),
        Key::needed("pattern", Shape::Pattern, "Regular expression, over what came since the last stimulus."),
        Key::needed("within", Shape::Within, "For how long it is waited for. All of it passes if it is not said."),
        Key::needed("save-as", Shape::Variable, "Name of the value that the time becomes: seconds, or `none`."),
    ],
);

/// `restart-phase`.
pub static PHASE: Keys = Keys::new(
    "restart-phase",
    "Judges whether a device that starts anew in an outage does so at a time of its own. A watchdog that counts from the last success makes a whole fleet start at once. A device that never starts anew passes; what so few times cannot tell is inconclusive.",
    &[
        Key::needed(
            "of",
            Shape::List(&Shape::Template, 8),
            "Times from the beginning of an outage to the start: what `time-to` saved in each of at least eight outages.",
        ),
        Key::needed("spread-at-least", Shape::Percent, "Least width: (longest - shortest) / longest."),
        NOISE,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `fleet`.
pub static FLEET: Keys = Keys::new(
    "fleet",
    "Simulates a fleet that reconnects by the law behind measured intervals, as `hilbench fleet` does, and holds it against limits. A limit within what so few intervals leave open is inconclusive.",
    &[
        INTERVALS,
        Key::needed("outage", Shape::Within, "How long the service is away for all of them."),
        Key::needed(
            "capacity",
            Shape::Template,
            "Share of the fleet that the service admits per second: `0.5%` or `${declared.NAME}`.",
        ),
        Key::optional("devices", Shape::Integer(1_000, 100_000_000), "Devices. Default: 10000000."),
        Key::optional("noticed-within", Shape::Within, "Within what time the devices notice the outage. Default: at once."),
        Key::optional("peak-limit", Shape::Template, "Largest share of the fleet whose attempts may fall into one second."),
        Key::optional("drain-limit", Shape::Within, "Longest time after the return until 99 % of the fleet are served."),
        NOISE,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

fn noise(map: &Map) -> Duration {
    if map.has("noise") { map.duration("noise") } else { Duration::from_millis(50) }
}

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<ReconnectStep> {
    match name {
        "back-off" => Some(ReconnectStep::BackOff {
            intervals: build::template(map, "intervals"),
            jitter: Share::from_fraction(f64::from(map.permille("jitter-at-least")) / 1000.0),
            noise: noise(map),
            fail_as: build::fail_as(map),
        }),
        "intervals-differ" => Some(ReconnectStep::Differ {
            of: map.strings("of").into_iter().map(Template).collect(),
            noise: noise(map),
            fail_as: build::fail_as(map),
        }),
        "time-to" => Some(ReconnectStep::TimeTo {
            channel: map.string("channel"),
            pattern: build::template(map, "pattern"),
            within: build::within(map, "within"),
            save_as: map.string("save-as"),
        }),
        "restart-phase" => Some(ReconnectStep::Phase {
            of: map.strings("of").into_iter().map(Template).collect(),
            least: Share::from_fraction(f64::from(map.permille("spread-at-least")) / 1000.0),
            noise: noise(map),
            fail_as: build::fail_as(map),
        }),
        "fleet" => Some(ReconnectStep::Fleet(Box::new(FleetStep {
            intervals: build::template(map, "intervals"),
            devices: map.get("devices").and_then(|value| u64::try_from(value.integer()).ok()).unwrap_or(10_000_000),
            outage: build::within(map, "outage"),
            capacity: build::template(map, "capacity"),
            spread: map.has("noticed-within").then(|| build::within(map, "noticed-within")),
            peak: build::optional_template(map, "peak-limit"),
            drain: map.has("drain-limit").then(|| build::within(map, "drain-limit")),
            noise: noise(map),
            fail_as: build::fail_as(map),
        }))),
        _ => None,
    }
}

/// Keys of such a step that cannot be: the key, and what is wrong.
#[must_use]
pub fn problems(name: &str, map: &Map) -> Vec<(&'static str, String)> {
    if name != "fleet" {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for key in ["capacity", "peak-limit"] {
        let text = map.text(key);
        if map.has(key)
            && !text.contains("${")
            && let Err(error) = text.parse::<Share>()
        {
            problems.push((key, error.to_string()));
        }
    }
    if !map.has("peak-limit") && !map.has("drain-limit") {
        problems.push(("intervals", "one of `peak-limit` and `drain-limit` is needed".to_owned()));
    }
    problems
}

impl ReconnectStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::BackOff { jitter, .. } => format!("jitter of the back-off at least {jitter}"),
            Self::Differ { of, .. } => format!("{} sequences of intervals differ", of.len()),
            Self::TimeTo { channel, pattern, within, .. } => format!("time to `{}` on {channel}, at most {within}", pattern.0),
            Self::Phase { of, least, .. } => format!("own starts in {} outages vary by at least {least}", of.len()),
            Self::Fleet(fleet) => format!("fleet of {} devices after an outage of {}", fleet.devices, fleet.outage),
        }
    }
}
