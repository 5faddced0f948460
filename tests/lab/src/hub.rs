//! The smart hub, wired: the virtual device of the Linux class in a network namespace of its own, whose port DHCP has to configure.
//!
//! The relay board of [`Bench`] feeds it and presses its button. Its console is there with its power, and on the relay board's UART always; its USB
//! port, its advertisements and its network link come and go with its power. Nothing answers the probe: there is no debug port.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hilbench::virtual_dut::hub::{Attachment, Hub as Device, HubConfig};
use tokio::sync::mpsc as orders;

use crate::{
    bench::{Bench, BenchError, Line},
    ble::{Characteristic, Peripheral, Radio, Uuid},
    net::Network,
    time::{BEAT, DEVICE_TIME, DeviceTime},
    usb::dap::{Ack, Swd},
};

/// Where the bench's certification authority is, which the hub trusts: `ca-file` of the rig's clouds.
pub const AUTHORITY: &str = "/run/hilbench-hub/authority.pem";
/// The hub's service over Bluetooth, and its one characteristic: its version.
pub const SERVICE: u128 = 0x6875_6200_0000_1000_8000_0080_5f9b_34fb;
/// How often the console's carrier looks whether the bench has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Orders that may wait.
const ORDERS: usize = 16;

/// What the bench does to it.
enum Order {
    Power(bool),
    Press(bool),
}

/// The hub on its bench.
pub struct Hub {
    /// The bench; first, so that nobody asks a device that has ended.
    bench: Bench,
    radio: Arc<Mutex<Radio>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// The last to go: the namespace that the hub lives in.
    network: Arc<Network>,
}

impl Hub {
    /// A hub as delivered, without power, with everything around it: it advertises as `smart-hub` and has a network link whose bench side is
    /// called `name` with `0`. Serial numbers are `name` with `-relay`, `-console`, `-probe` and `-port`.
    ///
    /// # Errors
    /// USB, Bluetooth or the network cannot be wired; the guest of `cargo lab` has what they need.
    pub fn complete(name: &str, seed: u64) -> Result<Self, BenchError> {
        if let Some(directory) = PathBuf::from(AUTHORITY).parent() {
            fs::create_dir_all(directory)?;
        }
        let bench = Bench::new(name, NoPort)?;
        let network = Arc::new(Network::without_address(name)?);
        network.link(false)?;
        let version = Characteristic::new(Uuid::long(SERVICE + 1), b"1.0.0").properties(0x02);
        let radio = Radio::new(Peripheral::new("smart-hub", seed as u8).service(Uuid::long(SERVICE), vec![version]))?;
        radio.advertise(false);
        let radio = Arc::new(Mutex::new(radio));

        let config = HubConfig {
            name: name.to_owned(),
            latch: None,
            attachment: Attachment::Port("eth0".to_owned()),
            authority: AUTHORITY.into(),
            seed,
            flaw: None,
        };
        let (order, ordered) = orders::channel(ORDERS);
        let (tell, told) = mpsc::channel();
        let (inside, ended) = (Arc::clone(&network), Arc::new(AtomicBool::new(false)));
        let time = DeviceTime::start(Path::new(DEVICE_TIME))?;
        let device = thread::spawn(move || live(&inside, config, ordered, &tell, time));
        let console = told.recv().map_err(|_| io::Error::other("the hub has not started"))??;
        let (out, from, line) = (console.try_clone()?, console, bench.line());
        let outward = line.clone();
        let (stop, carried) = (Arc::clone(&ended), Arc::clone(&ended));
        let speak = thread::spawn(move || carry_out(out, &outward, &stop));
        let listen = thread::spawn(move || carry_in(from, &line, &carried));

        let (link, advertising, powered) = (Arc::clone(&network), Arc::clone(&radio), order.clone());
        bench.follow_power(move |up| {
            // What the hub does with its connections then is what the virtual hub does: it resets them. Its link goes a moment later, because the
            // network tools take their time, and the flash must not get that time.
            let _ = powered.blocking_send(Order::Power(up));
            let radio = advertising.lock().unwrap_or_else(PoisonError::into_inner);
            radio.advertise(up);
            if !up {
                radio.lose_link();
            }
            // The guest has these tools; without them the bench could not have been made.
            drop(link.link(up));
            if !up {
                drop(link.inside("ip addr flush dev eth0"));
            }
        });
        bench.follow_button(move |down| {
            let _ = order.blocking_send(Order::Press(down));
        });
        Ok(Self { bench, radio, ended, threads: vec![device, speak, listen], network })
    }

    /// The Bluetooth side.
    pub fn radio(&self) -> MutexGuard<'_, Radio> {
        self.radio.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its bench, to pull cables and weld contacts.
    #[must_use]
    pub fn bench(&self) -> &Bench {
        &self.bench
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.bench.forget_followers();
        for thread in self.threads.drain(..) {
            // A panic in it has been printed.
            drop(thread.join());
        }
    }
}

/// The hub's life, on a thread in its namespace: all its sockets are made there. Ends when nobody can give orders any more.
fn live(
    network: &Network,
    config: HubConfig,
    mut ordered: orders::Receiver<Order>,
    tell: &mpsc::Sender<io::Result<File>>,
    mut time: DeviceTime,
) {
    let started = || -> io::Result<_> {
        network.enter().map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let device = runtime.block_on(async { Device::start(config) }).map_err(io::Error::other)?;
        let console = File::options().read(true).write(true).open(device.console_path())?;
        Ok((runtime, device, console))
    };
    let (runtime, device) = match started() {
        Ok((runtime, device, console)) => {
            let _ = tell.send(Ok(console));
            (runtime, device)
        }
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let (mut supply, mut button) = (device.supply(), device.button());
        let clock = device.clock();
        let living = async move {
            loop {
                // Without the file the bench's clock stops, which its runs tell.
                drop(time.beat(Duration::from_nanos(clock.now().0)));
                tokio::time::sleep(BEAT).await;
            }
        };
        let obeying = async {
            while let Some(order) = ordered.recv().await {
                // Neither can fail: there is no relay with a file, and a contact has nothing that could.
                match order {
                    Order::Power(up) => drop(supply.set(up).await),
                    Order::Press(down) => drop(button.set(down).await),
                }
            }
        };
        tokio::select! {
            () = living => {}
            () = obeying => {}
        }
        drop(device);
    });
}

/// What the hub says, until its line is hung up.
fn carry_out(mut console: File, line: &Line, ended: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !ended.load(Ordering::Relaxed) {
        match console.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(read) => line.send(&bytes[..read]),
        }
    }
}

/// What is said to it.
fn carry_in(mut console: File, line: &Line, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        let bytes = line.receive(LOOK);
        if console.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// No debug port at all.
struct NoPort;

impl Swd for NoPort {
    fn read(&mut self, _: bool, _: u8) -> Result<u32, Ack> {
        Err(Ack::Silent)
    }

    fn write(&mut self, _: bool, _: u8, _: u32) -> Result<(), Ack> {
        Err(Ack::Silent)
    }

    fn line(&mut self, _: u8, _: u64) {}

    fn set_reset(&mut self, _: bool) {}
}
