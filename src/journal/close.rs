//! Closing: compress what pays, digest everything, write the manifest, rename.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};

use super::{
    EVENTS, EVIDENCE, Ended, FileEntry, GUARD, INPUTS, Journal, JournalError, MANIFEST, Manifest, SCHEMA, Summary,
    open::open_regular, writer::Failure,
};
use crate::event::{Digest, RunId};

/// A closed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Where it now is.
    pub directory: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Files smaller than this are not worth unpacking.
const SMALLEST_COMPRESSED: u64 = 4096;

impl Journal {
    /// Closes the journal and gives the directory its final name. Blocks while files are compressed and synchronised to the disk;
    /// an async caller uses a blocking task. Reports that belong to the run are written to [`Journal::directory`] before.
    ///
    /// # Errors
    /// `Closed` if it is closed already, `Failed` if writing failed now or earlier: the directory then keeps its `.partial` name
    /// and everything in it.
    pub fn close(&self) -> Result<Closed, JournalError> {
        self.inner.shut()?;
        if let Some(failure) = self.failed() {
            return Err(JournalError::Failed(failure));
        }
        let (summary, synchronised) = {
            let writer = self.inner.writer();
            (writer.summary.clone(), writer.file.sync_all())
        };
        let failed = |error: io::Error| {
            self.inner.fail(Failure::new(format!("close the run directory {}", self.inner.partial.display()), &error))
        };
        synchronised.map_err(failed)?;
        let manifest =
            finish(&self.inner.partial, &self.inner.closed_path, &self.inner.run, Ended::Closed, summary).map_err(failed)?;
        Ok(Closed { directory: self.inner.closed_path.clone(), manifest })
    }
}

/// Makes a closed run of the directory `partial`.
pub(super) fn finish(partial: &Path, closed: &Path, run: &RunId, ended: Ended, summary: Summary) -> io::Result<Manifest> {
    let mut files = Vec::new();
    for (prefix, directory) in [("", partial.to_owned()), (EVIDENCE, partial.join(EVIDENCE)), (INPUTS, partial.join(INPUTS))] {
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            // Links and the like are not ours: neither followed nor listed.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        for name in &names {
            // Left by a close that was interrupted: half-written files, and compressed ones whose plain file is still there.
            let leftover =
                name.ends_with(".tmp") || name.strip_suffix(".gz").is_some_and(|plain| names.iter().any(|n| n == plain));
            let empty_guard = name == GUARD && fs::metadata(directory.join(name))?.len() == 0;
            if leftover || (prefix.is_empty() && (name == MANIFEST || empty_guard)) {
                continue;
            }
            let relative = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            // Inputs stay as people wrote them, the guard may still hold its file, and reports are read by other tools.
            let may_compress = prefix == EVIDENCE || relative.strip_suffix(".gz").unwrap_or(&relative) == EVENTS;
            files.push(settle(&directory.join(name), relative, may_compress)?);
        }
        File::open(&directory)?.sync_all()?;
    }
    let manifest = Manifest { schema: SCHEMA.to_owned(), run: run.clone(), ended, summary, files };
    let temporary = partial.join("manifest.json.tmp");
    let mut file = File::create(&temporary)?;
    serde_json::to_writer_pretty(&mut file, &manifest)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&temporary, partial.join(MANIFEST))?;
    File::open(partial)?.sync_all()?;
    if closed.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} exists already", closed.display())));
    }
    fs::rename(partial, closed)?;
    if let Some(store) = closed.parent().filter(|store| !store.as_os_str().is_empty()) {
        File::open(store)?.sync_all()?;
    }
    Ok(manifest)
}

/// Digests one file, and compresses it if that pays.
fn settle(path: &Path, relative: String, may_compress: bool) -> io::Result<FileEntry> {
    // Left by a close that did not come to its end: what is compressed already stays so.
    if let Some(plain) = relative.strip_suffix(".gz").filter(|_| may_compress) {
        let (size, blake3) = digest(&mut GzDecoder::new(BufReader::new(open_regular(path)?)))?;
        return Ok(FileEntry { file: plain.to_owned(), size, blake3, compressed: true });
    }
    let mut file = open_regular(path)?;
    let (size, blake3) = digest(&mut file)?;
    file.sync_all()?;
    let compressed = may_compress && size >= SMALLEST_COMPRESSED && compress(path, size).unwrap_or(false);
    Ok(FileEntry { file: relative, size, blake3, compressed })
}

pub(super) fn digest(source: &mut dyn Read) -> io::Result<(u64, Digest)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((size, Digest(hasher.finalize().to_hex().to_string()))),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Replaces `PATH` by `PATH.gz` if that saves at least a tenth. An error leaves the plain file: compressing is never worth a run.
fn compress(path: &Path, size: u64) -> io::Result<bool> {
    let name = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (temporary, packed) = (name(".gz.tmp"), name(".gz"));
    let pack = || -> io::Result<u64> {
        let target = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        let mut encoder = GzEncoder::new(target, Compression::default());
        io::copy(&mut open_regular(path)?, &mut encoder)?;
        let target = encoder.finish()?;
        target.sync_all()?;
        Ok(target.metadata()?.len())
    };
    match pack() {
        Ok(len) if len <= size / 10 * 9 && !packed.exists() => {
            fs::rename(&temporary, &packed)?;
            fs::remove_file(path)?;
            Ok(true)
        }
        outcome => {
            let _ = fs::remove_file(&temporary);
            outcome.map(|_| false)
        }
    }
}
