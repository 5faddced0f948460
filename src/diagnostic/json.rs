//! Diagnostics for programs: one JSON object per line.

use serde_json::{Value, json};

use super::{Label, Place, Report, sanitise};

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for diagnostic in &report.diagnostics {
        let suggestion =
            diagnostic.suggestion.as_ref().map(|s| json!({"at": place(&s.place), "replacement": sanitise(&s.replacement)}));
        let line = json!({
            "code": diagnostic.code.id(),
            "name": diagnostic.code.name(),
            "severity": diagnostic.severity().word(),
            "message": sanitise(&diagnostic.message),
            "primary": label(&diagnostic.primary),
            "related": diagnostic.related.iter().map(label).collect::<Vec<_>>(),
            "help": sanitise(&diagnostic.help),
            "suggestion": suggestion,
        });
        out.push_str(&line.to_string());
        out.push('\n');
    }
    out
}

fn label(label: &Label) -> Value {
    json!({"at": place(&label.place), "text": sanitise(&label.text)})
}

fn place(place: &Place) -> Value {
    let (line, column) = place.source.line_column(place.range.start);
    let (end_line, end_column) = place.source.line_column(place.range.end);
    json!({
        "file": sanitise(&place.source.path.display().to_string()),
        "line": line, "column": column, "end-line": end_line, "end-column": end_column,
        "bytes": [place.range.start, place.range.end],
    })
}
