//! Who waits for instruments, in the order of arrival.
//!
//! A ticket is a locked file with a number as its name. An instrument goes to the run with the lowest ticket that names it; runs without a
//! ticket come after all of them. A run that is gone has unlocked its ticket, which then counts no more.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

use super::{Holder, LeaseError, files};

const ENDING: &str = "ticket";

/// A place in the queue; dropping it (or dying) gives it up.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    path: PathBuf,
    _lock: Flock<File>,
}

/// What stands in a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What it waits for.
    pub instruments: BTreeSet<String>,
    /// Who waits, and since when.
    #[serde(flatten)]
    pub holder: Holder,
}

impl Ticket {
    /// Draws the next ticket.
    ///
    /// # Errors
    /// Its file could not be made.
    pub fn draw(directory: &Path, instruments: &BTreeSet<String>, holder: &Holder) -> Result<Self, LeaseError> {
        let _entered = files::enter(directory)?;
        let number = numbers(directory).last().map_or(1, |last| last.saturating_add(1));
        let name = name(number);
        let path = directory.join(&name);
        let io = |source| LeaseError::Io { what: "a place in the queue".to_owned(), path: path.clone(), source };
        let Ok(mut lock) = files::lock(directory, &name, "a place in the queue")? else {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        };
        let waiting = Waiting { instruments: instruments.clone(), holder: holder.clone() };
        let content = serde_json::to_vec(&waiting).unwrap_or_default();
        let file: &mut File = &mut lock;
        file.write_all(&content).map_err(io)?;
        Ok(Self { number, path, _lock: lock })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // What cannot be removed is unlocked all the same, and counts no more.
        let _ = fs::remove_file(&self.path);
    }
}

fn name(number: u64) -> String {
    format!("{number:020}.{ENDING}")
}

/// Numbers of the tickets that are there, in order.
fn numbers(directory: &Path) -> Vec<u64> {
    let number = |path: PathBuf| {
        let ends = path.extension().is_some_and(|ending| ending == ENDING);
        path.file_stem()?.to_str()?.parse::<u64>().ok().filter(|_| ends)
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<_> = entries.filter_map(|entry| number(entry.path())).collect();
    numbers.sort_unstable();
    numbers
}

/// Those who wait, with their numbers. The directory's lock must be held.
pub(super) fn waiting(directory: &Path) -> impl Iterator<Item = (u64, Waiting)> {
    numbers(directory).into_iter().filter_map(|number| {
        let path = directory.join(name(number));
        // Locking needs no more than to read, which everybody may.
        let file = File::open(&path).ok()?;
        match files::try_lock(file).ok()? {
            Ok(_abandoned) => {
                let _ = fs::remove_file(&path);
                None
            }
            Err(file) => files::content(file).map(|waiting| (number, waiting)),
        }
    })
}

/// Whether nobody who waits for one of the instruments comes before `ticket`. The directory's lock must be held.
pub(super) fn check(directory: &Path, instruments: &BTreeSet<String>, ticket: Option<&Ticket>) -> Result<(), LeaseError> {
    let own = ticket.map_or(u64::MAX, |ticket| ticket.number);
    for (_, waiting) in waiting(directory).take_while(|(number, _)| *number < own) {
        if let Some(instrument) = instruments.intersection(&waiting.instruments).next() {
            return Err(LeaseError::Kept { instrument: instrument.clone(), holder: waiting.holder });
        }
    }
    Ok(())
}
