//! Driver `hid-relay`: the USB relay boards 16c0:05df that call themselves `USBRelay1` to `USBRelay8`.
//!
//! They are HID devices without a driver of their own. Feature report 0 is read as 8 bytes: five letters of a serial number, a zero, one
//! unused, and one bit per relay. Written, its first byte is FF to close a relay and FD to open it, its second the relay from 1 (from the
//! makers' library, as the public `usb-relay-hid` project documents it). The reports are control requests of the HID class (HID 1.11, 7.2), sent
//! through libusb; the kernel's own HID driver steps aside while the board is open.

use std::{path::Path, sync::Arc, time::Duration};

use rusb::{DeviceHandle, GlobalContext};
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};

use super::read_back;
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    },
    driver::{
        parameters::{flag, required, value},
        shared::Pool,
        sysfs::{UsbDevice, usb_devices},
    },
};

const NAME: &str = "hid-relay";
const VENDOR: u16 = 0x16C0;
const PRODUCT: u16 = 0x05DF;
/// GET_REPORT and SET_REPORT, and the feature report with number 0.
const GET_REPORT: u8 = 0x01;
const SET_REPORT: u8 = 0x09;
const FEATURE: u16 = 0x0300;
/// Class request to an interface, from and to the device.
const FROM: u8 = 0xA1;
const TO: u8 = 0x21;
const INTERFACE: u8 = 0;
/// Time for a request; the board answers within a few frames.
const ANSWER: Duration = Duration::from_secs(1);
/// Time for the thread that waits for the requests.
const LIMIT: Duration = Duration::from_secs(5);
/// Time for a relay's contacts to settle.
const SETTLE: Duration = Duration::from_millis(50);

static BOARDS: Pool<Board> = Pool::new();

/// Driver `hid-relay`.
#[derive(Debug, Clone, Copy, Default)]
pub struct HidRelay;

/// What is read from a board.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    serial: String,
    closed: u8,
}

/// Reads a report; one of another length or without a serial number is from another kind of device.
fn report(bytes: &[u8]) -> Option<Report> {
    let bytes: &[u8; 8] = bytes.try_into().ok()?;
    let serial = &bytes[..5];
    let plausible = serial.iter().all(u8::is_ascii_graphic) && bytes[5] == 0;
    plausible.then(|| Report { serial: String::from_utf8_lossy(serial).into_owned(), closed: bytes[7] })
}

/// The report that switches a relay.
const fn command(relay: u8, close: bool) -> [u8; 8] {
    [if close { 0xFF } else { 0xFD }, relay, 0, 0, 0, 0, 0, 0]
}

/// An open board.
struct Board(Arc<DeviceHandle<GlobalContext>>);

impl Board {
    fn open(device: &UsbDevice) -> Result<Self, String> {
        let there = rusb::devices().map_err(|error| error.to_string())?;
        let found = there
            .iter()
            .find(|candidate| Some((u16::from(candidate.bus_number()), u16::from(candidate.address()))) == device.address);
        let found = found.ok_or("it went away just now")?;
        let advice = |error: rusb::Error| match error {
            rusb::Error::Access => "this user may not open it; add a udev rule for 16c0:05df with TAG+=\"uaccess\"".to_owned(),
            rusb::Error::Busy => "another program has it open".to_owned(),
            error => error.to_string(),
        };
        let handle = found.open().map_err(advice)?;
        // Not on every system; claiming tells.
        let _ = handle.set_auto_detach_kernel_driver(true);
        handle.claim_interface(INTERFACE).map_err(advice)?;
        Ok(Self(Arc::new(handle)))
    }

