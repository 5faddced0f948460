//! The work of the driver's thread: adapter, listening, link, bonds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use btleplug::{
    api::{Central as _, Manager as _, Peripheral as _},
    platform::{Adapter, Manager, Peripheral},
};
use tokio::{
    sync::{Notify, broadcast},
    time::{sleep, timeout},
};

use super::{
    bus::{ADAPTER, Bus, DEVICE, Objects, change, property, words},
    gatt::Subscriptions,
    refusal::Meaning,
    state::{Ear, Event, State},
    target::{AdapterName, Target},
};
use crate::channel::{
    ble::{Advertisement, Bond, Connection, LinkState, Listening, NotificationSink},
    link::{LinkError, Notice, Notices},
};

/// How often listening is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How much longer than asked for listening may take, pauses of the adapter included.
const PAUSES: Duration = Duration::from_secs(15);
/// Time for the listening of before to end.
const CALM: Duration = Duration::from_secs(3);
/// Time in which it shows that not the link but the adapter is gone.
const SETTLE: Duration = Duration::from_secs(1);
/// Time for a link to go down; the kernel lets two seconds pass.
const DOWN: Duration = Duration::from_secs(6);
/// Signals between two looks; more than that are a doubt.
const BACKLOG: usize = 4096;
/// Time of one attempt to connect. A device that advertises every 10.24 s, the slowest there is (Core Specification, volume 6, part B, 4.4.2.2), has
/// been heard just before, and its next advertisement may take longer; common ones advertise at least once a second.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Attempts that a device must have left without a link before that is held against it.
const ENOUGH: u32 = 2;

/// What the callbacks of the bus and the session share.
pub(super) struct Shared {
    state: Mutex<State>,
    notices: Mutex<Option<Notices>>,
    sink: Mutex<Option<NotificationSink>>,
    events: broadcast::Sender<Event>,
    changed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(String::new(), false, false)),
            notices: Mutex::default(),
            sink: Mutex::default(),
            events: broadcast::channel(BACKLOG).0,
            changed: Notify::new(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn watch(&self, notices: Notices) {
        *lock(&self.notices) = Some(notices);
    }

    pub(super) fn capture(&self, sink: NotificationSink) {
        *lock(&self.sink) = Some(sink);
    }

    pub(super) fn sink(&self) -> Option<NotificationSink> {
        lock(&self.sink).clone()
    }

    fn take(&self, event: Event) {
        let (happened, device) = {
            let mut state = self.state();
            let happened = state.take(&event);
            (happened, state.device.clone().unwrap_or_default())
        };
        if let (Some(what), Some(notices)) = (happened, lock(&self.notices).clone()) {
            notices(Notice { what: format!("{}: {what}", address_of(&device)), evidence: None });
        }
        // Nobody may be listening.
        let _ = self.events.send(event);
        self.changed.notify_waiters();
    }

    /// Waits until the state is as wanted; `false` if that does not come in time.
    async fn until(&self, time: Duration, wanted: impl Fn(&State) -> bool) -> bool {
        timeout(time, async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // From here on no change is missed.
                changed.as_mut().enable();
                if wanted(&self.state()) {
                    return;
                }
                changed.await;
            }
        })
        .await
        .is_ok()
    }
}

/// `/org/bluez/hci0/dev_C0_1A_AB_00_00_07` as an address.
fn address_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().trim_start_matches("dev_").replace('_', ":")
}

/// One opened adapter and the device that is meant.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) bus: Bus,
    identity: String,
    target: Target,
    /// D-Bus path of the adapter.
    path: String,
    adapter: Adapter,
    pub(super) peripheral: Option<Peripheral>,
    pub(super) subscriptions: Subscriptions,
    /// Discovery was begun and not ended.
    scanning: bool,
    /// A connection was begun, and it is not known how that ended.
    connecting: Option<String>,
    /// Whether the adapter made bonds before it was told not to.
    pairable: Option<bool>,
}

