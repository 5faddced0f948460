//! One timeline across all channels: steps, acts, lines of consoles and findings in the order they happened, and above them the same
//! moments as a picture, one lane per channel.

use std::collections::VecDeque;

use ratatui::style::Style;

use super::{
    paper::{BAD, BOLD, CHOSEN, DIM, GOOD, NAME, PLAIN, Paper, WARN},
    tape::{StreamName, Tape, Way},
    words,
};
use crate::{
    event::{Act, ChannelName, Event, Fact, Nanos},
    view::sanitise,
};

/// Rows kept.
const KEPT: usize = 800;
/// Events looked through for one screen at most: with consoles that say much, most events end no line.
const LOOKED: u64 = 2048;
/// Bytes of a line that are looked at.
const LINE: u64 = 512;

/// One line of the timeline.
#[derive(Debug, Clone)]
pub struct Row {
    seq: u64,
    at: Nanos,
    place: String,
    text: String,
    style: Style,
    sign: char,
}

/// What is looked at.
#[derive(Debug, Default)]
pub struct TimelineState {
    /// The last event that is shown; the newest if none.
    pub bottom: Option<u64>,
    /// Only this channel.
    pub only: Option<String>,
    rows: VecDeque<Row>,
    /// Events that the rows are of: from, up to.
    first: u64,
    next: u64,
}

fn sign(fact: &Fact) -> char {
    match fact {
        Fact::Acting { act: Act::Power(true), .. } => '▲',
        Fact::Acting { act: Act::Power(false), .. } => '▼',
        Fact::Acting { .. } => '*',
        Fact::StepStarted { .. } | Fact::CaseStarted { .. } => '[',
        Fact::StepFinished { .. } | Fact::CaseFinished { .. } => ']',
        Fact::Matched { .. } => '+',
        Fact::BenchFault { .. } | Fact::ChannelLost { .. } | Fact::Gap { .. } | Fact::CutFailed { .. } => '!',
        _ => '·',
    }
}

fn rows_of(tape: &Tape, event: &Event, into: &mut impl FnMut(Row)) {
    let row = |place: String, text: String, style, sign| Row { seq: event.seq, at: event.at, place, text, style, sign };
    let (channel, offset, len, way) = match &event.fact {
        Fact::Received { channel, offset, len } => (channel, *offset, *len, Way::Received),
        Fact::Sent { channel, offset, len } => (channel, *offset, *len, Way::Sent),
        _ => {
            if let Some((place, text, style)) = words::event(event) {
                into(row(place, text, style, sign(&event.fact)));
            }
            return;
        }
    };
    for (text, style) in ended(tape, channel, offset, len, way) {
        into(row(channel.to_string(), text, style, if way == Way::Sent { '<' } else { '>' }));
    }
}

/// The lines that end in a piece of traffic: a line has happened when its end has come.
fn ended(tape: &Tape, channel: &ChannelName, offset: u64, len: u64, way: Way) -> Vec<(String, Style)> {
    let stream = StreamName { channel: channel.clone(), way };
    let from = offset.saturating_sub(LINE);
    // Of a large piece the last lines are enough for one screen.
    let piece_from = (offset + len).saturating_sub(len.min(8 * LINE));
    let bytes = tape.bytes(&stream.file(), from.min(piece_from), offset + len);
    let base = from.min(piece_from);
    let mut lines = Vec::new();
    let mut start = 0_usize;
    for end in memchr::memchr_iter(b'\n', &bytes) {
        if base + end as u64 >= piece_from {
            let content = &bytes[start..end];
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            if !content.is_empty() {
                let content = &content[content.len().saturating_sub(LINE as usize)..];
                let style = if way == Way::Sent { NAME } else { PLAIN };
                let arrow = if way == Way::Sent { "sent: " } else { "" };
                lines.push((format!("{arrow}{}", sanitise::sanitise_bytes(content)), style));
            }
        }
        start = end + 1;
    }
    lines
}

impl TimelineState {
    fn wanted(&self, row: &Row) -> bool {
        self.only.as_ref().is_none_or(|only| row.place == *only || matches!(row.place.as_str(), "step" | "case" | "run"))
    }

