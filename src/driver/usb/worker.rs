//! The thread that talks to libusb: its calls block, and none of them may block the bench.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::session::Session;
use crate::channel::link::LinkError;

/// What a call may take beyond the time of its transfers: opening, claiming, looking for a device that has gone.
const SLACK: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// A thread with a [`Session`]; it ends when this is dropped.
pub(in crate::driver) struct Worker {
    jobs: mpsc::Sender<Job>,
    identity: String,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The machine has no room for a thread.
    pub(in crate::driver) fn start(session: Session, identity: &str) -> Result<Self, LinkError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let mut session = session;
        let work = move || {
            for job in queue {
                job(&mut session);
            }
        };
        let started = thread::Builder::new().name("usb".to_owned()).spawn(work);
        started.map_err(|error| LinkError::new(format!("open {identity}"), format!("no thread for it: {error}")))?;
        Ok(Self { jobs, identity: identity.to_owned() })
    }

    /// Has something done on the thread, whose transfers take `transfers` at most. If the caller stops waiting, it is still finished.
    ///
    /// # Errors
    /// What was done fails, or does not end.
    pub(in crate::driver) async fn ask<T: Send + 'static>(
        &self,
        transfers: Duration,
        job: impl FnOnce(&mut Session) -> Result<T, LinkError> + Send + 'static,
    ) -> Result<T, LinkError> {
        let (answer, answered) = oneshot::channel();
        let asked = Instant::now();
        let job: Job = Box::new(move |session| {
            // Nobody may be waiting any more: then an act must not come late.
            if !answer.is_closed() {
                let _ = answer.send(job(session));
            }
        });
        let failed = |what: String| LinkError::new(format!("use {}", self.identity), what);
        self.jobs.send(job).map_err(|_| failed("its thread has ended".to_owned()))?;
        match tokio::time::timeout(transfers + SLACK, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed("its thread has broken off".to_owned())),
            Err(_) => Err(failed(format!("libusb has not come back after {:?}; the kernel's log may say why", asked.elapsed()))),
        }
    }
}
