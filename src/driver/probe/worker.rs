//! The controller's side of a worker process: starts it, asks it, and ends it when it does not behave.
//!
//! A driver of probe-rs can hang in a transfer, abort or crash. In a process of its own that is a fault of the bench: the operation has an error,
//! and the next one gets a fresh process.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{
    failure::{Cause, Failure},
    frame::{self, Answer, HEAD, Question},
    operations::Instrument,
    order::{Order, Reply},
};

/// What a process has left to say when it ends badly: this much of the end of its standard error.
const LAST_WORDS: usize = 600;
/// Time for a process to end by itself once its input is closed; it gives an operation at work two seconds.
const FAREWELL: Duration = Duration::from_secs(4);

/// A running worker process.
pub(super) struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    said: Arc<Mutex<Vec<u8>>>,
    listener: JoinHandle<()>,
    id: u64,
}

/// What went wrong with the process, not with the operation.
enum Trouble {
    /// It could not be talked to: it has ended, or closed a pipe.
    Gone(io::Error),
    /// What it says is not an answer.
    Rubbish(String),
    /// Nothing in time.
    Silent,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData { Self::Rubbish(error.to_string()) } else { Self::Gone(error) }
    }
}

impl Worker {
    /// Starts a process.
    pub(super) fn start(command: &[String]) -> Result<Self, Failure> {
        let failed = |what: String| Failure::new(Cause::Worker, format!("the probe's worker process cannot be started: {what}"));
        let (program, arguments) = command.split_first().ok_or_else(|| failed("no command for it".to_owned()))?;
        let mut process = Command::new(program);
        process
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is for the controller: it must not hit a write to the device.
            .process_group(0)
            .kill_on_drop(true);
        // Options of probe-rs' own tools, such as PROBE_RS_ALLOW_ERASE_ALL, have no say here.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PROBE_RS_")) {
            process.env_remove(name);
        }
        let mut child = process.spawn().map_err(|error| failed(format!("{program}: {error}")))?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(failed("its pipes are missing".to_owned()));
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::spawn(listen(errors, Arc::clone(&said)));
        Ok(Self { child, input, output, said, listener, id: 0 })
    }

    /// Has an operation done within `limit`. On an error of the process it is ended; it must not be asked again then.
    pub(super) async fn ask(mut self, instrument: &Instrument, order: &Order, limit: Duration) -> (Option<Self>, Reply) {
        let trouble = match timeout(limit, self.exchange(instrument, order)).await {
            // A panic may have left anything behind in the process.
            Ok(Ok(reply)) if !matches!(&reply, Err(failure) if failure.cause == Cause::Driver) => return (Some(self), reply),
            Ok(Ok(reply)) => {
                self.end(Duration::ZERO).await;
                return (None, reply);
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::Silent,
        };
        // One that has ended by itself says how; one that has not is ended.
        let patience = if matches!(trouble, Trouble::Gone(_)) { Duration::from_secs(1) } else { Duration::ZERO };
        let said = Arc::clone(&self.said);
        let status = self.end(patience).await;
        let text = match trouble {
            Trouble::Silent => {
                format!(
                    "the probe did not finish within {limit:?}; its worker process was ended, the next operation starts a new one"
                )
            }
            Trouble::Rubbish(what) => {
                format!("the probe's worker process does not speak the protocol ({what}); it was ended")
            }
            Trouble::Gone(error) => {
                let how = status.map_or_else(|| error.to_string(), |status| status.to_string());
                format!("the probe's worker process ended in the middle of the operation ({how}){}", last_words(&said))
            }
        };
        (None, Err(Failure::new(Cause::Worker, text)))
    }

    async fn exchange(&mut self, instrument: &Instrument, order: &Order) -> Result<Reply, Trouble> {
        self.id += 1;
        let question = Question { id: self.id, instrument: instrument.clone(), operation: order.operation.clone() };
        let head = frame::encode(&question, &order.bytes).map_err(|error| Trouble::Rubbish(error.to_string()))?;
        self.input.write_all(&head).await.map_err(Trouble::Gone)?;
        self.input.write_all(&order.bytes).await.map_err(Trouble::Gone)?;
        self.input.flush().await.map_err(Trouble::Gone)?;

        let mut head = [0; HEAD];
        self.output.read_exact(&mut head).await?;
        let lengths = frame::lengths(&head)?;
        let text = read(&mut self.output, lengths.text).await?;
        let bytes = read(&mut self.output, lengths.bytes).await?;
        let answer: Answer = frame::decode(&text)?;
        if answer.id != self.id {
            return Err(Trouble::Rubbish(format!("an answer to question {} when {} was asked", answer.id, self.id)));
        }
        Ok(answer.result.map(|done| (done, bytes)))
    }

    /// Lets the process finish by itself.
    pub(super) async fn dismiss(self) {
        self.end(FAREWELL).await;
    }

    /// Closes the input, waits, and kills what is still there.
    async fn end(self, patience: Duration) -> Option<ExitStatus> {
        let Self { mut child, input, output, listener, .. } = self;
        drop((input, output));
        let mut status = timeout(patience, child.wait()).await.ok().and_then(Result::ok);
        if status.is_none() {
            // It cannot fail in a way that matters: the process is gone then.
            let _ = child.start_kill();
            status = timeout(FAREWELL, child.wait()).await.ok().and_then(Result::ok);
        }
        // Its last words may still be on their way; a child of its own could keep the pipe open for ever.
        let _ = timeout(Duration::from_millis(200), listener).await;
        status
    }
}

/// Reads so many bytes; what does not come takes no memory.
async fn read(input: &mut (impl AsyncRead + Unpin), len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(len as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Keeps the end of what a process says.
async fn listen(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&piece[..count]);
        let surplus = said.len().saturating_sub(LAST_WORDS);
        said.drain(..surplus);
    }
}

fn last_words(said: &Mutex<Vec<u8>>) -> String {
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&said);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
