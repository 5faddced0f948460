//! A rig file to start from.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::word;
use crate::{
    channel::link::ChannelKind,
    cli::wiring,
    driver::discover::{CHIP, Instrument, Kind},
    rig::{load_device, load_rig},
};

/// Writes the draft to `path`, which must not exist, and says what is left to do.
///
/// # Errors
/// What is wrong, for a person.
pub(super) fn write(path: &Path, device: Option<&Path>, found: &[Instrument]) -> Result<Vec<String>, String> {
    let profile = match device {
        None => None,
        Some(device) => {
            let loaded = load_device(device)
                .map_err(|report| format!("the device profile cannot be used:\n{}", report.human(false).trim_end()))?;
            let channels = loaded.world.channels.iter().map(|(name, (kind, _))| (name.clone(), *kind)).collect();
            Some(Profile { path: from(path, device), channels })
        }
    };
    let text = draft(profile.as_ref(), found);
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let mut remarks = vec![format!("wrote {}", path.display())];
    if profile.is_none() {
        remarks.push("name the device profile in it (`--device FILE` does), then `hilbench check` it".to_owned());
        return Ok(remarks);
    }
    remarks.push(match load_rig(path, &wiring::catalogue()) {
        Ok(loaded) => match wiring::problems(&loaded.rig).as_slice() {
            [] => "it passes `hilbench check`; look through its comments for what is not mapped".to_owned(),
            [first, ..] => format!("`hilbench check` says: {first}"),
        },
        Err(_) => format!("`hilbench check {}` says what is left to do", path.display()),
    });
    Ok(remarks)
}

/// What is known of the device.
struct Profile {
    /// As the rig file names it.
    path: PathBuf,
    channels: Vec<(String, ChannelKind)>,
}

/// The path of `device` as a rig file at `rig` names it.
fn from(rig: &Path, device: &Path) -> PathBuf {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let device = absolute(device);
    let directory = absolute(rig).parent().map(Path::to_owned).unwrap_or_default();
    device.strip_prefix(directory).map_or(device.clone(), Path::to_owned)
}

/// Kinds of instruments that are channels without more being known.
const KINDS: &[(Kind, ChannelKind, &str)] =
    &[(Kind::Serial, ChannelKind::Console, "console"), (Kind::Probe, ChannelKind::Probe, "probe")];

fn draft(profile: Option<&Profile>, found: &[Instrument]) -> String {
    let (mut channels, mut comments) = (String::new(), String::new());
    let mut mapped = Vec::new();
    for (kind, of, usual) in KINDS {
        let instruments: Vec<&Instrument> = found.iter().filter(|instrument| instrument.kind == *kind).collect();
        let names: Vec<&str> = match profile {
            Some(profile) => profile.channels.iter().filter(|(_, kind)| kind == of).map(|(name, _)| name.as_str()).collect(),
            None => vec![usual],
        };
        for instrument in &instruments {
            let Some(line) = entry(names.first().unwrap_or(usual), instrument) else { continue };
            // A chip is not to be seen from outside, and no file that names none is right.
            let open = line.contains(CHIP);
            if let ([name], [_]) = (names.as_slice(), instruments.as_slice())
                && !open
                && !is_odd(instrument)
            {
                mapped.push((*name).to_owned());
                let _ = writeln!(channels, "  {line}");
            } else {
                let todo = if open { ": name the chip, and remove the `#`" } else { "" };
                let _ = writeln!(comments, "  # {}{todo}\n  # {line}", about(instrument));
            }
        }
    }
    for instrument in found.iter().filter(|instrument| !KINDS.iter().any(|(kind, ..)| *kind == instrument.kind)) {
        let _ = writeln!(comments, "  # {} {}: {}", word(instrument.kind), one_line(&instrument.place), about(instrument));
    }
    let device = profile.map_or_else(|| "devices/DEVICE.yaml".to_owned(), |profile| profile.path.display().to_string());
    let missing: Vec<&str> = profile
        .iter()
        .flat_map(|profile| &profile.channels)
        .map(|(name, _)| name.as_str())
        .filter(|name| !mapped.iter().any(|mapped| mapped == name))
        .collect();
    if !missing.is_empty() {
        let _ = writeln!(comments, "  # Channels of the device that are not mapped: {}", missing.join(", "));
    }
    if channels.is_empty() {
        channels.push_str("  {}\n");
    }
    format!(
        "schema: rig/1\nname: my-bench\ntitle: What was found\n\n\
         # The profile of the device on this bench.\ndevice: {}\n\n\
         # Each has the name that the profile uses. docs/instruments.md has the parameters of every driver.\nchannels:\n{channels}{comments}\n\
         # How the bench is left, whatever happens; every supply, button and network belongs here.\nsafe-state: []\n",
        quoted(&device)
    )
}

