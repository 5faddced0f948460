//! Reports of a run: one file per format, all over the same view.

mod json;
mod junit;
mod text;

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

pub use json::summary;
pub use junit::junit;
pub use text::show;

use crate::{
    event::Verdict,
    journal::{Damage, RunState},
    view::{CaseState, RunView, lines::Excerpts},
};

/// JUnit XML in a run directory.
pub const JUNIT_FILE: &str = "junit.xml";

/// JSON summary in a run directory.
pub const SUMMARY_FILE: &str = "summary.json";

/// What a report is made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The run.
    pub view: &'a RunView,
    /// Where excerpts come from.
    pub evidence: &'a dyn Excerpts,
    /// What is wrong with its journal.
    pub damage: &'a [Damage],
    /// Whether it is still going on, interrupted or complete.
    pub state: RunState,
}

impl<'a> Source<'a> {
    /// A run that is complete and whole.
    pub fn new(view: &'a RunView, evidence: &'a dyn Excerpts) -> Self {
        Self { view, evidence, damage: &[], state: RunState::Closed }
    }

    /// The verdict to report: a run that is over without an end, or whose journal is damaged, is an error.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let damaged = if self.damage.is_empty() { Verdict::None } else { Verdict::Error };
        match self.state {
            RunState::Running => self.view.verdict(),
            RunState::Closed | RunState::Interrupted => self.view.final_verdict().and(damaged),
        }
    }

    /// What is wrong with the run as a whole, one sentence each; shown beside the cases, never hidden by them.
    fn problems(&self) -> Vec<String> {
        let view = self.view;
        let mut problems: Vec<String> = self.damage.iter().map(|damage| format!("the journal is damaged: {damage}")).collect();
        if view.finish.is_none() && self.state != RunState::Running {
            problems.push("the run has no end: its controller was gone before it could record one".to_owned());
        }
        if view.safe_state.started && !matches!(view.safe_state.finished, Some((true, _))) {
            problems.push(crate::view::lines::safe_state(view));
        }
        problems.extend(view.faults.iter().map(|fault| format!("bench fault: {}", fault.what)));
        // Whatever made the verdict worse than that of every case (cancelled, no case run, journal) must show somewhere.
        let cases = view.plan_cases().fold(Verdict::None, |worst, case| match &case.state {
            CaseState::Finished { verdict, .. } => worst.and(*verdict),
            _ => worst,
        });
        let verdict = self.verdict();
        if problems.is_empty() && verdict != Verdict::Pass && verdict >= cases && (verdict > cases || verdict == Verdict::None) {
            let reason = view.finish.as_ref().and_then(|finish| finish.reason.as_ref());
            problems.push(reason.map_or_else(|| format!("the verdict of the run is {verdict}"), ToString::to_string));
        }
        problems
    }
}

/// Writes `junit.xml` and `summary.json` into a run directory, before it is closed.
///
/// # Errors
/// If a file cannot be written.
pub fn write(directory: &Path, source: &Source<'_>) -> io::Result<()> {
    let xml = junit(source).map_err(io::Error::other)?;
    for (name, text) in [(JUNIT_FILE, xml), (SUMMARY_FILE, summary(source)?)] {
        fs::File::create(directory.join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
