//! A power-cut search as a map: every part of the update in its order, with the worst that came of a cut there.

use super::super::{
    paper::{BAD, BOLD, CHOSEN, DIM, GOOD, PLAIN, Paper},
    session::Session,
    words,
};
use crate::{
    event::CutOutcome,
    view::{CaseView, CutsView, StepView, lines},
};

const OUTCOMES: [CutOutcome; 8] = [
    CutOutcome::Old,
    CutOutcome::New,
    CutOutcome::SettingsLost,
    CutOutcome::UnconfirmedKept,
    CutOutcome::CounterLowered,
    CutOutcome::Poisoned,
    CutOutcome::WrongImage,
    CutOutcome::Bricked,
];

/// A step's search, with the case that it belongs to.
type Search<'a> = (&'a CaseView, &'a StepView, &'a CutsView);

fn of(case: &CaseView) -> Option<Search<'_>> {
    let step = case.steps.iter().rfind(|step| step.cuts.is_some())?;
    Some((case, step, step.cuts.as_ref()?))
}

/// The search that is shown: of the chosen case, else the last that began.
fn search(session: &Session) -> Option<Search<'_>> {
    let view = session.tape.view();
    session.tree.case(view).and_then(of).or_else(|| view.cases.iter().rev().find_map(of))
}

/// Draws it.
pub fn cuts(session: &mut Session, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width(), paper.height());
    let mut chosen = session.cuts;
    {
        let Some((case, step, cuts)) = search(session) else {
            paper.framed("Power cuts", true).text(0, 0, "No power-cut search has begun yet.", DIM);
            return;
        };
        let title = format!("Power cuts: {}, step {}", case.name(), step.number());
        let list_height = if cuts.bad.is_empty() { 0 } else { (height / 3).clamp(3, 12) };
        let mut part = paper.part(0, 0, width, height - list_height);
        let mut inner = part.framed(&title, list_height == 0);
        let share = if cuts.of() == 0 { 0.0 } else { cuts.judged() as f64 / cuts.of() as f64 };
        let style = if cuts.bad() > 0 { BAD } else { PLAIN };
        inner.bar(0, 0, 20, share, GOOD);
        inner.text(21, 0, &lines::cuts(cuts), style);
        inner.text(0, 1, &format!("{} flash operations, in their order:", cuts.operations), DIM);
        let legend = legend(cuts, inner.width());
        let rows = inner.height().saturating_sub(2 + legend.len());
        map(cuts, &mut inner.part(0, 2, width, rows));
        let from = inner.height().saturating_sub(legend.len());
        for (y, line) in legend.iter().enumerate() {
            let mut x = 0;
            for (sign, text, style) in line {
                x = inner.text(x, from + y, sign, *style);
                x = inner.text(x, from + y, &format!(" {text}   "), DIM);
            }
        }
        if list_height > 0 {
            chosen = chosen.min(cuts.bad.len() - 1);
            let mut part = paper.part(0, height - list_height, width, list_height);
            let mut inner = part.framed(&format!("{} bad cuts", cuts.told), true);
            let rows = inner.height();
            let top = chosen.saturating_sub(rows.saturating_sub(1));
            for (y, cut) in cuts.bad.iter().skip(top).take(rows).enumerate() {
                let (sign, what, style) = words::cut(cut.outcome);
                let mut text = [0; 4];
                let x = inner.text(0, y, sign.encode_utf8(&mut text), style);
                let x = inner.text(x + 1, y, &format!("{:<22}", cut.point.to_string()), BOLD);
                let code = cut.outcome.reason_code().unwrap_or("");
                inner.text(x + 1, y, &format!("{code:<16} {what}"), PLAIN);
                if top + y == chosen {
                    inner.style(y, CHOSEN);
                }
            }
        }
    }
    session.cuts = chosen;
}

type Entry = (String, String, ratatui::style::Style);

/// What the signs mean, with how many there are; in as few lines as fit.
fn legend(cuts: &CutsView, width: usize) -> Vec<Vec<Entry>> {
    let mut lines: Vec<Vec<Entry>> = vec![Vec::new()];
    let mut used = 0;
    let mut entries: Vec<Entry> = OUTCOMES
        .iter()
        .filter_map(|outcome| {
            let count = cuts.outcomes.get(outcome).copied().filter(|count| *count > 0)?;
            let (sign, what, style) = words::cut(*outcome);
            Some((sign.to_string(), format!("{what} {count}"), style))
        })
        .collect();
    entries.push(("·".to_owned(), "not tried yet".to_owned(), DIM));
    for entry in entries {
        let needed = entry.1.len() + 5;
        if used + needed > width && used > 0 {
            lines.push(Vec::new());
            used = 0;
        }
        used += needed;
        if let Some(line) = lines.last_mut() {
            line.push(entry);
        }
    }
    lines
}

fn map(cuts: &CutsView, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width(), paper.height());
    let points = usize::try_from(cuts.map.points()).unwrap_or(usize::MAX);
    let cells = (width * height).min(points);
    for index in 0..cells {
        let (sign, style) = match cuts.map.worst(index, cells) {
            Some(outcome) => {
                let (sign, _, style) = words::cut(outcome);
                (sign, style)
            }
            None => ('·', DIM),
        };
        let mut text = [0; 4];
        paper.text_within(index % width, index / width, sign.encode_utf8(&mut text), 1, style);
    }
}
