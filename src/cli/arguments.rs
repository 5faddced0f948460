//! What was typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    event::{CutPoint, RunId},
    fleet::{Law, Share},
    units::Span,
};

/// Hardware-in-the-loop test bench controller for consumer IoT security.
///
/// Exit codes: 0 pass, 1 the device failed, 2 invalid input (nothing touched), 3 inconclusive or stopped, 4 bench error,
/// 5 safe state not confirmed, 70 defect of hilbench, 130 left at once.
#[derive(Debug, Parser)]
#[command(name = "hilbench", version, arg_required_else_help = true)]
pub struct Arguments {
    /// Developer log on standard error, as a filter: `debug`, `hilbench=trace`.
    #[arg(long, global = true, env = "HILBENCH_LOG", value_name = "FILTER", hide_env = false)]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a test plan on a rig.
    Run(Run),
    /// Check rigs, device profiles and plans without touching anything.
    Check(Check),
    /// List the instruments that are there, who uses them, and why one cannot be opened.
    Discover(Discover),
    /// Examine every channel of a rig without disturbing the device, and say what to do about each problem.
    ///
    /// Exit codes: 0 all is well, 4 something is wrong, 2 a file is bad.
    Doctor(Doctor),
    /// List the instruments that are in use, by whom, and who waits for one.
    Leases(Leases),
    /// List recorded runs, newest first.
    Runs(Runs),
    /// Show a recorded run: verdicts, reasons, evidence.
    Show(Show),
    /// Hold the evidence of several runs of one device against each other: no verdict can be believed that rests on what another record denies.
    ///
    /// Exit codes: 0 the records hold together, 3 they contradict each other, 2 no such run, or one whose files were changed.
    Crosscheck(Crosscheck),
    /// Answer what a running run asks its operator; without an answer, list what is asked.
    Answer(Answer),
    /// Run a rig from a screen: choose, examine, run, answer, watch, stop, look, play again.
    ///
    /// Without options it begins with what there is. A run goes on whatever becomes of the terminal; only closing the terminal and being
    /// told to end stop a run that was started here. Keys are changed in `~/.config/hilbench/keys.yaml`.
    Tui(Tui),
    /// Close an interrupted run: compress it, digest it, give it its final name. Nothing in it is changed.
    Recover(Recover),
    /// Prove that the bench tells good devices from bad ones: run a matrix of good, faulty and harmlessly different devices, and of broken benches.
    ///
    /// Exit codes: 0 every row was as it has to be, 1 some row was not, 2 a file is bad, 3 stopped.
    Prove(Prove),
    /// Print or write the JSON schemas of the file formats, for editors.
    Schema(Schema),
    /// What a device's way of reconnecting does to its service when a whole fleet loses it at once.
    ///
    /// Exit codes: 0 the limits hold, 1 one is exceeded, 3 one cannot be decided, 2 bad input.
    Fleet(Fleet),
    /// The process that reaches the safe state when a controller disappears. Started by `run`.
    #[command(hide = true)]
    Guard,
    /// The process that does the operations of debug probes. Started by `run`.
    #[command(hide = true)]
    ProbeWorker,
}

/// Where runs are kept.
#[derive(Debug, Clone, Args)]
pub struct Store {
    /// Directory that holds the recorded runs.
    #[arg(long, env = "HILBENCH_STORE", value_name = "DIR", default_value = ".hilbench")]
    pub store: PathBuf,
}

/// `hilbench run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Test plan.
    pub plan: PathBuf,
    /// Rig to run it on.
    #[arg(long, value_name = "FILE")]
    pub rig: PathBuf,
    /// Only this case; may be given several times.
    #[arg(long, value_name = "ID")]
    pub case: Vec<String>,
    /// In the power-cut search of the selected case, only this cut: `117:before`, `117:torn:3`, `117:after`, `117:torn:3+40`.
    #[arg(long, value_name = "POINT")]
    pub cut: Option<CutPoint>,
    /// Seed of everything random; overrides the rig's.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads of a power-cut search; 0 for one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// End with the first case that does not pass; the others are skipped.
    #[arg(long)]
    pub fail_fast: bool,
    /// Execute every signature check in a power-cut search instead of remembering those already seen.
    #[arg(long)]
    pub execute_checks: bool,
    /// Answers to prompts: a YAML or JSON list of `prompt` (a pattern found in its text) and `answer`; the first that fits is taken.
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// What happens to prompts that nobody has answered yet. Default: wait on a terminal, skip otherwise.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub unattended: Option<Unattended>,
    /// Wait this long for instruments that another run has: `10m`. Without it the run ends at once.
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Span>,
    /// How progress is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
    /// Show the run on a screen. The run goes on if the terminal is lost.
    #[arg(long)]
    pub tui: bool,
    /// How it is shown.
    #[command(flatten)]
    pub screen: Screen,
    /// The identity of the run; from the terminal UI.
    #[arg(long = "as-run", value_name = "ID", hide = true, value_parser = run_id)]
    pub identity: Option<RunId>,
    /// Be a session of its own, which no terminal reaches; from the terminal UI.
    #[arg(long, hide = true)]
    pub own_session: bool,
    /// Where to record the run.
    #[command(flatten)]
    pub store: Store,
}

