//! The bench's DHCP server (RFC 2131; options of RFC 2132), for the few devices behind one port.
//!
//! The messages are read and written here: the crate that was tried for it (`dhcproto` 0.15) panics at an option of the wrong length, which any
//! device can send.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use crate::channel::network::DhcpAnswer;

/// Length of a normal lease.
const LEASE: Duration = Duration::from_hours(1);
/// Most addresses of a pool, so that a device with many names does not cost memory.
const MOST: u32 = 64;
/// What stands before the options: 236 bytes of BOOTP, then this.
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Kinds of messages (option 53).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

/// A message of a client.
struct Request<'a> {
    /// The first 236 bytes: what an answer repeats.
    header: &'a [u8],
    kind: u8,
    client: &'a [u8],
    /// The address that it has.
    current: Ipv4Addr,
    /// The address that it wants (option 50).
    wanted: Option<Ipv4Addr>,
    /// The server that it means (option 54).
    server: Option<Ipv4Addr>,
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

impl<'a> Request<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(236)?;
        let options = rest.strip_prefix(&MAGIC)?;
        // A request of BOOTP, with an address of hardware that fits.
        if header[0] != 1 || header[2] == 0 || header[2] > 16 {
            return None;
        }
        let client = &header[28..28 + usize::from(header[2])];
        let mut request = Self { header, kind: 0, client, current: address(&header[12..16])?, wanted: None, server: None };
        let mut rest = options;
        while let [code, tail @ ..] = rest {
            match code {
                0 => rest = tail,
                255 => break,
                _ => {
                    let (len, tail) = tail.split_first()?;
                    let (value, tail) = tail.split_at_checked(usize::from(*len))?;
                    match code {
                        50 => request.wanted = address(value),
                        53 => request.kind = *value.first()?,
                        54 => request.server = address(value),
                        _ => {}
                    }
                    rest = tail;
                }
            }
        }
        (request.kind != 0).then_some(request)
    }

    fn name(&self) -> String {
        const NAMES: [&str; 8] = ["DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"];
        let name = NAMES.get(usize::from(self.kind).wrapping_sub(1));
        name.map_or_else(|| format!("message of kind {}", self.kind), |name| (*name).to_owned())
    }
}

/// What the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dhcp {
    /// The bench's own address: server, gateway, DNS.
    pub(super) address: Ipv4Addr,
    /// Network mask.
    pub(super) mask: Ipv4Addr,
    /// First and last address to give away.
    pub(super) pool: (Ipv4Addr, Ipv4Addr),
    /// Whether the bench plays DNS too.
    pub(super) dns: bool,
    given: BTreeMap<Vec<u8>, Ipv4Addr>,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// In words: `DISCOVER from 02:00:00:00:00:01: OFFER 10.77.0.100`.
    pub(super) what: String,
    /// What is sent, and to whom.
    pub(super) send: Option<(Vec<u8>, Ipv4Addr)>,
}

impl Dhcp {
    /// A server for `address/prefix` that gives `first-last` away; by default 16 addresses from 100 on in the network.
    pub(super) fn new(address: Ipv4Addr, prefix: u8, pool: Option<&str>, dns: bool) -> Result<Self, String> {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let network = u32::from(address) & mask;
        let pool = match pool {
            Some(text) => {
                let ends = text.split_once('-').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
                ends.ok_or_else(|| format!("`{text}` is not `FIRST-LAST`, two IPv4 addresses"))?
            }
            None => (Ipv4Addr::from(network | 0x64), Ipv4Addr::from(network | 0x73)),
        };
        let (first, last) = (u32::from(pool.0), u32::from(pool.1));
        let own = u32::from(address);
        if first > last
            || last - first >= MOST
            || first & mask != network
            || last & mask != network
            || (first..=last).contains(&own)
        {
            return Err(format!(
                "the pool {}-{} must be 1 to {MOST} addresses of the network {}/{prefix} without the bench's own; give one with `pool`",
                pool.0,
                pool.1,
                Ipv4Addr::from(network)
            ));
        }
        Ok(Self { address, mask: mask.into(), pool, dns, given: BTreeMap::new() })
    }

    /// The address of a client, an old one if it had one.
    fn address_for(&mut self, client: &[u8]) -> Option<Ipv4Addr> {
        if let Some(address) = self.given.get(client) {
            return Some(*address);
        }
        let mut all = u32::from(self.pool.0)..=u32::from(self.pool.1);
        let free = all.find(|address| !self.given.values().any(|given| u32::from(*given) == *address)).map(Ipv4Addr::from)?;
        self.given.insert(client.to_vec(), free);
        Some(free)
    }

