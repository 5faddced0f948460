//! Driver `usb-hub`: the port of a hub, switched with the hub's own requests.
//!
//! USB 2.0 specification, chapter 11: `SetPortFeature` and `ClearPortFeature` of PORT_POWER (11.24.2), `GetPortStatus` (11.24.2.7), the hub
//! descriptor with its power switching mode (11.23.2.1); for SuperSpeed hubs USB 3.2, chapter 10. For hubs whose kernel has no file `disable`
//! for their ports (`usb-port` is the better driver where it has).
//!
//! The kernel does not know of such requests. Real hubs tell it that the device has gone; some do not, and then Linux keeps a device that is without
//! power. So the read-back is not believed by itself: the device must also go from the bus, and if the hub says that nothing is connected while
//! Linux still lists a device, Linux is made to look (a reset of that device, which fails).

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{read_back, required, word};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
        usb::{Answer, Pipe, Setup, Transfer},
    },
    driver::{
        sysfs::text,
        usb::{Wanted, is_location, session::Session, worker::Worker},
    },
    event::Witness,
};

/// Time for one request.
const REQUEST: Duration = Duration::from_secs(2);
/// Time for a device to go from the bus by itself, before Linux is made to look.
const BY_ITSELF: Duration = Duration::from_secs(1);
/// Time for it to go at all.
const GONE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const SET_FEATURE: u8 = 3;
const GET_DESCRIPTOR: u8 = 6;
const PORT_POWER: u16 = 8;

/// Driver `usb-hub`.
#[derive(Debug, Clone, Copy, Default)]
pub struct UsbHub;

/// How a hub switches power: `wHubCharacteristics`, bits 1 and 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switching {
    /// All ports at once.
    Ganged,
    /// Each port by itself.
    Individual,
    /// Not at all.
    None,
}

/// What the hub descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HubFacts {
    ports: u8,
    switching: Switching,
    super_speed: bool,
}

impl HubFacts {
    /// Number of ports is byte 2, characteristics are bytes 3 and 4, for hubs of both kinds.
    fn read(bytes: &[u8], super_speed: bool) -> Option<Self> {
        let (kind, ports, low) = (*bytes.get(1)?, *bytes.get(2)?, *bytes.get(3)?);
        let switching = match low & 3 {
            0 => Switching::Ganged,
            1 => Switching::Individual,
            _ => Switching::None,
        };
        (kind == hub_descriptor(super_speed)).then_some(Self { ports, switching, super_speed })
    }

    /// Whether PORT_POWER is set in a port's status: bit 8, and bit 9 for SuperSpeed.
    const fn powered(self, status: u16) -> bool {
        status & if self.super_speed { 0x0200 } else { 0x0100 } != 0
    }
}

const fn hub_descriptor(super_speed: bool) -> u8 {
    if super_speed { 0x2A } else { 0x29 }
}

/// Whether PORT_CONNECTION is set in a port's status: something is plugged in and has power.
const fn connected(status: u16) -> bool {
    status & 1 != 0
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    hub: String,
    number: u8,
    ganged: bool,
}

impl Place {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let refused = |what: String| LinkError::new("open usb-hub", what);
        let hub = required(parameters, "hub", "usb-hub")?;
        if !is_location(hub) {
            return Err(refused(format!(
                "`hub: {hub}` is not a place in the tree of hubs; write it as 1-1.2, or usb1 for a root hub"
            )));
        }
        let number = required(parameters, "port", "usb-hub")?.parse().ok().filter(|port| (1..=255).contains(port));
        let number = number
            .ok_or_else(|| refused("`port` is a number from 1, as printed on the hub or counted from its cable".to_owned()))?;
        let ganged = match parameters.values.get("ganged").map(String::as_str) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(refused(format!("`ganged: {other}` is neither true nor false"))),
        };
        Ok(Self { hub: hub.to_owned(), number, ganged })
    }

    /// Where a device is that is plugged in there.
    fn device(&self) -> String {
        match self.hub.strip_prefix("usb") {
            Some(bus) => format!("{bus}-{}", self.number),
            None => format!("{}.{}", self.hub, self.number),
        }
    }

    /// Whether the hub can do what is asked of it.
    fn allows(&self, facts: HubFacts) -> Result<(), String> {
        if self.number > facts.ports {
            return Err(format!("it has {} ports", facts.ports));
        }
        match facts.switching {
            Switching::Individual => Ok(()),
            Switching::Ganged if self.ganged => Ok(()),
            Switching::Ganged => {
                Err("it switches all its ports at once; if nothing else hangs on it, say so: `ganged: true`".to_owned())
            }
            Switching::None => Err("it says that it cannot switch power; use a hub with per-port power switching".to_owned()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} of USB hub {}", self.number, self.hub)
    }
}

