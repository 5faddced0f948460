//! The guard: a small process of the same executable that drives the safe state when the controller disappears.
//!
//! The controller starts it before it opens a channel, tells it every power, network and button change *before* it is made and waits
//! for the acknowledgement. When the pipe closes without a farewell, the controller is gone: the guard opens the
//! channels of the safe state itself, drives them there and records what it did in the run's `guard.jsonl`.
//!
//! Protocol: one JSON message per line on the guard's standard input, one `ok` line per message on its standard output.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    bench::{SafeReport, drive},
    lease::{self, Lease, LeaseError},
    registry::Registry,
};
use crate::{
    channel::{
        clock::{Clock as _, WallClock},
        link::{LinkError, Opened, Parameters},
    },
    event::{ChannelName, Fact, Nanos, RunId},
    journal::GuardWriter,
    rig::model::SafeAction,
};

/// How long the controller waits for an acknowledgement before the guard counts as gone.
const ACK: Duration = Duration::from_secs(5);

/// What the guard is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// First message: everything needed to reach the safe state alone.
    Watch(Watch),
    /// The controller is about to act on this channel.
    Acting {
        /// Channel.
        channel: String,
        /// Bench time.
        at: Nanos,
    },
    /// The controller has reached the safe state itself; nothing is left to do.
    Farewell,
}

/// What the guard needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Watch {
    /// The run.
    pub run: RunId,
    /// Run directory in which the guard records what it did.
    pub run_directory: PathBuf,
    /// Actions in order: channel, driver, parameters, base directory of paths, wanted state.
    pub actions: Vec<WatchAction>,
    /// Time for each action.
    pub timeout_ms: u64,
    /// Where leases are kept.
    pub leases: PathBuf,
    /// Instruments that nobody else may have until the guard is done.
    pub instruments: Vec<String>,
}

/// One action of the guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WatchAction {
    /// Channel.
    pub channel: String,
    /// Driver.
    pub driver: String,
    /// The driver's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Where relative paths start.
    pub base: PathBuf,
    /// What to do.
    pub action: WatchedState,
}

/// The state an action leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchedState {
    /// Supply up.
    Up,
    /// Supply down.
    Down,
    /// Button released.
    Released,
    /// Network undisturbed.
    Restored,
}

