//! What the machine is made of. A change here gives another stamp, hence another machine beside the old one.

use std::fs;

use sha2::{Digest, Sha256};

/// Raised when the steps of the preparation change, which the lists below do not show.
const VERSION: &str = "3";

/// Packages of the emulator and of the guest. What they depend on comes with them; versions are the suite's newest, because security updates
/// take old ones off the mirrors. The manifest says which came.
pub(super) const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "busybox-static",
    "xz-utils",
    "zstd",
    "bash",
    "coreutils",
    "findutils",
    "grep",
    "sed",
    "util-linux",
    "mount",
    "procps",
    "kmod",
    "udev",
    "usbutils",
    "dbus",
    "bluez",
    "iproute2",
    "iputils-ping",
    "nftables",
];

/// The kernel that follows the suite. Not the cloud variant: that has neither USB over IP nor Bluetooth nor 9p.
pub(super) const KERNEL: &str = "linux-image-amd64";

/// Packages that only their maintainer scripts need (never run here), or that serve screens and sound. `libasound2` stays: bluetoothd links it.
pub(super) const UNWANTED: &[&str] = &[
    "adduser",
    "debconf",
    "dpkg",
    "init-system-helpers",
    "iso-codes",
    "libfile-find-rule-perl",
    "libnumber-compare-perl",
    "libperl5.36",
    "libtext-glob-perl",
    "lsb-base",
    "perl",
    "perl-base",
    "perl-modules-5.36",
    "tar",
    "usrmerge",
];

/// Parts of packages that nothing reads.
pub(super) const LEFT_OUT: &[&str] = &["./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info"];

/// Parts of the kernel package that are unpacked: all of it would be four times the rest of the guest.
pub(super) const KERNEL_PARTS: &[&str] = &[
    "./boot/vmlinuz-*",
    "./lib/modules/*/modules.*",
    "./lib/modules/*/kernel/arch",
    "./lib/modules/*/kernel/crypto",
    "./lib/modules/*/kernel/lib",
    "./lib/modules/*/kernel/net",
    "./lib/modules/*/kernel/fs/9p",
    "./lib/modules/*/kernel/fs/fscache",
    "./lib/modules/*/kernel/fs/netfs",
    "./lib/modules/*/kernel/fs/overlayfs",
    "./lib/modules/*/kernel/fs/fuse",
    "./lib/modules/*/kernel/drivers/bluetooth",
    "./lib/modules/*/kernel/drivers/char",
    "./lib/modules/*/kernel/drivers/gpio",
    "./lib/modules/*/kernel/drivers/hid",
    "./lib/modules/*/kernel/drivers/i2c",
    "./lib/modules/*/kernel/drivers/net/*.ko*",
    "./lib/modules/*/kernel/drivers/usb",
    "./lib/modules/*/kernel/drivers/virtio",
];

/// Modules without which there is no root file system and no output.
pub(super) const BOOT_MODULES: &[&str] = &["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

/// Files that maintainer scripts would have made.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nmessagebus:x:100:100::/nonexistent:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    ),
    (
        "etc/group",
        "root:x:0:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\nkmem:x:15:\ndialout:x:20:\nfloppy:x:25:\ncdrom:x:24:\ntape:x:26:\naudio:x:29:\n\
         video:x:44:\nplugdev:x:46:\nusers:x:99:\nmessagebus:x:100:\ninput:x:101:\nsgx:x:102:\nkvm:x:103:\nrender:x:104:\n\
         bluetooth:x:105:\nnetdev:x:106:\nnogroup:x:65534:\n",
    ),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("etc/hosts", "127.0.0.1 localhost lab\n::1 localhost\n"),
    ("etc/hostname", "lab\n"),
    ("etc/machine-id", "6c61620000000000000000000000b0b0\n"),
];

/// First program of the guest: from the initial file system to the real root.
pub(super) const INIT: &str = include_str!("../../guest/init");

/// Name of this recipe on this suite.
pub(super) fn stamp() -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    [VERSION, KERNEL, INIT, &suite()].into_iter().for_each(&mut part);
    for list in [PACKAGES, UNWANTED, LEFT_OUT, KERNEL_PARTS, BOOT_MODULES] {
        list.iter().copied().for_each(&mut part);
    }
    for (name, text) in FILES {
        part(name);
        part(text);
    }
    hex(&hash.finalize()[..6])
}

/// The host's suite: the guest's C library has to be the one that the host's programs were linked for.
pub(super) fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"').to_owned())
    };
    format!("{} {}", field("ID").unwrap_or_default(), field("VERSION_CODENAME").unwrap_or_default())
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_file_name_and_stays() {
        assert_eq!(stamp(), stamp());
        assert!(stamp().len() == 12 && stamp().chars().all(|digit| digit.is_ascii_hexdigit()));
    }
}
