//! Proof that the bench tells good devices from bad ones.
//!
//! A [`Matrix`] says which devices are good, which have which single fault, which variations are harmless, and which benches are broken. Each row is
//! run as anybody would run it; [`judge()`] holds what came of it against what the row says, and [`Proof`] is the table of all of them.

mod judge;
mod matrix;
mod table;

pub use judge::{Case, Observed, Outcome, judge};
pub use matrix::{Expected, Matrix, Row, schema};
pub use table::{Crosschecked, Judged, Proof};
