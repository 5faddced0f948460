//! Driver `tls-interposer`: a man in the middle with a certificate that nobody should trust.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, copy_bidirectional},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    front::{Connection, Service, Wire},
    gate::{mute, released},
    tls::AnyServer,
};
use crate::channel::{clock::BoxFuture, cloud::Behaviour, link::LinkError};

/// Time for the real service to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What stands behind the interposer.
pub(super) struct Interposer {
    /// The real service; without it, what the device says is only counted.
    upstream: Option<(String, Option<TlsConnector>)>,
}

impl Interposer {
    pub(super) fn new(upstream: Option<String>, tls: bool) -> Result<Self, LinkError> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| LinkError::new("prepare TLS to the real service", error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { upstream: upstream.map(|upstream| (upstream, tls.then_some(connector))) })
    }
}

impl Service for Interposer {
    fn serve(&self, mut stream: Box<dyn Wire>, connection: Connection) -> BoxFuture<'static, String> {
        let upstream = self.upstream.clone();
        Box::pin(async move {
            let end = match upstream {
                None => swallow(&mut stream).await,
                Some((address, connector)) => pass(&mut stream, &connection, &address, connector).await,
            };
            released(connection.behaviour.clone(), mute).await;
            end
        })
    }

    fn can(&self, _: Behaviour) -> bool {
        false
    }
}

async fn swallow(stream: &mut Box<dyn Wire>) -> String {
    let (mut piece, mut count) = ([0; 4096], 0_u64);
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return format!("closed by the device after {count} bytes of application data"),
            Ok(more) => count += more as u64,
            Err(error) => return format!("broken off by the device after {count} bytes of application data: {error}"),
        }
    }
}

async fn pass(stream: &mut Box<dyn Wire>, connection: &Connection, address: &str, connector: Option<TlsConnector>) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = connection.name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
    let reach = async {
        let upstream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let upstream: Box<dyn Wire> = match connector {
            None => Box::new(upstream),
            Some(connector) => {
                let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
                Box::new(connector.connect(name, upstream).await.map_err(|error| error.to_string())?)
            }
        };
        Ok::<_, String>(upstream)
    };
    let mut upstream = match timeout(ANSWER, reach).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(why)) => return lose(connection, address, &why),
        Err(_) => return lose(connection, address, "no answer"),
    };
    match copy_bidirectional(stream, &mut upstream).await {
        Ok((up, down)) => {
            format!("closed after {up} bytes of the device and {down} of the real service passed through the bench")
        }
        Err(error) => format!("broken off: {error}"),
    }
}

fn lose(connection: &Connection, address: &str, why: &str) -> String {
    let what = format!("the real service at {address} cannot be reached: {why}");
    connection.log.lose(&what);
    what
}
