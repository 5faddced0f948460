//! The facts a run consists of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CaseId, ChannelName, CutOutcome, CutPoint, Reason, RunId, StepId, StopLevel, Verdict};

/// BLAKE3 digest as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl Digest {
    /// Digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}

/// A file as it was when the run started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Path as given.
    pub path: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// What was known when the run started. Everything needed to judge or repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunHeader {
    /// [`super::SCHEMA`].
    pub schema: String,
    /// `hilbench 0.1.0`.
    pub tool: String,
    /// The run.
    pub run: RunId,
    /// Command line, argument by argument.
    pub command: Vec<String>,
    /// RFC 3339 time of the wall clock at bench time zero.
    pub started: String,
    /// `wall` or `virtual`: what [`super::Event::at`] counts.
    pub clock: String,
    /// Seed of everything random in this run.
    pub seed: u64,
    /// Name of the plan and the file.
    pub plan: String,
    /// Name of the rig.
    pub rig: String,
    /// Name of the device profile.
    pub device: String,
    /// Plan, rig and device profile files, then images.
    pub files: Vec<FileDigest>,
    /// Cases in the order of the plan: id and title. What a progress display can know in advance.
    pub cases: Vec<(CaseId, String)>,
}

/// A place in a run's evidence: bytes of a stream or file under `evidence/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// File name below `evidence/`: `console.rx`, `cut-117.txt`. Never a path.
    pub file: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Recorded proof that a stimulus took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// What shows it: `rail 0 mV 3 ms after the command`, `device acknowledged 6144 bytes, first altered byte at 100`.
    pub what: String,
    /// Bytes that prove it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRef>,
}

/// An act on the world, written before it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Supply to up (`true`) or down.
    Power(bool),
    /// Button or strap pressed (`true`) or released.
    Press(bool),
    /// Flash written through the debug probe.
    Flash {
        /// Image role or file.
        image: String,
        /// Whether the whole device is erased first.
        erase_all: bool,
    },
    /// Device reset through the debug probe.
    Reset,
    /// A change of the device's network. It outlasts the controller, so the guard knows of it.
    Network {
        /// What is done, in words.
        what: String,
    },
    /// An exchange that ends by itself: a USB transfer, a Bluetooth write, another behaviour of the bench's cloud.
    Exchange {
        /// What is done, in words.
        what: String,
    },
    /// Memory read through the debug probe.
    ReadMemory {
        /// First address.
        address: u32,
        /// Bytes.
        len: u32,
    },
}

