//! A run as it is watched: the fold up to now, and up to any moment before.
//!
//! Events are folded once, as they come. To look at an earlier moment the fold begins at the nearest checkpoint, of which a fixed number
//! is kept. Neither events nor console bytes are kept: both are read back from the run's files where they are looked at.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use crate::{
    event::{ChannelName, Event, EvidenceRef, Fact, Nanos, Verdict},
    journal::{Damage, Follower, OpenError, RunDir, RunState},
    view::RunView,
};

/// Checkpoints at most; when there are more, every second goes.
const CHECKPOINTS: usize = 64;
/// Events between two checkpoints at first.
const EVERY: u64 = 1024;
/// Marks of one kind at most (steps, failures).
const MARKS: usize = 100_000;
/// Times of a stream at most; when there are more, every second goes.
const TIMES: usize = 16_384;
/// Events taken at a time.
const BATCH: usize = 256;

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the device.
    Received,
    /// To the device.
    Sent,
}

/// Bytes of a channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamName {
    /// Channel.
    pub channel: ChannelName,
    /// Which way.
    pub way: Way,
}

impl StreamName {
    /// Its file in the evidence.
    #[must_use]
    pub fn file(&self) -> String {
        match self.way {
            Way::Received => format!("{}.rx", self.channel),
            Way::Sent => format!("{}.tx", self.channel),
        }
    }
}

#[derive(Default)]
struct Stream {
    /// Where pieces begin, and when they came.
    times: Vec<(u64, Nanos)>,
    /// Of so many pieces one is noted.
    every: u64,
    pieces: u64,
}

impl Stream {
    fn note(&mut self, offset: u64, at: Nanos) {
        self.every = self.every.max(1);
        if self.pieces.is_multiple_of(self.every) {
            if self.times.len() >= TIMES {
                let mut index = 0_usize;
                self.times.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.every *= 2;
            }
            self.times.push((offset, at));
        }
        self.pieces += 1;
    }
}

/// An earlier moment.
struct Past {
    view: RunView,
    position: u64,
}

/// A run, live or recorded.
pub struct Tape {
    follower: Follower,
    /// Everything that was read.
    front: RunView,
    end: u64,
    /// The moment that is looked at, if it is not the end.
    past: Option<Past>,
    checkpoints: Vec<(u64, RunView)>,
    every: u64,
    streams: BTreeMap<StreamName, Stream>,
    files: RefCell<BTreeMap<String, Option<File>>>,
    failures: Vec<u64>,
    steps: Vec<u64>,
    /// Latest time among events 0..=k·BATCH.
    times: Vec<Nanos>,
    /// When the last event came in.
    came: Option<Instant>,
    caught_up: bool,
    /// Looked up now and then: it costs a system call.
    state: (RunState, Option<Instant>),
}

