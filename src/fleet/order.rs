//! What a few measurements say: order statistics of uniform samples, Student's quantiles.

/// Distribution function of the observed width `w = (max - min) / max` of `count` values drawn uniformly from [floor, 1]: the
/// probability that it is at most `width`.
///
/// From the joint density `n (n-1) (y-x)^(n-2) / (1-floor)^n` of smallest x and largest y (David and Nagaraja, Order Statistics, 3rd
/// ed., 2003, section 2.2), integrated over `x >= (1 - width) y`.
pub(super) fn width_distribution(width: f64, floor: f64, count: usize) -> f64 {
    let n = count as f64;
    let spread = 1.0 - floor;
    if width >= spread || spread <= 0.0 {
        return 1.0;
    }
    if width <= 0.0 {
        return 0.0;
    }
    // Up to `corner` the smallest value is bounded by the floor: `(corner - floor)^n`. From there by the width:
    // `n w^(n-1) ∫ y^(n-1) dy = w^(n-1) (1 - corner^n)`. Both over `spread^n`, as powers of ratios below 1.
    let corner = floor / (1.0 - width);
    let below = ((corner - floor) / spread).powf(n);
    let above = (width / spread).powf(n - 1.0) / spread * (1.0 - corner.powf(n));
    (below + above).clamp(0.0, 1.0)
}

/// Observed width that a share `probability` of samples stays below: the inverse of [`width_distribution`].
#[cfg(test)]
pub(super) fn width_quantile(probability: f64, floor: f64, count: usize) -> f64 {
    bisect(0.0, 1.0 - floor, |width| width_distribution(width, floor, count) < probability)
}

/// Two-sided confidence interval for the true width `1 - floor` after `width` was observed in `count` values, by inversion of the test
/// that [`width_distribution`] gives: all widths for which the observed one is not among the `(1 - confidence)/2` least likely on
/// either side.
pub(super) fn width_interval(width: f64, count: usize, confidence: f64) -> (f64, f64) {
    let tail = (1.0 - confidence) / 2.0;
    let true_width = |at: f64| bisect(width, 1.0, |candidate| width_distribution(width, 1.0 - candidate, count) > at);
    (true_width(1.0 - tail), true_width(tail))
}

/// Where `before` turns from true to false between `low` and `high`.
fn bisect(mut low: f64, mut high: f64, before: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if before(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// 97.5 % quantile of Student's distribution: half the width of a 95 % interval in standard errors.
///
/// Cornish-Fisher expansion about the normal quantile (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5), within 0.1 %
/// from 6 degrees of freedom on, and on the wide side (the quantile of 6) below.
pub(super) fn student(freedom: usize) -> f64 {
    const Z: f64 = 1.959_964;
    let v = freedom.max(6) as f64;
    let z = |power: i32| Z.powi(power);
    Z + (z(3) + Z) / (4.0 * v)
        + (5.0 * z(5) + 16.0 * z(3) + 3.0 * Z) / (96.0 * v.powi(2))
        + (3.0 * z(7) + 19.0 * z(5) + 17.0 * z(3) - 15.0 * Z) / (384.0 * v.powi(3))
}

/// Half the 95 % confidence interval of the mean of independent values, by Student; nothing for fewer than two.
pub(super) fn half_width(values: &[f64]) -> Option<f64> {
    let count = values.len();
    if count < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
    Some(student(count - 1) * (variance / count as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::{half_width, student, width_distribution, width_interval, width_quantile};
    use crate::fleet::Random;

    /// Observed widths of many samples.
    fn widths(floor: f64, count: usize, samples: usize) -> Vec<f64> {
        let mut random = Random::new(count as u64);
        let mut width = || {
            let values: Vec<f64> = (0..count).map(|_| floor + (1.0 - floor) * random.unit()).collect();
            let max = values.iter().copied().fold(0.0, f64::max);
            (max - values.iter().copied().fold(1.0, f64::min)) / max
        };
        (0..samples).map(|_| width()).collect()
    }

    #[test]
    fn the_formula_agrees_with_drawing_lots() {
        for floor in [0.0, 0.5, 0.8, 0.905] {
            for count in [3, 12, 100] {
                let drawn = widths(floor, count, 20_000);
                for probability in [0.05, 0.5, 0.95] {
                    let quantile = width_quantile(probability, floor, count);
                    let below = drawn.iter().filter(|width| **width <= quantile).count() as f64 / drawn.len() as f64;
                    assert!((below - probability).abs() < 0.008, "{floor} {count} {probability}: {below}");
                    assert!((width_distribution(quantile, floor, count) - probability).abs() < 1e-6);
                }
            }
        }
    }

    /// The 5 and 95 % bands of the catalogue of cases: ±5 %, ×(1..1.25), equal, full.
    #[test]
    fn the_bands_of_twelve_intervals_are_the_published_ones() {
        for (floor, low, high) in [(0.95 / 1.05, 0.064, 0.093), (0.8, 0.14, 0.19), (0.5, 0.36, 0.49), (0.0, 0.76, 0.99)] {
            let band = (width_quantile(0.05, floor, 12), width_quantile(0.95, floor, 12));
            assert!((band.0 - low).abs() < 0.012 && (band.1 - high).abs() < 0.012, "{floor}: {band:?}");
        }
    }

    #[test]
    fn intervals_cover_as_often_as_they_claim() {
        for floor in [0.0, 0.5, 0.905] {
            let drawn = widths(floor, 12, 2_000);
            let covers = |width: &&f64| {
                let (low, high) = width_interval(**width, 12, 0.95);
                (low..=high).contains(&(1.0 - floor))
            };
            let share = drawn.iter().filter(covers).count() as f64 / drawn.len() as f64;
            // At a true width of 1 the upper bound cannot miss.
            let expected = if floor == 0.0 { 0.975 } else { 0.95 };
            assert!((share - expected).abs() < 0.017, "{floor}: {share}");
        }
    }

    #[test]
    fn student_is_the_tabulated_one() {
        for (freedom, expected) in [(7, 2.365), (15, 2.131), (30, 2.042), (63, 1.998)] {
            assert!((student(freedom) - expected).abs() < 0.003, "{freedom}");
        }
        assert!(half_width(&[1.0]).is_none());
        assert!(half_width(&[1.0, 1.0, 1.0]).unwrap() < 1e-12);
    }
}
