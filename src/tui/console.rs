//! A window on the bytes of a channel: read from the evidence where it is looked at, so that any length costs the same.

use regex::bytes::Regex;

use super::{
    paper::{CHOSEN, DIM, Paper, WARN},
    tape::{StreamName, Tape, Way},
    words,
};
use crate::view::sanitise;

/// Bytes that are read for one screen.
const WINDOW: u64 = 64 * 1024;
/// A line that is longer is shown as several.
const LONGEST: usize = 2048;
/// How far a search looks before it asks to go on.
const SEARCHED: u64 = 64 << 20;

/// What is looked at in a console.
#[derive(Debug, Clone, Default)]
pub struct ConsoleState {
    /// Which of the streams.
    pub chosen: Option<StreamName>,
    /// End of what is shown; the newest bytes if none.
    pub bottom: Option<u64>,
    /// Bytes instead of lines.
    pub hex: bool,
    /// Time of each line.
    pub times: bool,
    /// Columns that are scrolled out on the left.
    pub left: usize,
    /// What is searched for.
    pub pattern: Option<Regex>,
    /// Where the last hit is.
    pub hit: Option<(u64, u64)>,
}

/// A line: where it is in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    from: u64,
    to: u64,
}

/// The lines in `bytes`, which begin at `offset`; without the first, which may have begun before, unless that is the stream's beginning.
fn lines(bytes: &[u8], offset: u64) -> Vec<Line> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut push = |from: usize, to: usize| {
        let mut from = from;
        loop {
            let end = to.min(from + LONGEST);
            found.push(Line { from: offset + from as u64, to: offset + end as u64 });
            from = end;
            if from >= to {
                break;
            }
        }
    };
    for end in memchr::memchr_iter(b'\n', bytes) {
        push(start, end + 1);
        start = end + 1;
    }
    if start < bytes.len() {
        push(start, bytes.len());
    }
    if offset > 0 && found.len() > 1 {
        found.remove(0);
    }
    found
}

impl ConsoleState {
    /// The stream that is shown: the chosen one, or the first with bytes from the device.
    #[must_use]
    pub fn stream(&self, tape: &Tape) -> Option<StreamName> {
        let known = |name: &&StreamName| self.chosen.as_ref() == Some(*name);
        let first = || tape.streams().find(|name| name.way == Way::Received).or_else(|| tape.streams().next());
        tape.streams().find(known).or_else(first).cloned()
    }

    /// Chooses the next or previous stream.
    pub fn switch(&mut self, tape: &Tape, forward: bool) {
        let all: Vec<&StreamName> = tape.streams().collect();
        if all.is_empty() {
            return;
        }
        let now = self.stream(tape).and_then(|name| all.iter().position(|known| **known == name)).unwrap_or(0);
        let next = if forward { (now + 1) % all.len() } else { (now + all.len() - 1) % all.len() };
        let (hex, times, pattern) = (self.hex, self.times, self.pattern.take());
        *self = Self { chosen: Some(all[next].clone()), hex, times, pattern, ..Self::default() };
    }

    /// Stops at what is shown now, or goes on with the newest.
    pub fn freeze(&mut self, tape: &Tape) {
        self.bottom = match (self.bottom, self.stream(tape)) {
            (None, Some(stream)) => Some(tape.len(&stream)),
            _ => None,
        };
    }

    fn end(&self, len: u64) -> u64 {
        self.bottom.map_or(len, |bottom| bottom.min(len))
    }

    /// Scrolls by lines; down past the end follows the newest again.
    pub fn scroll(&mut self, tape: &Tape, by: isize) {
        let Some(stream) = self.stream(tape) else { return };
        let len = tape.len(&stream);
        let end = self.end(len);
        if self.hex {
            let moved = i128::from(end.next_multiple_of(16)) + by as i128 * 16;
            self.bottom = if moved >= i128::from(len) { None } else { Some(moved.max(16) as u64) };
            return;
        }
        if by < 0 {
            let from = end.saturating_sub(WINDOW);
            let found = lines(&tape.bytes(&stream.file(), from, end), from);
            let keep = found.len().saturating_sub(by.unsigned_abs());
            let top = found.get(keep).map_or(from, |line| line.from);
            // Not to nothing: one line stays.
            self.bottom = Some(if top == 0 { found.first().map_or(end, |line| line.to) } else { top });
        } else {
            let found = lines(&tape.bytes(&stream.file(), end, (end + WINDOW).min(len)), 0);
            let down = (by as usize).min(found.len());
            let moved = down.checked_sub(1).and_then(|index| found.get(index)).map_or(end, |line| end + line.to);
            self.bottom = if moved >= len { None } else { Some(moved) };
        }
    }

    /// To the first bytes.
    pub fn first(&mut self, tape: &Tape, rows: usize) {
        let Some(stream) = self.stream(tape) else { return };
        let len = tape.len(&stream);
        let end = if self.hex {
            rows as u64 * 16
        } else {
            lines(&tape.bytes(&stream.file(), 0, WINDOW.min(len)), 0).get(rows.saturating_sub(1)).map_or(len, |line| line.to)
        };
        self.bottom = (end < len).then_some(end);
    }

    /// Looks for a text, in either case of letters.
    pub fn search(&mut self, text: &str) {
        self.pattern = regex::bytes::RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build().ok();
        self.hit = None;
    }

