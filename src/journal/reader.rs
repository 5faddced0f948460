//! Reading events: the longest valid prefix, one line at a time, in bounded memory.

use std::io::{BufRead, BufReader, Read};

use super::{
    Damage, DamageKind, EVENTS, GUARD, MAX_LINE,
    line::{self, Chain},
};
use crate::event::{Event, RunId};

/// Reads the events of one file in order and stops for good at the first line that cannot be taken. Afterwards
/// [`EventReader::damage`] says why, if it was not the end of the file.
pub struct EventReader {
    source: Box<dyn BufRead + Send>,
    file: &'static str,
    buffer: Vec<u8>,
    chain: Chain,
    next: u64,
    offset: u64,
    done: bool,
    damage: Option<Damage>,
}

impl EventReader {
    pub(super) fn engine(source: Box<dyn Read + Send>) -> Self {
        Self::new(source, EVENTS, line::engine_origin())
    }

    pub(super) fn guard(source: Box<dyn Read + Send>, run: &RunId) -> Self {
        Self::new(source, GUARD, line::guard_origin(run))
    }

    /// Reads the bytes of an `events.jsonl`, wherever they come from.
    pub fn over(source: impl Read + Send + 'static) -> Self {
        Self::engine(Box::new(source))
    }

    fn new(source: Box<dyn Read + Send>, file: &'static str, chain: Chain) -> Self {
        let source = Box::new(BufReader::with_capacity(64 * 1024, source));
        Self { source, file, buffer: Vec::new(), chain, next: 0, offset: 0, done: false, damage: None }
    }

    /// Why reading ended before the end of the file. `None` while it has not ended.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Where the valid prefix ends, its newline included if there is one, in bytes of the uncompressed file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn last_chain(&self) -> Chain {
        self.chain
    }

    fn stop(&mut self, why: DamageKind) -> Option<Event> {
        self.done = true;
        self.damage = Some(Damage { file: self.file.to_owned(), line: self.next + 1, offset: self.offset, why });
        None
    }
}

impl Iterator for EventReader {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.done {
            return None;
        }
        self.buffer.clear();
        // Newline included; a longer line is not read to its end.
        let most = MAX_LINE as u64 + 1;
        if let Err(error) = (&mut self.source).take(most).read_until(b'\n', &mut self.buffer) {
            return self.stop(DamageKind::Unreadable(error.to_string()));
        }
        if self.buffer.is_empty() {
            self.done = true;
            return None;
        }
        let whole = self.buffer.last() == Some(&b'\n');
        let text = if whole { &self.buffer[..self.buffer.len() - 1] } else { &self.buffer[..] };
        if !whole && text.len() > MAX_LINE {
            return self.stop(DamageKind::TooLong);
        }
        match line::decode(text, &self.chain, self.next) {
            Ok((event, chain)) => {
                self.chain = chain;
                self.next += 1;
                self.offset += self.buffer.len() as u64;
                Some(event)
            }
            // A line without its end is torn whatever else is wrong with it.
            Err(_) if !whole => self.stop(DamageKind::Torn),
            Err(why) => self.stop(why),
        }
    }
}

/// Reads all events of a run: the engine's, then what the guard added, numbered on.
pub struct RunEvents {
    engine: EventReader,
    guard: Option<EventReader>,
    next: u64,
}

impl RunEvents {
    pub(super) fn new(engine: EventReader, guard: Option<EventReader>) -> Self {
        Self { engine, guard, next: 0 }
    }

    /// What is damaged, of the part read so far: at most one place per file.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.engine.damage().into_iter().chain(self.guard.as_ref().and_then(EventReader::damage)).cloned().collect()
    }
}

impl Iterator for RunEvents {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = match self.engine.next() {
            Some(event) => event,
            None => self.guard.as_mut()?.next()?,
        };
        event.seq = self.next;
        self.next += 1;
        Some(event)
    }
}
