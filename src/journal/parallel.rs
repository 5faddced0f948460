//! Reading a whole `events.jsonl` at once, on several threads.
//!
//! The file is cut into pieces at newlines. Each line can be checked against the chain value that the line before it claims, so a
//! piece needs only the last line of the piece before. A claim that is false is noticed where that line itself is checked.

use std::{
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use super::{
    Damage, DamageKind, EVENTS, MAX_LINE,
    line::{self, Chain},
};
use crate::event::Event;

/// Aimed-at size of a piece in bytes.
const PIECE: usize = 1 << 19;

struct Piece {
    index: usize,
    bytes: Vec<u8>,
    /// Bytes of the file before it.
    offset: u64,
    /// Claimed by the line before it.
    chain: Chain,
    first: u64,
    /// What follows these bytes: more lines, the end of the file, or something that cannot be read.
    after: Option<DamageKind>,
}

struct Part {
    index: usize,
    events: Vec<Event>,
    damage: Option<Damage>,
}

/// All events of the longest valid prefix, and what ended it.
pub(super) fn read_all(source: Box<dyn Read + Send>) -> (Vec<Event>, Option<Damage>) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(1, 8);
    let (to_workers, work) = sync_channel::<Piece>(threads);
    let work = Mutex::new(work);
    let mut parts: Vec<Part> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| check_pieces(&work))).collect();
        cut(source, &to_workers);
        drop(to_workers);
        // A worker cannot panic on any input; if one did, its parts would be missing, and the order check below notices.
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    parts.sort_by_key(|part| part.index);
    let mut events = Vec::with_capacity(parts.iter().map(|part| part.events.len()).sum());
    for (index, part) in parts.into_iter().enumerate() {
        if part.index != index {
            let why = DamageKind::Unreadable("the reader failed on this part".to_owned());
            return (events, Some(Damage { file: EVENTS.to_owned(), line: 0, offset: 0, why }));
        }
        events.extend(part.events);
        if part.damage.is_some() {
            return (events, part.damage);
        }
    }
    (events, None)
}

fn check_pieces(work: &Mutex<Receiver<Piece>>) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        let piece = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match piece {
            Ok(piece) => parts.push(check(piece)),
            Err(_) => return parts,
        }
    }
}

fn check(piece: Piece) -> Part {
    let mut events = Vec::with_capacity(piece.bytes.len() / 128);
    let (mut chain, mut next, mut rest) = (piece.chain, piece.first, &piece.bytes[..]);
    let damage = |line: u64, left: usize, why: DamageKind| {
        let offset = piece.offset + (piece.bytes.len() - left) as u64;
        Some(Damage { file: EVENTS.to_owned(), line: line + 1, offset, why })
    };
    while !rest.is_empty() {
        let (text, after, whole) = match memchr::memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..], true),
            None => (rest, &[][..], false),
        };
        match line::decode(text, &chain, next) {
            Ok((event, linked)) => {
                events.push(event);
                (chain, next, rest) = (linked, next + 1, after);
            }
            Err(why) => {
                let why = match (whole, &piece.after) {
                    (true, _) => why,
                    (false, Some(after)) => after.clone(),
                    (false, None) => DamageKind::Torn,
                };
                return Part { index: piece.index, damage: damage(next, rest.len(), why), events };
            }
        }
    }
    let damage = piece.after.clone().and_then(|why| damage(next, 0, why));
    Part { index: piece.index, events, damage }
}

