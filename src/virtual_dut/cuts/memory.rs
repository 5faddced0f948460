//! What was found out before, shared by the threads of a search.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::virtual_dut::{Machine, NvMemory, looked::Pages};

/// Entries of one memory. A search that needs more goes on, slower.
const MOST: usize = 1 << 20;
const SHARDS: usize = 16;
/// Different sets of pages looked for at one place, those found or learnt last. One set fits all cuts within one copied page.
const SETS: usize = 8;

/// Identifies a state from which everything that follows is the same: the complete machine, the time, and what the caller adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// The device's time is part of the key although most of what a device does is the same at any time: what is asked later happens at
    /// instants that are fixed for the whole search, so two machines that agree in everything but the time need not have the same future.
    /// `more` is whatever else decides the rest: the unread output, how far the questions have got.
    pub(super) fn new(machine: &Machine, stage: u32, more: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&machine.future()).update(&machine.now().to_le_bytes()).update(&stage.to_le_bytes()).update(more);
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

/// Findings by key. Whoever finds out the same thing twice finds the same, so the order in which threads come does not matter.
#[derive(Debug)]
pub(super) struct Memory<V> {
    shards: [Mutex<HashMap<Key, V>>; SHARDS],
    hits: AtomicU64,
}

impl<V: Copy> Memory<V> {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hits: AtomicU64::new(0) }
    }

    fn shard(&self, key: Key) -> &Mutex<HashMap<Key, V>> {
        &self.shards[usize::from(key.0[0]) % SHARDS]
    }

    pub(super) fn get(&self, key: Key) -> Option<V> {
        let found = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        self.hits.fetch_add(u64::from(found.is_some()), Ordering::Relaxed);
        found
    }

    pub(super) fn put(&self, key: Key, value: V) {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() < MOST / SHARDS {
            shard.insert(key, value);
        }
    }

    /// How often something was found, and how much is kept.
    pub(super) fn figures(&self) -> (u64, usize) {
        let kept = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum();
        (self.hits.load(Ordering::Relaxed), kept)
    }
}

/// A device about to begin something, and the code flash that it begins with.
#[derive(Debug)]
pub(super) struct Place {
    /// Everything but the code flash.
    base: Key,
    flash: NvMemory,
}

impl Place {
    pub(super) fn of(machine: &mut Machine, stage: u32) -> Self {
        let bare = machine.soc.nv.without_flash();
        let flash = mem::replace(&mut machine.soc.nv, bare);
        let base = Key::new(machine, stage, &[]);
        machine.soc.nv = flash.clone();
        Self { base, flash }
    }
}

/// A set of pages that a finding depends on, and findings by the digest of their content.
type BySet<V> = (Pages, HashMap<u128, V>);

/// Findings by the part of the code flash that they depend on. A device that agrees in that part, and in everything but the code flash, does
/// exactly the same: it never looks at the difference.
#[derive(Debug)]
pub(super) struct PartialMemory<V> {
    places: Mutex<HashMap<Key, Vec<BySet<V>>>>,
    hits: AtomicU64,
}

impl<V: Copy> PartialMemory<V> {
    pub(super) fn new() -> Self {
        Self { places: Mutex::default(), hits: AtomicU64::new(0) }
    }

    /// What is known, and the pages that it depends on.
    pub(super) fn get(&self, place: &Place) -> Option<(V, Pages)> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = places.get_mut(&place.base)?;
        let found = |(pages, known): &BySet<V>| known.get(&place.flash.digest_of(*pages)).map(|value| (*value, *pages));
        let (at, found) = sets.iter().enumerate().find_map(|(at, set)| Some((at, found(set)?)))?;
        sets[..=at].rotate_right(1);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// `needed`: the pages that the finding depends on.
    pub(super) fn put(&self, place: &Place, needed: Pages, value: V) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST && !places.contains_key(&place.base) {
            return;
        }
        let sets = places.entry(place.base).or_default();
        let at = sets.iter().position(|(pages, _)| *pages == needed).unwrap_or_else(|| {
            sets.truncate(SETS - 1);
            sets.push((needed, HashMap::new()));
            sets.len() - 1
        });
        sets[..=at].rotate_right(1);
        if let Some((_, known)) = sets.first_mut()
            && known.len() < MOST
        {
            known.insert(place.flash.digest_of(needed), value);
        }
    }

    /// How often something was found, and how much is kept.
    pub(super) fn figures(&self) -> (u64, usize) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = places.values().flatten().map(|(_, known)| known.len()).sum();
        (self.hits.load(Ordering::Relaxed), kept)
    }
}
