//! The front of every service: accepts, records, misbehaves; what speaks the protocol stands behind it.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    authority::Authority,
    gate::{Gate, Socket, Watched, frozen, mute, released},
    tls,
};
use crate::{
    channel::{
        clock::BoxFuture,
        cloud::{Behaviour, CloudLog, EventKind},
        link::{LinkError, Proof},
    },
    event::Witness,
};

/// Connections at a time; more are reset and recorded.
const CONNECTIONS: usize = 256;
/// Time for a device to begin: the TLS handshake, an MQTT CONNECT, the head of an HTTP request.
pub(super) const BEGIN: Duration = Duration::from_secs(30);
/// Time for connections to be gone after they were cut.
const CUT: Duration = Duration::from_secs(2);

/// One connection, as a service sees it.
#[derive(Clone)]
pub(super) struct Connection {
    /// Number from 1.
    pub(super) number: u64,
    /// Server name of TLS.
    pub(super) name: Option<String>,
    /// What is recorded.
    pub(super) log: Arc<CloudLog>,
    /// How the service is to behave.
    pub(super) behaviour: watch::Receiver<Behaviour>,
}

impl Connection {
    /// The behaviour now.
    pub(super) fn now(&self) -> Behaviour {
        *self.behaviour.borrow()
    }

    /// Writes what the device did.
    pub(super) fn record(&self, kind: EventKind, text: &str) {
        self.log.record(self.number, kind, text);
    }

    /// Waits for the device to begin, but not against time in which the bench held it.
    pub(super) async fn begin<T>(&self, act: impl Future<Output = T>) -> Option<T> {
        begin(&self.behaviour, act).await
    }
}

async fn begin<T>(behaviour: &watch::Receiver<Behaviour>, act: impl Future<Output = T>) -> Option<T> {
    let mut act = std::pin::pin!(act);
    loop {
        if let Ok(done) = timeout(BEGIN, &mut act).await {
            return Some(done);
        }
        if !mute(&behaviour.borrow()) && !matches!(*behaviour.borrow(), Behaviour::Slow(_)) {
            return None;
        }
    }
}

/// A connection, whatever lies between: TCP, TLS, a gate.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// What speaks the protocol.
pub(super) trait Service: Send + Sync {
    /// Serves one connection; the text is how it ended.
    fn serve(&self, stream: Box<dyn Wire>, connection: Connection) -> BoxFuture<'static, String>;
    /// Whether it can behave like this, beyond what the front does.
    fn can(&self, behaviour: Behaviour) -> bool;
}

struct Shared {
    log: Arc<CloudLog>,
    behaviour: watch::Sender<Behaviour>,
    cut: watch::Sender<u64>,
    authority: Option<Arc<Authority>>,
    service: Arc<dyn Service>,
}

/// A running front. Everything ends when it is dropped.
pub(super) struct Front {
    name: String,
    address: SocketAddr,
    log: Arc<CloudLog>,
    tls: bool,
    service: Arc<dyn Service>,
    commands: mpsc::Sender<(Behaviour, oneshot::Sender<Result<String, String>>)>,
}

