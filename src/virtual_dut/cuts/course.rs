//! What becomes of a device after a cut: the facts that the oracle judges.
//!
//! # Why remembering is sound
//!
//! A course is a function of the machine at power-on and of nothing else: the machine is deterministic, and the questions and their
//! instants are fixed for the search. It is executed for one machine and remembered for every other one in which the same would happen
//! instruction by instruction: one that has the same time and the same digest of everything but code flash (processor, peripherals, SRAM, UICR),
//! and the same content in each page of code flash that the executed course looked at before erasing it. The machine notes these pages itself,
//! at the one place through which it reads flash. So nothing has to be argued about which parts of a device matter: SRAM in particular is
//! part of the key, read or not.
//!
//! What makes different cuts meet is physical, not assumed. The power stays off until an instant fixed for the search and long enough for
//! SRAM to lose everything, so the SRAM that a recovery starts with does not depend on what ran before. After that, two devices differ in
//! flash only: within the place of an update that is not complete, where nobody looks, or in a page that the recovery erases first. One cut in
//! sixteen is followed by a power-on so soon that SRAM keeps part of its content; these recoveries meet nobody and are executed in full.

use std::time::Duration;

use super::{
    Questions,
    console::{Asked, Console, Heard, cycles},
    log::Log,
    memory::{Memory, Place},
};
use crate::virtual_dut::{CYCLES_PER_SECOND, Machine, looked::Pages, recording::pass};

/// Off time after which SRAM holds nothing of what it held, in cycles: one minute.
const LONG: u64 = 60 * CYCLES_PER_SECOND;
/// Off time after which SRAM holds part of it, in cycles: 50 ms.
const SHORT: u64 = CYCLES_PER_SECOND / 20;
/// For how many times 10 us a flash operation under way is waited for: 0.5 s, longer than any operation, erase of all included.
const MOST_BUSY: u32 = 50_000;
/// What came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing within the time allowed.
    Dark,
    /// The version before the update.
    Old,
    /// The version of the update.
    New,
    /// Something that says to be of another version.
    Other,
}

/// The answer to the question for the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    /// No answer, or not a number.
    Unknown,
    /// This.
    Is(u64),
}

/// From the first power-on after the cut to the end of the examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    /// First power-on.
    pub(super) first: Seen,
    /// Flash operations between the power-on and `ready` (or the end of the time allowed).
    pub(super) operations: u32,
    /// Whether the settings were those expected. Asked after the first power-on.
    pub(super) settings: bool,
    /// Asked after the first power-on.
    pub(super) counter: Counter,
    /// What followed; not examined if the first power-on brought up nothing, or something unknown.
    pub(super) rest: Option<Rest>,
}

/// From the second power-on on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    /// Second power-on, nothing having been asked or sent since the first.
    pub(super) second: Seen,
    /// Third power-on, if the second brought up the new version.
    pub(super) third: Option<Seen>,
    /// Whether a genuine update then worked, every exchange of it.
    pub(super) updated: bool,
    /// What came up after that and a further power-on.
    pub(super) after: Seen,
}

/// What was found out already.
#[derive(Debug)]
pub(super) struct Memories {
    courses: Memory<Course>,
    rests: Memory<Rest>,
}

impl Memories {
    pub(super) fn new() -> Self {
        Self { courses: Memory::new(), rests: Memory::new() }
    }

    /// Findings and entries of each, for figures.
    pub(super) fn figures(&self) -> [(u64, usize); 2] {
        [self.courses.figures(), self.rests.figures()]
    }
}

/// What begins, for the memories.
const STAGE_FIRST: u32 = 0;
const STAGE_REST: u32 = 1;

/// An examination of one device.
#[derive(Debug)]
pub(super) struct Examiner<'a> {
    pub(super) questions: &'a Questions,
    /// `None`: everything is executed.
    pub(super) memories: Option<&'a Memories>,
}

