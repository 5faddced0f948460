//! The client of a device's local API against servers on loopback: who they are, what they answer, and what they do not.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hilbench::{
    channel::{
        api::{ApiLink, Ask, Heard},
        link::{Driver as _, Opened, Parameters},
    },
    driver::api::{HttpsClient, fingerprint},
};
use rustls::{ServerConfig, crypto::ring};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A server that answers every request so; its address and the digest of its certificate.
async fn server(answer: &'static [u8]) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["device.local".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let pin = fingerprint(&certificate);
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (address, pin)
}

async fn client(address: SocketAddr, pin: &str) -> Box<dyn ApiLink> {
    let values = [("address", address.to_string()), ("pin", pin.to_owned())].map(|(name, value)| (name.to_owned(), value));
    let parameters = Parameters { values: values.into(), ..Parameters::default() };
    HttpsClient.check(&parameters).unwrap();
    let Opened::Api(link) = HttpsClient.open(&parameters).await.unwrap() else { panic!("not an API") };
    link
}

fn get() -> Ask {
    Ask { method: "GET".to_owned(), path: "/status".to_owned(), bearer: None, body: None }
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn only_the_certificate_that_the_rig_says_is_taken() {
    let (address, pin) = server(GOOD).await;
    let good = Heard::Answer { status: 200, body: b"{}".to_vec() };
    assert_eq!(client(address, &pin).await.request(&get()).await.unwrap(), good);
    assert_eq!(client(address, "any").await.request(&get()).await.unwrap(), good);
    let heard = client(address, &"0".repeat(64)).await.request(&get()).await.unwrap();
    assert_eq!(heard, Heard::Stranger(pin));
}

#[tokio::test]
async fn no_connection_no_tls_and_half_an_answer_are_no_answer() {
    let (address, pin) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}").await;
    let heard = client(address, &pin).await.request(&get()).await.unwrap();
    assert!(matches!(&heard, Heard::Nothing(why) if why.contains("before the end")), "{heard:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    let mut link = client(plain, "any").await;
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(GOOD).await.unwrap();
    };
    let ask = get();
    let (heard, ()) = tokio::join!(link.request(&ask), answer);
    let heard = heard.unwrap();
    assert!(matches!(&heard, Heard::Nothing(why) if why.contains("TLS")), "{heard:?}");
    drop(listener);
    let heard = link.request(&ask).await.unwrap();
    assert!(matches!(&heard, Heard::Nothing(why) if why.contains("connection")), "{heard:?}");
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    for (address, pin, mdns) in [("nowhere", "any", None), ("127.0.0.1:1", "12", None), ("127.0.0.1:1", "any", Some("x"))] {
        let mut parameters = Parameters::default();
        parameters.values.insert("address".to_owned(), address.to_owned());
        parameters.values.insert("pin".to_owned(), pin.to_owned());
        parameters.values.extend(mdns.map(|mdns| ("mdns".to_owned(), mdns.to_owned())));
        assert!(HttpsClient.check(&parameters).is_err(), "{address} {pin} {mdns:?}");
    }
    let (address, pin) = server(GOOD).await;
    let mut link = client(address, &pin).await;
    assert!(link.announced("_hub._tcp.local").await.is_err(), "without an address for mDNS the bench cannot ask");
    let port = address.port();
    let scanned = link.scan(&[port..=port], Duration::from_secs(5)).await.unwrap();
    assert_eq!(scanned.open, [port].into());
}
