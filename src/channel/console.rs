//! A console: the tasks that own a byte stream, and the handle that steps use.
//!
//! Two tasks per console. The *reader* reads from open to close, whether or not anybody waits; it stamps what it read, tells the
//! [`Tap`], adds it to the capture and searches it on behalf of everybody who waits, in this order. The *writer* sends one frame after
//! the other, each whole: a step that stops waiting never cuts a frame in two. Neither ever flushes: on a serial port that blocks the
//! executor until the last bit is out.
//!
//! # Time on a virtual bench
//! There, device time passes only while somebody sleeps on the clock. The deadline of an expectation is such a sleep, and the reader
//! drops it in the moment the expectation is met, before it says that it has captured the bytes. So time stands still from the byte that matched
//! until somebody waits again, however long the engine takes to think.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::{
    capture::Capture,
    clock::{BoxFuture, Clock},
    link::{ByteLink, LinkError},
    matcher::{Hit, Matcher, Search},
    tap::{Counters, Tap},
};
use crate::event::{ChannelName, Nanos};

/// A match that may still change is taken after this long without a byte: the device has said what it wanted to say, such as a prompt
/// without a line end. Longer than the gaps that USB serial adapters make (16 ms).
pub const QUIET: Duration = Duration::from_millis(50);

/// Frames that may wait for the writer; further senders wait in line.
const FRAMES: usize = 16;
/// Bytes per read.
const PIECE: usize = 64 * 1024;
/// Bytes of [`Expectation::TimedOut::seen`].
const TAIL: u64 = 256;
/// Wall time that a begun frame has to go out when the console is closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// How an expectation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// One of the patterns appeared.
    Matched(Found),
    /// None appeared by the deadline.
    TimedOut {
        /// Last bytes received between the mark and the deadline, at most 256.
        seen: Vec<u8>,
        /// Offset up to which the stream was looked at.
        until: u64,
    },
    /// The channel was lost or closed, or the clock stopped, before any appeared.
    Lost {
        /// Why.
        why: String,
    },
    /// The mark is so old that bytes after it are no longer in memory; nothing can be said. They are in the evidence.
    Gap {
        /// The bytes that are missing.
        missing: Range<u64>,
    },
}

/// A pattern that appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Index of the pattern in the list given.
    pub which: usize,
    /// Offset of the first byte of the match in the stream.
    pub start: u64,
    /// Offset after its last byte: the mark for what follows.
    pub end: u64,
    /// The bytes that matched.
    pub bytes: Vec<u8>,
    /// Named groups that took part, as text; what is not UTF-8 is replaced.
    pub captures: BTreeMap<String, String>,
    /// When the last byte of the match arrived.
    pub at: Nanos,
}

/// Bytes that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Offset of the first byte in the stream of sent bytes.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// When the last one was handed over.
    pub at: Nanos,
}

/// Handle of a console. Cheap to clone; when the last clone is dropped the console closes, but only [`Console::close`] tells when it has.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
    frames: mpsc::Sender<Frame>,
    tasks: TaskTracker,
    _closes: Arc<DropGuard>,
}

struct Shared {
    name: ChannelName,
    clock: Arc<dyn Clock>,
    tap: Arc<dyn Tap>,
    counters: Arc<Counters>,
    state: Mutex<State>,
    ended: AtomicBool,
    /// No further frame is begun.
    closing: CancellationToken,
    /// The writer is done with its frame, or gives it up.
    finished: CancellationToken,
}

#[derive(Default)]
struct State {
    capture: Capture,
    waiters: BTreeMap<u64, Waiter>,
    next: u64,
    lost: Option<String>,
}

struct Frame {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<Sent, LinkError>>,
}

/// One expectation that somebody waits for.
struct Waiter {
    search: Search,
    from: u64,
    deadline: Nanos,
    outcome: Option<Expectation>,
    /// When to look without new bytes: at the deadline, or earlier if there is a match that may still change.
    until: Nanos,
    sleep: Option<BoxFuture<'static, ()>>,
    waker: Option<Waker>,
}

