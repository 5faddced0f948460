//! As much of MQTT 3.1.1 as the hub speaks.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Largest packet that the hub takes, in bytes: it subscribes to nothing, so the service has little to say.
const LARGEST: usize = 1024;

/// A packet of the service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// CONNACK with its return code (section 3.2.2.3); 0 is accepted.
    Connack(u8),
    /// PUBACK of a packet identifier.
    Puback(u16),
    /// PINGRESP.
    Pingresp,
    /// Anything else.
    Other(u8),
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let low = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// CONNECT with a clean session (section 3.1).
pub(super) fn connect(client: &str, keep_alive_s: u16) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, 0b10]);
    body.extend(keep_alive_s.to_be_bytes());
    body.extend(text(client));
    packet(0x10, &body)
}

/// PUBLISH with QoS 1 (section 3.3).
pub(super) fn publish(topic: &str, id: u16, payload: &str) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.to_be_bytes());
    body.extend(payload.as_bytes());
    packet(0x32, &body)
}

/// PINGREQ (section 3.12).
pub(super) const PINGREQ: [u8; 2] = [0xC0, 0];

/// Reads a packet. Not to be given up half way: what was read of it is lost.
///
/// # Errors
/// The connection ended, or what came is no packet.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let first = stream.read_u8().await?;
    let mut length = 0;
    for place in 0..4 {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
        if place == 3 {
            return Err(malformed("a length of more than four bytes"));
        }
    }
    if length > LARGEST {
        return Err(malformed("a packet that is too large"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(match (first >> 4, body.as_slice()) {
        (2, [_, code]) => Packet::Connack(*code),
        (4, [high, low]) => Packet::Puback(u16::from_be_bytes([*high, *low])),
        (13, []) => Packet::Pingresp,
        (2 | 4 | 13, _) => return Err(malformed("a packet of the wrong length")),
        (kind, _) => Packet::Other(kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(mut bytes: &[u8]) -> io::Result<Packet> {
        read(&mut bytes).await
    }

    #[tokio::test]
    async fn packets_are_read_and_nonsense_is_refused() {
        assert_eq!(of(&[0x20, 2, 0, 5]).await.unwrap(), Packet::Connack(5));
        assert_eq!(of(&[0x40, 2, 1, 2]).await.unwrap(), Packet::Puback(258));
        assert_eq!(of(&[0xD0, 0]).await.unwrap(), Packet::Pingresp);
        assert_eq!(of(&[0x30, 1, 7]).await.unwrap(), Packet::Other(3));
        for bad in [&[0x20, 1, 0][..], &[0x20, 0xFF, 0xFF, 0xFF, 0xFF, 1], &[0x20, 0xFF, 0x7F], &[0x20], &[]] {
            assert!(of(bad).await.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn packets_are_written_as_the_standard_has_them() {
        assert_eq!(connect("hub", 2), b"\x10\x0f\0\x04MQTT\x04\x02\0\x02\0\x03hub");
        assert_eq!(publish("a", 1, "b"), b"\x32\x06\0\x01a\0\x01b");
        assert_eq!(packet(0x30, &[0; 200])[..3], [0x30, 0xC8, 1]);
    }
}
