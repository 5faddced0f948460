//! What a driver gives the bench: one small trait per ability.
//!
//! A link that can prove its act returns a [`Witness`]; one that cannot says [`Proof::None`] with what is missing, and no verdict
//! that rests on the act can then be `pass`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    api::ApiLink,
    ble::BleLink,
    clock::BoxFuture,
    cloud::CloudLink,
    finding::{Finding, look_at},
    line::LineControl,
    network::NetworkLink,
    probe::{LockReading, unable},
    usb::UsbLink,
};
use crate::event::{CutOutcome, CutPoint, Witness};

/// A fault of the bench: an instrument did not do its part.
#[derive(Debug, Error)]
#[error("{operation}: {what}")]
pub struct LinkError {
    /// What was tried, with the instrument's identity: `switch supply lock-1 down`.
    pub operation: String,
    /// What went wrong, causes included, and what to do next.
    pub what: String,
    /// Whether the instrument is gone (unplugged, process ended) rather than refusing.
    pub lost: bool,
    /// Whose doing it is.
    pub cause: Cause,
}

/// Why an act on an instrument came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The instrument did not do its part.
    Instrument,
    /// A person was asked and did not answer: nothing is known, and nothing is at fault.
    Person,
    /// The device did not do what the act rests on, while the instrument did its part: nothing is known.
    Device,
}

impl LinkError {
    /// A failed operation on an instrument that is still there.
    pub fn new(operation: impl Into<String>, what: impl Into<String>) -> Self {
        Self { operation: operation.into(), what: what.into(), lost: false, cause: Cause::Instrument }
    }

    /// The instrument did its part, the device did not: what was to be done rests on it.
    pub fn of_device(operation: impl Into<String>, what: impl Into<String>) -> Self {
        Self { cause: Cause::Device, ..Self::new(operation, what) }
    }
}

/// Whether an act was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It took place; this shows it.
    Seen(Witness),
    /// Nothing shows it; this would have.
    None(String),
}

/// Something that happened without being asked for, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened, in words: `USB device 1209:0003 appeared at 1-1.2`.
    pub what: String,
    /// Bytes that show it, with the ending of their file: `pcap`, `json`. They become evidence.
    pub evidence: Option<(&'static str, Vec<u8>)>,
}

/// Takes notices, from any thread, without blocking for long.
pub type Notices = Arc<dyn Fn(Notice) + Send + Sync>;

/// A byte stream to the device: both directions of a serial console.
pub trait ByteLink: AsyncRead + AsyncWrite + Send + Unpin {
    /// Control of the line that carries the bytes, if they come over one. Asked for once, when the stream is taken over.
    fn line(&mut self) -> Option<Box<dyn LineControl>> {
        None
    }
}

impl ByteLink for tokio::io::DuplexStream {}
impl ByteLink for tokio::net::TcpStream {}
impl ByteLink for tokio::net::UnixStream {}

/// What a supply can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measurand {
    /// The voltage of its output, in V.
    Voltage,
    /// The current that it gives, in mA.
    Current,
}

/// A switched supply.
pub trait SupplyLink: Send {
    /// Drives the supply up or down and returns once the rail has settled, in bench time.
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// What the supply is at, by read-back; `None` if the instrument cannot tell.
    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>>;
    /// Measures what the supply gives, in V or mA; `None` if the instrument cannot.
    fn measure(&mut self, what: Measurand) -> BoxFuture<'_, Result<Option<f64>, LinkError>> {
        let _ = what;
        Box::pin(async { Ok(None) })
    }
    /// The ability to count flash operations and cut at each of them, if this supply has it.
    fn cut_lab(&self) -> Option<Arc<dyn CutLab>> {
        None
    }
}

/// A pushed button or a strap.
pub trait ButtonLink: Send {
    /// Presses or releases, with read-back where the instrument has one.
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>>;
}

/// A region of an image at its flash address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// First address.
    pub address: u32,
    /// Bytes.
    pub bytes: Vec<u8>,
}

