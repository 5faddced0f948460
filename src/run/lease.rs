//! One run per physical instrument.
//!
//! A lease is a kernel lock (`flock`) on a file named after the instrument, so that a crash frees it. The file also holds a readable
//! record of the holder, for the message that a second run gets.
//!
//! The guard of a run holds a second lock on each of its instruments. A lease is only given where that is free too: when a controller was
//! killed, the next run waits until the guard has reached the safe state, or the two would switch against each other.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    #[error("{instrument} is in use {}", holder.as_ref().map_or_else(|| "by another process".to_owned(), |h| format!("by process {} since {}, for plan {} (run {})", h.pid, h.since, h.plan, h.run)))]
    Held {
        /// Instrument identity.
        instrument: String,
        /// Holder record, if it could be read.
        holder: Option<Holder>,
    },
    /// Its last holder was killed, and that run's guard is at work.
    #[error("{instrument} is still being brought to its safe state by the guard of a run that was lost; try again in a moment")]
    Guarded {
        /// Instrument identity.
        instrument: String,
    },
    /// The lock file could not be made.
    #[error("cannot lock {instrument} with {}: {source}", path.display())]
    Io {
        /// Instrument identity.
        instrument: String,
        /// Lock file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
}

/// Where leases are kept: one place for all users of the machine where that can be written, else in the store.
#[must_use]
pub fn directory(store: &Path) -> PathBuf {
    if let Some(chosen) = std::env::var_os("HILBENCH_LEASES") {
        return chosen.into();
    }
    let shared = Path::new("/run/lock/hilbench");
    let usable = fs::create_dir_all(shared).is_ok() && nix::unistd::access(shared, nix::unistd::AccessFlags::W_OK).is_ok();
    if usable { shared.to_owned() } else { store.join("leases") }
}

/// Takes the lease of `instrument` in `directory`.
///
/// # Errors
/// [`LeaseError::Held`] with the holder if somebody has it, [`LeaseError::Guarded`] if a guard is at work on it.
pub fn take(directory: &Path, instrument: &str, holder: &Holder) -> Result<Lease, LeaseError> {
    let name = file_name(instrument);
    let mut lock = match lock(directory, &name, instrument)? {
        Ok(lock) => lock,
        Err(mut file) => {
            let mut text = String::new();
            let holder = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
            return Err(LeaseError::Held { instrument: instrument.to_owned(), holder });
        }
    };
    drop(guard(directory, instrument)?);
    let record = serde_json::to_vec(holder).unwrap_or_default();
    let file: &mut File = &mut lock;
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&record)).map_err(|source| LeaseError::Io {
        instrument: instrument.to_owned(),
        path: directory.join(name),
        source,
    })?;
    Ok(Lease { instrument: instrument.to_owned(), _lock: lock })
}

/// Takes the guard's lock of `instrument`.
///
/// # Errors
/// [`LeaseError::Guarded`] if another guard has it.
pub fn guard(directory: &Path, instrument: &str) -> Result<Lease, LeaseError> {
    match lock(directory, &format!("{}.guard", file_name(instrument)), instrument)? {
        Ok(lock) => Ok(Lease { instrument: instrument.to_owned(), _lock: lock }),
        Err(_) => Err(LeaseError::Guarded { instrument: instrument.to_owned() }),
    }
}

/// Locks a file; gives it back unlocked if somebody else has.
fn lock(directory: &Path, name: &str, instrument: &str) -> Result<Result<Flock<File>, File>, LeaseError> {
    let path = directory.join(name);
    let io = |source: std::io::Error| LeaseError::Io { instrument: instrument.to_owned(), path: path.clone(), source };
    fs::create_dir_all(directory).map_err(io)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(lock)),
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => Ok(Err(file)),
        Err((_, errno)) => Err(io(errno.into())),
    }
}

/// A file name for an identity: readable, and unique through the digest.
fn file_name(instrument: &str) -> String {
    let readable: String = instrument.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    let digest = blake3::hash(instrument.as_bytes()).to_hex();
    format!("{readable}-{}.lock", &digest[..12])
}

#[cfg(test)]
mod tests {
    use super::{Holder, LeaseError, guard, take};

    fn holder(plan: &str) -> Holder {
        Holder { pid: 7, since: "2026-01-01T00:00:00Z".to_owned(), plan: plan.to_owned(), run: "r".to_owned() }
    }

    #[test]
    fn a_second_taker_is_told_who_holds_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path(), "usb 1-1.2 / port 3", &holder("first plan")).unwrap();
        let refused = take(dir.path(), "usb 1-1.2 / port 3", &holder("second")).unwrap_err();
        assert!(matches!(&refused, LeaseError::Held { holder: Some(h), .. } if h.plan == "first plan"), "{refused}");
        assert!(refused.to_string().contains("process 7 since 2026-01-01"), "{refused}");
        take(dir.path(), "usb 1-1.2 - port 3", &holder("other instrument")).unwrap();
        drop(first);
        take(dir.path(), "usb 1-1.2 / port 3", &holder("second")).unwrap();
    }

    #[test]
    fn an_instrument_whose_guard_is_at_work_is_not_given_to_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let at_work = guard(dir.path(), "supply").unwrap();
        assert!(matches!(take(dir.path(), "supply", &holder("next")), Err(LeaseError::Guarded { .. })));
        drop(at_work);
        let run = take(dir.path(), "supply", &holder("next")).unwrap();
        guard(dir.path(), "supply").unwrap();
        drop(run);
    }
}
