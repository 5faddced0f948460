//! One question by mDNS from a port of its own, so that the answer comes to it alone (RFC 6762 section 6.7), and what the answer says of a
//! service (RFC 6763).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE, rdata::RData};
use tokio::{net::UdpSocket, time::timeout};

use crate::channel::{api::Instance, link::LinkError};

/// Questions until it is given up: one datagram may be lost.
const TRIES: u16 = 3;
/// Time for each.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most instances that are kept.
const MOST: usize = 64;

pub(super) async fn ask(server: SocketAddr, service: &str) -> Result<Option<Vec<Instance>>, LinkError> {
    let failed = |what: String| LinkError::new(format!("ask {server} for {service}"), what);
    let local = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((local, 0)).await.map_err(|error| failed(error.to_string()))?;
    let mut bytes = [0; 9000];
    for id in 1..=TRIES {
        let question = question(id, service).ok_or_else(|| failed("this is not a name".to_owned()))?;
        // A device that is not there can answer with ICMP, which is told at the next call.
        if socket.send_to(&question, server).await.is_err() {
            continue;
        }
        let heard = timeout(PATIENCE, async {
            loop {
                let Ok((length, from)) = socket.recv_from(&mut bytes).await else { return None };
                // To a question to the group, the device answers from its own address.
                let from_device = server.ip().is_multicast() || from.ip() == server.ip();
                if let Some(found) = bytes.get(..length).filter(|_| from_device).and_then(|bytes| read(bytes, id, service)) {
                    return Some(found);
                }
            }
        });
        if let Ok(Some(found)) = heard.await {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn question(id: u16, service: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.questions.push(Question::new(Name::new(service).ok()?, QTYPE::TYPE(TYPE::PTR), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// What an answer says of a service; nothing if it is none to this question.
fn read(bytes: &[u8], id: u16, service: &str) -> Option<Vec<Instance>> {
    let packet = Packet::parse(bytes).ok()?;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let mut found: BTreeMap<String, Instance> = BTreeMap::new();
    for record in &packet.answers {
        if let RData::PTR(instance) = &record.rdata
            && record.name.to_string().eq_ignore_ascii_case(service)
            && found.len() < MOST
        {
            let name = instance.0.to_string();
            found.insert(name.to_ascii_lowercase(), Instance { name, ..Instance::default() });
        }
    }
    for record in packet.answers.iter().chain(&packet.additional_records) {
        let Some(instance) = found.get_mut(&record.name.to_string().to_ascii_lowercase()) else { continue };
        match &record.rdata {
            RData::SRV(place) => instance.port = Some(place.port),
            RData::TXT(text) => {
                let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let mut pairs: Vec<_> =
                    text.iter_raw().map(|(key, value)| (lossy(key), lossy(value.unwrap_or_default()))).collect();
                pairs.sort();
                instance.text = pairs;
            }
            _ => {}
        }
    }
    Some(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use simple_dns::{
        ResourceRecord,
        rdata::{PTR, SRV, TXT},
    };

    use super::*;

    const SERVICE: &str = "_hub._tcp.local";

    fn answer(id: u16, name: &'static str) -> Vec<u8> {
        let mut packet = Packet::new_reply(id);
        let instance = Name::new("one._hub._tcp.local").unwrap();
        let record = |name, data| ResourceRecord::new(name, CLASS::IN, 10, data);
        packet.answers.push(record(Name::new(name).unwrap(), RData::PTR(PTR(instance.clone()))));
        let place = SRV { priority: 0, weight: 0, port: 9443, target: Name::new("one.local").unwrap() };
        packet.additional_records.push(record(instance.clone(), RData::SRV(place)));
        let text = TXT::new().with_string("version=1").unwrap().with_string("id=7").unwrap();
        packet.additional_records.push(record(instance, RData::TXT(text)));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn an_answer_tells_instances_with_port_and_text() {
        let found = read(&answer(3, SERVICE), 3, SERVICE).unwrap();
        assert_eq!((found.len(), found[0].port), (1, Some(9443)));
        assert_eq!(found[0].text, [("id".to_owned(), "7".to_owned()), ("version".to_owned(), "1".to_owned())]);
        assert_eq!(read(&answer(3, "_other._tcp.local"), 3, SERVICE), Some(Vec::new()));
        assert_eq!(read(&answer(4, SERVICE), 3, SERVICE), None, "an answer to another question");
        assert_eq!(read(&question(3, SERVICE).unwrap(), 3, SERVICE), None, "a question is no answer");
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let good = answer(3, SERVICE);
        for length in 0..good.len() {
            let _ = read(&good[..length], 3, SERVICE);
            let mut changed = good.clone();
            changed[length] ^= 0xff;
            let _ = read(&changed, 3, SERVICE);
        }
    }
}