fn run_id(text: &str) -> Result<RunId, String> {
    crate::journal::parse_run_id(text).ok_or_else(|| "not the identity of a run".to_owned())
}

/// How the terminal UI is shown.
#[derive(Debug, Clone, Default, Args)]
pub struct Screen {
    /// Only ASCII characters, whatever the locale says.
    #[arg(long)]
    pub ascii: bool,
    /// Take the mouse's wheel; the terminal's own selection then needs Shift.
    #[arg(long)]
    pub mouse: bool,
    /// Keys: a YAML file such as `keys: { leave: [x] }`.
    #[arg(long, value_name = "FILE", env = "HILBENCH_KEYS")]
    pub keys: Option<PathBuf>,
}

/// `hilbench tui`.
#[derive(Debug, Args)]
pub struct Tui {
    /// Watch a run of another process: its id, the beginning of it, or `latest`; without one, the run that is going.
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with = "replay")]
    #[expect(clippy::option_option, reason = "clap's form of an option whose value may be left out")]
    pub attach: Option<Option<String>>,
    /// Play a recorded run.
    #[arg(long, value_name = "RUN")]
    pub replay: Option<String>,
    /// Print the screen as text instead: columns and rows, `80x24`.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub picture: Option<(u16, u16)>,
    /// Print every action with its keys, as a file of keys names them.
    #[arg(long)]
    pub list_keys: bool,
    /// Keys that are pressed before the picture: `7,enter`.
    #[arg(long, value_name = "KEYS", requires = "picture", value_delimiter = ',')]
    pub press: Vec<String>,
    /// How it is shown.
    #[command(flatten)]
    pub screen: Screen,
    /// Where the runs are.
    #[command(flatten)]
    pub store: Store,
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parse = |text: &str| text.parse::<u16>().ok().filter(|size| (1..=1000).contains(size));
    let size = text.split_once('x').and_then(|(width, height)| Some((parse(width)?, parse(height)?)));
    size.ok_or_else(|| "write columns and rows, such as 80x24".to_owned())
}

/// What happens to prompts that nobody has answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Unattended {
    /// They stay unanswered at once: inconclusive.
    Skip,
    /// They stay open until their time is over; `hilbench answer` answers them.
    Wait,
}

/// `hilbench answer`.
#[derive(Debug, Args)]
pub struct Answer {
    /// The prompt's number, if several are open, and the answer.
    #[arg(value_name = "[PROMPT] ANSWER")]
    pub words: Vec<String>,
    /// The run: its id, the beginning of it, or `latest`; otherwise all that are running.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Who answers; otherwise the user's name.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Where the runs are.
    #[command(flatten)]
    pub store: Store,
}

/// How progress is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// For people.
    Human,
    /// One event per line, as in the journal.
    Json,
}

/// `hilbench check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Rigs, device profiles and plans.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Also check that the given plans can run on this rig.
    #[arg(long, value_name = "FILE")]
    pub rig: Option<PathBuf>,
    /// How problems are printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
}

