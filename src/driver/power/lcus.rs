//! Driver `lcus-relay`: the serial relay boards sold as LCUS-1, -2, -4 and -8, mostly behind a CH340.
//!
//! A command is four bytes: `A0`, channel from 1, 1 to close or 0 to open, and the sum of the three before it modulo 256, at 9600 baud. Boards
//! with more than one channel answer `FF` with one line per channel, such as `CH1: ON`; single-channel boards answer nothing. Both are from the
//! boards' data sheets as sellers publish them; the answer's exact spelling differs between makers and is *uncertain*, so only the
//! channel's number and the word are looked at.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};

use super::{read_back, required, word};
use crate::{
    channel::{
        clock::BoxFuture,
        finding::{Finding, look_at},
        link::{ByteLink, ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    },
    driver::serial::Serial,
};

/// Time for a command to go out, and for an answer.
const ANSWER: Duration = Duration::from_millis(500);
/// Time for a relay's contacts to settle; data sheets of such relays say 10 ms.
const SETTLE: Duration = Duration::from_millis(50);
/// Bytes of an answer that are looked at.
const LONGEST: usize = 512;

/// Driver `lcus-relay`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LcusRelay;

/// The four bytes that switch a channel.
#[must_use]
pub const fn frame(channel: u8, up: bool) -> [u8; 4] {
    let state = up as u8;
    [0xA0, channel, state, 0xA0_u8.wrapping_add(channel).wrapping_add(state)]
}

/// What an answer says of a channel.
#[must_use]
pub fn status(answer: &[u8], channel: u8) -> Option<bool> {
    let text = String::from_utf8_lossy(answer).to_ascii_uppercase();
    let wanted = format!("CH{channel}");
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(&wanted)?;
        match rest.trim_start_matches([':', ' ']).trim() {
            "ON" if rest.starts_with([':', ' ']) => Some(true),
            "OFF" if rest.starts_with([':', ' ']) => Some(false),
            _ => None,
        }
    })
}

struct Relay {
    port: Box<dyn ByteLink>,
    channel: u8,
    /// Contacts that pass the current when the relay is *not* driven: closing the relay switches the device off.
    normally_closed: bool,
    reads_back: bool,
    identity: String,
}

fn flag(parameters: &Parameters, name: &str) -> Result<bool, LinkError> {
    match parameters.values.get(name).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(LinkError::new("open lcus-relay", format!("`{name}: {other}` is neither true nor false"))),
    }
}

fn channel(parameters: &Parameters) -> Result<u8, LinkError> {
    let channel = required(parameters, "channel", "lcus-relay")?.parse().ok().filter(|channel| (1..=8).contains(channel));
    channel.ok_or_else(|| LinkError::new("open lcus-relay", "`channel` is a number from 1 to 8"))
}

/// The serial port's parameters: the board's speed, and nothing that is not the port's.
fn port(parameters: &Parameters) -> Parameters {
    let mut port = parameters.clone();
    port.values.retain(|name, _| ["usb", "serial-number", "interface", "location", "path"].contains(&name.as_str()));
    port.values.insert("baud".to_owned(), "9600".to_owned());
    port
}

impl Relay {
    fn failed(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.identity), what)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        match timeout(ANSWER, self.port.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(LinkError { lost: true, ..self.failed("send to", error.to_string()) }),
            Err(_) => Err(self.failed("send to", "it takes no bytes")),
        }
    }

    /// Whether the relay is driven, as the board says.
    async fn ask(&mut self) -> Result<bool, LinkError> {
        self.send(&[0xFF]).await?;
        let until = Instant::now() + ANSWER;
        let (mut answer, mut piece) = (Vec::new(), [0; 64]);
        while answer.len() < LONGEST {
            match timeout_at(until, self.port.read(&mut piece)).await {
                Ok(Ok(0)) => return Err(LinkError { lost: true, ..self.failed("read from", "the port is gone") }),
                Ok(Ok(count)) => answer.extend_from_slice(&piece[..count]),
                Ok(Err(error)) => return Err(LinkError { lost: true, ..self.failed("read from", error.to_string()) }),
                Err(_) => break,
            }
            // A line that is not complete may still become another word.
            let whole = answer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            if let Some(driven) = status(&answer[..whole], self.channel) {
                return Ok(driven);
            }
        }
        let what = format!(
            "no status of channel {} in its answer; single-channel boards have none, leave `read-back` out",
            self.channel
        );
        Err(self.failed("read back", what))
    }
}

