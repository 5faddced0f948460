//! Notifications of one Bluetooth channel: kept from the subscription on, stored before anybody who waits for them is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{Notification, NotificationSink, short_uuid};
use crate::{
    channel::{clock::Clock, tap::Tap},
    event::{ChannelName, EvidenceRef, Nanos},
};

/// Notifications that are kept in memory; all are in the evidence.
const KEEP: usize = 4096;
/// Streams of evidence; a device cannot have more characteristics than handles, but need not be given a file for each.
const STREAMS: usize = 256;

/// One that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Its number on this channel, from 0.
    pub number: u64,
    /// When.
    pub at: Nanos,
    /// UUID of the characteristic.
    pub characteristic: String,
    /// Its value.
    pub bytes: Vec<u8>,
    /// Where the value is stored.
    pub evidence: EvidenceRef,
}

#[derive(Default)]
struct State {
    next: u64,
    kept: VecDeque<Arrived>,
    /// Bytes written per stream.
    written: BTreeMap<String, u64>,
}

/// What was notified on a channel.
pub struct Notifications {
    channel: ChannelName,
    clock: Arc<dyn Clock>,
    tap: Arc<dyn Tap>,
    state: Mutex<State>,
    arrival: Notify,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked<T> {
    /// This one.
    Found(Arrived, T),
    /// None of so many.
    None(u64),
    /// Some after the mark are no longer in memory.
    Gap,
}

impl Notifications {
    /// None yet.
    #[must_use]
    pub fn new(channel: ChannelName, clock: Arc<dyn Clock>, tap: Arc<dyn Tap>) -> Arc<Self> {
        Arc::new(Self { channel, clock, tap, state: Mutex::default(), arrival: Notify::new() })
    }

    /// Where the driver puts them.
    #[must_use]
    pub fn sink(self: &Arc<Self>) -> NotificationSink {
        let log = Arc::clone(self);
        Arc::new(move |notification| log.push(notification))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, Notification { characteristic, bytes }: Notification) {
        let at = self.clock.now();
        let mut state = self.lock();
        let stream = if state.written.len() < STREAMS || state.written.contains_key(&characteristic) {
            characteristic.clone()
        } else {
            "others".to_owned()
        };
        let name = ChannelName::new(format!("{}-{}", self.channel, short_uuid(&stream)));
        let offset = state.written.entry(stream).or_default();
        let evidence = EvidenceRef { file: format!("{name}.rx"), offset: *offset, len: bytes.len() as u64 };
        *offset += bytes.len() as u64;
        // Under the lock, so that the order in the journal is that of the numbers.
        self.tap.received(&name, at, &bytes);
        let number = state.next;
        state.next += 1;
        if state.kept.len() == KEEP {
            state.kept.pop_front();
        }
        state.kept.push_back(Arrived { number, at, characteristic, bytes, evidence });
        drop(state);
        self.arrival.notify_waiters();
    }

    /// Number of the next one. Taken before a stimulus, it keeps what was there before from being mistaken for the answer.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.lock().next
    }

    /// The first from `mark` on that `wanted` takes.
    pub fn look<T>(&self, mark: u64, mut wanted: impl FnMut(&Arrived) -> Option<T>) -> Looked<T> {
        let state = self.lock();
        let oldest = state.next - state.kept.len() as u64;
        let from = state.kept.partition_point(|arrived| arrived.number < mark);
        for arrived in state.kept.iter().skip(from) {
            if let Some(found) = wanted(arrived) {
                return Looked::Found(arrived.clone(), found);
            }
        }
        if mark < oldest { Looked::Gap } else { Looked::None(state.next.saturating_sub(mark)) }
    }

    /// Waits for one, until the clock says `deadline`. A gap ends the waiting.
    pub async fn wait<T>(&self, mark: u64, deadline: Nanos, mut wanted: impl FnMut(&Arrived) -> Option<T>) -> Looked<T> {
        loop {
            let arrival = self.arrival.notified();
            tokio::pin!(arrival);
            // From here on no arrival is missed.
            arrival.as_mut().enable();
            match self.look(mark, &mut wanted) {
                Looked::None(_) => {}
                other => return other,
            }
            tokio::select! {
                biased;
                () = arrival => {}
                () = self.clock.sleep_until(deadline) => return self.look(mark, &mut wanted),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{clock::WallClock, tap::NoTap};

    fn log() -> Arc<Notifications> {
        Notifications::new(ChannelName::new("ble"), Arc::new(WallClock::start()), Arc::new(NoTap))
    }

    fn is(bytes: &'static [u8]) -> impl FnMut(&Arrived) -> Option<()> {
        move |arrived| (arrived.bytes == bytes).then_some(())
    }

    fn notify(log: &Arc<Notifications>, bytes: &[u8]) {
        log.sink()(Notification { characteristic: "x".to_owned(), bytes: bytes.to_vec() });
    }

    #[test]
    fn only_what_came_after_the_mark_counts_and_places_add_up() {
        let log = log();
        notify(&log, b"ab");
        let mark = log.mark();
        assert_eq!(log.look(mark, is(b"ab")), Looked::None(0));
        notify(&log, b"c");
        let Looked::Found(found, ()) = log.look(mark, is(b"c")) else { panic!() };
        assert_eq!((found.number, found.evidence.offset, found.evidence.len), (1, 2, 1));
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_a_gap() {
        let log = log();
        for _ in 0..=KEEP {
            notify(&log, b"x");
        }
        assert_eq!(log.lock().kept.len(), KEEP);
        assert_eq!(log.look(0, is(b"y")), Looked::Gap);
        assert_eq!(log.look(1, is(b"y")), Looked::None(KEEP as u64));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_and_silence_ends() {
        let log = log();
        let later = Arc::clone(&log);
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            notify(&later, b"moved");
        });
        let deadline = Nanos(1_000_000_000);
        assert!(matches!(log.wait(0, deadline, is(b"moved")).await, Looked::Found(..)));
        assert_eq!(log.wait(1, deadline, is(b"moved")).await, Looked::None(0));
    }
}
