//! Evidence: the bytes that facts point to.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use super::name::{is_safe_name, numbered};
use crate::event::EvidenceRef;

/// Wraps each file the journal opens for writing; given the file's name. For tests of what a full or failing disk does.
pub type Sink = Arc<dyn Fn(&str, File) -> Box<dyn Write + Send> + Send + Sync>;

/// How often one name is numbered before the caller is told to choose another.
const MOST_OF_A_NAME: u32 = 10_000;

pub(super) struct Store {
    directory: PathBuf,
    sink: Option<Sink>,
    streams: BTreeMap<String, Stream>,
}

struct Stream {
    file: Box<dyn Write + Send>,
    len: u64,
}

impl Store {
    pub(super) fn new(directory: PathBuf, sink: Option<Sink>) -> Self {
        Self { directory, sink, streams: BTreeMap::new() }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Write + Send>> {
        let file = OpenOptions::new().append(true).create_new(true).open(self.directory.join(name))?;
        Ok(match &self.sink {
            Some(sink) => sink(name, file),
            None => Box::new(file),
        })
    }

    /// Adds to a stream, which begins with its first bytes.
    pub(super) fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<EvidenceRef> {
        usable(name)?;
        if !self.streams.contains_key(name) {
            let file = self.create(name)?;
            self.streams.insert(name.to_owned(), Stream { file, len: 0 });
        }
        // Present by now; written so that there is nothing to unwrap.
        let Some(stream) = self.streams.get_mut(name) else { return Err(unsafe_name(name)) };
        stream.file.write_all(bytes)?;
        let place = EvidenceRef { file: name.to_owned(), offset: stream.len, len: bytes.len() as u64 };
        stream.len += bytes.len() as u64;
        Ok(place)
    }

    /// Writes a file at once. If the name is taken, a number is added.
    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<EvidenceRef> {
        usable(name)?;
        for n in 1..MOST_OF_A_NAME {
            let name = numbered(name, n);
            match self.create(&name) {
                Ok(mut file) => {
                    file.write_all(bytes)?;
                    return Ok(EvidenceRef { file: name, offset: 0, len: bytes.len() as u64 });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there are {MOST_OF_A_NAME} evidence files called {name}")))
    }
}

fn usable(name: &str) -> io::Result<()> {
    // The two endings mean something in a run directory: a compressed file, and one that is not complete.
    if is_safe_name(name) && !name.ends_with(".gz") && !name.ends_with(".tmp") { Ok(()) } else { Err(unsafe_name(name)) }
}

fn unsafe_name(name: &str) -> io::Error {
    let what =
        format!("{name:?} cannot name evidence: use letters, digits, single dots, `_` and `-`, and not the ending .gz or .tmp");
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
