//! The engine: takes a bound plan and a rig, drives the bench, writes facts, always ends in the safe state.
//!
//! * [`dispatch`]: one run from lease to safe state; the only place that decides what happens next.
//! * [`execute`]: steps of one case; every wait is against a deadline and the stop signal.
//! * [`mod@bench`]: the opened channels.
//! * [`desk`]: where the operator is asked; [`control`]: where answers and stops come in from other processes.
//! * [`guard`]: the process that outlives the controller.
//! * [`lease`]: one run per instrument.
//! * [`doctor`]: whether a bench could be used.
//!
//! The engine never names a driver: the caller hands it a [`registry::Registry`].

mod api;
pub mod bench;
mod ble;
mod cloud;
mod console;
pub mod control;
pub mod cuts;
pub mod describe;
pub mod desk;
pub mod dispatch;
pub mod doctor;
pub mod execute;
mod freeze;
pub mod guard;
pub mod images;
pub mod lease;
mod line;
mod network;
mod outage;
pub mod outcome;
mod patience;
mod probe;
mod prompt;
mod reconnect;
pub mod record;
pub mod registry;
mod residue;
pub mod stop;
mod supply;
mod usb;
pub mod values;
