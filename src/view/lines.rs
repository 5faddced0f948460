//! Lines that several displays show alike.

use super::{CaseState, CaseView, CutsView, RunView, sanitise, seconds, share};
use crate::event::{EvidenceRef, RunHeader, Verdict};

/// Arguments that only mean something between two processes of hilbench, and whether a value follows.
const INTERNAL: &[(&str, bool)] = &[("--as-run", true), ("--own-session", false), ("--tui", false)];

/// A word as a shell takes it.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "/._-+=:,@%".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The command that does the same run again.
#[must_use]
pub fn again(header: &RunHeader) -> String {
    let mut words = vec!["hilbench".to_owned()];
    let mut skip = false;
    for word in header.command.iter().skip(1) {
        if std::mem::take(&mut skip) {
            continue;
        }
        match INTERNAL.iter().find(|(name, _)| name == word) {
            Some((_, value)) => skip = *value,
            None => words.push(shell_word(word)),
        }
    }
    words.join(" ")
}

/// Where a display gets bytes of evidence from.
pub trait Excerpts {
    /// At most `most` bytes of the place; `None` if they cannot be had.
    fn excerpt(&self, place: &EvidenceRef, most: usize) -> Option<Vec<u8>>;
}

/// No evidence at hand.
impl Excerpts for () {
    fn excerpt(&self, _: &EvidenceRef, _: usize) -> Option<Vec<u8>> {
        None
    }
}

impl<F: Fn(&EvidenceRef, usize) -> Option<Vec<u8>>> Excerpts for F {
    fn excerpt(&self, place: &EvidenceRef, most: usize) -> Option<Vec<u8>> {
        self(place, most)
    }
}

