//! Certificates and offers that a device must refuse: a careful client does, a careless one is found out.

use std::time::Duration;

use hilbench::channel::cloud::{BadCertificate, Behaviour, EventKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::bench::{SOON, Trust, https, interposer, mqtt, open, parameters};

const BAD: [BadCertificate; 8] = [
    BadCertificate::Expired,
    BadCertificate::NotYetValid,
    BadCertificate::WrongName,
    BadCertificate::SelfSigned,
    BadCertificate::UnknownCa,
    BadCertificate::OtherKey,
    BadCertificate::LeafAsCa,
    BadCertificate::ClientOnly,
];

#[tokio::test]
async fn a_good_certificate_is_accepted_by_who_knows_the_authority_and_by_nobody_else() {
    let cloud = mqtt(&[]).await;
    for name in ["localhost", "127.0.0.1"] {
        cloud.tls(Trust::Bench, name).await.unwrap();
    }
    let established = cloud.event(0, EventKind::TlsEstablished).await;
    assert!(established.text.contains("TLS 1.3") && established.text.contains("as the service's"), "{}", established.text);
    let mark = cloud.log.mark();
    cloud.tls(Trust::Nobody, "localhost").await.unwrap_err();
    let alert = cloud.event(mark, EventKind::TlsAlert).await;
    assert_eq!(alert.text, "unknown_ca (48)");
    let events = cloud.log.since(mark).events;
    let hello = events.iter().find(|event| event.kind == EventKind::ClientHello).unwrap();
    assert!(hello.text.starts_with("name localhost versions TLS 1.3,TLS 1.2 ciphers "), "{}", hello.text);
    let refused: Vec<_> = events.iter().filter(|event| event.connection == alert.connection).collect();
    assert!(!refused.iter().any(|event| event.kind == EventKind::TlsEstablished), "{refused:?}");
    assert!(!cloud.has(0, EventKind::Data));
}

#[tokio::test]
async fn every_bad_certificate_is_refused_by_a_careful_client_and_shows_up_a_careless_one() {
    let mut cloud = mqtt(&[]).await;
    for bad in BAD {
        let witness = cloud.behave(Behaviour::Certificate(bad)).await;
        assert!(witness.contains(&bad.to_string()) && witness.contains("it listens"), "{witness}");
        let mark = cloud.log.mark();
        cloud.tls(Trust::Bench, "localhost").await.expect_err(&format!("{bad} was accepted"));
        let alert = cloud.event(mark, EventKind::TlsAlert).await;
        let reason = match bad {
            BadCertificate::Expired | BadCertificate::NotYetValid => "certificate_expired (45)",
            // The signatures are wrong: of the handshake, or of the certificate.
            BadCertificate::OtherKey | BadCertificate::UnknownCa => "decrypt_error (51)",
            _ => "(4",
        };
        assert!(alert.text.contains(reason), "{bad}: {}", alert.text);
        assert!(!cloud.has(mark, EventKind::TlsEstablished) && !cloud.has(mark, EventKind::Data));

        let mark = cloud.log.mark();
        let mut careless = cloud.tls(Trust::Anybody, "localhost").await.unwrap();
        careless.write_all(b"secret").await.unwrap();
        let data = cloud.event(mark, EventKind::Data).await;
        assert!(data.text.contains(&format!("application data although the certificate is {bad}")), "{}", data.text);
        assert!(!data.text.contains("secret"));
    }
    cloud.behave(Behaviour::Accept).await;
    cloud.tls(Trust::Bench, "localhost").await.unwrap();
}

#[tokio::test]
async fn a_careless_connection_does_not_outlive_its_bad_certificate() {
    let mut cloud = mqtt(&[]).await;
    cloud.behave(Behaviour::Certificate(BadCertificate::Expired)).await;
    let mut careless = cloud.tls(Trust::Anybody, "localhost").await.unwrap();
    let witness = cloud.behave(Behaviour::Accept).await;
    assert!(witness.contains("1 connections were there and were reset"), "{witness}");
    assert!(careless.read(&mut [0]).await.is_err());
}

#[tokio::test]
async fn an_old_version_is_refused_with_an_alert_and_its_acceptance_is_seen() {
    for minor in [1, 2] {
        let mut cloud = https(&[]).await;
        cloud.behave(Behaviour::OldTls(minor)).await;
        cloud.tls(Trust::Bench, "localhost").await.unwrap_err();
        assert_eq!(cloud.event(0, EventKind::TlsAlert).await.text, "protocol_version (70)");
        assert!(!cloud.has(0, EventKind::TlsDowngraded));
        // A client that takes it waits for the server's certificate.
        let mark = cloud.log.mark();
        let mut tcp = cloud.connect().await;
        tcp.write_all(&hello()).await.unwrap();
        let mut record = [0; 11];
        timeout(SOON, tcp.read_exact(&mut record)).await.unwrap().unwrap();
        assert_eq!((record[0], record[5], [record[9], record[10]]), (22, 2, [3, minor]));
        let seen = cloud.event(mark, EventKind::TlsDowngraded).await;
        assert!(seen.text.contains(&format!("TLS 1.{}", minor - 1)), "{}", seen.text);
    }
}

/// A minimal TLS 1.0 hello.
fn hello() -> Vec<u8> {
    let mut body = vec![3, 1];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0, 0x2F, 1, 0]);
    let mut record = vec![22, 3, 1, 0, u8::try_from(body.len() + 4).unwrap(), 1, 0, 0, u8::try_from(body.len()).unwrap()];
    record.extend_from_slice(&body);
    record
}

