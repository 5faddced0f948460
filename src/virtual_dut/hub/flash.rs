//! The hub's flash: pages that are erased whole, bits that are only programmed from one to zero, and operations that take time.
//!
//! What the firmware reads is what its operations will have made of the flash. A power cut undoes what had not been done by then and tears the
//! operation that was under way, so whatever relies on an operation has to wait for [`Flash::busy_until`].

use std::{collections::VecDeque, time::Duration};

use crate::event::Nanos;

/// Bytes of a page.
pub(super) const PAGE: usize = 1024;
/// Time to program one byte: 64 bytes in a millisecond.
const PROGRAM: Duration = Duration::from_nanos(15_625);
/// What an erased byte reads as.
pub(super) const BLANK: u8 = 0xFF;

/// An operation that may not be over.
#[derive(Debug)]
struct Operation {
    start: Nanos,
    end: Nanos,
    at: usize,
    /// What was there.
    before: Vec<u8>,
}

/// The flash.
#[derive(Debug)]
pub(super) struct Flash {
    bytes: Vec<u8>,
    /// Time to erase one page.
    erase: Duration,
    pending: VecDeque<Operation>,
    busy_until: Nanos,
}

impl Flash {
    /// A new one, all blank, that takes this time to erase a page.
    pub(super) fn blank(pages: usize, erase: Duration) -> Self {
        Self { bytes: vec![BLANK; pages * PAGE], erase, pending: VecDeque::new(), busy_until: Nanos::default() }
    }

    /// `length` bytes from `at` on, as far as the flash goes.
    pub(super) fn read(&self, at: usize, length: usize) -> &[u8] {
        let end = at.saturating_add(length).min(self.bytes.len());
        self.bytes.get(at..end).unwrap_or_default()
    }

    /// Whether everything from `at` on is blank, for `length` bytes.
    pub(super) fn is_blank(&self, at: usize, length: usize) -> bool {
        self.read(at, length).iter().all(|byte| *byte == BLANK)
    }

    /// When everything that was ordered is done.
    pub(super) fn busy_until(&self) -> Nanos {
        self.busy_until
    }

    /// Programs bytes: ones can become zeros. What lies outside is left out. Returns when it is done.
    pub(super) fn program(&mut self, at: usize, bytes: &[u8], now: Nanos) -> Nanos {
        let length = self.read(at, bytes.len()).len();
        let time = PROGRAM.saturating_mul(u32::try_from(length).unwrap_or(u32::MAX));
        self.order(at, length, time, now, |place, cell| *cell &= bytes[place])
    }

    /// Erases whole pages, the last one first: what stands at the beginning tells to the end that there is something to erase. Returns when it is done.
    pub(super) fn erase(&mut self, first: usize, pages: usize, now: Nanos) -> Nanos {
        for page in (first..first + pages).rev() {
            self.order(page * PAGE, PAGE, self.erase, now, |_, cell| *cell = BLANK);
        }
        self.busy_until
    }

    fn order(&mut self, at: usize, length: usize, time: Duration, now: Nanos, change: impl Fn(usize, &mut u8)) -> Nanos {
        while self.pending.front().is_some_and(|oldest| oldest.end <= now) {
            self.pending.pop_front();
        }
        let Some(cells) = self.bytes.get_mut(at..at.saturating_add(length)) else { return self.busy_until.max(now) };
        // One operation at a time, as the bus of such a chip has it.
        let start = self.busy_until.max(now);
        self.busy_until = start.after(time);
        self.pending.push_back(Operation { start, end: self.busy_until, at, before: cells.to_vec() });
        cells.iter_mut().enumerate().for_each(|(place, cell)| change(place, cell));
        self.busy_until
    }

    /// All that was ordered is done, and was done long ago.
    pub(super) fn settle(&mut self) {
        self.pending.clear();
        self.busy_until = Nanos::default();
    }

    /// The power goes: what was to come does not, and what is under way is left half done.
    pub(super) fn cut(&mut self, now: Nanos) {
        while let Some(last) = self.pending.pop_back() {
            if last.end <= now {
                break;
            }
            let whole = last.end.since(last.start).as_nanos().max(1);
            let done = now.since(last.start).as_nanos().min(whole) * last.before.len() as u128 / whole;
            let done = usize::try_from(done).unwrap_or(0);
            let Some(cells) = self.bytes.get_mut(last.at..last.at + last.before.len()) else { continue };
            for (place, (cell, before)) in cells.iter_mut().zip(&last.before).enumerate().skip(done) {
                // The byte at which it stopped has some of its bits.
                *cell = if place == done && now > last.start { (*cell & 0x0F) | (*before & 0xF0) } else { *before };
            }
        }
        self.pending.clear();
        self.busy_until = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERASE: Duration = Duration::from_millis(100);

    fn at(us: u64) -> Nanos {
        Nanos(us * 1000)
    }

    #[test]
    fn bits_only_become_zero_until_the_page_is_erased() {
        let mut flash = Flash::blank(2, ERASE);
        flash.program(10, &[0x0F, 0xF0], at(0));
        flash.program(10, &[0xF1, 0xFF], at(0));
        assert_eq!(flash.read(9, 4), [0xFF, 0x01, 0xF0, 0xFF]);
        flash.erase(0, 1, at(0));
        assert!(flash.is_blank(0, 2 * PAGE));
        // What is outside is neither read nor written.
        assert_eq!(flash.read(2 * PAGE - 1, 10).len(), 1);
        assert!(flash.read(usize::MAX, 10).is_empty());
        flash.program(2 * PAGE - 1, &[0, 0], at(0));
        assert_eq!(flash.read(2 * PAGE - 1, 10), [0]);
    }

    #[test]
    fn a_cut_undoes_what_was_to_come_and_tears_what_is_under_way() {
        let mut flash = Flash::blank(2, ERASE);
        let done = flash.program(0, &[0; 64], at(0));
        assert_eq!(done, at(1000));
        assert_eq!(flash.erase(0, 1, at(500)), at(101_000), "it waits for what is under way");
        assert_eq!(flash.program(PAGE, &[1, 2], at(500)), at(101_031).after(Duration::from_nanos(250)));
        // Half of the erase is done, and nothing of what was to follow it.
        flash.cut(at(51_000));
        assert!(flash.is_blank(0, PAGE), "the second half was blank before");
        assert!(flash.is_blank(PAGE, PAGE));
        flash.program(0, &[0; 64], at(60_000));
        flash.cut(at(60_500));
        assert_eq!(flash.read(31, 3), [0, 0xF0, 0xFF], "half of it");
        assert_eq!(flash.busy_until(), at(60_500));
    }

    #[test]
    fn a_cut_changes_nothing_that_was_done() {
        let mut flash = Flash::blank(1, ERASE);
        let done = flash.program(0, b"settled", at(0));
        flash.cut(done);
        assert_eq!(flash.read(0, 7), b"settled");
    }
}
