//! Whether two devices, or one device after two power-ons, wait alike.
//!
//! A device that seeds its jitter with a constant looks well spread in every single run, and a fleet of such devices moves as one
//! (catalogue NET-59). Two sequences of intervals under one law, each from the beginning of an outage, tell: independent jitter makes
//! them differ by much more than what measuring adds.

use super::LEAST_INTERVALS;
use crate::units::Span;

/// Share of the places at which two sequences agree, from which they are alike.
const ALIKE: f64 = 0.75;
/// How much wider than what counts as agreement the intervals must spread. With the spread of uniform jitter that makes two
/// independent delays agree with a probability of at most 0.23, and nine of twelve so with less than 2 in 10,000.
const TELLING: f64 = 8.0;

/// Whether two sequences are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alike {
    /// They are the same within what measuring adds.
    Yes,
    /// They differ.
    No,
    /// The delays vary too little to tell: different seeds would look the same.
    Unknown,
}

/// Compares two sequences of intervals in seconds, each exact to plus or minus `noise`, place by place. Only as many places as the shorter has;
/// `None` if those are fewer than [`LEAST_INTERVALS`].
#[must_use]
pub fn alike(one: &[f64], other: &[f64], noise: Span) -> Option<Alike> {
    let places = one.len().min(other.len());
    if places < LEAST_INTERVALS {
        return None;
    }
    let (one, other) = (&one[..places], &other[..places]);
    // Each of the two is off by the noise at most.
    let near = 2.0 * noise.duration().as_secs_f64();
    let agree = one.iter().zip(other).filter(|(a, b)| (*a - *b).abs() <= near).count();
    // Growth is no jitter: only the later half, where most laws have reached their cap.
    let late = || one[places / 2..].iter().chain(&other[places / 2..]).copied();
    let spread = late().fold(f64::NEG_INFINITY, f64::max) - late().fold(f64::INFINITY, f64::min);
    Some(match agree as f64 >= ALIKE * places as f64 {
        false => Alike::No,
        true if spread < TELLING * near => Alike::Unknown,
        true => Alike::Yes,
    })
}

#[cfg(test)]
mod tests {
    use super::{Alike, alike};
    use crate::{
        fleet::{Law, Random},
        units::Span,
    };

    fn noise() -> Span {
        "50ms".parse().unwrap()
    }

    fn measured(law: &str, seed: u64, measuring: u64) -> Vec<f64> {
        let law: Law = law.parse().unwrap();
        let delays = law.delays(14, &mut Random::stream(seed, 0));
        let mut random = Random::stream(measuring, 1);
        delays.into_iter().map(|delay| delay + 0.05 * (2.0 * random.unit() - 1.0)).collect()
    }

    #[test]
    fn one_seed_is_told_from_two() {
        let full = "exponential base 300ms factor 2 cap 3s jitter full";
        for seed in 0..500 {
            let (again, another) = (measured(full, seed, 2 * seed + 1), measured(full, seed + 1000, 2 * seed + 1));
            let first = measured(full, seed, 2 * seed);
            assert_eq!(alike(&first, &again, noise()), Some(Alike::Yes), "seed {seed}");
            assert_eq!(alike(&first, &another, noise()), Some(Alike::No), "seed {seed}");
        }
    }

    #[test]
    fn without_jitter_nothing_is_said_about_seeds() {
        for law in [
            "fixed 3s",
            "exponential base 300ms factor 2 cap 3s",
            "exponential base 300ms factor 2 cap 3s jitter proportional 2%",
        ] {
            assert_eq!(alike(&measured(law, 1, 2), &measured(law, 3, 4), noise()), Some(Alike::Unknown), "{law}");
        }
        assert_eq!(alike(&[1.0; 11], &[1.0; 20], noise()), None);
    }
}
