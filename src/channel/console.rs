//! A console: the tasks that own a byte stream, and the handle that steps use.
//!
//! Two tasks per console. The *reader* reads from open to close, whether or not anybody waits; it stamps what it read, tells the
//! [`Tap`], adds it to the capture and searches it on behalf of everybody who waits, in this order. The *writer* sends one frame after
//! the other, each whole: a step that stops waiting never cuts a frame in two. Neither ever flushes: on a serial port that blocks the
//! executor until the last bit is out.
//!
//! # A console that vanishes
//! With [`Returns`] the console looks for its instrument again and goes on in the same stream when it is back: offsets, marks and those who wait
//! stay. A match never reaches over the place where the stream was put together. What was said meanwhile is not known, so every absence is
//! remembered, with whose doing it was ([`Console::unexplained`]). The file of the lost instrument is closed at once: while somebody holds it
//! open, the kernel gives the instrument another number.
//!
//! # Time on a virtual bench
//! There, device time passes only while somebody sleeps on the clock. The deadline of an expectation is such a sleep, and the reader
//! drops it in the moment the expectation is met, before it says that it has captured the bytes. So time stands still from the byte that matched
//! until somebody waits again, however long the engine takes to think.

mod absence;
mod tasks;
mod wait;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::absence::{Mark, Reopen, Returns, Supplied};
use self::{
    absence::Absence,
    wait::{Registered, State},
};
use super::{
    clock::Clock,
    line::LineControl,
    link::{ByteLink, LinkError},
    matcher::Matcher,
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
/// Wall time for one act on the line: a hung USB device makes the kernel wait five seconds.
const LINE_LIMIT: Duration = Duration::from_secs(8);
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
    /// Control of the port's line, while it is open.
    line: Mutex<Option<Line>>,
    /// Whether the instrument is there.
    present: watch::Sender<bool>,
    returns: Option<Returns>,
    /// Why the instrument is not there: what ended the stream, then what the last attempt to find it again said.
    missing: Mutex<String>,
}

type Line = Arc<Mutex<Box<dyn LineControl>>>;

struct Frame {
    bytes: Vec<u8>,
    /// When it was given to us.
    given: Nanos,
    done: oneshot::Sender<Result<Sent, LinkError>>,
}

impl Console {
    /// Takes over an opened byte stream. Needs a tokio runtime.
    #[must_use]
    pub fn spawn(name: ChannelName, link: Box<dyn ByteLink>, clock: Arc<dyn Clock>, tap: Arc<dyn Tap>) -> Self {
        Self::start(name, Some(link), clock, tap, None)
    }

    /// The same for a console that may vanish and come back. Without a link it is away from the beginning, as one is whose device has no power
    /// yet.
    #[must_use]
    pub fn returning(
        name: ChannelName,
        link: Option<Box<dyn ByteLink>>,
        clock: Arc<dyn Clock>,
        tap: Arc<dyn Tap>,
        returns: Returns,
    ) -> Self {
        Self::start(name, link, clock, tap, Some(returns))
    }

