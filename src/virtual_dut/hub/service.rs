//! The hub's connection to its service: one session after the other, with the delays of [`BackOff`] between them.

use std::{sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    Flaw, Hardware, SERVICE_NAME,
    attach::Servers,
    firmware::Life,
    lock,
    mqtt::{self, Packet},
    pace::Pace,
    reconnect::BackOff,
    trust,
};
use crate::{channel::clock::Clock as _, event::Nanos};

/// What each step of making a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Keep-alive of the session, and how often it is asked whether the service is there.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const PING: Duration = Duration::from_secs(1);
/// Topic of events.
const TOPIC: &str = "hub/events";

/// Keeps the hub connected for as long as it runs.
pub(super) async fn keep(hardware: &Hardware, life: &Life, servers: &Servers) {
    let config = &hardware.config;
    let mut law = BackOff::new(config.seed, u64::from(life.start), config.flaw);
    loop {
        let mut accepted = None;
        // Why a session ended makes no difference to what comes next.
        let _ = session(hardware, life, servers, &mut accepted).await;
        life.set_connected(false, hardware.pace.now());
        match law.next(accepted.map(|since| hardware.pace.since(since))) {
            Some(delay) => hardware.pace.sleep(delay).await,
            None => std::future::pending().await,
        }
    }
}

/// One session; `accepted` tells since when, if the service took it.
async fn session(hardware: &Hardware, life: &Life, servers: &Servers, accepted: &mut Option<Nanos>) -> Result<(), String> {
    let (config, pace) = (&hardware.config, &hardware.pace);
    let authority = std::fs::read(&config.authority).map_err(|error| error.to_string())?;
    let client = trust::client(&authority, &life.clock, config.flaw)?;
    let address = servers.service(pace).await.ok_or("its name is unknown")?;
    let tcp = in_time(pace, TcpStream::connect(address)).await?;
    // A device without power says no goodbye; on loopback a reset is the nearest to it.
    tcp.set_zero_linger().map_err(|error| error.to_string())?;
    let name = ServerName::try_from(SERVICE_NAME).map_err(|error| error.to_string())?;
    let tls = in_time(pace, TlsConnector::from(client).connect(name, tcp)).await?;
    let (mut from, mut to) = tokio::io::split(tls);
    in_time(pace, to.write_all(&mqtt::connect("hub", KEEP_ALIVE.as_secs() as u16))).await?;
    match in_time(pace, mqtt::read(&mut from)).await? {
        Packet::Connack(0) => {}
        other => return Err(format!("refused: {other:?}")),
    }
    *accepted = Some(pace.now());
    life.set_connected(true, pace.now());
    // Reading must not be given up half way, so it has a task of its own here, which ends with the session.
    let heard = Arc::new(std::sync::Mutex::new(Heard { last: pace.now(), acknowledged: 0 }));
    tokio::select! {
        ended = listen(&mut from, &heard, life, pace) => ended,
        ended = talk(hardware, life, &mut to, &heard) => ended,
    }
}

/// What came from the service.
struct Heard {
    last: Nanos,
    acknowledged: u16,
}

async fn listen(
    from: &mut (impl AsyncRead + Unpin),
    heard: &std::sync::Mutex<Heard>,
    life: &Life,
    pace: &Pace,
) -> Result<(), String> {
    loop {
        let packet = mqtt::read(from).await.map_err(|error| error.to_string())?;
        let mut heard = lock(heard);
        heard.last = pace.now();
        if let Packet::Puback(id) = packet {
            heard.acknowledged = id;
            life.changed.notify_one();
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Send>(
    hardware: &Hardware,
    life: &Life,
    to: &mut WriteHalf<S>,
    heard: &std::sync::Mutex<Heard>,
) -> Result<(), String> {
    let pace = &hardware.pace;
    let mut pinged = pace.now();
    let mut under_way = None;
    loop {
        if under_way.is_some_and(|(id, number, _)| {
            let told = lock(heard).acknowledged == id;
            if told {
                lock(&hardware.store).told(number, pace.now());
            }
            told
        }) {
            under_way = None;
        }
        let next = lock(&hardware.store).state().waiting.front().cloned();
        if under_way.is_none()
            && let Some(event) = next
        {
            // Identifiers are 1 to 65535 (section 2.3.1).
            let id = (event.number % 65535) as u16 + 1;
            let payload = format!("event {} lamp {}", event.number, if event.lamp { "on" } else { "off" });
            in_time(pace, to.write_all(&mqtt::publish(TOPIC, id, &payload))).await?;
            under_way = Some((id, event.number, pace.now()));
        }
        if pace.since(pinged) >= PING {
            in_time(pace, to.write_all(&mqtt::PINGREQ)).await?;
            pinged = pace.now();
        }
        let silent = pace.since(lock(heard).last) > PING + PATIENCE;
        let unanswered = under_way.is_some_and(|(_, _, since)| pace.since(since) > PATIENCE);
        if (silent || unanswered) && hardware.config.flaw != Some(Flaw::HalfOpen) {
            return Err("the service has fallen silent".to_owned());
        }
        tokio::select! {
            () = life.changed.notified() => {}
            () = pace.sleep(Duration::from_millis(100)) => {}
        }
    }
}

async fn in_time<T>(pace: &Pace, act: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    pace.within(PATIENCE, act).await.ok_or_else(|| "too slow".to_owned())?.map_err(|error| error.to_string())
}
