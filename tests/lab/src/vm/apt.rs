//! Packages from the machine's own apt sources, with an apt state of our own: no root, no lock of the system, nothing installed.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{VmError, recipe, tool};

/// An apt that believes that nothing is installed.
pub(super) struct Apt {
    directory: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    /// Sets one up in `directory`.
    pub(super) fn new(directory: &Path) -> Result<Self, VmError> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(VmError::file("create", &path))?;
        }
        let apt = Self { directory: directory.to_owned(), configuration: directory.join("apt.conf") };
        for (path, text) in [(directory.join("state/status"), String::new()), (apt.configuration.clone(), apt.text())] {
            fs::write(&path, text).map_err(VmError::file("write", &path))?;
        }
        Ok(apt)
    }

    /// Hooks are cleared because images for containers delete downloaded packages in them. The sandbox user cannot read a home directory.
    fn text(&self) -> String {
        let directory = self.directory.display();
        format!(
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n\
             Dir::State \"{directory}/state\";\nDir::State::lists \"{directory}/state/lists\";\n\
             Dir::State::status \"{directory}/state/status\";\nDir::Cache \"{directory}/cache\";\n\
             Dir::Cache::archives \"{directory}/cache/archives\";\nDir::Log \"{directory}\";\n\
             APT::Sandbox::User \"root\";\nAPT::Install-Recommends \"false\";\nAPT::Keep-Downloaded-Packages \"true\";\n\
             Binary::apt-get::APT::Keep-Downloaded-Packages \"true\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\nAcquire::Retries \"3\";\n"
        )
    }

    /// Fetches the lists of packages.
    pub(super) fn update(&self) -> Result<(), VmError> {
        tool::output("fetch the lists of packages", &mut self.get(["update"])).map(drop)
    }

    /// Downloads the packages and what they depend on; gives the archives.
    pub(super) fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>, VmError> {
        let fixed = ["--yes", "--no-remove", "--print-uris", "install"];
        let plan = tool::output("resolve the guest's packages", self.get(fixed).args(packages))?;
        let fixed = ["--yes", "--no-remove", "--download-only", "install"];
        tool::output("download the guest's packages", self.get(fixed).args(packages))?;
        let names = archive_names(&String::from_utf8_lossy(&plan));
        Ok(names.into_iter().map(|name| self.directory.join("cache/archives").join(name)).collect())
    }

    /// Downloads the kernel package that [`recipe::KERNEL`] stands for, without what it depends on: those are tools to install it.
    pub(super) fn download_kernel(&self) -> Result<PathBuf, VmError> {
        let mut command = Command::new("apt-cache");
        command.arg("-c").arg(&self.configuration).args(["depends", "--important", recipe::KERNEL]);
        let listing = tool::output("find the kernel's package", &mut command)?;
        let listing = String::from_utf8_lossy(&listing);
        let name = listing
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: ").filter(|name| name.starts_with("linux-image-")));
        let name = name.ok_or_else(|| VmError::Unsupported {
            why: format!("the package sources have no `{}`", recipe::KERNEL),
            help: "use a Debian machine or a Debian container",
        })?;
        let directory = self.directory.join("cache/kernel");
        fs::create_dir_all(&directory).map_err(VmError::file("create", &directory))?;
        let present = |directory: &Path| -> Result<Vec<PathBuf>, VmError> {
            let entries = fs::read_dir(directory).map_err(VmError::file("list", directory))?;
            Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some(OsStr::new("deb"))).collect())
        };
        // An older version of the same name would be picked up below.
        for old in present(&directory)? {
            fs::remove_file(&old).map_err(VmError::file("delete", &old))?;
        }
        tool::output("download the kernel", self.get(["download", name]).current_dir(&directory))?;
        let found = present(&directory)?.pop();
        found.ok_or_else(|| VmError::Format { path: directory, expected: format!("the archive of {name}") })
    }

    fn get<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-c").arg(&self.configuration).args(arguments);
        command
    }
}

/// File names from the lines `'address' name size digest` that `--print-uris` prints.
fn archive_names(plan: &str) -> Vec<String> {
    plan.lines().filter(|line| line.starts_with('\'')).filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_come_from_the_plan() {
        let plan = "Reading package lists...\n'http://host/p/a_1%3a2_amd64.deb' a_1%3a2_amd64.deb 10 MD5Sum:00\n'http://host/b_1_all.deb' b_1_all.deb 5 \n";
        assert_eq!(archive_names(plan), ["a_1%3a2_amd64.deb", "b_1_all.deb"]);
    }
}
