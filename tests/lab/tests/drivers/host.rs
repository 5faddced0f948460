//! What the tests share.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lab::usb::sysfs;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

/// Against hangs only.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Fails outside the guest, where these tests would touch somebody's real devices.
pub(crate) fn in_guest() {
    assert!(std::env::var_os("HILBENCH_LAB_GUEST").is_some(), "this test needs the lab: run `cargo lab test`");
}

/// Waits for a condition that has to come.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(sysfs::until(PATIENCE, condition), "waited in vain: {what}");
}

/// The link that udev makes for a terminal by its serial number, and the device file behind it.
pub(crate) fn by_id(serial: &str) -> Option<(PathBuf, PathBuf)> {
    // udev makes a link under a hidden name and renames it.
    let named = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let mut links = fs::read_dir("/dev/serial/by-id").ok()?.flatten().filter(named).map(|entry| entry.path());
    let link =
        links.find(|link| link.file_name().is_some_and(|name| name.to_string_lossy().contains(&format!("_{serial}-if"))))?;
    let file = link.canonicalize().ok()?;
    Some((link, file))
}

/// Waits for that link.
#[track_caller]
pub(crate) fn wait_by_id(serial: &str) -> (PathBuf, PathBuf) {
    let mut found = None;
    eventually("a link in /dev/serial/by-id", || {
        found = by_id(serial);
        found.is_some()
    });
    found.unwrap()
}

/// Opens a terminal as the serial driver of hilbench does.
pub(crate) fn open(path: &Path) -> SerialStream {
    tokio_serial::new(path.to_str().unwrap(), 115_200).open_native_async().unwrap()
}

/// Runs something asynchronous, at most for [`PATIENCE`].
#[track_caller]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await }).expect("it hangs")
}

/// Lets time pass: for moments that are meant to be random.
pub(crate) fn pass(time: Duration) {
    let _ = sysfs::until(time, || false);
}
