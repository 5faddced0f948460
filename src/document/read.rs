//! From a path to a tree.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    ops::Range,
    path::Path,
    sync::Arc,
};

use serde_saphyr::{Error, Location, Spanned, options::DuplicateKeyPolicy};

use super::node::{Node, Raw, node, range};
use crate::diagnostic::{Code, Diagnostic, Place, Source};

/// Largest YAML file that is accepted, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// Why a file could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Whether it is just too large.
    pub too_large: bool,
    /// What is wrong, with the path.
    pub message: String,
    /// What to do; may be empty.
    pub help: &'static str,
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// If it is missing, no regular file, not permitted, or larger.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let what = path.display();
    let refuse = |why: &str, help| Unreadable { too_large: false, message: format!("cannot read `{what}`: {why}"), help };
    let wrong = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => refuse("no such file", "check the path; inside a file, paths start at that file's directory"),
        ErrorKind::PermissionDenied => refuse("permission denied", "give yourself permission to read it"),
        _ => refuse(&error.to_string(), ""),
    };
    // Looked at before it is opened: opening a named pipe would wait for a writer for ever.
    let kind = std::fs::metadata(path).map_err(wrong)?;
    if kind.is_dir() {
        return Err(refuse("it is a directory", "name a file in it"));
    }
    if !kind.is_file() {
        return Err(refuse("it is not a regular file", "name a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(wrong)?.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > limit {
        return Err(Unreadable { too_large: true, message: format!("`{what}` is larger than {} KiB", limit / 1024), help: "" });
    }
    Ok(bytes)
}

/// Reads a YAML file that a person wrote.
///
/// The source comes back in either case, so that the problem can be shown.
///
/// # Errors
/// The one problem that keeps it from being YAML: not readable, too large, not UTF-8, empty, control characters, wrong syntax, too
/// deep.
pub fn read(path: &Path) -> (Arc<Source>, Result<Node, Box<Diagnostic>>) {
    match read_bytes(path, MAX_FILE) {
        Ok(bytes) => parse_bytes(path, bytes),
        Err(problem) => {
            let source = Source::new(path, "");
            let code = if problem.too_large { Code::TooLarge } else { Code::CannotRead };
            let diagnostic = Diagnostic::new(code, Place::start(&source), problem.message).help(problem.help);
            (source, Err(Box::new(diagnostic)))
        }
    }
}

/// Reads a YAML file that is already in memory. `path` is only shown.
///
/// # Errors
/// As [`read`].
pub fn parse_bytes(path: &Path, bytes: Vec<u8>) -> (Arc<Source>, Result<Node, Box<Diagnostic>>) {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let byte = error.as_bytes().get(good).copied().unwrap_or(0);
            let source = Source::new(path, String::from_utf8_lossy(error.as_bytes()));
            // The replacement character stands where the first wrong byte was: everything before it is unchanged.
            let place = Place::new(&source, good..good + '\u{fffd}'.len_utf8());
            let message = format!("the file is not UTF-8: byte 0x{byte:02x} at offset {good}");
            let problem = Diagnostic::new(Code::NotUtf8, place, message).help("save the file as UTF-8");
            return (source, Err(Box::new(problem)));
        }
    };
    let source = Source::new(path, text);
    let result = parse(&source);
    (source, result)
}

fn parse(source: &Arc<Source>) -> Result<Node, Box<Diagnostic>> {
    let text = source.text.as_str();
    let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    if let Some((at, c)) = text.char_indices().find(|(_, c)| forbidden(*c)) {
        let place = Place::new(source, at..at + c.len_utf8());
        let message = format!("control character {} in the file", c.escape_unicode());
        let help = "remove it; in a double-quoted text it can be written as an escape (`\"\\e\"`)";
        return Err(Box::new(Diagnostic::new(Code::ForbiddenCharacter, place, message).help(help)));
    }
    let blank = |line: &str| {
        let line = line.trim_start_matches('\u{feff}').trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    };
    if text.lines().all(blank) {
        let help = "it starts with `schema: rig/1`, `schema: device/1` or `schema: testplan/1`";
        return Err(Box::new(Diagnostic::new(Code::EmptyFile, Place::start(source), "the file has no content").help(help)));
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        // Our own checker reports duplicates: all of them, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: serde_saphyr::budget! { max_depth: 64, max_nodes: 100_000, max_events: 400_000, max_documents: 2 },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => Err(Box::new(syntax(source, &error))),
    }
}

/// Bytes of an error's location. The scanner knows only lines and columns (in characters, both from 1).
fn offset(text: &str, location: Location) -> Range<usize> {
    if location.span().byte_offset().is_some() {
        return range(location);
    }
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    let (line, column) = (number(location.line()), number(location.column()));
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text[start..].split('\n').next().unwrap_or("");
    let at = start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
    at..at
}

fn syntax(source: &Arc<Source>, error: &Error) -> Diagnostic {
    let error = error.without_snippet();
    let at = error.location().map_or(0..0, |location| offset(&source.text, location));
    // An empty mark would be drawn between two characters; one character reads better.
    let after = source.text.get(at.start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    let place = Place::new(source, at.start..at.end.max(at.start.saturating_add(after)));
    let complex = matches!(
        error,
        Error::Budget { .. }
            | Error::AliasReplayCounterOverflow { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
    );
    let full = error.to_string();
    // The scanner's own limit, and a budget breached inside an alias, come as plain messages.
    let complex = complex || full.starts_with("recursion limit exceeded") || full.starts_with("budget breached");
    let code = if complex { Code::TooComplex } else { Code::Syntax };
    // The first line says what is wrong; the place is shown by us.
    let first = full.lines().next().unwrap_or_default();
    let message = first.split(" at line ").next().unwrap_or(first).trim();
    let message = match message {
        _ if complex => "the file nests deeper than 64 levels, or holds more than 100000 values with its aliases written out",
        "" => "the file is not YAML",
        message => message,
    };
    let indented_by_tab = source.text[..place.range.start].rsplit('\n').next().is_some_and(|line| line.contains('\t'))
        || place.text().starts_with('\t');
    let help = if complex {
        "write it out with less nesting and fewer aliases"
    } else if indented_by_tab {
        "YAML does not allow tabs for indentation; use spaces"
    } else {
        "the file is read up to here only; mend this place and check again"
    };
    Diagnostic::new(code, place, message).help(help)
}