impl Console {
    /// Takes over an opened byte stream. Needs a tokio runtime.
    #[must_use]
    pub fn spawn(name: ChannelName, link: Box<dyn ByteLink>, clock: Arc<dyn Clock>, tap: Arc<dyn Tap>) -> Self {
        let closing = CancellationToken::new();
        let shared = Arc::new(Shared {
            name,
            clock,
            tap,
            counters: Counters::new(),
            state: Mutex::default(),
            ended: AtomicBool::new(false),
            closing: closing.clone(),
            finished: CancellationToken::new(),
        });
        shared.clock.observe(&shared.counters);
        let (frames, queue) = mpsc::channel(FRAMES);
        let (rx, tx) = tokio::io::split(link);
        let tasks = TaskTracker::new();
        tasks.spawn(read(Arc::clone(&shared), rx));
        tasks.spawn(write(Arc::clone(&shared), tx, queue));
        tasks.close();
        Self { shared, frames, tasks, _closes: Arc::new(closing.drop_guard()) }
    }

    /// The channel.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.shared.name
    }

    /// How far the traffic has got.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Why the channel is gone, if it is.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        self.shared.lock().lost.clone()
    }

    /// Offset after the last byte received so far. Taken before a stimulus, it keeps what was there before from being mistaken
    /// for the answer.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.shared.lock().capture.end()
    }

    /// Received bytes of `range`, as far as they are there. `None` if the beginning is no longer in memory.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Option<Vec<u8>> {
        self.shared.lock().capture.bytes(range).map(<[u8]>::to_vec)
    }

    /// Sends bytes, after all frames that were given before. Resolves when the last byte was handed to the operating system. Whoever
    /// stops waiting after the frame was accepted does not stop the frame.
    ///
    /// # Errors
    /// The channel was lost or closed; the text tells how many bytes had gone out.
    pub async fn send(&self, bytes: impl Into<Vec<u8>>) -> Result<Sent, LinkError> {
        let bytes = bytes.into();
        let len = bytes.len();
        let gone =
            |why: Option<String>| self.shared.send_error(0, len, &why.unwrap_or_else(|| "the console is closed".to_owned()));
        let Ok(place) = self.frames.reserve().await else { return Err(gone(self.lost())) };
        let (done, result) = oneshot::channel();
        self.shared.counters.update(|counts| counts.queued += len as u64);
        place.send(Frame { bytes, done });
        result.await.unwrap_or_else(|_| Err(gone(self.lost())))
    }

    /// Waits until one of the patterns appears in what arrives from offset `from` on, or did already, and reports the earliest
    /// match (of equal ones, that of the first pattern). Bytes that arrive after `deadline` do not count; those up to it all do.
    ///
    /// A match that more bytes could change (see [`super::matcher`]) is reported once they cannot, or after [`QUIET`], or at the deadline.
    /// Dropping the future ends the expectation.
    pub async fn expect(&self, from: u64, matchers: &[&Matcher], deadline: Nanos) -> Expectation {
        let id = match self.shared.lock().register(from, matchers, deadline) {
            Ok(id) => id,
            Err(outcome) => return outcome,
        };
        let registered = Registered { shared: &self.shared, id };
        poll_fn(|cx| registered.poll(cx)).await
    }

    /// Lets the writer finish the frame it has begun, then stops reading and gives the stream back to the system. Frames not begun
    /// fail. A frame that the device does not take within two seconds is given up.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        if tokio::time::timeout(CLOSE_LIMIT, self.tasks.wait()).await.is_err() {
            self.shared.finished.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Shared {
    /// State is only changed by code that does not panic half way, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_error(&self, written: usize, len: usize, why: &str) -> LinkError {
        let what = format!("{why}; {written} of {len} bytes had gone out");
        LinkError { lost: true, ..LinkError::new(format!("send {len} bytes on `{}`", self.name), what) }
    }

    /// Ends everything that waits. The tap is told first.
    fn end(&self, why: &str, is_loss: bool) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        if is_loss {
            self.tap.lost(&self.name, self.clock.now(), why);
        }
        let mut state = self.lock();
        state.lost = Some(why.to_owned());
        let State { capture, waiters, .. } = &mut *state;
        for waiter in waiters.values_mut() {
            waiter.conclude(capture, Some(why));
        }
        drop(state);
        self.counters.update(|counts| counts.closed = true);
    }
}

