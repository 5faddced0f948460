//! What plugs are told and what they say.
//!
//! * Tasmota: commands to `cmnd/TOPIC/POWER`, the state on `stat/TOPIC/POWER`, sensors on request (`STATUS 8`) on `stat/TOPIC/STATUS8`
//!   (tasmota.github.io, "MQTT" and "Commands").
//! * Shelly, first generation: `shellies/ID/relay/0/command`, state on `shellies/ID/relay/0`, power on `.../power`; `update` to
//!   `shellies/ID/command` makes it say everything again (shelly-api-docs.shelly.cloud, gen1). That every model hears `update` is *uncertain*.
//! * Shelly, second generation and later: JSON-RPC on `ID/rpc`, answers on the topic that the request names (shelly-api-docs.shelly.cloud, gen2).
//!
//! None of the three was tried on a real plug.

use serde_json::{Value, json};

/// Longest payload that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// How a plug speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dialect {
    Tasmota { topic: String, relay: String },
    ShellyGen1 { topic: String, relay: u8 },
    ShellyGen2 { topic: String, relay: u8, answers: String },
}

/// What a plug says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Message {
    /// Whether its relay is closed, and the power in W if that came with it.
    State { on: bool, power: Option<f64> },
    /// The power that its load takes, in W.
    Power(f64),
}

type Publish = (String, String);

impl Dialect {
    pub(super) fn from(name: &str, topic: &str, relay: Option<u8>) -> Option<Self> {
        let topic = topic.to_owned();
        Some(match name {
            "tasmota" => Self::Tasmota { topic, relay: relay.map_or_else(String::new, |relay| relay.to_string()) },
            "shelly-gen1" => Self::ShellyGen1 { topic, relay: relay.unwrap_or(0) },
            "shelly-gen2" => {
                let answers = format!("hilbench/{}-{}", std::process::id(), topic.replace('/', "-"));
                Self::ShellyGen2 { topic, relay: relay.unwrap_or(0), answers }
            }
            _ => return None,
        })
    }

    /// Where it speaks.
    pub(super) fn topics(&self) -> Vec<String> {
        match self {
            Self::Tasmota { topic, relay } => vec![format!("stat/{topic}/POWER{relay}"), format!("stat/{topic}/STATUS8")],
            Self::ShellyGen1 { topic, relay } => {
                vec![format!("shellies/{topic}/relay/{relay}"), format!("shellies/{topic}/relay/{relay}/power")]
            }
            Self::ShellyGen2 { answers, .. } => vec![format!("{answers}/rpc")],
        }
    }

    /// What makes it switch and say where it is then.
    pub(super) fn switch(&self, up: bool) -> Vec<Publish> {
        match self {
            Self::Tasmota { topic, relay } => {
                vec![(format!("cmnd/{topic}/POWER{relay}"), if up { "ON" } else { "OFF" }.to_owned())]
            }
            Self::ShellyGen1 { topic, relay } => {
                vec![(format!("shellies/{topic}/relay/{relay}/command"), if up { "on" } else { "off" }.to_owned())]
            }
            Self::ShellyGen2 { relay, .. } => vec![self.call("Switch.Set", json!({ "id": relay, "on": up })), self.ask_state()],
        }
    }

    /// What makes it say where it is.
    pub(super) fn ask_state(&self) -> Publish {
        match self {
            // A command without a payload is a question.
            Self::Tasmota { topic, relay } => (format!("cmnd/{topic}/POWER{relay}"), String::new()),
            Self::ShellyGen1 { topic, .. } => (format!("shellies/{topic}/command"), "update".to_owned()),
            Self::ShellyGen2 { relay, .. } => self.call("Switch.GetStatus", json!({ "id": relay })),
        }
    }

    /// What makes it say what its load takes.
    #[expect(clippy::unnecessary_wraps, reason = "a dialect may have no such question")]
    pub(super) fn ask_power(&self) -> Option<Publish> {
        match self {
            Self::Tasmota { topic, .. } => Some((format!("cmnd/{topic}/STATUS"), "8".to_owned())),
            Self::ShellyGen1 { .. } | Self::ShellyGen2 { .. } => Some(self.ask_state()),
        }
    }

