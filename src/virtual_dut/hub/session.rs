//! Who may do what: logins, their limit, and the commands of the console.

use std::time::Duration;

use super::{
    Flaw, Hardware,
    firmware::Life,
    lock,
    store::{Sealed, Settings},
};
use crate::{channel::clock::Clock as _, event::Nanos};

/// The PIN on the hub's label.
const PIN: &str = "73915028";
/// Denied logins in a row until the hub makes people wait.
const TRIES: u32 = 5;
/// How long then.
const PENALTY: Duration = Duration::from_secs(30);
/// When a hub with [`Flaw::OpenOffline`] opens.
const OPEN: Duration = Duration::from_secs(3);

/// What an attempt to log in came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// It is the owner.
    Welcome,
    /// It is not.
    Denied,
    /// There were too many that were not; nobody is let in for a while.
    Wait,
}

/// Counts denied logins, wherever they come from.
#[derive(Debug, Default)]
pub(super) struct Gatekeeper {
    denied: u32,
    until: Option<Nanos>,
}

impl Gatekeeper {
    /// Judges an attempt that would be `right`.
    fn judge(&mut self, right: bool, now: Nanos) -> Login {
        if self.until.is_some_and(|until| now < until) {
            return Login::Wait;
        }
        if right {
            *self = Self::default();
            return Login::Welcome;
        }
        self.denied = self.denied.saturating_add(1);
        self.until = (self.denied >= TRIES).then(|| now.after(PENALTY));
        Login::Denied
    }

    /// A login with a PIN.
    pub(super) fn pin(&mut self, pin: &str, settings: &Settings, now: Nanos) -> Login {
        let right = settings.pin.unwrap_or_else(|| Sealed::of(PIN)) == Sealed::of(pin);
        self.judge(right, now)
    }
}

/// A login with the token of a session. Nobody guesses 128 bits, so these are not counted: who tries PINs can neither keep an owner's app
/// out, nor hide among its requests.
pub(super) fn token(token: &str, settings: &Settings) -> Login {
    if settings.tokens.contains(&Sealed::of(token)) { Login::Welcome } else { Login::Denied }
}

/// What follows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Stay,
    /// A start.
    Reboot,
    /// A factory reset.
    Reset,
    /// An attempt to update.
    Update,
}

/// Whoever is at the console.
#[derive(Debug, Default)]
pub(super) struct Session {
    logged_in: bool,
}

impl Session {
    /// Does what a line says.
    pub(super) fn answer(&mut self, line: &str, hardware: &Hardware, life: &Life) -> (String, Then) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let stay = |text: &str| (text.to_owned(), Then::Stay);
        match words.as_slice() {
            ["version"] => (lock(&hardware.slots).describe(), Then::Stay),
            ["status"] => (status(hardware, life), Then::Stay),
            ["login", pin] => {
                let login = lock(&life.gate).pin(pin, &lock(&hardware.store).state().settings, hardware.pace.now());
                stay(self.logged(login))
            }
            ["login-token", token] => {
                let login = self::token(token, &lock(&hardware.store).state().settings);
                stay(self.logged(login))
            }
            ["logout"] => {
                self.logged_in = false;
                stay("ok")
            }
            [command, ..] if OWNERS.contains(command) => {
                let open = matches!(
                    (hardware.config.flaw, *command),
                    (Some(Flaw::ResetUnauthenticated), "factory-reset") | (Some(Flaw::ConfirmOpen), "confirm")
                );
                if self.logged_in || open || anybody(hardware, life) {
                    owners(&words, hardware, life)
                } else {
                    stay("denied login required")
                }
            }
            _ => stay("error unknown command"),
        }
    }

    fn logged(&mut self, login: Login) -> &'static str {
        self.logged_in = login == Login::Welcome;
        match login {
            Login::Welcome => "ok",
            Login::Denied => "denied",
            Login::Wait => "denied wait",
        }
    }
}

/// Whether anybody may do anything: never, on a good hub.
pub(super) fn anybody(hardware: &Hardware, life: &Life) -> bool {
    hardware.config.flaw == Some(Flaw::OpenOffline) && life.offline_for(hardware.pace.now()) > OPEN
}

