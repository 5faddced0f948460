//! The bench's time server: the server's side of SNTP (RFC 4330; packet format of RFC 5905 section 7.3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::channel::network::ClockAnswer;

/// Seconds from 1900, where NTP counts from, to 1970.
const EPOCH: u64 = 2_208_988_800;

/// What the clock shows: a fixed answer, with the moment at which it was ordered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    pub(super) answer: ClockAnswer,
    pub(super) since: Option<SystemTime>,
}

impl Clock {
    /// Time since 1970 that it tells at `now`. Before 1970 it does not go.
    fn told(&self, now: SystemTime) -> Duration {
        let true_time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.answer {
            ClockAnswer::Ahead(by) => true_time.saturating_add(by),
            ClockAnswer::Behind(by) => true_time.saturating_sub(by),
            ClockAnswer::At(seconds) => {
                let passed = self.since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
                Duration::from_secs(seconds).saturating_add(passed)
            }
            ClockAnswer::Right | ClockAnswer::Silent | ClockAnswer::Kiss => true_time,
        }
    }
}

/// An NTP timestamp. Seconds wrap in 2036, as they do on the wire.
fn stamp(time: Duration) -> [u8; 8] {
    let seconds = time.as_secs().wrapping_add(EPOCH) as u32;
    let fraction = ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000) as u32;
    (u64::from(seconds) << 32 | u64::from(fraction)).to_be_bytes()
}

/// Whether it is a client's question.
pub(super) fn is_question(request: &[u8]) -> bool {
    request.len() >= 48 && request[0] & 7 == 3
}

/// Answers a question; nothing if it is none, or if the server is silent.
pub(super) fn respond(request: &[u8], clock: &Clock, now: SystemTime) -> Option<[u8; 48]> {
    if !is_question(request) || clock.answer == ClockAnswer::Silent {
        return None;
    }
    let version = request[0] >> 3 & 7;
    let kiss = clock.answer == ClockAnswer::Kiss;
    let mut reply = [0; 48];
    // Leap indicator: 3, not synchronised, in a kiss of death (RFC 5905 section 7.4); mode 4, server.
    reply[0] = if kiss { 3 << 6 } else { 0 } | version << 3 | 4;
    reply[1] = u8::from(!kiss);
    reply[2] = request[2];
    reply[3] = 0xec;
    reply[12..16].copy_from_slice(if kiss { b"DENY" } else { b"LOCL" });
    let time = stamp(clock.told(now));
    // Reference, origin (the client's transmit time), receive, transmit.
    reply[16..24].copy_from_slice(&time);
    reply[24..32].copy_from_slice(&request[40..48]);
    reply[32..40].copy_from_slice(&time);
    reply[40..48].copy_from_slice(&time);
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> [u8; 48] {
        let mut request = [0; 48];
        request[0] = 4 << 3 | 3;
        request[40..48].copy_from_slice(b"originat");
        request
    }

    fn seconds(answer: ClockAnswer, later: u64) -> u32 {
        let since = UNIX_EPOCH + Duration::from_hours(500_000);
        let clock = Clock { answer, since: Some(since) };
        let reply = respond(&question(), &clock, since + Duration::from_secs(later)).unwrap();
        assert_eq!((reply[0], &reply[24..32]), (4 << 3 | 4, b"originat".as_slice()));
        u32::from_be_bytes(reply[40..44].try_into().unwrap())
    }

    #[test]
    fn the_time_is_what_was_ordered() {
        let right = (1_800_000_000 + EPOCH) as u32;
        assert_eq!(seconds(ClockAnswer::Right, 0), right);
        assert_eq!(seconds(ClockAnswer::Ahead(Duration::from_secs(7)), 1), right + 8);
        assert_eq!(seconds(ClockAnswer::Behind(Duration::from_secs(7)), 1), right - 6);
        assert_eq!(seconds(ClockAnswer::At(0), 3), 2_208_988_803, "1970, three seconds later");
        // 7 February 2036, 06:28:16: the seconds of NTP begin again.
        assert_eq!(seconds(ClockAnswer::At(2_085_978_495), 0), u32::MAX);
        assert_eq!(seconds(ClockAnswer::At(2_085_978_495), 1), 0);
    }

    #[test]
    fn a_kiss_of_death_is_one_and_silence_is_silence() {
        let now = SystemTime::now();
        let kiss = respond(&question(), &Clock { answer: ClockAnswer::Kiss, since: None }, now).unwrap();
        assert_eq!((kiss[0] >> 6, kiss[1], &kiss[12..16]), (3, 0, b"DENY".as_slice()));
        assert!(respond(&question(), &Clock { answer: ClockAnswer::Silent, since: None }, now).is_none());
    }

    #[test]
    fn only_questions_are_answered() {
        let mut reply = question();
        reply[0] = 4 << 3 | 4;
        for request in [&reply[..], &question()[..47], &[]] {
            assert!(respond(request, &Clock::default(), SystemTime::now()).is_none());
        }
    }
}
