//! The file that says what is to be proven.

use std::path::{Path, PathBuf};

use crate::{
    diagnostic::{Code, Diagnostic, Report},
    document::{Key, Keys, Map, Shape, Value, Word, check, json_schema, read},
    event::Verdict,
};

/// A matrix of devices and plans.
static MATRIX: Keys = Keys::new(
    "matrix",
    "Devices and benches of which it is known what a plan has to say about them. `hilbench prove` runs all of them.",
    &[
        Key::needed("schema", Shape::Exactly("matrix/1"), "Kind and version of the file, `matrix/1`; by custom the first line."),
        Key::needed("name", Shape::Name, "Name of the matrix."),
        Key::needed("good", Shape::List(&Shape::Map(&GOOD), 1), "Devices without a fault: every case that applies has to pass."),
        Key::optional(
            "variants",
            Shape::List(&Shape::Map(&VARIANT), 0),
            "Devices that differ from a good one in one thing: a fault, which has to be found, or something harmless.",
        ),
        Key::optional(
            "bench-faults",
            Shape::List(&Shape::Map(&FAULT), 0),
            "Benches that are broken, with a good device on them: nothing may be said about the device.",
        ),
    ],
);

static GOOD: Keys = Keys::new(
    "good device",
    "A device without a fault, and a plan.",
    &[Key::needed("rig", Shape::Path, "Rig with the device."), Key::needed("plan", Shape::Path, "Plan that it has to pass.")],
);

static VARIANT: Keys = Keys::new(
    "variant",
    "A device that differs from a good one in one thing, or a reason why there is none with this fault.",
    &[
        Key::needed("id", Shape::Line, "Identity in the catalogue of faults, `V13`."),
        Key::needed("name", Shape::Line, "What is different."),
        Key::optional("rig", Shape::Path, "Rig with the device."),
        Key::optional("plan", Shape::Path, "Plan that has to find it."),
        Key::optional("case", Shape::Name, "The case that has to fail before any other. Not with `twin`."),
        Key::optional("reason", Shape::ReasonCode, "The reason with which it has to fail. Not with `twin`."),
        Key::optional("twin", Shape::Flag, "Whether the difference is harmless, so that every case has to pass. Default: false."),
        Key::optional(
            "alone",
            Shape::Flag,
            "Whether only that case is run, because the fault also shows in earlier ones, for reasons of theirs. Default: false.",
        ),
        Key::optional("not-for", Shape::Line, "Why the devices here cannot have this fault. Alone."),
    ],
);

static FAULT: Keys = Keys::new(
    "bench fault",
    "A bench that is broken.",
    &[
        Key::needed("id", Shape::Line, "Identity."),
        Key::needed("name", Shape::Line, "What is broken."),
        Key::needed("rig", Shape::Path, "Rig with that bench."),
        Key::needed("plan", Shape::Path, "Plan that is run on it."),
        Key::optional("case", Shape::Name, "Only this case. Default: all."),
        Key::optional(
            "afterwards",
            Shape::Word(AFTERWARDS),
            "What somebody does to the records of the run before they are looked at. Default: nothing.",
        ),
        Key::needed("verdict", Shape::Word(VERDICTS), "What the first case that does not pass has to come to."),
        Key::needed(
            "reason",
            Shape::Word(BENCH_REASONS),
            "Its reason code, one of the bench's own: a bench that fails for another reason proves nothing here.",
        ),
    ],
);

const AFTERWARDS: &[Word] =
    &[Word { word: "edit-evidence", what: "Changes one bit of a piece of evidence that a verdict points to." }];

const VERDICTS: &[Word] = &[
    Word { word: "inconclusive", what: "The bench worked, and what it saw proves nothing." },
    Word { word: "error", what: "The bench did not work." },
];

const BENCH_REASONS: &[Word] = &[
    Word { word: "BENCH-FAULT", what: "The bench could not do its part." },
    Word { word: "NOT-PREPARED", what: "The device could not be brought into the state that the case starts from." },
    Word { word: "NO-WITNESS", what: "Nothing proves that a stimulus took place." },
    Word { word: EVIDENCE_CHANGED, what: "The records are not those that the run has written. With `afterwards`." },
];

