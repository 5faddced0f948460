//! What the guard process adds when the controller is gone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::{
    EventReader, GUARD,
    line::{self, Chain},
    open::open_regular,
};
use crate::event::{Fact, Nanos, RunId};

/// Appends facts to `guard.jsonl` of a run directory: plain blocking calls, no thread, no runtime. Each fact is on the disk when the
/// call returns. While the writer lives, the file is locked and the run cannot be recovered by others.
pub struct GuardWriter {
    file: File,
    buffer: Vec<u8>,
    chain: Chain,
    next: u64,
    /// Length of the file in whole lines.
    end: u64,
}

impl GuardWriter {
    /// Opens `guard.jsonl` in `directory`, which is `ID.partial` while the controller lives. Do this when the run starts: the file
    /// then exists before the disk can be full, and stays reachable if the directory is renamed. Facts of an earlier guard are kept.
    ///
    /// # Errors
    /// If the file cannot be opened or another guard holds it.
    pub fn open(directory: &Path, run: &RunId) -> io::Result<Self> {
        let path = directory.join(GUARD);
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.try_lock()?;
        let mut reader = EventReader::guard(Box::new(open_regular(&path)?), run);
        let next = reader.by_ref().count() as u64;
        // An earlier guard's torn line; nothing after it could be read.
        if reader.damage().is_some() {
            file.set_len(reader.offset())?;
        }
        Ok(Self { file, buffer: Vec::new(), chain: reader.last_chain(), next, end: reader.offset() })
    }

    /// Writes one fact. `at` is bench time as well as the guard knows it: what it was last told, plus what has passed since.
    ///
    /// # Errors
    /// If it cannot be written and synchronised. The guard goes on with the safe state.
    pub fn append(&mut self, at: Nanos, fact: &Fact) -> io::Result<()> {
        let chain = line::encode(&mut self.buffer, &self.chain, self.next, at, fact)?;
        if let Err(error) = self.file.write_all(&self.buffer) {
            // A part of a line would hide what is written after it.
            let _ = self.file.set_len(self.end);
            return Err(error);
        }
        self.end += self.buffer.len() as u64;
        self.chain = chain;
        self.next += 1;
        self.file.sync_data()
    }
}