/// Ends the console even if its task is dropped with the runtime.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end("the console is closed", false);
        self.0.finished.cancel();
    }
}

async fn read(shared: Arc<Shared>, mut link: ReadHalf<Box<dyn ByteLink>>) {
    let ends = Ends(Arc::clone(&shared));
    let mut piece = vec![0; PIECE];
    let mut filled = 0;
    loop {
        let read = tokio::select! {
            biased;
            () = shared.finished.cancelled() => None,
            read = link.read(&mut piece[filled..]) => Some(read),
        };
        let end = match read {
            None => Some(("the console is closed".to_owned(), false)),
            Some(Ok(0)) => Some(("end of the stream: the other side has closed or the instrument was removed".to_owned(), true)),
            Some(Ok(n)) => {
                filled += n;
                None
            }
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => None,
            Some(Err(error)) => Some((format!("reading failed: {error}"), true)),
        };
        let counts = shared.counters.get();
        let more = counts.captured + (filled as u64) < counts.announced && filled < PIECE;
        if filled > 0 && (end.is_some() || !more) {
            let at = shared.clock.now();
            shared.tap.received(&shared.name, at, &piece[..filled]);
            shared.lock().received(at, &piece[..filled]);
            shared.counters.update(|counts| counts.captured += filled as u64);
            filled = 0;
        }
        if let Some((why, is_loss)) = end {
            shared.end(&why, is_loss);
            break;
        }
        // A device that never pauses must not keep this thread to itself.
        tokio::task::consume_budget().await;
    }
    drop(ends);
}

async fn write(shared: Arc<Shared>, mut link: WriteHalf<Box<dyn ByteLink>>, mut queue: mpsc::Receiver<Frame>) {
    let finished = shared.finished.clone().drop_guard();
    let mut offset = 0u64;
    loop {
        let frame = tokio::select! {
            biased;
            () = shared.closing.cancelled() => break,
            () = shared.finished.cancelled() => break,
            frame = queue.recv() => frame,
        };
        let Some(frame) = frame else { break };
        let result = write_frame(&shared, &mut link, &frame.bytes, offset).await;
        offset = shared.counters.get().written;
        let failed = result.is_err();
        // Nobody may be waiting any more; then nobody wants to know.
        let _ = frame.done.send(result);
        if failed {
            break;
        }
    }
    queue.close();
    while let Ok(frame) = queue.try_recv() {
        let why = shared.lock().lost.clone().unwrap_or_else(|| "the console is closed".to_owned());
        let _ = frame.done.send(Err(shared.send_error(0, frame.bytes.len(), &why)));
    }
    drop(finished);
}

