//! Driver `rtt`: a console in the device's memory, read and written through the debug probe (SEGGER Real Time Transfer).
//!
//! The device writes into ring buffers in its RAM, which a control block describes; nothing tells the bench that there is something, so it looks.
//! The probe may belong to a channel `probe-rs` of the same rig: both use one worker, one operation at a time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::{Instant, sleep},
};

use super::{
    ProbeRs,
    failure::{Cause, Failure},
    link::ProbeRsLink,
    order::Order,
    required,
};
use crate::channel::{
    clock::BoxFuture,
    finding::Finding,
    link::{ChannelKind, Driver, LinkError, Opened, POWERED_BY, Parameters, RETURNS_WITHIN},
};

/// How often the device's buffer is looked at while it is empty.
const LOOK: Duration = Duration::from_millis(10);
/// How often while there is no control block: searching a chip's memory for it takes some milliseconds for each 16 KiB.
const SEARCH: Duration = Duration::from_millis(100);
/// Time for a device that starts anew to make its control block; after that it counts as gone.
const BEGINNING: Duration = Duration::from_secs(3);
/// Bytes on their way in either direction.
const BUFFER: usize = 256 << 10;
/// Bytes that are offered to the device at a time.
const OFFER: usize = 1024;
/// Most RTT channels that a control block may have; probe-rs refuses more.
const CHANNELS: u32 = 255;

/// Driver `rtt`.
#[derive(Debug, Clone)]
pub struct Rtt {
    probe: ProbeRs,
}

impl Rtt {
    /// Beside the channels of `probe`, whose operations it shares.
    #[must_use]
    pub fn beside(probe: &ProbeRs) -> Self {
        Self { probe: probe.clone() }
    }

    fn settings(parameters: &Parameters) -> Result<(u32, Option<u32>), LinkError> {
        let wrong = |what: String| LinkError::new("open rtt", what);
        let number = parameters.values.get("channel").map_or(Ok(0), |text| {
            let number = text.trim().parse().ok().filter(|number| *number < CHANNELS);
            number.ok_or_else(|| wrong(format!("`channel: {text}` is not the number of an RTT channel, 0 to {}", CHANNELS - 1)))
        })?;
        let address = parameters.values.get("address").map(|text| {
            let digits = text.trim().strip_prefix("0x").unwrap_or_default();
            u32::from_str_radix(digits, 16).map_err(|_| wrong(format!("`address: {text}` is not an address, such as 0x20000400")))
        });
        Ok((number, address.transpose()?))
    }
}

impl Driver for Rtt {
    fn name(&self) -> &'static str {
        "rtt"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Console
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("probe", true, "the debug probe as VID:PID or VID:PID:SERIAL"),
            ("chip", true, "the chip by its probe-rs name, such as nRF51822_xxAA"),
            ("speed", false, "clock on the wire, such as 4000kHz"),
            ("unit", false, "identity of the chip in hex, as it stands in memory; with another board there is no console"),
            ("unit-at", false, "where that identity is, such as 0x10000060/8; known for nRF51 and nRF52"),
            ("channel", false, "number of the RTT channel, up and down; 0 unless given"),
            ("address", false, "where the control block is, such as 0x20000400; otherwise the chip's memory is searched for it"),
            (POWERED_BY, false, "supply channel that feeds the device: without it there is nothing to read"),
            (RETURNS_WITHIN, false, "how long it may take to come back when it vanished"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Self::settings(parameters)?;
        required(parameters, "chip")?;
        self.probe.check(&for_probe(parameters))
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        self.probe.identity(parameters)
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        // Whether there is a control block cannot be seen without attaching to the device, which would disturb it.
        Box::pin(async move { self.probe.examine(&for_probe(parameters)).await })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let (number, at) = Self::settings(parameters)?;
            let mut link = self.probe.link(&for_probe(parameters))?;
            let first = match link.exchange(Order::rtt(number, at, Vec::new())).await? {
                Ok((_, bytes)) => bytes,
                Err(failure) => {
                    let lost = matches!(failure.cause, Cause::NoRtt | Cause::NoTarget);
                    let error = failure.into_link_error(format!("open rtt channel {number} with {}", link.instrument.identity));
                    return Err(LinkError { lost: lost || error.lost, ..error });
                }
            };
            let (ours, theirs) = duplex(BUFFER);
            tokio::spawn(carry(link, number, at, first, ours));
            Ok(Opened::Console(Box::new(theirs)))
        })
    }
}

/// The parameters that are the probe's.
fn for_probe(parameters: &Parameters) -> Parameters {
    let values = parameters.values.iter().filter(|(name, _)| !["channel", "address"].contains(&name.as_str()));
    Parameters { values: values.map(|(name, value)| (name.clone(), value.clone())).collect(), base: parameters.base.clone() }
}

/// Carries bytes between the device's buffers and the stream, until one of them has ended. Dropping the stream's end tells the console.
async fn carry(mut link: ProbeRsLink, number: u32, at: Option<u32>, first: Vec<u8>, mut stream: DuplexStream) {
    if stream.write_all(&first).await.is_err() {
        return;
    }
    let mut offered: Vec<u8> = Vec::new();
    let mut seen = Instant::now();
    let mut piece = [0; OFFER];
    loop {
        if offered.is_empty() {
            match tokio::time::timeout(Duration::ZERO, stream.read(&mut piece)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(count)) => offered.extend_from_slice(&piece[..count]),
                Err(_) => {}
            }
        }
        let pause = match link.exchange(Order::rtt(number, at, offered.clone())).await {
            Ok(Ok((taken, bytes))) => {
                seen = Instant::now();
                offered.drain(..taken.min(offered.len()));
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                if bytes.is_empty() && (offered.is_empty() || taken == 0) { LOOK } else { Duration::ZERO }
            }
            // The device may have been written or reset, and is on its way up.
            Ok(Err(Failure { cause: Cause::NoRtt, .. })) if seen.elapsed() < BEGINNING => SEARCH,
            Ok(Err(_)) | Err(_) => return,
        };
        sleep(pause).await;
    }
}
