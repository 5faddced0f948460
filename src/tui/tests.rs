//! Every screen in two sizes from fixture runs; every key on every screen; the rules of a tape.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};
use tempfile::TempDir;

use super::{
    app::{App, Left, Opening},
    host::{CaseEntry, Choice, Finding, Host, Level, PlanEntry, RigEntry, RigState, Started, Survey},
    keys::{ACTIONS, Action, Key, Keymap},
    paper::Abilities,
    session::Tab,
    tape::Tape,
};
use crate::{
    event::{Event, Fact, Nanos, Request, RunId, StopLevel},
    journal::{Journal, Options, RunDir, RunState, RunSummary, Summary},
    view::{RunView, fixture, sanitise},
};

const PLAIN: Abilities = Abilities { unicode: true, color: false };

/// A program without a bench; it remembers what it was asked.
#[derive(Default)]
struct Fake {
    survey: Survey,
    asked: Mutex<Vec<Request>>,
    started: Mutex<Vec<Choice>>,
}

impl Host for Fake {
    fn survey(&self) -> Survey {
        self.survey.clone()
    }

    fn cases(&self, _: &Path, _: &Path) -> Result<Vec<CaseEntry>, String> {
        let case = |id: &str, not_here: Option<&str>| CaseEntry {
            id: id.to_owned(),
            title: format!("what {id} is about"),
            not_here: not_here.map(str::to_owned),
        };
        Ok(vec![case("genuine-update", None), case("power-cuts", None), case("ble-update", Some("rig has no channel `radio`"))])
    }

    fn doctor(&self, _: &Path) -> Result<Vec<Finding>, String> {
        let finding = |subject: &str, level, what: &str, advice: Option<&str>| Finding {
            subject: subject.to_owned(),
            level,
            what: what.to_owned(),
            advice: advice.map(str::to_owned),
        };
        Ok(vec![
            finding("console", Level::Bad, "serial: no such port", Some("plug it in")),
            finding("supply", Level::Fine, "opens, and reads back down", None),
        ])
    }

    fn start(&self, choice: &Choice) -> Result<Started, String> {
        self.started.lock().unwrap().push(choice.clone());
        Err("no bench in this test".to_owned())
    }

    fn send(&self, _: &Path, request: &Request) -> Result<(), String> {
        self.asked.lock().unwrap().push(request.clone());
        Ok(())
    }

    fn runs(&self) -> PathBuf {
        PathBuf::from("/nonexistent")
    }

    fn user(&self) -> String {
        "kim".to_owned()
    }
}

/// A run with these events in a store of its own; `closed`, or still being written.
struct Recorded {
    _store: TempDir,
    journal: Journal,
    run: RunDir,
}

fn record(events: &[Event], console: &[u8], closed: bool) -> Recorded {
    let store = tempfile::tempdir().unwrap();
    let id = events.iter().find_map(|event| match &event.fact {
        Fact::RunStarted(header) => Some(header.run.clone()),
        _ => None,
    });
    let id = id.unwrap_or_else(|| RunId::from("20261123-221530-0000"));
    let journal = Journal::create(Options::new(store.path(), id, Arc::new(|| Nanos(0)))).unwrap();
    journal.evidence_append("console.rx", console).unwrap();
    for event in events {
        journal.append_at(event.at, event.fact.clone()).unwrap();
    }
    let directory = if closed { journal.close().unwrap().directory } else { journal.directory().to_owned() };
    let run = RunDir::open(directory).unwrap();
    Recorded { _store: store, journal, run }
}

fn failing() -> Recorded {
    record(&fixture::failing(), fixture::CONSOLE, true)
}

/// The failing run up to its second case, going on.
fn live() -> Recorded {
    let events: Vec<Event> = fixture::failing().into_iter().take(20).collect();
    record(&events, fixture::CONSOLE, false)
}

