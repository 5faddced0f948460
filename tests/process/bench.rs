//! The program with a store of its own.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hilbench::virtual_dut::bench::latch_read;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; only a hang meets it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A store, and files for it.
pub(crate) struct Bench {
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The program in the repository's directory, with this bench's store.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HILBENCH_STORE", self.store())
            .env("HILBENCH_LEASES", self.path("leases"))
            .env_remove("HILBENCH_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn hilbench<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        Ended::of(&self.command(env!("CARGO_BIN_EXE_hilbench")).args(arguments).output().unwrap())
    }

    /// Runs a plan with its events on standard output.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_hilbench"));
        command.arg("run").args(["--message-format", "json"]).args(arguments);
        Running::of(command)
    }

    /// The shipped plan on the shipped rig: long enough to be stopped in the middle.
    pub(crate) fn start_shipped(&self) -> Running {
        self.start(["testplans/secure-update.yaml", "--rig", "rigs/virtual-lock.yaml"])
    }

    /// Whether the relay of the virtual supply is closed.
    pub(crate) fn supply_is_up(&self, rig: &str) -> bool {
        let path = self.store().join("state").join(format!("{rig}.supply"));
        assert!(path.exists(), "no relay was ever switched");
        latch_read(&path).unwrap()
    }

    /// Directories of the runs.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.store().join("runs")) else { return Vec::new() };
        let mut runs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    /// What `show` says of the latest run, which must be readable.
    pub(crate) fn shown(&self, format: &str) -> String {
        let shown = self.hilbench(["show", "latest", "--format", format]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        shown.stdout
    }

    /// The summary of the latest run.
    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.shown("json")).unwrap()
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Invalid input: exit code 2 and a message with all of `words`.
    pub(crate) fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        self.is_clean();
    }

    /// Nothing that a terminal would obey.
    pub(crate) fn is_clean(&self) {
        for text in [&self.stdout, &self.stderr] {
            let wild = text
                .chars()
                .find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'));
            assert_eq!(wild, None, "{text:?}");
        }
    }
}

/// A run whose events are read as they come.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, lines, stderr: Some(stderr) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads events until one has `kind`; the program must not end before.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).unwrap();
            if read == 0 {
                let errors = self.stderr.take().unwrap().join().unwrap();
                panic!("it ended before {kind}: {errors}");
            }
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if !event["fact"][kind].is_null() || event["fact"] == kind {
                return event;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut stdout = String::new();
        self.lines.read_to_string(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        Ended { code: status.code(), stdout, stderr: self.stderr.take().unwrap().join().unwrap() }
    }
}

/// Waits until `holds`.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what} has not come");
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// The content of a file of a closed run; large ones are compressed.
pub(crate) fn stored(run: &Path, name: &str) -> Vec<u8> {
    let Ok(packed) = fs::File::open(run.join(format!("{name}.gz"))) else { return fs::read(run.join(name)).unwrap() };
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut content).unwrap();
    content
}

/// A file of the repository.
pub(crate) fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
