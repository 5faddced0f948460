//! A log of records on flash that survives power cuts: two banks, of which one is valid.
//!
//! Each record has a digest, so that one that was torn counts as not written. A log is written anew into the other bank, whose seal is
//! written last: that one small write decides which bank counts. The bank that no longer counts is erased.

use super::flash::{BLANK, Flash, PAGE};
use crate::event::Nanos;

/// Kind of a record; [`BLANK`] is none.
pub(super) type Kind = u8;
/// Longest payload of a record, in bytes.
pub(super) const LONGEST: usize = 64;
/// Kind, length, and 32 bits of a digest.
const FRAME: usize = 6;
/// Room of a seal at the start of a bank.
const SEAL: usize = 16;
const MARK: [u8; 4] = *b"seal";

/// Where the log is, and how far it has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Log {
    first_page: usize,
    /// Pages of one bank.
    pages: usize,
    /// 0 or 1.
    active: usize,
    generation: u32,
    /// Bytes used of the active bank.
    used: usize,
}

/// What stood on the flash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The records, oldest first.
    pub(super) records: Vec<(Kind, Vec<u8>)>,
    /// A record was torn; nothing can be appended after it.
    pub(super) torn: bool,
    /// The bank that does not count is not blank.
    pub(super) unfinished: bool,
}

fn record(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(LONGEST)];
    let mut bytes = vec![kind, payload.len() as u8];
    bytes.extend(payload);
    let digest = blake3::hash(&bytes);
    bytes.extend(&digest.as_bytes()[..4]);
    bytes
}

fn seal(generation: u32) -> [u8; SEAL] {
    let mut bytes = [0; SEAL];
    bytes[..4].copy_from_slice(&MARK);
    bytes[4..8].copy_from_slice(&generation.to_le_bytes());
    let digest = blake3::hash(&bytes[..8]);
    bytes[8..].copy_from_slice(&digest.as_bytes()[..8]);
    bytes
}

/// The first record of `bytes`, and what follows it. `Err` if it is torn, `Ok(None)` at the end.
type Next<'a> = Result<Option<((Kind, &'a [u8]), &'a [u8])>, ()>;

fn next(bytes: &[u8]) -> Next<'_> {
    let Some(kind) = bytes.first().copied() else { return Ok(None) };
    if kind == BLANK {
        // A record that was torn in its first byte may look blank there.
        return if bytes.iter().all(|byte| *byte == BLANK) { Ok(None) } else { Err(()) };
    }
    let length = usize::from(*bytes.get(1).ok_or(())?);
    let payload = bytes.get(2..2 + length).filter(|_| length <= LONGEST).ok_or(())?;
    let rest = bytes.get(FRAME + length..).ok_or(())?;
    if bytes[..FRAME + length] == record(kind, payload) { Ok(Some(((kind, payload), rest))) } else { Err(()) }
}

impl Log {
    /// Makes a log of two banks of `pages` each.
    pub(super) fn make(flash: &mut Flash, first_page: usize, pages: usize, now: Nanos) -> Self {
        let log = Self { first_page, pages, active: 0, generation: 1, used: SEAL };
        flash.erase(first_page, 2 * pages, now);
        flash.program(log.start(0), &seal(1), now);
        log
    }

    fn start(&self, bank: usize) -> usize {
        (self.first_page + bank * self.pages) * PAGE
    }

    fn size(&self) -> usize {
        self.pages * PAGE
    }

    /// Reads a log after a start. A flash on which no bank counts gives an empty one.
    pub(super) fn load(flash: &mut Flash, first_page: usize, pages: usize, now: Nanos) -> (Self, Found) {
        let mut log = Self { first_page, pages, active: 0, generation: 0, used: SEAL };
        for bank in 0..2 {
            let bytes = flash.read(log.start(bank), SEAL);
            let generation = bytes.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
            if bytes == seal(generation) && generation > log.generation {
                (log.active, log.generation) = (bank, generation);
            }
        }
        if log.generation == 0 {
            return (Self::make(flash, first_page, pages, now), Found::default());
        }
        let mut found = Found::default();
        let bytes = flash.read(log.start(log.active), log.size());
        let mut left = bytes.get(SEAL..).unwrap_or_default();
        loop {
            match next(left) {
                Ok(Some(((kind, payload), rest))) => {
                    found.records.push((kind, payload.to_vec()));
                    left = rest;
                }
                Ok(None) => break,
                Err(()) => {
                    found.torn = true;
                    break;
                }
            }
        }
        log.used = log.size() - left.len();
        found.unfinished = !flash.is_blank(log.start(1 - log.active), log.size());
        (log, found)
    }

    /// Appends a record. Returns when it is written; `None` if there is no room for it.
    pub(super) fn append(&mut self, flash: &mut Flash, kind: Kind, payload: &[u8], now: Nanos) -> Option<Nanos> {
        let bytes = record(kind, payload);
        if self.used + bytes.len() > self.size() {
            return None;
        }
        let done = flash.program(self.start(self.active) + self.used, &bytes, now);
        self.used += bytes.len();
        Some(done)
    }

