//! What reaches the writer.

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::Path,
};

use super::{Console, Format, Options};
use crate::{
    event::{Event, EvidenceRef, Fact, Nanos},
    view::{fixture, sanitise::is_harmless},
};

fn excerpt(place: &EvidenceRef, most: usize) -> Option<Vec<u8>> {
    let from = usize::try_from(place.offset).ok()?;
    (place.file == "console.rx").then(|| fixture::CONSOLE.get(from..).unwrap_or_default().iter().take(most).copied().collect())
}

fn run(events: &[Event], options: Options, tick: bool) -> String {
    let mut out = Vec::new();
    let mut console = Console::new(&mut out, options, Box::new(excerpt));
    for event in events {
        console.event(event).unwrap();
        if tick {
            console.tick(event.at.after(std::time::Duration::from_millis(1234))).unwrap();
        }
    }
    console.finish(Path::new(".hilbench/runs/20261123-221530-4f1c")).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain() -> Options {
    Options::detect(None, None, None)
}

#[test]
fn a_log_has_plain_lines() {
    for (name, events) in [("passing", fixture::passing()), ("failing", fixture::failing())] {
        let text = run(&events, plain(), true);
        assert!(text.chars().all(|c| c == '\n' || is_harmless(c)));
        insta::assert_snapshot!(format!("log_{name}"), text);
    }
}

/// What is on the screen in the end: a status line is replaced by what comes after it.
fn screen(text: &str) -> String {
    let mut rows = vec![String::new()];
    for part in text.split_inclusive('\n') {
        let last = part.rsplit("\r\x1b[K").next().unwrap_or_default();
        if part.contains("\r\x1b[K") {
            rows.pop();
            rows.push(String::new());
        }
        if let Some(row) = rows.last_mut() {
            row.push_str(last.trim_end_matches('\n'));
        }
        if part.ends_with('\n') {
            rows.push(String::new());
        }
    }
    rows.join("\n")
}

#[test]
fn a_terminal_ends_with_the_same_lines() {
    let terminal = Options { color: false, ..Options::detect(Some(400), None, None) };
    for events in [fixture::passing(), fixture::failing()] {
        let live = run(&events, terminal, true);
        assert!(live.contains("\r\x1b[K  ...     power-cuts  step 1 1.23 s"), "{live:?}");
        assert_eq!(screen(&live), run(&events, plain(), false));
    }
}

#[test]
fn lines_fit_the_terminal() {
    let terminal = Options { color: false, ..Options::detect(Some(60), None, None) };
    let live = run(&fixture::failing(), terminal, true);
    for row in live.split(['\n', '\r']).map(|row| row.trim_start_matches("\x1b[K")) {
        // Commands are whole, and so are the first and last line.
        let exempt = row.contains("hilbench ") || row.contains(" · ") || row.contains("points judged");
        assert!(exempt || row.chars().count() <= 60, "{row:?}");
    }
}

#[test]
fn colours_only_where_they_are_wanted() {
    let some = |text: &'static str| Some(OsStr::new(text));
    for (terminal, no_color, term, color, live) in [
        (Some(80), None, None, true, true),
        (Some(80), some(""), some("xterm"), true, true),
        (Some(80), some("1"), some("xterm"), false, true),
        (Some(80), None, some("dumb"), false, false),
        (None, None, some("xterm"), false, false),
    ] {
        let options = Options::detect(terminal, no_color, term);
        assert_eq!((options.color, options.live), (color, live), "{terminal:?} {no_color:?} {term:?}");
    }
    assert!(run(&fixture::passing(), Options::detect(Some(80), None, None), false).contains("\x1b[32mPASS  \x1b[0m"));
}

#[test]
fn json_is_the_events() {
    let events = fixture::failing();
    let text = run(&events, Options { format: Format::Json, live: true, ..plain() }, true);
    assert!(text.chars().all(|c| c == '\n' || is_harmless(c)));
    let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, events);
}

#[test]
fn steps_are_printed_on_request() {
    let events = fixture::failing();
    let with = run(&events, Options { steps: true, ..plain() }, false);
    let steps = events.iter().filter(|event| matches!(event.fact, Fact::StepFinished { .. })).count();
    assert_eq!(with.lines().count() - run(&events, plain(), false).lines().count(), steps);
}

/// Fails with the given kind from the second write on.
struct Failing(io::ErrorKind, usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1 > 1 { Err(self.0.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut out = Failing(io::ErrorKind::BrokenPipe, 0);
    let mut console = Console::new(&mut out, plain(), Box::new(()));
    for event in &fixture::failing() {
        console.event(event).unwrap();
    }
    console.tick(Nanos(0)).unwrap();
    console.finish(Path::new("x")).unwrap();
    drop(console);
    assert_eq!(out.1, 2, "nothing is written after the pipe broke");
    let mut console = Console::new(Failing(io::ErrorKind::StorageFull, 1), plain(), Box::new(()));
    assert_eq!(console.event(&fixture::failing()[0]).unwrap_err().kind(), io::ErrorKind::StorageFull);
}
