//! Driver `usb-port`: the port of a hub that the kernel can switch.
//!
//! Linux 6.0 and later have a file `disable` for each port of a hub (`Documentation/ABI/testing/sysfs-bus-usb`). Whether the port's 5 V really go
//! depends on the hub: many only stop talking to the device. The witness is therefore the device's absence from the bus together with
//! the read-back, and the rig should only use hubs with per-port power switching.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{read_back, required, word};
use crate::{
    channel::{
        clock::BoxFuture,
        finding::{Finding, look_at},
        link::{ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    },
    driver::access::{self, Rule},
    event::Witness,
};

/// Time for a device to go from the bus.
const GONE: Duration = Duration::from_secs(5);

/// Driver `usb-port`.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsbPortSupply;

struct Port {
    /// `/sys/bus/usb/devices`.
    devices: PathBuf,
    /// Place of the hub: `1-1`, or `usb1` for a root hub.
    hub: String,
    number: u8,
}

impl Port {
    fn from(parameters: &Parameters, devices: &Path) -> Result<Self, LinkError> {
        let hub = required(parameters, "hub", "usb-port")?;
        let refused = |what: String| LinkError::new("open usb-port", what);
        let place = hub.strip_prefix("usb").unwrap_or(hub);
        if place.is_empty() || !place.bytes().all(|c| c.is_ascii_digit() || c == b'-' || c == b'.') {
            return Err(refused(format!(
                "`hub: {hub}` is not a place in the tree of hubs; write it as 1-1.2, or usb1 for a root hub"
            )));
        }
        let port = required(parameters, "port", "usb-port")?;
        let port = port.parse().ok().filter(|port| (1..=31).contains(port));
        let port = port.ok_or_else(|| {
            refused("`port` is a number from 1 to 31, as printed on the hub or counted from its cable".to_owned())
        })?;
        Ok(Self { devices: devices.to_owned(), hub: hub.to_owned(), number: port })
    }

    fn name(&self) -> String {
        format!("port {} of USB hub {}", self.number, self.hub)
    }

    /// The kernel calls the ports of `1-1` `1-1-port2`, below its interface `1-1:1.0`; those of root hub `usb1` are below `1-0:1.0`.
    fn file(&self) -> PathBuf {
        let interface = self.hub.strip_prefix("usb").map_or_else(|| format!("{}:1.0", self.hub), |bus| format!("{bus}-0:1.0"));
        self.devices.join(interface).join(format!("{}-port{}", self.hub, self.number)).join("disable")
    }

    /// The device that is plugged in there.
    fn device(&self) -> PathBuf {
        let number = self.number;
        self.devices
            .join(self.hub.strip_prefix("usb").map_or_else(|| format!("{}.{number}", self.hub), |bus| format!("{bus}-{number}")))
    }

    fn failed(&self, what: &str, error: &io::Error) -> LinkError {
        let next = match error.kind() {
            io::ErrorKind::NotFound => "; is that the hub's place, and the kernel 6.0 or later?",
            _ => "",
        };
        if error.kind() == io::ErrorKind::PermissionDenied
            && let Some(why) = access::obstacle(&self.file(), Rule::HubPort)
        {
            return LinkError::new(format!("{what} {}", self.name()), why);
        }
        LinkError::new(format!("{what} {}", self.name()), format!("{}: {error}{next}", self.file().display()))
    }

    /// Why it could not be switched.
    fn obstacle(&self) -> Option<Finding> {
        let hub = self.devices.join(&self.hub);
        if !hub.exists() {
            let advice = "plug it in, or correct `hub`; `hilbench discover` lists hubs with ports that can be switched";
            return Some(Finding::absent(format!("there is no hub at {}", self.hub), advice));
        }
        let file = self.file();
        if !file.exists() {
            let advice = "the kernel must be 6.0 or later, and `port` one that the hub has";
            return Some(Finding::problem(format!("{} cannot be switched: there is no {}", self.name(), file.display()), advice));
        }
        access::denied(&file, Rule::HubPort)
    }

    fn is_enabled(&self) -> Result<bool, LinkError> {
        let text = fs::read_to_string(self.file()).map_err(|error| self.failed("read", &error))?;
        Ok(text.trim() == "0")
    }
}

impl SupplyLink for Port {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            fs::write(self.file(), if up { "0" } else { "1" }).map_err(|error| self.failed("switch", &error))?;
            let proof = read_back(&self.name(), up, self.is_enabled()?)?;
            if up {
                return Ok(proof);
            }
            let until = Instant::now() + GONE;
            while self.device().exists() {
                if Instant::now() >= until {
                    let what = format!("it is switched off, but the device is still on the bus after {GONE:?}");
                    return Err(LinkError::new(format!("switch {} {}", self.name(), word(up)), what));
                }
                sleep(Duration::from_millis(5)).await;
            }
            let what = format!("{} reads back down, and nothing is on the bus there", self.name());
            Ok(Proof::Seen(Witness { what, evidence: None }))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move { self.is_enabled().map(Some) })
    }
}

