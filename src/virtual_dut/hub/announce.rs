//! The hub answers questions by mDNS for its service (RFC 6762, RFC 6763). On port 5353 it joins the group; on loopback, where that port is
//! often taken, it answers at a port of its own, to whoever asks there (RFC 6762 section 6.7).

use std::net::{Ipv4Addr, SocketAddr};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, ResourceRecord, TYPE,
    rdata::{A, PTR, RData, SRV, TXT},
};
use tokio::net::UdpSocket;

use super::{Flaw, Hardware, attach::Servers, lock};

/// The port of mDNS.
pub(super) const MDNS: u16 = 5353;
/// Its group.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// What the hub offers.
const SERVICE: &str = "_hub._tcp.local";
/// How long answers to single questions may be kept, in seconds: at most 10 (RFC 6762 section 6.7).
const TTL: u32 = 10;
/// Most questions of a message that are looked at.
const QUESTIONS: usize = 16;

/// What the hub tells of itself.
struct Told {
    address: Ipv4Addr,
    port: u16,
    text: Vec<String>,
}

/// Answers for as long as the hub has its address. Without its port it is silent.
pub(super) async fn serve(hardware: &Hardware, servers: &Servers) {
    let (address, port) = servers.announces;
    let Ok(socket) = open(address, port).await else { return std::future::pending().await };
    let mut bytes = [0; 1500];
    loop {
        // An answer that could not be delivered is told here too, and is nothing to the hub.
        let Ok((length, from)) = socket.recv_from(&mut bytes).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let told = Told { address, port: super::API_PORT, text: text(hardware) };
        if let Some(answer) = bytes.get(..length).and_then(|question| answer(question, &told)) {
            let to = if from.port() == MDNS { SocketAddr::from((GROUP, MDNS)) } else { from };
            // Who asked asks again.
            let _ = socket.send_to(&answer, to).await;
        }
    }
}

async fn open(address: Ipv4Addr, port: u16) -> std::io::Result<UdpSocket> {
    if port != MDNS {
        return UdpSocket::bind((address, port)).await;
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    socket.join_multicast_v4(GROUP, address)?;
    Ok(socket)
}

fn text(hardware: &Hardware) -> Vec<String> {
    let mut text = vec!["id=hub-1".to_owned(), format!("version={}", lock(&hardware.slots).version())];
    if hardware.config.flaw == Some(Flaw::MdnsSecret)
        && let Some(network) = &lock(&hardware.store).state().settings.network
    {
        text.push(format!("network={network}"));
    }
    text
}

/// The answer to a message, if it asks for something of the hub.
fn answer(question: &[u8], told: &Told) -> Option<Vec<u8>> {
    let question = Packet::parse(question).ok()?;
    if question.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let instance = format!("smart-hub.{SERVICE}");
    let asked = question.questions.iter().take(QUESTIONS).find(|asked| {
        let name = asked.qname.to_string();
        let class = matches!(asked.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY);
        let of = |types: &[TYPE]| match asked.qtype {
            QTYPE::ANY => true,
            QTYPE::TYPE(kind) => types.contains(&kind),
            _ => false,
        };
        class
            && ((name.eq_ignore_ascii_case(SERVICE) && of(&[TYPE::PTR]))
                || (name.eq_ignore_ascii_case(&instance) && of(&[TYPE::SRV, TYPE::TXT])))
    })?;
    let mut packet = Packet::new_reply(question.id());
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    // To a single question it is repeated (RFC 6762 section 6.7).
    packet.questions.push(asked.clone());
    let instance = Name::new(&instance).ok()?;
    let host = Name::new(super::API_NAME).ok()?;
    let record = |name: &Name<'_>, data| ResourceRecord::new(name.clone().into_owned(), CLASS::IN, TTL, data);
    let pointer = record(&Name::new(SERVICE).ok()?, RData::PTR(PTR(instance.clone().into_owned())));
    let place = SRV { priority: 0, weight: 0, port: told.port, target: host.clone() };
    let mut text = TXT::new();
    for line in &told.text {
        text = text.with_string(line).ok()?;
    }
    let mut about = vec![
        record(&instance, RData::SRV(place)),
        record(&instance, RData::TXT(text)),
        record(&host, RData::A(A::from(told.address))),
    ];
    if asked.qname.to_string().eq_ignore_ascii_case(SERVICE) {
        packet.answers.push(pointer);
        packet.additional_records.append(&mut about);
    } else {
        packet.answers.append(&mut about);
    }
    packet.build_bytes_vec().ok()
}

#[cfg(test)]
mod tests {
    use simple_dns::Question;

    use super::*;

    fn told() -> Told {
        Told { address: Ipv4Addr::new(127, 1, 2, 3), port: 9443, text: vec!["id=hub-1".to_owned()] }
    }

    fn question(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.questions.push(Question::new(Name::new(name).unwrap(), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn it_answers_for_its_own_service_only() {
        let bytes = answer(&question("_HUB._tcp.local", TYPE::PTR), &told()).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.has_flags(PacketFlag::RESPONSE) && packet.id() == 7);
        assert_eq!((packet.answers.len(), packet.additional_records.len()), (1, 3));
        assert!(matches!(&packet.additional_records[0].rdata, RData::SRV(place) if place.port == 9443));
        assert!(packet.answers.iter().all(|record| record.ttl <= 10));
        assert!(answer(&question("smart-hub._hub._tcp.local", TYPE::TXT), &told()).is_some());
        assert!(answer(&question("_ipp._tcp.local", TYPE::PTR), &told()).is_none());
        assert!(answer(&question("_hub._tcp.local", TYPE::A), &told()).is_none());
        assert!(answer(&bytes, &told()).is_none(), "an answer is not answered");
    }

    #[test]
    fn any_bytes_are_taken_without_harm() {
        let good = question("_hub._tcp.local", TYPE::PTR);
        for at in 0..good.len() {
            let _ = answer(&good[..at], &told());
            let mut changed = good.clone();
            changed[at] ^= 0xff;
            let _ = answer(&changed, &told());
        }
    }

    #[tokio::test]
    async fn on_the_port_of_mdns_it_listens_to_the_group() {
        // Another program may have the port, which is no reason for this to fail; that the group cannot be joined is.
        match open(Ipv4Addr::LOCALHOST, MDNS).await {
            Ok(socket) => assert!(socket.leave_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).is_ok()),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
        }
    }
}
