//! `hilbench prove`: runs every row of a proof matrix, each as a run of its own in a process of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use super::{Exit, arguments, arguments::MessageFormat, check, complain, crosscheck, out, wiring};
use crate::{
    diagnostic::{Code, Diagnostic, Place, Report},
    event::{Event, Fact, Verdict},
    journal::{RunDir, find, new_run_id},
    plan::{bind, load_plan},
    prove::{Case, Crosschecked, Expected, Judged, Matrix, Observed, Outcome, Proof, Row, judge},
    rig::load_rig,
    view::{CaseState, RunView, sanitise},
};

/// One run that is to be made.
#[derive(Clone)]
struct Job {
    row: Row,
    seed: Option<u64>,
    tier: Tier,
}

/// What kind of bench a row runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    /// Real instruments, which one run has at a time.
    Instruments,
    /// The emulated chip: it keeps a core busy.
    Computing,
    /// The virtual hub: it runs in real time and mostly waits.
    Waiting,
}

/// Rows that mostly wait, at once for each one that computes.
const WAITING_EACH: usize = 6;

pub(super) fn prove(arguments: &arguments::Prove) -> Exit {
    let matrix = match Matrix::load(&arguments.matrix) {
        Ok(matrix) => matrix,
        Err(report) => {
            check::print(&report, arguments.message_format);
            return Exit::InvalidInput;
        }
    };
    let jobs = match jobs(arguments, &matrix) {
        Ok(jobs) => jobs,
        Err(exit) => return exit,
    };
    if arguments.tui {
        return watch(arguments, &jobs);
    }
    let directory = arguments.store.store.join("proofs").join(new_run_id(jiff::Timestamp::now()).to_string());
    let directory = match std::path::absolute(&directory).and_then(|path| fs::create_dir_all(&path).map(|()| path)) {
        Ok(directory) => directory,
        Err(error) => {
            complain(&format!("error: cannot make {}: {error}; choose another place with --store", directory.display()));
            return Exit::InvalidInput;
        }
    };
    let stopping = Arc::new(AtomicBool::new(false));
    watch_for_stop(&stopping);
    let workers = arguments.jobs.map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), NonZero::get);
    let rows = run_all(&jobs, workers, &directory, &stopping, arguments.message_format);
    let crosschecked = crosschecked(&jobs, &directory);
    let proof = Proof { name: matrix.name.clone(), rows, crosschecked, not_for: matrix.not_for.clone() };
    let stopped = stopping.load(Ordering::Relaxed);
    if let Err(what) = keep(&proof, &directory, arguments) {
        complain(&format!("error: {what}"));
        return Exit::BenchError;
    }
    if arguments.message_format == MessageFormat::Human {
        out(&format!("\n{}\n", proof.summary()));
        for found in proof.crosschecked.iter().flat_map(|checked| &checked.contradictions) {
            out(&format!("BAD  {found}\n"));
        }
        for reason in proof.sensitivity().iter().filter(|reason| reason.found < reason.seeded) {
            out(&format!("  {}: {} of {} found\n", reason.reason, reason.found, reason.seeded));
        }
        out(&format!("runs, proof.md and proof.json in {}\n", directory.display()));
    }
    match (stopped, proof.holds()) {
        (true, _) => Exit::Inconclusive,
        (false, true) => Exit::Pass,
        (false, false) => Exit::Fail,
    }
}

/// Shows the run of one row on a screen, as it is made in a proof. Whoever watches judges.
fn watch(arguments: &arguments::Prove, jobs: &[Job]) -> Exit {
    let Some(job) = jobs.first().filter(|job| jobs.iter().all(|other| other.row.id == job.row.id)) else {
        complain("error: --tui shows one row; choose it with --variant");
        return Exit::InvalidInput;
    };
    let choice = crate::tui::host::Choice {
        plan: job.row.plan.clone(),
        rig: job.row.rig.clone(),
        cases: job.row.only.iter().cloned().collect(),
        seed: job.seed.map(|seed| seed.to_string()).unwrap_or_default(),
        fail_fast: matches!(job.row.expected, Expected::Fail { .. }),
        wait_for_answers: true,
        ..Default::default()
    };
    super::tui::watch(&arguments.store, choice, &arguments.screen)
}

