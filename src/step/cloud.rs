//! Steps at the device's cloud: what they are, how they are written, how they are told.

use std::time::Duration;

use super::{FailAs, Silence, Template, Within, build, keys};
use crate::{
    channel::cloud::{BadCertificate, Behaviour, EventKind, Refusal},
    document::{Key, Keys, Map, Shape, Word},
};

/// A step at the device's cloud.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudStep {
    /// Behave like this from now on.
    Behave(Behaviour),
    /// Something must happen at the service.
    Expect {
        /// What.
        what: EventPattern,
        /// By when.
        within: Within,
        /// What it means when nothing at all happens.
        silence: Silence,
        /// Reason when it does not happen.
        fail_as: Option<FailAs>,
    },
    /// Something must not happen at the service for a time.
    Refrain {
        /// What.
        what: EventPattern,
        /// For how long.
        during: Within,
        /// What must happen in that time for the absence to mean anything.
        needs: Option<EventKind>,
        /// Reason when it does.
        fail_as: FailAs,
    },
    /// Publish to the device.
    Publish {
        /// Topic.
        topic: Template,
        /// Payload.
        payload: Template,
    },
    /// Serve an image at a path.
    Offer {
        /// Path.
        path: Template,
        /// Image by name.
        image: Template,
    },
    /// Count attempts for a time.
    Attempts {
        /// What counts as one.
        event: EventKind,
        /// For how long.
        during: Within,
        /// Most attempts a minute: a number.
        at_most: Option<Template>,
        /// Fewest attempts a minute: a number.
        at_least: Option<Template>,
        /// What it means when there is none.
        silence: Silence,
        /// Reason when there are too many or too few.
        fail_as: FailAs,
    },
    /// Measure the intervals between attempts, from the last stimulus on.
    Intervals {
        /// What counts as an attempt.
        event: EventKind,
        /// How many intervals.
        count: u32,
        /// By when.
        within: Within,
        /// Name of the value that they become.
        save_as: String,
    },
}

/// An event of a kind whose text matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    /// Kind.
    pub kind: EventKind,
    /// Pattern for its text; any if `None`.
    pub pattern: Option<Template>,
}

