//! The opened channels of a rig, and the way to the safe state.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    guard::{Guard, Message},
    record::Recorder,
    registry::Registry,
};
use crate::{
    channel::{
        api::ApiLink,
        ble::{BleLink, notifications::Notifications},
        clock::Clock,
        cloud::{CloudLink, CloudLog},
        console::{Console, Reopen, Returns, Supplied},
        link::{ButtonLink, ByteLink, Driver, LinkError, Notice, Notices, Opened, Parameters, ProbeLink, Proof, SupplyLink},
        network::NetworkLink,
        tap::Tap as _,
        usb::UsbLink,
    },
    event::{Act, ChannelName, Fact, StepId, Witness},
    rig::model::{Rig, SafeAction},
};

/// The bench: channels by name, each behind its own lock so that a panicking step cannot take one with it.
pub struct Bench {
    /// Byte streams.
    pub consoles: BTreeMap<String, Console>,
    /// Supplies.
    pub supplies: BTreeMap<String, Mutex<Box<dyn SupplyLink>>>,
    /// Buttons and straps.
    pub buttons: BTreeMap<String, Mutex<Box<dyn ButtonLink>>>,
    /// Debug probes.
    pub probes: BTreeMap<String, Mutex<Box<dyn ProbeLink>>>,
    /// USB ports of the device.
    pub usbs: BTreeMap<String, Mutex<Box<dyn UsbLink>>>,
    /// Bluetooth links.
    pub bles: BTreeMap<String, Mutex<Box<dyn BleLink>>>,
    /// What was notified on each Bluetooth link.
    pub notifications: BTreeMap<String, Arc<Notifications>>,
    /// Networks.
    pub networks: BTreeMap<String, Mutex<Box<dyn NetworkLink>>>,
    /// Clouds.
    pub clouds: BTreeMap<String, Mutex<Box<dyn CloudLink>>>,
    /// Clients of what the device offers.
    pub apis: BTreeMap<String, Mutex<Box<dyn ApiLink>>>,
    /// What happened at the clouds. Read without the link, which may be busy.
    pub cloud_logs: BTreeMap<String, Arc<CloudLog>>,
    /// Whether the unit may lose everything on it.
    pub sacrificial: bool,
    /// Time base.
    pub clock: Arc<dyn Clock>,
    /// Supplies that consoles hang on.
    supplied: BTreeMap<String, Arc<Supplied>>,
    /// Those consoles, with their supply.
    hanging: Vec<(String, String)>,
    recorder: Recorder,
    guard: Mutex<Option<Guard>>,
}