/// The runs that are to be made; all files are checked before the first.
fn jobs(arguments: &arguments::Prove, matrix: &Matrix) -> Result<Vec<Job>, Exit> {
    let wanted = |row: &Row| arguments.variant.is_empty() || arguments.variant.contains(&row.id);
    if let Some(unknown) = arguments.variant.iter().find(|id| matrix.rows.iter().all(|row| row.id != **id)) {
        let why = matrix.not_for.iter().find(|(id, ..)| id == unknown).map(|(.., why)| format!(" to run: {why}"));
        let known: Vec<_> = matrix.rows.iter().map(|row| row.id.as_str()).collect();
        let what = why.unwrap_or_else(|| format!("; it has {}", known.join(", ")));
        let file = arguments.matrix.display();
        complain(&format!("error: {file} has no `{}`{what}", sanitise::line(unknown, 40)));
        return Err(Exit::InvalidInput);
    }
    let mut jobs = Vec::new();
    let mut bad = false;
    for row in matrix.rows.iter().filter(|row| wanted(row)) {
        match examined(row) {
            Ok(tier) => {
                let several = matches!(row.expected, Expected::Pass { twin: false }) && arguments.seeds > 1;
                let seeds: Vec<_> = if several { (1..=u64::from(arguments.seeds)).map(Some).collect() } else { vec![None] };
                jobs.extend(seeds.into_iter().map(|seed| Job { row: row.clone(), seed, tier }));
            }
            Err(report) => {
                complain(&format!("error: row {} cannot be run:", row.id));
                check::print(&report, arguments.message_format);
                bad = true;
            }
        }
    }
    if bad { Err(Exit::InvalidInput) } else { Ok(jobs) }
}

/// Checks the files of a row; tells what kind of bench it is.
fn examined(row: &Row) -> Result<Tier, Report> {
    let rig = load_rig(&row.rig, &wiring::catalogue())?;
    let plan = load_plan(&row.plan)?;
    let bound = bind(&plan, &rig)?;
    let named = match &row.expected {
        Expected::Fail { case, .. } => Some(case),
        _ => row.only.as_ref(),
    };
    if let Some(case) = named.filter(|case| bound.plan.cases.iter().all(|known| known.id != **case)) {
        let place = Place::start(&plan.source);
        let known = bound.plan.cases.iter().map(|case| case.id.as_str());
        let message = format!("the plan has no case `{case}`, which row {} names", row.id);
        let diagnostic = Diagnostic::new(Code::UnclearRow, place, message).did_you_mean(case, known);
        return Err(Report { diagnostics: vec![diagnostic] });
    }
    Ok(match (&rig.rig.virtual_device, &rig.rig.virtual_hub) {
        (Some(_), _) => Tier::Computing,
        (None, Some(_)) => Tier::Waiting,
        (None, None) => Tier::Instruments,
    })
}

/// The runs get the terminal's interrupt themselves and end safely; no more are begun.
fn watch_for_stop(stopping: &Arc<AtomicBool>) {
    let stopping = Arc::clone(stopping);
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            stopping.store(true, Ordering::Relaxed);
            complain("stopping: the runs that are under way reach their safe state, no more are begun");
        }
    });
}

