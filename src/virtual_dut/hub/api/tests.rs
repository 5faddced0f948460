//! What the local API lets through, asked without sockets.

use super::{
    super::{Attachment, Hub, HubConfig},
    *,
};
use crate::event::Nanos;

const PIN: &str = "73915028";

fn hub(flaw: Option<Flaw>) -> Hub {
    let address = std::net::Ipv4Addr::LOCALHOST;
    let attachment = Attachment::Loopback { bench: address, own: address };
    let authority = std::path::PathBuf::new();
    let config = HubConfig { name: "hub".to_owned(), latch: None, attachment, authority, seed: 1, flaw };
    Hub::start(config).unwrap()
}

/// A hub that is asked.
struct Asked(Hub, Life);

impl Asked {
    fn new(flaw: Option<Flaw>) -> Self {
        Self(hub(flaw), Life::new(1, Nanos(1)))
    }

    fn ask(&self, method: &str, path: &str, bearer: Option<&str>, body: &Value) -> (u16, Value) {
        answer(method, path, bearer, body.to_string().as_bytes(), &self.0.0, &self.1)
    }

    fn login(&self, pin: &str) -> (u16, Value) {
        self.ask("POST", "/login", None, &json!({ "pin": pin }))
    }

    fn token(&self) -> String {
        self.login(PIN).1["token"].as_str().unwrap().to_owned()
    }

    fn settings(&self, token: Option<&str>) -> u16 {
        self.ask("GET", "/settings", token, &Value::Null).0
    }
}

#[tokio::test]
async fn settings_need_a_session_and_a_logout_ends_it() {
    let hub = Asked::new(None);
    let token = hub.token();
    assert_eq!(hub.settings(None), 401);
    assert_eq!(hub.settings(Some(&"0".repeat(32))), 401);
    assert_eq!(hub.settings(Some(&token)), 200);
    let set = |name: &str, token| hub.ask("POST", "/settings", token, &json!({ "name": name })).0;
    assert_eq!((set("kitchen", None), set("kitchen", Some(&token)), set("a b", Some(&token))), (401, 200, 400));
    assert_eq!(hub.ask("GET", "/settings", Some(&token), &Value::Null).1["name"], "kitchen");
    let other = hub.token();
    assert_eq!(hub.ask("POST", "/logout", Some(&token), &Value::Null).0, 200);
    assert_eq!((hub.settings(Some(&token)), hub.settings(Some(&other))), (401, 200), "only that one ended");
}

#[tokio::test]
async fn the_limit_of_logins_is_that_of_the_whole_hub() {
    let hub = Asked::new(None);
    for _ in 0..5 {
        assert_eq!(hub.login("00000000").0, 401);
    }
    assert_eq!(hub.login(PIN).0, 429);
    let settings = super::super::store::Settings::default();
    assert_eq!(lock(&hub.1.gate).pin(PIN, &settings, hub.0.0.pace.now()), Login::Wait, "at the console too");
}

#[tokio::test]
async fn set_up_is_open_only_without_a_network_and_only_to_the_pin() {
    let hub = Asked::new(None);
    let set_up = |pin: &str| hub.ask("POST", "/setup", None, &json!({ "pin": pin, "network": "some-network" })).0;
    assert_eq!(set_up(PIN), 409);
    lock(&hub.0.0.store).set_network("", Nanos(1));
    assert_eq!((set_up("00000000"), set_up(PIN), set_up(PIN)), (401, 200, 409));
    assert_eq!(lock(&hub.0.0.store).state().settings.network.as_deref(), Some("some-network"));
}

#[tokio::test]
async fn the_status_tells_anybody_no_secret() {
    let hub = Asked::new(None);
    let token = hub.token();
    let status = hub.ask("GET", "/status", None, &Value::Null).1.to_string();
    assert!(status.contains("version"), "{status}");
    for secret in [PIN, &token, super::super::NETWORK] {
        assert!(!status.contains(secret), "{status}");
    }
}

#[tokio::test]
async fn each_flaw_opens_what_it_is_named_after() {
    assert_eq!(Asked::new(Some(Flaw::ApiOpen)).settings(None), 200);
    let unlimited = Asked::new(Some(Flaw::LoginUnlimited));
    for _ in 0..10 {
        assert_eq!(unlimited.login("00000000").0, 401);
    }
    assert_eq!(unlimited.login(PIN).0, 200);
    let set_up = Asked::new(Some(Flaw::SetupOpen)).ask("POST", "/setup", None, &json!({ "pin": PIN, "network": "another-one" }));
    assert_eq!(set_up.0, 200);
    let status = Asked::new(Some(Flaw::StatusSecret)).ask("GET", "/status", None, &Value::Null).1.to_string();
    assert!(status.contains(super::super::NETWORK), "{status}");
    let keeps = Asked::new(Some(Flaw::LogoutKeepsToken));
    let token = keeps.token();
    keeps.ask("POST", "/logout", Some(&token), &Value::Null);
    assert_eq!(keeps.settings(Some(&token)), 200);
}

#[tokio::test]
async fn any_body_is_taken_without_harm() {
    let hub = Asked::new(None);
    for body in ["", "{", "[]", "null", "{\"pin\":1}", "\u{0}\u{ff}", "{\"pin\":{\"pin\":[]}}"] {
        let (status, _) = answer("POST", "/login", None, body.as_bytes(), &hub.0.0, &hub.1);
        assert!(matches!(status, 401 | 429), "{body}: {status}");
    }
    assert_eq!(hub.ask("DELETE", "/settings", Some(&"0".repeat(32)), &Value::Null).0, 401);
    assert_eq!(hub.ask("GET", "/nothing", None, &Value::Null).0, 404);
}