    fn call(&self, method: &str, params: Value) -> Publish {
        let (topic, answers) = match self {
            Self::ShellyGen2 { topic, answers, .. } => (topic.as_str(), answers.as_str()),
            _ => ("", ""),
        };
        (format!("{topic}/rpc"), json!({ "id": 1, "src": answers, "method": method, "params": params }).to_string())
    }

    /// What a message means; none if it is not one of those.
    pub(super) fn understand(&self, topic: &str, payload: &[u8]) -> Option<Message> {
        let text = std::str::from_utf8(payload.get(..payload.len().min(LONGEST))?).ok()?.trim();
        let state = |on: &str, off: &str| match text {
            word if word == on => Some(Message::State { on: true, power: None }),
            word if word == off => Some(Message::State { on: false, power: None }),
            _ => None,
        };
        match self {
            Self::Tasmota { relay, .. } if topic.ends_with(&format!("/POWER{relay}")) => state("ON", "OFF"),
            Self::Tasmota { .. } => {
                let status: Value = serde_json::from_str(text).ok()?;
                watts(status.pointer("/StatusSNS/ENERGY/Power")?).map(Message::Power)
            }
            Self::ShellyGen1 { .. } if topic.ends_with("/power") => {
                text.parse::<f64>().ok().filter(|power| power.is_finite()).map(Message::Power)
            }
            Self::ShellyGen1 { .. } => state("on", "off"),
            Self::ShellyGen2 { .. } => {
                let answer: Value = serde_json::from_str(text).ok()?;
                let result = answer.get("result")?;
                // The answer to Switch.Set tells only what was before (`was_on`).
                let on = result.get("output")?.as_bool()?;
                Some(Message::State { on, power: result.get("apower").and_then(watts) })
            }
        }
    }
}

/// A number, or the sum of several phases.
fn watts(value: &Value) -> Option<f64> {
    match value {
        Value::Array(phases) => phases.iter().map(Value::as_f64).sum(),
        value => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plugs_say_is_understood_and_nothing_else() {
        let tasmota = Dialect::from("tasmota", "plug", None).unwrap();
        let said = |payload: &str| tasmota.understand("stat/plug/POWER", payload.as_bytes());
        assert_eq!(said("ON"), Some(Message::State { on: true, power: None }));
        assert_eq!((said("on"), said(""), said("OFFICE")), (None, None, None));
        let status = r#"{"StatusSNS":{"ENERGY":{"Power":[3,4.5],"Voltage":231}}}"#;
        assert_eq!(tasmota.understand("stat/plug/STATUS8", status.as_bytes()), Some(Message::Power(7.5)));
        assert_eq!(tasmota.understand("stat/plug/STATUS8", br#"{"StatusSNS":{"ENERGY":{"Power":"lots"}}}"#), None);
        assert_eq!(tasmota.understand("stat/plug/STATUS8", b"\xff\xfe{"), None);

        let gen1 = Dialect::from("shelly-gen1", "shellyplug-1", None).unwrap();
        assert_eq!(gen1.understand("shellies/shellyplug-1/relay/0", b"off"), Some(Message::State { on: false, power: None }));
        assert_eq!(gen1.understand("shellies/shellyplug-1/relay/0/power", b"inf"), None);

        let gen2 = Dialect::from("shelly-gen2", "shellyplus-1", Some(1)).unwrap();
        assert_eq!(gen2.understand("x/rpc", br#"{"id":1,"result":{"was_on":false}}"#), None);
        let status = br#"{"id":1,"src":"shellyplus-1","result":{"id":1,"output":true,"apower":8.9}}"#;
        assert_eq!(gen2.understand("x/rpc", status), Some(Message::State { on: true, power: Some(8.9) }));
        assert!(gen2.switch(true)[0].1.contains(r#""method":"Switch.Set""#));
        assert_eq!(Dialect::from("zigbee", "x", None), None);
    }
}