    /// Makes the rows end before event `end`.
    fn fill(&mut self, tape: &Tape, end: u64) {
        if end < self.next || end - self.next > LOOKED {
            // Elsewhere: from there backwards until there are enough.
            self.rows.clear();
            (self.first, self.next) = (end, end);
            while self.first > 0 && self.rows.len() < KEPT / 4 && end - self.first < LOOKED {
                let from = self.first.saturating_sub(256);
                let mut found = Vec::new();
                for event in tape.events(from, (self.first - from) as usize) {
                    rows_of(tape, &event, &mut |row| found.push(row));
                }
                found
                    .into_iter()
                    .rev()
                    .filter(|row| self.wanted(row))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|row| self.rows.push_front(row));
                self.first = from;
            }
            return;
        }
        if end > self.next {
            for event in tape.events(self.next, (end - self.next) as usize) {
                let mut found = Vec::new();
                rows_of(tape, &event, &mut |row| found.push(row));
                for row in found {
                    if self.wanted(&row) {
                        self.rows.push_back(row);
                    }
                }
            }
            self.next = end;
            while self.rows.len() > KEPT {
                self.rows.pop_front();
            }
        }
    }

    fn end(&self, tape: &Tape) -> u64 {
        self.bottom.map_or(tape.position(), |bottom| (bottom + 1).min(tape.position()))
    }

    /// Moves by rows.
    pub fn scroll(&mut self, tape: &Tape, by: isize) {
        let end = self.end(tape);
        self.fill(tape, end);
        if by < 0 {
            let index = self.rows.len().saturating_sub(1 + by.unsigned_abs());
            if let Some(row) = self.rows.get(index) {
                // Several rows of one event go together.
                self.bottom = Some(row.seq.min(end.saturating_sub(2)));
            }
            return;
        }
        let mut left = by as usize;
        let mut at = end;
        while left > 0 && at < tape.position() && at - end < LOOKED {
            for event in tape.events(at, 64) {
                at = event.seq + 1;
                let mut any = false;
                rows_of(tape, &event, &mut |row| any |= self.only.is_none() || self.wanted(&row));
                if any {
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        self.bottom = (at < tape.position()).then(|| at.saturating_sub(1));
    }

    /// To the first events.
    pub fn first(&mut self) {
        self.bottom = Some(0);
    }

    /// Shows one channel only, the next of them, or all.
    pub fn switch(&mut self, tape: &Tape, forward: bool) {
        let names: Vec<String> = tape.view().channels.keys().map(ToString::to_string).collect();
        let now = self.only.as_ref().and_then(|only| names.iter().position(|name| name == only));
        let next = match (now, forward) {
            (None, true) => Some(0),
            (None, false) => names.len().checked_sub(1),
            (Some(index), true) => Some(index + 1),
            (Some(index), false) => index.checked_sub(1),
        };
        self.only = next.and_then(|index| names.get(index).cloned());
        self.rows.clear();
        (self.first, self.next) = (0, u64::MAX);
    }

    /// What is shown, in words for a title.
    #[must_use]
    pub fn title(&self, tape: &Tape) -> String {
        let only = self.only.as_ref().map_or_else(|| "all channels".to_owned(), |only| format!("only {only}"));
        let place = if self.bottom.is_some_and(|bottom| bottom + 1 < tape.position()) { ", FROZEN" } else { "" };
        format!("Timeline: {only}{place}")
    }

    /// Draws it.
    pub fn draw(&mut self, tape: &Tape, paper: &mut Paper<'_>) {
        let end = self.end(tape);
        self.fill(tape, end);
        let channels = tape.view().channels.len();
        let lanes = if paper.height() >= 12 { (channels + 1).min(paper.height() / 3).min(9) } else { 0 };
        let (width, height) = (paper.width(), paper.height());
        let list_height = height.saturating_sub(if lanes > 0 { lanes + 2 } else { 0 });
        let shown = self.rows.len().saturating_sub(list_height);
        let visible: Vec<&Row> = self.rows.iter().skip(shown).collect();
        let mut top = 0;
        if lanes > 0 {
            draw_lanes(tape, &visible, lanes, &mut paper.part(0, 0, width, lanes + 1));
            top = lanes + 2;
            paper.text(0, top - 1, &"─".repeat(width), DIM);
        }
        let place_width = tape.view().channels.keys().map(|name| name.as_str().len()).max().unwrap_or(0).clamp(5, 14);
        for (index, row) in visible.iter().enumerate() {
            let y = top + index;
            let x = paper.text(0, y, &format!("{:>10} ", words::clock(row.at)), DIM);
            paper.text_within(x, y, &row.place, place_width, if row.place == "step" { DIM } else { NAME });
            paper.text(x + place_width + 1, y, &row.text, row.style);
            if index + 1 == visible.len() && self.bottom.is_some() {
                paper.style(y, CHOSEN);
            }
        }
        if visible.is_empty() {
            paper.text(0, top, "Nothing has happened yet.", DIM);
        }
    }
}

/// The visible rows as a picture: time goes to the right, one lane per channel.
fn draw_lanes(tape: &Tape, rows: &[&Row], lanes: usize, paper: &mut Paper<'_>) {
    let mut names: Vec<&str> = vec!["step"];
    names.extend(tape.view().channels.keys().map(ChannelName::as_str));
    names.truncate(lanes);
    let label = names.iter().map(|name| name.len()).max().unwrap_or(0).clamp(4, 12);
    let width = paper.width().saturating_sub(label + 2);
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
    let (from, to) =
        (rows.iter().map(|row| row.at).min().unwrap_or(first.at), rows.iter().map(|row| row.at).max().unwrap_or(last.at));
    let span = to.0.saturating_sub(from.0).max(1);
    for (lane, name) in names.iter().enumerate() {
        paper.text_within(0, lane, name, label, NAME);
        let power = tape.view().channels.get(&ChannelName::from(*name)).and_then(|channel| channel.power);
        // Where the supply was between two switchings is drawn as a line; elsewhere nothing happened.
        let mut level = power.map(|now| {
            let switched = rows.iter().rev().find(|row| row.place == *name && matches!(row.sign, '▲' | '▼'));
            switched.map_or(now, |row| row.sign == '▲')
        });
        let mut cells = vec![(if power.is_some() { ' ' } else { '·' }, DIM); width];
        if power.is_some() {
            let switchings: Vec<(usize, bool)> = rows
                .iter()
                .filter(|row| row.place == *name && matches!(row.sign, '▲' | '▼'))
                .map(|row| (column(row.at, from, span, width), row.sign == '▲'))
                .collect();
            // Before the first switching it was the other way round.
            level = switchings.first().map_or(level, |(_, up)| Some(!up));
            let mut next = switchings.iter().peekable();
            for (x, cell) in cells.iter_mut().enumerate() {
                while let Some((at, up)) = next.peek() {
                    if *at > x {
                        break;
                    }
                    level = Some(*up);
                    next.next();
                }
                *cell = match level {
                    Some(true) => ('█', GOOD),
                    Some(false) => ('_', BAD),
                    None => ('·', DIM),
                };
            }
            for (x, up) in switchings {
                if let Some(cell) = cells.get_mut(x) {
                    *cell = if up { ('▲', GOOD) } else { ('▼', BAD) };
                }
            }
        } else {
            for row in rows.iter().filter(|row| row.place == *name || (*name == "step" && row.place == "case")) {
                if let Some(cell) = cells.get_mut(column(row.at, from, span, width)) {
                    *cell = (row.sign, if row.style == PLAIN || row.style == DIM { BOLD } else { row.style });
                }
            }
        }
        for (x, (sign, style)) in cells.into_iter().enumerate() {
            let mut text = [0; 4];
            paper.text_within(label + 1 + x, lane, sign.encode_utf8(&mut text), 1, style);
        }
    }
    let y = names.len();
    paper.text(label + 1, y, &words::clock(from), DIM);
    paper.text_to(label + 1 + width, y, &words::clock(to), DIM);
    if width > 50 {
        paper.text(label + 1 + width / 2 - 12, y, "[ ] step  > line  ▲▼ power", WARN);
    }
}

fn column(at: Nanos, from: Nanos, span: u64, width: usize) -> usize {
    (u128::from(at.0.saturating_sub(from.0)) * width.saturating_sub(1) as u128 / u128::from(span)) as usize
}
