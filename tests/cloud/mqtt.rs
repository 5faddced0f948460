//! MQTT: sessions, refusals, silence, and the broker behind the front.

use std::{sync::Arc, time::Duration};

use hilbench::channel::{
    cloud::{Behaviour, EventKind, Refusal},
    link::Proof,
};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, PublishOptions, TlsConfiguration, Transport,
    mqttbytes::{QoS, v5::Packet},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::bench::{Cloud, SOON, Trust, client, mqtt};

/// A device with MQTT 5.
fn device(cloud: &Cloud, tls: bool) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("lock-1", ("localhost", cloud.port()));
    options.set_keep_alive(5).set_credentials("lock", "hunter2");
    if tls {
        let config = client(Trust::Bench, cloud.ca.as_deref());
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))));
    }
    AsyncClient::builder(options).capacity(10).build()
}

async fn until(events: &mut EventLoop, wanted: impl Fn(&Event) -> bool) -> Event {
    let act = async {
        loop {
            let event = events.poll().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    timeout(SOON, act).await.unwrap()
}

fn connected(event: &Event) -> bool {
    matches!(event, Event::Incoming(Packet::ConnAck(_)))
}

/// CONNECT of MQTT 3.1.1.
const CONNECT_3: &[u8] = &[0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 2, b'l', b'3'];

async fn connect_3(cloud: &Cloud) -> (TcpStream, [u8; 4]) {
    let mut tcp = cloud.connect().await;
    tcp.write_all(CONNECT_3).await.unwrap();
    let mut connack = [0; 4];
    timeout(SOON, tcp.read_exact(&mut connack)).await.unwrap().unwrap();
    (tcp, connack)
}

#[tokio::test]
async fn a_device_publishes_and_is_published_to_over_tls() {
    let mut cloud = mqtt(&[("user", "lock"), ("password", "hunter2")]).await;
    let (client, mut events) = device(&cloud, true);
    client.subscribe("lock/set", QoS::AtLeastOnce).await.unwrap();
    client.publish("lock/state", "open", PublishOptions::at_least_once()).await.unwrap();
    until(&mut events, |event| matches!(event, Event::Incoming(Packet::PubAck(_)))).await;
    let connect = cloud.event(0, EventKind::MqttConnect).await;
    assert!(connect.text.starts_with("client lock-1 version 5 session clean keep-alive 5 s user lock password digest "));
    assert!(!connect.text.contains("hunter2"), "passwords are not recorded");
    assert_eq!(cloud.event(0, EventKind::Publish).await.text, "lock/state qos 1 4 bytes: open");
    assert_eq!(cloud.event(0, EventKind::Subscribe).await.text, "lock/set qos 1");

    let polling = tokio::spawn(async move {
        until(&mut events, |event| matches!(event, Event::Incoming(Packet::Publish(publish)) if publish.payload == "unlock"))
            .await
    });
    let proof = cloud.link.publish("lock/set".to_owned(), b"unlock".to_vec()).await.unwrap();
    assert!(matches!(&proof, Proof::Seen(witness) if witness.what.contains("lock/set qos 1 6 bytes: unlock")), "{proof:?}");
    polling.await.unwrap();
    // Nobody listens to this one.
    assert!(matches!(cloud.link.publish("lock/other".to_owned(), Vec::new()).await.unwrap(), Proof::None(_)));
    assert!(cloud.link.publish("lock/#".to_owned(), Vec::new()).await.is_err());
}

#[tokio::test]
async fn both_versions_of_the_protocol_are_refused_with_their_own_codes() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    for (refusal, five, three) in [
        (Refusal::ServerUnavailable, "ServerUnavailable", 3),
        (Refusal::NotAuthorized, "NotAuthorized", 5),
        (Refusal::BadCredentials, "BadUserNamePassword", 4),
        (Refusal::ServerBusy, "ServerBusy", 3),
    ] {
        cloud.behave(Behaviour::Connack(refusal)).await;
        let (_, mut events) = device(&cloud, false);
        match timeout(SOON, events.poll()).await.unwrap() {
            Err(ConnectionError::ConnectionRefused(code)) => assert_eq!(format!("{code:?}"), five),
            other => panic!("{other:?}"),
        }
        let (mut tcp, connack) = connect_3(&cloud).await;
        assert_eq!(connack, [0x20, 2, 0, three]);
        assert_eq!(timeout(SOON, tcp.read(&mut [0])).await.unwrap().unwrap_or(0), 0, "and closed");
    }
    cloud.behave(Behaviour::Accept).await;
    assert_eq!(connect_3(&cloud).await.1, [0x20, 2, 0, 0]);
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let cloud = mqtt(&[("tls", "false"), ("user", "lock"), ("password", "other")]).await;
    let (_, mut events) = device(&cloud, false);
    assert!(matches!(timeout(SOON, events.poll()).await.unwrap(), Err(ConnectionError::ConnectionRefused(_))));
    assert_eq!(connect_3(&cloud).await.1[3], 4);
}

#[tokio::test]
async fn a_kick_comes_after_connack_and_hits_who_is_there() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    let (_, mut events) = device(&cloud, false);
    until(&mut events, connected).await;
    let witness = cloud.behave(Behaviour::Kick).await;
    assert!(witness.contains("1 connections were there and were reset"), "{witness}");
    assert!(timeout(SOON, events.poll()).await.unwrap().is_err(), "reset");
    let mark = cloud.log.mark();
    until(&mut events, connected).await;
    assert!(timeout(SOON, events.poll()).await.unwrap().is_err(), "kicked");
    assert_eq!(cloud.event(mark, EventKind::Connack).await.text, "code 0x00");
    assert_eq!(cloud.event(mark, EventKind::Disconnect).await.text, "closed by the bench after CONNACK");
}

