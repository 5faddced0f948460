//! What the hub remembers without power: how often it was started, its lamp, the events that the service is to be told, and the settings of
//! whoever uses it. All of it is one log on flash, so a factory reset is one rewrite of that log, which a power cut cannot halve.

use std::{collections::VecDeque, time::Duration};

use super::{
    flash::Flash,
    log::{Found, Kind, LONGEST, Log},
};
use crate::event::Nanos;

/// Most events that wait for the service; then the oldest are given up, so that the flash is never full.
pub(super) const MOST: usize = 256;
/// Most sessions that are remembered; then the oldest ends.
pub(super) const SESSIONS: usize = 4;
/// Pages of one bank of the log.
const PAGES: usize = 6;
/// Time that its flash takes to erase a page: a reset takes longer than a bench needs to cut it.
const ERASE: Duration = Duration::from_millis(100);
/// Name of a hub that nobody has given another.
const NAME: &str = "smart-hub";

/// An event that the service is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Its number, from 1, over all starts.
    pub(super) number: u32,
    /// Whether the lamp is on since then.
    pub(super) lamp: bool,
}

/// A digest in place of a secret: the flash holds no PIN and no token in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed([u8; 16]);

impl Sealed {
    /// Of a secret.
    pub(super) fn of(secret: &str) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::derive_key("hilbench virtual hub secrets", secret.as_bytes())[..16]);
        Self(bytes)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        payload.try_into().ok().map(Self)
    }
}

/// What belongs to whoever uses the hub, and goes with a factory reset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// In place of [`NAME`].
    pub(super) name: Option<String>,
    /// In place of the PIN on the label.
    pub(super) pin: Option<Sealed>,
    /// What the hub joins its network with. Without it, it contacts nobody.
    pub(super) network: Option<String>,
    /// Sessions that were not ended, oldest first.
    pub(super) tokens: VecDeque<Sealed>,
}

impl Settings {
    /// The hub's name.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(NAME)
    }
}

/// What stands on the flash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) starts: u32,
    pub(super) lamp: bool,
    last: u32,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) settings: Settings,
    /// A factory reset has written this log and erases the one before.
    reset: bool,
}

const START: Kind = 1;
const EVENT: Kind = 2;
const TOLD: Kind = 3;
const PIN: Kind = 4;
const NAMED: Kind = 5;
const NETWORK: Kind = 6;
const TOKEN: Kind = 7;
const RESET: Kind = 8;
const ENDED: Kind = 9;

/// A text of a record; empty stands for none.
fn text(payload: &[u8]) -> Option<String> {
    String::from_utf8(payload.to_vec()).ok().filter(|text| !text.is_empty())
}

impl State {
    fn apply(&mut self, kind: Kind, payload: &[u8]) {
        let number = payload.try_into().map_or(0, u32::from_le_bytes);
        match kind {
            START => self.starts = number,
            EVENT => {
                (self.lamp, self.last) = (number & 1 == 1, number >> 1);
                self.waiting.push_back(Waiting { number: self.last, lamp: self.lamp });
                if self.waiting.len() > MOST {
                    self.waiting.pop_front();
                }
            }
            TOLD => self.waiting.retain(|waiting| waiting.number > number),
            PIN => self.settings.pin = Sealed::read(payload),
            NAMED => self.settings.name = text(payload),
            NETWORK => self.settings.network = text(payload),
            TOKEN => {
                self.settings.tokens.extend(Sealed::read(payload));
                if self.settings.tokens.len() > SESSIONS {
                    self.settings.tokens.pop_front();
                }
            }
            ENDED => self.settings.tokens.retain(|token| Some(*token) != Sealed::read(payload)),
            RESET => self.reset = true,
            _ => {}
        }
    }

    /// The records from which it can be read again.
    fn records(&self) -> Vec<(Kind, Vec<u8>)> {
        let number = |kind, number: u32| (kind, number.to_le_bytes().to_vec());
        let told = self.waiting.front().map_or(self.last, |first| first.number.saturating_sub(1));
        let mut records = Vec::new();
        records.extend(self.reset.then(|| (RESET, Vec::new())));
        // An event that was told: the lamp and the number of the last one are known from it.
        records.extend([number(START, self.starts), number(EVENT, told << 1 | u32::from(self.lamp)), number(TOLD, told)]);
        records.extend(self.waiting.iter().map(|waiting| number(EVENT, waiting.number << 1 | u32::from(waiting.lamp))));
        records.extend(self.settings.pin.map(|pin| (PIN, pin.0.to_vec())));
        records.extend(self.settings.name.iter().map(|name| (NAMED, name.clone().into_bytes())));
        records.extend(self.settings.network.iter().map(|network| (NETWORK, network.clone().into_bytes())));
        records.extend(self.settings.tokens.iter().map(|token| (TOKEN, token.0.to_vec())));
        records
    }
}

