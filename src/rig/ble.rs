//! What a device profile declares of the product's Bluetooth Low Energy side.

use crate::{
    channel::ble::{CharacteristicId, uuid},
    diagnostic::{Code, Diagnostic, Report},
    document::{Key, Keys, Map, Shape, Value, Word},
};

/// The declared services.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declared {
    /// Services, each once.
    pub services: Vec<DeclaredService>,
}

/// A service that the product is meant to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredService {
    /// UUID.
    pub uuid: String,
    /// What it is for.
    pub what: String,
    /// Its characteristics.
    pub characteristics: Vec<DeclaredCharacteristic>,
}

/// A characteristic that the product is meant to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredCharacteristic {
    /// UUID.
    pub uuid: String,
    /// What can be done with it: `read`, `write`, `notify` ... as in [`Characteristic::access`](crate::channel::ble::Characteristic::access).
    pub access: Vec<String>,
    /// Whether that needs a link whose other side was authenticated.
    pub authenticated: bool,
}

impl Declared {
    /// What needs authentication.
    pub fn authenticated(&self) -> impl Iterator<Item = (CharacteristicId, &DeclaredCharacteristic)> {
        self.services.iter().flat_map(|service| {
            let own = service.characteristics.iter().filter(|characteristic| characteristic.authenticated);
            own.map(|own| (CharacteristicId { service: Some(service.uuid.clone()), uuid: own.uuid.clone() }, own))
        })
    }
}

/// The section `ble` of a device profile.
pub static BLE: Keys = Keys::new(
    "ble",
    "What the product offers over Bluetooth Low Energy. Everything else that it offers is a finding of `ble-services`; the services 1800 and 1801, \
     which every device has, need not be given.",
    &[Key::needed("services", Shape::List(&Shape::Map(&SERVICE), 0), "Its services.")],
);

static SERVICE: Keys = Keys::new(
    "service",
    "A service.",
    &[
        Key::needed("uuid", Shape::Line, "UUID in full, or 4 hex digits of an assigned one in quotes."),
        Key::needed("what", Shape::Line, "What it is for."),
        Key::needed("characteristics", Shape::List(&Shape::Map(&CHARACTERISTIC), 0), "Its characteristics."),
    ],
);

static CHARACTERISTIC: Keys = Keys::new(
    "characteristic",
    "A characteristic.",
    &[
        Key::needed("uuid", Shape::Line, "UUID in full, or 4 hex digits of an assigned one in quotes."),
        Key::optional("what", Shape::Line, "What it is for."),
        Key::needed("access", Shape::List(&Shape::Word(ACCESS), 1), "What can be done with it."),
        Key::optional(
            "authenticated",
            Shape::Flag,
            "Whether that needs an authenticated link: a pairing that somebody has confirmed or a key that was exchanged otherwise. Pairing \
             that just works does not count. Default: false.",
        ),
    ],
);

const ACCESS: &[Word] = &[
    Word { word: "read", what: "Read." },
    Word { word: "write", what: "Written, with an acknowledgement." },
    Word { word: "write-without-response", what: "Written without an acknowledgement." },
    Word { word: "notify", what: "It notifies." },
    Word { word: "indicate", what: "It indicates: notifies with an acknowledgement." },
    Word { word: "broadcast", what: "It is broadcast." },
    Word { word: "authenticated-signed-writes", what: "Written with a signature." },
];

fn own_uuid(map: &Map, report: &mut Report) -> String {
    let text = map.text("uuid");
    match (uuid(text), map.get("uuid")) {
        (Some(uuid), _) => uuid,
        (None, Some(value)) if !text.is_empty() => {
            report.push(
                Diagnostic::new(Code::BadBytes, value.place.clone(), format!("`{text}` is not a UUID"))
                    .help("write it in full, `6c616200-0000-1000-8000-00805f9b34fb`, or 4 hex digits in quotes"),
            );
            String::new()
        }
        _ => String::new(),
    }
}

/// Reports what is declared twice.
fn once(values: &[Value], report: &mut Report) {
    let mut seen: Vec<(String, &Value)> = Vec::new();
    for value in values {
        let (Some(place), Some(uuid)) = (value.map().get("uuid"), uuid(value.map().text("uuid"))) else { continue };
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == uuid) {
            let message = format!("`{}` is declared twice", place.text());
            report.push(
                Diagnostic::new(Code::DuplicateName, place.place.clone(), message)
                    .related(first.place.clone(), "first declared here")
                    .help("remove one of the two"),
            );
        } else {
            seen.push((uuid, place));
        }
    }
}

/// The section as a model; what is wrong goes to `report`.
pub(super) fn declared(map: &Map, report: &mut Report) -> Declared {
    once(map.list("services"), report);
    let services = map.list("services").iter().map(|value| {
        let map = value.map();
        once(map.list("characteristics"), report);
        let characteristics = map.list("characteristics").iter().map(|value| {
            let map = value.map();
            DeclaredCharacteristic {
                uuid: own_uuid(map, report),
                access: map.strings("access"),
                authenticated: map.flag("authenticated"),
            }
        });
        let characteristics = characteristics.collect();
        DeclaredService { uuid: own_uuid(map, report), what: map.string("what"), characteristics }
    });
    Declared { services: services.collect() }
}