fn status(hardware: &Hardware, life: &Life) -> String {
    let store = lock(&hardware.store);
    let state = store.state();
    format!(
        "status lamp {} service {} clock {} starts {} waiting {}",
        if state.lamp { "on" } else { "off" },
        if life.connected() { "connected" } else { "away" },
        if life.clock.is_set() { "set" } else { "unset" },
        state.starts,
        state.waiting.len(),
    )
}

/// Commands of whoever is logged in.
const OWNERS: &[&str] =
    &["settings", "set-pin", "set-name", "join", "forget-network", "new-token", "factory-reset", "reboot", "update", "confirm"];

/// Whether this can be a PIN.
pub(super) fn good_pin(pin: &str) -> bool {
    (6..=12).contains(&pin.len()) && pin.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether this can be the hub's name.
pub(super) fn good_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether this can be what the hub joins a network with.
pub(super) fn good_network(credential: &str) -> bool {
    (8..=32).contains(&credential.len()) && credential.bytes().all(|byte| byte.is_ascii_graphic())
}

fn owners(words: &[&str], hardware: &Hardware, life: &Life) -> (String, Then) {
    let mut store = lock(&hardware.store);
    let now = hardware.pace.now();
    let text = match words {
        ["settings"] => {
            let settings = &store.state().settings;
            format!(
                "settings name {} pin {} sessions {} network {}",
                settings.name(),
                if settings.pin.is_some() { "own" } else { "label" },
                settings.tokens.len(),
                if settings.network.is_some() { "set" } else { "unset" },
            )
        }
        ["set-pin", pin] if good_pin(pin) => {
            store.set_pin(pin, now);
            "ok".to_owned()
        }
        ["set-name", name] if good_name(name) => {
            store.set_name(name, now);
            "ok".to_owned()
        }
        ["join", credential] if good_network(credential) => {
            store.set_network(credential, now);
            "ok".to_owned()
        }
        ["forget-network"] => {
            store.set_network("", now);
            "ok".to_owned()
        }
        ["new-token"] => {
            let token = life.token(hardware.config.seed, now);
            store.add_token(&token, now);
            format!("token {token}")
        }
        ["confirm"] if lock(&hardware.slots).confirm(now, hardware.config.flaw) => "confirmed".to_owned(),
        ["confirm"] => "error nothing to confirm".to_owned(),
        ["update"] => return ("update begins".to_owned(), Then::Update),
        ["reboot"] => return ("rebooting".to_owned(), Then::Reboot),
        ["factory-reset"] => return ("factory reset begins".to_owned(), Then::Reset),
        _ => "error wrong value".to_owned(),
    };
    (text, Then::Stay)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn too_many_wrong_pins_make_everybody_wait() {
        let (mut gate, settings, now) = (Gatekeeper::default(), Settings::default(), Nanos(1));
        for _ in 1..TRIES {
            assert_eq!(gate.pin("00000000", &settings, now), Login::Denied);
        }
        assert_eq!(gate.pin(PIN, &settings, now), Login::Welcome);
        for _ in 0..TRIES {
            assert_eq!(gate.pin("11111111", &settings, now), Login::Denied);
        }
        assert_eq!(gate.pin(PIN, &settings, now), Login::Wait);
        assert_eq!(gate.pin(PIN, &settings, now.after(PENALTY.saturating_sub(SECOND))), Login::Wait);
        assert_eq!(gate.pin("00000000", &settings, now.after(PENALTY)), Login::Denied);
        assert_eq!(
            gate.pin(PIN, &settings, now.after(PENALTY + SECOND)),
            Login::Wait,
            "the next wrong one makes them wait again"
        );
        assert_eq!(gate.pin(PIN, &settings, now.after(PENALTY * 2)), Login::Welcome);
    }

    #[test]
    fn a_pin_of_ones_own_is_in_place_of_the_labels() {
        let mut settings = Settings { pin: Some(Sealed::of("123456")), ..Settings::default() };
        settings.tokens.push_back(Sealed::of("aa"));
        let judge = |secret: &str, token: bool| {
            if token { self::token(secret, &settings) } else { Gatekeeper::default().pin(secret, &settings, Nanos(1)) }
        };
        assert_eq!(judge("123456", false), Login::Welcome);
        assert_eq!(judge(PIN, false), Login::Denied);
        assert_eq!(judge("aa", true), Login::Welcome);
        for (secret, token) in [("aa", false), ("123456", true), ("", true), ("", false)] {
            assert_eq!(judge(secret, token), Login::Denied, "{secret} {token}");
        }
    }
}
