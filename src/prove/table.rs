//! The table of all rows, and what it says of the bench.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use serde::Serialize;

use super::{
    judge::{Observed, Outcome},
    matrix::{EVIDENCE_CHANGED, Expected, Row},
};
use crate::event::Verdict;

/// A row with what came of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The row.
    pub row: Row,
    /// Seed of this run, if it was one of several.
    pub seed: Option<u64>,
    /// What was observed; nothing if the run did not get that far.
    pub observed: Option<Observed>,
    /// Whether that is as it has to be.
    pub outcome: Outcome,
    /// Wall time.
    pub took: Duration,
}

/// Whether the records of all runs of one good device hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Crosschecked {
    /// Its rig.
    pub rig: String,
    /// Runs whose records were held against each other.
    pub runs: usize,
    /// Rules against which there was something to hold.
    pub rules: Vec<String>,
    /// What cannot be, in words.
    pub contradictions: Vec<String>,
}

/// The whole proof.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// Name of the matrix.
    pub name: String,
    /// Rows in the order of the file.
    pub rows: Vec<Judged>,
    /// The good devices' records.
    pub crosschecked: Vec<Crosschecked>,
    /// Faults that the devices here cannot have: identity, name, why.
    pub not_for: Vec<(String, String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Json<'a> {
    schema: &'static str,
    name: &'a str,
    holds: bool,
    counts: Counts,
    sensitivity: Vec<Sensitivity>,
    crosschecked: &'a [Crosschecked],
    rows: Vec<JsonRow<'a>>,
}

/// How the rows came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Runs of good devices and twins.
    pub good_runs: usize,
    /// Cases judged in them.
    pub good_cases: usize,
    /// Of these runs, those in which a case failed.
    pub false_fails: usize,
    /// Seeded faults that were run.
    pub faults: usize,
    /// Of these, those found in their case for their reason.
    pub found: usize,
    /// Broken benches that were run.
    pub bench_faults: usize,
    /// Of these, those on which nothing was said about the device.
    pub not_deceived: usize,
    /// Rows that were not as they have to be, of any kind.
    pub wrong: usize,
}

/// How often a reason was found where it had to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sensitivity {
    /// Reason code.
    pub reason: String,
    /// Faults with this reason.
    pub seeded: usize,
    /// Of these, those found.
    pub found: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JsonRow<'a> {
    id: &'a str,
    name: &'a str,
    rig: String,
    plan: String,
    expected: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    observed: String,
    outcome: String,
    holds: bool,
    took_s: f64,
}

fn expected(row: &Row) -> String {
    match &row.expected {
        Expected::Pass { twin: false } => "pass".to_owned(),
        Expected::Pass { twin: true } => "pass (twin)".to_owned(),
        Expected::Fail { case, reason } => format!("{case}: {reason}"),
        Expected::Bench { verdict, reason } => format!("{verdict}: {reason}"),
    }
}

fn observed(judged: &Judged) -> String {
    let Some(observed) = &judged.observed else { return "no result".to_owned() };
    if observed.changed.is_some() {
        return EVIDENCE_CHANGED.to_owned();
    }
    let ran = observed.cases.iter().filter(|case| case.verdict.is_some());
    let passed = ran.clone().filter(|case| case.verdict == Some(Verdict::Pass)).count();
    let first_bad = ran.clone().find(|case| case.verdict != Some(Verdict::Pass));
    match first_bad {
        None => format!("{} of {} cases pass", passed, ran.count()),
        Some(case) => format!("{}: {}", case.id, case.reason.as_deref().unwrap_or("no reason")),
    }
}

