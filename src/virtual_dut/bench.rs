//! The virtual bench: one emulated device with a switched supply, a button, a serial line and a debug probe.
//!
//! The serial line is a pseudo-terminal, opened by the same `serial` driver as a real port; the probe is one that probe-rs lists and opens
//! like any other. A thread of its own runs the device. The clock of the bench is the device's own time; see
//! [`VirtualBench::clock`] for the rule that keeps runs reproducible.

mod device;
mod latch;
mod links;
mod pty;
mod record;
mod stage;
mod timeline;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

pub use device::{Device, Input};
pub use latch::{latch_read, latch_write};
pub use record::Recording;

pub(super) use pty::Pty;

use self::{
    links::{Button, Supply},
    stage::Shared,
    timeline::{Timeline, VirtualClock, nanos},
};
use super::{
    BusFault, Machine, MachineConfig, Size, VerifyMemo,
    dap::DebugTarget,
    probe::{Registered, register},
};
use crate::channel::{
    clock::Clock,
    link::{ButtonLink, CutLab, LinkError, Segment, SupplyLink},
};

/// The mechanical and electrical side of a bench, whatever the device is.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Identity of the device: `lock-1`. In messages, and the serial number of the debug probe.
    pub name: String,
    /// State file of the supply relay; see [`latch_read`]. `None`: a relay that starts down.
    pub latch: Option<PathBuf>,
    /// Device time from a switch of the supply to a settled rail.
    pub settle: Duration,
}

impl BenchOptions {
    /// A bench for the device `name` without a state file, whose rail settles in 5 ms.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), latch: None, settle: Duration::from_millis(5) }
    }
}

/// A bench with the nRF51822 on it.
#[derive(Debug, Clone)]
pub struct BenchConfig {
    /// Supply, identity.
    pub options: BenchOptions,
    /// The device.
    pub machine: MachineConfig,
    /// Flash and UICR content that the factory wrote; empty for a blank device.
    pub factory: Vec<Segment>,
    /// Entry address of the bootloader's signature check and the memory of its answers.
    pub memo: Option<(u32, Arc<VerifyMemo>)>,
}

impl BenchConfig {
    /// A bench with a blank device `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { options: BenchOptions::new(name), machine: MachineConfig::default(), factory: Vec::new(), memo: None }
    }
}

/// A virtual bench. Dropping it ends the device's life and closes its serial line.
pub struct VirtualBench<D: Device = Machine> {
    shared: Arc<Shared<D>>,
    options: BenchOptions,
    path: PathBuf,
    lab: OnceLock<Arc<dyn CutLab>>,
    probe: Option<Registered>,
    thread: Option<JoinHandle<()>>,
}

impl VirtualBench<Machine> {
    /// Puts the device on the bench and plugs its probe in. The supply is at what the relay's state file says.
    ///
    /// # Errors
    /// No pseudo-terminal can be had, the state file cannot be read, the factory content does not fit, or the name is that of another
    /// virtual bench of this process.
    pub fn start(config: BenchConfig) -> Result<Arc<Self>, LinkError> {
        let operation = format!("start virtual bench {}", config.options.name);
        let mut machine = Machine::new(config.machine);
        for Segment { address, bytes } in &config.factory {
            let refused = |fault| LinkError::new(&operation, format!("factory content at {address:#010x}: {fault}"));
            machine.preload(*address, bytes).map_err(refused)?;
        }
        if let Some((entry, memo)) = config.memo {
            machine.memoise_verify(entry, memo);
        }
        let mut bench = Self::build(machine, config.options)?;
        bench.probe = Some(register(&bench.options.name, Debugged(Arc::clone(&bench.shared)))?);
        Ok(Arc::new(bench))
    }

    /// What opens the device's probe in probe-rs: `f055:0001:NAME`.
    #[must_use]
    pub fn probe_selector(&self) -> String {
        self.probe.as_ref().map(Registered::selector).unwrap_or_default()
    }

    /// Takes the wire between the probe and the device off: nothing answers any more.
    pub fn pull_probe_wire(&self) {
        if let Some(probe) = &self.probe {
            probe.pull_wire();
        }
    }

    /// What crossed the probe's wire so far.
    #[must_use]
    pub fn probe_traffic(&self) -> Option<super::probe::Traffic> {
        self.probe.as_ref().map(Registered::traffic)
    }
}

impl<D: Device> VirtualBench<D> {
    /// Puts any device on a bench, without a debug probe.
    ///
    /// # Errors
    /// No pseudo-terminal can be had, or the state file cannot be read.
    pub fn with_device(device: D, options: BenchOptions) -> Result<Arc<Self>, LinkError> {
        Ok(Arc::new(Self::build(device, options)?))
    }

