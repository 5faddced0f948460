//! Pure folds from events to what people look at.
//!
//! Everything that shows a run, live or replayed, is made from a [`RunView`]: console, reports, terminal UI. The fold takes one event
//! at a time, never fails and never looks anything up, so a live view and a replayed one are equal by construction.

mod case;
pub mod crosscheck;
mod cuts;
mod fold;
pub mod lines;
mod run;
pub mod sanitise;
mod text;

pub use case::{Attempt, CaseState, CaseView, Measurement, StepView};
pub use cuts::{BadCut, CutMap, CutsView};
pub use run::{Channel, Counts, Fault, Finish, Last, Prompt, PromptOutcome, RunView, SafeAction, SafeState};
pub use text::{quantity, seconds, share};

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
