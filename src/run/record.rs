//! The run's pen: facts and evidence to the journal, the first failure latched.
//!
//! Without a journal there is no evidence, so a failing one makes the run an error; but it must never keep the bench from
//! its safe state. Hence writing does not return an error that a caller could stumble over: the engine asks [`Recorder::failed`].

use crate::{
    channel::tap::Tap,
    event::{ChannelName, EvidenceRef, Fact, Nanos},
    journal::Journal,
};

/// Writes facts; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    journal: Journal,
}

impl Recorder {
    /// A pen for `journal`.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal }
    }

    /// Writes a fact.
    pub fn fact(&self, fact: Fact) {
        if let Err(error) = self.journal.append(fact) {
            tracing::error!(%error, "the journal cannot be written");
        }
    }

    /// Writes a file of evidence.
    pub fn evidence(&self, name: &str, bytes: &[u8]) -> Option<EvidenceRef> {
        self.journal.evidence_file(name, bytes).inspect_err(|error| tracing::error!(%error, "evidence cannot be written")).ok()
    }

    /// What made the journal fail, if it did.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.journal.failed()
    }
}

impl Tap for Recorder {
    fn received(&self, channel: &ChannelName, _at: Nanos, bytes: &[u8]) {
        if let Ok(place) = self.journal.evidence_append(&format!("{channel}.rx"), bytes) {
            self.fact(Fact::Received { channel: channel.clone(), offset: place.offset, len: place.len });
        }
    }

    fn sent(&self, channel: &ChannelName, _at: Nanos, bytes: &[u8]) {
        if let Ok(place) = self.journal.evidence_append(&format!("{channel}.tx"), bytes) {
            self.fact(Fact::Sent { channel: channel.clone(), offset: place.offset, len: place.len });
        }
    }

    fn lost(&self, channel: &ChannelName, why: &str) {
        self.fact(Fact::ChannelLost { channel: channel.clone(), why: why.to_owned() });
    }

    fn gap(&self, channel: &ChannelName, lost: Option<u64>) {
        self.fact(Fact::Gap { channel: channel.clone(), lost });
    }
}