    /// Something on a thread that may wait for the board.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&DeviceHandle<GlobalContext>) -> rusb::Result<T> + Send + 'static,
    ) -> Result<T, (String, bool)> {
        let handle = Arc::clone(&self.0);
        match timeout(LIMIT, spawn_blocking(move || ask(&handle))).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err((error.to_string(), matches!(error, rusb::Error::NoDevice | rusb::Error::Io))),
            Ok(Err(error)) => Err((error.to_string(), false)),
            Err(_) => Err((format!("no answer within {LIMIT:?}"), false)),
        }
    }

    async fn read(&self) -> Result<Report, (String, bool)> {
        let bytes = self.ask(|handle| {
            let mut bytes = [0; 8];
            let count = handle.read_control(FROM, GET_REPORT, FEATURE, u16::from(INTERFACE), &mut bytes, ANSWER)?;
            Ok(bytes[..count].to_vec())
        });
        let bytes = bytes.await?;
        report(&bytes).ok_or_else(|| (format!("its report {bytes:02x?} is not one of these boards'"), false))
    }

    async fn switch(&self, relay: u8, close: bool) -> Result<(), (String, bool)> {
        let sent = self.ask(move |handle| {
            handle.write_control(TO, SET_REPORT, FEATURE, u16::from(INTERFACE), &command(relay, close), ANSWER)
        });
        sent.await.map(drop)
    }
}

/// What the parameters say.
struct Settings {
    relay: u8,
    normally_closed: bool,
    serial: Option<String>,
    location: Option<String>,
}

impl Settings {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let refused = |what: &str| LinkError::new(format!("open {NAME}"), what);
        let relay = required(parameters, "relay", NAME)?.parse().ok().filter(|relay| (1..=8).contains(relay));
        let serial = value(parameters, "serial").map(str::to_owned);
        if serial.as_ref().is_some_and(|serial| serial.len() != 5) {
            return Err(refused("`serial` is the five letters that the board tells"));
        }
        Ok(Self {
            relay: relay.ok_or_else(|| refused("`relay` is a number from 1 to 8"))?,
            normally_closed: flag(parameters, "normally-closed", NAME)?,
            serial,
            location: value(parameters, "location").map(str::to_owned),
        })
    }

    /// The boards look the same on the bus, so one is told from others by its place.
    fn find(&self) -> Result<UsbDevice, LinkError> {
        self.choose(usb_devices(Path::new("/sys")).unwrap_or_default())
            .map_err(|what| LinkError::new("find a USB relay board", what))
    }

    fn choose(&self, devices: Vec<UsbDevice>) -> Result<UsbDevice, String> {
        let named = |device: &UsbDevice| device.product_name.as_ref().is_some_and(|name| name.starts_with("USBRelay"));
        let mut boards: Vec<_> =
            devices.into_iter().filter(|device| (device.vendor, device.product) == (VENDOR, PRODUCT) && named(device)).collect();
        let there = boards.iter().map(|device| device.location.as_str()).collect::<Vec<_>>().join(", ");
        boards.retain(|device| self.location.as_ref().is_none_or(|location| device.location == *location));
        match (boards.len(), boards.pop()) {
            (1, Some(board)) => Ok(board),
            (0, _) if there.is_empty() => {
                Err("no USB device is 16c0:05df and calls itself USBRelay; is it plugged in?".to_owned())
            }
            (0, _) => Err(format!("none is at that `location`; they are at: {there}")),
            _ => Err(format!("there are several, at: {there}; say which by `location`")),
        }
    }
}

fn identity(device: &UsbDevice) -> String {
    format!("USB relay board at {}", device.location)
}

struct Relay {
    board: Arc<Mutex<Board>>,
    number: u8,
    normally_closed: bool,
    identity: String,
}

impl Relay {
    fn failed(&self, operation: &str, (what, lost): (String, bool)) -> LinkError {
        LinkError { lost, ..LinkError::new(format!("{operation} {}", self.identity), what) }
    }

    fn up(&self, report: &Report) -> bool {
        (report.closed >> (self.number - 1) & 1 == 1) != self.normally_closed
    }
}

impl SupplyLink for Relay {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let board = self.board.lock().await;
            board.switch(self.number, up != self.normally_closed).await.map_err(|error| self.failed("switch", error))?;
            tokio::time::sleep(SETTLE).await;
            let report = board.read().await.map_err(|error| self.failed("read back", error))?;
            read_back(&self.identity, up, self.up(&report))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move {
            let report = self.board.lock().await.read().await.map_err(|error| self.failed("read back", error))?;
            Ok(Some(self.up(&report)))
        })
    }
}

