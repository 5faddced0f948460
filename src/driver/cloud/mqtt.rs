//! Driver `cloud-mqtt`: a broker, embedded or somebody else's, behind the front.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    net::TcpStream,
    time::timeout,
};

use super::{
    front::{Connection, Service, Wire},
    gate::{mute, released},
    packet::{self, Aliases, Connect, End, Packet},
};
use crate::channel::{
    clock::BoxFuture,
    cloud::{Behaviour, CloudLog, EventKind, Refusal},
    link::{LinkError, Proof},
};

/// Time for the broker to answer the bench.
const ANSWER: Duration = Duration::from_secs(5);
/// Time for a publication to reach the device.
const DELIVERY: Duration = Duration::from_secs(2);

/// The MQTT side of a service.
pub(super) struct Mqtt {
    /// Where the broker is.
    pub(super) broker: String,
    /// Who may connect; everybody if `None`.
    pub(super) credentials: Option<(String, String)>,
}

/// A broker in this process, for this process: on a loopback port of the system's choice, everything in memory.
pub(super) struct Embedded {
    pub(super) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Embedded {
    pub(super) async fn start() -> Result<Self, LinkError> {
        use mqtt5::broker::config::{BrokerConfig, StorageBackend, StorageConfig};
        let failed = |what: String| LinkError::new("start the embedded MQTT broker", what);
        // The defaults would listen on every address and write into the working directory.
        let storage = StorageConfig { backend: StorageBackend::Memory, ..StorageConfig::default() };
        let config = BrokerConfig {
            bind_addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            max_clients: 512,
            max_packet_size: packet::LONGEST,
            topic_alias_maximum: 64,
            max_retained_messages: 1024,
            max_retained_message_size: 64 * 1024,
            client_channel_capacity: 256,
            storage_config: StorageConfig {
                max_queued_messages_per_client: 1024,
                max_queued_bytes_per_client: 4 << 20,
                ..storage
            },
            sys_topics_enabled: false,
            ..BrokerConfig::default()
        };
        let mut broker = mqtt5::broker::MqttBroker::with_config(config).await.map_err(|error| failed(error.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| failed("it has no address".to_owned()))?;
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the embedded broker has ended");
            }
        });
        Ok(Self { address, task })
    }
}

impl Service for Mqtt {
    fn serve(&self, mut stream: Box<dyn Wire>, connection: Connection) -> BoxFuture<'static, String> {
        let (broker, credentials) = (self.broker.clone(), self.credentials.clone());
        Box::pin(async move {
            let end = serve(&mut stream, &connection, &broker, credentials.as_ref()).await;
            // A frozen service does not close what its broker has given up.
            released(connection.behaviour.clone(), mute).await;
            let _ = timeout(ANSWER, stream.shutdown()).await;
            end
        })
    }

    fn can(&self, behaviour: Behaviour) -> bool {
        matches!(behaviour, Behaviour::Connack(_) | Behaviour::Kick | Behaviour::Rubbish)
    }
}

async fn serve(
    stream: &mut Box<dyn Wire>,
    connection: &Connection,
    broker: &str,
    credentials: Option<&(String, String)>,
) -> String {
    let first = match connection.begin(Packet::read(stream)).await {
        None => return "the device did not send CONNECT in time".to_owned(),
        Some(Ok(packet)) => packet,
        Some(Err(end)) => return told(connection, end),
    };
    let connect = match Connect::parse(&first) {
        Ok(connect) => connect,
        Err(why) => {
            connection.record(EventKind::Violation, &why);
            return why;
        }
    };
    connection.record(EventKind::MqttConnect, &connect.to_string());
    let wrong = credentials.is_some_and(|(user, password)| {
        connect.user.as_deref() != Some(user) || connect.password.as_deref() != Some(&packet::digest(password.as_bytes()))
    });
    let refusal = match connection.now() {
        Behaviour::Connack(refusal) => Some(refusal),
        _ if wrong => Some(Refusal::BadCredentials),
        _ => None,
    };
    if let Some(refusal) = refusal {
        let _ = stream.write_all(&packet::connack(refusal, connect.protocol)).await;
        let _ = stream.flush().await;
        let text = format!("code {:#04x} {refusal}", refusal.code(connect.protocol));
        connection.log.record_own(connection.number, EventKind::Connack, &text);
        return format!("refused by the bench: {refusal}");
    }
    if connection.now() == Behaviour::Rubbish {
        let _ = stream.write_all(&super::rubbish(connection.number, 64)).await;
        return "rubbish from the bench".to_owned();
    }
    let upstream = match timeout(ANSWER, TcpStream::connect(broker)).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(error)) => return lose(connection, broker, &error.to_string()),
        Err(_) => return lose(connection, broker, "no answer"),
    };
    let _ = upstream.set_nodelay(true);
    relay(stream, upstream, connection, &first, connect.protocol).await
}

/// A broker that is not there is the bench's fault, and must not look like a device that says nothing.
fn lose(connection: &Connection, broker: &str, why: &str) -> String {
    let what = format!("the broker at {broker} cannot be reached: {why}");
    connection.log.lose(&what);
    what
}

fn told(connection: &Connection, end: End) -> String {
    match end {
        End::Closed => "closed by the device".to_owned(),
        End::Broken(why) => format!("broken off by the device: {why}"),
        End::Violation(why) => {
            connection.record(EventKind::Violation, &why);
            why
        }
    }
}

