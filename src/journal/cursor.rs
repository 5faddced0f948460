//! Observers: cursors on the shared log.
//!
//! A queue per observer either grows without bound or loses events when the observer is slow. A cursor does neither: the last
//! events are kept in memory for all observers together, and one that has fallen further behind reads the file.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::watch;

use super::{Failure, line};
use crate::event::Event;

/// How far the journal has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tip {
    /// Number of events: the `seq` of the next one.
    pub next: u64,
    /// Whether no further event will come.
    pub closed: bool,
}

/// Every this many events the file offset is remembered; reading back skips at most this many lines. 8 bytes of memory each.
const STRIDE: u64 = 256;

pub(super) struct Log {
    tail: Mutex<Tail>,
    /// Own descriptor of `events.jsonl`: stays readable after the file has been compressed and its directory renamed.
    file: File,
    keep: usize,
    pub(super) failure: OnceLock<Failure>,
}

struct Tail {
    /// The last events; the last one is number `next - 1`.
    events: VecDeque<Arc<Event>>,
    next: u64,
    /// File offsets of events 0, STRIDE, 2 STRIDE, ...
    offsets: Vec<u64>,
    /// Length of the file in whole lines.
    end: u64,
}

impl Log {
    pub(super) fn new(file: File, keep: usize) -> Self {
        let tail = Tail { events: VecDeque::new(), next: 0, offsets: Vec::new(), end: 0 };
        Self { tail: Mutex::new(tail), file, keep: keep.max(1), failure: OnceLock::new() }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the writer, in order, after the line of `len` bytes is in the file.
    pub(super) fn push(&self, event: Arc<Event>, len: u64) {
        let mut tail = self.tail();
        if event.seq.is_multiple_of(STRIDE) {
            let end = tail.end;
            tail.offsets.push(end);
        }
        tail.end += len;
        tail.next = event.seq + 1;
        if tail.events.len() == self.keep {
            tail.events.pop_front();
        }
        tail.events.push_back(event);
    }

    /// Up to `most` events from number `from` on, from memory if they are there, else from the file.
    fn batch(&self, from: u64, most: usize) -> io::Result<VecDeque<Arc<Event>>> {
        let (offset, end) = {
            let tail = self.tail();
            let first = tail.next - tail.events.len() as u64;
            if from >= first {
                let skip = (from - first) as usize;
                return Ok(tail.events.iter().skip(skip).take(most).cloned().collect());
            }
            let index = (from / STRIDE) as usize;
            let end = tail.offsets.get(index + 1).copied().unwrap_or(tail.end);
            (tail.offsets.get(index).copied().unwrap_or(0), end)
        };
        // Not under the lock: reading the file must not hold up the writer.
        let mut bytes = vec![0; (end - offset) as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        let mut events = VecDeque::new();
        for text in bytes.split(|b| *b == b'\n').filter(|text| !text.is_empty()) {
            let event = line::decode_own(text).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
            if event.seq >= from {
                events.push_back(Arc::new(event));
            }
        }
        Ok(events)
    }
}

/// One observer's place in a live journal. Sees every event once, in order, from the first.
pub struct Cursor {
    log: Arc<Log>,
    tip: watch::Receiver<Tip>,
    next: u64,
    ready: VecDeque<Arc<Event>>,
    broken: bool,
}

impl Cursor {
    pub(super) fn new(log: Arc<Log>, tip: watch::Receiver<Tip>) -> Self {
        Self { log, tip, next: 0, ready: VecDeque::new(), broken: false }
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        const BATCH: usize = 256;
        if self.ready.is_empty() && !self.broken && self.next < self.tip.borrow_and_update().next {
            match self.log.batch(self.next, BATCH) {
                Ok(events) => self.ready = events,
                Err(error) => {
                    // The journal cannot be read back: it is no longer a record, and the run must end as an error.
                    self.broken = true;
                    let _ = self.log.failure.set(Failure::new("read the journal back", &error));
                }
            }
        }
        let event = self.ready.pop_front()?;
        self.next = event.seq + 1;
        Some(event)
    }

    /// The next event, as soon as there is one; `None` once the journal is closed (or its last handle dropped) and every event has
    /// been seen. Cancel-safe: an event is only taken when it is returned.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            let tip = *self.tip.borrow();
            if self.broken || (tip.closed && self.next >= tip.next) {
                return None;
            }
            if self.tip.changed().await.is_err() {
                // The writer is gone; what it wrote just before may not have been seen yet.
                return self.try_next();
            }
        }
    }

    /// Number of the event that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    /// How far the journal has got.
    #[must_use]
    pub fn tip(&self) -> Tip {
        *self.tip.borrow()
    }
}