impl Driver for UsbPortSupply {
    fn name(&self) -> &'static str {
        "usb-port"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[("hub", true, "place of the hub, such as 1-1.2, or usb1 for a root hub"), ("port", true, "its port, from 1")]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Port::from(parameters, Path::new("")).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(Port::from(parameters, Path::new(""))?.name())
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            match Port::from(parameters, Path::new("/sys/bus/usb/devices")) {
                Ok(port) => match port.obstacle() {
                    Some(obstacle) => vec![obstacle],
                    None => look_at(self.open(parameters).await).await,
                },
                Err(error) => vec![error.into()],
            }
        })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let port = Port::from(parameters, Path::new("/sys/bus/usb/devices"))?;
            port.is_enabled()?;
            Ok(Opened::Supply(Box::new(port)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(devices: &Path, hub: &str, port: &str) -> Result<Port, LinkError> {
        let values = [("hub".to_owned(), hub.to_owned()), ("port".to_owned(), port.to_owned())].into();
        Port::from(&Parameters { values, base: PathBuf::new() }, devices)
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_is_down_when_it_says_so_and_the_device_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let mut port = port(root.path(), "1-1", "2").unwrap();
        fs::create_dir_all(root.path().join("1-1:1.0/1-1-port2")).unwrap();
        fs::write(port.file(), "0\n").unwrap();
        assert_eq!(port.is_up().await.unwrap(), Some(true));
        let device = root.path().join("1-1.2");
        fs::create_dir(&device).unwrap();
        let still_there = port.set(false).await.unwrap_err();
        assert!(still_there.what.contains("still on the bus"), "{still_there}");
        fs::remove_dir(&device).unwrap();
        assert!(matches!(port.set(false).await.unwrap(), Proof::Seen(witness) if witness.what.contains("nothing is on the bus")));
        assert_eq!(port.is_up().await.unwrap(), Some(false));
        assert!(matches!(port.set(true).await.unwrap(), Proof::Seen(_)));
    }

    #[test]
    fn what_keeps_a_port_from_being_switched_is_told() {
        let root = tempfile::tempdir().unwrap();
        let port = port(root.path(), "1-1", "2").unwrap();
        let away = port.obstacle().unwrap();
        assert!(away.absent && away.what.contains("no hub at 1-1"), "{away}");
        fs::create_dir(root.path().join("1-1")).unwrap();
        let fixed = port.obstacle().unwrap();
        assert!(!fixed.absent && fixed.to_string().contains("6.0 or later"), "{fixed}");
        fs::create_dir_all(root.path().join("1-1:1.0/1-1-port2")).unwrap();
        fs::write(port.file(), "0\n").unwrap();
        assert_eq!(port.obstacle(), None);
    }

    #[test]
    fn names_are_those_of_the_kernel_and_nothing_else() {
        let devices = Path::new("/d");
        let of_root = port(devices, "usb3", "4").unwrap();
        assert_eq!(of_root.file(), Path::new("/d/3-0:1.0/usb3-port4/disable"));
        assert_eq!(of_root.device(), Path::new("/d/3-4"));
        for (hub, number) in [("../x", "1"), ("1-1/..", "1"), ("usb", "1"), ("", "1"), ("1-1", "0"), ("1-1", "32"), ("1-1", "x")]
        {
            assert!(port(devices, hub, number).is_err(), "{hub} {number}");
        }
    }
}
