//! The link to one probe: operations in order, each with a deadline, in a worker process or on a thread.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{Receiver, Sender, WeakSender, channel, error::TrySendError},
    oneshot,
};

use super::{
    failure::{Cause, Failure},
    lock,
    operations::{Held, Instrument, MAX_READ},
    order::{Done, Operation, Order, Reply, Unit},
    serve::guarded,
    worker::Worker,
};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{LinkError, ProbeLink, Proof, Segment},
        probe::{LockReading, LockVerdict},
    },
    event::Witness,
};

/// Operations that may wait for the one at work. More than one only waits if steps gave up on their own.
const QUEUE: usize = 8;
/// How often a probe is looked for again.
const LOOK: Duration = Duration::from_millis(200);
/// Slowest probe that operations wait for, in bytes per second. One at 100 kHz without any buffering is some four times as fast.
const SLOWEST: u64 = 2048;
/// Deadline of an operation without regard to its size.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);

/// Should not happen; better than a wait without end.
const ENDED: &str = "whoever does the probe's operations has ended";

struct Job {
    instrument: Instrument,
    order: Order,
    limit: Duration,
    answer: oneshot::Sender<Reply>,
}

/// Whoever does the operations, by the probe's selector. Channels that share a probe share it: a probe can be opened once only.
#[derive(Debug, Clone, Default)]
pub(super) struct Stations(Arc<Mutex<HashMap<String, WeakSender<Job>>>>);

impl Stations {
    /// The one at work for this probe, or a new one.
    fn jobs(&self, selector: &str, worker: Option<Vec<String>>) -> io::Result<Sender<Job>> {
        let mut stations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = stations.get(selector).and_then(WeakSender::upgrade).filter(|jobs| !jobs.is_closed()) {
            return Ok(jobs);
        }
        let jobs = start(worker)?;
        stations.insert(selector.to_owned(), jobs.downgrade());
        Ok(jobs)
    }
}

/// A debug probe with a chip at its other end. See the [module](super) for how it behaves.
#[derive(Debug)]
pub struct ProbeRsLink {
    pub(super) instrument: Instrument,
    /// Command of the worker process; without it, operations are done on a thread of this process, which cannot be ended.
    worker: Option<Vec<String>>,
    jobs: Option<Sender<Job>>,
    stations: Stations,
    timeout: Duration,
    returns_within: Duration,
}

impl ProbeRsLink {
    /// A link to the probe that `selector` (`VID:PID:SERIAL`) names, with a `chip` by its probe-rs name. `identity` is what messages
    /// call it: `probe-rs 0d28:0204:99...`. Nothing is touched before the first operation, which is done in this process.
    #[must_use]
    pub fn new(selector: String, chip: String, identity: String) -> Self {
        let instrument = Instrument { selector, chip, identity, speed_khz: None, unit: None };
        let (timeout, returns_within) = (TIMEOUT, Duration::ZERO);
        Self { instrument, worker: None, jobs: None, stations: Stations::default(), timeout, returns_within }
    }

    /// Uses this clock on the wire, in kHz, or the probe's next lower one.
    #[must_use]
    pub fn at_speed(mut self, khz: u32) -> Self {
        self.instrument.speed_khz = Some(khz);
        self
    }

    /// Does its operations in a process that this command starts. It has to run [`serve`](fn@super::serve).
    #[must_use]
    pub fn in_process(mut self, command: Vec<String>) -> Self {
        self.worker = Some(command);
        self
    }

    /// Shares the probe with the other links of these stations.
    pub(super) fn at(mut self, stations: &Stations) -> Self {
        self.stations = stations.clone();
        self
    }

    /// Ends operations that take longer; time for their bytes at a slow pace is added. Only a process can be ended.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Looks so long for a probe that is not there: its board may have just got its power.
    #[must_use]
    pub fn returns_within(mut self, time: Duration) -> Self {
        self.returns_within = time;
        self
    }

