//! Which module files the first file system needs, and in which order.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::{VmError, cache::Lab, recipe};

/// Files of [`recipe::BOOT_MODULES`] and all that they depend on, each after what it depends on. Names that are built into the kernel are
/// not in the list.
pub(super) fn boot_order(lab: &Lab, release: &str) -> Result<Vec<PathBuf>, VmError> {
    let directory = lab.root().join("lib/modules").join(release);
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).map_err(VmError::file("read", path))
    };
    let (index, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = order(&index, &builtin, recipe::BOOT_MODULES)
        .map_err(|name| VmError::Format { path: directory.join("modules.dep"), expected: format!("module `{name}`") })?;
    Ok(order.into_iter().map(|file| directory.join(file)).collect())
}

/// `kernel/fs/9p/9p.ko.xz` is the module `9p`; `-` and `_` are the same in names of modules.
fn name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

fn order(index: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>, String> {
    let lines: Vec<(&str, &str)> = index.lines().filter_map(|line| line.split_once(':')).collect();
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for module in wanted {
        let module = module.replace('-', "_");
        if builtin.lines().any(|line| name(line) == module) {
            continue;
        }
        let (file, needs) = lines.iter().find(|(file, _)| name(file) == module).ok_or_else(|| module.clone())?;
        // depmod lists what a module needs with the most basic one last.
        for file in needs.split_whitespace().rev().chain([*file]) {
            if seen.insert(file) {
                files.push(file.to_owned());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_first_and_once() {
        let index = "k/fs/9p.ko: k/net/9pnet.ko k/fs/netfs.ko\nk/net/9pnet.ko:\nk/fs/netfs.ko:\nk/over-lay.ko: k/fs/netfs.ko\n";
        let order = order(index, "kernel/virtio_pci.ko\n", &["virtio_pci", "9p", "over_lay"]).unwrap();
        assert_eq!(order, ["k/fs/netfs.ko", "k/net/9pnet.ko", "k/fs/9p.ko", "k/over-lay.ko"]);
        assert_eq!(super::order(index, "", &["absent"]), Err("absent".to_owned()));
    }
}
