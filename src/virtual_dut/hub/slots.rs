//! Where the hub's firmware is: two slots on a flash of their own, and a log that says which of them starts.
//!
//! A new bundle goes into the slot that does not run. It is started once on trial; unless somebody confirms it, the next start goes back. The
//! confirmation and the security counter are one record, so that a power cut cannot part them.

use std::time::Duration;

use super::{
    Flaw,
    bundle::{HEADER, Header, Refusal},
    flash::{Flash, PAGE},
    log::{Found, Kind, Log},
};
use crate::event::Nanos;

/// Pages of a slot.
const PAGES: usize = 4;
/// Time that its flash takes to erase a page.
const ERASE: Duration = Duration::from_millis(20);
/// Room of a slot, in bytes.
pub(super) const ROOM: usize = PAGES * PAGE;
/// Where the log is: behind the slots.
const LOG: usize = 2 * PAGES;
/// What the hub leaves the factory with.
const FACTORY: &[u8] = include_bytes!("../../../firmware-fixtures/smart-hub/images/hub-v1.bundle");

/// What stands in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    /// The confirmed slot.
    good: usize,
    /// A slot to be tried, and whether it was started.
    trial: Option<(usize, bool)>,
    counter: u32,
}

const GOOD: Kind = 1;
const TRY: Kind = 2;
const STARTED: Kind = 3;
const REVERTED: Kind = 4;
const RAISED: Kind = 5;

impl State {
    fn apply(&mut self, kind: Kind, payload: &[u8]) {
        let slot = usize::from(payload.first().copied().unwrap_or(0) & 1);
        let counter = payload.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        match kind {
            GOOD => *self = Self { good: slot, trial: None, counter: self.counter.max(counter) },
            TRY => self.trial = Some((slot, false)),
            STARTED => self.trial = self.trial.map(|(slot, _)| (slot, true)),
            REVERTED => self.trial = None,
            RAISED => self.counter = self.counter.max(counter),
            _ => {}
        }
    }

    fn records(&self) -> Vec<(Kind, Vec<u8>)> {
        let mut records = vec![(GOOD, good(self.good, self.counter))];
        if let Some((slot, started)) = self.trial {
            records.push((TRY, vec![slot as u8]));
            records.extend(started.then(|| (STARTED, Vec::new())));
        }
        records
    }
}

fn good(slot: usize, counter: u32) -> Vec<u8> {
    [&[slot as u8][..], &counter.to_le_bytes()].concat()
}

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    /// The version that runs.
    pub(super) version: String,
    /// Whether it stops before it is up.
    pub(super) hangs: bool,
    /// What happened on the way, in lines for the console.
    pub(super) notes: Vec<String>,
}

/// The flash with the firmware.
#[derive(Debug)]
pub(super) struct Slots {
    flash: Flash,
    log: Log,
    state: State,
    running: usize,
    version: String,
}

impl Slots {
    /// As the factory made it.
    pub(super) fn delivered() -> Self {
        let mut flash = Flash::blank(LOG + 2, ERASE);
        let now = Nanos::default();
        let mut log = Log::make(&mut flash, LOG, 1, now);
        flash.program(0, FACTORY, now);
        log.append(&mut flash, GOOD, &good(0, 1), now);
        flash.settle();
        Self { flash, log, state: State::default(), running: 0, version: String::new() }
    }

    /// When all that was written is written.
    pub(super) fn busy_until(&self) -> Nanos {
        self.flash.busy_until()
    }

    /// The power goes.
    pub(super) fn cut(&mut self, now: Nanos) {
        self.flash.cut(now);
    }