    /// Answers one message; nothing if it is none for a server.
    pub(super) fn respond(&mut self, bytes: &[u8], answer: DhcpAnswer) -> Option<Reply> {
        let request = Request::read(bytes)?;
        let shown: Vec<_> = request.client.iter().map(|byte| format!("{byte:02x}")).collect();
        let told = |then: &str| format!("DHCP {} from {}: {then}", request.name(), shown.join(":"));
        let silent = |why: &str| Some(Reply { what: told(why), send: None });
        let refused = |why: &str| {
            let bytes = self.reply(&request, NAK, None, answer);
            Some(Reply { what: told(why), send: Some((bytes, Ipv4Addr::BROADCAST)) })
        };
        if ![DISCOVER, REQUEST, INFORM].contains(&request.kind) {
            return silent("noted");
        }
        if request.server.is_some_and(|server| server != self.address) {
            return silent("meant for another server");
        }
        match (answer, request.kind) {
            (DhcpAnswer::Silent, _) => return silent("no answer"),
            (DhcpAnswer::Exhausted, DISCOVER) => return silent("no offer, no address is left"),
            (DhcpAnswer::Nak | DhcpAnswer::Exhausted, REQUEST) => return refused("NAK"),
            (_, INFORM) => {
                let bytes = self.reply(&request, ACK, None, answer);
                return Some(Reply { what: told("ACK"), send: Some((bytes, request.current)) });
            }
            _ => {}
        }
        let current = Some(request.current).filter(|current| !current.is_unspecified());
        let Some(given) = self.address_for(request.client) else { return silent("no answer, the pool is used up") };
        if request.kind == REQUEST && request.wanted.or(current).is_some_and(|wanted| wanted != given) {
            let bytes = self.reply(&request, NAK, None, answer);
            return Some(Reply { what: told("NAK, another address is its own"), send: Some((bytes, Ipv4Addr::BROADCAST)) });
        }
        let (kind, word) = if request.kind == DISCOVER { (OFFER, "OFFER") } else { (ACK, "ACK") };
        let bytes = self.reply(&request, kind, Some(given), answer);
        Some(Reply { what: told(&format!("{word} {given}")), send: Some((bytes, current.unwrap_or(Ipv4Addr::BROADCAST))) })
    }

