//! What a channel's traffic is told to while it flows.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use crate::event::{ChannelName, Nanos};

/// Told every byte and every loss of a channel, in order, before anybody who waits for them is: what a verdict rests on is
/// stored before the verdict is.
///
/// The calls come from the tasks that do the I/O. They must not block for long; the device is not read meanwhile.
pub trait Tap: Send + Sync {
    /// Bytes came from the device and were read at `at`.
    fn received(&self, channel: &ChannelName, at: Nanos, bytes: &[u8]);
    /// Bytes were handed to the operating system or instrument at `at`.
    fn sent(&self, channel: &ChannelName, at: Nanos, bytes: &[u8]);
    /// The channel is gone. The last call for this channel, unless it comes back.
    fn lost(&self, channel: &ChannelName, at: Nanos, why: &str);
    /// Bytes were lost between the device and the capture; `None` if it is not known how many.
    fn gap(&self, channel: &ChannelName, at: Nanos, lost: Option<u64>);
    /// A channel that was lost is back: the instrument with this identity.
    fn reopened(&self, channel: &ChannelName, at: Nanos, identity: &str) {
        let _ = (channel, at, identity);
    }
    /// Something that is worth knowing and no bytes: the state of modem lines.
    fn noted(&self, channel: &ChannelName, at: Nanos, what: &str) {
        let _ = (channel, at, what);
    }
}

/// A tap that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn received(&self, _: &ChannelName, _: Nanos, _: &[u8]) {}
    fn sent(&self, _: &ChannelName, _: Nanos, _: &[u8]) {}
    fn lost(&self, _: &ChannelName, _: Nanos, _: &str) {}
    fn gap(&self, _: &ChannelName, _: Nanos, _: Option<u64>) {}
}

/// How much of a console's traffic has got how far. The virtual bench keeps its device in step with the console by it.
#[derive(Default)]
pub struct Counters {
    counts: Mutex<Counts>,
    changed: Condvar,
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// Values of [`Counters`] at one instant, in bytes since the channel was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted for sending.
    pub queued: u64,
    /// Written to the link and told to the tap.
    pub written: u64,
    /// Announced by the device's side, which is only possible on a virtual bench; see [`Counters::announce`].
    pub announced: u64,
    /// Received, told to the tap, searched by those who wait.
    pub captured: u64,
    /// The channel is closed or lost: nothing above will change.
    pub closed: bool,
}

impl Counters {
    /// New, all zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Values now.
    #[must_use]
    pub fn get(&self) -> Counts {
        *self.lock()
    }

    /// Blocks the thread until `reached` says so or the channel is closed, at most `limit` of wall time. Returns whether it was reached or
    /// closed. Not for async code.
    #[must_use]
    pub fn wait(&self, limit: Duration, mut reached: impl FnMut(&Counts) -> bool) -> bool {
        let counts = self.lock();
        let result = self.changed.wait_timeout_while(counts, limit, |counts| !counts.closed && !reached(counts));
        !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Says that the link is about to carry bytes until `total` have been received since the channel was opened. The reader then gathers
    /// them in one piece however the system cuts them up, so that what the tap is told does not depend on chance.
    pub fn announce(&self, total: u64) {
        self.lock().announced = total;
    }

    /// Calls `listener` after every change, from the task that made it. Only the first listener is taken.
    pub fn listen(&self, listener: impl Fn() + Send + Sync + 'static) {
        // A second listener would be a second device on one console, which no rig can have.
        let _ = self.listener.set(Box::new(listener));
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
        self.changed.notify_all();
        if let Some(listener) = self.listener.get() {
            listener();
        }
    }

    /// Plain numbers cannot be left half changed, so a panic elsewhere does not matter here.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
