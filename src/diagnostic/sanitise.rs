//! Text from files and devices, made harmless for a terminal.

/// Whether showing this character could do more than show it: control characters, and the characters that reorder or hide text.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Harmful characters written out as `\u{1b}`; line feeds too. For messages.
#[must_use]
pub fn sanitise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Harmful characters, other than line feeds and tabs, replaced by others of the same length in bytes, so that offsets stay true.
/// For source excerpts.
#[must_use]
pub fn sanitise_same_length(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if !is_harmful(c) => c,
            c => match c.len_utf8() {
                1 => '?',
                2 => '\u{bf}',
                _ => '\u{fffd}',
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{sanitise, sanitise_same_length};

    #[test]
    fn escapes_are_written_out_and_lengths_kept() {
        let nasty = "a\u{1b}[2J\u{9b}\u{202e}\r\u{0}b\tc\u{feff}\u{7f}é";
        let shown = sanitise(nasty);
        assert_eq!(shown, "a\\u{1b}[2J\\u{9b}\\u{202e}\\u{d}\\u{0}b\\u{9}c\\u{feff}\\u{7f}é");
        let same = sanitise_same_length(nasty);
        assert_eq!(same.len(), nasty.len());
        assert!(!same.chars().any(|c| c.is_control() && c != '\t'));
    }
}
