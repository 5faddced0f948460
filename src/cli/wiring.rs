//! Which drivers exist, and how the virtual bench's channels reach the real ones.
//!
//! The virtual bench has four channels. Its console is a pseudo-terminal behind the `serial` driver and its probe is one of probe-rs'
//! probes behind the `probe-rs` driver: only what a rig writes differs. Supply and button have no driver of their own to go through.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

mod hub;

use super::bench_fault::broken;
use crate::{
    channel::{
        clock::{BoxFuture, Clock, SimulationClock, WallClock},
        link::{
            ButtonLink, ChannelKind, CutBaseline, CutLab, CutPlan, CutProgress, CutSummary, Driver, LinkError, Opened,
            Parameters, Proof, SupplyLink,
        },
        operator::{Ask, Nobody},
    },
    driver::{
        api::HttpsClient,
        ble::Ble,
        button,
        cloud::{CloudHttps, CloudMqtt, TlsInterposer},
        network::{interposer::Interposer, netns::Netns},
        power::{
            command::CommandSupply, gpio::GpioSupply, hid::HidRelay, lcus::LcusRelay, mqtt::MqttPlug, operator::Operator,
            scpi::ScpiSupply, usb_hub::UsbHub, usb_port::UsbPortSupply,
        },
        probe::{ProbeRs, Rtt},
        serial::Serial,
        usb::Usb,
    },
    event::Witness,
    rig::{
        DriverCatalogue,
        model::{BenchFault, Image, Rig},
    },
    run::{desk::Desk, registry::Registry},
    virtual_dut::{
        Machine, MachineConfig, VerifyMemo,
        bench::{BenchConfig, Recorder, Recording, VirtualBench, latch_read, latch_write},
        cuts,
    },
};

/// Parameter that the wiring adds to the virtual supply, so that the guard finds the relay's state file.
const LATCH: &str = "latch";

/// All drivers, for checks: nothing is opened.
pub(super) fn catalogue() -> DriverCatalogue {
    let drivers = unattended();
    DriverCatalogue::of(drivers.iter().map(|driver| &**driver as &dyn Driver))
}

/// What is wrong with a rig that only its drivers can tell: chips that nobody knows, images that do not fit into their memory.
pub(super) fn problems(rig: &Rig) -> Vec<String> {
    let drivers = unattended();
    let rig = &hub::somewhere(rig);
    let mut problems = shared(rig, &drivers);
    for (name, spec) in &rig.channels {
        let Some(driver) = drivers.get(&spec.driver) else { continue };
        if let Err(error) = driver.check(&spec.parameters) {
            problems.push(format!("channel {name} of rig {}: {error}", rig.name));
            continue;
        }
        if let Err(error) = driver.writable(&spec.parameters) {
            problems.push(format!("channel {name} of rig {}: {error}", rig.name));
        }
    }
    problems.extend(misplaced(rig, &rig.device.images, &format!("device profile {}", rig.device.name)));
    problems
}

/// Images that lie outside what a probe of the rig can write. `whose` says where they are described.
pub(super) fn misplaced(rig: &Rig, images: &BTreeMap<String, Image>, whose: &str) -> Vec<String> {
    let drivers = unattended();
    let mut problems = Vec::new();
    for (name, spec) in &rig.channels {
        let Some(Ok(Some(ranges))) = drivers.get(&spec.driver).map(|driver| driver.writable(&spec.parameters)) else { continue };
        for (role, image) in images {
            let Some(start) = image.address.map(u64::from) else { continue };
            let end = start + image.bytes.len() as u64;
            if !ranges.iter().any(|range| range.start <= start && end <= range.end) {
                let known: Vec<_> = ranges.iter().map(|range| format!("{:#010x}..{:#010x}", range.start, range.end)).collect();
                problems.push(format!(
                    "image {role} ({}) of {whose}: its {} bytes at address {start:#010x} are outside what channel {name} can write, {}",
                    image.file.display(),
                    image.bytes.len(),
                    known.join(", ")
                ));
            }
        }
    }
    problems
}

/// Parameters that say which instrument is meant.
const NAMES: &[&str] = &[
    "usb",
    "serial-number",
    "interface",
    "location",
    "path",
    "probe",
    "line",
    "hub",
    "port",
    "tcp",
    "usbtmc",
    "broker",
    "topic",
    "listen",
];

