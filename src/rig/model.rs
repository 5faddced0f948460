//! Checked rigs and device profiles.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::golden::Golden;
use super::usb::UsbPort;
use crate::{
    channel::link::Parameters,
    step::{Step, Template, Within},
};

/// A checked rig.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rig {
    /// Name.
    pub name: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// Device profile, already checked.
    pub device: Device,
    /// Channels by name.
    pub channels: BTreeMap<String, ChannelSpec>,
    /// What to do on every exit, in order.
    pub safe_state: Vec<SafeAction>,
    /// Bench time for each action of the safe state.
    pub safe_state_timeout: Duration,
    /// File in which the simulation of the device tells how long it has lived.
    pub device_time: Option<PathBuf>,
    /// Whether the unit on this rig may lose everything on it; without it nothing is erased as a whole or unlocked.
    pub sacrificial: bool,
    /// Present if the rig's device is emulated in this process.
    pub virtual_device: Option<VirtualDevice>,
    /// The virtual hub, if the device is that one.
    pub virtual_hub: Option<VirtualHub>,
}

/// One channel of a rig.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelSpec {
    /// Driver name, known to the registry.
    pub driver: String,
    /// The driver's own parameters.
    pub parameters: Parameters,
    /// Whether it is a supply that can cut at every flash operation.
    pub sees_flash: bool,
}

/// One action of the safe state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafeAction {
    /// Drive a supply.
    Power {
        /// Channel.
        channel: String,
        /// Up or down.
        up: bool,
    },
    /// Release a button.
    Release {
        /// Channel.
        channel: String,
    },
    /// End every disturbance of a network.
    Restore {
        /// Channel.
        channel: String,
    },
}

/// The emulated device of a virtual rig.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualDevice {
    /// `nRF51822_xxAA`.
    pub chip: String,
    /// Seed of everything random in the device.
    pub seed: u64,
    /// Entry address of the firmware's signature check, for memoisation in power-cut searches.
    pub verify_entry: Option<u32>,
    /// What is broken on the bench.
    pub bench_fault: Option<BenchFault>,
}

/// The virtual hub of a rig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualHub {
    /// Seed of everything random in the device.
    pub seed: u64,
    /// Word of what it does wrong, if anything.
    pub flaw: Option<String>,
    /// What is broken on the bench.
    pub bench_fault: Option<BenchFault>,
}

/// What is broken on a virtual bench, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenchFault {
    /// The supply's relay stays closed once it was.
    Welded,
    /// The supply switches, and its read-back is not wired.
    BlindSupply,
    /// The button's wire is off.
    OpenButton,
    /// The probe's wire comes off once the device has been written.
    OpenProbe,
    /// The supply says that it is down, and its rail holds for two seconds more.
    SlowSupply,
    /// The probe reads from the beginning of the flash whatever address it is given.
    WrongRegion,
    /// What the probe writes without erasing everything lands 40 KiB further on.
    MisplacedImage,
    /// The service is started anew when it is told to freeze.
    RestartedService,
}

impl BenchFault {
    /// By its word in rig files.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "welded" => Some(Self::Welded),
            "blind-supply" => Some(Self::BlindSupply),
            "open-button" => Some(Self::OpenButton),
            "open-probe" => Some(Self::OpenProbe),
            "slow-supply" => Some(Self::SlowSupply),
            "wrong-region" => Some(Self::WrongRegion),
            "misplaced-image" => Some(Self::MisplacedImage),
            "restarted-service" => Some(Self::RestartedService),
            _ => None,
        }
    }
}

/// A checked device profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Device {
    /// Name.
    pub name: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// Declared values (IXIT), as written: `recovery-time: 10s`.
    pub declared: BTreeMap<String, String>,
    /// Images by role, loaded and their digests verified.
    pub images: BTreeMap<String, Image>,
    /// Named regions of an image container: first byte and end, negative from the end of the image.
    pub layout: BTreeMap<String, (i64, Option<i64>)>,
    /// How common operations are done on this product.
    pub procedures: BTreeMap<String, Procedure>,
    /// How a power-cut search questions the device, if declared.
    pub interruption: Option<Interruption>,
    /// What a known good device shows on each channel, in the order of the file.
    pub golden: Vec<Golden>,
    /// What it offers over Bluetooth Low Energy, if declared.
    pub ble: Option<super::ble::Declared>,
    /// What is declared of its USB ports, by channel.
    pub usb: BTreeMap<String, UsbPort>,
}

/// An image of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// File.
    pub file: PathBuf,
    /// Flash address, if it can be written by a probe.
    pub address: Option<u32>,
    /// Version the device reports when it runs this image.
    pub version: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Procedure {
    /// Parameters that the caller gives.
    pub parameters: Vec<String>,
    /// Captures that the caller may use afterwards.
    pub returns: Vec<String>,
    /// What it does.
    pub steps: Vec<Step>,
    /// How its end is recognised; without it, it is done when its steps have passed.
    pub outcome: Option<OutcomeSpec>,
}

/// How the end of a procedure is recognised: whichever appears first.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeSpec {
    /// Console channel.
    pub channel: String,
    /// By when.
    pub within: Within,
    /// Means [`Outcome::Done`](crate::step::Outcome::Done).
    pub done: Template,
    /// Means [`Outcome::Refused`](crate::step::Outcome::Refused).
    pub refused: Option<Template>,
    /// Must also appear afterwards, whatever the outcome: the device is up again.
    pub then: Option<Template>,
}

/// How a power-cut search questions the device: procedures by name, made of `send`, `expect`, `send-image` and `do` only.
#[derive(Debug, Clone, PartialEq)]
pub struct Interruption {
    /// Console channel.
    pub channel: String,
    /// Appears when the device is up; has a capture `version`.
    pub ready: Template,
    /// Time from power-on to `ready` without any input.
    pub recovery: Within,
    /// Procedure whose last pattern captures `value`: the settings.
    pub settings: String,
    /// Procedure whose last pattern captures `value`: the security counter.
    pub counter: String,
    /// Procedure that makes the running image permanent.
    pub confirm: String,
    /// Procedure that installs an image (parameter `image`).
    pub update: String,
}
