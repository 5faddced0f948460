//! What a device's reconnection law does to a service when a whole fleet loses it at once.
//!
//! Data in, data out: no files, no clock, no verdict. Three parts, each usable by itself:
//!
//! - [`Law`]: how long a device waits before its next attempt;
//! - `estimate`: the law behind measured intervals, and what so few intervals cannot tell;
//! - `simulate`: a fleet under a law through a common outage: its worst second, and the time until it is served.
//!
//! [`law_uncertainty`] joins the two: what the uncertainty of an estimated law means for the fleet. The model, its assumptions and
//! its sources are in `docs/fleet.md`.

mod estimate;
mod law;
mod order;
mod phase;
mod random;
mod seed;
mod share;
mod simulate;
mod uncertainty;

pub use estimate::{
    ClassName, Classification, Estimate, EstimateError, JitterWidth, LEAST_INTERVALS, MOST_INTERVALS, Range, estimate,
};
pub use law::{Jitter, LONGEST, Law, LawError, ParseLawError, SHORTEST};
pub use phase::{LEAST_OUTAGES, Phase, phase};
pub use random::Random;
pub use seed::{Alike, alike};
pub use share::{ParseShareError, Share};
pub use simulate::{
    Figure, Fleet, FleetError, HORIZON, Holds, LEAST_DEVICES, LONGEST_OUTAGE, MOST_DEVICES, Outcome, Served, WorstSecond,
    simulate,
};
pub use uncertainty::{LawUncertainty, law_uncertainty};