impl Bench {
    /// Opens every channel of `rig`. On an error the channels opened so far are closed again; nothing has been switched.
    ///
    /// # Errors
    /// The first channel that could not be opened, with its name and instrument.
    pub async fn open(
        rig: &Rig,
        registry: &Registry,
        clock: Arc<dyn Clock>,
        recorder: &Recorder,
        guard: Option<Guard>,
    ) -> Result<Self, (Option<Guard>, LinkError)> {
        let mut bench = Self {
            consoles: BTreeMap::new(),
            supplies: BTreeMap::new(),
            buttons: BTreeMap::new(),
            probes: BTreeMap::new(),
            usbs: BTreeMap::new(),
            bles: BTreeMap::new(),
            notifications: BTreeMap::new(),
            networks: BTreeMap::new(),
            clouds: BTreeMap::new(),
            apis: BTreeMap::new(),
            cloud_logs: BTreeMap::new(),
            sacrificial: rig.sacrificial,
            clock: Arc::clone(&clock),
            supplied: BTreeMap::new(),
            hanging: Vec::new(),
            recorder: recorder.clone(),
            guard: Mutex::new(guard),
        };
        for (name, spec) in &rig.channels {
            let opened = match registry.get(&spec.driver) {
                None => Err(LinkError::new(format!("open channel {name}"), format!("no driver `{}` in this build", spec.driver))),
                Some(driver) => match driver.open(&spec.parameters).await {
                    // Without power a console that hangs on it is not there, and has no identity that one could ask.
                    Err(error) if error.lost && spec.parameters.powered_by().is_some() && driver.returns() => {
                        bench.console(name, driver, &spec.parameters, None);
                        continue;
                    }
                    opened => opened.and_then(|opened| Ok((opened, driver.identity(&spec.parameters)?))),
                },
            };
            let (opened, identity) = match opened {
                Ok(pair) => pair,
                Err(error) => {
                    let error = LinkError { operation: format!("open channel {name}: {}", error.operation), ..error };
                    bench.close().await;
                    return Err((bench.guard.into_inner(), error));
                }
            };
            match opened {
                Opened::Console(link) => {
                    if let Some(driver) = registry.get(&spec.driver) {
                        bench.console(name, driver, &spec.parameters, Some((link, identity.clone())));
                    }
                }
                Opened::Supply(link) => drop(bench.supplies.insert(name.clone(), Mutex::new(link))),
                Opened::Button(link) => drop(bench.buttons.insert(name.clone(), Mutex::new(link))),
                Opened::Probe(link) => drop(bench.probes.insert(name.clone(), Mutex::new(link))),
                Opened::Usb(mut link) => {
                    link.watch(notices(name, recorder));
                    bench.usbs.insert(name.clone(), Mutex::new(link));
                }
                Opened::Ble(mut link) => {
                    link.watch(notices(name, recorder));
                    let log = Notifications::new(ChannelName::new(name), Arc::clone(&clock), Arc::new(recorder.clone()));
                    link.capture(log.sink());
                    bench.notifications.insert(name.clone(), log);
                    bench.bles.insert(name.clone(), Mutex::new(link));
                }
                Opened::Network(mut link) => {
                    link.watch(notices(name, recorder));
                    if let Err(error) = link.start().await {
                        let error = LinkError { operation: format!("open channel {name}: {}", error.operation), ..error };
                        bench.close().await;
                        return Err((bench.guard.into_inner(), error));
                    }
                    bench.networks.insert(name.clone(), Mutex::new(link));
                }
                Opened::Api(link) => drop(bench.apis.insert(name.clone(), Mutex::new(link))),
                Opened::Cloud(mut link) => {
                    link.watch(stream_notices(name, recorder, &clock));
                    bench.cloud_logs.insert(name.clone(), link.log());
                    bench.clouds.insert(name.clone(), Mutex::new(link));
                }
            }
            recorder
                .fact(Fact::ChannelOpened { channel: ChannelName::new(name), identity: format!("{} {identity}", spec.driver) });
        }
        bench.supplies_at_first().await;
        Ok(bench)
    }

    /// Takes over a console: one that can come back, if its driver can find it again and the rig does not say that it is not to.
    fn console(
        &mut self,
        name: &str,
        driver: &Arc<dyn Driver>,
        parameters: &Parameters,
        opened: Option<(Box<dyn ByteLink>, String)>,
    ) {
        let (channel, clock, tap) = (ChannelName::new(name), Arc::clone(&self.clock), Arc::new(self.recorder.clone()));
        let within = parameters.returns_within();
        let (link, identity) = opened.unzip();
        let console = match link {
            Some(link) if !driver.returns() || within.is_zero() => Console::spawn(channel, link, clock, tap),
            link => {
                let supply = parameters.powered_by().map(|supply| {
                    self.hanging.push((name.to_owned(), supply.to_owned()));
                    Arc::clone(self.supplied.entry(supply.to_owned()).or_insert_with(|| Supplied::new(supply)))
                });
                let reopen = reopen(Arc::clone(driver), parameters.clone(), identity);
                Console::returning(channel, link, clock, tap, Returns { reopen, within, powered_by: supply })
            }
        };
        self.consoles.insert(name.to_owned(), console);
    }

    /// What the supplies that consoles hang on are at before anything was switched. A supply that cannot tell, and whose console is not
    /// there, is taken to be down.
    async fn supplies_at_first(&self) {
        for (name, supplied) in &self.supplied {
            let mut consoles = self.hanging.iter().filter(|(_, supply)| supply == name);
            let away = consoles.any(|(console, _)| self.consoles.get(console).is_some_and(|console| !console.is_there()));
            let Some(supply) = self.supplies.get(name).filter(|_| away) else { continue };
            let up = supply.lock().await.is_up().await;
            if !matches!(up, Ok(Some(true))) {
                supplied.found_down();
            }
        }
    }

    /// Announces an act: to the guard first where it changes power, a button or the network, then to the journal. Only then may it be done.
    ///
    /// # Errors
    /// The guard is gone; the act must not be done.
    pub async fn announce(&self, channel: &str, act: Act, step: Option<&StepId>) -> Result<(), LinkError> {
        if matches!(act, Act::Power(_) | Act::Press(_) | Act::Network { .. })
            && let Some(guard) = self.guard.lock().await.as_mut()
        {
            guard.tell(&Message::Acting { channel: channel.to_owned(), at: self.clock.now() }).await?;
        }
        self.recorder.fact(Fact::Acting { channel: ChannelName::new(channel), act, step: step.cloned() });
        Ok(())
    }

