//! The last megabytes that a channel received, with their arrival times.

use std::collections::VecDeque;
use std::ops::Range;

use crate::event::Nanos;

/// Bytes that are surely kept. Up to twice as many are held, so that making room is rare.
pub const KEEP: usize = 8 * 1024 * 1024;

/// Arrivals that are surely kept. A device that sends byte by byte reaches this before [`KEEP`].
const KEEP_ARRIVALS: usize = 512 * 1024;

/// Received bytes, addressed by their offset in the stream. Older ones are forgotten; the tap has them.
#[derive(Debug)]
pub struct Capture {
    base: u64,
    bytes: Vec<u8>,
    /// End offset and time of each arrival, in order.
    arrivals: VecDeque<(u64, Nanos)>,
    keep: usize,
    keep_arrivals: usize,
}

impl Default for Capture {
    fn default() -> Self {
        Self::with_limits(KEEP, KEEP_ARRIVALS)
    }
}

impl Capture {
    fn with_limits(keep: usize, keep_arrivals: usize) -> Self {
        Self { base: 0, bytes: Vec::new(), arrivals: VecDeque::new(), keep, keep_arrivals }
    }

    /// Adds bytes that arrived at `at`; times must not go back.
    pub fn push(&mut self, at: Nanos, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.bytes.len() + bytes.len() > 2 * self.keep {
            let surplus = (self.bytes.len() + bytes.len() - self.keep).min(self.bytes.len());
            self.forget(surplus);
        }
        if self.arrivals.len() >= 2 * self.keep_arrivals {
            let (end, _) = self.arrivals[self.arrivals.len() - self.keep_arrivals];
            self.forget((end - self.base) as usize);
        }
        self.bytes.extend_from_slice(bytes);
        let end = self.end();
        match self.arrivals.back_mut() {
            Some((last, time)) if *time == at => *last = end,
            _ => self.arrivals.push_back((end, at)),
        }
    }

    fn forget(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.base += count as u64;
        while self.arrivals.front().is_some_and(|(end, _)| *end <= self.base) {
            self.arrivals.pop_front();
        }
    }

    /// Offset of the first byte kept.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.base
    }

    /// Offset after the last byte received.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Kept bytes of `range`, cut off at the end of what was received. `None` if its beginning is no longer kept.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = range.start.checked_sub(self.base)?.min(self.bytes.len() as u64) as usize;
        let end = range.end.saturating_sub(self.base).clamp(start as u64, self.bytes.len() as u64) as usize;
        Some(&self.bytes[start..end])
    }

    /// Offset after the last byte that had arrived by `time`.
    #[must_use]
    pub fn end_at(&self, time: Nanos) -> u64 {
        let later = self.arrivals.partition_point(|(_, at)| *at <= time);
        if later == 0 { self.base } else { self.arrivals[later - 1].0 }
    }

    /// When the byte at `offset` arrived. For one that is no longer or not yet there, the nearest arrival known.
    #[must_use]
    pub fn arrival(&self, offset: u64) -> Nanos {
        let index = self.arrivals.partition_point(|(end, _)| *end <= offset);
        self.arrivals.get(index).or(self.arrivals.back()).map_or(Nanos(0), |(_, at)| *at)
    }

    /// When the last byte arrived; zero if none has.
    #[must_use]
    pub fn last_arrival(&self) -> Nanos {
        self.arrivals.back().map_or(Nanos(0), |(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_survive_forgetting() {
        let mut capture = Capture::with_limits(100, 1000);
        for i in 0..1000u64 {
            capture.push(Nanos(i), &[i as u8; 7]);
            assert!(capture.bytes.len() <= 200, "memory is bounded");
            assert!(capture.end() - capture.start() >= capture.end().min(100), "the last 100 bytes are kept");
        }
        assert_eq!(capture.end(), 7000);
        assert_eq!(capture.bytes(6993..7000), Some(&[0xE7; 7][..]));
        assert_eq!(capture.bytes(6999..9000), Some(&[0xE7][..]));
        assert_eq!(capture.bytes(0..7000), None);
        assert_eq!(capture.arrival(6993), Nanos(999));
        assert_eq!(capture.arrival(6992), Nanos(998));
        assert_eq!(capture.end_at(Nanos(998)), 6993);
        assert_eq!(capture.end_at(Nanos(5000)), 7000);
    }

    #[test]
    fn arrivals_are_bounded_too_and_one_big_piece_fits() {
        let mut capture = Capture::with_limits(1000, 10);
        for i in 0..500 {
            capture.push(Nanos(i), b"x");
            assert!(capture.arrivals.len() <= 20);
            assert_eq!(capture.arrival(capture.end() - 1), Nanos(i));
        }
        capture.push(Nanos(500), &[b'y'; 5000]);
        assert_eq!((capture.bytes.len(), capture.end()), (5000, 5500));
        capture.push(Nanos(500), b"z");
        assert_eq!((capture.end(), capture.bytes.len()), (5501, 1000));
        assert_eq!(capture.arrival(5500), Nanos(500));
    }
}
