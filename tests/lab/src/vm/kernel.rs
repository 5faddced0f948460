//! The kernel as an ELF file: QEMU starts that at its PVH entry, which saves the guest from decompressing itself (3 to 4 s when emulated).

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{VmError, cache::Lab, tool};

/// Offsets in a bzImage: the Linux/x86 boot protocol (kernel Documentation/arch/x86/boot.rst), `setup_sects`, magic, `payload_offset`,
/// `payload_length`.
const SETUP_SECTORS: usize = 0x1F1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24C;

/// The compressed kernel inside a bzImage, without the length that the build appends to it.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(MAGIC..MAGIC + 4)? != b"HdrS" {
        return None;
    }
    let sectors = match *image.get(SETUP_SECTORS)? {
        0 => 4,
        count => count as usize,
    };
    let start = (sectors + 1) * 512 + word(PAYLOAD_OFFSET)?;
    image.get(start..(start + word(PAYLOAD_LENGTH)?).checked_sub(4)?)
}

/// Writes the decompressed kernel of the image `from` to `to`, with a decompressor of the guest's own packages.
pub(super) fn decompress(lab: &Lab, from: &Path, to: &Path) -> Result<(), VmError> {
    let image = fs::read(from).map_err(VmError::file("read", from))?;
    let unexpected = |expected: &str| VmError::Format { path: from.to_owned(), expected: expected.to_owned() };
    let payload = payload(&image).ok_or_else(|| unexpected("a bzImage with a payload"))?;
    let program = match payload {
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => "xz",
        [0x28, 0xB5, 0x2F, 0xFD, ..] => "zstd",
        _ => return Err(unexpected("a payload compressed with xz or zstd")),
    };
    let output = fs::File::create(to).map_err(VmError::file("create", to))?;
    let mut command = lab.host_program(&format!("usr/bin/{program}"), program);
    let child = command.args(["-d", "-c", "-q"]).stdin(Stdio::piped()).stdout(output).stderr(Stdio::inherit()).spawn();
    let mut child = child.map_err(VmError::file("start", program))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(payload).map_err(VmError::file("decompress", from))?;
    }
    let status = child.wait().map_err(VmError::file("decompress", from))?;
    let magic = fs::read(to).map_err(VmError::file("read", to))?.get(..4).map(<[u8]>::to_vec);
    if !status.success() || magic.as_deref() != Some(b"\x7fELF") {
        return Err(unexpected("a payload that decompresses to an ELF file"));
    }
    Ok(())
}

/// The image and the release name of the only kernel in `root`.
pub(super) fn find(root: &Path) -> Result<(PathBuf, String), VmError> {
    let boot = root.join("boot");
    let entries = fs::read_dir(&boot).map_err(VmError::file("list", &boot))?;
    let found = entries.flatten().find_map(|entry| {
        let release = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        Some((entry.path(), release))
    });
    found.ok_or(VmError::Format { path: boot, expected: "one vmlinuz-*".to_owned() })
}

/// Writes `modules.dep` and its relatives, which the package leaves to its scripts.
pub(super) fn index_modules(lab: &Lab, release: &str) -> Result<(), VmError> {
    let mut command = lab.host_program("usr/bin/kmod", "depmod");
    tool::output("index the kernel's modules", command.arg("-b").arg(lab.root()).arg(release)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_stands_behind_the_setup_sectors() {
        let mut image = vec![0; 0x1000];
        image[SETUP_SECTORS] = 2;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&8_u32.to_le_bytes());
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&9_u32.to_le_bytes());
        image[3 * 512 + 8..3 * 512 + 13].copy_from_slice(b"magic");
        assert_eq!(payload(&image), Some(&b"magic"[..]));
        assert_eq!(payload(&image[..3 * 512]), None);
    }
}
