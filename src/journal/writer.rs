//! The writing end.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;
use tokio::sync::watch;

use super::{
    Cursor, EVENTS, EVIDENCE, INPUTS, PARTIAL, Sink, Summary, Tip,
    cursor::Log,
    evidence::Store,
    line::{self, Chain},
    name::{is_safe_name, made_safe, numbered},
};
use crate::event::{ChannelName, Event, EvidenceRef, Fact, Nanos, RunId};

/// Tells the bench time. Called without any lock of the journal held.
pub type BenchClock = Arc<dyn Fn() -> Nanos + Send + Sync>;

/// The first thing that went wrong with writing. It stays: a journal with a hole is no evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub operation: String,
    /// Kind of the input/output error.
    pub kind: io::ErrorKind,
    /// Its text.
    pub what: String,
}

impl Failure {
    pub(super) fn new(operation: impl Into<String>, error: &io::Error) -> Self {
        Self { operation: operation.into(), kind: error.kind(), what: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.operation, self.what)
    }
}

/// Why a fact or evidence was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JournalError {
    /// The disk failed, now or earlier. The run is an error; later calls return the same at once.
    #[error("{0}; free space on the disk or choose another store")]
    Failed(Failure),
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
    /// What was given cannot be recorded: an unsafe evidence name, a number that is not finite, a fact beyond the line limit. Nothing
    /// was written, and the journal can be used further.
    #[error("cannot be recorded: {0}")]
    Invalid(String),
}

/// A file the run was told to use, kept as a copy in `inputs/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name or path as given; its last component, made safe, names the copy.
    pub name: String,
    /// What it held when it was read.
    pub bytes: Vec<u8>,
}

/// How to create a journal.
pub struct Options {
    /// Directory of all runs; created if missing.
    pub store: PathBuf,
    /// The run; [`super::new_run_id`] makes one.
    pub run: RunId,
    /// Files to copy.
    pub inputs: Vec<Input>,
    /// Tells the bench time of [`Journal::append`].
    pub clock: BenchClock,
    /// Events kept in memory for observers; older ones are read back from the file. At least 1.
    pub keep: usize,
    /// Wraps every file that is written, for tests; `None` writes to the files themselves.
    pub sink: Option<Sink>,
}

impl Options {
    /// Options with 4096 events in memory, no inputs and plain files.
    #[must_use]
    pub fn new(store: impl Into<PathBuf>, run: RunId, clock: BenchClock) -> Self {
        Self { store: store.into(), run, inputs: Vec::new(), clock, keep: 4096, sink: None }
    }
}

/// Handle on a run's journal: cheap to clone, usable from any thread. Calls are synchronous and end with the write.
#[derive(Clone)]
pub struct Journal {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) run: RunId,
    pub(super) partial: PathBuf,
    pub(super) closed_path: PathBuf,
    clock: BenchClock,
    pub(super) writer: Mutex<Writer>,
    evidence: Mutex<Store>,
    pub(super) log: Arc<Log>,
    /// Here and not in the log, so that observers notice when the last handle is dropped.
    pub(super) tip: watch::Sender<Tip>,
}

pub(super) struct Writer {
    sink: Box<dyn Write + Send>,
    /// The same file; holds the lock that says a writer lives.
    pub(super) file: File,
    buffer: Vec<u8>,
    chain: Chain,
    pub(super) next: u64,
    pub(super) closed: bool,
    pub(super) summary: Summary,
}

