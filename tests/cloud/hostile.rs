//! Clients that mean harm: bounded memory, bounded connections, nothing breaks.

use std::time::Duration;

use hilbench::channel::cloud::{Behaviour, EventKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::bench::{SOON, Trust, https, mqtt};

#[tokio::test]
async fn garbage_instead_of_tls_is_recorded_and_harmless() {
    let cloud = mqtt(&[]).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 3000], &[22, 3, 1, 0xFF, 0xFF, 1, 0xFF], &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[22]]
    {
        let mark = cloud.log.mark();
        let mut tcp = cloud.connect().await;
        let _ = tcp.write_all(garbage).await;
        let _ = tcp.shutdown().await;
        let _ = timeout(SOON, tcp.read(&mut [0; 64])).await.unwrap();
        cloud.event(mark, EventKind::Disconnect).await;
        assert!(!cloud.has(mark, EventKind::Data));
    }
    cloud.tls(Trust::Bench, "localhost").await.unwrap();
}

#[tokio::test]
async fn giant_and_malformed_packets_end_their_connection_only() {
    let cloud = mqtt(&[("tls", "false")]).await;
    let mut good = cloud.connect().await;
    good.write_all(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'g']).await.unwrap();
    good.read_exact(&mut [0; 4]).await.unwrap();
    let connect: &[u8] = &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'x'];
    for (before, bad) in [
        (&[][..], &[0x10, 0xFF, 0xFF, 0xFF, 0x7F][..]),
        (&[], &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        (&[], &[0x30, 2, 0, 0]),
        (&[], &[0x10, 4, 0, 4, b'M', b'Q']),
        (&[], &[0x10, 6, 0, 9, b'M', b'Q', b'T', b'T']),
        (connect, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        (connect, &[0x30, 2, 0xFF, 0xFF]),
    ] {
        let mark = cloud.log.mark();
        let mut tcp = cloud.connect().await;
        let _ = tcp.write_all(before).await;
        let _ = tcp.write_all(bad).await;
        let _ = tcp.shutdown().await;
        cloud.event(mark, EventKind::Disconnect).await;
    }
    assert!(cloud.has(0, EventKind::Violation));
    good.write_all(&[0xC0, 0]).await.unwrap();
    let mut pong = [0; 2];
    timeout(SOON, good.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(pong, [0xD0, 0]);
    assert_eq!(cloud.log.since(0).lost, None);
}

#[tokio::test]
async fn topics_with_escapes_cannot_forge_a_log() {
    let cloud = mqtt(&[("tls", "false")]).await;
    let mut tcp = cloud.connect().await;
    let topic = b"a\n{\"event\":\"publish\"}\x1b[2J";
    let mut bytes =
        vec![0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'x', 0x30, topic.len() as u8 + 2, 0, topic.len() as u8];
    bytes.extend_from_slice(topic);
    tcp.write_all(&bytes).await.unwrap();
    let event = cloud.event(0, EventKind::Publish).await;
    assert!(event.text.starts_with("a\\n{") && !event.text.contains('\x1b'), "{}", event.text);
    assert_eq!(event.json().lines().count(), 1);
}

#[tokio::test]
async fn connections_are_bounded_and_the_service_recovers() {
    let mut cloud = mqtt(&[("tls", "false")]).await;
    let mut held = Vec::new();
    for _ in 0..300 {
        // What is reset at once may be so before the connection is reported.
        held.extend(tokio::net::TcpStream::connect(("127.0.0.1", cloud.port())).await.ok());
    }
    let mark = 0;
    let reset = async {
        while cloud.log.since(mark).events.iter().filter(|event| event.text.contains("too many")).count() < 44 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, reset).await.unwrap();
    assert_eq!(
        cloud.log.since(mark).events.iter().filter(|event| event.kind == EventKind::Connect).count(),
        300,
        "each attempt counts"
    );
    cloud.behave(Behaviour::Drop).await;
    drop(held);
    let mut tcp = cloud.connect().await;
    tcp.write_all(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'x']).await.unwrap();
    timeout(SOON, tcp.read_exact(&mut [0; 4])).await.unwrap().unwrap();
}

#[tokio::test]
async fn endless_heads_and_bodies_are_cut_short() {
    let cloud = https(&[("tls", "false")]).await;
    let mut tcp = cloud.connect().await;
    let flood = async {
        let _ = tcp.write_all(b"GET / HTTP/1.1\r\n").await;
        for i in 0..100_000 {
            if tcp.write_all(format!("X-{i}: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").as_bytes()).await.is_err() {
                return;
            }
        }
    };
    timeout(SOON, flood).await.unwrap();
    cloud.event(0, EventKind::Disconnect).await;
    let mark = cloud.log.mark();
    let mut tcp = cloud.connect().await;
    let body = vec![b'a'; 64 * 1024];
    let flood = async {
        let _ = tcp.write_all(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n").await;
        for _ in 0..64 {
            if tcp.write_all(&body).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(SOON, flood).await;
    let violation = cloud.event(mark, EventKind::Violation).await;
    assert!(violation.text.contains("more than 1048576 bytes"), "{}", violation.text);
}
