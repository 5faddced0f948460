//! Following a run of any process while it is written, and reading any part of it again.
//!
//! For displays: new events are handed out in small portions, so that a display can stop reading when it has something better to do;
//! old ones are read back from the file, so that it need not keep them. A run may be closed, compressed and renamed meanwhile: the
//! file that was opened stays readable.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    Damage, DamageKind, EVENTS, EVIDENCE, EventReader, GUARD, MAX_LINE, OpenError, PARTIAL, RunDir, RunState,
    line::{self, Chain},
    name::is_safe_name,
    open::{open_regular, open_stored},
};
use crate::event::{Event, Fact, RunId};

/// Every this many events the place in the file is remembered: 8 bytes of memory each.
const STRIDE: u64 = 256;
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// Most that the guard adds; it writes a handful.
const MOST_LATE: usize = 10_000;

/// A run that is read while it is written.
pub struct Follower {
    directory: PathBuf,
    id: RunId,
    header_run: Option<RunId>,
    file: File,
    buffer: Vec<u8>,
    /// Where in `buffer` the next line begins.
    start: usize,
    /// Where in the file the next bytes are read.
    at: u64,
    chain: Chain,
    next: u64,
    offsets: Vec<u64>,
    damage: Option<Damage>,
    /// What the guard added, and how long its file was then.
    late: Vec<Event>,
    late_len: u64,
    handed_late: usize,
}

impl Follower {
    /// Begins at the first event of `run`.
    ///
    /// # Errors
    /// Its events cannot be opened, or there is no room to unpack them.
    pub fn new(run: &RunDir) -> Result<Self, OpenError> {
        let path = run.path().join(EVENTS);
        let file = readable(&path).map_err(|source| OpenError::Io { path, source })?;
        Ok(Self {
            directory: run.path().to_owned(),
            id: run.id().clone(),
            header_run: None,
            file,
            buffer: Vec::new(),
            start: 0,
            at: 0,
            chain: line::engine_origin(),
            next: 0,
            offsets: Vec::new(),
            damage: None,
            late: Vec::new(),
            late_len: 0,
            handed_late: 0,
        })
    }

    /// The run.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Where the run is now: closing renames it.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        if !self.directory.exists()
            && let Some(name) = self.directory.file_name()
            && let Some(closed) = name.to_string_lossy().strip_suffix(PARTIAL)
        {
            return self.directory.with_file_name(closed);
        }
        self.directory.clone()
    }

    /// What the run is at now.
    #[must_use]
    pub fn state(&self) -> RunState {
        RunDir::open(self.directory()).map_or(RunState::Interrupted, |run| run.state())
    }

    /// Events handed out so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next + self.handed_late as u64
    }

    /// Share of the file that has been read, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        let len = self.file.metadata().map_or(0, |metadata| metadata.len());
        let read = self.at.saturating_sub((self.buffer.len() - self.start) as u64);
        if len == 0 { 1.0 } else { (read as f64 / len as f64).min(1.0) }
    }

    /// Why reading ended for good, if it did.
    #[must_use]
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Hands out up to `most` further events, as many as there are now. Reads at most a few pieces of the file.
    pub fn poll(&mut self, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < most && self.damage.is_none() {
            match self.line(&mut events) {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => self.damage = Some(self.damaged(why)),
            }
        }
        // What the guard says comes after everything that the run's own process could still write.
        if events.is_empty() {
            self.ask_guard();
        }
        while events.len() < most && self.handed_late < self.late.len() {
            let mut event = self.late[self.handed_late].clone();
            event.seq = self.position();
            self.handed_late += 1;
            events.push(event);
        }
        events
    }

    /// Takes the next whole line; `false` if there is none yet.
    fn line(&mut self, events: &mut Vec<Event>) -> Result<bool, DamageKind> {
        loop {
            let rest = &self.buffer[self.start..];
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let (event, chain) = line::decode(&rest[..end], &self.chain, self.next)?;
                if self.next.is_multiple_of(STRIDE) {
                    self.offsets.push(self.at - rest.len() as u64);
                }
                self.chain = chain;
                self.next += 1;
                self.start += end + 1;
                if let Fact::RunStarted(header) = &event.fact {
                    self.header_run = Some(header.run.clone());
                }
                events.push(event);
                return Ok(true);
            }
            if rest.len() > MAX_LINE {
                return Err(DamageKind::TooLong);
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let before = self.buffer.len();
            self.buffer.resize(before + PIECE, 0);
            let read = self.file.read_at(&mut self.buffer[before..], self.at);
            self.buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
            match read {
                // The beginning of a line, without its end, stays in the buffer: the rest may still come.
                Ok(0) => return Ok(false),
                Ok(count) => self.at += count as u64,
                Err(error) => return Err(DamageKind::Unreadable(error.to_string())),
            }
        }
    }

    fn damaged(&self, why: DamageKind) -> Damage {
        let offset = self.at - (self.buffer.len() - self.start) as u64;
        Damage { file: EVENTS.to_owned(), line: self.next + 1, offset, why }
    }

    fn ask_guard(&mut self) {
        let Ok(file) = open_regular(&self.directory().join(GUARD)) else { return };
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        if len <= self.late_len || self.state() == RunState::Running {
            return;
        }
        let run = self.header_run.clone().unwrap_or_else(|| self.id.clone());
        let found: Vec<Event> = EventReader::guard(Box::new(file), &run).take(MOST_LATE).collect();
        if found.len() >= self.late.len() {
            self.late = found;
            self.late_len = len;
        }
    }

    /// Events that were handed out before: up to `most` of them from number `from` on. Reads at most 256 before the first.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn again(&self, from: u64, most: usize) -> io::Result<Vec<Event>> {
        let until = from.saturating_add(most as u64).min(self.position());
        let mut events = Vec::with_capacity(until.saturating_sub(from) as usize);
        if from < self.next {
            let last = until.min(self.next);
            let first_block = (from / STRIDE) as usize;
            let end_block = last.div_ceil(STRIDE) as usize;
            let start = self.offsets.get(first_block).copied().unwrap_or(0);
            let read = self.at - (self.buffer.len() - self.start) as u64;
            let end = self.offsets.get(end_block).copied().unwrap_or(read);
            let mut bytes = vec![0; end.saturating_sub(start) as usize];
            self.file.read_exact_at(&mut bytes, start)?;
            for (index, text) in bytes.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()).enumerate() {
                let seq = first_block as u64 * STRIDE + index as u64;
                if seq < from {
                    continue;
                }
                if seq >= last {
                    break;
                }
                events.push(line::decode_own(text).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?);
            }
        }
        for seq in from.max(self.next)..until {
            if let Some(event) = self.late.get((seq - self.next) as usize) {
                events.push(Event { seq, ..event.clone() });
            }
        }
        Ok(events)
    }

    /// A file of evidence that can be read at any place; what is added to it meanwhile is seen.
    ///
    /// # Errors
    /// There is none of that name, or no room to unpack it.
    pub fn evidence(&self, name: &str) -> io::Result<File> {
        if !is_safe_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the evidence reference is not a file name"));
        }
        readable(&self.directory().join(EVIDENCE).join(name))
    }
}

