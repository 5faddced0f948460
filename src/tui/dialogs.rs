//! What is in front of a screen: help, prompts, the question whether to stop, texts to read, a line to type.

use std::time::Instant;

use super::{
    keys::{ACTIONS, Context, Keymap},
    paper::{BAD, BOLD, CHOSEN, DIM, GOOD, NAME, PLAIN, Paper, WARN, wrap},
    session::Session,
    words,
};
use crate::event::StopLevel;

/// What a typed line is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Search.
    Search,
    /// Time to go to.
    Jump,
    /// Row of the form.
    Field(usize),
}

/// What is in front.
#[derive(Debug)]
pub enum Dialog {
    /// All keys.
    Help(usize),
    /// Whether to stop, and how it goes.
    Stop,
    /// Whether to leave while the run goes on.
    Leave,
    /// A text: title, lines, first line shown.
    Text(String, Vec<(String, ratatui::style::Style)>, usize),
    /// A line to type.
    Input(Purpose, String),
    /// Commands to copy: which is chosen.
    Copy(usize),
}

/// A part in the middle.
fn middle<'a>(paper: &'a mut Paper<'_>, width: usize, height: usize) -> Paper<'a> {
    let (all_width, all_height) = (paper.width(), paper.height());
    let (width, height) = (width.min(all_width), height.min(all_height));
    let mut part = paper.part((all_width - width) / 2, (all_height - height) / 2, width, height);
    part.clear();
    part
}

/// Every key, in columns.
pub fn help(keys: &Keymap, contexts: &[Context], top: usize, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width().saturating_sub(2), paper.height());
    let mut part = middle(paper, width, height);
    let mut inner = part.framed("Keys (Esc closes)", true);
    let mut lines: Vec<(String, String, bool)> = Vec::new();
    for context in contexts {
        lines.push((context.title().to_owned(), String::new(), true));
        for (action, _, name, _, help) in ACTIONS.iter().filter(|(_, place, ..)| place == context) {
            let names: Vec<String> = keys.of(*action).iter().map(ToString::to_string).collect();
            let _ = name;
            lines.push((names.join(" "), (*help).to_owned(), false));
        }
    }
    let columns = (inner.width() / 36).max(1);
    let rows = inner.height();
    let shown = lines.iter().skip(top.min(lines.len().saturating_sub(1)));
    for (index, (names, what, heading)) in shown.take(rows * columns).enumerate() {
        let (x, y) = (index / rows.max(1) * 36, index % rows.max(1));
        if *heading {
            inner.text_within(x, y, names, 35, BOLD);
        } else {
            inner.text_within(x + 1, y, names, 12, NAME);
            inner.text_within(x + 14, y, what, 21, PLAIN);
        }
    }
}

/// Lines of the help, for scrolling.
#[must_use]
pub fn help_lines(contexts: &[Context]) -> usize {
    contexts.len() + ACTIONS.iter().filter(|(_, place, ..)| contexts.contains(place)).count()
}

/// A text to read.
pub fn text(title: &str, lines: &[(String, ratatui::style::Style)], top: usize, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width().saturating_sub(4), paper.height().saturating_sub(2));
    let mut part = middle(paper, width.max(20), height.max(3));
    let mut inner = part.framed(title, true);
    let mut y = 0;
    for (line, style) in lines.iter().skip(top) {
        if y >= inner.height() {
            break;
        }
        y += inner.wrapped(0, y, line, *style).max(1);
    }
}

/// A line to type.
pub fn input(purpose: &Purpose, text: &str, paper: &mut Paper<'_>) {
    let title = match purpose {
        Purpose::Search => "Search for (Enter goes)",
        Purpose::Jump => "Go to time, such as 1:15 or 75 (Enter goes)",
        Purpose::Field(4) => "Wait for instruments that are in use, such as 10m; empty for not at all",
        Purpose::Field(5) => "Seed, a number; empty for the rig's",
        Purpose::Field(_) => "File with prepared answers; empty for none",
    };
    let width = paper.width().min(74);
    let mut part = middle(paper, width, 3);
    let mut inner = part.framed(title, true);
    typed(text, 0, &mut inner);
}

