//! What a person reads about one cut.

use std::fmt::Write as _;

use crate::virtual_dut::{CYCLES_PER_SECOND, TxByte};

/// Bytes of a transcript, at most.
const MOST: usize = 64 * 1024;
/// Kept free for what is written last: the outcome and why.
const END: usize = 4 * 1024;

/// A transcript in the making. Times are device time from the first cut, in seconds.
#[derive(Debug)]
pub(super) struct Log {
    text: String,
    zero: u64,
    line: Vec<u8>,
    line_at: u64,
    left_out: u64,
}

impl Log {
    pub(super) fn new(zero: u64) -> Self {
        Self { text: String::new(), zero, line: Vec::new(), line_at: 0, left_out: 0 }
    }

    fn push(&mut self, at: u64, mark: char, what: &str) {
        let seconds = at.saturating_sub(self.zero) as f64 / CYCLES_PER_SECOND as f64;
        if self.text.len() + what.len() + 32 > MOST - END {
            self.left_out += 1;
        } else {
            let _ = writeln!(self.text, "{seconds:>12.6} {mark} {what}");
        }
    }

    /// Something that the bench did or concluded.
    pub(super) fn note(&mut self, at: u64, what: &str) {
        self.end_line();
        self.push(at, '*', what);
    }

    /// Bytes sent to the device.
    pub(super) fn sent(&mut self, at: u64, bytes: &[u8]) {
        self.end_line();
        let text = bytes.iter().all(|b| b.is_ascii_graphic() || b" \r\n\t".contains(b));
        if text && bytes.len() <= 200 {
            self.push(at, '>', String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']));
        } else {
            self.push(at, '>', &format!("({} bytes)", bytes.len()));
        }
    }

    /// Bytes that the device put out, as it put them out.
    pub(super) fn received(&mut self, bytes: &[TxByte]) {
        for byte in bytes {
            if self.line.is_empty() {
                self.line_at = byte.at;
            }
            match byte.byte {
                b'\n' => self.end_line(),
                other => self.line.push(other),
            }
            if self.line.len() >= 1024 {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.push(self.line_at, '<', String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
    }

    /// The transcript, with `last` at its end, which is never left out.
    pub(super) fn finish(mut self, last: &str) -> String {
        self.end_line();
        if self.left_out > 0 {
            let _ = writeln!(self.text, "... {} lines left out", self.left_out);
        }
        let last: String = last.chars().take(END / 8).collect();
        self.text.push_str(&last);
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::Log;
    use crate::virtual_dut::TxByte;

    #[test]
    fn a_flood_is_bounded_and_the_end_is_kept() {
        let mut log = Log::new(0);
        for i in 0..2_000_000 {
            log.received(&[TxByte { at: i, byte: if i % 90 == 0 { b'\n' } else { 0xFF } }]);
        }
        let text = log.finish("the end");
        assert!(text.len() <= 64 * 1024, "{}", text.len());
        assert!(text.ends_with("lines left out\nthe end\n"));
    }

    #[test]
    fn lines_have_the_time_of_their_first_byte_and_sides_are_told_apart() {
        let mut log = Log::new(16_000_000);
        log.sent(16_000_000, b"version\n");
        log.received(&[TxByte { at: 32_000_000, byte: b'o' }, TxByte { at: 48_000_000, byte: b'k' }]);
        log.sent(64_000_000, &[0; 64]);
        assert_eq!(log.finish("."), "    0.000000 > version\n    1.000000 < ok\n    3.000000 > (64 bytes)\n.\n");
    }
}
