//! The ways to an instrument that takes lines and answers with lines.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    channel::link::{ByteLink, Driver as _, LinkError, Opened, Parameters},
    driver::{
        parameters::value,
        serial::{Serial, ports::Wanted},
        sysfs::usb_above,
    },
};

/// Time for an answer, and for bytes to leave.
const ANSWER: Duration = Duration::from_secs(3);
/// Time for the kernel: it gives up a USBTMC transfer after 5 s.
const KERNEL: Duration = Duration::from_secs(15);
/// Time to get in step with an instrument again that answered late.
const IN_STEP: Duration = Duration::from_secs(6);
/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const LONGEST: usize = 1024;

/// What went wrong on the way.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: String,
    pub(super) lost: bool,
}

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), lost: false }
    }

    fn lost(what: impl Into<String>) -> Self {
        Self { what: what.into(), lost: true }
    }
}

/// Where the instrument is.
pub(super) enum Place {
    Tcp(String),
    Usbtmc(Usbtmc),
    Serial(Parameters),
}

/// How a USBTMC instrument is named.
pub(super) enum Usbtmc {
    File(PathBuf),
    Usb { usb: (u16, u16), serial_number: Option<String> },
}

impl Usbtmc {
    fn from(text: &str, base: &Path) -> Option<Self> {
        if text.contains('/') {
            return Some(Self::File(base.join(text)));
        }
        let (ids, serial_number) = match text.match_indices(':').nth(1) {
            Some((at, _)) => (&text[..at], Some(text[at + 1..].to_owned())),
            None => (text, None),
        };
        Some(Self::Usb { usb: Wanted::parse_usb(ids)?, serial_number })
    }

    /// The device file, and what it is.
    fn find(&self) -> Result<(PathBuf, String), LinkError> {
        let failed = |what: String| LinkError::new("find a USBTMC instrument", what);
        let named = |name: &std::ffi::OsStr| usb_above(&Path::new("/sys/class/usbmisc").join(name));
        let shown = |usb: &crate::driver::sysfs::UsbDevice| match &usb.serial_number {
            Some(number) => format!("usbtmc {:04x}:{:04x} serial number {number}", usb.vendor, usb.product),
            None => format!("usbtmc {:04x}:{:04x} at {}", usb.vendor, usb.product, usb.location),
        };
        match self {
            Self::File(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                let usb = path.file_name().and_then(named);
                let identity = usb.map_or_else(|| format!("usbtmc {}", path.display()), |usb| shown(&usb));
                Ok((path, identity))
            }
            Self::Usb { usb, serial_number } => {
                let entries = std::fs::read_dir("/sys/class/usbmisc").into_iter().flatten().flatten();
                let names = entries.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().starts_with("usbtmc"));
                let found: Vec<_> = names.filter_map(|name| named(&name).map(|usb| (name, usb))).collect();
                let fits = |device: &crate::driver::sysfs::UsbDevice| {
                    (device.vendor, device.product) == *usb
                        && serial_number.as_ref().is_none_or(|number| device.serial_number.as_ref() == Some(number))
                };
                let fitting: Vec<_> = found.iter().filter(|(_, device)| fits(device)).collect();
                match fitting.as_slice() {
                    [(name, device)] => Ok((Path::new("/dev").join(name), shown(device))),
                    [] => {
                        let there: Vec<_> = found.iter().map(|(_, device)| shown(device)).collect();
                        let there = if there.is_empty() { "none".to_owned() } else { there.join("; ") };
                        Err(failed(format!(
                            "none is what the rig says; there is: {there}. Is the kernel's `usbtmc` module there?"
                        )))
                    }
                    _ => Err(failed("several are; add the serial number: 'vvvv:pppp:SERIAL'".to_owned())),
                }
            }
        }
    }
}

