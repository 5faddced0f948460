//! What screens draw on: a part of the frame that nothing can be drawn beside, and on which every text is made harmless first.

use std::borrow::Cow;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
};

use crate::view::sanitise;

/// A part of the frame.
pub struct Paper<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
}

impl<'a> Paper<'a> {
    /// The whole of a buffer.
    pub fn new(buffer: &'a mut Buffer) -> Self {
        let area = buffer.area;
        Self { buffer, area }
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// A part of this; what would stick out is cut off.
    pub fn part(&mut self, x: usize, y: usize, width: usize, height: usize) -> Paper<'_> {
        let x = x.min(self.width());
        let y = y.min(self.height());
        let area = Rect {
            x: self.area.x + x as u16,
            y: self.area.y + y as u16,
            width: width.min(self.width() - x) as u16,
            height: height.min(self.height() - y) as u16,
        };
        Paper { buffer: self.buffer, area }
    }

    /// Writes a text on one line, cut at the edge; returns the column after it.
    pub fn text(&mut self, x: usize, y: usize, text: &str, style: Style) -> usize {
        self.text_within(x, y, text, usize::MAX, style)
    }

    /// As [`Paper::text`], at most so many columns wide.
    pub fn text_within(&mut self, x: usize, y: usize, text: &str, most: usize, style: Style) -> usize {
        if y >= self.height() || x >= self.width() {
            return x;
        }
        let room = most.min(self.width() - x);
        let shown = fitting(text, room);
        let (column, row) = (self.area.x + x as u16, self.area.y + y as u16);
        let (end, _) = self.buffer.set_stringn(column, row, &*shown, room, style);
        usize::from(end.saturating_sub(self.area.x))
    }

    /// Writes a text that ends at column `end`.
    pub fn text_to(&mut self, end: usize, y: usize, text: &str, style: Style) {
        let shown = fitting(text, end.min(self.width()));
        let x = end.min(self.width()).saturating_sub(sanitise::columns(&shown));
        self.text(x, y, &shown, style);
    }

    /// Gives a line a style, from column to column.
    pub fn style(&mut self, y: usize, style: Style) {
        if y < self.height() {
            let area = Rect { y: self.area.y + y as u16, height: 1, ..self.area };
            self.buffer.set_style(area, style);
        }
    }

    /// Blanks everything.
    pub fn clear(&mut self) {
        for y in self.area.top()..self.area.bottom() {
            for x in self.area.left()..self.area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
    }

    /// A frame with a title; returns what is inside.
    pub fn framed(&mut self, title: &str, focused: bool) -> Paper<'_> {
        let (width, height) = (self.width(), self.height());
        if width < 2 || height < 2 {
            return self.part(0, 0, 0, 0);
        }
        let style = if focused { Style::new().add_modifier(Modifier::BOLD) } else { DIM };
        let line = "─".repeat(width - 2);
        self.text(0, 0, &format!("┌{line}┐"), style);
        self.text(0, height - 1, &format!("└{line}┘"), style);
        for y in 1..height - 1 {
            self.text(0, y, "│", style);
            self.text(width - 1, y, "│", style);
        }
        if !title.is_empty() {
            self.text_within(2, 0, &format!(" {title} "), width.saturating_sub(4), style);
        }
        self.part(1, 1, width - 2, height - 2)
    }

    /// A bar of `width` columns, filled to `share`.
    pub fn bar(&mut self, x: usize, y: usize, width: usize, share: f64, style: Style) {
        let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
        let end = self.text_within(x, y, &"█".repeat(full.min(width)), width, style);
        self.text_within(end, y, &"░".repeat(width - full.min(width)), width, DIM);
    }

    /// Lines of a longer text, wrapped at blanks; returns how many it took.
    pub fn wrapped(&mut self, x: usize, y: usize, text: &str, style: Style) -> usize {
        let lines = wrap(text, self.width().saturating_sub(x));
        for (index, line) in lines.iter().enumerate() {
            self.text(x, y + index, line, style);
        }
        lines.len()
    }
}

/// Less important.
pub const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// Chosen.
pub const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
/// Important.
pub const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// As it is.
pub const PLAIN: Style = Style::new();
/// Good.
pub const GOOD: Style = Style::new().fg(Color::Green);
/// Bad.
pub const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// Neither, or to be watched.
pub const WARN: Style = Style::new().fg(Color::Yellow);
/// The bench's doing.
pub const FAULT: Style = Style::new().fg(Color::Magenta).add_modifier(Modifier::BOLD);
/// A name of something.
pub const NAME: Style = Style::new().fg(Color::Cyan);

/// `text` harmless and at most `room` columns wide. Text that is short and plain is taken as it is.
fn fitting(text: &str, room: usize) -> Cow<'_, str> {
    if text.len() <= room && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(sanitise::line(text, room))
    }
}

