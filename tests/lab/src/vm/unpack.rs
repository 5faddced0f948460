//! From package archives to directories. No maintainer script runs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{VmError, recipe, tool};

/// Makes the root directory with the links of a merged `/usr` that packages expect.
pub(super) fn skeleton(root: &Path) -> Result<(), VmError> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let target = root.join("usr").join(name);
        fs::create_dir_all(&target).map_err(VmError::file("create", &target))?;
        let link = root.join(name);
        symlink(format!("usr/{name}"), &link).map_err(VmError::file("link", &link))?;
    }
    for name in ["dev", "etc", "proc", "run", "scratch", "sys", "tmp", "root", "var/lib/bluetooth"] {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(VmError::file("create", &path))?;
    }
    for (name, text) in recipe::FILES {
        let path = root.join(name);
        fs::write(&path, text).map_err(VmError::file("write", &path))?;
    }
    let shell = root.join("bin/sh");
    symlink("bash", &shell).map_err(VmError::file("link", &shell))
}

/// Unpacks one archive into `root`: all but [`recipe::LEFT_OUT`], or, if `parts` are given, only these.
pub(super) fn unpack(archive: &Path, root: &Path, parts: &[&str]) -> Result<(), VmError> {
    // The guest checks permissions for users other than root, so they must not depend on the caller's mask.
    const SCRIPT: &str = "set -e; umask 022; archive=$1; root=$2; shift 2; \
         dpkg-deb --fsys-tarfile \"$archive\" | tar --extract --directory=\"$root\" --keep-directory-symlink --no-same-owner --wildcards \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(archive).arg(root);
    command.args(recipe::LEFT_OUT.iter().map(|part| format!("--exclude={part}/*"))).args(parts);
    tool::output("unpack a package", &mut command).map(drop)
}

/// Whether a package is only needed by scripts that never run.
pub(super) fn unwanted(archive: &Path) -> bool {
    let name = archive.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('_').next());
    name.is_some_and(|name| recipe::UNWANTED.contains(&name))
}

/// One line of the manifest: digest, name, version.
pub(super) fn manifest_line(archive: &PathBuf) -> Result<String, VmError> {
    let bytes = fs::read(archive).map_err(VmError::file("read", archive))?;
    let mut command = Command::new("dpkg-deb");
    command.arg("--show").arg("--showformat=${Package} ${Version} ${Architecture}").arg(archive);
    let name = tool::output("read a package's name", &mut command)?;
    Ok(format!("{} {}\n", recipe::hex(&Sha256::digest(&bytes)), String::from_utf8_lossy(&name)))
}
