//! The thread of the controller.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    att,
    hci::{self, command, packet},
    peripheral::{Peripheral, Uuid},
};

const DEVICE: &str = "/dev/vhci";
/// `O_NONBLOCK` on x86 and Arm.
const NONBLOCKING: i32 = 0o4000;
/// How often the device is looked at: it can only be waited for by blocking, and then nothing could end the thread.
const LOOK: Duration = Duration::from_millis(2);
/// Time between two advertisements.
const ADVERTISE: Duration = Duration::from_millis(100);

/// Channels of L2CAP (volume 3, part A, 2.1).
const ATTRIBUTES: u16 = 4;
const SIGNALLING: u16 = 5;
const SECURITY: u16 = 6;

/// The controller cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a Bluetooth controller at `{DEVICE}`: {0}; it needs root and the module hci_vhci: use `cargo lab test`")]
pub struct BleError(#[from] io::Error);

enum Order {
    Advertise(bool),
    LoseLink,
    Refuse(Option<u8>),
    Accept(bool),
    Notify(Uuid, Vec<u8>),
    End,
}

/// A controller with a peripheral in range. The controller is pulled out when this is dropped.
pub struct Radio {
    orders: mpsc::Sender<Order>,
    pairings: Arc<AtomicU32>,
    written: mpsc::Receiver<(Uuid, Vec<u8>)>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Radio {
    /// Plugs a controller in.
    pub fn new(peripheral: Peripheral) -> Result<Self, BleError> {
        let mut device = OpenOptions::new().read(true).write(true).custom_flags(NONBLOCKING).open(Path::new(DEVICE))?;
        device.write_all(&[packet::VENDOR, 0])?;
        let (orders, ordered) = mpsc::channel();
        let (tell, written) = mpsc::channel();
        let pairings = Arc::new(AtomicU32::new(0));
        let mut controller = Controller {
            device,
            peripheral,
            tell,
            pairings: Arc::clone(&pairings),
            accepting: true,
            advertising: true,
            scanning: false,
            wanted: false,
            linked: false,
            refuse: None,
            partial: Vec::new(),
            next: Instant::now(),
        };
        let thread = Some(thread::spawn(move || controller.run(&ordered)));
        Ok(Self { orders, pairings, written, thread })
    }

    /// Makes the peripheral visible or not. A link that exists stays.
    pub fn advertise(&self, on: bool) {
        self.order(Order::Advertise(on));
    }

    /// Loses the link as if the peripheral had gone out of range.
    pub fn lose_link(&self) {
        self.order(Order::LoseLink);
    }

    /// Refuses reads and writes with this error code (volume 3, part F, 3.4.1.1) until told otherwise.
    pub fn refuse(&self, code: Option<u8>) {
        self.order(Order::Refuse(code));
    }

    /// Takes connections or not; advertises all the same.
    pub fn accept(&self, on: bool) {
        self.order(Order::Accept(on));
    }

    /// How often the host has asked for pairing. It is always refused.
    #[must_use]
    pub fn pairings(&self) -> u32 {
        self.pairings.load(Ordering::SeqCst)
    }

    /// Sends a notification of a characteristic.
    pub fn notify(&self, characteristic: Uuid, value: &[u8]) {
        self.order(Order::Notify(characteristic, value.to_vec()));
    }

    /// The next write of the host, with the type of the attribute. `None` if there is none in time.
    #[must_use]
    pub fn written(&self, time: Duration) -> Option<(Uuid, Vec<u8>)> {
        self.written.recv_timeout(time).ok()
    }

    fn order(&self, order: Order) {
        // If the kernel has ended the controller, there is nobody to order about.
        drop(self.orders.send(order));
    }
}

impl Drop for Radio {
    fn drop(&mut self) {
        self.order(Order::End);
        // The device file is closed when the thread has ended.
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

struct Controller {
    device: File,
    peripheral: Peripheral,
    tell: mpsc::Sender<(Uuid, Vec<u8>)>,
    pairings: Arc<AtomicU32>,
    accepting: bool,
    advertising: bool,
    scanning: bool,
    /// The host waits for a connection.
    wanted: bool,
    linked: bool,
    refuse: Option<u8>,
    /// Beginning of a message whose rest is in the next packets.
    partial: Vec<u8>,
    /// Time of the next advertisement.
    next: Instant,
}

impl Controller {
    fn run(&mut self, orders: &mpsc::Receiver<Order>) {
        let mut buffer = [0; 2048];
        loop {
            match self.device.read(&mut buffer) {
                Ok(count) => {
                    self.receive(&buffer[..count]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            match orders.recv_timeout(LOOK) {
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.on_air();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Advertise(on) => self.advertising = on,
            // 0x08: connection timeout.
            Order::LoseLink => self.end_link(0x08),
            Order::Refuse(code) => self.refuse = code,
            Order::Accept(on) => self.accepting = on,
            Order::Notify(uuid, value) => {
                if let Some(handle) = self.peripheral.handle(&uuid).filter(|_| self.linked) {
                    self.send(ATTRIBUTES, &att::notification(handle, &value));
                }
            }
            Order::End => {}
        }
    }

    /// What the peripheral does by itself.
    fn on_air(&mut self) {
        if !self.advertising || self.linked || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + ADVERTISE;
        let address = self.peripheral.address;
        if self.wanted && self.accepting {
            self.wanted = false;
            self.linked = true;
            self.partial.clear();
            // Done, role central, random address; 30 ms, no latency, 4 s.
            let head = [&[0], &hci::HANDLE[..], &[0, 1], &address].concat();
            self.write(&hci::low_energy(0x01, &[&head[..], &[24, 0, 0, 0, 0x90, 0x01, 0]].concat()));
        } else if self.scanning {
            // The kernel keeps a report back until the answer to its scan request has come, which may be empty.
            for (kind, data) in [(0, self.peripheral.advertisement()), (4, self.peripheral.response.clone())] {
                // One report: random address, -50 dBm.
                let report = [&[1, kind, 1], &address[..], &[data.len() as u8], &data, &[0xCE]].concat();
                self.write(&hci::low_energy(0x02, &report));
            }
        }
    }

    fn end_link(&mut self, reason: u8) {
        if self.linked {
            self.linked = false;
            let [low, high] = hci::HANDLE;
            self.write(&hci::event(0x05, &[0, low, high, reason]));
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        match bytes {
            [packet::COMMAND, low, high, _, parameters @ ..] => self.command(u16::from_le_bytes([*low, *high]), parameters),
            [packet::DATA, _, flags, _, _, data @ ..] => self.data(flags >> 4 & 3 == 1, data),
            _ => {}
        }
    }

    fn command(&mut self, command: u16, parameters: &[u8]) {
        let handle = hci::HANDLE;
        match command {
            command::CREATE_CONNECTION => {
                self.wanted = true;
                self.write(&hci::started(command));
            }
            command::DISCONNECT => {
                self.write(&hci::started(command));
                // 0x16: by the local host.
                self.end_link(0x16);
            }
            command::READ_REMOTE_VERSION => {
                self.write(&hci::started(command));
                self.write(&hci::event(0x0C, &[&[0], &handle[..], &[8, 0xFF, 0xFF, 0, 0]].concat()));
            }
            command::READ_REMOTE_FEATURES => {
                self.write(&hci::started(command));
                self.write(&hci::low_energy(0x04, &[&[0], &handle[..], &[0; 8]].concat()));
            }
            command::UPDATE_CONNECTION => {
                self.write(&hci::started(command));
                self.write(&hci::low_energy(0x03, &[&[0], &handle[..], parameters.get(4..10).unwrap_or(&[0; 6])].concat()));
            }
            command::CANCEL_CONNECTION => {
                self.write(&hci::complete(command));
                if std::mem::take(&mut self.wanted) {
                    // 0x02: unknown connection, which is how a cancelled one ends.
                    self.write(&hci::low_energy(0x01, &[&[2], &[0; 17][..]].concat()));
                }
            }
            _ => {
                match command {
                    command::SCAN_ENABLE => self.scanning = parameters.first() == Some(&1),
                    command::RESET => (self.scanning, self.wanted, self.linked) = (false, false, false),
                    _ => {}
                }
                self.write(&hci::complete(command));
            }
        }
    }

    /// A packet of data; long messages come in several.
    fn data(&mut self, continues: bool, data: &[u8]) {
        let [low, high] = hci::HANDLE;
        self.write(&hci::event(0x13, &[1, low, high, 1, 0]));
        if !continues {
            self.partial.clear();
        }
        self.partial.extend_from_slice(data);
        let [low, high, channel_low, channel_high, message @ ..] = self.partial.as_slice() else { return };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        if let Some(message) = message.get(..length) {
            let (channel, message) = (u16::from_le_bytes([*channel_low, *channel_high]), message.to_vec());
            self.partial.clear();
            self.message(channel, &message);
        }
    }

    fn message(&mut self, channel: u16, message: &[u8]) {
        match channel {
            ATTRIBUTES => {
                let reaction = att::handle(&mut self.peripheral, message, self.refuse);
                if let Some(answer) = reaction.answer {
                    self.send(ATTRIBUTES, &answer);
                }
                if let Some((handle, value)) = reaction.written
                    && let Some(row) = self.peripheral.table.get(usize::from(handle) - 1)
                {
                    drop(self.tell.send((row.kind.clone(), value)));
                }
            }
            // Command reject, not understood.
            SIGNALLING => {
                if let [code, identifier, ..] = message
                    && *code != 1
                {
                    self.send(SIGNALLING, &[1, *identifier, 2, 0, 0, 0]);
                }
            }
            // Pairing request: failed, not supported.
            SECURITY if message.first() == Some(&1) => {
                self.pairings.fetch_add(1, Ordering::SeqCst);
                self.send(SECURITY, &[5, 5]);
            }
            _ => {}
        }
    }

    /// Sends a message over the link. All fit in one packet.
    fn send(&mut self, channel: u16, message: &[u8]) {
        if !self.linked {
            return;
        }
        let body = [&(message.len() as u16).to_le_bytes()[..], &channel.to_le_bytes(), message].concat();
        let [low, high] = hci::HANDLE;
        // First packet of a message.
        let head = [packet::DATA, low, high | 0x20];
        self.write(&[&head[..], &(body.len() as u16).to_le_bytes(), &body].concat());
    }

    fn write(&mut self, bytes: &[u8]) {
        // One write is one packet. When the kernel has ended the controller, the next read says so.
        drop(self.device.write_all(bytes));
    }
}
