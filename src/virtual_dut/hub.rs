//! The smart hub: a virtual device of the Linux class, with a lamp, a button, a serial console and a connection to its service.
//!
//! It runs in real time on the tasks of this process, on loopback without privileges or at a network port of its own ([`Attachment`]): what it says over TCP, TLS, MQTT and NTP crosses real
//! sockets, so it meets the same network and cloud drivers as a device on hardware. It is quick: delays and limits are seconds where a
//! product has minutes, so that a plan that waits for them takes minutes. Each [`Flaw`] is one change against the good hub.

mod announce;
mod api;
mod attach;
mod bundle;
mod button;
mod clock;
mod console;
mod dhcp;
mod firmware;
mod flash;
mod log;
mod mqtt;
mod names;
mod pace;
mod reconnect;
mod service;
mod session;
mod slots;
mod store;
mod trust;
mod update;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::watch, task::AbortHandle};

pub use self::attach::Attachment;
use self::{api::Identity, button::Contact, console::Line, pace::Pace, slots::Slots, store::Store};
use super::bench::{latch_read, latch_write};
use crate::{
    channel::{
        clock::{BoxFuture, Clock},
        link::{ButtonLink, LinkError, Proof, SupplyLink},
        tap::Counters,
    },
    event::{Nanos, Witness},
};

/// Port on the bench's address where the hub finds its service (MQTT over TLS).
pub const SERVICE_PORT: u16 = 8883;
/// Port on the bench's address where the hub asks for the time (NTP).
pub const CLOCK_PORT: u16 = 1123;
/// Port on the bench's address where the hub asks for addresses (DNS).
pub const NAME_PORT: u16 = 1053;
/// Port on the address of [`UPDATE_NAME`] where the hub finds updates (HTTPS).
pub const UPDATE_PORT: u16 = 8443;
/// Port on that address where plain HTTP would be, which a good hub does not speak.
pub const PLAIN_PORT: u16 = 1080;
/// Name of the service for updates, which its certificate must hold.
pub const UPDATE_NAME: &str = "update.hub.example";
/// Port on the hub's own address where its local API is (HTTPS).
pub const API_PORT: u16 = 9443;
/// Port there where it answers mDNS.
pub const ANNOUNCE_PORT: u16 = 5454;
/// Port there where a hub with [`Flaw::DebugPort`] has a shell.
pub const DEBUG_PORT: u16 = 2323;
/// Name in the certificate of the local API.
pub const API_NAME: &str = "smart-hub.local";
/// What the hub asks it for.
const UPDATE_PATH: &str = "/smart-hub.bundle";
/// Name of the service, which its certificate must hold.
pub const SERVICE_NAME: &str = "mqtt.hub.example";

/// What whoever set the hub up has given it to join the network with.
const NETWORK: &str = "bench-network-key";

/// The one thing that a hub does wrong, or only otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Tries again after the same time, always.
    FixedRetry,
    /// Tries again at once when it was closed after CONNACK.
    KickStorm,
    /// Draws the same delays after every start.
    SameSeed,
    /// Does not compare the name in the certificate.
    AnyName,
    /// Takes any certificate while its clock is not set.
    NoClockNoCheck,
    /// Takes any certificate.
    AnyCertificate,
    /// Starts anew when it has been without its service for some seconds.
    RebootOffline,
    /// The same at times that it draws anew for each start: harmless where a restart is.
    RebootAnyTime,
    /// Lets anybody in while it is without its service.
    OpenOffline,
    /// Forgets what happens while it is without its service.
    ForgetsEvents,
    /// Its lamp waits for the service.
    NeedsService,
    /// Does not notice that the other side has fallen silent.
    HalfOpen,
    /// Never tries again after it was refused a few times.
    GivesUp,
    /// A factory reset leaves the PIN.
    ResetKeepsPin,
    /// A factory reset leaves what the hub joins its network with.
    ResetKeepsNetwork,
    /// A factory reset leaves sessions.
    ResetKeepsToken,
    /// A factory reset is confirmed before anything is erased.
    ResetEarlyOk,
    /// A factory reset erases settings first and the PIN afterwards.
    ResetInTwoSteps,
    /// A factory reset brings back the version of delivery.
    ResetOldImage,
    /// The command for a factory reset needs no login.
    ResetUnauthenticated,
    /// The button needs to be held only half as long as declared.
    ShortGesture,
    /// An update is installed whatever its signature and digest are.
    SignatureIgnored,
    /// An update for another product is installed.
    AnyProduct,
    /// The security counter of an update is not compared.
    NoCounterCheck,
    /// The security counter is raised before the confirmation.
    CounterEarly,
    /// An update stays without confirmation.
    NoRevert,
    /// A download that was resumed is not checked again.
    ResumeUnchecked,
    /// An update is written however long it is.
    LengthUnchecked,
    /// Without HTTPS an update is fetched over HTTP, and installed whatever it is.
    PortalImage,
    /// A redirection to plain HTTP is followed.
    FollowsRedirect,
    /// An update can be confirmed without login.
    ConfirmOpen,
    /// A download is waited for, however long nothing comes.
    DownloadHangs,
    /// The local API tells the settings without a login.
    ApiOpen,
    /// The local API takes any number of PINs.
    LoginUnlimited,
    /// Set-up over the local API stays open once the hub is set up.
    SetupOpen,
    /// A debug port that is not declared is open.
    DebugPort,
    /// The status, which anybody may read, holds what the hub joins its network with.
    StatusSecret,
    /// The hub announces by mDNS what it joins its network with.
    MdnsSecret,
    /// A logout leaves the session's token valid.
    LogoutKeepsToken,
    /// Waits longer between attempts, but no longer than declared: harmless.
    SlowReconnect,
}

