//! How to show progress.

use std::ffi::OsStr;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Lines for people.
    #[default]
    Human,
    /// One event per line as JSON, as in the journal but without the chain.
    Json,
}

/// How to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What is written.
    pub format: Format,
    /// Whether words are coloured.
    pub color: bool,
    /// Whether there is an updating status line.
    pub live: bool,
    /// Whether each finished step is printed.
    pub steps: bool,
    /// Columns that lines are cut to.
    pub columns: usize,
}

impl Options {
    /// Fits the output to where it goes. `terminal`: columns if it is a terminal; `no_color` and `term`: what the environment
    /// variables `NO_COLOR` (any value but an empty one forbids colours) and `TERM` say.
    #[must_use]
    pub fn detect(terminal: Option<usize>, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        // Escape sequences only where they are understood.
        let capable = terminal.is_some() && term.is_none_or(|term| term != "dumb");
        let color = capable && no_color.is_none_or(OsStr::is_empty);
        // A log is read with a pager or a search, so nothing but a flood is cut there.
        let columns = terminal.map_or(400, |columns| columns.max(40));
        Self { format: Format::Human, color, live: capable, steps: false, columns }
    }
}
