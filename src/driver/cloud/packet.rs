//! MQTT packets, as far as the bench looks into them. MQTT 3.1.1 (level 4) and MQTT 5.0; section numbers are those of 5.0.

use std::{collections::BTreeMap, fmt::Write as _};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::channel::cloud::Refusal;

/// Longest packet that passes, header included. Longer ones end the connection.
pub(super) const LONGEST: usize = 256 * 1024;
/// Topic aliases remembered for a connection.
const ALIASES: usize = 64;
/// Characters of a payload that are told.
const SHOWN: usize = 256;

pub(super) const CONNECT: u8 = 1;
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const DISCONNECT: u8 = 14;

/// A whole packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    /// As it came.
    pub(super) bytes: Vec<u8>,
    /// Where the fixed header ends.
    pub(super) body: usize,
}

/// What ends the reading of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The other side closed between packets.
    Closed,
    /// It broke off, or sent something that is no MQTT: the text says what.
    Broken(String),
    /// It broke a rule: that is worth a record of its own.
    Violation(String),
}

impl Packet {
    /// Control packet type, section 2.1.2.
    pub(super) fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    fn flags(&self) -> u8 {
        self.bytes[0] & 0x0F
    }

    fn reader(&self) -> Reader<'_> {
        Reader(&self.bytes[self.body..])
    }

    /// Reads the next one. Memory grows with what arrives, not with what is announced.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, End> {
        let broken = |error: std::io::Error| End::Broken(error.to_string());
        let mut byte = [0];
        if stream.read(&mut byte).await.map_err(broken)? == 0 {
            return Err(End::Closed);
        }
        let mut bytes = vec![byte[0]];
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            stream.read_exact(&mut byte).await.map_err(broken)?;
            bytes.push(byte[0]);
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(End::Violation("a remaining length of more than 4 bytes".to_owned()));
            }
        }
        let body = bytes.len();
        if body + length > LONGEST {
            return Err(End::Violation(format!("a packet of {length} bytes, more than the {LONGEST} that the bench takes")));
        }
        let taken = stream.take(length as u64).read_to_end(&mut bytes).await.map_err(broken)?;
        if taken < length {
            return Err(End::Broken(format!("closed {} bytes before the end of a packet", length - taken)));
        }
        Ok(Self { bytes, body })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }
    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }
    fn data(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
    fn text(&mut self) -> Option<String> {
        self.data().map(|data| String::from_utf8_lossy(data).into_owned())
    }
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
    /// Properties, section 2.2.2; returns the topic alias, which is all that is needed of them.
    fn properties(&mut self, protocol: u8) -> Option<Option<u16>> {
        if protocol < 5 {
            return Some(None);
        }
        let length = self.varint()?;
        let mut inner = Reader(self.take(length)?);
        let mut alias = None;
        while let Some(id) = inner.varint() {
            match id {
                0x23 => alias = Some(inner.u16()?),
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => drop(inner.take(1)?),
                0x13 | 0x21 | 0x22 => drop(inner.take(2)?),
                0x02 | 0x11 | 0x18 | 0x27 => drop(inner.take(4)?),
                0x0B => drop(inner.varint()?),
                0x26 => drop((inner.data()?, inner.data()?)),
                _ => drop(inner.data()?),
            }
        }
        Some(alias)
    }
}

/// What a CONNECT says. The password is never kept; its digest is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) protocol: u8,
    client: String,
    clean: bool,
    keep_alive: u16,
    will: Option<String>,
    pub(super) user: Option<String>,
    /// First 16 digits of the BLAKE3 digest.
    pub(super) password: Option<String>,
}

/// How a password is told: by its digest.
pub(super) fn digest(password: &[u8]) -> String {
    blake3::hash(password).to_hex()[..16].to_owned()
}

