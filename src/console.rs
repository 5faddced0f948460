//! Plain progress of a run on a writer: lines for a log, the same lines with one updating status line on a terminal, or the events
//! themselves as JSON.
//!
//! A fold over events like every other display: it is given one event after the other and asks nothing back. What it prints of
//! device bytes is sanitised. A reader that goes away (`hilbench run | head`) ends the output, not the run.

mod options;

use std::{
    io::{self, Write},
    path::Path,
};

pub use options::{Format, Options};

use crate::{
    event::{CaseId, Event, Fact, NOT_SELECTED, Nanos, StopLevel},
    journal::{Damage, Failure},
    view::{
        CaseState, RunView,
        lines::{self, Excerpts, Paint},
        sanitise::{self, line},
        seconds,
    },
};

/// Bad cuts that are told below a case; the rest is counted.
const MOST_CUTS: usize = 3;
/// Back to the first column, and clear the line.
const CLEAR: &str = "\r\x1b[K";

/// Progress on a writer.
pub struct Console<W: Write> {
    out: W,
    options: Options,
    paint: Paint,
    evidence: Box<dyn Excerpts + Send>,
    view: RunView,
    status_shown: bool,
    closed: bool,
}

impl<W: Write> Console<W> {
    /// Progress to `out`; excerpts of evidence come from `evidence` (`()` shows none).
    pub fn new(out: W, options: Options, evidence: Box<dyn Excerpts + Send>) -> Self {
        let paint = Paint { color: options.color };
        Self { out, options, paint, evidence, view: RunView::default(), status_shown: false, closed: false }
    }

    /// What the events so far come to.
    #[must_use]
    pub fn view(&self) -> &RunView {
        &self.view
    }

    /// Takes the next event and prints what it has to say.
    ///
    /// # Errors
    /// If the writer fails other than by its reader going away.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        self.view.apply(event);
        if self.options.format == Format::Json {
            let text = serde_json::to_string(event)?;
            return self.print(&sanitise::json(&text));
        }
        match &event.fact {
            Fact::RunStarted(header) => {
                let text =
                    format!("{} · {} · run {}", line(&header.tool, 40), lines::title(&self.view), line(header.run.as_str(), 40));
                self.print(&text)
            }
            Fact::CaseSkipped { why, .. } if why == NOT_SELECTED => Ok(()),
            Fact::CaseFinished { case, .. } | Fact::CaseSkipped { case, .. } => self.case(case),
            Fact::StepFinished { step, verdict, reason, .. } if self.options.steps => {
                let what = reason.as_ref().map_or_else(String::new, |reason| format!("   {reason}"));
                let text = line(&format!("{step}{what}"), self.options.columns.saturating_sub(18).max(20));
                self.print(&format!("        {}  {text}", self.paint.verdict(*verdict)))
            }
            Fact::BenchFault { what, .. } => self.note("bench", what),
            Fact::LeaseAwaited { what } => self.note("waiting", what),
            Fact::ChannelLost { channel, why } => self.note("lost", &format!("channel {channel}: {why}")),
            Fact::ChannelReopened { channel, .. } => self.note("back", &format!("channel {channel}")),
            Fact::StopRequested { level, by } => {
                let how = match level {
                    StopLevel::Graceful => "ending after the running step; again to stop at once",
                    StopLevel::Now => "going to the safe state at once",
                    StopLevel::Forced => "leaving; the guard reaches the safe state",
                };
                self.note("stop", &format!("{by}: {how}"))
            }
            _ => Ok(()),
        }
    }

    /// Renews the status line, if there is one; `now` is bench time. Call it a few times per second.
    ///
    /// # Errors
    /// As [`Console::event`].
    pub fn tick(&mut self, now: Nanos) -> io::Result<()> {
        if !self.options.live || self.options.format == Format::Json {
            return Ok(());
        }
        let Some((case, step)) = self.view.current_step() else { return self.clear() };
        let took = seconds(now.since(step.started));
        let cuts = step
            .cuts
            .as_ref()
            .map_or_else(String::new, |cuts| format!("  {} of {} points, {} bad", cuts.judged(), cuts.of(), cuts.bad()));
        let text = format!("  ...     {}  step {} {took}{cuts}  {}", case.name(), step.number(), step.text);
        // One column is left free: a full line would wrap on some terminals, and the next clearing would miss its first part.
        let text = line(&text, self.options.columns.saturating_sub(1));
        self.status_shown = true;
        self.write(&format!("{CLEAR}{text}"))
    }

    /// The last lines: how the cases ended, the safe state, where the run directory is.
    ///
    /// # Errors
    /// As [`Console::event`].
    pub fn finish(&mut self, directory: &Path) -> io::Result<()> {
        if self.options.format == Format::Json {
            return Ok(());
        }
        let view = &self.view;
        let place = line(&directory.display().to_string(), 400);
        let mut text = String::new();
        if let Some(reason) = view.finish.as_ref().and_then(|finish| finish.reason.as_ref()) {
            text.push_str(&format!("{}: {}\n", view.final_verdict(), line(&reason.to_string(), 400)));
        }
        text.push_str(&format!("{} · {} · {place}", lines::counts(view), lines::safe_state(view)));
        self.print(&text)
    }

    /// A failure of the journal itself, of which no event can tell.
    ///
    /// # Errors
    /// As [`Console::event`].
    pub fn journal_failed(&mut self, failure: &Failure) -> io::Result<()> {
        if self.options.format == Format::Json { Ok(()) } else { self.note("journal", &failure.to_string()) }
    }

    /// What is wrong with a journal that is being replayed.
    ///
    /// # Errors
    /// As [`Console::event`].
    pub fn damaged(&mut self, damage: &Damage) -> io::Result<()> {
        if self.options.format == Format::Json { Ok(()) } else { self.note("journal", &damage.to_string()) }
    }

    fn case(&mut self, id: &CaseId) -> io::Result<()> {
        let Some(case) = self.view.cases.iter().find(|case| case.id.as_ref() == Some(id)) else { return Ok(()) };
        let width = lines::name_width(&self.view);
        let mut text = lines::case(case, width, self.options.columns, self.paint, &*self.evidence);
        if matches!(case.state, CaseState::Finished { .. }) {
            for cuts in case.steps.iter().filter_map(|step| step.cuts.as_ref()) {
                text.push_str(&format!("\n          {}", lines::cuts(cuts)));
                for cut in cuts.bad.iter().take(MOST_CUTS) {
                    let code = cut.outcome.reason_code().unwrap_or("OK");
                    // Not cut to the width: it is there to be copied.
                    text.push_str(&format!("\n          cut {} {code}: {}", cut.point, sanitise::sanitise(&cut.reproduce)));
                }
                if cuts.told > MOST_CUTS as u64 {
                    text.push_str(&format!("\n          and {} more, listed by `hilbench show`", cuts.told - MOST_CUTS as u64));
                }
            }
        }
        self.print(&text)
    }

    fn note(&mut self, word: &str, text: &str) -> io::Result<()> {
        self.print(&format!("  {word:<6}  {}", line(text, self.options.columns.saturating_sub(11).max(40))))
    }

    fn clear(&mut self) -> io::Result<()> {
        if !self.status_shown {
            return Ok(());
        }
        self.status_shown = false;
        self.write(CLEAR)
    }

    /// Whole lines, above the status line.
    fn print(&mut self, text: &str) -> io::Result<()> {
        let clear = if std::mem::take(&mut self.status_shown) { CLEAR } else { "" };
        self.write(&format!("{clear}{text}\n"))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests;