async fn write_frame(
    shared: &Shared,
    link: &mut WriteHalf<Box<dyn ByteLink>>,
    bytes: &[u8],
    offset: u64,
) -> Result<Sent, LinkError> {
    let mut written = 0;
    while written < bytes.len() {
        let result = tokio::select! {
            biased;
            () = shared.finished.cancelled() => {
                let why = shared.lock().lost.clone().unwrap_or_else(|| "given up while closing".to_owned());
                return Err(shared.send_error(written, bytes.len(), &why));
            }
            result = link.write(&bytes[written..]) => result,
        };
        let why = match result {
            Ok(0) => "the instrument takes no more bytes".to_owned(),
            Ok(n) => {
                shared.tap.sent(&shared.name, shared.clock.now(), &bytes[written..written + n]);
                written += n;
                shared.counters.update(|counts| counts.written += n as u64);
                continue;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => format!("writing failed: {error}"),
        };
        shared.end(&why, true);
        return Err(shared.send_error(written, bytes.len(), &why));
    }
    Ok(Sent { offset, len: bytes.len() as u64, at: shared.clock.now() })
}

impl State {
    /// Adds a waiter, or tells at once how the expectation ended.
    fn register(&mut self, from: u64, matchers: &[&Matcher], deadline: Nanos) -> Result<u64, Expectation> {
        if from < self.capture.start() {
            return Err(Expectation::Gap { missing: from..self.capture.start() });
        }
        let search = Search::new(from, matchers);
        let mut waiter = Waiter { search, from, deadline, outcome: None, until: deadline, sleep: None, waker: None };
        waiter.look(&self.capture);
        if waiter.outcome.is_none()
            && let Some(why) = &self.lost
        {
            waiter.conclude(&self.capture, Some(why));
        }
        if let Some(outcome) = waiter.outcome {
            return Err(outcome);
        }
        self.next += 1;
        self.waiters.insert(self.next, waiter);
        Ok(self.next)
    }

    fn received(&mut self, at: Nanos, bytes: &[u8]) {
        for waiter in self.waiters.values_mut().filter(|waiter| waiter.deadline < at) {
            waiter.conclude(&self.capture, None);
        }
        self.capture.push(at, bytes);
        for waiter in self.waiters.values_mut() {
            waiter.look(&self.capture);
        }
    }
}

impl Waiter {
    /// Offset up to which bytes count.
    fn limit(&self, capture: &Capture) -> u64 {
        let end = if capture.last_arrival() <= self.deadline { capture.end() } else { capture.end_at(self.deadline) };
        end.max(self.from)
    }

    /// Searches what is new. Ends the expectation if that decides it.
    fn look(&mut self, capture: &Capture) {
        if self.outcome.is_some() {
            return;
        }
        let base = self.search.needs().max(capture.start());
        let limit = self.limit(capture);
        let log = capture.bytes(base..limit).unwrap_or_default();
        if let Some(hit) = self.search.advance(base, log) {
            self.end(Expectation::Matched(self.found(&hit, capture, base, log)));
            return;
        }
        let undecided = self.search.finish().is_some();
        let quiet = capture.last_arrival().after(QUIET);
        let until = if undecided { quiet.min(self.deadline) } else { self.deadline };
        if until != self.until {
            self.until = until;
            self.sleep = None;
            self.wake();
        }
    }

    /// Ends the expectation with what there is.
    fn conclude(&mut self, capture: &Capture, lost: Option<&str>) {
        if self.outcome.is_some() {
            return;
        }
        let limit = self.limit(capture);
        let outcome = match (self.search.finish(), lost) {
            (Some(hit), _) => {
                let base = self.search.needs().max(capture.start());
                let log = capture.bytes(base..limit).unwrap_or_default();
                Expectation::Matched(self.found(&hit, capture, base, log))
            }
            (None, Some(why)) => Expectation::Lost { why: why.to_owned() },
            (None, None) => {
                let start = limit.saturating_sub(TAIL).max(self.from).max(capture.start());
                let seen = capture.bytes(start..limit).unwrap_or_default().to_vec();
                Expectation::TimedOut { seen, until: limit }
            }
        };
        self.end(outcome);
    }

    fn end(&mut self, outcome: Expectation) {
        self.outcome = Some(outcome);
        self.sleep = None;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn found(&self, hit: &Hit, capture: &Capture, base: u64, log: &[u8]) -> Found {
        let text = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8_lossy(&bytes).into_owned());
        Found {
            which: hit.which,
            start: hit.range.start,
            end: hit.range.end,
            bytes: capture.bytes(hit.range.clone()).unwrap_or_default().to_vec(),
            captures: self.search.captures(hit, base, log).into_iter().map(text).collect(),
            at: capture.arrival(hit.range.end.saturating_sub(1).max(hit.range.start)),
        }
    }
}

/// A waiter's place, given up when the expectation is no longer waited for.
struct Registered<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Registered<'_> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Expectation> {
        let mut state = self.shared.lock();
        let State { capture, waiters, .. } = &mut *state;
        let Some(waiter) = waiters.get_mut(&self.id) else {
            return Poll::Ready(Expectation::Lost { why: "the expectation was withdrawn".to_owned() });
        };
        while waiter.outcome.is_none() {
            let until = waiter.until;
            let sleep = waiter.sleep.get_or_insert_with(|| {
                let clock = Arc::clone(&self.shared.clock);
                Box::pin(async move { clock.sleep_until(until).await })
            });
            if sleep.as_mut().poll(cx).is_pending() {
                waiter.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            waiter.sleep = None;
            // A clock that gives up early is broken. What the device would have done by the deadline is not known.
            let stopped = (self.shared.clock.now() < until).then_some("the bench clock has stopped");
            waiter.conclude(capture, stopped);
        }
        match waiter.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let waiter = self.shared.lock().waiters.remove(&self.id);
        drop(waiter);
    }
}
