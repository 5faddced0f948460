//! When the hub tries again: full jitter under an exponential ceiling (Brooker, Exponential Backoff and Jitter, AWS 2015).

use std::time::Duration;

use super::Flaw;

/// Ceiling of the first delay.
pub(super) const BASE: Duration = Duration::from_millis(300);
/// Highest ceiling.
pub(super) const CAP: Duration = Duration::from_secs(3);
/// The same of a hub with [`Flaw::SlowReconnect`], whose maker declares 5 s.
const SLOW_CAP: Duration = Duration::from_millis(4500);
/// Sessions shorter than this do not start the back-off anew, or a service that kicks would be stormed.
pub(super) const STABLE: Duration = Duration::from_secs(2);
/// What a hub with [`Flaw::FixedRetry`] waits.
const FIXED: Duration = Duration::from_secs(1);
/// Attempts of a hub with [`Flaw::GivesUp`].
const PATIENCE: u32 = 5;

/// The delays of one power-on.
pub(super) struct BackOff {
    attempt: u32,
    random: u64,
    flaw: Option<Flaw>,
}

impl BackOff {
    /// `start` counts power-ons: a product takes its seed from a hardware source of randomness.
    pub(super) fn new(seed: u64, start: u64, flaw: Option<Flaw>) -> Self {
        let start = if flaw == Some(Flaw::SameSeed) { 0 } else { start };
        Self { attempt: 0, random: seed ^ start.wrapping_mul(0xD134_2543_DE82_EF95), flaw }
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014), as a fraction below 1.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time up to the longest.
    pub(super) fn within(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.fraction())
    }

    /// Delay before the next attempt, after a session that lasted `session` from its CONNACK on (`None`: there was none). `None`: never again.
    pub(super) fn next(&mut self, session: Option<Duration>) -> Option<Duration> {
        if session.is_some_and(|lasted| lasted >= STABLE) {
            self.attempt = 0;
        }
        match self.flaw {
            Some(Flaw::FixedRetry) => return Some(FIXED),
            Some(Flaw::KickStorm) if session.is_some() => return Some(Duration::from_millis(10)),
            Some(Flaw::GivesUp) if self.attempt >= PATIENCE => return None,
            _ => {}
        }
        let cap = if self.flaw == Some(Flaw::SlowReconnect) { SLOW_CAP } else { CAP };
        let ceiling = BASE.saturating_mul(1 << self.attempt.min(10)).min(cap);
        self.attempt = self.attempt.saturating_add(1);
        Some(ceiling.mul_f64(self.fraction()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_start_anew_after_a_stable_session_only() {
        for seed in 0..200 {
            let mut law = BackOff::new(seed, 1, None);
            for attempt in 0..20 {
                let ceiling = BASE.saturating_mul(1 << attempt.min(10)).min(CAP);
                assert!(law.next(None).unwrap() < ceiling, "attempt {attempt}");
            }
            // A kick right after CONNACK is no session.
            let short: Vec<_> = (0..50).map(|_| law.next(Some(Duration::from_millis(20))).unwrap()).collect();
            assert!(short.iter().any(|delay| *delay > BASE), "{short:?}");
            assert!(law.next(Some(STABLE)).unwrap() < BASE);
        }
    }

    #[test]
    fn each_start_and_each_unit_draws_anew_unless_that_is_the_flaw() {
        let draws = |seed, start, flaw| {
            let mut law = BackOff::new(seed, start, flaw);
            (0..12).map(|_| law.next(None).unwrap()).collect::<Vec<_>>()
        };
        assert_ne!(draws(1, 1, None), draws(1, 2, None));
        assert_ne!(draws(1, 1, None), draws(2, 1, None));
        assert_eq!(draws(1, 1, Some(Flaw::SameSeed)), draws(1, 2, Some(Flaw::SameSeed)));
        assert!(draws(1, 1, Some(Flaw::FixedRetry)).iter().all(|delay| *delay == FIXED));
        let mut slow = BackOff::new(1, 1, Some(Flaw::SlowReconnect));
        let longest = (0..100).filter_map(|_| slow.next(None)).max().unwrap();
        assert!(longest > CAP && longest < SLOW_CAP, "{longest:?}");
        let mut law = BackOff::new(1, 1, Some(Flaw::GivesUp));
        assert_eq!((0..10).filter(|_| law.next(None).is_some()).count(), PATIENCE as usize);
    }
}