fn known(objects: &Objects, adapter: &str) -> HashMap<String, (Advertisement, Bond, bool)> {
    let below = format!("{adapter}/");
    let devices = objects.iter().filter(|(path, _)| path.starts_with(&below));
    devices
        .filter_map(|(path, interfaces)| {
            let change = change(interfaces.get(DEVICE)?);
            let connected = change.connected == Some(true);
            let yes = |value: Option<bool>| value == Some(true);
            let bond = Bond { known: true, paired: yes(change.paired), bonded: yes(change.bonded), trusted: yes(change.trusted) };
            let mut advertisement = Advertisement::default();
            change.apply(&mut advertisement);
            Some((path.to_string(), (advertisement, bond, connected)))
        })
        .collect()
}

/// The adapter that is meant: path, whether it is on, whether it listens.
fn choose(objects: &Objects, wanted: Option<&AdapterName>) -> Result<(String, bool, bool), String> {
    let mut adapters: Vec<(String, String, bool, bool)> = objects
        .iter()
        .filter_map(|(path, interfaces)| {
            let properties = interfaces.get(ADAPTER)?;
            let on = |name| property::<bool>(properties, name).unwrap_or(false);
            let address = property::<String>(properties, "Address").unwrap_or_default().to_ascii_uppercase();
            Some((path.to_string(), address, on("Powered"), on("Discovering")))
        })
        .collect();
    adapters.sort();
    let list =
        || adapters.iter().map(|(path, address, ..)| format!("{} {address}", name_of(path))).collect::<Vec<_>>().join(", ");
    let fits = |(path, address, ..): &&(String, String, bool, bool)| match wanted {
        None => true,
        Some(AdapterName::Hci(name)) => name_of(path) == name,
        Some(AdapterName::Address(wanted)) => address == wanted,
    };
    let found: Vec<_> = adapters.iter().filter(fits).collect();
    match (found.as_slice(), wanted) {
        ([(path, _, powered, discovering)], _) => Ok((path.clone(), *powered, *discovering)),
        ([], _) if adapters.is_empty() => {
            Err("there is no Bluetooth adapter; plug one in, and look for it with `bluetoothctl list`".to_owned())
        }
        ([], Some(wanted)) => Err(format!("there is no adapter {wanted}; there is {}", list())),
        _ => Err(format!("there are several adapters ({}); say which with `adapter`", list())),
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl Session {
    /// Opens the adapter. The device is only touched if an earlier run has left a link behind.
    pub(super) async fn open(
        shared: Arc<Shared>,
        identity: &str,
        wanted: Option<&AdapterName>,
        target: Target,
    ) -> Result<Self, LinkError> {
        let failed = |what: String| LinkError::new(format!("open {identity}"), what);
        let taker = Arc::clone(&shared);
        let bus = Bus::connect(Arc::new(move |event| taker.take(event))).await.map_err(failed)?;
        let objects = bus.objects().await.map_err(|error| failed(words(&error)))?;
        let (path, powered, discovering) = choose(&objects, wanted).map_err(failed)?;
        *shared.state() = State::new(path.clone(), powered, discovering);
        if !powered {
            bus.set(&path, "Powered", true).await.map_err(|error| {
                let what = format!("it cannot be switched on: {}; look at `rfkill list bluetooth`", words(&error));
                failed(what)
            })?;
            shared.state().powered = true;
        }
        let manager = Manager::new().await.map_err(|error| failed(error.to_string()))?;
        let mut adapter = None;
        // They come in any order.
        for found in manager.adapters().await.map_err(|error| failed(error.to_string()))? {
            let info = found.adapter_info().await.unwrap_or_default();
            if info.split(' ').next() == Some(name_of(&path)) {
                adapter = Some(found);
            }
        }
        let adapter = adapter.ok_or_else(|| failed("it went while it was opened".to_owned()))?;
        let mut session = Self {
            shared,
            bus,
            identity: identity.to_owned(),
            target,
            path,
            adapter,
            peripheral: None,
            subscriptions: Subscriptions::default(),
            scanning: false,
            connecting: None,
            pairable: None,
        };
        // A link that a killed run has left behind belongs to nobody, and keeps the device from advertising.
        for (device, (seen, _, connected)) in known(&objects, &session.path) {
            if connected && session.target.fits(&seen) {
                session.adopt(device);
                session.disconnect().await?;
            }
        }
        Ok(session)
    }

    fn adopt(&mut self, device: String) {
        let mut state = self.shared.state();
        state.device = Some(device);
        state.link = LinkState::Up;
    }

    /// An error of the bench.
    pub(super) fn fault(&self, operation: &str, what: impl Into<String>) -> LinkError {
        let gone = self.shared.state().gone;
        let what = gone.map_or_else(|| what.into(), str::to_owned);
        LinkError { lost: gone.is_some(), ..LinkError::new(format!("{operation} with {}", self.identity), what) }
    }

    /// Whether the adapter can be used.
    pub(super) fn alive(&self, operation: &str) -> Result<(), LinkError> {
        let (gone, powered) = {
            let state = self.shared.state();
            (state.gone, state.powered)
        };
        if gone.is_some() {
            return Err(self.fault(operation, ""));
        }
        if !powered {
            let what = "it was switched off; something else uses the adapter, or it is blocked: look at `rfkill list bluetooth`";
            return Err(LinkError { lost: true, ..self.fault(operation, what) });
        }
        Ok(())
    }

    /// Whether the link is down, or goes down shortly.
    pub(super) async fn goes_down(&self) -> bool {
        self.shared.until(SETTLE, |state| state.link != LinkState::Up).await
    }

    /// The same after something went wrong that looks like the device's doing: a pulled adapter first shows as a lost link.
    pub(super) async fn settle(&self, operation: &str) -> Result<(), LinkError> {
        // One that is pulled is first told to be off.
        self.shared.until(SETTLE, |state| state.gone.is_some()).await;
        self.alive(operation)?;
        let objects =
            self.bus.objects().await.map_err(|error| LinkError { lost: true, ..self.fault(operation, words(&error)) })?;
        let there = objects.iter().any(|(path, interfaces)| **path == *self.path && interfaces.contains_key(ADAPTER));
        if there { self.alive(operation) } else { Err(LinkError { lost: true, ..self.fault(operation, "the adapter is gone") }) }
    }

    /// Ends what an abandoned operation has left running.
    pub(super) async fn tidy(&mut self) {
        if std::mem::take(&mut self.scanning) {
            let _ = self.bus.call(&self.path, ADAPTER, "StopDiscovery").await;
        }
        if let Some(device) = self.connecting.take() {
            self.shared.state().ending = true;
            let _ = timeout(DOWN, self.bus.call(&device, DEVICE, "Disconnect")).await;
            self.shared.until(DOWN, |state| state.link != LinkState::Up).await;
            self.shared.state().ending = false;
        }
    }

    async fn objects(&self, operation: &str) -> Result<Objects, LinkError> {
        self.alive(operation)?;
        self.bus.objects().await.map_err(|error| self.fault(operation, words(&error)))
    }

    /// Listens; the device's path, if it was heard, comes too.
    pub(super) async fn listen(&mut self, time: Duration, until_heard: bool) -> Result<(Listening, Option<String>), LinkError> {
        let operation = "listen";
        self.alive(operation)?;
        if self.shared.state().link == LinkState::Up {
            let doubt = "the device is connected to the bench, and need not advertise meanwhile; disconnect first".to_owned();
            return Ok((Listening { doubt: Some(doubt), ..Listening::default() }, None));
        }
        // BlueZ tells of a constant signal only once per listening.
        let calm = self.shared.until(CALM, |state| !state.discovering || state.gone.is_some()).await;
        let mut events = self.shared.events.subscribe();
        let devices = known(&self.objects(operation).await?, &self.path);
        let devices = devices.into_iter().map(|(path, (seen, ..))| (path, seen)).collect();
        let target = self.target.clone();
        let mut ear = Ear::new(&target, &self.path, devices);
        if !calm {
            ear.doubt =
                Some("another program was listening already, and BlueZ does not repeat what it has told; close it".to_owned());
            ear.take(Event::Adapter { path: self.path.clone(), powered: None, discovering: Some(true) }, Instant::now());
        }
        self.scanning = true;
        if let Err(error) = self.bus.start_discovery(&self.path).await {
            self.settle(operation).await?;
            return Err(self.fault(operation, format!("it does not listen: {}", words(&error))));
        }
        let limit = Instant::now() + time + PAUSES;
        loop {
            let now = Instant::now();
            if ear.listened(now) >= time || now >= limit || (until_heard && ear.heard.is_some()) {
                break;
            }
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Ok(event) => ear.take(event, Instant::now()),
                    Err(_) => drop(ear.doubt.get_or_insert_with(|| "there was more on the air than could be looked at".to_owned())),
                },
                () = sleep(LOOK.min(time)) => {}
            }
            if self.alive(operation).is_err() {
                self.settle(operation).await?;
            }
        }
        let now = Instant::now();
        self.tidy().await;
        self.settle(operation).await?;
        Ok(ear.finish(now, time))
    }

    /// Connects and lets the services be looked up anew. BlueZ loses an order to connect now and then, above all one that follows the end of
    /// another link, so that one attempt without a link says nothing of the device: it is tried again as long as there is time.
    pub(super) async fn connect(&mut self, within: Duration) -> Result<Connection, LinkError> {
        self.alive("connect")?;
        if self.shared.state().link == LinkState::Up {
            return Ok(Connection::Connected);
        }
        let deadline = Instant::now() + within;
        let mut whole_attempts = 0_u32;
        let mut why = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !why.is_empty() && left < LOOK {
                break;
            }
            match self.attempt(left).await? {
                (Connection::Refused(words), whole) => {
                    whole_attempts += u32::from(whole);
                    why = words;
                }
                // It was heard before, and tried.
                (Connection::Unheard { .. }, _) if !why.is_empty() => break,
                (ended, _) => return Ok(ended),
            }
        }
        Ok(if whole_attempts >= ENOUGH {
            Connection::Refused(format!("{why}, in {whole_attempts} attempts"))
        } else {
            Connection::Doubtful(format!("{why}; there was time for {whole_attempts} attempts, and {ENOUGH} are needed"))
        })
    }

    /// One attempt, at most [`ATTEMPT`] long; whether it had all that time, or the device's refusal, comes too.
    async fn attempt(&mut self, within: Duration) -> Result<(Connection, bool), LinkError> {
        let operation = "connect";
        let deadline = Instant::now() + within;
        // What BlueZ remembers of the device's services would be shown in place of what the device has now.
        for (device, (seen, bond, _)) in known(&self.objects(operation).await?, &self.path) {
            if self.target.fits(&seen) && !bond.paired {
                let _ = self.bus.remove(&self.path, &device).await;
            }
        }
        let (listening, heard) = self.listen(within, true).await?;
        let Some(device) = heard else { return Ok((Connection::Unheard { doubt: listening.doubt }, true)) };
        {
            let mut state = self.shared.state();
            state.device = Some(device.clone());
            state.link = LinkState::Never;
        }
        self.connecting = Some(device.clone());
        let id = device.trim_start_matches("/org/bluez/").to_owned();
        let peripherals = self.adapter.peripherals().await.map_err(|error| self.fault(operation, error.to_string()))?;
        let Some(peripheral) = peripherals.into_iter().find(|found| found.id().to_string() == id) else {
            self.settle(operation).await?;
            return Err(self.fault(operation, format!("BlueZ does not know {} any more; try again", address_of(&device))));
        };
        let shared = Arc::clone(&self.shared);
        let tried = async {
            tokio::select! {
                biased;
                tried = async { peripheral.connect().await?; peripheral.discover_services().await } => Some(tried),
                // btleplug would wait for the services of a link that is gone.
                _ = shared.until(Duration::MAX, |state| state.link == LinkState::Lost || state.gone.is_some()) => None,
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let tried = timeout(left.min(ATTEMPT), tried).await;
        // What ends an attempt early without the device's refusal is BlueZ's affair.
        let mut whole = tried.is_err() && left >= ATTEMPT;
        let linked = self.shared.state().link.clone();
        let failed = match tried {
            Ok(Some(Ok(()))) if linked == LinkState::Up => {
                self.connecting = None;
                self.peripheral = Some(peripheral);
                return Ok((Connection::Connected, true));
            }
            Ok(Some(Err(error))) => match super::gatt::meaning_of(&error) {
                Meaning::Fault(what) if what.contains("NotReady") => return Err(self.fault(operation, what)),
                Meaning::Fault(what) | Meaning::Unlinked(what) => what,
                Meaning::Refused(refusal) => {
                    whole = true;
                    refusal.words
                }
            },
            Ok(_) => "the link was lost".to_owned(),
            Err(_) if linked == LinkState::Up => format!("its services were not known within {:?}", left.min(ATTEMPT)),
            Err(_) => format!("there was no link within {:?}", left.min(ATTEMPT)),
        };
        self.tidy().await;
        self.settle(operation).await?;
        let connection = if linked == LinkState::Never { Connection::Refused(failed) } else { Connection::Lost(failed) };
        Ok((connection, whole))
    }

    /// Ends the link.
    pub(super) async fn disconnect(&mut self) -> Result<(), LinkError> {
        self.subscriptions.end();
        let device = {
            let mut state = self.shared.state();
            state.ending = true;
            state.device.clone().filter(|_| state.link == LinkState::Up)
        };
        let peripheral = self.peripheral.take();
        let mut problem = String::new();
        if let Some(device) = device {
            let ended = timeout(DOWN, async {
                match peripheral {
                    Some(peripheral) => peripheral.disconnect().await.map_err(|error| error.to_string()),
                    None => self.bus.call(&device, DEVICE, "Disconnect").await.map_err(|error| words(&error)),
                }
            });
            // One that is already gone is as good.
            problem = ended.await.unwrap_or_else(|_| Err("no answer".to_owned())).err().unwrap_or_default();
            self.shared.until(DOWN, |state| state.link != LinkState::Up || state.gone.is_some()).await;
        }
        let still = {
            let mut state = self.shared.state();
            state.ending = false;
            state.link == LinkState::Up && state.gone.is_none()
        };
        if still { Err(self.fault("disconnect", format!("the link does not go down: {problem}"))) } else { Ok(()) }
    }

    /// The link's state once it is not up any more, or after the time.
    pub(super) async fn link(&self, time: Duration) -> Result<LinkState, LinkError> {
        let operation = "watch the link";
        self.alive(operation)?;
        self.shared.until(time, |state| state.link != LinkState::Up || state.gone.is_some() || !state.powered).await;
        let link = self.shared.state().link.clone();
        if link == LinkState::Lost || self.alive(operation).is_err() {
            self.settle(operation).await?;
        }
        Ok(link)
    }

    /// What BlueZ keeps of the device, with its path.
    async fn kept(&self, operation: &str) -> Result<Option<(String, Bond)>, LinkError> {
        let current = self.shared.state().device.clone();
        let devices = known(&self.objects(operation).await?, &self.path);
        let mut fitting: Vec<_> = devices.into_iter().filter(|(_, (seen, ..))| self.target.fits(seen)).collect();
        // A device that has changed its address may be there twice: a bond counts, wherever it is.
        fitting.sort_by_key(|(path, (_, bond, connected))| {
            std::cmp::Reverse((bond.bonded, bond.paired, *connected, Some(path) == current.as_ref()))
        });
        Ok(fitting.into_iter().next().map(|(path, (_, bond, _))| (path, bond)))
    }

    pub(super) async fn bond(&self) -> Result<Bond, LinkError> {
        Ok(self.kept("read the bond").await?.map(|(_, bond)| bond).unwrap_or_default())
    }

    pub(super) async fn forget(&mut self) -> Result<(), LinkError> {
        let operation = "forget the device";
        self.disconnect().await?;
        while let Some((device, _)) = self.kept(operation).await? {
            self.bus.remove(&self.path, &device).await.map_err(|error| self.fault(operation, words(&error)))?;
        }
        Ok(())
    }

    pub(super) async fn refuse_bonds(&mut self, refuse: bool) -> Result<(), LinkError> {
        let operation = "refuse bonds";
        let value = if refuse {
            let objects = self.objects(operation).await?;
            let own = objects.iter().find(|(path, _)| **path == *self.path).and_then(|(_, interfaces)| interfaces.get(ADAPTER));
            let before = own.and_then(|properties| property(properties, "Pairable")).unwrap_or(true);
            self.pairable.get_or_insert(before);
            false
        } else {
            let Some(before) = self.pairable.take() else { return Ok(()) };
            before
        };
        self.bus.set(&self.path, "Pairable", value).await.map_err(|error| self.fault(operation, words(&error)))
    }

    /// Leaves everything as it was found.
    pub(super) async fn close(&mut self) {
        self.tidy().await;
        let _ = self.disconnect().await;
        let _ = self.refuse_bonds(false).await;
    }
}
