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

enum Port {
    Open(u16),
    Closed,
    Silent,
}

/// Looks at `address`. A program that listens on every address of this machine is not the device's, so what is open at `besides` too
/// counts as closed.
pub(super) async fn scan(
    address: IpAddr,
    besides: Option<IpAddr>,
    ports: &[RangeInclusive<u16>],
    each: Duration,
) -> Result<Scanned, LinkError> {
    let mut scanned = look(address, ports, each).await?;
    if let Some(besides) = besides {
        let open: Vec<_> = scanned.open.iter().map(|port| *port..=*port).collect();
        for port in look(besides, &open, each).await?.open {
            scanned.open.remove(&port);
            scanned.closed += 1;
        }
    }
    Ok(scanned)
}

async fn look(address: IpAddr, ports: &[RangeInclusive<u16>], each: Duration) -> Result<Scanned, LinkError> {
    let tries = ports.iter().cloned().flatten().map(|port| async move {
        match timeout(each, TcpStream::connect(SocketAddr::new(address, port))).await {
            // A port of this machine that is free can be given to the very socket that tries it: it is then connected with itself.
            Ok(Ok(stream)) if stream.local_addr().ok() == stream.peer_addr().ok() => Ok(Port::Closed),
            Ok(Ok(_)) => Ok(Port::Open(port)),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused || error.kind() == ErrorKind::ConnectionReset => {
                Ok(Port::Closed)
            }
            Err(_) => Ok(Port::Silent),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable) => Ok(Port::Silent),
            Ok(Err(error)) => Err(LinkError::new(format!("try port {port} of {address}"), error.to_string())),
        }
    });
    let mut tries = futures::stream::iter(tries).buffer_unordered(AT_A_TIME);
    let mut scanned = Scanned::default();
    while let Some(port) = tries.next().await {
        match port? {
            Port::Open(port) => drop(scanned.open.insert(port)),
            Port::Closed => scanned.closed += 1,
            Port::Silent => scanned.silent += 1,
        }
    }
    Ok(scanned)
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
