//! Opening files of a run directory that somebody else may have prepared.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use flate2::bufread::GzDecoder;
use nix::fcntl::OFlag;

/// Opens a regular file for reading: never through a link (it could point anywhere on this machine), never a pipe (it could block).
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a regular file", path.display())));
    }
    Ok(file)
}

/// Opens `path`, or `path.gz` through a decompressor if the plain file is not there.
pub(super) fn open_stored(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match open_regular(&packed(path)) {
            Ok(file) => Ok(Box::new(GzDecoder::new(BufReader::new(file)))),
            // The name people know is the plain one.
            Err(_) => Err(error),
        },
        Err(error) => Err(error),
        Ok(file) => Ok(Box::new(file)),
    }
}

pub(super) fn packed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}