    fn reply(&self, request: &Request<'_>, kind: u8, given: Option<Ipv4Addr>, answer: DhcpAnswer) -> Vec<u8> {
        let mut bytes = request.header.to_vec();
        bytes[0] = 2;
        // Hops and seconds are the client's; server name and file are nobody's.
        bytes[3] = 0;
        bytes[8..10].fill(0);
        if kind == NAK {
            bytes[12..16].fill(0);
        }
        bytes[16..20].copy_from_slice(&given.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        bytes[20..24].copy_from_slice(&self.address.octets());
        bytes[44..236].fill(0);
        bytes.extend(MAGIC);
        let mut option = |code: u8, value: &[u8]| {
            bytes.extend([code, value.len() as u8]);
            bytes.extend(value);
        };
        option(53, &[kind]);
        option(54, &self.address.octets());
        if kind != NAK {
            option(1, &self.mask.octets());
            option(3, &self.address.octets());
            if self.dns && answer != DhcpAnswer::NoDns {
                option(6, &self.address.octets());
            }
        }
        if given.is_some() {
            let lease = if let DhcpAnswer::Short(lease) = answer { lease } else { LEASE };
            option(51, &u32::try_from(lease.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
        }
        bytes.push(255);
        // The smallest message that every client takes (RFC 951: 300 bytes).
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server() -> Dhcp {
        Dhcp::new(Ipv4Addr::new(10, 77, 0, 1), 24, Some("10.77.0.10-10.77.0.11"), true).unwrap()
    }

    fn ask(kind: u8, client: u8, wanted: Option<Ipv4Addr>) -> Vec<u8> {
        let mut bytes = vec![0; 236];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 0, 0, 0, 77]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, client]);
        bytes.extend(MAGIC);
        bytes.extend([53, 1, kind]);
        if let Some(wanted) = wanted {
            bytes.extend([50, 4]);
            bytes.extend(wanted.octets());
        }
        bytes.push(255);
        bytes.resize(300, 0);
        bytes
    }

    /// An answer, taken apart: kind, address, options.
    struct Answer(u8, Ipv4Addr, BTreeMap<u8, Vec<u8>>);

    fn answered(server: &mut Dhcp, request: &[u8], answer: DhcpAnswer) -> Option<Answer> {
        let (bytes, to) = server.respond(request, answer).unwrap().send?;
        assert_eq!(to, Ipv4Addr::BROADCAST);
        assert_eq!((bytes[0], &bytes[4..8], &bytes[236..240]), (2, &[0, 0, 0, 77][..], &MAGIC[..]));
        let (mut options, mut rest) = (BTreeMap::new(), &bytes[240..]);
        while rest[0] != 255 {
            let end = 2 + usize::from(rest[1]);
            options.insert(rest[0], rest[2..end].to_vec());
            rest = &rest[end..];
        }
        Some(Answer(options[&53][0], address(&bytes[16..20]).unwrap(), options))
    }

    #[test]
    fn a_client_gets_an_address_and_keeps_it() {
        let mut server = server();
        let Answer(kind, given, _) = answered(&mut server, &ask(DISCOVER, 1, None), DhcpAnswer::Right).unwrap();
        assert_eq!((kind, given), (OFFER, Ipv4Addr::new(10, 77, 0, 10)));
        let Answer(kind, _, options) = answered(&mut server, &ask(REQUEST, 1, Some(given)), DhcpAnswer::Right).unwrap();
        assert_eq!((kind, &options[&51]), (ACK, &3600_u32.to_be_bytes().to_vec()));
        assert_eq!(
            (&options[&1], &options[&3], &options[&6]),
            (&vec![255, 255, 255, 0], &vec![10, 77, 0, 1], &vec![10, 77, 0, 1])
        );
        let foreign = ask(REQUEST, 1, Some(Ipv4Addr::new(192, 168, 1, 5)));
        assert_eq!(answered(&mut server, &foreign, DhcpAnswer::Right).unwrap().0, NAK);
        let second = answered(&mut server, &ask(DISCOVER, 2, None), DhcpAnswer::Right).unwrap();
        assert_eq!(second.1, Ipv4Addr::new(10, 77, 0, 11));
        assert!(answered(&mut server, &ask(DISCOVER, 3, None), DhcpAnswer::Right).is_none(), "used up");
    }

    #[test]
    fn each_fault_is_what_it_says() {
        let mut server = server();
        let (discover, request) = (ask(DISCOVER, 1, None), ask(REQUEST, 1, None));
        let mut kind = |message: &[u8], answer| answered(&mut server, message, answer).map(|reply| reply.0);
        assert_eq!(kind(&discover, DhcpAnswer::Nak), Some(OFFER));
        assert_eq!(kind(&request, DhcpAnswer::Nak), Some(NAK));
        assert_eq!(kind(&discover, DhcpAnswer::Silent), None);
        assert_eq!(kind(&request, DhcpAnswer::Silent), None);
        assert_eq!(kind(&discover, DhcpAnswer::Exhausted), None);
        assert_eq!(kind(&request, DhcpAnswer::Exhausted), Some(NAK));
        let short = answered(&mut server, &request, DhcpAnswer::Short(Duration::from_secs(10))).unwrap();
        assert_eq!(short.2[&51], [0, 0, 0, 10]);
        let bare = answered(&mut server, &request, DhcpAnswer::NoDns).unwrap();
        assert!(!bare.2.contains_key(&6) && bare.2.contains_key(&3));
        let told = server.respond(&request, DhcpAnswer::Silent).unwrap().what;
        assert_eq!(told, "DHCP REQUEST from 02:00:00:00:00:01: no answer");
    }

    #[test]
    fn a_pool_is_part_of_the_network() {
        let own = Ipv4Addr::new(10, 77, 0, 1);
        for bad in ["10.77.0.1-10.77.0.2", "10.78.0.2-10.78.0.3", "10.77.0.9-10.77.0.8", "10.77.0.2-10.77.0.99", "10.77.0.2"] {
            assert!(Dhcp::new(own, 24, Some(bad), true).is_err(), "{bad}");
        }
        assert_eq!(Dhcp::new(own, 24, None, true).unwrap().pool.0, Ipv4Addr::new(10, 77, 0, 100));
        assert!(Dhcp::new(own, 30, None, true).is_err());
    }

    proptest! {
        #[test]
        fn whatever_a_device_sends_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = server().respond(&bytes, DhcpAnswer::Right);
        }

        #[test]
        fn damaged_messages_are_survived(at in 0_usize..300, byte in any::<u8>()) {
            let mut bytes = ask(DISCOVER, 1, None);
            bytes[at] = byte;
            let _ = server().respond(&bytes, DhcpAnswer::Right);
        }
    }
}