#[tokio::test]
async fn plain_text_instead_of_tls_is_refused_by_a_careful_client() {
    let mut cloud = https(&[]).await;
    cloud.behave(Behaviour::Plaintext).await;
    cloud.tls(Trust::Bench, "localhost").await.unwrap_err();
    cloud.event(0, EventKind::Disconnect).await;
    assert!(!cloud.has(0, EventKind::TlsDowngraded) && !cloud.has(0, EventKind::Data));
}

#[tokio::test]
async fn the_authority_of_a_file_stays_and_half_of_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    let text = file.to_str().unwrap();
    let first = mqtt(&[("ca-file", text)]).await;
    let second = https(&[("ca-file", text), ("names", "mqtt.vendor.example, other.example")]).await;
    assert!(first.ca.is_some() && first.ca == second.ca && second.ca == Some(std::fs::read_to_string(&file).unwrap()));
    second.tls(Trust::Bench, "other.example").await.unwrap();
    second.tls(Trust::Bench, "localhost").await.unwrap_err();
    let key = directory.path().join("ca.pem.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "the key is for its owner");
    // A key of somebody else.
    let other = directory.path().join("other.pem");
    let _third = mqtt(&[("ca-file", other.to_str().unwrap())]).await;
    std::fs::copy(directory.path().join("other.pem.key"), &key).unwrap();
    let refused = open(&hilbench::driver::cloud::CloudMqtt, &[("ca-file", text)]).await.err().unwrap();
    assert!(refused.what.contains("do not belong together"), "{refused}");
    std::fs::remove_file(&key).unwrap();
    let refused = open(&hilbench::driver::cloud::CloudMqtt, &[("ca-file", text)]).await.err().unwrap();
    assert!(refused.what.contains("no key"), "{refused}");
}

#[tokio::test]
async fn an_interposer_is_refused_by_a_careful_client_and_reads_what_a_careless_one_says() {
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("fw.bin"), "firmware").unwrap();
    let real = https(&[("root", secret.path().to_str().unwrap())]).await;
    let cloud = interposer(&[("upstream", &real.link.address())]).await;
    assert_eq!(cloud.ca, None, "nobody can be told to trust it");
    let mut careful =
        crate::bench::Cloud { link: interposer(&[]).await.link, log: std::sync::Arc::clone(&cloud.log), ca: real.ca.clone() };
    careful.log = careful.link.log();
    careful.tls(Trust::Bench, "mqtt.vendor.example").await.unwrap_err();
    assert!(careful.event(0, EventKind::TlsAlert).await.text.contains("unknown_ca"));
    assert!(!careful.has(0, EventKind::Data));

    let mut careless = cloud.tls(Trust::Anybody, "mqtt.vendor.example").await.unwrap();
    careless.write_all(b"GET /fw.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(SOON, careless.read_to_end(&mut answer)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).ends_with("firmware"));
    cloud.event(0, EventKind::Data).await;
    real.event(0, EventKind::Request).await;
}

#[tokio::test]
async fn an_interposer_whose_real_service_is_gone_is_a_fault_of_the_bench() {
    let cloud = interposer(&[("upstream", "127.0.0.1:1")]).await;
    let _careless = cloud.tls(Trust::Anybody, "localhost").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(cloud.log.since(0).lost.unwrap().contains("cannot be reached"));
}

#[test]
fn bad_parameters_are_refused_before_anything_is_touched() {
    use hilbench::{channel::link::Driver as _, driver::cloud::CloudMqtt};
    for (pairs, problem) in [
        (&[("listen", "localhost")][..], "`listen`"),
        (&[("tls", "yes")], "neither true nor false"),
        (&[("upstream", "broker")], "a host and a port"),
        (&[("user", "lock")], "belong together"),
        (&[("tls", "false"), ("ca-file", "x")], "means nothing"),
        (&[("names", "no name")], "certificate"),
    ] {
        let refused = CloudMqtt.check(&parameters(pairs));
        // Names with blanks are no host names, whatever the library that makes certificates says of them.
        assert!(refused.as_ref().is_err_and(|error| error.to_string().contains(problem)), "{pairs:?}: {refused:?}");
    }
}
