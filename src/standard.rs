//! EN 303 645 provisions and TS 103 701 test cases, as data in the program.
//!
//! The catalogue is `src/standard/en303645.yaml`: ids, statuses and kinds are facts of the standards, titles and purposes are our
//! own words. The applicability conditions are recalled and not verified against the table of EN 303 645, Annex B.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

/// Whether a provision must be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Status {
    /// "Shall".
    #[serde(rename = "M")]
    Mandatory,
    /// "Should".
    #[serde(rename = "R")]
    Recommended,
}

/// What a test case looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseKind {
    /// The declared design.
    Conceptual,
    /// The device.
    Functional,
    /// Both.
    Mixed,
}

/// How much of a test case a bench can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bench {
    /// It can run it and derive the verdict.
    Full,
    /// It gathers evidence; the verdict needs more than the bench.
    Partial,
    /// Nothing in it runs on a bench.
    None,
}

/// A provision of EN 303 645.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provision {
    /// `5.3-2`.
    pub id: String,
    /// Mandatory or recommended.
    pub status: Status,
    /// Numbers of the conditions under which it applies; none means always.
    #[serde(default, rename = "if")]
    pub conditions: Vec<u8>,
    /// In our own words.
    pub title: String,
    /// Test cases of TS 103 701 for it.
    #[serde(default)]
    pub cases: Vec<TestCase>,
}

/// A test case of TS 103 701.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// `5.3-2-2`.
    pub id: String,
    /// What it looks at.
    pub kind: CaseKind,
    /// How much of it a bench can do.
    pub bench: Bench,
    /// In our own words.
    pub purpose: String,
}

/// The whole catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The standard and its version.
    pub standard: String,
    /// The test specification and its version.
    pub specification: String,
    /// What the condition numbers mean.
    pub conditions: BTreeMap<u8, String>,
    /// In the order of the standard.
    pub provisions: Vec<Provision>,
}

impl Catalogue {
    /// A provision by id.
    #[must_use]
    pub fn provision(&self, id: &str) -> Option<&Provision> {
        self.provisions.iter().find(|provision| provision.id == id)
    }

    /// A test case by id, with its provision.
    #[must_use]
    pub fn test_case(&self, id: &str) -> Option<(&Provision, &TestCase)> {
        self.test_cases().find(|(_, case)| case.id == id)
    }

    /// All test cases in order.
    pub fn test_cases(&self) -> impl Iterator<Item = (&Provision, &TestCase)> {
        self.provisions.iter().flat_map(|provision| provision.cases.iter().map(move |case| (provision, case)))
    }
}

/// The catalogue in the program.
///
/// # Panics
/// Never in a build whose tests passed: the data are part of the program.
#[must_use]
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        serde_yaml::from_str(include_str!("standard/en303645.yaml")).expect("the embedded catalogue is checked by tests")
    })
}

/// A provision of the catalogue.
#[must_use]
pub fn provision(id: &str) -> Option<&'static Provision> {
    catalogue().provision(id)
}

/// A test case of the catalogue, with its provision.
#[must_use]
pub fn test_case(id: &str) -> Option<(&'static Provision, &'static TestCase)> {
    catalogue().test_case(id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Bench, CaseKind, Status, catalogue, provision, test_case};

    #[test]
    fn the_provisions_are_those_of_the_standard() {
        let provisions = &catalogue().provisions;
        let count = |status| provisions.iter().filter(|p| p.status == status).count();
        assert_eq!((provisions.len(), count(Status::Mandatory), count(Status::Recommended)), (68, 33, 35));
        assert_eq!(provisions.iter().map(|p| &p.id).collect::<BTreeSet<_>>().len(), 68);
        for condition in provisions.iter().flat_map(|p| &p.conditions) {
            assert!(catalogue().conditions.contains_key(condition), "{condition}");
        }
    }

    #[test]
    fn the_cases_are_those_of_the_test_specification() {
        // 109 cases as counted by kind, 4-1-1 (which has no group) among the conceptual ones.
        let cases: Vec<_> = catalogue().test_cases().map(|(_, case)| case).collect();
        assert_eq!(cases.len(), 109);
        assert_eq!(cases.iter().map(|case| &case.id).collect::<BTreeSet<_>>().len(), 109);
        let count = |kind| cases.iter().filter(|case| case.kind == kind).count();
        assert_eq!((count(CaseKind::Conceptual), count(CaseKind::Functional), count(CaseKind::Mixed)), (62, 46, 1));
        assert!(test_case("4-1-1").is_some());
        let bench = |bench| cases.iter().filter(|case| case.bench == bench).count();
        assert_eq!((bench(Bench::Full), bench(Bench::Partial)), (22, 19));
        for (provision, case) in catalogue().test_cases() {
            assert!(case.id.starts_with(&format!("{}-", provision.id)), "{} under {}", case.id, provision.id);
        }
    }

    #[test]
    fn names_are_looked_up_exactly() {
        let (of, case) = test_case("5.3-2-2").unwrap();
        assert_eq!((of.id.as_str(), case.kind), ("5.3-2", CaseKind::Functional));
        assert_eq!(provision("5.9-1").unwrap().status, Status::Recommended);
        assert!(test_case("5.3-2").is_none() && provision("5.3-2-2").is_none() && provision("").is_none());
    }
}
