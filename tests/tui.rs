//! The terminal UI as its users meet it: the real program on a real pseudo-terminal, watched by a terminal emulator.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "process/bench.rs"]
#[expect(dead_code, reason = "shared with the tests of the program, which use more of it")]
mod bench;
#[path = "tui/screen.rs"]
#[expect(dead_code, reason = "shared with the benches, which use more of it")]
mod screen;

use std::{fs, sync::Arc, time::Duration};

use hilbench::{
    event::{Event, Fact, Nanos, RunHeader, RunId},
    journal::{Journal, Options, RunDir, RunState},
};
use nix::sys::signal::Signal;

use bench::{Bench, eventually};
use screen::Screen;

const LOCK: &str = "rigs/virtual-lock.yaml";
const PLAN: &str = "testplans/secure-update.yaml";

/// One short case.
const SHORT: &[&str] = &["run", PLAN, "--rig", LOCK, "--case", "genuine-update", "--tui"];

/// A case that goes on until it is stopped: a search of a million cuts, on one core, each of them really executed.
fn start_long(bench: &Bench) -> Screen {
    let plan = fs::read_to_string(bench::shipped(PLAN)).unwrap();
    let many = plan.replace("          torn: 2\n", "          torn: 2\n          second: 50\n");
    assert_ne!(plan, many, "the search has moved");
    let plan = bench.file("long.yaml", &many);
    let only = ["--case", "power-cut-during-update", "--threads", "1", "--execute-checks", "--tui"];
    let mut screen = Screen::start(bench, &[&["run", plan.to_str().unwrap(), "--rig", LOCK][..], &only].concat(), 80, 24);
    screen.until("flash operation");
    screen
}

/// The only run of the store, once it is there and in this state.
fn the_run(bench: &Bench, state: RunState) -> RunDir {
    let mut found = None;
    eventually("a run in that state", || {
        found = bench.runs().pop().and_then(|path| RunDir::open(path).ok()).filter(|run| run.state() == state);
        found.is_some()
    });
    found.unwrap()
}

fn events(run: &RunDir) -> Vec<Event> {
    run.read().unwrap().events
}

/// A run that was stopped by `by` has reached its safe state.
fn stopped_safely(bench: &Bench, by: &str) {
    let run = the_run(bench, RunState::Closed);
    let events = events(&run);
    let stopped = events.iter().any(|event| matches!(&event.fact, Fact::StopRequested { by: found, .. } if found == by));
    assert!(stopped, "nobody called {by} stopped it");
    assert!(events.iter().any(|event| matches!(event.fact, Fact::SafeStateFinished { ok: true, .. })));
    assert!(!bench.supply_is_up("virtual-lock"));
}

