//! What BlueZ's signals add up to. Pure: no bus, no clock of its own.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::target::Target;
use crate::channel::ble::{Advertisement, LinkState, Listening};

/// Devices in range that are kept apart while listening; those beyond are counted no more.
const DEVICES: usize = 4096;

/// Properties of a device that are new or have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) address: Option<String>,
    pub(super) address_type: Option<String>,
    pub(super) name: Option<String>,
    pub(super) rssi: Option<i16>,
    pub(super) tx_power: Option<i16>,
    pub(super) manufacturer: Option<BTreeMap<u16, Vec<u8>>>,
    pub(super) service_data: Option<BTreeMap<String, Vec<u8>>>,
    pub(super) services: Option<Vec<String>>,
    pub(super) connected: Option<bool>,
    pub(super) paired: Option<bool>,
    pub(super) bonded: Option<bool>,
    pub(super) trusted: Option<bool>,
}

/// One signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A device appeared (`added`) or changed.
    Device { path: String, change: Change, added: bool },
    /// BlueZ knows the device no more.
    DeviceGone(String),
    /// An adapter changed.
    Adapter { path: String, powered: Option<bool>, discovering: Option<bool> },
    /// An adapter is gone.
    AdapterGone(String),
    /// The bus or BlueZ is gone.
    BusLost,
}

impl Change {
    /// Whether this comes from the air rather than from what BlueZ remembers. A device that is added by a client or from storage has no signal
    /// strength; a device that is heard has one.
    fn on_air(&self, added: bool) -> bool {
        self.rssi.is_some() || (!added && (self.manufacturer.is_some() || self.service_data.is_some()))
    }

    /// Puts it over what was known.
    pub(super) fn apply(self, known: &mut Advertisement) {
        fn keep<T>(into: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *into = new;
            }
        }
        known.address = self.address.unwrap_or_else(|| std::mem::take(&mut known.address));
        keep(&mut known.address_type, self.address_type);
        keep(&mut known.name, self.name);
        keep(&mut known.rssi, self.rssi);
        keep(&mut known.tx_power, self.tx_power);
        known.manufacturer = self.manufacturer.unwrap_or_else(|| std::mem::take(&mut known.manufacturer));
        known.service_data = self.service_data.unwrap_or_else(|| std::mem::take(&mut known.service_data));
        known.services = self.services.unwrap_or_else(|| std::mem::take(&mut known.services));
    }
}

/// The adapter and the link, as far as signals have told.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The adapter's path.
    pub(super) adapter: String,
    /// Why the adapter cannot be used any more. Once set it stays: what comes back is another adapter.
    pub(super) gone: Option<&'static str>,
    /// Whether it is switched on.
    pub(super) powered: bool,
    /// Whether it listens.
    pub(super) discovering: bool,
    /// The device that is or was linked.
    pub(super) device: Option<String>,
    /// The link.
    pub(super) link: LinkState,
    /// The bench is ending the link.
    pub(super) ending: bool,
}

impl State {
    pub(super) fn new(adapter: String, powered: bool, discovering: bool) -> Self {
        Self { adapter, gone: None, powered, discovering, device: None, link: LinkState::Never, ending: false }
    }

    /// Takes a signal; returns what happened to the link, in words.
    pub(super) fn take(&mut self, event: &Event) -> Option<&'static str> {
        match event {
            Event::Adapter { path, powered, discovering } if *path == self.adapter => {
                self.powered = powered.unwrap_or(self.powered);
                self.discovering = discovering.unwrap_or(self.discovering);
            }
            Event::AdapterGone(path) if *path == self.adapter => {
                self.gone.get_or_insert("it is gone; was it pulled out?");
            }
            Event::BusLost => {
                self.gone.get_or_insert("BlueZ or the message bus has ended");
            }
            Event::Device { path, change, .. } if self.device.as_ref() == Some(path) => match change.connected {
                Some(true) if self.link != LinkState::Up => {
                    self.link = LinkState::Up;
                    return Some("connected");
                }
                Some(false) => return self.unlink(),
                _ => {}
            },
            Event::DeviceGone(path) if self.device.as_ref() == Some(path) => return self.unlink(),
            _ => {}
        }
        None
    }

    fn unlink(&mut self) -> Option<&'static str> {
        if self.link != LinkState::Up {
            return None;
        }
        self.link = if self.ending { LinkState::Ended } else { LinkState::Lost };
        Some(if self.ending { "disconnected by the bench" } else { "link lost" })
    }
}