/// What the supply needs of the world.
trait Hub: Send {
    /// A request to the hub.
    fn ask(&mut self, transfer: Transfer) -> BoxFuture<'_, Result<Answer, LinkError>>;
    /// Whether Linux lists a device at this place.
    fn lists(&mut self, place: &str) -> bool;
    /// Makes Linux look whether a device is still there.
    fn nudge(&mut self, place: &str) -> BoxFuture<'_, Result<(), LinkError>>;
}

struct RealHub {
    worker: Worker,
    sys: PathBuf,
}

impl Hub for RealHub {
    fn ask(&mut self, transfer: Transfer) -> BoxFuture<'_, Result<Answer, LinkError>> {
        Box::pin(self.worker.ask(transfer.within, move |session| session.transfer(&transfer)))
    }

    fn lists(&mut self, place: &str) -> bool {
        self.sys.join("bus/usb/devices").join(place).exists()
    }

    fn nudge(&mut self, place: &str) -> BoxFuture<'_, Result<(), LinkError>> {
        let device = Wanted { location: Some(place.to_owned()), ..Wanted::default() };
        let sys = self.sys.clone();
        Box::pin(self.worker.ask(REQUEST, move |_| {
            Session::new(device, &sys, false).reset();
            Ok(())
        }))
    }
}

struct Supply<H> {
    place: Place,
    facts: HubFacts,
    hub: H,
}

impl<H: Hub> Supply<H> {
    /// Reads what the hub is, and refuses what it cannot do.
    async fn open(place: Place, super_speed: bool, mut hub: H) -> Result<Self, LinkError> {
        let refused = |what: String| LinkError::new(format!("open {place}"), what);
        // Class request to the device: bmRequestType A0 (table 11-15).
        let setup = Setup { kind: 0xA0, request: GET_DESCRIPTOR, value: u16::from(hub_descriptor(super_speed)) << 8, index: 0 };
        let facts = match hub.ask(Transfer::request(setup, 71, REQUEST)).await? {
            Answer::Done(bytes) => HubFacts::read(&bytes, super_speed),
            answer => return Err(refused(format!("asked for its hub descriptor, it {answer}; is that a hub?"))),
        };
        let facts = facts.ok_or_else(|| refused("what it gives as hub descriptor is none".to_owned()))?;
        place.allows(facts).map_err(refused)?;
        Ok(Self { place, facts, hub })
    }

