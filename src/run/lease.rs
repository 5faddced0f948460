//! One run per physical instrument.
//!
//! A lease is a kernel lock (`flock`) on a file named after the instrument, so that a crash frees it. The file also holds a readable
//! record of the holder, for the message that a second run gets.
//!
//! The guard of a run holds a second lock on each of its instruments. A lease is only given where that is free too: when a controller was
//! killed, the next run waits until the guard has reached the safe state, or the two would switch against each other.
//!
//! A run takes all of its instruments or none, so that two runs with several instruments cannot wait for each other. Runs that wait are
//! served in the order of their [tickets](queue). Locks are taken and looked at under one lock on the directory, held for
//! microseconds: whoever lists the holders never stands in the way of a taker.

mod files;
mod list;
pub mod queue;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
};

use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use files::directory;
pub use list::{Held, held};

use queue::Ticket;

/// Who holds an instrument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// RFC 3339 time since when.
    pub since: String,
    /// Name of the plan it runs.
    pub plan: String,
    /// The run.
    pub run: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} since {}, for plan {} (run {})", self.pid, self.since, self.plan, self.run)
    }
}

/// What stands in the file of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    instrument: String,
    #[serde(flatten)]
    holder: Holder,
}

/// A held lease; dropping it (or dying) frees the instrument.
#[derive(Debug)]
pub struct Lease {
    /// Instrument identity.
    pub instrument: String,
    _lock: Flock<File>,
}

/// Why a lease could not be had.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error("{instrument} is in use {}", by(holder.as_ref()))]
    Held {
        /// Instrument identity.
        instrument: String,
        /// Holder record, if it could be read.
        holder: Option<Holder>,
    },
    /// It is free, but another run waits for it and came first.
    #[error("{instrument} is kept for a run that waits for it: {holder}")]
    Kept {
        /// Instrument identity.
        instrument: String,
        /// Who waits.
        holder: Holder,
    },
    /// Its last holder was killed, and that run's guard is at work.
    #[error("{instrument} is still being brought to its safe state by the guard of a run that was lost; try again in a moment")]
    Guarded {
        /// Instrument identity.
        instrument: String,
    },
    /// A lock file could not be made.
    #[error("cannot lock {what} with {}: {source}", path.display())]
    Io {
        /// Instrument identity, or what else was to be locked.
        what: String,
        /// Lock file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "by another process".to_owned(), |holder| format!("by {holder}"))
}

/// Takes the leases of all `instruments` in `directory`, or none of them. A `ticket` gives the place among those that wait; without one
/// everybody who waits comes first. May block for some seconds when a process was stopped in the middle of the same.
///
/// # Errors
/// [`LeaseError::Held`] with the holder if somebody has one of them, [`LeaseError::Kept`] if somebody waits for one,
/// [`LeaseError::Guarded`] if a guard is at work on one.
pub fn take(
    directory: &Path,
    instruments: &BTreeSet<String>,
    holder: &Holder,
    ticket: Option<&Ticket>,
) -> Result<Vec<Lease>, LeaseError> {
    let _entered = files::enter(directory)?;
    queue::check(directory, instruments, ticket)?;
    let taken: Result<Vec<Lease>, LeaseError> = instruments.iter().map(|instrument| take_one(directory, instrument)).collect();
    let mut taken = taken?;
    for Lease { instrument, _lock: lock } in &mut taken {
        let record = Record { instrument: instrument.clone(), holder: holder.clone() };
        let record = serde_json::to_vec(&record).unwrap_or_default();
        let file: &mut File = lock;
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&record)).map_err(|source| LeaseError::Io {
            what: instrument.clone(),
            path: directory.join(files::name(instrument)),
            source,
        })?;
    }
    Ok(taken)
}

fn take_one(directory: &Path, instrument: &str) -> Result<Lease, LeaseError> {
    let lock = match files::lock(directory, &files::name(instrument), instrument)? {
        Ok(lock) => lock,
        Err(file) => {
            let holder = files::content::<Record>(file).map(|record| record.holder);
            return Err(LeaseError::Held { instrument: instrument.to_owned(), holder });
        }
    };
    drop(guard_one(directory, instrument)?);
    Ok(Lease { instrument: instrument.to_owned(), _lock: lock })
}

/// Takes the guard's lock of `instrument`.
///
/// # Errors
/// [`LeaseError::Guarded`] if another guard has it.
pub fn guard(directory: &Path, instrument: &str) -> Result<Lease, LeaseError> {
    let _entered = files::enter(directory)?;
    guard_one(directory, instrument)
}

fn guard_one(directory: &Path, instrument: &str) -> Result<Lease, LeaseError> {
    match files::lock(directory, &files::guard_name(instrument), instrument)? {
        Ok(lock) => Ok(Lease { instrument: instrument.to_owned(), _lock: lock }),
        Err(_) => Err(LeaseError::Guarded { instrument: instrument.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
