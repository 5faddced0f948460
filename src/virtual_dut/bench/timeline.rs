//! Virtual time: the device's own time as the clock of the bench.
//!
//! Time passes only while somebody sleeps on the clock (or a debug probe talks to the device), and never beyond the earliest sleeper's
//! instant. Whatever the engine does between two sleeps takes no time at all, so a run is the same on a busy machine and on an idle one.
//! The rule for users follows: **sleep only for what the device is to be given time for.** A sleep kept in the background (a watchdog for a
//! whole case, say) would let time run while the engine thinks; nested deadlines are instants to be compared, the nearest is slept for.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::pty::Pty;
use crate::{
    channel::{
        clock::{BoxFuture, Clock},
        link::LinkError,
        tap::Counters,
    },
    event::Nanos,
    virtual_dut::CYCLES_PER_SECOND,
};

/// Device time as bench time, rounded down. 16 MHz are 62.5 ns per cycle.
pub(super) fn nanos(cycle: u64) -> Nanos {
    Nanos((u128::from(cycle) * 1_000_000_000 / u128::from(CYCLES_PER_SECOND)).try_into().unwrap_or(u64::MAX))
}

/// First cycle that is not before `instant`.
pub(super) fn cycles(instant: Nanos) -> u64 {
    (u128::from(instant.0) * u128::from(CYCLES_PER_SECOND)).div_ceil(1_000_000_000).try_into().unwrap_or(u64::MAX)
}

/// Who waits for what, shared by the device thread and everybody who sleeps.
#[derive(Debug)]
pub(super) struct Timeline {
    now: AtomicU64,
    schedule: Mutex<Schedule>,
    changed: Condvar,
    pub(super) line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Schedule {
    sleepers: BTreeMap<(Nanos, u64), Option<Waker>>,
    next: u64,
    /// Sleepers up to here may wake: everything the device put out before has been captured.
    reached: Nanos,
    /// Others than the device thread who want the device.
    outsiders: usize,
    /// The device holds output that nobody has been given yet.
    pending: bool,
    stopping: bool,
    fault: Option<String>,
}

/// The serial line and how far its bytes have got.
#[derive(Debug)]
pub(super) struct Line {
    /// `None` once the bench has failed or ended: that closes the terminal, and the console sees it.
    pub(super) pty: Option<Arc<Pty>>,
    /// The console that has the port open.
    pub(super) console: Option<Arc<Counters>>,
    /// Bytes taken from the console.
    pub(super) taken: u64,
    /// Bytes given to the console.
    pub(super) given: u64,
}

/// What the device thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Let time pass, at most to this instant.
    Run(Nanos),
    /// Take what the console sent, give it what the device put out; no time passes.
    Traffic,
    /// End.
    Stop,
}