    /// Decides what starts, and writes down what a next start has to know. `None`: nothing can be started.
    pub(super) fn start(&mut self, now: Nanos, flaw: Option<Flaw>) -> Option<Started> {
        let (log, Found { records, torn, unfinished }) = Log::load(&mut self.flash, LOG, 1, now);
        (self.log, self.state) = (log, State::default());
        if records.is_empty() && !torn {
            return None;
        }
        for (kind, payload) in &records {
            self.state.apply(*kind, payload);
        }
        if torn {
            self.log.rewrite(&mut self.flash, &self.state.records(), now);
        } else if unfinished {
            self.log.clean(&mut self.flash, now);
        }
        let mut notes = Vec::new();
        match self.state.trial {
            Some((slot, false)) => match self.bootable(slot, flaw) {
                Ok(header) => {
                    self.append(STARTED, &[], now);
                    if flaw == Some(Flaw::CounterEarly) {
                        self.append(RAISED, &good(slot, header.counter), now);
                    }
                }
                Err(refusal) => {
                    notes.push(format!("boot refused {}", refusal.word()));
                    self.append(REVERTED, &[], now);
                }
            },
            Some((_, true)) if flaw != Some(Flaw::NoRevert) => {
                notes.push("boot revert".to_owned());
                self.append(REVERTED, &[], now);
            }
            _ => {}
        }
        let other = 1 - self.state.good;
        if notes.is_empty() && self.state.trial.is_none() && !self.flash.is_blank(other * ROOM, ROOM) {
            // What is left of a download that was cut, and nothing that ever ran here.
            let left = self.judge(other, None).is_err_and(|refusal| refusal != Refusal::Rollback);
            notes.extend(left.then(|| "boot unfinished update".to_owned()));
        }
        let wanted = self.state.trial.map_or(self.state.good, |(slot, _)| slot);
        let (slot, header) = [wanted, 1 - wanted].into_iter().find_map(|slot| Some((slot, self.bootable(slot, flaw).ok()?)))?;
        (self.running, self.version) = (slot, header.version());
        let hangs = self.payload(slot, header.length).starts_with(b"hang\n");
        Some(Started { version: self.version.clone(), hangs, notes })
    }

    fn append(&mut self, kind: Kind, payload: &[u8], now: Nanos) {
        self.state.apply(kind, payload);
        if self.log.append(&mut self.flash, kind, payload, now).is_none() {
            self.log.rewrite(&mut self.flash, &self.state.records(), now);
        }
    }

    fn payload(&self, slot: usize, length: usize) -> &[u8] {
        self.flash.read(slot * ROOM + HEADER, length.min(ROOM - HEADER))
    }

    /// Whether what stands in a slot may run.
    fn judge(&self, slot: usize, flaw: Option<Flaw>) -> Result<Header, Refusal> {
        let header = Header::check(self.flash.read(slot * ROOM, HEADER), self.state.counter, ROOM, flaw)?;
        header.check_payload(self.payload(slot, header.length), flaw)?;
        Ok(header)
    }

    /// The same before a start, where a hub with [`Flaw::ResumeUnchecked`] relies on what was checked when the bundle came.
    fn bootable(&self, slot: usize, flaw: Option<Flaw>) -> Result<Header, Refusal> {
        if flaw == Some(Flaw::ResumeUnchecked) {
            return Header::check(self.flash.read(slot * ROOM, HEADER), self.state.counter, ROOM, flaw);
        }
        self.judge(slot, flaw)
    }

    /// The running version.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// What runs, for the console: version, counter, and whether it is on trial.
    pub(super) fn describe(&self) -> String {
        let state = if self.on_trial() { "testing" } else { "confirmed" };
        format!("version {} counter {} {state}", self.version, self.state.counter)
    }

    /// Least security counter of an update.
    pub(super) fn counter(&self) -> u32 {
        self.state.counter
    }

    /// Whether what runs is not confirmed.
    pub(super) fn on_trial(&self) -> bool {
        self.state.trial.is_some()
    }

    /// Makes room for a new bundle in the slot that does not run.
    pub(super) fn clear(&mut self, now: Nanos) {
        self.flash.erase((1 - self.running) * PAGES, PAGES, now);
    }

