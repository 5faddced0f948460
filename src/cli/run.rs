//! `hilbench run`: from arguments to a recorded run.

use std::{
    io::{IsTerminal as _, stdout},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    Exit, answer, arguments,
    arguments::{MessageFormat, Unattended},
    check, complain, signals, terminal, wiring,
};
use crate::{
    channel::clock::Clock,
    console::{Console, Format, Options as ConsoleOptions},
    event::{CaseId, Digest, FileDigest, NOT_SELECTED, RunHeader, SCHEMA, Verdict},
    journal::{Input, Journal, Options, RunDir, new_run_id},
    plan::{Applicability, Bound, bind, load_plan, model::Case},
    report,
    rig::load_rig,
    run::{
        control::Control,
        cuts::CutOptions,
        desk::{Attendance, Desk},
        dispatch::{RunEnd, Setup, run as perform},
        lease,
    },
    step::{Step, StepKind},
    units::Span,
    view::RunView,
};

/// How often the status line is renewed.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(arguments: arguments::Run) -> Exit {
    if arguments.own_session {
        // Fails only where it is one already.
        let _ = nix::unistd::setsid();
    }
    match prepare(&arguments) {
        // The run is another process's doing; here the files were only checked, where their problems can still be read.
        Ok(_) if arguments.tui => super::tui::run(&arguments),
        Ok(bound) => run_bound(arguments, bound),
        Err(exit) => exit,
    }
}

/// Runs what has been checked.
pub(super) fn run_bound(arguments: arguments::Run, bound: Bound) -> Exit {
    let desk = match desk(&arguments) {
        Ok(desk) => desk,
        Err(what) => {
            complain(&format!("error: {}", crate::diagnostic::sanitise(&what)));
            return Exit::InvalidInput;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::BenchError;
        }
    };
    let exit = runtime.block_on(supervise(arguments, bound, desk));
    // A forced stop does not wait for an instrument that answers nobody.
    runtime.shutdown_timeout(Duration::from_millis(if exit == Exit::Forced { 50 } else { 2_000 }));
    exit
}

