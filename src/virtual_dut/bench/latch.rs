//! The state file of the virtual supply.
//!
//! A relay keeps its position when the program that switched it dies. So does the virtual supply: its position stands in a file, written
//! *before* the device follows, and whoever comes next (the guard, another run) finds it there.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Reads the position: `true` for up. No file means a new relay, which is down.
///
/// # Errors
/// The file cannot be read, or its first word is neither `up` nor `down`.
pub fn latch_read(path: &Path) -> io::Result<bool> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match text.split_whitespace().next() {
        Some("up") => Ok(true),
        Some("down") => Ok(false),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: neither `up` nor `down`", path.display()))),
    }
}

/// Sets the position: one line `up` or `down`, the process that did it, and when (RFC 3339). The file is replaced in one step, so that a
/// reader or a crash sees the old line or the new one.
///
/// # Errors
/// The directory cannot be written.
pub fn latch_write(path: &Path, up: bool) -> io::Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let state = if up { "up" } else { "down" };
    let mut name = path.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(format!(".{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
    let new: PathBuf = path.with_file_name(name);
    let written = fs::File::create(&new).and_then(|mut file| {
        writeln!(file, "{state} pid {} at {}", process::id(), jiff::Timestamp::now())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        // The new name is of no use to anybody; the error that counts is the first.
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latch_keeps_what_was_written_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay");
        assert!(!latch_read(&path).unwrap());
        latch_write(&path, true).unwrap();
        assert!(latch_read(&path).unwrap());
        latch_write(&path, false).unwrap();
        assert!(!latch_read(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, "upside").unwrap();
        assert_eq!(latch_read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(&path, b"\xff\xfe").unwrap();
        latch_read(&path).unwrap_err();
        latch_write(&dir.path().join("missing/relay"), true).unwrap_err();
    }
}
