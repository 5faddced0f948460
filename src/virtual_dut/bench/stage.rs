//! The device on its stage: running it, and carrying its serial traffic in step with the console.
//!
//! The pseudo-terminal in between is asynchronous, so "in step" is enforced by counting. Before the device runs, everything the
//! console says it has sent must have come out of the terminal; after the device has put something out, nothing goes on until the console
//! has captured it all. Hence arrival times are exact device times, and an expectation that is met stops the clock.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    device::{Device, Input},
    pty::Pty,
    record::{Recording, Tape},
    timeline::{Timeline, Work, cycles, lock, nanos},
};
use crate::{
    channel::{link::LinkError, tap::Counters},
    virtual_dut::CYCLES_PER_SECOND,
};

/// Longest stretch of device time between two looks at who waits: 10 ms.
const QUANTUM: u64 = CYCLES_PER_SECOND / 100;
/// Output that is not a whole line is given away this long after its first byte: 2 ms.
const PARTIAL: u64 = CYCLES_PER_SECOND / 500;
/// Output is given away when this many bytes are there, line or not.
const PIECE: usize = 256;
/// Wall time without any progress after which the bench gives up on the console.
const STUCK: Duration = Duration::from_mins(2);
/// Wall time between looks at whether the bench is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The device and everything that only its holder may touch.
pub(super) struct Stage<D> {
    pub(super) device: D,
    timeline: Arc<Timeline>,
    /// Output not given to the console yet, and when its first byte was there.
    output: Vec<u8>,
    since: u64,
    tape: Option<Tape<D>>,
    power_ups: u64,
}

/// The serial line with a console at the other end.
type Connection = (Arc<Pty>, Arc<Counters>);

/// What all handles of one bench share.
pub(super) struct Shared<D> {
    pub(super) timeline: Arc<Timeline>,
    stage: Mutex<Stage<D>>,
    /// Bytes the device put out while nobody had the port open.
    pub(super) unread: AtomicU64,
}

impl<D: Device> Shared<D> {
    pub(super) fn new(device: D, timeline: Arc<Timeline>) -> Self {
        let power_ups = u64::from(device.powered());
        let stage = Stage { device, timeline: Arc::clone(&timeline), output: Vec::new(), since: 0, tape: None, power_ups };
        Self { timeline, stage: Mutex::new(stage), unread: AtomicU64::new(0) }
    }

