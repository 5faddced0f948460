//! One point at a time: judged, and told to a person.

use super::{
    CutSearch, Judged,
    log::Log,
    oracle::{Old, judge},
};
use crate::{
    channel::link::LinkError,
    event::{CutPhase, CutPoint},
    virtual_dut::{FLASH_BASE, FLASH_SIZE, UICR_BASE, recording::Replay},
};

impl CutSearch {
    /// Judges one point, executing everything, and tells what happened.
    ///
    /// # Errors
    /// There is no such point.
    pub fn tell(&self, point: CutPoint) -> Result<(Judged, String), LinkError> {
        self.in_range(point)?;
        let replay = self.baseline.checkpoint(point.operation);
        let cut = self.baseline.cut(&replay, point.operation, point.phase)?;
        let mut log = Log::new(cut.machine.now());
        let mut case = self.case(&cut);
        log.note(cut.machine.now(), &format!("power cut at point {point}: {}", self.describe(&replay, point)?));
        let claim = match case.old {
            Old::Holds => "the confirmation had not been sent",
            Old::Contested => "the confirmation had been sent",
            Old::Lapsed => "the old version was on trial and is being reverted",
        };
        log.note(cut.machine.now(), &format!("{claim}; the security counter must be at least {}", case.floor));
        let mut machine = cut.machine;
        // What was on its way when the power went was sent before the cut and belongs to the run, not to the recovery.
        machine.uart_take_timed();
        if let Some(after) = point.again {
            (machine, case) = self.second_cut(machine, point, after, case, Some(&mut log))?;
        }
        let course = self.course(machine, point, Some(&mut log));
        let (outcome, why) = judge(&course, case);
        Ok((Judged { outcome, recovery: course.operations }, log.finish(&format!("outcome {outcome:?}: {why}"))))
    }

    /// What the operation of `point` does to the flash.
    fn describe(&self, replay: &Replay, point: CutPoint) -> Result<String, LinkError> {
        let content = |phase| {
            let cut = self.baseline.cut(replay, point.operation, phase)?;
            let nv = cut.machine.nv();
            let flash = nv.read(FLASH_BASE, FLASH_SIZE).unwrap_or_default();
            let uicr = nv.read(UICR_BASE, 0x100).unwrap_or_default();
            Ok::<_, LinkError>([(FLASH_BASE, flash), (UICR_BASE, uicr)])
        };
        let (before, after) = (content(CutPhase::Before)?, content(CutPhase::After)?);
        let mut changed = Vec::new();
        for ((base, old), (_, new)) in before.iter().zip(&after) {
            let differs = |i: &usize| old[*i] != new[*i];
            if let (Some(first), Some(last)) = ((0..old.len()).find(differs), (0..old.len()).rfind(differs)) {
                changed.push(format!("{:#010x}..={:#010x}", base + first as u32, base + last as u32));
            }
        }
        let what = if changed.is_empty() { "changes nothing".to_owned() } else { format!("changes {}", changed.join(" and ")) };
        Ok(format!("operation {} of 0..{} {what}", point.operation, self.baseline.operations))
    }
}
