//! A law in the form in which ten million devices follow it: whole ticks, no branches on its kind.

use crate::{
    fleet::{Jitter, Law, Random},
    units::Span,
};

/// Ticks per second: times are whole numbers of 100 µs.
pub(super) const TICKS: u64 = 10_000;

/// As ticks, rounded down.
pub(super) const fn ticks(span: Span) -> u64 {
    span.smallest() / (1_000_000_000 / TICKS)
}

fn ticks_of(seconds: f64) -> u64 {
    // Not negative; `as` saturates.
    (seconds * TICKS as f64).round() as u64
}

/// What a device must remember between attempts: the number of the attempt, or the delay before, in ticks.
pub(super) type State = u32;

/// Uniform delays: from `low`, `width` wide.
#[derive(Debug, Clone, Copy)]
struct Step {
    low: u64,
    width: u64,
}

/// When many delays may be drawn as one: their bounds, mean and deviation.
#[derive(Debug, Clone, Copy)]
struct Jump {
    longest: u64,
    mean: f64,
    deviation: f64,
}

impl Jump {
    fn new(step: Step, noise: u64) -> Self {
        let (width, noisy) = (step.width as f64, 2.0 * noise as f64);
        Self {
            longest: (step.low + step.width + noise).max(1),
            mean: step.low as f64 + width / 2.0,
            // The variance of a uniform number is its squared width over 12.
            deviation: ((width * width + noisy * noisy) / 12.0).sqrt(),
        }
    }
}

/// Fewest attempts that are drawn as one: from there on their sum is as normal as [`Random::normal`].
const LEAST_JUMP: u64 = 64;

/// A law and its noise, in ticks.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The delays before attempts 0, 1, ...; the last is that of all later ones.
    steps: Vec<Step>,
    /// Base, factor and cap, if delays depend on the delay before.
    decorrelated: Option<(u64, f64, u64)>,
    /// Each delay is longer or shorter by at most this.
    noise: u64,
    jump: Option<Jump>,
}

impl Schedule {
    pub(super) fn new(law: &Law, noise: Span) -> Self {
        let step = |attempt| {
            let (low, high) = law.bounds(attempt);
            Step { low: ticks_of(low), width: ticks_of(high) - ticks_of(low) }
        };
        let steps: Vec<Step> = (0..=law.attempts_to_cap()).map(step).collect();
        let decorrelated = (law.jitter() == Jitter::Decorrelated).then(|| (ticks(law.base()), law.factor(), ticks(law.cap())));
        let noise = ticks(noise);
        let jump = steps.last().filter(|_| decorrelated.is_none()).map(|step| Jump::new(*step, noise));
        Self { steps, decorrelated, noise, jump }
    }

    /// State of a device that has just lost the service.
    pub(super) fn fresh(&self) -> State {
        self.decorrelated.map_or(0, |(base, ..)| base as State)
    }

    /// Longest delay.
    pub(super) fn longest(&self) -> u64 {
        let law = match self.decorrelated {
            Some((.., cap)) => cap,
            None => self.steps.iter().map(|step| step.low + step.width).max().unwrap_or(0),
        };
        law + self.noise
    }

    /// About how many attempts a device makes in `duration`, all drawn one by one.
    pub(super) fn drawn_attempts(&self, duration: u64) -> f64 {
        let mean = match self.decorrelated {
            Some((base, _, cap)) => (base + cap) as f64 / 2.0,
            None => return (2 * LEAST_JUMP) as f64,
        };
        duration as f64 / mean.max(1.0)
    }

    /// The next delay; at least one tick.
    #[inline]
    pub(super) fn delay(&self, state: &mut State, random: &mut Random) -> u64 {
        let word = random.next();
        let law = match self.decorrelated {
            None => {
                let last = self.steps.len() - 1;
                let step = self.steps[(*state as usize).min(last)];
                *state = (*state + 1).min(last as State);
                step.low + scaled(word, step.width)
            }
            Some((base, factor, cap)) => {
                let most = (f64::from(*state) * factor) as u64;
                let delay = (base + scaled(word, most.saturating_sub(base))).min(cap);
                *state = delay as State;
                delay
            }
        };
        // The low bits hardly touch the delay above, which takes the word as a fraction.
        let noise = (word & 0xF_FFFF) * (2 * self.noise + 1) >> 20;
        (law + noise).saturating_sub(self.noise).max(1)
    }

