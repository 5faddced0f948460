//! Steps over Bluetooth Low Energy: what they are, how they are written, how they are told.

use super::{FailAs, Template, Within, build, check::Walk, keys};
use crate::{
    channel::ble::CharacteristicId,
    diagnostic::{Code, Diagnostic},
    document::{Group, Key, Keys, Map, Shape, Word},
};

/// A step over Bluetooth Low Energy.
#[derive(Debug, Clone, PartialEq)]
pub enum BleStep {
    /// The device must advertise, or must not.
    Presence {
        /// Which.
        present: bool,
        /// How long to listen.
        within: Within,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// Record what the device advertises.
    Scan {
        /// How long.
        during: Within,
        /// What must stand in it, written as JSON; captures become values.
        pattern: Option<Template>,
        /// Reason when it does not.
        fail_as: Option<FailAs>,
    },
    /// Connect.
    Connect {
        /// Time to hear the device and to connect.
        within: Within,
        /// Whether the device must accept or refuse.
        accepted: bool,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// End the link.
    Disconnect,
    /// Compare the device's services with those that the profile declares.
    Services {
        /// Reason when there are others.
        fail_as: FailAs,
    },
    /// Read a value.
    Read {
        /// Which.
        from: CharacteristicId,
        /// Whether it must be readable or refused.
        readable: bool,
        /// What must stand in it; captures become values.
        pattern: Option<Template>,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// Write a value.
    Write {
        /// Which.
        to: CharacteristicId,
        /// What.
        data: WriteData,
        /// Whether the device is to acknowledge it.
        with_response: bool,
        /// Whether it must be accepted or refused.
        accepted: bool,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// Ask for notifications.
    Subscribe {
        /// Which.
        to: CharacteristicId,
        /// Whether it must be accepted or refused.
        accepted: bool,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// A notification must come.
    Notify {
        /// Which.
        from: CharacteristicId,
        /// What must stand in it; captures become values.
        pattern: Template,
        /// By when.
        within: Within,
        /// Reason when it does not.
        fail_as: FailAs,
    },
    /// Try what the profile declares to need authentication.
    Unauthenticated {
        /// Those that are written too.
        write: Vec<CharacteristicId>,
        /// What is written.
        bytes: Vec<u8>,
        /// Reason when something is possible.
        fail_as: FailAs,
    },
    /// The link must be lost, or must be kept.
    Link {
        /// Which.
        kept: bool,
        /// By when, or for how long.
        within: Within,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// There must be a bond, or none.
    Bond {
        /// Which.
        bonded: bool,
        /// Reason when it is otherwise.
        fail_as: FailAs,
    },
    /// Forget the device on the bench's side.
    Forget,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteData {
    /// Text as it stands.
    Text(Template),
    /// Bytes.
    Bytes(Vec<u8>),
}

const CHANNEL: Key = Key::needed("channel", Shape::Name, "Bluetooth channel.");
const CHARACTERISTIC: Key =
    Key::needed("characteristic", Shape::Line, "UUID of the characteristic, or `SERVICE/UUID`; assigned ones as 4 hex digits.");
const PRESENCE_WORDS: &[Word] = &[
    Word { word: "present", what: "The device must advertise." },
    Word { word: "absent", what: "The device must not advertise for the whole time." },
];
const ACCEPTED: &[Word] =
    &[Word { word: "accepted", what: "The device must accept." }, Word { word: "refused", what: "The device must refuse." }];
const READABLE: &[Word] = &[
    Word { word: "readable", what: "The read must succeed." },
    Word { word: "refused", what: "The device must refuse the read." },
];
const LINK: &[Word] = &[
    Word { word: "lost", what: "The link must be lost, or ended by the device." },
    Word { word: "kept", what: "The link must stay for the whole time." },
];
const BOND: &[Word] = &[
    Word { word: "bonded", what: "The bench's host must have a bond with the device." },
    Word { word: "absent", what: "The bench's host must have none." },
];
const EXPECT_ACCEPTED: Key = Key::optional("expect", Shape::Word(ACCEPTED), "What must happen. Default: accepted.");

/// `ble-presence`.
pub static PRESENCE: Keys = Keys::new(
    "ble-presence",
    "Listens whether the device advertises over Bluetooth Low Energy. Silence counts only if the adapter listened all the time.",
    &[
        CHANNEL,
        Key::needed("state", Shape::Word(PRESENCE_WORDS), "Which."),
        Key::needed("within", Shape::Within, "How long to listen."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `ble-scan`.
pub static SCAN: Keys = Keys::new(
    "ble-scan",
    "Records what the device advertises: address, name, signal strength, services, manufacturer and service data.",
    &[
        CHANNEL,
        Key::needed("during", Shape::Within, "How long to listen."),
        Key::optional(
            "pattern",
            Shape::Pattern,
            "What must stand in the advertisement, written as JSON. Captures become values for later steps.",
        ),
        keys::REASON,
        keys::MEANING,
    ],
);

/// `ble-connect`.
pub static CONNECT: Keys = Keys::new(
    "ble-connect",
    "Waits until the device advertises, connects to it and looks its services up anew.",
    &[
        CHANNEL,
        Key::needed("within", Shape::Within, "Time to hear the device and to connect."),
        EXPECT_ACCEPTED,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `ble-disconnect`.
pub static DISCONNECT: Keys = Keys::new("ble-disconnect", "Ends the link to the device.", &[CHANNEL]);

/// `ble-services`.
pub static SERVICES: Keys = Keys::new(
    "ble-services",
    "Compares services, characteristics and what can be done with them with what the device profile declares under `ble:`. What is not declared \
     is a finding.",
    &[CHANNEL, keys::REASON_NEEDED, keys::MEANING],
);

/// `ble-read`.
pub static READ: Keys = Keys::new(
    "ble-read",
    "Reads a value of the connected device.",
    &[
        CHANNEL,
        CHARACTERISTIC,
        Key::optional("expect", Shape::Word(READABLE), "What must happen. Default: readable."),
        Key::optional("pattern", Shape::Pattern, "What must stand in the value. Captures become values for later steps."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `ble-write`.
pub static WRITE: Keys = Keys::new(
    "ble-write",
    "Writes a value of the connected device.",
    &[
        CHANNEL,
        CHARACTERISTIC,
        Key::optional("text", Shape::Template, "Text as it stands."),
        Key::optional("bytes", Shape::Bytes, "Bytes."),
        Key::optional(
            "with-response",
            Shape::Flag,
            "Whether the device acknowledges the write. Without that nothing proves that it came. Default: true.",
        ),
        EXPECT_ACCEPTED,
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
)
.groups(&[Group { keys: &["text", "bytes"], needed: true }]);

/// `ble-subscribe`.
pub static SUBSCRIBE: Keys = Keys::new(
    "ble-subscribe",
    "Asks the connected device for notifications of a value. They are recorded from now on.",
    &[CHANNEL, CHARACTERISTIC, EXPECT_ACCEPTED, keys::REASON_NEEDED, keys::MEANING],
);

/// `ble-notify`.
pub static NOTIFY: Keys = Keys::new(
    "ble-notify",
    "Waits for a notification. It counts from the last act of the bench on; subscribe before that act. Subscribes itself if nobody has.",
    &[
        CHANNEL,
        CHARACTERISTIC,
        Key::needed("pattern", Shape::Pattern, "What must stand in it. Captures become values for later steps."),
        Key::needed("within", Shape::Within, "By when."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `ble-unauthenticated`.
pub static UNAUTHENTICATED: Keys = Keys::new(
    "ble-unauthenticated",
    "Without a bond, reads and subscribes to everything that the profile declares as `authenticated: true`. The device must refuse each.",
    &[
        CHANNEL,
        Key::optional(
            "write",
            Shape::List(&Shape::Line, 1),
            "Characteristics that are written too. Only name what may be changed.",
        ),
        Key::optional("bytes", Shape::Bytes, "What is written. Default: one byte 00."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `ble-link`.
pub static LINK_STEP: Keys = Keys::new(
    "ble-link",
    "Watches whether the link is lost or kept.",
    &[
        CHANNEL,
        Key::needed("expect", Shape::Word(LINK), "Which."),
        Key::needed("within", Shape::Within, "By when it must be lost, or for how long it must be kept."),
        keys::REASON_NEEDED,
        keys::MEANING,
    ],
);

/// `ble-bond`.
pub static BOND_STEP: Keys = Keys::new(
    "ble-bond",
    "Checks whether the bench's host has a bond with the device. What the device itself has kept may differ.",
    &[CHANNEL, Key::needed("expect", Shape::Word(BOND), "Which."), keys::REASON_NEEDED, keys::MEANING],
);

/// `ble-forget`.
pub static FORGET: Keys =
    Keys::new("ble-forget", "Ends the link and forgets the device on the bench's host: keys and services.", &[CHANNEL]);

/// Text of a characteristic that the check has found good.
fn characteristic(text: &str) -> CharacteristicId {
    CharacteristicId::parse(text).unwrap_or_else(|| CharacteristicId { service: None, uuid: text.to_owned() })
}

/// The step of that name.
#[must_use]
pub fn step(name: &str, map: &Map) -> Option<BleStep> {
    let named = || characteristic(map.text("characteristic"));
    let accepted = map.text("expect") != "refused";
    let fail_as = || build::fail_as(map);
    Some(match name {
        "ble-presence" => BleStep::Presence {
            present: map.text("state") == "present",
            within: build::within(map, "within"),
            fail_as: fail_as(),
        },
        "ble-scan" => BleStep::Scan {
            during: build::within(map, "during"),
            pattern: build::optional_template(map, "pattern"),
            fail_as: build::optional_fail_as(map),
        },
        "ble-connect" => BleStep::Connect { within: build::within(map, "within"), accepted, fail_as: fail_as() },
        "ble-disconnect" => BleStep::Disconnect,
        "ble-services" => BleStep::Services { fail_as: fail_as() },
        "ble-read" => BleStep::Read {
            from: named(),
            readable: accepted,
            pattern: build::optional_template(map, "pattern"),
            fail_as: fail_as(),
        },
        "ble-write" => {
            let data = match map.get("bytes") {
                Some(bytes) => WriteData::Bytes(bytes.bytes().to_vec()),
                None => WriteData::Text(build::template(map, "text")),
            };
            let with_response = !map.has("with-response") || map.flag("with-response");
            BleStep::Write { to: named(), data, with_response, accepted, fail_as: fail_as() }
        }
        "ble-subscribe" => BleStep::Subscribe { to: named(), accepted, fail_as: fail_as() },
        "ble-notify" => BleStep::Notify {
            from: named(),
            pattern: build::template(map, "pattern"),
            within: build::within(map, "within"),
            fail_as: fail_as(),
        },
        "ble-unauthenticated" => BleStep::Unauthenticated {
            write: map.strings("write").iter().map(|text| characteristic(text)).collect(),
            bytes: map.get("bytes").map_or_else(|| vec![0], |value| value.bytes().to_vec()),
            fail_as: fail_as(),
        },
        "ble-link" => {
            BleStep::Link { kept: map.text("expect") == "kept", within: build::within(map, "within"), fail_as: fail_as() }
        }
        "ble-bond" => BleStep::Bond { bonded: map.text("expect") == "bonded", fail_as: fail_as() },
        "ble-forget" => BleStep::Forget,
        _ => return None,
    })
}

/// What the table of keys cannot express.
pub(super) fn check(walk: &mut Walk<'_>, name: &str, map: &Map) {
    let uuids = map.get("characteristic").into_iter().chain(map.list("write"));
    for value in uuids.filter(|value| !value.text().is_empty() && CharacteristicId::parse(value.text()).is_none()) {
        let message = format!("`{}` is not the UUID of a characteristic", value.text());
        walk.report.push(
            Diagnostic::new(Code::BadBytes, value.place.clone(), message)
                .help("write it in full, `6c616200-0000-1000-8000-00805f9b34fb`, or 4 hex digits; with its service `180f/2a19`"),
        );
    }
    if name == "ble-write"
        && let Some(text) = map.get("text")
    {
        walk.template(text);
    }
    let captures = walk.patterns(map, &["pattern"]);
    walk.known.extend(captures);
    if map.has("pattern") && map.text("expect") == "refused" {
        let place = map.get("pattern").map(|value| value.place.clone());
        if let Some(place) = place {
            walk.report.push(
                Diagnostic::new(Code::KeyConflict, place, "a read that must be refused has no value to look into")
                    .help("remove `pattern`, or expect `readable`"),
            );
        }
    }
}

impl BleStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self, channel: &str) -> String {
        let verb = |accepted: bool| if accepted { "" } else { ", to be refused" };
        match self {
            Self::Presence { present: true, within, .. } => format!("{channel} advertises within {within}"),
            Self::Presence { present: false, within, .. } => format!("{channel} does not advertise for {within}"),
            Self::Scan { during, .. } => format!("record what {channel} advertises for {during}"),
            Self::Connect { within, accepted, .. } => format!("connect to {channel} within {within}{}", verb(*accepted)),
            Self::Disconnect => format!("disconnect from {channel}"),
            Self::Services { .. } => format!("compare the services of {channel} with the declared ones"),
            Self::Read { from, readable, .. } => format!("read {from} of {channel}{}", verb(*readable)),
            Self::Write { to, data, accepted, .. } => {
                let data = match data {
                    WriteData::Text(text) => format!("`{}`", text.0),
                    WriteData::Bytes(bytes) => format!("{} bytes", bytes.len()),
                };
                format!("write {data} to {to} of {channel}{}", verb(*accepted))
            }
            Self::Subscribe { to, accepted, .. } => format!("subscribe to {to} of {channel}{}", verb(*accepted)),
            Self::Notify { from, pattern, within, .. } => {
                format!("{channel} notifies `{}` of {from} within {within}", pattern.0)
            }
            Self::Unauthenticated { .. } => format!("{channel} refuses unauthenticated access"),
            Self::Link { kept: true, within, .. } => format!("{channel} stays connected for {within}"),
            Self::Link { kept: false, within, .. } => format!("the link of {channel} is lost within {within}"),
            Self::Bond { bonded, .. } => format!("{} bond with {channel}", if *bonded { "a" } else { "no" }),
            Self::Forget => format!("forget {channel}"),
        }
    }
}
