//! Steps on the device's network: what they are, how they are written, how they are told.

use std::{net::Ipv4Addr, time::Duration};

use super::{FailAs, Silence, Within, build, keys};
use crate::{
    channel::network::{
        ClockAnswer, Counted, DhcpAnswer, Direction, Disturbance, DnsAnswer, Filter, FilterAction, Impairment, Portal, Protocol,
    },
    document::{Data, Group, Key, Keys, Map, Shape, Word},
    units::{Dimension, Quantity, Span},
};

/// A step on the device's network.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkStep {
    /// Disturb the network.
    Disturb(Disturbance),
    /// End every disturbance.
    Restore,
    /// Count what the device does.
    Traffic {
        /// What is counted.
        of: Counted,
        /// How much there may be.
        wanted: Wanted,
        /// By when, or for how long.
        within: Within,
        /// What it means if too little comes.
        silence: Silence,
        /// Reason of a failure.
        fail_as: FailAs,
    },
    /// Begin to capture.
    StartCapture,
    /// End the capture and keep it.
    StopCapture {
        /// Name of the evidence.
        name: String,
    },
}

/// How much traffic there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// At least one, by the end of the time.
    Some,
    /// At most so many during the whole time.
    AtMost(u64),
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Network channel.");
const CENTURY: Duration = Duration::from_hours(24 * 366 * 100);
const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_mins(1);
const STATES: &[Word] =
    &[Word { word: "up", what: "Undisturbed." }, Word { word: "down", what: "No carrier, as if the cable were pulled." }];
const DIRECTIONS: &[Word] = &[
    Word { word: "both", what: "To and from the device." },
    Word { word: "up", what: "What the device sends." },
    Word { word: "down", what: "What the device receives." },
];
const DIRECTION: Key = Key::optional("direction", Shape::Word(DIRECTIONS), "Which way, seen from the device. Default: both.");
const ACTIONS: &[Word] = &[
    Word { word: "drop", what: "They vanish, also those that begin a connection." },
    Word { word: "reject", what: "The device is told that the host cannot be reached." },
    Word { word: "reset", what: "The device's TCP connections are reset." },
    Word { word: "silent", what: "TCP connections that are there go silent without being closed; new ones work." },
];
const PROTOCOLS: &[Word] = &[
    Word { word: "tcp", what: "TCP." },
    Word { word: "udp", what: "UDP." },
    Word { word: "icmp", what: "ICMP of either version." },
];
const DNS_ANSWERS: &[Word] = &[
    Word { word: "right", what: "As the rig's names say." },
    Word { word: "nxdomain", what: "There is no such name." },
    Word { word: "servfail", what: "The server failed." },
    Word { word: "refused", what: "The server refuses." },
    Word { word: "silent", what: "No answer." },
    Word { word: "truncated", what: "Cut short over UDP, right over TCP." },
    Word { word: "wrong", what: "The address under `address` for every name." },
    Word { word: "slow", what: "Right, but late by `delay`." },
];
const CLOCK_ANSWERS: &[Word] = &[
    Word { word: "right", what: "The bench's time." },
    Word { word: "ahead", what: "Ahead of it `by` a duration." },
    Word { word: "behind", what: "Behind it `by` a duration." },
    Word { word: "at", what: "At `unix-time` when the step runs; it runs on from there." },
    Word { word: "silent", what: "No answer." },
    Word { word: "kiss", what: "Kiss of death: the server asks to be left alone." },
];
const DHCP_ANSWERS: &[Word] = &[
    Word { word: "right", what: "A normal lease." },
    Word { word: "nak", what: "Requests are refused." },
    Word { word: "silent", what: "No answer." },
    Word { word: "short", what: "Leases as long as `lease` says." },
    Word { word: "no-dns", what: "Leases without a DNS server." },
    Word { word: "exhausted", what: "No address is left." },
];
const PORTALS: &[Word] = &[
    Word { word: "gone", what: "There is none." },
    Word { word: "redirect", what: "Every request is sent to a login page." },
    Word { word: "login", what: "Every request is answered with a login page." },
];
const EXPECTED: &[Word] =
    &[Word { word: "some", what: "There must be some." }, Word { word: "none", what: "There must be none." }];
