//! What the device did at a service: bounded, with marks, and honest about what it could not see.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::channel::link::{Notice, Notices};

/// Events kept in memory. Older ones are counted; all of them are in the evidence.
const KEPT: usize = 4096;
/// Longest text of an event, in characters. Topics and names are the device's.
const TEXT: usize = 512;
/// Events a second that are told one by one.
const TOLD_PER_SECOND: u32 = 200;

/// Silence on a connection after which its data is an event again.
pub const PAUSE: Duration = Duration::from_secs(2);

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A TCP connection was accepted: an attempt.
    Connect,
    /// The device began TLS.
    ClientHello,
    /// The device ended TLS with an alert.
    TlsAlert,
    /// The TLS handshake is complete: the device went on with the certificate it was shown.
    TlsEstablished,
    /// The device took the offer of an old TLS version.
    TlsDowngraded,
    /// Application data on a connection: the first, and what comes after [`PAUSE`] without any.
    Data,
    /// MQTT CONNECT.
    MqttConnect,
    /// MQTT CONNACK to the device.
    Connack,
    /// MQTT PUBLISH by the device.
    Publish,
    /// MQTT SUBSCRIBE.
    Subscribe,
    /// MQTT PUBLISH that went to the device.
    Delivered,
    /// HTTP request.
    Request,
    /// The whole body of an HTTP answer went to the device.
    Served,
    /// A connection ended.
    Disconnect,
    /// Something that is not of the protocol, or beyond a limit.
    Violation,
}

impl EventKind {
    /// All, with the word that plans use.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("connect", Self::Connect),
        ("client-hello", Self::ClientHello),
        ("tls-alert", Self::TlsAlert),
        ("tls-established", Self::TlsEstablished),
        ("tls-downgraded", Self::TlsDowngraded),
        ("data", Self::Data),
        ("mqtt-connect", Self::MqttConnect),
        ("connack", Self::Connack),
        ("publish", Self::Publish),
        ("subscribe", Self::Subscribe),
        ("delivered", Self::Delivered),
        ("request", Self::Request),
        ("served", Self::Served),
        ("disconnect", Self::Disconnect),
        ("violation", Self::Violation),
    ];

    /// The word that plans use.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("event", |(word, _)| word)
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent {
    /// Number from 0, without gaps.
    pub seq: u64,
    /// Time since the service was opened.
    pub at: Duration,
    /// Which connection, from 1.
    pub connection: u64,
    /// What kind.
    pub kind: EventKind,
    /// What, in words that patterns are held against. Control characters are escaped; at most 512 characters.
    pub text: String,
    /// Whether the bench did it (reset a connection, closed a port), not the device.
    pub by_bench: bool,
}

impl CloudEvent {
    /// As one line of JSON, without the line's end.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::json!({
            "seq": self.seq, "at_ms": u64::try_from(self.at.as_micros()).unwrap_or(u64::MAX) as f64 / 1000.0, "connection": self.connection,
            "event": self.kind.word(), "text": self.text, "by": if self.by_bench { "bench" } else { "device" },
        })
        .to_string()
    }
}

/// Text of the device as it may stand in logs: control characters escaped, bounded.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(TEXT + 1).enumerate().map(|(at, c)| if at == TEXT { '…' } else { c }) {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// What happened since a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The events, oldest first.
    pub events: Vec<CloudEvent>,
    /// Whether events since the mark are no longer in memory.
    pub gap: bool,
    /// Why the recorder ended, if it did: a fault of the bench.
    pub lost: Option<String>,
}

/// The log of a service.
pub struct CloudLog {
    start: Instant,
    inner: Mutex<Inner>,
    tip: watch::Sender<u64>,
}

struct Inner {
    events: VecDeque<CloudEvent>,
    next: u64,
    /// How many of each kind were forgotten.
    forgotten: BTreeMap<EventKind, u64>,
    /// Since when the port is closed, and when it was last opened again.
    blind: Option<Duration>,
    saw_again: Option<Duration>,
    lost: Option<String>,
    heard: Option<Duration>,
    notices: Option<Notices>,
    /// Second that is counted, events told in it, events not told.
    second: (u64, u32, u32),
}

impl Default for CloudLog {
    fn default() -> Self {
        Self::new()
    }
}