/// Channels that are on one instrument and cannot be: one of them could never be opened.
fn shared(rig: &Rig, drivers: &Registry) -> Vec<String> {
    let channels: Vec<_> = rig
        .channels
        .iter()
        .filter_map(|(name, spec)| {
            let driver = drivers.get(&spec.driver)?;
            // An instrument that is not plugged in has no identity; the rig's own words must do.
            let identity = driver.identity(&spec.parameters).unwrap_or_else(|_| {
                let said = |name: &&str| Some(format!("{name} {}", spec.parameters.values.get(*name)?));
                let said: Vec<_> = NAMES.iter().filter_map(said).collect();
                // One of which the rig says nothing that names it is not known to be another's.
                if said.is_empty() {
                    format!("instrument of channel {name}")
                } else {
                    format!("instrument that is {}", said.join(", "))
                }
            });
            Some((name, spec, driver.needs_whole_instrument(), identity))
        })
        .collect();
    let mut problems = Vec::new();
    for (index, (name, spec, whole, identity)) in channels.iter().enumerate() {
        for (other, other_spec, other_whole, _) in channels.iter().take(index).filter(|channel| channel.3 == *identity) {
            if *whole || *other_whole || spec == other_spec {
                problems.push(format!(
                    "channels {other} and {name} of rig {} are both on the {identity}, which only one of them can have; name another instrument for one of them",
                    rig.name
                ));
            }
        }
    }
    problems
}

/// The physical instruments behind a rig's channels, for telling whether somebody has them. Nothing is opened.
pub(super) fn instruments(rig: &Rig, store: &Path) -> Result<BTreeSet<String>, String> {
    // A virtual bench is named when it is made; these are the names that its runs take.
    let identity = format!("{} in {}", rig.name, store.display());
    if rig.virtual_device.is_some() {
        return Ok(BTreeSet::from([format!("virtual device {identity}")]));
    }
    if rig.virtual_hub.is_some() {
        return Ok(BTreeSet::from([format!("virtual hub {identity}")]));
    }
    crate::run::dispatch::instruments(rig, &unattended())
}

/// Drivers of the guard: the virtual device is gone with its controller, its relay is not.
pub(super) fn guard_registry() -> Registry {
    unattended()
}

/// What a run works with.
pub(super) struct Wired {
    /// The drivers.
    pub(super) registry: Registry,
    /// The clock of the bench.
    pub(super) clock: Arc<dyn Clock>,
    /// What has to live as long as the run.
    pub(super) hold: Option<Box<dyn Any + Send>>,
}

/// Drivers of a run. For a virtual rig this starts the virtual bench; its clock is then the clock of the run.
pub(super) fn for_run(rig: &mut Rig, store: &Path, seed: Option<u64>, desk: &Desk) -> Result<Wired, LinkError> {
    let ask: Arc<dyn Ask> = Arc::new(desk.clone());
    if rig.virtual_hub.is_some() {
        return hub::for_run(rig, store, seed, &ask);
    }
    let Some(device) = &rig.virtual_device else {
        let clock: Arc<dyn Clock> = match &rig.device_time {
            None => Arc::new(WallClock::start()),
            Some(file) => Arc::new(SimulationClock::start(file).map_err(|error| {
                let what = format!("read the time of the simulated device from {}", file.display());
                LinkError::new(what, format!("{error}; is the simulation running?"))
            })?),
        };
        return Ok(Wired { registry: registry(&VirtualChannels::default(), &ask), clock, hold: None });
    };
    let identity = format!("{} in {}", rig.name, store.display());
    let latch = store.join("state").join(format!("{}.supply", rig.name.replace(['/', '\\', '.'], "-")));
    let failed = |error: std::io::Error| LinkError::new(format!("prepare {}", latch.display()), error.to_string());
    std::fs::create_dir_all(store.join("state")).map_err(failed)?;
    for spec in rig.channels.values_mut().filter(|spec| spec.driver == "virtual-power") {
        spec.parameters.values.insert(LATCH.to_owned(), latch.display().to_string());
    }
    // The name is also the probe's serial number: unique among the benches of this machine.
    let mut config = BenchConfig::new(format!("{}-{}", rig.name, std::process::id()));
    config.options.latch = Some(latch);
    config.machine = MachineConfig { seed: seed.unwrap_or(device.seed), ..MachineConfig::default() };
    let verify_entry = device.verify_entry;
    config.memo = verify_entry.map(|entry| (entry, Arc::new(VerifyMemo::new())));
    let bench = VirtualBench::start(config)?;
    bench.set_cut_lab(Arc::new(Laboratory { recorder: bench.recorder(), verify_entry, recording: Mutex::new(None) }));
    let virtual_bench = VirtualChannels { bench: Some(Arc::clone(&bench)), identity, fault: device.bench_fault };
    Ok(Wired { registry: registry(&virtual_bench, &ask), clock: bench.clock(), hold: Some(Box::new(bench)) })
}

