//! Messages between the virtual host controller and a device: kernel Documentation/usb/usbip_protocol.rst, from the state in which the
//! device is imported already (that part is done by handing over the socket). All numbers are big-endian; each header has 48 bytes.

use std::io::{self, Read};

use super::model::Setup;

/// Length of each header.
const HEADER: usize = 48;
const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const SUBMIT_REPLY: u32 = 3;
const UNLINK_REPLY: u32 = 4;
/// Larger than any transfer that the kernel builds; more means that the stream is out of step.
const MOST: usize = 16 << 20;
/// Isochronous transfers have descriptors of this size behind their data.
const PACKET_DESCRIPTOR: usize = 16;

/// Error numbers of Linux, as the protocol carries them.
pub(super) mod status {
    /// Done.
    pub(crate) const OK: i32 = 0;
    /// EPIPE: the endpoint stalled.
    pub(crate) const STALL: i32 = -32;
    /// EOVERFLOW: more data than there was room for.
    pub(crate) const BABBLE: i32 = -75;
    /// ECONNRESET: the request was taken back.
    pub(crate) const UNLINKED: i32 = -104;
}

/// A transfer that the host asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submit {
    /// Name of the request in replies.
    pub(super) number: u32,
    /// Number of the endpoint, with bit 7 for transfers to the host, as in descriptors.
    pub(super) endpoint: u8,
    /// Room in the host's buffer, for transfers to the host.
    pub(super) space: usize,
    /// What a control transfer begins with.
    pub(super) setup: Setup,
    /// Data of the host, for transfers to the device.
    pub(super) data: Vec<u8>,
    /// Whether it is isochronous, which no model here has.
    pub(super) isochronous: bool,
}

impl Submit {
    /// Whether data goes to the host.
    pub(super) fn inward(&self) -> bool {
        self.endpoint & 0x80 != 0
    }
}

/// What the host sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Do a transfer.
    Submit(Submit),
    /// Take back the transfer `wanted`.
    Unlink {
        /// Name of this request.
        number: u32,
        /// Name of the transfer.
        wanted: u32,
    },
}

/// Reads one request with its data.
pub(super) fn read(from: &mut impl Read) -> io::Result<Request> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header)?;
    let word = |index: usize| {
        let at = index * 4;
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let number = word(1);
    match word(0) {
        UNLINK => Ok(Request::Unlink { number, wanted: word(5) }),
        SUBMIT => {
            let inward = word(3) == 1;
            let length = word(6) as usize;
            // 0 and -1 both mean "not isochronous", depending on the kernel.
            let packets = if word(8) == u32::MAX { 0 } else { word(8) as usize };
            let behind = packets.saturating_mul(PACKET_DESCRIPTOR);
            if length.max(behind) > MOST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a transfer of {length} bytes")));
            }
            let mut data = vec![0; if inward { 0 } else { length }];
            from.read_exact(&mut data)?;
            from.read_exact(&mut vec![0; behind])?;
            let setup = Setup::from_bytes(&header[40..48]);
            let endpoint = word(4) as u8 & 0xF | if inward { 0x80 } else { 0 };
            Ok(Request::Submit(Submit { number, endpoint, space: length, setup, data, isochronous: packets > 0 }))
        }
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown request {other}"))),
    }
}

/// The end of a transfer. `data` goes to the host; for transfers to the device `taken` says how much the device took.
pub(super) fn submit_reply(number: u32, status: i32, taken: usize, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(SUBMIT_REPLY, number, status);
    bytes[24..28].copy_from_slice(&(taken as u32).to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// The answer to [`Request::Unlink`].
pub(super) fn unlink_reply(number: u32, status: i32) -> Vec<u8> {
    header(UNLINK_REPLY, number, status)
}

fn header(command: u32, number: u32, status: i32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[0..4].copy_from_slice(&command.to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    bytes[20..24].copy_from_slice(&status.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(words: [u32; 10], tail: &[u8]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).chain(tail.iter().copied()).collect()
    }

    #[test]
    fn a_transfer_to_the_device_brings_its_data() {
        let bytes = message([1, 7, 0, 0, 2, 0, 3, 0, 0, 0], b"\0\0\0\0\0\0\0\0abc");
        let Request::Submit(submit) = read(&mut bytes.as_slice()).unwrap() else { panic!("not a transfer") };
        assert_eq!((submit.number, submit.endpoint, submit.data.as_slice(), submit.inward()), (7, 2, &b"abc"[..], false));
    }

    #[test]
    fn a_control_transfer_to_the_host_has_a_setup() {
        let bytes = message([1, 8, 0, 1, 0, 0, 18, 0, u32::MAX, 0], &[0x80, 6, 0, 1, 9, 4, 18, 0]);
        let Request::Submit(submit) = read(&mut bytes.as_slice()).unwrap() else { panic!("not a transfer") };
        assert_eq!((submit.endpoint, submit.space, submit.isochronous), (0x80, 18, false));
        assert_eq!(submit.setup, Setup { kind: 0x80, request: 6, value: 0x100, index: 0x409, length: 18 });
    }

    #[test]
    fn a_stream_out_of_step_is_an_error() {
        assert!(read(&mut message([9, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 8]).as_slice()).is_err());
        assert!(read(&mut message([1, 0, 0, 1, 0, 0, u32::MAX, 0, 0, 0], &[0; 8]).as_slice()).is_err());
    }

    #[test]
    fn replies_have_status_and_length_where_the_kernel_looks() {
        let reply = submit_reply(7, status::OK, 3, b"abc");
        assert_eq!((reply.len(), reply[3], reply[7], reply[27], &reply[48..]), (51, 3, 7, 3, &b"abc"[..]));
        assert_eq!(unlink_reply(1, status::UNLINKED)[20..24], (-104_i32).to_be_bytes());
    }
}