/// What a factory reset leaves behind: nothing, on a good hub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Keeps {
    pub(super) pin: bool,
    pub(super) network: bool,
    pub(super) tokens: bool,
}

/// The flash and what stands on it.
#[derive(Debug)]
pub(super) struct Store {
    flash: Flash,
    log: Log,
    state: State,
}

impl Store {
    /// A new hub that was set up with a network by whoever bought it.
    pub(super) fn delivered(network: &str) -> Self {
        let mut flash = Flash::blank(2 * PAGES, ERASE);
        let log = Log::make(&mut flash, 0, PAGES, Nanos::default());
        let mut store = Self { flash, log, state: State::default() };
        store.append(NETWORK, network.as_bytes(), Nanos::default());
        // That was long ago.
        store.flash.settle();
        store
    }

    /// Forgets everything and reads it from the flash again, as a start does. Returns whether that ends a factory reset which was interrupted.
    pub(super) fn reload(&mut self, now: Nanos) -> bool {
        let (log, Found { records, torn, unfinished }) = Log::load(&mut self.flash, 0, PAGES, now);
        (self.log, self.state) = (log, State::default());
        for (kind, payload) in &records {
            self.state.apply(*kind, payload);
        }
        let goes_on = self.state.reset && unfinished;
        if torn {
            // Nothing can be written behind a torn record.
            self.rewrite(now);
        } else if unfinished {
            self.log.clean(&mut self.flash, now);
        }
        goes_on
    }

    /// What stands on the flash.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// When all that was written is written.
    pub(super) fn busy_until(&self) -> Nanos {
        self.flash.busy_until()
    }

    /// The power goes.
    pub(super) fn cut(&mut self, now: Nanos) {
        self.flash.cut(now);
    }

    fn append(&mut self, kind: Kind, payload: &[u8], now: Nanos) {
        self.state.apply(kind, payload);
        if self.log.append(&mut self.flash, kind, payload, now).is_none() {
            self.rewrite(now);
        }
    }

    fn rewrite(&mut self, now: Nanos) {
        // This is no reset.
        self.state.reset = false;
        self.log.rewrite(&mut self.flash, &self.state.records(), now);
    }

    /// Counts a start.
    pub(super) fn start(&mut self, now: Nanos) -> u32 {
        let starts = self.state.starts.wrapping_add(1);
        self.append(START, &starts.to_le_bytes(), now);
        starts
    }

    /// The lamp is switched, and the service is to be told.
    pub(super) fn switch(&mut self, lamp: bool, now: Nanos) {
        let number = self.state.last.wrapping_add(1) & (u32::MAX >> 1);
        self.append(EVENT, &(number << 1 | u32::from(lamp)).to_le_bytes(), now);
    }

    /// The service was told all events up to this one.
    pub(super) fn told(&mut self, number: u32, now: Nanos) {
        self.append(TOLD, &number.to_le_bytes(), now);
    }

    /// Another PIN.
    pub(super) fn set_pin(&mut self, pin: &str, now: Nanos) {
        self.append(PIN, &Sealed::of(pin).0, now);
    }

    /// Another name, of at most [`LONGEST`] bytes.
    pub(super) fn set_name(&mut self, name: &str, now: Nanos) {
        self.append(NAMED, &name.as_bytes()[..name.len().min(LONGEST)], now);
    }

    /// What the hub joins its network with, of at most [`LONGEST`] bytes; empty for nothing any more.
    pub(super) fn set_network(&mut self, credential: &str, now: Nanos) {
        self.append(NETWORK, &credential.as_bytes()[..credential.len().min(LONGEST)], now);
    }

    /// A session that outlives a power-off.
    pub(super) fn add_token(&mut self, token: &str, now: Nanos) {
        self.append(TOKEN, &Sealed::of(token).0, now);
    }

    /// A session ends.
    pub(super) fn end_token(&mut self, token: &str, now: Nanos) {
        self.append(ENDED, &Sealed::of(token).0, now);
    }