impl Tape {
    /// Opens a run; nothing of it is read yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(run: &RunDir) -> Result<Self, OpenError> {
        let follower = Follower::new(run)?;
        Ok(Self {
            follower,
            front: RunView::default(),
            end: 0,
            past: None,
            checkpoints: Vec::new(),
            every: EVERY,
            streams: BTreeMap::new(),
            files: RefCell::default(),
            failures: Vec::new(),
            steps: Vec::new(),
            times: Vec::new(),
            came: None,
            caught_up: false,
            state: (run.state(), None),
        })
    }

    /// The run's directory as it is called now.
    #[must_use]
    pub fn directory(&self) -> std::path::PathBuf {
        self.follower.directory()
    }

    /// The run's identity.
    #[must_use]
    pub fn id(&self) -> &str {
        self.follower.id().as_str()
    }

    /// What is wrong with its journal.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.follower.damage()
    }

    /// Whether every event that there is was read.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Share of the journal that has been read.
    #[must_use]
    pub fn read_share(&self) -> f64 {
        self.follower.share()
    }

    /// What the run is at. Looked up at most twice per second.
    pub fn state(&mut self, now: Instant) -> RunState {
        let (state, looked) = self.state;
        if state == RunState::Running
            && looked.is_none_or(|then| now.saturating_duration_since(then) > Duration::from_millis(500))
        {
            self.state = (self.follower.state(), Some(now));
        }
        self.state.0
    }

    /// What the run was at when it was last looked.
    #[must_use]
    pub fn last_state(&self) -> RunState {
        self.state.0
    }

    /// The fold at the moment that is looked at.
    #[must_use]
    pub fn view(&self) -> &RunView {
        self.past.as_ref().map_or(&self.front, |past| &past.view)
    }

    /// The fold of everything that was read.
    #[must_use]
    pub fn latest(&self) -> &RunView {
        &self.front
    }

    /// Events before the moment that is looked at.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.past.as_ref().map_or(self.end, |past| past.position)
    }

    /// Events that were read.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether the end is looked at.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.past.is_none()
    }

    /// When the last event came in, by this machine's clock.
    #[must_use]
    pub fn last_came(&self) -> Option<Instant> {
        self.came
    }

    /// Takes new events for at most about `budget`; true if there were some.
    pub fn advance(&mut self, budget: Duration) -> bool {
        let start = Instant::now();
        let mut changed = false;
        loop {
            let events = self.follower.poll(BATCH);
            self.caught_up = events.len() < BATCH;
            if events.is_empty() {
                return changed;
            }
            changed = true;
            self.came = Some(start);
            for event in &events {
                self.take(event);
            }
            if self.caught_up || start.elapsed() >= budget {
                return true;
            }
        }
    }

    fn take(&mut self, event: &Event) {
        if self.end.is_multiple_of(self.every) {
            if self.checkpoints.len() >= CHECKPOINTS {
                self.every *= 2;
                let every = self.every;
                self.checkpoints.retain(|(at, _)| at.is_multiple_of(every));
            }
            if self.end.is_multiple_of(self.every) {
                self.checkpoints.push((self.end, self.front.clone()));
            }
        }
        match &event.fact {
            Fact::Received { channel, offset, .. } => self.stream(channel, Way::Received).note(*offset, event.at),
            Fact::Sent { channel, offset, .. } => self.stream(channel, Way::Sent).note(*offset, event.at),
            Fact::StepStarted { .. } => mark(&mut self.steps, event.seq),
            fact if is_failure(fact) => mark(&mut self.failures, event.seq),
            _ => {}
        }
        self.front.apply(event);
        self.end = self.end.max(event.seq + 1);
        if event.seq.is_multiple_of(BATCH as u64) {
            self.times.push(self.front.at);
        }
    }

    fn stream(&mut self, channel: &ChannelName, way: Way) -> &mut Stream {
        // One allocation per piece of traffic is nothing beside decoding its event.
        self.streams.entry(StreamName { channel: channel.clone(), way }).or_default()
    }

    /// Looks at the moment before event `to`.
    pub fn seek(&mut self, to: u64) {
        if to >= self.end {
            self.past = None;
            return;
        }
        let checkpoint = self.checkpoints.iter().rev().find(|(at, _)| *at <= to);
        let from = checkpoint.map_or(0, |(at, _)| *at);
        let mut past = match self.past.take() {
            Some(past) if past.position <= to && past.position >= from => past,
            _ => Past { view: checkpoint.map_or_else(RunView::default, |(_, view)| view.clone()), position: from },
        };
        while past.position < to {
            let most = (to - past.position).min(4 * BATCH as u64) as usize;
            let Ok(events) = self.follower.again(past.position, most) else { break };
            if events.is_empty() {
                break;
            }
            past.view.extend(&events);
            past.position += events.len() as u64;
        }
        self.past = Some(past);
    }

    /// Number of the first event at or after a bench time.
    #[must_use]
    pub fn at_time(&self, at: Nanos) -> u64 {
        let block = self.times.partition_point(|time| *time < at).saturating_sub(1) as u64 * BATCH as u64;
        let events = self.events(block, 2 * BATCH);
        events.iter().find(|event| event.at >= at).map_or(block + events.len() as u64, |event| event.seq)
    }

    /// Events from number `from` on.
    #[must_use]
    pub fn events(&self, from: u64, most: usize) -> Vec<Event> {
        self.follower.again(from, most).unwrap_or_default()
    }

    /// The first failure at or after `from`, or the last before it.
    #[must_use]
    pub fn failure(&self, from: u64, forward: bool) -> Option<u64> {
        neighbour(&self.failures, from, forward)
    }

    /// The first step that begins at or after `from`, or the last before it.
    #[must_use]
    pub fn step(&self, from: u64, forward: bool) -> Option<u64> {
        neighbour(&self.steps, from, forward)
    }

    /// Streams that have bytes.
    pub fn streams(&self) -> impl Iterator<Item = &StreamName> {
        self.streams.keys()
    }

    /// Bytes of a stream up to the moment that is looked at.
    #[must_use]
    pub fn len(&self, stream: &StreamName) -> u64 {
        self.view().channels.get(&stream.channel).map_or(0, |channel| match stream.way {
            Way::Received => channel.received,
            Way::Sent => channel.sent,
        })
    }

    /// When the byte at `offset` came.
    #[must_use]
    pub fn time_of(&self, stream: &StreamName, offset: u64) -> Option<Nanos> {
        let times = &self.streams.get(stream)?.times;
        let index = times.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        times.get(index).map(|(_, at)| *at)
    }

    /// Bytes `from..to` of an evidence file; fewer if there are not so many, or it cannot be read.
    #[must_use]
    pub fn bytes(&self, file: &str, from: u64, to: u64) -> Vec<u8> {
        const AGAIN: Duration = Duration::from_secs(2);
        let mut files = self.files.borrow_mut();
        if !files.contains_key(file) {
            // Handles are few; a run with very many evidence files does not keep them all open.
            if files.len() >= 64 {
                files.clear();
            }
            let opened = self.follower.evidence(file).ok();
            files.insert(file.to_owned(), opened);
        }
        let Some(Some(opened)) = files.get(file) else {
            // A stream whose first bytes were only announced may be there later.
            if self.came.is_some_and(|came| came.elapsed() < AGAIN) {
                files.remove(file);
            }
            return Vec::new();
        };
        let mut bytes = vec![0; to.saturating_sub(from).min(1 << 20) as usize];
        let mut read = 0;
        while read < bytes.len() {
            match opened.read_at(&mut bytes[read..], from + read as u64) {
                Ok(count) if count > 0 => read += count,
                _ => break,
            }
        }
        bytes.truncate(read);
        bytes
    }

    /// How many checkpoints are kept.
    #[cfg(test)]
    pub(super) fn checkpoints(&self) -> usize {
        self.checkpoints.len()
    }

    /// How many times of a stream are kept.
    #[cfg(test)]
    pub(super) fn times_of(&self, stream: &StreamName) -> usize {
        self.streams.get(stream).map_or(0, |stream| stream.times.len())
    }

    /// The bytes of a place in the evidence, at most `most`.
    #[must_use]
    pub fn excerpt(&self, place: &EvidenceRef, most: usize) -> Vec<u8> {
        self.bytes(&place.file, place.offset, place.offset.saturating_add(place.len.min(most as u64)))
    }
}

fn mark(marks: &mut Vec<u64>, seq: u64) {
    if marks.len() < MARKS {
        marks.push(seq);
    }
}

fn neighbour(marks: &[u64], from: u64, forward: bool) -> Option<u64> {
    let index = marks.partition_point(|seq| *seq < from);
    if forward { marks.get(index).copied() } else { marks.get(index.checked_sub(1)?).copied() }
}

/// Whether somebody who looks for what went wrong wants to stop here.
#[must_use]
pub fn is_failure(fact: &Fact) -> bool {
    match fact {
        Fact::StepFinished { verdict, .. } | Fact::CaseFinished { verdict, .. } | Fact::RunFinished { verdict, .. } => {
            !matches!(verdict, Verdict::Pass | Verdict::None)
        }
        Fact::Measured { within, .. } => !within,
        Fact::SafeStateAction { problem, .. } => problem.is_some(),
        Fact::SafeStateFinished { ok, .. } => !ok,
        Fact::CutFailed { .. }
        | Fact::BenchFault { .. }
        | Fact::ChannelLost { .. }
        | Fact::Unwitnessed { .. }
        | Fact::Unanswered { .. }
        | Fact::Gap { .. } => true,
        _ => false,
    }
}