impl Journal {
    /// Makes the run directory `STORE/RUN.partial` with copies of the inputs, and an empty journal in it.
    ///
    /// # Errors
    /// If the run's identity is not a safe name or exists already, or a file cannot be written.
    pub fn create(options: Options) -> Result<Self, JournalError> {
        let Options { store, run, inputs, clock, keep, sink } = options;
        if !is_safe_name(run.as_str()) || run.as_str().ends_with(PARTIAL) {
            return Err(JournalError::Invalid(format!("run identity {:?} cannot be a directory name", run.0)));
        }
        let partial = store.join(format!("{run}{PARTIAL}"));
        let closed_path = store.join(run.as_str());
        let failed = |operation: String| move |error: io::Error| JournalError::Failed(Failure::new(operation, &error));
        if closed_path.exists() {
            return Err(JournalError::Invalid(format!("run {run} exists already in {}", store.display())));
        }
        fs::create_dir_all(&store).map_err(failed(format!("create the store {}", store.display())))?;
        fs::create_dir(&partial).map_err(failed(format!("create {}", partial.display())))?;
        for directory in [EVIDENCE, INPUTS] {
            fs::create_dir(partial.join(directory)).map_err(failed(format!("create {}", partial.join(directory).display())))?;
        }
        let path = partial.join(EVENTS);
        let open = || -> io::Result<(File, File)> {
            let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
            file.lock()?;
            Ok((file, File::open(&path)?))
        };
        let (file, reading) = open().map_err(failed(format!("create {}", path.display())))?;
        for input in &inputs {
            copy_input(&partial, input).map_err(failed(format!("copy {}", input.name)))?;
        }
        let own = file.try_clone().map_err(failed(format!("open {}", path.display())))?;
        let writer = Writer {
            sink: match &sink {
                Some(sink) => sink(EVENTS, own),
                None => Box::new(own),
            },
            file,
            buffer: Vec::with_capacity(4096),
            chain: line::engine_origin(),
            next: 0,
            closed: false,
            summary: Summary::default(),
        };
        let evidence = Store::new(partial.join(EVIDENCE), sink);
        Ok(Self {
            inner: Arc::new(Inner {
                run,
                partial,
                closed_path,
                clock,
                writer: Mutex::new(writer),
                evidence: Mutex::new(evidence),
                log: Arc::new(Log::new(reading, keep)),
                tip: watch::Sender::new(Tip::default()),
            }),
        })
    }

