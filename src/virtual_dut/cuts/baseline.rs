//! The recorded run as a row of flash operations, and devices cut at each of them.

use super::{
    KeepGoing,
    console::{Console, cycles},
};
use crate::{
    channel::link::{CutPlan, LinkError},
    event::CutPhase,
    virtual_dut::{
        Machine,
        recording::{Recording, Replay},
    },
};

/// Operations between two checkpoints when there are few enough.
const APART: u32 = 8;
/// Checkpoints kept, about 25 KiB each.
const MOST: u32 = 2048;
/// A device about to start a flash operation is looked for this many cycles before it; longer than any instruction.
const LEAD: u64 = 64;

/// The recording with checkpoints.
#[derive(Debug)]
pub(super) struct Baseline {
    pub(super) recording: Recording,
    /// Flash operations in it.
    pub(super) operations: u32,
    /// Operations from one checkpoint to the next.
    pub(super) apart: u32,
    /// Index of the first operation as [`Machine::arm_cut`] counts.
    first: u64,
    checkpoints: Vec<Replay>,
    /// Device time from which the confirmation has been sent.
    confirmed_at: Option<u64>,
}

/// A device that has just been cut, and whether the confirmation had been sent.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) machine: Machine,
    pub(super) confirmed: bool,
}

impl Baseline {
    /// `recording` must do at least one flash operation. `None`: told to stop.
    pub(super) fn new(recording: Recording, plan: &CutPlan, keep_going: KeepGoing) -> Result<Option<Self>, LinkError> {
        let first = recording.start.nv().counts().total();
        let operations = count(&recording)?;
        if operations == 0 {
            return Err(fault("the recording has no flash operation, so there is nothing to cut; record an update"));
        }
        let apart = APART.max(operations.div_ceil(MOST));
        let confirmed_at = confirmed_at(&recording, plan);
        let mut baseline = Self { recording, operations, apart, first, checkpoints: Vec::new(), confirmed_at };
        let mut replay = Replay::new(&baseline.recording);
        for operation in (0..operations).step_by(apart as usize) {
            if !keep_going() {
                return Ok(None);
            }
            baseline.approach(&mut replay, operation)?;
            baseline.checkpoints.push(replay.clone());
        }
        Ok(Some(baseline))
    }

    /// How many checkpoints there are.
    pub(super) fn chunks(&self) -> usize {
        self.checkpoints.len()
    }

    /// The replay at the checkpoint before `operation`.
    pub(super) fn checkpoint(&self, operation: u32) -> Replay {
        self.checkpoints[(operation / self.apart) as usize].clone()
    }

    /// Cuts a copy of `replay`, which must not be past `operation`.
    pub(super) fn cut(&self, replay: &Replay, operation: u32, phase: CutPhase) -> Result<Cut, LinkError> {
        let mut replay = replay.clone();
        replay.machine.arm_cut(self.first + u64::from(operation), phase);
        if replay.run(&self.recording, self.recording.end_cycle.saturating_add(LEAD)) {
            return Err(fault(format!(
                "flash operation {operation} of the recording did not come again when it was replayed; the recording misses an input"
            )));
        }
        let confirmed = self.confirmed_at.is_some_and(|at| replay.machine.now() >= at);
        Ok(Cut { machine: replay.machine, confirmed })
    }

    /// Moves `replay` to shortly before `operation`.
    pub(super) fn approach(&self, replay: &mut Replay, operation: u32) -> Result<(), LinkError> {
        let at = self.cut(replay, operation, CutPhase::Before)?.machine.now();
        let mut moved = replay.clone();
        moved.run(&self.recording, at.saturating_sub(LEAD));
        // It may be past the operation if two of them are closer together than LEAD; then the one it came from has to do.
        if moved.machine.nv().counts().total() <= self.first + u64::from(operation) {
            *replay = moved;
        }
        Ok(())
    }
}

/// Flash operations in a recording.
pub(super) fn count(recording: &Recording) -> Result<u32, LinkError> {
    let operations = recording.replay().0.nv().counts().total() - recording.start.nv().counts().total();
    u32::try_from(operations)
        .map_err(|_| fault(format!("the recording has {operations} flash operations, more than can be numbered")))
}

