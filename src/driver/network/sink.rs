//! Where services tell what the device asked for, and count it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::channel::link::{Notice, Notices};

/// Notices of one network: a device that asks without end must not fill the disk. All of them are counted.
const MOST: u32 = 5000;

/// Takes what services see; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Inner>);

#[derive(Default)]
struct Inner {
    notices: Mutex<Option<Notices>>,
    told: AtomicU32,
}

impl Sink {
    /// Who is told from now on.
    pub(super) fn set(&self, notices: Notices) {
        *self.0.notices.lock().unwrap_or_else(PoisonError::into_inner) = Some(notices);
    }

    /// Tells.
    pub(super) fn tell(&self, what: String) {
        let told = self.0.told.fetch_add(1, Ordering::Relaxed);
        let what = match told {
            0..MOST => what,
            MOST => format!("{what}; what follows on this network is only counted"),
            _ => {
                self.0.told.store(MOST + 1, Ordering::Relaxed);
                return;
            }
        };
        let notices = self.0.notices.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(notices) = notices {
            notices(Notice { what, evidence: None });
        }
    }
}

/// Counts from the last change of the network on.
#[derive(Clone, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Counter, MOST, Sink};

    #[test]
    fn a_flood_is_told_once_and_counted_to_the_end() {
        let (sink, seen, counter) = (Sink::default(), Counter::default(), Counter::default());
        let count = seen.clone();
        sink.set(Arc::new(move |_| count.add()));
        for _ in 0..MOST * 2 {
            sink.tell("question".to_owned());
            counter.add();
        }
        assert_eq!((seen.get(), counter.get()), (u64::from(MOST) + 1, u64::from(MOST) * 2));
    }
}
