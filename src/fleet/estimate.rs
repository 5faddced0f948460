//! The law behind measured intervals, and what they cannot tell.
//!
//! The intervals are those between the starts of consecutive attempts of one device in one outage, in order. Three explanations compete
//! by their likelihood ([`fit`]): delays that do not grow, delays that grow to a cap, decorrelated jitter. The width of the jitter is
//! then read from the intervals at the cap, by order statistics of uniform samples (`order`).

mod fit;

use serde::Serialize;
use thiserror::Error;

use super::{Jitter, LONGEST, Law, LawError, SHORTEST, Share, order};
use crate::units::Span;

/// Fewest intervals. With twelve at the cap the widths of the usual policies do not overlap; with fewer they do.
pub const LEAST_INTERVALS: usize = 12;
/// Most intervals: the search tries every split of them.
pub const MOST_INTERVALS: usize = 10_000;
/// Confidence of [`JitterWidth::interval`].
const CONFIDENCE: f64 = 0.95;
/// A class is compatible with a width that is not among its half percent least likely on either side.
const BAND: (f64, f64) = (0.005, 0.995);
/// Widest jitter that is called narrow: that of `additive 25%` and less is 20 % of the longest delay, a little above is still like it.
const NARROW: f64 = 0.25;
/// Natural logarithm of the likelihood ratio (about 150) from which one explanation is preferred without doubt. More than the usual 20,
/// because the best growth is chosen among hundreds.
const DECISIVE: f64 = 5.0;

/// From the smallest to the largest value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

/// Classes of jitter that intervals can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassName {
    /// No more than the noise.
    None,
    /// At most 25 % of the longest delay: proportional, subtractive and additive jitter, which look the same at the cap.
    Narrow,
    /// Half of the longest delay.
    Equal,
    /// All of it.
    Full,
    /// Each delay depends on the one before.
    Decorrelated,
    /// A width that none of the usual policies has.
    Other,
}

/// Which class the intervals speak for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Classification {
    /// The most likely one.
    pub class: ClassName,
    /// Others that the intervals do not exclude. Empty: certain, at an error rate of about 1 %.
    pub or: Vec<ClassName>,
}

/// How wide the jitter is: `(max - min) / max` of the delays at the cap.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct JitterWidth {
    /// As observed; the true width is larger in most samples.
    pub observed: f64,
    /// Intervals at the cap.
    pub intervals: usize,
    /// 95 % confidence interval of the true width if delays are uniform, widened by the noise.
    pub interval: Range,
}

/// What measured intervals say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// A law that fits, to go on with.
    pub law: Law,
    /// Intervals that were given.
    pub intervals: usize,
    /// The kind of jitter.
    pub jitter: Classification,
    /// Its width.
    pub width: JitterWidth,
    /// First delay without jitter, in seconds; nothing if no growth was seen.
    pub base_s: Option<f64>,
    /// Growth per attempt; nothing if none was seen.
    pub factor: Option<Factor>,
    /// Longest delay without jitter, in seconds.
    pub cap_s: f64,
    /// Whether delays were seen to stop growing.
    pub cap_reached: bool,
    /// What these intervals cannot tell, in sentences.
    pub uncertain: Vec<String>,
}

/// Growth per attempt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Factor {
    /// Best value; a usual one (2, 1.5, 1.6, 3) if it is supported.
    pub value: f64,
    /// Values that are supported: their likelihood is at least 1/32 of the best one's. No confidence interval, but it serves as one.
    pub supported: Range,
}

/// Why there is no estimate.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EstimateError {
    /// Too few intervals.
    #[error("{0} intervals are too few: {LEAST_INTERVALS} are needed to tell policies apart; measure a longer outage")]
    TooFew(usize),
    /// Too many intervals.
    #[error("{0} intervals are too many: give at most {MOST_INTERVALS}")]
    TooMany(usize),
    /// An interval that is none.
    #[error("interval {number} is {value} s: intervals are from {SHORTEST} to {LONGEST}")]
    Value {
        /// Which, from 1.
        number: usize,
        /// In seconds.
        value: f64,
    },
    /// What was found cannot be written as a law.
    #[error("the intervals lead to no law: {0}")]
    Law(#[from] LawError),
}