/// A file that can be read at any place. A compressed one is unpacked into a file without a name, which goes with its last handle.
fn readable(path: &Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mut source = open_stored(path)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let place = std::env::temp_dir().join(format!(".hilbench-{}-{number}", std::process::id()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&place)?;
    fs::remove_file(&place)?;
    io::copy(&mut source, &mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        event::Nanos,
        journal::{GuardWriter, Journal, Options},
    };

    const RUN: &str = "20261126-040000-0001";

    fn journal(store: &Path) -> Journal {
        Journal::create(Options::new(store, RunId::from(RUN), Arc::new(|| Nanos(5)))).unwrap()
    }

    fn fact(n: u64) -> Fact {
        Fact::BenchFault { channel: None, what: "x".repeat(n as usize % 90) }
    }

    #[test]
    fn a_run_is_followed_over_its_end_and_read_again_anywhere() {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path());
        let mut follower = Follower::new(&RunDir::open(journal.directory()).unwrap()).unwrap();
        assert!(follower.poll(10).is_empty());
        let mut seen = Vec::new();
        for n in 0..2000 {
            journal.append(fact(n)).unwrap();
            if n % 7 == 0 {
                seen.extend(follower.poll(5));
            }
        }
        journal.evidence_append("console.rx", &[b'x'; 9000]).unwrap();
        let live = follower.evidence("console.rx").unwrap();
        assert_eq!(follower.state(), RunState::Running);
        journal.append(Fact::RunFinished { verdict: crate::event::Verdict::Pass, reason: None, wall_ms: 1 }).unwrap();
        journal.close().unwrap();
        loop {
            let more = follower.poll(100);
            if more.is_empty() {
                break;
            }
            seen.extend(more);
        }
        assert_eq!((seen.len(), follower.position(), follower.state()), (2001, 2001, RunState::Closed));
        let mut reopened = Follower::new(&RunDir::open(root.path().join(RUN)).unwrap()).unwrap();
        assert_eq!(reopened.poll(usize::MAX), seen, "a compressed run is read alike");
        for follower in [&follower, &reopened] {
            for from in [0, 1, 255, 256, 257, 511, 1999, 2000, 2001, 9999] {
                let again = follower.again(from, 300).unwrap();
                let expected: Vec<Event> = seen.iter().skip(from as usize).take(300).cloned().collect();
                assert_eq!(again, expected, "from {from}");
            }
            let mut bytes = vec![0; 9000];
            follower.evidence("console.rx").unwrap().read_exact_at(&mut bytes, 0).unwrap();
            assert!(follower.evidence("../console.rx").is_err());
        }
        assert_eq!(live.metadata().unwrap().len(), 9000);
    }

    #[test]
    fn what_the_guard_adds_comes_last() {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path());
        journal.append(fact(1)).unwrap();
        let directory = journal.directory().to_owned();
        let mut follower = Follower::new(&RunDir::open(&directory).unwrap()).unwrap();
        assert_eq!(follower.poll(9).len(), 1);
        let mut guard = GuardWriter::open(&directory, &RunId::from(RUN)).unwrap();
        guard.append(Nanos(7), &Fact::SafeStateStarted).unwrap();
        assert_eq!(follower.poll(9).len(), 0, "the run's own process may still write");
        drop(journal);
        guard.append(Nanos(8), &Fact::SafeStateFinished { ok: true, by: "guard".to_owned() }).unwrap();
        let late = follower.poll(9);
        assert_eq!(late.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(follower.again(0, 9).unwrap().len(), 3);
        assert!(follower.poll(9).is_empty());
    }

    #[test]
    fn a_line_that_was_changed_ends_it() {
        let root = tempfile::tempdir().unwrap();
        let journal = journal(root.path());
        for n in 0..3 {
            journal.append(fact(n + 20)).unwrap();
        }
        let path = journal.directory().join(EVENTS);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut follower = Follower::new(&RunDir::open(journal.directory()).unwrap()).unwrap();
        assert_eq!(follower.poll(9).len(), 1);
        assert_eq!(follower.damage().map(|damage| damage.line), Some(2));
        assert!(follower.poll(9).is_empty());
    }
}
