//! The run's pen: facts and evidence to the journal, the first failure latched.
//!
//! Without a journal there is no evidence, so a failing one makes the run an error; but it must never keep the bench from
//! its safe state. Hence writing does not return an error that a caller could stumble over: the engine asks [`Recorder::failed`].

use crate::{
    channel::tap::Tap,
    event::{ChannelName, EvidenceRef, Fact, Nanos},
    journal::{Journal, JournalError},
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
        note(self.journal.append(fact));
    }

    /// Writes a file of evidence.
    #[must_use]
    pub fn evidence(&self, name: &str, bytes: &[u8]) -> Option<EvidenceRef> {
        note(self.journal.evidence_file(name, bytes))
    }

    /// What made the journal fail, if it did.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.journal.failed().map(|failure| format!("{}: {}", failure.operation, failure.what))
    }
}

impl Tap for Recorder {
    fn received(&self, channel: &ChannelName, at: Nanos, bytes: &[u8]) {
        note(self.journal.received(at, channel, bytes));
    }

    fn sent(&self, channel: &ChannelName, at: Nanos, bytes: &[u8]) {
        note(self.journal.sent(at, channel, bytes));
    }

    fn lost(&self, channel: &ChannelName, at: Nanos, why: &str) {
        note(self.journal.append_at(at, Fact::ChannelLost { channel: channel.clone(), why: why.to_owned() }));
    }

    fn gap(&self, channel: &ChannelName, at: Nanos, lost: Option<u64>) {
        note(self.journal.append_at(at, Fact::Gap { channel: channel.clone(), lost }));
    }

    fn reopened(&self, channel: &ChannelName, at: Nanos, identity: &str) {
        note(self.journal.append_at(at, Fact::ChannelReopened { channel: channel.clone(), identity: identity.to_owned() }));
    }

    fn noted(&self, channel: &ChannelName, at: Nanos, what: &str) {
        let (channel, what) = (channel.clone(), what.to_owned());
        note(self.journal.append_at(at, Fact::Observed { step: None, channel, what, evidence: None }));
    }
}

/// The journal keeps its first failure; the log is for developers.
fn note<T>(written: Result<T, JournalError>) -> Option<T> {
    written.inspect_err(|error| tracing::error!(%error, "the journal cannot be written")).ok()
}