    /// Writes a piece of a new bundle. The caller minds its end.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8], now: Nanos) {
        self.flash.program((1 - self.running) * ROOM + at, bytes, now);
    }

    /// Reads the new bundle back and judges it.
    ///
    /// # Errors
    /// It may not run.
    pub(super) fn judge_new(&self, flaw: Option<Flaw>) -> Result<Header, Refusal> {
        self.judge(1 - self.running, flaw)
    }

    /// The new bundle is tried at the next start.
    pub(super) fn choose(&mut self, now: Nanos) {
        self.append(TRY, &[1 - self.running as u8], now);
    }

    /// Makes what is on trial permanent and raises the security counter. Returns whether there was something to confirm.
    pub(super) fn confirm(&mut self, now: Nanos, flaw: Option<Flaw>) -> bool {
        let Some(header) = self.bootable(self.running, flaw).ok().filter(|_| self.on_trial()) else { return false };
        self.append(GOOD, &good(self.running, header.counter), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = include_bytes!("../../../firmware-fixtures/smart-hub/images/hub-v2.bundle");

    fn started(slots: &mut Slots, now: Nanos) -> String {
        slots.start(now, None).expect("something can be started").version
    }

    /// A hub that runs 1.0.0.
    fn running() -> Slots {
        let mut slots = Slots::delivered();
        assert_eq!(started(&mut slots, Nanos::default()), "1.0.0");
        slots
    }

    /// Everything that an update does, with a cut at one moment of it.
    fn update(slots: &mut Slots, now: Nanos) {
        slots.clear(now);
        slots.write(0, V2, now);
        assert!(slots.judge_new(None).is_ok());
        slots.choose(now);
    }

    #[test]
    fn an_update_is_tried_once_and_reverts_unless_it_is_confirmed() {
        for confirmed in [false, true] {
            let mut slots = running();
            update(&mut slots, Nanos::default());
            assert_eq!(started(&mut slots, Nanos::default()), "2.0.0");
            assert_eq!(slots.describe(), "version 2.0.0 counter 1 testing");
            if confirmed {
                assert!(slots.confirm(Nanos::default(), None));
                assert!(!slots.confirm(Nanos::default(), None), "there is nothing more to confirm");
            }
            let again = slots.start(Nanos::default(), None).unwrap();
            assert_eq!(again.version, if confirmed { "2.0.0" } else { "1.0.0" });
            assert_eq!(again.notes.is_empty(), confirmed);
            assert_eq!(slots.counter(), if confirmed { 2 } else { 1 });
            assert_eq!(started(&mut slots, Nanos::default()), again.version, "and it stays so");
        }
    }

    #[test]
    fn a_cut_at_any_moment_leaves_a_slot_that_starts() {
        let mut seen = std::collections::BTreeMap::new();
        for step in 0..600_u64 {
            let mut slots = running();
            let begun = Nanos(1);
            update(&mut slots, begun);
            let end = slots.busy_until();
            // The last milliseconds are the ones that decide.
            let cut = if step < 200 { Nanos(end.0 * step / 200) } else { Nanos(end.0 - 300_000 + 1000 * (step - 200)) };
            slots.cut(cut);
            let first = started(&mut slots, cut);
            *seen.entry(first.clone()).or_insert(0) += 1;
            // A second cut, while it writes down that the trial was started.
            let now = slots.busy_until();
            slots.cut(Nanos(cut.0 + (now.0 - cut.0) * (step % 7) / 6));
            let second = started(&mut slots, now);
            assert!(second == "1.0.0" || first == "2.0.0" && second == "2.0.0", "step {step}: {first} {second}");
            assert_eq!(slots.counter(), 1);
            // And a genuine update is possible.
            if slots.on_trial() {
                started(&mut slots, now);
            }
            update(&mut slots, now);
            let done = slots.busy_until();
            assert_eq!(started(&mut slots, done), "2.0.0", "step {step}");
            assert!(slots.confirm(done, None));
        }
        assert!(seen.len() == 2 && seen.values().all(|count| *count > 20), "{seen:?}");
    }

    #[test]
    fn a_cut_at_any_moment_of_a_confirmation_parts_nothing() {
        for step in 0..100 {
            let mut slots = running();
            update(&mut slots, Nanos::default());
            let begun = slots.busy_until();
            started(&mut slots, begun);
            let begun = slots.busy_until();
            slots.confirm(begun, None);
            let end = slots.busy_until();
            slots.cut(Nanos(begun.0 + (end.0 - begun.0) * step / 99));
            let version = started(&mut slots, end);
            assert_eq!((version.as_str(), slots.counter()), if slots.counter() == 2 { ("2.0.0", 2) } else { ("1.0.0", 1) });
        }
    }

    #[test]
    fn what_does_not_verify_is_not_started() {
        let mut slots = running();
        slots.clear(Nanos::default());
        slots.write(0, &V2[..V2.len() - 1], Nanos::default());
        assert!(slots.judge_new(None).is_err());
        slots.choose(Nanos::default());
        let start = slots.start(Nanos::default(), None).unwrap();
        assert_eq!((start.version.as_str(), start.notes.as_slice()), ("1.0.0", &["boot refused digest".to_owned()][..]));
        // Without a log nobody knows which counter holds: nothing is started.
        slots.flash.erase(LOG, 2, Nanos::default());
        assert_eq!(slots.start(Nanos::default(), None), None);
    }
}
