//! What a serial port has beside its bytes: modem lines, breaks, its speed, and counts of what it lost.

use std::io;

/// The two lines that a host drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Data terminal ready.
    pub dtr: bool,
    /// Request to send.
    pub rts: bool,
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |up| if up { "up" } else { "down" };
        write!(f, "DTR {}, RTS {}", word(self.dtr), word(self.rts))
    }
}

/// Control of a port that is open as a byte stream. The calls can block for as long as the instrument takes to answer: they belong on a
/// thread of their own. It keeps the port open: whoever gives the stream back gives this back too.
pub trait LineControl: Send {
    /// The lines as the driver reads them back; `None` if the port has none (a pseudo-terminal).
    ///
    /// # Errors
    /// The port is gone or does not answer.
    fn lines(&mut self) -> io::Result<Option<Lines>>;

    /// Sets both lines in one step, so that a board that is reset by a combination of them does not see another one in between.
    ///
    /// # Errors
    /// The port is gone or has no lines.
    fn set_lines(&mut self, lines: Lines) -> io::Result<()>;

    /// Holds the line in the break state, or ends that.
    ///
    /// # Errors
    /// The port is gone or cannot.
    fn set_break(&mut self, on: bool) -> io::Result<()>;

    /// Bits per second, as the driver reads it back.
    ///
    /// # Errors
    /// The port is gone.
    fn baud(&mut self) -> io::Result<u32>;

    /// Sets the bits per second, both directions.
    ///
    /// # Errors
    /// The port is gone or cannot do this rate.
    fn set_baud(&mut self, baud: u32) -> io::Result<()>;

    /// Bytes that the port has lost since it was opened, as far as its driver counts them; `None` if nobody tells.
    fn overruns(&mut self) -> Option<u64> {
        None
    }
}
