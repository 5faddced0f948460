//! Code flash and UICR: NOR cells that a program clears and only an erase sets.

use std::sync::{Arc, OnceLock};

use super::{
    FLASH_SIZE, PAGE_SIZE, UICR_BASE,
    decode::{CodePage, decode_page},
    looked::{Looked, Pages},
    noise::{Noise, mix},
};

/// Pages of code flash.
const PAGES: usize = (FLASH_SIZE / PAGE_SIZE) as usize;

/// Flash operations since the machine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct NvCounts {
    /// 32-bit words programmed, flash or UICR.
    pub words: u64,
    /// Pages erased, the UICR page included.
    pub pages: u64,
    /// Whole-device erases.
    pub all: u64,
}

impl NvCounts {
    /// All of them: the index that the next operation has for [`Machine::arm_cut`](super::Machine::arm_cut).
    #[must_use]
    pub const fn total(self) -> u64 {
        self.words + self.pages + self.all
    }
}

/// One flash operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NvOperation {
    /// Clears the bits of the word at `address` that are clear in `value`.
    Program {
        /// Word-aligned address in flash or UICR.
        address: u32,
        /// Written value.
        value: u32,
    },
    /// Sets all bits of the flash page at `address`.
    ErasePage {
        /// Page-aligned address.
        address: u32,
    },
    /// Sets all bits of the UICR page.
    EraseUicr,
    /// Sets all bits of flash and UICR.
    EraseAll,
}

/// A page with its digest and, once somebody executes it, its instructions.
#[derive(Debug)]
pub(super) struct Page {
    bytes: [u8; PAGE_SIZE as usize],
    digest: u128,
    code: OnceLock<Box<CodePage>>,
}

impl Clone for Page {
    /// Without the instructions: a page is cloned in order to be changed.
    fn clone(&self) -> Self {
        Self { bytes: self.bytes, digest: self.digest, code: OnceLock::new() }
    }
}

impl Page {
    const fn erased() -> Self {
        Self { bytes: [0xFF; PAGE_SIZE as usize], digest: 0, code: OnceLock::new() }
    }

    /// The instructions of the page.
    pub(super) fn code(&self) -> &CodePage {
        self.code.get_or_init(|| decode_page(&self.bytes))
    }

    /// Digest of the content and of which page it is.
    pub(super) const fn digest(&self) -> u128 {
        self.digest
    }

    fn word(&self, index: usize) -> u32 {
        let [a, b, c, d] = self.bytes.as_chunks::<4>().0[index & 255];
        u32::from_le_bytes([a, b, c, d])
    }

    /// `number` is the page's place in the whole.
    fn set_word(&mut self, number: usize, index: usize, value: u32) {
        let old = self.word(index);
        if old == value {
            return;
        }
        let place = (number * 256 + index) as u32;
        self.digest = self.digest.wrapping_sub(hash(place, old)).wrapping_add(hash(place, value));
        self.bytes.as_chunks_mut::<4>().0[index & 255] = value.to_le_bytes();
        self.code = OnceLock::new();
    }
}

/// Contribution of one word to the digest; erased words contribute nothing, so that an erased page has digest 0.
const fn hash(place: u32, value: u32) -> u128 {
    if value == u32::MAX {
        return 0;
    }
    let word = (place as u64) << 32 | value as u64;
    (mix(word ^ 0x6E76_0001_0000_0000) as u128) << 64 | mix(word.rotate_left(17) ^ 0x6E76_0002) as u128
}

/// Content of code flash and UICR. Cloning shares the pages.
///
/// Every way for the device to learn what is in code flash goes through `NvMemory::page`, which notes it. Who keeps a page longer than one
/// [`Machine::run_until`](super::Machine::run_until) would hide what the device depends on.
#[derive(Debug, Clone)]
pub struct NvMemory {
    looked: Looked,
    flash: Arc<[Arc<Page>; PAGES]>,
    uicr: Arc<Page>,
    counts: NvCounts,
}