#[tokio::test]
async fn a_closed_port_refuses_unseen_and_opens_again_where_it_was() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    let port = cloud.port();
    let begun = cloud.log.now();
    let (mut there, _) = connect_3(&cloud).await;
    let witness = cloud.behave(Behaviour::Refuse).await;
    assert!(witness.contains("does not listen"), "{witness}");
    assert!(timeout(SOON, there.read(&mut [0])).await.unwrap().is_err(), "what was there is reset");
    let refused = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(cloud.log.was_blind_since(begun), "the log knows that it could not see this");
    cloud.behave(Behaviour::Accept).await;
    assert_eq!(cloud.port(), port);
    let opened = cloud.log.now();
    assert_eq!(connect_3(&cloud).await.1[3], 0);
    assert!(!cloud.log.was_blind_since(opened));
}

#[tokio::test]
async fn a_reset_is_seen_and_recorded_each_time() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    cloud.behave(Behaviour::Reset).await;
    let mark = cloud.log.mark();
    for _ in 0..5 {
        let mut tcp = cloud.connect().await;
        let error = timeout(SOON, tcp.read(&mut [0])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let events = cloud.log.since(mark).events;
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::Connect).count(), 5);
    assert!(events.iter().all(|event| event.kind == EventKind::Connect || event.by_bench), "{events:#?}");
}

#[tokio::test]
async fn silence_holds_what_is_there_and_what_comes_until_it_ends() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    let (mut there, _) = connect_3(&cloud).await;
    cloud.behave(Behaviour::Silent).await;
    there.write_all(&[0xC0, 0]).await.unwrap();
    let mut new = cloud.connect().await;
    new.write_all(CONNECT_3).await.unwrap();
    let mut byte = [0];
    for stream in [&mut there, &mut new] {
        assert!(timeout(Duration::from_millis(500), stream.read(&mut byte)).await.is_err(), "not a byte, not an end");
    }
    assert!(cloud.log.since(0).events.iter().filter(|event| event.kind == EventKind::MqttConnect).count() == 1);
    cloud.behave(Behaviour::Accept).await;
    for (stream, first) in [(&mut there, 0xD0), (&mut new, 0x20)] {
        timeout(SOON, stream.read_exact(&mut byte)).await.unwrap().unwrap();
        assert_eq!(byte[0], first, "what was held is answered");
    }
}

