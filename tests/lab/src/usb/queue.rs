//! Answers that wait for their time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// An answer, kept back.
struct Late {
    due: Instant,
    number: u32,
    bytes: Vec<u8>,
}

/// Answers in the order in which they were made. One never overtakes another, so a delay that is taken away counts from the next answer.
#[derive(Default)]
pub(super) struct LateAnswers(VecDeque<Late>);

impl LateAnswers {
    pub(super) fn push(&mut self, delay: Duration, number: u32, bytes: Vec<u8>) {
        let earliest = self.0.back().map(|last| last.due);
        let due = Instant::now() + delay;
        self.0.push_back(Late { due: earliest.map_or(due, |earliest| due.max(earliest)), number, bytes });
    }

    /// The next answer whose time has come.
    pub(super) fn pop_due(&mut self) -> Option<Vec<u8>> {
        self.0.pop_front_if(|late| late.due <= Instant::now()).map(|late| late.bytes)
    }

    /// How long until the next one is due.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.0.front().map(|late| late.due.saturating_duration_since(Instant::now()))
    }

    /// Whether new answers have to queue behind others.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes an answer back. `false` if it is not here.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        let before = self.0.len();
        self.0.retain(|late| late.number != number);
        self.0.len() < before
    }
}
