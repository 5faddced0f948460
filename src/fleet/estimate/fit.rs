//! Competing explanations of intervals, each with its cost: the negative logarithm of its likelihood (per second of interval), plus a
//! price for what was fitted (Schwarz, Estimating the dimension of a model, Ann. Statist. 6, 1978).

use super::{Factor, Range, extremes};

/// Factor of decorrelated jitter as published (Brooker, AWS 2015).
pub(super) const DECORRELATED_FACTOR: f64 = 3.0;
/// Longest rise that is looked for; from 1 s by a factor of 1.1 it reaches 45 s, by 1.5 more than a day.
const MOST_RISING: usize = 40;
/// Factors that people choose, in the order in which they are preferred.
const USUAL: [f64; 4] = [2.0, 1.5, 1.6, 3.0];
/// Difference of log-likelihoods up to which a factor is supported: ln 32 (Royall, Statistical Evidence, 1997: beyond it the evidence
/// against it is strong). The 1.92 of chi squared would be too little: the ends of uniform distributions are no regular parameters.
const SUPPORTED: f64 = 3.47;

/// Cost of delays that do not grow: all within one width.
pub(super) fn steady(intervals: &[f64], noise: f64) -> f64 {
    let (min, max) = extremes(intervals);
    let count = intervals.len() as f64;
    // An observation is uniform over the law's width and the noise on both sides, about.
    let width = (max - min - 2.0 * noise).max(0.0) + 2.0 * noise;
    count * width.ln() + count.ln()
}

/// Delays that grow to a cap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// Intervals below the cap; all of them if the cap was not reached.
    pub(super) rising: usize,
    pub(super) factor: Factor,
    /// Cap over base.
    pub(super) steps: f64,
    pub(super) cost: f64,
}

impl Growth {
    /// Intervals as they would be at the cap.
    pub(super) fn scaled(&self, intervals: &[f64]) -> Vec<f64> {
        let share = |at: usize| (self.factor.value.powi(at as i32) / self.steps).min(1.0);
        intervals.iter().enumerate().map(|(at, interval)| interval / share(at)).collect()
    }
}

/// Delays at the cap, from the end: smallest and largest of the intervals from each place on.
struct Ends {
    least: Vec<f64>,
    most: Vec<f64>,
}

impl Ends {
    fn of(intervals: &[f64]) -> Self {
        let count = intervals.len();
        let (mut least, mut most) = (vec![f64::INFINITY; count + 1], vec![0.0; count + 1]);
        for at in (0..count).rev() {
            least[at] = intervals[at].min(least[at + 1]);
            most[at] = intervals[at].max(most[at + 1]);
        }
        Self { least, most }
    }
}

/// The best explanation by growth, if it is better than [`steady`].
pub(super) fn growth(intervals: &[f64], noise: f64) -> Option<Growth> {
    let ends = Ends::of(intervals);
    let mut factors: Vec<f64> = (0..=58).map(|step| 1.1 + f64::from(step) * 0.05).chain(USUAL).collect();
    // Without jitter the intervals themselves name the factor better than any grid.
    for rising in 1..intervals.len().min(MOST_RISING) {
        factors.push((intervals[rising] / intervals[0]).powf(1.0 / rising as f64));
    }
    // Nobody chooses a factor of more decimals, and it is printed.
    factors.iter_mut().for_each(|factor| *factor = (*factor * 1000.0).round() / 1000.0);
    factors.retain(|factor| (1.05..=10.0).contains(factor));
    let best = |factor: f64| {
        let fits = (2..=intervals.len().min(MOST_RISING)).filter_map(|rising| with(intervals, &ends, noise, rising, factor));
        fits.min_by(|a, b| a.cost.total_cmp(&b.cost))
    };
    let fits: Vec<Growth> = factors.into_iter().filter_map(best).collect();
    let found = fits.iter().min_by(|a, b| a.cost.total_cmp(&b.cost)).copied()?;
    // Below this a short rise is what chance makes of the first intervals.
    if found.cost >= steady(intervals, noise) {
        return None;
    }
    let supported = |fit: &&Growth| fit.cost <= found.cost + SUPPORTED;
    let (low, high) = extremes(&fits.iter().filter(supported).map(|fit| fit.factor.value).collect::<Vec<_>>());
    let is = |fit: &&&Growth, usual: f64| (fit.factor.value - usual).abs() < 1e-9;
    let usual = USUAL.into_iter().find_map(|usual| fits.iter().filter(supported).find(|fit| is(&fit, usual)));
    let chosen = usual.copied().unwrap_or(found);
    Some(Growth { factor: Factor { value: chosen.factor.value, supported: Range { low, high } }, ..chosen })
}

