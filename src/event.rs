//! The vocabulary of facts.
//!
//! A run is an ordered stream of [`Event`]s plus evidence bytes. Everything that people look at (console, terminal UI,
//! JUnit, exit code, replay) is a fold over that stream, so events hold facts only: no counters, percentages or display hints.
//! A fact about an act that touches the world is written *before* the act, a fact about an observation after it.
//!
//! The JSON form is versioned by [`SCHEMA`]; fields are only ever added.

mod cut;
mod fact;
mod id;
mod request;
mod verdict;

pub use cut::{CutOutcome, CutPhase, CutPoint};
pub use fact::{Act, Digest, EvidenceRef, Fact, FileDigest, Limit, RunHeader, Witness};
pub use id::{CaseId, ChannelName, Nanos, RunId, StepId};
pub use request::{Request, StopLevel};
pub use verdict::{Reason, Verdict};

use serde::{Deserialize, Serialize};

/// Version of the event vocabulary, written into each run's header as `events/1`.
pub const SCHEMA: &str = "events/1";

/// Why a case is skipped that the user did not ask for: the one reason that nobody needs to be told.
pub const NOT_SELECTED: &str = "not selected";

/// One fact with its place in the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the run, from 0, without gaps.
    pub seq: u64,
    /// Nanoseconds of the bench clock since the wall-clock anchor in the header.
    pub at: Nanos,
    /// What happened.
    pub fact: Fact,
}
