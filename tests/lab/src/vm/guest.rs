//! What a run tells the guest: files in the scratch directory.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::VmError;

/// What the guest starts before the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Device names and links, as on a desktop.
    Udev,
    /// The virtual USB host controller.
    Usb,
    /// The message bus, BlueZ and the virtual Bluetooth controller's driver.
    Ble,
    /// Modules for network namespaces, emulated faults of links and packet filters.
    Net,
}

impl Service {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 4] = [Self::Udev, Self::Usb, Self::Ble, Self::Net];

    fn name(self) -> &'static str {
        match self {
            Self::Udev => "udev",
            Self::Usb => "usb",
            Self::Ble => "ble",
            Self::Net => "net",
        }
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|service| service.name() == text);
        found.ok_or_else(|| format!("unknown service `{text}`; there are udev, usb, ble and net"))
    }
}

/// Variables of the host's environment that the command in the guest sees too. Not all of `CARGO_*`: some of these are credentials.
fn passed_on(name: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_BIN_EXE_", "CARGO_MANIFEST_", "RUST_", "HILBENCH_", "INSTA_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
        || ["CARGO_CRATE_NAME", "CARGO_TARGET_TMPDIR", "CI", "NO_COLOR"].contains(&name)
}

/// The job as the guest reads it.
pub(super) struct Order<'a> {
    pub(super) command: &'a [OsString],
    pub(super) directory: &'a Path,
    pub(super) services: &'a [Service],
    pub(super) shares: &'a [PathBuf],
    pub(super) kept: Option<&'a Path>,
    pub(super) backstop_seconds: u64,
}

impl Order<'_> {
    /// Writes the job into the scratch directory.
    pub(super) fn write(&self, scratch: &Path) -> Result<(), VmError> {
        let job = scratch.join("job");
        fs::create_dir_all(&job).map_err(VmError::file("create", &job))?;
        let services = Service::ALL.into_iter().filter(|service| self.services.contains(service));
        let services: String = services.flat_map(|service| [service.name(), "\n"]).collect();
        let variables = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passed_on));
        let variables = variables.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
        let files: [(&str, Vec<u8>); 8] = [
            ("guest.sh", include_bytes!("../../guest/guest.sh").to_vec()),
            ("command", self.command.iter().flat_map(|part| [part.as_bytes(), b"\0"].concat()).collect()),
            ("directory", self.directory.as_os_str().as_bytes().to_vec()),
            ("services", services.into_bytes()),
            ("shares", self.shares.iter().flat_map(|share| [share.as_os_str().as_bytes(), b"\n"].concat()).collect()),
            ("kept", self.kept.map(|kept| kept.as_os_str().as_bytes().to_vec()).unwrap_or_default()),
            ("environment", variables.flatten().collect()),
            ("backstop", self.backstop_seconds.to_string().into_bytes()),
        ];
        for (name, bytes) in files {
            let path = job.join(name);
            fs::write(&path, bytes).map_err(VmError::file("write", path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_on_the_host() {
        assert!(passed_on("CARGO_BIN_EXE_hilbench") && passed_on("RUST_BACKTRACE"));
        assert!(!passed_on("CARGO_REGISTRY_TOKEN") && !passed_on("GITHUB_TOKEN"));
    }

    #[test]
    fn services_have_names() {
        assert_eq!("ble".parse(), Ok(Service::Ble));
        assert!("wifi".parse::<Service>().is_err_and(|error| error.contains("wifi") && error.contains("udev")));
    }
}