/// A typed text with its cursor; its end stays visible.
fn typed(text: &str, y: usize, paper: &mut Paper<'_>) {
    let clean = crate::view::sanitise::sanitise(text);
    let room = paper.width().saturating_sub(1);
    let mut shown: &str = &clean;
    while crate::view::sanitise::columns(shown) > room {
        let first = shown.chars().next().map_or(1, char::len_utf8);
        shown = &shown[first..];
    }
    let x = paper.text(0, y, shown, PLAIN);
    paper.text(x, y, " ", CHOSEN);
}

/// Whether to stop: what will be switched off, and, once it was asked for, the way to the safe state.
pub fn stop(session: &Session, keys: [&str; 3], paper: &mut Paper<'_>) {
    let view = session.tape.latest();
    let switches = view
        .channels
        .values()
        .filter(|channel| channel.power.is_some() || channel.pressed.is_some() || channel.network.is_some());
    let rows = if view.stop.is_some() { 12 + view.safe_state.actions.len() } else { 10 + switches.count() };
    let (width, height) = (paper.width().min(76), rows);
    let mut part = middle(paper, width, height);
    let Some((level, by)) = &view.stop else {
        let mut inner = part.framed("Stop the run?", true);
        let mut y =
            inner.wrapped(0, 0, "The device is brought to the rig's safe state. What is on now and will be switched off:", PLAIN);
        let on: Vec<_> = view
            .channels
            .iter()
            .filter_map(|(name, channel)| {
                let network = channel.network.as_ref().map(|what| format!("{name}: {what}, will be undone"));
                let power = (channel.power == Some(true)).then(|| format!("{name}: power is on, will be switched off"));
                let button = (channel.pressed == Some(true)).then(|| format!("{name}: is pressed, will be released"));
                power.or(button).or(network)
            })
            .collect();
        y += 1;
        for line in &on {
            inner.text(2, y, line, WARN);
            y += 1;
        }
        if on.is_empty() {
            inner.text(2, y, "nothing is switched on", DIM);
            y += 1;
        }
        y += 1;
        for (key, what) in [
            (keys[0], "stop after the running step"),
            ("n", "stop at once: do not wait for the step"),
            (keys[1], "go on, do not stop"),
        ] {
            let x = inner.text(2, y, &format!("{key:<8}"), BOLD);
            inner.text(x, y, what, PLAIN);
            y += 1;
        }
        return;
    };
    let mut inner = part.framed("Stopping", true);
    let mut y = inner.wrapped(0, 0, &format!("Asked for by {by}: the run ends {}.", words::stop(*level)), PLAIN) + 1;
    if let (None, Some((case, step))) = (&view.finish, view.current_step()) {
        y += inner.wrapped(0, y, &format!("{} step {} is running: {}", case.name(), step.number(), step.text), WARN);
    }
    for action in &view.safe_state.actions {
        let what = format!("{}: {}", action.channel, words::act(&action.act));
        match &action.problem {
            None => {
                let proof = action.read_back.as_ref().map(|what| format!(" ({what})")).unwrap_or_default();
                inner.text(2, y, &format!("ok   {what}{proof}"), GOOD)
            }
            Some(problem) => inner.text(2, y, &format!("BAD  {what}: {problem}"), BAD),
        };
        y += 1;
    }
    let style = match view.safe_state.finished {
        Some((true, _)) => GOOD,
        Some((false, _)) => BAD,
        None => WARN,
    };
    let state = if view.safe_state.started {
        crate::view::lines::safe_state(view)
    } else {
        "the safe state is not reached yet".to_owned()
    };
    let state = if view.safe_state.started && view.safe_state.finished.is_none() {
        "on the way to the safe state".to_owned()
    } else {
        state
    };
    y += inner.wrapped(0, y + 1, &state, style) + 2;
    if view.finish.is_none() {
        let x = inner.text(2, y, &format!("{:<8}", keys[2]), BOLD);
        let next = if *level == StopLevel::Graceful {
            "stop at once"
        } else {
            "leave at once; the guard process reaches the safe state"
        };
        inner.text(x, y, next, PLAIN);
        y += 1;
    }
    let x = inner.text(2, y, &format!("{:<8}", keys[1]), BOLD);
    inner.text(x, y, "close this window", PLAIN);
}