async fn relay(stream: &mut Box<dyn Wire>, upstream: TcpStream, connection: &Connection, first: &Packet, protocol: u8) -> String {
    let (mut from_device, mut to_device) = split(stream);
    let (mut from_broker, mut to_broker) = upstream.into_split();
    let up = async {
        if let Err(error) = to_broker.write_all(&first.bytes).await {
            return format!("the broker: {error}");
        }
        let (mut aliases, mut said_goodbye) = (Aliases::new(), false);
        loop {
            let packet = match Packet::read(&mut from_device).await {
                Ok(packet) => packet,
                Err(End::Closed) if said_goodbye => return "closed by the device with DISCONNECT".to_owned(),
                Err(end) => return told(connection, end),
            };
            let seen = match packet.kind() {
                packet::PUBLISH => Some((EventKind::Publish, packet::publish(&packet, protocol, &mut aliases))),
                packet::SUBSCRIBE => Some((EventKind::Subscribe, packet::subscribe(&packet, protocol))),
                packet::DISCONNECT => {
                    said_goodbye = true;
                    None
                }
                _ => None,
            };
            match seen {
                Some((kind, Some(text))) => connection.record(kind, &text),
                Some((kind, None)) => connection.record(EventKind::Violation, &format!("a malformed {}", kind.word())),
                None => {}
            }
            if let Err(error) = to_broker.write_all(&packet.bytes).await {
                return format!("the broker: {error}");
            }
        }
    };
    let down = async {
        let mut aliases = Aliases::new();
        loop {
            let packet = match Packet::read(&mut from_broker).await {
                Ok(packet) => packet,
                Err(End::Closed) => return "closed by the broker".to_owned(),
                Err(End::Broken(why) | End::Violation(why)) => return format!("the broker: {why}"),
            };
            let sent = async {
                to_device.write_all(&packet.bytes).await?;
                to_device.flush().await
            };
            if let Err(error) = sent.await {
                return format!("broken off by the device: {error}");
            }
            match packet.kind() {
                packet::PUBLISH => {
                    let text = packet::publish(&packet, protocol, &mut aliases).unwrap_or_default();
                    connection.log.record_own(connection.number, EventKind::Delivered, &text);
                }
                packet::CONNACK => {
                    let code = packet.bytes.get(packet.body + 1).copied().unwrap_or_default();
                    connection.log.record_own(connection.number, EventKind::Connack, &format!("code {code:#04x}"));
                    if connection.now() == Behaviour::Kick {
                        return "closed by the bench after CONNACK".to_owned();
                    }
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        end = up => end,
        end = down => {
            // The broker closes when the device said goodbye; which of both is seen first is chance.
            end
        }
    }
}

/// Publishes through the broker. The witness is the publication on its way to the device.
pub(super) async fn publish(
    broker: &str,
    credentials: Option<&(String, String)>,
    log: &Arc<CloudLog>,
    topic: &str,
    payload: &[u8],
) -> Result<Proof, LinkError> {
    let failed = |what: String| LinkError::new(format!("publish to {topic} at the broker {broker}"), what);
    if topic.is_empty() || topic.contains(['#', '+', '\0']) || topic.len() + payload.len() > packet::LONGEST / 2 {
        return Err(failed("a topic has no wildcards; topic and payload together are at most 128 KiB".to_owned()));
    }
    let (mark, mut changes) = (log.mark(), log.changes());
    let exchange = async {
        let mut stream = TcpStream::connect(broker).await.map_err(|error| error.to_string())?;
        let write = |error: std::io::Error| error.to_string();
        stream.write_all(&packet::own_connect("hilbench", credentials)).await.map_err(write)?;
        expect(&mut stream, packet::CONNACK).await?;
        stream.write_all(&packet::own_publish(topic, payload)).await.map_err(write)?;
        expect(&mut stream, packet::PUBACK).await?;
        stream.write_all(&[packet::DISCONNECT << 4, 0]).await.map_err(write)?;
        let _ = stream.read(&mut [0]).await;
        Ok::<_, String>(())
    };
    timeout(ANSWER, exchange).await.map_err(|_| failed("no answer".to_owned()))?.map_err(failed)?;
    let wanted = format!("{} qos ", crate::channel::cloud::log::plain(topic));
    let delivered = async {
        loop {
            let seen = log.since(mark);
            if let Some(event) =
                seen.events.into_iter().find(|event| event.kind == EventKind::Delivered && event.text.starts_with(&wanted))
            {
                return event;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    match timeout(DELIVERY, delivered).await {
        Ok(event) => {
            let what = format!("the broker acknowledged; written to connection {}: {}", event.connection, event.text);
            Ok(Proof::Seen(crate::event::Witness { what, evidence: None }))
        }
        Err(_) => Ok(Proof::None(format!("a connection of the device that subscribes to {topic}"))),
    }
}

async fn expect(stream: &mut TcpStream, kind: u8) -> Result<(), String> {
    match Packet::read(stream).await {
        // The second byte of a 3.1.1 CONNACK is its code.
        Ok(packet) if packet.kind() == kind && (kind != packet::CONNACK || packet.bytes.get(packet.body + 1) == Some(&0)) => {
            Ok(())
        }
        Ok(packet) => Err(format!("the broker answered {:02x?}", &packet.bytes[..packet.bytes.len().min(8)])),
        Err(End::Closed) => Err("the broker closed".to_owned()),
        Err(End::Broken(why) | End::Violation(why)) => Err(why),
    }
}
