//! Driver `mqtt-plug`: a smart plug that hears commands from an MQTT broker.
//!
//! The plug speaks MQTT 3.1.1 to its broker; this driver speaks MQTT 5 to the same broker, which has to know both (mosquitto does since 1.6).
//! What the plug says about itself after the command is the witness; where it measures power, a plug that still feeds its load is found out.

mod dialect;

use std::time::Duration;

use rumqttc::{AsyncClient, Broker, Event, Incoming, MqttOptions, PublishOptions, mqttbytes::QoS};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{read_back, word};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    },
    driver::parameters::{duration, parsed, required, value},
    event::Witness,
};
use dialect::{Dialect, Message};

const NAME: &str = "mqtt-plug";
/// Time for the broker.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for the plug to answer, if the rig does not say: it is a small device on a wireless network.
const ANSWER: Duration = Duration::from_secs(5);
/// Power in W above which a plug that is off feeds something. Their meters show a few tenths of a watt of nothing.
const LOAD: f64 = 1.0;
/// Time for the measured power to fall: plugs average over a second or more.
const FALL: Duration = Duration::from_secs(10);
/// Messages that wait to be looked at; a plug that says more loses the rest.
const WAITING: usize = 64;
/// Largest packet that is taken, in bytes.
const LARGEST: u32 = 64 * 1024;

/// Driver `mqtt-plug`.
#[derive(Debug, Clone, Copy, Default)]
pub struct MqttPlug;

struct Settings {
    host: String,
    port: u16,
    topic: String,
    dialect: Dialect,
    user: Option<String>,
    password: Option<std::path::PathBuf>,
    answer: Duration,
}

impl Settings {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let refused = |what: &str| LinkError::new(format!("open {NAME}"), what);
        let broker = required(parameters, "broker", NAME)?;
        let (host, port) = broker
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host.to_owned(), port.parse().ok().filter(|port| *port != 0)?)))
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| refused("`broker` is host and port, such as 192.0.2.1:1883"))?;
        let topic = required(parameters, "topic", NAME)?.to_owned();
        if topic.len() > 200 || topic.chars().any(|c| c.is_control() || matches!(c, '+' | '#')) || topic.starts_with('/') {
            return Err(refused("`topic` is the plug's own name, without wildcards"));
        }
        let relay = parsed::<u8>(parameters, "relay", "the number of a relay", NAME)?;
        let dialect = Dialect::from(required(parameters, "dialect", NAME)?, &topic, relay)
            .ok_or_else(|| refused("`dialect` is tasmota, shelly-gen1 or shelly-gen2"))?;
        let user = value(parameters, "user").map(str::to_owned);
        let password = value(parameters, "password-file").map(|file| parameters.base.join(file));
        if password.is_some() && user.is_none() {
            return Err(refused("`password-file` needs `user`"));
        }
        let answer = duration(parameters, "answer", Duration::from_mins(1), NAME)?.unwrap_or(ANSWER);
        Ok(Self { host, port, topic, dialect, user, password, answer })
    }

    fn identity(&self) -> String {
        format!("plug {} at MQTT broker {}:{}", self.topic, self.host, self.port)
    }
}

/// What the connection is at: `Ok` once subscribed.
type State = Result<(), String>;

struct Plug {
    client: AsyncClient,
    received: mpsc::Receiver<(String, Vec<u8>)>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
    dialect: Dialect,
    answer: Duration,
    identity: String,
}

impl Drop for Plug {
    fn drop(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "the task only waits and tells; nothing of it can be left half done")]
        self.task.abort();
    }
}