    /// Writes the log anew with these records only, as many as fit, and erases what was. Returns when all of that is done.
    pub(super) fn rewrite(&mut self, flash: &mut Flash, records: &[(Kind, Vec<u8>)], now: Nanos) -> Nanos {
        let (old, new) = (self.active, 1 - self.active);
        if !flash.is_blank(self.start(new), self.size()) {
            flash.erase(self.first_page + new * self.pages, self.pages, now);
        }
        (self.active, self.used) = (new, SEAL);
        for (kind, payload) in records {
            self.append(flash, *kind, payload, now);
        }
        self.generation = self.generation.wrapping_add(1);
        flash.program(self.start(new), &seal(self.generation), now);
        flash.erase(self.first_page + old * self.pages, self.pages, now)
    }

    /// Erases the bank that does not count. Returns when that is done.
    pub(super) fn clean(&self, flash: &mut Flash, now: Nanos) -> Nanos {
        flash.erase(self.first_page + (1 - self.active) * self.pages, self.pages, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Nanos = Nanos(1);
    const ERASE: std::time::Duration = std::time::Duration::from_millis(100);

    /// A flash with a log of two pages on it, all of it written.
    fn made() -> (Flash, Log) {
        let mut flash = Flash::blank(2, ERASE);
        let log = Log::make(&mut flash, 0, 1, START);
        let done = flash.busy_until();
        flash.cut(done);
        (flash, log)
    }

    #[test]
    fn a_cut_at_any_moment_of_an_append_leaves_the_record_or_not() {
        for step in 0..60 {
            let (mut flash, mut log) = made();
            let begun = flash.busy_until();
            let done = log.append(&mut flash, 1, b"first", begun).unwrap();
            let end = log.append(&mut flash, 2, b"second", begun).unwrap();
            let cut = Nanos(begun.0 + (end.0 - begun.0) * step / 59);
            flash.cut(cut);
            let (_, found) = Log::load(&mut flash, 0, 1, cut);
            let whole = usize::from(cut >= done) + usize::from(cut >= end);
            assert_eq!(found.records.len(), whole, "step {step}");
            assert!(!found.unfinished);
            assert!(found.torn || cut == begun || cut == done || cut == end || step < 2, "step {step}");
        }
    }

    #[test]
    fn a_cut_at_any_moment_of_a_rewrite_leaves_the_old_or_the_new_log() {
        let (mut old, mut new) = (0, 0);
        for step in 0..400 {
            let (mut flash, mut log) = made();
            let made_at = flash.busy_until();
            let begun = log.append(&mut flash, 1, b"old", made_at).unwrap();
            let end = log.rewrite(&mut flash, &[(1, b"new".to_vec()), (2, vec![0; LONGEST])], begun);
            // Most steps are in the first milliseconds, where the decision falls.
            let span = if step < 300 { 3_000_000 } else { end.0 - begun.0 };
            let cut = Nanos(begun.0 + span * (step % 300) / 300);
            flash.cut(cut);
            let (mut loaded, found) = Log::load(&mut flash, 0, 1, cut);
            match found.records.first().map(|(_, payload)| payload.as_slice()) {
                Some(b"old") => old += 1,
                Some(b"new") => {
                    assert_eq!(found.records.len(), 2);
                    new += 1;
                }
                other => panic!("step {step}: {other:?}"),
            }
            // And it goes on from there.
            let done = loaded.rewrite(&mut flash, &found.records, cut);
            flash.cut(done);
            let (_, again) = Log::load(&mut flash, 0, 1, done);
            assert_eq!(again, Found { records: found.records, torn: false, unfinished: false }, "step {step}");
        }
        assert!(old > 10 && new > 10, "{old} {new}");
    }

    #[test]
    fn a_full_log_says_so_and_rubbish_is_no_record() {
        let (mut flash, mut log) = made();
        let mut count = 0;
        while log.append(&mut flash, 3, &[7; LONGEST], START).is_some() {
            count += 1;
        }
        let (_, found) = Log::load(&mut flash, 0, 1, START);
        assert_eq!((found.records.len(), found.torn), (count, false));
        for seed in 0_u8..200 {
            let mut flash = Flash::blank(2, ERASE);
            let mut rubbish = vec![0; 2 * PAGE];
            blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut rubbish);
            rubbish[..SEAL].copy_from_slice(&seal(1));
            flash.program(0, &rubbish, START);
            let (_, found) = Log::load(&mut flash, 0, 1, START);
            assert!(found.records.is_empty() && found.torn && found.unfinished);
            // Without a seal there is no log, and one is made.
            let (log, found) = Log::load(&mut Flash::blank(2, ERASE), 0, 1, START);
            assert_eq!((log.generation, found), (1, Found::default()));
        }
    }
}
