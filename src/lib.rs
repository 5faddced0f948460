//! hilbench: a hardware-in-the-loop test bench controller for consumer IoT security.
//!
//! See `docs/architecture.md` for the map of the modules and the rule of who may import whom.

pub mod channel;
pub mod console;
pub mod event;
pub mod journal;
pub mod report;
pub mod units;
pub mod view;