/// Estimates the law behind `intervals`, in seconds, each of which is exact to plus or minus `noise`.
///
/// # Errors
/// If there are too few or too many, or one is out of range.
pub fn estimate(intervals: &[f64], noise: Span) -> Result<Estimate, EstimateError> {
    if intervals.len() < LEAST_INTERVALS {
        return Err(EstimateError::TooFew(intervals.len()));
    }
    if intervals.len() > MOST_INTERVALS {
        return Err(EstimateError::TooMany(intervals.len()));
    }
    let range = SHORTEST.duration().as_secs_f64()..=LONGEST.duration().as_secs_f64();
    if let Some(at) = intervals.iter().position(|value| !range.contains(value)) {
        return Err(EstimateError::Value { number: at + 1, value: intervals[at] });
    }
    // A noise of nothing would make every likelihood infinite.
    let noise = noise.duration().as_secs_f64().max(0.001);
    let growth = fit::growth(intervals, noise);
    let grown = growth.as_ref().map_or_else(|| fit::steady(intervals, noise), |growth| growth.cost);
    match fit::decorrelated(intervals, noise) {
        Some(decorrelated) if decorrelated.cost < grown => {
            let or = if grown - decorrelated.cost < DECISIVE { vec![by_width(intervals, noise).0] } else { Vec::new() };
            depends_on_previous(intervals, noise, &decorrelated, or)
        }
        other => {
            let close = other.is_some_and(|decorrelated| decorrelated.cost - grown < DECISIVE);
            independent(intervals, noise, growth.as_ref(), close)
        }
    }
}

/// A span of `seconds` within what laws allow, to the millisecond.
fn span(seconds: f64) -> Span {
    Span::from_millis((seconds * 1000.0).round() as u64).clamp(SHORTEST, LONGEST)
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), value| (value.min(low), value.max(high)))
}

fn width(values: &[f64], noise: f64) -> JitterWidth {
    let (min, max) = extremes(values);
    let observed = (max - min) / max;
    // Noise can have moved smallest and largest apart, or together, by twice itself.
    let moved = 2.0 * noise / max;
    let interval = |width: f64| order::width_interval(width.clamp(0.0, 1.0 - 1e-9), values.len(), CONFIDENCE);
    let (low, high) = (interval(observed - moved).0, interval(observed + moved).1);
    let low = if observed <= moved { 0.0 } else { low };
    JitterWidth { observed, intervals: values.len(), interval: Range { low, high } }
}

/// The class of delays at the cap by their width alone, and others that are possible.
fn by_width(values: &[f64], noise: f64) -> (ClassName, Vec<ClassName>) {
    let (min, max) = extremes(values);
    let (observed, count) = ((max - min) / max, values.len());
    if max - min <= 2.0 * noise {
        return (ClassName::None, Vec::new());
    }
    let within = |floor: f64| (BAND.0..=BAND.1).contains(&order::width_distribution(observed, floor, count));
    let mut possible = Vec::new();
    if within(0.0) {
        possible.push(ClassName::Full);
    }
    if within(0.5) {
        possible.push(ClassName::Equal);
    }
    if observed <= NARROW {
        possible.push(ClassName::Narrow);
    }
    if possible.is_empty() { (ClassName::Other, possible) } else { (possible.remove(0), possible) }
}