/// The controller's side.
pub struct Guard {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts the guard process and hands it its task.
    ///
    /// # Errors
    /// The process could not be started or does not answer.
    pub async fn start(command: &[String], watch: Watch) -> Result<Self, LinkError> {
        let failed = |what: String| LinkError::new("start the guard process", what);
        let (program, arguments) = command.split_first().ok_or_else(|| failed("no command for it".to_owned()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A process group of its own: Ctrl-C on the terminal is for the controller.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("{program}: {error}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("its pipes are missing".to_owned()));
        };
        let mut guard = Self { child, input, output: BufReader::new(output) };
        guard.tell(&Message::Watch(watch)).await?;
        Ok(guard)
    }

    /// Tells the guard something and waits until it has understood.
    ///
    /// # Errors
    /// The guard is gone: acting without it would leave nobody to reach the safe state.
    pub async fn tell(&mut self, message: &Message) -> Result<(), LinkError> {
        let failed = |what: String| LinkError { lost: true, ..LinkError::new("talk to the guard process", what) };
        let mut line = serde_json::to_vec(message).map_err(|error| failed(error.to_string()))?;
        line.push(b'\n');
        let exchange = async {
            self.input.write_all(&line).await?;
            let mut answer = String::new();
            self.output.read_line(&mut answer).await.map(|_| answer)
        };
        match tokio::time::timeout(ACK, exchange).await {
            Ok(Ok(answer)) if answer == "ok\n" => Ok(()),
            Ok(Ok(answer)) => Err(failed(format!("it answered `{}`", answer.trim_end()))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer within {ACK:?}"))),
        }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Dismisses the guard: the safe state has been reached.
    pub async fn dismiss(mut self) -> Result<(), LinkError> {
        self.tell(&Message::Farewell).await?;
        drop(self.input);
        let ended = tokio::time::timeout(ACK, self.child.wait()).await;
        ended.ok().and_then(Result::ok).map(|_| ()).ok_or_else(|| LinkError::new("dismiss the guard process", "it did not end"))
    }
}

/// The guard's side: reads messages until a farewell or the end of input; in the latter case drives the safe state.
///
/// Returns whether the safe state is in order (`true` also when there was nothing to do).
///
/// # Errors
/// Standard output cannot be written.
pub fn watch(
    input: impl std::io::BufRead,
    mut output: impl std::io::Write,
    registry: impl FnOnce(&Watch) -> Registry,
) -> std::io::Result<bool> {
    let mut task: Option<(Watch, Post)> = None;
    let mut touched: Vec<String> = Vec::new();
    let mut told = (Nanos::default(), WallClock::start());
    for line in input.lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Message::Watch(watch)) => match Post::take(&watch) {
                Ok(post) => task = Some((watch, post)),
                Err(error) => {
                    writeln!(output, "{error}")?;
                    output.flush()?;
                    continue;
                }
            },
            Ok(Message::Acting { channel, at }) => {
                told = (at, WallClock::start());
                if !touched.contains(&channel) {
                    touched.push(channel);
                }
            }
            Ok(Message::Farewell) => {
                writeln!(output, "ok")?;
                output.flush()?;
                return Ok(true);
            }
            Err(error) => {
                writeln!(output, "not understood: {error}")?;
                output.flush()?;
                continue;
            }
        }
        writeln!(output, "ok")?;
        output.flush()?;
    }
    let Some((task, post)) = task else { return Ok(true) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let registry = registry(&task);
    Ok(runtime.block_on(reach_safe_state(&task, post, &touched, told, &registry)))
}

/// What the guard holds while it watches.
struct Post {
    writer: Option<GuardWriter>,
    _instruments: Vec<Lease>,
}

impl Post {
    /// The record is opened before a disk can be full; without one the guard still does its work.
    fn take(watch: &Watch) -> Result<Self, LeaseError> {
        let instruments = watch.instruments.iter().map(|instrument| lease::guard(&watch.leases, instrument));
        Ok(Self {
            _instruments: instruments.collect::<Result<_, _>>()?,
            writer: GuardWriter::open(&watch.run_directory, &watch.run).ok(),
        })
    }
}

/// `told` is when the controller last acted: bench time, and a clock that runs since. On a virtual bench, whose time stands still
/// between waits, the times of the guard are an upper bound.
async fn reach_safe_state(
    task: &Watch,
    mut post: Post,
    touched: &[String],
    told: (Nanos, WallClock),
    registry: &Registry,
) -> bool {
    let mut record = |fact: Fact| {
        let now = told.0.after(Duration::from_nanos(told.1.now().0));
        if let Some(writer) = &mut post.writer
            && let Err(error) = writer.append(now, &fact)
        {
            tracing::error!(%error, "the guard's record cannot be written");
        }
    };
    let list =
        if touched.is_empty() { "no channel had been touched".to_owned() } else { format!("touched: {}", touched.join(", ")) };
    record(Fact::BenchFault { channel: None, what: format!("the controller disappeared; {list}") });
    record(Fact::SafeStateStarted);
    let mut ok = true;
    for action in &task.actions {
        let state = match action.action {
            WatchedState::Up => SafeAction::Power { channel: action.channel.clone(), up: true },
            WatchedState::Down => SafeAction::Power { channel: action.channel.clone(), up: false },
            WatchedState::Released => SafeAction::Release { channel: action.channel.clone() },
            WatchedState::Restored => SafeAction::Restore { channel: action.channel.clone() },
        };
        let timeout = Duration::from_millis(task.timeout_ms);
        let report = match open(action, registry, timeout).await {
            Ok(opened) => drive(&state, Some(opened), timeout).await,
            Err(error) => SafeReport { problem: Some(error.to_string()), witness: None },
        };
        ok &= report.problem.is_none();
        record(report.fact(&state));
    }
    record(Fact::SafeStateFinished { ok, by: "guard".to_owned() });
    ok
}

async fn open(action: &WatchAction, registry: &Registry, timeout: Duration) -> Result<Opened, LinkError> {
    let operation = || format!("open channel {} from the guard", ChannelName::new(&action.channel));
    let driver =
        registry.get(&action.driver).ok_or_else(|| LinkError::new(operation(), format!("no driver `{}`", action.driver)))?;
    let parameters = Parameters { values: action.parameters.clone(), base: action.base.clone() };
    match tokio::time::timeout(timeout, driver.open(&parameters)).await {
        Ok(result) => result,
        Err(_) => Err(LinkError::new(operation(), format!("no answer within {timeout:?}"))),
    }
}
