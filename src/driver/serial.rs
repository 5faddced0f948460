//! Serial ports, by what they are or by path.

mod overruns;
pub mod ports;
mod stream;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serialport::{ErrorKind, TTYPort};

use self::{
    ports::{UsbPort, Wanted},
    stream::{PortLine, PortStream},
};
use super::{
    access::{self, Rule},
    sysfs::usb_devices,
    unbound,
};
use crate::channel::{
    clock::BoxFuture,
    finding::{Finding, look_at},
    line::{LineControl as _, Lines},
    link::{ChannelKind, Driver, LinkError, Opened, Parameters},
};

/// Baud rate when the rig names none.
pub const DEFAULT_BAUD: u32 = 115_200;

/// Wall time for opening a port. The kernel asks a USB instrument several things then, and waits five seconds for each answer.
const OPEN_LIMIT: Duration = Duration::from_secs(15);

/// Driver `serial`: 8 data bits, no parity, one stop bit, no flow control, opened for this process alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

/// What the parameters say.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    place: Place,
    baud: u32,
    dtr: Option<bool>,
    rts: Option<bool>,
}

/// How the rig names the port.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Usb(Wanted),
}

/// A port that was found.
struct Port {
    path: PathBuf,
    usb: Option<UsbPort>,
}

/// A number, or what is wrong with it.
fn number<T: FromStr>(parameters: &Parameters, name: &str, what: &str) -> Result<Option<T>, LinkError> {
    let parse = |text: &String| text.parse().map_err(|_| refused(format!("`{name}: {text}` is not {what}")));
    parameters.values.get(name).map(parse).transpose()
}

/// A line that the rig declares.
fn level(parameters: &Parameters, name: &str) -> Result<Option<bool>, LinkError> {
    match parameters.values.get(name).map(String::as_str) {
        None => Ok(None),
        Some("up") => Ok(Some(true)),
        Some("down") => Ok(Some(false)),
        Some(other) => Err(refused(format!("`{name}: {other}` is neither up nor down"))),
    }
}

fn refused(what: String) -> LinkError {
    LinkError::new("open a serial port", what)
}

impl Settings {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let value = |name: &str| parameters.values.get(name).filter(|value| !value.is_empty());
        let usb = match value("usb") {
            None => None,
            Some(text) => Some(Wanted::parse_usb(text).ok_or_else(|| {
                refused(format!(
                    "`usb: {text}` is not vendor and product; write them as four hexadecimal digits each, '0d28:0204'"
                ))
            })?),
        };
        let wanted = Wanted {
            usb,
            serial_number: value("serial-number").cloned(),
            interface: number(parameters, "interface", "the number of an interface, 0 to 255")?,
            location: value("location").cloned(),
        };
        let place = match (value("path"), wanted == Wanted::default()) {
            (Some(path), true) => Place::Path(parameters.base.join(path)),
            (None, false) => Place::Usb(wanted),
            (Some(_), false) => {
                return Err(refused("the rig names the port by `path` and by what it is; keep one of them".to_owned()));
            }
            (None, true) => {
                let how = "name it by `usb`, `serial-number`, `interface` or `location`, or by `path`, such as one under /dev/serial/by-id";
                return Err(refused(format!("the rig does not say which; {how}")));
            }
        };
        let baud = number(parameters, "baud", "a baud rate")?.unwrap_or(DEFAULT_BAUD);
        if baud == 0 {
            return Err(refused(format!("`baud: 0` is not a baud rate; {DEFAULT_BAUD} is a common one")));
        }
        let (dtr, rts) = (level(parameters, "dtr")?, level(parameters, "rts")?);
        Ok(Self { place, baud, dtr, rts })
    }

    /// Looks for the port among those that are there now.
    fn find(&self) -> Result<Port, LinkError> {
        self.find_among(ports::ports(Path::new("/sys"), Path::new("/dev")).unwrap_or_default())
    }

    fn find_among(&self, known: Vec<ports::Port>) -> Result<Port, LinkError> {
        match &self.place {
            Place::Path(path) => {
                // Names under /dev/serial are links to the port. One that is not there keeps its name.
                let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                let usb = known.into_iter().find(|port| port.path == target).and_then(|port| port.usb);
                Ok(Port { path: path.clone(), usb })
            }
            Place::Usb(wanted) => {
                let port = wanted
                    .choose(&known)
                    .map_err(|what| LinkError { lost: !wanted.is_there(&known), ..LinkError::new("find a serial port", what) })?;
                Ok(Port { path: port.path.clone(), usb: port.usb.clone() })
            }
        }
    }
}