    /// Changes nothing on a device whose chip is another one than this.
    pub(super) fn for_unit(mut self, unit: Option<Unit>) -> Self {
        self.instrument.unit = unit;
        self
    }

    /// Checks that the chip is known and that the probe is there and can be opened. The device does not notice.
    pub async fn check(&mut self) -> Result<(), LinkError> {
        self.act("open", Operation::Check.into()).await.map(drop)
    }

    /// Reads the lock of a device of this family, without a session: what is not read is left as it is. The transcript is evidence, and
    /// [`lock::decode`] gives its verdict. A device that refuses or is silent is in the transcript; an error is a fault of the bench.
    pub async fn read_lock(&mut self, family: lock::Family) -> Result<lock::Transcript, LinkError> {
        match self.act("read the lock", Operation::ReadLock { family }.into()).await? {
            (Done::Lock(transcript), _) => Ok(transcript),
            (other, _) => Err(self.misunderstood("read the lock", &other)),
        }
    }

    fn named(&self, verb: &str) -> String {
        format!("{verb} with {}", self.instrument.identity)
    }

    fn misunderstood(&self, verb: &str, done: &Done) -> LinkError {
        LinkError::new(self.named(verb), format!("the probe's worker answered something else: {done:?}"))
    }

    async fn seen(&mut self, verb: &'static str, order: Order) -> Result<Proof, LinkError> {
        match self.act(verb, order).await? {
            (Done::Seen(what), _) => Ok(Proof::Seen(Witness { what, evidence: None })),
            (other, _) => Err(self.misunderstood(verb, &other)),
        }
    }

    /// Has one operation done; waits for a probe that is not there yet.
    pub(super) async fn act(&mut self, verb: &'static str, order: Order) -> Result<(Done, Vec<u8>), LinkError> {
        let start = Instant::now();
        loop {
            match self.once(verb, order.clone()).await? {
                Ok(done) => return Ok(done),
                // Nothing has been done to the device yet.
                Err(Failure { cause: Cause::Absent, .. }) if start.elapsed() + LOOK <= self.returns_within => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(Failure { cause: Cause::Absent, text }) if !self.returns_within.is_zero() => {
                    let text = format!("{text}; it was looked for during {:?}", self.returns_within);
                    return Err(Failure::new(Cause::Absent, text).into_link_error(self.named(verb)));
                }
                Err(failure) => return Err(failure.into_link_error(self.named(verb))),
            }
        }
    }

