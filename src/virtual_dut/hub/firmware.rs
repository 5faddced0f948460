//! What runs on the hub while it has power.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    Flaw, Hardware, announce, api,
    attach::{self, Servers},
    button,
    clock::Clock,
    lock,
    reconnect::BackOff,
    service,
    session::{Gatekeeper, Session, Then},
    slots::Slots,
    store::Keeps,
    update::{self, Partial},
};
use crate::{channel::clock::Clock as _, event::Nanos};

/// As long as a small system takes to start.
const START: Duration = Duration::from_millis(50);
/// Longest line on the console.
const LONGEST: usize = 80;
/// How often a part that waits for a setting looks at it.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// When a hub with [`Flaw::RebootOffline`] loses patience.
const REBOOT: Duration = Duration::from_secs(4);
/// When a hub with [`Flaw::RebootAnyTime`] does, at the latest.
const ANY_TIME: Duration = Duration::from_secs(8);
/// When the watchdog ends a start that does not come up.
const WATCHDOG: Duration = Duration::from_secs(1);
/// How long a hub with [`Flaw::ResetEarlyOk`] puts off what it has confirmed.
const LATER: Duration = Duration::from_secs(3);

/// What the parts of the firmware share from one start to the next.
pub(super) struct Life {
    /// Number of this start.
    pub(super) start: u32,
    pub(super) clock: Clock,
    /// Something is new: an event waits, or one was acknowledged.
    pub(super) changed: Notify,
    /// Who is let in.
    pub(super) gate: Mutex<Gatekeeper>,
    /// A download that broke off.
    pub(super) partial: Mutex<Option<Partial>>,
    /// Where things are, while there is a network.
    servers: Mutex<Option<Servers>>,
    connected: AtomicBool,
    /// Since when it is as `connected` says.
    since: Mutex<Nanos>,
    tokens: AtomicU32,
}

impl Life {
    pub(super) fn new(start: u32, now: Nanos) -> Self {
        Self {
            start,
            clock: Clock::unset(),
            changed: Notify::new(),
            gate: Mutex::default(),
            partial: Mutex::default(),
            servers: Mutex::default(),
            connected: AtomicBool::new(false),
            since: Mutex::new(now),
            tokens: AtomicU32::new(0),
        }
    }

    pub(super) fn set_connected(&self, connected: bool, now: Nanos) {
        if self.connected.swap(connected, Ordering::Relaxed) != connected {
            *lock(&self.since) = now;
        }
    }

    /// Where things are, while there is a network.
    pub(super) fn servers(&self) -> Option<Servers> {
        *lock(&self.servers)
    }

    pub(super) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn offline_for(&self, now: Nanos) -> Duration {
        if self.connected() { Duration::ZERO } else { now.since(*lock(&self.since)) }
    }

    /// A token that nobody can guess who does not know the seed: a product takes it from a hardware source of randomness.
    pub(super) fn token(&self, seed: u64, now: Nanos) -> String {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed);
        let from = [seed, u64::from(self.start), u64::from(count), now.0].map(u64::to_be_bytes).concat();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::derive_key("hilbench virtual hub tokens", &from)[..16]);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }
}

/// Runs until the power goes.
pub(super) async fn run(hardware: Arc<Hardware>) {
    tokio::select! {
        () = starts(&hardware) => {}
        () = turns(&hardware) => {}
    }
}

/// One start after the other.
async fn starts(hardware: &Hardware) {
    let mut why = "power-on";
    loop {
        hardware.pace.sleep(START).await;
        let now = hardware.now();
        let (goes_on, start) = {
            let mut store = lock(&hardware.store);
            (store.reload(now), store.start(now))
        };
        hardware.line.print(&format!("boot {start} reset {why}"));
        let started = lock(&hardware.slots).start(now, hardware.config.flaw);
        let Some(started) = started else {
            hardware.line.print("boot failed");
            return std::future::pending().await;
        };
        for note in &started.notes {
            hardware.line.print(note);
        }
        if goes_on {
            hardware.line.print("factory reset goes on");
        }
        // What this start has decided holds for the next one, whenever the power goes.
        hardware.settled().await;
        if goes_on {
            hardware.line.print("factory reset done");
        }
        if started.hangs {
            hardware.pace.sleep(WATCHDOG).await;
            why = "watchdog";
            continue;
        }
        // From the moment on that it says so, the hub does what it is for.
        let presses = hardware.contact.borrow().presses;
        hardware.line.print(&format!("smart-hub {} ready", started.version));
        let life = Life::new(start, hardware.now());
        tokio::select! {
            () = networked(hardware, &life) => {}
            () = button::lamp(hardware, &life, presses) => {}
            () = serve_console(hardware, &life) => {}
            () = patience(hardware, &life) => {}
            () = api::serve(hardware, &life) => {}
            () = button::held(hardware) => {
                hardware.line.print("factory reset begins");
                factory_reset(hardware).await;
            }
        }
        why = "soft";
    }
}

