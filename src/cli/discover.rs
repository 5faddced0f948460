//! `hilbench discover`.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, time::Duration};

use super::{Exit, arguments, arguments::MessageFormat, complain, out};
use crate::{
    driver::discover::{Instrument, Kind, instruments},
    view::sanitise::line,
};

/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_millis(500);

pub(super) fn discover(arguments: &arguments::Discover) -> Exit {
    let mut known = found();
    for instrument in &known {
        tell("", instrument, arguments.message_format);
    }
    if known.is_empty() && arguments.message_format == MessageFormat::Human {
        complain("no instrument is there: no serial port with hardware behind it, no debug probe, no USB device");
    }
    if let Some(path) = &arguments.write {
        if let Err(error) = write(path, &known) {
            complain(&format!("error: cannot write {}: {error}", path.display()));
            return Exit::InvalidInput;
        }
        complain(&format!("wrote {}; name the device profile in it, and say what the safe state is", path.display()));
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
        loop {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => return Exit::Pass,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let now = found();
            for gone in known.iter().filter(|old| !now.iter().any(|new| same(old, new))) {
                tell("- ", gone, arguments.message_format);
            }
            for new in now.iter().filter(|new| !known.iter().any(|old| same(old, new))) {
                tell("+ ", new, arguments.message_format);
            }
            known = now;
        }
    })
}

fn found() -> Vec<Instrument> {
    instruments(Path::new("/sys"), Path::new("/dev"), Path::new("/proc"))
}

fn same(a: &Instrument, b: &Instrument) -> bool {
    a.identity == b.identity && a.place == b.place
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Serial => "serial",
        Kind::Probe => "probe",
        Kind::Usb => "usb",
    }
}

fn tell(sign: &str, instrument: &Instrument, format: MessageFormat) {
    let Instrument { kind, identity, place, name, problem, rig } = instrument;
    if format == MessageFormat::Json {
        let parameters = rig.as_ref().map(|(driver, parameters)| {
            let mut map: serde_json::Map<_, _> =
                parameters.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
            map.insert("driver".to_owned(), (*driver).into());
            map
        });
        let event = match sign {
            "- " => "gone",
            "+ " => "new",
            _ => "there",
        };
        let object = serde_json::json!({
            "event": event, "kind": word(*kind), "identity": identity, "place": place, "name": name, "problem": problem, "rig": parameters,
        });
        out(&format!("{object}\n"));
        return;
    }
    let name = name.as_deref().map(|name| format!("  {}", line(name, 60))).unwrap_or_default();
    let mut text = format!("{sign}{:<7} {:<14} {}{name}\n", word(*kind), line(place, 40), line(identity, 100));
    if let Some(problem) = problem {
        let _ = writeln!(text, "{:8}{}", "", line(problem, 200));
    }
    out(&text);
}

/// A rig file to start from.
fn write(path: &Path, found: &[Instrument]) -> std::io::Result<()> {
    let mut channels = String::new();
    for (kind, first) in [(Kind::Serial, "console"), (Kind::Probe, "probe")] {
        let of_kind = found.iter().filter(|instrument| instrument.kind == kind);
        for (index, (driver, parameters)) in of_kind.filter_map(|instrument| instrument.rig.as_ref()).enumerate() {
            let name = if index == 0 { first.to_owned() } else { format!("{first}-{}", index + 1) };
            let _ = write!(channels, "  {name}: {{ driver: {driver}");
            for (key, value) in parameters {
                let _ = write!(channels, ", {key}: {}", quoted(value));
            }
            channels.push_str(" }\n");
        }
    }
    let text = format!(
        "schema: rig/1\nname: my-bench\ntitle: What was found\n\n\
         # The profile of the device on this bench.\ndevice: devices/DEVICE.yaml\n\n\
         # Delete what does not belong to this bench, and give each the name that the profile uses.\nchannels:\n{channels}\n\
         # How the bench is left, whatever happens; a supply belongs here.\nsafe-state: []\n"
    );
    fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

/// A YAML string; control characters of a device that calls itself something odd are escaped.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
