//! The bytes that decided.

use ratatui::style::Style;

use super::{App, Screen};
use crate::{
    tui::{
        dialogs::Dialog,
        paper::{BAD, BOLD, DIM, GOOD, PLAIN, WARN},
        screens,
        session::{Session, Tab},
        words,
    },
    view::{CaseState, RunView, StepView, sanitise::sanitise_bytes},
};

impl App {
    /// The bytes that decided, with what is around them.
    pub(super) fn evidence(&mut self) {
        let Screen::Run(session) = &self.screen else { return };
        let view = session.tape.view();
        let (title, lines) = match session.tab {
            Tab::Cuts => cut_lines(session, view),
            Tab::Result => {
                let case = screens::order(view).get(session.result).and_then(|index| view.cases.get(*index));
                let Some(case) = case else { return };
                let step = case.decisive().or_else(|| case.steps.last());
                step_lines(session, case.name(), step, &case.state)
            }
            _ => {
                let (Some(case), Some(step)) = (session.tree.case(view), session.tree.step(view)) else { return };
                step_lines(session, case.name(), Some(step), &case.state)
            }
        };
        self.dialog = Some(Dialog::Text(title, lines, 0));
    }
}

type Lines = Vec<(String, Style)>;

fn step_lines(session: &Session, case: &str, step: Option<&StepView>, state: &CaseState) -> (String, Lines) {
    const AROUND: u64 = 2048;
    let mut lines = Lines::new();
    if let CaseState::Finished { reason: Some(reason), .. } = state {
        lines.push((reason.to_string(), words::case(state).1));
        lines.push((String::new(), PLAIN));
    }
    let Some(step) = step else {
        lines.push(("It has no steps.".to_owned(), DIM));
        return (format!("Case {case}"), lines);
    };
    lines.push((format!("step {}: {}", step.number(), step.text), BOLD));
    let told = lines.first().map(|(text, _)| text.clone());
    if let Some(reason) = step.reason.as_ref().map(ToString::to_string).filter(|reason| Some(reason) != told.as_ref()) {
        lines.push((reason, words::step(step).1));
    }
    for (channel, pattern, _) in &step.matched {
        lines.push((format!("found on {channel}: {pattern}"), GOOD));
    }
    for witness in &step.witnesses {
        lines.push((format!("proven: {}", witness.what), GOOD));
    }
    for missing in &step.unwitnessed {
        lines.push((format!("NOT PROVEN: {missing}"), WARN));
    }
    let matched = step.matched.iter().map(|(.., place)| place);
    for place in step.evidence.iter().chain(matched.filter(|place| !step.evidence.contains(place))).take(8) {
        lines.push((String::new(), PLAIN));
        lines.push((format!("{}, byte {} to {}:", place.file, place.offset, place.offset.saturating_add(place.len)), DIM));
        let from = place.offset.saturating_sub(AROUND);
        let end = place.offset.saturating_add(place.len.min(AROUND));
        let before = session.tape.bytes(&place.file, from, place.offset);
        // The decisive bytes are marked; some whole lines before and after them say where they stand.
        let before_lines: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
        let (last, earlier) = before_lines.split_last().map_or((&b""[..], &[][..]), |(last, earlier)| (*last, earlier));
        for line in earlier.iter().skip(earlier.len().saturating_sub(6)) {
            lines.push((format!("  {}", shown(line)), DIM));
        }
        let decisive = session.tape.bytes(&place.file, place.offset, end);
        let after = session.tape.bytes(&place.file, end, end + 512);
        let rest = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let whole: Vec<u8> = [last, &decisive, rest].concat();
        let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
        for line in whole.split(|byte| *byte == b'\n').take(40) {
            lines.push((format!("▶ {}", shown(line)), BOLD));
        }
        for line in after.split(|byte| *byte == b'\n').skip(1).take(3) {
            lines.push((format!("  {}", shown(line)), DIM));
        }
    }
    (format!("Case {case}: what decided"), lines)
}

fn shown(line: &[u8]) -> String {
    sanitise_bytes(line.strip_suffix(b"\r").unwrap_or(line))
}

fn cut_lines(session: &Session, view: &RunView) -> (String, Lines) {
    let searched = session.tree.case(view).filter(|case| case.bad_cuts().next().is_some());
    let searched = searched.or_else(|| view.cases.iter().rev().find(|case| case.steps.iter().any(|step| step.cuts.is_some())));
    let Some(cut) = searched.and_then(|case| case.bad_cuts().nth(session.cuts)) else {
        return ("Power cuts".to_owned(), vec![("No cut has ended badly.".to_owned(), GOOD)]);
    };
    let mut lines = vec![
        (format!("{}: {}", cut.outcome.reason_code().unwrap_or(""), words::cut(cut.outcome).1), BAD),
        ("The same cut again:".to_owned(), DIM),
        (cut.reproduce.clone(), BOLD),
        (String::new(), PLAIN),
    ];
    if let Some(place) = &cut.evidence {
        let bytes = session.tape.excerpt(place, 32 * 1024);
        lines.extend(bytes.split(|byte| *byte == b'\n').take(400).map(|line| (shown(line), PLAIN)));
    }
    (format!("Power cut at {}", cut.point), lines)
}
