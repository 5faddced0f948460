//! Packets of a port as a capture file: a packet socket, and the format of libpcap (`pcap-savefile(5)`).

use std::{
    io,
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::{
    socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt},
    time::TimeVal,
};

use super::place::Place;
use crate::channel::network::Captured;

/// Bytes of a capture at most; what comes after is counted.
const ROOM: usize = 32 << 20;
/// Bytes of a packet at most.
const SNAP: usize = 65_535;
/// How soon the end of a capture is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// A file in the making.
pub(super) struct File {
    bytes: Vec<u8>,
    room: usize,
    count: u64,
    left_out: u64,
}

impl File {
    pub(super) fn new(room: usize) -> Self {
        let mut bytes = Vec::new();
        // Magic of microseconds, version 2.4, zone and accuracy (always 0), longest packet, link type 1: Ethernet.
        bytes.extend(0xa1b2_c3d4_u32.to_le_bytes());
        bytes.extend(2_u16.to_le_bytes());
        bytes.extend(4_u16.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend((SNAP as u32).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        Self { bytes, room, count: 0, left_out: 0 }
    }

    /// Adds a packet, if there is room. `at`: time since 1970.
    pub(super) fn packet(&mut self, at: Duration, packet: &[u8]) {
        let kept = &packet[..packet.len().min(SNAP)];
        if self.bytes.len() + 16 + kept.len() > self.room {
            self.left_out += 1;
            return;
        }
        self.count += 1;
        for number in [at.as_secs() as u32, at.subsec_micros(), kept.len() as u32, packet.len() as u32] {
            self.bytes.extend(number.to_le_bytes());
        }
        self.bytes.extend(kept);
    }

    pub(super) fn finish(self) -> Captured {
        Captured { bytes: self.bytes, ending: "pcap", count: self.count, left_out: self.left_out }
    }
}

/// A capture that goes on.
pub(super) struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<File>>,
}

impl Capture {
    /// Begins to capture on a port.
    pub(super) fn start(place: &Place, interface: &str) -> io::Result<Self> {
        let interface = interface.to_owned();
        let (socket, index) = place.inside(move || {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
            Ok((socket, nix::net::if_::if_nametoindex(interface.as_str())?))
        })?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, LOOK.as_micros() as _))?;
        // A burst must find room while the disk of this machine is slow.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &(4 << 20));
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("capture".to_owned()).spawn(move || {
            let (mut file, mut buffer) = (File::new(ROOM), vec![0; SNAP + 1]);
            while !ended.load(Ordering::Relaxed) {
                match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
                    // The socket hears every port of its namespace.
                    Ok((len, Some(from))) if from.ifindex() == index as usize => {
                        file.packet(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), &buffer[..len]);
                    }
                    Ok(_) | Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                    // The port is down; it may come back.
                    Err(nix::Error::ENETDOWN) => std::thread::park_timeout(LOOK),
                    Err(_) => break,
                }
            }
            file
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it. Blocks for as long as it takes to notice.
    pub(super) fn finish(mut self) -> Option<Captured> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok().map(File::finish)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_libpcap_reads_and_ends_where_there_is_no_room() {
        let mut file = File::new(24 + 16 + 60 + 10);
        file.packet(Duration::new(1_800_000_000, 5_000), &[7; 60]);
        file.packet(Duration::new(1_800_000_001, 0), &[8; 60]);
        let captured = file.finish();
        assert_eq!((captured.count, captured.left_out, captured.bytes.len()), (1, 1, 24 + 16 + 60));
        assert_eq!(captured.bytes[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(captured.bytes[20..24], [1, 0, 0, 0]);
        let head: Vec<u32> = captured.bytes[24..40].chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(head, [1_800_000_000, 5, 60, 60]);
    }
}