/// Bound of a measurement, in the measurement's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limit {
    /// Smallest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Largest good value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Fact {
    // --- run ---
    /// First event of a run.
    RunStarted(Box<RunHeader>),
    /// Last event written by the engine.
    RunFinished {
        /// Worst verdict of all cases and of the bench.
        verdict: Verdict,
        /// Why, if not pass.
        reason: Option<Reason>,
        /// Wall-clock milliseconds since the start (differs from `at` on a virtual bench).
        wall_ms: u64,
    },

    // --- rig ---
    /// An instrument that this run needs is not free; the run waits.
    LeaseAwaited {
        /// Which, and who has it since when.
        what: String,
    },
    /// An instrument is ours alone.
    LeaseTaken {
        /// Its identity.
        instrument: String,
        /// Wall time that the run waited for its instruments, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waited_ms: Option<u64>,
    },
    /// A channel can be used.
    ChannelOpened {
        /// Channel.
        channel: ChannelName,
        /// Driver and instrument identity: `virtual-serial lock-1`, `serial 0d28:0204:99...`.
        identity: String,
    },
    /// A channel is gone.
    ChannelLost {
        /// Channel.
        channel: ChannelName,
        /// Why.
        why: String,
    },
    /// A channel came back.
    ChannelReopened {
        /// Channel.
        channel: ChannelName,
        /// Driver and instrument identity.
        identity: String,
    },
    /// About to act on the world through a channel.
    Acting {
        /// Channel.
        channel: ChannelName,
        /// The act.
        act: Act,
        /// On behalf of which step.
        step: Option<StepId>,
    },
    /// The way to the safe state begins.
    SafeStateStarted,
    /// One action towards the safe state was tried.
    SafeStateAction {
        /// Channel.
        channel: ChannelName,
        /// The act.
        act: Act,
        /// `None` if confirmed, else what went wrong.
        problem: Option<String>,
        /// Read-back, if the instrument has one.
        witness: Option<Witness>,
    },
    /// Every action was tried.
    SafeStateFinished {
        /// Whether all were confirmed.
        ok: bool,
        /// `controller` or `guard`.
        by: String,
    },

    // --- cases and steps ---
    /// A case begins.
    CaseStarted {
        /// Case.
        case: CaseId,
        /// Title.
        title: String,
        /// TS 103 701 test cases it contributes to.
        assesses: Vec<String>,
    },
    /// A case was not run.
    CaseSkipped {
        /// Case.
        case: CaseId,
        /// Why: not applicable to this rig, not selected, run stopped.
        why: String,
    },
    /// A case is judged.
    CaseFinished {
        /// Case.
        case: CaseId,
        /// Verdict.
        verdict: Verdict,
        /// Why, if not pass.
        reason: Option<Reason>,
        /// Step that decided, if not pass.
        step: Option<StepId>,
    },
    /// A step begins.
    StepStarted {
        /// Step.
        step: StepId,
        /// What it does, in a few words.
        text: String,
        /// Bench time by which it must have ended.
        deadline: super::Nanos,
    },
    /// A retried step's attempt did not succeed; another follows.
    AttemptFailed {
        /// Step.
        step: StepId,
        /// Which attempt, from 1.
        attempt: u32,
        /// Of how many.
        of: u32,
        /// Why.
        reason: Reason,
    },
    /// A step has ended.
    StepFinished {
        /// Step.
        step: StepId,
        /// Verdict.
        verdict: Verdict,
        /// Why, if not pass.
        reason: Option<Reason>,
        /// Bytes that decided.
        evidence: Vec<EvidenceRef>,
    },

    // --- traffic ---
    /// Bytes went to the device; they stand in `CHANNEL.tx`.
    Sent {
        /// Channel.
        channel: ChannelName,
        /// Offset in the stream.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Bytes came from the device; they stand in `CHANNEL.rx`.
    Received {
        /// Channel.
        channel: ChannelName,
        /// Offset in the stream.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Bytes were lost between the device and the capture.
    Gap {
        /// Channel.
        channel: ChannelName,
        /// How many, if known.
        lost: Option<u64>,
    },

    // --- observations ---
    /// An expectation was met.
    Matched {
        /// Step.
        step: StepId,
        /// Channel.
        channel: ChannelName,
        /// The pattern.
        pattern: String,
        /// The bytes that matched.
        evidence: EvidenceRef,
        /// Named captures.
        captures: BTreeMap<String, String>,
    },
    /// A value was measured.
    Measured {
        /// Step.
        step: StepId,
        /// Name: `recovery-time`.
        name: String,
        /// Value.
        value: f64,
        /// Unit: `s`, `V`, `mA`, `1`.
        unit: String,
        /// What it was held against.
        limit: Option<Limit>,
        /// Whether it was within.
        within: bool,
    },
    /// Something was seen on a channel that is not a byte stream.
    Observed {
        /// On behalf of which step; none for what happened by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// Channel.
        channel: ChannelName,
        /// What, in words: `USB device 1209:0003 at 1-1.2`.
        what: String,
        /// Bytes that show it, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<EvidenceRef>,
    },
    /// A stimulus was proven.
    Witnessed {
        /// Step.
        step: StepId,
        /// The proof.
        witness: Witness,
    },
    /// A stimulus was given and nothing proves it.
    Unwitnessed {
        /// Step.
        step: StepId,
        /// What was missing.
        missing: String,
    },

    // --- power-cut search ---
    /// The uninterrupted operation was recorded and its flash operations counted.
    CutBaseline {
        /// Step.
        step: StepId,
        /// Flash operations.
        operations: u32,
        /// Cut points that will be tried.
        points: u64,
    },
    /// Cuts were judged: outcome and how many points in a row had it, in the order of points.
    CutsJudged {
        /// Step.
        step: StepId,
        /// Index of the first point of this batch, from 0.
        first: u64,
        /// Run-length encoded outcomes.
        outcomes: Vec<(CutOutcome, u32)>,
    },
    /// A cut led to a bad outcome.
    CutFailed {
        /// Step.
        step: StepId,
        /// The cut.
        point: CutPoint,
        /// What it led to.
        outcome: CutOutcome,
        /// What the device did, as a transcript.
        evidence: Option<EvidenceRef>,
        /// Command line that repeats exactly this cut.
        reproduce: String,
    },
    /// The search has ended.
    CutsFinished {
        /// Step.
        step: StepId,
        /// Points judged.
        judged: u64,
        /// Points there are.
        of: u64,
        /// Points with a bad outcome.
        bad: u64,
        /// 95 % upper bound of the share of bad points (Clopper-Pearson), 0 to 1. On an exhaustive search it is exact.
        upper_95: f64,
    },

    // --- control and faults ---
    /// Somebody asked the run to end.
    StopRequested {
        /// How urgently.
        level: StopLevel,
        /// Who.
        by: String,
    },
    /// The bench itself went wrong.
    BenchFault {
        /// Where, if it is one channel.
        channel: Option<ChannelName>,
        /// What happened and what to do.
        what: String,
    },
}
