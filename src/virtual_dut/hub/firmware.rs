//! What runs on the hub while it has power.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{CLOCK_PORT, Flaw, Hardware, clock::Clock, lock, service};
use crate::{channel::clock::Clock as _, event::Nanos};

/// As long as a small system takes to start.
const START: Duration = Duration::from_millis(50);
/// Version of the firmware.
const VERSION: &str = "1.0.0";
/// The PIN on the hub's label.
const PIN: &str = "73915028";
/// Denied logins in a row until the hub makes people wait.
const TRIES: u32 = 5;
/// How long then.
const PENALTY: Duration = Duration::from_secs(30);
/// Longest line on the console.
const LONGEST: usize = 80;
/// When a hub with [`Flaw::RebootOffline`] loses patience.
const REBOOT: Duration = Duration::from_secs(4);
/// When a hub with [`Flaw::OpenOffline`] opens.
const OPEN: Duration = Duration::from_secs(3);

/// What the parts of the firmware share from one start to the next.
pub(super) struct Life {
    /// Number of this start.
    pub(super) start: u32,
    pub(super) clock: Clock,
    /// Something is new: an event waits, or one was acknowledged.
    pub(super) changed: Notify,
    connected: AtomicBool,
    /// Since when it is as `connected` says.
    since: Mutex<Nanos>,
}

impl Life {
    pub(super) fn set_connected(&self, connected: bool, now: Nanos) {
        if self.connected.swap(connected, Ordering::Relaxed) != connected {
            *lock(&self.since) = now;
        }
    }

    fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    fn offline_for(&self, now: Nanos) -> Duration {
        if self.connected() { Duration::ZERO } else { now.since(*lock(&self.since)) }
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
        let start = {
            let mut store = lock(&hardware.store);
            store.reload();
            store.start()
        };
        let life = Life {
            start,
            clock: Clock::unset(),
            changed: Notify::new(),
            connected: AtomicBool::new(false),
            since: Mutex::new(hardware.pace.now()),
        };
        hardware.line.print(&format!("boot {start} reset {why}"));
        hardware.line.print(&format!("smart-hub {VERSION} ready"));
        let clock = SocketAddr::new(hardware.config.address, CLOCK_PORT);
        tokio::select! {
            () = service::keep(hardware, &life) => {}
            () = life.clock.keep(clock, &hardware.pace) => {}
            () = lamp(hardware, &life) => {}
            () = serve_console(hardware, &life) => {}
            () = patience(hardware, &life) => {}
        }
        why = "soft";
    }
}

/// The button switches the lamp, whatever the network does.
async fn lamp(hardware: &Hardware, life: &Life) {
    let mut presses = hardware.presses.subscribe();
    let mut seen = *presses.borrow_and_update();
    while presses.changed().await.is_ok() {
        let now = *presses.borrow_and_update();
        (seen..now).for_each(|_| switch(hardware, life));
        seen = now;
    }
}

fn switch(hardware: &Hardware, life: &Life) {
    if hardware.config.flaw == Some(Flaw::NeedsService) && !life.connected() {
        hardware.line.print("lamp waits for the service");
        return;
    }
    let mut store = lock(&hardware.store);
    let on = !store.lamp;
    store.switch(on);
    if hardware.config.flaw == Some(Flaw::ForgetsEvents) && !life.connected() {
        let last = store.waiting.back().map_or(0, |event| event.number);
        store.told(last);
    }
    drop(store);
    hardware.line.print(if on { "lamp on" } else { "lamp off" });
    life.changed.notify_one();
}

/// Counts the turns that the firmware gets, in the machine's time: all of it is one task, so this gets none while another part keeps it busy.
async fn turns(hardware: &Hardware) {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        hardware.turns.fetch_add(1, Ordering::Relaxed);
    }
}

async fn patience(hardware: &Hardware, life: &Life) {
    loop {
        hardware.pace.sleep(Duration::from_millis(200)).await;
        if hardware.config.flaw == Some(Flaw::RebootOffline) && life.offline_for(hardware.pace.now()) > REBOOT {
            return;
        }
    }
}

async fn serve_console(hardware: &Hardware, life: &Life) {
    let mut session = Session { logged_in: false, denied: 0, until: None };
    let mut line = Vec::new();
    loop {
        match hardware.line.byte().await {
            b'\r' | b'\n' if line.is_empty() => {}
            b'\r' | b'\n' => {
                let answer = if line.len() > LONGEST {
                    "error line too long".to_owned()
                } else {
                    session.answer(&String::from_utf8_lossy(&line), hardware, life)
                };
                line.clear();
                hardware.line.print(&answer);
                if answer == "rebooting" {
                    return;
                }
            }
            byte if line.len() <= LONGEST => line.push(byte),
            _ => {}
        }
    }
}

struct Session {
    logged_in: bool,
    denied: u32,
    until: Option<Nanos>,
}

impl Session {
    fn answer(&mut self, line: &str, hardware: &Hardware, life: &Life) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["version"] => format!("version {VERSION}"),
            ["status"] => {
                let store = lock(&hardware.store);
                format!(
                    "status lamp {} service {} clock {} starts {} waiting {}",
                    if store.lamp { "on" } else { "off" },
                    if life.connected() { "connected" } else { "away" },
                    if life.clock.is_set() { "set" } else { "unset" },
                    store.starts,
                    store.waiting.len(),
                )
            }
            ["login", pin] => self.login(pin, hardware.pace.now()),
            ["logout"] => {
                self.logged_in = false;
                "ok".to_owned()
            }
            ["forget-network" | "reboot"] if !self.logged_in && !open(hardware, life) => "denied login required".to_owned(),
            ["forget-network"] => "ok".to_owned(),
            ["reboot"] => "rebooting".to_owned(),
            _ => "error unknown command".to_owned(),
        }
    }

    fn login(&mut self, pin: &str, now: Nanos) -> String {
        if self.until.is_some_and(|until| now < until) {
            return "denied wait".to_owned();
        }
        self.logged_in = pin == PIN;
        if self.logged_in {
            self.denied = 0;
            return "ok".to_owned();
        }
        self.denied += 1;
        self.until = (self.denied >= TRIES).then(|| now.after(PENALTY));
        "denied".to_owned()
    }
}

/// Whether anybody may do anything: never, on a good hub.
fn open(hardware: &Hardware, life: &Life) -> bool {
    hardware.config.flaw == Some(Flaw::OpenOffline) && life.offline_for(hardware.pace.now()) > OPEN
}
