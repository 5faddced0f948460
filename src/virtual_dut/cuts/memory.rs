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
/// Different sets of pages looked for at one place, those found or learnt last. One set fits all cuts within one copied page.
const SETS: usize = 8;

/// A device about to begin something, and the code flash that it begins with.
#[derive(Debug)]
pub(super) struct Place {
    /// Digest of everything but the code flash.
    base: [u8; 16],
    flash: NvMemory,
}

impl Place {
    /// The device's time is part of it although most of what a device does is the same at any time: what is asked later happens at instants that
    /// are fixed for the whole search, so two machines that agree in everything but the time need not have the same future. `stage` tells
    /// different beginnings at the same time apart.
    pub(super) fn of(machine: &mut Machine, stage: u32) -> Self {
        let bare = machine.soc.nv.without_flash();
        let flash = mem::replace(&mut machine.soc.nv, bare);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&machine.future()).update(&machine.now().to_le_bytes()).update(&stage.to_le_bytes());
        machine.soc.nv = flash.clone();
        let mut base = [0; 16];
        base.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self { base, flash }
    }
}

/// A set of pages that findings depend on, and the findings by the digest of what is in these pages.
type BySet<V> = (Pages, HashMap<u128, V>);

#[derive(Debug)]
struct Known<V> {
    places: HashMap<[u8; 16], Vec<BySet<V>>>,
    findings: usize,
}

/// Findings by the part of the code flash that they depend on. A device that agrees in that part, and in everything but the code flash, does
/// exactly the same: it never looks at the difference. Whoever finds out the same thing twice finds the same, so the order in which threads
/// come does not matter.
#[derive(Debug)]
pub(super) struct Memory<V> {
    known: Mutex<Known<V>>,
    hits: AtomicU64,
}

impl<V: Copy> Memory<V> {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(Known { places: HashMap::new(), findings: 0 }), hits: AtomicU64::new(0) }
    }

    /// What is known, and the pages that it depends on.
    pub(super) fn get(&self, place: &Place) -> Option<(V, Pages)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = known.places.get_mut(&place.base)?;
        let find = |(pages, findings): &BySet<V>| findings.get(&place.flash.digest_of(*pages)).map(|value| (*value, *pages));
        let (at, found) = sets.iter().enumerate().find_map(|(at, set)| Some((at, find(set)?)))?;
        sets[..=at].rotate_right(1);
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// `needed`: the pages that the finding depends on.
    pub(super) fn put(&self, place: &Place, needed: Pages, value: V) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.findings >= MOST {
            return;
        }
        let sets = known.places.entry(place.base).or_default();
        let before: usize = sets.iter().map(|(_, findings)| findings.len()).sum();
        let at = sets.iter().position(|(pages, _)| *pages == needed).unwrap_or_else(|| {
            sets.truncate(SETS - 1);
            sets.push((needed, HashMap::new()));
            sets.len() - 1
        });
        sets[at].1.insert(place.flash.digest_of(needed), value);
        sets[..=at].rotate_right(1);
        let after: usize = sets.iter().map(|(_, findings)| findings.len()).sum();
        known.findings = known.findings + after - before;
    }

    /// How often something was found, and how much is kept.
    pub(super) fn figures(&self) -> (u64, usize) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (self.hits.load(Ordering::Relaxed), known.findings)
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, Place, SETS};
    use crate::virtual_dut::{Machine, MachineConfig, PAGE_SIZE, UICR_BASE, looked::Pages};

    fn place(content: &[(u32, u8)]) -> Place {
        let mut machine = Machine::new(MachineConfig::default());
        for (address, byte) in content {
            machine.preload(*address, &[*byte]).unwrap();
        }
        let before = machine.digest();
        let place = Place::of(&mut machine, 0);
        assert_eq!(machine.digest(), before, "nothing is taken from the machine");
        place
    }

    fn page(number: usize) -> Pages {
        let mut pages = Pages::default();
        pages.add(number);
        pages
    }

    #[test]
    fn a_finding_holds_for_whoever_agrees_in_the_pages_that_it_depends_on() {
        let memory = Memory::new();
        memory.put(&place(&[(3 * PAGE_SIZE, 1), (7 * PAGE_SIZE, 1)]), page(3), 'a');
        assert_eq!(memory.get(&place(&[(3 * PAGE_SIZE, 1), (7 * PAGE_SIZE, 2)])), Some(('a', page(3))));
        assert_eq!(memory.get(&place(&[(3 * PAGE_SIZE, 2), (7 * PAGE_SIZE, 1)])), None);
        assert_eq!(memory.get(&place(&[(3 * PAGE_SIZE, 1), (UICR_BASE + 0x80, 1)])), None, "UICR always counts");
        assert_eq!(memory.figures(), (1, 1));
    }

    #[test]
    fn sets_that_nobody_asks_for_are_forgotten_first() {
        let memory = Memory::new();
        let place = place(&[(0, 1)]);
        for number in 0..SETS {
            memory.put(&place, page(number), number);
        }
        memory.put(&place, page(100), 100);
        assert_eq!(memory.figures(), (0, SETS));
        // In page 0 the blank flash differs, and that set went first; the set used last fits.
        let blank = Place { base: place.base, flash: place.flash.without_flash() };
        assert_eq!(memory.get(&blank).map(|(number, _)| number), Some(100));
    }
}
