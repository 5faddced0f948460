//! Steps on what the device offers on its own network: what they are, how they are written, how they are told.

use super::{FailAs, Silence, Template, Within, build, keys};
use crate::{
    channel::api::ports,
    document::{Key, Keys, Map, Shape, Word},
};

/// A step on the device's own network services.
#[derive(Debug, Clone, PartialEq)]
pub enum ApiStep {
    /// One request.
    Request(Box<RequestStep>),
    /// Try ports.
    Scan {
        /// Which, as [`ports`] reads them.
        ports: Template,
        /// Those that may be open.
        declared: Template,
        /// By when.
        within: Within,
        /// Reason of an open port that is not declared.
        fail_as: FailAs,
    },
    /// Ask by mDNS.
    Mdns {
        /// Service.
        service: Template,
        /// TXT keys that may be there, separated by commas.
        keys: Template,
        /// How many instances there must be.
        instances: u32,
        /// Texts that must not be told.
        lacks: Vec<Template>,
        /// By when.
        within: Within,
        /// What no answer means.
        silence: Silence,
        /// Reason of a failure.
        fail_as: FailAs,
    },
}

/// A request and what its answer must be.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestStep {
    /// Method.
    pub method: String,
    /// Path.
    pub path: Template,
    /// Token.
    pub bearer: Option<Template>,
    /// Body.
    pub body: Option<Template>,
    /// Statuses that pass.
    pub status: Vec<u16>,
    /// Statuses by which the device refuses, for the outcome of a procedure.
    pub refused: Vec<u16>,
    /// What must stand in the body; its captures become values.
    pub pattern: Option<Template>,
    /// Texts that must not stand in the body.
    pub lacks: Vec<Template>,
    /// By when.
    pub within: Within,
    /// What no answer means.
    pub silence: Silence,
    /// Reason of a failure.
    pub fail_as: Option<FailAs>,
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "API channel.");
const METHODS: &[Word] = &[
    Word { word: "GET", what: "Read." },
    Word { word: "POST", what: "Do." },
    Word { word: "PUT", what: "Set." },
    Word { word: "DELETE", what: "Remove." },
];
const SILENCE: &[Word] = &[
    Word { word: "inconclusive", what: "It cannot be judged." },
    Word { word: "fail", what: "The device must answer; that it does not is its failure." },
];
const SILENT: Key = Key::optional(
    "silence",
    Shape::Word(SILENCE),
    "What it means when there is no connection, no TLS or no whole answer. Default: inconclusive.",
);
const WITHIN: Key = Key::needed("within", Shape::Within, "By when.");
const LACKS: Key = Key::optional(
    "lacks",
    Shape::List(&Shape::Template, 1),
    "Texts that must not stand in the answer, such as a secret. Each has at least 4 characters.",
);

/// `api-request`.
pub static REQUEST: Keys = Keys::new(
    "api-request",
    "Does one HTTPS request to the device. The answer is kept as evidence. Captures `(?<name>...)` become values. Another certificate than the rig says is inconclusive, `CERTIFICATE`: who answers may not be the device.",
    &[
        CHANNEL,
        Key::needed("method", Shape::Word(METHODS), "Method."),
        Key::needed("path", Shape::Template, "Path, `/settings`."),
        Key::optional("body", Shape::Template, "Body, sent as JSON."),
        Key::optional("bearer", Shape::Template, "Token for `Authorization: Bearer`."),
        Key::needed("status", Shape::Line, "Statuses that pass: '200', or '200, 204'."),
        Key::optional(
            "refused",
            Shape::Line,
            "Statuses by which the device refuses: the enclosing procedure's outcome is then `refused`.",
        ),
        Key::optional("pattern", Shape::Pattern, "What the body must match."),
        LACKS,
        WITHIN,
        SILENT,
        keys::REASON,
        keys::MEANING,
    ],
);

