//! The interruption oracle: what a course says about the firmware.

use super::course::{Counter, Course, Seen};
use crate::event::CutOutcome;

/// What was so when the power was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    /// The counter must not be lower than this.
    pub(super) floor: u64,
    /// Whether the old version has to come back, may stay away, or must not come back.
    pub(super) old: Old,
}

/// The claim of the version from before the recorded operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    /// It is the confirmed one, and the new version is on trial: it may run once, and the next power cycle must bring the old one back.
    Holds,
    /// The confirmation of the new version had been sent: either may run, but always the same.
    Contested,
    /// It is itself on trial, nobody ever confirmed it, and the recorded operation is its revert: it must not run again.
    Lapsed,
}

/// The worst that the course shows, and why, for a person.
pub(super) fn judge(course: &Course, case: Case) -> (CutOutcome, String) {
    let mut worst = match course.first {
        Seen::Dark => return (CutOutcome::Bricked, "the device did not come up by itself".into()),
        Seen::Other => return (CutOutcome::WrongImage, "neither the old nor the new version came up".into()),
        Seen::Old => (CutOutcome::Old, "the old version runs and everything held".to_owned()),
        Seen::New => (CutOutcome::New, "the new version runs and everything held".to_owned()),
    };
    let mut found = |outcome: CutOutcome, why: &str| {
        if outcome > worst.0 {
            worst = (outcome, why.to_owned());
        }
    };
    if !course.settings {
        found(CutOutcome::SettingsLost, "the settings are not those from before the update");
    }
    match course.counter {
        Counter::Unknown => found(CutOutcome::CounterLowered, "the device did not tell its security counter"),
        Counter::Is(counter) if counter < case.floor => {
            found(CutOutcome::CounterLowered, &format!("the security counter is {counter}, and was {} at the cut", case.floor));
        }
        Counter::Is(_) => {}
    }
    let Some(rest) = course.rest else { return worst };
    for (seen, which) in [(Some(rest.second), "second"), (rest.third, "third")] {
        match seen {
            Some(Seen::Dark) => found(CutOutcome::Bricked, &format!("the device did not come up at the {which} power-on")),
            Some(Seen::Other) => found(CutOutcome::WrongImage, &format!("another version came up at the {which} power-on")),
            _ => {}
        }
    }
    let last = rest.third.unwrap_or(rest.second);
    let runs = |seen| matches!(seen, Seen::Old | Seen::New);
    match case.old {
        Old::Holds if rest.second == Seen::New && (course.first == Seen::New || last == Seen::New) => {
            found(CutOutcome::UnconfirmedKept, "nobody confirmed the new version, and it ran again after a power cycle");
        }
        // Old after a torn confirmation, or new: either will do, but the device must have made up its mind.
        Old::Contested if runs(rest.second) && rest.second != course.first || runs(last) && last != rest.second => {
            found(CutOutcome::WrongImage, "without any input the device went from one version to the other");
        }
        Old::Lapsed if [course.first, rest.second, last].contains(&Seen::Old) => {
            found(CutOutcome::UnconfirmedKept, "nobody confirmed the old version, and it ran again after its trial");
        }
        Old::Holds | Old::Contested | Old::Lapsed => {}
    }
    if runs(last) {
        if !rest.updated {
            found(CutOutcome::Poisoned, "a genuine update did not go through afterwards");
        } else if rest.after != Seen::New {
            found(CutOutcome::Poisoned, "after a genuine, confirmed update and a power cycle the new version does not run");
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::CutOutcome as O,
        virtual_dut::cuts::course::{Rest, Seen as S},
    };

    const ALL: [S; 4] = [S::Dark, S::Old, S::New, S::Other];

    fn course(first: S, second: S, third: Option<S>) -> Course {
        let rest = Some(Rest { second, third, updated: true, after: S::New });
        Course { first, operations: 0, settings: true, counter: Counter::Is(1), rest }
    }

    fn outcome(course: &Course, old: Old) -> O {
        judge(course, Case { floor: 1, old }).0
    }

    #[test]
    fn old_and_reverted_new_are_good_before_the_confirmation() {
        assert_eq!(outcome(&course(S::Old, S::Old, None), Old::Holds), O::Old);
        assert_eq!(outcome(&course(S::New, S::Old, None), Old::Holds), O::New);
        assert_eq!(outcome(&course(S::Old, S::New, Some(S::Old)), Old::Holds), O::Old);
    }

    #[test]
    fn an_unconfirmed_image_that_stays_is_bad_and_a_confirmed_one_is_not() {
        let stays = course(S::New, S::New, Some(S::New));
        assert_eq!(outcome(&stays, Old::Holds), O::UnconfirmedKept);
        assert_eq!(outcome(&stays, Old::Contested), O::New);
        assert_eq!(outcome(&course(S::New, S::New, Some(S::Old)), Old::Holds), O::UnconfirmedKept);
        assert_eq!(outcome(&course(S::Old, S::New, Some(S::New)), Old::Holds), O::UnconfirmedKept);
    }

    #[test]
    fn after_the_confirmation_the_device_settles_on_either_version_and_stays_there() {
        assert_eq!(outcome(&course(S::Old, S::Old, None), Old::Contested), O::Old);
        for unstable in [(S::New, S::Old, None), (S::Old, S::New, Some(S::New)), (S::New, S::New, Some(S::Old))] {
            assert_eq!(outcome(&course(unstable.0, unstable.1, unstable.2), Old::Contested), O::WrongImage, "{unstable:?}");
        }
    }

    #[test]
    fn a_version_that_lapsed_must_not_run_again() {
        assert_eq!(outcome(&course(S::New, S::New, Some(S::New)), Old::Lapsed), O::New);
        for back in [(S::Old, S::New, Some(S::New)), (S::New, S::Old, None), (S::New, S::New, Some(S::Old))] {
            assert_eq!(outcome(&course(back.0, back.1, back.2), Old::Lapsed), O::UnconfirmedKept, "{back:?}");
        }
    }

    #[test]
    fn a_device_that_stays_dark_or_runs_something_else_is_bad_at_any_power_on() {
        for confirmed in [Old::Holds, Old::Contested, Old::Lapsed] {
            assert_eq!(outcome(&course(S::Dark, S::Old, None), confirmed), O::Bricked);
            assert_eq!(outcome(&course(S::Old, S::Dark, None), confirmed), O::Bricked);
            assert_eq!(outcome(&course(S::Old, S::New, Some(S::Dark)), confirmed), O::Bricked);
            assert_eq!(outcome(&course(S::Other, S::Old, None), confirmed), O::WrongImage);
            assert_eq!(outcome(&course(S::Old, S::Other, None), confirmed), O::WrongImage);
        }
    }

    #[test]
    fn settings_counter_and_the_next_update_are_judged() {
        let good = course(S::Old, S::Old, None);
        assert_eq!(outcome(&Course { settings: false, ..good }, Old::Holds), O::SettingsLost);
        assert_eq!(outcome(&Course { counter: Counter::Is(0), ..good }, Old::Holds), O::CounterLowered);
        assert_eq!(outcome(&Course { counter: Counter::Unknown, ..good }, Old::Holds), O::CounterLowered);
        assert_eq!(outcome(&Course { counter: Counter::Is(2), ..good }, Old::Holds), O::Old);
        let rest = good.rest.unwrap();
        assert_eq!(
            outcome(&Course { rest: Some(Rest { updated: false, after: S::Dark, ..rest }), ..good }, Old::Holds),
            O::Poisoned
        );
        for after in ALL.into_iter().filter(|seen| *seen != S::New) {
            assert_eq!(outcome(&Course { rest: Some(Rest { after, ..rest }), ..good }, Old::Holds), O::Poisoned);
        }
    }

    #[test]
    fn the_worst_finding_is_the_outcome() {
        let mut bad = Course { settings: false, counter: Counter::Is(0), ..course(S::New, S::New, Some(S::New)) };
        assert_eq!(outcome(&bad, Old::Holds), O::CounterLowered);
        bad.rest = bad.rest.map(|rest| Rest { updated: false, ..rest });
        assert_eq!(outcome(&bad, Old::Holds), O::Poisoned);
        bad.rest = bad.rest.map(|rest| Rest { second: S::Dark, third: None, ..rest });
        assert_eq!(outcome(&bad, Old::Holds), O::Bricked);
    }
}
