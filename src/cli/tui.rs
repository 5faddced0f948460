//! `hilbench tui`, `hilbench run --tui` and `hilbench prove --tui`: the terminal UI, and what it asks of the program around it.

use std::{
    fs::{self, File},
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use serde::Deserialize;

use super::{Exit, answer, arguments, complain, out, wiring};
use crate::{
    event::Request,
    journal::{RunDir, RunState, find, new_run_id, runs},
    plan::{Applicability, bind, load_plan},
    rig::load_rig,
    run::{control, lease},
    tui::{
        self, Options, Outcome,
        app::{Left, Opening},
        host::{CaseEntry, Choice, Finding, Host, Level, PlanEntry, RigEntry, RigState, Started, Survey},
        keys::Keymap,
        paper::Abilities,
    },
    view::sanitise,
};

/// Runs that are listed.
const RUNS: usize = 200;
/// Largest file of keys.
const KEYS: u64 = 64 << 10;

/// The program, as the terminal UI sees it.
struct Program {
    store: PathBuf,
}

impl Program {
    fn new(store: &arguments::Store) -> Result<Self, String> {
        let store = &store.store;
        let store = std::path::absolute(store).map_err(|error| format!("{}: {error}", store.display()))?;
        Ok(Self { store })
    }
}

/// Files of one kind: those in their directory, and those where we are.
fn files(directory: &str, schema: &str) -> Vec<PathBuf> {
    let list = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_of(path, schema)).collect();
        found.sort();
        found
    };
    let here = list(Path::new(".")).into_iter().map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
    list(Path::new(directory)).into_iter().chain(here).collect()
}

/// Whether a YAML file says early on that it has this schema.
fn is_of(path: &Path, schema: &str) -> bool {
    let mut start = Vec::new();
    let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let mut read = || File::open(path)?.take(4096).read_to_end(&mut start);
    yaml && read().is_ok() && String::from_utf8_lossy(&start).lines().any(|line| line.trim_end() == format!("schema: {schema}"))
}

/// The title that a rig gives itself.
fn title(text: &str) -> String {
    let title = text.lines().find_map(|line| line.strip_prefix("title:"));
    title.unwrap_or_default().trim().trim_matches(['\'', '"']).to_owned()
}

