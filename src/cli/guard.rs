//! `hilbench guard`: wiring of the guard process.

use std::io::{BufReader, stdin, stdout};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use super::{Exit, wiring};

pub(super) fn guard() -> Exit {
    // The guard must outlive what ends the controller; it ends when its input does. Blocked before any thread is started.
    let ignored: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE].into_iter().collect();
    if pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&ignored), None).is_err() {
        return Exit::BenchError;
    }
    match crate::run::guard::watch(BufReader::new(stdin()), stdout().lock(), |_| wiring::guard_registry()) {
        Ok(true) => Exit::Pass,
        Ok(false) => Exit::Unsafe,
        Err(_) => Exit::BenchError,
    }
}