impl Excerpts for crate::journal::RunDir {
    fn excerpt(&self, place: &EvidenceRef, most: usize) -> Option<Vec<u8>> {
        self.evidence(place, most).ok()
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint {
    /// Whether escape sequences for colours are written.
    pub color: bool,
}

impl Paint {
    /// The word for a verdict, padded to six columns: `PASS  `, `INCONC`.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> String {
        let (word, color) = match verdict {
            Verdict::None => ("NONE", 33),
            Verdict::Pass => ("PASS", 32),
            Verdict::Inconclusive => ("INCONC", 33),
            Verdict::Fail => ("FAIL", 31),
            Verdict::Error => ("ERROR", 35),
        };
        self.paint(word, color)
    }

    /// The word for a case's state, padded to six columns.
    #[must_use]
    pub fn state(self, state: &CaseState) -> String {
        match state {
            CaseState::Waiting => self.paint("OPEN", 2),
            CaseState::Running => self.paint("BEGUN", 33),
            CaseState::Skipped(_) => self.paint("SKIP", 2),
            CaseState::Finished { verdict, .. } => self.verdict(*verdict),
        }
    }

    fn paint(self, word: &str, color: u8) -> String {
        if self.color { format!("\x1b[{color}m{word:<6}\x1b[0m") } else { format!("{word:<6}") }
    }
}

/// `secure-update on virtual-lock (smart-lock)`.
#[must_use]
pub fn title(view: &RunView) -> String {
    match &view.header {
        Some(header) => {
            let name = |text: &str| sanitise::line(text, 60);
            format!("{} on {} ({})", name(&header.plan), name(&header.rig), name(&header.device))
        }
        None => "a run without its beginning".to_owned(),
    }
}

/// Columns that case names are padded to.
#[must_use]
pub fn name_width(view: &RunView) -> usize {
    view.cases.iter().map(|case| sanitise::columns(&sanitise::line(case.name(), 32))).max().unwrap_or(0)
}

/// One case on one line, with the reason and the decisive evidence if it is not good; at most `columns` wide.
#[must_use]
pub fn case(case: &CaseView, width: usize, columns: usize, paint: Paint, evidence: &dyn Excerpts) -> String {
    let name = sanitise::line(case.name(), 32);
    let pad = " ".repeat(width.saturating_sub(sanitise::columns(&name)));
    let took = case.took().map_or_else(String::new, seconds);
    let what = match &case.state {
        CaseState::Skipped(why) => why.clone(),
        CaseState::Finished { verdict: Verdict::Pass, .. } | CaseState::Waiting | CaseState::Running => case.title.clone(),
        CaseState::Finished { reason, step, .. } => {
            let mut what = reason.as_ref().map_or_else(|| case.title.clone(), ToString::to_string);
            if let Some(step) = step {
                let number = step.as_str().rsplit_once('/').map_or(step.as_str(), |(_, number)| number);
                what.push_str("   step ");
                what.push_str(number);
                if let Some(text) =
                    case.decisive().and_then(|step| step.evidence.iter().find_map(|place| quoted(place, 48, evidence)))
                {
                    // Harmless already, and stays so when the whole is cut.
                    what = format!("{} ({text})", sanitise::sanitise(&what));
                }
            }
            what
        }
    };
    // Two blanks, six for the verdict, two, the name, two, ten for the time, three.
    let rest = columns.saturating_sub(25 + width).max(10);
    format!("  {}  {name}{pad}  {took:>10}   {}", paint.state(&case.state), sanitise::line(&what, rest)).trim_end().to_owned()
}

/// `console: "version 2.0.0 counter 1 testing"`, the text at most `columns` wide.
#[must_use]
pub fn quoted(place: &EvidenceRef, columns: usize, evidence: &dyn Excerpts) -> Option<String> {
    // An escape takes several columns and a character several bytes; more than this many bytes cannot show.
    let bytes = evidence.excerpt(place, columns * 4)?;
    let more = (bytes.len() as u64) < place.len;
    let mut text = sanitise::sanitise_bytes(bytes.trim_ascii());
    if more {
        text.push('…');
    }
    let source = place.file.strip_suffix(".rx").unwrap_or(&place.file);
    Some(format!("{}: \"{}\"", sanitise::line(source, 32), sanitise::line(&text, columns)))
}

/// `1 failed, 11 passed`, worst first.
#[must_use]
pub fn counts(view: &RunView) -> String {
    let counts = view.counts();
    let named = [
        (counts.error, "error"),
        (counts.failed, "failed"),
        (counts.inconclusive, "inconclusive"),
        (counts.open, "not judged"),
        (counts.passed, "passed"),
        (counts.skipped, "skipped"),
    ];
    let parts: Vec<String> = named.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if parts.is_empty() { "no cases".to_owned() } else { parts.join(", ") }
}

/// What is known of the safe state.
#[must_use]
pub fn safe_state(view: &RunView) -> String {
    let state = &view.safe_state;
    let problems = || {
        let list: Vec<String> =
            state.problems.iter().take(5).map(|(channel, what)| sanitise::line(&format!("{channel}: {what}"), 120)).collect();
        if list.is_empty() { String::new() } else { format!(" ({})", list.join("; ")) }
    };
    match &state.finished {
        Some((true, by)) if by == "controller" => "safe state confirmed".to_owned(),
        Some((true, by)) => format!("safe state confirmed by the {}", sanitise::line(by, 32)),
        Some((false, _)) => format!("SAFE STATE NOT CONFIRMED{}", problems()),
        None if state.started => format!("SAFE STATE NOT CONFIRMED: begun and not ended{}", problems()),
        None => "no safe state recorded".to_owned(),
    }
}

/// `1000 of 4809 points judged, 2 bad, 95 % upper bound of the share of bad points 0.63 %`.
#[must_use]
pub fn cuts(cuts: &CutsView) -> String {
    let judged = format!("{} of {} points judged, {} bad", cuts.judged(), cuts.of(), cuts.bad());
    match cuts.result {
        // One point that somebody chose bounds nothing.
        Some((_, of, ..)) if of < u64::from(cuts.operations) => format!("{judged} (chosen by hand)"),
        Some((judged_points, of, _, upper)) => {
            let kind = if judged_points == of { "exhaustive" } else { "sampled" };
            format!("{judged} ({kind}, 95 % upper bound of the share of bad points {})", share(upper))
        }
        None => format!("{judged} (not ended)"),
    }
}
