//! The device's network: faults of the link as a program on the bench sees them. Nobody listens there, so a packet that arrives comes back
//! as a refusal.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lab::net::{DEVICE, Filter, Network};

use crate::host::{PATIENCE, eventually, in_guest};

fn connect(time: Duration) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((DEVICE, 4444)), time)
}

fn refused() -> bool {
    connect(PATIENCE).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn packets_are_late_lost_and_refused_as_ordered() {
    in_guest();
    let network = Network::new("dut").unwrap();
    eventually("the link is up", refused);

    let delay = Duration::from_millis(80);
    network.impair(delay, 0).unwrap();
    let start = Instant::now();
    assert!(refused());
    assert!(start.elapsed() >= delay);

    network.impair(Duration::ZERO, 100).unwrap();
    assert_eq!(connect(Duration::from_millis(300)).unwrap_err().kind(), ErrorKind::TimedOut);
    network.impair(Duration::ZERO, 0).unwrap();
    assert!(refused());

    for (filter, kind) in [
        (Filter::Drop, ErrorKind::TimedOut),
        (Filter::Prohibit, ErrorKind::HostUnreachable),
        (Filter::Reset, ErrorKind::ConnectionRefused),
    ] {
        network.filter(Some(filter)).unwrap();
        assert_eq!(connect(Duration::from_millis(1500)).unwrap_err().kind(), kind, "{filter:?}");
    }
    network.filter(None).unwrap();
    assert!(refused());

    network.link(false).unwrap();
    let carrier = || std::fs::read_to_string("/sys/class/net/dut0/carrier").unwrap_or_default();
    eventually("the bench's port sees it", || carrier().trim() == "0");
    network.link(true).unwrap();
    eventually("the link is back", refused);
}