/// `text` harmless, in lines of at most `columns`, at most 200 of them. A newline of the text begins a line.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    const MOST: usize = 200;
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let clean = sanitise::sanitise(paragraph);
        // What is set in stays set in, on its first line.
        let text = clean.trim_start_matches(' ');
        let mut line = " ".repeat((clean.len() - text.len()).min(columns / 2));
        let mut fresh = true;
        for word in text.split(' ') {
            // Measured together: some characters are wider or narrower beside others than alone.
            let joined = format!("{line}{}{word}", if fresh { "" } else { " " });
            if sanitise::columns(&joined) <= columns {
                fresh = false;
                line = joined;
                continue;
            }
            if !fresh {
                lines.push(std::mem::take(&mut line));
            }
            fresh = false;
            // A word that is longer than a line is broken.
            for c in word.chars() {
                let whole = line.len();
                line.push(c);
                if whole > 0 && sanitise::columns(&line) > columns {
                    line.truncate(whole);
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
                if lines.len() >= MOST {
                    return lines;
                }
            }
        }
        lines.push(line);
        if lines.len() >= MOST {
            break;
        }
    }
    lines
}

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Characters beyond ASCII.
    pub unicode: bool,
    /// Colours.
    pub color: bool,
}

/// The last thing that is done to a frame: what the terminal cannot show is replaced, and nothing that would drive it is left.
pub fn finish(buffer: &mut Buffer, abilities: Abilities) {
    for cell in &mut buffer.content {
        if !abilities.color {
            cell.fg = Color::Reset;
            cell.bg = Color::Reset;
        }
        let symbol = cell.symbol();
        if symbol.len() == 1 && symbol.as_bytes()[0] >= 0x20 && symbol.as_bytes()[0] != 0x7f {
            continue;
        }
        if !symbol.chars().all(sanitise::is_harmless) {
            cell.set_char('?');
        } else if !abilities.unicode
            && let Some(first) = cell.symbol().chars().next()
        {
            cell.set_char(plain(first));
        }
    }
}

/// The nearest ASCII character.
const fn plain(c: char) -> char {
    match c {
        '─' | '━' => '-',
        '│' | '┃' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => '+',
        '█' | '▇' | '▆' => '#',
        '▅' | '▄' => '=',
        '▃' | '▂' => '-',
        '▁' => '_',
        '░' | '·' => '.',
        '…' => '~',
        '▶' | '▸' | '→' | '›' => '>',
        '←' | '‹' => '<',
        '▾' | '↓' | '▼' => 'v',
        '↑' | '▲' => '^',
        '●' | '◆' => '*',
        '○' => 'o',
        '–' | '—' => '-',
        c if c.is_ascii() => c,
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(buffer: &Buffer) -> String {
        buffer.content().iter().map(|cell| cell.symbol()).collect()
    }

    #[test]
    fn nothing_is_drawn_beside_a_part() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 3));
        let mut paper = Paper::new(&mut buffer);
        paper.part(4, 1, 4, 1).text(0, 0, "abcdefgh", PLAIN);
        paper.part(4, 1, 4, 1).text(0, 1, "below", PLAIN);
        paper.part(99, 99, 9, 9).text(0, 0, "far", PLAIN);
        assert_eq!(text_of(&buffer).trim(), "abc…");
    }

    #[test]
    fn characters_that_are_wider_together_are_measured_together() {
        let text = "0AA\u{e3f}\u{16b50}\u{9bd} \u{b9c}a0AaaA\u{1f568}\u{fffc}\u{1f568}\u{202f}!\u{3a3} 0A \u{ae}A\u{2ebf0} ";
        for columns in 2..20 {
            assert!(wrap(text, columns).iter().all(|line| sanitise::columns(line) <= columns), "{columns}");
        }
    }

    #[test]
    fn what_a_terminal_cannot_show_is_replaced() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 1));
        Paper::new(&mut buffer).text(0, 0, "┌─ 漢 ü … ▶█", BAD);
        finish(&mut buffer, Abilities { unicode: false, color: false });
        assert_eq!(text_of(&buffer).trim_end(), "+- ?  ? ~ >#");
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset));
    }

    proptest! {
        #[test]
        fn no_text_drives_a_terminal(text in any::<String>(), x in 0_usize..40, unicode in any::<bool>()) {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 4));
            let mut paper = Paper::new(&mut buffer);
            paper.text(x, 0, &text, PLAIN);
            paper.text_to(x, 1, &text, PLAIN);
            paper.wrapped(x, 2, &text, PLAIN);
            finish(&mut buffer, Abilities { unicode, color: true });
            prop_assert!(buffer.content().iter().all(|cell| cell.symbol().chars().all(sanitise::is_harmless)));
            prop_assert!(unicode || text_of(&buffer).is_ascii());
        }

        #[test]
        fn wrapped_lines_fit(text in any::<String>(), columns in 2_usize..50) {
            prop_assert!(wrap(&text, columns).iter().all(|line| sanitise::columns(line) <= columns));
        }
    }
}