/// A debug probe with its target.
pub trait ProbeLink: Send {
    /// Writes the segments with the chip's own flash algorithm and verifies them by reading back; the device is reset and running
    /// afterwards. With `erase_all` the whole device, configuration words included, is erased first.
    fn flash(&mut self, segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Resets the device and lets it run.
    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>>;
    /// Reads `len` bytes. `Ok(Err(text))` is the *device* refusing the read (a closed port), which is an observation, not a fault.
    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>>;
    /// Halts the core. It stays halted until it is let run, or until one of the acts above that reset the device.
    fn halt(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(std::future::ready(unable("halt the core")))
    }
    /// Lets a halted core run.
    fn resume(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(std::future::ready(unable("let the core run")))
    }
    /// Reads the lock of the debug port with raw accesses that change nothing. `family` names the rule; without it, the chip does.
    /// A device that refuses or is silent is in the reading; an error is a fault of the bench.
    fn lock_state(&mut self, family: Option<String>) -> BoxFuture<'_, Result<LockReading, LinkError>> {
        let _ = family;
        Box::pin(std::future::ready(unable("read the lock")))
    }
}

/// One exchange on the console: bytes to send, then a pattern that must appear within a time. Used by [`CutLab`] to question a device
/// that has come up after a cut, with the same lines and patterns the device profile declares.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Bytes to send; may be empty.
    pub send: Vec<u8>,
    /// What must appear, counted from the send; `None` sends only.
    pub expect: Option<regex::bytes::Regex>,
    /// Device time allowed.
    pub within: Duration,
}

/// What to try and how to judge it, in terms of console exchanges.
#[derive(Debug, Clone)]
pub struct CutPlan {
    /// Which points: all, or exactly one.
    pub select: CutSelect,
    /// Torn variants per operation (seeds 0..n). `before` and `after` are always tried.
    pub torn: u32,
    /// Second cuts per first cut, spread evenly over the recovery's flash operations; 0 for none.
    pub second: u32,
    /// Appears on the console when the device is up; declared by the profile. A capture named `version` tells what runs.
    pub ready: regex::bytes::Regex,
    /// Device time allowed from power-on to `ready`, without any input.
    pub recovery: Duration,
    /// Version before the update, as captured by `ready`.
    pub old_version: String,
    /// Version of the update.
    pub new_version: String,
    /// Reads the settings; the text matched by the last exchange's capture `value` must be equal to that before the update.
    pub settings: Vec<Exchange>,
    /// Reads the security counter; capture `value` is a number that must not be lower than before the cut.
    pub counter: Vec<Exchange>,
    /// Makes the running image permanent. A new image that ran unconfirmed must be gone after one more power cycle unless this
    /// had been sent, in the recorded run, before the cut.
    pub confirm: Vec<Exchange>,
    /// A complete genuine update up to confirmation; must leave `new_version` running.
    pub update: Vec<Exchange>,
    /// Threads to use; 0 for one per core.
    pub threads: usize,
    /// Answer signature checks from memory where (signature, key, message) were seen before. Never changes an outcome.
    pub memoise: bool,
}

/// Which cut points to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutSelect {
    /// Every operation in every phase.
    All,
    /// Exactly this one; the transcript of it is always kept.
    One(CutPoint),
}

/// The recorded uninterrupted operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutBaseline {
    /// Flash operations in it.
    pub operations: u32,
}

/// Progress of a search, in the order of points.
#[derive(Debug)]
pub enum CutProgress {
    /// There are so many points. Comes first.
    Counted(u64),
    /// These many points in a row had this outcome.
    Judged(Vec<(CutOutcome, u32)>),
    /// A bad point, or the one selected, with the console transcript of everything from the cut on.
    Told {
        /// The point.
        point: CutPoint,
        /// What it led to.
        outcome: CutOutcome,
        /// Transcript for a person: what was cut, what the device printed, what the oracle asked and got.
        transcript: String,
    },
}

/// End of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutSummary {
    /// Points judged; fewer than there are if the search was stopped.
    pub judged: u64,
    /// Points there are.
    pub of: u64,
    /// Points with a bad outcome.
    pub bad: u64,
    /// Whether `of` covers every flash operation.
    pub exhaustive: bool,
}