const COUNTED: &[Word] = &[
    Word { word: "disturbed", what: "Packets that met a filter." },
    Word { word: "packets", what: "Packets from the device." },
    Word { word: "dns", what: "Questions to the bench's DNS." },
    Word { word: "clock", what: "Questions to the bench's time server." },
    Word { word: "dhcp", what: "Messages to the bench's DHCP server." },
    Word { word: "portal", what: "Requests to the captive portal." },
];
const SILENCE: &[Word] = &[
    Word { word: "inconclusive", what: "It cannot be judged." },
    Word { word: "fail", what: "The device must try; it failed." },
];
const CAPTURE: &[Word] =
    &[Word { word: "start", what: "Capture from now on." }, Word { word: "stop", what: "End the capture; it becomes evidence." }];

/// `network`.
pub static NETWORK: Keys = Keys::new(
    "network",
    "Takes the device's network away, or ends every disturbance of it.",
    &[CHANNEL, Key::needed("state", Shape::Word(STATES), "What the network is like from now on.")],
);
/// `network-impair`.
pub static IMPAIR: Keys = Keys::new(
    "network-impair",
    "Makes the device's network bad, in place of how bad it was. Without any fault it is good again.",
    &[
        CHANNEL,
        DIRECTION,
        Key::optional("delay", Shape::Duration(Duration::ZERO, MINUTE), "Every packet is this late, each way. Default: 0s."),
        Key::optional("jitter", Shape::Duration(Duration::ZERO, MINUTE), "The delay varies by this. Default: 0s."),
        Key::optional("loss", Shape::Percent, "Packets lost. Default: 0%."),
        Key::optional("reorder", Shape::Percent, "Packets that overtake others; needs a delay. Default: 0%."),
        Key::optional("duplicate", Shape::Percent, "Packets sent twice. Default: 0%."),
        Key::optional("corrupt", Shape::Percent, "Packets with a wrong bit. Default: 0%."),
        Key::optional("rate", Shape::Rate, "Most that gets through. Default: no limit."),
    ],
);
/// `network-filter`.
pub static FILTER: Keys = Keys::new(
    "network-filter",
    "Lets some of the device's packets not get through. Several filters add up; `network: { state: up }` ends them.",
    &[
        CHANNEL,
        Key::needed("action", Shape::Word(ACTIONS), "What happens to packets that match."),
        DIRECTION,
        Key::optional("protocol", Shape::Word(PROTOCOLS), "Only this protocol."),
        Key::optional("port", Shape::Integer(1, 65535), "Only this port of TCP or UDP, at either end."),
        Key::optional("address", Shape::Line, "Only this address of the other end."),
    ],
);
/// `network-traffic`.
pub static TRAFFIC: Keys = Keys::new(
    "network-traffic",
    "Judges how much the device did on the network since the last step that changed the network.",
    &[
        CHANNEL,
        Key::optional("of", Shape::Word(COUNTED), "What is counted. Default: disturbed."),
        Key::optional("expect", Shape::Word(EXPECTED), "Whether there must be any."),
        Key::optional("at-most", Shape::Integer(1, 1 << 32), "How many there may be during the time."),
        Key::needed("within", Shape::Within, "By when some must have come, or how long there must be none or few."),
        Key::optional("silence", Shape::Word(SILENCE), "What it means if none came. Default: inconclusive."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
)
.groups(&[Group { keys: &["expect", "at-most"], needed: true }]);
/// `network-dns`.
pub static DNS: Keys = Keys::new(
    "network-dns",
    "Lets the bench's DNS answer in some way from now on.",
    &[
        CHANNEL,
        Key::needed("answer", Shape::Word(DNS_ANSWERS), "Which way."),
        Key::optional("address", Shape::Line, "Wrong IPv4 address. Default: 192.0.2.1, which nobody has."),
        Key::optional("delay", Shape::Duration(MILLISECOND, MINUTE), "How late a slow answer is. Default: 5s."),
    ],
);
/// `network-clock`.
pub static CLOCK: Keys = Keys::new(
    "network-clock",
    "Lets the bench's time server say some time from now on.",
    &[
        CHANNEL,
        Key::needed("answer", Shape::Word(CLOCK_ANSWERS), "What it says."),
        Key::optional("by", Shape::Duration(MILLISECOND, CENTURY), "How far ahead or behind. Default: 24h."),
        Key::optional(
            "unix-time",
            Shape::Integer(0, 1 << 33),
            "Seconds since 1970. Default: 2147483640, eight seconds before signed 32-bit times end.",
        ),
    ],
);
/// `network-dhcp`.
pub static DHCP: Keys = Keys::new(
    "network-dhcp",
    "Lets the bench's DHCP server behave in some way from now on.",
    &[
        CHANNEL,
        Key::needed("answer", Shape::Word(DHCP_ANSWERS), "Which way."),
        Key::optional("lease", Shape::Duration(Duration::from_secs(1), Duration::from_hours(24)), "A short lease. Default: 10s."),
    ],
);
/// `network-portal`.
pub static PORTAL: Keys = Keys::new(
    "network-portal",
    "Puts a captive portal in the way: it answers everything on port 80, and DNS gives its address for every name.",
    &[CHANNEL, Key::needed("answer", Shape::Word(PORTALS), "What it answers.")],
);
/// `network-capture`.
pub static CAPTURE_STEP: Keys = Keys::new(
    "network-capture",
    "Captures the device's traffic as evidence.",
    &[
        CHANNEL,
        Key::needed("state", Shape::Word(CAPTURE), "Whether it begins or ends."),
        Key::optional("name", Shape::Name, "Name of the evidence. Default: traffic."),
    ],
);

fn direction(map: &Map) -> Direction {
    match map.text("direction") {
        "up" => Direction::Up,
        "down" => Direction::Down,
        _ => Direction::Both,
    }
}

fn duration(map: &Map, key: &str, default: Duration) -> Duration {
    if map.has(key) { map.duration(key) } else { default }
}

fn number<T: TryFrom<i64>>(map: &Map, key: &str) -> Option<T> {
    map.get(key).and_then(|value| if let Data::Integer(number) = value.data { T::try_from(number).ok() } else { None })
}

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<NetworkStep> {
    let disturb = NetworkStep::Disturb;
    Some(match name {
        "network" if map.text("state") == "down" => disturb(Disturbance::Down),
        "network" => NetworkStep::Restore,
        "network-impair" => disturb(Disturbance::Impair(Impairment {
            direction: direction(map),
            delay: map.duration("delay"),
            jitter: map.duration("jitter"),
            loss: map.permille("loss"),
            reorder: map.permille("reorder"),
            duplicate: map.permille("duplicate"),
            corrupt: map.permille("corrupt"),
            rate: number(map, "rate"),
        })),
        "network-filter" => disturb(Disturbance::Filter(Filter {
            action: match map.text("action") {
                "reject" => FilterAction::Reject,
                "reset" => FilterAction::Reset,
                "silent" => FilterAction::Silent,
                _ => FilterAction::Drop,
            },
            direction: direction(map),
            protocol: match map.text("protocol") {
                "tcp" => Some(Protocol::Tcp),
                "udp" => Some(Protocol::Udp),
                "icmp" => Some(Protocol::Icmp),
                _ => None,
            },
            port: number(map, "port"),
            address: map.text("address").parse().ok(),
        })),
        "network-traffic" => NetworkStep::Traffic {
            of: match map.text("of") {
                "packets" => Counted::Packets,
                "dns" => Counted::Dns,
                "clock" => Counted::Clock,
                "dhcp" => Counted::Dhcp,
                "portal" => Counted::Portal,
                _ => Counted::Disturbed,
            },
            wanted: match (map.text("expect"), number(map, "at-most")) {
                ("none", _) => Wanted::AtMost(0),
                (_, Some(most)) => Wanted::AtMost(most),
                _ => Wanted::Some,
            },
            within: build::within(map, "within"),
            silence: if map.text("silence") == "fail" { Silence::Fail } else { Silence::Inconclusive },
            fail_as: build::fail_as(map),
        },
        "network-dns" => disturb(Disturbance::Dns(match map.text("answer") {
            "nxdomain" => DnsAnswer::NxDomain,
            "servfail" => DnsAnswer::ServFail,
            "refused" => DnsAnswer::Refused,
            "silent" => DnsAnswer::Silent,
            "truncated" => DnsAnswer::Truncated,
            "wrong" => DnsAnswer::Wrong(map.text("address").parse().unwrap_or(Ipv4Addr::new(192, 0, 2, 1))),
            "slow" => DnsAnswer::Slow(duration(map, "delay", Duration::from_secs(5))),
            _ => DnsAnswer::Right,
        })),
        "network-clock" => disturb(Disturbance::Clock(match map.text("answer") {
            "ahead" => ClockAnswer::Ahead(duration(map, "by", Duration::from_hours(24))),
            "behind" => ClockAnswer::Behind(duration(map, "by", Duration::from_hours(24))),
            "at" => ClockAnswer::At(number(map, "unix-time").unwrap_or(2_147_483_640)),
            "silent" => ClockAnswer::Silent,
            "kiss" => ClockAnswer::Kiss,
            _ => ClockAnswer::Right,
        })),
        "network-dhcp" => disturb(Disturbance::Dhcp(match map.text("answer") {
            "nak" => DhcpAnswer::Nak,
            "silent" => DhcpAnswer::Silent,
            "short" => DhcpAnswer::Short(duration(map, "lease", Duration::from_secs(10))),
            "no-dns" => DhcpAnswer::NoDns,
            "exhausted" => DhcpAnswer::Exhausted,
            _ => DhcpAnswer::Right,
        })),
        "network-portal" => disturb(Disturbance::Portal(match map.text("answer") {
            "redirect" => Some(Portal::Redirect),
            "login" => Some(Portal::Login),
            _ => None,
        })),
        "network-capture" if map.text("state") == "stop" => {
            NetworkStep::StopCapture { name: if map.has("name") { map.string("name") } else { "traffic".to_owned() } }
        }
        "network-capture" => NetworkStep::StartCapture,
        _ => return None,
    })
}

/// What is wrong with the keys of a step taken together: the key to point at, and why.
#[must_use]
pub fn contradiction(name: &str, map: &Map) -> Option<(&'static str, &'static str)> {
    let given = |key: &str| map.get(key).is_some();
    match name {
        "network-filter" => {
            let (action, protocol) = (map.text("action"), map.text("protocol"));
            if given("address") && map.text("address").parse::<std::net::IpAddr>().is_err() {
                return Some(("address", "an IP address is needed here"));
            }
            if given("port") && protocol == "icmp" {
                return Some(("port", "ICMP has no ports"));
            }
            if matches!(action, "reset" | "silent") && given("protocol") && protocol != "tcp" {
                return Some(("protocol", "only TCP has connections that can be reset or go silent"));
            }
            if matches!(action, "reset" | "reject") && given("direction") && map.text("direction") != "up" {
                return Some(("direction", "the device is answered: only what it sends (`up`) can be met"));
            }
            None
        }
        "network-impair" => {
            if map.duration("jitter") > map.duration("delay") {
                return Some(("jitter", "the delay cannot vary by more than itself"));
            }
            (map.permille("reorder") > 0 && map.duration("delay").is_zero())
                .then_some(("reorder", "only packets that are late can be overtaken: give a `delay`"))
        }
        "network-dns" if given("address") && map.text("address").parse::<Ipv4Addr>().is_err() => {
            Some(("address", "an IPv4 address is needed here"))
        }
        "network-dns" if given("address") && map.text("answer") != "wrong" => {
            Some(("address", "only a `wrong` answer has an address of its own"))
        }
        "network-dns" if given("delay") && map.text("answer") != "slow" => Some(("delay", "only a `slow` answer has a delay")),
        "network-clock" if given("by") && !matches!(map.text("answer"), "ahead" | "behind") => {
            Some(("by", "only a clock that is `ahead` or `behind` is so by something"))
        }
        "network-clock" if given("unix-time") && map.text("answer") != "at" => Some(("unix-time", "only `at` needs a time")),
        "network-dhcp" if given("lease") && map.text("answer") != "short" => Some(("lease", "only a `short` lease has a length")),
        _ => None,
    }
}

impl NetworkStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        match self {
            Self::Disturb(disturbance) => format!("{channel} {}", words(disturbance)),
            Self::Restore => format!("{channel} undisturbed"),
            Self::Traffic { of, wanted: Wanted::Some, within, .. } => format!("{} on {channel} within {within}", counted(*of)),
            Self::Traffic { of, wanted: Wanted::AtMost(most), within, .. } => {
                format!("at most {most} {} on {channel} for {within}", counted(*of))
            }
            Self::StartCapture => format!("capture {channel}"),
            Self::StopCapture { name } => format!("keep what was captured on {channel} as {name}"),
        }
    }
}