/// `hilbench discover`.
#[derive(Debug, Args)]
pub struct Discover {
    /// Write a rig file to start from; an existing file is not touched.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Device profile for the rig file that is written: its channels are mapped where that is not ambiguous.
    #[arg(long, value_name = "FILE", requires = "write")]
    pub device: Option<PathBuf>,
    /// Go on and tell what is plugged in and unplugged, and who takes what, until interrupted.
    #[arg(long)]
    pub watch: bool,
    /// How instruments are printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
    /// Where leases are kept if not at the machine's common place.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Rig to examine.
    #[arg(long, value_name = "FILE")]
    pub rig: PathBuf,
    /// Also say which cases of this plan cannot run here.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// With a known good device on the rig: prove that each channel sees what it should, by the steps under `golden` in the device profile.
    /// This switches the device.
    #[arg(long)]
    pub golden: bool,
    /// How findings are printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
    /// Where runs are recorded.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench leases`.
#[derive(Debug, Args)]
pub struct Leases {
    /// How they are printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
    /// Where leases are kept if not at the machine's common place.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench runs`.
#[derive(Debug, Args)]
pub struct Runs {
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub most: usize,
    /// Where the runs are.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The run: its id, the beginning of it, or `latest`.
    #[arg(default_value = "latest")]
    pub run: String,
    /// What to print.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ShowFormat::Text)]
    pub format: ShowFormat,
    /// Check the digests of all evidence.
    #[arg(long)]
    pub verify: bool,
    /// Where the runs are.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// The run: its id, the beginning of it, or `latest`.
    pub run: String,
    /// Where the runs are.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench crosscheck`.
#[derive(Debug, Args)]
pub struct Crosscheck {
    /// The runs: ids, or the beginnings of them. Without any: of each plan the newest run that has ended, on the rig of the newest run.
    pub runs: Vec<String>,
    /// How the result is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
    /// Where the runs are.
    #[command(flatten)]
    pub store: Store,
}

/// What `show` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// For people.
    Text,
    /// JSON summary.
    Json,
    /// JUnit XML.
    Junit,
    /// The events, one per line.
    Events,
}

/// `hilbench prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The matrix: devices, plans, and what has to come of each.
    #[arg(default_value = "firmware-fixtures/variants.yaml", value_name = "MATRIX")]
    pub matrix: PathBuf,
    /// Only rows with this identity, `V13`; may be given several times.
    #[arg(long, value_name = "ID")]
    pub variant: Vec<String>,
    /// Runs each good device with so many seeds: no verdict may change.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub seeds: u32,
    /// Runs at the same time; as many as there are cores unless given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<std::num::NonZero<usize>>,
    /// Writes the table as Markdown there too.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Writes the table as JSON there too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
    /// Show the run of the one row that is chosen with --variant on a screen; it is not judged.
    #[arg(long)]
    pub tui: bool,
    /// How it is shown.
    #[command(flatten)]
    pub screen: Screen,
    /// Where the runs are kept, below `proofs`.
    #[command(flatten)]
    pub store: Store,
}

/// `hilbench schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Write one file per format into this directory instead of printing.
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
}

/// `hilbench fleet`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub struct Fleet {
    /// How a device waits before its next attempt: `fixed 67s`, `exponential base 1s factor 2 cap 128s jitter full`. Other kinds of jitter:
    /// `none`, `proportional 5%`, `subtractive 10%`, `additive 25%`, `equal`, `decorrelated`.
    #[arg(long, value_name = "LAW", group = "source")]
    pub law: Option<Law>,
    /// Estimate the law from a device's measured intervals between attempts, in order: one duration per line (`67.1s`), or a JSON array
    /// of seconds. At least 12.
    #[arg(long, value_name = "FILE", group = "source")]
    pub intervals: Option<PathBuf>,
    /// How long the service is away.
    #[arg(long, value_name = "TIME")]
    pub outage: Span,
    /// Devices in the fleet.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    pub devices: u64,
    /// Share of the fleet that the service admits per second after its return: `0.5%`. 0% for no limit.
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    pub capacity: Share,
    /// Delays are longer or shorter by up to this, and so are measured intervals.
    #[arg(long, value_name = "TIME", default_value = "50ms")]
    pub noise: Span,
    /// Devices notice the loss within this time: 0s if the service says goodbye, the keep-alive time if it falls silent.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub spread: Span,
    /// Seed of everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads; 0 for one per core. The result does not depend on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Largest good share of the fleet that arrives within one second, repeated attempts included.
    #[arg(long, value_name = "SHARE")]
    pub peak_limit: Option<Share>,
    /// Longest good time until 99 % are served.
    #[arg(long, value_name = "TIME")]
    pub drain_limit: Option<Span>,
    /// How the result is printed; `json` is one object with every number.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MessageFormat::Human)]
    pub message_format: MessageFormat,
}
