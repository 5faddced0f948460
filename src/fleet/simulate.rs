//! A fleet through a common outage.
//!
//! The fleet is simulated in batches, each with its part of the service. Batches are independent, so they give confidence intervals
//! (method of replications: Law, Simulation Modeling and Analysis, 5th ed., section 9.4), run on any number of threads with the same
//! result, and need memory for one batch per thread only.

mod batch;
mod schedule;

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::Serialize;
use thiserror::Error;

use super::{Law, Random, Share, order};
use crate::units::Span;
use batch::{BUCKET, Counts, PER_SECOND, Task};
use schedule::{Schedule, TICKS, ticks};

/// Smallest fleet: below it a share of the fleet says nothing.
pub const LEAST_DEVICES: u64 = 1_000;
/// Largest fleet.
pub const MOST_DEVICES: u64 = 100_000_000;
/// Longest outage.
pub const LONGEST_OUTAGE: Span = Span::from_secs(7 * 24 * 3600);
/// How long after the service's return the fleet is followed.
pub const HORIZON: Span = Span::from_secs(6 * 3600);
/// Longest noise and spread.
const LONGEST_NOISE: Span = Span::from_secs(10);
const LONGEST_SPREAD: Span = Span::from_secs(3600);

/// Devices in a batch, at least; smaller fleets are simulated whole, several times.
const BATCH: u64 = 50_000;
const LEAST_BATCHES: u64 = 8;
const MOST_BATCHES: u64 = 64;
/// Attempts that are simulated one by one, at most: minutes of two cores.
const MOST_ATTEMPTS: f64 = 4e10;

/// A fleet and what it goes through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// Devices.
    pub devices: u64,
    /// How long the service is away. All devices lose it at the same moment.
    pub outage: Span,
    /// Share of the fleet that the service admits per second after its return. Zero: no limit.
    pub capacity: Share,
    /// Every delay is longer or shorter by up to this, uniformly: clocks, networks and processors are not exact.
    pub noise: Span,
    /// Devices notice the loss within this time, uniformly. Zero for a service that says goodbye (RST, FIN); the keep-alive time for
    /// one that falls silent.
    pub spread: Span,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 for one per core. Does not change the result.
    pub threads: usize,
}

/// Why a fleet cannot be simulated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum FleetError {
    /// Too few or too many devices.
    #[error("{0} devices: simulate from {LEAST_DEVICES} to {MOST_DEVICES}")]
    Devices(u64),
    /// The outage is too long.
    #[error("an outage of {0}: simulate at most {LONGEST_OUTAGE}; most laws have forgotten its length after their cap")]
    Outage(Span),
    /// Noise or spread is too long.
    #[error("{what} {value}: at most {most}")]
    TooLong {
        /// What.
        what: &'static str,
        /// As given.
        value: Span,
        /// Longest.
        most: Span,
    },
    /// The capacity is less than one device per second.
    #[error("a capacity of {0} per second is less than one device of {1}: give more capacity, more devices, or 0% for no limit")]
    Capacity(Share, u64),
    /// It would take too long.
    #[error(
        "about {0:.0} attempts per device fall into the outage, which decorrelated jitter needs one by one: simulate fewer devices or \
         a shorter outage"
    )]
    Attempts(f64),
}

/// A number and its 95 % confidence interval. The interval is about the simulation's chance only: it takes the law as given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// Best estimate.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// The second in which most arrive, wherever it begins (in steps of 100 ms).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WorstSecond {
    /// Share of the fleet that arrives in it.
    pub share: Figure,
    /// Where it begins, in seconds after the service's return.
    pub begins_s: f64,
}

/// When a share of the fleet is served.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Served {
    /// Share of the fleet.
    pub share: f64,
    /// Seconds after the service's return; nothing if not within [`HORIZON`] (or if the simulation was given up).
    pub after_s: Option<Figure>,
}

/// What becomes of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Worst second of first attempts: what would arrive if the service admitted everybody.
    pub first_attempts: WorstSecond,
    /// Worst second of all attempts, those of refused devices included.
    pub all_attempts: WorstSecond,
    /// Time until 50, 90 and 99 % are served.
    pub served: [Served; 3],
    /// Attempts per device during the outage.
    pub attempts_during: f64,
    /// Attempts per device after it, the one that is served included.
    pub attempts_after: f64,
    /// Devices that were simulated, all replicates together.
    pub simulated: u64,
    /// Independent batches behind the confidence intervals.
    pub batches: u64,
    /// Whether a batch was given up because it made too many attempts; then the times to serve are lower bounds.
    pub given_up: bool,
}