    /// Time and state of a device's first attempt at or after `outage`, and how many it made before.
    #[inline]
    pub(super) fn through(&self, outage: u64, lost_at: u64, random: &mut Random) -> (u64, State, u64) {
        let (mut at, mut state, mut attempts) = (lost_at, self.fresh(), 0);
        loop {
            if let Some(jump) = self.jump
                && state as usize == self.steps.len() - 1
            {
                // As many attempts as certainly fall into what is left of the outage.
                let count = outage.saturating_sub(at) / jump.longest;
                if count >= LEAST_JUMP {
                    let sum = count as f64 * jump.mean + random.normal() * (count as f64).sqrt() * jump.deviation;
                    at += (sum as u64).clamp(count, count * jump.longest);
                    attempts += count;
                    continue;
                }
            }
            at += self.delay(&mut state, random);
            if at >= outage {
                return (at, state, attempts);
            }
            attempts += 1;
        }
    }
}

/// `word`, taken as a fraction of one, times `width`.
#[inline]
pub(super) const fn scaled(word: u64, width: u64) -> u64 {
    (word as u128 * width as u128 >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::{Random, Schedule, Span, TICKS, ticks};

    fn schedule(law: &str, noise: u64) -> Schedule {
        Schedule::new(&law.parse().unwrap(), Span::from_millis(noise))
    }

    #[test]
    fn delays_are_those_of_the_law() {
        for (law, expected) in [
            ("exponential base 1s factor 2 cap 100s", [1.0, 2.0, 4.0, 100.0]),
            ("exponential base 1s factor 2 cap 100s jitter full", [0.5, 1.0, 2.0, 50.0]),
            ("exponential base 1s factor 2 cap 100s jitter equal", [0.75, 1.5, 3.0, 75.0]),
            ("exponential base 1s factor 2 cap 100s jitter additive 50%", [1.25, 2.5, 5.0, 125.0]),
        ] {
            let schedule = schedule(law, 50);
            let mut sums = [0.0; 10];
            let count = 20_000;
            let mut random = Random::new(3);
            for _ in 0..count {
                let mut state = schedule.fresh();
                for sum in &mut sums {
                    *sum += schedule.delay(&mut state, &mut random) as f64 / TICKS as f64 / f64::from(count);
                }
            }
            for (found, expected) in [sums[0], sums[1], sums[2], sums[9]].into_iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 0.02, "{law}: {sums:?}");
            }
        }
    }

    /// Drawing many delays as one changes neither mean nor spread of when the first attempt after the outage comes.
    #[test]
    fn jumps_are_like_single_steps() {
        for law in ["fixed 1s", "fixed 1s jitter proportional 20%", "exponential base 1s factor 2 cap 2s jitter full"] {
            let schedule = schedule(law, 50);
            let outage = 300 * TICKS;
            let jumped = |random: &mut Random| schedule.through(outage, 0, random);
            let walked = |random: &mut Random| {
                let (mut at, mut state, mut attempts) = (0, schedule.fresh(), 0);
                loop {
                    at += schedule.delay(&mut state, random);
                    if at >= outage {
                        return (at, state, attempts);
                    }
                    attempts += 1;
                }
            };
            let moments = |draw: &dyn Fn(&mut Random) -> (u64, u32, u64)| {
                let mut random = Random::new(5);
                let all: Vec<_> = (0..20_000).map(|_| draw(&mut random)).collect();
                let of = |value: &dyn Fn(&(u64, u32, u64)) -> f64| {
                    let mean = all.iter().map(value).sum::<f64>() / all.len() as f64;
                    (mean, (all.iter().map(|x| (value(x) - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt())
                };
                [of(&|x| (x.0 - outage) as f64 / TICKS as f64), of(&|x| x.2 as f64)]
            };
            let (one, many) = (moments(&walked), moments(&jumped));
            for (a, b) in one.iter().zip(many) {
                assert!(
                    (a.0 - b.0).abs() < 0.05 * a.1.max(0.2) && (a.1 - b.1).abs() < 0.05 * a.1.max(0.2),
                    "{law}: {one:?} {many:?}"
                );
            }
        }
    }

    #[test]
    fn ticks_are_a_tenth_of_a_millisecond() {
        assert_eq!(ticks(Span::from_millis(50)), 500);
        assert_eq!(schedule("fixed 67s", 50).longest(), 670_500);
        assert_eq!(schedule("exponential base 1s factor 3 cap 100s jitter decorrelated", 0).longest(), 1_000_000);
    }
}
