//! hilbench: a hardware-in-the-loop test bench controller for consumer IoT security.
//!
//! `docs/architecture.md` has the map of the modules and the table of who may import whom.

pub mod channel;
pub mod cli;
pub mod console;
pub mod diagnostic;
pub mod document;
pub mod driver;
pub mod event;
pub mod fleet;
pub mod journal;
pub mod plan;
pub mod prove;
pub mod report;
pub mod rig;
pub mod run;
pub mod standard;
pub mod step;
pub mod tui;
pub mod units;
pub mod view;
pub mod virtual_dut;
