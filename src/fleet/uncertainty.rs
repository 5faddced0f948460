//! What the uncertainty of an estimated law means for the fleet.

use serde::Serialize;

use super::{Estimate, Fleet, FleetError, Law, Random, estimate, simulate::in_threads};
use crate::units::Span;

/// Laws that are drawn. With 59 the third smallest and third largest bound 5 and 95 %.
const DRAWS: usize = 59;
/// Values left out on either side: of 59 ordered values, the third is the 5 % quantile (3/60).
const LEFT_OUT: usize = 2;
/// Devices per drawn law: the scatter among laws is far larger than that of so many devices.
const DEVICES: u64 = 20_000;

/// Ranges of the fleet's figures over laws that could as well be behind the measured intervals: 5 to 95 % of a parametric bootstrap
/// (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6).
///
/// Each of 59 devices follows the estimated law, is measured as often as the real one, and a law is estimated from it. It presupposes
/// the estimated class: if that is wrong, so are the ranges. What no interval shows (a cap that was not reached, first delays that were
/// not seen) is not in them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LawUncertainty {
    /// Worst second of first attempts, as a share of the fleet.
    pub first_attempts: super::Range,
    /// Worst second of all attempts, as a share of the fleet.
    pub all_attempts: super::Range,
    /// Time until 99 % are served, in seconds; nothing for a bound beyond what is simulated.
    pub served_99_s: (Option<f64>, Option<f64>),
    /// Laws behind the ranges.
    pub laws: usize,
}

/// Propagates the uncertainty of `estimated`, from as many intervals exact to `noise`, to `fleet`.
///
/// # Errors
/// If the fleet or its outage is out of range.
pub fn law_uncertainty(estimated: &Estimate, noise: Span, fleet: &Fleet) -> Result<LawUncertainty, FleetError> {
    // Where growth was not seen, intervals were measured at the cap, and so are those of the drawn devices.
    let drawn = |draw: usize| -> Law {
        let mut random = Random::stream(fleet.seed ^ 0x6C61_7773, draw as u64);
        let delays = estimated.law.delays(estimated.intervals, &mut random);
        let noise_s = noise.duration().as_secs_f64();
        let measured: Vec<f64> =
            delays.into_iter().map(|delay| (delay + noise_s * (2.0 * random.unit() - 1.0)).max(0.001)).collect();
        // The law itself is one of those that could be behind the intervals.
        estimate(&measured, noise).map_or(estimated.law, |again| again.law)
    };
    let small = Fleet { devices: fleet.devices.min(DEVICES), threads: 1, ..*fleet };
    let outcomes = in_threads(fleet.threads, DRAWS, |draw| super::simulate::once(&drawn(draw), &small, draw as u64));
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let range = |figure: &dyn Fn(&super::Outcome) -> f64| {
        let mut values: Vec<f64> = outcomes.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        super::Range { low: values[LEFT_OUT], high: values[DRAWS - 1 - LEFT_OUT] }
    };
    let drain = range(&|outcome| outcome.drain().value);
    let finite = |value: f64| value.is_finite().then_some(value);
    Ok(LawUncertainty {
        first_attempts: range(&|outcome| outcome.first_attempts.share.value),
        all_attempts: range(&|outcome| outcome.all_attempts.share.value),
        served_99_s: (finite(drain.low), finite(drain.high)),
        laws: DRAWS,
    })
}

#[cfg(test)]
mod tests {
    use super::{Fleet, Law, Random, Span, estimate, law_uncertainty};

    const NOISE: Span = Span::from_millis(50);

    fn fleet(outage: u64) -> Fleet {
        Fleet {
            devices: 1_000_000,
            outage: Span::from_secs(outage),
            capacity: "1%".parse().unwrap(),
            noise: NOISE,
            spread: Span::default(),
            seed: 1,
            threads: 0,
        }
    }

    fn intervals(law: &str, seed: u64) -> Vec<f64> {
        law.parse::<Law>().unwrap().delays(12, &mut Random::new(seed))
    }

    /// The ranges hold the figures of the true law about as often as they claim.
    #[test]
    fn ranges_hold_the_truth() {
        let law = "fixed 20s jitter full";
        let fleet = Fleet { devices: 10_000, ..fleet(100) };
        let truth = super::super::simulate(&law.parse().unwrap(), &fleet).unwrap();
        let holds = |seed: &u64| {
            let estimated = estimate(&intervals(law, *seed), NOISE).unwrap();
            let range = law_uncertainty(&estimated, NOISE, &fleet).unwrap().first_attempts;
            (range.low..=range.high).contains(&truth.first_attempts.share.value)
        };
        let held = (0..16).filter(holds).count();
        assert!(held >= 11, "{held} of 16");
    }

    #[test]
    fn more_is_known_of_a_law_without_jitter() {
        let relative = |law: &str| {
            let estimated = estimate(&intervals(law, 3), NOISE).unwrap();
            let found = law_uncertainty(&estimated, NOISE, &fleet(600)).unwrap();
            let (low, high) = (found.served_99_s.0.unwrap(), found.served_99_s.1.unwrap());
            assert!(low <= high && found.first_attempts.low <= found.first_attempts.high);
            found.first_attempts.high / found.first_attempts.low
        };
        assert!(relative("fixed 67s") < 1.1);
        assert!(relative("fixed 67s jitter full") > 1.1);
    }

    #[test]
    fn the_same_whatever_the_threads() {
        let estimated = estimate(&intervals("fixed 20s jitter equal", 1), NOISE).unwrap();
        let run = |threads| law_uncertainty(&estimated, NOISE, &Fleet { threads, ..fleet(60) }).unwrap();
        assert_eq!(run(1), run(3));
    }
}