fn survey() -> Survey {
    let rig = |name: &str, state| RigEntry {
        path: format!("rigs/{name}.yaml").into(),
        name: name.to_owned(),
        title: format!("The bench {name}"),
        channels: vec!["console".to_owned(), "supply".to_owned()],
        state,
    };
    let plan = |name: &str, requires: &[&str]| PlanEntry {
        path: format!("testplans/{name}.yaml").into(),
        name: name.to_owned(),
        title: format!("What {name} finds out"),
        requires: requires.iter().map(|channel| (*channel).to_owned()).collect(),
        cases: 3,
        bad: None,
    };
    let run = |id: &str, state, verdict| RunSummary {
        id: RunId::from(id),
        directory: PathBuf::from("/nonexistent").join(id),
        state,
        summary: Summary {
            started: Some("2026-11-23T22:15:30Z".to_owned()),
            plan: Some("secure-update".to_owned()),
            rig: Some("virtual-lock".to_owned()),
            device: Some("smart-lock".to_owned()),
            verdict,
            reason: None,
        },
        damage: None,
    };
    Survey {
        rigs: vec![
            rig("virtual-lock", RigState::Free),
            rig("bench-2", RigState::Held("serial 0d28:0204:99: in use by process 7 since 2026-11-23T22:15:30Z".to_owned())),
            rig("bench-3", RigState::Missing("channel console: no serial port is usb 1209:0001".to_owned())),
            rig("bench-4", RigState::Bad("error[unknown-key]: unknown key `chanels`".to_owned())),
        ],
        plans: vec![plan("secure-update", &["console", "supply"]), plan("reconnection", &["network"])],
        runs: vec![
            run("20261123-221530-4f1c", RunState::Running, None),
            run("20261123-211530-0bad", RunState::Closed, Some(crate::event::Verdict::Fail)),
            run("20261123-201530-0bad", RunState::Interrupted, None),
        ],
        problem: None,
    }
}

fn app(opening: Opening) -> (App, Arc<Fake>, Instant) {
    let host = Arc::new(Fake { survey: survey(), ..Fake::default() });
    let now = Instant::now();
    let app = App::new(host.clone(), Keymap::default(), PLAIN, opening, now);
    (app, host, now)
}

/// Until nothing is read or done elsewhere any more.
fn settle(app: &mut App, now: Instant) {
    let start = Instant::now();
    loop {
        app.tick(now);
        if !app.is_behind() && !app.is_busy() {
            app.tick(now);
            return;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "it does not settle");
        std::thread::yield_now();
    }
}

fn press(app: &mut App, now: Instant, keys: &str) {
    for key in keys.split(' ').filter(|key| !key.is_empty()) {
        app.key(key.parse().unwrap());
        settle(app, now);
    }
}

fn drawn(app: &mut App, width: u16, height: u16) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    app.draw(&mut buffer);
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let line =
        |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n";
    rows.map(line).collect()
}

/// A picture of the screen in both sizes.
macro_rules! pictures {
    ($name:expr, $app:expr) => {
        for (width, height) in [(80, 24), (160, 48)] {
            // Drawn twice: a screen learns its size, and with it its pages, by being drawn.
            drawn(&mut $app, width, height);
            insta::assert_snapshot!(format!("{}_{width}x{height}", $name), drawn(&mut $app, width, height));
        }
    };
}

#[test]
fn the_start_screen() {
    let (mut app, host, now) = app(Opening::Start);
    settle(&mut app, now);
    pictures!("start", app);
    press(&mut app, now, "d");
    pictures!("start_doctor", app);
    press(&mut app, now, "esc enter enter");
    pictures!("start_form", app);
    press(&mut app, now, "enter");
    assert_eq!(host.started.lock().unwrap().first().map(|choice| choice.cases.clone()), Some(Vec::new()), "all cases are meant");
    press(&mut app, now, "esc");
    // Only the second case, and nobody to ask.
    press(&mut app, now, "down down enter down down down down down down enter");
    press(&mut app, now, "home enter");
    let choice = host.started.lock().unwrap()[1].clone();
    assert_eq!((choice.cases, choice.wait_for_answers), (vec!["power-cuts".to_owned()], false));
}

