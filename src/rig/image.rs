//! Firmware images: files to bytes, and the regions in them.

use std::{fmt::Write as _, ops::Range, path::Path};

use sha2::{Digest as _, Sha256};

use super::model::Image;
use crate::{
    diagnostic::{Code, Diagnostic, Report},
    document::{Map, Value, read_bytes},
};

/// Largest image, in bytes.
pub const MAX_IMAGE: u64 = 16 << 20;

/// Where a region `from..to` lies in an image of `length` bytes; negative numbers count from its end, no `to` means the end.
/// `None` if it is not inside the image or empty.
#[must_use]
pub fn region(from: i64, to: Option<i64>, length: usize) -> Option<Range<usize>> {
    let length = i64::try_from(length).ok()?;
    let absolute = |at: i64| if at < 0 { length.checked_add(at) } else { Some(at) };
    let start = absolute(from)?;
    let end = to.map_or(Some(length), absolute)?;
    (start >= 0 && start < end && end <= length)
        .then(|| usize::try_from(start).ok().zip(usize::try_from(end).ok()))?
        .map(|(s, e)| s..e)
}

/// Reads the image that `map` describes. `base` is the directory of the file it is written in.
pub(super) fn image(base: &Path, map: &Map, report: &mut Report) -> Option<Image> {
    let value = map.get("file")?;
    let file = base.join(value.text());
    let bytes = bytes(&file, map, value, report)?;
    let address = map.get("address").and_then(|value| u32::try_from(value.integer()).ok());
    if let (Some(address), Some(value)) = (address, map.get("address"))
        && u64::from(address) + bytes.len() as u64 > 1 << 32
    {
        let message = format!("the image of {} bytes at 0x{address:08x} ends beyond the 32-bit address space", bytes.len());
        report.push(Diagnostic::new(Code::OutOfRange, value.place.clone(), message));
    }
    Some(Image { file, address, version: map.get("version").map(|value| value.text().to_owned()), bytes })
}

/// The bytes alone, digest compared.
pub(super) fn bytes(file: &Path, map: &Map, value: &Value, report: &mut Report) -> Option<Vec<u8>> {
    let bytes = match read_bytes(file, MAX_IMAGE) {
        Ok(bytes) => bytes,
        Err(problem) => {
            let code = if problem.too_large { Code::TooLarge } else { Code::BadImage };
            report.push(Diagnostic::new(code, value.place.clone(), problem.message).help(problem.help));
            return None;
        }
    };
    if bytes.is_empty() {
        report.push(Diagnostic::new(Code::BadImage, value.place.clone(), format!("image `{}` is empty", file.display())));
        return None;
    }
    if let Some(wanted) = map.get("sha256") {
        let found: String = Sha256::digest(&bytes).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        if found != wanted.text() {
            report.push(
                Diagnostic::new(Code::DigestMismatch, wanted.place.clone(), "the image has another SHA-256")
                    .related(value.place.clone(), "the image")
                    .help(format!("it is {found}; check where the file comes from before you change the digest")),
            );
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::region;

    #[test]
    fn regions_are_inside_and_not_empty() {
        assert_eq!(region(0, Some(64), 200), Some(0..64));
        assert_eq!(region(64, Some(-64), 200), Some(64..136));
        assert_eq!(region(-64, None, 200), Some(136..200));
        for (from, to, length) in [
            (0, Some(64), 63),
            (64, Some(-64), 128),
            (-64, None, 63),
            (5, Some(5), 10),
            (0, None, 0),
            (0, Some(i64::MIN), 9),
            (i64::MIN, None, 9),
        ] {
            assert_eq!(region(from, to, length), None, "{from} {to:?} {length}");
        }
    }
}