/// Reason of a run whose records cannot be believed.
pub(super) const EVIDENCE_CHANGED: &str = "EVIDENCE-CHANGED";

/// What a row has to come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Every case that applies passes. A twin is one that differs harmlessly.
    Pass {
        /// Whether it is a harmless variation.
        twin: bool,
    },
    /// Before anything else goes wrong, this case fails for this reason.
    Fail {
        /// The case.
        case: String,
        /// Its reason code.
        reason: String,
    },
    /// Nothing is said about the device: no case fails, and the first that does not pass has this verdict for this reason.
    Bench {
        /// Its verdict.
        verdict: Verdict,
        /// Its reason code.
        reason: String,
    },
}

/// One run that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Identity: `V13`, `good`.
    pub id: String,
    /// What it is.
    pub name: String,
    /// Rig file.
    pub rig: PathBuf,
    /// Plan file.
    pub plan: PathBuf,
    /// Only this case.
    pub only: Option<String>,
    /// Whether one bit of its evidence is changed afterwards.
    pub edited: bool,
    /// What has to come of it.
    pub expected: Expected,
}

/// What is to be proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matrix {
    /// Its name.
    pub name: String,
    /// The runs, in the order of the file.
    pub rows: Vec<Row>,
    /// Faults that the devices here cannot have: identity, name, why.
    pub not_for: Vec<(String, String, String)>,
}

/// The JSON schema of the file.
#[must_use]
pub fn schema() -> (&'static str, String) {
    ("matrix-1.json", json_schema("urn:hilbench:matrix-1", "hilbench proof matrix, version 1", &MATRIX))
}

impl Matrix {
    /// Reads and checks the file. Its rigs and plans are read by whoever runs them.
    ///
    /// # Errors
    /// All its problems.
    pub fn load(path: &Path) -> Result<Self, Report> {
        let (source, node) = read(path);
        let node = node.map_err(|problem| Report { diagnostics: vec![*problem] })?;
        let mut report = Report::default();
        let root = check(&source, &node, &Shape::Map(&MATRIX), &mut report);
        let matrix = Self::from(root.map(), path.parent().unwrap_or(Path::new("")), &mut report);
        report.sort();
        if report.has_errors() { Err(report) } else { Ok(matrix) }
    }

    fn from(map: &Map, base: &Path, report: &mut Report) -> Self {
        let mut matrix = Self { name: map.string("name"), ..Self::default() };
        for value in map.list("good") {
            let map = value.map();
            let (rig, plan) = (base.join(map.string("rig")), base.join(map.string("plan")));
            let name = rig.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            matrix.rows.push(Row {
                id: "good".to_owned(),
                name,
                rig,
                plan,
                only: None,
                edited: false,
                expected: Expected::Pass { twin: false },
            });
        }
        for value in map.list("variants") {
            matrix.variant(value, base, report);
        }
        for value in map.list("bench-faults") {
            let map = value.map();
            let verdict = if map.string("verdict") == "error" { Verdict::Error } else { Verdict::Inconclusive };
            matrix.rows.push(Row {
                id: map.string("id"),
                name: map.string("name"),
                rig: base.join(map.string("rig")),
                plan: base.join(map.string("plan")),
                only: map.has("case").then(|| map.string("case")),
                edited: map.has("afterwards"),
                expected: Expected::Bench { verdict, reason: map.string("reason") },
            });
        }
        matrix
    }

