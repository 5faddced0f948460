//! The steps that plans and device profiles share.
//!
//! The types here are what the engine runs. [`keys`] describes how steps are written, [`build`] makes them from a checked document,
//! [`check`] finds what a table of keys cannot express: names that nothing defines, patterns that do not compile, channels of the
//! wrong kind.

pub mod api;
pub mod ble;
pub mod build;
pub mod check;
pub mod cloud;
pub mod keys;
pub mod line;
pub mod network;
pub mod pattern;
pub mod probe;
pub mod prompt;
pub mod reconnect;
pub mod supply;
pub mod template;
pub mod usb;
pub mod world;

use std::time::Duration;

/// One step with its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub kind: StepKind,
    /// Line in the file it was read from.
    pub line: u32,
}

/// Text with `${name}` placeholders, resolved when the step runs.
///
/// Names: captures of earlier patterns and procedure parameters by their own name; `declared.NAME` for a declared value of the
/// device profile (as written there); `image.ROLE.length`, `image.ROLE.version` for an image; where `ROLE` may itself be a parameter
/// written `image.${parameter}.length`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template(pub String);

/// What a missing answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// Cannot be judged.
    #[default]
    Inconclusive,
    /// The device failed; the step's reason applies.
    Fail,
}

/// A duration, either written out or declared by the device profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// Written in the step.
    Span(Duration),
    /// `declared.NAME`; the profile's value is a duration.
    Declared(String),
}

impl std::fmt::Display for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Span(span) => write!(f, "{}", crate::units::Span::from(*span)),
            Self::Declared(name) => write!(f, "the declared {name}"),
        }
    }
}

/// Why a step fails, as the plan words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailAs {
    /// Reason code: capitals, digits and dashes, `SIG-PAYLOAD`.
    pub code: String,
    /// What it means for people; empty if the step says enough.
    pub text: String,
}