/// What an operation overwrote.
#[derive(Debug, Clone)]
enum Before {
    Word(u32),
    Page(Arc<Page>),
    All(Arc<[Arc<Page>; PAGES]>, Arc<Page>),
}

/// An operation that has begun, with what it needs to be torn.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    operation: NvOperation,
    before: Before,
}

impl NvMemory {
    pub(super) fn new() -> Self {
        let blank = Arc::new(Page::erased());
        Self {
            looked: Looked::default(),
            flash: Arc::new(std::array::from_fn(|_| blank.clone())),
            uicr: blank,
            counts: NvCounts::default(),
        }
    }

    /// Begins to note which pages of code flash the device reads.
    pub(super) fn look_anew(&mut self) {
        self.looked = Looked::default();
    }

    /// The same UICR with an erased code flash.
    pub(super) fn without_flash(&self) -> Self {
        Self { uicr: Arc::clone(&self.uicr), ..Self::new() }
    }

    /// What the device has read since.
    pub(super) fn looked(&self) -> &Looked {
        &self.looked
    }

    /// A digest of some pages of code flash.
    pub(super) fn digest_of(&self, pages: Pages) -> u128 {
        pages.numbers().filter_map(|number| self.flash.get(number)).fold(0, |sum, page| sum.wrapping_add(page.digest))
    }