    /// Back to the state of delivery, without a network. How often the hub was started is no secret, and the next event still has a new number.
    /// Returns when nothing from before is left.
    pub(super) fn reset(&mut self, keeps: Keeps, now: Nanos) -> Nanos {
        let old = std::mem::take(&mut self.state);
        let settings = Settings {
            name: None,
            pin: old.settings.pin.filter(|_| keeps.pin),
            network: old.settings.network.filter(|_| keeps.network),
            tokens: if keeps.tokens { old.settings.tokens } else { VecDeque::new() },
        };
        self.state = State { starts: old.starts, last: old.last, reset: true, settings, ..State::default() };
        self.log.rewrite(&mut self.flash, &self.state.records(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a start after a cut at this moment finds.
    fn cut_at(mut store: Store, cut: Nanos) -> (Store, bool) {
        store.cut(cut);
        let goes_on = store.reload(cut);
        (store, goes_on)
    }

    fn used() -> Store {
        let mut store = Store::delivered("bench-network-key");
        let now = Nanos::default();
        store.start(now);
        store.set_pin("11112222", now);
        store.set_name("kitchen", now);
        store.add_token("token", now);
        store.switch(true, now);
        store.flash.settle();
        store
    }

    #[test]
    fn everything_is_read_again_after_a_start() {
        let store = used();
        let before = store.state().clone();
        let (store, goes_on) = cut_at(store, Nanos(1));
        assert!(!goes_on);
        assert_eq!(*store.state(), before);
        assert_eq!(before.settings.name(), "kitchen");
        assert_eq!(before.settings.pin, Some(Sealed::of("11112222")));
        assert_eq!(before.settings.network.as_deref(), Some("bench-network-key"));
        assert_eq!(before.waiting, [Waiting { number: 1, lamp: true }]);
    }

    #[test]
    fn a_session_that_ended_stays_ended() {
        let mut store = used();
        store.add_token("other", Nanos::default());
        store.end_token("token", Nanos::default());
        let end = store.busy_until();
        let (store, _) = cut_at(store, end);
        assert_eq!(store.state().settings.tokens, [Sealed::of("other")]);
    }

    #[test]
    fn a_cut_at_any_moment_of_a_reset_leaves_all_or_nothing() {
        let (mut whole, mut gone, mut went_on) = (0, 0, 0);
        for step in 0..600_u32 {
            let mut store = used();
            let before = store.state().clone();
            let end = store.reset(Keeps::default(), Nanos::default());
            let cut = if step < 500 {
                Nanos::default().after(Duration::from_micros(u64::from(step) * 4))
            } else {
                Nanos(end.0 / 100 * u64::from(step - 500))
            };
            let (mut store, goes_on) = cut_at(store, cut);
            went_on += u32::from(goes_on);
            if store.state().settings == Settings::default() {
                gone += 1;
                assert_eq!((store.state().starts, store.state().last, store.state().lamp), (1, 1, false));
            } else {
                whole += 1;
                assert_eq!(*store.state(), before, "step {step}");
                assert!(!goes_on);
            }
            // And it can be used from there on.
            store.switch(true, cut);
            let (end, lamp) = (store.busy_until(), store.state().clone());
            assert_eq!(*cut_at(store, end).0.state(), lamp, "step {step}");
        }
        assert!(whole > 20 && gone > 20 && went_on > 20, "{whole} {gone} {went_on}");
    }

    #[test]
    fn nothing_from_before_is_left_in_the_flash_after_a_reset() {
        let mut store = used();
        let found = |store: &Store, text: &[u8]| store.flash.read(0, usize::MAX).windows(text.len()).any(|part| part == text);
        assert!(found(&store, b"bench-network-key") && found(&store, b"kitchen") && found(&store, &Sealed::of("token").0));
        assert!(!found(&store, b"11112222"), "a PIN in clear");
        store.reset(Keeps::default(), Nanos::default());
        for text in [&b"bench-network-key"[..], b"kitchen", &Sealed::of("token").0, &Sealed::of("11112222").0] {
            assert!(!found(&store, text));
        }
    }

    #[test]
    fn the_log_stays_small_and_keeps_what_waits() {
        let mut store = used();
        let mut now = Nanos::default();
        for number in 2..=5000_u32 {
            now = now.after(Duration::from_millis(100));
            store.switch(number % 2 == 0, now);
            if number > 100 {
                store.told(number - 100, now);
            }
        }
        let end = store.busy_until();
        let before = store.state().clone();
        assert_eq!((before.waiting.len(), before.last, before.lamp), (100, 5000, true));
        let (mut store, _) = cut_at(store, end);
        assert_eq!(*store.state(), before);
        (0..1000).for_each(|_| store.switch(true, end));
        assert_eq!(store.state().waiting.len(), MOST);
        (0..20).for_each(|number| store.add_token(&number.to_string(), end));
        assert_eq!(store.state().settings.tokens.len(), SESSIONS);
        let (before, end) = (store.state().clone(), store.busy_until());
        assert_eq!(*cut_at(store, end).0.state(), before);
    }
}