impl CloudLog {
    /// An empty log that begins now.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            events: VecDeque::new(),
            next: 0,
            forgotten: BTreeMap::new(),
            blind: None,
            saw_again: None,
            lost: None,
            heard: None,
            notices: None,
            second: (0, 0, 0),
        };
        Self { start: Instant::now(), inner: Mutex::new(inner), tip: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the log began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tells every event from now on.
    pub fn watch(&self, notices: Notices) {
        self.lock().notices = Some(notices);
    }

    /// Writes what the device did.
    pub fn record(&self, connection: u64, kind: EventKind, text: &str) {
        self.write(connection, kind, text, false);
    }

    /// Writes what the bench did to a connection.
    pub fn record_own(&self, connection: u64, kind: EventKind, text: &str) {
        self.write(connection, kind, text, true);
    }

    fn write(&self, connection: u64, kind: EventKind, text: &str, by_bench: bool) {
        let at = self.now();
        let mut inner = self.lock();
        let event = CloudEvent { seq: inner.next, at, connection, kind, text: plain(text), by_bench };
        inner.next += 1;
        if inner.events.len() >= KEPT
            && let Some(old) = inner.events.pop_front()
        {
            *inner.forgotten.entry(old.kind).or_default() += 1;
        }
        inner.events.push_back(event.clone());
        self.tip.send_replace(inner.next);
        inner.tell(&event);
    }

    /// The port is closed (`true`) or open again: while it is closed, attempts leave no trace.
    pub fn blind(&self, closed: bool) {
        let now = self.now();
        let mut inner = self.lock();
        match (closed, inner.blind) {
            (true, None) => inner.blind = Some(now),
            (false, Some(_)) => {
                inner.blind = None;
                inner.saw_again = Some(now);
            }
            _ => {}
        }
    }

    /// Whether the port was closed at any time since then.
    #[must_use]
    pub fn was_blind_since(&self, then: Duration) -> bool {
        let inner = self.lock();
        inner.blind.is_some() || inner.saw_again.is_some_and(|at| at > then)
    }

    /// The recorder ended by itself.
    pub fn lose(&self, why: &str) {
        let mut inner = self.lock();
        inner.lost.get_or_insert_with(|| why.to_owned());
        self.tip.send_modify(|_| {});
    }

    /// Application data of the device has come, on whatever connection.
    pub fn hear(&self) {
        let now = self.now();
        self.lock().heard = Some(now);
    }

    /// When it last came. Most of it is no event.
    #[must_use]
    pub fn last_heard(&self) -> Option<Duration> {
        self.lock().heard
    }

    /// Where the next event will be.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.lock().next
    }

    /// What happened since a mark.
    #[must_use]
    pub fn since(&self, mark: u64) -> Since {
        let inner = self.lock();
        let first = inner.events.front().map_or(inner.next, |event| event.seq);
        let skip = usize::try_from(mark.saturating_sub(first)).unwrap_or(usize::MAX);
        Since { events: inner.events.iter().skip(skip).cloned().collect(), gap: mark < first, lost: inner.lost.clone() }
    }

    /// Changes with every event.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.tip.subscribe()
    }

    /// How many events of each kind are no longer in memory.
    #[must_use]
    pub fn forgotten(&self) -> BTreeMap<EventKind, u64> {
        self.lock().forgotten.clone()
    }
}

impl Inner {
    /// To the journal: each event as a line of evidence; as a fact of its own unless there are too many.
    fn tell(&mut self, event: &CloudEvent) {
        let Some(notices) = self.notices.clone() else { return };
        let second = event.at.as_secs();
        if self.second.0 != second {
            let untold = self.second.2;
            if untold > 0 {
                notices(Notice { what: format!("{untold} more events in one second; all are in the evidence"), evidence: None });
            }
            self.second = (second, 0, 0);
        }
        let line = format!("{}\n", event.json()).into_bytes();
        let told = self.second.1 < TOLD_PER_SECOND;
        if told {
            self.second.1 += 1;
        } else {
            self.second.2 += 1;
        }
        let what =
            if told { format!("connection {} {}: {}", event.connection, event.kind.word(), event.text) } else { String::new() };
        notices(Notice { what, evidence: Some(("jsonl", line)) });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_a_gap_is_told() {
        let log = CloudLog::new();
        for i in 0..KEPT as u64 + 10 {
            log.record(i, EventKind::Connect, "x");
        }
        let all = log.since(0);
        assert!(all.gap && all.events.len() == KEPT);
        assert_eq!(log.forgotten()[&EventKind::Connect], 10);
        assert!(!log.since(10).gap);
        assert_eq!(log.since(log.mark()).events, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_all_in_the_evidence_and_not_all_in_facts() {
        let told = Arc::new(Mutex::new((0, 0)));
        let log = CloudLog::new();
        let count = Arc::clone(&told);
        log.watch(Arc::new(move |notice| {
            let mut count = count.lock().unwrap();
            count.0 += u32::from(!notice.what.is_empty());
            count.1 += u32::from(notice.evidence.is_some());
        }));
        for _ in 0..1000 {
            log.record(1, EventKind::Connect, "x");
        }
        assert_eq!(*told.lock().unwrap(), (TOLD_PER_SECOND, 1000));
        tokio::time::advance(Duration::from_secs(1)).await;
        log.record(1, EventKind::Connect, "x");
        assert_eq!(*told.lock().unwrap(), (TOLD_PER_SECOND + 2, 1001), "how many were not told is told");
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_knows_when_it_could_not_see() {
        let log = CloudLog::new();
        tokio::time::advance(Duration::from_secs(1)).await;
        log.blind(true);
        assert!(log.was_blind_since(log.now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        log.blind(false);
        let opened = log.now();
        assert!(log.was_blind_since(Duration::from_millis(1500)) && !log.was_blind_since(opened));
    }

    #[test]
    fn text_of_the_device_cannot_break_a_line() {
        assert_eq!(plain("a\n\x1b[2Jb"), "a\\n\\u{1b}[2Jb");
        assert_eq!(plain(&"x".repeat(10_000)).chars().count(), TEXT + 1);
    }
}
