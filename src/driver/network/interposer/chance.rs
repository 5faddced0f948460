//! Chance, as far as a bad link needs it: it has to look random, not to be secret.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::channel::network::Impairment;

/// The next number of SplitMix64 (Steele, Lea, Flood 2014). The same in every process: a run can be repeated.
fn number() -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(1);
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    let mut z = STATE.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Whether something happens that happens this often.
pub(super) fn happens(permille: u16) -> bool {
    number() % 1000 < u64::from(permille)
}

/// A number below `end`, which is not 0.
pub(super) fn below(end: usize) -> usize {
    (number() % end.max(1) as u64) as usize
}

/// How late something is.
pub(super) fn delay(bad: &Impairment) -> Duration {
    if bad.jitter.is_zero() {
        return bad.delay;
    }
    let share = (number() % 2001) as f64 / 1000.0;
    (bad.delay + bad.jitter.mul_f64(share)).saturating_sub(bad.jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_about_what_they_say() {
        let count = (0..100_000).filter(|_| happens(250)).count();
        assert!((24_000..26_000).contains(&count), "{count}");
        assert!((0..1000).all(|_| !happens(0) && happens(1000)));
    }

    #[test]
    fn a_delay_stays_within_its_jitter() {
        let (delay_is, jitter) = (Duration::from_millis(50), Duration::from_millis(20));
        let bad = Impairment { delay: delay_is, jitter, ..Impairment::default() };
        let all: Vec<_> = (0..1000).map(|_| delay(&bad)).collect();
        assert!(all.iter().all(|found| (Duration::from_millis(30)..=delay_is + jitter).contains(found)));
        assert!(all.iter().any(|found| *found < delay_is) && all.iter().any(|found| *found > delay_is));
    }
}