impl Place {
    pub(super) fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let refused = |what: &str| LinkError::new("open scpi-supply", what);
        let serial = ["usb", "serial-number", "interface", "location", "path", "baud"];
        let mut port = parameters.clone();
        port.values.retain(|name, _| serial.contains(&name.as_str()));
        match (value(parameters, "tcp"), value(parameters, "usbtmc"), port.values.is_empty()) {
            (Some(tcp), None, true) => {
                let valid = tcp
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
                if valid { Ok(Self::Tcp(tcp.to_owned())) } else { Err(refused("`tcp` is host and port, such as 192.0.2.7:5025")) }
            }
            (None, Some(text), true) => Usbtmc::from(text, &parameters.base)
                .map(Self::Usbtmc)
                .ok_or_else(|| refused("`usbtmc` is 'vvvv:pppp' or 'vvvv:pppp:SERIAL' in hexadecimal, or a path")),
            (None, None, false) => {
                port.values.entry("baud".to_owned()).or_insert_with(|| "9600".to_owned());
                Serial.check(&port)?;
                Ok(Self::Serial(port))
            }
            (None, None, true) => {
                Err(refused("the rig does not say where it is; give `tcp`, `usbtmc`, or how its serial port is found"))
            }
            _ => Err(refused("the rig says several places; keep one of `tcp`, `usbtmc` and the serial port")),
        }
    }

    pub(super) fn identity(&self) -> Result<String, LinkError> {
        match self {
            Self::Tcp(address) => Ok(format!("scpi instrument at {address}")),
            Self::Usbtmc(usbtmc) => usbtmc.find().map(|(_, identity)| identity),
            Self::Serial(port) => Serial.identity(port),
        }
    }

    pub(super) async fn open(self) -> Result<Transport, LinkError> {
        match self {
            Self::Tcp(address) => {
                let failed = |what: String| LinkError::new(format!("connect to {address}"), what);
                let stream = match timeout(CONNECT, TcpStream::connect(&address)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return Err(failed(format!("{error}; is its raw socket (not VXI-11) switched on?"))),
                    Err(_) => return Err(failed(format!("no answer within {CONNECT:?}; is it on this network?"))),
                };
                let _ = stream.set_nodelay(true);
                Ok(Transport::stream(Box::new(stream)))
            }
            Self::Serial(port) => match Serial.open(&port).await? {
                Opened::Console(port) => Ok(Transport::stream(port)),
                _ => Err(LinkError::new("open scpi-supply", "the serial driver opened something else")),
            },
            Self::Usbtmc(usbtmc) => {
                let (path, identity) = usbtmc.find()?;
                let failed = |error: std::io::Error| {
                    let next = if error.kind() == std::io::ErrorKind::PermissionDenied {
                        "; add a udev rule for it with TAG+=\"uaccess\""
                    } else {
                        ""
                    };
                    LinkError::new(format!("open {identity}"), format!("{}: {error}{next}", path.display()))
                };
                let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
                let jobs = Messages::start(file).map_err(failed)?;
                Ok(Transport { way: Way::Messages(jobs), identification: None, in_step: true })
            }
        }
    }
}

/// An instrument that takes lines.
pub(super) struct Transport {
    way: Way,
    /// Question and answer that tell it from others; how one gets in step with it again.
    identification: Option<(String, String)>,
    /// Whether the next answer belongs to the next question: not after one that came late.
    in_step: bool,
}

enum Way {
    Stream(Box<dyn ByteLink>),
    Messages(Messages),
}

impl Transport {
    pub(super) fn stream(stream: Box<dyn ByteLink>) -> Self {
        Self { way: Way::Stream(stream), identification: None, in_step: true }
    }

    /// Asks who it is.
    pub(super) async fn identify(&mut self, question: &str) -> Result<String, Failure> {
        // It may have been asked something by somebody who then went away.
        if let Way::Stream(stream) = &mut self.way {
            drain(stream.as_mut()).await;
        }
        let answer = self.exchange(question).await?;
        self.identification = Some((question.to_owned(), answer.clone()));
        Ok(answer)
    }

    pub(super) async fn command(&mut self, command: &str) -> Result<(), Failure> {
        self.get_in_step().await?;
        match &mut self.way {
            Way::Stream(stream) => write(stream.as_mut(), command).await,
            Way::Messages(messages) => messages.exchange(command, false).await.map(drop),
        }
    }

    pub(super) async fn query(&mut self, question: &str) -> Result<String, Failure> {
        self.get_in_step().await?;
        self.exchange(question).await
    }

    async fn exchange(&mut self, question: &str) -> Result<String, Failure> {
        let answer = match &mut self.way {
            Way::Stream(stream) => {
                // A waiter that is dropped in between leaves an answer behind.
                self.in_step = false;
                write(stream.as_mut(), question).await?;
                read(stream.as_mut(), Instant::now() + ANSWER).await
            }
            Way::Messages(messages) => messages.exchange(question, true).await,
        };
        self.in_step = answer.is_ok();
        answer.map_err(|failure| Failure { what: format!("`{question}`: {}", failure.what), ..failure })
    }