/// A supply that can see the device's flash operations: the virtual one. The calls block; run them off the executor.
pub trait CutLab: Send + Sync {
    /// Starts recording: snapshot of the device, then every input to it with its device time.
    fn begin(&self) -> Result<(), LinkError>;
    /// Ends the recording.
    fn end(&self) -> Result<CutBaseline, LinkError>;
    /// Cuts and judges. `on` is called from this thread. `keep_going` is asked before each point, from any thread; once it says no, the search
    /// ends with what was judged so far, or with a summary of 0 points of 0 if they have not even been counted.
    fn search(
        &self,
        plan: &CutPlan,
        on: &mut dyn FnMut(CutProgress),
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Result<CutSummary, LinkError>;
}

/// An opened channel.
pub enum Opened {
    /// Byte stream.
    Console(Box<dyn ByteLink>),
    /// Supply.
    Supply(Box<dyn SupplyLink>),
    /// Button or strap.
    Button(Box<dyn ButtonLink>),
    /// Debug probe.
    Probe(Box<dyn ProbeLink>),
    /// The device's USB port.
    Usb(Box<dyn UsbLink>),
    /// Bluetooth Low Energy.
    Ble(Box<dyn BleLink>),
    /// The device's network.
    Network(Box<dyn NetworkLink>),
    /// The services that the device talks to.
    Cloud(Box<dyn CloudLink>),
    /// What the device offers on its own network.
    Api(Box<dyn ApiLink>),
}

/// What kind of channel a driver provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelKind {
    /// Byte stream.
    Console,
    /// Supply.
    Supply,
    /// Button or strap.
    Button,
    /// Debug probe.
    Probe,
    /// The device's USB port.
    Usb,
    /// Bluetooth Low Energy.
    Ble,
    /// The device's network.
    Network,
    /// The services that the device talks to.
    Cloud,
    /// What the device offers on its own network.
    Api,
}

/// Code that opens one kind of instrument.
pub trait Driver: Send + Sync {
    /// Name in rig files: `serial`, `probe-rs`, `virtual-power`.
    fn name(&self) -> &'static str;
    /// What it provides.
    fn kind(&self) -> ChannelKind;
    /// Parameters it accepts in the rig file besides `driver`: name, whether required, what it is. Others are refused by the check.
    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)];
    /// Whether the parameters make sense, by themselves. Looks at nothing else.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        let _ = parameters;
        Ok(())
    }
    /// Whether its supply counts flash operations and can cut at each of them; see [`SupplyLink::cut_lab`].
    fn sees_flash(&self) -> bool {
        false
    }
    /// Stable identity of the physical instrument that `parameters` name, for the lease and for messages. Touches nothing.
    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError>;
    /// Address ranges that it can write on the device; `None` if it writes no memory. Touches nothing.
    ///
    /// # Errors
    /// The parameters cannot be right, such as a chip that nobody knows.
    fn writable(&self, parameters: &Parameters) -> Result<Option<Vec<std::ops::Range<u64>>>, LinkError> {
        let _ = parameters;
        Ok(None)
    }
    /// Whether an instrument that vanished while it was open (unplugged, without power) is found again by [`Driver::open`] with the same
    /// parameters. Asked for consoles.
    fn returns(&self) -> bool {
        false
    }
    /// Opens it. The device must not notice. An error with [`LinkError::lost`] says that the instrument is not there.
    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>>;
    /// Looks whether the channel could be used, without disturbing the device, and says what to do where it could not: the instrument's presence,
    /// permission, other programs, read-back. At the least it is opened and closed. The parameters have been checked.
    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move { look_at(self.open(parameters).await).await })
    }
    /// Whether a channel needs its instrument for itself: no other channel of the rig can then be on the same one.
    fn needs_whole_instrument(&self) -> bool {
        false
    }
}

/// Parameters of one channel from the rig file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Name and value as written.
    pub values: std::collections::BTreeMap<String, String>,
    /// Directory of the rig file; relative paths start there.
    pub base: PathBuf,
}

/// Parameter of every console: the supply that feeds it.
pub const POWERED_BY: &str = "powered-by";
/// Parameter of every console: how long one that vanished may take to come back.
pub const RETURNS_WITHIN: &str = "returns-within";
/// What [`RETURNS_WITHIN`] is when the rig does not say.
pub const RETURNS_WITHIN_DEFAULT: Duration = Duration::from_secs(10);

impl Parameters {
    /// The supply channel that feeds this console.
    #[must_use]
    pub fn powered_by(&self) -> Option<&str> {
        self.values.get(POWERED_BY).map(String::as_str)
    }

    /// How long this console may take to come back; zero if it is not waited for. The rig's check has refused what is not a duration.
    #[must_use]
    pub fn returns_within(&self) -> Duration {
        let written = self.values.get(RETURNS_WITHIN).and_then(|text| text.parse::<crate::units::Span>().ok());
        written.map_or(RETURNS_WITHIN_DEFAULT, crate::units::Span::duration)
    }
}