/// Whether a limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// The whole interval is within the limit.
    Yes,
    /// The limit is within the interval.
    Undecided,
    /// The whole interval is beyond the limit.
    No,
}

impl Holds {
    /// Of an interval, bounds included, against an upper limit.
    #[must_use]
    pub fn at_most(limit: f64, low: f64, high: f64) -> Self {
        if high <= limit {
            Self::Yes
        } else if low > limit {
            Self::No
        } else {
            Self::Undecided
        }
    }
}

impl Outcome {
    /// Time until 99 % are served, in seconds. Infinite bounds where the fleet is not served within [`HORIZON`].
    #[must_use]
    pub fn drain(&self) -> Figure {
        let [.., Served { after_s, .. }] = self.served;
        let seconds = HORIZON.duration().as_secs_f64();
        // Not served within the horizon is known; when a batch was given up earlier, not even that is.
        let low = if self.given_up { 0.0 } else { seconds };
        after_s.unwrap_or(Figure { value: f64::INFINITY, low, high: f64::INFINITY })
    }
}

/// How a fleet is cut into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Each batch is a part of the fleet; results are those of all together.
    Parts(u64),
    /// Each batch is a whole fleet; results are the means.
    Replicates(u64),
}

impl Cut {
    const fn of(devices: u64) -> Self {
        match devices / BATCH {
            0..LEAST_BATCHES => Self::Replicates(LEAST_BATCHES),
            parts if parts < MOST_BATCHES => Self::Parts(parts),
            _ => Self::Parts(MOST_BATCHES),
        }
    }

    const fn batches(self) -> u64 {
        match self {
            Self::Parts(batches) | Self::Replicates(batches) => batches,
        }
    }

    /// Devices of one batch.
    const fn devices(self, fleet: u64, batch: u64) -> u64 {
        match self {
            Self::Parts(parts) => fleet / parts + if batch < fleet % parts { 1 } else { 0 },
            Self::Replicates(_) => fleet,
        }
    }
}

/// Simulates `fleet` under `law`.
///
/// # Errors
/// If the fleet or its outage is out of range.
pub fn simulate(law: &Law, fleet: &Fleet) -> Result<Outcome, FleetError> {
    cut_and_simulate(law, fleet, Cut::of(fleet.devices))
}

/// Simulates the whole of a small fleet once: random numbers of its own, no confidence intervals.
pub(super) fn once(law: &Law, fleet: &Fleet, number: u64) -> Result<Outcome, FleetError> {
    let fleet = Fleet { seed: fleet.seed.wrapping_add(number), ..*fleet };
    cut_and_simulate(law, &fleet, Cut::Replicates(1))
}

fn cut_and_simulate(law: &Law, fleet: &Fleet, cut: Cut) -> Result<Outcome, FleetError> {
    let schedule = checked(law, fleet)?;
    let batches = cut.batches();
    let run = |batch: u64| {
        let devices = cut.devices(fleet.devices, batch);
        let task = Task {
            schedule: &schedule,
            devices,
            outage: ticks(fleet.outage),
            spread: ticks(fleet.spread),
            quota: (fleet.capacity > Share::ZERO).then(|| fleet.capacity.fraction() * devices as f64),
            horizon: (ticks(HORIZON) / BUCKET) as usize,
            most_attempts: (MOST_ATTEMPTS / batches as f64) as u64,
        };
        batch::simulate(&task, &mut Random::stream(fleet.seed, batch))
    };
    let counts = in_threads(fleet.threads, batches as usize, |batch| run(batch as u64));
    let devices: Vec<f64> = (0..batches).map(|batch| cut.devices(fleet.devices, batch) as f64).collect();
    Ok(outcome(cut, &counts, &devices))
}

fn checked(law: &Law, fleet: &Fleet) -> Result<Schedule, FleetError> {
    if !(LEAST_DEVICES..=MOST_DEVICES).contains(&fleet.devices) {
        return Err(FleetError::Devices(fleet.devices));
    }
    if fleet.outage > LONGEST_OUTAGE {
        return Err(FleetError::Outage(fleet.outage));
    }
    for (what, value, most) in [("noise", fleet.noise, LONGEST_NOISE), ("spread", fleet.spread, LONGEST_SPREAD)] {
        if value > most {
            return Err(FleetError::TooLong { what, value, most });
        }
    }
    if fleet.capacity > Share::ZERO && fleet.capacity.fraction() * (fleet.devices as f64) < 1.0 {
        return Err(FleetError::Capacity(fleet.capacity, fleet.devices));
    }
    let schedule = Schedule::new(law, fleet.noise);
    let attempts = schedule.drawn_attempts(ticks(fleet.outage));
    if attempts * fleet.devices as f64 > MOST_ATTEMPTS {
        return Err(FleetError::Attempts(attempts));
    }
    Ok(schedule)
}

