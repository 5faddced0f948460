//! Driver `usb`: the device's own USB port, through libusb.
//!
//! The device is found by what it is or where it is plugged in, again at every use: it may go and come back at any time. What it tells about itself
//! needs no permission; transfers need access to its file below `/dev/bus/usb`.

mod dump;
pub(in crate::driver) mod session;
mod wanted;
mod watch;
pub(in crate::driver) mod worker;

use std::path::{Path, PathBuf};

pub use wanted::{Wanted, is_location};

use self::{session::Session, watch::Watch, worker::Worker};
use super::{
    access::{self, Rule},
    sysfs::{UsbDevice, usb_devices},
};
use crate::channel::{
    clock::BoxFuture,
    finding::{Finding, Severity, look_at},
    link::{ChannelKind, Driver, LinkError, Notices, Opened, POWERED_BY, Parameters},
    usb::{Answer, Dump, Transfer, UsbLink},
};

/// Driver `usb`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usb;

struct Port {
    wanted: Wanted,
    sys: PathBuf,
    worker: Worker,
    watch: Option<Watch>,
}

impl UsbLink for Port {
    fn place(&mut self) -> BoxFuture<'_, Result<Option<String>, LinkError>> {
        // A handful of small files of the kernel: no thread is needed.
        Box::pin(async move { Ok(self.wanted.find(&self.sys)?.map(|device| device.location)) })
    }

    fn watch(&mut self, notices: Notices) {
        self.watch = Some(Watch::start(self.wanted.clone(), self.sys.clone(), notices));
    }

    fn descriptors(&mut self) -> BoxFuture<'_, Result<Option<Dump>, LinkError>> {
        Box::pin(self.worker.ask(dump::ALL, dump::read))
    }

    fn transfer(&mut self, transfer: Transfer) -> BoxFuture<'_, Result<Answer, LinkError>> {
        Box::pin(self.worker.ask(transfer.within, move |session| session.transfer(&transfer)))
    }
}

fn detach(parameters: &Parameters) -> Result<bool, LinkError> {
    match parameters.values.get("detach").map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(LinkError::new("open usb", format!("`detach: {other}` is neither true nor false"))),
    }
}

impl Driver for Usb {
    fn name(&self) -> &'static str {
        "usb"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Usb
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("usb", false, "vendor and product, such as '1209:0003'"),
            ("serial-number", false, "USB serial number"),
            ("location", false, "place in the tree of hubs, such as 1-1.2"),
            (
                POWERED_BY,
                false,
                "supply of this rig without which the device is not there; otherwise it must be there at the start",
            ),
            ("detach", false, "true: interfaces are taken away from the kernel's drivers while they are used"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Wanted::from(parameters)?;
        detach(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(Wanted::from(parameters)?.to_string())
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            let sys = Path::new("/sys");
            let device = match Wanted::from(parameters).and_then(|wanted| Ok((wanted.find(sys)?, wanted))) {
                Ok((Some(device), _)) => device,
                Ok((None, wanted)) => {
                    let advice = "plug it in, or correct the rig; `hilbench discover` lists what is there";
                    return vec![Finding::absent(absent(&wanted, sys).to_string(), advice)];
                }
                Err(error) => return vec![error.into()],
            };
            let mut found = look_at(self.open(parameters).await).await;
            for finding in found.iter_mut().filter(|finding| !finding.is_problem()) {
                let UsbDevice { vendor, product, location, .. } = &device;
                finding.what = format!("{vendor:04x}:{product:04x} at {location} {}", finding.what);
            }
            found.extend(not_to_be_written(&device));
            found
        })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let (wanted, sys) = (Wanted::from(parameters)?, Path::new("/sys"));
            let found = wanted.find(sys)?;
            if found.is_none() && parameters.powered_by().is_none() {
                return Err(absent(&wanted, sys));
            }
            let worker = Worker::start(Session::new(wanted.clone(), sys, detach(parameters)?), &wanted.to_string())?;
            Ok(Opened::Usb(Box::new(Port { wanted, sys: sys.to_owned(), worker, watch: None })))
        })
    }
}

/// Descriptors can be read by everybody, so this is a limit and no obstacle.
fn not_to_be_written(device: &UsbDevice) -> Option<Finding> {
    let denied = access::denied(&device.file(Path::new("/dev"))?, Rule::Usb(device.vendor, device.product))?;
    Some(Finding { severity: Severity::Warning, what: format!("no transfers: {}", denied.what), ..denied })
}

fn absent(wanted: &Wanted, sys: &Path) -> LinkError {
    let there: Vec<_> = usb_devices(sys)
        .unwrap_or_default()
        .iter()
        .filter(|device| device.class != 9)
        .map(|device| format!("{:04x}:{:04x} at {}", device.vendor, device.product, device.location))
        .collect();
    let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
    let what = format!("it is not on the bus; there is {there}. If a supply of the rig feeds it, say so: `powered-by: SUPPLY`");
    LinkError { lost: true, ..LinkError::new(format!("open {wanted}"), what) }
}