/// The first line of a report says most.
fn first_line(report: &crate::diagnostic::Report) -> String {
    report.to_string().lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

fn rig_entry(path: PathBuf, store: &Path, held: Option<&lease::Held>) -> RigEntry {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let file = match load_rig(&path, &wiring::catalogue()) {
        Ok(file) => file,
        Err(report) => {
            let state = RigState::Bad(first_line(&report));
            return RigEntry { path, name, title: String::new(), channels: Vec::new(), state };
        }
    };
    let state = match wiring::instruments(&file.rig, store) {
        Err(why) => RigState::Missing(why),
        Ok(instruments) => {
            let holder = instruments.iter().find_map(|name| Some(format!("{name}: {}", held?.of(name)?)));
            holder.map_or(RigState::Free, RigState::Held)
        }
    };
    let problems = wiring::problems(&file.rig);
    let state = problems.into_iter().next().map_or(state, RigState::Bad);
    let title = file.sources.first().map(|source| title(&source.text)).unwrap_or_default();
    RigEntry { path, name: file.rig.name, title, channels: file.rig.channels.into_keys().collect(), state }
}

fn plan_entry(path: PathBuf) -> PlanEntry {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match load_plan(&path) {
        Ok(file) => {
            let plan = file.plan;
            PlanEntry { path, name: plan.name, title: plan.title, requires: plan.requires, cases: plan.cases.len(), bad: None }
        }
        Err(report) => {
            let bad = Some(first_line(&report));
            PlanEntry { path, name, title: String::new(), requires: Vec::new(), cases: 0, bad }
        }
    }
}

/// A finding as `hilbench doctor --message-format json` prints it.
#[derive(Deserialize)]
struct Printed {
    subject: String,
    driver: Option<String>,
    severity: String,
    what: String,
    advice: Option<String>,
}

impl Host for Program {
    fn survey(&self) -> Survey {
        let mut problem = None;
        let held = lease::held(&lease::directory(&self.store));
        let held = held.map_err(|error| problem = Some(error.to_string())).ok();
        let mut found = runs(&self.runs()).unwrap_or_else(|error| {
            problem = Some(format!("cannot list the runs: {error}"));
            Vec::new()
        });
        found.truncate(RUNS);
        let rigs = files("rigs", "rig/1").into_iter().map(|path| rig_entry(path, &self.store, held.as_ref()));
        let mut rigs: Vec<RigEntry> = rigs.collect();
        // What can be used now or soon comes first.
        rigs.sort_by_key(|rig| (matches!(rig.state, RigState::Missing(_) | RigState::Bad(_)), rig.name.clone()));
        Survey { rigs, plans: files("testplans", "testplan/1").into_iter().map(plan_entry).collect(), runs: found, problem }
    }

    fn cases(&self, plan: &Path, rig: &Path) -> Result<Vec<CaseEntry>, String> {
        let plan = load_plan(plan).map_err(|report| report.to_string())?;
        let rig = load_rig(rig, &wiring::catalogue()).map_err(|report| report.to_string())?;
        let bound = bind(&plan, &rig).map_err(|report| report.to_string())?;
        let entry = |(case, applicability): (&crate::plan::model::Case, &Applicability)| CaseEntry {
            id: case.id.clone(),
            title: case.title.clone(),
            not_here: match applicability {
                Applicability::Applicable => None,
                Applicability::NotApplicable(why) => Some(why.clone()),
            },
        };
        Ok(bound.plan.cases.iter().zip(&bound.applicability).map(entry).collect())
    }

    fn doctor(&self, rig: &Path) -> Result<Vec<Finding>, String> {
        // In a process of its own: an instrument's library may end the one that it is in.
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("doctor").arg("--rig").arg(rig).arg("--store").arg(&self.store).args(["--message-format", "json"]);
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("doctor cannot be started: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let finding = |line: &str| {
            let printed: Printed = serde_json::from_str(line).ok()?;
            let level = match printed.severity.as_str() {
                "fine" => Level::Fine,
                "problem" => Level::Bad,
                _ => Level::Note,
            };
            let driver = printed.driver.map(|driver| format!("{driver}: ")).unwrap_or_default();
            Some(Finding { subject: printed.subject, level, what: format!("{driver}{}", printed.what), advice: printed.advice })
        };
        let found: Vec<Finding> = text.lines().filter_map(finding).collect();
        if found.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(if said.is_empty() { "doctor found nothing to say".to_owned() } else { said });
        }
        Ok(found)
    }

    fn start(&self, choice: &Choice) -> Result<Started, String> {
        let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let logs = self.store.join("logs");
        fs::create_dir_all(&logs).map_err(|error| failed("cannot make the directory for what the run prints", error))?;
        let run = new_run_id(jiff::Timestamp::now());
        let log = logs.join(format!("{run}.txt"));
        // To a file and not to us: a run must never wait for somebody who reads.
        let said = File::create(&log).map_err(|error| failed("cannot keep what the run prints", error))?;
        let also = said.try_clone().map_err(|error| failed("cannot keep what the run prints", error))?;
        let program = std::env::current_exe().map_err(|error| failed("cannot find this program", error))?;
        let mut command = Command::new(program);
        command.arg("run").arg(&choice.plan).arg("--rig").arg(&choice.rig).arg("--store").arg(&self.store);
        command.args(["--unattended", if choice.wait_for_answers { "wait" } else { "skip" }]);
        for case in &choice.cases {
            command.arg("--case").arg(case);
        }
        for (name, value) in [("--seed", &choice.seed), ("--wait", &choice.wait), ("--answers", &choice.answers)] {
            if !value.is_empty() {
                command.arg(name).arg(value);
            }
        }
        if choice.fail_fast {
            command.arg("--fail-fast");
        }
        command.args(&choice.more).args(["--own-session", "--as-run", run.as_str()]);
        command.stdin(Stdio::null()).stdout(said).stderr(also);
        let process = command.spawn().map_err(|error| failed("cannot start the run", error))?;
        Ok(Started { process, run, log })
    }

    fn send(&self, run: &Path, request: &Request) -> Result<(), String> {
        control::send(run, request)
    }

    fn runs(&self) -> PathBuf {
        self.store.join("runs")
    }

    fn user(&self) -> String {
        answer::user()
    }
}

/// `hilbench tui`.
pub(super) fn tui(arguments: &arguments::Tui) -> Exit {
    if arguments.list_keys {
        return match options(&arguments.screen) {
            Ok(options) => {
                out(&options.keys.list());
                Exit::Pass
            }
            Err(what) => {
                complain(&format!("error: {}", sanitise::line(&what, 400)));
                Exit::InvalidInput
            }
        };
    }
    let opened = Program::new(&arguments.store).and_then(|program| Ok((opening(arguments, &program)?, program)));
    let (opening, program) = match opened {
        Ok(opened) => opened,
        Err(what) => {
            complain(&format!("error: {}", sanitise::line(&what, 400)));
            return Exit::InvalidInput;
        }
    };
    match &arguments.picture {
        Some(size) => picture(arguments, *size, program, opening),
        None => show(program, opening, &arguments.screen),
    }
}

fn opening(arguments: &arguments::Tui, program: &Program) -> Result<Opening, String> {
    let store = program.runs();
    let found = |wanted: &str| find(&store, wanted).map_err(|error| error.to_string());
    if let Some(wanted) = &arguments.replay {
        return found(wanted).map(Opening::Replay);
    }
    match arguments.attach.as_ref().map(|wanted| wanted.as_deref()) {
        None => Ok(Opening::Start),
        Some(Some(wanted)) => found(wanted).map(Opening::Watch),
        Some(None) => {
            let known = runs(&store).map_err(|error| error.to_string())?;
            let mut running = known.into_iter().filter(|run| run.state == RunState::Running);
            let run = running
                .next()
                .ok_or("no run is going; `hilbench tui` starts one, `hilbench tui --replay latest` plays the last")?;
            RunDir::open(run.directory).map(Opening::Watch).map_err(|error| error.to_string())
        }
    }
}