/// What needs an address, while there is one.
async fn networked(hardware: &Hardware, life: &Life) {
    loop {
        let (servers, lease) = attach::attached(hardware).await;
        tokio::select! {
            () = attach::lost(hardware, lease) => {}
            () = announce::serve(hardware, &servers) => {}
            () = joined(hardware, life, &servers) => {}
        }
        left(hardware, life);
    }
}

/// What needs the services of the network, while there is something to join it with.
async fn joined(hardware: &Hardware, life: &Life, servers: &Servers) {
    loop {
        until_joined(hardware, true).await;
        *lock(&life.servers) = Some(*servers);
        tokio::select! {
            () = until_joined(hardware, false) => {}
            () = service::keep(hardware, life, servers) => {}
            () = life.clock.keep(servers, &hardware.pace) => {}
        }
        left(hardware, life);
    }
}

fn left(hardware: &Hardware, life: &Life) {
    *lock(&life.servers) = None;
    life.set_connected(false, hardware.now());
}

async fn until_joined(hardware: &Hardware, joined: bool) {
    while lock(&hardware.store).state().settings.network.is_some() != joined {
        hardware.pace.sleep(LOOK).await;
    }
}

/// Erases what belongs to whoever used the hub, and says so once it is gone.
async fn factory_reset(hardware: &Hardware) {
    let flaw = hardware.config.flaw;
    if flaw == Some(Flaw::ResetEarlyOk) {
        hardware.line.print("factory reset done");
        hardware.pace.sleep(LATER).await;
    }
    if flaw == Some(Flaw::ResetInTwoSteps) {
        let first = Keeps { pin: true, ..Keeps::default() };
        lock(&hardware.store).reset(first, hardware.now());
        hardware.settled().await;
    }
    let keeps = Keeps {
        pin: flaw == Some(Flaw::ResetKeepsPin),
        network: flaw == Some(Flaw::ResetKeepsNetwork),
        tokens: flaw == Some(Flaw::ResetKeepsToken),
    };
    if flaw == Some(Flaw::ResetOldImage) {
        *lock(&hardware.slots) = Slots::delivered();
    }
    lock(&hardware.store).reset(keeps, hardware.now());
    hardware.settled().await;
    hardware.line.print("factory reset done");
}

/// Counts the turns that the firmware gets, in the machine's time: all of it is one task, so this gets none while another part keeps it busy.
async fn turns(hardware: &Hardware) {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        hardware.turns.fetch_add(1, Ordering::Relaxed);
    }
}

async fn patience(hardware: &Hardware, life: &Life) {
    let limit = match hardware.config.flaw {
        Some(Flaw::RebootOffline) => REBOOT,
        Some(Flaw::RebootAnyTime) => BackOff::new(hardware.config.seed, u64::from(life.start), None).within(ANY_TIME),
        _ => return std::future::pending().await,
    };
    while life.offline_for(hardware.pace.now()) <= limit {
        hardware.pace.sleep(LOOK).await;
    }
}

/// Answers what is typed, until a command ends this start.
async fn serve_console(hardware: &Hardware, life: &Life) {
    let mut session = Session::default();
    let mut line = Vec::new();
    loop {
        match hardware.line.byte().await {
            b'\r' | b'\n' if line.is_empty() => {}
            b'\r' | b'\n' => {
                let (answer, then) = if line.len() > LONGEST {
                    ("error line too long".to_owned(), Then::Stay)
                } else {
                    session.answer(&String::from_utf8_lossy(&line), hardware, life)
                };
                line.clear();
                // What is answered outlives a power cut.
                hardware.settled().await;
                hardware.line.print(&answer);
                match then {
                    Then::Stay => {}
                    Then::Reboot => return,
                    Then::Reset => return factory_reset(hardware).await,
                    Then::Update => match update::run(hardware, life).await {
                        Ok(()) => {
                            hardware.settled().await;
                            hardware.line.print("update installed");
                            return;
                        }
                        Err(why) => hardware.line.print(&format!("refused {why}")),
                    },
                }
            }
            byte if line.len() <= LONGEST => line.push(byte),
            _ => {}
        }
    }
}
