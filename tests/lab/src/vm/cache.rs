//! The prepared machine on the disk.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::{VmError, apt::Apt, cpio::Archive, kernel, modules, recipe, tool, unpack};

/// A prepared machine: `root/`, `vmlinux`, `initrd`, `manifest.txt`.
#[derive(Debug, Clone)]
pub struct Lab {
    directory: PathBuf,
}

impl Lab {
    /// The guest's root, as a directory of the host.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// The kernel, as an ELF file.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The first file system.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.directory.join("initrd")
    }

    /// Which packages it was made from: digest, name, version and architecture, one a line.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.directory.join("manifest.txt")
    }

    /// A program of the guest, to run on the host under the name `name`. It is started through the loader that came with it, so that
    /// neither the version of the host's C library nor what is installed there matters.
    #[must_use]
    pub fn host_program(&self, path: &str, name: &str) -> Command {
        let root = self.root();
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries).args(["--argv0", name]).arg(root.join(path));
        command.env_remove("LD_LIBRARY_PATH").env_remove("LD_PRELOAD");
        command
    }
}

/// Where machines are kept.
fn place() -> Result<PathBuf, VmError> {
    let below =
        |name: &str, rest: &str| env::var_os(name).filter(|value| !value.is_empty()).map(|value| Path::new(&value).join(rest));
    let place = below("HILBENCH_LAB_CACHE", "").or_else(|| below("XDG_CACHE_HOME", "hilbench/lab"));
    let place = place.or_else(|| below("HOME", ".cache/hilbench/lab"));
    let place = place.ok_or_else(|| VmError::Unsupported {
        why: "there is no home directory for the cache".to_owned(),
        help: "set HILBENCH_LAB_CACHE to a directory",
    })?;
    std::path::absolute(&place).map_err(VmError::file("find", place))
}

/// Prepares the machine unless it is there already. `note` is told of the steps that take time.
pub fn ensure(note: &mut dyn FnMut(&str)) -> Result<Lab, VmError> {
    let place = place()?;
    let stamp = recipe::stamp();
    let lab = Lab { directory: place.join(&stamp) };
    if lab.manifest().is_file() {
        return Ok(lab);
    }
    check_host()?;
    fs::create_dir_all(&place).map_err(VmError::file("create", &place))?;
    let lock = place.join("lock");
    let held = File::create(&lock).map_err(VmError::file("create", &lock))?;
    held.lock().map_err(VmError::file("lock", &lock))?;
    // Somebody else may have built it while this one waited.
    if lab.manifest().is_file() {
        return Ok(lab);
    }
    let partial = Lab { directory: place.join(format!("{stamp}.partial")) };
    if partial.directory.exists() {
        fs::remove_dir_all(&partial.directory).map_err(VmError::file("delete", &partial.directory))?;
    }
    build(&partial, &place.join("apt"), note)?;
    fs::rename(&partial.directory, &lab.directory).map_err(VmError::file("rename", &partial.directory))?;
    Ok(lab)
}

fn check_host() -> Result<(), VmError> {
    let unsupported = |why: String, help| Err(VmError::Unsupported { why, help });
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return unsupported("the guest is x86_64 Linux and runs the host's binaries".to_owned(), "use such a host");
    }
    for name in ["apt-get", "apt-cache", "dpkg-deb", "tar", "sh"] {
        if !tool::exists(name) {
            return unsupported(format!("`{name}` is not in the path"), "use a Debian machine or a Debian container");
        }
    }
    Ok(())
}

fn build(lab: &Lab, apt: &Path, note: &mut dyn FnMut(&str)) -> Result<(), VmError> {
    let apt = Apt::new(apt)?;
    note("fetching lists of packages");
    apt.update()?;
    note("downloading packages (about 140 MB the first time)");
    let mut archives = apt.download(recipe::PACKAGES)?;
    archives.retain(|archive| !unpack::unwanted(archive));
    let kernel_archive = apt.download_kernel()?;

    note("unpacking");
    let root = lab.root();
    unpack::skeleton(&root)?;
    for archive in &archives {
        unpack::unpack(archive, &root, &[])?;
    }
    unpack::unpack(&kernel_archive, &root, recipe::KERNEL_PARTS)?;
    archives.push(kernel_archive);

    note("preparing the kernel");
    let (image, release) = kernel::find(&root)?;
    kernel::decompress(lab, &image, &lab.kernel())?;
    kernel::index_modules(lab, &release)?;
    let initrd = lab.initrd();
    fs::write(&initrd, first_file_system(lab, &release)?).map_err(VmError::file("write", &initrd))?;

    // The manifest comes last: a machine that has one is complete.
    let lines: Vec<String> = archives.iter().map(unpack::manifest_line).collect::<Result<_, _>>()?;
    let manifest = lab.manifest();
    fs::write(&manifest, lines.concat()).map_err(VmError::file("write", &manifest))
}

fn first_file_system(lab: &Lab, release: &str) -> Result<Vec<u8>, VmError> {
    let read = |path: PathBuf| fs::read(&path).map_err(VmError::file("read", path));
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "modules", "new", "proc", "ro", "sys", "up"] {
        archive.directory(directory);
    }
    archive.file("bin/busybox", &read(lab.root().join("bin/busybox"))?);
    archive.file("init", recipe::INIT.as_bytes());
    let mut names = String::new();
    for path in modules::boot_order(lab, release)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.file(&format!("modules/{name}"), &read(path)?);
        names.push_str(&name);
        names.push('\n');
    }
    archive.file("modules/order", names.as_bytes());
    Ok(archive.finish())
}
