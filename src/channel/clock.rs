//! The bench clock.
//!
//! Every deadline and every timestamp of a run is on one clock. On hardware it is the machine's monotonic clock. On the virtual bench
//! it is the device's own time, which advances only while somebody waits for it: there a run does not depend on how busy
//! the machine is, and ten seconds of a pressed button take milliseconds.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::tap::Counters;
use crate::event::Nanos;

/// A boxed future that can cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A monotonic clock that starts at zero when the run starts.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Nanos;

    /// Completes when the clock has reached `instant`, *and* everything the device sent before that instant has been captured: an
    /// expectation that times out has really seen all there was.
    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()>;

    /// A console on this clock has been opened. A clock that is the device's own keeps in step with it; the wall clock does not care.
    fn observe(&self, console: &Arc<Counters>) {
        let _ = console;
    }

    /// `wall` or `virtual`, for the run header.
    fn name(&self) -> &'static str;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct WallClock {
    start: tokio::time::Instant,
}

impl WallClock {
    /// Starts at zero now. `settle` in [`Clock::sleep_until`] is not needed: capture tasks stamp at arrival.
    #[must_use]
    pub fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for WallClock {
    fn now(&self) -> Nanos {
        Nanos::default().after(self.start.elapsed())
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep_until(self.start + Duration::from_nanos(instant.0)))
    }

    fn name(&self) -> &'static str {
        "wall"
    }
}
