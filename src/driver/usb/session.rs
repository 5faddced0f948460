//! A device under libusb: found again whenever it comes back, opened when it is needed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusb::{Context, DeviceHandle, Error, UsbContext as _};

use super::wanted::{Wanted, parent};
use crate::{
    channel::{
        link::LinkError,
        usb::{Answer, Pipe, Transfer, descriptors::Tree},
    },
    driver::sysfs::{UsbDevice, text},
};

/// Time for a device that has just appeared to be configured by the kernel and made accessible by udev.
const SETTLE: Duration = Duration::from_secs(2);
/// Time for the kernel to notice that a device has left after a transfer broke off.
const LEAVING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);
/// Largest file `descriptors` that is read: 16 configurations of the largest length.
const LARGEST: u64 = 1 << 20;

/// What the thread of a link works with.
pub(in crate::driver) struct Session {
    wanted: Wanted,
    sys: PathBuf,
    /// Takes interfaces away from the kernel's drivers while they are used.
    detach: bool,
    context: Option<Context>,
    open: Option<Open>,
}

struct Open {
    device: UsbDevice,
    handle: DeviceHandle<Context>,
    /// Interfaces that are claimed, with their alternate settings.
    claimed: BTreeMap<u8, u8>,
    /// Interfaces of the kernel's drivers, before one was taken away.
    kernels: Vec<u8>,
}

/// What stopped a call short: the device's doing, or the bench's.
pub(super) enum Stopped {
    Answer(Answer),
    Fault(LinkError),
}

impl From<LinkError> for Stopped {
    fn from(error: LinkError) -> Self {
        Self::Fault(error)
    }
}

impl Session {
    /// A session with the device that `wanted` means; nothing is touched yet.
    pub(in crate::driver) fn new(wanted: Wanted, sys: &Path, detach: bool) -> Self {
        Self { wanted, sys: sys.to_owned(), detach, context: None, open: None }
    }

    /// The device as the kernel tells of it.
    pub(super) fn find(&mut self) -> Result<Option<UsbDevice>, LinkError> {
        let found = self.wanted.find(&self.sys)?;
        if self.open.as_ref().is_some_and(|open| found.as_ref().is_none_or(|found| found.address != open.device.address)) {
            // It has gone, or come back under another number: the old handle is of no use.
            self.open = None;
        }
        Ok(found)
    }

    /// The kernel's directory of a device.
    pub(super) fn directory(&self, location: &str) -> PathBuf {
        self.sys.join("bus/usb/devices").join(location)
    }

