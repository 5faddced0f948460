//! A TCP connect scan of one address, with so many attempts at a time that neither side runs out of sockets.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{net::TcpStream, time::timeout};

use crate::channel::{api::Scanned, link::LinkError};

/// Attempts at a time.
const AT_A_TIME: usize = 64;

/// Most silent ports that are tried again. A device that drops everything has many more, and a second look at all of them would only take its time.
const AGAIN: usize = 2048;

enum Port {
    Open(u16),
    Closed,
    Silent(u16),
}

/// Looks at `address`. A program that listens on every address of this machine is not the device's, so what is open at `besides` too
/// counts as closed.
pub(super) async fn scan(
    address: IpAddr,
    besides: Option<IpAddr>,
    ports: &[RangeInclusive<u16>],
    each: Duration,
) -> Result<Scanned, LinkError> {
    let (mut scanned, silent) = look(address, ports, each).await?;
    scanned.silent = silent.len() as u32;
    // An answer that a busy machine was late with, or a lost packet, is no silence: once more, with more time.
    if silent.len() <= AGAIN {
        let (again, still) = look(address, &silent, each * 2).await?;
        scanned.open.extend(again.open);
        scanned.closed += again.closed;
        scanned.silent = still.len() as u32;
    }
    if let Some(besides) = besides {
        let open: Vec<_> = scanned.open.iter().map(|port| *port..=*port).collect();
        for port in look(besides, &open, each).await?.0.open {
            scanned.open.remove(&port);
            scanned.closed += 1;
        }
    }
    Ok(scanned)
}

/// What is open and closed, and the ports that said nothing in the time that each has.
async fn look(
    address: IpAddr,
    ports: &[RangeInclusive<u16>],
    each: Duration,
) -> Result<(Scanned, Vec<RangeInclusive<u16>>), LinkError> {
    let tries = ports.iter().cloned().flatten().map(|port| async move {
        match timeout(each, TcpStream::connect(SocketAddr::new(address, port))).await {
            // A port of this machine that is free can be given to the very socket that tries it: it is then connected with itself.
            Ok(Ok(stream)) if stream.local_addr().ok() == stream.peer_addr().ok() => Ok(Port::Closed),
            Ok(Ok(_)) => Ok(Port::Open(port)),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused || error.kind() == ErrorKind::ConnectionReset => {
                Ok(Port::Closed)
            }
            Err(_) => Ok(Port::Silent(port)),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable) => Ok(Port::Silent(port)),
            Ok(Err(error)) => Err(LinkError::new(format!("try port {port} of {address}"), error.to_string())),
        }
    });
    let mut tries = futures::stream::iter(tries).buffer_unordered(AT_A_TIME);
    let (mut scanned, mut silent) = (Scanned::default(), Vec::new());
    while let Some(port) = tries.next().await {
        match port? {
            Port::Open(port) => drop(scanned.open.insert(port)),
            Port::Closed => scanned.closed += 1,
            Port::Silent(port) => silent.push(port..=port),
        }
    }
    Ok((scanned, silent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn open_ports_are_found_among_closed_ones() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let around = port.saturating_sub(50)..=port.saturating_add(50);
        let scanned = scan(address, None, std::slice::from_ref(&around), EACH).await.unwrap();
        assert!(scanned.open.contains(&port));
        assert_eq!(scanned.open.len() + (scanned.closed + scanned.silent) as usize, around.count());
        drop(listener);
        assert!(scan(address, None, &[port..=port], EACH).await.unwrap().open.is_empty());
    }

    /// A port whose queue is full drops what comes; it is open all the same.
    #[tokio::test]
    async fn a_port_that_is_late_is_not_silent() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 9, 3], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        let each = Duration::from_millis(400);
        let ports = [address.port()..=address.port()];
        assert_eq!(look(address.ip(), &ports, each).await.unwrap().1, ports, "at first it says nothing");
        let free = async {
            // Its first packet is lost; the kernel sends the next after a second (RFC 6298), which is too late.
            tokio::time::sleep(each / 2).await;
            loop {
                drop(listener.accept().await);
            }
        };
        tokio::select! {
            () = free => {}
            scanned = scan(address.ip(), None, &ports, each) => assert_eq!(scanned.unwrap().open, [address.port()].into()),
        }
    }

    #[tokio::test]
    async fn what_listens_on_every_address_is_not_the_devices() {
        let [device, besides] = [[127, 0, 9, 1], [127, 0, 9, 2]].map(IpAddr::from);
        let own = tokio::net::TcpListener::bind((device, 0)).await.unwrap();
        let everywhere = tokio::net::TcpListener::bind(("0.0.0.0", 0)).await.unwrap();
        let [own, everywhere] = [&own, &everywhere].map(|listener| listener.local_addr().unwrap().port());
        let ports = [own..=own, everywhere..=everywhere];
        assert_eq!(scan(device, None, &ports, EACH).await.unwrap().open, [own, everywhere].into());
        assert_eq!(
            scan(device, Some(besides), &ports, EACH).await.unwrap(),
            Scanned { open: [own].into(), closed: 1, silent: 0 }
        );
    }
}
