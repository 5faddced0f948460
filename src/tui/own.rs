//! A run that was started from here: a process of its own, which this one only watches.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    process::Child,
    sync::{Arc, Mutex, PoisonError},
};

use super::host::{Host, Started};
use crate::{
    event::{Request, RunId, StopLevel},
    journal::{RunDir, is_safe_name},
};

/// Most that is shown of what the process printed.
const LOG: u64 = 64 * 1024;

/// The process of a run.
#[derive(Debug)]
pub struct Own {
    process: Child,
    /// Its run.
    pub run: RunId,
    log: PathBuf,
    exit: Option<i32>,
}

impl Own {
    /// Takes charge of it.
    #[must_use]
    pub fn new(started: Started) -> Self {
        Self { process: started.process, run: started.run, log: started.log, exit: None }
    }

    /// Its exit code, once it has ended; 128 and more if a signal ended it.
    pub fn exit(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        if self.exit.is_none()
            && let Ok(Some(status)) = self.process.try_wait()
        {
            self.exit = Some(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(70));
        }
        self.exit
    }

    /// Its run's directory, once there is one.
    #[must_use]
    pub fn directory(&self, runs: &std::path::Path) -> Option<RunDir> {
        if !is_safe_name(self.run.as_str()) {
            return None;
        }
        let open = |name: String| RunDir::open(runs.join(name)).ok();
        open(format!("{}.partial", self.run)).or_else(|| open(self.run.to_string()))
    }

    /// What it printed.
    #[must_use]
    pub fn printed(&self) -> String {
        let mut bytes = Vec::new();
        let read = fs::File::open(&self.log).and_then(|file| file.take(LOG).read_to_end(&mut bytes));
        if read.is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where that stands.
    #[must_use]
    pub fn log(&self) -> &std::path::Path {
        &self.log
    }
}

/// The run that has to be stopped if this program is told to end. Known to the thread that receives signals, which does not wait for a
/// terminal that takes nothing.
#[derive(Clone)]
pub struct Ward {
    host: Arc<dyn Host>,
    run: Arc<Mutex<Option<RunId>>>,
}

impl Ward {
    /// No run yet.
    #[must_use]
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host, run: Arc::default() }
    }

    /// From now on this run is meant, or none.
    pub fn set(&self, run: Option<RunId>) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run;
    }

    /// Asks it to stop; false if there is none, or it cannot be reached.
    #[must_use]
    pub fn stop(&self, level: StopLevel, by: &str) -> bool {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(run) = run else { return false };
        let directory = self.host.runs().join(format!("{run}.partial"));
        self.host.send(&directory, &Request::Stop { level, by: by.to_owned() }).is_ok()
    }
}