/// Listening: who was heard since it began, and how long the adapter really listened.
pub(super) struct Ear<'t> {
    target: &'t Target,
    adapter: String,
    devices: HashMap<String, Advertisement>,
    /// Path of the device that is meant, once it was heard.
    pub(super) heard: Option<String>,
    others: std::collections::HashSet<String>,
    listening: Option<Instant>,
    total: Duration,
    /// Why silence proves nothing.
    pub(super) doubt: Option<String>,
}

impl<'t> Ear<'t> {
    /// `devices` is what BlueZ remembers: it names those that are heard, and is not counted as heard.
    pub(super) fn new(target: &'t Target, adapter: &str, devices: HashMap<String, Advertisement>) -> Self {
        let (adapter, others) = (adapter.to_owned(), std::collections::HashSet::new());
        Self { target, adapter, devices, heard: None, others, listening: None, total: Duration::ZERO, doubt: None }
    }

    /// Takes a signal that came at `now`.
    pub(super) fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Adapter { path, powered, discovering } if path == self.adapter => {
                if discovering == Some(true) {
                    self.listening.get_or_insert(now);
                } else if discovering == Some(false) || powered == Some(false) {
                    self.pause(now);
                }
            }
            Event::Device { path, change, added } if path.starts_with(&format!("{}/", self.adapter)) => {
                let air = change.on_air(added);
                if !self.devices.contains_key(&path) && self.devices.len() >= DEVICES {
                    self.doubt.get_or_insert_with(|| format!("more than {DEVICES} devices are in range"));
                    return;
                }
                let known = self.devices.entry(path.clone()).or_default();
                if added {
                    *known = Advertisement::default();
                }
                change.apply(known);
                if self.target.fits(known) {
                    if air || self.others.remove(&path) {
                        self.heard = Some(path);
                    }
                } else if air {
                    self.others.insert(path);
                }
            }
            // The name of one that comes back has to be learned again.
            Event::DeviceGone(path) => drop(self.devices.remove(&path)),
            _ => {}
        }
    }

    fn pause(&mut self, now: Instant) {
        if let Some(since) = self.listening.take() {
            self.total += now.saturating_duration_since(since);
        }
    }

    /// How long the adapter has listened until `now`.
    pub(super) fn listened(&self, now: Instant) -> Duration {
        self.total + self.listening.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The end.
    pub(super) fn finish(self, now: Instant, wanted: Duration) -> (Listening, Option<String>) {
        let listened = self.listened(now);
        let short = || format!("the adapter listened for {listened:.1?} of {wanted:.1?}");
        let doubt = self.doubt.or_else(|| (listened < wanted).then(short));
        let heard = self.heard.as_ref().and_then(|path| self.devices.get(path)).cloned();
        (Listening { heard, others: self.others.len(), listened, doubt }, self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HCI: &str = "/org/bluez/hci0";

    fn path(number: u8) -> String {
        format!("{HCI}/dev_{number}")
    }

    fn device(number: u8, change: Change, added: bool) -> Event {
        Event::Device { path: path(number), change, added }
    }

    fn named(name: &str) -> Change {
        Change { name: Some(name.to_owned()), ..Change::default() }
    }

    fn heard() -> Change {
        Change { rssi: Some(-50), ..Change::default() }
    }

    fn target() -> Target {
        Target { name: Some("lock".to_owned()), ..Target::default() }
    }

    fn discovering(on: bool) -> Event {
        Event::Adapter { path: HCI.to_owned(), powered: None, discovering: Some(on) }
    }

    #[test]
    fn what_is_remembered_is_not_heard() {
        let target = target();
        let remembered = [(path(1), Advertisement { name: Some("lock".to_owned()), ..Advertisement::default() })].into();
        let (start, mut ear) = (Instant::now(), Ear::new(&target, HCI, remembered));
        ear.take(discovering(true), start);
        ear.take(device(1, named("lock"), false), start);
        ear.take(device(1, named("lock"), true), start);
        assert_eq!(ear.heard, None, "told again, but not from the air");
        ear.take(device(2, heard(), true), start);
        assert_eq!(ear.heard, None, "somebody else");
        ear.take(device(1, heard(), false), start);
        assert_eq!(ear.heard, Some(path(1)));
        let (listening, _) = ear.finish(start + Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!((listening.heard.unwrap().rssi, listening.others, listening.doubt), (Some(-50), 1, None));
    }

    #[test]
    fn a_name_that_comes_after_the_first_packet_counts() {
        let target = target();
        let (now, mut ear) = (Instant::now(), Ear::new(&target, HCI, HashMap::new()));
        ear.take(device(1, heard(), true), now);
        assert_eq!(ear.heard, None);
        ear.take(device(1, named("lock"), false), now);
        assert_eq!(ear.heard, Some(path(1)));
    }

    #[test]
    fn an_adapter_on_another_path_is_not_ours() {
        let target = target();
        let (now, mut ear) = (Instant::now(), Ear::new(&target, HCI, HashMap::new()));
        let change = Change { rssi: Some(-1), ..named("lock") };
        ear.take(Event::Device { path: "/org/bluez/hci01/dev_1".to_owned(), change, added: true }, now);
        ear.take(Event::Adapter { path: "/org/bluez/hci1".to_owned(), powered: None, discovering: Some(true) }, now);
        assert_eq!((ear.heard.clone(), ear.listened(now + Duration::from_secs(9))), (None, Duration::ZERO));
    }

    #[test]
    fn pauses_of_the_adapter_are_not_listening() {
        let target = target();
        let (start, mut ear) = (Instant::now(), Ear::new(&target, HCI, HashMap::new()));
        let at = |seconds| start + Duration::from_secs(seconds);
        ear.take(discovering(true), at(1));
        ear.take(discovering(false), at(4));
        ear.take(discovering(true), at(6));
        ear.take(Event::Adapter { path: HCI.to_owned(), powered: Some(false), discovering: None }, at(8));
        assert_eq!(ear.listened(at(20)), Duration::from_secs(5));
        let (listening, _) = ear.finish(at(20), Duration::from_secs(6));
        assert!(listening.doubt.unwrap().contains("5.0s of 6.0s"));
    }

    #[test]
    fn memory_is_bounded_and_the_rest_is_a_doubt() {
        let target = target();
        let (now, mut ear) = (Instant::now(), Ear::new(&target, HCI, HashMap::new()));
        for number in 0..=DEVICES {
            ear.take(Event::Device { path: format!("{HCI}/dev_{number}"), change: heard(), added: true }, now);
        }
        assert_eq!(ear.devices.len(), DEVICES);
        assert!(ear.doubt.is_some());
    }

    #[test]
    fn a_lost_link_is_told_from_one_that_the_bench_ended() {
        let connected = |on| device(1, Change { connected: Some(on), ..Change::default() }, false);
        let mut state = State::new(HCI.to_owned(), true, false);
        assert_eq!(state.take(&connected(true)), None, "not the device that is meant");
        state.device = Some(path(1));
        assert_eq!(state.take(&connected(true)), Some("connected"));
        assert_eq!(state.take(&connected(false)), Some("link lost"));
        assert_eq!(state.link, LinkState::Lost);
        state.take(&connected(true));
        state.ending = true;
        assert_eq!(state.take(&connected(false)), Some("disconnected by the bench"));
        assert_eq!((state.link.clone(), state.take(&connected(false))), (LinkState::Ended, None));
    }

    #[test]
    fn an_adapter_that_was_pulled_stays_gone() {
        let mut state = State::new(HCI.to_owned(), true, false);
        state.take(&Event::AdapterGone("/org/bluez/hci1".to_owned()));
        assert_eq!(state.gone, None);
        state.take(&Event::AdapterGone(HCI.to_owned()));
        state.take(&Event::Adapter { path: HCI.to_owned(), powered: Some(true), discovering: None });
        assert!(state.gone.is_some());
    }
}
