//! Cases and steps as a tree, with what is known of the chosen one; where there is room, the console and the bench beside them.

use std::time::Instant;

use super::super::{
    paper::{BAD, BOLD, CHOSEN, DIM, GOOD, NAME, PLAIN, Paper, WARN},
    session::Session,
    words,
};
use crate::{
    event::Nanos,
    view::{CaseState, CaseView, StepView, lines, quantity, sanitise, seconds},
};

/// Draws it.
pub fn steps(session: &mut Session, now: Instant, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width(), paper.height());
    let at = session.at(now);
    if width >= 110 {
        let left = width * 11 / 20;
        let below = (height / 3).clamp(5, 14).min(height);
        tree(session, at, &mut paper.part(0, 0, left, height - below));
        details(session, at, &mut paper.part(0, height - below, left, below));
        let mut right = paper.part(left, 0, width - left, height);
        let channels = (session.tape.view().channels.len() + 3).min(height / 2);
        let title = session.console.title(&session.tape);
        session.console.draw(&session.tape, &mut right.part(0, 0, width - left, height - channels).framed(&title, false));
        super::bench::short(session, &mut right.part(0, height - channels, width - left, channels));
    } else {
        let below = if height >= 14 { (height / 3).clamp(5, 9) } else { 0 };
        tree(session, at, &mut paper.part(0, 0, width, height - below));
        details(session, at, &mut paper.part(0, height - below, width, below));
    }
}

fn tree(session: &mut Session, at: Nanos, paper: &mut Paper<'_>) {
    let mut inner = paper.framed("Cases and steps", true);
    let view = session.tape.view();
    let height = inner.height();
    session.rows = height;
    let total = session.tree.rows(view).count();
    if total == 0 {
        let text = if session.is_live() { "The run is starting." } else { "Nothing has begun yet." };
        inner.text(0, 0, text, DIM);
        return;
    }
    let chosen = session.tree.rows(view).position(|row| row == session.tree.chosen).unwrap_or(0);
    // The chosen row stays in view, with some of what comes before it.
    let top = chosen.saturating_sub(height * 2 / 3).min(total.saturating_sub(height));
    let names = view.cases.iter().filter(|case| !view.is_left_out(case)).map(|case| case.name().len()).max().unwrap_or(0);
    let names = names.clamp(8, (inner.width() / 3).max(8));
    for (y, row) in session.tree.rows(view).skip(top).take(height).enumerate() {
        let Some(case) = view.cases.get(row.case) else { continue };
        match row.step.and_then(|step| case.steps.get(step)) {
            Some(step) => draw_step(step, at, y, &mut inner),
            None => draw_case(case, session.tree.unfolded.contains(&row.case), names, at, y, &mut inner),
        }
        if top + y == chosen {
            inner.style(y, CHOSEN);
        }
    }
}

fn draw_case(case: &CaseView, open: bool, names: usize, at: Nanos, y: usize, paper: &mut Paper<'_>) {
    let (word, style) = words::case(&case.state);
    let sign = if case.steps.is_empty() {
        " "
    } else if open {
        "▾"
    } else {
        "▸"
    };
    let x = paper.text(0, y, sign, DIM);
    let x = if case.is_section { paper.text(x, y, "     ", DIM) } else { paper.text(x, y, &format!("{word} "), style) };
    paper.text_within(x, y, case.name(), names, BOLD);
    let took = match (&case.state, case.took()) {
        (_, Some(took)) => seconds(took),
        (CaseState::Running, None) => case.started.map(|started| seconds(at.since(started))).unwrap_or_default(),
        _ => String::new(),
    };
    let x = x + names + 1;
    paper.text_to(x + 12, y, &took, DIM);
    let what = match &case.state {
        CaseState::Skipped(why) => why.clone(),
        CaseState::Finished { reason: Some(reason), .. } => reason.to_string(),
        _ => case.title.clone(),
    };
    paper.text(x + 13, y, &what, if case.is_section { DIM } else { PLAIN });
}

