//! A device under test and the instruments around it, wired: the relay really takes the power away.
//!
//! * The relay board is an FT232R whose line CBUS0 feeds the device when high, whose line CBUS1 presses its button, and whose line
//!   CBUS2 senses the device's supply. It hangs on a supply of its own. Its UART is on the device's serial line too: a console that is there
//!   before the device has power, and so hears its first word.
//! * The device has a console ([`Acm`]), a debug probe on the same board ([`CmsisDap`]) and a USB port of its own ([`Loopback`]). All three
//!   appear when it has power and vanish when it has not.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::{
    ble::BleError,
    net::NetError,
    usb::{
        Cable, Description, Direction, Endpoint, Fault, Interface, Peer, Speed, UsbError,
        acm::Acm,
        dap::{CmsisDap, Swd},
        ft232r::{Cbus, Ft232r},
        sysfs,
        vendor::Loopback,
    },
};

/// The line of the relay board that feeds the device.
pub const SUPPLY_LINE: u8 = 0;
/// The line of the relay board that is high while the device has power: the witness of the relay's contact.
pub const SENSE_LINE: u8 = 2;
/// The line of the relay board that presses the device's button while it is high.
pub const BUTTON_LINE: u8 = 1;

/// The bench cannot be wired.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Something over USB.
    #[error(transparent)]
    Usb(#[from] UsbError),
    /// The Bluetooth controller.
    #[error(transparent)]
    Ble(#[from] BleError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Something else of the system.
    #[error("cannot wire the bench: {0}")]
    Io(#[from] std::io::Error),
}

/// Told whether the device has power, or its button is pressed.
type Follower = Box<dyn FnMut(bool) + Send>;

/// One of the device's cables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its console.
    Console,
    /// The probe on its board.
    Probe,
    /// Its own USB port.
    Port,
}

/// A cable, and whether somebody has pulled it.
struct Plug {
    cable: Cable,
    pulled: bool,
}

/// The device's side of the bench.
struct Device {
    power: bool,
    pressed: bool,
    /// The relay's contact stays where it is, whatever its line says.
    welded: bool,
    plugs: [Plug; 3],
    power_followers: Vec<Follower>,
    button_followers: Vec<Follower>,
    trouble: Option<UsbError>,
}

impl Device {
    /// Puts each plug into the state that power and hands have left it in.
    fn settle(&mut self) {
        for plug in &mut self.plugs {
            let result = if self.power && !plug.pulled { plug.cable.plug() } else { plug.cable.unplug() };
            if let Err(error) = result {
                self.trouble = Some(error);
            }
        }
    }

    /// The relay board's lines have changed.
    fn switch(&mut self, high: u8) {
        let (power, pressed) = (high >> SUPPLY_LINE & 1 == 1, high >> BUTTON_LINE & 1 == 1);
        if power != self.power && !self.welded {
            self.power = power;
            self.power_followers.iter_mut().for_each(|follower| follower(power));
            self.settle();
        }
        if pressed != self.pressed {
            self.pressed = pressed;
            self.button_followers.iter_mut().for_each(|follower| follower(pressed));
        }
    }

    fn plug(&mut self, part: Part) -> &mut Plug {
        &mut self.plugs[part as usize]
    }
}

/// The device's serial line, which goes to its own console and to the UART of the relay board.
#[derive(Clone)]
pub struct Line {
    console: Peer,
    adapter: Peer,
}

impl Line {
    /// Sends bytes to whoever listens. What nobody is there to hear is lost, as on a wire.
    pub fn send(&self, bytes: &[u8]) {
        let _ = self.console.send(bytes);
        // A closed port keeps nothing for the next one who opens it.
        if self.adapter.lines().dtr {
            let _ = self.adapter.send(bytes);
        }
    }

    /// Takes what was sent to the device; waits for its console at most `time`.
    #[must_use]
    pub fn receive(&self, time: Duration) -> Vec<u8> {
        let mut bytes = self.adapter.receive(Duration::ZERO);
        bytes.extend(self.console.receive(if bytes.is_empty() { time } else { Duration::ZERO }));
        bytes
    }
}

/// The wired bench. Everything is pulled out when it is dropped.
pub struct Bench {
    relay: Cable,
    cbus: Cbus,
    console: Peer,
    adapter: Peer,
    device: Arc<Mutex<Device>>,
}

impl Bench {
    /// A bench whose relay board is plugged in and whose device has no power. Serial numbers are `name` with `-relay`, `-console`, `-probe`
    /// and `-port`.
    pub fn new(name: &str, target: impl Swd + 'static) -> Result<Self, UsbError> {
        let (relay, adapter, cbus) = Ft232r::new(&format!("{name}-relay"));
        let (acm, console) = Acm::new(&format!("{name}-console"));
        let probe = CmsisDap::with_target(&format!("{name}-probe"), target);
        let port = Loopback::new(port(&format!("{name}-port"))).without_requests();
        let plugs = [Cable::new(acm), Cable::new(probe), Cable::new(port)].map(|cable| Plug { cable, pulled: false });
        let device = Arc::new(Mutex::new(Device {
            power: false,
            pressed: false,
            welded: false,
            plugs,
            power_followers: Vec::new(),
            button_followers: Vec::new(),
            trouble: None,
        }));

        // The relay's thread answers the kernel, which may hold locks that plugging needs: so the plugs have a thread of their own. It ends
        // when the relay, which has the sender, is gone.
        let (switch, switched) = mpsc::channel();
        let wired = Arc::clone(&device);
        thread::spawn(move || {
            while let Ok(high) = switched.recv() {
                lock(&wired).switch(high);
            }
        });
        cbus.on_change(move |high| {
            // The thread outlives the relay.
            let _ = switch.send(high);
        });

        let fed = Arc::new(AtomicBool::new(false));
        let sensed = Arc::clone(&fed);
        cbus.outside(move |_| !(1 << SENSE_LINE) | u8::from(sensed.load(Ordering::SeqCst)) << SENSE_LINE);
        lock(&device).power_followers.push(Box::new(move |power| fed.store(power, Ordering::SeqCst)));

        let mut relay = Cable::new(relay);
        relay.plug()?;
        Ok(Self { relay, cbus, console, adapter, device })
    }

    /// The firmware's end of its serial line.
    #[must_use]
    pub fn line(&self) -> Line {
        Line { console: self.console.clone(), adapter: self.adapter.clone() }
    }

    /// The firmware's end of its own console alone.
    #[must_use]
    pub fn console(&self) -> &Peer {
        &self.console
    }

    /// The relay board.
    pub fn relay(&mut self) -> &mut Cable {
        &mut self.relay
    }

    /// Whether the relay feeds the device.
    #[must_use]
    pub fn relay_closed(&self) -> bool {
        self.cbus.driven_high() >> SUPPLY_LINE & 1 == 1
    }

    /// Tells `follower` of power gained and lost from now on, before the plugs go in and out.
    pub fn follow_power(&self, follower: impl FnMut(bool) + Send + 'static) {
        lock(&self.device).power_followers.push(Box::new(follower));
    }

    /// Tells `follower` of the button pressed and released from now on.
    pub fn follow_button(&self, follower: impl FnMut(bool) + Send + 'static) {
        lock(&self.device).button_followers.push(Box::new(follower));
    }

    /// Tells nobody any more.
    pub fn forget_followers(&self) {
        let mut device = lock(&self.device);
        device.power_followers.clear();
        device.button_followers.clear();
    }

    /// Welds the relay's contact where it is, or frees it; a freed one goes to where its line is.
    pub fn weld(&self, welded: bool) {
        let high = self.cbus.driven_high();
        let mut device = lock(&self.device);
        device.welded = welded;
        device.switch(high);
    }

    /// Whether the device has power now.
    #[must_use]
    pub fn powered(&self) -> bool {
        lock(&self.device).power
    }

    /// Waits until the device has power, or none. `false` if that does not come in time.
    #[must_use]
    pub fn wait_power(&self, power: bool, time: Duration) -> bool {
        sysfs::until(time, || lock(&self.device).power == power)
    }

    /// Pulls a plug of the device by hand.
    pub fn pull(&self, part: Part) -> Result<(), UsbError> {
        let mut device = lock(&self.device);
        device.plug(part).pulled = true;
        device.plug(part).cable.unplug()
    }

    /// Puts a plug of the device back; it shows when there is power.
    pub fn put_back(&self, part: Part) -> Result<(), UsbError> {
        let mut device = lock(&self.device);
        let power = device.power;
        let plug = device.plug(part);
        plug.pulled = false;
        if power { plug.cable.plug() } else { Ok(()) }
    }

    /// Pulls a plug and puts it back so that the kernel gives it another number.
    pub fn renumber(&self, part: Part) -> Result<(), UsbError> {
        lock(&self.device).plug(part).cable.replug_renumbered()
    }

    /// Makes a part misbehave until [`Bench::heal`] or until it loses power.
    pub fn fault(&self, part: Part, fault: Fault) {
        lock(&self.device).plug(part).cable.fault(fault);
    }

    /// Ends the faults of a part.
    pub fn heal(&self, part: Part) {
        lock(&self.device).plug(part).cable.heal();
    }

    /// Name of a part in `/sys/bus/usb/devices`, while it is plugged in and has power.
    #[must_use]
    pub fn location(&self, part: Part) -> Option<String> {
        lock(&self.device).plug(part).cable.location().map(str::to_owned)
    }

    /// What went wrong when the relay switched, if anything did.
    #[must_use]
    pub fn trouble(&self) -> Option<UsbError> {
        lock(&self.device).trouble.take()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.relay.unplug());
        // Not left to the other thread: the next test may look at once.
        let mut device = lock(&self.device);
        device.plugs.iter_mut().for_each(|plug| plug.pulled = true);
        device.welded = false;
        device.switch(0);
        device.settle();
    }
}

/// The device's own port: one vendor interface with a pair of bulk endpoints.
fn port(serial: &str) -> Description {
    let endpoints = vec![Endpoint::bulk(1, Direction::Out, 512), Endpoint::bulk(1, Direction::In, 512)];
    let interface = Interface { class: [0xFF, 0, 0], endpoints, ..Interface::default() };
    Description::new(Speed::High, 0x1209, 0x0003, "lab device").serial(serial).interface(interface)
}

fn lock(device: &Mutex<Device>) -> MutexGuard<'_, Device> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}
