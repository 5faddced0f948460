//! Memory of signature checks.
//!
//! One ed25519 check costs a Cortex-M0 some 18 million instructions. A power-cut search makes the same few checks tens of thousands of times, so
//! the machine remembers what an executed call left behind and puts that in place when the same call comes again.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{cpu::Flags, soc::RAM};

/// Largest message that is remembered, in bytes; longer calls are executed.
pub(super) const MESSAGE_LIMIT: u32 = 256 * 1024;

/// Everything a call can depend on, digested.
pub(super) type Key = [u8; 32];

/// What an executed call left behind.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) r: [u32; 16],
    pub(super) flags: Flags,
    pub(super) cycles: u64,
    pub(super) instructions: u64,
    /// Every RAM byte the call wrote, whether or not it changed it: place and final value.
    pub(super) written: Vec<(u16, u8)>,
}

/// A call that is being executed in order to be remembered.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) key: Key,
    pub(super) return_to: u32,
    pub(super) sp: u32,
    pub(super) cycles: u64,
    pub(super) instructions: u64,
    /// One bit per RAM byte.
    pub(super) written: Box<[u64; RAM / 64]>,
}

impl Watched {
    /// The RAM bytes at `offset..offset + count` are written.
    pub(super) fn note(&mut self, offset: usize, count: usize) {
        for at in offset..offset + count {
            if let Some(word) = self.written.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        }
    }

    /// The written bytes with their present values.
    pub(super) fn collect(&self, ram: &[u8; RAM]) -> Vec<(u16, u8)> {
        let written = |at: &usize| self.written[at / 64] >> (at % 64) & 1 == 1;
        (0..RAM).filter(written).map(|at| (at as u16, ram[at])).collect()
    }
}

/// Answers of calls that were really executed before, to be shared by any number of machines and threads.
#[derive(Debug, Default)]
pub struct VerifyMemo {
    known: RwLock<HashMap<Key, Arc<Effect>>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Effects kept; each is some 2 KiB of written bytes.
const MOST: usize = 16_384;

impl VerifyMemo {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls answered from memory, and calls really executed, since it was made.
    #[must_use]
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Effect>> {
        let found = self.known.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(super) fn learn(&self, key: Key, effect: Effect) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST {
            known.insert(key, Arc::new(effect));
        }
    }
}
