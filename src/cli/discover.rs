//! `hilbench discover`.

mod draft;

use std::{fmt::Write as _, path::Path, time::Duration};

use super::{Exit, arguments, arguments::MessageFormat, complain, out};
use crate::{
    driver::discover::{Instrument, Kind, fingerprint, instruments},
    run::lease::{self, Held},
    view::sanitise::{json, line},
};

/// How often `--watch` looks whether anything has come or gone.
const PERIOD: Duration = Duration::from_millis(200);
/// After how many looks it looks at everything anyway: permissions and other programs change without a trace on the bus.
const THOROUGH: u32 = 10;

/// An instrument and who has leased it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    instrument: Instrument,
    held: Option<String>,
}

pub(super) fn discover(arguments: &arguments::Discover) -> Exit {
    let leases = lease::directory(&arguments.store.store);
    let mut known = look(&leases);
    for seen in &known {
        tell(Event::There, seen, arguments.message_format);
    }
    if known.is_empty() && arguments.message_format == MessageFormat::Human {
        complain("no instrument is there: no serial port with hardware behind it, no debug probe, no USB device, no adapter");
    }
    if let Some(path) = &arguments.write {
        let found: Vec<_> = known.iter().map(|seen| seen.instrument.clone()).collect();
        match draft::write(path, arguments.device.as_deref(), &found) {
            Ok(remarks) => remarks.iter().for_each(|remark| complain(&line(remark, 300))),
            Err(problem) => {
                complain(&format!("error: {}", crate::diagnostic::sanitise(&problem)));
                return Exit::InvalidInput;
            }
        }
    }
    if !arguments.watch {
        return Exit::Pass;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::BenchError;
        }
    };
    runtime.block_on(async {
        let (mut print, mut held, mut looks) = (fingerprint(Path::new("/sys")), lease::held(&leases).unwrap_or_default(), 0);
        loop {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return Exit::Pass,
                () = tokio::time::sleep(PERIOD) => {}
            }
            looks += 1;
            let (print_now, held_now) = (fingerprint(Path::new("/sys")), lease::held(&leases).unwrap_or_default());
            if print_now == print && held_now == held && looks % THOROUGH != 0 {
                continue;
            }
            (print, held) = (print_now, held_now);
            let now = look(&leases);
            changes(&known, &now).into_iter().for_each(|(event, seen)| tell(event, seen, arguments.message_format));
            known = now;
        }
    })
}

/// Everything that is there now.
fn look(leases: &Path) -> Vec<Seen> {
    let held = lease::held(leases).unwrap_or_default();
    let found = instruments(Path::new("/sys"), Path::new("/dev"), Path::new("/proc"));
    found.into_iter().map(|instrument| Seen { held: holder(&instrument, &held), instrument }).collect()
}

/// Who has leased an instrument, or a port of the hub.
fn holder(instrument: &Instrument, held: &Held) -> Option<String> {
    let of_hub = format!("of USB hub {}", instrument.place);
    let names = held.instruments.iter().chain(&held.guarded).map(|(name, _)| name);
    let own =
        |name: &&String| instrument.lease.as_ref() == Some(*name) || instrument.kind == Kind::Hub && name.ends_with(&of_hub);
    names.filter(own).find_map(|name| held.of(name))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    There,
    New,
    Gone,
    /// Its holder, or what is in the way of opening it.
    Changed,
}

/// What is told between two looks.
fn changes<'a>(before: &'a [Seen], now: &'a [Seen]) -> Vec<(Event, &'a Seen)> {
    let same = |a: &Seen, b: &Seen| a.instrument.identity == b.instrument.identity && a.instrument.place == b.instrument.place;
    let gone = before.iter().filter(|old| !now.iter().any(|new| same(old, new))).map(|gone| (Event::Gone, gone));
    let others = now.iter().filter_map(|new| match before.iter().find(|old| same(old, new)) {
        None => Some((Event::New, new)),
        Some(old) if old != new => Some((Event::Changed, new)),
        Some(_) => None,
    });
    gone.chain(others).collect()
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Serial => "serial",
        Kind::Probe => "probe",
        Kind::Gpio => "gpio",
        Kind::Bluetooth => "bluetooth",
        Kind::Network => "network",
        Kind::Usbtmc => "usbtmc",
        Kind::HidRelay => "hid-relay",
        Kind::Hub => "hub",
        Kind::Usb => "usb",
    }
}

fn tell(event: Event, seen: &Seen, format: MessageFormat) {
    out(&match format {
        MessageFormat::Human => human(event, seen),
        MessageFormat::Json => as_json(event, seen),
    });
}

