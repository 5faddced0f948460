//! Which pages of code flash a device has looked at: what its behaviour can depend on.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{FLASH_SIZE, PAGE_SIZE};

/// Words of a bit per page.
const WORDS: usize = (FLASH_SIZE / PAGE_SIZE / 64) as usize;

/// A set of pages of code flash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pages([u64; WORDS]);

impl Pages {
    /// All of them.
    pub(super) const ALL: Self = Self([u64::MAX; WORDS]);

    /// Adds a page; a number beyond the last one is ignored.
    pub(super) fn add(&mut self, page: usize) {
        if let Some(word) = self.0.get_mut(page / 64) {
            *word |= 1 << (page % 64);
        }
    }

    /// The pages in it.
    pub(super) fn numbers(self) -> impl Iterator<Item = usize> {
        self.0
            .into_iter()
            .enumerate()
            .flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| 64 * at + bit))
    }

    /// In one or the other.
    pub(super) fn joined(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    /// In this and not in the other.
    fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }
}

/// Notes on what was read since they were begun.
///
/// Reading flash takes the device by shared reference and must be quick, hence the atomics; nobody shares a device that runs.
#[derive(Debug, Default)]
pub(super) struct Looked {
    read: [AtomicU64; WORDS],
    needed: [AtomicU64; WORDS],
    erased: Pages,
}

fn load(words: &[AtomicU64; WORDS]) -> Pages {
    Pages(std::array::from_fn(|at| words[at].load(Ordering::Relaxed)))
}

fn store(words: &[AtomicU64; WORDS], pages: Pages) {
    for (word, bits) in words.iter().zip(pages.0) {
        word.store(bits, Ordering::Relaxed);
    }
}

impl Clone for Looked {
    fn clone(&self) -> Self {
        let copy = Self { erased: self.erased, ..Self::default() };
        store(&copy.read, self.read());
        store(&copy.needed, self.needed());
        copy
    }
}

impl Looked {
    /// A page is read.
    #[inline]
    pub(super) fn note(&self, page: usize) {
        let (at, bit) = (page / 64 % WORDS, 1 << (page % 64));
        let read = self.read[at].load(Ordering::Relaxed);
        if read & bit == 0 {
            self.read[at].store(read | bit, Ordering::Relaxed);
            let needed = self.needed[at].load(Ordering::Relaxed) | bit & !self.erased.0[at];
            self.needed[at].store(needed, Ordering::Relaxed);
        }
    }

    /// These pages are erased, whatever was in them.
    pub(super) fn erase(&mut self, pages: Pages) {
        self.erased = self.erased.joined(pages);
    }

    /// Anything may have been read, and nothing was erased.
    pub(super) fn spoil(&mut self) {
        self.erased = Pages::default();
        self.add(Pages::ALL);
    }

    /// All that was read.
    pub(super) fn read(&self) -> Pages {
        load(&self.read)
    }

    /// What was read of the content that was there when the notes began: read before it was erased. A page that was programmed before it was
    /// read counts, because programming only clears bits of what was there.
    pub(super) fn needed(&self) -> Pages {
        load(&self.needed)
    }

    /// As if a device that went on from here had read `pages` of what is there now.
    pub(super) fn add(&self, pages: Pages) {
        store(&self.read, self.read().joined(pages));
        store(&self.needed, self.needed().joined(pages.without(self.erased)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Looked, Pages};

    fn pages(numbers: &[usize]) -> Pages {
        let mut pages = Pages::default();
        for page in numbers {
            pages.add(*page);
        }
        pages
    }

    #[test]
    fn what_was_erased_before_it_was_read_is_not_needed() {
        let mut looked = Looked::default();
        looked.note(3);
        looked.erase(pages(&[3, 130]));
        for page in [3, 130, 255] {
            looked.note(page);
        }
        assert_eq!(looked.needed(), pages(&[3, 255]));
        assert_eq!(looked.read(), pages(&[3, 130, 255]));
        assert_eq!(looked.read().numbers().collect::<Vec<_>>(), [3, 130, 255]);
        assert_eq!(looked.clone().needed(), looked.needed());
    }

    #[test]
    fn what_somebody_else_read_from_here_on_is_added_without_what_was_erased() {
        let mut looked = Looked::default();
        looked.erase(pages(&[7]));
        looked.add(pages(&[7, 8]));
        assert_eq!((looked.needed(), looked.read()), (pages(&[8]), pages(&[7, 8])));
        assert_eq!(Pages::ALL.numbers().count(), 256);
    }
}