impl Front {
    /// Listens at `listen` and serves.
    ///
    /// # Errors
    /// The address is not free, or not of this machine.
    pub(super) async fn start(
        name: &str,
        listen: SocketAddr,
        authority: Option<Arc<Authority>>,
        service: Arc<dyn Service>,
    ) -> Result<Self, LinkError> {
        let failed = |error: std::io::Error| LinkError::new(format!("listen at {listen} for {name}"), error.to_string());
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let log = Arc::new(CloudLog::new());
        let tls = authority.is_some();
        let (commands, queue) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            log: Arc::clone(&log),
            behaviour: watch::Sender::new(Behaviour::Accept),
            cut: watch::Sender::new(0),
            authority,
            service: Arc::clone(&service),
        });
        tokio::spawn(run(shared, listener, address, queue));
        Ok(Self { name: format!("{name} at {address}"), address, log, tls, service, commands })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn log(&self) -> Arc<CloudLog> {
        Arc::clone(&self.log)
    }

    /// Changes the behaviour; the proof is the listener's state in the kernel's table.
    pub(super) async fn behave(&self, behaviour: Behaviour) -> Result<Proof, LinkError> {
        let failed = |what: String| LinkError::new(format!("let {} behave: it {behaviour}", self.name), what);
        let about_tls = matches!(
            behaviour,
            Behaviour::Certificate(_) | Behaviour::Plaintext | Behaviour::OldTls(_) | Behaviour::SilentAfterTls
        );
        if about_tls && !self.tls {
            return Err(failed("this channel has no TLS; set `tls: true` in the rig".to_owned()));
        }
        let by_front = about_tls
            || matches!(
                behaviour,
                Behaviour::Accept
                    | Behaviour::Refuse
                    | Behaviour::Reset
                    | Behaviour::Silent
                    | Behaviour::Drop
                    | Behaviour::Slow(_)
            );
        if !by_front && !self.service.can(behaviour) {
            return Err(failed("this kind of service cannot; see its section in docs/instruments.md".to_owned()));
        }
        let gone = || LinkError { lost: true, ..failed("the service has ended".to_owned()) };
        let (reply, answer) = oneshot::channel();
        self.commands.send((behaviour, reply)).await.map_err(|_| gone())?;
        let what = answer.await.map_err(|_| gone())?.map_err(failed)?;
        match listening(self.address) {
            Some(found) if found == (behaviour != Behaviour::Refuse) => {
                let state = if found { "listens" } else { "does not listen" };
                let what = format!("{} {behaviour}; the kernel's table says that it {state}; {what}", self.name);
                Ok(Proof::Seen(Witness { what, evidence: None }))
            }
            Some(_) => Err(failed("the kernel's table of sockets says otherwise".to_owned())),
            None => Ok(Proof::None(format!("the state of {} in the kernel's table of sockets", self.name))),
        }
    }
}

/// Says so if the front ends by itself: a recorder that is gone must not look like a silent device.
struct Lifeline(Arc<CloudLog>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.lose("the service has ended");
    }
}

