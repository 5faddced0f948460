//! The hub's serial line: a pseudo-terminal with a thread of its own, because a terminal can only be polled.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{super::bench::Pty, lock};

/// Bytes that wait in either direction; more are dropped, as by a UART without flow control.
const ROOM: usize = 64 * 1024;
/// How long the thread sleeps at most.
const NAP: Duration = Duration::from_millis(5);

struct Ends {
    pty: Pty,
    input: Mutex<VecDeque<u8>>,
    output: Mutex<VecDeque<u8>>,
    arrived: Notify,
    over: AtomicBool,
    /// Times that the thread has looked at both directions.
    turns: AtomicU64,
}

/// The line. Dropping it hangs it up.
pub(super) struct Line {
    ends: Arc<Ends>,
    path: PathBuf,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Line {
    pub(super) fn open() -> io::Result<Self> {
        let pty = Pty::open()?;
        let path = pty.path().to_path_buf();
        let (input, output, arrived, over, turns) = Default::default();
        let ends = Arc::new(Ends { pty, input, output, arrived, over, turns });
        let carried = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("hub console".to_owned()).spawn(move || carried.carry())?;
        Ok(Self { ends, path, thread: Some(thread) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Times that the line was served.
    pub(super) fn turns(&self) -> u64 {
        self.ends.turns.load(Ordering::Relaxed)
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
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}
