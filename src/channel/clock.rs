//! The bench clock.
//!
//! Every deadline and every timestamp of a run is on one clock. On hardware it is the machine's monotonic clock. On the virtual bench
//! it is the device's own time, which advances only while somebody waits for it: there a run does not depend on how busy
//! the machine is, and ten seconds of a pressed button take milliseconds.

use std::{
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::tap::Counters;
use crate::event::Nanos;

/// A boxed future that can cross threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A monotonic clock that starts at zero when the run starts.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Nanos;

    /// Completes when the clock has reached `instant`, *and* everything the device sent before that instant has been captured: an
    /// expectation that times out has really seen all there was.
    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()>;

    /// A console on this clock has been opened. A clock that is the device's own keeps in step with it; the wall clock does not care.
    fn observe(&self, console: &Arc<Counters>) {
        let _ = console;
    }

    /// `wall` or `virtual`, for the run header.
    fn name(&self) -> &'static str;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct WallClock {
    start: Instant,
}

impl WallClock {
    /// Starts at zero now. `settle` in [`Clock::sleep_until`] is not needed: capture tasks stamp at arrival.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for WallClock {
    fn now(&self) -> Nanos {
        Nanos::default().after(self.start.elapsed())
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep_until(self.start + Duration::from_nanos(instant.0)))
    }

    fn name(&self) -> &'static str {
        "wall"
    }
}

/// How often the time of a simulated device is looked up at most.
const FRESH: Duration = Duration::from_millis(2);
/// For how long the clock of a simulated device goes on without hearing of it.
const GRACE: Duration = Duration::from_millis(100);

/// The time of a device that is simulated in real time by another program.
///
/// On a busy machine a simulation cannot always keep up: the device's seconds get longer, and every declared time of it would look exceeded.
/// The simulation tells in a file how long the device has lived: twice the same number of nanoseconds on one line, at least every 50 ms. This
/// clock follows it, and stands still while it is overdue.
#[derive(Debug)]
pub struct SimulationClock {
    file: PathBuf,
    /// The device's time when the clock was started.
    start: Duration,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    /// When the file was looked at last.
    looked: Instant,
    /// The device's time as it was told last, and since when that is known.
    device: Duration,
    since: Instant,
    /// The latest time that was given: a clock never goes back.
    latest: Duration,
}

impl SimulationClock {
    /// Starts at zero now.
    ///
    /// # Errors
    /// The file cannot be read: nobody simulates a device here.
    pub fn start(file: &Path) -> io::Result<Self> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it is not twice the same number of nanoseconds");
        let start = lived(&fs::read_to_string(file)?).ok_or_else(wrong)?;
        let now = Instant::now();
        let told = Told { looked: now, device: start, since: now, latest: Duration::ZERO };
        Ok(Self { file: file.to_owned(), start, told: Mutex::new(told) })
    }
}

/// What the file says. Twice, because it may be read while it is written.
fn lived(text: &str) -> Option<Duration> {
    let (one, other) = text.trim().split_once(' ')?;
    (one == other).then(|| one.parse().ok().map(Duration::from_nanos)).flatten()
}

impl Clock for SimulationClock {
    fn now(&self) -> Nanos {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now.duration_since(told.looked) >= FRESH {
            told.looked = now;
            // A simulation that has ended tells nothing more, and the clock stands still: the bench is gone with it.
            let device = fs::read_to_string(&self.file).ok().and_then(|text| lived(&text));
            if let Some(device) = device.filter(|device| *device > told.device) {
                (told.device, told.since) = (device, now);
            }
        }
        let device = told.device + now.duration_since(told.since).min(GRACE);
        told.latest = told.latest.max(device.saturating_sub(self.start));
        Nanos::default().after(told.latest)
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let now = self.now();
                if now >= instant {
                    return;
                }
                tokio::time::sleep(instant.since(now).max(FRESH)).await;
            }
        })
    }

    fn name(&self) -> &'static str {
        "simulation"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_stands_still_while_the_device_is_not_simulated() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("time");
        assert!(SimulationClock::start(&file).is_err(), "nobody simulates");
        let lives = |seconds: f64| {
            let nanos = (seconds * 1e9) as u64;
            fs::write(&file, format!("{nanos} {nanos}\n")).unwrap();
        };
        lives(7.0);
        let clock = Arc::new(SimulationClock::start(&file).unwrap());
        let passed = || clock.now().since(Nanos::default()).as_secs_f64();
        let near = |time: f64| assert!((passed() - time).abs() < 0.006, "{} instead of {time}", passed());
        near(0.0);
        // Nothing is heard of the device: no more than the grace passes.
        tokio::time::sleep(Duration::from_secs(30)).await;
        near(0.1);
        lives(8.0);
        tokio::time::sleep(Duration::from_millis(2)).await;
        near(1.0);
        let (sleeper, woken) = (Arc::clone(&clock), Instant::now());
        let sleep = tokio::spawn(async move { sleeper.sleep_until(Nanos::default().after(Duration::from_secs(3))).await });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!sleep.is_finished(), "a wait lasts as long as the device does not live");
        lives(10.1);
        sleep.await.unwrap();
        assert!(woken.elapsed() >= Duration::from_mins(1));
        // What is half written, goes back or is no file any more changes nothing.
        let before = passed();
        for text in ["99000000000 9", "1 1\n", "x x"] {
            fs::write(&file, text).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(passed() >= before && passed() < 3.3, "{text}: {}", passed());
        }
        fs::remove_file(&file).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(passed() < 3.3);
    }
}