    /// A digest of flash and UICR, kept up to date at every operation. Equal content has equal digests whatever its history; it is
    /// meant for de-duplication, not against an adversary.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.flash.iter().fold(self.uicr.digest, |sum, page| sum.wrapping_add(page.digest))
    }

    /// Operations so far.
    #[must_use]
    pub fn counts(&self) -> NvCounts {
        self.counts
    }

    /// Copies out bytes of flash (from 0) or UICR (from `UICR_BASE`). `None` if the range is not all inside one of them.
    #[must_use]
    pub fn read(&self, address: u32, len: u32) -> Option<Vec<u8>> {
        let end = u64::from(address) + u64::from(len);
        let inside = end <= u64::from(FLASH_SIZE) || (address >= UICR_BASE && end <= u64::from(UICR_BASE + PAGE_SIZE));
        inside.then(|| {
            (address..address + len)
                .map(|at| self.cells(at & !3).map_or(0xFF, |word| word.to_le_bytes()[at as usize & 3]))
                .collect()
        })
    }

    /// Whether the address is in flash or UICR.
    pub(super) const fn contains(address: u32) -> bool {
        address < FLASH_SIZE || address.wrapping_sub(UICR_BASE) < PAGE_SIZE
    }

    /// Code page that holds `address`.
    #[inline]
    pub(super) fn page(&self, address: u32) -> Option<&Page> {
        let number = (address / PAGE_SIZE) as usize;
        let page = self.flash.get(number)?;
        self.looked.note(number);
        Some(page)
    }

    /// Code page by number.
    #[inline]
    pub(super) fn page_bytes(&self, address: u32) -> Option<&[u8; PAGE_SIZE as usize]> {
        self.page(address).map(|page| &page.bytes)
    }

    /// The word at a word-aligned address of flash or UICR.
    pub(super) fn word(&self, address: u32) -> Option<u32> {
        if address < FLASH_SIZE {
            self.looked.note((address / PAGE_SIZE) as usize);
        }
        self.cells(address)
    }

    /// As [`Self::word`], for the flash itself: nobody learns it.
    fn cells(&self, address: u32) -> Option<u32> {
        let page = if address < FLASH_SIZE {
            self.flash.get((address / PAGE_SIZE) as usize)?
        } else if Self::contains(address) {
            &self.uicr
        } else {
            return None;
        };
        Some(page.word((address % PAGE_SIZE / 4) as usize))
    }

    fn set_word(&mut self, address: u32, value: u32) {
        if self.cells(address).is_none_or(|old| old == value) {
            return;
        }
        let index = (address % PAGE_SIZE / 4) as usize;
        if address < FLASH_SIZE {
            let number = (address / PAGE_SIZE) as usize;
            Arc::make_mut(&mut Arc::make_mut(&mut self.flash)[number]).set_word(number, index, value);
        } else {
            Arc::make_mut(&mut self.uicr).set_word(PAGES, index, value);
        }
    }

    /// Sets content without an operation. `false` if the range is not all inside flash or UICR.
    pub(super) fn preload(&mut self, address: u32, bytes: &[u8]) -> bool {
        let Ok(len) = u32::try_from(bytes.len()) else { return false };
        let end = u64::from(address) + u64::from(len);
        if end > u64::from(FLASH_SIZE) && !(address >= UICR_BASE && end <= u64::from(UICR_BASE + PAGE_SIZE)) {
            return false;
        }
        for (at, byte) in (address..).zip(bytes) {
            let mut word = self.cells(at & !3).unwrap_or(u32::MAX).to_le_bytes();
            word[at as usize & 3] = *byte;
            self.set_word(at & !3, u32::from_le_bytes(word));
        }
        true
    }

    fn page_slot(&mut self, address: u32) -> &mut Arc<Page> {
        if address < FLASH_SIZE { &mut Arc::make_mut(&mut self.flash)[(address / PAGE_SIZE) as usize] } else { &mut self.uicr }
    }

    /// Counts and performs an operation at an address that [`NvMemory::contains`].
    pub(super) fn begin(&mut self, operation: NvOperation) -> Begun {
        let before = match operation {
            NvOperation::Program { address, value } => {
                self.counts.words += 1;
                let old = self.cells(address).unwrap_or(u32::MAX);
                self.set_word(address, old & value);
                Before::Word(old)
            }
            NvOperation::ErasePage { .. } | NvOperation::EraseUicr => {
                self.counts.pages += 1;
                let address = if let NvOperation::ErasePage { address } = operation { address } else { UICR_BASE };
                let mut erased = Pages::default();
                erased.add((address / PAGE_SIZE) as usize);
                self.looked.erase(erased);
                Before::Page(std::mem::replace(self.page_slot(address), Arc::new(Page::erased())))
            }
            NvOperation::EraseAll => {
                self.counts.all += 1;
                self.looked.erase(Pages::ALL);
                let blank = Self::new();
                Before::All(std::mem::replace(&mut self.flash, blank.flash), std::mem::replace(&mut self.uicr, blank.uicr))
            }
        };
        Begun { operation, before }
    }

    /// Counts an operation whose power was lost before it touched a cell.
    pub(super) fn count_only(&mut self, operation: NvOperation) {
        match operation {
            NvOperation::Program { .. } => self.counts.words += 1,
            NvOperation::ErasePage { .. } | NvOperation::EraseUicr => self.counts.pages += 1,
            NvOperation::EraseAll => self.counts.all += 1,
        }
    }

    /// Power was lost within the operation: only some of the bits that it changes have changed.
    pub(super) fn tear(&mut self, begun: Begun, seed: u64) {
        // What is left of an erased page shows what was there.
        self.looked.spoil();
        let mut noise = Noise::new(seed);
        // How far it got is random, too: all odds from a few bits to all but a few.
        let odds = 1 + (noise.next() % 15) as u32;
        match (begun.operation, begun.before) {
            (NvOperation::Program { address, value }, Before::Word(old)) => {
                let done = noise.biased(odds) as u32;
                self.set_word(address, old & !(old & !value & done));
            }
            (NvOperation::ErasePage { address }, Before::Page(old)) => self.tear_page(address, &old, &mut noise, odds),
            (NvOperation::EraseUicr, Before::Page(old)) => self.tear_page(UICR_BASE, &old, &mut noise, odds),
            (_, Before::All(flash, uicr)) => {
                for (number, old) in (0..).zip(flash.iter()) {
                    self.tear_page(number * PAGE_SIZE, old, &mut noise, odds);
                }
                self.tear_page(UICR_BASE, &uicr, &mut noise, odds);
            }
            // `begin` pairs them.
            (_, Before::Word(_) | Before::Page(_)) => {}
        }
    }

    fn tear_page(&mut self, address: u32, old: &Page, noise: &mut Noise, odds: u32) {
        if old.digest == 0 {
            return;
        }
        for index in 0..PAGE_SIZE / 4 {
            let word = old.word(index as usize);
            self.set_word(address + 4 * index, word | noise.biased(odds) as u32);
        }
    }
}

