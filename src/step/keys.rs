//! How steps are written.

use std::time::Duration;

use super::{api, ble, cloud, line, network, probe, prompt, reconnect, supply, usb};
use crate::document::{Group, Key, Keys, OneOf, Shape, Word};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Longest duration of any step.
const DAY: Duration = Duration::from_hours(24);

const SILENCE: &[Word] = &[
    Word { word: "inconclusive", what: "Silence cannot be judged." },
    Word { word: "fail", what: "The device must answer; silence is its failure." },
];
const STATE: &[Word] =
    &[Word { word: "up", what: "The device is powered." }, Word { word: "down", what: "The device is without power." }];
const OUTCOME: &[Word] =
    &[Word { word: "done", what: "The procedure must succeed." }, Word { word: "refused", what: "The device must refuse." }];
const READABLE: &[Word] = &[
    Word { word: "readable", what: "The read must succeed." },
    Word { word: "refused", what: "The device must refuse the read." },
];

const CONSOLE: Key = Key::needed("channel", Shape::Name, "Console channel.");
const SUPPLY: Key = Key::needed("channel", Shape::Name, "Supply channel.");
const BUTTON: Key = Key::needed("channel", Shape::Name, "Button channel.");
const PROBE: Key = Key::needed("channel", Shape::Name, "Debug probe channel.");
/// The reason code that a step may have.
pub const REASON: Key = Key::optional(
    "reason",
    Shape::ReasonCode,
    "Reason code of a failure of this step, `SIG-PAYLOAD`. Without it the bench's general code is used.",
);
/// The reason code that a step must have.
pub const REASON_NEEDED: Key = Key::needed("reason", Shape::ReasonCode, "Reason code of a failure of this step, `SIG-PAYLOAD`.");
/// What a failure means, for people.
pub const MEANING: Key = Key::optional("meaning", Shape::Line, "What such a failure means, in one sentence for people.");
/// What silence means.
pub const SILENT: Key = Key::optional("silence", Shape::Word(SILENCE), "What no answer in time means. Default: inconclusive.");
const WITHIN: Key = Key::needed("within", Shape::Within, "By when, counted from the step before.");
const REFUSED: Key = Key::optional("refused", Shape::Pattern, "If this appears first, the procedure's outcome is `refused`.");

/// A list of steps.
pub const STEPS: Shape = Shape::List(&Shape::One(step), 1);
/// A list of steps that may be empty.
pub const OPTIONAL_STEPS: Shape = Shape::List(&Shape::One(step), 0);

const fn step() -> &'static OneOf {
    &STEP
}

