//! Arrivals and departures, told as they happen.
//!
//! libusb's hot-plug events (the kernel's uevents) say *that* something has changed; what is there is read from sysfs, whose entries
//! come a little after and go a little after the event. Where libusb has no such events, sysfs is looked at more often.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusb::{Context, Device, Hotplug, HotplugBuilder, Registration, UsbContext as _};

use super::wanted::Wanted;
use crate::{
    channel::link::{Notice, Notices},
    driver::sysfs::{UsbDevice, usb_devices},
};

/// How often sysfs is looked at without events.
const POLL: Duration = Duration::from_millis(50);
/// How often with events: they are enough, this is for those that are lost.
const SELDOM: Duration = Duration::from_secs(1);
/// After an event, sysfs is followed this closely for this long.
const CLOSE: Duration = Duration::from_millis(10);
const AFTER: Duration = Duration::from_millis(300);

/// Watches until it is dropped.
pub(super) struct Watch(Arc<AtomicBool>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    /// Starts a thread that tells of the devices that `wanted` means, and of any other at the place that it names.
    pub(super) fn start(wanted: Wanted, sys: PathBuf, notices: Notices) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let watch = move || {
            let mut seen = Seen::new(wanted, &sys);
            let events = Events::new();
            let mut closely_until = Instant::now();
            let mut looked = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                if events.wait() {
                    closely_until = Instant::now() + AFTER;
                }
                let now = Instant::now();
                if now < closely_until || now >= looked + events.interval() {
                    looked = now;
                    for what in seen.changes(&sys) {
                        notices(Notice { what, evidence: None });
                    }
                }
            }
        };
        // Without a thread there are no notices; steps look at the bus themselves.
        drop(thread::Builder::new().name("usb-watch".to_owned()).spawn(watch));
        Self(ended)
    }
}

/// libusb's events, if it has them.
struct Events {
    registered: Option<(Context, Registration<Context>)>,
    changed: Arc<AtomicBool>,
}

struct Mark(Arc<AtomicBool>);

impl Hotplug<Context> for Mark {
    fn device_arrived(&mut self, _: Device<Context>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn device_left(&mut self, _: Device<Context>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Events {
    fn new() -> Self {
        let changed = Arc::new(AtomicBool::new(false));
        let registered = Context::new().ok().filter(|_| rusb::has_hotplug()).and_then(|context| {
            let mark = Box::new(Mark(Arc::clone(&changed)));
            let registration = HotplugBuilder::new().register(&context, mark).ok()?;
            Some((context, registration))
        });
        Self { registered, changed }
    }

    const fn interval(&self) -> Duration {
        if self.registered.is_some() { SELDOM } else { POLL }
    }

    /// Waits a moment; whether something has changed meanwhile.
    fn wait(&self) -> bool {
        match &self.registered {
            Some((context, _)) if context.handle_events(Some(CLOSE)).is_ok() => {}
            _ => thread::park_timeout(CLOSE),
        }
        self.changed.swap(false, Ordering::Relaxed)
    }
}

/// What was there when it was last looked at.
struct Seen {
    wanted: Wanted,
    /// By place; a device that comes back has another address.
    devices: BTreeMap<String, UsbDevice>,
}

impl Seen {
    fn new(wanted: Wanted, sys: &Path) -> Self {
        let mut seen = Self { wanted, devices: BTreeMap::new() };
        seen.devices = seen.look(sys).unwrap_or_default();
        seen
    }

    fn look(&self, sys: &Path) -> Option<BTreeMap<String, UsbDevice>> {
        let at = |device: &UsbDevice| self.wanted.location.as_ref() == Some(&device.location);
        let meant = |device: &UsbDevice| self.wanted.fits(device) || at(device);
        Some(usb_devices(sys).ok()?.into_iter().filter(meant).map(|device| (device.location.clone(), device)).collect())
    }

    fn changes(&mut self, sys: &Path) -> Vec<String> {
        let Some(now) = self.look(sys) else { return Vec::new() };
        let mut changes = Vec::new();
        for (place, device) in &self.devices {
            if now.get(place).is_none_or(|found| found.address != device.address) {
                changes.push(format!("USB device {} left {place}", name(device)));
            }
        }
        for (place, device) in &now {
            if self.devices.get(place).is_none_or(|found| found.address != device.address) {
                let other = if self.wanted.fits(device) { "" } else { ", which is not the one of this channel," };
                changes.push(format!("USB device {}{other} appeared at {place}", name(device)));
            }
        }
        self.devices = now;
        changes
    }
}

fn name(device: &UsbDevice) -> String {
    format!("{:04x}:{:04x}", device.vendor, device.product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_of_the_device_and_of_its_place() {
        let root = tempfile::tempdir().unwrap();
        let devices = root.path().join("bus/usb/devices");
        let plug = |place: &str, product: &str, number: &str| {
            std::fs::create_dir_all(devices.join(place)).unwrap();
            for (name, value) in [("idVendor", "1209"), ("idProduct", product), ("busnum", "1"), ("devnum", number)] {
                std::fs::write(devices.join(place).join(name), value).unwrap();
            }
        };
        let wanted = Wanted { usb: Some((0x1209, 3)), location: Some("1-1".to_owned()), ..Wanted::default() };
        let mut seen = Seen::new(wanted, root.path());
        plug("1-1", "0003", "5");
        plug("1-2", "0004", "6");
        assert_eq!(seen.changes(root.path()), ["USB device 1209:0003 appeared at 1-1"]);
        assert_eq!(seen.changes(root.path()), Vec::<String>::new());
        // Gone and back between two looks.
        plug("1-1", "0003", "7");
        assert_eq!(seen.changes(root.path()), ["USB device 1209:0003 left 1-1", "USB device 1209:0003 appeared at 1-1"]);
        plug("1-1", "df11", "8");
        let other = "USB device 1209:df11, which is not the one of this channel, appeared at 1-1";
        assert_eq!(seen.changes(root.path()), ["USB device 1209:0003 left 1-1", other]);
    }
}