    /// Goes to the next hit; false if there is none, or none near.
    pub fn find(&mut self, tape: &Tape, forward: bool) -> bool {
        const BLOCK: u64 = 512 * 1024;
        // Hits at the border of two blocks are found in the overlap.
        const OVERLAP: u64 = 1024;
        let (Some(stream), Some(pattern)) = (self.stream(tape), self.pattern.clone()) else { return false };
        let (file, len) = (stream.file(), tape.len(&stream));
        let end = self.end(len);
        let found = if forward {
            let from = self.hit.map_or(end, |(_, to)| to);
            let mut at = from;
            loop {
                let bytes = tape.bytes(&file, at, (at + BLOCK).min(len));
                if let Some(hit) = pattern.find(&bytes) {
                    break Some((at + hit.start() as u64, at + hit.end() as u64));
                }
                if at + BLOCK >= len || at - from > SEARCHED || bytes.is_empty() {
                    break None;
                }
                at += BLOCK - OVERLAP;
            }
        } else {
            let from = self.hit.map_or(end, |(start, _)| start);
            let mut to = from;
            loop {
                let start = to.saturating_sub(BLOCK);
                let bytes = tape.bytes(&file, start, to);
                if let Some(hit) = pattern.find_iter(&bytes).last() {
                    break Some((start + hit.start() as u64, start + hit.end() as u64));
                }
                if start == 0 || from - start > SEARCHED || bytes.is_empty() {
                    break None;
                }
                to = start + OVERLAP;
            }
        };
        let Some((start, to)) = found else { return false };
        self.hit = Some((start, to));
        // The hit's line becomes the last one shown.
        let after = tape.bytes(&file, to, (to + LONGEST as u64).min(len));
        let line_end = memchr::memchr(b'\n', &after).map_or(after.len(), |end| end + 1) as u64;
        self.bottom = Some(if to > 0 && tape.bytes(&file, to - 1, to) == b"\n" { to } else { to + line_end });
        true
    }

    /// Draws it.
    pub fn draw(&self, tape: &Tape, paper: &mut Paper<'_>) {
        let Some(stream) = self.stream(tape) else {
            paper.text(0, 0, "Nothing was sent or received yet.", DIM);
            return;
        };
        let len = tape.len(&stream);
        let end = self.end(len);
        if self.hex { self.draw_hex(tape, &stream, end, paper) } else { self.draw_lines(tape, &stream, end, paper) }
    }

    fn draw_lines(&self, tape: &Tape, stream: &StreamName, end: u64, paper: &mut Paper<'_>) {
        let rows = paper.height();
        let from = end.saturating_sub(WINDOW);
        let bytes = tape.bytes(&stream.file(), from, end);
        let found = lines(&bytes, from);
        let shown = &found[found.len().saturating_sub(rows)..];
        for (row, line) in shown.iter().enumerate() {
            let content = &bytes[(line.from - from) as usize..((line.to - from) as usize).min(bytes.len())];
            let content = content.strip_suffix(b"\n").unwrap_or(content);
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            let mut x = 0;
            if self.times {
                let time = tape.time_of(stream, line.from).map_or_else(|| "?".to_owned(), words::clock);
                x = paper.text(0, row, &format!("{time:>11} "), DIM);
            }
            let text = sanitise::sanitise_bytes(content);
            let visible: String = if self.left > 0 { text.chars().skip(self.left).collect() } else { text };
            let hit = self.hit.is_some_and(|(start, _)| (line.from..line.to).contains(&start));
            let style = if hit { CHOSEN } else { super::paper::PLAIN };
            paper.text(x, row, &visible, style);
        }
    }

    fn draw_hex(&self, tape: &Tape, stream: &StreamName, end: u64, paper: &mut Paper<'_>) {
        let rows = paper.height() as u64;
        let last = end.next_multiple_of(16);
        let first = last.saturating_sub(rows * 16);
        let bytes = tape.bytes(&stream.file(), first, end);
        for (row, piece) in bytes.chunks(16).enumerate() {
            let offset = first + row as u64 * 16;
            let mut hex = String::with_capacity(50);
            for byte in piece {
                hex.push_str(&format!("{byte:02x} "));
            }
            let plain: String =
                piece.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
            let hit = self.hit.is_some_and(|(start, to)| start < offset + 16 && to > offset);
            let x = paper.text(0, row, &format!("{offset:08x}  "), if hit { WARN } else { DIM });
            let x = paper.text(x, row, &format!("{hex:<48}"), if hit { CHOSEN } else { super::paper::PLAIN });
            paper.text(x, row, &format!("|{plain}|"), DIM);
        }
    }

    /// What is shown, in words for a title.
    #[must_use]
    pub fn title(&self, tape: &Tape) -> String {
        let Some(stream) = self.stream(tape) else { return "console".to_owned() };
        let way = match stream.way {
            Way::Received => "from the device",
            Way::Sent => "to the device",
        };
        let len = tape.len(&stream);
        let place = match self.bottom {
            Some(bottom) if bottom < len => format!(", FROZEN, {} more below", words::bytes(len - bottom)),
            Some(_) => ", FROZEN".to_owned(),
            None => String::new(),
        };
        let left = if self.left > 0 { format!(", from column {}", self.left + 1) } else { String::new() };
        format!("{} {way}, {}{place}{left}", stream.channel, words::bytes(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(bytes: &[u8], offset: u64) -> Vec<(u64, u64)> {
        lines(bytes, offset).into_iter().map(|line| (line.from, line.to)).collect()
    }

    #[test]
    fn lines_cover_the_bytes_and_long_ones_are_cut() {
        assert_eq!(spans(b"a\nbc\n\nd", 0), [(0, 2), (2, 5), (5, 6), (6, 7)]);
        assert_eq!(spans(b"rest\nwhole\n", 100), [(105, 111)]);
        assert_eq!(spans(b"", 0), []);
        let long = vec![b'x'; LONGEST * 2 + 5];
        let found = spans(&long, 0);
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].0, found[2].1), (0, long.len() as u64));
    }
}
