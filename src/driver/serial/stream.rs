//! An open port as a byte stream, and control of its line beside that.

use std::{
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use serialport::{SerialPort, TTYPort};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::SerialStream;

use super::overruns;
use crate::channel::{
    line::{LineControl, Lines},
    link::ByteLink,
};

/// An open port. Its flush does nothing: `tcdrain` would block the thread until the last bit is out.
pub(super) struct PortStream {
    io: SerialStream,
    line: Option<PortLine>,
}

impl PortStream {
    /// Needs a tokio runtime.
    pub(super) fn new(port: TTYPort, line: PortLine) -> io::Result<Self> {
        Ok(Self { io: SerialStream::try_from(port)?, line: Some(line) })
    }
}

impl AsyncRead for PortStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for PortStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ByteLink for PortStream {
    fn line(&mut self) -> Option<Box<dyn LineControl>> {
        self.line.take().map(|line| Box::new(line) as Box<dyn LineControl>)
    }
}

/// A second handle of the open port.
pub(super) struct PortLine {
    port: TTYPort,
    path: PathBuf,
}

impl PortLine {
    pub(super) fn of(port: &TTYPort, path: &Path) -> io::Result<Self> {
        Ok(Self { port: port.try_clone_native()?, path: path.to_owned() })
    }

    fn bits(&self) -> io::Result<Option<i32>> {
        match ioctl_rs::tiocmget(self.port.as_raw_fd()) {
            Ok(bits) => Ok(Some(bits)),
            // A pseudo-terminal has no lines.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOTTY as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

const DTR: i32 = ioctl_rs::TIOCM_DTR as i32;
const RTS: i32 = ioctl_rs::TIOCM_RTS as i32;

impl LineControl for PortLine {
    fn lines(&mut self) -> io::Result<Option<Lines>> {
        Ok(self.bits()?.map(|bits| Lines { dtr: bits & DTR != 0, rts: bits & RTS != 0 }))
    }

    fn set_lines(&mut self, lines: Lines) -> io::Result<()> {
        let bits = self.bits()?.ok_or_else(|| io::Error::other("this port has no modem lines"))?;
        let wanted = if lines.dtr { DTR } else { 0 } | if lines.rts { RTS } else { 0 };
        ioctl_rs::tiocmset(self.port.as_raw_fd(), bits & !(DTR | RTS) | wanted)
    }

    fn set_break(&mut self, on: bool) -> io::Result<()> {
        Ok(if on { self.port.set_break() } else { self.port.clear_break() }?)
    }

    fn baud(&mut self) -> io::Result<u32> {
        Ok(self.port.baud_rate()?)
    }

    fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        Ok(self.port.set_baud_rate(baud)?)
    }

    fn overruns(&mut self) -> Option<u64> {
        overruns::of(Path::new("/proc"), &self.path)
    }
}
