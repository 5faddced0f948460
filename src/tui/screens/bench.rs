//! Every channel of the bench: its state, how power, button and network are, and what happened last.

use super::super::{
    paper::{BAD, BOLD, DIM, FAULT, GOOD, NAME, PLAIN, Paper, WARN},
    session::Session,
    words,
};
use crate::{
    event::ChannelName,
    view::{Channel, lines},
};

/// How a channel's switch is, if it has one.
fn power(channel: &Channel) -> Option<(String, ratatui::style::Style)> {
    let power = channel.power.map(|up| if up { ("power ON", GOOD) } else { ("power off", PLAIN) });
    let button = channel.pressed.map(|pressed| if pressed { ("PRESSED", WARN) } else { ("released", PLAIN) });
    let network = channel.network.clone().map(|what| (what, WARN));
    power.or(button).map(|(text, style)| (text.to_owned(), style)).or(network)
}

fn state(channel: &Channel) -> (&'static str, ratatui::style::Style) {
    match (&channel.lost, channel.identity.is_empty()) {
        (Some(_), _) => ("LOST", FAULT),
        (None, true) => ("-", DIM),
        (None, false) => ("open", GOOD),
    }
}

/// The whole screen.
pub fn bench(session: &mut Session, paper: &mut Paper<'_>) {
    let mut inner = paper.framed("Bench", true);
    let view = session.tape.view();
    let width = inner.width();
    let name_width = view.channels.keys().map(|name| name.as_str().len()).max().unwrap_or(0).clamp(8, 16);
    let wide = width >= 110;
    let head = format!("{:<name_width$}  state  {:<10}  last event", "channel", "switch");
    inner.text(0, 0, &head, BOLD);
    if wide {
        inner.text_to(width, 0, "received    sent      instrument                    ", BOLD);
    }
    let notes = notes(session);
    let height = inner.height().saturating_sub(2 + notes.len());
    let per = if wide { 1 } else { 2 };
    let most = view.channels.len().saturating_sub(height / per);
    session.bench = session.bench.min(most);
    let mut y = 1;
    for (name, channel) in view.channels.iter().skip(session.bench).take((height / per).max(1)) {
        row(name, channel, name_width, wide, y, &mut inner);
        y += per;
    }
    if view.channels.is_empty() {
        inner.text(0, y, "No channel has been opened yet.", DIM);
    }
    let from = inner.height().saturating_sub(notes.len());
    for (index, (text, style)) in notes.iter().enumerate() {
        inner.text(0, from + index, text, *style);
    }
}

fn row(name: &ChannelName, channel: &Channel, name_width: usize, wide: bool, y: usize, paper: &mut Paper<'_>) {
    let width = paper.width();
    paper.text_within(0, y, name.as_str(), name_width, NAME);
    let (word, style) = state(channel);
    let x = name_width + 2;
    paper.text(x, y, word, style);
    let (switch, style) = power(channel).unwrap_or_else(|| ("-".to_owned(), DIM));
    paper.text_within(x + 7, y, &switch, 11, style);
    let last = channel.last.as_ref().map(|(at, last)| format!("{}  {}", words::clock(*at), words::last(last)));
    let last_width = if wide { width.saturating_sub(x + 19 + 54) } else { usize::MAX };
    paper.text_within(x + 19, y, last.as_deref().unwrap_or("-"), last_width, PLAIN);
    let gaps = if channel.gaps > 0 { format!(", bytes lost {} times", channel.gaps) } else { String::new() };
    let (received, sent) = (words::bytes(channel.received), words::bytes(channel.sent));
    let why = channel.lost.as_ref().map(|why| format!("  {why}")).unwrap_or_default();
    if wide {
        let from = width.saturating_sub(52);
        let counts = if channel.received + channel.sent > 0 { format!("{received:<11} {sent:<9}{gaps}") } else { String::new() };
        paper.text_within(from, y, &counts, 22, if channel.gaps > 0 { FAULT } else { DIM });
        paper.text(from + 22, y, &format!("{}{why}", channel.identity), if channel.lost.is_some() { FAULT } else { DIM });
    } else {
        let counts =
            if channel.received + channel.sent > 0 { format!("  {received} received, {sent} sent{gaps}") } else { String::new() };
        let text = format!("{}{counts}{why}", channel.identity);
        paper.text(x, y + 1, &text, if channel.lost.is_some() || channel.gaps > 0 { FAULT } else { DIM });
    }
}

/// Safe state, instruments, faults.
fn notes(session: &Session) -> Vec<(String, ratatui::style::Style)> {
    let view = session.tape.view();
    let mut notes = Vec::new();
    if !view.leases.is_empty() {
        notes.push((format!("instruments: {}", view.leases.join(", ")), DIM));
    }
    for fault in view.faults.iter().rev().take(3) {
        let place = fault.channel.as_ref().map_or_else(String::new, |channel| format!("{channel}: "));
        notes.push((format!("{} fault: {place}{}", words::clock(fault.at), fault.what), FAULT));
    }
    if view.safe_state.started {
        let bad = matches!(view.safe_state.finished, Some((false, _)));
        notes.push((lines::safe_state(view), if bad { BAD } else { GOOD }));
    } else if session.is_live() {
        notes.push(("At the end of the run everything is brought to the rig's safe state.".to_owned(), DIM));
    }
    notes
}

/// A few columns, beside other things.
pub(super) fn short(session: &Session, paper: &mut Paper<'_>) {
    let mut inner = paper.framed("Bench", false);
    let view = session.tape.view();
    let name_width = view.channels.keys().map(|name| name.as_str().len()).max().unwrap_or(0).clamp(4, 12);
    for (y, (name, channel)) in view.channels.iter().enumerate() {
        inner.text_within(0, y, name.as_str(), name_width, NAME);
        let (word, style) = state(channel);
        inner.text(name_width + 1, y, word, style);
        let (switch, style) = power(channel).unwrap_or_default();
        inner.text_within(name_width + 6, y, &switch, 10, style);
        let last = channel.last.as_ref().map(|(at, last)| format!("{} {}", words::clock(*at), words::last(last)));
        inner.text(name_width + 17, y, last.as_deref().unwrap_or(""), DIM);
    }
}