    fn failed(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.wanted), what)
    }

    /// One transfer.
    pub(in crate::driver) fn transfer(&mut self, transfer: &Transfer) -> Result<Answer, LinkError> {
        match self.attempt(transfer) {
            Ok(answer) | Err(Stopped::Answer(answer)) => Ok(answer),
            Err(Stopped::Fault(error)) => Err(error),
        }
    }

    /// Asks the device to start afresh. The kernel looks for it again, and lets go of one that is no longer there.
    pub(in crate::driver) fn reset(&mut self) {
        if let Ok(open) = self.opened() {
            let _ = open.handle.reset();
        }
        self.open = None;
    }

    fn attempt(&mut self, transfer: &Transfer) -> Result<Answer, Stopped> {
        let device = self.opened()?.device.clone();
        let (interface, held_by_kernel) = self.claim(&device, transfer)?;
        let Some(open) = &self.open else { return Ok(Answer::Absent) };
        let handle = &open.handle;
        let mut space = vec![0; usize::from(transfer.length)];
        let count = match (transfer.pipe, transfer.pipe.inward()) {
            (Pipe::Control(setup), true) => {
                handle.read_control(setup.kind, setup.request, setup.value, setup.index, &mut space, transfer.within)
            }
            (Pipe::Control(setup), false) => {
                handle.write_control(setup.kind, setup.request, setup.value, setup.index, &transfer.data, transfer.within)
            }
            (Pipe::Bulk(endpoint), true) => handle.read_bulk(endpoint, &mut space, transfer.within),
            (Pipe::Bulk(endpoint), false) => handle.write_bulk(endpoint, &transfer.data, transfer.within),
            (Pipe::Interrupt(endpoint), true) => handle.read_interrupt(endpoint, &mut space, transfer.within),
            (Pipe::Interrupt(endpoint), false) => handle.write_interrupt(endpoint, &transfer.data, transfer.within),
        };
        if let Err(Error::Pipe) = count
            && let Pipe::Bulk(endpoint) | Pipe::Interrupt(endpoint) = transfer.pipe
        {
            // The halt has been seen; what comes next starts afresh.
            let _ = handle.clear_halt(endpoint);
        }
        if held_by_kernel && let (Some(interface), Some(open)) = (interface, &mut self.open) {
            open.claimed.remove(&interface);
            let _ = open.handle.release_interface(interface);
            // A driver of several interfaces leaves all of them with the first, and comes back only for the one that it looks at.
            for interface in std::mem::take(&mut open.kernels) {
                if open.handle.kernel_driver_active(interface) == Ok(false) {
                    let _ = open.handle.attach_kernel_driver(interface);
                }
            }
        }
        match count {
            Ok(count) if transfer.pipe.inward() => {
                space.truncate(count);
                Ok(Answer::Done(space))
            }
            Ok(count) => Ok(Answer::Taken(count)),
            Err(Error::Pipe) => Ok(Answer::Stalled),
            Err(Error::Timeout) => Ok(Answer::Silent),
            Err(Error::Overflow) => Ok(Answer::Overrun),
            Err(Error::NotFound) => Ok(Answer::Lacking(transfer.pipe.to_string())),
            Err(error) => Err(self.broken(&device, transfer, error)),
        }
    }

    /// A transfer broke off: because the device has left, which is an observation, or because something on the bench has.
    fn broken(&mut self, device: &UsbDevice, transfer: &Transfer, error: Error) -> Stopped {
        let operation = format!("do a transfer ({}) with", transfer.pipe);
        let end = Instant::now() + LEAVING;
        loop {
            let found = match self.wanted.find(&self.sys) {
                Ok(found) => found,
                Err(error) => return error.into(),
            };
            if found.is_none_or(|found| found.address != device.address) {
                self.open = None;
                let hub = parent(&device.location).filter(|hub| !self.directory(hub).exists());
                return match hub {
                    None => Stopped::Answer(Answer::Left),
                    Some(hub) => LinkError {
                        lost: true,
                        ..self.failed(&operation, format!("{error}; the hub at {hub} that it is plugged into is gone"))
                    }
                    .into(),
                };
            }
            if Instant::now() >= end {
                return self.failed(&operation, format!("{error}; it is still on the bus. {}", advice(error))).into();
            }
            thread::park_timeout(LOOK);
        }
    }

    /// The device, opened.
    fn opened(&mut self) -> Result<&mut Open, Stopped> {
        let end = Instant::now() + SETTLE;
        loop {
            let Some(device) = self.find()? else { return Err(Stopped::Answer(Answer::Absent)) };
            if self.open.is_some() {
                break;
            }
            // The kernel lists a device before it has chosen its configuration, and udev gives access later still.
            let configured = text(&self.directory(&device.location), "bConfigurationValue").is_some();
            let error = match self.open(&device) {
                Ok(handle) if configured || Instant::now() >= end => {
                    self.open = Some(Open { device, handle, claimed: BTreeMap::new(), kernels: Vec::new() });
                    break;
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            if let Some(error) = error
                && Instant::now() >= end
            {
                let file = device.file(Path::new("/dev")).unwrap_or_default();
                return Err(self.failed("open", format!("{}: {error}. {}", file.display(), advice(error))).into());
            }
            thread::park_timeout(LOOK);
        }
        self.open.as_mut().ok_or(Stopped::Answer(Answer::Absent))
    }

    fn open(&mut self, device: &UsbDevice) -> Result<DeviceHandle<Context>, Error> {
        let context = match self.context.take() {
            Some(context) => context,
            None => Context::new()?,
        };
        let devices = context.devices()?;
        let found = devices.iter().find(|found| Some((found.bus_number().into(), found.address().into())) == device.address);
        let opened = found.ok_or(Error::NoDevice).and_then(|found| found.open());
        if opened.is_ok() {
            // Without it the next one sees the bus anew.
            self.context = Some(context);
        }
        opened
    }

    /// Claims the interface that a transfer needs and sets its alternate setting. Returns it, and whether a kernel driver has to get it
    /// back.
    fn claim(&mut self, device: &UsbDevice, transfer: &Transfer) -> Result<(Option<u8>, bool), Stopped> {
        let wanted = match (transfer.interface, transfer.pipe) {
            (Some(wanted), _) => Some(wanted),
            (None, Pipe::Control(_)) => None,
            (None, Pipe::Bulk(address) | Pipe::Interrupt(address)) => Some(self.setting(device, address, transfer.pipe)?),
        };
        let Some((interface, alternate)) = wanted else { return Ok((None, false)) };
        let detach = self.detach;
        let kernels = if detach { self.kernels_interfaces(&device.location) } else { Vec::new() };
        let Some(open) = &mut self.open else { return Err(Stopped::Answer(Answer::Absent)) };
        let held = open.handle.kernel_driver_active(interface).unwrap_or(false);
        let done = (|| {
            if !open.claimed.contains_key(&interface) {
                open.kernels = kernels;
                open.handle.set_auto_detach_kernel_driver(detach).or_else(|error| if detach { Err(error) } else { Ok(()) })?;
                open.handle.claim_interface(interface)?;
                open.claimed.insert(interface, 0);
            }
            if open.claimed.get(&interface) != Some(&alternate) {
                open.handle.set_alternate_setting(interface, alternate)?;
                open.claimed.insert(interface, alternate);
            }
            Ok(())
        })();
        match done {
            Ok(()) => Ok((Some(interface), held)),
            Err(Error::NotFound) => Err(Stopped::Answer(Answer::Lacking(format!("interface {interface} setting {alternate}")))),
            Err(Error::Pipe) => Err(Stopped::Answer(Answer::Stalled)),
            Err(Error::Busy) => {
                let what = match self.kernel_driver(&device.location, interface) {
                    Some(driver) => format!(
                        "the kernel's driver {driver} has it; `detach: true` in the rig takes it away for the transfer, \
                         which a console on the same interface would notice"
                    ),
                    None => "another program has it".to_owned(),
                };
                Err(self.failed(&format!("claim interface {interface} of"), what).into())
            }
            Err(error) => Err(self.broken(device, transfer, error)),
        }
    }

    /// Interfaces of the chosen configuration that a driver of the kernel has.
    fn kernels_interfaces(&self, location: &str) -> Vec<u8> {
        let Some(configuration) = text(&self.directory(location), "bConfigurationValue") else { return Vec::new() };
        let interface = |number: &u8| self.directory(&format!("{location}:{configuration}.{number}"));
        (0..32).filter(|number| interface(number).join("driver").exists()).collect()
    }

    fn kernel_driver(&self, location: &str, interface: u8) -> Option<String> {
        let configuration = text(&self.directory(location), "bConfigurationValue")?;
        let link = self.directory(&format!("{location}:{configuration}.{interface}")).join("driver");
        Some(std::fs::canonicalize(link).ok()?.file_name()?.to_string_lossy().into_owned())
    }

    /// The interface and setting of an endpoint in the chosen configuration; the lowest setting if several have it.
    fn setting(&self, device: &UsbDevice, address: u8, pipe: Pipe) -> Result<(u8, u8), Stopped> {
        let directory = self.directory(&device.location);
        let chosen = text(&directory, "bConfigurationValue").and_then(|value| value.parse().ok());
        let tree = Tree::read(&self.arrival(&device.location)?);
        let found =
            tree.configurations.iter().filter(|configuration| Some(configuration.value) == chosen).find_map(|configuration| {
                configuration.settings.iter().find_map(|setting| {
                    let endpoint = setting.endpoints.iter().find(|endpoint| endpoint.address == address)?;
                    Some((setting.number, setting.alternate, endpoint.transfer()))
                })
            });
        match (found, pipe) {
            (Some((number, alternate, "bulk")), Pipe::Bulk(_)) | (Some((number, alternate, "interrupt")), Pipe::Interrupt(_)) => {
                Ok((number, alternate))
            }
            (Some((_, _, other)), _) => Err(Stopped::Answer(Answer::Lacking(format!("{pipe}: it is {other}")))),
            (None, _) => Err(Stopped::Answer(Answer::Lacking(pipe.to_string()))),
        }
    }

    /// The descriptors as the kernel read them when the device arrived.
    pub(super) fn arrival(&self, location: &str) -> Result<Vec<u8>, LinkError> {
        use std::io::Read as _;
        let file = self.directory(location).join("descriptors");
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&file).and_then(|found| found.take(LARGEST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            // It went away this moment; the caller sees an empty device and asks again.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed("read the descriptors of", format!("{}: {error}", file.display()))),
        }
    }
}

fn advice(error: Error) -> &'static str {
    match error {
        Error::Access => {
            "Give this user access with a udev rule such as \
             `SUBSYSTEM==\"usb\", ATTR{idVendor}==\"1209\", ATTR{idProduct}==\"0003\", TAG+=\"uaccess\"`"
        }
        Error::NoDevice | Error::Other | Error::NotSupported => "Is /dev/bus/usb there? Containers need it passed through",
        Error::Busy => "Another program has it",
        _ => "The kernel's log may say more; cables and hubs are the usual cause",
    }
}
