//! What the hub remembers without power: a log of records on its flash, each with its checksum.
//!
//! A cut in the middle of a record leaves a record whose checksum is wrong; it counts as not written, so that every append is there wholly
//! or not at all.

use std::collections::VecDeque;

/// Most events that wait for the service; then the oldest are given up, so that the flash is never full.
pub(super) const MOST: usize = 256;
/// Bytes from which the log is written anew without what is settled.
const COMPACT: usize = 16 * 1024;

/// An event that the service is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its number, from 1, over all starts.
    pub(super) number: u32,
    /// Whether the lamp is on since then.
    pub(super) lamp: bool,
}

/// The flash, and what stands on it.
#[derive(Debug, Default)]
pub(super) struct Store {
    flash: Vec<u8>,
    pub(super) starts: u32,
    pub(super) lamp: bool,
    last: u32,
    pub(super) waiting: VecDeque<Waiting>,
}

const START: u8 = 1;
const EVENT: u8 = 2;
const TOLD: u8 = 3;
/// Kind, value, 24 bits of a digest.
const RECORD: usize = 9;

fn record(kind: u8, value: u32) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    bytes[0] = kind;
    bytes[1..5].copy_from_slice(&value.to_le_bytes());
    let digest = blake3::hash(&bytes[..5]);
    bytes[5..].copy_from_slice(&digest.as_bytes()[..4]);
    bytes
}

impl Store {
    /// What stands on a flash.
    fn load(flash: &[u8]) -> Self {
        let mut store = Self::default();
        for piece in flash.chunks(RECORD) {
            let Ok(bytes) = <[u8; RECORD]>::try_from(piece) else { break };
            let value = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            if record(bytes[0], value) != bytes {
                break;
            }
            store.apply(bytes[0], value);
            store.flash.extend(bytes);
        }
        store
    }

    /// Forgets everything and reads it from the flash again, as a start does.
    pub(super) fn reload(&mut self) {
        *self = Self::load(&self.flash);
    }

    fn apply(&mut self, kind: u8, value: u32) {
        match kind {
            START => self.starts = value,
            EVENT => {
                let (number, lamp) = (value >> 1, value & 1 == 1);
                (self.lamp, self.last) = (lamp, number);
                self.waiting.push_back(Waiting { number, lamp });
                if self.waiting.len() > MOST {
                    self.waiting.pop_front();
                }
            }
            TOLD => self.waiting.retain(|waiting| waiting.number > value),
            _ => {}
        }
    }

    fn append(&mut self, kind: u8, value: u32) {
        self.apply(kind, value);
        self.flash.extend(record(kind, value));
        if self.flash.len() > COMPACT {
            let told = self.waiting.front().map_or(self.last, |first| first.number - 1);
            let mut flash = Vec::from(record(START, self.starts));
            flash.extend(record(EVENT, told << 1 | u32::from(self.lamp)));
            flash.extend(record(TOLD, told));
            flash.extend(self.waiting.iter().flat_map(|waiting| record(EVENT, waiting.number << 1 | u32::from(waiting.lamp))));
            self.flash = flash;
        }
    }

    /// Counts a start.
    pub(super) fn start(&mut self) -> u32 {
        let starts = self.starts.wrapping_add(1);
        self.append(START, starts);
        starts
    }

    /// The lamp is switched, and the service is to be told.
    pub(super) fn switch(&mut self, lamp: bool) {
        let number = self.last.wrapping_add(1) & (u32::MAX >> 1);
        self.append(EVENT, number << 1 | u32::from(lamp));
    }

    /// The service was told all events up to this one.
    pub(super) fn told(&mut self, number: u32) {
        self.append(TOLD, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_at_any_byte_leaves_what_was_before_or_what_was_to_be() {
        let mut store = Store::default();
        store.start();
        let mut states = vec![(store.starts, store.lamp, store.waiting.clone())];
        let mut lengths = vec![store.flash.len()];
        for number in 1..20 {
            store.switch(number % 2 == 1);
            states.push((store.starts, store.lamp, store.waiting.clone()));
            lengths.push(store.flash.len());
            if number % 5 == 0 {
                store.told(number - 1);
                states.push((store.starts, store.lamp, store.waiting.clone()));
                lengths.push(store.flash.len());
            }
        }
        for cut in RECORD..=store.flash.len() {
            let loaded = Store::load(&store.flash[..cut]);
            let whole = lengths.iter().rposition(|length| *length <= cut).unwrap();
            assert_eq!((loaded.starts, loaded.lamp, loaded.waiting), states[whole], "cut at {cut}");
            // And what is torn does not hide what comes after.
            let mut torn = Store::load(&store.flash[..cut]);
            torn.switch(true);
            assert_eq!(Store::load(&torn.flash).waiting, torn.waiting, "cut at {cut}");
        }
    }

    #[test]
    fn the_log_stays_small_and_keeps_what_waits() {
        let mut store = Store::default();
        for number in 1..=5000_u32 {
            store.switch(number % 2 == 0);
            if number > 100 {
                store.told(number - 100);
            }
            assert!(store.flash.len() <= COMPACT + RECORD);
        }
        let loaded = Store::load(&store.flash);
        assert_eq!((loaded.waiting.len(), loaded.last, loaded.lamp), (100, 5000, true));
        assert_eq!(loaded.waiting, store.waiting);
        (0..1000).for_each(|_| store.switch(true));
        assert_eq!(store.waiting.len(), MOST);
    }
}