/// One step.
pub static STEP: OneOf = OneOf {
    name: "step",
    what: "One step: a map with exactly one key, which says what is done.",
    choices: &[
        Key::needed("power", Shape::Map(&POWER), POWER.what),
        Key::needed("power-cycle", Shape::Map(&POWER_CYCLE), POWER_CYCLE.what),
        Key::needed("press", Shape::Map(&PRESS), PRESS.what),
        Key::needed("button", Shape::Map(&supply::BUTTON), supply::BUTTON.what),
        Key::needed("measure-supply", Shape::Map(&supply::MEASURE_SUPPLY), supply::MEASURE_SUPPLY.what),
        Key::needed("send", Shape::Map(&SEND), SEND.what),
        Key::needed("expect", Shape::Map(&EXPECT), EXPECT.what),
        Key::needed("refrain", Shape::Map(&REFRAIN), REFRAIN.what),
        Key::needed("send-image", Shape::Map(&SEND_IMAGE), SEND_IMAGE.what),
        Key::needed("break", Shape::Map(&line::BREAK), line::BREAK.what),
        Key::needed("line-state", Shape::Map(&line::STATE), line::STATE.what),
        Key::needed("baud-sweep", Shape::Map(&line::SWEEP), line::SWEEP.what),
        Key::needed("flash", Shape::Map(&FLASH), FLASH.what),
        Key::needed("reset", Shape::Map(&RESET), RESET.what),
        Key::needed("read-memory", Shape::Map(&READ_MEMORY), READ_MEMORY.what),
        Key::needed("halt", Shape::Map(&probe::HALT), probe::HALT.what),
        Key::needed("resume", Shape::Map(&probe::RESUME), probe::RESUME.what),
        Key::needed("dump-memory", Shape::Map(&probe::DUMP_MEMORY), probe::DUMP_MEMORY.what),
        Key::needed("search-memory", Shape::Map(&probe::SEARCH_MEMORY), probe::SEARCH_MEMORY.what),
        Key::needed("read-lock", Shape::Map(&probe::READ_LOCK), probe::READ_LOCK.what),
        Key::needed("usb-presence", Shape::Map(&usb::PRESENCE), usb::PRESENCE.what),
        Key::needed("usb-descriptors", Shape::Map(&usb::DESCRIPTORS), usb::DESCRIPTORS.what),
        Key::needed("usb-control", Shape::Map(&usb::CONTROL), usb::CONTROL.what),
        Key::needed("usb-bulk", Shape::Map(&usb::BULK), usb::BULK.what),
        Key::needed("usb-interrupt", Shape::Map(&usb::INTERRUPT), usb::INTERRUPT.what),
        Key::needed("usb-vendor-sweep", Shape::Map(&usb::VENDOR_SWEEP), usb::VENDOR_SWEEP.what),
        Key::needed("usb-dfu-upload", Shape::Map(&usb::DFU_UPLOAD), usb::DFU_UPLOAD.what),
        Key::needed("ble-presence", Shape::Map(&ble::PRESENCE), ble::PRESENCE.what),
        Key::needed("ble-scan", Shape::Map(&ble::SCAN), ble::SCAN.what),
        Key::needed("ble-connect", Shape::Map(&ble::CONNECT), ble::CONNECT.what),
        Key::needed("ble-disconnect", Shape::Map(&ble::DISCONNECT), ble::DISCONNECT.what),
        Key::needed("ble-services", Shape::Map(&ble::SERVICES), ble::SERVICES.what),
        Key::needed("ble-read", Shape::Map(&ble::READ), ble::READ.what),
        Key::needed("ble-write", Shape::Map(&ble::WRITE), ble::WRITE.what),
        Key::needed("ble-subscribe", Shape::Map(&ble::SUBSCRIBE), ble::SUBSCRIBE.what),
        Key::needed("ble-notify", Shape::Map(&ble::NOTIFY), ble::NOTIFY.what),
        Key::needed("ble-unauthenticated", Shape::Map(&ble::UNAUTHENTICATED), ble::UNAUTHENTICATED.what),
        Key::needed("ble-link", Shape::Map(&ble::LINK_STEP), ble::LINK_STEP.what),
        Key::needed("ble-bond", Shape::Map(&ble::BOND_STEP), ble::BOND_STEP.what),
        Key::needed("ble-forget", Shape::Map(&ble::FORGET), ble::FORGET.what),
        Key::needed("network", Shape::Map(&network::NETWORK), network::NETWORK.what),
        Key::needed("network-impair", Shape::Map(&network::IMPAIR), network::IMPAIR.what),
        Key::needed("network-filter", Shape::Map(&network::FILTER), network::FILTER.what),
        Key::needed("network-traffic", Shape::Map(&network::TRAFFIC), network::TRAFFIC.what),
        Key::needed("network-dns", Shape::Map(&network::DNS), network::DNS.what),
        Key::needed("network-clock", Shape::Map(&network::CLOCK), network::CLOCK.what),
        Key::needed("network-dhcp", Shape::Map(&network::DHCP), network::DHCP.what),
        Key::needed("network-portal", Shape::Map(&network::PORTAL), network::PORTAL.what),
        Key::needed("network-capture", Shape::Map(&network::CAPTURE_STEP), network::CAPTURE_STEP.what),
        Key::needed("cloud", Shape::Map(&cloud::CLOUD), cloud::CLOUD.what),
        Key::needed("prompt", Shape::Map(&prompt::PROMPT), prompt::PROMPT.what),
        Key::needed("cloud-expect", Shape::Map(&cloud::EXPECT), cloud::EXPECT.what),
        Key::needed("cloud-refrain", Shape::Map(&cloud::REFRAIN), cloud::REFRAIN.what),
        Key::needed("cloud-publish", Shape::Map(&cloud::PUBLISH), cloud::PUBLISH.what),
        Key::needed("cloud-offer", Shape::Map(&cloud::OFFER), cloud::OFFER.what),
        Key::needed("cloud-attempts", Shape::Map(&cloud::ATTEMPTS), cloud::ATTEMPTS.what),
        Key::needed("cloud-intervals", Shape::Map(&cloud::INTERVALS), cloud::INTERVALS.what),
        Key::needed("api-request", Shape::Map(&api::REQUEST), api::REQUEST.what),
        Key::needed("api-scan", Shape::Map(&api::SCAN), api::SCAN.what),
        Key::needed("api-mdns", Shape::Map(&api::MDNS), api::MDNS.what),
        Key::needed("time-to", Shape::Map(&reconnect::TIME_TO), reconnect::TIME_TO.what),
        Key::needed("restart-phase", Shape::Map(&reconnect::PHASE), reconnect::PHASE.what),
        Key::needed("back-off", Shape::Map(&reconnect::BACK_OFF), reconnect::BACK_OFF.what),
        Key::needed("intervals-differ", Shape::Map(&reconnect::DIFFER), reconnect::DIFFER.what),
        Key::needed("fleet", Shape::Map(&reconnect::FLEET), reconnect::FLEET.what),
        Key::needed("wait", Shape::Map(&WAIT), WAIT.what),
        Key::needed("do", Shape::Map(&DO), DO.what),
        Key::needed("check", Shape::Map(&CHECK), CHECK.what),
        Key::needed("measure", Shape::Map(&MEASURE), MEASURE.what),
        Key::needed("retry", Shape::Map(&RETRY), RETRY.what),
        Key::needed("power-cut-search", Shape::Map(&POWER_CUT_SEARCH), POWER_CUT_SEARCH.what),
    ],
};

