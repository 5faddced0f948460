//! What the hub offers on its own network: HTTPS with a certificate of its own, whose answers are JSON. Without a network key it is in set-up mode,
//! and takes one from whoever has the PIN of its label.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::ring};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Flaw, Hardware,
    firmware::Life,
    lock,
    session::{self, Gatekeeper, Login},
};
use crate::channel::clock::Clock as _;

/// Longest body of a request.
const BODY: usize = 1024;
/// Connections at a time; more are closed.
const CONNECTIONS: usize = 16;
/// Longest connection.
const LONGEST: Duration = Duration::from_secs(10);
/// When a port that is taken is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The certificate that a hub is delivered with, and its key.
pub(super) struct Identity {
    tls: Arc<ServerConfig>,
    /// The certificate (DER).
    pub(super) certificate: Vec<u8>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// None can be made in this build.
    pub(super) fn made() -> Result<Self, String> {
        let made = rcgen::generate_simple_self_signed([super::API_NAME.to_owned()]).map_err(|error| error.to_string())?;
        let certificate = made.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key.into()))
            .map_err(|error| error.to_string())?;
        Ok(Self { tls: Arc::new(tls), certificate: certificate.to_vec() })
    }
}

/// Serves until the power goes or a start ends.
pub(super) async fn serve(hardware: &Hardware, life: &Life) {
    tokio::join!(listen(hardware, super::API_PORT, |stream| serve_one(stream, hardware, life)), async {
        if hardware.config.flaw == Some(Flaw::DebugPort) {
            listen(hardware, super::DEBUG_PORT, |mut stream| async move { stream.write_all(b"hub debug\r\n# ").await }).await;
        }
    });
}

/// Takes connections and gives each its time.
async fn listen<F: Future<Output = io::Result<()>>>(hardware: &Hardware, port: u16, serve: impl Fn(TcpStream) -> F) {
    let address = SocketAddr::from((hardware.config.attachment.listens(), port));
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => hardware.pace.sleep(AGAIN).await,
        }
    };
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS => connections.push(hardware.pace.within(LONGEST, serve(stream))),
                Ok(_) => {}
                // Out of sockets: those that are there end soon.
                Err(_) => hardware.pace.sleep(AGAIN).await,
            },
            Some(_) = connections.next() => {}
        }
    }
}

async fn serve_one(stream: TcpStream, hardware: &Hardware, life: &Life) -> io::Result<()> {
    let stream = TlsAcceptor::from(Arc::clone(&hardware.identity.tls)).accept(stream).await?;
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(request, hardware, life).await) });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    connection.await.map_err(io::Error::other)
}

async fn respond(request: Request<Incoming>, hardware: &Hardware, life: &Life) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let bearer = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let (status, value) = match Limited::new(body, BODY).collect().await {
        Ok(body) => answer(head.method.as_str(), head.uri.path(), bearer, &body.to_bytes(), hardware, life),
        Err(_) => (413, json!({ "error": "too long" })),
    };
    // What is answered outlives a power cut.
    hardware.settled().await;
    let mut response = Response::new(Full::from(value.to_string()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Does what a request says: status and body of the answer.
fn answer(method: &str, path: &str, bearer: Option<&str>, body: &[u8], hardware: &Hardware, life: &Life) -> (u16, Value) {
    let now = hardware.pace.now();
    let flaw = hardware.config.flaw;
    let error = |status: u16, why: &str| (status, json!({ "error": why }));
    // What is no JSON object has no fields.
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| body.get(name).and_then(Value::as_str);
    // The console takes the gate before the store. The firmware is one task, so the two never wait for each other.
    let mut store = lock(&hardware.store);
    let pin = |store: &super::store::Store| {
        let (pin, settings) = (field("pin").unwrap_or_default(), &store.state().settings);
        let login = if flaw == Some(Flaw::LoginUnlimited) {
            Gatekeeper::default().pin(pin, settings, now)
        } else {
            lock(&life.gate).pin(pin, settings, now)
        };
        match login {
            Login::Welcome => None,
            Login::Denied => Some(error(401, "denied")),
            Login::Wait => Some(error(429, "wait")),
        }
    };
    match (method, path) {
        ("GET", "/status") => {
            let version = lock(&hardware.slots).version().to_owned();
            let settings = &store.state().settings;
            let mut status = json!({ "name": settings.name(), "version": version, "set-up": settings.network.is_some() });
            if flaw == Some(Flaw::StatusSecret) {
                status["network"] = json!(settings.network);
            }
            (200, status)
        }
        ("POST", "/login") => pin(&store).unwrap_or_else(|| {
            let token = life.token(hardware.config.seed, now);
            store.add_token(&token, now);
            (200, json!({ "token": token }))
        }),
        ("POST", "/setup") if store.state().settings.network.is_some() && flaw != Some(Flaw::SetupOpen) => {
            error(409, "is set up")
        }
        ("POST", "/setup") => pin(&store).unwrap_or_else(|| match field("network") {
            Some(network) if session::good_network(network) => {
                store.set_network(network, now);
                (200, json!({}))
            }
            _ => error(400, "wrong value"),
        }),
        (_, "/settings" | "/logout") => {
            let welcome = bearer.is_some_and(|token| session::token(token, &store.state().settings) == Login::Welcome);
            let open = flaw == Some(Flaw::ApiOpen) && (method, path) == ("GET", "/settings");
            if !welcome && !open {
                return error(401, "login required");
            }
            match (method, path) {
                ("GET", "/settings") => {
                    let settings = &store.state().settings;
                    let (pin, network) = (settings.pin.is_some(), settings.network.is_some());
                    let pin = if pin { "own" } else { "label" };
                    let network = if network { "set" } else { "unset" };
                    (200, json!({ "name": settings.name(), "pin": pin, "sessions": settings.tokens.len(), "network": network }))
                }
                ("POST", "/settings") => {
                    let (name, pin) = (field("name"), field("pin"));
                    if (name.is_none() && pin.is_none())
                        || !name.is_none_or(session::good_name)
                        || !pin.is_none_or(session::good_pin)
                    {
                        return error(400, "wrong value");
                    }
                    if let Some(name) = name {
                        store.set_name(name, now);
                    }
                    if let Some(pin) = pin {
                        store.set_pin(pin, now);
                    }
                    (200, json!({}))
                }
                ("POST", "/logout") => {
                    if let Some(token) = bearer.filter(|_| flaw != Some(Flaw::LogoutKeepsToken)) {
                        store.end_token(token, now);
                    }
                    (200, json!({}))
                }
                _ => error(405, "wrong method"),
            }
        }
        _ => error(404, "nothing is there"),
    }
}

#[cfg(test)]
mod tests;
