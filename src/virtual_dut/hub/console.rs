//! The hub's serial line: a pseudo-terminal with a thread of its own, because a terminal can only be polled.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{super::bench::Pty, lock};
use crate::channel::tap::Counters;

/// Bytes that wait in either direction; more are dropped, as by a UART without flow control.
const ROOM: usize = 64 * 1024;
/// How long the thread sleeps at most.
const NAP: Duration = Duration::from_millis(5);
/// How long bytes may be on the line before they count as lost. The kernel hands them over in a worker of its own, which was seen to take
/// six seconds on a machine with many busy processes.
const LOST: Duration = Duration::from_mins(1);

struct Ends {
    pty: Pty,
    input: Mutex<VecDeque<u8>>,
    output: Mutex<VecDeque<u8>>,
    arrived: Notify,
    over: AtomicBool,
    /// Times that the thread has looked at both directions.
    turns: AtomicU64,
    /// Bytes put on the line and taken from it since it was opened.
    given: AtomicU64,
    taken: AtomicU64,
}

/// The console at the other end, and how far both had got when last looked at.
struct Far {
    console: Arc<Counters>,
    /// What [`Ends::given`] and [`Ends::taken`] were when it was opened.
    from: (u64, u64),
    /// Bytes that were on their way: to the console, from the console.
    under_way: (u64, u64),
    since: Instant,
}

/// The line. Dropping it hangs it up.
pub(super) struct Line {
    ends: Arc<Ends>,
    path: PathBuf,
    far: Mutex<Option<Far>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Line {
    pub(super) fn open() -> io::Result<Self> {
        let pty = Pty::open()?;
        let path = pty.path().to_path_buf();
        let (input, output, arrived, over) = Default::default();
        let (turns, given, taken) = Default::default();
        let ends = Arc::new(Ends { pty, input, output, arrived, over, turns, given, taken });
        let carried = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("hub console".to_owned()).spawn(move || carried.carry())?;
        Ok(Self { ends, path, far: Mutex::default(), thread: Some(thread) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Times that the line was served.
    pub(super) fn turns(&self) -> u64 {
        self.ends.turns.load(Ordering::Relaxed)
    }

    fn moved(&self) -> (u64, u64) {
        (self.ends.given.load(Ordering::Relaxed), self.ends.taken.load(Ordering::Relaxed))
    }

    /// A console has opened the line.
    pub(super) fn opened(&self, console: &Arc<Counters>) {
        let far = Far { console: Arc::clone(console), from: self.moved(), under_way: (0, 0), since: Instant::now() };
        *lock(&self.far) = Some(far);
    }

    /// Whether everything has arrived that was on its way, in either direction, when this last said yes.
    pub(super) fn delivers(&self) -> bool {
        let moved = self.moved();
        let mut watched = lock(&self.far);
        let Some(far) = watched.as_mut() else { return true };
        let counts = far.console.get();
        if counts.captured >= far.under_way.0 && moved.1 - far.from.1 >= far.under_way.1 {
            far.under_way = (moved.0 - far.from.0, counts.queued);
            far.since = Instant::now();
            return true;
        }
        if counts.closed || far.since.elapsed() > LOST {
            *watched = None;
            return true;
        }
        false
    }

    /// Prints a line.
    pub(super) fn print(&self, text: &str) {
        let mut output = lock(&self.ends.output);
        if output.len() < ROOM {
            output.extend(text.bytes().chain(*b"\r\n"));
        }
    }

    /// The next byte that was typed.
    pub(super) async fn byte(&self) -> u8 {
        loop {
            let arrived = self.ends.arrived.notified();
            if let Some(byte) = lock(&self.ends.input).pop_front() {
                return byte;
            }
            arrived.await;
        }
    }

    /// What was typed while nothing ran is lost.
    pub(super) fn forget_input(&self) {
        lock(&self.ends.input).clear();
    }

    /// What was not sent when the power went is lost.
    pub(super) fn forget_output(&self) {
        lock(&self.ends.output).clear();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ends.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to say here.
            let _ = thread.join();
        }
    }
}

impl Ends {
    fn carry(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let full = !lock(&self.output).is_empty();
            // Both fail only when the line is gone, and then nobody is there to be told.
            let _ = self.pty.wait(full, NAP);
            let Ok(bytes) = self.pty.read() else { return };
            if !bytes.is_empty() {
                self.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                let mut input = lock(&self.input);
                let room = ROOM.saturating_sub(input.len());
                input.extend(bytes.into_iter().take(room));
                drop(input);
                self.arrived.notify_one();
            }
            let mut output = lock(&self.output);
            let (front, _) = output.as_slices();
            let Ok(written) = self.pty.write(front) else { return };
            output.drain(..written);
            self.given.fetch_add(written as u64, Ordering::Relaxed);
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(what: &str, mut done: impl FnMut() -> bool) {
        for _ in 0..2000 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what}");
    }

    #[tokio::test]
    async fn the_line_delivers_once_the_console_has_what_was_on_its_way() {
        let line = Line::open().unwrap();
        line.print("nobody listens yet");
        until("the line takes what is printed", || line.moved().0 == 20).await;
        assert!(line.delivers(), "without a console nothing is waited for");
        // A console that captures nothing.
        let console = Counters::new();
        line.opened(&console);
        assert!(line.delivers(), "what was on the line before is not this console's");
        line.print("x");
        until("the line takes what is printed", || line.moved().0 == 23).await;
        assert!(line.delivers(), "this is the first look at it");
        assert!(!line.delivers());
        assert!(!line.delivers());
    }
}
