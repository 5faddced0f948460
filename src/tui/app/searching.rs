//! Searching on every screen.

use super::{App, Screen};
use crate::tui::{
    keys::Action,
    screens,
    session::{Session, Tab, TreeRow},
};

impl App {
    pub(super) fn search(&mut self, forward: bool) {
        let Screen::Run(session) = &mut self.screen else { return };
        if session.searched.is_empty() {
            return self.say("Nothing is searched for; / begins.");
        }
        let searched = session.searched.clone();
        let said = match session.tab {
            Tab::Consoles => {
                // From the end on there is nothing below: a first search looks up.
                let forward = forward && (session.console.hit.is_some() || session.console.bottom.is_some());
                if session.console.pattern.is_none() {
                    session.console.search(&searched);
                }
                let found = session.console.find(&session.tape, forward)
                    || session.console.hit.is_none() && session.console.find(&session.tape, !forward);
                if found { None } else { Some(format!("no further `{searched}`")) }
            }
            Tab::Steps | Tab::Result if session.transport.is_none() => {
                if find_case(session, &searched, forward) {
                    None
                } else {
                    Some(format!("no `{searched}`"))
                }
            }
            _ => {
                let pattern = regex::bytes::RegexBuilder::new(&regex::escape(&searched)).case_insensitive(true).build();
                let Ok(pattern) = pattern else { return };
                let played = session.transport.is_some();
                let here = if played {
                    session.tape.position()
                } else {
                    session.timeline.bottom.map_or(session.tape.position(), |seq| seq + 1)
                };
                let forward = forward && (played || session.timeline.bottom.is_some());
                let from = if forward { here } else { here.saturating_sub(1) };
                match session.find_event(&pattern, from, forward) {
                    Ok(seq) if played => {
                        session.seek(seq + 1);
                        None
                    }
                    Ok(seq) => {
                        session.timeline.bottom = Some(seq);
                        None
                    }
                    Err(None) => Some(format!("no further `{searched}`")),
                    Err(Some(seq)) => {
                        if played {
                            session.seek(seq);
                        } else {
                            session.timeline.bottom = Some(seq.saturating_sub(1));
                        }
                        Some(format!(
                            "no `{searched}` among the next 20000 events; {} goes on",
                            self.keys.first(Action::SearchNext)
                        ))
                    }
                }
            }
        };
        if let Some(said) = said {
            self.say(said);
        }
    }
}

/// Chooses the next case or step with a text in it.
fn find_case(session: &mut Session, text: &str, forward: bool) -> bool {
    let text = text.to_lowercase();
    let view = session.tape.view();
    let has = |words: &str| words.to_lowercase().contains(&text);
    if session.tab == Tab::Result {
        let order = screens::order(view);
        let hits = |at: &usize| {
            order.get(*at).and_then(|index| view.cases.get(*index)).is_some_and(|case| has(case.name()) || has(&case.title))
        };
        let found = if forward { (session.result + 1..order.len()).find(hits) } else { (0..session.result).rev().find(hits) };
        let found = found.or_else(|| (0..order.len()).find(hits));
        session.result = found.unwrap_or(session.result);
        return found.is_some();
    }
    let mut rows = Vec::new();
    for (index, case) in view.cases.iter().enumerate().filter(|(_, case)| !view.is_left_out(case)) {
        if has(case.name()) || has(&case.title) {
            rows.push(TreeRow { case: index, step: None });
        }
        for (step, found) in case.steps.iter().enumerate() {
            if has(&found.text) {
                rows.push(TreeRow { case: index, step: Some(step) });
            }
        }
    }
    let key = |row: &TreeRow| (row.case, row.step.map_or(0, |step| step + 1));
    let now = key(&session.tree.chosen);
    let found = if forward { rows.iter().find(|row| key(row) > now) } else { rows.iter().rev().find(|row| key(row) < now) };
    let Some(row) = found.or_else(|| rows.first()).copied() else { return false };
    session.tree.follows = false;
    if row.step.is_some() {
        session.tree.unfolded.insert(row.case);
    }
    session.tree.chosen = row;
    true
}
