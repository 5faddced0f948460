//! Diagnostics for people: source excerpts with marks.

use std::{fmt::Write as _, sync::Arc};

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Origin, Patch, Renderer, Snippet};

use super::{Diagnostic, Label, MOST_SHOWN, Report, Severity, Source, sanitise, sanitise_same_length};

pub(super) fn render(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    for diagnostic in report.diagnostics.iter().take(MOST_SHOWN) {
        out.push_str(&one(diagnostic, colour));
        out.push_str("\n\n");
    }
    out.push_str(&count(report));
    out
}

fn count(report: &Report) -> String {
    let errors = report.diagnostics.iter().filter(|d| d.severity() == Severity::Error).count();
    let warnings = report.diagnostics.len() - errors;
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let mut line = String::new();
    if errors > 0 {
        line.push_str(&plural(errors, "error"));
    }
    if warnings > 0 {
        let _ = write!(line, "{}{}", if errors > 0 { ", " } else { "" }, plural(warnings, "warning"));
    }
    if report.diagnostics.len() > MOST_SHOWN {
        let _ = write!(line, "; the first {MOST_SHOWN} are shown");
    }
    if !line.is_empty() {
        line.push('\n');
    }
    line
}

/// The lines of a source around some places: rendering must not cost the whole file for each of a thousand problems.
struct Excerpt {
    path: String,
    text: String,
    first_line: usize,
    offset: usize,
}

impl Excerpt {
    fn new(source: &Arc<Source>, labels: &[&Label]) -> Self {
        let text = &source.text;
        let start = labels.iter().map(|l| l.place.range.start).min().unwrap_or(0);
        let end = labels.iter().map(|l| l.place.range.end).max().unwrap_or(0);
        let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = text[end..].find('\n').map_or(text.len(), |at| end + at);
        let first_line = source.line_column(from).0;
        let path = sanitise(&source.path.display().to_string());
        // An empty excerpt would be shown without its path.
        let shown = if from == to { " ".to_owned() } else { sanitise_same_length(&text[from..to]) };
        Self { path, text: shown, first_line, offset: from }
    }

    fn range(&self, label: &Label) -> std::ops::Range<usize> {
        label.place.range.start - self.offset..label.place.range.end - self.offset
    }
}

fn one(diagnostic: &Diagnostic, colour: bool) -> String {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(sanitise(&diagnostic.message)).id(diagnostic.code.id());
    let mut elements: Vec<Element<'_>> = Vec::new();

    let primary_source = &diagnostic.primary.place.source;
    // Related places of the same file far away get their own excerpt, else everything between them would be copied.
    let near = |label: &&Label| {
        Arc::ptr_eq(&label.place.source, primary_source)
            && label.place.range.start.abs_diff(diagnostic.primary.place.range.start) < 4096
    };
    let (beside, apart): (Vec<&Label>, Vec<&Label>) = diagnostic.related.iter().partition(near);
    let mut group = vec![&diagnostic.primary];
    group.extend(beside);
    let mut kinds = vec![AnnotationKind::Primary];
    kinds.resize(group.len(), AnnotationKind::Context);
    if primary_source.text.is_empty() {
        elements.push(Origin::path(sanitise(&primary_source.path.display().to_string())).into());
    } else {
        elements.push(snippet(primary_source, &group, &kinds));
    }
    for label in apart {
        elements.push(snippet(&label.place.source, &[label], &[AnnotationKind::Context]));
    }
    if !diagnostic.help.is_empty() {
        elements.push(Level::HELP.message(sanitise(&diagnostic.help)).into());
    }
    let mut groups = vec![Group::with_title(title).elements(elements)];
    if let Some(suggestion) = &diagnostic.suggestion {
        let label = Label { place: suggestion.place.clone(), text: String::new() };
        let excerpt = Excerpt::new(&suggestion.place.source, &[&label]);
        let range = excerpt.range(&label);
        let patch = Patch::new(range, sanitise(&suggestion.replacement));
        groups.push(
            Level::HELP
                .secondary_title(format!("did you mean `{}`?", sanitise(&suggestion.replacement)))
                .element(Snippet::source(excerpt.text).line_start(excerpt.first_line).patch(patch)),
        );
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&groups)
}

fn snippet(source: &Arc<Source>, labels: &[&Label], kinds: &[AnnotationKind]) -> Element<'static> {
    let excerpt = Excerpt::new(source, labels);
    let annotations: Vec<Annotation<'static>> = labels
        .iter()
        .zip(kinds)
        .map(|(label, kind)| {
            let text = (!label.text.is_empty()).then(|| sanitise(&label.text));
            kind.span(excerpt.range(label)).label(text)
        })
        .collect();
    Snippet::source(excerpt.text).line_start(excerpt.first_line).path(excerpt.path).annotations(annotations).into()
}