/// The drivers where nobody can be asked.
fn unattended() -> Registry {
    let nobody: Arc<dyn Ask> = Arc::new(Nobody);
    registry(&VirtualChannels::default(), &nobody)
}

fn registry(channels: &VirtualChannels, ask: &Arc<dyn Ask>) -> Registry {
    let virtual_driver = |part| VirtualDriver { part, channels: channels.clone() };
    let real = button::drivers().into_iter().fold(Registry::new(), |registry, driver| registry.with(Arc::from(driver)));
    let probe = ProbeRs::with_worker(probe_worker());
    real.with(Arc::new(Serial))
        .with(Arc::new(Rtt::beside(&probe)))
        .with(Arc::new(probe))
        .with(Arc::new(Ble))
        .with(Arc::new(CommandSupply))
        .with(Arc::new(GpioSupply))
        .with(Arc::new(ScpiSupply))
        .with(Arc::new(MqttPlug))
        .with(Arc::new(HidRelay))
        .with(Arc::new(Operator::supply(Arc::clone(ask))))
        .with(Arc::new(Operator::button(Arc::clone(ask))))
        .with(Arc::new(LcusRelay))
        .with(Arc::new(UsbPortSupply))
        .with(Arc::new(CloudMqtt))
        .with(Arc::new(CloudHttps))
        .with(Arc::new(HttpsClient))
        .with(Arc::new(TlsInterposer))
        .with(Arc::new(UsbHub))
        .with(Arc::new(Usb))
        .with(Arc::new(Netns))
        .with(Arc::new(Interposer))
        .with(Arc::new(virtual_driver(Part::Supply)))
        .with(Arc::new(virtual_driver(Part::Console)))
        .with(Arc::new(virtual_driver(Part::Button)))
        .with(Arc::new(virtual_driver(Part::Probe)))
        .with_all(hub::drivers(None))
}

/// Command of the process that does the operations of debug probes.
fn probe_worker() -> Vec<String> {
    // Without a path to this program the worker cannot be started, and the first operation says so.
    let program = std::env::current_exe().map_or_else(|_| String::new(), |path| path.display().to_string());
    vec![program, "probe-worker".to_owned()]
}

/// A channel of the virtual bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Supply,
    Console,
    Button,
    Probe,
}

/// What the channels of a virtual bench have in common.
#[derive(Clone, Default)]
struct VirtualChannels {
    bench: Option<Arc<VirtualBench>>,
    identity: String,
    fault: Option<BenchFault>,
}

/// One channel of the virtual bench as a driver.
struct VirtualDriver {
    part: Part,
    channels: VirtualChannels,
}

impl VirtualDriver {
    fn bench(&self) -> Result<&Arc<VirtualBench>, LinkError> {
        let what = "there is no virtual device in this process; the rig file needs a `virtual` section";
        self.channels.bench.as_ref().ok_or_else(|| LinkError::new(format!("open {}", self.name()), what))
    }
}