/// Whether something that the device says of itself cannot stand in a rig file, where values are single lines.
fn is_odd(instrument: &Instrument) -> bool {
    let values = instrument.rig.iter().flat_map(|(_, parameters)| parameters).map(|(_, value)| value);
    values.into_iter().any(|value| value.chars().any(char::is_control))
}

/// `console: { driver: serial, usb: "0d28:0204" }`.
fn entry(name: &str, instrument: &Instrument) -> Option<String> {
    let (driver, parameters) = instrument.rig.as_ref()?;
    let mut line = format!("{name}: {{ driver: {driver}");
    for (key, value) in parameters {
        let _ = write!(line, ", {key}: {}", quoted(value));
    }
    line.push_str(" }");
    Some(line)
}

fn about(instrument: &Instrument) -> String {
    let name = instrument.name.as_ref().map(|name| format!(" ({})", one_line(name))).unwrap_or_default();
    format!("{}{name}", one_line(&instrument.identity))
}

/// Text of a device in a comment.
fn one_line(text: &str) -> String {
    crate::view::sanitise::line(text, 120)
}

/// A YAML string; control characters of a device that calls itself something odd are escaped.
fn quoted(value: &str) -> String {
    crate::view::sanitise::json(&serde_json::Value::from(value).to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(kind: Kind, identity: &str, rig: Option<(&'static str, Vec<(&'static str, String)>)>) -> Instrument {
        Instrument {
            kind,
            identity: identity.to_owned(),
            place: "/dev/somewhere".to_owned(),
            name: None,
            problem: None,
            rig,
            lease: None,
            location: None,
        }
    }

    fn port(serial: &str) -> Instrument {
        let parameters = vec![("usb", "1209:0001".to_owned()), ("serial-number", serial.to_owned())];
        instrument(Kind::Serial, &format!("usb 1209:0001 serial number {serial}"), Some(("serial", parameters)))
    }

    fn written(found: &[Instrument]) -> (Vec<String>, String, Result<crate::rig::RigFile, crate::diagnostic::Report>) {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("lock.yaml");
        let profile = "schema: device/1\nname: lock\nchannels:\n  uart: console\n  swd: probe\n  supply: supply\n";
        fs::write(&device, profile).unwrap();
        let path = dir.path().join("rig.yaml");
        let remarks = write(&path, Some(&device), found).unwrap();
        (remarks, fs::read_to_string(&path).unwrap(), load_rig(&path, &wiring::catalogue()))
    }

    #[test]
    fn what_is_unambiguous_is_mapped_and_the_file_passes() {
        let probe = vec![("probe", "0d28:0204:9900".to_owned()), ("chip", CHIP.to_owned())];
        let found = [
            port("X1"),
            instrument(Kind::Probe, "debug probe 0d28:0204:9900", Some(("probe-rs", probe))),
            instrument(Kind::Gpio, "4 lines of ftdi-cbus", None),
        ];
        let (remarks, text, loaded) = written(&found);
        assert!(remarks.last().unwrap().contains("passes `hilbench check`"), "{remarks:?}");
        let rig = loaded.unwrap().rig;
        assert_eq!(rig.channels.keys().collect::<Vec<_>>(), ["uart"]);
        assert!(text.contains("# swd: { driver: probe-rs") && text.contains("name the chip"), "{text}");
        assert!(text.contains("# gpio /dev/somewhere: 4 lines of ftdi-cbus"), "{text}");
        assert!(text.contains("not mapped: supply, swd"), "{text}");
    }

    #[test]
    fn of_several_none_is_chosen() {
        let (remarks, text, loaded) = written(&[port("X1"), port("X2")]);
        assert!(remarks.last().unwrap().contains("passes"), "{remarks:?}\n{text}");
        assert!(loaded.unwrap().rig.channels.is_empty());
        assert!(text.contains("\"X1\"") && text.contains("\"X2\""), "{text}");
    }

    #[test]
    fn a_device_that_calls_itself_something_odd_cannot_write_yaml() {
        let (_, text, loaded) = written(&[port("\" }\nsafe-state: [evil]\n\u{1b}[2J\u{85}#")]);
        assert!(loaded.unwrap().rig.channels.is_empty(), "{text}");
        assert!(text.contains("  # uart: { driver: serial"), "{text}");
        assert!(!text.contains("\nsafe-state: [evil]") && !text.contains(['\u{1b}', '\u{85}']), "{text}");
    }

    #[test]
    fn an_existing_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rig.yaml");
        fs::write(&path, "mine").unwrap();
        assert!(write(&path, None, &[]).unwrap_err().contains("exists"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