#[test]
fn a_running_run() {
    let run = live();
    let (mut app, _, now) = app(Opening::Watch(run.run.clone()));
    settle(&mut app, now);
    pictures!("run_steps", app);
    for (key, name) in
        [("2", "run_consoles"), ("3", "run_timeline"), ("4", "run_bench"), ("5", "run_measured"), ("6", "run_cuts")]
    {
        press(&mut app, now, key);
        pictures!(name, app);
    }
    press(&mut app, now, "2 x c");
    pictures!("run_consoles_hex", app);
    press(&mut app, now, "?");
    pictures!("help", app);
}

#[test]
fn a_finished_run() {
    let run = failing();
    let (mut app, _, now) = app(Opening::Watch(run.run.clone()));
    settle(&mut app, now);
    pictures!("result", app);
    press(&mut app, now, "down enter");
    pictures!("result_evidence", app);
    press(&mut app, now, "esc y");
    pictures!("result_copy", app);
    press(&mut app, now, "down enter");
    assert_eq!(app.wishes.copy.as_deref(), Some("hilbench show 20261123-221530-0bad --verify"));
    press(&mut app, now, "6");
    pictures!("result_cuts", app);
    press(&mut app, now, "enter");
    pictures!("result_cut", app);
}

#[test]
fn a_passing_run() {
    let run = record(&fixture::passing(), b"BL: verify a ok\r\nsmart-lock 2.0.0 ready\r\n", true);
    let (mut app, _, now) = app(Opening::Watch(run.run.clone()));
    settle(&mut app, now);
    pictures!("passed", app);
    press(&mut app, now, "5");
    pictures!("passed_measured", app);
    press(&mut app, now, "1 right down down");
    pictures!("passed_steps", app);
}

#[test]
fn a_recorded_run_is_played() {
    let run = failing();
    let (mut app, _, now) = app(Opening::Replay(run.run.clone()));
    settle(&mut app, now);
    pictures!("replay_begin", app);
    press(&mut app, now, "f");
    pictures!("replay_failure", app);
    let position = |app: &App| app.session().unwrap().tape.position();
    let end = app.session().unwrap().tape.end();
    assert_eq!(end as usize, fixture::failing().len());
    let failure = position(&app);
    press(&mut app, now, "f F");
    assert_eq!(position(&app), failure, "back to the same");
    press(&mut app, now, ". . ,");
    assert_eq!(position(&app), failure + 1);
    press(&mut app, now, "<");
    assert_eq!(position(&app), 0);
    press(&mut app, now, "t 0 . 3 enter");
    assert!(app.session().unwrap().tape.view().at >= Nanos(200_000_000), "{}", position(&app));
    press(&mut app, now, ">");
    assert_eq!(position(&app), end);
    // As fast as it goes, from the beginning.
    press(&mut app, now, "< + + + + + + + space");
    let later = now + Duration::from_secs(1);
    for step in 0..20 {
        app.tick(later + Duration::from_millis(step));
    }
    assert_eq!(position(&app), end);
    // At the pace of the run: half a second of it in half a second.
    press(&mut app, later, "<");
    press(&mut app, later, "- - - - - - - space");
    app.tick(later + Duration::from_millis(450));
    let at = app.session().unwrap().tape.view().at;
    assert!(position(&app) > 0 && position(&app) < end && at <= Nanos(500_000_000), "{at:?}");
    press(&mut app, later, "< / d o w n g r a d e enter");
    let here = app.session().unwrap().tape.events(position(&app) - 1, 1);
    assert!(format!("{here:?}").contains("downgrade"), "{here:?}");
}