impl Driver for HidRelay {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("relay", true, "relay on the board, 1 to 8"),
            ("normally-closed", false, "true if the device is fed through the contacts that are closed at rest"),
            ("location", false, "place of the board in the tree of hubs, such as 1-1.2; needed if there are several"),
            ("serial", false, "the five letters that the board must tell, so that no other one is switched"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Settings::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(identity(&Settings::from(parameters)?.find()?))
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let settings = Settings::from(parameters)?;
            let device = settings.find()?;
            let named = identity(&device);
            let failed = |what: String| LinkError::new(format!("open {named}"), what);
            let open = async {
                let opened = timeout(LIMIT, spawn_blocking(move || Board::open(&device))).await;
                let opened = opened.map_err(|_| failed(format!("no answer within {LIMIT:?}")))?;
                opened.map_err(|error| failed(error.to_string()))?.map_err(failed)
            };
            let board = BOARDS.get(&named, open).await?;
            let relay = Relay {
                board,
                number: settings.relay,
                normally_closed: settings.normally_closed,
                identity: format!("relay {} on {named}", settings.relay),
            };
            let found = relay.board.lock().await.read().await.map_err(|error| relay.failed("open", error))?;
            if let Some(wanted) = settings.serial.filter(|wanted| *wanted != found.serial) {
                return Err(failed(format!("it is board {}, not {wanted}", found.serial)));
            }
            Ok(Opened::Supply(Box::new(relay)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_those_of_the_boards_and_of_nothing_else() {
        let good = report(b"BITFT\0\0\x05").unwrap();
        assert_eq!(good, Report { serial: "BITFT".to_owned(), closed: 5 });
        for wrong in
            [b"BITFT\0\0".as_slice(), b"", b"BITFTX\0\x05", b"BI\0FT\0\0\x05", b"BITFT\0\0\x05\0", b"\xff\xff\xff\xff\xff\0\0\0"]
        {
            assert_eq!(report(wrong), None, "{wrong:?}");
        }
        assert_eq!((command(2, true)[..2].to_vec(), command(8, false)[..2].to_vec()), (vec![0xFF, 2], vec![0xFD, 8]));
    }

    #[test]
    fn a_board_is_chosen_only_if_there_is_no_doubt() {
        let device = |location: &str, name: &str| UsbDevice {
            location: location.to_owned(),
            vendor: VENDOR,
            product: PRODUCT,
            class: 0,
            serial_number: None,
            manufacturer: None,
            product_name: Some(name.to_owned()),
            address: Some((1, 2)),
        };
        let settings = |location: Option<&str>| Settings {
            relay: 1,
            normally_closed: false,
            serial: None,
            location: location.map(str::to_owned),
        };
        // The ids are shared by everything that was made with the same USB library.
        let other = device("1-1", "a keyboard");
        let both = vec![device("1-2", "USBRelay2"), device("1-3", "USBRelay8"), other.clone()];
        assert_eq!(settings(Some("1-3")).choose(both.clone()).unwrap().location, "1-3");
        assert!(settings(None).choose(both.clone()).unwrap_err().contains("several, at: 1-2, 1-3"));
        assert!(settings(Some("1-9")).choose(both).unwrap_err().contains("they are at"));
        assert!(settings(None).choose(vec![other]).unwrap_err().contains("plugged in"));
    }

    #[test]
    fn parameters_that_cannot_be_right_are_refused() {
        let what = |values: &[(&str, &str)]| {
            let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            HidRelay.check(&Parameters { values, ..Parameters::default() }).unwrap_err().what
        };
        assert!(what(&[]).contains("`relay` is missing"));
        assert!(what(&[("relay", "0")]).contains("1 to 8"));
        assert!(what(&[("relay", "1"), ("serial", "TOOLONG")]).contains("five letters"));
    }
}
