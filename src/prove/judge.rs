//! What came of a run against what its row says.

use super::matrix::{EVIDENCE_CHANGED, Expected};
use crate::event::Verdict;

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// Its verdict; `None` for one that was not run.
    pub verdict: Option<Verdict>,
    /// Reason code, if it did not pass.
    pub reason: Option<String>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Verdict of the whole.
    pub verdict: Verdict,
    /// Whether the safe state was confirmed.
    pub safe: bool,
    /// Cases in the order of the plan.
    pub cases: Vec<Case>,
    /// Why its records cannot be believed, if they cannot.
    pub changed: Option<String>,
}

/// Whether a run was as it had to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was.
    AsExpected,
    /// A good device was said to be bad.
    FalseFail(String),
    /// A bad device was not found, or for another reason than its own.
    Missed(String),
    /// Something was said about a device on a broken bench.
    Deceived(String),
    /// There was no verdict where there has to be one.
    NoVerdict(String),
}

impl Outcome {
    /// Whether it was as it had to be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Self::AsExpected
    }

    /// What was wrong, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::AsExpected => "as expected".to_owned(),
            Self::FalseFail(what) => format!("FALSE FAIL: {what}"),
            Self::Missed(what) => format!("MISSED: {what}"),
            Self::Deceived(what) => format!("DECEIVED: {what}"),
            Self::NoVerdict(what) => format!("NO VERDICT: {what}"),
        }
    }
}

fn told(case: &Case) -> String {
    let verdict = case.verdict.map_or_else(|| "not run".to_owned(), |verdict| verdict.to_string());
    match &case.reason {
        Some(reason) => format!("{} {verdict} {reason}", case.id),
        None => format!("{} {verdict}", case.id),
    }
}

