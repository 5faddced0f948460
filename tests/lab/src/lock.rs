//! The smart lock, wired: its real firmware on the emulated nRF51822, in the time of the wall clock, behind USB.
//!
//! The relay board of [`Bench`] feeds it and presses its reset button. Its console, its probe and its own USB port are there while it has
//! power, and so are its advertisements and its network link, where it has them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hilbench::virtual_dut::{CYCLES_PER_SECOND, Machine, MachineConfig};

use crate::{
    bench::{Bench, BenchError, Line},
    ble::{Characteristic, Peripheral, Radio, Uuid},
    net::Network,
    time::{DEVICE_TIME, DeviceTime},
    usb::{UsbError, dap::Nrf51},
};

/// The lock's service over Bluetooth, and its one characteristic: whether it is locked.
pub const SERVICE: u128 = 0x6c61_6200_0000_1000_8000_0080_5f9b_34fb;
/// See [`SERVICE`].
pub const STATE: u128 = SERVICE + 1;
/// What can be done with it (volume 3, part G, 3.3.1.1).
const READ: u8 = 0x02;
const NOTIFY: u8 = 0x10;

/// Pin of the reset button, to ground.
const BUTTON_PIN: u8 = 17;
/// Longest stretch of device time between two looks at the console.
const SLICE: Duration = Duration::from_millis(2);
/// A device that is later than this has been outrun by the wall clock, and no longer tries to catch up: its seconds get longer.
const LATE: Duration = Duration::from_millis(50);

/// The lock on its bench.
pub struct Lock {
    /// The bench; first, so that nobody asks a device that has ended.
    bench: Bench,
    device: Nrf51,
    radio: Option<Arc<Mutex<Radio>>>,
    network: Option<Arc<Network>>,
    firmware: Option<thread::JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl Lock {
    /// A blank lock without power. Serial numbers are `name` with `-relay`, `-console`, `-probe` and `-port`; `unit` is what makes this chip
    /// another than all others.
    pub fn new(name: &str, unit: u64) -> Result<Self, UsbError> {
        Self::living(name, unit, None)
    }

    fn living(name: &str, unit: u64, time: Option<DeviceTime>) -> Result<Self, UsbError> {
        let device = Nrf51::new(Machine::new(MachineConfig { device_id: unit, ..MachineConfig::default() }));
        let bench = Bench::new(name, device.port())?;
        let powered = device.clone();
        bench.follow_power(move |up| powered.power(up));
        let pressed = device.clone();
        bench.follow_button(move |down| pressed.with(|machine| machine.set_pin(BUTTON_PIN, down.then_some(false))));
        let ended = Arc::new(AtomicBool::new(false));
        let (running, line, end) = (device.clone(), bench.line(), Arc::clone(&ended));
        let firmware = thread::spawn(move || live(&running, &line, &end, time));
        Ok(Self { bench, device, radio: None, network: None, firmware: Some(firmware), ended })
    }

    /// The same with everything around it: it advertises as `smart-lock`, and has a network link whose bench side is called `name` with
    /// `0`. It tells how long it has lived ([`DEVICE_TIME`]). The names are the kernel's, so there is one such bench at a time.
    pub fn complete(name: &str, unit: u64) -> Result<Self, BenchError> {
        let mut lock = Self::living(name, unit, Some(DeviceTime::start(Path::new(DEVICE_TIME))?))?;
        let state = Characteristic::new(Uuid::long(STATE), b"locked").properties(READ | NOTIFY);
        let radio = Radio::new(Peripheral::new("smart-lock", unit as u8).service(Uuid::long(SERVICE), vec![state]))?;
        radio.advertise(false);
        let radio = Arc::new(Mutex::new(radio));
        let network = Arc::new(Network::new(name)?);
        network.link(false)?;
        let (advertising, link) = (Arc::clone(&radio), Arc::clone(&network));
        lock.bench.follow_power(move |up| {
            let radio = advertising.lock().unwrap_or_else(PoisonError::into_inner);
            radio.advertise(up);
            if !up {
                radio.lose_link();
            }
            // The guest has its network tools; without them the bench could not have been made.
            drop(link.link(up));
        });
        lock.radio = Some(radio);
        lock.network = Some(network);
        Ok(lock)
    }

    /// The Bluetooth side of a complete bench.
    #[must_use]
    pub fn radio(&self) -> Option<MutexGuard<'_, Radio>> {
        self.radio.as_ref().map(|radio| radio.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The network of a complete bench.
    #[must_use]
    pub fn network(&self) -> Option<&Network> {
        self.network.as_deref()
    }

    /// Its bench, to pull cables and weld contacts.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// Its bench, for the relay board itself.
    pub fn bench_mut(&mut self) -> &mut Bench {
        &mut self.bench
    }

    /// The chip.
    #[must_use]
    pub fn device(&self) -> &Nrf51 {
        &self.device
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // They hold the network, whose name the next bench wants.
        self.bench.forget_followers();
        if let Some(firmware) = self.firmware.take() {
            // A panic in it has been printed.
            drop(firmware.join());
        }
    }
}

/// Lets the device live in the time of the wall clock, and carries its serial line.
fn live(device: &Nrf51, line: &Line, ended: &AtomicBool, mut time: Option<DeviceTime>) {
    let born = device.with(|machine| machine.now());
    let mut start = (Instant::now(), device.with(|machine| machine.now()));
    let mut wait = SLICE;
    while !ended.load(Ordering::Relaxed) {
        // Also what the thread sleeps on.
        let input = line.receive(wait);
        let due = start.1 + cycles(start.0.elapsed());
        let output = device.with(|machine| {
            machine.uart_push(&input);
            let until = due.min(machine.now() + cycles(SLICE));
            // It also stops where a debugger halts it.
            while machine.now() < until {
                let _ = machine.run_until(until);
            }
            machine.uart_take()
        });
        if !output.is_empty() {
            line.send(&output);
        }
        let now = device.with(|machine| machine.now());
        if let Some(time) = &mut time {
            // Without the file the bench's clock stops, which its runs tell.
            drop(time.beat(lifetime(now.saturating_sub(born))));
        }
        let late = due.saturating_sub(now);
        if late > cycles(LATE) {
            start = (Instant::now(), now);
        }
        wait = if late > cycles(SLICE) { Duration::ZERO } else { SLICE };
    }
}

fn lifetime(cycles: u64) -> Duration {
    Duration::from_nanos(u64::try_from(u128::from(cycles) * 1_000_000_000 / u128::from(CYCLES_PER_SECOND)).unwrap_or(u64::MAX))
}

fn cycles(time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(CYCLES_PER_SECOND) / 1_000_000_000).unwrap_or(u64::MAX)
}