fn depends_on_previous(
    intervals: &[f64],
    noise: f64,
    fit: &fit::Decorrelated,
    or: Vec<ClassName>,
) -> Result<Estimate, EstimateError> {
    let law = Law::exponential(span(fit.base), fit::DECORRELATED_FACTOR, span(fit.cap), Jitter::Decorrelated)?;
    let mut uncertain = vec!["the factor of decorrelated jitter was taken to be 3, as published".to_owned()];
    if fit.at_cap < 2 {
        uncertain.push("the cap was not seen twice: it may be longer than the longest interval".to_owned());
    }
    uncertain.extend(always());
    Ok(Estimate {
        law,
        intervals: intervals.len(),
        jitter: Classification { class: ClassName::Decorrelated, or },
        width: width(intervals, noise),
        base_s: Some(fit.base),
        factor: None,
        cap_s: fit.cap,
        cap_reached: fit.at_cap >= 2,
        uncertain,
    })
}

fn independent(
    intervals: &[f64],
    noise: f64,
    growth: Option<&fit::Growth>,
    perhaps_decorrelated: bool,
) -> Result<Estimate, EstimateError> {
    let rising = growth.map_or(0, |growth| growth.rising);
    let cap_reached = rising < intervals.len();
    // Delays as they would be at the cap. Where none was seen there, the rising ones scaled up are all there is.
    let at_cap = match growth {
        Some(growth) if !cap_reached => growth.scaled(intervals),
        _ => intervals[rising..].to_vec(),
    };
    let (class, mut or) = by_width(&at_cap, noise);
    if perhaps_decorrelated {
        or.push(ClassName::Decorrelated);
    }
    let width = width(&at_cap, noise);
    let (jitter, cap) = jitter_and_cap(class, &at_cap, noise);
    let (base, factor) = match growth {
        Some(growth) => (Some(cap / growth.steps), Some(growth.factor)),
        None => (None, None),
    };
    let law = match (base, factor) {
        (Some(base), Some(factor)) => Law::exponential(span(base), factor.value, span(cap), jitter)?,
        _ => Law::fixed(span(cap), jitter)?,
    };
    let mut uncertain = Vec::new();
    if !cap_reached {
        uncertain.push("delays were still growing: the cap is at least the last one, which is used for it".to_owned());
    } else if at_cap.len() < LEAST_INTERVALS {
        uncertain.push(format!(
            "{} of {} intervals are at the cap, fewer than {LEAST_INTERVALS}: the width of the jitter is poorly known",
            at_cap.len(),
            intervals.len()
        ));
    }
    if growth.is_none() {
        uncertain.push("no growth was seen: the first delays are taken to be like the others".to_owned());
    }
    match class {
        ClassName::Narrow => uncertain.push("proportional, subtractive and additive jitter look the same at the cap".to_owned()),
        ClassName::Other => uncertain.push("the width is that of none of the usual policies".to_owned()),
        _ => {}
    }
    if !or.is_empty() {
        uncertain.push("the intervals do not exclude other kinds of jitter".to_owned());
    }
    uncertain.extend(always());
    Ok(Estimate {
        law,
        intervals: intervals.len(),
        jitter: Classification { class, or },
        width,
        base_s: base,
        factor,
        cap_s: cap,
        cap_reached,
        uncertain,
    })
}

/// What intervals of one device in one outage never tell.
fn always() -> [String; 1] {
    ["one device in one outage: whether units draw the same delays, and when the back-off starts again, is not seen".to_owned()]
}