fn draw_step(step: &StepView, at: Nanos, y: usize, paper: &mut Paper<'_>) {
    let (word, style) = words::step(step);
    let x = paper.text(2, y, &format!("{word} "), style);
    let depth = step.number().matches('.').count();
    let x = paper.text(x + depth * 2, y, &format!("{:<5} ", step.number()), DIM);
    let width = paper.width();
    let (time, style) = match step.ended {
        Some(ended) => (seconds(ended.since(step.started)), DIM),
        None => running_time(step, at),
    };
    paper.text_to(width, y, &time, style);
    let text = if step.attempts.is_empty() {
        step.text.clone()
    } else {
        format!("{}  (attempt {})", step.text, step.attempts.len() + 1)
    };
    paper.text_within(x, y, &text, width.saturating_sub(x + time.len() + 1), PLAIN);
}

/// `3.20 s, 6 s left`.
fn running_time(step: &StepView, at: Nanos) -> (String, ratatui::style::Style) {
    let so_far = seconds(at.since(step.started));
    if step.deadline <= step.started {
        return (so_far, DIM);
    }
    if at > step.deadline {
        return (format!("{so_far}, time is over"), BAD);
    }
    (format!("{so_far}, {} left", words::span(step.deadline.since(at))), WARN)
}

/// What is known of the chosen case or step.
fn details(session: &Session, at: Nanos, paper: &mut Paper<'_>) {
    let view = session.tape.view();
    let Some(case) = session.tree.case(view) else {
        paper.framed("", false);
        return;
    };
    match session.tree.step(view) {
        Some(step) => {
            let mut inner = paper.framed(&format!("Step {} of {}", step.number(), case.name()), false);
            let mut y = inner.wrapped(0, 0, &step.text, BOLD);
            if step.ended.is_none() {
                let (time, style) = running_time(step, at);
                inner.text(0, y, &format!("running for {time}"), style);
                y += 1;
            }
            step_details(session, step, y, &mut inner);
        }
        None => {
            let mut inner = paper.framed(&format!("Case {}", case.name()), false);
            let mut y = inner.wrapped(0, 0, &case.title, BOLD);
            if !case.assesses.is_empty() {
                inner.text(0, y, &format!("gives evidence for {}", case.assesses.join(", ")), DIM);
                y += 1;
            }
            match &case.state {
                CaseState::Finished { reason: Some(reason), .. } => {
                    y += inner.wrapped(0, y, &reason.to_string(), words::case(&case.state).1);
                }
                CaseState::Skipped(why) => y += inner.wrapped(0, y, &format!("skipped: {why}"), DIM),
                _ => {}
            }
            if let Some(step) = case.decisive() {
                y += inner.wrapped(0, y, &format!("decided in step {}: {}", step.number(), step.text), PLAIN);
                step_details(session, step, y, &mut inner);
            }
        }
    }
}

fn step_details(session: &Session, step: &StepView, from: usize, paper: &mut Paper<'_>) {
    let mut y = from;
    if let Some(reason) = &step.reason {
        y += paper.wrapped(0, y, &reason.to_string(), words::step(step).1);
    }
    for attempt in step.attempts.iter().rev().take(3) {
        paper.text(0, y, &format!("attempt {} of {}: {}", attempt.attempt, attempt.of, attempt.reason), WARN);
        y += 1;
    }
    for place in step.evidence.iter().take(2) {
        let bytes = session.tape.excerpt(place, 400);
        let source = place.file.strip_suffix(".rx").unwrap_or(&place.file);
        let x = paper.text(0, y, &format!("{source}: "), NAME);
        paper.text(x, y, &sanitise::sanitise_bytes(bytes.trim_ascii()), PLAIN);
        y += 1;
    }
    for (channel, pattern, _) in step.matched.iter().rev().take(2) {
        paper.text(0, y, &format!("found on {channel}: {pattern}"), GOOD);
        y += 1;
    }
    for found in step.measured.iter().rev().take(2) {
        let word = if found.within { "within limits" } else { "OUTSIDE LIMITS" };
        let style = if found.within { GOOD } else { BAD };
        paper.text(0, y, &format!("{} = {}, {word}", found.name, quantity(found.value, &found.unit)), style);
        y += 1;
    }
    for witness in step.witnesses.iter().rev().take(2) {
        paper.text(0, y, &format!("proven: {}", witness.what), GOOD);
        y += 1;
    }
    for missing in step.unwitnessed.iter().take(2) {
        paper.text(0, y, &format!("NOT PROVEN: {missing}"), WARN);
        y += 1;
    }
    if let Some(cuts) = &step.cuts {
        paper.text(0, y, &lines::cuts(cuts), if cuts.bad() > 0 { BAD } else { PLAIN });
    }
}
