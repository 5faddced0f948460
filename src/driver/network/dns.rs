//! The bench's DNS: answers as it is told (RFC 1035), for the names that the rig gives it. `simple-dns` reads and writes the packets.

use std::net::Ipv4Addr;

use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE, rdata::RData};

use crate::channel::network::DnsAnswer;

/// Seconds for which an answer is good: short, so that a device asks again after a change.
const TTL: u32 = 5;

/// Names that are known, with addresses. `*` is every other name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<(String, Ipv4Addr)>);

impl Names {
    /// Reads `broker.example=10.77.0.1 *=10.77.0.1`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let pair = |word: &str| {
            let (name, address) = word.split_once('=')?;
            Some((name.trim_end_matches('.').to_ascii_lowercase(), address.parse().ok()?)).filter(|(name, _)| !name.is_empty())
        };
        let read = |word| pair(word).ok_or_else(|| format!("`{word}` is not `NAME=IPv4-ADDRESS`"));
        text.split_whitespace().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn find(&self, name: &str) -> Option<Ipv4Addr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.0.iter().find(|(known, _)| *known == name);
        exact.or_else(|| self.0.iter().find(|(known, _)| known == "*")).map(|(_, address)| *address)
    }
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// What was asked, in words: `A broker.example`.
    pub(super) question: String,
    /// What is answered, if anything is.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Answers one message; nothing if it is not a question. `udp`: as opposed to TCP.
pub(super) fn respond(message: &[u8], answer: &DnsAnswer, portal: Option<Ipv4Addr>, names: &Names, udp: bool) -> Option<Reply> {
    let query = Packet::parse(message).ok().filter(|packet| !packet.has_flags(PacketFlag::RESPONSE))?;
    let question = query.questions.first()?;
    let name = question.qname.to_string();
    let kind = match question.qtype {
        QTYPE::TYPE(kind) => format!("{kind:?}"),
        other => format!("{other:?}"),
    };
    let shown = format!("{kind} {name}");
    let nothing = |bytes| Some(Reply { question: shown.clone(), bytes });
    let mut reply = Packet::new_reply(query.id());
    reply.questions.push(question.clone());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE | PacketFlag::AUTHORITATIVE_ANSWER);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    // A portal has an answer to everything, but a dead DNS is dead behind a portal too.
    let address = match (answer, portal) {
        (DnsAnswer::Silent, _) => return nothing(None),
        (DnsAnswer::NxDomain, _) => Err(RCODE::NameError),
        (DnsAnswer::ServFail, _) => Err(RCODE::ServerFailure),
        (DnsAnswer::Refused, _) => Err(RCODE::Refused),
        (DnsAnswer::Wrong(address), _) => Ok(*address),
        (_, Some(portal)) => Ok(portal),
        _ => names.find(&name).ok_or(RCODE::NameError),
    };
    match address {
        Err(code) => *reply.rcode_mut() = code,
        Ok(_) if udp && *answer == DnsAnswer::Truncated => reply.set_flags(PacketFlag::TRUNCATION),
        Ok(address) if matches!(question.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) => {
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, RData::A(address.into())));
        }
        // The name is there, but has nothing of this kind.
        Ok(_) => {}
    }
    nothing(reply.build_bytes_vec().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::{Name, QCLASS, Question};

    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(0x1234);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    fn names() -> Names {
        Names::parse("broker.example=10.77.0.1").unwrap()
    }

    /// Response code, flags of truncation, first address.
    fn ask(
        name: &str,
        kind: TYPE,
        answer: &DnsAnswer,
        portal: Option<Ipv4Addr>,
        udp: bool,
    ) -> Option<(RCODE, bool, Option<u32>)> {
        let bytes = respond(&query(name, kind), answer, portal, &names(), udp).unwrap().bytes?;
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.id(), 0x1234);
        assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_DESIRED));
        let address = packet.answers.first().map(|record| if let RData::A(a) = &record.rdata { a.address } else { 0 });
        Some((packet.rcode(), packet.has_flags(PacketFlag::TRUNCATION), address))
    }

    #[test]
    fn each_answer_is_what_it_says() {
        let bench = Some(u32::from(Ipv4Addr::new(10, 77, 0, 1)));
        let a = |name, answer, portal| ask(name, TYPE::A, &answer, portal, true);
        assert_eq!(a("Broker.Example", DnsAnswer::Right, None), Some((RCODE::NoError, false, bench)));
        assert_eq!(a("other.example", DnsAnswer::Right, None), Some((RCODE::NameError, false, None)));
        assert_eq!(ask("broker.example", TYPE::AAAA, &DnsAnswer::Right, None, true), Some((RCODE::NoError, false, None)));
        assert_eq!(a("broker.example", DnsAnswer::NxDomain, None), Some((RCODE::NameError, false, None)));
        assert_eq!(a("broker.example", DnsAnswer::ServFail, None), Some((RCODE::ServerFailure, false, None)));
        assert_eq!(a("broker.example", DnsAnswer::Refused, None), Some((RCODE::Refused, false, None)));
        assert_eq!(a("broker.example", DnsAnswer::Silent, None), None);
        assert_eq!(a("broker.example", DnsAnswer::Truncated, None), Some((RCODE::NoError, true, None)));
        assert_eq!(
            ask("broker.example", TYPE::A, &DnsAnswer::Truncated, None, false),
            Some((RCODE::NoError, false, bench)),
            "over TCP there is room"
        );
        let wrong = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(a("other.example", DnsAnswer::Wrong(wrong), None), Some((RCODE::NoError, false, Some(wrong.into()))));
        assert_eq!(a("other.example", DnsAnswer::Right, Some(wrong)), Some((RCODE::NoError, false, Some(wrong.into()))));
        let reply = respond(&query("broker.example", TYPE::A), &DnsAnswer::Silent, None, &names(), true).unwrap();
        assert_eq!(reply.question, "A broker.example", "a question without an answer is told too");
    }

    #[test]
    fn names_have_addresses() {
        assert!(Names::parse("").unwrap().find("x").is_none());
        let names = Names::parse("a.example=10.0.0.1 *=10.0.0.2").unwrap();
        assert_eq!(names.find("A.example."), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(names.find("b.example"), Some(Ipv4Addr::new(10, 0, 0, 2)));
        for bad in ["a", "a=", "=10.0.0.1", "a=::1"] {
            assert!(Names::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_device_sends_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = respond(&bytes, &DnsAnswer::Right, None, &Names::default(), true);
        }

        #[test]
        fn answers_are_not_answered(mut bytes in Just(query("broker.example", TYPE::A)), flags in any::<u8>()) {
            bytes[2] = flags | 0x80;
            prop_assert!(respond(&bytes, &DnsAnswer::Right, None, &names(), true).is_none());
        }
    }
}