impl Driver for VirtualDriver {
    fn name(&self) -> &'static str {
        match self.part {
            Part::Supply => "virtual-power",
            Part::Console => "virtual-serial",
            Part::Button => "virtual-button",
            Part::Probe => "virtual-probe",
        }
    }

    fn kind(&self) -> ChannelKind {
        match self.part {
            Part::Supply => ChannelKind::Supply,
            Part::Console => ChannelKind::Console,
            Part::Button => ChannelKind::Button,
            Part::Probe => ChannelKind::Probe,
        }
    }

    fn sees_flash(&self) -> bool {
        self.part == Part::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        match self.part {
            Part::Supply => &[],
            Part::Console => &[("baud", false, "bits per second, such as 115200")],
            Part::Button => &[("pin", true, "GPIO the button pulls to ground, 0 to 31")],
            Part::Probe => &[
                ("chip", true, "the chip by its probe-rs name, such as nRF51822_xxAA"),
                ("unit", false, "identity of the chip in hex, as it stands in memory; no other board is changed"),
            ],
        }
    }

    fn identity(&self, _: &Parameters) -> Result<String, LinkError> {
        Ok(format!("virtual device {}", self.channels.identity))
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        match self.part {
            Part::Button => button_pin(parameters).map(drop),
            Part::Console => Serial.check(&at_path(parameters, Path::new("virtual"))),
            Part::Supply | Part::Probe => Ok(()),
        }
    }

    fn writable(&self, parameters: &Parameters) -> Result<Option<Vec<std::ops::Range<u64>>>, LinkError> {
        if self.part == Part::Probe { ProbeRs::in_process().writable(parameters) } else { Ok(None) }
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let opened = match self.part {
                Part::Supply => match (&self.channels.bench, parameters.values.get(LATCH)) {
                    (Some(bench), _) => Ok(Opened::Supply(bench.supply())),
                    (None, Some(latch)) => Ok(Opened::Supply(Box::new(Relay(latch.into())))),
                    (None, None) => Err(LinkError::new("open virtual-power", "neither a device nor a relay is there")),
                },
                Part::Button => match &self.channels.bench {
                    Some(bench) => Ok(Opened::Button(bench.button(button_pin(parameters)?)?)),
                    None => Ok(Opened::Button(Box::new(Gone))),
                },
                Part::Console => Serial.open(&at_path(parameters, self.bench()?.console_path())).await,
                Part::Probe => {
                    let mut probe = parameters.clone();
                    probe.values.insert("probe".to_owned(), self.bench()?.probe_selector());
                    ProbeRs::in_process().open(&probe).await
                }
            };
            match self.channels.fault {
                Some(fault) => {
                    let bench = self.bench()?;
                    opened.map(|opened| broken(opened, fault, bench))
                }
                None => opened,
            }
        })
    }
}

/// The parameters of a serial port, at a place that the rig does not know.
fn at_path(parameters: &Parameters, path: &Path) -> Parameters {
    let mut port = parameters.clone();
    port.values.insert("path".to_owned(), path.display().to_string());
    port
}

fn button_pin(parameters: &Parameters) -> Result<u8, LinkError> {
    let pin = parameters.values.get("pin").and_then(|pin| pin.parse().ok()).filter(|pin| *pin < 32);
    pin.ok_or_else(|| LinkError::new("open virtual-button", "`pin` is a number from 0 to 31"))
}

/// The relay of a virtual supply without its device: what the guard drives.
struct Relay(PathBuf);

impl Relay {
    fn failed(&self, operation: &str, error: &std::io::Error) -> LinkError {
        LinkError::new(format!("{operation} relay {}", self.0.display()), error.to_string())
    }
}

impl SupplyLink for Relay {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            latch_write(&self.0, up).map_err(|error| self.failed("switch", &error))?;
            let found = latch_read(&self.0).map_err(|error| self.failed("read back", &error))?;
            let what = format!("relay reads back {}", if found { "up" } else { "down" });
            Ok(if found == up { Proof::Seen(Witness { what, evidence: None }) } else { Proof::None(what) })
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move { latch_read(&self.0).map(Some).map_err(|error| self.failed("read back", &error)) })
    }
}

/// A button of a virtual device that ended with its controller: nobody holds it down.
struct Gone;

impl ButtonLink for Gone {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            if pressed {
                return Err(LinkError::new("press virtual-button", "the device is gone"));
            }
            Ok(Proof::Seen(Witness { what: "the virtual button went with its device".to_owned(), evidence: None }))
        })
    }
}

/// Power cuts on copies of the virtual device.
struct Laboratory {
    recorder: Recorder,
    verify_entry: Option<u32>,
    recording: Mutex<Option<Arc<Recording<Machine>>>>,
}

impl Laboratory {
    fn recording(&self) -> Result<Arc<Recording<Machine>>, LinkError> {
        let recording = self.recording.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        recording.clone().ok_or_else(|| LinkError::new("search power cuts", "nothing was recorded"))
    }
}

impl CutLab for Laboratory {
    fn begin(&self) -> Result<(), LinkError> {
        self.recorder.begin()
    }

    fn end(&self) -> Result<CutBaseline, LinkError> {
        let recording = Arc::new(self.recorder.end()?);
        let baseline = CutBaseline { operations: cuts::baseline(&recording)? };
        *self.recording.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(recording);
        Ok(baseline)
    }

    fn search(
        &self,
        plan: &CutPlan,
        on: &mut dyn FnMut(CutProgress),
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Result<CutSummary, LinkError> {
        cuts::search(&*self.recording()?, self.verify_entry, plan, on, keep_going)
    }
}