/// Cuts the source into pieces of whole lines; the last piece may end in a torn line.
fn cut(mut source: Box<dyn Read + Send>, to_workers: &SyncSender<Piece>) {
    let (mut index, mut offset, mut chain, mut first) = (0, 0_u64, line::engine_origin(), 0);
    let mut bytes = Vec::with_capacity(PIECE + MAX_LINE);
    loop {
        let before = bytes.len();
        let result = fill(&mut source, &mut bytes, PIECE);
        let at_end = bytes.len() - before < PIECE;
        let mut after = result.err().map(|error| DamageKind::Unreadable(error.to_string()));
        let last_newline = memchr::memrchr(b'\n', &bytes);
        // A line that is still without an end after this much is not read on.
        let endless = last_newline.is_none_or(|end| bytes.len() - end - 1 > MAX_LINE) && bytes.len() > MAX_LINE;
        if endless && after.is_none() {
            after = Some(DamageKind::TooLong);
        }
        let last = at_end || after.is_some();
        let end = match last_newline {
            _ if last => bytes.len(),
            Some(newline) => newline + 1,
            None => continue,
        };
        let rest = bytes.split_off(end);
        let last_line = bytes.strip_suffix(b"\n").map(|text| &text[memchr::memrchr(b'\n', text).map_or(0, |n| n + 1)..]);
        let claims = last_line.and_then(|text| Some((line::claimed(text)?, line::claimed_seq(text)?.checked_add(1)?)));
        let len = bytes.len() as u64;
        let piece = Piece { index, bytes, offset, chain, first, after };
        if to_workers.send(piece).is_err() || last {
            return;
        }
        // Without a claim the last line of the piece is damaged, and nothing after it counts.
        let Some(claims) = claims else { return };
        (chain, first) = claims;
        bytes = rest;
        offset += len;
        index += 1;
    }
}

/// Adds up to `most` bytes; fewer only at the end of the source or with an error.
fn fill(source: &mut dyn Read, bytes: &mut Vec<u8>, most: usize) -> io::Result<()> {
    source.take(most as u64).read_to_end(bytes).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::read_all;
    use crate::{
        event::{Event, Fact, Nanos},
        journal::{Damage, EventReader, MAX_LINE, line},
    };

    fn both(bytes: &[u8]) -> (Vec<Event>, Option<Damage>) {
        let parallel = read_all(Box::new(Cursor::new(bytes.to_vec())));
        let mut reader = EventReader::over(Cursor::new(bytes.to_vec()));
        let events: Vec<Event> = reader.by_ref().collect();
        assert_eq!((&events, reader.damage()), (&parallel.0, parallel.1.as_ref()));
        parallel
    }

    fn journal(events: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut buffer, mut chain, mut ends) = (Vec::new(), Vec::new(), line::engine_origin(), Vec::new());
        for seq in 0..events {
            let fact = Fact::LeaseTaken { instrument: "x".repeat((seq as usize * 37) % 300), waited_ms: None };
            chain = line::encode(&mut buffer, &chain, seq, Nanos(seq), &fact).unwrap();
            bytes.extend_from_slice(&buffer);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    /// Several pieces; damage in the first, in a later one, at a piece's border; the line-by-line reader is the reference.
    #[test]
    fn in_pieces_as_line_by_line() {
        let (bytes, ends) = journal(6000);
        assert!(bytes.len() > 2 * super::PIECE);
        let (events, damage) = both(&bytes);
        assert_eq!((events.len(), damage), (6000, None));
        for at in [0, 100, super::PIECE - 1, super::PIECE, super::PIECE + 1, bytes.len() - 2, bytes.len() / 2] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let (events, damage) = both(&bad);
            let line = ends.iter().take_while(|end| **end <= at).count();
            assert_eq!((events.len(), damage.unwrap().line), (line, line as u64 + 1), "byte {at}");
        }
        for end in [0, 1, super::PIECE, super::PIECE + 77, bytes.len() - 1] {
            both(&bytes[..end]);
        }
        // A line taken out.
        let without = [&bytes[..ends[10]], &bytes[ends[11]..]].concat();
        assert_eq!(both(&without).0.len(), 11);
    }

    #[test]
    fn endless_lines_are_refused_in_bounded_memory() {
        let (mut bytes, _) = journal(3);
        bytes.resize(bytes.len() + 3 * MAX_LINE, b'x');
        let (events, damage) = both(&bytes);
        assert_eq!((events.len(), damage.unwrap().why), (3, super::DamageKind::TooLong));
        bytes.push(b'\n');
        assert_eq!(both(&bytes).1.unwrap().why, super::DamageKind::TooLong);
        let (mut bytes, _) = journal(3);
        bytes.resize(bytes.len() + 100, b'x');
        assert_eq!(both(&bytes).1.unwrap().why, super::DamageKind::Torn);
    }
}