impl Flaw {
    /// Words of rig files.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("fixed-retry", Self::FixedRetry),
        ("kick-storm", Self::KickStorm),
        ("same-seed", Self::SameSeed),
        ("any-name", Self::AnyName),
        ("no-clock-no-check", Self::NoClockNoCheck),
        ("any-certificate", Self::AnyCertificate),
        ("reboot-offline", Self::RebootOffline),
        ("reboot-any-time", Self::RebootAnyTime),
        ("open-offline", Self::OpenOffline),
        ("forgets-events", Self::ForgetsEvents),
        ("needs-service", Self::NeedsService),
        ("half-open", Self::HalfOpen),
        ("gives-up", Self::GivesUp),
        ("reset-keeps-pin", Self::ResetKeepsPin),
        ("reset-keeps-network", Self::ResetKeepsNetwork),
        ("reset-keeps-token", Self::ResetKeepsToken),
        ("reset-early-ok", Self::ResetEarlyOk),
        ("reset-in-two-steps", Self::ResetInTwoSteps),
        ("reset-old-image", Self::ResetOldImage),
        ("reset-unauthenticated", Self::ResetUnauthenticated),
        ("short-gesture", Self::ShortGesture),
        ("signature-ignored", Self::SignatureIgnored),
        ("any-product", Self::AnyProduct),
        ("no-counter-check", Self::NoCounterCheck),
        ("counter-early", Self::CounterEarly),
        ("no-revert", Self::NoRevert),
        ("resume-unchecked", Self::ResumeUnchecked),
        ("length-unchecked", Self::LengthUnchecked),
        ("portal-image", Self::PortalImage),
        ("follows-redirect", Self::FollowsRedirect),
        ("confirm-open", Self::ConfirmOpen),
        ("download-hangs", Self::DownloadHangs),
        ("api-open", Self::ApiOpen),
        ("login-unlimited", Self::LoginUnlimited),
        ("setup-open", Self::SetupOpen),
        ("debug-port", Self::DebugPort),
        ("status-secret", Self::StatusSecret),
        ("mdns-secret", Self::MdnsSecret),
        ("logout-keeps-token", Self::LogoutKeepsToken),
        ("slow-reconnect", Self::SlowReconnect),
    ];

    /// By its word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, flaw)| *flaw)
    }
}

/// What a hub is made with.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Identity, for messages.
    pub name: String,
    /// State file of its supply's relay; see [`latch_read`]. `None`: a relay that starts down.
    pub latch: Option<PathBuf>,
    /// How it is connected.
    pub attachment: Attachment,
    /// Certificate (PEM) of the authority that it trusts; read at each power-on, as a firmware has it built in.
    pub authority: PathBuf,
    /// Seed of everything random in it.
    pub seed: u64,
    /// What it does wrong, if anything.
    pub flaw: Option<Flaw>,
}

/// What outlives a power-on: the flash, the wires.
struct Hardware {
    config: HubConfig,
    identity: Identity,
    line: Line,
    store: Mutex<Store>,
    slots: Mutex<Slots>,
    /// The contact of the button.
    contact: watch::Sender<Contact>,
    /// The running firmware; nothing without power.
    running: Mutex<Option<AbortHandle>>,
    /// Turns that the firmware has had.
    turns: AtomicU64,
    /// The clock of the bench.
    pace: Arc<Pace>,
}