impl Settings {
    /// Opens the port that fits now. Blocks for as long as the kernel asks the instrument.
    fn open(&self) -> Result<(TTYPort, PortLine), LinkError> {
        let Port { path, .. } = self.find()?;
        let operation = format!("open serial port {}", path.display());
        // serialport takes the path as text; one that is not text would be another file.
        let Some(text) = path.to_str() else { return Err(LinkError::new(operation, "the path is not UTF-8")) };
        // Exclusive is TIOCEXCL and a lock on the file: neither another program nor a second channel of this one gets the port.
        let port = TTYPort::open(&serialport::new(text, self.baud).exclusive(true)).map_err(|error| {
            if let Some(why) = access::obstacle(&path, Rule::Group) {
                return LinkError { lost: !path.exists(), ..LinkError::new(&operation, why) };
            }
            let next = match error.kind() {
                ErrorKind::NoDevice => "; is it in use by another program, or unplugged?",
                ErrorKind::Io(std::io::ErrorKind::NotFound) => "; is it plugged in?",
                ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => "; may this user open it (group dialout)?",
                ErrorKind::Io(std::io::ErrorKind::ResourceBusy | std::io::ErrorKind::WouldBlock) => {
                    "; another program has it open"
                }
                _ => "",
            };
            LinkError { lost: !path.exists(), ..LinkError::new(&operation, format!("{error}{next}")) }
        })?;
        let line = PortLine::of(&port, &path).and_then(|mut line| self.set_lines(&mut line).map(|()| line));
        let line = line.map_err(|error| LinkError::new(operation, format!("`dtr` and `rts` cannot be set: {error}")))?;
        Ok((port, line))
    }

    /// Sets the lines that the rig declares, both at once; one that it does not declare stays as the kernel has set it (up).
    fn set_lines(&self, line: &mut PortLine) -> std::io::Result<()> {
        if self.dtr.is_none() && self.rts.is_none() {
            return Ok(());
        }
        let now = line.lines()?.ok_or_else(|| std::io::Error::other("this port has no modem lines; leave them out"))?;
        line.set_lines(Lines { dtr: self.dtr.unwrap_or(now.dtr), rts: self.rts.unwrap_or(now.rts) })
    }
}

impl Driver for Serial {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Console
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("usb", false, "vendor and product, such as '0d28:0204'"),
            ("serial-number", false, "USB serial number"),
            ("interface", false, "USB interface number, for instruments with several ports"),
            ("location", false, "place in the tree of hubs, such as 1-1.2"),
            ("path", false, "device file, such as a name under /dev/serial/by-id; instead of the above"),
            ("baud", false, "bits per second, 115200 if not given"),
            ("dtr", false, "line DTR while it is open, `up` or `down`; otherwise as the system sets it, up"),
            ("rts", false, "line RTS while it is open, `up` or `down`; otherwise as the system sets it, up"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Settings::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        identity_among(parameters, ports::ports(Path::new("/sys"), Path::new("/dev")).unwrap_or_default())
    }

    fn needs_whole_instrument(&self) -> bool {
        true
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            let port = match Settings::from(parameters).and_then(|settings| settings.find()) {
                Ok(port) => port,
                Err(error) => return vec![not_found(error, parameters)],
            };
            let file = std::fs::canonicalize(&port.path).unwrap_or_else(|_| port.path.clone());
            if let Some(obstacle) = access::denied(&file, Rule::Group).or_else(|| access::in_use(&file, Path::new("/proc"))) {
                return vec![obstacle];
            }
            let found = look_at(self.open(parameters).await).await;
            let name = |mut finding: Finding| {
                if !finding.is_problem() {
                    finding.what = format!("{} {}", port.path.display(), finding.what);
                }
                finding
            };
            found.into_iter().map(name).collect()
        })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let settings = Settings::from(parameters)?;
            let opening = tokio::task::spawn_blocking(move || settings.open());
            let (port, line) = match tokio::time::timeout(OPEN_LIMIT, opening).await {
                Ok(Ok(opened)) => opened?,
                Ok(Err(error)) => return Err(refused(format!("the driver broke off: {error}"))),
                Err(_) => return Err(refused(format!("no answer within {OPEN_LIMIT:?}; does the instrument hang? unplug it"))),
            };
            let stream = PortStream::new(port, line).map_err(|error| refused(error.to_string()))?;
            Ok(Opened::Console(Box::new(stream)))
        })
    }

    fn returns(&self) -> bool {
        true
    }
}

/// What the lease of a port is called, among those that are there.
pub(super) fn instrument(port: &ports::Port, all: &[ports::Port]) -> String {
    let Some(usb) = &port.usb else {
        return format!("serial {}", port.path.display());
    };
    // Makers of cheap adapters give all of them one serial number.
    let same = |other: &&ports::Port| other.usb.as_ref().is_some_and(|other| other.to_string() == usb.to_string());
    if all.iter().filter(same).count() > 1 { format!("serial {usb} at {}", usb.location) } else { format!("serial {usb}") }
}

/// However a rig names it, it is one instrument.
fn identity_among(parameters: &Parameters, known: Vec<ports::Port>) -> Result<String, LinkError> {
    let settings = Settings::from(parameters)?;
    let port = match (settings.find_among(known.clone()), &settings.place) {
        (Ok(port), _) => port,
        // One that has no power yet is known by what the rig says of it.
        (Err(error), Place::Usb(wanted)) if error.lost => return Ok(format!("serial {wanted}")),
        (Err(error), _) => return Err(error),
    };
    let path = std::fs::canonicalize(&port.path).unwrap_or(port.path);
    Ok(instrument(&ports::Port { path, usb: port.usb }, &known))
}