#[test]
fn a_prompt_is_answered_from_the_keyboard() {
    let mut story = fixture::Story::begin("20261123-221530-a5c1", &[("light", "the light tells the state")]);
    story.add(Fact::CaseStarted { case: "light".into(), title: "the light tells the state".into(), assesses: vec![] });
    story.add(Fact::StepStarted { step: "light/1".into(), text: "ask".into(), deadline: Nanos(60_000_000_000) });
    story.add(Fact::Prompted {
        prompt: 1,
        step: Some("light/1".into()),
        text: "Is the light green?\u{1b}[2J".into(),
        picture: Some("pictures/light.png".into()),
        choices: vec!["green".into(), "red".into()],
        free: true,
        within_ms: 60_000,
    });
    let run = record(&story.events, b"", false);
    let (mut app, host, now) = app(Opening::Watch(run.run.clone()));
    settle(&mut app, now);
    pictures!("prompt", app);
    // Put aside, the screen can be looked at; the question stays known.
    press(&mut app, now, "esc 3");
    assert!(drawn(&mut app, 80, 24).contains("The run asks: Is the light green?"));
    press(&mut app, now, "a 2 enter");
    press(&mut app, now, "down q u e s s enter");
    let answer = |answer: &str| Request::Answer { prompt: 1, answer: answer.to_owned(), by: "kim".to_owned() };
    assert_eq!(*host.asked.lock().unwrap(), [answer("red"), answer("quess")], "letters are text where a text is typed");
    run.journal.append(Fact::Answered { prompt: 1, answer: "red".into(), by: "kim".into() }).unwrap();
    settle(&mut app, now);
    assert!(!drawn(&mut app, 80, 24).contains("The run asks"));
    // Played again it is shown, and cannot be answered.
    run.journal.close().unwrap();
    let asked = host.asked.lock().unwrap().len();
    let closed = RunDir::open(run.journal.directory().with_extension("")).unwrap();
    let mut app = App::new(host.clone(), Keymap::default(), PLAIN, Opening::Replay(closed), now);
    settle(&mut app, now);
    press(&mut app, now, "> ,");
    pictures!("prompt_played", app);
    press(&mut app, now, "2 enter 1 esc");
    assert_eq!(host.asked.lock().unwrap().len(), asked);
    assert!(!drawn(&mut app, 80, 24).contains("The run asks"));
}

#[test]
fn stopping_asks_once_and_shows_the_safe_state() {
    let run = live();
    let (mut app, host, now) = app(Opening::Watch(run.run.clone()));
    settle(&mut app, now);
    press(&mut app, now, "s");
    pictures!("stop", app);
    assert!(host.asked.lock().unwrap().is_empty(), "it only asked");
    press(&mut app, now, "esc ctrl-c ctrl-c");
    let stop = |level| Request::Stop { level, by: "kim".to_owned() };
    assert_eq!(*host.asked.lock().unwrap(), [stop(StopLevel::Graceful)]);
    let facts = [
        Fact::StopRequested { level: StopLevel::Graceful, by: "kim".into() },
        Fact::SafeStateStarted,
        Fact::SafeStateAction { channel: "supply".into(), act: crate::event::Act::Power(false), problem: None, witness: None },
    ];
    for fact in facts {
        run.journal.append(fact).unwrap();
    }
    settle(&mut app, now);
    pictures!("stopping", app);
    press(&mut app, now, "ctrl-c");
    assert_eq!(host.asked.lock().unwrap().last(), Some(&stop(StopLevel::Now)), "again is more urgent");
    run.journal.append(Fact::SafeStateFinished { ok: true, by: "controller".into() }).unwrap();
    settle(&mut app, now);
    assert!(drawn(&mut app, 80, 24).contains("safe state confirmed"));
}

#[test]
fn leaving_a_run_that_goes_on_is_asked_about() {
    let run = live();
    let (mut app, _, now) = app(Opening::Watch(run.run.clone()));
    settle(&mut app, now);
    press(&mut app, now, "q");
    pictures!("leave", app);
    press(&mut app, now, "esc");
    assert_eq!(app.left(), None);
    press(&mut app, now, "q d");
    assert_eq!(app.left(), Some(Left::Done));
}

