//! What is captured, and the expectations that wait for it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    super::{
        capture::Capture,
        clock::BoxFuture,
        matcher::{Hit, Matcher, Search},
    },
    Expectation, Found, QUIET, Shared, TAIL,
    absence::Absences,
};
use crate::event::Nanos;

#[derive(Default)]
pub(super) struct State {
    pub(super) capture: Capture,
    waiters: BTreeMap<u64, Waiter>,
    next: u64,
    /// Why nothing can be expected any more; taken back when the console returns.
    pub(super) lost: Option<String>,
    pub(super) absences: Absences,
}

/// One expectation that somebody waits for.
struct Waiter {
    matchers: Vec<Matcher>,
    search: Search,
    from: u64,
    deadline: Nanos,
    outcome: Option<Expectation>,
    /// When to look without new bytes: at the deadline, or earlier if there is a match that may still change.
    until: Nanos,
    sleep: Option<BoxFuture<'static, ()>>,
    waker: Option<Waker>,
}

impl State {
    /// Adds a waiter, or tells at once how the expectation ended.
    pub(super) fn register(&mut self, from: u64, matchers: &[&Matcher], deadline: Nanos) -> Result<u64, Expectation> {
        if from < self.capture.start() {
            return Err(Expectation::Gap { missing: from..self.capture.start() });
        }
        let search = Search::new(from, matchers);
        let matchers = matchers.iter().map(|matcher| (*matcher).clone()).collect();
        let mut waiter = Waiter { matchers, search, from, deadline, outcome: None, until: deadline, sleep: None, waker: None };
        for seam in self.absences.seams(from) {
            waiter.split(&self.capture, seam);
        }
        waiter.look(&self.capture);
        if waiter.outcome.is_none()
            && let Some(why) = &self.lost
        {
            waiter.conclude(&self.capture, Some(why));
        }
        if let Some(outcome) = waiter.outcome {
            return Err(outcome);
        }
        self.next += 1;
        self.waiters.insert(self.next, waiter);
        Ok(self.next)
    }

    pub(super) fn received(&mut self, at: Nanos, bytes: &[u8]) {
        for waiter in self.waiters.values_mut().filter(|waiter| waiter.deadline < at) {
            waiter.conclude(&self.capture, None);
        }
        self.capture.push(at, bytes);
        for waiter in self.waiters.values_mut() {
            waiter.look(&self.capture);
        }
    }

    /// What follows does not continue what was there: no match may reach over this place.
    pub(super) fn split(&mut self) {
        let end = self.capture.end();
        for waiter in self.waiters.values_mut() {
            waiter.split(&self.capture, end);
        }
    }

    /// Ends all expectations with what there is.
    pub(super) fn lose(&mut self, why: &str) {
        self.lost = Some(why.to_owned());
        for waiter in self.waiters.values_mut() {
            waiter.conclude(&self.capture, Some(why));
        }
    }
}

impl Waiter {
    /// Offset up to which bytes count.
    fn limit(&self, capture: &Capture) -> u64 {
        let end = if capture.last_arrival() <= self.deadline { capture.end() } else { capture.end_at(self.deadline) };
        end.max(self.from)
    }

    /// Searches what is new. Ends the expectation if that decides it.
    fn look(&mut self, capture: &Capture) {
        if self.outcome.is_some() {
            return;
        }
        let base = self.search.needs().max(capture.start());
        let limit = self.limit(capture);
        let log = capture.bytes(base..limit).unwrap_or_default();
        if let Some(hit) = self.search.advance(base, log) {
            self.end(Expectation::Matched(self.found(&hit, capture, base, log)));
            return;
        }
        let undecided = self.search.finish().is_some();
        let quiet = capture.last_arrival().after(QUIET);
        let until = if undecided { quiet.min(self.deadline) } else { self.deadline };
        if until != self.until {
            self.until = until;
            self.sleep = None;
            self.wake();
        }
    }

    /// Ends the search at `seam` with what there is before it, and begins another one behind it.
    fn split(&mut self, capture: &Capture, seam: u64) {
        if self.outcome.is_some() || seam <= self.from {
            return;
        }
        let limit = self.limit(capture).min(seam);
        let base = self.search.needs().max(capture.start());
        let log = capture.bytes(base..limit).unwrap_or_default();
        if let Some(hit) = self.search.advance(base, log).or_else(|| self.search.finish()) {
            self.end(Expectation::Matched(self.found(&hit, capture, base, log)));
        } else if limit == seam {
            let matchers: Vec<_> = self.matchers.iter().collect();
            self.search = Search::new(seam, &matchers);
            self.look(capture);
        }
    }

    /// Ends the expectation with what there is.
    fn conclude(&mut self, capture: &Capture, lost: Option<&str>) {
        if self.outcome.is_some() {
            return;
        }
        let limit = self.limit(capture);
        let outcome = match (self.search.finish(), lost) {
            (Some(hit), _) => {
                let base = self.search.needs().max(capture.start());
                let log = capture.bytes(base..limit).unwrap_or_default();
                Expectation::Matched(self.found(&hit, capture, base, log))
            }
            (None, Some(why)) => Expectation::Lost { why: why.to_owned() },
            (None, None) => {
                let start = limit.saturating_sub(TAIL).max(self.from).max(capture.start());
                let seen = capture.bytes(start..limit).unwrap_or_default().to_vec();
                Expectation::TimedOut { seen, until: limit }
            }
        };
        self.end(outcome);
    }

    fn end(&mut self, outcome: Expectation) {
        self.outcome = Some(outcome);
        self.sleep = None;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn found(&self, hit: &Hit, capture: &Capture, base: u64, log: &[u8]) -> Found {
        let text = |(name, bytes): (String, Vec<u8>)| (name, String::from_utf8_lossy(&bytes).into_owned());
        Found {
            which: hit.which,
            start: hit.range.start,
            end: hit.range.end,
            bytes: capture.bytes(hit.range.clone()).unwrap_or_default().to_vec(),
            captures: self.search.captures(hit, base, log).into_iter().map(text).collect(),
            at: capture.arrival(hit.range.end.saturating_sub(1).max(hit.range.start)),
        }
    }
}

/// A waiter's place, given up when the expectation is no longer waited for.
pub(super) struct Registered<'a> {
    pub(super) shared: &'a Shared,
    pub(super) id: u64,
}

impl Registered<'_> {
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Expectation> {
        let mut state = self.shared.lock();
        let State { capture, waiters, .. } = &mut *state;
        let Some(waiter) = waiters.get_mut(&self.id) else {
            return Poll::Ready(Expectation::Lost { why: "the expectation was withdrawn".to_owned() });
        };
        while waiter.outcome.is_none() {
            let until = waiter.until;
            let sleep = waiter.sleep.get_or_insert_with(|| {
                let clock = Arc::clone(&self.shared.clock);
                Box::pin(async move { clock.sleep_until(until).await })
            });
            if sleep.as_mut().poll(cx).is_pending() {
                waiter.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            waiter.sleep = None;
            // A clock that gives up early is broken. What the device would have done by the deadline is not known.
            let stopped = (self.shared.clock.now() < until).then_some("the bench clock has stopped");
            waiter.conclude(capture, stopped);
        }
        match waiter.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let waiter = self.shared.lock().waiters.remove(&self.id);
        drop(waiter);
    }
}
