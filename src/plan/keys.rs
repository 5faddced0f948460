//! How plans are written.

use crate::{
    document::{Group, Key, Keys, Shape},
    step::keys::{OPTIONAL_STEPS, STEPS, TIMEOUT},
};

/// A test plan.
pub static PLAN: Keys = Keys::new(
    "plan",
    "A test plan says what is tested. It names channels, procedures and images of the device profile, never hardware, so it runs on every rig that has what it needs.",
    &[
        Key::needed(
            "schema",
            Shape::Exactly("testplan/1"),
            "Kind and version of the file, `testplan/1`; by custom the first line.",
        ),
        Key::needed("name", Shape::Name, "Name of the plan."),
        Key::needed("title", Shape::Line, "What it tests, for people."),
        Key::needed(
            "requires",
            Shape::List(&Shape::Name, 0),
            "Channels that every case needs. On a rig without one of them no case is applicable.",
        ),
        Key::needed("timeout", TIMEOUT, "Time for the whole run."),
        Key::optional("images", Shape::Named(&Shape::Map(&ALTERED)), "Images made from genuine ones by a declared change."),
        Key::optional(
            "before-each",
            OPTIONAL_STEPS,
            "Steps before each case, which bring the device into the state the cases start from.",
        ),
        Key::needed("cases", Shape::List(&Shape::Map(&CASE), 1), "The cases, in order."),
        Key::optional("finally", OPTIONAL_STEPS, "Steps after the last case, whatever happened; before the rig's safe state."),
    ],
);

static ALTERED: Keys = Keys::new(
    "altered image",
    "An image whose bytes differ from a genuine one in the declared place only.",
    &[
        Key::needed("from", Shape::Name, "Image of the device profile."),
        Key::optional(
            "address",
            Shape::Address,
            "Flash address, for a debug probe. Default: that of the image that it is made from.",
        ),
        Key::optional("flip-bit", Shape::Map(&FLIP_BIT), FLIP_BIT.what),
        Key::optional("replace", Shape::Map(&REPLACE), REPLACE.what),
        Key::optional("truncate", Shape::Map(&TRUNCATE), TRUNCATE.what),
    ],
)
.groups(&[Group { keys: &["flip-bit", "replace", "truncate"], needed: true }]);

const REGION: Key = Key::needed("region", Shape::Name, "Region of the profile's `layout`.");
const AT: Key = Key::needed(
    "at",
    Shape::Integer(-(1 << 31), 1 << 31),
    "First byte, counted from the start of the region; negative from its end, -1 is its last.",
);

static FLIP_BIT: Keys = Keys::new(
    "flip-bit",
    "One bit inverted.",
    &[REGION, AT, Key::optional("bit", Shape::Integer(0, 7), "Bit of that byte. Default: 0.")],
);
static REPLACE: Keys = Keys::new(
    "replace",
    "Bytes replaced by others.",
    &[
        REGION,
        AT,
        Key::needed("bytes", Shape::Bytes, "The new bytes."),
        Key::optional("repeat", Shape::Integer(1, 1 << 20), "How many times the new bytes follow each other. Default: 1."),
    ],
);
static TRUNCATE: Keys = Keys::new(
    "truncate",
    "The end is missing.",
    &[
        Key::optional("keep", Shape::Percent, "How much of the image is kept."),
        Key::optional("drop", Shape::Integer(1, 1 << 31), "How many bytes are missing."),
    ],
)
.groups(&[Group { keys: &["keep", "drop"], needed: true }]);

static CASE: Keys = Keys::new(
    "case",
    "One case: steps in order; the first that does not pass ends it.",
    &[
        Key::needed("id", Shape::Name, "Identity within the plan."),
        Key::needed("title", Shape::Line, "What it shows, for people."),
        Key::needed("assesses", Shape::List(&Shape::Line, 0), "Test cases of TS 103 701 that it gives evidence for, `5.3-2-2`."),
        Key::optional(
            "requires",
            Shape::List(&Shape::Name, 0),
            "Channels that this case needs besides those of the plan. On a rig without them it is not applicable.",
        ),
        Key::needed("timeout", TIMEOUT, "Time for all its steps, those of `before-each` included."),
        Key::needed("steps", STEPS, "The steps."),
    ],
);