/// The best cap over base for `rising` intervals that grow by `factor`, and its cost.
fn with(intervals: &[f64], ends: &Ends, noise: f64, rising: usize, factor: f64) -> Option<Growth> {
    let count = intervals.len();
    // One interval that is as long as the one before it is no cap.
    if rising + 1 == count {
        return None;
    }
    let growth = |at: usize| factor.powi(at as i32);
    // As multiples of the base: where the law's width must begin and end, the noise allowed for.
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for (at, interval) in intervals[..rising].iter().enumerate() {
        least = least.min((interval + noise) / growth(at));
        most = most.max((interval - noise) / growth(at));
    }
    // Three numbers (split, factor, cap over base) at half a logarithm each, and as much again because they are the best of hundreds.
    let parameters = 3.0 * (count as f64).ln();
    let fit = |steps: f64| {
        let (mut low, mut high) = (least * steps, most * steps);
        if rising < count {
            low = low.min(ends.least[rising] + noise);
            high = high.max(ends.most[rising] - noise);
        }
        let width = (high - low).max(0.0);
        let at_cap = (count - rising) as f64 * (width + 2.0 * noise).ln();
        let below: f64 = (0..rising).map(|at| (width * growth(at) / steps + 2.0 * noise).ln()).sum();
        let factor = Factor { value: factor, supported: Range { low: factor, high: factor } };
        Growth { rising, factor, steps, cost: at_cap + below + parameters }
    };
    if rising == count {
        return Some(fit(growth(count - 1)));
    }
    // The cap is above the last rising delay and not above the next one. Within that, either end of the rising delays meets that of the
    // delays at the cap: between and beyond the likelihood is lower.
    let (above, most_steps) = (growth(rising - 1) * 1.001, growth(rising));
    let aligned = [(ends.least[rising] + noise) / least, (ends.most[rising] - noise) / most];
    let candidates = aligned.into_iter().filter(|steps| steps.is_finite()).chain([most_steps]);
    candidates.map(|steps| fit(steps.clamp(above, most_steps))).min_by(|a, b| a.cost.total_cmp(&b.cost))
}

/// Delays that depend on the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decorrelated {
    pub(super) base: f64,
    pub(super) cap: f64,
    /// Intervals that are as long as the longest one, to the noise.
    pub(super) at_cap: usize,
    pub(super) cost: f64,
}

/// Decorrelated jitter as an explanation, unless an interval is too long after the one before.
///
/// Each delay is uniform from the base to three times the one before, but a share of them is exactly the cap.
pub(super) fn decorrelated(intervals: &[f64], noise: f64) -> Option<Decorrelated> {
    let (base, cap) = extremes(intervals);
    if cap - base <= 0.3 * cap {
        return None;
    }
    let is_cap = |interval: f64| interval >= cap - 2.0 * noise;
    let at_cap = intervals.iter().filter(|interval| is_cap(**interval)).count();
    // One longest interval is no sign of a cap: some interval always is the longest.
    let capped = at_cap >= 2;
    let mut cost = (cap - base).ln() + (intervals.len() as f64).ln();
    if capped {
        // The first interval at the cap is there because the cap was taken from it: that is no evidence.
        cost += ((cap - base) / (2.0 * noise)).ln().max(0.0);
    }
    for pair in intervals.windows(2) {
        let most = DECORRELATED_FACTOR * (pair[0] + noise);
        if pair[1] > most + noise {
            return None;
        }
        let width = (most - base).max(2.0 * noise);
        cost +=
            if capped && is_cap(pair[1]) && most > cap { (2.0 * noise).ln() - ((most - cap) / width).ln() } else { width.ln() };
    }
    Some(Decorrelated { base, cap, at_cap, cost })
}
