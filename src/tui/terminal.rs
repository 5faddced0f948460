//! The terminal: set up, restored however the program ends, and never waited for.
//!
//! What is switched on is kept in one list, and each thing is undone by itself: if one cannot be, the others still are. Frames go into
//! an outbox from which as much is written as the terminal takes; a terminal that takes nothing holds up nobody.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt as _,
    },
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};

/// Alternate screen, cursor hidden, bracketed paste (so that pasted text is text and not keys).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[H\x1b[?25l\x1b[?2004h";
const LEAVE: &[u8] = b"\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l";
/// Clicks and wheel, with large coordinates.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";
/// Time for a slow terminal to take the last bytes.
const FAREWELL: Duration = Duration::from_millis(500);

/// What is written next. Clones are the same one.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Outbox {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What has to be undone.
struct Setup {
    output: File,
    /// The modes as they were.
    before: Mutex<Termios>,
    mouse: bool,
    up: AtomicBool,
}

/// For the panic hook, which is told nothing.
static SETUP: OnceLock<Mutex<Option<Arc<Setup>>>> = OnceLock::new();

fn current() -> Option<Arc<Setup>> {
    SETUP.get()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Setup {
    /// Undoes everything, once; true if it was this call that did.
    fn restore(&self) -> bool {
        if !self.up.swap(false, Ordering::SeqCst) {
            return false;
        }
        let mut bytes = Vec::new();
        if self.mouse {
            bytes.extend_from_slice(MOUSE_OFF);
        }
        bytes.extend_from_slice(LEAVE);
        let until = Instant::now() + FAREWELL;
        while !bytes.is_empty() && Instant::now() < until {
            match write_some(&self.output, &bytes) {
                Ok(0) if !wait_writable(self.output.as_fd(), Duration::from_millis(50)) => {}
                Ok(count) => drop(bytes.drain(..count)),
                Err(_) => break,
            }
        }
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = tcsetattr(&self.output, SetArg::TCSANOW, &before);
        true
    }

    fn raise(&self) -> io::Result<()> {
        if self.up.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let mut raw = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cfmakeraw(&mut raw);
        tcsetattr(&self.output, SetArg::TCSANOW, &raw)?;
        let mut bytes = ENTER.to_vec();
        if self.mouse {
            bytes.extend_from_slice(MOUSE_ON);
        }
        let until = Instant::now() + FAREWELL;
        while !bytes.is_empty() {
            let count = write_some(&self.output, &bytes)?;
            bytes.drain(..count);
            if count == 0 && Instant::now() > until {
                // The rest of the set-up is of the first frame's kind: it waits in front of it.
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the terminal takes nothing"));
            }
            if count == 0 {
                wait_writable(self.output.as_fd(), Duration::from_millis(50));
            }
        }
        Ok(())
    }
}

/// Writes what fits; 0 if nothing does now.
fn write_some(mut output: &File, bytes: &[u8]) -> io::Result<usize> {
    match output.write(bytes) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        outcome => outcome,
    }
}

fn wait_writable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut ready = [PollFd::new(fd, PollFlags::POLLOUT)];
    poll(&mut ready, PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO)).is_ok_and(|count| count > 0)
}

/// The terminal while it is ours. Dropping it restores it.
pub struct Terminal {
    setup: Arc<Setup>,
    outbox: Outbox,
}

impl Terminal {
    /// Takes the terminal: raw mode, alternate screen. A panic from here on restores it first and is told afterwards.
    ///
    /// # Errors
    /// Standard output is no terminal, or cannot be set up.
    pub fn take(mouse: bool) -> io::Result<Self> {
        // An own description of the terminal: that it does not block must not surprise whoever shares standard output.
        let name = nix::unistd::ttyname(io::stdout()).map_err(io::Error::from)?;
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let open = |path: &std::path::Path| OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path);
        // After `su` the device may belong to somebody else; the controlling terminal can still be had.
        let output = open(&name).or_else(|_| open(std::path::Path::new("/dev/tty")))?;
        let before = tcgetattr(&output)?;
        let setup = Arc::new(Setup { output, before: Mutex::new(before), mouse, up: AtomicBool::new(false) });
        let first = SETUP.get().is_none();
        *SETUP.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&setup));
        if first {
            let then = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if let Some(setup) = current() {
                    setup.restore();
                }
                then(panic);
            }));
        }
        // Made first, so that whatever fails below is undone.
        let terminal = Self { setup, outbox: Outbox::default() };
        terminal.setup.raise()?;
        Ok(terminal)
    }

    /// Where frames are written to.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Whether it is set up. A panic in another thread may have restored it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.setup.up.load(Ordering::SeqCst)
    }

    /// Writes as much of the outbox as the terminal takes now.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn pump(&self) -> io::Result<()> {
        let mut bytes = self.outbox.bytes();
        while !bytes.is_empty() && self.is_up() {
            match write_some(&self.setup.output, &bytes)? {
                0 => break,
                count => drop(bytes.drain(..count)),
            }
        }
        Ok(())
    }

    /// Gives the terminal back for a while.
    pub fn release(&self) {
        self.outbox.bytes().clear();
        self.setup.restore();
    }

    /// Takes it again. What is on it is not known any more: draw everything.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn retake(&self) -> io::Result<()> {
        self.setup.raise()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.setup.restore();
    }
}
