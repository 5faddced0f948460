//! What the kernel has made of a device.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often a condition without a notification is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for a condition, at most `time`. `false` if it did not come.
pub fn until(time: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        thread::park_timeout(LOOK);
    }
    true
}

/// Name of the terminal of the device at `location` (such as `1-1`), once its driver has made one.
#[must_use]
pub fn terminal(location: &str) -> Option<String> {
    let device = PathBuf::from("/sys/bus/usb/devices").join(location);
    let interfaces = names(&device).into_iter().filter(|name| name.starts_with(&format!("{location}:")));
    // cdc-acm has `1-1:1.0/tty/ttyACM0`, usb-serial `1-1:1.0/ttyUSB0`.
    let below = interfaces.flat_map(|name| {
        let interface = device.join(name);
        names(&interface.join("tty")).into_iter().chain(names(&interface))
    });
    below.filter(|name| name.starts_with("ttyACM") || name.starts_with("ttyUSB")).min()
}

/// Whether the kernel still lists a device at `location`.
#[must_use]
pub fn present(location: &str) -> bool {
    Path::new("/sys/bus/usb/devices").join(location).exists()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