/// Rule: a run that has told its end is not asked about any more; leaving waits until it is closed.
#[test]
fn leaving_a_run_that_is_being_closed_waits_for_its_end() {
    for keys in ["", "s", "q"] {
        let run = live();
        let (mut app, _, now) = app(Opening::Watch(run.run.clone()));
        settle(&mut app, now);
        // A question that is open when the run ends has answered itself.
        press(&mut app, now, "q");
        assert!(drawn(&mut app, 80, 24).contains("The run is still going"));
        for event in fixture::failing().into_iter().skip(20) {
            run.journal.append_at(event.at, event.fact).unwrap();
        }
        settle(&mut app, now);
        let screen = drawn(&mut app, 80, 24);
        assert!(!screen.contains("The run is still going") && screen.contains("ended meanwhile"), "{screen}");
        assert!(app.session().unwrap().is_live(), "the journal is still open");
        // There is nothing to stop any more.
        press(&mut app, now, keys);
        press(&mut app, now, "q");
        assert!(drawn(&mut app, 80, 24).contains("being closed"), "{}", drawn(&mut app, 80, 24));
        assert_eq!(app.left(), None);
        run.journal.close().unwrap();
        let later = now + Duration::from_secs(5);
        settle(&mut app, later);
        assert_eq!(app.left(), Some(Left::Done));
    }
}

/// Rule: no key on no screen does harm, whatever was pressed before, in any size.
#[test]
fn every_key_on_every_screen() {
    let keys: Vec<Key> = ACTIONS.iter().flat_map(|(.., keys, _)| keys.iter().map(|key| key.parse().unwrap())).collect();
    let others: Vec<Key> =
        ["a", "Z", "backspace", "delete", "f12", "ctrl-x", "0", "9"].iter().map(|key| key.parse().unwrap()).collect();
    let (failed, going) = (failing(), live());
    let openings: [fn(&Recorded, &Recorded) -> Opening; 4] = [
        |_, _| Opening::Start,
        |_, going| Opening::Watch(going.run.clone()),
        |failed, _| Opening::Watch(failed.run.clone()),
        |failed, _| Opening::Replay(failed.run.clone()),
    ];
    for opening in openings {
        for tab in 0..Tab::ALL.len() {
            for key in keys.iter().chain(&others) {
                let (mut app, _, now) = app(opening(&failed, &going));
                settle(&mut app, now);
                press(&mut app, now, &(tab + 1).to_string());
                app.key(*key);
                app.tick(now);
                for (width, height) in [(80, 24), (1, 1), (0, 0), (13, 5), (300, 3)] {
                    drawn(&mut app, width, height);
                }
                // And once more, in whatever that has opened.
                app.key(*key);
                app.tick(now);
                drawn(&mut app, 40, 12);
            }
        }
    }
}

/// Rule: every action of the table does something somewhere, or the table promises too much.
#[test]
fn every_action_is_understood() {
    let run = failing();
    for (action, context, name, ..) in ACTIONS {
        let opening = match context {
            super::keys::Context::Start => Opening::Start,
            super::keys::Context::Replay => Opening::Replay(run.run.clone()),
            _ => Opening::Watch(run.run.clone()),
        };
        let (mut app, _, now) = app(opening);
        settle(&mut app, now);
        let prepare = match action {
            Action::Up | Action::First | Action::Left => "1 right down down",
            Action::Down | Action::PageDown | Action::Last | Action::Open => "1",
            Action::Right => "1",
            Action::PageUp => "1 right G",
            Action::Back => "?",
            Action::PreviousTab | Action::Tab7 => "2",
            Action::Freeze | Action::Hex | Action::Times => "2",
            Action::SearchNext | Action::SearchPrevious => "/ e enter",
            Action::NextChannel | Action::PreviousChannel => "3",
            Action::PreviousEvent | Action::PreviousStep | Action::PreviousFailure | Action::ToBegin => ">",
            Action::Slower => "+ +",
            _ => "",
        };
        press(&mut app, now, prepare);
        let before = drawn(&mut app, 80, 24);
        app.key(Keymap::default().of(*action)[0]);
        settle(&mut app, now);
        let after = drawn(&mut app, 80, 24);
        let wished = app.wishes.suspend || app.wishes.redraw || app.left().is_some();
        assert!(before != after || wished, "`{name}` does nothing");
    }
}