impl SupplyLink for Relay {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.send(&frame(self.channel, up != self.normally_closed)).await?;
            tokio::time::sleep(SETTLE).await;
            if !self.reads_back {
                return Ok(Proof::None(format!("a read-back of {} saying {}", self.identity, word(up))));
            }
            let found = self.ask().await? != self.normally_closed;
            read_back(&self.identity, up, found)
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move {
            if !self.reads_back {
                return Ok(None);
            }
            Ok(Some(self.ask().await? != self.normally_closed))
        })
    }
}

impl Driver for LcusRelay {
    fn name(&self) -> &'static str {
        "lcus-relay"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("channel", true, "relay on the board, 1 to 8"),
            ("normally-closed", false, "true if the device is fed through the contacts that are closed at rest"),
            ("read-back", false, "true if the board answers a status request; without it nothing proves a cut"),
            ("usb", false, "vendor and product of the board's serial port, such as '1a86:7523'"),
            ("serial-number", false, "USB serial number; most of these boards have none"),
            ("interface", false, "USB interface number"),
            ("location", false, "place in the tree of hubs, such as 1-1.2"),
            ("path", false, "device file; instead of the above"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        channel(parameters)?;
        flag(parameters, "normally-closed")?;
        flag(parameters, "read-back")?;
        Serial.check(&port(parameters))
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        // The lease is on the board: two runs must not talk on one port.
        Serial.identity(&port(parameters))
    }

    fn needs_whole_instrument(&self) -> bool {
        true
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            let mut found = Serial.examine(&port(parameters)).await;
            if !found.iter().any(Finding::is_problem) {
                found.extend(look_at(self.open(parameters).await).await);
            }
            found
        })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let channel = channel(parameters)?;
            let identity = format!("relay {channel} on {}", self.identity(parameters)?);
            match Serial.open(&port(parameters)).await? {
                Opened::Console(port) => Ok(Opened::Supply(Box::new(Relay {
                    port,
                    channel,
                    normally_closed: flag(parameters, "normally-closed")?,
                    reads_back: flag(parameters, "read-back")?,
                    identity,
                }))),
                _ => Err(LinkError::new(format!("open {identity}"), "the serial driver opened something else")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_data_sheet() {
        assert_eq!(frame(1, true), [0xA0, 0x01, 0x01, 0xA2]);
        assert_eq!(frame(1, false), [0xA0, 0x01, 0x00, 0xA1]);
        assert_eq!(frame(4, true), [0xA0, 0x04, 0x01, 0xA5]);
    }

    #[test]
    fn only_the_word_of_the_channel_counts() {
        let answer = b"CH1: ON \r\nCH2:OFF\r\nch10: on\r\n";
        assert_eq!((status(answer, 1), status(answer, 2), status(answer, 3)), (Some(true), Some(false), None));
        assert_eq!(status(b"CH1: MAYBE\r\n", 1), None);
        assert_eq!(status(b"\xff\x00CH1\r\n", 1), None);
    }

    /// A board with a relay that obeys, is welded, or does not answer.
    fn board(welded: Option<bool>, answers: bool, normally_closed: bool) -> Relay {
        let (ours, mut theirs) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let (mut driven, mut byte) = (false, [0]);
            while theirs.read_exact(&mut byte).await.is_ok() {
                if byte[0] == 0xFF && answers {
                    let word = if welded.unwrap_or(driven) { "ON" } else { "OFF" };
                    // In two pieces, as a slow port delivers it.
                    let _ = theirs.write_all(b"CH1: O").await;
                    tokio::task::yield_now().await;
                    let _ = theirs.write_all(format!("{}\r\n", &word[1..]).as_bytes()).await;
                } else if byte[0] == 0xA0 {
                    let mut rest = [0; 3];
                    let _ = theirs.read_exact(&mut rest).await;
                    assert_eq!([0xA0, rest[0], rest[1], rest[2]], frame(rest[0], rest[1] == 1));
                    driven = rest[1] == 1;
                }
            }
        });
        Relay { port: Box::new(ours), channel: 1, normally_closed, reads_back: true, identity: "relay 1".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_is_where_it_says_it_is() {
        for normally_closed in [false, true] {
            let mut relay = board(None, true, normally_closed);
            for up in [true, false, true] {
                assert!(matches!(relay.set(up).await.unwrap(), Proof::Seen(_)));
                assert_eq!(relay.is_up().await.unwrap(), Some(up));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_welded_or_silent_board_is_a_fault_of_the_bench() {
        assert!(board(Some(true), true, false).set(false).await.unwrap_err().what.contains("reads back up"));
        assert!(board(None, false, false).set(false).await.unwrap_err().what.contains("no status"));
        let mut blind = board(None, false, false);
        blind.reads_back = false;
        assert!(matches!(blind.set(false).await.unwrap(), Proof::None(_)));
        assert_eq!(blind.is_up().await.unwrap(), None);
    }
}
