//! One batch of a fleet: devices that share one part of the service.

use super::schedule::{Schedule, State, TICKS, scaled};
use crate::fleet::Random;

/// Ticks per bucket: arrivals are counted and admitted in steps of 100 ms.
pub(super) const BUCKET: u64 = TICKS / 10;
/// Buckets per second.
pub(super) const PER_SECOND: usize = 10;

/// What a batch is told.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) devices: u64,
    /// Ticks.
    pub(super) outage: u64,
    /// Ticks within which devices notice the loss.
    pub(super) spread: u64,
    /// Devices per second that the service admits; none if it admits all.
    pub(super) quota: Option<f64>,
    /// Buckets after the service's return that are simulated.
    pub(super) horizon: usize,
    /// Attempts after which the batch is given up.
    pub(super) most_attempts: u64,
}

/// Counts per bucket since the service's return. As long as the batch needed to be served.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Each device's first attempt.
    pub(super) first: Vec<u32>,
    pub(super) attempts: Vec<u32>,
    pub(super) admitted: Vec<u32>,
    /// Attempts during the outage.
    pub(super) during: u64,
    /// Attempts after it.
    pub(super) after: u64,
    /// Whether it was given up because of [`Task::most_attempts`].
    pub(super) given_up: bool,
}

/// A device between two attempts: when the next one is, in ticks since the return, and the law's state.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    at: u32,
    state: State,
}

/// The service's door. In no second, wherever it begins, it admits more than the quota (rounded up); on the average not more than the
/// quota exactly.
#[derive(Debug)]
struct Door {
    quota: f64,
    credit: f64,
    /// Admitted in each of the last [`PER_SECOND`] buckets.
    recent: [u64; PER_SECOND],
}

impl Door {
    const fn new(quota: f64) -> Self {
        Self { quota, credit: quota, recent: [0; PER_SECOND] }
    }

    /// How many of `arrived` are admitted in the next bucket.
    fn admit(&mut self, bucket: usize, arrived: usize) -> usize {
        if bucket > 0 {
            // One above the quota, or what is left of a device at the end of each second would be lost.
            self.credit = (self.credit + self.quota / PER_SECOND as f64).min(self.quota + 1.0);
        }
        self.recent[bucket % PER_SECOND] = 0;
        let room = (self.quota.ceil() as u64).saturating_sub(self.recent.iter().sum());
        let admitted = room.min(self.credit as u64).min(arrived as u64);
        self.credit -= admitted as f64;
        self.recent[bucket % PER_SECOND] = admitted;
        admitted as usize
    }
}

pub(super) fn simulate(task: &Task<'_>, random: &mut Random) -> Counts {
    match task.quota {
        None => unlimited(task, random),
        Some(quota) => limited(task, Door::new(quota), random),
    }
}

/// First attempt of a new device at or after the return: ticks since then, and its state.
#[inline]
fn arrival(task: &Task<'_>, counts: &mut Counts, random: &mut Random) -> (u64, State) {
    let lost_at = if task.spread == 0 { 0 } else { scaled(random.next(), task.spread) };
    let (at, state, attempts) = task.schedule.through(task.outage, lost_at, random);
    counts.during += attempts;
    (at - task.outage, state)
}

/// Everybody is served at the first attempt.
fn unlimited(task: &Task<'_>, random: &mut Random) -> Counts {
    let mut counts = Counts::default();
    let longest = task.spread + task.schedule.longest();
    let mut first = vec![0_u32; ((longest / BUCKET) as usize + 1).min(task.horizon)];
    for _ in 0..task.devices {
        let (at, _) = arrival(task, &mut counts, random);
        if let Some(bucket) = first.get_mut((at / BUCKET) as usize) {
            *bucket += 1;
            counts.after += 1;
        }
    }
    counts.attempts.clone_from(&first);
    counts.admitted.clone_from(&first);
    counts.first = first;
    counts
}

