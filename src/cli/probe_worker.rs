//! `hilbench probe-worker`: operations of debug probes, for a controller that survives what they do.

use std::io::{stdin, stdout};

use super::Exit;

pub(super) fn work() -> Exit {
    match crate::driver::probe::serve(&mut stdin().lock(), stdout()) {
        Ok(()) => Exit::Pass,
        Err(error) => {
            super::complain(&error.to_string());
            Exit::BenchError
        }
    }
}
