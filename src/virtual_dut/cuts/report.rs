//! Outcomes on their way out: in batches, the bad ones with transcripts.

use std::mem;

use super::{CutSearch, KeepGoing, baseline::fault};
use crate::{
    channel::link::{CutProgress, LinkError},
    event::{CutOutcome, CutPoint},
};

/// Points in one [`CutProgress::Judged`].
const BATCH: u32 = 200;
/// Bad points of a search that are told in full; the transcripts of the others say how to get one.
const TOLD: u64 = 50;

/// Collects outcomes into batches and hands them out with their transcripts.
pub(super) struct Report<'a> {
    search: &'a CutSearch,
    on: &'a mut dyn FnMut(CutProgress),
    keep_going: KeepGoing<'a>,
    batch: Vec<(CutOutcome, u32)>,
    waiting: u32,
    bad: Vec<(CutPoint, CutOutcome)>,
    judged: u64,
    /// Bad outcomes met so far.
    told: Vec<CutOutcome>,
    /// Bad points so far.
    count: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(search: &'a CutSearch, on: &'a mut dyn FnMut(CutProgress), keep_going: KeepGoing<'a>) -> Self {
        Self { search, on, keep_going, batch: Vec::new(), waiting: 0, bad: Vec::new(), judged: 0, told: Vec::new(), count: 0 }
    }

    pub(super) fn add(&mut self, point: CutPoint, outcome: CutOutcome) -> Result<(), LinkError> {
        match self.batch.last_mut() {
            Some((last, n)) if *last == outcome => *n += 1,
            _ => self.batch.push((outcome, 1)),
        }
        self.waiting += 1;
        if !outcome.is_good() {
            self.bad.push((point, outcome));
        }
        if self.waiting == BATCH { self.flush() } else { Ok(()) }
    }

    /// Hands out the rest. Points judged, and bad ones among them.
    pub(super) fn finish(mut self) -> Result<(u64, u64), LinkError> {
        self.flush()?;
        Ok((self.judged, self.count))
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.judged += u64::from(mem::take(&mut self.waiting));
        (self.on)(CutProgress::Judged(mem::take(&mut self.batch)));
        for (point, outcome) in mem::take(&mut self.bad) {
            self.count += 1;
            let transcript = self.transcript(point, outcome)?;
            (self.on)(CutProgress::Told { point, outcome, transcript });
        }
        Ok(())
    }

    /// A full transcript takes the time of a full execution. The first ones and the first of each kind are enough to read.
    fn transcript(&mut self, point: CutPoint, outcome: CutOutcome) -> Result<String, LinkError> {
        if self.count > TOLD && self.told.contains(&outcome) {
            return Ok(format!("point {point}: {outcome:?}. One of many; select this point alone for its transcript.\n"));
        }
        if !(self.keep_going)() {
            return Ok(format!(
                "point {point}: {outcome:?}. The search was stopped; select this point alone for its transcript.\n"
            ));
        }
        self.told.push(outcome);
        let (judged, transcript) = self.search.tell(point)?;
        if judged.outcome != outcome {
            let executed = judged.outcome;
            return Err(fault(format!(
                "point {point} is {outcome:?} from memory and {executed:?} executed: a defect of the bench"
            )));
        }
        Ok(transcript)
    }
}
