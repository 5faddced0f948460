//! Which points there are, in which order, and how they differ.

use crate::event::{CutPhase, CutPoint};

/// Phases of an operation, in the order of points.
pub(super) fn phases(torn: u32) -> impl Iterator<Item = CutPhase> {
    [CutPhase::Before].into_iter().chain((0..torn).map(|seed| CutPhase::Torn { seed })).chain([CutPhase::After])
}

/// After which of `operations` operations `cuts` cuts come: spread evenly, none twice.
pub(super) fn spread(operations: u32, cuts: u32) -> Vec<u32> {
    let at = |i: u32| ((u64::from(operations) * u64::from(i)).div_ceil(u64::from(cuts) + 1) as u32).max(1);
    if operations <= cuts { (1..=operations).collect() } else { (1..=cuts).map(at).collect() }
}

/// Whether the power comes back so soon after the last cut of this point that SRAM keeps part of its content: one point in sixteen, chosen
/// by the point alone.
pub(super) fn soon(point: CutPoint) -> bool {
    let phase = match point.phase {
        CutPhase::Before => 0,
        CutPhase::After => 1,
        CutPhase::Torn { seed } => seed.wrapping_add(2),
    };
    let mixed = [point.operation, phase, point.again.unwrap_or(0)]
        .into_iter()
        .fold(0x9E37_79B9_u32, |hash, part| (hash ^ part).wrapping_mul(0x85EB_CA6B).rotate_left(13));
    mixed.wrapping_mul(0xC2B2_AE35) >> 28 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_cuts_are_spread_evenly_and_never_coincide() {
        assert_eq!(spread(0, 4), Vec::<u32>::new());
        assert_eq!(spread(3, 4), [1, 2, 3]);
        assert_eq!(spread(100, 3), [25, 50, 75]);
        for operations in 1..60 {
            for cuts in 0..20 {
                let all = spread(operations, cuts);
                assert_eq!(all.len() as u32, cuts.min(operations));
                assert!(all.windows(2).all(|two| two[0] < two[1]) && all.iter().all(|n| (1..=operations).contains(n)));
            }
        }
    }

    #[test]
    fn about_one_point_in_sixteen_is_powered_soon() {
        let points = (0..10_000).flat_map(|operation| phases(2).map(move |phase| CutPoint { operation, phase, again: None }));
        let share = points.filter(|point| soon(*point)).count();
        assert!((2000..3000).contains(&share), "{share} of 40000");
    }

    #[test]
    fn phases_are_before_torn_after() {
        let expected = [CutPhase::Before, CutPhase::Torn { seed: 0 }, CutPhase::Torn { seed: 1 }, CutPhase::After];
        assert_eq!(phases(2).collect::<Vec<_>>(), expected);
    }
}
