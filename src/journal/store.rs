//! The directory of all runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{OpenError, PARTIAL, RunDir, RunState, Summary, name::parse_run_id};
use crate::event::RunId;

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// The run.
    pub id: RunId,
    /// Its directory.
    pub directory: PathBuf,
    /// What it is at.
    pub state: RunState,
    /// What its manifest, or as much of its journal as can be read, says of it.
    pub summary: Summary,
    /// What is wrong with it, if anything.
    pub damage: Option<String>,
}

/// Why a run was not found.
#[derive(Debug, Error)]
pub enum FindError {
    /// No run of that name.
    #[error("no run `{wanted}` in {}; `hilbench runs` lists what there is", .store.display())]
    NotFound {
        /// What was asked for, shortened and without anything but letters, digits and `-`.
        wanted: String,
        /// Where.
        store: PathBuf,
    },
    /// More than one.
    #[error("`{wanted}` is the beginning of {} runs: {}", .matches.len(), .matches.iter().take(5).map(RunId::as_str).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The runs that fit, newest first.
        matches: Vec<RunId>,
    },
    /// The store cannot be read.
    #[error("cannot read {}: {source}", .store.display())]
    Store {
        /// Where.
        store: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The run cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Names in the store that are runs, newest first. A run that is there both closed and partial counts as closed.
fn names(store: &Path) -> io::Result<Vec<(RunId, PathBuf)>> {
    let entries = match fs::read_dir(store) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && let Some(id) = parse_run_id(name.strip_suffix(PARTIAL).unwrap_or(&name))
            && entry.file_type()?.is_dir()
        {
            found.push((id, entry.path()));
        }
    }
    // Newest first; of one name the shorter path, which is the closed one, first.
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.dedup_by(|later, first| later.0 == first.0);
    Ok(found)
}

/// All runs of a store, newest first. A damaged run is listed with what is wrong with it. A store that does not exist is empty.
///
/// # Errors
/// If the store cannot be listed.
pub fn runs(store: &Path) -> io::Result<Vec<RunSummary>> {
    Ok(names(store)?.into_iter().map(|(id, directory)| summarise(id, directory)).collect())
}

fn summarise(id: RunId, directory: PathBuf) -> RunSummary {
    let run = match RunDir::open(&directory) {
        Ok(run) => run,
        Err(error) => {
            let partial = directory.to_string_lossy().ends_with(PARTIAL);
            let state = if partial { RunState::Interrupted } else { RunState::Closed };
            return RunSummary { id, directory, state, summary: Summary::default(), damage: Some(error.to_string()) };
        }
    };
    let state = run.state();
    let mut damage = None;
    if state == RunState::Closed {
        match run.manifest() {
            Ok(manifest) => return RunSummary { id, directory, state, summary: manifest.summary, damage },
            Err(error) => damage = Some(format!("manifest: {error}")),
        }
    }
    let mut summary = Summary::default();
    match run.events() {
        Ok(mut events) => {
            for event in events.by_ref() {
                summary.note(&event.fact);
            }
            // A run that is being written ends in the middle of a line now and then.
            if state != RunState::Running {
                damage = damage.or_else(|| events.damage().first().map(ToString::to_string));
            }
        }
        Err(error) => damage = Some(error.to_string()),
    }
    RunSummary { id, directory, state, summary, damage }
}

/// The run called `wanted`: `latest`, a whole identity or the beginning of one.
///
/// # Errors
/// If there is none, or more than one.
pub fn find(store: &Path, wanted: &str) -> Result<RunDir, FindError> {
    let names = names(store).map_err(|source| FindError::Store { store: store.to_owned(), source })?;
    let not_found = || {
        let wanted = wanted.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '?' }).collect();
        FindError::NotFound { wanted, store: store.to_owned() }
    };
    let mut matches = names.into_iter().filter(|(id, _)| wanted == "latest" || id.as_str().starts_with(wanted)).peekable();
    let Some((id, path)) = matches.next().filter(|_| !wanted.is_empty()) else { return Err(not_found()) };
    if wanted != "latest" && matches.peek().is_some() {
        let matches = std::iter::once(id).chain(matches.map(|(id, _)| id)).collect();
        return Err(FindError::Ambiguous { wanted: wanted.to_owned(), matches });
    }
    Ok(RunDir::open(path)?)
}
