//! Text from a device, a file or a person, made fit for a terminal.
//!
//! A device under test is not trusted: its bytes must not move the cursor, change colours, retitle the window, reverse the direction
//! of the text around them or hide characters. Evidence keeps the raw bytes; every display passes through here.

use std::{borrow::Cow, fmt::Write};

use unicode_width::UnicodeWidthChar;

/// Whether a character may reach a terminal or a report as it is.
#[must_use]
pub fn is_harmless(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, Mongolian separator: invisible, or they change direction.
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero-width characters, marks, embeddings and overrides of direction, line and paragraph separators.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates, deprecated format characters.
            | '\u{2060}'..='\u{206f}'
            // Variation selectors, byte order mark, interlinear annotation, noncharacters, tags, private use.
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}'))
}

fn escape(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if u32::from(c) < 0x80 => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// `text` on one line, with everything that is not [`is_harmless`] written out as an escape: `\n`, `\x1b`, `\u{202e}`.
#[must_use]
pub fn sanitise(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmless(c) { out.push(c) } else { escape(&mut out, c) }
    }
    Cow::Owned(out)
}

/// As [`sanitise`], for bytes that may not be text: bytes that are not UTF-8 are written as `\xNN`.
#[must_use]
pub fn sanitise_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&sanitise(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// `text` sanitised and cut to at most `columns` terminal columns, with `…` where something was left out.
#[must_use]
pub fn line(text: &str, columns: usize) -> String {
    // An escape is at most 10 characters, so nothing beyond this can still show.
    let most = columns.saturating_add(1).saturating_mul(2);
    let (mut out, mut width, mut taken) = (String::new(), 0, 0);
    let mut end = 0;
    for c in text.chars() {
        let mut piece = String::new();
        if is_harmless(c) {
            piece.push(c);
        } else {
            escape(&mut piece, c);
        }
        let wide: usize = piece.chars().map(|c| c.width().unwrap_or(0)).sum();
        taken += 1;
        // Combining marks have no width; a pile of them still ends.
        if width + wide > columns || taken > most {
            out.truncate(end);
            if columns > 0 {
                out.push('…');
            }
            return out;
        }
        out.push_str(&piece);
        width += wide;
        if width < columns {
            end = out.len();
        }
    }
    out
}

/// Number of terminal columns of a text that is harmless already.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// JSON text made fit for a terminal: JSON leaves DEL, C1 controls and direction overrides as they are; inside strings, the only place
/// where they can be, they are written as `\uXXXX`, which means the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    escape_json(text, is_harmless)
}

/// As [`json`], for a document of several lines: the newlines between its parts stay.
#[must_use]
pub fn json_document(text: &str) -> String {
    escape_json(text, |c| c == '\n' || is_harmless(c)).into_owned()
}

fn escape_json(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if stays(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{columns, is_harmless, json, line, sanitise, sanitise_bytes};

    #[test]
    fn what_drives_a_terminal_is_written_out() {
        for (text, shown) in [
            ("plain ä 漢 text", "plain ä 漢 text"),
            ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("x\u{202e}gpj.exe", "x\\u{202e}gpj.exe"),
            ("a\u{200b}b\u{2066}c\u{7f}", "a\\u{200b}b\\u{2066}c\\x7f"),
        ] {
            assert_eq!(sanitise(text), shown);
            assert_eq!(sanitise_bytes(text.as_bytes()), shown);
        }
        assert_eq!(sanitise_bytes(b"ok\xff\xfe\xe2\x80."), "ok\\xff\\xfe\\xe2\\x80.");
    }

    #[test]
    fn lines_are_cut_at_the_column_not_the_byte() {
        assert_eq!(line("abcdef", 6), "abcdef");
        assert_eq!(line("abcdefg", 6), "abcde…");
        assert_eq!(line("漢漢漢漢", 6), "漢漢…");
        assert_eq!(line("ab\x1b", 5), "ab…", "an escape is shown whole or not at all");
        assert_eq!(line("x", 0), "");
        assert!(line(&"\u{301}".repeat(10_000), 5).len() < 100, "marks without width are bounded too");
    }

    proptest! {
        #[test]
        fn nothing_harmful_passes(text in any::<String>(), bytes in any::<Vec<u8>>(), width in 0_usize..60) {
            prop_assert!(sanitise(&text).chars().all(is_harmless));
            prop_assert!(sanitise_bytes(&bytes).chars().all(is_harmless));
            let short = line(&text, width);
            prop_assert!(short.chars().all(is_harmless));
            prop_assert!(columns(&short) <= width);
        }

        #[test]
        fn json_means_the_same(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            let shown = json(&written);
            prop_assert!(shown.chars().all(is_harmless));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
