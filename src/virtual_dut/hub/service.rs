//! The hub's connection to its service: one session after the other, with the delays of [`BackOff`] between them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, WriteHalf},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    Flaw, Hardware, SERVICE_NAME, SERVICE_PORT,
    firmware::Life,
    lock,
    mqtt::{self, Packet},
    reconnect::BackOff,
    trust,
};

/// What each step of making a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Keep-alive of the session, and how often it is asked whether the service is there.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const PING: Duration = Duration::from_secs(1);
/// Topic of events.
const TOPIC: &str = "hub/events";

/// Keeps the hub connected for as long as it runs.
pub(super) async fn keep(hardware: &Hardware, life: &Life) {
    let config = &hardware.config;
    let mut law = BackOff::new(config.seed, u64::from(life.start), config.flaw);
    loop {
        let mut accepted = None;
        // Why a session ended makes no difference to what comes next.
        let _ = session(hardware, life, &mut accepted).await;
        life.set_connected(false);
        match law.next(accepted.map(|since: Instant| since.elapsed())) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => std::future::pending().await,
        }
    }
}

/// One session; `accepted` tells since when, if the service took it.
async fn session(hardware: &Hardware, life: &Life, accepted: &mut Option<Instant>) -> Result<(), String> {
    let config = &hardware.config;
    let authority = std::fs::read(&config.authority).map_err(|error| error.to_string())?;
    let client = trust::client(&authority, &life.clock, config.flaw)?;
    let address = SocketAddr::new(config.address, SERVICE_PORT);
    let tcp = in_time(TcpStream::connect(address)).await?;
    // A device without power says no goodbye; on loopback a reset is the nearest to it.
    tcp.set_zero_linger().map_err(|error| error.to_string())?;
    let name = ServerName::try_from(SERVICE_NAME).map_err(|error| error.to_string())?;
    let tls = in_time(TlsConnector::from(client).connect(name, tcp)).await?;
    let (mut from, mut to) = tokio::io::split(tls);
    in_time(to.write_all(&mqtt::connect("hub", KEEP_ALIVE.as_secs() as u16))).await?;
    match in_time(mqtt::read(&mut from)).await? {
        Packet::Connack(0) => {}
        other => return Err(format!("refused: {other:?}")),
    }
    *accepted = Some(Instant::now());
    life.set_connected(true);
    // Reading must not be given up half way, so it has a task of its own here, which ends with the session.
    let heard = Arc::new(std::sync::Mutex::new(Heard { last: Instant::now(), acknowledged: 0 }));
    tokio::select! {
        ended = listen(&mut from, &heard, life) => ended,
        ended = talk(hardware, life, &mut to, &heard) => ended,
    }
}

/// What came from the service.
struct Heard {
    last: Instant,
    acknowledged: u16,
}

async fn listen(from: &mut (impl AsyncRead + Unpin), heard: &std::sync::Mutex<Heard>, life: &Life) -> Result<(), String> {
    loop {
        let packet = mqtt::read(from).await.map_err(|error| error.to_string())?;
        let mut heard = lock(heard);
        heard.last = Instant::now();
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
    let mut pinged = Instant::now();
    let mut under_way = None;
    loop {
        if under_way.is_some_and(|(id, number, _)| {
            let told = lock(heard).acknowledged == id;
            if told {
                lock(&hardware.store).told(number);
            }
            told
        }) {
            under_way = None;
        }
        let next = lock(&hardware.store).waiting.front().cloned();
        if under_way.is_none()
            && let Some(event) = next
        {
            // Identifiers are 1 to 65535 (section 2.3.1).
            let id = (event.number % 65535) as u16 + 1;
            let payload = format!("event {} lamp {}", event.number, if event.lamp { "on" } else { "off" });
            in_time(to.write_all(&mqtt::publish(TOPIC, id, &payload))).await?;
            under_way = Some((id, event.number, Instant::now()));
        }
        if pinged.elapsed() >= PING {
            in_time(to.write_all(&mqtt::PINGREQ)).await?;
            pinged = Instant::now();
        }
        let silent = lock(heard).last.elapsed() > PING + PATIENCE;
        let unanswered = under_way.is_some_and(|(_, _, since)| since.elapsed() > PATIENCE);
        if (silent || unanswered) && hardware.config.flaw != Some(Flaw::HalfOpen) {
            return Err("the service has fallen silent".to_owned());
        }
        tokio::select! {
            () = life.changed.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}

async fn in_time<T>(act: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    timeout(PATIENCE, act).await.map_err(|_| "too slow".to_owned())?.map_err(|error| error.to_string())
}