/// Whether to leave a run that goes on.
pub fn leave(keys: [&str; 3], paper: &mut Paper<'_>) {
    let width = paper.width().min(70);
    let mut part = middle(paper, width, 9);
    let mut inner = part.framed("The run is still going", true);
    let y = inner.wrapped(0, 0, "Leaving this screen does not stop it. `hilbench tui --attach` comes back to it.", PLAIN) + 1;
    for (index, (key, what)) in
        [(keys[0], "leave it running"), (keys[1], "stop it, then leave"), (keys[2], "stay here")].into_iter().enumerate()
    {
        let x = inner.text(2, y + index, &format!("{key:<8}"), BOLD);
        inner.text(x, y + index, what, PLAIN);
    }
}

/// Commands to copy.
pub fn copy(commands: &[(&str, String)], chosen: usize, paper: &mut Paper<'_>) {
    let width = paper.width().saturating_sub(4);
    let mut part = middle(paper, width.max(20), commands.len() * 2 + 2);
    let mut inner = part.framed("Copy which command? (Enter copies it)", true);
    for (index, (what, command)) in commands.iter().enumerate() {
        inner.text(0, index * 2, what, DIM);
        inner.text(2, index * 2 + 1, command, NAME);
        if index == chosen {
            inner.style(index * 2 + 1, CHOSEN);
        }
    }
}

/// A prompt of the run.
pub fn prompt(session: &Session, now: Instant, keys: [&str; 2], paper: &mut Paper<'_>) {
    let Some(prompt) = session.shown_prompt() else { return };
    let played = session.transport.is_some();
    let state = &session.prompt;
    let width = paper.width().min(78);
    let text = wrap(&prompt.text, width.saturating_sub(4));
    let picture = usize::from(prompt.picture.is_some()) * 2;
    let rows = text.len() + picture + prompt.choices.len() + usize::from(prompt.free || prompt.choices.is_empty()) * 2 + 6;
    let mut part = middle(paper, width, rows);
    let mut inner = part.framed(&format!("The run asks you (question {})", prompt.number), true);
    let mut y = 0;
    for line in &text {
        inner.text(1, y, line, BOLD);
        y += 1;
    }
    if let Some(picture) = &prompt.picture {
        inner.text(1, y + 1, &format!("picture: {picture}"), NAME);
        y += 2;
    }
    y += 1;
    for (index, choice) in prompt.choices.iter().enumerate() {
        inner.text(1, y, &format!(" {} {choice} ", index + 1), if state.choice == index && !played { CHOSEN } else { PLAIN });
        y += 1;
    }
    if prompt.free || prompt.choices.is_empty() {
        let chosen = state.choice >= prompt.choices.len();
        inner.text(
            1,
            y,
            if prompt.choices.is_empty() { "your answer:" } else { "or another answer:" },
            if chosen { BOLD } else { DIM },
        );
        let room = inner.width().saturating_sub(2);
        if chosen {
            typed(&state.text, 0, &mut inner.part(1, y + 1, room, 1));
        } else {
            inner.text(1, y + 1, &state.text, DIM);
        }
        y += 2;
    }
    y += 1;
    if played {
        inner.text(1, y, "asked in the recorded run, and answered further on", DIM);
        inner.text(1, y + 1, &format!("{} put aside", keys[1]), DIM);
        return;
    }
    let since = state.seen.map_or(now, |(_, seen)| seen);
    let left = std::time::Duration::from_millis(prompt.within_ms).saturating_sub(now.saturating_duration_since(since));
    let status = if state.sending {
        ("sending ...".to_owned(), DIM)
    } else if let Some(problem) = &state.problem {
        (problem.clone(), BAD)
    } else {
        (format!("{} left to answer", words::span(left)), WARN)
    };
    inner.text(1, y, &status.0, status.1);
    inner.text(1, y + 1, &format!("↑↓ choose   {} answer   {} put aside", keys[0], keys[1]), DIM);
}