    fn failed(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.place), what)
    }

    async fn status(&mut self) -> Result<u16, LinkError> {
        // Class request to a port: A3.
        let setup = Setup { kind: 0xA3, request: GET_STATUS, value: 0, index: u16::from(self.place.number) };
        match self.hub.ask(Transfer::request(setup, 4, REQUEST)).await? {
            Answer::Done(bytes) if bytes.len() == 4 => Ok(u16::from_le_bytes([bytes[0], bytes[1]])),
            answer => Err(self.failed("read the status of", format!("the hub {answer}"))),
        }
    }

    async fn switch(&mut self, up: bool) -> Result<(), LinkError> {
        let request = if up { SET_FEATURE } else { CLEAR_FEATURE };
        let setup = Setup { kind: 0x23, request, value: PORT_POWER, index: u16::from(self.place.number) };
        let transfer = Transfer { pipe: Pipe::Control(setup), data: Vec::new(), length: 0, within: REQUEST, interface: None };
        match self.hub.ask(transfer).await? {
            Answer::Taken(_) => Ok(()),
            answer => Err(self.failed(if up { "switch up" } else { "switch down" }, format!("the hub {answer}"))),
        }
    }

    async fn wait_gone(&mut self) -> Result<(), LinkError> {
        let device = self.place.device();
        let (start, mut nudged) = (Instant::now(), false);
        while self.hub.lists(&device) {
            let waited = start.elapsed();
            let on = connected(self.status().await?);
            if waited >= GONE {
                let what = if on {
                    "PORT_POWER reads back off, but the hub still sees the device: it does not switch the 5 V"
                } else {
                    "PORT_POWER reads back off and the hub sees no device, but Linux still lists it"
                };
                return Err(self.failed(&format!("switch {}", word(false)), format!("{what} ({device}, after {GONE:?})")));
            }
            if !on && waited >= BY_ITSELF && !nudged {
                nudged = true;
                self.hub.nudge(&device).await?;
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

impl<H: Hub> SupplyLink for Supply<H> {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.switch(up).await?;
            let found = self.facts.powered(self.status().await?);
            let proof = read_back(&self.place.to_string(), up, found)?;
            if up {
                return Ok(proof);
            }
            self.wait_gone().await?;
            let what = format!("PORT_POWER of {} reads back off, and nothing is on the bus there", self.place);
            Ok(Proof::Seen(Witness { what, evidence: None }))
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move { Ok(Some(self.facts.powered(self.status().await?))) })
    }
}

impl Driver for UsbHub {
    fn name(&self) -> &'static str {
        "usb-hub"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("hub", true, "place of the hub, such as 1-1.2, or usb1 for a root hub"),
            ("port", true, "its port, from 1"),
            ("ganged", false, "true if the hub may switch all its ports at once"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Place::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        let place = Place::from(parameters)?;
        // A ganged hub is one instrument, however many ports it has.
        Ok(if place.ganged { format!("all ports of USB hub {}", place.hub) } else { place.to_string() })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let (place, sys) = (Place::from(parameters)?, PathBuf::from("/sys"));
            let directory = sys.join("bus/usb/devices").join(&place.hub);
            let refused = |what: String| LinkError::new(format!("open {place}"), what);
            match text(&directory, "bDeviceClass").as_deref() {
                Some("09") => {}
                Some(_) => return Err(refused("what is at that place is no hub".to_owned())),
                None => return Err(refused("nothing is at that place; `hilbench discover` lists the hubs".to_owned())),
            }
            let super_speed = is_super_speed(&directory);
            let hub = Wanted { location: Some(place.hub.clone()), ..Wanted::default() };
            let worker = Worker::start(Session::new(hub, &sys, false), &place.to_string())?;
            Ok(Opened::Supply(Box::new(Supply::open(place, super_speed, RealHub { worker, sys }).await?)))
        })
    }
}

