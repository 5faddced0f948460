//! What a device is asked, and what it would have answered had nobody cut its power.

use std::time::Duration;

use regex::bytes::Regex;

use super::{
    console::{Asked, Console},
    course::{Counter, Seen},
};
use crate::{
    channel::link::{CutPlan, Exchange},
    virtual_dut::{Machine, UICR_BASE},
};

/// UICR.CUSTOMER: 32 words that the firmware may use as it likes (nRF51 Series Reference Manual, UICR).
const CUSTOMER: (u32, u32) = (UICR_BASE + 0x80, 32 * 4);

/// The part of a plan that is put to devices, with the expected answers.
#[derive(Debug)]
pub(super) struct Questions {
    ready: Regex,
    pub(super) recovery: Duration,
    old: Vec<u8>,
    new: Vec<u8>,
    settings: Vec<Exchange>,
    counter: Vec<Exchange>,
    pub(super) update: Vec<Exchange>,
    /// End of the recording, in cycles: all power-ons are counted from here.
    pub(super) zero: u64,
    /// What the settings were.
    pub(super) expected: Vec<u8>,
}

impl Questions {
    pub(super) fn new(plan: &CutPlan, zero: u64) -> Self {
        Self {
            ready: plan.ready.clone(),
            recovery: plan.recovery,
            old: plan.old_version.clone().into_bytes(),
            new: plan.new_version.clone().into_bytes(),
            settings: plan.settings.clone(),
            counter: plan.counter.clone(),
            update: plan.update.clone(),
            zero,
            expected: Vec::new(),
        }
    }

    /// Whether `output` says that the device is up, and what runs.
    pub(super) fn ready(&self, output: &[u8]) -> Option<Seen> {
        let found = self.ready.captures(output)?;
        let version = found.name("version").map(|version| version.as_bytes());
        Some(match version {
            Some(version) if version == self.old => Seen::Old,
            Some(version) if version == self.new => Seen::New,
            _ => Seen::Other,
        })
    }

    /// What the device says its settings are.
    pub(super) fn settings(&self, console: &mut Console) -> Option<Vec<u8>> {
        console.note("settings?");
        match console.ask(&self.settings) {
            Asked::Answered(value) => value,
            Asked::Unanswered => None,
        }
    }

    pub(super) fn settings_kept(&self, console: &mut Console) -> bool {
        let answer = self.settings(console);
        let kept = answer.as_ref() == Some(&self.expected);
        if !kept && answer.is_some() {
            console.note(&format!("before the update they were: {}", String::from_utf8_lossy(&self.expected)));
        }
        kept
    }

    pub(super) fn counter(&self, console: &mut Console) -> Counter {
        console.note("security counter?");
        match console.ask(&self.counter) {
            Asked::Answered(Some(value)) => {
                str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).map_or(Counter::Unknown, Counter::Is)
            }
            _ => Counter::Unknown,
        }
    }
}

/// How many bits of UICR.CUSTOMER are cleared: a counter that only an erase of the whole device could lower.
pub(super) fn cleared_bits(machine: &Machine) -> u64 {
    let bytes = machine.nv().read(CUSTOMER.0, CUSTOMER.1).unwrap_or_default();
    bytes.iter().map(|byte| u64::from(byte.count_zeros())).sum()
}

/// Lowest counter that a device may have after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    /// What the device said before the recorded operation.
    pub(super) before: u64,
    /// What it said before and after was each time the number of cleared bits in UICR.CUSTOMER. Then that number, at the cut, is what the
    /// counter was at the cut, which nobody could have asked in the middle of an update.
    pub(super) in_uicr: bool,
}

impl Floor {
    /// For a device as the cut left it.
    pub(super) fn at(self, cut: &Machine) -> u64 {
        if self.in_uicr { self.before.max(cleared_bits(cut)) } else { self.before }
    }
}