/// Plain data, valid at any moment: a panic elsewhere does not invalidate it.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Timeline {
    pub(super) fn new(now: Nanos, pty: Arc<Pty>) -> Self {
        Self {
            now: AtomicU64::new(now.0),
            schedule: Mutex::new(Schedule { reached: now, ..Schedule::default() }),
            changed: Condvar::new(),
            line: Mutex::new(Line { pty: Some(pty), console: None, taken: 0, given: 0 }),
        }
    }

    pub(super) fn now(&self) -> Nanos {
        Nanos(self.now.load(Ordering::Acquire))
    }

    /// Sets what the clock shows. Done before the device's output is given away, so that its time stamp is right.
    pub(super) fn show(&self, now: Nanos) {
        self.now.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Wakes everybody who slept for `now` or earlier, if nothing is left to be captured.
    pub(super) fn settle(&self, now: Nanos, pending: bool) {
        self.show(now);
        let mut schedule = lock(&self.schedule);
        schedule.pending = pending;
        if !pending {
            schedule.reached = schedule.reached.max(now);
            schedule.wake();
        }
    }

    /// Ends the bench's life: nothing will happen any more. Sleepers are woken, the console loses its line.
    pub(super) fn fail(&self, why: String) {
        lock(&self.schedule).fault.get_or_insert(why);
        self.close();
        lock(&self.schedule).wake();
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        lock(&self.schedule).stopping = true;
        self.close();
        lock(&self.schedule).wake();
        self.changed.notify_all();
    }

    /// The last holder of the terminal closes it.
    fn close(&self) {
        let pty = lock(&self.line).pty.take();
        drop(pty);
    }

    pub(super) fn stopping(&self) -> bool {
        lock(&self.schedule).stopping
    }

    pub(super) fn fault(&self) -> Option<String> {
        let schedule = lock(&self.schedule);
        schedule.fault.clone().or_else(|| schedule.stopping.then(|| "the virtual bench has ended".to_owned()))
    }

    /// An error if the bench can no longer do anything.
    pub(super) fn check(&self, operation: &str) -> Result<(), LinkError> {
        match self.fault() {
            Some(what) => Err(LinkError { lost: true, ..LinkError::new(operation, what) }),
            None => Ok(()),
        }
    }

    /// Blocks the device thread until there is something to do.
    pub(super) fn next(&self) -> Work {
        let mut schedule = lock(&self.schedule);
        loop {
            if let Some(work) = self.work(&schedule) {
                return work;
            }
            schedule = self.changed.wait(schedule).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether `work` is still what there is to do.
    pub(super) fn is_due(&self, work: Work) -> bool {
        self.work(&lock(&self.schedule)) == Some(work)
    }

    fn work(&self, schedule: &Schedule) -> Option<Work> {
        if schedule.over() {
            return Some(Work::Stop);
        }
        if schedule.outsiders > 0 {
            return None;
        }
        if let Some(((instant, _), _)) = schedule.sleepers.first_key_value() {
            return Some(Work::Run(*instant));
        }
        (schedule.pending || self.untaken()).then_some(Work::Traffic)
    }

    /// Whether the console has sent something that the device has not been given.
    fn untaken(&self) -> bool {
        let line = lock(&self.line);
        line.console.as_ref().is_some_and(|console| {
            let counts = console.get();
            !counts.closed && counts.queued > line.taken
        })
    }

    /// Keeps the device thread away until the guard is dropped: no time passes.
    pub(super) fn outsider(self: &Arc<Self>) -> Outsider {
        lock(&self.schedule).outsiders += 1;
        Outsider(Arc::clone(self))
    }
}

/// Somebody other than the device thread has the device, or is on the way to it.
#[derive(Debug)]
pub(super) struct Outsider(Arc<Timeline>);

impl Drop for Outsider {
    fn drop(&mut self) {
        lock(&self.0.schedule).outsiders -= 1;
        self.0.changed.notify_all();
    }
}

impl Schedule {
    fn over(&self) -> bool {
        self.stopping || self.fault.is_some()
    }

    fn wake(&mut self) {
        let over = self.over();
        while let Some(entry) = self.sleepers.first_entry() {
            if !over && entry.key().0 > self.reached {
                break;
            }
            if let Some(waker) = entry.remove() {
                waker.wake();
            }
        }
    }
}

/// The clock of a virtual bench.
#[derive(Debug, Clone)]
pub(super) struct VirtualClock(pub(super) Arc<Timeline>);

impl Clock for VirtualClock {
    fn now(&self) -> Nanos {
        self.0.now()
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        Box::pin(Sleep { timeline: Arc::clone(&self.0), instant, id: None })
    }

    fn observe(&self, console: &Arc<Counters>) {
        let mut line = lock(&self.0.line);
        // What an earlier console left on the line is not this one's.
        if let Some(pty) = &line.pty {
            let _ = pty.read();
        }
        line.console = Some(Arc::clone(console));
        line.taken = 0;
        line.given = 0;
        drop(line);
        let timeline = Arc::downgrade(&self.0);
        console.listen(move || {
            if let Some(timeline) = timeline.upgrade() {
                // Taking the lock orders this after a thread that is about to wait.
                drop(lock(&timeline.schedule));
                timeline.changed.notify_all();
            }
        });
    }

    fn name(&self) -> &'static str {
        "virtual"
    }
}

/// A sleep on the clock. While it exists, and has been polled, time may pass.
struct Sleep {
    timeline: Arc<Timeline>,
    instant: Nanos,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let timeline = Arc::clone(&self.timeline);
        let mut schedule = lock(&timeline.schedule);
        if schedule.reached >= self.instant || schedule.over() {
            if let Some(id) = self.id.take() {
                schedule.sleepers.remove(&(self.instant, id));
            }
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            schedule.next += 1;
            schedule.next
        });
        schedule.sleepers.insert((self.instant, id), Some(cx.waker().clone()));
        drop(schedule);
        timeline.changed.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.timeline.schedule).sleepers.remove(&(self.instant, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_nanoseconds_agree() {
        for instant in [0, 1, 62, 63, 125, 1_000_000_007, 10_000_000_000, u64::MAX] {
            let cycle = cycles(Nanos(instant));
            assert!(nanos(cycle).0 >= instant, "never early");
            assert!(cycle == 0 || nanos(cycle - 1).0 < instant, "and the first one");
        }
        assert_eq!(cycles(Nanos(1_000_000_000)), CYCLES_PER_SECOND);
    }
}
