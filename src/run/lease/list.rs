//! Who holds what.

use std::{
    fs::{self, File},
    path::Path,
};

use super::{Holder, LeaseError, Record, files, queue, queue::Waiting};

/// Instruments that are held, and runs that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Instruments with their holders, by name.
    pub instruments: Vec<(String, Holder)>,
    /// Instruments whose run was lost and whose guard is at work, with the run's record.
    pub guarded: Vec<(String, Holder)>,
    /// Runs that wait, first come first.
    pub waiting: Vec<Waiting>,
}

impl Held {
    /// Who has `instrument`, in words.
    #[must_use]
    pub fn of(&self, instrument: &str) -> Option<String> {
        let find = |list: &[(String, Holder)]| list.iter().find(|(held, _)| held == instrument).map(|(_, holder)| holder.clone());
        let held = find(&self.instruments).map(|holder| format!("in use by {holder}"));
        held.or_else(|| {
            find(&self.guarded).map(|holder| format!("being brought to its safe state by the guard of run {}", holder.run))
        })
    }
}

/// Who holds what now. Nobody who takes a lease meanwhile is refused because of this.
///
/// # Errors
/// The directory's lock cannot be had. A directory that is not there has no holders.
pub fn held(directory: &Path) -> Result<Held, LeaseError> {
    let mut found = Held::default();
    if !directory.is_dir() {
        return Ok(found);
    }
    let _entered = files::enter(directory)?;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "lock")) {
        let taken = |path: &Path| files::try_lock(File::open(path).ok()?).ok()?.err();
        if let Some(file) = taken(&path) {
            found.instruments.extend(files::content::<Record>(file).map(|record| (record.instrument, record.holder)));
        } else if taken(&path.with_added_extension("guard")).is_some() {
            let record = File::open(&path).ok().and_then(files::content::<Record>);
            found.guarded.extend(record.map(|record| (record.instrument, record.holder)));
        }
    }
    found.instruments.sort_by(|a, b| a.0.cmp(&b.0));
    found.guarded.sort_by(|a, b| a.0.cmp(&b.0));
    found.waiting = queue::waiting(directory).map(|(_, waiting)| waiting).collect();
    Ok(found)
}