/// Jitter, and the longest delay without it, from delays at the cap.
fn jitter_and_cap(class: ClassName, values: &[f64], noise: f64) -> (Jitter, f64) {
    let (min, max) = extremes(values);
    let count = values.len() as f64;
    // The ends of a uniform distribution lie beyond the extremes of a sample, by their distance over (count - 1) on the average
    // (David and Nagaraja, section 2.3).
    let beyond = (max - min) / (count - 1.0).max(1.0);
    let (low, high) = ((min - beyond).max(0.0), max + beyond);
    // Variances of law and noise add up, and the simulation adds the noise again.
    let wide = ((high - low).powi(2) - (2.0 * noise).powi(2)).max(0.0).sqrt();
    let middle = f64::midpoint(low, high);
    match class {
        ClassName::None => (Jitter::None, f64::midpoint(min, max)),
        ClassName::Narrow => (Jitter::Proportional(Share::from_fraction((wide / 2.0 / middle).min(1.0))), middle),
        ClassName::Equal => (Jitter::Equal, high),
        ClassName::Full | ClassName::Decorrelated => (Jitter::Full, max * (count + 1.0) / count),
        ClassName::Other => {
            let top = middle + wide / 2.0;
            (Jitter::Subtractive(Share::from_fraction((wide / top).min(1.0))), top)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClassName, Estimate, EstimateError, LEAST_INTERVALS, estimate};
    use crate::{
        fleet::{Law, Random},
        units::Span,
    };

    const NOISE: Span = Span::from_millis(50);

    /// Intervals number `skip` to `skip + count` of a device, with noise.
    fn measured(law: &str, skip: usize, count: usize, seed: u64) -> Vec<f64> {
        let law: Law = law.parse().unwrap();
        let mut random = Random::new(seed);
        let delays = law.delays(skip + count, &mut random);
        delays[skip..].iter().map(|delay| (delay + 0.1 * random.unit() - 0.05).max(0.001)).collect()
    }

    fn of(law: &str, skip: usize, count: usize, seed: u64) -> Estimate {
        estimate(&measured(law, skip, count, seed), NOISE).unwrap()
    }

    /// Share of wrong classes among `seeds`, and of estimates that name the right one among others.
    fn wrong(law: &str, skip: usize, count: usize, expected: ClassName) -> (f64, f64) {
        let seeds = 400;
        let all: Vec<_> = (0..seeds).map(|seed| of(law, skip, count, seed).jitter).collect();
        let share = |test: &dyn Fn(&super::Classification) -> bool| all.iter().filter(|j| test(j)).count() as f64 / seeds as f64;
        (share(&|j| j.class != expected), share(&|j| j.class != expected && !j.or.contains(&expected)))
    }

    const POLICIES: [(&str, usize, ClassName); 10] = [
        ("fixed 67s", 0, ClassName::None),
        ("fixed 10s", 0, ClassName::None),
        ("exponential base 1s factor 2 cap 128s", 8, ClassName::None),
        ("exponential base 1s factor 2 cap 128s jitter proportional 5%", 8, ClassName::Narrow),
        ("exponential base 1s factor 2 cap 60s jitter subtractive 10%", 8, ClassName::Narrow),
        ("fixed 10s jitter additive 25%", 0, ClassName::Narrow),
        ("exponential base 1s factor 2 cap 128s jitter equal", 8, ClassName::Equal),
        ("exponential base 1s factor 2 cap 128s jitter full", 8, ClassName::Full),
        ("fixed 30s jitter full", 0, ClassName::Full),
        ("exponential base 1s factor 3 cap 128s jitter decorrelated", 8, ClassName::Decorrelated),
    ];

    /// Twelve intervals at the cap, 400 devices per policy. By construction 1 % of the widths lie outside their class's band; the rest
    /// is what the competing explanations cost. Misleading: wrong, and the right class is not named as a possibility either.
    #[test]
    fn twelve_intervals_at_the_cap_tell_the_class() {
        for (law, skip, expected) in POLICIES {
            let (wrong, misleading) = wrong(law, skip, LEAST_INTERVALS, expected);
            // A decorrelated law may wander far below its cap for twelve intervals, and then looks like others; it is named with them.
            let most = if expected == ClassName::Decorrelated { 0.2 } else { 0.03 };
            assert!(wrong <= most && misleading <= 0.05, "{law}: {wrong} wrong, {misleading} misleading");
        }
    }

    /// From the beginning of the outage, growth included.
    #[test]
    fn twenty_four_intervals_from_the_start_tell_the_class() {
        for (law, _, expected) in POLICIES {
            let (wrong, misleading) = wrong(law, 0, 24, expected);
            assert!(wrong <= 0.03 && misleading <= 0.03, "{law}: {wrong} wrong, {misleading} misleading");
        }
    }

    #[test]
    fn base_factor_and_cap_of_a_law_without_jitter_are_found() {
        for (law, base, factor, cap) in [
            ("exponential base 1s factor 2 cap 128s", 1.0, 2.0, 128.0),
            ("exponential base 2s factor 1.6 cap 100s", 2.0, 1.6, 100.0),
            ("exponential base 3s factor 3 cap 600s", 3.0, 3.0, 600.0),
        ] {
            for seed in 0..50 {
                let found = of(law, 0, 20, seed);
                let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.08;
                assert!(near(found.factor.unwrap().value, factor), "{law}: {found:?}");
                assert!(near(found.base_s.unwrap(), base) && near(found.cap_s, cap) && found.cap_reached, "{law}: {found:?}");
            }
        }
    }

    #[test]
    fn factor_and_cap_of_a_law_with_jitter_are_found_roughly() {
        for (law, tolerance) in [
            ("exponential base 1s factor 2 cap 128s jitter proportional 5%", 0.1),
            ("exponential base 1s factor 2 cap 128s jitter equal", 0.35),
        ] {
            let all: Vec<_> = (0..100).map(|seed| of(law, 0, 24, seed)).collect();
            let good = |e: &&Estimate| {
                (e.cap_s / 128.0 - 1.0).abs() < tolerance
                    && e.factor.is_some_and(|factor| factor.supported.low <= 2.0 && factor.supported.high >= 2.0)
            };
            let share = all.iter().filter(good).count();
            assert!(share >= 90, "{law}: {share} of 100");
        }
    }

    #[test]
    fn the_interval_of_the_width_covers_the_truth() {
        for (law, truth) in [
            ("fixed 30s jitter full", 1.0),
            ("fixed 30s jitter equal", 0.5),
            ("fixed 60s jitter proportional 5%", 0.1 / 1.05),
            ("fixed 60s", 0.0),
        ] {
            let covers = |seed: &u64| {
                let interval = of(law, 0, 12, *seed).width.interval;
                (interval.low..=interval.high).contains(&truth)
            };
            let covered = (0..300).filter(covers).count();
            assert!(covered >= 276, "{law}: {covered} of 300");
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let said = |estimate: &Estimate, words: &str| estimate.uncertain.iter().any(|line| line.contains(words));
        let growing = of("exponential base 1s factor 2 cap 24h", 0, 12, 1);
        assert!(!growing.cap_reached && said(&growing, "still growing"), "{growing:?}");
        let short = of("exponential base 1s factor 2 cap 128s", 0, 12, 1);
        assert!(short.cap_reached && said(&short, "5 of 12 intervals are at the cap"), "{short:?}");
        let steady = of("fixed 10s jitter proportional 5%", 0, 12, 1);
        assert!(said(&steady, "no growth") && said(&steady, "look the same") && steady.base_s.is_none());
        let odd = of("fixed 30s jitter subtractive 33%", 0, 40, 1);
        assert_eq!(odd.jitter.class, ClassName::Other);
        assert!((odd.width.interval.low..odd.width.interval.high).contains(&0.33));
    }

    #[test]
    fn bad_intervals_are_refused() {
        assert_eq!(estimate(&[5.0; 11], NOISE), Err(EstimateError::TooFew(11)));
        assert_eq!(estimate(&vec![5.0; 10_001], NOISE), Err(EstimateError::TooMany(10_001)));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e6] {
            let mut intervals = vec![5.0; 12];
            intervals[3] = bad;
            let error = estimate(&intervals, NOISE).unwrap_err();
            assert!(error.to_string().contains("interval 4"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_intervals_give_an_estimate(
            intervals in proptest::collection::vec(0.001_f64..86_400.0, 12..40), noise in 0_u64..500,
        ) {
            let found = estimate(&intervals, Span::from_millis(noise)).unwrap();
            proptest::prop_assert!(found.width.interval.low <= found.width.interval.high);
            proptest::prop_assert_eq!(found.law.to_string().parse::<Law>().unwrap(), found.law);
        }
    }
}