/// Text that cannot end a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Proof {
    /// Whether every row was as it has to be, and no record of a good device denies another.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.outcome.is_good()) && self.contradictions() == 0
    }

    fn contradictions(&self) -> usize {
        self.crosschecked.iter().map(|checked| checked.contradictions.len()).sum()
    }

    /// Counts of rows.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for judged in &self.rows {
            let good = judged.outcome.is_good();
            counts.wrong += usize::from(!good);
            match judged.row.expected {
                Expected::Pass { .. } => {
                    counts.good_runs += 1;
                    counts.false_fails += usize::from(matches!(judged.outcome, Outcome::FalseFail(_)));
                    let cases = judged.observed.iter().flat_map(|observed| &observed.cases);
                    counts.good_cases += cases.filter(|case| case.verdict.is_some()).count();
                }
                Expected::Fail { .. } => {
                    counts.faults += 1;
                    counts.found += usize::from(good);
                }
                Expected::Bench { .. } => {
                    counts.bench_faults += 1;
                    counts.not_deceived += usize::from(good);
                }
            }
        }
        counts
    }

    /// How often each reason was found where it was seeded.
    #[must_use]
    pub fn sensitivity(&self) -> Vec<Sensitivity> {
        let mut reasons: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for judged in &self.rows {
            if let Expected::Fail { reason, .. } = &judged.row.expected {
                let (seeded, found) = reasons.entry(reason).or_default();
                *seeded += 1;
                *found += usize::from(judged.outcome.is_good());
            }
        }
        let one = |(reason, (seeded, found)): (&str, _)| Sensitivity { reason: reason.to_owned(), seeded, found };
        reasons.into_iter().map(one).collect()
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts = self.counts();
        format!(
            "{} of {} faults found for their reason · {} false fails in {} runs ({} cases) of good devices and twins · \
             {} of {} broken benches deceived nobody · {} contradictions in the records of good devices",
            counts.found,
            counts.faults,
            counts.false_fails,
            counts.good_runs,
            counts.good_cases,
            counts.not_deceived,
            counts.bench_faults,
            self.contradictions()
        )
    }

    /// As JSON, schema `proof/1`.
    ///
    /// # Errors
    /// Never in practice; the serialiser's.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let row = |judged| {
            let Judged { row, seed, outcome, took, .. }: &Judged = judged;
            JsonRow {
                id: &row.id,
                name: &row.name,
                rig: row.rig.display().to_string(),
                plan: row.plan.display().to_string(),
                expected: expected(row),
                seed: *seed,
                observed: observed(judged),
                outcome: outcome.words(),
                holds: outcome.is_good(),
                took_s: took.as_secs_f64(),
            }
        };
        let json = Json {
            schema: "proof/1",
            name: &self.name,
            holds: self.holds(),
            counts: self.counts(),
            sensitivity: self.sensitivity(),
            crosschecked: &self.crosschecked,
            rows: self.rows.iter().map(row).collect(),
        };
        serde_json::to_string_pretty(&json).map(|text| text + "\n")
    }

    /// As Markdown, without anything that differs from one proof to the next.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "# Proof: {}\n\nWritten by `hilbench prove`. {}.\n\n| | device or bench | plan | expected | observed | |\n|---|---|---|---|---|---|\n",
            self.name,
            self.summary()
        );
        let mut told = BTreeSet::new();
        for judged in &self.rows {
            // Runs that differ in their seed only are one line, unless one of them differs.
            let several = self.rows.iter().filter(|other| other.row == judged.row).count();
            if judged.outcome.is_good() && several > 1 && !told.insert((&judged.row.id, &judged.row.rig, &judged.row.plan)) {
                continue;
            }
            let seeds = if several > 1 { format!(" ({several} seeds)") } else { String::new() };
            let mark = if judged.outcome.is_good() { "ok".to_owned() } else { format!("**{}**", cell(&judged.outcome.words())) };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {}{seeds} | {mark} |",
                cell(&judged.row.id),
                cell(&judged.row.name),
                cell(&stem(&judged.row.plan)),
                cell(&expected(&judged.row)),
                cell(&observed(judged)),
            );
        }
        out.push_str("\n## Sensitivity per reason\n\n| reason | seeded | found |\n|---|---|---|\n");
        for Sensitivity { reason, seeded, found } in self.sensitivity() {
            let _ = writeln!(out, "| {reason} | {seeded} | {found} |");
        }
        if !self.crosschecked.is_empty() {
            out.push_str("\n## Records of good devices against each other\n\n| device | runs | rules | contradictions |\n|---|---|---|---|\n");
            for checked in &self.crosschecked {
                let found = if checked.contradictions.is_empty() { "none".to_owned() } else { checked.contradictions.join("; ") };
                let (rig, rules) = (cell(&checked.rig), cell(&checked.rules.join(", ")));
                let _ = writeln!(out, "| {rig} | {} | {rules} | {} |", checked.runs, cell(&found));
            }
        }
        if !self.not_for.is_empty() {
            out.push_str("\n## Faults that these devices cannot have\n\n| | fault | why |\n|---|---|---|\n");
            for (id, name, why) in &self.not_for {
                let _ = writeln!(out, "| {} | {} | {} |", cell(id), cell(name), cell(why));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{super::judge::Case, *};

    fn judged(id: &str, expected: Expected, outcome: Outcome) -> Judged {
        let row = Row {
            id: id.into(),
            name: "a | b".into(),
            rig: "r.yaml".into(),
            plan: "x/p.yaml".into(),
            only: None,
            edited: false,
            expected,
        };
        let case = Case { id: "c".to_owned(), verdict: Some(Verdict::Pass), reason: None };
        let observed = Some(Observed { verdict: Verdict::Pass, safe: true, cases: vec![case], changed: None });
        Judged { row, seed: None, observed, outcome, took: Duration::from_secs(1) }
    }

    #[test]
    fn counts_and_sensitivity_tell_what_was_missed() {
        let fail = |reason: &str| Expected::Fail { case: "c".to_owned(), reason: reason.to_owned() };
        let good = Expected::Pass { twin: false };
        let proof = Proof {
            name: "lock".to_owned(),
            rows: vec![
                judged("good", good.clone(), Outcome::AsExpected),
                judged("good", good, Outcome::FalseFail("c fail X".to_owned())),
                judged("V1", fail("SIG"), Outcome::AsExpected),
                judged("V2", fail("SIG"), Outcome::Missed("every case passed".to_owned())),
                judged("F1", Expected::Bench { verdict: Verdict::Error, reason: "BENCH-FAULT".to_owned() }, Outcome::AsExpected),
            ],
            crosschecked: Vec::new(),
            not_for: vec![("V9".to_owned(), "radio".to_owned(), "has none".to_owned())],
        };
        assert!(!proof.holds());
        let counts = proof.counts();
        assert_eq!((counts.false_fails, counts.good_runs, counts.good_cases), (1, 2, 2));
        assert_eq!((counts.found, counts.faults, counts.wrong), (1, 2, 2));
        assert_eq!(proof.sensitivity(), [Sensitivity { reason: "SIG".to_owned(), seeded: 2, found: 1 }]);
        let text = proof.markdown();
        assert!(text.contains("| V2 | a \\| b | p | c: SIG | 1 of 1 cases pass | **MISSED: every case passed** |"), "{text}");
        assert!(text.contains("| V9 | radio | has none |") && text.contains("| SIG | 2 | 1 |"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&proof.json().unwrap()).unwrap();
        assert_eq!((json["holds"].as_bool(), json["counts"]["wrong"].as_u64()), (Some(false), Some(2)));
        assert!(!Proof::default().holds(), "nothing run proves nothing");
    }

    #[test]
    fn a_proof_whose_records_contradict_each_other_does_not_hold() {
        let rows = vec![judged("good", Expected::Pass { twin: false }, Outcome::AsExpected)];
        let checked =
            |contradictions| Crosschecked { rig: "lock".to_owned(), runs: 2, rules: vec!["A".to_owned()], contradictions };
        let proof =
            |contradictions| Proof { rows: rows.clone(), crosschecked: vec![checked(contradictions)], ..Proof::default() };
        assert!(proof(vec![]).holds() && proof(vec![]).markdown().contains("| lock | 2 | A | none |"));
        let contradicted = proof(vec!["A: x; but y".to_owned()]);
        assert!(!contradicted.holds());
        assert!(
            contradicted.summary().ends_with("1 contradictions in the records of good devices"),
            "{}",
            contradicted.summary()
        );
        assert!(contradicted.markdown().contains("| lock | 2 | A | A: x; but y |"));
    }
}