/// The steps.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// Drive a supply.
    Power {
        /// Supply channel.
        channel: String,
        /// Up or down.
        up: bool,
    },
    /// Supply down, wait, up again.
    PowerCycle {
        /// Supply channel.
        channel: String,
        /// Time without power.
        down_for: Duration,
    },
    /// Hold a button.
    Press {
        /// Button channel.
        channel: String,
        /// How long.
        hold: Duration,
    },
    /// Press or release a button, and leave it so.
    Button {
        /// Button channel.
        channel: String,
        /// Which.
        pressed: bool,
    },
    /// Measure what a supply gives.
    MeasureSupply {
        /// Supply channel.
        channel: String,
        /// What.
        step: supply::SupplyMeasurement,
    },
    /// Send bytes.
    Send {
        /// Console channel.
        channel: String,
        /// The bytes; for `line:` a line feed is part of it.
        data: SendData,
    },
    /// Something must appear.
    Expect {
        /// Console channel.
        channel: String,
        /// What; captures become values.
        pattern: Template,
        /// By when.
        within: Within,
        /// If this appears first, the enclosing procedure's outcome is `refused`.
        refused: Option<Template>,
        /// What silence means.
        silence: Silence,
        /// What a match proves about the steps before. Then it judges the bench, and the case is inconclusive without it.
        proves: Option<String>,
        /// Reason when it is a failure.
        fail_as: Option<FailAs>,
    },
    /// Something must not appear for a time.
    Refrain {
        /// Console channel.
        channel: String,
        /// What must not appear.
        pattern: Template,
        /// For how long.
        during: Within,
        /// Reason when it does.
        fail_as: FailAs,
    },
    /// Send an image in acknowledged chunks.
    SendImage {
        /// Console channel.
        channel: String,
        /// Role or altered image.
        image: Template,
        /// Bytes per chunk, 1 to 65536.
        chunk: u32,
        /// Pattern that must follow each chunk.
        ack: Template,
        /// Time for each acknowledgement.
        within: Within,
        /// If this appears first, the enclosing procedure's outcome is `refused`.
        refused: Option<Template>,
    },
    /// Write images through the debug probe.
    Flash {
        /// Probe channel.
        channel: String,
        /// Roles; each has an address in the device profile.
        images: Vec<String>,
        /// Erase the whole device first. Only allowed with `destructive: true` in the plan's or profile's step.
        erase_all: bool,
    },
    /// Reset through the debug probe.
    Reset {
        /// Probe channel.
        channel: String,
    },
    /// Read memory through the debug probe.
    ReadMemory {
        /// Probe channel.
        channel: String,
        /// First address.
        address: u32,
        /// Bytes, 1 to 1 MiB.
        length: u32,
        /// `Some(true)`: must be readable; `Some(false)`: must be refused; `None`: recorded only.
        readable: Option<bool>,
        /// Must be found in the bytes, as proof that the search finds it; inconclusive otherwise.
        holds: Option<Template>,
        /// Must not be found in the bytes.
        lacks: Option<Template>,
        /// Reason when it is otherwise.
        fail_as: Option<FailAs>,
    },
    /// Let bench time pass.
    Wait {
        /// How long.
        time: Within,
    },
    /// Run a procedure of the device profile.
    Do {
        /// Procedure.
        procedure: String,
        /// Arguments.
        with: Vec<(String, Template)>,
        /// Which outcome passes.
        expect: Outcome,
        /// Reason when the other outcome is seen.
        fail_as: Option<FailAs>,
        /// What it means when neither outcome is seen in time.
        silence: Silence,
    },
    /// Compare a value.
    Check {
        /// The value.
        value: Template,
        /// What it must be.
        must: Comparison,
        /// Reason when it is not.
        fail_as: FailAs,
    },
    /// Measure the bench time that steps take.
    Measure {
        /// Name of the measurement.
        name: String,
        /// What is measured.
        steps: Vec<Step>,
        /// Longest good time.
        at_most: Within,
        /// Reason when it took longer.
        fail_as: FailAs,
    },
    /// Try steps again until they pass.
    Retry {
        /// Attempts in all, 2 to 100.
        attempts: u32,
        /// Time between.
        pause: Duration,
        /// The steps.
        steps: Vec<Step>,
    },
    /// Something on the line that carries a console's bytes.
    Line {
        /// Console channel.
        channel: String,
        /// What.
        step: line::LineStep,
    },
    /// Something else with a debug probe.
    Probe {
        /// Probe channel.
        channel: String,
        /// What.
        step: probe::ProbeStep,
    },
    /// Something on the device's USB port.
    Usb {
        /// USB channel.
        channel: String,
        /// What.
        step: usb::UsbStep,
    },
    /// Something over Bluetooth Low Energy.
    Ble {
        /// Bluetooth channel.
        channel: String,
        /// What.
        step: ble::BleStep,
    },
    /// Something on the device's network.
    Network {
        /// Network channel.
        channel: String,
        /// What.
        step: network::NetworkStep,
    },
    /// Something at the device's cloud.
    Cloud {
        /// Cloud channel.
        channel: String,
        /// What.
        step: cloud::CloudStep,
    },
    /// Something on the device's own network services.
    Api {
        /// API channel.
        channel: String,
        /// What.
        step: api::ApiStep,
    },
    /// Ask the operator.
    Prompt(Box<prompt::PromptStep>),
    /// Judge how the device comes back to its service.
    Reconnect(reconnect::ReconnectStep),
    /// Cut the power at every flash operation of some steps.
    PowerCutSearch {
        /// Supply channel with the ability.
        channel: String,
        /// The operation that is interrupted.
        during: Vec<Step>,
        /// Role of the image running before it.
        old: String,
        /// Role of the image it installs.
        new: String,
        /// Torn variants per operation, 0 to 64.
        torn: u32,
        /// Second cuts per first cut, 0 to 64.
        second: u32,
        /// Procedure in place of the profile's, whose value every cut must leave as it was.
        settings: Option<String>,
        /// Reason when it did not.
        fail_as: Option<FailAs>,
    },
}

/// Bytes of a `send` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendData {
    /// Text and a line feed.
    Line(Template),
    /// Text as it stands.
    Text(Template),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// How a procedure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It did what it is for.
    #[default]
    Done,
    /// The device refused.
    Refused,
}

/// What a checked value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Equal text.
    Equals(Template),
    /// Different text.
    Differs(Template),
    /// The whole text matches the pattern.
    Matches(Template),
}