    /// The run.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.inner.run
    }

    /// The run directory as it is called until [`Journal::close`].
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.partial
    }

    /// Records a fact at the present bench time.
    ///
    /// # Errors
    /// See [`JournalError`]; if it is `Failed`, the run must end as an error and still reach the safe state.
    pub fn append(&self, fact: Fact) -> Result<Arc<Event>, JournalError> {
        // Before the lock: the clock may need a lock of its own, whose holder may be waiting to append.
        let at = (self.inner.clock)();
        self.append_at(at, fact)
    }

    /// Records a fact that was observed at `at`, which may be a little before events already recorded: `seq` is the order of
    /// recording, `at` the time of happening.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_at(&self, at: Nanos, fact: Fact) -> Result<Arc<Event>, JournalError> {
        if let Some(name) = not_finite(&fact) {
            return Err(JournalError::Invalid(format!("`{name}` is not a finite number")));
        }
        let mut guard = self.inner.writer();
        let writer = &mut *guard;
        if let Some(failure) = self.inner.log.failure.get() {
            return Err(JournalError::Failed(failure.clone()));
        }
        if writer.closed {
            return Err(JournalError::Closed);
        }
        let chain = line::encode(&mut writer.buffer, &writer.chain, writer.next, at, &fact)
            .map_err(|error| JournalError::Invalid(error.to_string()))?;
        if writer.buffer.len() > super::MAX_LINE {
            return Err(JournalError::Invalid(format!("a line of {} bytes; at most {}", writer.buffer.len(), super::MAX_LINE)));
        }
        // One write: a reader, or a crash, sees whole lines.
        if let Err(error) = writer.sink.write_all(&writer.buffer) {
            return Err(self.inner.fail(Failure::new(format!("write {}", self.inner.partial.join(EVENTS).display()), &error)));
        }
        writer.summary.note(&fact);
        let event = Arc::new(Event { seq: writer.next, at, fact });
        writer.chain = chain;
        writer.next += 1;
        self.inner.log.push(Arc::clone(&event), writer.buffer.len() as u64);
        // Still under the lock, so that the tip never goes back.
        let next = writer.next;
        self.inner.tip.send_modify(|tip| tip.next = next);
        Ok(event)
    }

    /// Adds bytes to the evidence stream `stream` (`console.rx`). The fact that points to them is the caller's next step.
    ///
    /// # Errors
    /// As [`Journal::append`]; `Invalid` if the name is not safe.
    pub fn evidence_append(&self, stream: &str, bytes: &[u8]) -> Result<EvidenceRef, JournalError> {
        self.evidence(stream, |store| store.append(stream, bytes))
    }

    /// Stores a whole evidence file. If the name is taken a number is added: use the returned reference.
    ///
    /// # Errors
    /// As [`Journal::evidence_append`].
    pub fn evidence_file(&self, name: &str, bytes: &[u8]) -> Result<EvidenceRef, JournalError> {
        self.evidence(name, |store| store.file(name, bytes))
    }

    fn evidence(
        &self,
        name: &str,
        write: impl FnOnce(&mut Store) -> io::Result<EvidenceRef>,
    ) -> Result<EvidenceRef, JournalError> {
        let mut store = self.inner.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = self.failed() {
            return Err(JournalError::Failed(failure));
        }
        // After the evidence lock: closing takes them in the same order, so nothing is written once files are being digested.
        if self.inner.writer().closed {
            return Err(JournalError::Closed);
        }
        write(&mut store).map_err(|error| match error.kind() {
            // The name is at fault, not the disk.
            io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => JournalError::Invalid(error.to_string()),
            io::ErrorKind::AlreadyExists => JournalError::Invalid(format!("evidence {name} exists already as a file")),
            _ => self.inner.fail(Failure::new(format!("write evidence {name}"), &error)),
        })
    }

    /// Records bytes that came from the device at `at`: first to `CHANNEL.rx`, then as a fact.
    ///
    /// # Errors
    /// As [`Journal::evidence_append`].
    pub fn received(&self, at: Nanos, channel: &ChannelName, bytes: &[u8]) -> Result<Arc<Event>, JournalError> {
        let place = self.evidence_append(&format!("{channel}.rx"), bytes)?;
        self.append_at(at, Fact::Received { channel: channel.clone(), offset: place.offset, len: place.len })
    }

    /// Records bytes that go to the device: first to `CHANNEL.tx`, then as a fact.
    ///
    /// # Errors
    /// As [`Journal::evidence_append`].
    pub fn sent(&self, at: Nanos, channel: &ChannelName, bytes: &[u8]) -> Result<Arc<Event>, JournalError> {
        let place = self.evidence_append(&format!("{channel}.tx"), bytes)?;
        self.append_at(at, Fact::Sent { channel: channel.clone(), offset: place.offset, len: place.len })
    }

    /// What went wrong with writing, if anything did.
    #[must_use]
    pub fn failed(&self) -> Option<Failure> {
        self.inner.log.failure.get().cloned()
    }

    /// An observer that sees every event from the first.
    #[must_use]
    pub fn observe(&self) -> Cursor {
        Cursor::new(Arc::clone(&self.inner.log), self.inner.tip.subscribe())
    }

    /// How far the journal has got.
    #[must_use]
    pub fn tip(&self) -> Tip {
        *self.inner.tip.borrow()
    }
}

impl Inner {
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for evidence that is being written, and lets no further begin.
    pub(super) fn shut(&self) -> Result<(), JournalError> {
        let _evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.writer();
        if writer.closed {
            return Err(JournalError::Closed);
        }
        writer.closed = true;
        self.tip.send_modify(|tip| tip.closed = true);
        Ok(())
    }

    /// Latches the first failure and returns it.
    pub(super) fn fail(&self, failure: Failure) -> JournalError {
        JournalError::Failed(self.log.failure.get_or_init(|| failure).clone())
    }
}

/// Numbers that JSON cannot hold would be read back as something else.
fn not_finite(fact: &Fact) -> Option<&'static str> {
    match fact {
        Fact::Measured { value, limit, .. } => {
            let bounds = limit.iter().flat_map(|limit| [limit.at_least, limit.at_most]).flatten();
            std::iter::once(*value).chain(bounds).any(|v| !v.is_finite()).then_some("value")
        }
        Fact::CutsFinished { upper_95, .. } => (!upper_95.is_finite()).then_some("upper-95"),
        _ => None,
    }
}

fn copy_input(directory: &Path, input: &Input) -> io::Result<()> {
    let name = made_safe(&input.name);
    for n in 1.. {
        let path = directory.join(INPUTS).join(numbered(&name, n));
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(mut file) => return file.write_all(&input.bytes),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
