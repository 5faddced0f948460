//! The program as its users meet it: started, stopped, killed, given bad input and hostile devices.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "process/bench.rs"]
mod bench;
#[path = "process/crosscheck.rs"]
mod crosscheck;
#[path = "process/cuts.rs"]
mod cuts;
#[path = "process/docs.rs"]
mod docs;
#[path = "process/doctor.rs"]
mod doctor;
#[path = "process/ends.rs"]
mod ends;
#[path = "process/fleet.rs"]
mod fleet;
#[path = "process/hostile.rs"]
mod hostile;
#[path = "process/input.rs"]
mod input;
#[path = "process/leases.rs"]
mod leases;
#[path = "process/prove.rs"]
mod prove;
