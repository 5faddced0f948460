//! The kernel's virtual USB host controller: kernel drivers/usb/usbip, documented in its tools (`usbip(8)`); the files are in sysfs.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use super::{Speed, sysfs};

const CONTROLLER: &str = "/sys/devices/platform/vhci_hcd.0";
/// State of a port in the file `status`: nothing is attached.
const FREE: &str = "004";
/// How long the kernel may take to let go of a device. It waits for drivers, so this is only against hangs.
const RELEASE: Duration = Duration::from_secs(30);

/// Why a device cannot be plugged in or out.
#[derive(Debug, thiserror::Error)]
pub enum UsbError {
    /// The controller's files cannot be used.
    #[error(
        "cannot {doing} the virtual USB controller at `{path}`: {source}; it needs root and the module vhci-hcd: use `cargo lab test`"
    )]
    Controller {
        /// What was being done.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// All ports are taken.
    #[error("no free port at `{CONTROLLER}`; unplug something first")]
    Full,
    /// The kernel did not let go of a port.
    #[error("port {0} of `{CONTROLLER}` was not released in time; look for the driver that holds it in the kernel's log")]
    Stuck(u8),
    /// The model's thread has panicked.
    #[error("the model of `{0}` has panicked; its message is above")]
    Panicked(String),
    /// What was waited for did not come.
    #[error("waited in vain for {0}; the kernel's log may say why")]
    Absent(String),
}

fn controller(doing: &'static str, name: &str) -> impl FnOnce(io::Error) -> UsbError {
    let path = PathBuf::from(CONTROLLER).join(name);
    move |source| UsbError::Controller { doing, path, source }
}

/// A port with a device.
#[derive(Debug)]
pub(super) struct Port {
    number: u8,
    location: String,
}

impl Port {
    /// Attaches a device to the first free port: the kernel gets `stream`, of which it keeps a copy.
    pub(super) fn attach(stream: &UnixStream, speed: Speed) -> Result<Self, UsbError> {
        let bus = bus()?;
        for number in free_ports()? {
            // The number of the file descriptor counts in the process that writes, so this cannot be left to a helper. The third word is the
            // device's name in the protocol, which has no meaning for a connection with one device.
            let text = format!("{number} {} {} {}", stream.as_raw_fd(), u32::from(number) + 1, speed as u8);
            match fs::write(PathBuf::from(CONTROLLER).join("attach"), text) {
                Ok(()) => return Ok(Self { number, location: format!("{bus}-{}", number + 1) }),
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => return Err(controller("attach a device to", "attach")(error)),
            }
        }
        Err(UsbError::Full)
    }

    /// Name of the device in `/sys/bus/usb/devices`, such as `1-1`.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Pulls the device out.
    pub(super) fn detach(&self) -> Result<(), UsbError> {
        match fs::write(PathBuf::from(CONTROLLER).join("detach"), self.number.to_string()) {
            // The kernel has noticed the end of the connection by itself.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result.map_err(controller("detach a device from", "detach")),
        }
    }

    /// Waits until the drivers have let go of the device and the port can be used again.
    pub(super) fn wait_free(&self) -> Result<(), UsbError> {
        let free = || !sysfs::present(&self.location) && free_ports().is_ok_and(|free| free.contains(&self.number));
        if sysfs::until(RELEASE, free) { Ok(()) } else { Err(UsbError::Stuck(self.number)) }
    }
}

/// Free high-speed ports, which take full-speed devices too. Lines of the file: hub, port, state, and more.
fn free_ports() -> Result<Vec<u8>, UsbError> {
    let text = fs::read_to_string(PathBuf::from(CONTROLLER).join("status")).map_err(controller("read", "status"))?;
    Ok(parse_free(&text))
}

fn parse_free(text: &str) -> Vec<u8> {
    let ports = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (hub, port, state) = (words.next()?, words.next()?, words.next()?);
        (hub == "hs" && state == FREE).then(|| port.parse().ok()).flatten()
    });
    ports.collect()
}

/// Number of the high-speed bus.
fn bus() -> Result<String, UsbError> {
    let entries = fs::read_dir(CONTROLLER).map_err(controller("list", ""))?;
    let buses = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_prefix("usb")?.to_owned();
        (fs::read_to_string(entry.path().join("speed")).ok()?.trim() == "480").then_some(number)
    });
    buses.min().ok_or(UsbError::Full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_those_of_the_fast_hub_without_a_device() {
        let text = "hub port sta spd dev      sockfd local_busid\nhs  0000 006 002 00010002 000005 1-1\nhs  0001 004 000 00000000 000000 0-0\n\
                    ss  0008 004 000 00000000 000000 0-0\n";
        assert_eq!(parse_free(text), [1]);
    }
}
