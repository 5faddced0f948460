//! Regular expressions of plans and profiles: one way to compile them for the check and for the run.

use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled program, in bytes.
const SIZE_LIMIT: usize = 1 << 20;
/// Longest pattern, in bytes.
const LENGTH_LIMIT: usize = 16 << 10;

/// Compiles a pattern whose placeholders are already replaced.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LENGTH_LIMIT {
        return Err(format!("it is longer than {} KiB", LENGTH_LIMIT >> 10));
    }
    RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).nest_limit(64).build().map_err(|error| match error {
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
}
