//! How a run comes by its instruments: at once, or in the queue.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    lease::{self, Holder, Lease, LeaseError, queue::Ticket},
    record::Recorder,
    stop::StopSignal,
};
use crate::event::{Fact, StopLevel};

/// Wall time that a run waits for the guard of an earlier run on the same instruments, even if it does not wait otherwise.
const GUARD_LIMIT: Duration = Duration::from_secs(20);

/// How often those who wait look.
const PERIOD: Duration = Duration::from_millis(50);

/// Why a run does not begin.
pub(super) enum Obstacle {
    /// Somebody stopped it while it waited.
    Stopped,
    /// A fault of the bench.
    Fault(String),
}

/// One run before its instruments.
pub(super) struct Queue<'a> {
    /// Where leases are kept.
    pub(super) directory: &'a Path,
    /// What others are told.
    pub(super) holder: &'a Holder,
    /// Wall time to wait.
    pub(super) wait: Option<Duration>,
    /// Ends the waiting.
    pub(super) stop: &'a StopSignal,
    /// Told of the waiting.
    pub(super) recorder: &'a Recorder,
}

impl Queue<'_> {
    /// Takes all instruments at once, and says so.
    pub(super) async fn take(&self, instruments: &BTreeSet<String>) -> Result<Vec<Lease>, Obstacle> {
        let start = Instant::now();
        let mut ticket: Option<Arc<Ticket>> = None;
        let mut told = String::new();
        loop {
            let error = match self.attempt(instruments, ticket.clone()).await? {
                Ok(held) => {
                    let waited = ticket.is_some().then(|| u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
                    for lease in &held {
                        self.recorder.fact(Fact::LeaseTaken { instrument: lease.instrument.clone(), waited_ms: waited });
                    }
                    return Ok(held);
                }
                Err(error) => error,
            };
            let patience = match &error {
                LeaseError::Held { .. } | LeaseError::Kept { .. } => self.wait.unwrap_or_default(),
                LeaseError::Guarded { .. } => self.wait.unwrap_or_default().max(GUARD_LIMIT),
                LeaseError::Io { .. } => Duration::ZERO,
            };
            if start.elapsed() >= patience {
                let after = self.wait.map_or_else(String::new, |wait| format!(", after {wait:?} of waiting"));
                return Err(Obstacle::Fault(format!("{error}{after}")));
            }
            if self.wait.is_some() {
                if ticket.is_none() {
                    ticket = Some(Arc::new(self.draw(instruments).await?));
                }
                let what = error.to_string();
                if what != told {
                    self.recorder.fact(Fact::LeaseAwaited { what: what.clone() });
                    told = what;
                }
            }
            tokio::select! {
                biased;
                () = self.stop.reached(StopLevel::Graceful) => return Err(Obstacle::Stopped),
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// One try, off the executor: it waits for other processes, if only for microseconds.
    async fn attempt(
        &self,
        instruments: &BTreeSet<String>,
        ticket: Option<Arc<Ticket>>,
    ) -> Result<Result<Vec<Lease>, LeaseError>, Obstacle> {
        let (directory, instruments, holder) = (self.directory.to_owned(), instruments.clone(), self.holder.clone());
        let taking = tokio::task::spawn_blocking(move || lease::take(&directory, &instruments, &holder, ticket.as_deref()));
        taking.await.map_err(|error| Obstacle::Fault(format!("take leases: {error}")))
    }

    async fn draw(&self, instruments: &BTreeSet<String>) -> Result<Ticket, Obstacle> {
        let (directory, instruments, holder) = (self.directory.to_owned(), instruments.clone(), self.holder.clone());
        let drawing = tokio::task::spawn_blocking(move || Ticket::draw(&directory, &instruments, &holder));
        let drawn = drawing.await.map_err(|error| Obstacle::Fault(format!("wait for instruments: {error}")))?;
        drawn.map_err(|error| Obstacle::Fault(error.to_string()))
    }
}