impl Connect {
    /// Reads a CONNECT, section 3.1.
    pub(super) fn parse(packet: &Packet) -> Result<Self, String> {
        if packet.kind() != CONNECT {
            return Err(format!("the first packet is of type {}, not CONNECT", packet.kind()));
        }
        let mut reader = packet.reader();
        let mut read = || {
            let name = reader.data()?;
            let protocol = reader.byte()?;
            let flags = reader.byte()?;
            let keep_alive = reader.u16()?;
            if name != b"MQTT" || !(4..=5).contains(&protocol) {
                return Some(Err(format!("protocol {} level {protocol}", String::from_utf8_lossy(name))));
            }
            reader.properties(protocol)?;
            let client = reader.text()?;
            let mut will = None;
            if flags & 0x04 != 0 {
                reader.properties(protocol)?;
                let topic = reader.text()?;
                let payload = reader.data()?;
                will = Some(format!("{topic} {} bytes", payload.len()));
            }
            let user = if flags & 0x80 == 0 { None } else { Some(reader.text()?) };
            let password = if flags & 0x40 == 0 { None } else { Some(digest(reader.data()?)) };
            Some(Ok(Self { protocol, client, clean: flags & 0x02 != 0, keep_alive, will, user, password }))
        };
        read().unwrap_or_else(|| Err("a CONNECT that ends too early".to_owned()))
    }
}

impl std::fmt::Display for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.protocol == 5 { "5" } else { "3.1.1" };
        let session = if self.clean { "clean" } else { "kept" };
        write!(f, "client {} version {version} session {session} keep-alive {} s", self.client, self.keep_alive)?;
        if let Some(user) = &self.user {
            write!(f, " user {user}")?;
        }
        if let Some(password) = &self.password {
            write!(f, " password digest {password}")?;
        }
        if let Some(will) = &self.will {
            write!(f, " will {will}")?;
        }
        Ok(())
    }
}

/// Topics that a connection has given numbers.
pub(super) type Aliases = BTreeMap<u16, String>;

/// A PUBLISH in words, section 3.3; `None` if it is malformed.
pub(super) fn publish(packet: &Packet, protocol: u8, aliases: &mut Aliases) -> Option<String> {
    let (qos, retain) = (packet.flags() >> 1 & 3, packet.flags() & 1 != 0);
    let mut reader = packet.reader();
    let mut topic = reader.text()?;
    if qos > 0 {
        reader.u16()?;
    }
    if let Some(alias) = reader.properties(protocol)? {
        if topic.is_empty() {
            topic = aliases.get(&alias).cloned().unwrap_or_else(|| format!("alias {alias}"));
        } else if aliases.len() < ALIASES {
            aliases.insert(alias, topic.clone());
        }
    }
    let payload = reader.0;
    let retain = if retain { " retained" } else { "" };
    Some(format!("{topic} qos {qos}{retain} {} bytes: {}", payload.len(), shown(payload)))
}

/// The filters of a SUBSCRIBE, section 3.8.
pub(super) fn subscribe(packet: &Packet, protocol: u8) -> Option<String> {
    let mut reader = packet.reader();
    reader.u16()?;
    reader.properties(protocol)?;
    let mut filters = Vec::new();
    while let (Some(filter), Some(options)) = (reader.text(), reader.byte()) {
        if filters.len() < ALIASES {
            filters.push(format!("{filter} qos {}", options & 3));
        }
    }
    (!filters.is_empty()).then(|| filters.join(", "))
}

/// A payload for people: text as it is, other bytes in hex.
pub(super) fn shown(payload: &[u8]) -> String {
    match std::str::from_utf8(&payload[..payload.len().min(SHOWN * 4)]) {
        Ok(text) => text.chars().take(SHOWN).collect(),
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            String::from_utf8_lossy(&payload[..error.valid_up_to()]).chars().take(SHOWN).collect()
        }
        Err(_) => payload.iter().take(SHOWN / 4).fold(String::from("0x"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    }
}

/// CONNACK that refuses, section 3.2.
pub(super) fn connack(refusal: Refusal, protocol: u8) -> Vec<u8> {
    let code = refusal.code(protocol);
    if protocol >= 5 { vec![CONNACK << 4, 3, 0, code, 0] } else { vec![CONNACK << 4, 2, 0, code] }
}

fn put(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&data[..data.len().min(usize::from(u16::MAX))]);
}

