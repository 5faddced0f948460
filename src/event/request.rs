//! What front ends may ask of a run.

use serde::{Deserialize, Serialize};

/// How urgently a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopLevel {
    /// Finish the running step's input and output, start no other step.
    Graceful,
    /// Stop waiting; go to `finally` and the safe state at once.
    Now,
    /// Leave without waiting for anything; the guard process reaches the safe state.
    Forced,
}

/// A request to the engine. The engine's answer is the facts it then writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// End the run.
    Stop {
        /// How urgently; a later request can only raise it.
        level: StopLevel,
        /// Who asked: `SIGINT`, `SIGTERM`, `tui`, ...
        by: String,
    },
    /// Answer an open prompt.
    Answer {
        /// Its number.
        prompt: u32,
        /// One of its choices, or free text if it takes that.
        answer: String,
        /// Who answers.
        by: String,
    },
}
