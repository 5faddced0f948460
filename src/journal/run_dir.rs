//! One run directory, for reading.

use std::{
    fs::{self, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    Damage, EVENTS, EVIDENCE, EventReader, GUARD, INPUTS, MANIFEST, Manifest, Mismatch, PARTIAL, RunEvents,
    close::digest,
    name::is_safe_name,
    open::{open_regular, open_stored, packed},
    parallel,
};
use crate::event::{Event, EvidenceRef, Fact, RunId};

/// Manifests above this are not read.
const MAX_MANIFEST: u64 = 16 << 20;

/// What a run directory is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Complete.
    Closed,
    /// Its writer lives.
    Running,
    /// Its writer is gone without closing it. [`super::recover()`] closes it.
    Interrupted,
}

/// Why a directory cannot be read as a run.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It has no events.
    #[error("{} is not a run directory: it has no {EVENTS}", .0.display())]
    NotARun(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A run directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    id: RunId,
    partial: bool,
}

/// Everything a run's journal says.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLog {
    /// The events: the engine's, then the guard's, numbered on.
    pub events: Vec<Event>,
    /// Where reading ended early: at most one place per file.
    pub damage: Vec<Damage>,
}

impl RunDir {
    /// Takes a directory as a run. Its name is the run's identity, with or without `.partial`.
    ///
    /// # Errors
    /// If there are no events in it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let events = path.join(EVENTS);
        if let Err(source) = open_stored(&events) {
            return Err(match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::NotARun(path),
                _ => OpenError::Io { path: events, source },
            });
        }
        // `show .` names the directory as well as its full path does.
        let full = path.canonicalize().unwrap_or_else(|_| path.clone());
        let name = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = name.ends_with(PARTIAL);
        let id = RunId::new(name.strip_suffix(PARTIAL).unwrap_or(&name));
        Ok(Self { path, id, partial })
    }

    /// The run, by the name of its directory.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is at.
    #[must_use]
    pub fn state(&self) -> RunState {
        if !self.partial {
            RunState::Closed
        } else if is_locked(&self.path.join(EVENTS)) {
            RunState::Running
        } else {
            RunState::Interrupted
        }
    }

    /// Whether a guard process still watches over it.
    #[must_use]
    pub fn has_guard(&self) -> bool {
        is_locked(&self.path.join(GUARD))
    }

    /// Reads the events one by one, in bounded memory.
    ///
    /// # Errors
    /// If the file cannot be opened. Damage inside is not an error.
    pub fn events(&self) -> Result<RunEvents, OpenError> {
        Ok(RunEvents::new(EventReader::engine(self.open_events()?), self.guard()))
    }

    /// Reads all events into memory, on several threads.
    ///
    /// # Errors
    /// As [`RunDir::events`].
    pub fn read(&self) -> Result<RunLog, OpenError> {
        let (mut events, damage) = parallel::read_all(self.open_events()?);
        let mut damage: Vec<Damage> = damage.into_iter().collect();
        // The guard's chain begins with the run's true name, which a renamed directory does not have.
        if let Some(mut guard) = self.guard_of(&header_run(events.first()).unwrap_or_else(|| self.id.clone())) {
            for mut event in guard.by_ref() {
                event.seq = events.len() as u64;
                events.push(event);
            }
            damage.extend(guard.damage().cloned());
        }
        Ok(RunLog { events, damage })
    }

    fn open_events(&self) -> Result<Box<dyn Read + Send>, OpenError> {
        let path = self.path.join(EVENTS);
        open_stored(&path).map_err(|source| OpenError::Io { path, source })
    }

    fn guard(&self) -> Option<EventReader> {
        let first = self.open_events().ok().and_then(|source| EventReader::engine(source).next());
        self.guard_of(&header_run(first.as_ref()).unwrap_or_else(|| self.id.clone()))
    }

    fn guard_of(&self, run: &RunId) -> Option<EventReader> {
        open_regular(&self.path.join(GUARD)).ok().map(|file| EventReader::guard(Box::new(file), run))
    }

    /// Bytes of evidence, at most `most` of them.
    ///
    /// # Errors
    /// If the reference is not a safe name, the file is missing or ends before the place.
    pub fn evidence(&self, place: &EvidenceRef, most: usize) -> io::Result<Vec<u8>> {
        if !is_safe_name(&place.file) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the evidence reference is not a file name"));
        }
        let mut source = open_stored(&self.path.join(EVIDENCE).join(&place.file))?;
        let skipped = io::copy(&mut (&mut source).take(place.offset), &mut io::sink())?;
        let wanted = place.len.min(most as u64);
        let mut bytes = Vec::new();
        source.take(wanted).read_to_end(&mut bytes)?;
        if skipped < place.offset || (bytes.len() as u64) < wanted {
            let what = format!("{} ends before byte {}", place.file, place.offset.saturating_add(wanted));
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        Ok(bytes)
    }

    /// The manifest, if the run is closed and it can be read.
    ///
    /// # Errors
    /// If it is missing, too large or not of the form that manifests have.
    pub fn manifest(&self) -> io::Result<Manifest> {
        let mut bytes = Vec::new();
        open_regular(&self.path.join(MANIFEST))?.take(MAX_MANIFEST).read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Compares every file with the manifest: missing, changed, and evidence that the manifest does not know.
    ///
    /// # Errors
    /// If there is no readable manifest.
    pub fn verify(&self) -> io::Result<Vec<Mismatch>> {
        let manifest = self.manifest()?;
        let mut wrong = Vec::new();
        for entry in &manifest.files {
            let what = match self.stored(&entry.file) {
                None => Some("the manifest names it, but it is not a file name of a run directory".to_owned()),
                // The guard goes on writing if the safe state was not reached; its lines vouch for each other.
                Some(path) if entry.file == GUARD => {
                    match open_stored(&path).and_then(|source| digest(&mut source.take(entry.size))) {
                        Err(error) => Some(error.to_string()),
                        Ok(known) if known != (entry.size, entry.blake3.clone()) => {
                            Some("its first bytes are not those of the manifest".to_owned())
                        }
                        Ok(_) => None,
                    }
                }
                Some(path) => match open_stored(&path).and_then(|mut source| digest(&mut source)) {
                    Err(error) => Some(error.to_string()),
                    Ok((size, _)) if size != entry.size => Some(format!("{size} bytes instead of {}", entry.size)),
                    Ok((_, blake3)) if blake3 != entry.blake3 => Some("its bytes are not those of the manifest".to_owned()),
                    Ok(_) => None,
                },
            };
            wrong.extend(what.map(|what| Mismatch { file: entry.file.clone(), what }));
        }
        for directory in [EVIDENCE, INPUTS] {
            let Ok(entries) = fs::read_dir(self.path.join(directory)) else { continue };
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                let known = |name: &str| manifest.files.iter().any(|known| known.file == format!("{directory}/{name}"));
                if !known(&name) && !name.strip_suffix(".gz").is_some_and(known) {
                    wrong
                        .push(Mismatch { file: format!("{directory}/{name}"), what: "the manifest does not know it".to_owned() });
                }
            }
        }
        Ok(wrong)
    }

    /// Path of a file the manifest names; `None` if it would lead out of the directory.
    fn stored(&self, file: &str) -> Option<PathBuf> {
        let name = match file.split_once('/') {
            Some((EVIDENCE | INPUTS, name)) => name,
            Some(_) => return None,
            None => file,
        };
        is_safe_name(name).then(|| self.path.join(file))
    }

    /// Whether the stored events are compressed.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        let events = self.path.join(EVENTS);
        !events.exists() && packed(&events).exists()
    }
}

fn header_run(first: Option<&Event>) -> Option<RunId> {
    match first.map(|event| &event.fact) {
        Some(Fact::RunStarted(header)) => Some(header.run.clone()),
        _ => None,
    }
}

/// Whether a living process holds the file. The lock goes with the process, however it ends.
fn is_locked(path: &Path) -> bool {
    open_regular(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
