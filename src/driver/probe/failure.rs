//! What went wrong, told apart by whose doing it is.
//!
//! probe-rs wraps causes several times and its outermost text says nothing ("An ARM specific error occurred."), so the chain of causes
//! is searched for the one that decides.

use std::error::Error as StdError;

use probe_rs::{
    Error,
    architecture::arm::{ArmError, DapError},
    flashing::FlashError,
    probe::{DebugProbeError, ProbeCreationError},
    rtt,
};

use serde::{Deserialize, Serialize};

use crate::channel::link::LinkError;

/// Why an operation did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Cause {
    /// The debug probe cannot be opened: not there, in use, or not permitted. It may be there a moment later.
    Absent,
    /// The debug probe, once it was open: unplugged, USB trouble.
    Probe,
    /// The code that drives it: a panic.
    Driver,
    /// The process in which that code runs.
    Worker,
    /// Another board is attached, or it cannot be told which.
    Unit,
    /// Nobody answers on the wire: no power, wiring, or the debug port is switched off.
    NoTarget,
    /// The device answered, and refused the access.
    Refused,
    /// The device is locked and only erasing it all would open it.
    Locked,
    /// The device has no RTT control block, or none yet, or is just making another.
    NoRtt,
    /// Something else.
    Other,
}

/// An operation that did not succeed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    /// Whose doing.
    pub(super) cause: Cause,
    /// All causes in one line.
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    /// Reads the chain of causes.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        Self { cause: cause_of(error), text: chain(error) }
    }

    /// The bench's view, with what to do next.
    pub(super) fn into_link_error(self, operation: String) -> LinkError {
        let lost = matches!(self.cause, Cause::Absent | Cause::Probe | Cause::Driver | Cause::Worker);
        let advice = match self.cause {
            Cause::Absent | Cause::Probe => {
                "; check that the probe is plugged in, that no other program uses it, and that this user may open it"
            }
            Cause::Driver | Cause::Worker => "; if it happens again, unplug the probe and plug it in again",
            Cause::Unit => "; nothing was written: attach the right board, or correct `unit` in the rig",
            Cause::NoTarget => "; check that the device has power and that the probe is wired to it",
            Cause::Refused => "; the device refused the access",
            Cause::Locked => "; the device is locked: flashing with erase-all unlocks it and loses everything on it",
            Cause::NoRtt => {
                "; does its firmware have RTT, and has it come to initialise it? `address` says where the control block is"
            }
            Cause::Other => "",
        };
        LinkError { lost, ..LinkError::new(operation, self.text + advice) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl From<rtt::Error> for Failure {
    fn from(error: rtt::Error) -> Self {
        let failure = Self::of(&error);
        let absent = matches!(
            error,
            rtt::Error::NoControlBlockLocation
                | rtt::Error::ControlBlockNotFound
                | rtt::Error::ControlBlockCorrupted(_)
                // It has begun anew.
                | rtt::Error::ReadPointerChanged
        );
        if absent { Self { cause: Cause::NoRtt, ..failure } } else { failure }
    }
}

impl From<FlashError> for Failure {
    fn from(error: FlashError) -> Self {
        Self::of(&error)
    }
}

impl From<DebugProbeError> for Failure {
    fn from(error: DebugProbeError) -> Self {
        Self::of(&error)
    }
}

/// The error and its causes.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn cause_of(error: &(dyn StdError + 'static)) -> Cause {
    causes(error).map(own_cause).find(|cause| *cause != Cause::Other).unwrap_or(Cause::Other)
}

/// The cause that this one error stands for, without those below it.
fn own_cause(error: &(dyn StdError + 'static)) -> Cause {
    if let Some(error) = error.downcast_ref::<DapError>() {
        return match error {
            DapError::FaultResponse => Cause::Refused,
            DapError::NoAcknowledge | DapError::Protocol(_) | DapError::IncorrectParity => Cause::NoTarget,
            DapError::WaitResponse => Cause::Other,
        };
    }
    if let Some(error) = error.downcast_ref::<ArmError>() {
        return match error {
            ArmError::MissingPermissions(_) => Cause::Locked,
            ArmError::NoTargetResponse { .. } | ArmError::ApDoesNotExist(_) => Cause::NoTarget,
            _ => Cause::Other,
        };
    }
    if let Some(Error::MissingPermissions(_)) = error.downcast_ref::<Error>() {
        return Cause::Locked;
    }
    match error.downcast_ref::<DebugProbeError>() {
        Some(DebugProbeError::TargetNotFound) => Cause::NoTarget,
        Some(
            DebugProbeError::Usb(_)
            | DebugProbeError::ProbeSpecific(_)
            | DebugProbeError::ProbeCouldNotBeCreated(_)
            | DebugProbeError::Other(_),
        ) => Cause::Probe,
        _ if error.is::<ProbeCreationError>() => Cause::Probe,
        _ => Cause::Other,
    }
}

/// All causes in one line, outermost first, without repetitions.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        let text = text.trim_end_matches('.');
        // `An ARM specific error occurred` and its like only announce the next cause.
        let announcement =
            cause.source().is_some() && (text.ends_with("specific error occurred") || text.starts_with("An error occurred in"));
        if !announcement && texts.last().is_none_or(|last| last != text) {
            texts.push(text.to_owned());
        }
    }
    texts.join(": ")
}