/// `api-scan`.
pub static SCAN: Keys = Keys::new(
    "api-scan",
    "Tries a TCP connection to ports of the device. An open one that is not declared is a failure. Unless a declared one is found open by the same look, nothing proves that the bench can see open ports: inconclusive, `NO-WITNESS`.",
    &[
        CHANNEL,
        Key::needed("ports", Shape::Template, "Ports to try: '1-65535', '22, 8000-8100'."),
        Key::needed("declared", Shape::Template, "Ports that may be open, in the same form: '${declared.tcp-ports}'."),
        WITHIN,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `api-mdns`.
pub static MDNS: Keys = Keys::new(
    "api-mdns",
    "Asks the device by mDNS for instances of a service and compares the answer with what is declared: how many, and which TXT keys.",
    &[
        CHANNEL,
        Key::needed("service", Shape::Template, "Service, `_hub._tcp.local`."),
        Key::needed("keys", Shape::Template, "TXT keys that may be there, separated by commas: '${declared.mdns-keys}'."),
        Key::optional("instances", Shape::Integer(0, 64), "How many instances there must be. Default: 1."),
        LACKS,
        WITHIN,
        SILENT,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

fn templates(map: &Map, key: &str) -> Vec<Template> {
    map.strings(key).into_iter().map(Template).collect()
}

/// Statuses of HTTP, separated by commas.
fn statuses(text: &str) -> Option<Vec<u16>> {
    let status = |text: &str| text.trim().parse().ok().filter(|status| (100..600).contains(status));
    text.split(',').map(status).collect()
}

/// The step of this name, if it is one of these.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<ApiStep> {
    let (within, silence) = (build::within(map, "within"), build::silence(map));
    Some(match name {
        "api-request" => ApiStep::Request(Box::new(RequestStep {
            method: map.string("method"),
            path: build::template(map, "path"),
            bearer: build::optional_template(map, "bearer"),
            body: build::optional_template(map, "body"),
            status: statuses(map.text("status")).unwrap_or_default(),
            refused: statuses(map.text("refused")).unwrap_or_default(),
            pattern: build::optional_template(map, "pattern"),
            lacks: templates(map, "lacks"),
            within,
            silence,
            fail_as: build::optional_fail_as(map),
        })),
        "api-scan" => ApiStep::Scan {
            ports: build::template(map, "ports"),
            declared: build::template(map, "declared"),
            within,
            fail_as: build::fail_as(map),
        },
        "api-mdns" => ApiStep::Mdns {
            service: build::template(map, "service"),
            keys: build::template(map, "keys"),
            instances: map.get("instances").map_or(1, |value| u32::try_from(value.integer()).unwrap_or(1)),
            lacks: templates(map, "lacks"),
            within,
            silence,
            fail_as: build::fail_as(map),
        },
        _ => return None,
    })
}

/// What is wrong with the keys of a step: the key to point at, and why.
#[must_use]
pub fn contradiction(name: &str, map: &Map) -> Option<(&'static str, &'static str)> {
    const STATUSES: &str = "statuses of HTTP are needed here, such as '200, 204'";
    let given = |key: &str| map.get(key).map(|value| value.text()).filter(|text| !text.contains("${"));
    if name == "api-request" {
        return ["status", "refused"]
            .into_iter()
            .find(|key| given(key).is_some_and(|text| statuses(text).is_none()))
            .map(|key| (key, STATUSES));
    }
    if name == "api-scan" {
        return ["ports", "declared"]
            .into_iter()
            .find(|key| given(key).is_some_and(|text| ports(text).is_none()))
            .map(|key| (key, "a list of ports is needed here, such as '22, 8000-8100'"));
    }
    None
}

impl ApiStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Request(request) => {
                let with = if request.bearer.is_some() { " with a token" } else { "" };
                format!("{} {} at {channel}{with} within {}", request.method, request.path.0, request.within)
            }
            Self::Scan { ports, declared, .. } => format!("ports {} of {channel}, declared {}", ports.0, declared.0),
            Self::Mdns { service, .. } => format!("ask {channel} for {} by mDNS", service.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::statuses;

    #[test]
    fn statuses_are_read_whole_or_not_at_all() {
        assert_eq!(statuses("200, 204"), Some(vec![200, 204]));
        for wrong in ["", "ok", "99", "600", "200,"] {
            assert_eq!(statuses(wrong), None, "{wrong}");
        }
    }
}
