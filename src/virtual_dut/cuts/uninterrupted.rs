//! What the device says that nobody has cut.

use super::{
    KeepGoing,
    baseline::{at_end, fault, unfit},
    console::Console,
    course::{Counter, Examiner, Seen},
    questions::{Floor, Questions, cleared_bits},
};
use crate::{
    channel::link::{CutPlan, LinkError},
    virtual_dut::{Machine, recording::Recording},
};

/// Finds it out, and that the plan's questions work on it at all. Also tells whether the old version was itself on trial. `None`: told to stop.
pub(super) fn examine(
    recording: &Recording,
    questions: &mut Questions,
    plan: &CutPlan,
    keep_going: KeepGoing,
) -> Result<Option<(Floor, bool)>, LinkError> {
    if !plan.ready.capture_names().any(|name| name == Some("version")) {
        return Err(fault(
            "the pattern for readiness has no capture `version`, so nobody can tell what runs; add it to the profile",
        ));
    }
    let restart = |questions: &Questions, machine: Machine| Examiner { questions, memories: None }.restarted(machine);
    let start =
        if recording.start.is_powered() { recording.start.clone() } else { restart(questions, recording.start.clone()).1 };
    let mut console = Console::new(start.clone(), None);
    let Some(expected) = questions.settings(&mut console) else {
        return Err(unfit(
            "the device did not answer the question for its settings before the update; check `settings` of the profile",
        ));
    };
    questions.expected = expected;
    let Counter::Is(before) = questions.counter(&mut console) else {
        return Err(unfit(
            "the device did not answer the question for its security counter with a number before the update; check `counter` of the profile",
        ));
    };
    if !keep_going() {
        return Ok(None);
    }
    let (seen, machine) = restart(questions, start.clone());
    // A device whose old version is itself on trial reverts at any power cycle, to the version that it then keeps.
    let lapsed = seen == Seen::New && restart(questions, machine.clone()).0 == Seen::New;
    if seen != Seen::Old && !lapsed {
        return Err(unfit(format!(
            "before the update, after a power cycle, the device was to come up with version {} within {:?}; it came up as: {seen:?}",
            plan.old_version, plan.recovery
        )));
    }
    if !keep_going() {
        return Ok(None);
    }
    let (updated, after, _) = Examiner { questions, memories: None }.update(machine, None);
    if !updated || after != Seen::New {
        return Err(unfit(format!(
            "the update as the plan writes it does not work on the device even without a power cut (exchanges answered: {updated}, then up: {after:?})"
        )));
    }
    if !keep_going() {
        return Ok(None);
    }
    let end = at_end(recording, plan.recovery);
    let in_uicr = match questions.counter(&mut Console::new(end.clone(), None)) {
        Counter::Is(now) => before == cleared_bits(&start) && now == cleared_bits(&end),
        Counter::Unknown => false,
    };
    Ok(Some((Floor { before, in_uicr }, lapsed)))
}