impl std::fmt::Display for EventPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.pattern {
            Some(pattern) => write!(f, "{} `{}`", self.kind.word(), pattern.0),
            None => f.write_str(self.kind.word()),
        }
    }
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Cloud channel.");
const BEHAVIOURS: &[Word] = &[
    Word { word: "accept", what: "As a good service does." },
    Word { word: "refuse", what: "The port is closed. Attempts at it cannot be seen; to count them use `reset`." },
    Word { word: "reset", what: "Connections are accepted and reset at once." },
    Word {
        word: "silent",
        what: "Frozen: connections are accepted, nothing is read or answered. What is established falls silent too.",
    },
    Word { word: "silent-after-tls", what: "Nothing is read or answered once TLS is established." },
    Word { word: "drop", what: "What is established is reset; new connections are accepted." },
    Word { word: "slow", what: "Every answer comes late by `delay`." },
    Word { word: "expired", what: "Certificate that ended 30 days ago." },
    Word { word: "not-yet-valid", what: "Certificate that begins in 30 days." },
    Word { word: "wrong-name", what: "Certificate for another name." },
    Word { word: "self-signed", what: "Certificate signed by its own key." },
    Word { word: "unknown-ca", what: "Certificate by an authority of the same name with another key." },
    Word { word: "other-key", what: "The right certificate without its private key." },
    Word { word: "leaf-as-ca", what: "Certificate signed by a server's certificate." },
    Word { word: "client-only", what: "Certificate for clients, not for servers." },
    Word { word: "plaintext", what: "TLS is answered in plain text." },
    Word { word: "tls-1-0", what: "TLS 1.0 is offered, whatever the device asks for." },
    Word { word: "tls-1-1", what: "TLS 1.1 is offered, whatever the device asks for." },
    Word { word: "connack", what: "MQTT: every session is refused for the `refusal`." },
    Word { word: "kick", what: "MQTT: the connection is closed right after CONNACK." },
    Word { word: "status", what: "HTTP: every request is answered with `status`, and `retry-after` if given." },
    Word { word: "redirect-plain", what: "HTTP: every request is redirected to plain HTTP." },
    Word { word: "truncated-body", what: "HTTP: half of the announced body, then the end." },
    Word { word: "slow-body", what: "HTTP: bodies come at 16 bytes a second." },
    Word { word: "rubbish", what: "HTTP: bodies are random bytes; MQTT: random bytes instead of CONNACK." },
];
const REFUSALS: &[Word] = &[
    Word { word: "server-unavailable", what: "MQTT 5 0x88, MQTT 3.1.1 3." },
    Word { word: "server-busy", what: "MQTT 5 0x89, MQTT 3.1.1 3." },
    Word { word: "not-authorized", what: "MQTT 5 0x87, MQTT 3.1.1 5." },
    Word { word: "bad-credentials", what: "MQTT 5 0x86, MQTT 3.1.1 4." },
];
const EVENTS: &[Word] = &[
    Word { word: "connect", what: "A TCP connection was accepted: an attempt. Text: `from ADDRESS while the service ...`." },
    Word { word: "client-hello", what: "TLS begins. Text: `name NAME versions ... ciphers ... alpn ...`." },
    Word { word: "tls-alert", what: "The device ended TLS with an alert. Text: `bad_certificate (42)`." },
    Word { word: "tls-established", what: "The TLS handshake is complete." },
    Word { word: "tls-downgraded", what: "The device went on after an offer of an old version or of plain text." },
    Word { word: "data", what: "First application data of a connection." },
    Word { word: "mqtt-connect", what: "MQTT CONNECT. Text: `client ID version 5 session clean keep-alive 60 s user NAME ...`." },
    Word { word: "connack", what: "MQTT CONNACK to the device. Text: `code 0x00`." },
    Word { word: "publish", what: "MQTT PUBLISH by the device. Text: `TOPIC qos 1 17 bytes: PAYLOAD`." },
    Word { word: "subscribe", what: "MQTT SUBSCRIBE. Text: `FILTER qos 1, FILTER qos 0`." },
    Word { word: "delivered", what: "MQTT PUBLISH to the device. Text as of `publish`." },
    Word { word: "request", what: "HTTP request. Text: `GET /PATH body 17 bytes digest ...: BODY headers NAME: VALUE; ...`." },
    Word {
        word: "served",
        what: "The last byte of an HTTP answer has gone to the device. Text: `200 /PATH all 17 bytes` or `206 /PATH bytes 8-16/17`.",
    },
    Word { word: "disconnect", what: "A connection ended. Text: how." },
    Word { word: "violation", what: "Something that is not of the protocol, or beyond a limit." },
];
const SILENCE: &[Word] = &[
    Word { word: "inconclusive", what: "Nothing at all cannot be judged." },
    Word { word: "fail", what: "The device must come; that it does not is its failure." },
];
const EVENT: Key = Key::needed("event", Shape::Word(EVENTS), "What happens at the service.");
const PATTERN: Key = Key::optional("pattern", Shape::Pattern, "What the event's text must match. Default: any.");
const SILENT: Key = Key::optional("silence", Shape::Word(SILENCE), "What it means when nothing happens. Default: inconclusive.");
const MILLISECOND: Duration = Duration::from_millis(1);

/// `cloud`.
pub static CLOUD: Keys = Keys::new(
    "cloud",
    "Lets the bench's cloud treat the device in some way from now on: connections that are there and new ones.",
    &[
        CHANNEL,
        Key::needed("behaviour", Shape::Word(BEHAVIOURS), "Which way."),
        Key::optional("delay", Shape::Duration(MILLISECOND, Duration::from_mins(10)), "With `slow`: by how much. Default: 2s."),
        Key::optional("refusal", Shape::Word(REFUSALS), "With `connack`: why. Default: server-unavailable."),
        Key::optional("status", Shape::Integer(400, 599), "With `status`: which. Default: 503."),
        Key::optional(
            "retry-after",
            Shape::Duration(Duration::from_secs(1), Duration::from_hours(24)),
            "With `status`: when the device may come again, in whole seconds.",
        ),
    ],
);

/// `cloud-expect`.
pub static EXPECT: Keys = Keys::new(
    "cloud-expect",
    "Waits until something happens at the bench's cloud, looking from the last stimulus on. Captures `(?<name>...)` become values.",
    &[CHANNEL, EVENT, PATTERN, Key::needed("within", Shape::Within, "By when."), SILENT, keys::REASON, keys::MEANING],
);

