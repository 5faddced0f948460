//! A service of the bench, and clients for it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hilbench::{
    channel::{
        cloud::{Behaviour, CloudEvent, CloudLink, CloudLog, EventKind},
        link::{Driver, LinkError, Opened, Parameters, Proof},
    },
    driver::cloud::{CloudHttps, CloudMqtt, TlsInterposer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Cloud {
    pub(crate) link: Box<dyn CloudLink>,
    pub(crate) log: Arc<CloudLog>,
    /// Certificate of its authority, if it has one.
    pub(crate) ca: Option<String>,
}

pub(crate) fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    let mut values: std::collections::BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    values.entry("listen".to_owned()).or_insert_with(|| "127.0.0.1:0".to_owned());
    Parameters { values, base: std::path::PathBuf::new() }
}

pub(crate) async fn open(driver: &dyn Driver, pairs: &[(&str, &str)]) -> Result<Cloud, LinkError> {
    let parameters = parameters(pairs);
    driver.check(&parameters)?;
    let Opened::Cloud(mut link) = driver.open(&parameters).await? else { panic!("not a cloud") };
    let ca = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&ca);
    link.watch(Arc::new(move |notice| {
        if let Some(("pem", pem)) = notice.evidence {
            *seen.lock().unwrap() = Some(String::from_utf8(pem).unwrap());
        }
    }));
    let ca = ca.lock().unwrap().clone();
    Ok(Cloud { log: link.log(), link, ca })
}

pub(crate) async fn mqtt(pairs: &[(&str, &str)]) -> Cloud {
    open(&CloudMqtt, pairs).await.unwrap()
}

pub(crate) async fn https(pairs: &[(&str, &str)]) -> Cloud {
    open(&CloudHttps, pairs).await.unwrap()
}

pub(crate) async fn interposer(pairs: &[(&str, &str)]) -> Cloud {
    open(&TlsInterposer, pairs).await.unwrap()
}

impl Cloud {
    pub(crate) fn port(&self) -> u16 {
        self.link.address().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub(crate) async fn behave(&mut self, behaviour: Behaviour) -> String {
        match self.link.behave(behaviour).await.unwrap() {
            Proof::Seen(witness) => witness.what,
            Proof::None(missing) => panic!("{behaviour} is not proven: {missing}"),
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port())).await.unwrap()
    }

    /// The first event of a kind from a mark on.
    pub(crate) async fn event(&self, mark: u64, kind: EventKind) -> CloudEvent {
        let until = Instant::now() + SOON;
        loop {
            let since = self.log.since(mark);
            if let Some(event) = since.events.iter().find(|event| event.kind == kind) {
                return event.clone();
            }
            assert!(Instant::now() < until, "no {} among {:#?}", kind.word(), since.events);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn has(&self, mark: u64, kind: EventKind) -> bool {
        self.log.since(mark).events.iter().any(|event| event.kind == kind)
    }

    /// TLS as a device that trusts the bench's authority does it, or one that trusts nobody, or anybody.
    pub(crate) async fn tls(&self, trust: Trust, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let config = client(trust, self.ca.as_deref());
        let stream = self.connect().await;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        timeout(SOON, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    Bench,
    Nobody,
    Anybody,
}

pub(crate) fn client(trust: Trust, ca: Option<&str>) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let mut roots = RootCertStore::empty();
    if trust == Trust::Bench {
        use rustls::pki_types::pem::PemObject as _;
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(ca.unwrap().as_bytes()).unwrap()).unwrap();
    }
    match trust {
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Careless)).with_no_client_auth(),
        _ => builder.with_root_certificates(roots).with_no_client_auth(),
    }
}

/// A device that does not look at certificates at all, not even at who signed the handshake.
#[derive(Debug)]
struct Careless;

impl rustls::client::danger::ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