fn as_json(event: Event, Seen { instrument, held }: &Seen) -> String {
    let Instrument { kind, identity, place, name, problem, rig, .. } = instrument;
    let parameters = rig.as_ref().map(|(driver, parameters)| {
        let mut map: serde_json::Map<_, _> =
            parameters.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
        map.insert("driver".to_owned(), (*driver).into());
        map
    });
    let event = match event {
        Event::There => "there",
        Event::New => "new",
        Event::Gone => "gone",
        Event::Changed => "changed",
    };
    let object = serde_json::json!({
        "event": event, "kind": word(*kind), "identity": identity, "place": place, "name": name, "problem": problem, "held": held,
        "rig": parameters,
    });
    format!("{}\n", json(&object.to_string()))
}

fn human(event: Event, Seen { instrument, held }: &Seen) -> String {
    let Instrument { kind, identity, place, name, problem, .. } = instrument;
    let sign = match event {
        Event::There => "",
        Event::New => "+ ",
        Event::Gone => "- ",
        Event::Changed => "~ ",
    };
    let name = name.as_deref().map(|name| format!("  {}", line(name, 60))).unwrap_or_default();
    let mut text = format!("{sign}{:<9} {:<14} {}{name}\n", word(*kind), line(place, 40), line(identity, 100));
    // What was in the way of one that is gone is of no use.
    if event != Event::Gone {
        for below in held.iter().chain(problem) {
            let _ = writeln!(text, "{:10}{}", "", line(below, 400));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::lease::Holder;

    fn seen(identity: &str, place: &str, problem: Option<&str>, held: Option<&str>) -> Seen {
        let instrument = Instrument {
            kind: Kind::Serial,
            identity: identity.to_owned(),
            place: place.to_owned(),
            name: Some("A \u{1b}[2J\u{202e}board".to_owned()),
            problem: problem.map(str::to_owned),
            rig: Some(("serial", vec![("usb", "1209:0001".to_owned())])),
            lease: Some(format!("serial {identity}")),
            location: None,
        };
        Seen { instrument, held: held.map(str::to_owned) }
    }

    #[test]
    fn a_device_cannot_write_on_the_terminal() {
        let evil = seen("usb 1209:0001 serial number \u{1b}]0;x\u{7}", "/dev/ttyACM0", Some("line\nbreak"), Some("by \u{9b}x"));
        let text = human(Event::There, &evil);
        assert_eq!(text.lines().count(), 3, "{text}");
        let json = as_json(Event::There, &evil);
        for text in [text.as_str(), json.trim_end()] {
            let wild = text.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
            assert_eq!(wild, None, "{text:?}");
        }
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["name"], "A \u{1b}[2J\u{202e}board");
    }

    #[test]
    fn what_comes_goes_and_changes_is_told_once() {
        let (a, b) = (seen("a", "/dev/ttyACM0", None, None), seen("b", "/dev/ttyACM1", None, None));
        let moved = seen("a", "/dev/ttyACM7", None, None);
        let taken = seen("b", "/dev/ttyACM1", None, Some("in use"));
        assert_eq!(changes(&[a.clone(), b.clone()], &[a.clone(), b.clone()]), []);
        let (before, now) = ([a.clone(), b], [moved.clone(), taken.clone()]);
        assert_eq!(changes(&before, &now), [(Event::Gone, &a), (Event::New, &moved), (Event::Changed, &taken)]);
        assert_eq!(human(Event::New, &moved).lines().next().unwrap(), "+ serial    /dev/ttyACM7   a  A \\x1b[2J\\u{202e}board");
    }

    #[test]
    fn who_has_leased_an_instrument_or_a_port_of_a_hub_is_told() {
        let holder_of = |plan: &str| Holder { pid: 7, since: "T".to_owned(), plan: plan.to_owned(), run: "r".to_owned() };
        let held = Held {
            instruments: vec![
                ("port 3 of USB hub 1-1".to_owned(), holder_of("hub plan")),
                ("serial a".to_owned(), holder_of("port plan")),
            ],
            ..Held::default()
        };
        let serial = seen("a", "/dev/ttyACM0", None, None).instrument;
        assert!(holder(&serial, &held).unwrap().contains("for plan port plan"));
        assert_eq!(holder(&seen("b", "/dev/ttyACM0", None, None).instrument, &held), None);
        let hub = |place: &str| Instrument { kind: Kind::Hub, place: place.to_owned(), lease: None, ..serial.clone() };
        assert!(holder(&hub("1-1"), &held).unwrap().contains("hub plan"));
        assert_eq!(holder(&hub("1-1.1"), &held), None);
    }
}
