//! Images that steps send or flash: the device's own, and those made from them by a declared alteration.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    event::Digest,
    plan::{alter, model::AlteredImage},
    rig::model::{Device, Image},
};

/// One image ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyImage {
    /// The bytes.
    pub bytes: Arc<Vec<u8>>,
    /// Version that a device running it reports, for genuine images.
    pub version: Option<String>,
    /// Flash address, for images a probe can write.
    pub address: Option<u32>,
    /// For an altered image: how it differs, established by comparing the bytes.
    pub difference: Option<Difference>,
    /// Another of the device's images that has the very same bytes: what is special about this one, nothing shows.
    pub same_as: Option<String>,
}

/// How an altered image differs from the one it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Role it was made from.
    pub from: String,
    /// First byte that differs; the length for a truncated one.
    pub first: u64,
    /// Bytes that differ, missing ones included.
    pub bytes: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "differs from {} in {} bytes from byte {} on", self.from, self.bytes, self.first)
    }
}

impl ReadyImage {
    /// Why offering it would prove nothing, if so: a wrong file under its name must not be held against the device.
    #[must_use]
    pub fn doubt(&self, name: &str) -> Option<String> {
        let other = self.same_as.as_ref()?;
        Some(format!("what makes {name} another image than {other}: their files have the same bytes"))
    }
}

/// Images by name.
#[derive(Debug, Clone, Default)]
pub struct Images {
    by_name: BTreeMap<String, ReadyImage>,
}

impl Images {
    /// The device's images and the plan's altered ones.
    ///
    /// # Errors
    /// An alteration that does not fit its image; the check reports these with their place before a run starts.
    pub fn prepare(device: &Device, altered: &[AlteredImage]) -> Result<Self, String> {
        let mut by_name = BTreeMap::new();
        for (role, image) in &device.images {
            let ready = ReadyImage {
                bytes: Arc::new(image.bytes.clone()),
                version: image.version.clone(),
                address: image.address,
                difference: None,
                same_as: same_bytes(role, &device.images),
            };
            by_name.insert(role.clone(), ready);
        }
        for spec in altered {
            let failed = |why: String| format!("image `{}`: {why}", spec.name);
            let source = device.images.get(&spec.from).ok_or_else(|| failed(format!("no image `{}`", spec.from)))?;
            let bytes = alter(spec, device).map_err(|why| failed(why.to_string()))?;
            let difference = difference(&spec.from, &source.bytes, &bytes);
            let difference = difference.ok_or_else(|| failed("the alteration changes nothing".to_owned()))?;
            let ready = ReadyImage {
                bytes: Arc::new(bytes),
                version: None,
                address: spec.address.or(source.address),
                difference: Some(difference),
                same_as: None,
            };
            by_name.insert(spec.name.clone(), ready);
        }
        Ok(Self { by_name })
    }

    /// An image by role or name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ReadyImage> {
        self.by_name.get(name)
    }

    /// Name and digest of each, for the run header.
    pub fn digests(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.by_name.iter().map(|(name, image)| (name.as_str(), Digest::of(&image.bytes)))
    }
}

/// Another role whose file has the same bytes.
fn same_bytes(role: &str, images: &BTreeMap<String, Image>) -> Option<String> {
    let own = &images.get(role)?.bytes;
    images.iter().find(|(other, image)| *other != role && image.bytes == *own).map(|(other, _)| other.clone())
}

fn difference(from: &str, old: &[u8], new: &[u8]) -> Option<Difference> {
    let changed = old.iter().zip(new).filter(|(a, b)| a != b).count();
    let missing = old.len().abs_diff(new.len());
    let first = old.iter().zip(new).position(|(a, b)| a != b).unwrap_or(old.len().min(new.len()));
    (changed + missing > 0).then(|| Difference { from: from.to_owned(), first: first as u64, bytes: (changed + missing) as u64 })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Image, difference, same_bytes};

    #[test]
    fn a_copy_under_another_name_is_noticed() {
        let image = |bytes: &[u8]| Image { file: "x.bin".into(), address: None, version: None, bytes: bytes.to_vec() };
        let images = [("v1", image(b"one")), ("v2", image(b"two")), ("foreign", image(b"two"))];
        let images: BTreeMap<String, Image> = images.into_iter().map(|(role, image)| (role.to_owned(), image)).collect();
        assert_eq!(same_bytes("v1", &images), None);
        assert_eq!(same_bytes("foreign", &images).as_deref(), Some("v2"));
        assert_eq!(same_bytes("v2", &images).as_deref(), Some("foreign"));
    }

    #[test]
    fn a_difference_is_found_by_comparing_the_bytes() {
        let old = [1_u8; 10];
        let mut new = old;
        new[3] ^= 4;
        new[7] ^= 1;
        let found = difference("x", &old, &new).unwrap();
        assert_eq!((found.first, found.bytes), (3, 2));
        let half = difference("x", &old, &old[..5]).unwrap();
        assert_eq!((half.first, half.bytes), (5, 5));
        assert_eq!(difference("x", &old, &old), None);
    }
}