static POWER: Keys = Keys::new(
    "power",
    "Switches a supply.",
    &[SUPPLY, Key::needed("state", Shape::Word(STATE), "What the supply is switched to.")],
);
static POWER_CYCLE: Keys = Keys::new(
    "power-cycle",
    "Takes the power away for a time.",
    &[SUPPLY, Key::needed("down-for", Shape::Duration(MILLISECOND, DAY), "Time without power.")],
);
static PRESS: Keys = Keys::new(
    "press",
    "Holds a button down for a time.",
    &[BUTTON, Key::needed("hold", Shape::Duration(MILLISECOND, DAY), "How long.")],
);
static SEND: Keys = Keys::new(
    "send",
    "Sends bytes to a console.",
    &[
        CONSOLE,
        Key::optional("line", Shape::Template, "Text; a line feed is added."),
        Key::optional("text", Shape::Template, "Text as it stands."),
        Key::optional("bytes", Shape::Bytes, "Bytes."),
    ],
)
.groups(&[Group { keys: &["line", "text", "bytes"], needed: true }]);
static EXPECT: Keys = Keys::new(
    "expect",
    "Waits until something appears on a console. Captures `(?<name>...)` become values for later steps.",
    &[
        CONSOLE,
        Key::needed("pattern", Shape::Pattern, "What must appear."),
        WITHIN,
        REFUSED,
        SILENT,
        Key::optional(
            "proves",
            Shape::Line,
            "What a match proves about the steps before: `the cut hit the update`. The step then judges the bench and not the device, and without a match the case is inconclusive, `NO-WITNESS`.",
        ),
        REASON,
        MEANING,
    ],
)
.groups(&[
    Group { keys: &["proves", "refused"], needed: false },
    Group { keys: &["proves", "silence"], needed: false },
    Group { keys: &["proves", "reason"], needed: false },
]);
static REFRAIN: Keys = Keys::new(
    "refrain",
    "Watches a console for something that must not appear.",
    &[
        CONSOLE,
        Key::needed("pattern", Shape::Pattern, "What must not appear."),
        Key::needed("during", Shape::Within, "For how long."),
        REASON_NEEDED,
        MEANING,
    ],
);
static SEND_IMAGE: Keys = Keys::new(
    "send-image",
    "Sends an image in chunks, each acknowledged by the device.",
    &[
        CONSOLE,
        Key::needed("image", Shape::Template, "Image of the device profile or altered image of the plan."),
        Key::needed("chunk", Shape::Integer(1, 65536), "Bytes per chunk; the last one may be shorter."),
        Key::needed("ack", Shape::Pattern, "What the device answers to each chunk."),
        Key::needed("within", Shape::Within, "Time for each acknowledgement."),
        REFUSED,
    ],
);
static FLASH: Keys = Keys::new(
    "flash",
    "Writes images through the debug probe, verifies and resets the device.",
    &[
        PROBE,
        Key::needed(
            "images",
            Shape::List(&Shape::Name, 1),
            "Images that have an address, of the device profile or altered by the plan.",
        ),
        Key::optional("erase-all", Shape::Flag, "Erase the whole device first, configuration words included. Default: false."),
        Key::optional(
            "destructive",
            Shape::Flag,
            "Must be true beside `erase-all: true`: everything on the device is lost. The rig has to be `sacrificial: true`.",
        ),
    ],
);
static RESET: Keys = Keys::new("reset", "Resets the device through the debug probe.", &[PROBE]);
static READ_MEMORY: Keys = Keys::new(
    "read-memory",
    "Reads memory through the debug probe.",
    &[
        PROBE,
        Key::needed("address", Shape::Address, "First address."),
        Key::needed("length", Shape::Integer(1, 1 << 20), "Bytes."),
        Key::optional("expect", Shape::Word(READABLE), "What must happen. Without it, what happens is recorded and not judged."),
        Key::optional(
            "holds",
            Shape::Pattern,
            "Must be found in the bytes: the positive control of a search. Without it there the step is inconclusive.",
        ),
        Key::optional(
            "lacks",
            Shape::Pattern,
            "Must not be found in the bytes. If they cannot be read the step is inconclusive.",
        ),
        REASON,
        MEANING,
    ],
);
static WAIT: Keys = Keys::new(
    "wait",
    "Lets time pass. Wait for something observable instead where that is possible.",
    &[Key::needed("time", Shape::Within, "How long.")],
);
static DO: Keys = Keys::new(
    "do",
    "Runs a procedure of the device profile. What it returns becomes values for later steps.",
    &[
        Key::needed("procedure", Shape::Name, "The procedure."),
        Key::optional("with", Shape::Named(&Shape::Template), "Its parameters."),
        Key::optional("expect", Shape::Word(OUTCOME), "Which outcome passes. Default: done."),
        SILENT,
        REASON,
        MEANING,
    ],
);
static CHECK: Keys = Keys::new(
    "check",
    "Compares a value.",
    &[
        Key::needed(
            "that",
            Shape::ValueName,
            "Name of the value: a capture, or `declared.NAME`, `image.ROLE.version`, `image.ROLE.length`.",
        ),
        Key::optional("equals", Shape::Template, "It must be this text."),
        Key::optional("differs", Shape::Template, "It must be another text."),
        Key::optional("matches", Shape::Pattern, "All of it must match."),
        REASON_NEEDED,
        MEANING,
    ],
)
.groups(&[Group { keys: &["equals", "differs", "matches"], needed: true }]);
static MEASURE: Keys = Keys::new(
    "measure",
    "Measures the time that steps take and holds it against a limit.",
    &[
        Key::needed("name", Shape::Name, "Name of the measurement."),
        Key::needed("at-most", Shape::Within, "Longest good time."),
        REASON_NEEDED,
        MEANING,
        Key::needed("steps", STEPS, "What is measured."),
    ],
);
static RETRY: Keys = Keys::new(
    "retry",
    "Tries steps again until they pass. Every attempt stays visible in the results.",
    &[
        Key::needed("attempts", Shape::Integer(2, 100), "Attempts in all."),
        Key::needed("pause", Shape::Duration(Duration::ZERO, DAY), "Time between attempts."),
        Key::needed("steps", STEPS, "The steps."),
    ],
);
static POWER_CUT_SEARCH: Keys = Keys::new(
    "power-cut-search",
    "Runs steps once, then cuts the power before, inside and after every flash operation in them, and judges what the device does. \
     Needs `interruption:` in the device profile and a supply that sees flash operations.",
    &[
        SUPPLY,
        Key::needed("old", Shape::Name, "Image that runs before."),
        Key::needed("new", Shape::Name, "Image that the steps install."),
        Key::optional("torn", Shape::Integer(0, 64), "Half-done variants of each operation. Default: 2."),
        Key::optional("second", Shape::Integer(0, 64), "Second cuts during the recovery from each first. Default: 0."),
        Key::optional(
            "settings",
            Shape::Name,
            "Procedure in place of that of `interruption:`. Its value must be the same before and after every cut.",
        ),
        Key::optional("reason", Shape::ReasonCode, "Reason code when that value is another. Default: `SETTINGS-LOST`."),
        MEANING,
        Key::needed("during", STEPS, "The operation that is interrupted."),
    ],
);

/// Shortest and longest timeout of a case or plan.
pub const TIMEOUT: Shape = Shape::Duration(SECOND, DAY);