/// Keeps the connection, and hands on what is published.
async fn connection(
    mut events: rumqttc::EventLoop,
    client: AsyncClient,
    topics: Vec<String>,
    received: mpsc::Sender<(String, Vec<u8>)>,
    state: watch::Sender<State>,
) {
    let mut acknowledged = 0;
    loop {
        match events.poll().await {
            // A session does not outlive its connection, so each begins with the subscriptions.
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                acknowledged = 0;
                for topic in &topics {
                    if let Err(error) = client.try_subscribe(topic.as_str(), QoS::AtLeastOnce) {
                        let _ = state.send_replace(Err(error.to_string()));
                    }
                }
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => {
                acknowledged += 1;
                if acknowledged >= topics.len() {
                    let _ = state.send_replace(Ok(()));
                }
            }
            Ok(Event::Incoming(Incoming::Publish(message))) => {
                // What waits too long is lost, and says nothing wrong: a state is asked for again.
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                let _ = received.try_send((topic, message.payload.to_vec()));
            }
            Ok(_) => {}
            Err(error) => {
                let _ = state.send_replace(Err(error.to_string()));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

impl Plug {
    async fn open(settings: Settings) -> Result<Self, LinkError> {
        let identity = settings.identity();
        let failed = |what: String| LinkError::new(format!("open {identity}"), what);
        let id = format!("hilbench-{}-{}", std::process::id(), settings.topic.replace('/', "-"));
        let mut options = MqttOptions::new(id, Broker::tcp(settings.host.clone(), settings.port));
        options.set_keep_alive(5);
        options.set_max_packet_size(Some(LARGEST));
        if let Some(user) = &settings.user {
            let password = match &settings.password {
                None => String::new(),
                Some(file) => {
                    let text = tokio::fs::read_to_string(file).await;
                    text.map_err(|error| failed(format!("{}: {error}", file.display())))?.trim_end().to_owned()
                }
            };
            options.set_credentials(user.clone(), password);
        }
        let (client, events) = AsyncClient::builder(options).capacity(32).build();
        let (sender, received) = mpsc::channel(WAITING);
        let (tell, mut state) = watch::channel(Err("no connection yet".to_owned()));
        let task = tokio::spawn(connection(events, client.clone(), settings.dialect.topics(), sender, tell));
        let ready = timeout(CONNECT, state.wait_for(Result::is_ok)).await.is_ok_and(|state| state.is_ok());
        let plug = Self {
            client,
            received,
            state,
            task,
            dialect: settings.dialect,
            answer: settings.answer,
            identity: identity.clone(),
        };
        if ready {
            return Ok(plug);
        }
        let why = plug.state.borrow().clone().err().unwrap_or_default();
        Err(failed(format!(
            "{why}; is the broker there, does it speak MQTT 5 (mosquitto 1.6 or later), are user and password right?"
        )))
    }

    fn failed(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.identity), what)
    }

    async fn publish(&mut self, (topic, payload): (String, String)) -> Result<(), LinkError> {
        if let Err(why) = self.state.borrow().clone() {
            return Err(LinkError { lost: true, ..self.failed("reach", format!("no connection to its broker: {why}")) });
        }
        let sent = self.client.publish(topic, payload.into_bytes(), PublishOptions::new(QoS::AtLeastOnce));
        match timeout(self.answer, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(LinkError { lost: true, ..self.failed("reach", error.to_string()) }),
            Err(_) => Err(self.failed("reach", "the broker takes no messages")),
        }
    }

    /// The next message that tells something, until then.
    async fn next(&mut self, until: Instant) -> Option<Message> {
        while let Ok(Some((topic, payload))) = timeout_at(until, self.received.recv()).await {
            if let Some(message) = self.dialect.understand(&topic, &payload) {
                return Some(message);
            }
        }
        None
    }

    /// What was said before does not count.
    fn forget(&mut self) {
        while self.received.try_recv().is_ok() {}
    }

    /// Sends, and waits until the plug says that it is at `wanted` (or anything, without one). The last thing that it said.
    async fn state_after(&mut self, messages: Vec<(String, String)>, wanted: Option<bool>) -> Result<Option<bool>, LinkError> {
        self.forget();
        for message in messages {
            self.publish(message).await?;
        }
        let until = Instant::now() + self.answer;
        let mut said = None;
        while let Some(message) = self.next(until).await {
            if let Message::State { on, .. } = message {
                said = Some(on);
                if wanted.is_none_or(|wanted| wanted == on) {
                    break;
                }
            }
        }
        Ok(said)
    }

    /// The power that it measures, in W.
    async fn power(&mut self) -> Result<Option<f64>, LinkError> {
        let Some(question) = self.dialect.ask_power() else { return Ok(None) };
        self.forget();
        self.publish(question).await?;
        let until = Instant::now() + self.answer;
        while let Some(message) = self.next(until).await {
            if let Message::State { power: Some(power), .. } | Message::Power(power) = message {
                return Ok(Some(power));
            }
        }
        Ok(None)
    }

    async fn switch(&mut self, up: bool) -> Result<Proof, LinkError> {
        let command = self.dialect.switch(up);
        let Some(said) = self.state_after(command, Some(up)).await? else {
            let what = format!("it says nothing within {:?}; has it power, is it at this broker under this name?", self.answer);
            return Err(self.failed(&format!("switch {}", word(up)), what));
        };
        let proof = read_back(&self.identity, up, said)?;
        if up {
            // How much a device takes that has just got power, nobody knows.
            return Ok(proof);
        }
        let until = Instant::now() + FALL;
        let mut measured = self.power().await?;
        while let Some(power) = measured
            && power > LOAD
        {
            if Instant::now() >= until {
                let what = format!("it says that it is off, and measures {power} W; its relay may be welded");
                return Err(self.failed("switch down", what));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            measured = self.power().await?;
        }
        Ok(match measured {
            None => proof,
            Some(power) => {
                let what = format!("{} reads back down and measures {power} W", self.identity);
                Proof::Seen(Witness { what, evidence: None })
            }
        })
    }

    async fn at(&mut self) -> Result<Option<bool>, LinkError> {
        let question = vec![self.dialect.ask_state()];
        self.state_after(question, None).await
    }
}

impl SupplyLink for Plug {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.switch(up))
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(self.at())
    }
}

impl Driver for MqttPlug {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("broker", true, "host and port of the MQTT broker, such as 192.0.2.1:1883"),
            ("topic", true, "the plug's name at the broker: Tasmota's Topic, Shelly's device id or MQTT prefix"),
            ("dialect", true, "tasmota, shelly-gen1 or shelly-gen2 (also later generations)"),
            ("relay", false, "which of its relays: from 1 for tasmota, from 0 for shelly"),
            ("user", false, "user at the broker"),
            ("password-file", false, "file with the password"),
            ("answer", false, "time for the plug to answer; 5s if not given"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Settings::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(Settings::from(parameters)?.identity())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move { Ok(Opened::Supply(Box::new(Plug::open(Settings::from(parameters)?).await?))) })
    }
}

#[cfg(test)]
mod tests;