    /// Does something with the device at the present instant. Blocks while the device thread or another outsider holds it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Stage<D>) -> T) -> T {
        let _outsider = self.timeline.outsider();
        act(&mut self.hold())
    }

    fn hold(&self) -> MutexGuard<'_, Stage<D>> {
        lock(&self.stage)
    }

    /// Lets `span` cycles of device time pass on behalf of a debug probe.
    pub(super) fn advance(&self, span: u64) {
        self.with(|stage| {
            let target = stage.device.now().saturating_add(span);
            while stage.device.now() < target {
                if let Err(why) = self.step(stage, target) {
                    return self.timeline.fail(why);
                }
            }
            self.timeline.settle(nanos(stage.device.now()), !stage.output.is_empty());
        });
    }

    /// Body of the device thread: lives until the bench ends or fails.
    pub(super) fn live(&self) {
        struct Alarm<'a>(&'a Timeline);
        impl Drop for Alarm<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.fail("the virtual device has crashed; this is a bug of hilbench".to_owned());
                }
            }
        }
        let _alarm = Alarm(&self.timeline);
        loop {
            let work = self.timeline.next();
            let mut stage = self.hold();
            if work != Work::Stop && !self.timeline.is_due(work) {
                // Whoever held the device meanwhile has changed what there is to do.
                continue;
            }
            let result = match work {
                Work::Stop => return,
                Work::Run(instant) => self.step(&mut stage, cycles(instant)),
                Work::Traffic => self.take(&mut stage).and_then(|()| self.give(&mut stage)),
            };
            match result {
                Ok(()) => self.timeline.settle(nanos(stage.device.now()), !stage.output.is_empty()),
                Err(why) => {
                    drop(stage);
                    self.timeline.fail(why);
                }
            }
        }
    }

    /// Lets time pass to `target` at most: to the end of a quantum, or to the instant at which output was given away.
    fn step(&self, stage: &mut Stage<D>, target: u64) -> Result<(), String> {
        self.take(stage)?;
        let end = target.min(stage.device.now().saturating_add(QUANTUM));
        loop {
            let due = if stage.output.is_empty() { u64::MAX } else { stage.since + PARTIAL };
            let before = stage.device.now();
            if before < end.min(due) {
                stage.device.run_until(end.min(due));
                let new = stage.device.output();
                if stage.output.is_empty() {
                    stage.since = stage.device.now();
                }
                stage.output.extend_from_slice(&new);
            }
            let now = stage.device.now();
            let whole = stage.output.ends_with(b"\n") || stage.output.len() >= PIECE;
            if !stage.output.is_empty() && (whole || now >= target || now >= stage.since + PARTIAL) {
                return self.give(stage);
            }
            if now >= end {
                return Ok(());
            }
        }
    }

    /// The line, if a console has it open: terminal, counters.
    fn line(&self) -> Result<Option<Connection>, String> {
        let line = lock(&self.timeline.line);
        let Some(pty) = &line.pty else { return Err("the virtual bench has ended".to_owned()) };
        let open = line.console.as_ref().filter(|console| !console.get().closed);
        Ok(open.map(|console| (Arc::clone(pty), Arc::clone(console))))
    }

    /// Takes everything the console has sent.
    fn take(&self, stage: &mut Stage<D>) -> Result<(), String> {
        let Some((pty, console)) = self.line()? else { return Ok(()) };
        let mut idle = Duration::ZERO;
        loop {
            let counts = console.get();
            let taken = lock(&self.timeline.line).taken;
            if counts.closed || (taken >= counts.queued && counts.written >= counts.queued) {
                return Ok(());
            }
            let bytes = pty.read().map_err(|error| format!("the serial line failed: {error}"))?;
            if bytes.is_empty() {
                if taken >= counts.queued {
                    // The bytes are here, the console has only to say so.
                    let _ = console.wait(LOOK, |now| now.written >= counts.queued);
                } else {
                    pty.wait(false, LOOK).map_err(|error| format!("the serial line failed: {error}"))?;
                }
                idle += LOOK;
                self.patience(idle, "bytes that the console has sent do not arrive")?;
                continue;
            }
            idle = Duration::ZERO;
            lock(&self.timeline.line).taken += bytes.len() as u64;
            stage.apply(Input::Serial(bytes));
        }
    }

    /// Gives the console what the device has put out, and waits until it is captured. Without a console it is lost, as on a real line.
    fn give(&self, stage: &mut Stage<D>) -> Result<(), String> {
        let output = std::mem::take(&mut stage.output);
        if output.is_empty() {
            return Ok(());
        }
        let Some((pty, console)) = self.line()? else {
            self.unread.fetch_add(output.len() as u64, Ordering::Relaxed);
            return Ok(());
        };
        self.timeline.show(nanos(stage.device.now()));
        console.announce(lock(&self.timeline.line).given + output.len() as u64);
        let mut rest = &output[..];
        let mut idle = Duration::ZERO;
        while !rest.is_empty() {
            let written = pty.write(rest).map_err(|error| format!("the serial line failed: {error}"))?;
            rest = &rest[written..];
            lock(&self.timeline.line).given += written as u64;
            if written > 0 {
                idle = Duration::ZERO;
            } else if console.get().closed {
                return Ok(());
            } else {
                pty.wait(true, LOOK).map_err(|error| format!("the serial line failed: {error}"))?;
                idle += LOOK;
                self.patience(idle, "the console does not read what the device sends")?;
            }
        }
        let given = lock(&self.timeline.line).given;
        let mut idle = Duration::ZERO;
        while !console.wait(LOOK, |counts| counts.captured >= given) {
            idle += LOOK;
            self.patience(idle, "the console does not capture what the device sends")?;
        }
        Ok(())
    }

    fn patience(&self, idle: Duration, what: &str) -> Result<(), String> {
        if self.timeline.stopping() {
            return Err("the virtual bench has ended".to_owned());
        }
        if idle >= STUCK {
            return Err(format!("{what}: no progress for {} s", STUCK.as_secs()));
        }
        Ok(())
    }

    pub(super) fn record_begin(&self) -> Result<(), LinkError> {
        const OPERATION: &str = "begin a recording of the virtual device";
        self.timeline.check(OPERATION)?;
        self.with(|stage| {
            self.take(stage).map_err(|why| LinkError::new(OPERATION, why))?;
            if stage.tape.is_some() {
                return Err(LinkError::new(OPERATION, "a recording is already under way"));
            }
            stage.tape = Some(Tape::new(stage.device.clone()));
            Ok(())
        })
    }

    pub(super) fn record_end(&self) -> Result<Recording<D>, LinkError> {
        const OPERATION: &str = "end the recording of the virtual device";
        self.timeline.check(OPERATION)?;
        self.with(|stage| {
            self.take(stage).map_err(|why| LinkError::new(OPERATION, why))?;
            let Some(tape) = stage.tape.take() else { return Err(LinkError::new(OPERATION, "no recording is under way")) };
            match tape.spoilt {
                Some(why) => Err(LinkError::new(OPERATION, why)),
                None => Ok(Recording { end_cycle: stage.device.now(), ..tape.recording }),
            }
        })
    }
}

impl<D: Device> Stage<D> {
    /// Gives the device an input at the present instant.
    pub(super) fn apply(&mut self, input: Input) {
        if input == Input::Power(true) && !self.device.powered() {
            self.power_ups += 1;
        }
        self.device.apply(&input);
        if let Some(tape) = &mut self.tape {
            tape.recording.inputs.push((self.device.now(), input));
        }
    }

    /// How often the supply was raised.
    pub(super) fn power_ups(&self) -> u64 {
        self.power_ups
    }

    /// Notes that a recording under way cannot be replayed.
    pub(super) fn spoil(&mut self, why: &str) {
        if let Some(tape) = &mut self.tape {
            tape.spoilt.get_or_insert_with(|| why.to_owned());
        }
    }

    pub(super) fn clock(&self) -> Arc<Timeline> {
        Arc::clone(&self.timeline)
    }
}