impl Examiner<'_> {
    /// Instant of the `slot`-th power-on: the same for every point of a search.
    fn slot(&self, slot: u64) -> u64 {
        self.questions.zero + LONG + slot * (LONG + cycles(self.questions.recovery))
    }

    /// Raises the supply of a machine that a cut has switched off; `again` after a second cut. With `soon`, before SRAM has decayed.
    pub(super) fn power_on(&self, machine: &mut Machine, again: bool, soon: bool, log: Option<&mut Log>) {
        let at = if soon { machine.now() + SHORT } else { self.slot(u64::from(again)) };
        raise(machine, at, log);
    }

    /// Lets a device that has just been powered do what it wants until it is ready.
    ///
    /// `ready` is looked for in each line with its line end, not across lines.
    fn come_up(&self, console: &mut Console) -> Seen {
        let end = console.machine.now().saturating_add(cycles(self.questions.recovery));
        loop {
            let heard = console.listen(end);
            if let Some(seen) = self.questions.ready(&console.unread) {
                console.unread.clear();
                console.note(match seen {
                    Seen::Old => "up: the old version",
                    Seen::New => "up: the new version",
                    _ => "up: neither the old nor the new version",
                });
                return seen;
            }
            match heard {
                Heard::Line => console.unread.clear(),
                Heard::Over => {
                    console.note(&format!("not ready within {:?}", self.questions.recovery));
                    return Seen::Dark;
                }
                Heard::Quiet => {}
            }
        }
    }

    /// Examines a device whose supply has just been raised.
    pub(super) fn course(&self, mut machine: Machine, mut log: Option<&mut Log>) -> Course {
        let memory = self.memories.filter(|_| log.is_none()).map(|memories| &memories.courses);
        let place = memory.map(|memory| (memory, Place::of(&mut machine, STAGE_FIRST)));
        if let Some((known, _)) = place.as_ref().and_then(|(memory, place)| memory.get(place)) {
            return known;
        }
        machine.soc.nv.look_anew();
        let before = machine.nv().counts().total();
        let mut console = Console::new(machine, log.as_deref_mut());
        let first = self.come_up(&mut console);
        let mut machine = console.machine;
        let mut needed = machine.nv().looked().needed();
        let operations = u32::try_from(machine.nv().counts().total() - before).unwrap_or(u32::MAX);
        let mut course = Course { first, operations, settings: false, counter: Counter::Unknown, rest: None };
        if matches!(first, Seen::Old | Seen::New) {
            // The questions are put to a copy: the device that is switched off next has not been asked anything.
            let mut console = Console::new(machine.clone(), log.as_deref_mut());
            course.settings = self.questions.settings_kept(&mut console);
            course.counter = self.questions.counter(&mut console);
            let asked = console.machine.nv().looked().needed();
            if let Some(log) = &mut log {
                log.note(machine.now(), "the questions were put to a copy; the device itself is switched off and on again");
            }
            cycle(&mut machine, self.slot(2), log.as_deref_mut());
            let looked = machine.nv().looked().clone();
            let (rest, read) = self.rest(machine, log);
            looked.add(read);
            needed = looked.needed().joined(asked);
            course.rest = Some(rest);
        }
        if let Some((memory, place)) = place {
            memory.put(&place, needed, course);
        }
        course
    }

    /// From the second power-on on, and the pages of code flash that it depends on.
    fn rest(&self, mut machine: Machine, mut log: Option<&mut Log>) -> (Rest, Pages) {
        let memory = self.memories.filter(|_| log.is_none()).map(|memories| &memories.rests);
        let place = memory.map(|memory| (memory, Place::of(&mut machine, STAGE_REST)));
        if let Some(known) = place.as_ref().and_then(|(memory, place)| memory.get(place)) {
            return known;
        }
        machine.soc.nv.look_anew();
        let mut rest = Rest { second: Seen::Dark, third: None, updated: false, after: Seen::Dark };
        let mut console = Console::new(machine, log.as_deref_mut());
        rest.second = self.come_up(&mut console);
        let mut machine = console.machine;
        let mut last = rest.second;
        if last == Seen::New {
            cycle(&mut machine, self.slot(3), log.as_deref_mut());
            let mut console = Console::new(machine, log.as_deref_mut());
            last = self.come_up(&mut console);
            machine = console.machine;
            rest.third = Some(last);
        }
        if matches!(last, Seen::Old | Seen::New) {
            (rest.updated, rest.after, machine) = self.update(machine, log);
        }
        let needed = machine.nv().looked().needed();
        if let Some((memory, place)) = place {
            memory.put(&place, needed, rest);
        }
        (rest, needed)
    }

    /// A genuine update, what runs after it and a power cycle, and the device in the end.
    pub(super) fn update(&self, machine: Machine, mut log: Option<&mut Log>) -> (bool, Seen, Machine) {
        let mut console = Console::new(machine, log.as_deref_mut());
        console.note("a genuine update");
        let asked = console.ask(&self.questions.update);
        let mut machine = console.machine;
        if !matches!(asked, Asked::Answered(_)) {
            return (false, Seen::Dark, machine);
        }
        let at = machine.now() + LONG;
        cycle(&mut machine, at, log.as_deref_mut());
        let mut console = Console::new(machine, log);
        let after = self.come_up(&mut console);
        (true, after, console.machine)
    }

    /// Switches `machine` off and on again and lets it come up. For devices that nobody has cut.
    pub(super) fn restarted(&self, mut machine: Machine) -> (Seen, Machine) {
        let at = machine.now() + LONG;
        cycle(&mut machine, at, None);
        let mut console = Console::new(machine, None);
        let seen = self.come_up(&mut console);
        (seen, console.machine)
    }
}

/// Off now, on at `at`.
fn cycle(machine: &mut Machine, at: u64, mut log: Option<&mut Log>) {
    drop_supply(machine, log.as_deref_mut());
    raise(machine, at, log);
}

/// Drops the supply; what was still on its way out is in the transcript and nowhere else.
///
/// Not in the middle of a flash operation: the only operations torn are those that a point names. (A tear depends on how many operations
/// there were before, which the keys of the memories leave out.)
fn drop_supply(machine: &mut Machine, log: Option<&mut Log>) {
    for _ in 0..MOST_BUSY {
        if !machine.is_flash_busy() {
            break;
        }
        machine.run_until(machine.now() + CYCLES_PER_SECOND / 100_000);
    }
    machine.power_off();
    let late = machine.uart_take_timed();
    if let Some(log) = log {
        log.received(&late);
        log.note(machine.now(), "power off");
    }
}

fn raise(machine: &mut Machine, at: u64, log: Option<&mut Log>) {
    let off = machine.now();
    pass(machine, at);
    machine.uart_take_timed();
    machine.power_on();
    if let Some(log) = log {
        let span = Duration::from_nanos((machine.now() - off) * 1_000_000_000 / CYCLES_PER_SECOND);
        log.note(machine.now(), &format!("power on after {span:?}"));
    }
}
