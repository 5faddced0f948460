//! Closing a run on behalf of a controller that is gone.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{Closed, Damage, Ended, OpenError, RunDir, RunState, Summary, close};

/// Why a run was not recovered.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// It needs no recovery.
    #[error("run {0} is closed already")]
    Closed(String),
    /// Its controller lives.
    #[error("run {0} is still being written; wait for it or stop it")]
    Running(String),
    /// Its guard is still bringing the bench to the safe state.
    #[error("the guard of run {0} is still at work; try again when it has ended")]
    Guarded(String),
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be written.
    #[error("cannot close {}: {source}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Closes an interrupted run: nothing in it is changed, a torn last line stays where it is; it gets a manifest that says it was
/// recovered, and its final name. Returns what reading it will report as damage.
///
/// # Errors
/// If its controller or guard lives, or the directory cannot be written.
pub fn recover(run: &RunDir) -> Result<(Closed, Vec<Damage>), RecoverError> {
    match run.state() {
        RunState::Closed => return Err(RecoverError::Closed(run.id().0.clone())),
        RunState::Running => return Err(RecoverError::Running(run.id().0.clone())),
        RunState::Interrupted if run.has_guard() => return Err(RecoverError::Guarded(run.id().0.clone())),
        RunState::Interrupted => {}
    }
    let mut summary = Summary::default();
    let mut events = run.events()?;
    for event in events.by_ref() {
        summary.note(&event.fact);
    }
    let damage = events.damage();
    let path = run.path().to_owned();
    let closed = path.with_file_name(run.id().as_str());
    let manifest =
        close::finish(&path, &closed, run.id(), Ended::Recovered, summary).map_err(|source| RecoverError::Io { path, source })?;
    Ok((Closed { directory: closed, manifest }, damage))
}