/// What is counted, in words.
#[must_use]
pub const fn counted(of: Counted) -> &'static str {
    match of {
        Counted::Disturbed => "packets that met a filter",
        Counted::Packets => "packets from the device",
        Counted::Dns => "questions to DNS",
        Counted::Clock => "questions to the time server",
        Counted::Dhcp => "DHCP messages",
        Counted::Portal => "requests to the portal",
    }
}

fn toward(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "",
        Direction::Up => " from the device",
        Direction::Down => " to the device",
    }
}

fn words(disturbance: &Disturbance) -> String {
    let span = |duration: Duration| Span::from(duration).to_string();
    match disturbance {
        Disturbance::Down => "down".to_owned(),
        Disturbance::Impair(bad) => {
            let share = |permille: u16| format!("{}%", f64::from(permille) / 10.0);
            let mut parts = Vec::new();
            let mut part = |given: bool, text: String| given.then(|| parts.push(text));
            part(!bad.delay.is_zero(), format!("delay {}", span(bad.delay)));
            part(!bad.jitter.is_zero(), format!("jitter {}", span(bad.jitter)));
            part(bad.loss > 0, format!("loss {}", share(bad.loss)));
            part(bad.reorder > 0, format!("reorder {}", share(bad.reorder)));
            part(bad.duplicate > 0, format!("duplicate {}", share(bad.duplicate)));
            part(bad.corrupt > 0, format!("corrupt {}", share(bad.corrupt)));
            part(bad.rate.is_some(), format!("at most {}", Quantity::new(Dimension::Rate, bad.rate.unwrap_or(0))));
            if parts.is_empty() { "without impairment".to_owned() } else { parts.join(", ") + toward(bad.direction) }
        }
        Disturbance::Filter(filter) => {
            let action = match filter.action {
                FilterAction::Drop => "drops",
                FilterAction::Reject => "rejects",
                FilterAction::Reset => "resets",
                FilterAction::Silent => "falls silent for",
            };
            let mut text = action.to_owned();
            match filter.protocol {
                None if filter.port.is_none() && filter.address.is_none() => text += " everything",
                None => {}
                Some(Protocol::Tcp) => text += " TCP",
                Some(Protocol::Udp) => text += " UDP",
                Some(Protocol::Icmp) => text += " ICMP",
            }
            if let Some(port) = filter.port {
                text += &format!(" port {port}");
            }
            if let Some(address) = filter.address {
                text += &format!(" of {address}");
            }
            text + toward(filter.direction)
        }
        Disturbance::Dns(answer) => match answer {
            DnsAnswer::Right => "DNS answers rightly".to_owned(),
            DnsAnswer::NxDomain => "DNS knows no name".to_owned(),
            DnsAnswer::ServFail => "DNS fails".to_owned(),
            DnsAnswer::Refused => "DNS refuses".to_owned(),
            DnsAnswer::Silent => "DNS is silent".to_owned(),
            DnsAnswer::Truncated => "DNS answers are cut short".to_owned(),
            DnsAnswer::Wrong(address) => format!("DNS says {address} for every name"),
            DnsAnswer::Slow(delay) => format!("DNS is late by {}", span(*delay)),
        },
        Disturbance::Clock(answer) => match answer {
            ClockAnswer::Right => "time server is right".to_owned(),
            ClockAnswer::Ahead(by) => format!("time server is ahead by {}", span(*by)),
            ClockAnswer::Behind(by) => format!("time server is behind by {}", span(*by)),
            ClockAnswer::At(time) => format!("time server is at {time} s since 1970"),
            ClockAnswer::Silent => "time server is silent".to_owned(),
            ClockAnswer::Kiss => "time server sends a kiss of death".to_owned(),
        },
        Disturbance::Dhcp(answer) => match answer {
            DhcpAnswer::Right => "DHCP gives leases".to_owned(),
            DhcpAnswer::Nak => "DHCP refuses requests".to_owned(),
            DhcpAnswer::Silent => "DHCP is silent".to_owned(),
            DhcpAnswer::Short(lease) => format!("DHCP gives leases of {}", span(*lease)),
            DhcpAnswer::NoDns => "DHCP names no DNS server".to_owned(),
            DhcpAnswer::Exhausted => "DHCP has no address left".to_owned(),
        },
        Disturbance::Portal(None) => "without portal".to_owned(),
        Disturbance::Portal(Some(Portal::Redirect)) => "behind a portal that redirects".to_owned(),
        Disturbance::Portal(Some(Portal::Login)) => "behind a portal with a login page".to_owned(),
    }
}