fn framed(first: u8, body: Vec<u8>) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

/// The bench's own CONNECT (3.1.1, a clean session).
pub(super) fn own_connect(client: &str, credentials: Option<&(String, String)>) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, b"MQTT");
    body.extend_from_slice(&[4, if credentials.is_some() { 0xC2 } else { 0x02 }, 0, 30]);
    put(&mut body, client.as_bytes());
    if let Some((user, password)) = credentials {
        put(&mut body, user.as_bytes());
        put(&mut body, password.as_bytes());
    }
    framed(CONNECT << 4, body)
}

/// The bench's own PUBLISH (3.1.1, at least once, packet 1).
pub(super) fn own_publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, topic.as_bytes());
    body.extend_from_slice(&[0, 1]);
    body.extend_from_slice(payload);
    framed(PUBLISH << 4 | 0x02, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn read(bytes: &[u8]) -> Result<Packet, End> {
        let mut bytes = bytes;
        Packet::read(&mut bytes).await
    }

    #[tokio::test]
    async fn a_connect_is_read_and_its_password_is_not_kept() {
        let packet = read(&own_connect("lock-1", Some(&("lock".to_owned(), "hunter2".to_owned())))).await.unwrap();
        let text = Connect::parse(&packet).unwrap().to_string();
        assert!(
            text.starts_with("client lock-1 version 3.1.1 session clean keep-alive 30 s user lock password digest "),
            "{text}"
        );
        assert!(!text.contains("hunter2") && text.contains(&digest(b"hunter2")));
    }

    #[tokio::test]
    async fn a_publish_is_told_with_its_topic_and_payload() {
        let packet = read(&own_publish("home/lock", b"{\"open\":true}")).await.unwrap();
        assert_eq!(publish(&packet, 4, &mut Aliases::new()).unwrap(), "home/lock qos 1 13 bytes: {\"open\":true}");
        let binary = read(&own_publish("t", &[0xFF, 0x00])).await.unwrap();
        assert_eq!(publish(&binary, 4, &mut Aliases::new()).unwrap(), "t qos 1 2 bytes: 0xff00");
    }

    #[tokio::test]
    async fn a_topic_alias_stands_for_its_topic() {
        let mut aliases = Aliases::new();
        let first = read(&framed(0x30, [&[0, 1][..], b"t", &[3, 0x23, 0, 7], b"1"].concat())).await.unwrap();
        let second = read(&framed(0x30, [&[0, 0][..], &[3, 0x23, 0, 7], b"2"].concat())).await.unwrap();
        assert_eq!(publish(&first, 5, &mut aliases).unwrap(), "t qos 0 1 bytes: 1");
        assert_eq!(publish(&second, 5, &mut aliases).unwrap(), "t qos 0 1 bytes: 2");
    }

    #[tokio::test]
    async fn announced_lengths_are_bounded() {
        assert!(matches!(read(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]).await, Err(End::Violation(_))));
        assert!(matches!(read(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]).await, Err(End::Violation(_))));
        assert!(matches!(read(&[0x30, 10, 1, 2]).await, Err(End::Broken(_))));
        assert_eq!(read(&[]).await, Err(End::Closed));
    }

    proptest! {
        #[test]
        fn no_packet_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), protocol in 3_u8..6) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            if let Ok(packet) = runtime.block_on(read(&bytes)) {
                let _ = Connect::parse(&packet);
                let _ = publish(&packet, protocol, &mut Aliases::new());
                let _ = subscribe(&packet, protocol);
            }
        }
    }
}
