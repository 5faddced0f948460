//! What was found out before, shared by the threads of a search.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::virtual_dut::Machine;

/// Entries of one memory. A search that needs more goes on, slower.
const MOST: usize = 1 << 20;
const SHARDS: usize = 16;

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
