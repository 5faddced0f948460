//! Images that steps send or flash: the device's own, and those made from them by a declared alteration.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    event::Digest,
    plan::model::{Alteration, AlteredImage, Truncation},
    rig::model::Device,
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
            };
            by_name.insert(role.clone(), ready);
        }
        for spec in altered {
            let source =
                device.images.get(&spec.from).ok_or_else(|| format!("image `{}`: no image `{}`", spec.name, spec.from))?;
            let bytes =
                alter(&source.bytes, &spec.alteration, &device.layout).map_err(|why| format!("image `{}`: {why}", spec.name))?;
            let difference = difference(&spec.from, &source.bytes, &bytes)
                .ok_or_else(|| format!("image `{}`: the alteration changes nothing", spec.name))?;
            let ready = ReadyImage { bytes: Arc::new(bytes), version: None, address: None, difference: Some(difference) };
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

/// Applies an alteration.
///
/// # Errors
/// A region that the layout lacks or a place outside the image, in words.
pub fn alter(bytes: &[u8], alteration: &Alteration, layout: &BTreeMap<String, (i64, Option<i64>)>) -> Result<Vec<u8>, String> {
    let mut out = bytes.to_vec();
    match alteration {
        Alteration::FlipBit { region, at, bit } => {
            let place = place(bytes.len(), layout, region, *at)?;
            out[place] ^= 1_u8.checked_shl(u32::from(*bit)).unwrap_or(0);
        }
        Alteration::Replace { region, at, bytes: new } => {
            let start = place(bytes.len(), layout, region, *at)?;
            let target = start.checked_add(new.len()).and_then(|end| out.get_mut(start..end));
            target
                .ok_or_else(|| format!("{} bytes at {at} of `{region}` reach past the end of the image", new.len()))?
                .copy_from_slice(new);
        }
        Alteration::Truncate(Truncation::Permille(keep)) => {
            out.truncate(usize::try_from(bytes.len() as u128 * u128::from(*keep) / 1000).unwrap_or(usize::MAX));
        }
        Alteration::Truncate(Truncation::AllBut(missing)) => {
            out.truncate(bytes.len().saturating_sub(usize::try_from(*missing).unwrap_or(usize::MAX)));
        }
    }
    Ok(out)
}

fn place(len: usize, layout: &BTreeMap<String, (i64, Option<i64>)>, region: &str, at: i64) -> Result<usize, String> {
    let (start, end) = layout.get(region).ok_or_else(|| format!("the image layout has no region `{region}`"))?;
    let absolute = |offset: i64| if offset < 0 { (len as i64).checked_add(offset) } else { Some(offset) };
    let (start, end) = (absolute(*start), end.map_or(Some(len as i64), absolute));
    let outside = || format!("byte {at} of region `{region}` lies outside the image of {len} bytes");
    let (start, end) = (start.ok_or_else(outside)?, end.ok_or_else(outside)?);
    let place = if at < 0 { end.checked_add(at) } else { start.checked_add(at) }.ok_or_else(outside)?;
    if place < start || place >= end || place < 0 || place >= len as i64 {
        return Err(outside());
    }
    usize::try_from(place).map_err(|_| outside())
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

    use super::{Alteration, Truncation, alter, difference};

    fn layout() -> BTreeMap<String, (i64, Option<i64>)> {
        [("header", (0, Some(4))), ("payload", (4, Some(-2))), ("signature", (-2, None))]
            .into_iter()
            .map(|(name, range)| (name.to_owned(), range))
            .collect()
    }

    #[test]
    fn a_flip_changes_exactly_one_bit_at_the_declared_place() {
        let old: Vec<u8> = (0..10).collect();
        let cases = [
            ("header", 0, 0),
            ("header", -1, 3),
            ("payload", 0, 4),
            ("payload", -1, 7),
            ("signature", 0, 8),
            ("signature", -1, 9),
        ];
        for (region, at, expected) in cases {
            let new = alter(&old, &Alteration::FlipBit { region: region.to_owned(), at, bit: 6 }, &layout()).unwrap();
            let found = difference("x", &old, &new).unwrap();
            assert_eq!((found.first, found.bytes), (expected, 1), "{region} {at}");
            assert_eq!(old[expected as usize] ^ new[expected as usize], 0x40);
        }
    }

    #[test]
    fn a_place_outside_its_region_is_refused() {
        let old = [0_u8; 10];
        for (region, at) in [
            ("header", 4),
            ("header", -5),
            ("payload", 4),
            ("signature", 2),
            ("signature", -3),
            ("nowhere", 0),
            ("payload", i64::MIN),
        ] {
            assert!(
                alter(&old, &Alteration::FlipBit { region: region.to_owned(), at, bit: 0 }, &layout()).is_err(),
                "{region} {at}"
            );
        }
        let replace = Alteration::Replace { region: "signature".to_owned(), at: 0, bytes: vec![0; 3] };
        assert!(alter(&old, &replace, &layout()).is_err());
    }

    #[test]
    fn truncation_counts_the_missing_bytes() {
        let old = [1_u8; 10];
        let half = alter(&old, &Alteration::Truncate(Truncation::Permille(500)), &layout()).unwrap();
        let found = difference("x", &old, &half).unwrap();
        assert_eq!((half.len(), found.first, found.bytes), (5, 5, 5));
        let last = alter(&old, &Alteration::Truncate(Truncation::AllBut(1)), &layout()).unwrap();
        assert_eq!(last.len(), 9);
        assert_eq!(difference("x", &old, &old), None);
    }
}
