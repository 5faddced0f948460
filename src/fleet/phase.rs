//! Whether a device that starts anew without its service does so at a time of its own.
//!
//! A watchdog that counts from the last success is set off by a common outage in all devices of a fleet at once, and their service meets all of
//! them when they come up (catalogue NET-61). One device tells from several outages: its times vary, or they do not.

use super::Share;
use crate::units::Span;

/// Fewest outages that can tell. Times that are drawn evenly from zero to some longest one lie within 20 % of it in fewer than 2 of 100,000 such
/// series of eight (0.2^7).
pub const LEAST_OUTAGES: usize = 8;

/// What the times say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// The device did not start anew in any outage. With 95 % confidence it does so in at most this share of them.
    Never {
        /// 1 - 0.05^(1/n) for n outages (Clopper and Pearson, 1934).
        at_most: f64,
    },
    /// Its times vary by this share of the longest.
    Spread(f64),
    /// They vary by no more than this share of the longest, which is too little.
    Locked(f64),
    /// So few times cannot tell: this many in which it started anew, of so many outages.
    Unclear {
        /// Outages in which it started anew.
        restarts: usize,
        /// Outages.
        outages: usize,
        /// Share of the longest by which they vary.
        width: f64,
    },
}

/// Judges times in seconds from the beginning of each outage to the device's start, `None` where it did not start anew; each exact to plus or
/// minus `noise`. They have to vary by `least` of the longest.
#[must_use]
pub fn phase(times: &[Option<f64>], noise: Span, least: Share) -> Phase {
    let outages = times.len();
    let seen: Vec<f64> = times.iter().copied().flatten().collect();
    let longest = seen.iter().copied().fold(0.0, f64::max);
    let shortest = seen.iter().copied().fold(f64::INFINITY, f64::min);
    let width = if longest > 0.0 { (longest - shortest) / longest } else { 0.0 };
    let unclear = Phase::Unclear { restarts: seen.len(), outages, width };
    if outages < LEAST_OUTAGES {
        return unclear;
    }
    if seen.is_empty() {
        return Phase::Never { at_most: 1.0 - 0.05_f64.powf(1.0 / outages as f64) };
    }
    if seen.len() < LEAST_OUTAGES {
        return unclear;
    }
    let off = if longest > 0.0 { 2.0 * noise.duration().as_secs_f64() / longest } else { 1.0 };
    if width - off >= least.fraction() {
        Phase::Spread(width)
    } else if width + off < least.fraction() {
        Phase::Locked(width)
    } else {
        unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Random;

    fn judged(times: &[Option<f64>]) -> Phase {
        phase(times, "100ms".parse().unwrap(), "20%".parse().unwrap())
    }

    #[test]
    fn a_fixed_time_is_locked_and_a_drawn_one_is_not() {
        let mut wrong = 0;
        for seed in 0..2000 {
            let mut random = Random::stream(seed, 0);
            let fixed: Vec<_> = (0..8).map(|_| Some(4.0 + 0.2 * (2.0 * random.unit() - 1.0))).collect();
            assert!(matches!(judged(&fixed), Phase::Locked(_)), "seed {seed}: {fixed:?}");
            let drawn: Vec<_> = (0..8).map(|_| Some(10.0 * random.unit())).collect();
            assert!(!matches!(judged(&drawn), Phase::Locked(_)), "seed {seed}: {drawn:?}");
            wrong += usize::from(!matches!(judged(&drawn), Phase::Spread(_)));
        }
        assert!(wrong <= 2, "{wrong} of 2000 cannot be told");
    }

    #[test]
    fn a_device_that_never_starts_anew_has_a_bound() {
        let Phase::Never { at_most } = judged(&[None; 8]) else { panic!() };
        assert!((at_most - 0.3123).abs() < 1e-3, "{at_most}");
    }

    #[test]
    fn too_few_times_tell_nothing() {
        assert!(matches!(judged(&[Some(4.0); 7]), Phase::Unclear { restarts: 7, outages: 7, .. }));
        assert!(matches!(judged(&[None; 7]), Phase::Unclear { restarts: 0, outages: 7, .. }));
        let mut some = vec![Some(4.0); 7];
        some.push(None);
        assert!(matches!(judged(&some), Phase::Unclear { restarts: 7, outages: 8, .. }));
        // At the limit, within what measuring adds.
        let mut near = vec![Some(4.0); 7];
        near.push(Some(4.95));
        assert!(matches!(judged(&near), Phase::Unclear { restarts: 8, .. }));
    }
}
