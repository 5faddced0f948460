//! Times at which a console was not there, and whose doing that was.
//!
//! A console that hangs on the device's supply goes when the supply goes: that is part of the test. Any other absence is the bench's fault, and
//! what was not seen meanwhile says nothing about the device. So each absence is *explained* or not; what that means for a verdict is for
//! the engine to say.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::super::{
    clock::BoxFuture,
    link::{ByteLink, LinkError},
};
use crate::event::Nanos;

/// How long after a supply has come up again a loss is still put down to the cut before: hubs need some time to notice that a
/// device is gone.
const NOTICED_LATE: Duration = Duration::from_secs(2);

/// Absences that are remembered. A contact that chatters for a night must not fill the memory.
const KEEP: usize = 1024;

/// Where an observer stands: from which byte on it looks, and which absences are behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Offset in the stream.
    pub offset: u64,
    /// Absences that had ended before.
    pub absences: u64,
}

/// One absence, or a known loss of bytes, which is one without length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Absence {
    /// Offset in the stream at which bytes may be missing, if it is known exactly.
    pub(super) offset: Option<u64>,
    pub(super) since: Nanos,
    pub(super) back: Option<Nanos>,
    pub(super) why: String,
    pub(super) explained: bool,
}

/// The absences of one console, in order. Only the last one can be going on.
#[derive(Debug, Default)]
pub(super) struct Absences {
    list: VecDeque<Absence>,
    /// How many are no longer in the list.
    forgotten: u64,
}

impl Absences {
    pub(super) fn begin(&mut self, absence: Absence) {
        if self.list.len() == KEEP {
            self.list.pop_front();
            self.forgotten += 1;
        }
        self.list.push_back(absence);
    }

    /// The one that goes on.
    pub(super) fn current(&mut self) -> Option<&mut Absence> {
        self.list.back_mut().filter(|absence| absence.back.is_none())
    }

    /// How many had ended at `time`.
    pub(super) fn ended(&self, time: Nanos) -> u64 {
        self.forgotten + self.list.iter().filter(|absence| absence.back.is_some_and(|back| back <= time)).count() as u64
    }

    /// Offsets after `from` at which the stream was put together again.
    pub(super) fn seams(&self, from: u64) -> Vec<u64> {
        self.list.iter().filter_map(|absence| absence.offset).filter(|offset| *offset > from).collect()
    }

    /// Why something may have been missed by who stood at `mark` and looked until `until`, if that is not our own doing.
    pub(super) fn unexplained(&self, mark: u64, until: Nanos) -> Option<String> {
        if mark < self.forgotten {
            return Some(format!("it was away more than {KEEP} times"));
        }
        let window = self.list.iter().skip((mark - self.forgotten) as usize);
        let found = window.into_iter().find(|absence| absence.since <= until && !absence.explained)?;
        let seconds = |time: Nanos| time.0 as f64 / 1e9;
        let back = match found.back {
            Some(back) if back == found.since => String::new(),
            Some(back) => format!(" and was back at {:.3} s", seconds(back)),
            None => " and is not back".to_owned(),
        };
        Some(format!("{} (at {:.3} s{back})", found.why, seconds(found.since)))
    }
}

/// What the bench has done to a supply that consoles hang on.
#[derive(Debug)]
pub struct Supplied {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    down: bool,
    /// Last switched to up.
    up_at: Nanos,
    /// The last cut has not been put down as the reason of a loss yet.
    unused: bool,
}

impl Supplied {
    /// A supply that nobody has switched.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), state: Mutex::default() })
    }

    /// The supply channel.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The supply is being switched: to be told before it goes down, and after it has come up.
    pub fn switched(&self, up: bool, at: Nanos) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = if up { State { down: false, up_at: at, ..*state } } else { State { down: true, unused: true, ..*state } };
    }

    /// The supply was found to be down, without anybody having switched it.
    pub fn found_down(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).down = true;
    }

    /// Whether a loss at `at` is what a cut leads to.
    pub(super) fn explains(&self, at: Nanos) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let explains = state.down || state.unused && at.since(state.up_at) <= NOTICED_LATE;
        state.unused &= !explains;
        explains
    }

    /// For how long the supply has been up at `now`; nothing if we have switched it down.
    pub(super) fn up_for(&self, now: Nanos) -> Option<Duration> {
        let state = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (!state.down).then(|| now.since(state.up_at))
    }
}

/// Opens the instrument again: the stream and its identity.
pub type Reopen = Arc<dyn Fn() -> BoxFuture<'static, Result<(Box<dyn ByteLink>, String), LinkError>> + Send + Sync>;

/// How a console that vanished comes back.
#[derive(Clone)]
pub struct Returns {
    /// Looks for the instrument once and opens it if it is there. Asked again and again, so it has to be cheap.
    pub reopen: Reopen,
    /// How long it may take, in bench time. Not zero.
    pub within: Duration,
    /// The supply that it hangs on.
    pub powered_by: Option<Arc<Supplied>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absence(since: u64, back: Option<u64>, explained: bool) -> Absence {
        Absence { offset: Some(since), since: Nanos(since), back: back.map(Nanos), why: "unplugged".to_owned(), explained }
    }

    #[test]
    fn only_what_overlaps_the_window_and_is_not_explained_counts() {
        let mut absences = Absences::default();
        absences.begin(absence(10, Some(20), false));
        absences.begin(absence(30, Some(40), true));
        assert_eq!(absences.ended(Nanos(19)), 0);
        assert_eq!(absences.ended(Nanos(20)), 1);
        assert!(absences.unexplained(0, Nanos(100)).is_some());
        assert_eq!(absences.unexplained(0, Nanos(9)), None);
        assert_eq!(absences.unexplained(1, Nanos(100)), None);
        absences.begin(absence(50, None, false));
        assert_eq!(absences.ended(Nanos(1000)), 2, "one that goes on is not behind anybody");
        assert!(absences.unexplained(2, Nanos(50)).unwrap().contains("not back"));
        assert_eq!(absences.unexplained(2, Nanos(49)), None);
        assert_eq!(absences.seams(10), [30, 50]);
    }

    #[test]
    fn a_chattering_contact_is_bounded_and_never_forgiven() {
        let mut absences = Absences::default();
        for at in 0..5000 {
            absences.begin(absence(at, Some(at), true));
        }
        assert_eq!((absences.list.len(), absences.ended(Nanos(5000))), (KEEP, 5000));
        assert!(absences.unexplained(0, Nanos(5000)).is_some());
        assert_eq!(absences.unexplained(4990, Nanos(5000)), None);
    }

    #[test]
    fn a_cut_explains_one_loss_even_if_it_is_noticed_late() {
        let second = |n: u64| Nanos(n * 1_000_000_000);
        let supply = Supplied::new("supply");
        assert!(!supply.explains(second(1)), "nobody has switched it");
        supply.switched(false, second(2));
        assert!(supply.explains(second(3)) && supply.explains(second(4)), "while it is down");
        assert_eq!(supply.up_for(second(4)), None);
        supply.switched(true, second(5));
        assert!(!supply.explains(second(6)), "the cut has had its loss");
        supply.switched(false, second(7));
        supply.switched(true, second(8));
        assert!(supply.explains(second(9)), "hubs are slow");
        assert!(!supply.explains(second(9)));
        supply.switched(false, second(10));
        supply.switched(true, second(11));
        assert!(!supply.explains(second(14)), "but not that slow");
        assert_eq!(supply.up_for(second(14)), Some(Duration::from_secs(3)));
    }
}
