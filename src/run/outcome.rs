//! How a step ends, and the rules that turn steps into a case's verdict.

use crate::event::{EvidenceRef, Reason, Verdict};

/// Codes of reasons that the bench itself gives. Those of plans come from the plan.
pub mod code {
    /// The stimulus was given but nothing proves it.
    pub const NO_WITNESS: &str = "NO-WITNESS";
    /// The device could not be brought into the state that the case starts from.
    pub const NOT_PREPARED: &str = "NOT-PREPARED";
    /// No step of the case judged anything.
    pub const NOTHING_JUDGED: &str = "NOTHING-JUDGED";
    /// The device said nothing at all.
    pub const SILENT: &str = "SILENT";
    /// The device said something, but not what was expected in time.
    pub const UNEXPECTED: &str = "UNEXPECTED";
    /// The device refused where it should have done.
    pub const REFUSED: &str = "REFUSED";
    /// The device did what it should have refused.
    pub const NOT_REFUSED: &str = "NOT-REFUSED";
    /// Whether the debug port is locked is not proven.
    pub const LOCK_UNKNOWN: &str = "LOCK-UNKNOWN";
    /// The device did not come up again.
    pub const NOT_READY: &str = "NOT-READY";
    /// There was no link to the device, or it was lost before the device could answer.
    pub const NO_LINK: &str = "NO-LINK";
    /// The device profile does not declare what the step compares with.
    pub const NOT_DECLARED: &str = "NOT-DECLARED";
    /// Who answers has another certificate than the rig says.
    pub const CERTIFICATE: &str = "CERTIFICATE";
    /// The operator was asked and did not answer, or not in a way that tells.
    pub const OPERATOR: &str = "OPERATOR";
    /// The case or run took longer than allowed.
    pub const DEADLINE: &str = "DEADLINE";
    /// An instrument did not do its part.
    pub const BENCH_FAULT: &str = "BENCH-FAULT";
    /// The journal could not be written.
    pub const JOURNAL: &str = "JOURNAL";
    /// Somebody stopped the run.
    pub const CANCELLED: &str = "CANCELLED";
    /// A defect of hilbench.
    pub const BUG: &str = "BUG";
    /// The safe state could not be confirmed.
    pub const SAFE_STATE: &str = "SAFE-STATE";
}

/// Why a step did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Judged, and not pass.
    Judged {
        /// Inconclusive, fail or error.
        verdict: Verdict,
        /// Why.
        reason: Reason,
        /// What decided.
        evidence: Vec<EvidenceRef>,
    },
    /// The device refused; what that means is for the caller of the procedure to say.
    Refused {
        /// The device's words.
        words: String,
        /// Where they stand.
        evidence: Vec<EvidenceRef>,
    },
}

impl Ended {
    /// A verdict with its reason, without evidence.
    pub fn judged(verdict: Verdict, code: &str, text: impl Into<String>) -> Self {
        Self::Judged { verdict, reason: Reason { code: code.to_owned(), text: text.into() }, evidence: Vec::new() }
    }

    /// A fault of the bench.
    pub fn fault(text: impl Into<String>) -> Self {
        Self::judged(Verdict::Error, code::BENCH_FAULT, text)
    }

    /// Somebody stopped the run.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::judged(Verdict::Inconclusive, code::CANCELLED, "the run was stopped")
    }

    /// The same with evidence.
    #[must_use]
    pub fn with(self, more: Vec<EvidenceRef>) -> Self {
        match self {
            Self::Judged { verdict, reason, .. } => Self::Judged { verdict, reason, evidence: more },
            Self::Refused { words, .. } => Self::Refused { words, evidence: more },
        }
    }

    /// As verdict and reason. A refusal that nobody asked about cannot be judged.
    #[must_use]
    pub fn into_parts(self) -> (Verdict, Reason, Vec<EvidenceRef>) {
        match self {
            Self::Judged { verdict, reason, evidence } => (verdict, reason, evidence),
            Self::Refused { words, evidence } => {
                let text = format!("the device refused outside a procedure whose caller says what a refusal means: {words}");
                (Verdict::Inconclusive, Reason { code: code::REFUSED.to_owned(), text }, evidence)
            }
        }
    }
}

/// What a case has collected besides the first step that did not pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Steps that judged the device and passed.
    pub judged: u32,
    /// What would have proven a stimulus that nothing proves.
    pub unwitnessed: Vec<String>,
}

