//! How rigs and device profiles are written.

use std::time::Duration;

use super::golden::GOLDEN;
use super::usb;
use crate::{
    document::{Group, Key, Keys, OneOf, Shape, Word},
    step::keys::STEPS,
};

/// A rig file.
pub static RIG: Keys = Keys::new(
    "rig",
    "A rig is one bench: the device on it, how each of the device's channels is reached, and the state in which everybody can walk away.",
    &[
        Key::needed("schema", Shape::Exactly("rig/1"), "Kind and version of the file, `rig/1`; by custom the first line."),
        Key::needed("name", Shape::Name, "Name of the rig."),
        Key::optional("title", Shape::Line, "What it is, for people."),
        Key::needed("device", Shape::Path, "Device profile."),
        Key::optional("virtual", Shape::Map(&VIRTUAL), VIRTUAL.what),
        Key::optional("virtual-hub", Shape::Map(&VIRTUAL_HUB), VIRTUAL_HUB.what),
        Key::optional(
            "sacrificial",
            Shape::Flag,
            "Whether the unit on this rig may lose everything on it. Only then may steps erase the whole device. Default: false.",
        ),
        Key::optional(
            "images",
            Shape::Named(&Shape::Map(&OVERRIDE)),
            "Images that this rig uses in place of those of the device profile, by their names there.",
        ),
        Key::needed("channels", Shape::Named(&Shape::Map(&CHANNEL)), "The channels of the device profile that this rig has."),
        Key::needed(
            "safe-state",
            Shape::List(&Shape::One(safe_action), 0),
            "What is done on every exit, in this order. Every supply, button and network must be in it.",
        ),
        Key::optional(
            "device-time",
            Shape::Line,
            "For a device that another program simulates in real time: file, by its whole path, in which that program tells how long the device has lived, as twice the same number of nanoseconds, at least every 50 ms. The bench's clock follows it, so that a busy machine makes no device late.",
        ),
        Key::optional(
            "safe-state-timeout",
            Shape::Duration(Duration::from_millis(100), Duration::from_mins(10)),
            "Time for each action of the safe state. Default: 10s.",
        ),
    ],
)
.groups(&[Group { keys: &["virtual", "virtual-hub"], needed: false }]);

static VIRTUAL_HUB: Keys = Keys::new(
    "virtual-hub",
    "The device is the smart hub, which runs in this process on an address of its own (127.x.y.z). `{bench}` stands for that address in the parameters of the channels, `{other}` for a second one, `{device}` for that of the hub itself, where its local API is, and `{certificate}` for the SHA-256 of the API's certificate.",
    &[
        Key::optional("seed", Shape::Integer(0, i64::MAX), "Seed of everything random in the device. Default: 1."),
        Key::optional("flaw", Shape::Word(HUB_FLAWS), "The one thing that this hub does wrong, or otherwise. Default: nothing."),
        Key::optional(
            "bench-fault",
            Shape::Word(HUB_BENCH_FAULTS),
            "What is broken on this bench: for proving that a broken bench says nothing about its device (`hilbench prove`).",
        ),
    ],
);

const HUB_FLAWS: &[Word] = &[
    Word { word: "fixed-retry", what: "Tries again after the same time, always." },
    Word { word: "kick-storm", what: "Tries again at once when it was closed after CONNACK." },
    Word { word: "same-seed", what: "Draws the same delays after every start." },
    Word { word: "any-name", what: "Does not compare the name in the certificate." },
    Word { word: "no-clock-no-check", what: "Takes any certificate while its clock is not set." },
    Word { word: "any-certificate", what: "Takes any certificate." },
    Word { word: "reboot-offline", what: "Starts anew when it has been without its service for some seconds." },
    Word { word: "reboot-any-time", what: "The same at times that it draws anew for each start: harmless where a restart is." },
    Word { word: "open-offline", what: "Lets anybody in while it is without its service." },
    Word { word: "forgets-events", what: "Forgets what happens while it is without its service." },
    Word { word: "needs-service", what: "Its lamp waits for the service." },
    Word { word: "half-open", what: "Does not notice that the other side has fallen silent." },
    Word { word: "gives-up", what: "Never tries again after it was refused a few times." },
    Word { word: "reset-keeps-pin", what: "A factory reset leaves the PIN." },
    Word { word: "reset-keeps-network", what: "A factory reset leaves what the hub joins its network with." },
    Word { word: "reset-keeps-token", what: "A factory reset leaves sessions." },
    Word { word: "reset-early-ok", what: "A factory reset is confirmed before anything is erased." },
    Word { word: "reset-in-two-steps", what: "A factory reset erases settings first and the PIN afterwards." },
    Word { word: "reset-old-image", what: "A factory reset brings back the version of delivery." },
    Word { word: "reset-unauthenticated", what: "The command for a factory reset needs no login." },
    Word { word: "short-gesture", what: "The button needs to be held only half as long as declared." },
    Word { word: "signature-ignored", what: "An update is installed whatever its signature and digest are." },
    Word { word: "any-product", what: "An update for another product is installed." },
    Word { word: "no-counter-check", what: "The security counter of an update is not compared." },
    Word { word: "counter-early", what: "The security counter is raised before the confirmation." },
    Word { word: "no-revert", what: "An update stays without confirmation." },
    Word { word: "resume-unchecked", what: "A download that was resumed is not checked again." },
    Word { word: "length-unchecked", what: "An update is written however long it is." },
    Word { word: "portal-image", what: "Without HTTPS an update is fetched over HTTP, and installed whatever it is." },
    Word { word: "follows-redirect", what: "A redirection to plain HTTP is followed." },
    Word { word: "confirm-open", what: "An update can be confirmed without login." },
    Word { word: "download-hangs", what: "A download is waited for, however long nothing comes." },
    Word { word: "api-open", what: "The local API tells the settings without a login." },
    Word { word: "login-unlimited", what: "The local API takes any number of PINs." },
    Word { word: "setup-open", what: "Set-up over the local API stays open once the hub is set up." },
    Word { word: "debug-port", what: "A debug port that is not declared is open." },
    Word { word: "status-secret", what: "The status, which anybody may read, holds what the hub joins its network with." },
    Word { word: "mdns-secret", what: "The hub announces by mDNS what it joins its network with." },
    Word { word: "logout-keeps-token", what: "A logout leaves the session's token valid." },
    Word { word: "slow-reconnect", what: "Waits longer between attempts to connect, but no longer than declared: harmless." },
];

