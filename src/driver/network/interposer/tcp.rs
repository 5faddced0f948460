//! Connections through the proxy.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    chance,
    flows::Number,
    route::{Orders, Route},
};

/// Connections that wait to be taken, as long as the route is open.
const BACKLOG: i32 = 128;
/// Connections at a time.
const MOST: usize = 512;
/// Bytes at a time.
const CHUNK: usize = 16 << 10;
/// Chunks on the way: what a slow link holds.
const ON_THE_WAY: usize = 64;
/// Time for a connection to the target.
const CONNECT: Duration = Duration::from_secs(10);
/// After this without an answer to a connection of our own there will be none.
const NO_ANSWER: Duration = Duration::from_millis(300);
/// Connections of our own that fill a queue.
const PLUGS: usize = 8;

/// Listens at an address.
pub(super) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Where the route's own listener is reached from this machine.
fn reach(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    }
}

/// The door of a route.
struct Door {
    listener: Option<TcpListener>,
    /// Our own connections in its queue. While it is full the kernel drops what begins a connection, as a dead network does.
    plugs: Vec<TcpStream>,
    listen: SocketAddr,
}

impl Door {
    /// Does what is ordered, and looks whether it is so.
    async fn follow(&mut self, orders: &Orders) -> Result<(), String> {
        if orders.treatment.hole {
            return self.plug().await;
        }
        if orders.treatment.closed {
            self.plugs.clear();
            self.listener = None;
            return match timeout(NO_ANSWER, TcpStream::connect(reach(self.listen))).await {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                other => Err(format!("a connection should have been refused, but: {other:?}")),
            };
        }
        match &self.listener {
            None => self.listener = Some(listener(self.listen).map_err(|error| format!("cannot listen again: {error}"))?),
            Some(listener) => SockRef::from(listener).listen(BACKLOG).map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    async fn plug(&mut self) -> Result<(), String> {
        if self.listener.is_none() {
            self.listener = Some(listener(self.listen).map_err(|error| format!("cannot listen again: {error}"))?);
        }
        if let Some(listener) = &self.listener {
            SockRef::from(listener).listen(0).map_err(|error| error.to_string())?;
        }
        while self.plugs.len() < PLUGS {
            match timeout(NO_ANSWER, TcpStream::connect(reach(self.listen))).await {
                Err(_) => return Ok(()),
                Ok(Ok(plug)) => self.plugs.push(plug),
                Ok(Err(error)) => return Err(format!("a connection should have got no answer, but: {error}")),
            }
        }
        Err("connections are still answered; does this kernel keep to the length of a queue?".to_owned())
    }

    /// The next connection of somebody else.
    async fn next(&mut self) -> TcpStream {
        loop {
            let Some(listener) = &self.listener else { return std::future::pending().await };
            match listener.accept().await {
                Ok((_, from)) if self.plugs.iter().any(|plug| plug.local_addr().is_ok_and(|own| own == from)) => {
                    self.plugs.retain(|plug| plug.local_addr().is_ok_and(|own| own != from));
                }
                Ok((stream, _)) => return stream,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Serves a route until it is dropped.
pub(super) async fn serve(route: Arc<Route>, listener: TcpListener) {
    let mut orders = route.orders();
    let mut door = Door { listener: Some(listener), plugs: Vec::new(), listen: route.target().listen };
    let (mut connections, room) = (JoinSet::new(), Arc::new(Semaphore::new(MOST)));
    loop {
        let now = *orders.borrow_and_update();
        let how = door.follow(&now).await;
        route.done(now.serial, how);
        loop {
            tokio::select! {
                biased;
                changed = orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                Some(_) = connections.join_next() => {}
                stream = door.next(), if !now.treatment.hole => {
                    let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                        abort(&stream);
                        continue;
                    };
                    let number = route.born.get();
                    route.born.add();
                    route.seen.add();
                    let route = Arc::clone(&route);
                    connections.spawn(async move {
                        connection(&route, stream, number).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// The connection ends with a reset.
fn abort(stream: &TcpStream) {
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

async fn connection(route: &Route, mut device: TcpStream, number: u64) {
    let from = device.peer_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
    let (name, to) = (&route.target().name, route.target().to);
    let flow = route.flows.open(name, &from);
    let orders = route.orders();
    if orders.borrow().treatment.reset {
        route.disturbed.add();
        abort(&device);
        route.sink.tell(format!("connection to {name} reset"));
        return route.flows.close(flow, "reset by the bench");
    }
    let mut world = match timeout(CONNECT, TcpStream::connect(to)).await {
        Ok(Ok(world)) => world,
        other => {
            let why = match other {
                Ok(Err(error)) => error.to_string(),
                _ => format!("no answer within {CONNECT:?}"),
            };
            abort(&device);
            route.sink.tell(format!("connection to {name}: {to} cannot be reached: {why}"));
            return route.flows.close(flow, "target not reached");
        }
    };
    route.sink.tell(format!("connection to {name}"));
    drop((device.set_nodelay(true), world.set_nodelay(true)));
    // Halves that are owned would close politely when they are dropped.
    let ((device_in, device_out), (world_in, world_out)) = (device.split(), world.split());
    let both = async {
        let up = pipe(route, number, flow, true, device_in, world_out);
        let down = pipe(route, number, flow, false, world_in, device_out);
        // One that breaks off takes the other with it; one that ends leaves the other open.
        tokio::try_join!(up, down)
    };
    let mut watched = route.orders();
    let how = tokio::select! {
        ended = both => match ended {
            Ok(_) => "closed",
            Err(_) => "broken off",
        },
        () = told_to_reset(&mut watched, number) => {
            route.disturbed.add();
            "reset by the bench"
        }
    };
    if how != "closed" {
        abort(&device);
        abort(&world);
    }
    route.flows.close(flow, how);
}

async fn told_to_reset(orders: &mut watch::Receiver<Orders>, number: u64) {
    let gone = orders.wait_for(|orders| orders.treatment.reset && number < orders.reset_before).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

/// Whether a direction of a connection is silent.
fn mute(orders: &Orders, number: u64, up: bool) -> bool {
    let treatment = &orders.treatment;
    (if up { treatment.mute_up } else { treatment.mute_down }) || (treatment.silent && number < orders.silent_before)
}

/// Waits while it is silent. Bytes are kept where they are, as they would be by a sender that is not acknowledged.
async fn heard(orders: &mut watch::Receiver<Orders>, number: u64, up: bool) {
    let gone = orders.wait_for(|orders| !mute(orders, number, up)).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

/// One direction: bytes are read, wait as long as the link is slow, and are written.
async fn pipe(
    route: &Route,
    number: u64,
    flow: Option<Number>,
    up: bool,
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async move {
        // Gone when this ends, so that the writer ends too.
        let (queue, mut from) = (queue, from);
        let (mut orders, mut last) = (route.orders(), Instant::now());
        let (mut buffer, mut met) = (vec![0; CHUNK], false);
        loop {
            let silent = mute(&orders.borrow_and_update(), number, up);
            if silent {
                // Bytes that wait show that the filter was met; they are not taken.
                if !met && from.readable().await.is_ok() {
                    met = true;
                    if mute(&orders.borrow(), number, up) {
                        route.disturbed.add();
                    }
                }
                heard(&mut orders, number, up).await;
                continue;
            }
            met = false;
            let len = tokio::select! {
                biased;
                changed = orders.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
                len = from.read(&mut buffer) => len?,
            };
            if len == 0 {
                return Ok::<(), io::Error>(());
            }
            let bad = orders.borrow().treatment.impairment;
            let slow = if up { bad.direction.up() } else { bad.direction.down() };
            let delay = if slow { chance::delay(&bad) } else { Duration::ZERO };
            // Bytes of a stream never overtake each other.
            last = last.max(Instant::now() + delay);
            if queue.send((last, buffer[..len].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        let mut orders = route.orders();
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            for part in bytes.chunks(1024) {
                heard(&mut orders, number, up).await;
                let bad = orders.borrow().treatment.impairment;
                if let Some(rate) = bad.rate.filter(|_| if up { bad.direction.up() } else { bad.direction.down() }) {
                    sleep(Duration::from_secs_f64(part.len() as f64 * 8.0 / rate as f64)).await;
                }
                to.write_all(part).await?;
                route.flows.passed(flow, up, part.len());
            }
        }
        heard(&mut orders, number, up).await;
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