/// Reads and checks everything. Nothing has been touched when this fails.
fn prepare(arguments: &arguments::Run) -> Result<Bound, Exit> {
    let (plan, rig) = (load_plan(&arguments.plan), load_rig(&arguments.rig, &wiring::catalogue()));
    for report in [plan.as_ref().err(), rig.as_ref().err()].into_iter().flatten() {
        check::print(report, arguments.message_format);
    }
    let (Ok(plan), Ok(rig)) = (plan, rig) else { return Err(Exit::InvalidInput) };
    let bound = bind(&plan, &rig).map_err(|report| {
        check::print(&report, arguments.message_format);
        Exit::InvalidInput
    })?;
    check::print(&bound.report, arguments.message_format);
    let mut problems = wiring::problems(&bound.rig);
    problems.extend(wiring::misplaced(&bound.rig, &bound.altered, &format!("plan {}", bound.plan.name)));
    for problem in &problems {
        complain(&format!("error: {}", crate::diagnostic::sanitise(problem)));
    }
    if !problems.is_empty() {
        return Err(Exit::InvalidInput);
    }
    for wanted in &arguments.case {
        if !bound.plan.cases.iter().any(|case| case.id == *wanted) {
            let known: Vec<_> = bound.plan.cases.iter().map(|case| case.id.as_str()).collect();
            let near = crate::diagnostic::nearest(wanted, known.iter().copied());
            let hint = near.map_or_else(|| format!("it has {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
            complain(&format!("error: the plan has no case `{}`; {hint}", crate::diagnostic::sanitise(wanted)));
            return Err(Exit::InvalidInput);
        }
    }
    if let Some(point) = arguments.cut {
        one_search(&bound, &arguments.case).map_err(|why| {
            complain(&format!("error: --cut {point}: {why}"));
            Exit::InvalidInput
        })?;
    }
    Ok(bound)
}

/// A cut point means something in one search only: exactly one of the selected cases must have one.
fn one_search(bound: &Bound, selected: &[String]) -> Result<(), String> {
    let names = |cases: &[&Case]| cases.iter().map(|case| case.id.as_str()).collect::<Vec<_>>().join(", ");
    let searching: Vec<&Case> = bound.plan.cases.iter().filter(|case| searches(&case.steps) > 0).collect();
    let meant: Vec<&Case> = searching.iter().filter(|case| selected.is_empty() || selected.contains(&case.id)).copied().collect();
    match meant.as_slice() {
        [] if searching.is_empty() => Err("the plan has no power-cut search".to_owned()),
        [] => Err(format!("no selected case has a power-cut search; these have one: {}", names(&searching))),
        [one] if searches(&one.steps) > 1 => Err(format!("case {} has more than one power-cut search", one.id)),
        [_] => Ok(()),
        _ => Err(format!("several cases have a power-cut search; choose one with --case: {}", names(&meant))),
    }
}

/// Power-cut searches among `steps`.
fn searches(steps: &[Step]) -> usize {
    let within = |step: &Step| match &step.kind {
        StepKind::PowerCutSearch { .. } => 1,
        StepKind::Measure { steps, .. } | StepKind::Retry { steps, .. } => searches(steps),
        _ => 0,
    };
    steps.iter().map(within).sum()
}

/// Where the operator is asked. Without a terminal nobody is expected, unless the command line says otherwise.
fn desk(arguments: &arguments::Run) -> Result<Desk, String> {
    let prepared = arguments.answers.as_deref().map(answer::prepared).transpose()?.unwrap_or_default();
    let attendance = match arguments.unattended {
        Some(Unattended::Skip) => Attendance::Nobody,
        Some(Unattended::Wait) => Attendance::Somebody,
        None if std::io::stdin().is_terminal() => Attendance::Somebody,
        None => Attendance::Nobody,
    };
    Ok(Desk::new(attendance, prepared))
}

async fn supervise(arguments: arguments::Run, bound: Bound, desk: Desk) -> Exit {
    let (requests, served) = mpsc::channel(16);
    if let Err(error) = signals::forward(requests.clone()) {
        complain(&format!("cannot watch for signals: {error}"));
        return Exit::BenchError;
    }
    let (setup, journal) = match assemble(&arguments, bound, &desk) {
        Ok(pair) => pair,
        Err(message) => {
            complain(&format!("error: {message}"));
            return Exit::BenchError;
        }
    };
    let clock = Arc::clone(&setup.clock);
    let progress = tokio::spawn(show_progress(arguments.message_format, journal.clone(), clock));
    // A run without its socket is still a run; only other terminals cannot answer it.
    let control = Control::start(journal.directory(), desk.clone(), requests);
    if let Err(error) = &control {
        complain(&format!("warning: `hilbench answer` cannot reach this run: {error}"));
    }
    let typed = terminal::listen(desk);
    let end = perform(setup, served).await;
    drop((control, typed));
    close(journal, end, progress).await
}

/// Takes the files of a checked run into a journal and starts the bench. The device is still off.
fn assemble(arguments: &arguments::Run, bound: Bound, desk: &Desk) -> Result<(Setup, Journal), String> {
    let store = &arguments.store.store;
    let store = std::path::absolute(store).map_err(|error| format!("{}: {error}", store.display()))?;
    let Bound { plan, mut rig, applicability, altered, sources, .. } = bound;
    let wiring::Wired { registry, clock, hold } =
        wiring::for_run(&mut rig, &store, arguments.seed, desk).map_err(|error| error.to_string())?;
    let skipped = plan.cases.iter().zip(&applicability).filter_map(|(case, applicability)| {
        let why = match applicability {
            Applicability::NotApplicable(why) => format!("not applicable: {why}"),
            Applicability::Applicable if !arguments.case.is_empty() && !arguments.case.contains(&case.id) => {
                NOT_SELECTED.to_owned()
            }
            Applicability::Applicable => return None,
        };
        Some((CaseId::new(&case.id), why))
    });
    let skipped = skipped.collect();
    let run = arguments.identity.clone().unwrap_or_else(|| new_run_id(jiff::Timestamp::now()));
    let mut options = Options::new(store.join("runs"), run.clone(), {
        let clock = Arc::clone(&clock);
        Arc::new(move || clock.now())
    });
    let mut files = Vec::new();
    for source in &sources {
        let (name, bytes) = (source.path.display().to_string(), source.text.as_bytes().to_vec());
        files.push(FileDigest { path: name.clone(), digest: Digest::of(&bytes) });
        options.inputs.push(Input { name, bytes });
    }
    for (role, image) in rig.device.images.iter().chain(&altered) {
        files.push(FileDigest { path: format!("image {role} ({})", image.file.display()), digest: Digest::of(&image.bytes) });
    }
    let seed = arguments
        .seed
        .or(rig.virtual_device.as_ref().map(|device| device.seed))
        .or(rig.virtual_hub.as_ref().map(|hub| hub.seed))
        .unwrap_or(0);
    let header = RunHeader {
        schema: SCHEMA.to_owned(),
        tool: concat!("hilbench ", env!("CARGO_PKG_VERSION")).to_owned(),
        run,
        command: std::env::args().collect(),
        started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        clock: clock.name().to_owned(),
        seed,
        plan: plan.name.clone(),
        rig: rig.name.clone(),
        device: rig.device.name.clone(),
        files,
        cases: plan.cases.iter().map(|case| (CaseId::new(&case.id), case.title.clone())).collect(),
    };
    let journal = Journal::create(options).map_err(|error| error.to_string())?;
    let guard = std::env::current_exe().map_err(|error| format!("cannot find the guard's program: {error}"))?;
    let seed = arguments.seed.map(|seed| format!(" --seed {seed}")).unwrap_or_default();
    let cuts = CutOptions {
        only: arguments.cut,
        threads: arguments.threads,
        execute_checks: arguments.execute_checks,
        command: format!("hilbench run {} --rig {}{seed}", quoted(&arguments.plan), quoted(&arguments.rig)),
    };
    let setup = Setup {
        plan,
        rig,
        skipped,
        registry,
        clock,
        journal: journal.clone(),
        header,
        leases: lease::directory(&store),
        wait: arguments.wait.map(Span::duration),
        guard: Some(vec![guard.display().to_string(), "guard".to_owned()]),
        cuts,
        fail_fast: arguments.fail_fast,
        desk: desk.clone(),
        hold,
    };
    Ok((setup, journal))
}

/// A path as a shell takes it.
fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+=:,".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Prints what the journal says until it is closed; returns the printer for the last lines.
async fn show_progress(format: MessageFormat, journal: Journal, clock: Arc<dyn Clock>) -> Console<std::io::Stdout> {
    let terminal = stdout().is_terminal().then(columns);
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    let mut options = ConsoleOptions::detect(terminal, no_color.as_deref(), term.as_deref());
    if format == MessageFormat::Json {
        options.format = Format::Json;
    }
    let directory = journal.directory().to_owned();
    let excerpts =
        move |place: &crate::event::EvidenceRef, most: usize| RunDir::open(&directory).ok()?.evidence(place, most).ok();
    let mut console = Console::new(stdout(), options, Box::new(excerpts));
    let mut cursor = journal.observe();
    drop(journal);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        // A display that cannot be written is no reason to stop a run.
        let shown = tokio::select! {
            biased;
            event = cursor.next() => match event {
                Some(event) => {
                    let last = matches!(event.fact, crate::event::Fact::RunFinished { .. });
                    let shown = console.event(&event);
                    if last {
                        return console;
                    }
                    shown
                }
                None => return console,
            },
            _ = tick.tick() => console.tick(clock.now()),
        };
        if let Err(error) = shown {
            tracing::warn!(%error, "progress cannot be printed");
        }
    }
}

/// Columns of the terminal, as the environment says; 100 if it does not.
fn columns() -> usize {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(100)
}

/// Reports, closed run directory, last lines.
async fn close(journal: Journal, end: RunEnd, progress: tokio::task::JoinHandle<Console<std::io::Stdout>>) -> Exit {
    if end.forced {
        complain("left without waiting; the guard drives the bench to its safe state, `hilbench show` tells whether it did");
        return Exit::Forced;
    }
    let partial = journal.directory().to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let reported = write_reports(&partial);
        (partial, reported, journal.close())
    });
    let (directory, reported, closed) = match written.await {
        Ok((partial, reported, closed)) => match closed {
            Ok(closed) => (closed.directory, reported, Ok(())),
            Err(error) => (partial, reported, Err(error)),
        },
        Err(error) => {
            complain(&format!("the run directory could not be closed: {error}"));
            return Exit::Bug;
        }
    };
    if let Ok(Ok(mut console)) = tokio::time::timeout(Duration::from_secs(5), progress).await {
        let shown = console.finish(&shortened(&directory));
        if let Err(error) = shown {
            tracing::warn!(%error, "the last lines cannot be printed");
        }
    }
    if let Err(error) = closed {
        complain(&format!("error: {error}"));
        return if end.safe { Exit::BenchError } else { Exit::Unsafe };
    }
    if let Err(error) = reported {
        complain(&format!("error: the reports could not be written: {error}"));
        return RunEnd { verdict: end.verdict.and(Verdict::Error), ..end }.into();
    }
    end.into()
}

/// Below the working directory a path is shown from there.
fn shortened(path: &std::path::Path) -> std::path::PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

/// JUnit and JSON summary, made from what is on disk: what a reader would see.
fn write_reports(directory: &std::path::Path) -> Result<(), String> {
    let run = RunDir::open(directory).map_err(|error| error.to_string())?;
    let log = run.read().map_err(|error| error.to_string())?;
    let view = RunView::of(&log.events);
    let excerpts = |place: &crate::event::EvidenceRef, most: usize| run.evidence(place, most).ok();
    let source = report::Source { damage: &log.damage, ..report::Source::new(&view, &excerpts) };
    report::write(directory, &source).map_err(|error| error.to_string())
}