/// Compares them.
#[must_use]
pub fn judge(expected: &Expected, observed: &Observed) -> Outcome {
    let ran = || observed.cases.iter().filter(|case| case.verdict.is_some());
    let first_bad = ran().find(|case| case.verdict != Some(Verdict::Pass));
    match (expected, &observed.changed) {
        (Expected::Bench { reason, .. }, Some(_)) if reason == EVIDENCE_CHANGED => return Outcome::AsExpected,
        (Expected::Bench { reason, .. }, None) if reason == EVIDENCE_CHANGED => {
            return Outcome::Deceived("the change in the records was not noticed".to_owned());
        }
        (_, Some(what)) => return Outcome::NoVerdict(format!("the records cannot be believed: {what}")),
        (_, None) => {}
    }
    match expected {
        Expected::Pass { .. } => match (ran().find(|case| case.verdict == Some(Verdict::Fail)), first_bad) {
            (Some(failed), _) => Outcome::FalseFail(told(failed)),
            (None, Some(other)) => Outcome::NoVerdict(told(other)),
            (None, None) if ran().next().is_none() => Outcome::NoVerdict("no case was run".to_owned()),
            (None, None) if observed.verdict != Verdict::Pass => Outcome::NoVerdict(format!("the run is {}", observed.verdict)),
            (None, None) if !observed.safe => Outcome::NoVerdict("the safe state was not confirmed".to_owned()),
            (None, None) => Outcome::AsExpected,
        },
        Expected::Fail { case, reason } => match first_bad {
            None => Outcome::Missed("every case passed".to_owned()),
            Some(first) if first.verdict != Some(Verdict::Fail) => Outcome::NoVerdict(told(first)),
            Some(first) if first.id == *case && first.reason.as_ref() == Some(reason) && !observed.safe => {
                Outcome::NoVerdict("the safe state was not confirmed".to_owned())
            }
            Some(first) if first.id == *case && first.reason.as_ref() == Some(reason) => Outcome::AsExpected,
            Some(first) => Outcome::Missed(format!("first came {}, not {case} {reason}", told(first))),
        },
        Expected::Bench { verdict, reason } => match (ran().find(|case| case.verdict == Some(Verdict::Fail)), first_bad) {
            (Some(failed), _) => Outcome::Deceived(told(failed)),
            (None, None) => Outcome::Deceived("every case passed".to_owned()),
            (None, Some(first)) if first.verdict == Some(*verdict) && first.reason.as_ref() == Some(reason) => {
                Outcome::AsExpected
            }
            (None, Some(first)) => Outcome::NoVerdict(format!("first came {}, not {verdict} {reason}", told(first))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(verdict: Verdict, cases: &[(&str, Option<Verdict>, &str)]) -> Observed {
        let case = |&(id, verdict, reason): &(&str, Option<Verdict>, &str)| Case {
            id: id.to_owned(),
            verdict,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
        };
        Observed { verdict, safe: true, cases: cases.iter().map(case).collect(), changed: None }
    }

    const PASS: Option<Verdict> = Some(Verdict::Pass);
    const FAIL: Option<Verdict> = Some(Verdict::Fail);
    const UNCLEAR: Option<Verdict> = Some(Verdict::Inconclusive);

    #[test]
    fn a_good_device_passes_everything_that_applies() {
        let good = Expected::Pass { twin: false };
        let seen = |verdict, cases: &[_]| judge(&good, &observed(verdict, cases));
        assert_eq!(seen(Verdict::Pass, &[("a", PASS, ""), ("b", None, "")]), Outcome::AsExpected);
        assert!(
            matches!(seen(Verdict::Fail, &[("a", UNCLEAR, "SILENT"), ("b", FAIL, "SIG")]), Outcome::FalseFail(what) if what == "b fail SIG")
        );
        assert!(matches!(seen(Verdict::Inconclusive, &[("a", UNCLEAR, "SILENT")]), Outcome::NoVerdict(_)));
        assert!(matches!(seen(Verdict::Error, &[("a", PASS, "")]), Outcome::NoVerdict(_)));
        assert!(matches!(seen(Verdict::Pass, &[("a", None, "")]), Outcome::NoVerdict(_)), "nothing ran");
        let unsafe_end = Observed { safe: false, ..observed(Verdict::Pass, &[("a", PASS, "")]) };
        assert!(matches!(judge(&good, &unsafe_end), Outcome::NoVerdict(_)));
    }

    #[test]
    fn a_fault_is_found_in_its_case_for_its_reason_and_before_all_else() {
        let fault = Expected::Fail { case: "b".to_owned(), reason: "SIG".to_owned() };
        let seen = |cases: &[_]| judge(&fault, &observed(Verdict::Fail, cases));
        assert_eq!(seen(&[("a", PASS, ""), ("b", FAIL, "SIG"), ("c", FAIL, "OTHER")]), Outcome::AsExpected);
        assert!(matches!(seen(&[("a", FAIL, "SIG"), ("b", FAIL, "SIG")]), Outcome::Missed(_)), "another case first");
        assert!(matches!(seen(&[("a", PASS, ""), ("b", FAIL, "OTHER")]), Outcome::Missed(_)), "another reason");
        assert!(matches!(seen(&[("a", PASS, ""), ("b", PASS, "")]), Outcome::Missed(_)));
        assert!(matches!(seen(&[("a", UNCLEAR, "SILENT"), ("b", FAIL, "SIG")]), Outcome::NoVerdict(_)));
        let unsafe_end = Observed { safe: false, ..observed(Verdict::Fail, &[("b", FAIL, "SIG")]) };
        assert!(matches!(judge(&fault, &unsafe_end), Outcome::NoVerdict(_)));
    }

    #[test]
    fn a_broken_bench_says_nothing_about_the_device() {
        let broken = Expected::Bench { verdict: Verdict::Error, reason: "BENCH-FAULT".to_owned() };
        let seen = |verdict, cases: &[_]| judge(&broken, &observed(verdict, cases));
        let error = Some(Verdict::Error);
        assert_eq!(seen(Verdict::Error, &[("a", error, "BENCH-FAULT")]), Outcome::AsExpected);
        assert!(matches!(seen(Verdict::Pass, &[("a", PASS, "")]), Outcome::Deceived(_)));
        assert!(matches!(seen(Verdict::Inconclusive, &[("a", UNCLEAR, "BENCH-FAULT")]), Outcome::NoVerdict(_)));
        assert!(matches!(seen(Verdict::Error, &[("a", error, "BUG")]), Outcome::NoVerdict(_)), "for another reason");
        assert!(matches!(seen(Verdict::Error, &[("a", error, "BENCH-FAULT"), ("b", FAIL, "SIG")]), Outcome::Deceived(_)));
    }

    #[test]
    fn records_that_were_changed_say_nothing_and_the_change_has_to_be_noticed() {
        let changed = |cases: &[_]| Observed { changed: Some("a byte".to_owned()), ..observed(Verdict::Pass, cases) };
        let edited = Expected::Bench { verdict: Verdict::Error, reason: EVIDENCE_CHANGED.to_owned() };
        assert_eq!(judge(&edited, &changed(&[("a", PASS, "")])), Outcome::AsExpected);
        assert!(matches!(judge(&edited, &observed(Verdict::Pass, &[("a", PASS, "")])), Outcome::Deceived(_)));
        let good = Expected::Pass { twin: false };
        assert!(matches!(judge(&good, &changed(&[("a", PASS, "")])), Outcome::NoVerdict(_)));
        let fault = Expected::Fail { case: "b".to_owned(), reason: "SIG".to_owned() };
        assert!(matches!(judge(&fault, &changed(&[("b", FAIL, "SIG")])), Outcome::NoVerdict(_)));
    }
}