    /// After an answer that did not come in time: asks who it is, until the answer to exactly that comes.
    async fn get_in_step(&mut self) -> Result<(), Failure> {
        if self.in_step {
            return Ok(());
        }
        let Some((question, known)) = self.identification.clone() else { return Ok(()) };
        match &mut self.way {
            Way::Stream(stream) => {
                let until = Instant::now() + IN_STEP;
                drain(stream.as_mut()).await;
                write(stream.as_mut(), &question).await?;
                while read(stream.as_mut(), until).await? != known {}
            }
            Way::Messages(messages) => {
                let mut answer = messages.exchange(&question, true).await?;
                while answer != known {
                    answer = messages.exchange("", true).await?;
                }
            }
        }
        self.in_step = true;
        Ok(())
    }
}

async fn write(stream: &mut dyn ByteLink, line: &str) -> Result<(), Failure> {
    let bytes = format!("{line}\n").into_bytes();
    let sent = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    match timeout(ANSWER, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::lost(error.to_string())),
        Err(_) => Err(Failure::new("it takes no bytes")),
    }
}

async fn read(stream: &mut dyn ByteLink, until: Instant) -> Result<String, Failure> {
    let mut line = Vec::new();
    while line.len() < LONGEST {
        match timeout_at(until, stream.read_u8()).await {
            Ok(Ok(b'\n')) => return Ok(text(&line)),
            Ok(Ok(byte)) => line.push(byte),
            Ok(Err(error)) => return Err(Failure::lost(format!("the connection is gone: {error}"))),
            Err(_) if line.is_empty() => return Err(Failure::new("no answer")),
            Err(_) => return Err(Failure::new(format!("half an answer: `{}`", text(&line)))),
        }
    }
    Err(Failure::new(format!("an answer without an end: `{}`...", text(&line[..40]))))
}

/// Takes away what was said before; bounded, for an instrument that never stops.
async fn drain(stream: &mut dyn ByteLink) {
    let mut piece = [0; 256];
    for _ in 0..64 {
        match timeout(Duration::ZERO, stream.read(&mut piece)).await {
            Ok(Ok(count)) if count > 0 => {}
            _ => return,
        }
    }
}

/// An answer as text; it comes from outside.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().chars().filter(|c| !c.is_control()).collect()
}

/// A line to send (none if it is empty), whether an answer is to be read, and where that goes.
type Job = (String, bool, oneshot::Sender<std::io::Result<String>>);

/// A device file whose reads and writes wait, on a thread of its own.
struct Messages {
    jobs: mpsc::Sender<Job>,
}

impl Messages {
    fn start(mut file: File) -> std::io::Result<Self> {
        let (jobs, mut given) = mpsc::channel::<Job>(1);
        std::thread::Builder::new().name("usbtmc".to_owned()).spawn(move || {
            // Ends when the last sender is gone.
            while let Some((line, answers, reply)) = given.blocking_recv() {
                // One write is one message (USBTMC 1.0, 3.2.1), one read one answer.
                let asked = if line.is_empty() { Ok(()) } else { file.write_all(format!("{line}\n").as_bytes()) };
                let work = asked.and_then(|()| {
                    let mut answer = [0; LONGEST];
                    let count = if answers { file.read(&mut answer)? } else { 0 };
                    Ok(text(&answer[..count]))
                });
                let _ = reply.send(work);
            }
        })?;
        Ok(Self { jobs })
    }

    async fn exchange(&mut self, line: &str, answers: bool) -> Result<String, Failure> {
        let (reply, answer) = oneshot::channel();
        let job = (line.to_owned(), answers, reply);
        let exchanged = async {
            self.jobs.send(job).await.map_err(|_| Failure::lost("its thread has ended"))?;
            match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => Err(Failure::new("no answer")),
                Ok(Err(error)) => Err(Failure::lost(error.to_string())),
                Err(_) => Err(Failure::lost("its thread has ended")),
            }
        };
        timeout(KERNEL, exchanged)
            .await
            .unwrap_or_else(|_| Err(Failure::new(format!("the kernel does not return within {KERNEL:?}"))))
    }
}
