//! What is typed, taken by a thread of its own.
//!
//! crossterm 0.29 waits inside a read for the rest of a sequence it does not know, and reads for ever from a terminal that has been closed
//! (`event/source/unix/mio.rs`: neither an end of file nor an error ends its loop). Here that holds up nobody who draws or stops a run.

use std::{
    io,
    os::fd::AsFd as _,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    time::Duration,
};

use crossterm::event::{self, Event};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Events that may wait for whoever draws; then the thread waits.
const WAITING: usize = 256;
/// How long bytes that are no key yet are left alone.
const INCOMPLETE: Duration = Duration::from_millis(100);

/// What is typed.
pub struct Input(Receiver<io::Result<Event>>);

impl Input {
    /// Begins to take what standard input, which is a terminal, brings.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn open() -> io::Result<Self> {
        let (sender, events) = sync_channel(WAITING);
        std::thread::Builder::new().name("tui-input".to_owned()).spawn(move || {
            if let Err(error) = take(&sender) {
                let _ = sender.send(Err(error));
            }
        })?;
        Ok(Self(events))
    }

    /// The next event, waiting for it at most so long.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn next(&self, wait: Duration) -> io::Result<Option<Event>> {
        let event = if wait.is_zero() {
            self.0.try_recv().map_err(|error| error == TryRecvError::Disconnected)
        } else {
            self.0.recv_timeout(wait).map_err(|error| error == RecvTimeoutError::Disconnected)
        };
        match event {
            Ok(event) => event.map(Some),
            Err(false) => Ok(None),
            Err(true) => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the terminal is gone")
}

/// Passes events on until nobody wants them any more.
fn take(events: &SyncSender<io::Result<Event>>) -> io::Result<()> {
    let terminal = io::stdin();
    let mut wait = Duration::ZERO;
    loop {
        let mut any = false;
        while event::poll(wait)? {
            any = true;
            wait = Duration::ZERO;
            if events.send(Ok(event::read()?)).is_err() {
                return Ok(());
            }
        }
        // What is there and was no event will be one only with more bytes.
        wait = if any { Duration::ZERO } else { INCOMPLETE };
        let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = ready[0].revents().unwrap_or(PollFlags::empty());
        if flags.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Err(gone());
        }
    }
}