/// `cloud-refrain`.
pub static REFRAIN: Keys = Keys::new(
    "cloud-refrain",
    "Watches the bench's cloud for something that must not happen, from the last stimulus on. Passes only if the service could see all the time.",
    &[
        CHANNEL,
        EVENT,
        PATTERN,
        Key::needed("during", Shape::Within, "For how long."),
        Key::optional(
            "needs",
            Shape::Word(EVENTS),
            "What must happen meanwhile; without it the device may not have tried at all.",
        ),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `cloud-publish`.
pub static PUBLISH: Keys = Keys::new(
    "cloud-publish",
    "Publishes to the device over MQTT. The witness is the publication on its way to the device.",
    &[
        CHANNEL,
        Key::needed("topic", Shape::Template, "Topic, without wildcards."),
        Key::needed("payload", Shape::Template, "Payload as text."),
    ],
);

/// `cloud-offer`.
pub static OFFER: Keys = Keys::new(
    "cloud-offer",
    "Serves an image over HTTP at a path from now on, in place of what was there. That the device fetched it is told by the event `served`.",
    &[
        CHANNEL,
        Key::needed("path", Shape::Template, "Path on the service, `/update.bin`."),
        Key::needed("image", Shape::Template, "Image of the device profile or altered image of the plan."),
    ],
);

/// `cloud-attempts`.
pub static ATTEMPTS: Keys = Keys::new(
    "cloud-attempts",
    "Counts the device's attempts for a time and holds their rate against limits. Times and intervals become evidence.",
    &[
        CHANNEL,
        Key::needed("during", Shape::Within, "For how long."),
        Key::optional("event", Shape::Word(EVENTS), "What counts as an attempt. Default: connect."),
        Key::optional("at-most", Shape::Template, "Most attempts a minute, such as '12' or '${declared.attempts-per-minute}'."),
        Key::optional("at-least", Shape::Template, "Fewest attempts a minute."),
        SILENT,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `cloud-intervals`.
pub static INTERVALS: Keys = Keys::new(
    "cloud-intervals",
    "Waits until the device has tried often enough since the last stimulus, and saves the intervals between its attempts, in seconds, for `back-off`, `intervals-differ` and `fleet`. Too few in time are inconclusive.",
    &[
        CHANNEL,
        Key::needed(
            "count",
            Shape::Integer(12, 1_000),
            "How many intervals. 12 at the longest delay tell the usual laws apart; the first are shorter.",
        ),
        Key::needed("within", Shape::Within, "By when, counted from the step before."),
        Key::optional("event", Shape::Word(EVENTS), "What counts as an attempt. Default: connect."),
        Key::needed("save-as", Shape::Variable, "Name of the value that they become."),
    ],
);

fn event(word: &str) -> Option<EventKind> {
    EventKind::WORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

fn pattern(map: &Map) -> EventPattern {
    EventPattern {
        kind: event(map.text("event")).unwrap_or(EventKind::Connect),
        pattern: build::optional_template(map, "pattern"),
    }
}

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<CloudStep> {
    match name {
        "cloud" => Some(CloudStep::Behave(behaviour(map))),
        "cloud-expect" => Some(CloudStep::Expect {
            what: pattern(map),
            within: build::within(map, "within"),
            silence: build::silence(map),
            fail_as: build::optional_fail_as(map),
        }),
        "cloud-refrain" => Some(CloudStep::Refrain {
            what: pattern(map),
            during: build::within(map, "during"),
            needs: map.get("needs").and_then(|needs| event(needs.text())),
            fail_as: build::fail_as(map),
        }),
        "cloud-publish" => {
            Some(CloudStep::Publish { topic: build::template(map, "topic"), payload: build::template(map, "payload") })
        }
        "cloud-offer" => Some(CloudStep::Offer { path: build::template(map, "path"), image: build::template(map, "image") }),
        "cloud-attempts" => Some(CloudStep::Attempts {
            event: event(map.text("event")).unwrap_or(EventKind::Connect),
            during: build::within(map, "during"),
            at_most: build::optional_template(map, "at-most"),
            at_least: build::optional_template(map, "at-least"),
            silence: build::silence(map),
            fail_as: build::fail_as(map),
        }),
        "cloud-intervals" => Some(CloudStep::Intervals {
            event: event(map.text("event")).unwrap_or(EventKind::Connect),
            count: map.get("count").and_then(|count| u32::try_from(count.integer()).ok()).unwrap_or(12),
            within: build::within(map, "within"),
            save_as: map.string("save-as"),
        }),
        _ => None,
    }
}

fn behaviour(map: &Map) -> Behaviour {
    let delay = if map.has("delay") { map.duration("delay") } else { Duration::from_secs(2) };
    let status = map.get("status").and_then(|status| u16::try_from(status.integer()).ok()).unwrap_or(503);
    match map.text("behaviour") {
        "refuse" => Behaviour::Refuse,
        "reset" => Behaviour::Reset,
        "silent" => Behaviour::Silent,
        "silent-after-tls" => Behaviour::SilentAfterTls,
        "drop" => Behaviour::Drop,
        "slow" => Behaviour::Slow(delay),
        "expired" => Behaviour::Certificate(BadCertificate::Expired),
        "not-yet-valid" => Behaviour::Certificate(BadCertificate::NotYetValid),
        "wrong-name" => Behaviour::Certificate(BadCertificate::WrongName),
        "self-signed" => Behaviour::Certificate(BadCertificate::SelfSigned),
        "unknown-ca" => Behaviour::Certificate(BadCertificate::UnknownCa),
        "other-key" => Behaviour::Certificate(BadCertificate::OtherKey),
        "leaf-as-ca" => Behaviour::Certificate(BadCertificate::LeafAsCa),
        "client-only" => Behaviour::Certificate(BadCertificate::ClientOnly),
        "plaintext" => Behaviour::Plaintext,
        "tls-1-0" => Behaviour::OldTls(1),
        "tls-1-1" => Behaviour::OldTls(2),
        "connack" => Behaviour::Connack(match map.text("refusal") {
            "server-busy" => Refusal::ServerBusy,
            "not-authorized" => Refusal::NotAuthorized,
            "bad-credentials" => Refusal::BadCredentials,
            _ => Refusal::ServerUnavailable,
        }),
        "kick" => Behaviour::Kick,
        "status" => Behaviour::Status(status, map.has("retry-after").then(|| map.duration("retry-after"))),
        "redirect-plain" => Behaviour::RedirectPlain,
        "truncated-body" => Behaviour::TruncatedBody,
        "slow-body" => Behaviour::SlowBody,
        "rubbish" => Behaviour::Rubbish,
        _ => Behaviour::Accept,
    }
}

/// Keys of a step that mean nothing beside its other keys, or whose text cannot be: the key, and what is wrong.
#[must_use]
pub fn problems(name: &str, map: &Map) -> Vec<(&'static str, String)> {
    match name {
        "cloud" => [("delay", "slow"), ("refusal", "connack"), ("status", "status"), ("retry-after", "status")]
            .into_iter()
            .filter(|(key, behaviour)| map.has(key) && map.text("behaviour") != *behaviour)
            .map(|(key, behaviour)| (key, format!("`{key}` means something with `behaviour: {behaviour}` only")))
            .collect(),
        "cloud-attempts" => {
            let mut problems: Vec<_> = ["at-most", "at-least"]
                .into_iter()
                .filter(|key| {
                    let text = map.text(key);
                    map.has(key) && !text.contains("${") && rate(text).is_none()
                })
                .map(|key| (key, format!("`{}` is no number of attempts a minute", map.text(key))))
                .collect();
            if !map.has("at-most") && !map.has("at-least") {
                problems.push(("during", "one of `at-most` and `at-least` is needed".to_owned()));
            }
            problems
        }
        _ => Vec::new(),
    }
}

/// A rate as plans and profiles write it.
#[must_use]
pub fn rate(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0)
}

impl CloudStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Behave(behaviour) => format!("{channel} {behaviour}"),
            Self::Expect { what, within, .. } => format!("expect {what} at {channel} within {within}"),
            Self::Refrain { what, during, .. } => format!("no {what} at {channel} for {during}"),
            Self::Publish { topic, .. } => format!("publish to `{}` at {channel}", topic.0),
            Self::Offer { path, image } => format!("offer image {} as `{}` at {channel}", image.0, path.0),
            Self::Attempts { event, during, .. } => format!("count {} at {channel} for {during}", event.word()),
            Self::Intervals { event, count, within, .. } => {
                format!("measure {count} intervals of {} at {channel} within {within}", event.word())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_an_event_is_one_of_the_log() {
        let words: Vec<_> = EVENTS.iter().map(|word| word.word).collect();
        let known: Vec<_> = EventKind::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(words, known);
    }
}