/// Speeds from 5000 Mbit/s on (`ABI/stable/sysfs-bus-usb`): the hub is the SuperSpeed half of a pair.
fn is_super_speed(directory: &Path) -> bool {
    text(directory, "speed").and_then(|speed| speed.parse().ok()).is_some_and(|speed: f64| speed >= 5000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub with one port, and Linux in front of it.
    #[derive(Default)]
    struct Model {
        characteristics: u8,
        power: bool,
        /// The switch is bridged: the device keeps its 5 V.
        bridged: bool,
        /// The request is taken and nothing happens.
        welded: bool,
        /// The hub does not tell Linux of a device that has gone.
        mute: bool,
        /// What Linux lists.
        listed: bool,
        nudged: u32,
    }

    impl Model {
        fn settle(&mut self) {
            if !self.mute && !self.bridged {
                self.listed = self.power;
            }
        }
    }

    impl Hub for Model {
        fn ask(&mut self, transfer: Transfer) -> BoxFuture<'_, Result<Answer, LinkError>> {
            let Pipe::Control(setup) = transfer.pipe else { panic!("{transfer:?}") };
            let answer = match (setup.kind, setup.request, setup.value, setup.index) {
                (0xA0, 6, 0x2900, 0) => Answer::Done(vec![9, 0x29, 4, self.characteristics, 0, 50, 100, 0, 0xFF]),
                (0xA3, 0, 0, 1) => {
                    let connected = u8::from(self.power || self.bridged);
                    Answer::Done(vec![connected, u8::from(self.power), 0, 0])
                }
                (0x23, 1 | 3, 8, 1) => {
                    self.power = if self.welded { self.power } else { setup.request == 3 };
                    self.settle();
                    Answer::Taken(0)
                }
                _ => Answer::Stalled,
            };
            Box::pin(async move { Ok(answer) })
        }

        fn lists(&mut self, place: &str) -> bool {
            assert_eq!(place, "1-1.1");
            self.listed
        }

        fn nudge(&mut self, _: &str) -> BoxFuture<'_, Result<(), LinkError>> {
            self.nudged += 1;
            self.listed = false;
            Box::pin(async { Ok(()) })
        }
    }

    fn place(ganged: bool) -> Place {
        Place { hub: "1-1".to_owned(), number: 1, ganged }
    }

    fn good() -> Model {
        Model { characteristics: 1, power: true, listed: true, ..Model::default() }
    }

    async fn supply(model: Model) -> Supply<Model> {
        Supply::open(place(false), false, model).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_is_down_when_it_says_so_and_the_device_is_gone() {
        let mut supply = supply(good()).await;
        for up in [false, true, false] {
            assert!(matches!(supply.set(up).await.unwrap(), Proof::Seen(_)));
            assert_eq!(supply.is_up().await.unwrap(), Some(up));
        }
        assert_eq!(supply.hub.nudged, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn linux_is_made_to_look_where_the_hub_is_mute() {
        let mut supply = supply(Model { mute: true, ..good() }).await;
        assert!(matches!(supply.set(false).await.unwrap(), Proof::Seen(_)));
        assert_eq!(supply.hub.nudged, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_does_not_switch_is_a_fault_of_the_bench() {
        let bridged = supply(Model { bridged: true, ..good() }).await.set(false).await.unwrap_err();
        assert!(bridged.what.contains("does not switch the 5 V"), "{bridged}");
        let welded = supply(Model { welded: true, ..good() }).await.set(false).await.unwrap_err();
        assert!(welded.what.contains("reads back up"), "{welded}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_hubs_that_switch_each_port_are_taken() {
        let open = |characteristics, ganged| Supply::open(place(ganged), false, Model { characteristics, ..good() });
        let refused = |opened: Result<Supply<Model>, LinkError>| opened.err().map(|error| error.what).unwrap_or_default();
        assert!(refused(open(0, false).await).contains("ganged: true"));
        assert!(open(0, true).await.is_ok());
        for none in [2, 3] {
            assert!(refused(open(none, true).await).contains("cannot switch power"));
        }
        let fifth = Supply::open(Place { number: 5, ..place(false) }, false, good()).await;
        assert!(refused(fifth).contains("it has 4 ports"));
        // What is not a hub refuses the request; a SuperSpeed hub has another descriptor.
        assert!(refused(Supply::open(place(false), true, good()).await).contains("is that a hub?"));
    }

    #[test]
    fn bits_are_those_of_the_speed() {
        let facts = |super_speed| HubFacts { ports: 4, switching: Switching::Individual, super_speed };
        assert!(facts(false).powered(0x0100) && !facts(false).powered(0x0200));
        assert!(facts(true).powered(0x0200) && !facts(true).powered(0x0100));
        for bytes in [&[][..], &[9], &[9, 0x29, 4]] {
            assert_eq!(HubFacts::read(bytes, false), None);
        }
        assert_eq!(HubFacts::read(&[12, 0x2A, 4, 9], true).unwrap().switching, Switching::Individual);
    }

    #[test]
    fn devices_are_where_the_kernel_names_them() {
        let at = |hub: &str| Place { hub: hub.to_owned(), number: 3, ganged: false }.device();
        assert_eq!([at("usb2"), at("1-1"), at("1-1.2")], ["2-3", "1-1.3", "1-1.2.3"]);
        for (hub, port) in [("../x", "1"), ("1-1", "0"), ("1-1", "256"), ("1", "1")] {
            let values = [("hub".to_owned(), hub.to_owned()), ("port".to_owned(), port.to_owned())].into();
            assert!(Place::from(&Parameters { values, base: PathBuf::new() }).is_err(), "{hub} {port}");
        }
    }
}