/// When the last byte of the confirmation was put on the line: the last exchange of `confirm` that sends anything, as a line of its own.
fn confirmed_at(recording: &Recording, plan: &CutPlan) -> Option<u64> {
    let command = plan.confirm.iter().rev().map(|exchange| exchange.send.as_slice()).find(|send| !send.is_empty())?;
    let (times, bytes): (Vec<u64>, Vec<u8>) = recording.sent().unzip();
    // The last occurrence: an image that happens to contain the words must not excuse the device early.
    let at = memchr::memmem::rfind_iter(&bytes, command).find(|&at| at == 0 || b"\r\n".contains(&bytes[at - 1]));
    // An image ends where it ends; a command behind it does not start a line.
    let at = at.or_else(|| memchr::memmem::rfind(&bytes, command))?;
    Some(times[at + command.len() - 1])
}

/// What the device would say at the end of the recording, given time to finish what it is doing.
pub(super) fn at_end(recording: &Recording, settle: std::time::Duration) -> Machine {
    let mut console = Console::new(recording.replay().0, None);
    let until = console.machine.now() + cycles(settle);
    while console.machine.now() < until {
        console.listen(until);
    }
    console.unread.clear();
    console.machine
}

pub(super) fn fault(what: impl Into<String>) -> LinkError {
    LinkError::new("search power cuts on the virtual device", what)
}

/// The device does not do without a cut what the search rests on.
pub(super) fn unfit(what: impl Into<String>) -> LinkError {
    LinkError::of_device("search power cuts on the virtual device", what)
}

/// Only what the recording contains can be replayed; a recording that starts before its first input was applied is in order.
pub(super) fn in_order(recording: &Recording) -> Result<(), LinkError> {
    let mut last = recording.start.now();
    for (at, _) in &recording.inputs {
        if *at < last {
            return Err(fault("the inputs of the recording are not in the order of their times"));
        }
        last = *at;
    }
    if recording.end_cycle < last {
        return Err(fault("the recording ends before its last input"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        channel::link::{CutSelect, Exchange},
        virtual_dut::{MachineConfig, bench::Input},
    };

    fn plan(confirm: &[u8]) -> CutPlan {
        let exchange = Exchange { send: confirm.to_vec(), expect: None, within: Duration::ZERO };
        CutPlan {
            select: CutSelect::All,
            torn: 1,
            second: 0,
            ready: regex::bytes::Regex::new("ready").unwrap(),
            recovery: Duration::from_secs(1),
            old_version: "1".into(),
            new_version: "2".into(),
            settings: Vec::new(),
            counter: Vec::new(),
            confirm: vec![exchange],
            update: Vec::new(),
            threads: 1,
            memoise: false,
        }
    }

    fn sent(pieces: &[(u64, &[u8])]) -> Recording {
        let inputs = pieces.iter().map(|(at, bytes)| (*at, Input::Serial(bytes.to_vec()))).collect();
        Recording { start: Machine::new(MachineConfig::default()), inputs, end_cycle: 1000 }
    }

    #[test]
    fn the_confirmation_counts_from_its_last_byte_however_it_was_split() {
        let plan = plan(b"confirm\n");
        let split = sent(&[(10, b"version\nconf"), (20, b"ir"), (30, b"m\n")]);
        assert_eq!(confirmed_at(&split, &plan), Some(30));
        assert_eq!(confirmed_at(&sent(&[(10, b"version\nconfirm")]), &plan), None);
    }

    #[test]
    fn an_image_with_the_words_in_it_is_no_confirmation_of_itself() {
        let plan = plan(b"confirm\n");
        let two = sent(&[(10, b"update 99\n"), (20, b"\x00confirm\n\x00"), (30, b"login a 1\n"), (40, b"confirm\n")]);
        assert_eq!(confirmed_at(&two, &plan), Some(40));
    }

    #[test]
    fn a_disordered_recording_is_refused() {
        in_order(&sent(&[(10, b"a"), (10, b"b")])).unwrap();
        in_order(&sent(&[(20, b"a"), (10, b"b")])).unwrap_err();
        in_order(&sent(&[(2000, b"a")])).unwrap_err();
    }
}
