//! Why an instrument's file cannot be opened, and what to do about that. Nothing is opened.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, Gid, Group, access};

use crate::channel::finding::Finding;

/// What the file stands for, as far as a udev rule is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A USB device, by vendor and product.
    Usb(u16, u16),
    /// A `hidraw` file of a USB device.
    Hidraw(u16, u16),
    /// Chips of GPIO lines.
    Gpio,
    /// Switchable ports of hubs.
    HubPort,
    /// Measuring instruments of the USB test and measurement class.
    Usbtmc,
    /// Files that have a group of their own, such as serial ports.
    Group,
}

/// Where rules are put; those with `uaccess` count only before 73.
const PLACE: &str = "/etc/udev/rules.d/70-hilbench.rules";

impl Rule {
    /// The rule to paste; none where joining a group is the way.
    #[must_use]
    pub fn text(self) -> Option<String> {
        Some(match self {
            Self::Usb(vendor, product) => {
                format!(r#"SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vendor:04x}", ATTR{{idProduct}}=="{product:04x}", TAG+="uaccess""#)
            }
            Self::Hidraw(vendor, product) => format!(
                r#"KERNEL=="hidraw*", ATTRS{{idVendor}}=="{vendor:04x}", ATTRS{{idProduct}}=="{product:04x}", TAG+="uaccess""#
            ),
            Self::Gpio => r#"SUBSYSTEM=="gpio", KERNEL=="gpiochip*", TAG+="uaccess""#.to_owned(),
            Self::HubPort => {
                r#"SUBSYSTEM=="usb", DRIVER=="hub", RUN+="/bin/sh -c 'chgrp plugdev /sys%p/*-port*/disable; chmod g+w /sys%p/*-port*/disable'""#
                    .to_owned()
            }
            Self::Usbtmc => r#"SUBSYSTEM=="usbmisc", KERNEL=="usbtmc*", TAG+="uaccess""#.to_owned(),
            Self::Group => return None,
        })
    }
}

/// Whether this user may read and write `file`, and if not, what to do.
#[must_use]
pub fn denied(file: &Path, rule: Rule) -> Option<Finding> {
    let Err(error) = access(file, AccessFlags::R_OK | AccessFlags::W_OK) else { return None };
    let shown = file.display();
    if !matches!(error, nix::errno::Errno::EACCES | nix::errno::Errno::EPERM) {
        return Some(Finding::absent(format!("{shown}: {}", error.desc()), "is it plugged in?"));
    }
    let metadata = fs::metadata(file).ok();
    let group = metadata.filter(|metadata| metadata.mode() & 0o060 == 0o060).and_then(|metadata| {
        let group = Group::from_gid(Gid::from_raw(metadata.gid())).ok().flatten()?.name;
        (group != "root").then_some(group)
    });
    let what = format!("this user may not open {shown}");
    Some(match (group, rule.text()) {
        (Some(group), _) => Finding::problem(
            format!("{what}, which is open to group {group}"),
            format!("`sudo usermod -aG {group} $USER`, then log in again"),
        ),
        (None, Some(rule)) => Finding::problem(
            what,
            format!("add this udev rule to {PLACE}, run `sudo udevadm control --reload`, and plug it in again:\n{rule}"),
        ),
        (None, None) => Finding::problem(what, format!("`sudo chmod a+rw {shown}` for now; a udev rule for it stays")),
    })
}

/// Which other program has the file open, as far as this user is told.
#[must_use]
pub fn in_use(file: &Path, proc: &Path) -> Option<Finding> {
    let own = std::process::id().to_string();
    let numbered = |process: &PathBuf| {
        process.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.bytes().all(|c| c.is_ascii_digit()) && *name != *own
        })
    };
    let has_it = |process: &PathBuf| {
        let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten();
        descriptors.flatten().any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target == file))
    };
    let processes = fs::read_dir(proc).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let process = processes.filter(numbered).find(has_it)?;
    let number = process.file_name()?.to_string_lossy().into_owned();
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let name = name.trim();
    let advice = match name {
        "ModemManager" => {
            "ModemManager tries every new port: `sudo systemctl mask --now ModemManager`, or the udev property ID_MM_DEVICE_IGNORE=1 for this one".to_owned()
        }
        "brltty" => "brltty takes adapters for Braille displays: `sudo apt-get remove brltty`".to_owned(),
        "agetty" | "getty" => format!("a login waits on it: `sudo systemctl disable --now serial-getty@{}`", file.file_name()?.display()),
        _ => format!("end that program (`kill {number}`), or leave it the instrument"),
    };
    Some(Finding::problem(format!("{} is in use by process {number} ({name})", file.display()), advice))
}

/// Why `file` could not be opened, if that can be seen from outside: for the text of an error.
#[must_use]
pub fn obstacle(file: &Path, rule: Rule) -> Option<String> {
    // Names under /dev/serial and the like are links.
    let file = fs::canonicalize(file).ok()?;
    denied(&file, rule).or_else(|| in_use(&file, Path::new("/proc"))).map(|finding| finding.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_port_that_somebody_has_open_is_told_with_who() {
        let root = tempfile::tempdir().unwrap();
        let port = root.path().join("ttyUSB0");
        fs::write(&port, "").unwrap();
        let proc = root.path().join("proc");
        let own = std::process::id().to_string();
        for process in ["77", "self", &own] {
            fs::create_dir_all(proc.join(process).join("fd")).unwrap();
        }
        symlink(&port, proc.join(own).join("fd/3")).unwrap();
        assert_eq!(in_use(&port, &proc), None, "its own descriptors are not somebody else's");
        symlink(&port, proc.join("77/fd/3")).unwrap();
        for (name, advice) in [("ModemManager", "mask --now"), ("brltty", "remove brltty"), ("screen", "kill 77")] {
            fs::write(proc.join("77/comm"), format!("{name}\n")).unwrap();
            let found = in_use(&port, &proc).unwrap();
            assert_eq!(found.what, format!("{} is in use by process 77 ({name})", port.display()));
            assert!(found.advice.unwrap().contains(advice), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_not_ours_is_told_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("003");
        let rule = Rule::Usb(0x0D28, 0x0204);
        let missing = denied(&file, rule).unwrap();
        assert!(missing.absent && missing.what.contains("No such file"), "{missing}");
        fs::write(&file, "").unwrap();
        assert_eq!(denied(&file, rule), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        // The administrator may open everything.
        if !nix::unistd::geteuid().is_root() {
            let found = denied(&file, rule).unwrap();
            assert!(!found.absent && found.to_string().contains(r#"ATTR{idVendor}=="0d28""#), "{found}");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o060)).unwrap();
            assert!(denied(&file, rule).unwrap().advice.unwrap().contains("usermod -aG"));
        }
    }

    #[test]
    fn rules_name_the_device_and_nothing_else() {
        let rule = Rule::Hidraw(0x16C0, 0x05DF).text().unwrap();
        assert!(rule.contains(r#""16c0""#) && rule.contains(r#""05df""#) && rule.contains("uaccess"), "{rule}");
        assert!(Rule::HubPort.text().unwrap().contains("disable"));
        assert_eq!(Rule::Group.text(), None);
    }
}
