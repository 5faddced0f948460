//! Each format over the two fixture runs, and what no format may do.

use super::{Source, junit, show, summary};
use crate::{
    event::{Event, EvidenceRef, Fact, Verdict},
    journal::{Damage, DamageKind, RunState},
    view::{RunView, fixture, lines::Paint, sanitise::is_harmless},
};

fn evidence(place: &EvidenceRef, most: usize) -> Option<Vec<u8>> {
    let bytes = match place.file.as_str() {
        "console.rx" => fixture::CONSOLE,
        _ => return None,
    };
    let from = place.offset as usize;
    bytes.get(from..from + (place.len as usize).min(most)).map(<[u8]>::to_vec)
}

fn source(view: &RunView) -> Source<'_> {
    Source::new(view, &evidence)
}

macro_rules! snapshots {
    ($($name:ident: $format:expr;)*) => {$(
        #[test]
        fn $name() {
            for (run, events) in [("passing", fixture::passing()), ("failing", fixture::failing())] {
                let view = RunView::of(&events);
                let format: fn(&Source<'_>) -> String = $format;
                insta::assert_snapshot!(format!("{}_{run}", stringify!($name)), format(&source(&view)));
            }
        }
    )*};
}

snapshots! {
    junit_xml: |source| junit(source).unwrap();
    summary_json: |source| summary(source).unwrap();
    show_text: |source| show(source, Paint::default());
}

/// A run whose controller was killed, as the guard left it.
fn interrupted() -> Vec<Event> {
    let mut events = fixture::passing();
    let half = events.iter().position(|event| matches!(event.fact, Fact::CutBaseline { .. })).unwrap();
    let at = events[half].at;
    events.truncate(half + 1);
    for fact in [Fact::SafeStateStarted, Fact::SafeStateFinished { ok: true, by: "guard".into() }] {
        events.push(Event { seq: events.len() as u64, at, fact });
    }
    events
}

fn torn() -> Vec<Damage> {
    vec![Damage { file: "events.jsonl".into(), line: 31, offset: 5123, why: DamageKind::Torn }]
}

#[test]
fn an_interrupted_run_says_so() {
    let view = RunView::of(&interrupted());
    let damage = torn();
    let source = Source { damage: &damage, state: RunState::Interrupted, ..source(&view) };
    insta::assert_snapshot!("show_text_interrupted", show(&source, Paint::default()));
}

/// Every way in which a run is not good must show in the XML: a build server only looks there.
#[test]
fn nothing_bad_looks_green() {
    let green = |source: &Source<'_>| {
        let xml = junit(source).unwrap();
        let clean = xml.contains("failures=\"0\" errors=\"0\"") && !xml.contains("<failure") && !xml.contains("<error");
        assert_eq!(clean, source.verdict() == Verdict::Pass, "{xml}");
        clean
    };
    let passing = RunView::of(&fixture::passing());
    assert!(green(&source(&passing)));
    assert!(!green(&source(&RunView::of(&fixture::failing()))));
    assert!(!green(&source(&RunView::of(&interrupted()))), "no end");
    let damage = torn();
    assert!(!green(&Source { damage: &damage, ..source(&passing) }), "damaged journal");
    let changed = |change: fn(&mut Fact)| {
        let mut events = fixture::passing();
        for event in &mut events {
            change(&mut event.fact);
        }
        RunView::of(&events)
    };
    let unsafe_end = changed(|fact| {
        if let Fact::SafeStateFinished { ok, .. } = fact {
            *ok = false;
        }
    });
    assert!(!green(&source(&unsafe_end)));
    for worst in [Verdict::Inconclusive, Verdict::Fail, Verdict::Error, Verdict::None] {
        let mut events = fixture::passing();
        for event in &mut events {
            if let Fact::CaseFinished { verdict, .. } = &mut event.fact {
                *verdict = worst;
            }
        }
        let view = RunView::of(&events);
        let xml = junit(&source(&view)).unwrap();
        assert!(xml.contains("<failure") || xml.contains("<error"), "{worst}: {xml}");
    }
    // Cancelled: what ran has passed, the rest was skipped, and still nobody may take it for a pass.
    let cancelled = changed(|fact| {
        if let Fact::RunFinished { verdict, reason, .. } = fact {
            *verdict = Verdict::Inconclusive;
            *reason = Some(fixture::reason("CANCELLED", "stopped by SIGINT"));
        }
    });
    assert!(!green(&source(&cancelled)));
    let no_cases = RunView::of(&[fixture::passing()[0].clone()]);
    assert!(!green(&source(&no_cases)));
    let engine_error = changed(|fact| {
        if let Fact::RunFinished { verdict, reason, .. } = fact {
            *verdict = Verdict::Error;
            *reason = Some(fixture::reason("JOURNAL", "disk full"));
        }
    });
    assert!(!green(&source(&engine_error)));
}

#[test]
fn no_report_carries_what_drives_a_terminal() {
    let view = RunView::of(&fixture::failing());
    let source = source(&view);
    for text in [junit(&source).unwrap(), summary(&source).unwrap(), show(&source, Paint::default())] {
        assert!(text.chars().all(|c| c == '\n' || is_harmless(c)));
    }
    let read: serde_json::Value = serde_json::from_str(&summary(&source).unwrap()).unwrap();
    let original = "channel console was lost: \u{202e}evil\u{1b}[0m";
    assert_eq!(read["cases"][3]["reason"]["text"], original, "escaped, not changed");
}

#[test]
fn reports_are_written_beside_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let view = RunView::of(&fixture::passing());
    super::write(directory.path(), &source(&view)).unwrap();
    let xml = std::fs::read_to_string(directory.path().join("junit.xml")).unwrap();
    assert_eq!(xml, junit(&source(&view)).unwrap());
    let json = std::fs::read_to_string(directory.path().join("summary.json")).unwrap();
    assert_eq!(json, summary(&source(&view)).unwrap());
}
