//! The only writer of events, and the reader of what it wrote.
//!
//! A run is a directory: `events.jsonl` holds one fact per line, each chained to the one before it; `evidence/` holds the bytes that
//! facts point to; `inputs/` holds copies of what the run was told. While it is written the directory is called `ID.partial`; on
//! closing it is compressed, digested and renamed to `ID`. The format is described in `docs/journal.md`.
//!
//! [`Journal`] writes, [`Cursor`] observes a live run without ever slowing it or missing an event, [`Follower`] does so from another
//! process, [`RunDir`] reads a finished, running or interrupted one, [`GuardWriter`] is what the guard process adds after the controller is gone.

mod close;
mod cursor;
mod damage;
mod evidence;
mod follow;
mod guard;
mod line;
mod manifest;
mod name;
mod open;
mod parallel;
mod reader;
mod recover;
mod run_dir;
mod store;
mod writer;

pub use close::Closed;
pub use cursor::{Cursor, Tip};
pub use damage::{Damage, DamageKind};
pub use evidence::Sink;
pub use follow::Follower;
pub use guard::GuardWriter;
pub use manifest::{Ended, FileEntry, Manifest, Mismatch, Summary};
pub use name::{is_safe_name, new_run_id, parse_run_id};
pub use reader::{EventReader, RunEvents};
pub use recover::{RecoverError, recover};
pub use run_dir::{OpenError, RunDir, RunLog, RunState};
pub use store::{FindError, RunSummary, find, runs};
pub use writer::{BenchClock, Failure, Input, Journal, JournalError, Options};

/// Version of the run directory's layout and of the line format, written into `manifest.json`.
pub const SCHEMA: &str = "run/1";

/// Longest line that is written or read, in bytes, newline excluded.
pub const MAX_LINE: usize = 1 << 20;

const EVENTS: &str = "events.jsonl";
const GUARD: &str = "guard.jsonl";
const MANIFEST: &str = "manifest.json";
const EVIDENCE: &str = "evidence";
const INPUTS: &str = "inputs";
const PARTIAL: &str = ".partial";

#[cfg(test)]
mod tests;