    /// Exchanges bytes with an RTT channel, once.
    pub(super) async fn exchange(&mut self, order: Order) -> Result<Result<(usize, Vec<u8>), Failure>, LinkError> {
        match self.once("exchange bytes over RTT", order).await? {
            Ok((Done::Exchanged { taken }, bytes)) => Ok(Ok((taken, bytes))),
            Ok((other, _)) => Err(self.misunderstood("exchange bytes over RTT", &other)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn once(&mut self, verb: &'static str, order: Order) -> Result<Reply, LinkError> {
        let operation = self.named(verb);
        let gone = |what: &str| LinkError { lost: true, ..LinkError::new(operation.clone(), what) };
        let limit = self.timeout + Duration::from_secs(order.size() / SLOWEST);
        let (answer, answered) = oneshot::channel();
        let job = Job { instrument: self.instrument.clone(), order, limit, answer };
        let jobs = match self.jobs.as_ref().filter(|jobs| !jobs.is_closed()) {
            Some(jobs) => jobs.clone(),
            None => {
                let started = self.stations.jobs(&self.instrument.selector, self.worker.clone());
                started.map_err(|error| gone(&format!("no thread: {error}")))?
            }
        };
        self.jobs = Some(jobs.clone());
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(LinkError::new(operation, "earlier operations that nobody waits for any more are still at work"));
            }
            Err(TrySendError::Closed(_)) => return Err(gone(ENDED)),
        }
        answered.await.map_err(|_| gone(ENDED))
    }
}

/// Starts what does the operations. It ends when all its links are dropped and the operation at work is done.
fn start(worker: Option<Vec<String>>) -> io::Result<Sender<Job>> {
    let (jobs, queue) = channel(QUEUE);
    match worker {
        Some(command) => drop(tokio::spawn(by_process(command, queue))),
        None => drop(thread::Builder::new().name("probe".to_owned()).spawn(move || by_thread(queue))?),
    }
    Ok(jobs)
}

fn by_thread(mut queue: Receiver<Job>) {
    let mut held = Held::default();
    while let Some(Job { instrument, order, answer, .. }) = queue.blocking_recv() {
        // Nobody listens any more if the step gave up; the operation was still done.
        let _ = answer.send(guarded(|| order.perform(&instrument, &mut held)));
    }
}

async fn by_process(command: Vec<String>, mut queue: Receiver<Job>) {
    let mut worker = None;
    while let Some(Job { instrument, order, limit, answer }) = queue.recv().await {
        let started = match worker.take() {
            Some(worker) => Ok(worker),
            None => Worker::start(&command),
        };
        let reply = match started {
            Ok(started) => {
                let (still, reply) = started.ask(&instrument, &order, limit).await;
                worker = still;
                reply
            }
            Err(failure) => Err(failure),
        };
        let _ = answer.send(reply);
    }
    if let Some(worker) = worker {
        worker.dismiss().await;
    }
}

impl ProbeLink for ProbeRsLink {
    fn flash(&mut self, segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.seen("flash", Order::flash(segments, erase_all)))
    }

    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.seen("reset", Operation::Reset.into()))
    }

    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>> {
        Box::pin(async move {
            match self.act("read memory", Operation::Read { address, len: len.min(MAX_READ + 1) }.into()).await? {
                (Done::Memory { refused: None }, bytes) if bytes.len() == len as usize => Ok(Ok(bytes)),
                (Done::Memory { refused: Some(refusal) }, _) => Ok(Err(refusal)),
                (other, _) => Err(self.misunderstood("read memory", &other)),
            }
        })
    }

    fn halt(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.seen("halt the core", Operation::Halt.into()))
    }

    fn resume(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.seen("let the core run", Operation::Resume.into()))
    }

    fn lock_state(&mut self, family: Option<String>) -> BoxFuture<'_, Result<LockReading, LinkError>> {
        Box::pin(async move {
            let family = match &family {
                Some(name) => name.parse(),
                None => lock::Family::of_chip(&self.instrument.chip),
            };
            let family = family.map_err(|error| LinkError::new(self.named("read the lock"), error.to_string()))?;
            let transcript = self.read_lock(family).await?;
            Ok(judged(family, &transcript))
        })
    }
}

/// The verdict in the words of the channel.
fn judged(family: lock::Family, transcript: &lock::Transcript) -> LockReading {
    let lock::Reading { state, certainty, source, findings, values, .. } = lock::decode(family, transcript);
    let verdict = match state {
        lock::LockState::Open => LockVerdict::Open,
        lock::LockState::ReadProtected { .. } => LockVerdict::ReadProtected,
        lock::LockState::Locked { .. } => LockVerdict::Locked,
        lock::LockState::NoDebugPort => LockVerdict::NoDebugPort,
        lock::LockState::Undetermined { .. } => LockVerdict::Undetermined,
    };
    let findings = findings.iter().map(|finding| format!("# finding: {finding}\n"));
    let values = values.iter().map(|value| format!("# value: {} ({}) = {:#010x}\n", value.name, value.place, value.value));
    let notes: String = findings.chain(values).collect();
    LockReading {
        family: family.name().to_owned(),
        verdict,
        text: state.to_string(),
        documented: certainty == lock::Certainty::Documented,
        transcript: format!("{transcript}# rule: {family}, from {source}\n{notes}# verdict: {state}\n"),
    }
}
