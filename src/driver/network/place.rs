//! Where the bench's sockets are: on a port, perhaps in a network namespace of their own.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

/// How long an address may still be taken by a controller that has just been killed.
const TAKEN: Duration = Duration::from_secs(2);

/// A place for sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Only what comes in and goes out there.
    pub(super) interface: Option<String>,
    /// Name of a network namespace.
    pub(super) namespace: Option<String>,
}

impl Place {
    /// The file of a named namespace.
    pub(super) fn file(namespace: &str) -> PathBuf {
        Path::new("/run/netns").join(namespace)
    }

    /// Does something in the namespace, on a thread that then ends: a namespace belongs to a thread, and sockets keep theirs.
    pub(super) fn inside<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Some(namespace) = &self.namespace else { return act() };
        let enter = || {
            setns(File::open(Self::file(namespace))?, CloneFlags::CLONE_NEWNET)?;
            act()
        };
        thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    }

    fn bound(&self, address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
            if kind == Type::STREAM {
                socket.set_reuse_address(true)?;
            }
            if let Some(interface) = &self.interface {
                socket.bind_device(Some(interface.as_bytes()))?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            Ok(socket)
        };
        let until = Instant::now() + TAKEN;
        loop {
            match self.inside(bind) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                    thread::park_timeout(Duration::from_millis(100));
                }
                bound => return bound,
            }
        }
    }

    /// A UDP socket. Blocks for at most two seconds.
    pub(super) fn udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.bound(address, Type::DGRAM, Protocol::UDP)?;
        socket.set_broadcast(true)?;
        Ok(socket.into())
    }

    /// A TCP listener. Blocks for at most two seconds.
    pub(super) fn tcp(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.bound(address, Type::STREAM, Protocol::TCP)?;
        socket.listen(128)?;
        Ok(socket.into())
    }
}
