//! The serial line as the system sees it: a pseudo-terminal. The bench holds the master, the console opens the slave by its path.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
    unistd::ttyname,
};

/// A pseudo-terminal in raw mode.
#[derive(Debug)]
pub(in crate::virtual_dut) struct Pty {
    master: File,
    path: PathBuf,
    /// Held so that the line does not hang up between one console and the next.
    _slave: OwnedFd,
}

impl Pty {
    pub(in crate::virtual_dut) fn open() -> io::Result<Self> {
        let pair = openpty(None, None)?;
        // Without raw mode the terminal would echo what the device prints back to it before a console has the port open.
        let mut modes = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut modes);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &modes)?;
        let path = ttyname(&pair.slave)?;
        // Processes that the bench starts, such as the guard, must not keep the line open.
        for fd in [&pair.master, &pair.slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let flags = OFlag::from_bits_retain(fcntl(&pair.master, FcntlArg::F_GETFL)?);
        fcntl(&pair.master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Self { master: File::from(pair.master), path, _slave: pair.slave })
    }

    pub(in crate::virtual_dut) fn path(&self) -> &Path {
        &self.path
    }

    /// What the other side has written and not been read yet; possibly nothing.
    pub(in crate::virtual_dut) fn read(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match (&self.master).read(&mut piece) {
                Ok(0) => return Ok(all),
                Ok(n) => all.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(all),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes as much as there is room for.
    pub(in crate::virtual_dut) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.master).write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Waits until something can be read, or written if `output`, at most `limit` of wall time.
    pub(in crate::virtual_dut) fn wait(&self, output: bool, limit: Duration) -> io::Result<()> {
        let events = if output { PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.master.as_fd(), events)], limit) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