/// A hub on its bench. Dropping it takes its power.
pub struct Hub(Arc<Hardware>);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is inside is whole after every statement, whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Puts a hub on the bench. Its supply is at what the relay's state file says. Needs a tokio runtime.
    ///
    /// # Errors
    /// No pseudo-terminal can be had, or the state file cannot be read.
    pub fn start(config: HubConfig) -> Result<Self, LinkError> {
        let failed = |what: String| LinkError::new(format!("start virtual hub {}", config.name), what);
        let up = config.latch.as_deref().map(latch_read).transpose().map_err(|error| failed(error.to_string()))?;
        let line = Line::open().map_err(|error| failed(format!("no pseudo-terminal: {error}")))?;
        let (store, running) = (Mutex::new(Store::delivered(NETWORK)), Mutex::default());
        let slots = Mutex::new(Slots::delivered());
        let identity = Identity::made().map_err(|error| failed(format!("no certificate: {error}")))?;
        let contact = watch::Sender::new(Contact::default());
        let (turns, pace) = (AtomicU64::new(0), Arc::new(Pace::start()));
        let hub = Self(Arc::new(Hardware { config, identity, line, store, slots, contact, running, turns, pace }));
        tokio::spawn(keep_pace(Arc::downgrade(&hub.0)));
        if up == Some(true) {
            Hardware::power(&hub.0, true);
        }
        Ok(hub)
    }

    /// The clock of its bench and of the hub itself: real time that stands still while the machine has no time for the hub or its serial line.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(BenchClock { pace: Arc::clone(&self.0.pace), hardware: Arc::downgrade(&self.0) })
    }

    /// Certificate (DER) of its local API, which it was delivered with.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.0.identity.certificate
    }

    /// Path of the serial port, to be opened by the `serial` driver.
    #[must_use]
    pub fn console_path(&self) -> &Path {
        self.0.line.path()
    }

    /// The switched supply.
    #[must_use]
    pub fn supply(&self) -> Box<dyn SupplyLink> {
        Box::new(Supply(Arc::clone(&self.0)))
    }

    /// The button of the lamp.
    #[must_use]
    pub fn button(&self) -> Box<dyn ButtonLink> {
        Box::new(Button(Arc::clone(&self.0)))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        Hardware::power(&self.0, false);
    }
}

/// The clock of the bench, which also sees the console that is on the hub's serial line.
struct BenchClock {
    pace: Arc<Pace>,
    hardware: Weak<Hardware>,
}

impl Clock for BenchClock {
    fn now(&self) -> Nanos {
        self.pace.now()
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        self.pace.sleep_until(instant)
    }

    fn observe(&self, console: &Arc<Counters>) {
        if let Some(hardware) = self.hardware.upgrade() {
            hardware.line.opened(console);
        }
    }

    fn name(&self) -> &'static str {
        self.pace.name()
    }
}

/// Lets the clock of the bench go on while firmware and serial line get their turns, and the line delivers.
async fn keep_pace(hardware: Weak<Hardware>) {
    let mut seen = (0, 0);
    loop {
        tokio::time::sleep(pace::BEAT).await;
        let Some(hardware) = hardware.upgrade() else { return };
        let now = (hardware.turns.load(Ordering::Relaxed), hardware.line.turns());
        if now.1 != seen.1 && (now.0 != seen.0 || !hardware.powered()) && hardware.line.delivers() {
            hardware.pace.beat();
            seen = now;
        }
    }
}

impl Hardware {
    fn power(this: &Arc<Self>, up: bool) {
        let mut running = lock(&this.running);
        match (up, running.take()) {
            (true, Some(firmware)) => *running = Some(firmware),
            (true, None) => {
                this.line.forget_input();
                *running = Some(tokio::spawn(firmware::run(Arc::clone(this))).abort_handle());
            }
            (false, firmware) => {
                if let Some(firmware) = firmware {
                    firmware.abort();
                    lock(&this.store).cut(this.now());
                    lock(&this.slots).cut(this.now());
                }
                this.line.forget_output();
            }
        }
    }

    fn now(&self) -> Nanos {
        self.pace.now()
    }

    async fn sleep_until(&self, instant: Nanos) {
        self.pace.sleep_until(instant).await;
    }

    /// Waits until all that was written is written.
    async fn settled(&self) {
        let done = lock(&self.store).busy_until().max(lock(&self.slots).busy_until());
        self.sleep_until(done).await;
    }

    fn powered(&self) -> bool {
        lock(&self.running).is_some()
    }
}

/// The supply: a relay whose position outlives the program, and a rail that can be read back.
struct Supply(Arc<Hardware>);

impl SupplyLink for Supply {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let operation = format!("switch supply {} {}", self.0.config.name, if up { "up" } else { "down" });
            if let Some(path) = &self.0.config.latch {
                // The relay moves first: should this process die between the two, the position is the truth.
                latch_write(path, up).map_err(|error| LinkError::new(&operation, format!("{}: {error}", path.display())))?;
            }
            Hardware::power(&self.0, up);
            let rail = if self.0.powered() { 5000 } else { 0 };
            if self.0.powered() != up {
                return Err(LinkError::new(operation, format!("rail {rail} mV: it did not follow")));
            }
            Ok(Proof::Seen(Witness { what: format!("rail {rail} mV"), evidence: None }))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(std::future::ready(Ok(Some(self.0.powered()))))
    }
}

/// The button, with a contact that can be read back.
struct Button(Arc<Hardware>);

impl ButtonLink for Button {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let now = self.0.now();
        // Counted and timed, as by an interrupt: a press is not missed because the hub is slow.
        self.0.contact.send_modify(|contact| match (pressed, contact.closed) {
            (true, None) => *contact = Contact { presses: contact.presses + 1, closed: Some(now) },
            (true, Some(_)) => {}
            (false, _) => contact.closed = None,
        });
        let what = format!("contact {}", if pressed { "closed" } else { "open" });
        Box::pin(std::future::ready(Ok(Proof::Seen(Witness { what, evidence: None }))))
    }
}