static VIRTUAL: Keys = Keys::new(
    "virtual",
    "The device is emulated in this process.",
    &[
        Key::needed("chip", Shape::Line, "Microcontroller, `nRF51822_xxAA`."),
        Key::optional("seed", Shape::Integer(0, i64::MAX), "Seed of everything random in the device. Default: 1."),
        Key::optional(
            "verify-entry",
            Shape::Address,
            "Entry address of the firmware's signature check; power-cut searches then answer repeated checks from memory.",
        ),
        Key::optional(
            "bench-fault",
            Shape::Word(BENCH_FAULTS),
            "What is broken on this bench: for proving that a broken bench says nothing about its device (`hilbench prove`).",
        ),
    ],
);

const HUB_BENCH_FAULTS: &[Word] =
    &[Word { word: "restarted-service", what: "A service of MQTT that is told to freeze is started anew instead." }];

const BENCH_FAULTS: &[Word] = &[
    Word { word: "welded", what: "The supply's relay stays closed once it was." },
    Word { word: "blind-supply", what: "The supply switches, and its read-back is not wired." },
    Word { word: "open-button", what: "The button's wire is off." },
    Word { word: "open-probe", what: "The probe's wire comes off once the device has been written." },
    Word { word: "slow-supply", what: "The supply says that it is down, and its rail holds for two seconds more." },
    Word {
        word: "wrong-region",
        what: "The probe reads the first 16 KiB of flash again and again, whatever address it is given.",
    },
    Word {
        word: "misplaced-image",
        what: "What the probe writes without erasing everything lands 40 KiB further on, as with a wrong address in the profile.",
    },
];

static OVERRIDE: Keys = Keys::new(
    "replaced image",
    "An image in place of one of the device profile; what is not given stays.",
    &[
        Key::needed("file", Shape::Path, "File with the bytes."),
        Key::optional("sha256", Shape::Sha256, "Digest that the file must have."),
    ],
);

/// A channel: its driver, and that driver's own parameters.
static CHANNEL: Keys = Keys {
    name: "channel",
    what: "How a channel is reached. All other keys are parameters of the driver; every console also has `powered-by`, the supply channel \
           that feeds it, and `returns-within`, how long it may take to come back when it vanished (default 10s; 0s: never).",
    keys: &[Key::needed("driver", Shape::Name, "Driver that opens it.")],
    groups: &[],
    others: Some(&Shape::Line),
};

fn safe_action() -> &'static OneOf {
    &SAFE_ACTION
}

static SAFE_ACTION: OneOf = OneOf {
    name: "safe action",
    what: "One action towards the safe state: a map with exactly one key.",
    choices: &[
        Key::needed("power", Shape::Map(&SAFE_POWER), SAFE_POWER.what),
        Key::needed("release", Shape::Map(&SAFE_RELEASE), SAFE_RELEASE.what),
        Key::needed("restore", Shape::Map(&SAFE_RESTORE), SAFE_RESTORE.what),
    ],
};
static SAFE_POWER: Keys = Keys::new(
    "safe power",
    "Switches a supply.",
    &[
        Key::needed("channel", Shape::Name, "Supply channel."),
        Key::needed(
            "state",
            Shape::Word(&[Word { word: "up", what: "Powered." }, Word { word: "down", what: "Without power." }]),
            "What it is switched to.",
        ),
    ],
);
static SAFE_RELEASE: Keys =
    Keys::new("safe release", "Releases a button.", &[Key::needed("channel", Shape::Name, "Button channel.")]);
static SAFE_RESTORE: Keys =
    Keys::new("safe restore", "Ends every disturbance of a network.", &[Key::needed("channel", Shape::Name, "Network channel.")]);

