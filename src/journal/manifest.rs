//! The manifest of a closed run: every file with its size and digest, and the run in a few words for lists.

use serde::{Deserialize, Serialize};

use crate::event::{Digest, Fact, Reason, RunId, Verdict};

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// [`super::SCHEMA`].
    pub schema: String,
    /// The run.
    pub run: RunId,
    /// Who closed it.
    pub ended: Ended,
    /// The run in a few words.
    pub summary: Summary,
    /// Every file but this one, and but an empty `guard.jsonl`.
    pub files: Vec<FileEntry>,
}

/// Who closed a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The controller that ran it.
    Closed,
    /// Somebody else, after the controller was gone: the run ended abnormally.
    Recovered,
}

/// What a list of runs shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// RFC 3339 time of the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Rig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rig: Option<String>,
    /// Device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Verdict, if the run came to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why, if not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Summary {
    /// Takes from a fact what belongs here.
    pub(super) fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::RunStarted(header) => {
                self.started = Some(header.started.clone());
                self.plan = Some(header.plan.clone());
                self.rig = Some(header.rig.clone());
                self.device = Some(header.device.clone());
            }
            Fact::RunFinished { verdict, reason, .. } => {
                self.verdict = Some(*verdict);
                self.reason.clone_from(reason);
            }
            _ => {}
        }
    }
}

/// One file of a closed run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileEntry {
    /// Name relative to the run directory, without `.gz`.
    pub file: String,
    /// Bytes, uncompressed.
    pub size: u64,
    /// BLAKE3 digest of the uncompressed bytes.
    pub blake3: Digest,
    /// Whether it is stored gzip-compressed, under its name with `.gz`.
    pub compressed: bool,
}

/// A file of a closed run that is not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Name as in the manifest.
    pub file: String,
    /// What is wrong.
    pub what: String,
}