    fn start(
        name: ChannelName,
        mut link: Option<Box<dyn ByteLink>>,
        clock: Arc<dyn Clock>,
        tap: Arc<dyn Tap>,
        returns: Option<Returns>,
    ) -> Self {
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
            line: Mutex::default(),
            present: watch::Sender::new(link.is_some()),
            returns,
            missing: Mutex::default(),
        });
        shared.clock.observe(&shared.counters);
        if let Some(link) = &mut link {
            shared.take_line(link.as_mut());
        }
        if link.is_none() {
            shared.away("the console is not there yet", false);
        }
        let (frames, queue) = mpsc::channel(FRAMES);
        let tasks = TaskTracker::new();
        tasks.spawn(tasks::keep(Arc::clone(&shared), link, queue));
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

    /// [`Console::mark`], and which absences are over.
    #[must_use]
    pub fn stand(&self) -> Mark {
        let state = self.shared.lock();
        Mark { offset: state.capture.end(), absences: state.absences.ended(self.shared.clock.now()) }
    }

    /// The mark behind a match that was found.
    #[must_use]
    pub fn after(&self, found: &Found) -> Mark {
        Mark { offset: found.end, absences: self.shared.lock().absences.ended(found.at) }
    }

    /// Why somebody who stood at `mark` and looked until `until` may have missed something that the device said, if that was not our own
    /// doing: the console was away although its device had power, it took too long to come back, bytes were lost.
    #[must_use]
    pub fn unexplained(&self, mark: Mark, until: Nanos) -> Option<String> {
        self.shared.lock().absences.unexplained(mark.absences, until)
    }

    /// Whether the instrument is there now.
    #[must_use]
    pub fn is_there(&self) -> bool {
        *self.shared.present.borrow()
    }

    /// Waits until the instrument is there, at most as long as it may take to come back. Only a console with [`Returns`] is ever away.
    ///
    /// # Errors
    /// It is not there; the text tells what was looked for and what was found.
    pub async fn present(&self) -> Result<(), LinkError> {
        let mut present = self.shared.present.subscribe();
        let Some(returns) = &self.shared.returns else { return Ok(()) };
        let until = self.shared.clock.now().after(returns.within);
        let there = async { present.wait_for(|there| *there).await.is_ok() };
        let there = tokio::select! {
            biased;
            there = there => there,
            () = self.shared.clock.sleep_until(until) => false,
        };
        if there {
            return Ok(());
        }
        let what = format!("it did not come back within {}; {}", crate::units::Span::from(returns.within), self.shared.missing());
        Err(LinkError { lost: true, ..LinkError::new(format!("wait for console `{}`", self.shared.name), what) })
    }

    /// Does something with the line that carries the bytes, on a thread of its own.
    ///
    /// # Errors
    /// The console is not there or has no line, the instrument does not answer, or what `act` says.
    pub async fn line<T: Send + 'static>(
        &self,
        operation: &str,
        act: impl FnOnce(&mut dyn LineControl) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, LinkError> {
        let failed =
            |what: String, lost| LinkError { lost, ..LinkError::new(format!("{operation} on `{}`", self.shared.name), what) };
        let line = self.shared.line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(line) = line else {
            let what = if *self.shared.present.borrow() { "this console is not a serial port" } else { "the console is away" };
            return Err(failed(what.to_owned(), !*self.shared.present.borrow()));
        };
        let work = tokio::task::spawn_blocking(move || act(line.lock().unwrap_or_else(PoisonError::into_inner).as_mut()));
        match tokio::time::timeout(LINE_LIMIT, work).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(error))) => Err(failed(error.to_string(), false)),
            Ok(Err(error)) => Err(failed(format!("the driver broke off: {error}"), false)),
            Err(_) => Err(failed(format!("no answer within {LINE_LIMIT:?}; does the instrument hang?"), false)),
        }
    }

    /// Received bytes of `range`, as far as they are there. `None` if the beginning is no longer in memory.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Option<Vec<u8>> {
        self.shared.lock().capture.bytes(range).map(<[u8]>::to_vec)
    }

    /// Sends bytes, after all frames that were given before. Resolves when the last byte was handed to the operating system. Whoever
    /// stops waiting after the frame was accepted does not stop the frame.
    ///
    /// While the console is away the frame waits for its return, at most as long as that may take. A frame that was under way when the
    /// console vanished is not sent again: the device has its beginning.
    ///
    /// # Errors
    /// The channel was lost or closed, or did not come back; the text tells how many bytes had gone out.
    pub async fn send(&self, bytes: impl Into<Vec<u8>>) -> Result<Sent, LinkError> {
        let bytes = bytes.into();
        let len = bytes.len();
        let gone =
            |why: Option<String>| self.shared.send_error(0, len, &why.unwrap_or_else(|| "the console is closed".to_owned()));
        let Ok(place) = self.frames.reserve().await else { return Err(gone(self.lost())) };
        let (done, result) = oneshot::channel();
        self.shared.counters.update(|counts| counts.queued += len as u64);
        place.send(Frame { bytes, given: self.shared.clock.now(), done });
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

    /// Takes over the control of the line that carries the bytes of `link`.
    fn take_line(&self, link: &mut dyn ByteLink) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = link.line().map(|line| Arc::new(Mutex::new(line)));
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
        self.lock().lose(why);
        self.present.send_replace(false);
        self.counters.update(|counts| counts.closed = true);
    }

    /// The instrument vanished and may come back; who waits goes on waiting. The tap is told first, of a loss that there was.
    fn away(&self, why: &str, was_there: bool) {
        let at = self.clock.now();
        let supply = self.returns.as_ref().and_then(|returns| returns.powered_by.as_ref());
        let cut = supply.filter(|supply| !was_there || supply.explains(at));
        let why = match cut {
            None => why.to_owned(),
            Some(supply) if was_there => format!("{why}; its supply `{}` was switched down", supply.name()),
            Some(supply) => format!("{why}; it waits for its supply `{}`", supply.name()),
        };
        self.set_missing(why.clone());
        if was_there {
            self.tap.lost(&self.name, at, &why);
        } else {
            self.tap.noted(&self.name, at, &why);
        }
        let mut state = self.lock();
        state.split();
        let offset = Some(state.capture.end());
        state.absences.begin(Absence { offset, since: at, back: None, why, explained: cut.is_some() });
        drop(state);
        self.present.send_replace(false);
    }

    /// The instrument is there again.
    fn back(&self, identity: &str) {
        let at = self.clock.now();
        self.tap.reopened(&self.name, at, identity);
        let mut state = self.lock();
        if let Some(absence) = state.absences.current() {
            absence.back = Some(at);
        }
        state.lost = None;
        drop(state);
        self.present.send_replace(true);
    }

    /// Bytes were lost on their way here: as good as not having looked.
    fn gap(&self, lost: Option<u64>) {
        let at = self.clock.now();
        self.tap.gap(&self.name, at, lost);
        let why = lost
            .map_or_else(|| "bytes were lost".to_owned(), |lost| format!("{lost} bytes were lost, as the port's driver counts"));
        // Where in the stream they are missing is not known, only that it was before now.
        self.lock().absences.begin(Absence { offset: None, since: at, back: Some(at), why, explained: false });
    }

    fn set_missing(&self, why: String) {
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn missing(&self) -> String {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