    fn build(mut device: D, options: BenchOptions) -> Result<Self, LinkError> {
        let failed = |what: String| LinkError::new(format!("start virtual bench {}", options.name), what);
        if let Some(path) = &options.latch {
            let up = latch_read(path).map_err(|error| failed(format!("supply state {}: {error}", path.display())))?;
            if up != device.powered() {
                device.apply(&Input::Power(up));
            }
        }
        let pty = Pty::open().map_err(|error| failed(format!("no pseudo-terminal: {error}")))?;
        let path = pty.path().to_path_buf();
        let timeline = Arc::new(Timeline::new(nanos(device.now()), Arc::new(pty)));
        let shared = Arc::new(Shared::new(device, timeline));
        let body = {
            let shared = Arc::clone(&shared);
            move || shared.live()
        };
        let thread = std::thread::Builder::new().name(format!("device {}", options.name)).spawn(body);
        let thread = thread.map_err(|error| failed(format!("no thread for the device: {error}")))?;
        Ok(Self { shared, options, path, lab: OnceLock::new(), probe: None, thread: Some(thread) })
    }

    /// The device's time. It passes only while somebody sleeps on this clock, to the earliest sleeper's instant at most, or while a debug
    /// probe is talking. So sleep only for what the device is to be given time for: a sleep kept in the background, for a watchdog
    /// say, lets the device live on while the engine thinks, and then runs differ. All sleeps end at once when the bench has failed.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(VirtualClock(Arc::clone(&self.shared.timeline)))
    }

    /// Path of the serial port, to be opened by the `serial` driver.
    #[must_use]
    pub fn console_path(&self) -> &Path {
        &self.path
    }

    /// The switched supply.
    #[must_use]
    pub fn supply(&self) -> Box<dyn SupplyLink> {
        Box::new(Supply {
            shared: Arc::clone(&self.shared),
            name: self.options.name.clone(),
            latch: self.options.latch.clone(),
            settle: self.options.settle,
            lab: self.lab.get().cloned(),
        })
    }

    /// A button from GPIO `pin` to ground.
    ///
    /// # Errors
    /// There is no such pin.
    pub fn button(&self, pin: u8) -> Result<Box<dyn ButtonLink>, LinkError> {
        if pin > 31 {
            let what = format!("there is no pin P0.{pin}; the device has P0.00 to P0.31");
            return Err(LinkError::new(format!("attach a button to {}", self.options.name), what));
        }
        Ok(Box::new(Button { shared: Arc::clone(&self.shared), name: self.options.name.clone(), pin }))
    }

    /// Gives the supply its ability to search power cuts, for supplies taken from now on. Only the first call counts.
    pub fn set_cut_lab(&self, lab: Arc<dyn CutLab>) {
        // A second laboratory would be a second recording of the same device.
        let _ = self.lab.set(lab);
    }

    /// A handle for recording the device's life that does not keep the bench alive.
    #[must_use]
    pub fn recorder(&self) -> Recorder<D> {
        Recorder(Arc::clone(&self.shared))
    }

    /// What has broken the bench, if anything has: nothing more will happen on it.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.shared.timeline.fault()
    }

    /// A copy of the device as it is now. Blocks; not for async code.
    #[must_use]
    pub fn snapshot(&self) -> D {
        self.shared.with(|stage| stage.device.clone())
    }

    /// Bytes the device put out while nobody had the serial port open.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.shared.unread.load(Ordering::Relaxed)
    }
}

impl<D: Device> Drop for VirtualBench<D> {
    fn drop(&mut self) {
        self.shared.timeline.stop();
        if let Some(thread) = self.thread.take() {
            // If the thread has panicked, the fault has been told to everybody who uses the bench.
            let _ = thread.join();
        }
    }
}

/// Records the device's life. The calls block: run them off the executor.
pub struct Recorder<D: Device = Machine>(Arc<Shared<D>>);

impl<D: Device> Clone for Recorder<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Device> Recorder<D> {
    /// Starts recording: the device as it is, then every input with its device time.
    ///
    /// # Errors
    /// A recording is under way, or the bench has failed.
    pub fn begin(&self) -> Result<(), LinkError> {
        self.0.record_begin()
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// None is under way, the bench has failed, or the debug probe changed the device meanwhile, which a replay cannot repeat.
    pub fn end(&self) -> Result<Recording<D>, LinkError> {
        self.0.record_end()
    }
}

/// The device as its debug port sees it.
struct Debugged(Arc<Shared<Machine>>);

/// Reading here can change a peripheral, such as the serial receiver's buffer.
const PERIPHERALS: std::ops::Range<u32> = 0x4000_0000..0x6000_0000;

impl DebugTarget for Debugged {
    fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        self.0.with(|stage| {
            if PERIPHERALS.contains(&address) {
                stage.spoil("the debug probe read a peripheral during the recording");
            }
            stage.device.debug_read(address, size)
        })
    }

    fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        self.0.with(|stage| {
            stage.spoil("the debug probe wrote to the device during the recording");
            stage.device.debug_write(address, size, value)
        })
    }

    fn run(&mut self, cycles: u64) {
        self.0.advance(cycles);
    }

    fn powered(&mut self) -> bool {
        self.0.with(|stage| stage.device.is_powered())
    }

    fn power_ups(&mut self) -> u64 {
        self.0.with(|stage| stage.power_ups())
    }

    fn set_nrst(&mut self, high: bool) {
        if !high {
            self.0.with(|stage| stage.apply(Input::Reset));
        }
    }
}