proptest! {
    /// Rule: a moment that is gone to is the same as the fold of everything before it, wherever one comes from.
    #[test]
    fn going_to_a_moment_is_folding_up_to_it(targets in proptest::collection::vec(0_u64..3000, 1..8)) {
        static RUN: std::sync::OnceLock<(Recorded, Vec<Event>)> = std::sync::OnceLock::new();
        let (recorded, events) = RUN.get_or_init(|| {
            let mut story = fixture::Story::begin("20261123-221530-5eec", &[("a", "a")]);
            for n in 0..2900_u64 {
                story.add(match n % 5 {
                    0 => Fact::StepStarted { step: format!("a/{n}").as_str().into(), text: "x".into(), deadline: Nanos(n) },
                    1 => Fact::Received { channel: "console".into(), offset: n, len: 7 },
                    2 => Fact::BenchFault { channel: None, what: n.to_string() },
                    3 => Fact::Acting { channel: "supply".into(), act: crate::event::Act::Power(n % 2 == 0), step: None },
                    _ => Fact::Sent { channel: "console".into(), offset: n, len: 3 },
                });
            }
            (record(&story.events, b"", true), story.events)
        });
        let mut tape = Tape::open(&recorded.run).unwrap();
        while !tape.is_caught_up() {
            tape.advance(Duration::from_millis(5));
        }
        for target in targets {
            tape.seek(target);
            let expected = RunView::of(events.iter().take(target as usize));
            prop_assert_eq!(tape.view(), &expected, "at {}", target);
            prop_assert_eq!(tape.position(), target.min(events.len() as u64));
        }
    }

    /// Rule: nothing that a device, a plan or a person writes drives the terminal.
    #[test]
    fn hostile_text_never_reaches_the_terminal(
        text in "(\\PC|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202e}\u{2066}\u{200b}]){0,40}", bytes in any::<Vec<u8>>(), tab in 1_u8..8,
    ) {
        let mut story = fixture::Story::begin("20261123-221530-e511", &[(text.as_str(), text.as_str())]);
        story.add(Fact::ChannelOpened { channel: "console".into(), identity: text.clone() });
        story.add(Fact::CaseStarted { case: text.as_str().into(), title: text.clone(), assesses: vec![text.clone()] });
        story.add(Fact::StepStarted { step: "x/1".into(), text: text.clone(), deadline: Nanos(1) });
        story.add(Fact::Received { channel: "console".into(), offset: 0, len: bytes.len() as u64 });
        story.add(Fact::BenchFault { channel: None, what: text.clone() });
        story.add(Fact::Prompted {
            prompt: 1, step: None, text: text.clone(), picture: Some(text.clone()), choices: vec![text.clone()], free: true, within_ms: 9,
        });
        let run = record(&story.events, &bytes, false);
        let (mut app, _, now) = app(Opening::Watch(run.run.clone()));
        settle(&mut app, now);
        for keys in ["", "esc", &tab.to_string(), "x"] {
            press(&mut app, now, keys);
            let mut buffer = Buffer::empty(Rect::new(0, 0, 90, 30));
            app.draw(&mut buffer);
            prop_assert!(buffer.content().iter().all(|cell| cell.symbol().chars().all(sanitise::is_harmless)));
        }
    }
}

/// Rule: what a screen costs does not grow with the run.
#[test]
fn memory_is_bounded_however_long_the_run_is() {
    let mut story = fixture::Story::begin("20261123-221530-10e6", &[("a", "a")]);
    for n in 0..40_000_u64 {
        story.add(Fact::Received { channel: "console".into(), offset: n * 4, len: 4 });
    }
    let run = record(&story.events, &b"abc\n".repeat(40_000), true);
    let mut tape = Tape::open(&run.run).unwrap();
    while !tape.is_caught_up() {
        tape.advance(Duration::from_millis(50));
    }
    assert!(tape.checkpoints() <= 64, "{}", tape.checkpoints());
    let stream = tape.streams().next().unwrap().clone();
    assert!(tape.times_of(&stream) <= 16_384, "{}", tape.times_of(&stream));
    // Thinned times still tell when a byte came, to within what was left out.
    let at = tape.time_of(&stream, 4 * 30_000).unwrap();
    assert!(at <= Nanos(30_001 * 10_000_000) && at >= Nanos(29_990 * 10_000_000), "{at:?}");
}
