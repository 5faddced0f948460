//! What is around every screen of a run: what it is, how far it is, its tabs, how it is played, and the keys.

use std::time::Instant;

use super::super::{
    keys::{Action, Keymap},
    paper::{BAD, BOLD, CHOSEN, DIM, FAULT, GOOD, Paper, WARN},
    session::{Session, Tab},
    words,
};
use crate::{
    journal::RunState,
    view::{lines, seconds},
};

/// Two lines: the run and its state; how far it is, and its verdict so far with the reason.
pub fn header(session: &Session, now: Instant, paper: &mut Paper<'_>) {
    let view = session.tape.view();
    let width = paper.width();
    let at = session.at(now);
    let (state, style) = if session.transport.is_some() {
        ("REPLAY".to_owned(), WARN)
    } else if let Some(finish) = &view.finish {
        let (word, style) = words::verdict_word(view.final_verdict());
        (format!("{word} in {}", seconds(std::time::Duration::from_millis(finish.wall_ms))), style)
    } else if session.is_live() && view.safe_state.started {
        ("REACHING THE SAFE STATE".to_owned(), WARN)
    } else if session.is_live() && view.stop.is_some() {
        ("STOPPING".to_owned(), WARN)
    } else if session.is_live() {
        ("RUNNING".to_owned(), BOLD)
    } else if session.tape.last_state() == RunState::Interrupted {
        ("BROKEN OFF".to_owned(), FAULT)
    } else {
        ("ENDED".to_owned(), BOLD)
    };
    paper.text_within(0, 0, &lines::title(view), width.saturating_sub(state.len() + 2), BOLD);
    paper.text_to(width, 0, &state, style);
    let counts = view.counts();
    let judged = counts.passed + counts.failed + counts.inconclusive + counts.error;
    let left_out = view.plan_cases().filter(|case| !case.is_unselected() && view.is_left_out(case)).count();
    let all = (judged + counts.open).saturating_sub(left_out);
    let share = if all == 0 { 0.0 } else { judged as f64 / all as f64 };
    let bar = (width / 8).clamp(4, 20);
    paper.bar(0, 1, bar, share, GOOD);
    let mut text = format!(" {judged} of {all} cases  {}", words::clock(at));
    let left = session.history.as_ref().filter(|_| session.is_live()).and_then(|history| history.remaining(view, at));
    if let Some(left) = left {
        text.push_str(&format!("  about {} left", words::span(left)));
    }
    let x = paper.text(bar, 1, &text, DIM);
    let verdict = view.verdict();
    if let Some(why) = worst(session) {
        let (word, style) = words::verdict(verdict);
        let x = paper.text(x + 2, 1, &format!("{word} "), style);
        paper.text(x, 1, &why, style);
    } else if let Some((level, by)) = &view.stop {
        paper.text(x + 2, 1, &format!("stopped by {by}, {}", words::stop(*level)), WARN);
    } else if judged > 0 && verdict == crate::event::Verdict::Pass {
        paper.text(x + 2, 1, if view.finish.is_some() { "all good" } else { "all good so far" }, GOOD);
    }
}

/// Why the verdict is what it is.
fn worst(session: &Session) -> Option<String> {
    let view = session.tape.view();
    let verdict = view.verdict();
    let reason = view.plan_cases().find_map(|case| match &case.state {
        crate::view::CaseState::Finished { verdict: found, reason: Some(reason), .. } if *found == verdict => {
            Some(format!("{}: {reason}", case.name()))
        }
        _ => None,
    });
    if verdict <= crate::event::Verdict::Pass {
        return None;
    }
    reason.or_else(|| view.finish.as_ref().and_then(|finish| finish.reason.as_ref()).map(ToString::to_string))
}

/// The tabs with their keys. Where they do not fit, only the open one has its name.
pub fn tabs(session: &Session, keys: &Keymap, paper: &mut Paper<'_>) {
    let actions = [Action::Tab1, Action::Tab2, Action::Tab3, Action::Tab4, Action::Tab5, Action::Tab6, Action::Tab7];
    let labels = Tab::ALL.iter().zip(actions).map(|(tab, action)| format!(" {} {} ", keys.first(action), tab.name()));
    let labels: Vec<(Tab, String)> = Tab::ALL.into_iter().zip(labels).collect();
    let fits = labels.iter().map(|(_, label)| label.len()).sum::<usize>() <= paper.width();
    let mut x = 0;
    for ((tab, label), action) in labels.iter().zip(actions) {
        let style = if *tab == session.tab { CHOSEN } else { DIM };
        let short = format!(" {} ", keys.first(action));
        x = paper.text(x, 0, if fits || *tab == session.tab { label } else { &short }, style);
    }
}

/// How a recorded run is played, and where it is.
pub fn transport(session: &Session, paper: &mut Paper<'_>) {
    let Some(transport) = &session.transport else { return };
    let (at, end) = (session.tape.view().at, session.tape.latest().at);
    let sign = if transport.playing { "▶ plays" } else { "■ paused" };
    let sign = if session.tape.at_end() && session.tape.is_caught_up() { "■ end" } else { sign };
    let text = format!(
        "{sign} {}  {} / {}  event {}/{} ",
        transport.speed_name(),
        words::clock(at),
        words::clock(end),
        session.tape.position(),
        session.tape.end()
    );
    let x = paper.text(0, 0, &text, WARN);
    let share = if end.0 == 0 { 0.0 } else { at.0 as f64 / end.0 as f64 };
    let width = paper.width().saturating_sub(x).min(40);
    paper.bar(x, 0, width, share, WARN);
    if !session.tape.is_caught_up() {
        let text = format!("reading, {} %", (session.tape.read_share() * 100.0) as u32);
        let end = paper.width();
        paper.text_to(end, 0, &text, BAD);
    }
}

/// The keys that are good for something here. Where they do not all fit, the last ones stay: they lead to the others, and out.
pub fn footer(keys: &Keymap, items: &[(&[Action], &'static str)], paper: &mut Paper<'_>) {
    let named = |(actions, label): &(&[Action], &'static str)| {
        let names: Vec<String> = actions.iter().map(|action| keys.first(*action)).collect();
        // Arrows belong together; other pairs are told apart.
        let joined = if names.iter().all(|name| name.chars().count() == 1) { names.concat() } else { names.join("/") };
        (joined, *label)
    };
    let mut shown: Vec<(String, &str)> = items.iter().map(named).collect();
    let width = |item: &(String, &str)| crate::view::sanitise::columns(&item.0) + item.1.len() + 3;
    while shown.len() > 2 && shown.iter().map(width).sum::<usize>() > paper.width() + 2 {
        shown.remove(shown.len() - 3);
    }
    let mut x = 0;
    for (keys, label) in shown {
        x = paper.text(x, 0, &keys, BOLD);
        x = paper.text(x, 0, &format!(" {label}  "), DIM);
    }
}