#[test]
fn a_run_from_start_to_result_without_a_manual() {
    let bench = Bench::new();
    let mut screen = Screen::start(&bench, &["tui"], 80, 24);
    screen.until("virtual-lock");
    screen.until("free virtual-lock");
    // The rigs are sorted; the good lock is looked for as a person would.
    for _ in 0..30 {
        if screen.text().contains("The smart lock, emulated") {
            break;
        }
        screen.keys("j");
        screen.settle();
    }
    screen.keys("d");
    screen.until("The bench is in order.");
    screen.keys("\x1b");
    screen.until("1. Choose a bench");
    screen.keys("\r");
    for _ in 0..30 {
        if screen.text().contains("Signed updates, downgrade") {
            break;
        }
        screen.keys("j");
        screen.settle();
    }
    screen.keys("\r");
    screen.until("[x] genuine-update");
    // The first case only, then the first row starts.
    screen.keys("jjjjjjj\r");
    screen.until("Start: 1 of 30 cases");
    screen.keys("g\r");
    screen.until("PASS in");
    screen.until("safe state confirmed");
    screen.keys("q");
    screen.until("1. Choose a bench");
    screen.until("pass");
    screen.keys("q");
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn the_exit_code_is_that_of_the_run() {
    let bench = Bench::new();
    let rig = "rigs/virtual-lock-vulnerable.yaml";
    let arguments = ["run", PLAN, "--rig", rig, "--case", "tampered-payload-middle", "--tui"];
    let mut screen = Screen::start(&bench, &arguments, 100, 30);
    screen.until("FAIL in");
    screen.until("SIG-PAYLOAD");
    screen.keys("q");
    assert_eq!(screen.end(), Some(1));
    // What is wrong with the files is told where it can be read.
    let mut screen = Screen::start(&bench, &["run", PLAN, "--rig", "rigs/no-such.yaml", "--tui"], 100, 30);
    assert_eq!(screen.end(), Some(2));
    assert!(screen.text().contains("no-such"), "{}", screen.text());
}

#[test]
fn stopping_asks_shows_the_safe_state_and_ends_with_3() {
    let bench = Bench::new();
    let mut screen = start_long(&bench);
    screen.keys("\x03");
    screen.until("Stop the run?");
    assert!(!events(&the_run(&bench, RunState::Running)).iter().any(|event| matches!(event.fact, Fact::StopRequested { .. })));
    screen.keys("\r");
    screen.until("safe state confirmed");
    screen.keys("\x1b");
    screen.until("INCONCLUSIVE");
    screen.keys("q");
    assert_eq!(screen.end(), Some(3));
    assert!(!bench.supply_is_up("virtual-lock"));
}

#[test]
fn a_prompt_is_answered_in_the_terminal() {
    let bench = Bench::new();
    let plan = bench.file(
        "plan.yaml",
        "schema: testplan/1\nname: table\ntitle: What lies on the table\nrequires: [supply]\ntimeout: 10m\ncases:\n  - id: table\n    \
         title: The lock is there\n    assesses: [5.3-2-2]\n    timeout: 9m\n    steps:\n      - prompt: { text: 'Is the lock on the table?', \
         choices: [there, missing], pass: [there], fail: [missing], within: 8m, reason: TABLE }\n",
    );
    let plan = plan.to_str().unwrap();
    let mut screen = Screen::start(&bench, &["run", plan, "--rig", LOCK, "--tui"], 80, 24);
    screen.until("Is the lock on the table?");
    screen.until("2 missing");
    screen.keys("j\r");
    screen.until("FAIL in");
    screen.keys("q");
    assert_eq!(screen.end(), Some(1));
    let answered = |event: &Event| matches!(&event.fact, Fact::Answered { answer, .. } if answer == "missing");
    assert!(events(&the_run(&bench, RunState::Closed)).iter().any(answered), "the answer is a fact");
}

#[test]
fn detached_a_run_goes_on_and_can_be_attached_and_stopped() {
    let bench = Bench::new();
    let mut screen = start_long(&bench);
    screen.keys("d");
    assert_eq!(screen.end(), Some(3), "what comes of it is not known");
    the_run(&bench, RunState::Running);
    let mut screen = Screen::start(&bench, &["tui", "--attach"], 80, 24);
    screen.until("RUNNING");
    screen.until("points judged");
    // Leaving a run of somebody else's does not stop it.
    screen.keys("q");
    screen.until("The run is still going");
    screen.keys("d");
    assert_eq!(screen.end(), Some(0));
    the_run(&bench, RunState::Running);
    let mut screen = Screen::start(&bench, &["tui", "--attach", "latest"], 80, 24);
    screen.until("RUNNING");
    screen.keys("sn");
    screen.until("safe state confirmed");
    screen.keys("\x1bq");
    the_run(&bench, RunState::Closed);
    screen.keys("q");
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn a_terminal_of_any_size_and_many_of_them() {
    let bench = Bench::new();
    let mut screen = Screen::start(&bench, SHORT, 1, 1);
    for (columns, rows) in
        [(80, 24), (1, 1), (300, 2), (2, 100), (9, 9), (200, 60), (10, 3), (1, 50), (40, 8)].into_iter().cycle().take(27)
    {
        screen.resize(columns, rows);
        screen.keys("\t?\x1b");
    }
    screen.resize(80, 24);
    screen.keys("\x1b\x1b\x0c1");
    screen.until("PASS in");
    screen.keys("q");
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn suspended_it_gives_the_terminal_back_and_the_run_goes_on() {
    let bench = Bench::new();
    // Below a shell, which is where somebody can continue it.
    let mut screen = Screen::below_a_shell(&bench, SHORT, 80, 24);
    screen.until("genuine-update");
    screen.keys("\x1a");
    screen.until_stopped();
    screen.is_restored();
    // The run does not care.
    the_run(&bench, RunState::Closed);
    screen.signal(Signal::SIGCONT);
    screen.until("PASS in");
    assert!(!screen.has_given_back());
    // The same by a signal from elsewhere.
    screen.signal(Signal::SIGTSTP);
    screen.until_stopped();
    screen.is_restored();
    screen.signal(Signal::SIGCONT);
    screen.until("PASS in");
    screen.keys("q");
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn told_to_end_or_without_its_terminal_it_stops_the_run_first() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGHUP, "SIGHUP")] {
        let bench = Bench::new();
        let mut screen = start_long(&bench);
        if signal == Signal::SIGHUP {
            screen.hang_up();
        } else {
            screen.signal(signal);
            assert_eq!(screen.end(), Some(3), "the run was stopped");
        }
        stopped_safely(&bench, name);
    }
}

#[test]
fn a_panic_restores_the_terminal_and_leaves_the_bench_safe() {
    let bench = Bench::new();
    let mut screen = start_long(&bench);
    screen.keys("\x1b[24~");
    assert_eq!(screen.end(), Some(70));
    assert!(screen.text().contains("asked to panic"), "{}", screen.text());
    stopped_safely(&bench, "the terminal UI, which has failed");
}

#[test]
fn killed_or_not_read_it_never_disturbs_the_run() {
    let bench = Bench::new();
    let mut screen = Screen::start(&bench, SHORT, 80, 24);
    screen.until("genuine-update");
    // Nobody reads the terminal any more, and then the program is shot.
    screen.redraw_without_reading(Duration::from_millis(300));
    screen.signal(Signal::SIGKILL);
    let run = the_run(&bench, RunState::Closed);
    let verdict = run.manifest().unwrap().summary.verdict;
    assert_eq!(verdict, Some(hilbench::event::Verdict::Pass));
    assert!(!bench.supply_is_up("virtual-lock"));
    // Stopped from outside, it is the same.
    let bench = Bench::new();
    let mut screen = Screen::start(&bench, SHORT, 80, 24);
    screen.until("genuine-update");
    screen.signal(Signal::SIGSTOP);
    the_run(&bench, RunState::Closed);
    screen.signal(Signal::SIGCONT);
    screen.until("PASS in");
    screen.keys("q");
    assert_eq!(screen.end(), Some(0));
}

/// Things that terminals obey: titles, other screens, cursor, colours, reports, charsets, device strings, C1, bidi.
const HOSTILE: &[&str] = &[
    "\x1b]0;owned\x07",
    "\x1b]2;owned\x1b\\",
    "\x1b]52;c;b3duZWQ=\x07",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[2J",
    "\x1b[H",
    "\x1b[?1049l",
    "\x1b[?25h",
    "\x1b[?2004l",
    "\x1b[?1000h",
    "\x1b[31m",
    "\x1b[7m",
    "\x1b[5m",
    "\x1b[8m",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[5n",
    "\x1bc",
    "\x1b(0lqqk",
    "\x1b#8",
    "\x1b[1;1r",
    "\x1b[999;999H",
    "\x1b[1000A",
    "\x1b[1000T",
    "\x1bP+q544e\x1b\\",
    "\x1b_G\x1b\\",
    "\x1b^x\x1b\\",
    "\u{9b}2J",
    "\u{9d}0;owned\u{9c}",
    "\u{90}q\u{9c}",
    "\u{202e}desrever",
    "\u{2066}x\u{2069}",
    "\u{200b}\u{feff}",
    "\x07\x07",
    "\x08\x08\x08",
    "\r\roverwritten",
    "\x0b\x0c",
    "\x0e\x0f",
    "\x7f",
    "\x00",
    "\x1b[20h",
    "\x1b[4h",
    "\x1b[12l",
    "\x1b]4;1;rgb:f/0/0\x07",
    "\x1b[!p",
    "\x1b[?3h",
    "\x1b[?5h",
    "a\u{301}\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦",
    "漢字",
    "\x1b",
    "\x1b[",
    "\x1b]",
    "\x1bP",
];

#[test]
fn a_hostile_console_leaves_the_screen_intact() {
    let bench = Bench::new();
    let id = RunId::from("20261126-040000-0bad");
    let journal = Journal::create(Options::new(bench.store().join("runs"), id.clone(), Arc::new(|| Nanos(1)))).unwrap();
    let header = RunHeader {
        schema: "events/1".into(),
        tool: "hilbench".into(),
        run: id,
        command: vec!["hilbench".into(), "run".into(), HOSTILE.concat()],
        started: "2026-11-26T04:00:00Z".into(),
        clock: "wall".into(),
        seed: 1,
        plan: HOSTILE.concat(),
        rig: "rig\x1b[2J".into(),
        device: "\u{202e}".into(),
        files: vec![],
        cases: vec![("case".into(), HOSTILE.concat())],
    };
    journal.append(Fact::RunStarted(Box::new(header))).unwrap();
    let console = "console".into();
    for piece in HOSTILE {
        journal.received(Nanos(5), &console, format!("{piece}\r\nfollowed by {piece}\n").as_bytes()).unwrap();
        journal.append(Fact::BenchFault { channel: None, what: (*piece).to_owned() }).unwrap();
    }
    journal.received(Nanos(6), &console, &b"x".repeat(300_000)).unwrap();
    journal.received(Nanos(6), &console, &(0..=255).cycle().take(70_000).collect::<Vec<u8>>()).unwrap();
    journal.received(Nanos(7), &console, b"\nthe last line\n").unwrap();
    journal.close().unwrap();
    let mut screen = Screen::start(&bench, &["tui", "--attach", "latest"], 80, 24);
    screen.until("7 Result");
    for keys in
        ["2", "kkkkkkkkkk", "x", "gG", "x", "g", "3", "g", "4", "5", "1", "\r", "7", "\r", "\x1b", "y", "\x1b", "/owned\r", "n"]
    {
        screen.keys(keys);
        screen.settle();
        assert!(screen.text().contains("q leave") || screen.text().contains("Esc close"), "after {keys:?}:\n{}", screen.text());
    }
    // What a terminal was told is what the program says by itself, and nothing else.
    screen.was_only_told_harmless_things();
    screen.keys("\x1bq");
    assert_eq!(screen.end(), Some(0));
}

#[test]
fn keys_can_be_changed_and_a_wrong_file_is_told() {
    let bench = Bench::new();
    let good = bench.file("keys.yaml", "keys: { leave: [w] }\n");
    let mut screen = Screen::start(&bench, &["tui", "--keys", good.to_str().unwrap(), "--ascii"], 80, 24);
    screen.until("1. Choose a bench");
    screen.until("w leave");
    assert!(screen.text().is_ascii(), "{}", screen.text());
    screen.keys("q");
    screen.settle();
    assert!(!screen.has_given_back());
    screen.keys("w");
    assert_eq!(screen.end(), Some(0));
    let bad = bench.file("bad.yaml", "keys: { leav: [w] }\n");
    let mut screen = Screen::start(&bench, &["tui", "--keys", bad.to_str().unwrap()], 80, 24);
    assert_eq!(screen.end(), Some(2));
    assert!(screen.text().contains("did you mean `leave`?"), "{}", screen.text());
    let ended = bench.hilbench(["tui"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("needs a terminal"), "{ended:?}");
}

/// The pictures of the documentation are what the program draws; `HILBENCH_WRITE=1` writes them.
#[test]
fn the_documentation_shows_real_screens() {
    for document in ["docs/tui.md", "README.md"] {
        let path = bench::shipped(document);
        let text = fs::read_to_string(&path).unwrap();
        let mut written = String::new();
        let mut rest = text.as_str();
        let mut pictures = 0;
        while let Some((before, after)) = rest.split_once("<!-- hilbench ") {
            let (command, after) = after.split_once(" -->\n").unwrap();
            let (_, after) = after.split_once("```text\n").unwrap();
            let (_, after) = after.split_once("```\n").unwrap();
            // Of the recorded runs where one is named, else of a store without runs.
            let bench = Bench::new();
            let mut program = bench.command(env!("CARGO_BIN_EXE_hilbench"));
            if command.contains("20261126-") {
                program.env("HILBENCH_STORE", bench::shipped("tests/fixtures/tui"));
            }
            program.env("XDG_CONFIG_HOME", bench.path("config")).env_remove("HILBENCH_KEYS");
            let output = program.args(command.split(' ')).output().unwrap();
            let drawn = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            written.push_str(&format!("{before}<!-- hilbench {command} -->\n```text\n{drawn}```\n"));
            rest = after;
            pictures += 1;
        }
        written.push_str(rest);
        assert!(pictures > 0, "{document}");
        if std::env::var_os("HILBENCH_WRITE").is_some() {
            fs::write(&path, written).unwrap();
        } else {
            let hint = "run `HILBENCH_WRITE=1 cargo test --test tui documentation`";
            assert!(written == text, "{document} is not what the program draws; {hint}");
        }
    }
}
