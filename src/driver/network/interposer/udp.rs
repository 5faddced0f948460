//! Datagrams through the proxy.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    chance,
    flows::Number,
    route::{Orders, Route},
};

/// Senders at a time.
const MOST: usize = 256;
/// Datagrams on the way at a time.
const ON_THE_WAY: usize = 1024;
/// A sender that said nothing for so long is forgotten.
const IDLE: Duration = Duration::from_mins(1);
/// Longest datagram.
const LONGEST: usize = 65_535;

/// Where datagrams of one direction go, with the link's memory.
struct Way {
    up: bool,
    room: Arc<Semaphore>,
    /// When the link is free again.
    free: Arc<Mutex<Instant>>,
}

impl Way {
    fn new(up: bool) -> Self {
        Self { up, room: Arc::new(Semaphore::new(ON_THE_WAY)), free: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Lets a datagram go its way: it may vanish, be doubled, damaged, or late.
    fn go(&self, route: &Arc<Route>, flow: Option<Number>, datagram: &[u8], send: impl Fn(Vec<u8>) -> Sending + Send + 'static) {
        let treatment = route.treatment();
        if if self.up { treatment.mute_up } else { treatment.mute_down } {
            route.disturbed.add();
            return;
        }
        let bad = treatment.impairment;
        let bad = if if self.up { bad.direction.up() } else { bad.direction.down() } {
            bad
        } else {
            crate::channel::network::Impairment::default()
        };
        if chance::happens(bad.loss) {
            return;
        }
        let mut datagram = datagram.to_vec();
        if chance::happens(bad.corrupt) && !datagram.is_empty() {
            let at = chance::below(datagram.len());
            datagram[at] ^= 1 << chance::below(8);
        }
        // What overtakes others is not late.
        let delay = if chance::happens(bad.reorder) { Duration::ZERO } else { chance::delay(&bad) };
        let mut at = Instant::now() + delay;
        if let Some(rate) = bad.rate {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let takes = Duration::from_secs_f64(datagram.len() as f64 * 8.0 / rate as f64);
            *free = (*free).max(Instant::now()) + takes;
            at = at.max(*free + delay);
        }
        let copies = if chance::happens(bad.duplicate) { 2 } else { 1 };
        // A link that is full loses what comes.
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return };
        route.flows.passed(flow, self.up, datagram.len() * copies);
        tokio::spawn(async move {
            sleep_until(at).await;
            for _ in 0..copies {
                drop(send(datagram.clone()).await);
            }
            drop(permit);
        });
    }
}

type Sending = std::pin::Pin<Box<dyn Future<Output = io::Result<usize>> + Send>>;

/// Serves a route until it is dropped.
pub(super) async fn serve(route: Arc<Route>, socket: UdpSocket) {
    let (socket, up, mut orders) = (Arc::new(socket), Way::new(true), route.orders());
    let mut senders: HashMap<SocketAddr, (Arc<UdpSocket>, Option<Number>)> = HashMap::new();
    let mut answers: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let now: Orders = *orders.borrow_and_update();
        route.done(now.serial, Ok(()));
        loop {
            let (len, from) = tokio::select! {
                biased;
                changed = orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                Some(ended) = answers.join_next() => {
                    if let Ok(from) = ended
                        && let Some((_, flow)) = senders.remove(&from)
                    {
                        route.flows.close(flow, "idle");
                    }
                    continue;
                }
                received = socket.recv_from(&mut buffer) => match received {
                    Ok(received) => received,
                    // About an answer that its receiver did not want.
                    Err(_) => continue,
                },
            };
            route.seen.add();
            if !senders.contains_key(&from) {
                if senders.len() >= MOST {
                    continue;
                }
                let Ok(own) = upstream(route.target().to).await else { continue };
                let (own, flow) = (Arc::new(own), route.flows.open(&route.target().name, &from.to_string()));
                route.sink.tell(format!("datagrams to {}", route.target().name));
                answers.spawn(answer(Arc::clone(&route), Arc::clone(&own), Arc::clone(&socket), from, flow, route.orders()));
                senders.insert(from, (own, flow));
            }
            if let Some((own, flow)) = senders.get(&from) {
                let own = Arc::clone(own);
                up.go(&route, *flow, &buffer[..len], move |bytes| {
                    let own = Arc::clone(&own);
                    Box::pin(async move { own.send(&bytes).await })
                });
            }
        }
    }
}

async fn upstream(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Takes answers back to a sender until there have been none for a while.
async fn answer(
    route: Arc<Route>,
    own: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    flow: Option<Number>,
    orders: watch::Receiver<Orders>,
) -> SocketAddr {
    let (way, mut buffer) = (Way::new(false), vec![0; LONGEST]);
    while orders.has_changed().is_ok() {
        match timeout(IDLE, own.recv(&mut buffer)).await {
            Err(_) => break,
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Ok(Ok(len)) => {
                let socket = Arc::clone(&socket);
                way.go(&route, flow, &buffer[..len], move |bytes| {
                    let socket = Arc::clone(&socket);
                    Box::pin(async move { socket.send_to(&bytes, to).await })
                });
            }
        }
    }
    to
}
