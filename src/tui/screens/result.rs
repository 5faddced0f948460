//! How a run ended: every case with its reason, the safe state, and what to do next.

use super::super::{
    paper::{BAD, BOLD, CHOSEN, DIM, GOOD, NAME, PLAIN, Paper, WARN},
    session::Session,
    words,
};
use crate::view::{CaseState, CaseView, RunView, lines, sanitise, seconds};

/// Cases as they are listed: what went wrong first, then the rest in the order of the plan.
#[must_use]
pub fn order(view: &RunView) -> Vec<usize> {
    let rank = |case: &CaseView| match &case.state {
        CaseState::Finished { verdict, .. } => match verdict {
            crate::event::Verdict::Error => 0,
            crate::event::Verdict::Fail => 1,
            crate::event::Verdict::Inconclusive | crate::event::Verdict::None => 2,
            crate::event::Verdict::Pass => 4,
        },
        CaseState::Running | CaseState::Waiting => 3,
        CaseState::Skipped(_) => 5,
    };
    let mut order: Vec<usize> =
        (0..view.cases.len()).filter(|index| !view.cases[*index].is_section && !view.is_left_out(&view.cases[*index])).collect();
    order.sort_by_key(|index| rank(&view.cases[*index]));
    order
}

/// Commands that lead on from here: what for, and the command.
#[must_use]
pub fn commands(session: &Session) -> Vec<(&'static str, String)> {
    let view = session.tape.latest();
    let id = session.tape.id();
    let mut found = vec![
        ("watch it again", format!("hilbench tui --replay {}", lines::shell_word(id))),
        ("judge it from the evidence", format!("hilbench show {} --verify", lines::shell_word(id))),
    ];
    if let Some(header) = &view.header {
        found.push(("run it again", lines::again(header)));
    }
    let chosen = order(view).get(session.result).and_then(|index| view.cases.get(*index));
    if let Some(cut) = chosen.and_then(|case| case.bad_cuts().next()) {
        found.push(("repeat this power cut", cut.reproduce.clone()));
    }
    found
}

/// Draws it.
pub fn result(session: &mut Session, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width(), paper.height());
    let commands = commands(session);
    let below = if height >= 12 { commands.len() + 2 } else { 0 };
    let order = order(session.tape.view());
    session.result = session.result.min(order.len().saturating_sub(1));
    let view = session.tape.view();
    let mut part = paper.part(0, 0, width, height - below);
    let title = if view.finish.is_some() { "Result" } else { "Result so far" };
    let mut inner = part.framed(title, true);
    session.rows = inner.height();
    let verdict = if session.is_live() { view.verdict() } else { view.final_verdict() };
    let (word, style) =
        if session.is_live() && view.finish.is_none() { ("NOT ENDED", WARN) } else { words::verdict_word(verdict) };
    let mut y = 0;
    let x = inner.text(0, y, word, style.add_modifier(ratatui::style::Modifier::BOLD));
    let x = inner.text(x, y, &format!("  {}  ", lines::counts(view)), PLAIN);
    let confirmed = matches!(view.safe_state.finished, Some((true, _)));
    inner.text(x, y, &lines::safe_state(view), if confirmed { GOOD } else { WARN });
    y += 1;
    if let Some(reason) = view.finish.as_ref().and_then(|finish| finish.reason.as_ref()) {
        inner.text(0, y, &reason.to_string(), style);
        y += 1;
    }
    if let Some(damage) = session.tape.damage() {
        inner.text(0, y, &format!("the record is damaged: {damage}"), BAD);
        y += 1;
    }
    y += 1;
    // The chosen case gets the room that its reason needs.
    let rows = inner.height().saturating_sub(y);
    let names = order.iter().filter_map(|index| view.cases.get(*index)).map(|case| case.name().len()).max().unwrap_or(0);
    let names = names.clamp(8, (inner.width() / 2).max(8));
    let why =
        order.get(session.result).and_then(|index| view.cases.get(*index)).map(|case| why(session, case)).unwrap_or_default();
    let why: Vec<_> = why
        .iter()
        .flat_map(|(text, style)| {
            super::super::paper::wrap(text, inner.width().saturating_sub(5)).into_iter().map(|line| (line, *style))
        })
        .take(6)
        .collect();
    let list = rows.saturating_sub(why.len());
    let top = session.result.saturating_sub(list.saturating_sub(1));
    for (row, index) in order.iter().enumerate().skip(top).take(list.max(1)) {
        let Some(case) = view.cases.get(*index) else { continue };
        let (word, style) = words::case(&case.state);
        let x = inner.text(0, y, &format!("{word} "), style);
        inner.text_within(x, y, case.name(), names, BOLD);
        let took = case.took().map(seconds).unwrap_or_default();
        inner.text_to(x + names + 11, y, &took, DIM);
        let reason = match &case.state {
            CaseState::Finished { reason: Some(reason), .. } => reason.code.clone(),
            CaseState::Skipped(why) => why.clone(),
            _ => case.title.clone(),
        };
        inner.text(x + names + 12, y, &reason, PLAIN);
        if row == session.result {
            inner.style(y, CHOSEN);
        }
        y += 1;
        if row == session.result {
            for (text, style) in &why {
                inner.text(5, y, text, *style);
                y += 1;
            }
        }
    }
    if below > 0 {
        let mut part = paper.part(0, height - below, width, below);
        let mut inner = part.framed("Next", false);
        for (y, (what, command)) in commands.iter().enumerate() {
            let x = inner.text(0, y, &format!("{what:<27}"), DIM);
            inner.text(x, y, command, NAME);
        }
    }
}

/// The reason of a case in full, and the bytes that decided.
fn why(session: &Session, case: &CaseView) -> Vec<(String, ratatui::style::Style)> {
    let mut why = Vec::new();
    if let CaseState::Finished { reason: Some(reason), .. } = &case.state {
        why.push((reason.to_string(), words::case(&case.state).1));
    }
    if let Some(step) = case.decisive() {
        why.push((format!("decided in step {}: {}", step.number(), step.text), PLAIN));
        for place in step.evidence.iter().take(1) {
            let bytes = session.tape.excerpt(place, 200);
            let source = place.file.strip_suffix(".rx").unwrap_or(&place.file);
            why.push((format!("{source}: \"{}\"", sanitise::sanitise_bytes(bytes.trim_ascii())), NAME));
        }
    }
    why
}
