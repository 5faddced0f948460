//! A recorded stretch of a device's life: how it was at the beginning, and everything that happened to it from outside.

use super::device::{Device, Input};

/// A recording. Replaying it gives the same device, flash operation by flash operation.
#[derive(Debug, Clone)]
pub struct Recording<D> {
    /// The device when the recording began.
    pub start: D,
    /// Inputs with the device time at which they were applied, in order.
    pub inputs: Vec<(u64, Input)>,
    /// Device time when the recording ended.
    pub end_cycle: u64,
}

impl<D: Device> Recording<D> {
    /// Lives through it again. Returns the device at the end and what it put out.
    #[must_use]
    pub fn replay(&self) -> (D, Vec<u8>) {
        let mut device = self.start.clone();
        let mut output = Vec::new();
        let run_to = |device: &mut D, output: &mut Vec<u8>, cycle: u64| {
            while device.now() < cycle {
                device.run_until(cycle);
                output.append(&mut device.output());
            }
        };
        for (cycle, input) in &self.inputs {
            run_to(&mut device, &mut output, *cycle);
            device.apply(input);
        }
        run_to(&mut device, &mut output, self.end_cycle);
        (device, output)
    }
}

/// What is collected while a recording runs.
#[derive(Debug)]
pub(super) struct Tape<D> {
    pub(super) recording: Recording<D>,
    /// Something that a replay cannot repeat.
    pub(super) spoilt: Option<String>,
}

impl<D: Device> Tape<D> {
    pub(super) fn new(start: D) -> Self {
        let end_cycle = start.now();
        Self { recording: Recording { start, inputs: Vec::new(), end_cycle }, spoilt: None }
    }
}
