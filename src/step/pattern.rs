//! Regular expressions of plans and profiles: one way to compile them for the check and for the run.

use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled program, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// Longest pattern, in bytes.
const LENGTH_LIMIT: usize = 16 << 10;

/// Compiles a pattern whose placeholders are already replaced. A console speaks bytes, so classes such as `\w` and `\S` mean ASCII, `.` is any
/// byte but a line feed, and `^` and `$` stand at the ends of lines.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LENGTH_LIMIT {
        return Err(format!("it is longer than {} KiB", LENGTH_LIMIT >> 10));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).multi_line(true).size_limit(SIZE_LIMIT).nest_limit(64);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("it compiles to more than {} KiB", SIZE_LIMIT >> 10),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or("it does not compile");
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn problems_are_told_in_one_line() {
        assert_eq!(compile("a(b").unwrap_err(), "unclosed group");
        assert_eq!(compile(r"\w{500}{500}").unwrap_err(), "it compiles to more than 1024 KiB");
        assert_eq!(compile(&"a".repeat(20_000)).unwrap_err(), "it is longer than 16 KiB");
        assert!(compile(&"(".repeat(1000)).is_err());
        assert!(compile("version (?<version>\\S+)").is_ok());
    }

    #[test]
    fn patterns_are_about_bytes_and_lines() {
        let found = |pattern: &str, bytes: &[u8]| compile(pattern).unwrap().is_match(bytes);
        assert!(found(r"^b\S$", b"a\nb\xFF\nc"));
        assert!(found("caf.", b"caf\xE9") && !found("a.c", b"a\nc"));
        assert!(found("\u{e9}t\u{e9}", "l'\u{e9}t\u{e9}".as_bytes()));
        assert!(!found(r"^\w$", "\u{e9}".as_bytes()));
    }
}
