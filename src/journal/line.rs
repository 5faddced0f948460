//! One event as one line, and the chain that binds each line to the one before.
//!
//! A line is `{"seq":0,"at":0,"fact":{...},"chain":"32 hex digits"}`. The chain value is the first half of
//! BLAKE3(chain value before || every byte of the line before `,"chain"`). A line can therefore be checked with nothing but the
//! line before it, which is what lets a file be read in parallel pieces.

use serde::Serialize;

use super::DamageKind;
use crate::event::{Event, Fact, Nanos, RunId};

/// A chain value.
pub(super) type Chain = [u8; 16];

const LINK: &[u8] = b",\"chain\":\"";
/// `,"chain":"` + 32 digits + `"}`.
const TAIL: usize = LINK.len() + 32 + 2;

/// Chain value before the first line of `events.jsonl`. A constant, so that a copied or renamed run directory still reads; the
/// run's identity stands in its first line.
pub(super) fn engine_origin() -> Chain {
    half(&blake3::hash(b"hilbench events/1"))
}

/// Chain value before the first line of `guard.jsonl`: bound to the run, because its lines name no run.
pub(super) fn guard_origin(run: &RunId) -> Chain {
    half(&blake3::Hasher::new().update(b"hilbench guard/1 ").update(run.0.as_bytes()).finalize())
}

fn half(hash: &blake3::Hash) -> Chain {
    let mut chain = [0; 16];
    chain.copy_from_slice(&hash.as_bytes()[..16]);
    chain
}

fn link(previous: &Chain, body: &[u8]) -> Chain {
    half(&blake3::Hasher::new().update(previous).update(body).finalize())
}

#[derive(Serialize)]
struct Body<'a> {
    seq: u64,
    at: Nanos,
    fact: &'a Fact,
}

/// Writes the line, newline included, over `buffer` and returns its chain value.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    previous: &Chain,
    seq: u64,
    at: Nanos,
    fact: &Fact,
) -> Result<Chain, serde_json::Error> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, &Body { seq, at, fact })?;
    buffer.pop();
    let chain = link(previous, buffer);
    buffer.extend_from_slice(LINK);
    for byte in chain {
        buffer.push(hex(byte >> 4));
        buffer.push(hex(byte & 15));
    }
    buffer.extend_from_slice(b"\"}\n");
    Ok(chain)
}

const fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

fn unhex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The chain value a line (without newline) claims to have.
pub(super) fn claimed(line: &[u8]) -> Option<Chain> {
    let tail = line.get(line.len().checked_sub(TAIL)?..)?;
    let digits = tail.strip_prefix(LINK)?.strip_suffix(b"\"}")?;
    let mut chain = [0; 16];
    for (byte, pair) in chain.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = unhex(pair[0])? << 4 | unhex(pair[1])?;
    }
    Some(chain)
}

/// The number a line claims to have.
pub(super) fn claimed_seq(line: &[u8]) -> Option<u64> {
    number(line.strip_prefix(b"{\"seq\":")?).map(|(seq, _)| seq)
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || (digits > 1 && text[0] == b'0') {
        return None;
    }
    let mut value = 0_u64;
    for digit in &text[..digits] {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some((value, &text[digits..]))
}

/// Reads a line (without newline) that follows `previous` and must be number `expected`.
pub(super) fn decode(line: &[u8], previous: &Chain, expected: u64) -> Result<(Event, Chain), DamageKind> {
    let malformed = |what: &str| DamageKind::Malformed(what.to_owned());
    if line.len() > super::MAX_LINE {
        return Err(DamageKind::TooLong);
    }
    let chain = claimed(line).ok_or_else(|| malformed("it does not end with its chain value"))?;
    let body = &line[..line.len() - TAIL];
    // The chain first: whatever else is wrong with a line that was altered, that it was altered says most.
    if link(previous, body) != chain {
        return Err(DamageKind::Chain);
    }
    let event = parse_body(body).map_err(DamageKind::Malformed)?;
    if event.seq != expected {
        return Err(DamageKind::Sequence { expected, found: event.seq });
    }
    Ok((event, chain))
}

/// Reads a line (without newline) that this process wrote itself and that needs no checking.
pub(super) fn decode_own(line: &[u8]) -> Result<Event, String> {
    claimed(line).ok_or("no chain value")?;
    parse_body(&line[..line.len() - TAIL])
}

fn parse_body(body: &[u8]) -> Result<Event, String> {
    // Taken apart by hand: the frame is fixed, and only the fact needs a parser.
    let frame = || -> Option<(u64, u64, &[u8])> {
        let (seq, rest) = number(body.strip_prefix(b"{\"seq\":")?)?;
        let (at, rest) = number(rest.strip_prefix(b",\"at\":")?)?;
        Some((seq, at, rest.strip_prefix(b",\"fact\":")?))
    };
    let (seq, at, fact) = frame().ok_or("it does not begin with `seq`, `at` and `fact`")?;
    let fact = std::str::from_utf8(fact).map_err(|_| "it is not UTF-8")?;
    let fact: Fact = serde_json::from_str(fact).map_err(|error| error.to_string())?;
    Ok(Event { seq, at: Nanos(at), fact })
}

#[cfg(test)]
mod tests {
    use super::{Chain, claimed, claimed_seq, decode, encode, engine_origin, guard_origin};
    use crate::{
        event::{Fact, Nanos},
        journal::DamageKind,
    };

    fn line(previous: &Chain, seq: u64) -> (Vec<u8>, Chain) {
        let mut buffer = Vec::new();
        let chain = encode(&mut buffer, previous, seq, Nanos(7), &Fact::SafeStateStarted).unwrap();
        (buffer, chain)
    }

    /// The line format is a promise to other readers: spelled out here, byte for byte.
    #[test]
    fn the_form_of_a_line_is_fixed() {
        let (text, _) = line(&engine_origin(), 0);
        let body = br#"{"seq":0,"at":7,"fact":"safe-state-started""#;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&blake3::hash(b"hilbench events/1").as_bytes()[..16]).update(body);
        let chain = &hasher.finalize().to_hex()[..32];
        let expected = format!("{},\"chain\":\"{chain}\"}}\n", String::from_utf8_lossy(body));
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let origin = engine_origin();
        let (text, chain) = line(&origin, 0);
        let text = &text[..text.len() - 1];
        assert_eq!(decode(text, &origin, 0).unwrap().1, chain);
        assert_eq!((claimed(text), claimed_seq(text)), (Some(chain), Some(0)));
        for i in 0..text.len() {
            let mut bad = text.to_vec();
            bad[i] ^= 1;
            assert!(decode(&bad, &origin, 0).is_err(), "byte {i}");
        }
        for end in 0..text.len() {
            assert!(decode(&text[..end], &origin, 0).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn order_and_origin_are_part_of_a_line() {
        let origin = engine_origin();
        let (first, chain) = line(&origin, 0);
        let (second, _) = line(&chain, 1);
        let (skipping, _) = line(&chain, 2);
        let cut = |text: &Vec<u8>| text[..text.len() - 1].to_vec();
        assert!(decode(&cut(&second), &chain, 1).is_ok());
        assert_eq!(decode(&cut(&second), &origin, 1).unwrap_err(), DamageKind::Chain);
        assert_eq!(decode(&cut(&skipping), &chain, 1).unwrap_err(), DamageKind::Sequence { expected: 1, found: 2 });
        assert_eq!(decode(&cut(&first), &guard_origin(&"r".into()), 0).unwrap_err(), DamageKind::Chain);
        assert_ne!(guard_origin(&"a".into()), guard_origin(&"b".into()));
    }
}
