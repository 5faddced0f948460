//! hilbench: a hardware-in-the-loop test bench controller for consumer IoT security.
//!
//! See `docs/architecture.md` for the map of the modules and the rule of who may import whom.

pub mod channel;
pub mod diagnostic;
pub mod document;
pub mod event;
pub mod plan;
pub mod rig;
pub mod standard;
pub mod step;
pub mod units;