    fn variant(&mut self, value: &Value, base: &Path, report: &mut Report) {
        let map = value.map();
        let (id, name) = (map.string("id"), map.string("name"));
        let has = |keys: &[&str]| keys.iter().filter(|key| map.has(key)).count();
        let wrong = |what: &str| {
            Diagnostic::new(Code::UnclearRow, value.place.clone(), format!("what `{id}` has to come to is not clear: {what}"))
        };
        if map.has("not-for") {
            if has(&["rig", "plan", "case", "reason", "twin"]) > 0 {
                report.push(wrong("with `not-for` there is nothing to run").help("leave out the other keys, or `not-for`"));
            }
            self.not_for.push((id, name, map.string("not-for")));
            return;
        }
        let (twin, of_a_fault) = (map.flag("twin"), has(&["case", "reason"]));
        if has(&["rig", "plan"]) < 2 {
            report.push(wrong("`rig` and `plan` are needed").help("or say with `not-for` why there is no such device"));
        } else if twin && of_a_fault > 0 {
            report.push(wrong("a harmless twin fails no case").help("leave out `case` and `reason`, or `twin`"));
        } else if twin && map.flag("alone") {
            report.push(wrong("all cases of a harmless twin are run").help("leave out `alone`, or `twin`"));
        } else if !twin && of_a_fault < 2 {
            report.push(wrong("a fault needs `case` and `reason`").help("or `twin: true` if the difference is harmless"));
        }
        let expected = if twin {
            Expected::Pass { twin: true }
        } else {
            Expected::Fail { case: map.string("case"), reason: map.string("reason") }
        };
        let (rig, plan) = (base.join(map.string("rig")), base.join(map.string("plan")));
        let only = map.flag("alone").then(|| map.string("case"));
        self.rows.push(Row { id, name, rig, plan, only, edited: false, expected });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Matrix, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("matrix.yaml");
        std::fs::write(&path, format!("schema: matrix/1\nname: lock\ngood:\n  - {{ rig: a.yaml, plan: p.yaml }}\n{text}"))
            .unwrap();
        Matrix::load(&path)
            .map_err(|report| report.diagnostics.iter().map(|one| one.message.clone()).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn rows_say_what_has_to_come_of_them() {
        let matrix = load(
            "variants:\n  - { id: V13, name: no-version-check, rig: b.yaml, plan: p.yaml, case: rollback, reason: ROLLBACK-DIRECT }\n  \
             - { id: B02, name: verbose, rig: c.yaml, plan: p.yaml, twin: true }\n  - { id: V19, name: radio, not-for: it has no radio }\n\
             bench-faults:\n  - { id: F1, name: welded, rig: d.yaml, plan: p.yaml, case: one, verdict: error, reason: BENCH-FAULT }\n",
        );
        let matrix = matrix.unwrap();
        let expected: Vec<_> = matrix.rows.iter().map(|row| (row.id.as_str(), row.expected.clone())).collect();
        let fail = Expected::Fail { case: "rollback".to_owned(), reason: "ROLLBACK-DIRECT".to_owned() };
        assert_eq!(
            expected,
            [
                ("good", Expected::Pass { twin: false }),
                ("V13", fail),
                ("B02", Expected::Pass { twin: true }),
                ("F1", Expected::Bench { verdict: Verdict::Error, reason: "BENCH-FAULT".to_owned() }),
            ]
        );
        assert_eq!(matrix.rows[3].only.as_deref(), Some("one"));
        assert_eq!(matrix.not_for, [("V19".to_owned(), "radio".to_owned(), "it has no radio".to_owned())]);
    }

    #[test]
    fn a_row_that_says_two_things_or_none_is_refused() {
        let wrong = |row: &str| load(&format!("variants:\n  - {{ id: V1, name: x, {row} }}\n")).unwrap_err();
        assert!(wrong("rig: b.yaml, plan: p.yaml").contains("a fault needs `case` and `reason`"));
        assert!(wrong("rig: b.yaml, plan: p.yaml, case: a").contains("needs `case` and `reason`"));
        assert!(wrong("rig: b.yaml, case: a, reason: B").contains("`rig` and `plan` are needed"));
        assert!(wrong("rig: b.yaml, plan: p.yaml, twin: true, reason: A").contains("fails no case"));
        assert!(wrong("rig: b.yaml, plan: p.yaml, twin: true, alone: true").contains("all cases of a harmless twin"));
        assert!(wrong("not-for: no, twin: true").contains("nothing to run"));
    }
}