/// A device profile.
pub static DEVICE: Keys = Keys::new(
    "device",
    "A device profile describes one product: its channels, the values its maker declares, its images, and how common operations are done on it. \
     Plans name only what stands here, so one profile makes all plans usable.",
    &[
        Key::needed("schema", Shape::Exactly("device/1"), "Kind and version of the file, `device/1`; by custom the first line."),
        Key::needed("name", Shape::Name, "Name of the product."),
        Key::optional("title", Shape::Line, "What it is, for people."),
        Key::needed("channels", Shape::Named(&Shape::Word(KINDS)), "Channels that the product has, and their kinds."),
        Key::optional(
            "declared",
            Shape::Named(&Shape::Line),
            "Values that the maker declares (IXIT) and verdicts are measured against: `recovery-time: 10s`.",
        ),
        Key::optional("images", Shape::Named(&Shape::Map(&IMAGE)), "Firmware images by name."),
        Key::optional("layout", Shape::Named(&Shape::Map(&REGION)), "Regions of an image file, for plans that alter images."),
        Key::optional("procedures", Shape::Named(&Shape::Map(&PROCEDURE)), "How common operations are done."),
        Key::optional("interruption", Shape::Map(&INTERRUPTION), INTERRUPTION.what),
        GOLDEN,
        Key::optional("ble", Shape::Map(&super::ble::BLE), super::ble::BLE.what),
        Key::optional(
            "usb",
            Shape::Named(&Shape::Map(&usb::PORT)),
            "What the device shows on its USB ports, by their channels: what is not declared here is a finding.",
        ),
    ],
);

const KINDS: &[Word] = &[
    Word { word: "console", what: "A byte stream, such as a serial console." },
    Word { word: "supply", what: "The power supply." },
    Word { word: "button", what: "A button or strap." },
    Word { word: "probe", what: "The debug port." },
    Word { word: "usb", what: "A USB port of the device." },
    Word { word: "ble", what: "Bluetooth Low Energy." },
    Word { word: "network", what: "The device's network." },
    Word { word: "cloud", what: "The services that the device talks to." },
    Word { word: "api", what: "What the device offers on its own network." },
];

static IMAGE: Keys = Keys::new(
    "image",
    "A firmware image.",
    &[
        Key::needed("file", Shape::Path, "File with the bytes."),
        Key::optional("address", Shape::Address, "Flash address; needed if a debug probe writes it."),
        Key::optional("version", Shape::Line, "Version that the device reports when it runs this image."),
        Key::optional("sha256", Shape::Sha256, "Digest that the file must have."),
    ],
);

static REGION: Keys = Keys::new(
    "region",
    "A part of an image file.",
    &[
        Key::needed(
            "from",
            Shape::Integer(i32::MIN as i64, i32::MAX as i64),
            "First byte; negative counts from the end of the file.",
        ),
        Key::optional(
            "to",
            Shape::Integer(i32::MIN as i64, i32::MAX as i64),
            "Byte after the last; negative counts from the end. Default: the end of the file.",
        ),
    ],
);

static PROCEDURE: Keys = Keys::new(
    "procedure",
    "How an operation is done on this product.",
    &[
        Key::optional("title", Shape::Line, "What it does, for people."),
        Key::optional(
            "parameters",
            Shape::List(&Shape::Variable, 0),
            "Values that the caller gives; steps use them as `${name}`.",
        ),
        Key::optional("returns", Shape::List(&Shape::Variable, 0), "Captures that the caller may use afterwards."),
        Key::needed("steps", STEPS, "What is done."),
        Key::optional("outcome", Shape::Map(&OUTCOME), OUTCOME.what),
    ],
);

static OUTCOME: Keys = Keys::new(
    "outcome",
    "How the end of the procedure is recognised, whichever appears first. Without it, it is done when its steps have passed.",
    &[
        Key::needed("channel", Shape::Name, "Console channel."),
        Key::needed("within", Shape::Within, "By when, counted from the last step."),
        Key::needed("done", Shape::Pattern, "It did what it is for."),
        Key::optional("refused", Shape::Pattern, "The device refused."),
        Key::optional("then", Shape::Pattern, "What must also appear afterwards, whatever the outcome: the device is up again."),
    ],
);

static INTERRUPTION: Keys = Keys::new(
    "interruption",
    "How a power-cut search questions the device after each cut. The procedures may hold only `send`, `expect`, `send-image` and `do`.",
    &[
        Key::needed("channel", Shape::Name, "Console channel."),
        Key::needed("ready", Shape::Pattern, "Appears when the device is up; captures `version`."),
        Key::needed("recovery", Shape::Within, "Time from power-on to `ready` without any input."),
        Key::needed("settings", Shape::Name, "Procedure whose last pattern captures `value`: the settings."),
        Key::needed("counter", Shape::Name, "Procedure whose last pattern captures `value`: the security counter."),
        Key::needed("confirm", Shape::Name, "Procedure that makes the running image permanent."),
        Key::needed("update", Shape::Name, "Procedure that installs an image; its parameter is `image`."),
    ],
);
