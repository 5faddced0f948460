//! What the terminal UI asks of the program around it. It has no other way to the bench.

use std::{
    path::{Path, PathBuf},
    process::Child,
};

use crate::{
    event::{Request, RunId},
    journal::RunSummary,
};

/// The program around it. Calls may take seconds and are made from other threads than the one that draws.
pub trait Host: Send + Sync {
    /// Rigs, plans and recorded runs that there are.
    fn survey(&self) -> Survey;

    /// The cases of a plan on a rig.
    ///
    /// # Errors
    /// What is wrong with the files.
    fn cases(&self, plan: &Path, rig: &Path) -> Result<Vec<CaseEntry>, String>;

    /// Examines a bench without disturbing the device.
    ///
    /// # Errors
    /// It could not be examined.
    fn doctor(&self, rig: &Path) -> Result<Vec<Finding>, String>;

    /// Starts a run in a process of its own, which goes on whatever becomes of this one.
    ///
    /// # Errors
    /// It could not be started.
    fn start(&self, choice: &Choice) -> Result<Started, String>;

    /// Asks something of the run in a directory.
    ///
    /// # Errors
    /// It is not there any more, or refuses.
    fn send(&self, run: &Path, request: &Request) -> Result<(), String>;

    /// Directory of all runs.
    fn runs(&self) -> PathBuf;

    /// Who sits here, for answers.
    fn user(&self) -> String;
}

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Rigs, by path.
    pub rigs: Vec<RigEntry>,
    /// Plans, by path.
    pub plans: Vec<PlanEntry>,
    /// Runs, newest first.
    pub runs: Vec<RunSummary>,
    /// What could not be listed.
    pub problem: Option<String>,
}

/// A rig file.
#[derive(Debug, Clone)]
pub struct RigEntry {
    /// Where.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub title: String,
    /// Its channels, for telling which plans are for it.
    pub channels: Vec<String>,
    /// Whether it can be used.
    pub state: RigState,
}

/// Whether a rig can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RigState {
    /// Nobody has it.
    Free,
    /// Somebody has it, in words.
    Held(String),
    /// An instrument is not there.
    Missing(String),
    /// Its file is wrong.
    Bad(String),
}

/// A plan file.
#[derive(Debug, Clone)]
pub struct PlanEntry {
    /// Where.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub title: String,
    /// Channels without which it cannot run.
    pub requires: Vec<String>,
    /// Number of cases.
    pub cases: usize,
    /// What is wrong with it.
    pub bad: Option<String>,
}

/// A case of a plan on a rig.
#[derive(Debug, Clone)]
pub struct CaseEntry {
    /// Its name.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// Why it cannot run on this rig.
    pub not_here: Option<String>,
}

/// What was found about a part of the bench.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which part.
    pub subject: String,
    /// How bad.
    pub level: Level,
    /// What.
    pub what: String,
    /// What to do.
    pub advice: Option<String>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// To be known.
    Note,
    /// To be mended.
    Bad,
}

/// What to run, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Plan file.
    pub plan: PathBuf,
    /// Rig file.
    pub rig: PathBuf,
    /// Only these cases; all if empty.
    pub cases: Vec<String>,
    /// Seed of everything random, as typed.
    pub seed: String,
    /// How long instruments are waited for, as typed.
    pub wait: String,
    /// Whether the first case that does not pass ends the run.
    pub fail_fast: bool,
    /// Whether prompts wait for an answer; otherwise they are skipped.
    pub wait_for_answers: bool,
    /// File of prepared answers, as typed.
    pub answers: String,
    /// Further arguments, as they are.
    pub more: Vec<String>,
}

/// A run in a process of its own.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Child,
    /// The run it makes.
    pub run: RunId,
    /// What it prints.
    pub log: PathBuf,
}