/// `hilbench run --tui`. The files were checked.
pub(super) fn run(arguments: &arguments::Run) -> Exit {
    let mut more = Vec::new();
    if let Some(cut) = arguments.cut {
        more.extend(["--cut".to_owned(), cut.to_string()]);
    }
    if arguments.threads > 0 {
        more.extend(["--threads".to_owned(), arguments.threads.to_string()]);
    }
    if arguments.execute_checks {
        more.push("--execute-checks".to_owned());
    }
    let choice = Choice {
        plan: arguments.plan.clone(),
        rig: arguments.rig.clone(),
        cases: arguments.case.clone(),
        seed: arguments.seed.map(|seed| seed.to_string()).unwrap_or_default(),
        wait: arguments.wait.map(|span| format!("{}ms", span.duration().as_millis())).unwrap_or_default(),
        fail_fast: arguments.fail_fast,
        wait_for_answers: arguments.unattended != Some(arguments::Unattended::Skip),
        answers: arguments.answers.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        more,
    };
    watch(&arguments.store, choice, &arguments.screen)
}

/// Starts a run and shows it.
pub(super) fn watch(store: &arguments::Store, choice: Choice, screen: &arguments::Screen) -> Exit {
    match Program::new(store) {
        Ok(program) => show(program, Opening::Own(choice), screen),
        Err(what) => {
            complain(&format!("error: {}", sanitise::line(&what, 400)));
            Exit::InvalidInput
        }
    }
}

fn show(program: Program, opening: Opening, screen: &arguments::Screen) -> Exit {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        complain("error: the terminal UI needs a terminal; `hilbench run` prints plain progress without one");
        return Exit::InvalidInput;
    }
    let options = match options(screen) {
        Ok(options) => options,
        Err(what) => {
            complain(&format!("error: {}", sanitise::line(&what, 400)));
            return Exit::InvalidInput;
        }
    };
    match tui::run(Arc::new(program), opening, options) {
        Ok((outcome, words)) => {
            if let Some(words) = words {
                complain(&words);
            }
            exit(outcome)
        }
        Err(error) => {
            complain(&format!("error: the terminal cannot be used: {error}"));
            Exit::BenchError
        }
    }
}

fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Left(Left::Done) => Exit::Pass,
        // What will come of it is not known.
        Outcome::Left(Left::Detached) | Outcome::Told(None) => Exit::Inconclusive,
        Outcome::Left(Left::Ended(code)) | Outcome::Told(Some(code)) => Exit::of_code(code),
        Outcome::Failed => Exit::Bug,
    }
}

fn options(screen: &arguments::Screen) -> Result<Options, String> {
    let keys = match keys_file(screen) {
        None => Keymap::default(),
        Some(path) => {
            let mut text = String::new();
            let read = File::open(&path).and_then(|file| file.take(KEYS).read_to_string(&mut text));
            read.map_err(|error| format!("keys file {}: {error}", path.display()))?;
            Keymap::read(&text).map_err(|what| format!("keys file {}: {what}", path.display()))?
        }
    };
    // Only for tests, and only in programs that are not released.
    let panic_key = if cfg!(debug_assertions) { std::env::var("HILBENCH_TUI_PANIC_KEY").ok() } else { None };
    let panic_key = panic_key.and_then(|key| key.parse().ok());
    Ok(Options { abilities: abilities(screen), mouse: screen.mouse, keys, panic_key })
}

/// The file that was given, or the usual one if it is there.
fn keys_file(screen: &arguments::Screen) -> Option<PathBuf> {
    screen.keys.clone().or_else(|| {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let usual = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home)?.join("hilbench/keys.yaml");
        usual.is_file().then_some(usual)
    })
}

fn abilities(screen: &arguments::Screen) -> Abilities {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default().to_lowercase();
    let utf8 = locale.contains("utf-8") || locale.contains("utf8");
    Abilities { unicode: utf8 && !screen.ascii, color: set("NO_COLOR").is_none() }
}

/// Prints a screen as text, for the documentation: after these keys, in this size.
fn picture(arguments: &arguments::Tui, (width, height): (u16, u16), program: Program, opening: Opening) -> Exit {
    let keys: Result<Vec<_>, String> = arguments.press.iter().map(|key| key.parse()).collect();
    let keys = match keys {
        Ok(keys) => keys,
        Err(what) => {
            complain(&format!("error: {}", sanitise::line(&what, 400)));
            return Exit::InvalidInput;
        }
    };
    let abilities = Abilities { unicode: !arguments.screen.ascii, color: false };
    let text = tui::picture(Arc::new(program), opening, &keys, abilities, width, height);
    out(&text);
    Exit::Pass
}
