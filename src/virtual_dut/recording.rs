//! A stretch of a device's life: how it was at the beginning, and everything that was done to it, with device times.

use super::{
    Machine, StopReason,
    bench::{Device as _, Input},
};

/// A recording of the virtual device. It is deterministic, so this is enough to have the same run again, bit for bit.
pub(super) type Recording = super::bench::Recording<Machine>;

impl Recording {
    /// Every byte sent to the console with the device time of its input.
    pub(super) fn sent(&self) -> impl Iterator<Item = (u64, u8)> {
        self.inputs.iter().flat_map(|(at, input)| {
            let bytes = if let Input::Serial(bytes) = input { bytes.as_slice() } else { &[] };
            bytes.iter().map(|&byte| (*at, byte))
        })
    }
}

/// A replay under way. Cloning is cheap: the device is copied on write.
#[derive(Debug, Clone)]
pub(super) struct Replay {
    pub(super) machine: Machine,
    next: usize,
}

impl Replay {
    pub(super) fn new(recording: &Recording) -> Self {
        Self { machine: recording.start.clone(), next: 0 }
    }

    /// Goes on until device time `until`. `false`: an armed cut came first, and the device is off.
    pub(super) fn run(&mut self, recording: &Recording, until: u64) -> bool {
        while let Some((at, input)) = recording.inputs.get(self.next).filter(|(at, _)| *at <= until) {
            if !pass(&mut self.machine, *at) {
                return false;
            }
            self.machine.apply(input);
            self.next += 1;
        }
        pass(&mut self.machine, until)
    }
}

/// Lets device time pass until `until`, whatever else stops the machine on the way. `false`: the armed cut came.
pub(super) fn pass(machine: &mut Machine, until: u64) -> bool {
    while machine.now() < until {
        if machine.run_until(until) == StopReason::CutReached {
            return false;
        }
    }
    true
}