    /// Switches a supply.
    pub async fn power(&self, channel: &str, up: bool, step: Option<&StepId>) -> Result<Proof, LinkError> {
        let supply = self.supplies.get(channel).ok_or_else(|| missing(channel))?;
        self.announce(channel, Act::Power(up), step).await?;
        let supplied = self.supplied.get(channel);
        if let Some(supplied) = supplied.filter(|_| !up) {
            supplied.switched(false, self.clock.now());
        }
        let proof = supply.lock().await.set(up).await?;
        if let Some(supplied) = supplied.filter(|_| up) {
            supplied.switched(true, self.clock.now());
            for (console, _) in self.hanging.iter().filter(|(_, supply)| supply == channel) {
                if let Some(console) = self.consoles.get(console) {
                    console.present().await?;
                }
            }
        }
        Ok(proof)
    }

    /// Presses or releases a button.
    pub async fn press(&self, channel: &str, pressed: bool, step: Option<&StepId>) -> Result<Proof, LinkError> {
        let button = self.buttons.get(channel).ok_or_else(|| missing(channel))?;
        self.announce(channel, Act::Press(pressed), step).await?;
        button.lock().await.set(pressed).await
    }

    /// Drives every action of the rig's safe state, each with its own deadline and whatever the others did. Returns whether all
    /// were confirmed.
    pub async fn safe_state(&self, rig: &Rig) -> bool {
        self.recorder.fact(Fact::SafeStateStarted);
        let mut ok = true;
        for action in &rig.safe_state {
            let report = self.safe_action(action, rig.safe_state_timeout).await;
            ok &= report.problem.is_none();
            self.recorder.fact(report.fact(action));
        }
        self.recorder.fact(Fact::SafeStateFinished { ok, by: "controller".to_owned() });
        ok
    }

    async fn safe_action(&self, action: &SafeAction, timeout: Duration) -> SafeReport {
        let act = async {
            match action {
                SafeAction::Power { channel, up } => {
                    let supply = self.supplies.get(channel).ok_or_else(|| missing(channel))?;
                    if let Some(supplied) = self.supplied.get(channel).filter(|_| !*up) {
                        supplied.switched(false, self.clock.now());
                    }
                    switch_supply(supply.lock().await.as_mut(), *up).await
                }
                SafeAction::Release { channel } => {
                    let button = self.buttons.get(channel).ok_or_else(|| missing(channel))?;
                    button.lock().await.set(false).await
                }
                SafeAction::Restore { channel } => {
                    let network = self.networks.get(channel).ok_or_else(|| missing(channel))?;
                    network.lock().await.restore().await
                }
            }
        };
        within(timeout, act).await
    }

    /// Closes the channels. Idempotent.
    pub async fn close(&mut self) {
        for (_, console) in std::mem::take(&mut self.consoles) {
            console.close().await;
        }
        for (_, ble) in std::mem::take(&mut self.bles) {
            ble.into_inner().close().await;
        }
        self.supplies.clear();
        self.buttons.clear();
        self.probes.clear();
        self.usbs.clear();
        self.networks.clear();
        self.apis.clear();
        self.clouds.clear();
        self.cloud_logs.clear();
    }

    /// Takes the guard out, to dismiss it or to leave it watching.
    pub async fn take_guard(&self) -> Option<Guard> {
        self.guard.lock().await.take()
    }
}

/// Opens a console again, if it is the same instrument: another one under the same name (another board in the same socket) is a fault of the
/// bench, not the device that came back.
fn reopen(driver: Arc<dyn Driver>, parameters: Parameters, identity: Option<String>) -> Reopen {
    let known = Arc::new(OnceLock::new());
    if let Some(identity) = identity {
        // It is new, so it is empty.
        let _ = known.set(identity);
    }
    Arc::new(move || {
        let (driver, parameters, known) = (Arc::clone(&driver), parameters.clone(), Arc::clone(&known));
        Box::pin(async move {
            let same = |identity: String| match known.get() {
                Some(known) if *known != identity => Err(LinkError::new(
                    "find the console again",
                    format!("there is another instrument, {identity}, in place of {known}"),
                )),
                _ => Ok(identity),
            };
            same(driver.identity(&parameters)?)?;
            let opened = driver.open(&parameters).await?;
            // Between the two looks somebody may have changed plugs.
            let identity = same(driver.identity(&parameters)?)?;
            let Opened::Console(link) = opened else {
                return Err(LinkError::new("find the console again", "the driver opened something else"));
            };
            let identity = known.get_or_init(|| identity);
            Ok((link, format!("{} {identity}", driver.name())))
        })
    })
}

