//! Names that become file names.

use std::hash::{BuildHasher, Hasher};

use jiff::Timestamp;

use crate::event::RunId;

/// Whether `name` can be used as a file name below a run directory: 1 to 100 of `A-Z a-z 0-9 . _ -`, not beginning with a dot,
/// no two dots in a row. Everything read from a journal passes here before it reaches the file system.
#[must_use]
pub fn is_safe_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && !name.contains("..")
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A safe name as near to `name` as possible: its last path component with other characters replaced by `_`.
pub(super) fn made_safe(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut out = String::new();
    for c in last.chars().take(80) {
        let c = if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' };
        // Neither a leading dot nor two in a row.
        out.push(if c == '.' && (out.is_empty() || out.ends_with('.')) { '_' } else { c });
    }
    if out.is_empty() { "unnamed".to_owned() } else { out }
}

/// `name`, or `name` with `-2`, `-3`, ... before its extension.
pub(super) fn numbered(name: &str, n: u32) -> String {
    if n < 2 {
        return name.to_owned();
    }
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}-{n}.{extension}"),
        None => format!("{name}-{n}"),
    }
}

/// A new identity `YYYYMMDD-HHMMSS-xxxx` (UTC, four random hexadecimal digits) for a run that starts at `now`.
#[must_use]
pub fn new_run_id(now: Timestamp) -> RunId {
    // The standard library's hash keys are random per instance: enough to tell runs of the same second apart, and no more is asked.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish() as u16;
    RunId(format!("{}-{random:04x}", now.strftime("%Y%m%d-%H%M%S")))
}

/// A run's identity as a directory name tells it; `None` if the name is not of the form [`new_run_id`] makes.
#[must_use]
pub fn parse_run_id(name: &str) -> Option<RunId> {
    let bytes = name.as_bytes();
    let form = b"dddddddd-dddddd-xxxx";
    let fits = bytes.len() == form.len()
        && bytes.iter().zip(form).all(|(b, f)| match f {
            b'd' => b.is_ascii_digit(),
            b'x' => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
            _ => b == f,
        });
    fits.then(|| RunId::new(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_safe_name, made_safe, new_run_id, numbered, parse_run_id};

    #[test]
    fn new_ids_have_the_form_that_is_read() {
        let id = new_run_id("2026-11-23T22:15:30Z".parse().unwrap());
        assert!(id.as_str().starts_with("20261123-221530-"), "{id}");
        assert_eq!(parse_run_id(id.as_str()), Some(id.clone()));
        assert!(is_safe_name(id.as_str()));
        for bad in [
            "",
            "20261123-221530-4f1",
            "20261123-221530-4F1C",
            "20261123-221530-4f1c.partial",
            "../../etc/passwd",
            "2026112x-221530-4f1c",
        ] {
            assert_eq!(parse_run_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_that_leave_the_directory_are_unsafe() {
        for bad in ["", ".", "..", "a/b", "/a", "a\\b", ".hidden", "a..b", "a b", "ä", "a\0b", "a\nb"] {
            assert!(!is_safe_name(bad), "{bad:?}");
        }
        for good in ["console.rx", "cut-117.txt", "a", "0-plan.yaml"] {
            assert!(is_safe_name(good), "{good}");
        }
        assert!(!is_safe_name(&"a".repeat(101)));
    }

    #[test]
    fn numbers_go_before_the_extension() {
        assert_eq!(numbered("cut-1.txt", 1), "cut-1.txt");
        assert_eq!(numbered("cut-1.txt", 2), "cut-1-2.txt");
        assert_eq!(numbered("x", 3), "x-3");
    }

    proptest! {
        #[test]
        fn any_name_can_be_made_safe(name in any::<String>(), n in 0_u32..2000) {
            prop_assert!(is_safe_name(&numbered(&made_safe(&name), n)));
        }
    }
}
