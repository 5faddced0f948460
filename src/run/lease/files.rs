//! The lock files: one directory for all users of the machine.
//!
//! Files and directory can be written by everybody, as locks are that several users share; the directory has the sticky bit, so that nobody
//! can take away a file that somebody else has locked. What stands in a file is not to be trusted.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg, OFlag},
    unistd::{AccessFlags, access},
};

use super::LeaseError;

/// The lock under which the others are taken and looked at.
const DOOR: &str = "door";
/// Time for it; it is held for microseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that is read of a record, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Where leases are kept: one place for all users of the machine where that can be written, else in the store.
#[must_use]
pub fn directory(store: &Path) -> std::path::PathBuf {
    if let Some(chosen) = std::env::var_os("HILBENCH_LEASES") {
        return chosen.into();
    }
    let shared = Path::new("/run/lock/hilbench");
    let usable = make(shared).is_ok() && access(shared, AccessFlags::W_OK).is_ok();
    if usable { shared.to_owned() } else { store.join("leases") }
}

/// Makes the directory, with room for the other users of this machine.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o1777))
}

/// Opens a file of the directory, which may have to be made, for reading and writing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits());
        options
    };
    // In a directory with the sticky bit the kernel refuses to "create" a file of somebody else that is there (`fs.protected_regular`).
    match options().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options().create_new(true).open(path) {
        Ok(file) => {
            // The umask is not meant for locks that users share.
            file.set_permissions(Permissions::from_mode(0o666))?;
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options().open(path),
        Err(error) => Err(error),
    }
}

/// Waits for the lock on the directory.
pub(super) fn enter(directory: &Path) -> Result<Flock<File>, LeaseError> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(entered) = lock(directory, DOOR, "the leases")? {
            return Ok(entered);
        }
        if Instant::now() >= until {
            let source = io::Error::new(io::ErrorKind::TimedOut, "a process that was stopped holds it; end that process");
            return Err(LeaseError::Io { what: "the leases".to_owned(), path: directory.join(DOOR), source });
        }
        #[expect(clippy::disallowed_methods, reason = "milliseconds, and only where another process is in the same place")]
        thread::sleep(Duration::from_millis(2));
    }
}

/// Locks a file; gives it back unlocked if somebody else has.
pub(super) fn lock(directory: &Path, name: &str, what: &str) -> Result<Result<Flock<File>, File>, LeaseError> {
    let path = directory.join(name);
    let io = |source: io::Error| LeaseError::Io { what: what.to_owned(), path: path.clone(), source };
    make(directory).map_err(io)?;
    try_lock(open(&path).map_err(io)?).map_err(io)
}

/// Locks an open file; gives it back unlocked if somebody else has.
pub(super) fn try_lock(file: File) -> io::Result<Result<Flock<File>, File>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(lock)),
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => Ok(Err(file)),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// What stands in a file, if it can be read.
pub(super) fn content<T: serde::de::DeserializeOwned>(file: File) -> Option<T> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A file name for an identity: readable, and unique through the digest.
pub(super) fn name(instrument: &str) -> String {
    let readable: String = instrument.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    let digest = blake3::hash(instrument.as_bytes()).to_hex();
    format!("{readable}-{}.lock", &digest[..12])
}

/// The file of the guard's lock.
pub(super) fn guard_name(instrument: &str) -> String {
    format!("{}.guard", name(instrument))
}
