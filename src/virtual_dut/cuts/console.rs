//! Listening to a device and asking it questions, in device time.

use std::time::Duration;

use super::log::Log;
use crate::{
    channel::link::Exchange,
    virtual_dut::{CYCLES_PER_SECOND, Machine},
};

/// Unread output kept. A flooding device makes the oldest half be forgotten.
const MOST: usize = 64 * 1024;
/// A silence after which an incomplete line is looked at, in cycles: 5 ms.
const QUIET: u64 = CYCLES_PER_SECOND / 200;

/// Cycles of a duration, rounded up.
pub(super) fn cycles(span: Duration) -> u64 {
    u64::try_from((span.as_nanos() * u128::from(CYCLES_PER_SECOND)).div_ceil(1_000_000_000))
        .unwrap_or(u64::MAX / 4)
        .min(u64::MAX / 4)
}

/// Why listening paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A line is complete.
    Line,
    /// There is new output, and then silence.
    Quiet,
    /// The time is over.
    Over,
}

/// What a series of questions came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All answered; the last capture `value`.
    Answered(Option<Vec<u8>>),
    /// One was not answered as it should be.
    Unanswered,
}

/// The far end of the device's serial line.
#[derive(Debug)]
pub(super) struct Console<'l> {
    pub(super) machine: Machine,
    /// Output that no pattern has consumed.
    pub(super) unread: Vec<u8>,
    pub(super) log: Option<&'l mut Log>,
}

impl<'l> Console<'l> {
    pub(super) fn new(mut machine: Machine, log: Option<&'l mut Log>) -> Self {
        machine.stop_on_uart(true);
        Self { machine, unread: Vec::new(), log }
    }

    pub(super) fn note(&mut self, what: &str) {
        if let Some(log) = &mut self.log {
            log.note(self.machine.now(), what);
        }
    }

    /// Lets time pass until a line ends, the device falls silent after new output, or it is `until`.
    pub(super) fn listen(&mut self, until: u64) -> Heard {
        let mut fresh = false;
        loop {
            let now = self.machine.now();
            if now >= until {
                return Heard::Over;
            }
            // Only while an incomplete line waits is silence of interest; otherwise the machine may sleep as long as it likes.
            let slice = if fresh { until.min(now + QUIET) } else { until };
            self.machine.run_until(slice);
            let bytes = self.machine.uart_take_timed();
            if let Some(log) = &mut self.log {
                log.received(&bytes);
            }
            if bytes.is_empty() {
                if fresh && self.machine.now() >= slice {
                    return if slice >= until { Heard::Over } else { Heard::Quiet };
                }
                continue;
            }
            fresh = true;
            if self.unread.len() >= MOST {
                self.unread.drain(..MOST / 2);
            }
            self.unread.extend(bytes.iter().map(|sent| sent.byte));
            if bytes.iter().any(|sent| sent.byte == b'\n') {
                return Heard::Line;
            }
        }
    }

    /// Asks `exchanges` one after the other.
    ///
    /// Patterns are tried when a line ends and when the device falls silent, so that a pattern that could end anywhere, such as
    /// `ack \d+`, sees the whole number.
    pub(super) fn ask(&mut self, exchanges: &[Exchange]) -> Asked {
        let mut value = None;
        for exchange in exchanges {
            if !exchange.send.is_empty() {
                self.unread.clear();
                if let Some(log) = &mut self.log {
                    log.sent(self.machine.now(), &exchange.send);
                }
                self.machine.uart_push(&exchange.send);
            }
            let Some(pattern) = &exchange.expect else { continue };
            let until = self.machine.now().saturating_add(cycles(exchange.within));
            loop {
                if let Some(found) = pattern.captures(&self.unread) {
                    if let Some(captured) = found.name("value") {
                        value = Some(captured.as_bytes().to_vec());
                    }
                    let end = found.get(0).map_or(0, |whole| whole.end());
                    self.unread.drain(..end);
                    break;
                }
                if self.listen(until) == Heard::Over && !pattern.is_match(&self.unread) {
                    self.note(&format!("no match of `{pattern}` within {:?}", exchange.within));
                    return Asked::Unanswered;
                }
            }
        }
        Asked::Answered(value)
    }
}