/// The verdict of a case all of whose steps passed: a stimulus without a witness, or nothing judged at all, is never a pass.
#[must_use]
pub fn conclude(ledger: &Ledger) -> (Verdict, Option<Reason>) {
    if let Some(text) = ledger.unproven() {
        return (Verdict::Inconclusive, Some(Reason { code: code::NO_WITNESS.to_owned(), text }));
    }
    if ledger.judged == 0 {
        let text = "no step of this case judged the device; add an `expect`, `check` or `do`".to_owned();
        return (Verdict::Inconclusive, Some(Reason { code: code::NOTHING_JUDGED.to_owned(), text }));
    }
    (Verdict::Pass, None)
}

/// What a step that did not pass means for its case. What a device does, or does not do, after a stimulus of which nothing proves that it took
/// place cannot be held against it: the wire of a button that came off looks like a device that ignores its button.
#[must_use]
pub fn attribute(ledger: &Ledger, verdict: Verdict, reason: Reason) -> (Verdict, Reason) {
    match (verdict, ledger.unproven()) {
        (Verdict::Fail | Verdict::Inconclusive, Some(missing)) if reason.code != code::NO_WITNESS => {
            let text = format!("{missing}; seen after it: {}: {}", reason.code, reason.text);
            (Verdict::Inconclusive, Reason { code: code::NO_WITNESS.to_owned(), text })
        }
        _ => (verdict, reason),
    }
}

/// What a failure of the steps before a case means for it. They prepare the case and do not judge the device, neither well nor badly: the case has
/// not looked at what it is about.
#[must_use]
pub fn unprepared(verdict: Verdict, reason: Reason) -> (Verdict, Reason) {
    if verdict != Verdict::Fail {
        return (verdict, reason);
    }
    let text = format!("the device is not in the state that this case starts from: {}: {}", reason.code, reason.text);
    (Verdict::Inconclusive, Reason { code: code::NOT_PREPARED.to_owned(), text })
}

impl Ledger {
    /// Which stimuli have no witness, in words.
    fn unproven(&self) -> Option<String> {
        let first = self.unwitnessed.first()?;
        let more = match self.unwitnessed.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        Some(format!("nothing proves that the stimulus took place; missing: {first}{more}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Ledger, Reason, Verdict, attribute, code, conclude};

    #[test]
    fn a_failure_after_a_stimulus_without_a_witness_is_not_held_against_the_device() {
        let reason = || Reason { code: "FRS-TRIGGER".to_owned(), text: "no reset".to_owned() };
        let unproven = Ledger { judged: 1, unwitnessed: vec!["the pin is low".to_owned()] };
        let (verdict, told) = attribute(&unproven, Verdict::Fail, reason());
        assert_eq!((verdict, told.code.as_str()), (Verdict::Inconclusive, code::NO_WITNESS));
        assert!(told.text.contains("the pin is low") && told.text.contains("FRS-TRIGGER: no reset"), "{}", told.text);
        assert_eq!(attribute(&Ledger::default(), Verdict::Fail, reason()), (Verdict::Fail, reason()));
        let silent = Reason { code: code::SILENT.to_owned(), text: "no answer".to_owned() };
        assert_eq!(attribute(&unproven, Verdict::Inconclusive, silent).1.code, code::NO_WITNESS, "the likelier cause is named");
        assert_eq!(attribute(&unproven, Verdict::Error, reason()), (Verdict::Error, reason()), "a fault of the bench stays one");
    }

    #[test]
    fn a_stimulus_without_a_witness_never_passes() {
        let (verdict, reason) = conclude(&Ledger { judged: 5, unwitnessed: vec!["rail read-back".to_owned()] });
        assert_eq!(verdict, Verdict::Inconclusive);
        let reason = reason.unwrap();
        assert_eq!(reason.code, code::NO_WITNESS);
        assert!(reason.text.contains("rail read-back"));
    }

    #[test]
    fn a_case_that_judges_nothing_never_passes() {
        let (verdict, reason) = conclude(&Ledger::default());
        assert_eq!((verdict, reason.unwrap().code.as_str()), (Verdict::Inconclusive, code::NOTHING_JUDGED));
    }

    #[test]
    fn judged_and_witnessed_passes() {
        assert_eq!(conclude(&Ledger { judged: 1, unwitnessed: Vec::new() }), (Verdict::Pass, None));
    }

    #[test]
    fn a_bench_fault_is_an_error_and_a_stray_refusal_is_inconclusive() {
        assert_eq!(Ended::fault("x").into_parts().0, Verdict::Error);
        assert_eq!(Ended::Refused { words: "no".to_owned(), evidence: Vec::new() }.into_parts().0, Verdict::Inconclusive);
    }
}
