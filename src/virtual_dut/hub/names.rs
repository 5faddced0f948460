//! The hub asks its name server for the address of a name (RFC 1035), over UDP.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE, rdata::RData};

use super::{attach::Servers, pace::Pace};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions before it is given up.
const TRIES: u16 = 3;

/// The address of `name`.
pub(super) async fn resolve(servers: &Servers, name: &str, pace: &Pace) -> Option<IpAddr> {
    for number in 1..=TRIES {
        if let Some(address) = ask(servers, name, number, pace).await {
            return Some(address);
        }
    }
    None
}

async fn ask(servers: &Servers, name: &str, number: u16, pace: &Pace) -> Option<IpAddr> {
    let socket = servers.udp(servers.names).await?;
    // Which is not to be guessed by who cannot see the question.
    let id = number ^ socket.local_addr().ok()?.port();
    socket.send(&question(id, name)?).await.ok()?;
    let mut answer = [0; 512];
    let read = pace.within(PATIENCE, socket.recv(&mut answer)).await?.ok()?;
    address(answer.get(..read)?, id, name).map(IpAddr::V4)
}

fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?.into_owned();
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// The address in an answer, if it is one to this question.
fn address(answer: &[u8], id: u16, name: &str) -> Option<Ipv4Addr> {
    let packet = Packet::parse(answer).ok()?;
    let same = |other: &Name<'_>| other.to_string().eq_ignore_ascii_case(name);
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !packet.questions.first().is_some_and(|q| same(&q.qname)) {
        return None;
    }
    packet.answers.iter().filter(|record| same(&record.name)).find_map(|record| match &record.rdata {
        RData::A(address) => Some(Ipv4Addr::from(address.address)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;

    use super::*;

    #[test]
    fn only_answers_to_the_question_count() {
        let asked = question(7, "update.hub.example").unwrap();
        let query = Packet::parse(&asked).unwrap();
        let answered = |id: u16, name: &str| {
            let mut reply = Packet::new_reply(id);
            reply.questions.push(query.questions[0].clone());
            let record = RData::A(Ipv4Addr::new(127, 1, 2, 3).into());
            reply.answers.push(ResourceRecord::new(Name::new(name).unwrap().into_owned(), CLASS::IN, 5, record));
            reply.build_bytes_vec().unwrap()
        };
        let good = answered(7, "update.hub.example");
        assert_eq!(address(&good, 7, "update.hub.example"), Some(Ipv4Addr::new(127, 1, 2, 3)));
        assert_eq!(address(&good, 8, "update.hub.example"), None);
        assert_eq!(address(&good, 7, "other.example"), None);
        assert_eq!(address(&answered(7, "other.example"), 7, "update.hub.example"), None);
        assert_eq!(address(&asked, 7, "update.hub.example"), None, "a question is no answer");
        for length in 0..good.len() {
            let _ = address(&good[..length], 7, "update.hub.example");
        }
    }
}
