//! The hub asks its network for an address (DHCP: RFC 2131, options of RFC 2132), where it has a port of its own.
//!
//! Only messages are here: what is asked and what an answer says. Who sends them: [`super::attach`].

use std::{net::Ipv4Addr, time::Duration};

/// Port of clients (RFC 2131 section 4.1).
pub(super) const CLIENT: u16 = 68;
/// Port of servers.
pub(super) const SERVER: u16 = 67;
/// What stands between the fixed fields and the options.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Bytes before the cookie.
const FIXED: usize = 236;
/// The smallest message that every server takes (RFC 951: 300 bytes).
const SMALLEST: usize = 300;
/// Asks for answers by broadcast: there is no address yet to which the network could send them.
const BROADCAST: [u8; 2] = [0x80, 0];
/// What a network without an end of its leases is believed.
const LONGEST: Duration = Duration::from_hours(24);

/// Address of the port, as Ethernet has them.
pub(super) type Hardware = [u8; 6];

/// What the hub says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Who gives me an address?
    Discover,
    /// That one.
    Take(Offer),
    /// Let me keep what I have.
    Keep(Ipv4Addr),
}

/// An address that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) address: Ipv4Addr,
    pub(super) server: Ipv4Addr,
}

/// An address, for a time, and where things are in its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    /// Length of the network's prefix, in bits.
    pub(super) prefix: u32,
    pub(super) router: Ipv4Addr,
    pub(super) names: Ipv4Addr,
    pub(super) clock: Ipv4Addr,
    pub(super) time: Duration,
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has an address.
    Offer(Offer),
    /// It is the hub's now.
    Ack(Lease),
    /// It is not.
    Nak,
}

impl Ask {
    /// The message, with a number by which its answer is known.
    pub(super) fn message(self, number: u32, hardware: Hardware) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        // A request, over Ethernet.
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
        bytes[10..12].copy_from_slice(&BROADCAST);
        bytes[28..34].copy_from_slice(&hardware);
        if let Self::Keep(address) = self {
            bytes[12..16].copy_from_slice(&address.octets());
        }
        bytes.extend(COOKIE);
        bytes.extend([53, 1, if self == Self::Discover { 1 } else { 3 }]);
        if let Self::Take(offer) = self {
            bytes.extend([50, 4]);
            bytes.extend(offer.address.octets());
            bytes.extend([54, 4]);
            bytes.extend(offer.server.octets());
        }
        // Mask, router, name servers, time servers.
        bytes.extend([55, 4, 1, 3, 6, 42, 255]);
        bytes.resize(bytes.len().max(SMALLEST), 0);
        bytes
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.get(..4).and_then(|four| <[u8; 4]>::try_from(four).ok()).map(Ipv4Addr::from)
}

/// What a datagram says, if it is an answer to that question.
pub(super) fn read(bytes: &[u8], number: u32, hardware: Hardware) -> Option<Answer> {
    let (fixed, rest) = bytes.split_at_checked(FIXED)?;
    let mut rest = rest.strip_prefix(&COOKIE)?;
    if fixed[0] != 2 || fixed[4..8] != number.to_be_bytes() || fixed[28..34] != hardware {
        return None;
    }
    let given = address(&fixed[16..20])?;
    let (mut kind, mut server, mut mask, mut router, mut names, mut clock, mut time) = (0, None, None, None, None, None, None);
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => break,
            _ => {
                let (len, tail) = tail.split_first()?;
                let (value, tail) = tail.split_at_checked(usize::from(*len))?;
                match code {
                    1 => mask = address(value),
                    3 => router = address(value),
                    6 => names = address(value),
                    42 => clock = address(value),
                    51 => time = address(value).map(|seconds| Duration::from_secs(u64::from(u32::from(seconds)))),
                    53 => kind = *value.first()?,
                    54 => server = address(value),
                    _ => {}
                }
                rest = tail;
            }
        }
    }
    match kind {
        2 => Some(Answer::Offer(Offer { address: given, server: server? })),
        5 if !given.is_unspecified() => {
            let router = router.or(server)?;
            Some(Answer::Ack(Lease {
                address: given,
                prefix: mask.map_or(24, |mask| u32::from(mask).leading_ones()),
                router,
                names: names.unwrap_or(router),
                clock: clock.unwrap_or(router),
                time: time.unwrap_or(LONGEST).min(LONGEST),
            }))
        }
        6 => Some(Answer::Nak),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Hardware = [2, 0, 0, 0, 0, 7];
    const OFFER: Offer = Offer { address: Ipv4Addr::new(10, 77, 0, 100), server: Ipv4Addr::new(10, 77, 0, 1) };

    fn answer(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = Ask::Discover.message(9, OWN)[..FIXED].to_vec();
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&OFFER.address.octets());
        bytes.extend(COOKIE);
        bytes.extend([53, 1, kind, 54, 4, 10, 77, 0, 1]);
        bytes.extend(options);
        bytes.push(255);
        bytes
    }

    #[test]
    fn an_answer_says_what_the_network_is() {
        assert_eq!(read(&answer(2, &[]), 9, OWN), Some(Answer::Offer(OFFER)));
        let options = [1, 4, 255, 255, 254, 0, 3, 4, 10, 77, 0, 2, 6, 8, 10, 77, 0, 3, 1, 1, 1, 1, 0, 51, 4, 0, 0, 14, 16];
        let lease = Lease {
            address: OFFER.address,
            prefix: 23,
            router: Ipv4Addr::new(10, 77, 0, 2),
            names: Ipv4Addr::new(10, 77, 0, 3),
            clock: Ipv4Addr::new(10, 77, 0, 2),
            time: Duration::from_hours(1),
        };
        assert_eq!(read(&answer(5, &options), 9, OWN), Some(Answer::Ack(lease)));
        assert_eq!(read(&answer(6, &[]), 9, OWN), Some(Answer::Nak));
    }

    #[test]
    fn an_answer_to_somebody_else_is_none() {
        assert_eq!(read(&answer(2, &[]), 8, OWN), None);
        assert_eq!(read(&answer(2, &[]), 9, [2, 0, 0, 0, 0, 8]), None);
        assert_eq!(read(&Ask::Discover.message(9, OWN), 9, OWN), None, "a question is no answer");
        assert_eq!(read(&answer(7, &[]), 9, OWN), None);
    }

    #[test]
    fn a_question_names_what_it_is_about() {
        let take = Ask::Take(OFFER).message(9, OWN);
        assert_eq!(&take[FIXED + 4..FIXED + 19], &[53, 1, 3, 50, 4, 10, 77, 0, 100, 54, 4, 10, 77, 0, 1]);
        let keep = Ask::Keep(OFFER.address).message(9, OWN);
        assert_eq!((&keep[12..16], &keep[FIXED + 4..FIXED + 7]), (&[10, 77, 0, 100][..], &[53, 1, 3][..]));
        assert_eq!(Ask::Discover.message(9, OWN)[FIXED + 4..FIXED + 7], [53, 1, 1]);
    }

    proptest! {
        #[test]
        fn damaged_answers_are_survived(at in 0_usize..260, byte in any::<u8>(), cut in 0_usize..280) {
            let mut bytes = answer(5, &[1, 4, 255, 255, 255, 0]);
            let last = bytes.len() - 1;
            bytes[at.min(last)] = byte;
            bytes.truncate(cut);
            let _ = read(&bytes, 9, OWN);
        }
    }
}
