//! Diagnostics: what is wrong with a file that a person wrote, as data, and the ways to show it.
//!
//! A [`Diagnostic`] has a stable [`Code`], one primary place, any number of related places and at most one suggestion.
//! A [`Report`] is all of them for some files, in the order of their places. Text from files is shown only after
//! [`sanitise()`] took out everything that could drive a terminal.

mod code;
mod human;
mod json;
mod sanitise;
mod suggest;

use std::{
    cmp::Ordering,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use code::{Code, Severity, reference};
pub use sanitise::{sanitise, sanitise_same_length};
pub use suggest::nearest;

/// A file's text with the path it was asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Path as given.
    pub path: PathBuf,
    /// Contents; empty if it could not be read.
    pub text: String,
    /// Offset of each line's first byte, so that a place's line costs no pass over the text.
    lines: Vec<usize>,
}

impl Source {
    /// A source that labels can share.
    pub fn new(path: &Path, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Self { path: path.to_owned(), text, lines })
    }

    /// Line and column, both from 1, of a byte offset; columns count characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.wrapping_sub(1)).copied().unwrap_or(0);
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The nearest character boundary at or before `offset`, inside the text.
    fn floor(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Bytes of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// First byte and end. Never outside the text, never inside a character.
    pub range: Range<usize>,
}

impl Place {
    /// A place; the range is clamped to the text and to whole characters.
    #[must_use]
    pub fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        let start = source.floor(range.start);
        let end = source.floor(range.end.max(start));
        Self { source: source.clone(), range: start..end }
    }

    /// The start of the file.
    #[must_use]
    pub fn start(source: &Arc<Source>) -> Self {
        Self::new(source, 0..0)
    }

    /// The text there.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.source.text[self.range.clone()]
    }

    /// Line of its first byte, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line_column(self.range.start).0
    }
}

/// A place with a word about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What is there; may be empty.
    pub text: String,
}

/// A replacement that would cure the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What to replace.
    pub place: Place,
    /// By what.
    pub replacement: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// One line: what is wrong.
    pub message: String,
    /// Where, with what is wrong there.
    pub primary: Label,
    /// Other places that matter.
    pub related: Vec<Label>,
    /// What to do; may be empty.
    pub help: String,
    /// At most one suggestion.
    pub suggestion: Option<Suggestion>,
}

impl Diagnostic {
    /// A problem at a place.
    pub fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        let primary = Label { place, text: String::new() };
        Self { code, message: message.into(), primary, related: Vec::new(), help: String::new(), suggestion: None }
    }

    /// With a word at the primary place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// With advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = text.into();
        self
    }

    /// With another place.
    #[must_use]
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Self {
        self.related.push(Label { place, text: text.into() });
        self
    }

    /// With a replacement for the primary place.
    #[must_use]
    pub fn replace_by(mut self, replacement: impl Into<String>) -> Self {
        self.suggestion = Some(Suggestion { place: self.primary.place.clone(), replacement: replacement.into() });
        self
    }

    /// With the nearest of `known` as replacement for the primary place, if one is near enough; else `known` is listed as help.
    #[must_use]
    pub fn did_you_mean<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(wrong, known.iter().copied()) {
            Some(near) => self.replace_by(near),
            None if known.is_empty() || !self.help.is_empty() => self,
            None if known.len() > 24 => {
                let shown = known[..24].join(", ");
                self.help(format!("known here: {shown}, and {} more", known.len() - 24))
            }
            None => self.help(format!("known here: {}", known.join(", "))),
        }
    }

    /// How bad it is, by its code.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    fn order(&self, other: &Self) -> Ordering {
        let (here, there) = (&self.primary.place, &other.primary.place);
        let places = here.source.path.cmp(&there.source.path).then_with(|| here.range.start.cmp(&there.range.start));
        places
            .then_with(|| here.range.end.cmp(&there.range.end))
            .then(self.code.cmp(&other.code))
            .then_with(|| self.message.cmp(&other.message))
    }
}

/// Most problems that are shown; a file of a megabyte can have a hundred thousand.
const MOST_SHOWN: usize = 200;

/// All problems of some files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The problems; [`Report::sort`] puts them in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Adds those of another report.
    pub fn extend(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
    }

    /// By file, then by place; the same problem is kept once, with the related places of all its mentions.
    pub fn sort(&mut self) {
        self.diagnostics.sort_by(Diagnostic::order);
        self.diagnostics.dedup_by(|later, kept| {
            let same = later.code == kept.code && later.message == kept.message && later.primary == kept.primary;
            if same {
                for label in later.related.drain(..) {
                    if !kept.related.contains(&label) && kept.related.len() < 8 {
                        kept.related.push(label);
                    }
                }
            }
            same
        });
    }

    /// Whether one of them is an error, so that the files cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity() == Severity::Error)
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// For a person; with colours if `colour`. Shows at most 200 and ends with a line that counts them all, unless there is none.
    #[must_use]
    pub fn human(&self, colour: bool) -> String {
        human::render(self, colour)
    }

    /// For a program: one JSON object per line.
    #[must_use]
    pub fn json_lines(&self) -> String {
        json::render(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.human(false))
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Code, Diagnostic, Place, Report, Source};

    fn report() -> Report {
        let source = Source::new(Path::new("plan.yaml"), "name: x\nnmae: y\n\u{1b}[31mred: 1\n");
        let mut report = Report::default();
        report.push(Diagnostic::new(Code::UnknownKey, Place::new(&source, 16..25), "unknown key `\u{1b}[31mred`"));
        report.push(
            Diagnostic::new(Code::UnknownKey, Place::new(&source, 8..12), "unknown key `nmae`")
                .related(Place::new(&source, 0..4), "defined here")
                .did_you_mean("nmae", ["name", "title"]),
        );
        report.sort();
        report
    }

    #[test]
    fn problems_are_shown_in_the_order_of_their_places() {
        let text = report().human(false);
        assert!(text.find("nmae").unwrap() < text.find("[31mred").unwrap(), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn nothing_from_a_file_drives_the_terminal() {
        assert!(!report().human(false).contains('\u{1b}'));
        assert!(!report().json_lines().contains('\u{1b}'));
        assert!(report().human(true).contains('\u{1b}'), "colour was asked for");
    }

    #[test]
    fn json_lines_carry_line_and_column() {
        insta::assert_snapshot!(report().json_lines());
    }

    #[test]
    fn places_outside_the_text_are_clamped() {
        let source = Source::new(Path::new("x"), "aé");
        assert_eq!(Place::new(&source, 2..99).range, 1..3);
        let backwards = std::ops::Range { start: 50, end: 40 };
        assert_eq!(Place::new(&source, backwards).range, 3..3);
        assert_eq!(source.line_column(99), (1, 3));
    }
}