async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    mut commands: mpsc::Receiver<(Behaviour, oneshot::Sender<Result<String, String>>)>,
) {
    let _lifeline = Lifeline(Arc::clone(&shared.log));
    let mut listener = Some(listener);
    let mut tasks = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => {
                let Some((behaviour, reply)) = command else { return };
                let done = change(&shared, &mut listener, address, &mut tasks, behaviour).await;
                let _ = reply.send(done);
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = next(listener.as_ref()) => match accepted {
                Ok((stream, peer)) => {
                    number += 1;
                    let behaviour = *shared.behaviour.borrow();
                    shared.log.record(number, EventKind::Connect, &format!("from {peer} while the service {behaviour}"));
                    let reset = Arc::new(AtomicBool::new(false));
                    let _ = stream.set_nodelay(true);
                    let socket = Socket { stream, reset: Arc::clone(&reset) };
                    if behaviour == Behaviour::Reset || tasks.len() >= CONNECTIONS {
                        reset.store(true, Ordering::Relaxed);
                        let why = if behaviour == Behaviour::Reset { "reset by the bench" } else { "reset: too many connections" };
                        shared.log.record_own(number, EventKind::Disconnect, why);
                    } else {
                        tasks.spawn(connection(Arc::clone(&shared), socket, reset, number, shared.cut.subscribe()));
                    }
                }
                // The connection was gone before it was accepted.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    shared.log.lose(&format!("connections can no longer be accepted: {error}"));
                    listener = None;
                }
            },
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn change(
    shared: &Shared,
    listener: &mut Option<TcpListener>,
    address: SocketAddr,
    tasks: &mut JoinSet<()>,
    behaviour: Behaviour,
) -> Result<String, String> {
    let before = *shared.behaviour.borrow();
    if behaviour == Behaviour::Refuse {
        *listener = None;
        shared.log.blind(true);
    }
    shared.behaviour.send_replace(behaviour);
    let there = tasks.len();
    let mut what = format!("{there} connections were there");
    if shows_only_at_the_start(behaviour) || shows_only_at_the_start(before) && before != behaviour {
        shared.cut.send_modify(|count| *count += 1);
        let gone = async { while tasks.join_next().await.is_some() {} };
        if timeout(CUT, gone).await.is_err() {
            return Err(format!("{} connections are still there", tasks.len()));
        }
        let _ = write!(what, " and were reset");
    }
    if behaviour != Behaviour::Refuse && listener.is_none() {
        *listener = Some(TcpListener::bind(address).await.map_err(|error| format!("listen again: {error}"))?);
        shared.log.blind(false);
    }
    Ok(what)
}

/// Whether only new connections can show the behaviour, so that those that are there have to go.
fn shows_only_at_the_start(behaviour: Behaviour) -> bool {
    matches!(
        behaviour,
        Behaviour::Refuse
            | Behaviour::Reset
            | Behaviour::Drop
            | Behaviour::Certificate(_)
            | Behaviour::Plaintext
            | Behaviour::OldTls(_)
            | Behaviour::Connack(_)
            | Behaviour::Kick
    )
}

async fn connection(shared: Arc<Shared>, socket: Socket, reset: Arc<AtomicBool>, number: u64, mut cut: watch::Receiver<u64>) {
    let behaviour = shared.behaviour.subscribe();
    let cut = async {
        // Set before the stream is dropped, which is what sends the RST.
        let _ = cut.changed().await;
        reset.store(true, Ordering::Relaxed);
    };
    let stream = Gate::new(socket, behaviour.clone(), frozen);
    tokio::select! {
        biased;
        () = cut => shared.log.record_own(number, EventKind::Disconnect, "reset by the bench"),
        end = serve(&shared, Box::new(stream), number, behaviour) => shared.log.record(number, EventKind::Disconnect, &end),
    }
}

async fn serve(shared: &Shared, stream: Box<dyn Wire>, number: u64, behaviour: watch::Receiver<Behaviour>) -> String {
    let mut connection = Connection { number, name: None, log: Arc::clone(&shared.log), behaviour: behaviour.clone() };
    let (stream, first) = match &shared.authority {
        None => (stream, "in plain text".to_owned()),
        Some(authority) => {
            // The certificate is that of the behaviour when the hello comes, which may be later than the connection.
            released(behaviour.clone(), frozen).await;
            let now = connection.now();
            match begin(&behaviour, tls::accept(stream, authority, now, &shared.log, number)).await {
                None => return "the device did not finish the TLS handshake in time".to_owned(),
                Some(Err(end)) => {
                    released(behaviour, frozen).await;
                    return end;
                }
                Some(Ok((stream, hello))) => {
                    connection.name = hello.name;
                    let bad = match now {
                        Behaviour::Certificate(bad) => format!(" although the certificate is {bad}"),
                        _ => String::new(),
                    };
                    (stream, format!("of application data{bad}"))
                }
            }
        }
    };
    let watched = Watched::new(stream, Arc::clone(&shared.log), number, first);
    let stream = Box::new(Gate::new(watched, behaviour.clone(), mute));
    let end = shared.service.serve(stream, connection).await;
    // A frozen service does not close either.
    released(behaviour, mute).await;
    end
}

/// Whether the kernel has a listening socket at this address: `/proc/net/tcp`, state 0A. `None` where there is no such table.
fn listening(address: SocketAddr) -> Option<bool> {
    let file = if address.is_ipv4() { "/proc/thread-self/net/tcp" } else { "/proc/thread-self/net/tcp6" };
    let table = std::fs::read_to_string(file).ok()?;
    Some(in_table(&table, address))
}

fn in_table(table: &str, address: SocketAddr) -> bool {
    // Addresses are printed as native 32-bit words.
    let words = |bytes: &[u8]| {
        bytes.chunks(4).fold(String::new(), |mut text, word| {
            let _ = write!(text, "{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
            text
        })
    };
    let ip = match address {
        SocketAddr::V4(v4) => words(&v4.ip().octets()),
        SocketAddr::V6(v6) => words(&v6.ip().octets()),
    };
    let wanted = format!("{ip}:{:04X}", address.port());
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&wanted) && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:22B3 00000000:0000 0A 00000000\n   1: 0100007F:0050 0100007F:1234 01 0\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        if cfg!(target_endian = "little") {
            assert!(in_table(table, at("127.0.0.1:8883")));
            assert!(!in_table(table, at("127.0.0.1:80")), "established is not listening");
            assert!(!in_table(table, at("127.0.0.2:8883")));
        }
    }
}