/// `job(0)`, `job(1)`, ... in order, done by several threads.
pub(super) fn in_threads<T: Send>(threads: usize, jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = if threads == 0 { cores } else { threads }.min(jobs).max(1);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= jobs {
                return done;
            }
            done.push((number, job(number)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                // A defect of this module; it must not look like a smaller fleet.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn outcome(cut: Cut, counts: &[Counts], devices: &[f64]) -> Outcome {
    let all: f64 = devices.iter().sum();
    let worst = |list: &dyn Fn(&Counts) -> &Vec<u32>| {
        let lists: Vec<&Vec<u32>> = counts.iter().map(list).collect();
        worst_second(cut, &lists, devices)
    };
    let served = |share: f64| {
        let lists: Vec<&Vec<u32>> = counts.iter().map(|counts| &counts.admitted).collect();
        Served { share, after_s: served_after(cut, &lists, devices, share) }
    };
    let per_device = |count: &dyn Fn(&Counts) -> u64| counts.iter().map(count).sum::<u64>() as f64 / all;
    Outcome {
        first_attempts: worst(&|counts| &counts.first),
        all_attempts: worst(&|counts| &counts.attempts),
        served: [0.5, 0.9, 0.99].map(served),
        attempts_during: per_device(&|counts| counts.during),
        attempts_after: per_device(&|counts| counts.after),
        simulated: all as u64,
        batches: cut.batches(),
        given_up: counts.iter().any(|counts| counts.given_up),
    }
}

/// Sum over batches, bucket by bucket.
fn pooled(lists: &[&Vec<u32>]) -> Vec<u64> {
    let mut sums = vec![0; lists.iter().map(|list| list.len()).max().unwrap_or(0)];
    for list in lists {
        for (sum, count) in sums.iter_mut().zip(*list) {
            *sum += u64::from(*count);
        }
    }
    sums
}

/// First bucket of the fullest second, and how many fall into it.
fn fullest(list: &[u64]) -> (usize, u64) {
    let mut best = (0, 0);
    let mut sum = 0;
    for (bucket, count) in list.iter().enumerate() {
        sum += count;
        if bucket >= PER_SECOND {
            sum -= list[bucket - PER_SECOND];
        }
        if sum > best.1 {
            best = ((bucket + 1).saturating_sub(PER_SECOND), sum);
        }
    }
    best
}

fn seconds(bucket: usize) -> f64 {
    bucket as f64 / PER_SECOND as f64
}

/// Parts: the fullest second of the whole, and how much its share differs among the parts. Replicates: the mean of each one's fullest
/// second.
fn worst_second(cut: Cut, lists: &[&Vec<u32>], devices: &[f64]) -> WorstSecond {
    let (begins, count) = fullest(&pooled(lists));
    let in_it = |list: &Vec<u32>| list.iter().skip(begins).take(PER_SECOND).map(|count| u64::from(*count)).sum::<u64>();
    let own = |list: &Vec<u32>| fullest(&pooled(&[list])).1;
    let shares: Vec<f64> = lists
        .iter()
        .zip(devices)
        .map(|(list, devices)| match cut {
            Cut::Parts(_) => in_it(list) as f64 / devices,
            Cut::Replicates(_) => own(list) as f64 / devices,
        })
        .collect();
    let value = match cut {
        Cut::Parts(_) => count as f64 / devices.iter().sum::<f64>(),
        Cut::Replicates(_) => shares.iter().sum::<f64>() / shares.len() as f64,
    };
    let half = order::half_width(&shares).unwrap_or(1.0);
    WorstSecond { share: Figure { value, low: (value - half).max(0.0), high: value + half }, begins_s: seconds(begins) }
}

/// Buckets until `share` of `devices` is admitted.
fn buckets_until(list: &[u64], devices: f64, share: f64) -> Option<usize> {
    let wanted = (share * devices).ceil() as u64;
    let mut sum = 0;
    let at = list.iter().position(|count| {
        sum += count;
        sum >= wanted
    });
    // Served at the end of the bucket.
    at.map(|bucket| bucket + 1)
}

/// Parts: from the whole, with an interval from the parts. Replicates: the mean.
fn served_after(cut: Cut, lists: &[&Vec<u32>], devices: &[f64], share: f64) -> Option<Figure> {
    let own: Vec<Option<f64>> =
        lists.iter().zip(devices).map(|(list, devices)| buckets_until(&pooled(&[list]), *devices, share).map(seconds)).collect();
    let value = match cut {
        Cut::Parts(_) => seconds(buckets_until(&pooled(lists), devices.iter().sum(), share)?),
        Cut::Replicates(_) => own.iter().copied().sum::<Option<f64>>()? / own.len() as f64,
    };
    let horizon = HORIZON.duration().as_secs_f64();
    // Times are known to one bucket at best. If a part is not served in time, its time is only known to be longer.
    let half = own.into_iter().collect::<Option<Vec<f64>>>().and_then(|own| order::half_width(&own));
    let half = half.map(|half| half.max(BUCKET as f64 / TICKS as f64));
    Some(Figure { value, low: (value - half.unwrap_or(value)).max(0.0), high: half.map_or(horizon, |half| value + half) })
}

#[cfg(test)]
mod tests {
    use super::{Cut, FleetError, Holds, Law, MOST_DEVICES, Outcome, Share, Span, fullest, simulate};
    use crate::fleet::Fleet;

    fn fleet(devices: u64, outage: u64, capacity: &str) -> Fleet {
        Fleet {
            devices,
            outage: Span::from_secs(outage),
            capacity: capacity.parse().unwrap(),
            noise: Span::from_millis(50),
            spread: Span::default(),
            seed: 1,
            threads: 0,
        }
    }

    fn law(text: &str) -> Law {
        text.parse().unwrap()
    }

    fn outcome(text: &str, outage: u64, capacity: &str) -> Outcome {
        simulate(&law(text), &fleet(100_000, outage, capacity)).unwrap()
    }

    fn near(found: f64, expected: f64, tolerance: f64) -> bool {
        (found / expected - 1.0).abs() <= tolerance
    }

    /// The share of a renewal process's arrivals in the first second after a long outage is one over the mean delay.
    #[test]
    fn the_peak_of_full_jitter_is_the_density_of_the_residual_life() {
        for (text, mean) in [
            ("exponential base 1s factor 2 cap 128s jitter full", 64.0),
            ("exponential base 1s factor 2 cap 128s jitter equal", 96.0),
            ("fixed 10s jitter subtractive 100%", 5.0),
        ] {
            let peak = outcome(text, 7200, "0%").first_attempts;
            // The largest of many seconds with about 1000 arrivals each is some percent above their mean.
            assert!(near(peak.share.value, 1.0 / mean, 0.13), "{text}: {peak:?}");
        }
    }

    /// A fixed delay leaves the fleet together: the noise of k attempts has a deviation of 0.1 s sqrt(k/12).
    #[test]
    fn the_peak_of_a_fixed_delay_is_what_noise_leaves() {
        // 2 Φ(0.5/σ) - 1 for k = 54, 361, 721. After exactly an hour the crowd of a 10 s law would stand astride the return and be parted.
        for (text, share) in [("fixed 67s", 0.9815), ("fixed 10s", 0.638), ("fixed 5s", 0.481)] {
            let peak = outcome(text, 3602, "0%").first_attempts.share;
            assert!(near(peak.value, share, 0.02), "{text}: {peak:?}");
        }
        assert!(near(outcome("fixed 67s", 60, "0%").first_attempts.share.value, 1.0, 1e-9));
    }

    /// The service is the bottleneck if enough come: 99 % at 0.5 % per second are 198 s.
    #[test]
    fn a_spread_fleet_is_served_as_fast_as_the_service_can() {
        let full = outcome("exponential base 1s factor 2 cap 128s jitter full", 3600, "0.5%");
        let drain = full.drain();
        assert!((198.0..280.0).contains(&drain.value) && drain.low <= drain.value && drain.value <= drain.high, "{drain:?}");
        let [half, most, all] = full.served.map(|served| served.after_s.unwrap().value);
        assert!(half < most && most < all && half >= 99.0);
        let fixed = outcome("fixed 67s", 3600, "0.5%");
        assert!(fixed.drain().low > 10.0 * drain.high, "{fixed:?}");
        assert!(fixed.attempts_after > 10.0 * full.attempts_after);
    }

    #[test]
    fn threads_do_not_change_the_result() {
        for devices in [10_000, 450_001] {
            let run = |threads| {
                simulate(&law("exponential base 1s factor 2 cap 16s jitter full"), &Fleet { threads, ..fleet(devices, 60, "5%") })
            };
            let one = run(1).unwrap();
            assert_eq!(one, run(2).unwrap());
            assert_eq!(one, run(7).unwrap());
        }
    }

    #[test]
    fn another_seed_is_another_fleet_with_the_same_law() {
        let run = |seed| simulate(&law("fixed 10s jitter full"), &Fleet { seed, ..fleet(100_000, 600, "1%") }).unwrap();
        let (a, b) = (run(1), run(2));
        assert_ne!(a, b);
        assert!((a.drain().value - b.drain().value).abs() < 5.0);
    }

    /// Parts of a large fleet behave like the whole of a small one.
    #[test]
    fn shares_do_not_depend_on_the_size_of_the_fleet() {
        let run = |devices| simulate(&law("fixed 20s jitter proportional 5%"), &fleet(devices, 600, "0.5%")).unwrap();
        let (small, large) = (run(50_000), run(800_000));
        assert!(near(small.drain().value, large.drain().value, 0.02), "{small:?} {large:?}");
        assert!(near(small.all_attempts.share.value, large.all_attempts.share.value, 0.05));
        assert_eq!((small.batches, large.batches), (8, 16));
    }

    #[test]
    fn intervals_cover_the_truth() {
        // For a saturated service the drain time hardly varies; the peak of 8 replicates against that of many.
        let run = |seed| simulate(&law("fixed 30s jitter full"), &Fleet { seed, ..fleet(5_000, 900, "0%") }).unwrap();
        let peaks: Vec<_> = (0..60).map(|seed| run(seed).first_attempts.share).collect();
        let truth = peaks.iter().map(|peak| peak.value).sum::<f64>() / 60.0;
        let covered = peaks.iter().filter(|peak| (peak.low..=peak.high).contains(&truth)).count();
        assert!(covered >= 52, "{covered} of 60 intervals hold the mean");
    }

    #[test]
    fn a_fleet_that_is_never_served_says_so() {
        let never = outcome("fixed 1h", 60, "0.01%");
        assert_eq!(never.served[2].after_s, None);
        assert_eq!(Holds::at_most(600.0, never.drain().low, never.drain().high), Holds::No);
        let late = outcome("fixed 12h", 60, "0%");
        assert_eq!((late.served[0].after_s, late.first_attempts.share.value), (None, 0.0));
    }

    #[test]
    fn what_cannot_be_simulated_is_refused() {
        let refused = |text: &str, fleet: &Fleet| simulate(&law(text), fleet).unwrap_err();
        let good = fleet(10_000, 60, "1%");
        assert_eq!(refused("fixed 1s", &Fleet { devices: 10, ..good }), FleetError::Devices(10));
        assert!(matches!(refused("fixed 1s", &Fleet { outage: Span::from_secs(1_000_000), ..good }), FleetError::Outage(_)));
        assert!(matches!(refused("fixed 1s", &Fleet { noise: Span::from_secs(11), ..good }), FleetError::TooLong { .. }));
        assert!(matches!(refused("fixed 1s", &Fleet { capacity: Share::from_fraction(1e-5), ..good }), FleetError::Capacity(..)));
        let long = Fleet { devices: MOST_DEVICES, outage: Span::from_secs(86_400), ..good };
        let decorrelated = "exponential base 10ms factor 3 cap 1s jitter decorrelated";
        assert!(matches!(refused(decorrelated, &long), FleetError::Attempts(_)));
    }

    #[test]
    fn batches_make_up_the_fleet() {
        for devices in [1_000, 399_999, 400_000, 3_200_001, 10_000_000] {
            let cut = Cut::of(devices);
            let sum: u64 = (0..cut.batches()).map(|batch| cut.devices(devices, batch)).sum();
            match cut {
                Cut::Parts(_) => assert_eq!(sum, devices),
                Cut::Replicates(count) => assert_eq!(sum, count * devices),
            }
        }
    }

    #[test]
    fn the_fullest_second_may_begin_anywhere() {
        assert_eq!(fullest(&[]), (0, 0));
        assert_eq!(fullest(&[3]), (0, 3));
        let mut list = vec![0; 40];
        list[14] = 5;
        list[23] = 5;
        list[30] = 9;
        assert_eq!(fullest(&list), (21, 14));
        assert_eq!(Holds::at_most(5.0, 1.0, 5.0), Holds::Yes);
        assert_eq!(Holds::at_most(5.0, 5.0, 6.0), Holds::Undecided);
        assert_eq!(Holds::at_most(5.0, 5.1, 6.0), Holds::No);
    }
}