fn run_all(jobs: &[Job], workers: usize, directory: &Path, stopping: &AtomicBool, format: MessageFormat) -> Vec<Judged> {
    let done: Mutex<BTreeMap<usize, Judged>> = Mutex::default();
    let (waiting, others): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|index| jobs[*index].tier == Tier::Waiting);
    let queues = [(others, AtomicUsize::new(0), workers), (waiting, AtomicUsize::new(0), workers.saturating_mul(WAITING_EACH))];
    let work = |queue: &[usize], next: &AtomicUsize| {
        while !stopping.load(Ordering::Relaxed) {
            let Some(&index) = queue.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let job = &jobs[index];
            let judged = run_one(job, &place(directory, index, job));
            if format == MessageFormat::Human {
                out(&line(&judged));
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, judged);
        }
    };
    thread::scope(|scope| {
        for (queue, next, workers) in &queues {
            for _ in 0..(*workers).min(queue.len()) {
                scope.spawn(|| work(queue, next));
            }
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Holds the records of each good device against each other: those of all plans, with all seeds.
fn crosschecked(jobs: &[Job], directory: &Path) -> Vec<Crosschecked> {
    let good = || jobs.iter().enumerate().filter(|(_, job)| job.row.expected == Expected::Pass { twin: false });
    let rigs: BTreeSet<&Path> = good().map(|(_, job)| job.row.rig.as_path()).collect();
    let of_rig = |rig: &Path| {
        let (mut read, mut contradictions) = (Vec::new(), Vec::new());
        for (index, job) in good().filter(|(_, job)| job.row.rig == rig) {
            // A run that was not made, or not to its end, is a row that does not hold.
            let Ok(run) = find(&place(directory, index, job).join("runs"), "latest") else { continue };
            match crosscheck::read(&run) {
                Ok(run) => read.push(run),
                Err(what) => contradictions.push(what),
            }
        }
        let result = crosscheck::compare(&read);
        contradictions.extend(result.contradictions.iter().map(crosscheck::words));
        let rules = result.examined.iter().filter(|(_, count)| **count > 0).map(|(rule, _)| rule.code().to_owned()).collect();
        let rig = rig.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Crosschecked { rig, runs: read.len(), rules, contradictions }
    };
    rigs.into_iter().map(of_rig).collect()
}

fn place(directory: &Path, index: usize, job: &Job) -> PathBuf {
    directory.join(format!("{index:03}-{}", file_name(&job.row.id)))
}

/// Identities come from a file: no path may be made of them.
fn file_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect()
}

fn run_one(job: &Job, place: &Path) -> Judged {
    let start = Instant::now();
    let edited = || if job.row.edited { edit_evidence(place) } else { Ok(()) };
    let observed = started(job, place).and_then(|()| edited()).and_then(|()| observed(place));
    let (observed, outcome) = match observed {
        Ok(observed) => {
            let outcome = judge(&job.row.expected, &observed);
            (Some(observed), outcome)
        }
        Err(what) => (None, Outcome::NoVerdict(what)),
    };
    Judged { row: job.row.clone(), seed: job.seed, observed, outcome, took: start.elapsed() }
}

/// Makes the run, to its end.
fn started(job: &Job, place: &Path) -> Result<(), String> {
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    fs::create_dir_all(place).map_err(|error| failed("cannot make the run's directory", error))?;
    let said = File::create(place.join("output.txt")).map_err(|error| failed("cannot keep the run's output", error))?;
    let also = said.try_clone().map_err(|error| failed("cannot keep the run's output", error))?;
    let program = std::env::current_exe().map_err(|error| failed("cannot find this program", error))?;
    let mut command = Command::new(program);
    command.arg("run").arg(&job.row.plan).arg("--rig").arg(&job.row.rig).arg("--store").arg(place);
    // The rows share the cores, not the cuts of one row.
    command.args(["--threads", "1"]);
    // Only what goes wrong first is looked at.
    if matches!(job.row.expected, Expected::Fail { .. }) {
        command.arg("--fail-fast");
    }
    if let Some(case) = &job.row.only {
        command.args(["--case", case]);
    }
    if let Some(seed) = job.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    match job.tier {
        Tier::Instruments => command.args(["--wait", "1h"]),
        // A virtual bench is there as often as somebody starts it.
        Tier::Computing | Tier::Waiting => command.env("HILBENCH_LEASES", place.join("leases")),
    };
    command.stdin(Stdio::null()).stdout(said).stderr(also);
    command.status().map(drop).map_err(|error| failed("cannot start the run", error))
}

/// What in the run's records is not as it was written, if anything.
fn changed(run: &RunDir) -> Option<String> {
    match run.verify() {
        Ok(wrong) => wrong.first().map(|mismatch| format!("{}: {}", mismatch.file, mismatch.what)),
        Err(error) => Some(error.to_string()),
    }
}

/// Changes one bit in the middle of a piece of evidence that a verdict points to.
fn edit_evidence(place: &Path) -> Result<(), String> {
    let run = find(&place.join("runs"), "latest").map_err(|error| error.to_string())?;
    let log = run.read().map_err(|error| error.to_string())?;
    let pointed_to = |event: &Event| match &event.fact {
        Fact::StepFinished { evidence, .. } => evidence.first().map(|place| place.file.clone()),
        _ => None,
    };
    let file = log.events.iter().find_map(pointed_to).ok_or("no verdict of this run points to evidence")?;
    let failed = |error: std::io::Error| format!("cannot change {file}: {error}");
    // Long evidence is compressed when the run ends.
    let stored = |name: &str| run.path().join("evidence").join(name);
    let path = Some(stored(&file)).filter(|path| path.exists()).unwrap_or_else(|| stored(&format!("{file}.gz")));
    let mut bytes = fs::read(&path).map_err(failed)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).ok_or_else(|| format!("{file} is empty"))? ^= 1;
    fs::write(&path, bytes).map_err(failed)
}

/// What the run's journal says.
fn observed(place: &Path) -> Result<Observed, String> {
    let told = |error: String| {
        let output = fs::read_to_string(place.join("output.txt")).unwrap_or_default();
        let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        format!("{error}; its last words: {}", sanitise::line(last, 200))
    };
    let run = find(&place.join("runs"), "latest").map_err(|error| told(error.to_string()))?;
    let log = run.read().map_err(|error| told(error.to_string()))?;
    let view = RunView::of(&log.events);
    let finish = view.finish.as_ref().ok_or_else(|| told("the run did not come to its end".to_owned()))?;
    let case = |case: &crate::view::CaseView| {
        let (verdict, reason) = match &case.state {
            CaseState::Finished { verdict, reason, .. } => (Some(*verdict), reason.as_ref().map(|reason| reason.code.clone())),
            CaseState::Waiting | CaseState::Running | CaseState::Skipped(_) => (None, None),
        };
        Case { id: case.name().to_owned(), verdict, reason }
    };
    Ok(Observed {
        verdict: finish.verdict,
        safe: view.safe_state.finished.as_ref().is_some_and(|(ok, _)| *ok),
        cases: view.plan_cases().map(case).collect(),
        changed: changed(&run),
    })
}

fn line(judged: &Judged) -> String {
    let Judged { row, seed, outcome, took, observed } = judged;
    let sign = if outcome.is_good() { "ok  " } else { "BAD " };
    let seed = seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
    let plan = row.plan.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let passed = || {
        let all = observed.iter().flat_map(|observed| &observed.cases);
        all.filter(|case| case.verdict == Some(Verdict::Pass)).count()
    };
    let what = match (&row.expected, outcome.is_good()) {
        (_, false) => outcome.words(),
        (Expected::Pass { .. }, true) => format!("{} cases pass", passed()),
        (Expected::Fail { case, reason }, true) => format!("{case}: {reason}"),
        (Expected::Bench { verdict, reason }, true) => format!("{verdict} {reason}, and nothing said about the device"),
    };
    format!(
        "{sign}{:<5} {} ({plan}{seed}): {}  {:.1} s\n",
        sanitise::line(&row.id, 16),
        sanitise::line(&row.name, 80),
        sanitise::line(&what, 200),
        took.as_secs_f64()
    )
}

/// Writes the table beside the runs, and where else it was asked for.
fn keep(proof: &Proof, directory: &Path, arguments: &arguments::Prove) -> Result<(), String> {
    let json = proof.json().map_err(|error| error.to_string())?;
    let markdown = proof.markdown();
    let beside = (directory.join("proof.json"), directory.join("proof.md"));
    let mut files: Vec<(PathBuf, &str)> = vec![(beside.0, &json), (beside.1, &markdown)];
    files.extend(arguments.json.iter().map(|path| (path.clone(), json.as_str())));
    files.extend(arguments.markdown.iter().map(|path| (path.clone(), markdown.as_str())));
    for (path, text) in files {
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if arguments.message_format == MessageFormat::Json {
        out(&json);
    }
    Ok(())
}
