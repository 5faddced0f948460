//! What takes time is done elsewhere, so that the screen never waits.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// Jobs at a time; more are refused.
const MOST: usize = 8;

/// Jobs whose results are of one type.
pub struct Jobs<T> {
    results: Receiver<T>,
    sender: SyncSender<T>,
    running: usize,
}

impl<T: Send + 'static> Jobs<T> {
    /// No jobs.
    #[must_use]
    pub fn new() -> Self {
        // Room for every job that can run: none of them ever waits for the screen.
        let (sender, results) = sync_channel(MOST);
        Self { results, sender, running: 0 }
    }

    /// Starts one; false if there are too many, or no thread can be had.
    pub fn start(&mut self, job: impl FnOnce() -> T + Send + 'static) -> bool {
        if self.running >= MOST {
            return false;
        }
        let sender = self.sender.clone();
        let started = thread::Builder::new().name("tui-job".to_owned()).spawn(move || {
            // Nobody is there any more when the screen has been left.
            let _ = sender.try_send(job());
        });
        self.running += usize::from(started.is_ok());
        started.is_ok()
    }

    /// A result, if there is one.
    pub fn take(&mut self) -> Option<T> {
        let result = self.results.try_recv().ok()?;
        self.running -= 1;
        Some(result)
    }

    /// Whether one is running.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.running > 0
    }
}

impl<T: Send + 'static> Default for Jobs<T> {
    fn default() -> Self {
        Self::new()
    }
}