impl PartialEq for NvMemory {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts
            && self.flash.iter().chain([&self.uicr]).zip(other.flash.iter().chain([&other.uicr])).all(|(a, b)| a.bytes == b.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: NvOperation = NvOperation::Program { address: 0x400, value: 0x0F0F_00FF };

    #[test]
    fn programming_only_clears_and_erasing_only_sets() {
        let mut nv = NvMemory::new();
        nv.begin(PROGRAM);
        nv.begin(NvOperation::Program { address: 0x400, value: 0xFF00_FFFF });
        assert_eq!(nv.word(0x400), Some(0x0F00_00FF));
        nv.begin(NvOperation::ErasePage { address: 0x400 });
        assert_eq!(nv.word(0x400), Some(u32::MAX));
        assert_eq!(nv.counts(), NvCounts { words: 2, pages: 1, all: 0 });
    }

    #[test]
    fn digest_depends_on_content_and_place_only() {
        let mut nv = NvMemory::new();
        let blank = nv.digest();
        nv.begin(PROGRAM);
        let programmed = nv.digest();
        assert_ne!(blank, programmed);
        nv.begin(NvOperation::ErasePage { address: 0x400 });
        assert_eq!(nv.digest(), blank);
        assert!(nv.preload(0x404, &0x0F0F_00FF_u32.to_le_bytes()));
        assert_ne!(nv.digest(), programmed, "same word elsewhere");
        nv.begin(NvOperation::EraseAll);
        assert!(nv.preload(0x400, &0x0F0F_00FF_u32.to_le_bytes()));
        assert_eq!(nv.digest(), programmed);
    }

    #[test]
    fn a_torn_program_is_between_old_and_new_and_repeats_by_seed() {
        let torn = |seed| {
            let mut nv = NvMemory::new();
            nv.begin(NvOperation::Program { address: 0x400, value: 0xFFFF_FF0F });
            let begun = nv.begin(PROGRAM);
            nv.tear(begun, seed);
            nv.word(0x400).unwrap()
        };
        let old = 0xFFFF_FF0F;
        let new = old & 0x0F0F_00FF;
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let value = torn(seed);
            assert_eq!(value, torn(seed));
            assert_eq!((value & new, value | old), (new, old));
            seen.insert(value);
        }
        assert!(seen.len() > 30, "{} different of 50", seen.len());
    }

    #[test]
    fn a_torn_erase_keeps_every_set_bit() {
        let mut nv = NvMemory::new();
        assert!(nv.preload(0x800, &[0x12; 1024]));
        let begun = nv.begin(NvOperation::ErasePage { address: 0x800 });
        nv.tear(begun, 5);
        let bytes = nv.read(0x800, 1024).unwrap();
        assert!(bytes.iter().all(|byte| byte & 0x12 == 0x12));
        assert!(bytes.iter().any(|byte| *byte != 0x12) && bytes.iter().any(|byte| *byte != 0xFF));
    }

    #[test]
    fn a_clone_is_not_changed_through_the_original() {
        let mut nv = NvMemory::new();
        nv.begin(PROGRAM);
        let before = nv.clone();
        nv.begin(NvOperation::EraseAll);
        assert_eq!(before.word(0x400), Some(0x0F0F_00FF));
        assert_eq!(before.read(FLASH_SIZE - 4, 8), None);
    }

    #[test]
    fn an_executed_page_is_decoded_anew_after_a_write() {
        let mut nv = NvMemory::new();
        let before = nv.page(0x400).unwrap().code()[0];
        nv.begin(NvOperation::Program { address: 0x400, value: 0x4770_4770 });
        assert_ne!(nv.page(0x400).unwrap().code()[0], before);
    }
}