/// Writes what happens by itself on a channel into the journal.
fn notices(channel: &str, recorder: &Recorder) -> Notices {
    let (channel, recorder, count) = (ChannelName::new(channel), recorder.clone(), AtomicU32::new(0));
    Arc::new(move |Notice { what, evidence }| {
        let evidence = evidence.and_then(|(ending, bytes)| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            recorder.evidence(&format!("{channel}-notice-{number}.{ending}"), &bytes)
        });
        recorder.fact(Fact::Observed { step: None, channel: channel.clone(), what, evidence });
    })
}

/// The same for a channel with many of them: lines (`jsonl`) go to the channel's evidence stream, and what has no words is no fact of its own.
fn stream_notices(channel: &str, recorder: &Recorder, clock: &Arc<dyn Clock>) -> Notices {
    let (name, stream, clock, single) =
        (ChannelName::new(channel), recorder.clone(), Arc::clone(clock), notices(channel, recorder));
    Arc::new(move |notice| match notice.evidence {
        Some(("jsonl", line)) => {
            stream.received(&name, clock.now(), &line);
            if !notice.what.is_empty() {
                single(Notice { what: notice.what, evidence: None });
            }
        }
        evidence => single(Notice { what: notice.what, evidence }),
    })
}

fn missing(channel: &str) -> LinkError {
    LinkError::new(format!("use channel {channel}"), "the rig has no such channel of this kind")
}

/// How one action towards the safe state went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeReport {
    /// What went wrong; `None` if confirmed.
    pub problem: Option<String>,
    /// Read-back, if there is one.
    pub witness: Option<Witness>,
}

impl SafeReport {
    /// The fact for `action`.
    #[must_use]
    pub fn fact(self, action: &SafeAction) -> Fact {
        let (channel, act) = match action {
            SafeAction::Power { channel, up } => (channel, Act::Power(*up)),
            SafeAction::Release { channel } => (channel, Act::Press(false)),
            SafeAction::Restore { channel } => (channel, Act::Network { what: "undisturbed".to_owned() }),
        };
        Fact::SafeStateAction { channel: ChannelName::new(channel), act, problem: self.problem, witness: self.witness }
    }
}

/// Drives one action on a freshly opened channel: what the guard does.
pub async fn drive(action: &SafeAction, opened: Option<Opened>, timeout: Duration) -> SafeReport {
    let act = async {
        match (action, opened) {
            (SafeAction::Power { up, .. }, Some(Opened::Supply(mut supply))) => switch_supply(supply.as_mut(), *up).await,
            (SafeAction::Release { .. }, Some(Opened::Button(mut button))) => button.set(false).await,
            (SafeAction::Restore { .. }, Some(Opened::Network(mut network))) => network.restore().await,
            _ => Err(LinkError::new("drive the safe state", "the channel is not of the kind that the action needs")),
        }
    };
    within(timeout, act).await
}

/// Switches and reads back: a supply that says it is elsewhere is a problem even if the command succeeded.
async fn switch_supply(supply: &mut dyn SupplyLink, up: bool) -> Result<Proof, LinkError> {
    let proof = supply.set(up).await?;
    match supply.is_up().await? {
        Some(found) if found != up => Err(LinkError::new("switch the supply", "the read-back says otherwise; switch it by hand")),
        _ => Ok(proof),
    }
}

/// Waits for an action of the safe state, on the wall clock: a virtual clock may have stopped with its device, and would run ahead of the
/// action if somebody waited on it here.
async fn within(timeout: Duration, act: impl Future<Output = Result<Proof, LinkError>>) -> SafeReport {
    match tokio::time::timeout(timeout, act).await {
        Ok(Ok(Proof::Seen(witness))) => SafeReport { problem: None, witness: Some(witness) },
        Ok(Ok(Proof::None(_))) => SafeReport { problem: None, witness: None },
        Ok(Err(error)) => SafeReport { problem: Some(error.to_string()), witness: None },
        Err(_) => {
            SafeReport { problem: Some(format!("no answer within {timeout:?}; check the instrument by hand")), witness: None }
        }
    }
}