#[tokio::test]
async fn silence_outlasts_the_brokers_patience() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    let mut tcp = cloud.connect().await;
    let mut connect = CONNECT_3.to_vec();
    connect[11] = 1; // keep-alive 1 s: the broker gives up after 1.5 s
    tcp.write_all(&connect).await.unwrap();
    timeout(SOON, tcp.read_exact(&mut [0; 4])).await.unwrap().unwrap();
    cloud.behave(Behaviour::Silent).await;
    assert!(timeout(Duration::from_secs(4), tcp.read(&mut [0])).await.is_err(), "a frozen service does not close");
}

#[tokio::test]
async fn silence_after_tls_lets_the_handshake_pass() {
    let mut cloud = mqtt(&[]).await;
    cloud.behave(Behaviour::SilentAfterTls).await;
    let mut stream = cloud.tls(Trust::Bench, "localhost").await.unwrap();
    stream.write_all(CONNECT_3).await.unwrap();
    assert!(timeout(Duration::from_millis(500), stream.read(&mut [0])).await.is_err());
    assert!(cloud.has(0, EventKind::TlsEstablished) && !cloud.has(0, EventKind::MqttConnect));
    cloud.behave(Behaviour::Accept).await;
    timeout(SOON, stream.read_exact(&mut [0; 4])).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drop_resets_and_lets_come_again() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    let (mut there, _) = connect_3(&cloud).await;
    cloud.behave(Behaviour::Drop).await;
    assert!(timeout(SOON, there.read(&mut [0])).await.unwrap().is_err());
    assert_eq!(connect_3(&cloud).await.1[3], 0);
}

#[tokio::test]
async fn slow_answers_come_late() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    cloud.behave(Behaviour::Slow(Duration::from_millis(400))).await;
    let begun = std::time::Instant::now();
    assert_eq!(connect_3(&cloud).await.1[3], 0);
    assert!(begun.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn rubbish_instead_of_connack() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    cloud.behave(Behaviour::Rubbish).await;
    let (_, mut events) = device(&cloud, false);
    assert!(timeout(SOON, events.poll()).await.unwrap().is_err());
    assert!(cloud.link.behave(Behaviour::SlowBody).await.is_err(), "MQTT has no bodies");
    assert!(cloud.link.behave(Behaviour::Plaintext).await.is_err(), "there is no TLS here");
}

#[tokio::test]
async fn a_broker_of_ones_own_stands_behind_the_same_front() {
    let broker = mqtt(&[("tls", "false")]).await;
    let mut cloud = mqtt(&[("upstream", &broker.link.address())]).await;
    let (client, mut events) = device(&cloud, true);
    client.subscribe("lock/set", QoS::AtLeastOnce).await.unwrap();
    until(&mut events, |event| matches!(event, Event::Incoming(Packet::SubAck(_)))).await;
    assert!(broker.has(0, EventKind::Subscribe));
    let polling = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    assert!(matches!(cloud.link.publish("lock/set".to_owned(), b"x".to_vec()).await.unwrap(), Proof::Seen(_)));
    drop(polling);
}

#[tokio::test]
async fn a_broker_that_is_gone_is_a_fault_of_the_bench() {
    let mut cloud = mqtt(&[("tls", "false"), ("upstream", "127.0.0.1:1")]).await;
    let mut tcp = cloud.connect().await;
    tcp.write_all(CONNECT_3).await.unwrap();
    assert_eq!(timeout(SOON, tcp.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    assert!(cloud.log.since(0).lost.unwrap().contains("cannot be reached"));
    assert!(cloud.link.publish("t".to_owned(), Vec::new()).await.is_err());
}

#[tokio::test]
async fn everything_ends_with_the_link() {
    let cloud = mqtt(&[("tls", "false")]).await;
    let (mut there, _) = connect_3(&cloud).await;
    let (port, log) = (cloud.port(), Arc::clone(&cloud.log));
    drop(cloud);
    assert_eq!(timeout(SOON, there.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert!(log.since(0).lost.is_some());
}