/// A port that is not there: perhaps the adapter is, and its driver is not.
fn not_found(error: LinkError, parameters: &Parameters) -> Finding {
    let sys = Path::new("/sys");
    let usb = parameters.values.get("usb").and_then(|text| Wanted::parse_usb(text));
    let location = parameters.values.get("location");
    let serial = parameters.values.get("serial-number");
    let devices = usb_devices(sys).unwrap_or_default();
    let unbound = devices
        .iter()
        .filter(|device| usb.is_some_and(|usb| usb == (device.vendor, device.product)))
        .filter(|device| location.is_none_or(|location| *location == device.location))
        .filter(|device| serial.is_none_or(|serial| device.serial_number.as_ref() == Some(serial)))
        .find_map(|device| unbound::reason(sys, device));
    unbound
        .unwrap_or_else(|| Finding::absent(error.what, "plug it in, or correct the rig; `hilbench discover` lists what is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_whatever_name_one_port_has_one_identity() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("ttyACM0"), root.path().join("usb-Maker_Board_9900-if01"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let usb = |serial: Option<&str>, location: &str| UsbPort {
            vendor: 0x0D28,
            product: 0x0204,
            serial_number: serial.map(str::to_owned),
            interface: 1,
            location: location.to_owned(),
            product_name: None,
        };
        let port = |path: &Path, usb: UsbPort| ports::Port { path: path.to_owned(), usb: Some(usb) };
        let (file, link) = (file.to_str().unwrap(), link.to_str().unwrap());
        let names: [&[(&str, &str)]; 5] = [
            &[("path", file)],
            &[("path", link)],
            &[("usb", "0d28:0204")],
            &[("serial-number", "9900"), ("baud", "9600")],
            &[("location", "1-1"), ("interface", "1")],
        ];
        for (serial, twin, identity) in [
            (Some("9900"), None, "serial usb 0d28:0204 serial number 9900 interface 1"),
            (Some("9900"), Some("9900"), "serial usb 0d28:0204 serial number 9900 interface 1 at 1-1"),
            (None, None, "serial usb 0d28:0204 at 1-1 interface 1"),
        ] {
            let mut known = vec![port(Path::new(file), usb(serial, "1-1"))];
            known.extend(twin.map(|twin| port(Path::new("/dev/ttyACM1"), usb(Some(twin), "1-2"))));
            for name in names {
                let by_number = name[0].0 == "serial-number" || name[0].0 == "usb";
                if by_number && (serial.is_none() || twin.is_some()) {
                    continue;
                }
                assert_eq!(identity_among(&parameters(name), known.clone()).unwrap(), identity, "{name:?}");
            }
            // A relay board on that port is the same instrument as the console on it.
            let relay = parameters(&[("path", link), ("channel", "1"), ("read-back", "true")]);
            assert_eq!(identity_among(&relay, known).unwrap(), identity);
        }
    }

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Parameters { values, base: PathBuf::from("/rigs") }
    }

    #[test]
    fn parameters_are_checked_before_anything_is_opened() {
        let what = |values: &[(&str, &str)]| Serial.check(&parameters(values)).unwrap_err().what;
        assert!(what(&[]).contains("does not say which"));
        for baud in ["0", "-1", "fast", "", "1e6", "99999999999"] {
            assert!(what(&[("path", "p"), ("baud", baud)]).contains("not a baud rate"), "{baud}");
        }
        assert!(what(&[("usb", "0d28")]).contains("four hexadecimal digits"));
        assert!(what(&[("usb", "0d28:0204"), ("interface", "256")]).contains("0 to 255"));
        assert!(what(&[("usb", "0d28:0204"), ("path", "p")]).contains("keep one of them"));
        let identity = Serial.identity(&parameters(&[("path", "port"), ("baud", "9600")])).unwrap();
        assert_eq!(identity, "serial /rigs/port");
    }

    #[test]
    fn what_a_port_is_can_be_said_in_parts() {
        let settings = Settings::from(&parameters(&[("serial-number", "9900"), ("interface", "1"), ("baud", "9600")])).unwrap();
        let wanted = Wanted { serial_number: Some("9900".to_owned()), interface: Some(1), ..Wanted::default() };
        assert_eq!(settings, Settings { place: Place::Usb(wanted), baud: 9600, dtr: None, rts: None });
    }

    #[tokio::test]
    async fn a_port_that_is_not_there_is_said_to_be() {
        let parameters = parameters(&[("path", "/nonexistent/port")]);
        let Err(error) = Serial.open(&parameters).await else { panic!("opened") };
        assert_eq!(error.operation, "open serial port /nonexistent/port");
        assert!(error.what.contains('?'), "{}", error.what);
    }
}
