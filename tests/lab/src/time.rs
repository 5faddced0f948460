//! How long an emulated device has lived, told to the bench.
//!
//! The devices here live in the time of the wall clock as long as the machine keeps up. When it does not, their seconds get longer, and a bench
//! that measured on the wall clock would call them slow. The rigs name the file (`device-time`), and the bench's clock follows it.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

/// The file that `rigs/emulated-*.yaml` name. One device at a time lives here.
pub const DEVICE_TIME: &str = "/run/hilbench-lab.time";
/// How often it is told.
pub const BEAT: Duration = Duration::from_millis(10);

/// The file, open.
#[derive(Debug)]
pub struct DeviceTime {
    file: File,
    told: Instant,
}

impl DeviceTime {
    /// Begins at zero.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn start(path: &Path) -> io::Result<Self> {
        let mut time = Self { file: File::create(path)?, told: Instant::now() };
        time.tell(Duration::ZERO)?;
        Ok(time)
    }

    /// Tells it if the last time is a beat ago.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn beat(&mut self, lived: Duration) -> io::Result<()> {
        if self.told.elapsed() < BEAT { Ok(()) } else { self.tell(lived) }
    }

    fn tell(&mut self, lived: Duration) -> io::Result<()> {
        self.told = Instant::now();
        self.file.rewind()?;
        // Always as long as before; twice, so that a reader sees whether he was too early.
        let nanos = u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX);
        self.file.write_all(format!("{nanos:020} {nanos:020}\n").as_bytes())
    }
}
