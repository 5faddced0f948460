//! JUnit XML: what build servers show.
//!
//! The format knows success, failure, error and skipped. A case's verdict becomes:
//!
//! | verdict | element |
//! |---|---|
//! | pass | none |
//! | fail | `failure`, type = reason code |
//! | error (the bench) | `error`, type = reason code |
//! | inconclusive | `error`, type = `inconclusive`: nothing may look green that was not shown, and it is not the device's failure |
//! | not judged (run stopped or lost) | `error`, type = `not-judged` |
//! | not applicable, not selected | `skipped` |
//!
//! What is wrong with the run as a whole (unsafe end, damaged journal, bench fault, no end) is an `error` of a test case of its
//! own called `bench`.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::Source;
use crate::{
    event::{Nanos, Verdict},
    view::{
        CaseState, CaseView, lines,
        sanitise::{line, sanitise},
    },
};

/// Longest text of one attribute or line.
const LONGEST: usize = 2000;

/// The run as JUnit XML.
///
/// # Errors
/// If the XML cannot be written.
pub fn junit(source: &Source<'_>) -> Result<String, SerializeError> {
    let view = source.view;
    let header = view.header.as_ref();
    let plan = header.map_or_else(|| "unknown plan".to_owned(), |header| line(&header.plan, LONGEST));
    let mut suite = TestSuite::new(&plan);
    let took = view.at.since(Nanos::default());
    suite.set_time(took);
    if let Some(header) = header {
        suite.timestamp = header.started.parse().ok();
        let properties = [
            ("run", header.run.0.clone()),
            ("rig", header.rig.clone()),
            ("device", header.device.clone()),
            ("tool", header.tool.clone()),
            ("clock", header.clock.clone()),
            ("seed", header.seed.to_string()),
            ("command", header.command.join(" ")),
        ];
        for (name, value) in properties {
            suite.add_property(Property::new(name, line(&value, LONGEST)));
        }
    }
    suite.add_property(Property::new("verdict", source.verdict().word()));
    suite.add_property(Property::new("safe-state", line(&lines::safe_state(view), LONGEST)));
    for case in view.plan_cases() {
        suite.add_test_case(test_case(case, &plan, source));
    }
    let problems = source.problems();
    if !problems.is_empty() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("bench").set_message(line(&problems[0], LONGEST));
        status.set_description(problems.iter().map(|problem| line(problem, LONGEST)).collect::<Vec<_>>().join("\n"));
        let mut case = TestCase::new("bench", status);
        case.set_classname(&plan).set_time(Duration::ZERO);
        suite.add_test_case(case);
    }
    let mut report = Report::new("hilbench");
    report.set_time(took);
    report.add_test_suite(suite);
    report.to_string()
}

fn test_case(case: &CaseView, plan: &str, source: &Source<'_>) -> TestCase {
    let bad = |kind, kind_name: &str, message: String| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(line(kind_name, LONGEST)).set_message(line(&message, LONGEST)).set_description(body(case, source));
        status
    };
    let status = match &case.state {
        CaseState::Skipped(why) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(line(why, LONGEST));
            status
        }
        CaseState::Waiting | CaseState::Running => {
            bad(NonSuccessKind::Error, "not-judged", "the run ended before this case was judged".to_owned())
        }
        CaseState::Finished { verdict, reason, .. } => {
            let message = reason.as_ref().map_or_else(|| verdict.word().to_owned(), ToString::to_string);
            let code = reason.as_ref().map_or(verdict.word(), |reason| &reason.code);
            match verdict {
                Verdict::Pass => TestCaseStatus::success(),
                Verdict::Fail => bad(NonSuccessKind::Failure, code, message),
                Verdict::Error => bad(NonSuccessKind::Error, code, message),
                Verdict::None | Verdict::Inconclusive => bad(NonSuccessKind::Error, "inconclusive", message),
            }
        }
    };
    let mut test_case = TestCase::new(line(case.name(), LONGEST), status);
    test_case.set_classname(plan).set_time(case.took().unwrap_or_default());
    for (name, value) in [("title", case.title.clone()), ("ts-103-701", case.assesses.join(" "))] {
        if !value.is_empty() {
            test_case.add_property(Property::new(name, line(&value, LONGEST)));
        }
    }
    test_case
}

/// What a person needs to go on: the decisive step, what the device said, how to repeat it.
fn body(case: &CaseView, source: &Source<'_>) -> String {
    let mut text = Vec::new();
    if let Some(step) = case.decisive() {
        text.push(line(&format!("step {}: {}", step.number(), step.text), LONGEST));
        if let Some(reason) = &step.reason {
            text.push(line(&reason.to_string(), LONGEST));
        }
        text.extend(step.evidence.iter().take(5).filter_map(|place| lines::quoted(place, 400, source.evidence)));
        text.extend(step.unwitnessed.iter().map(|missing| line(&format!("not proven: {missing}"), LONGEST)));
    }
    text.extend(case.steps.iter().filter_map(|step| step.cuts.as_ref()).map(lines::cuts));
    for cut in case.bad_cuts().take(20) {
        text.push(format!("cut {} {}", cut.point, cut.outcome.reason_code().unwrap_or("ok")));
        text.push(format!("reproduce: {}", sanitise(&cut.reproduce)));
    }
    if case.bad_cuts().next().is_none()
        && let Some(header) = &source.view.header
    {
        text.push(format!("reproduce: {}", line(&header.command.join(" "), LONGEST)));
    }
    text.join("\n")
}