/// Refused devices go on by their law.
fn limited(task: &Task<'_>, mut door: Door, random: &mut Random) -> Counts {
    let mut counts = Counts::default();
    // A ring of buckets that holds every time that a device can be waiting for.
    let longest = task.spread + task.schedule.longest();
    let slots = ((longest / BUCKET) as usize + 2).min(task.horizon + 1).next_power_of_two();
    let mask = slots - 1;
    let mut ring: Vec<Vec<Waiting>> = vec![Vec::new(); slots];
    let mut left = task.devices;
    for _ in 0..task.devices {
        let (at, state) = arrival(task, &mut counts, random);
        if ((at / BUCKET) as usize) < task.horizon {
            ring[(at / BUCKET) as usize & mask].push(Waiting { at: at as u32, state });
        }
    }
    let mut firsts: Vec<u32> = vec![0; slots];
    for (slot, waiting) in ring.iter().enumerate() {
        firsts[slot] = waiting.len() as u32;
    }
    for bucket in 0..task.horizon {
        // Its memory goes with it: the crowd moves on through the ring, and must not leave room for itself everywhere.
        let mut here = std::mem::take(&mut ring[bucket & mask]);
        let admitted = door.admit(bucket, here.len());
        if 0 < admitted && admitted < here.len() {
            // First come, first served.
            here.select_nth_unstable_by_key(admitted, |waiting| waiting.at);
        }
        let end = (bucket as u64 + 1) * BUCKET;
        let mut attempts = here.len() as u64;
        for waiting in &here[admitted..] {
            let (mut at, mut state) = (u64::from(waiting.at), waiting.state);
            loop {
                at += task.schedule.delay(&mut state, random);
                if at >= end {
                    break;
                }
                // Again in the bucket in which the door has just been shut.
                attempts += 1;
            }
            let next = (at / BUCKET) as usize;
            if next < task.horizon {
                ring[next & mask].push(Waiting { at: at as u32, state });
            }
        }
        counts.first.push(firsts.get(bucket).copied().unwrap_or(0));
        counts.attempts.push(attempts as u32);
        counts.admitted.push(admitted as u32);
        counts.after += attempts;
        left -= admitted as u64;
        if left == 0 {
            break;
        }
        if counts.after > task.most_attempts {
            counts.given_up = true;
            break;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUCKET, Door, PER_SECOND, Random, Schedule, TICKS, Task, simulate};
    use crate::units::Span;

    #[test]
    fn the_door_admits_the_quota_and_no_more() {
        for quota in [1.0, 2.5, 781.25] {
            let mut door = Door::new(quota);
            let admitted: Vec<usize> = (0..10_000).map(|bucket| door.admit(bucket, 100_000)).collect();
            let most = admitted.windows(PER_SECOND).map(|second| second.iter().sum::<usize>()).max().unwrap();
            assert_eq!(most as u64, quota.ceil() as u64);
            let all = admitted.iter().sum::<usize>() as f64;
            assert!((all - quota * 1000.0).abs() <= quota + 1.0, "{quota}: {all}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn nobody_is_lost_and_the_door_is_never_too_wide(
            law in proptest::sample::select(vec![
                "fixed 5s", "exponential base 200ms factor 2 cap 8s", "exponential base 1s factor 2 cap 8s jitter full",
                "exponential base 1s factor 3 cap 8s jitter decorrelated", "fixed 3s jitter additive 25%",
                "exponential base 10ms factor 2 cap 80ms jitter full",
            ]),
            outage in 0_u64..120, spread in 0_u64..60, quota in prop_oneof![Just(None), (1.0..200.0).prop_map(Some)], seed in any::<u64>(),
        ) {
            let schedule = Schedule::new(&law.parse().unwrap(), Span::from_millis(50));
            let task = Task {
                schedule: &schedule, devices: 500, outage: outage * TICKS, spread: spread * TICKS, quota, horizon: 20_000,
                most_attempts: u64::MAX,
            };
            let counts = simulate(&task, &mut Random::new(seed));
            let sum = |list: &[u32]| list.iter().map(|n| u64::from(*n)).sum::<u64>();
            prop_assert_eq!(sum(&counts.first), 500);
            prop_assert_eq!(sum(&counts.admitted), 500);
            prop_assert_eq!(sum(&counts.attempts), counts.after);
            prop_assert!(counts.after >= 500);
            for second in counts.admitted.windows(PER_SECOND) {
                if let Some(quota) = quota {
                    prop_assert!(sum(second) as f64 <= quota.ceil());
                }
            }
            let first_served = counts.admitted.iter().position(|n| *n > 0).unwrap();
            prop_assert!(counts.first[..first_served].iter().all(|n| *n == 0), "the service is idle while somebody asks");
            prop_assert!(first_served as u64 * BUCKET <= spread * TICKS + schedule.longest());
        }
    }

    #[test]
    fn a_batch_that_takes_too_long_is_given_up() {
        let schedule = Schedule::new(&"fixed 1s".parse().unwrap(), Span::from_millis(50));
        let task = Task {
            schedule: &schedule,
            devices: 10_000,
            outage: TICKS,
            spread: 0,
            quota: Some(1.0),
            horizon: 216_000,
            most_attempts: 50_000,
        };
        let counts = simulate(&task, &mut Random::new(1));
        assert!(counts.given_up && counts.after < 70_000);
    }
}
