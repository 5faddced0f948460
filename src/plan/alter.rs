//! Altered images: the genuine bytes with one declared change.

use thiserror::Error;

use super::model::{Alteration, AlteredImage, Truncation};
use crate::rig::{model::Device, region};

/// Why an image cannot be altered as declared.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AlterError {
    /// The profile has no such image.
    #[error("the device profile has no image `{0}`")]
    NoImage(String),
    /// The profile's layout has no such region.
    #[error("the device profile's layout has no region `{0}`")]
    NoRegion(String),
    /// The region, or the bytes in it, are not inside the image.
    #[error("{0}")]
    Outside(String),
    /// Nothing would be different.
    #[error("the altered image is equal to the genuine one")]
    Same,
}

/// The bytes of an altered image.
///
/// # Errors
/// If the change does not lie inside the image or changes nothing: a "tampered" image that is genuine would prove the opposite of
/// what the plan says.
pub fn alter(altered: &AlteredImage, device: &Device) -> Result<Vec<u8>, AlterError> {
    let genuine = &device.images.get(&altered.from).ok_or_else(|| AlterError::NoImage(altered.from.clone()))?.bytes;
    let mut bytes = genuine.clone();
    match &altered.alteration {
        Alteration::FlipBit { region, at, bit } => {
            let at = position(device, genuine, region, *at, 1)?;
            bytes[at] ^= 1 << (bit & 7);
        }
        Alteration::Replace { region, at, bytes: new } => {
            let at = position(device, genuine, region, *at, new.len())?;
            bytes[at..at + new.len()].copy_from_slice(new);
        }
        Alteration::Truncate(Truncation::Permille(permille)) => {
            let keep = (genuine.len() as u128 * u128::from(*permille) / 1000) as usize;
            bytes.truncate(keep);
        }
        Alteration::Truncate(Truncation::AllBut(missing)) => {
            let keep = usize::try_from(*missing).ok().and_then(|missing| genuine.len().checked_sub(missing));
            let too_short = || format!("image `{}` has only {} bytes, {missing} cannot be missing", altered.from, genuine.len());
            bytes.truncate(keep.ok_or_else(|| AlterError::Outside(too_short()))?);
        }
    }
    if bytes == *genuine {
        return Err(AlterError::Same);
    }
    Ok(bytes)
}

/// Offset in the image of byte `at` of a region, with `length` bytes of the region from there.
fn position(device: &Device, genuine: &[u8], name: &str, at: i64, length: usize) -> Result<usize, AlterError> {
    let (from, to) = *device.layout.get(name).ok_or_else(|| AlterError::NoRegion(name.to_owned()))?;
    let range = region(from, to, genuine.len()).ok_or_else(|| {
        AlterError::Outside(format!("region `{name}` does not lie inside the image of {} bytes", genuine.len()))
    })?;
    let inside = range.len();
    let start = if at < 0 { i64::try_from(inside).ok().and_then(|inside| inside.checked_add(at)) } else { Some(at) };
    start
        .and_then(|start| usize::try_from(start).ok())
        .filter(|start| start.checked_add(length).is_some_and(|end| end <= inside))
        .map(|start| range.start + start)
        .ok_or_else(|| {
            let what = if length == 1 { format!("byte {at} does") } else { format!("{length} bytes at {at} do") };
            AlterError::Outside(format!("{what} not lie inside region `{name}`, which has {inside} bytes in this image"))
        })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::{AlterError, alter};
    use crate::{
        plan::model::{Alteration, AlteredImage, Truncation},
        rig::model::{Device, Image},
    };

    fn device() -> Device {
        let image = Image { file: PathBuf::new(), address: None, version: None, bytes: (0..200).map(|n| n as u8).collect() };
        Device {
            name: "d".into(),
            file: PathBuf::new(),
            declared: BTreeMap::new(),
            images: [("v2".to_owned(), image)].into(),
            layout: [("payload".to_owned(), (64, Some(-64))), ("signature".to_owned(), (-64, None))].into(),
            procedures: BTreeMap::new(),
            interruption: None,
            golden: Vec::new(),
            ble: None,
            usb: BTreeMap::new(),
        }
    }

    fn try_it(alteration: Alteration) -> Result<Vec<u8>, AlterError> {
        alter(&AlteredImage { name: "a".into(), from: "v2".into(), address: None, alteration }, &device())
    }

    fn changed(alteration: Alteration) -> Vec<usize> {
        let genuine = device().images["v2"].bytes.clone();
        let bytes = try_it(alteration).unwrap();
        assert_eq!(bytes.len(), genuine.len());
        (0..bytes.len()).filter(|at| bytes[*at] != genuine[*at]).collect()
    }

    fn flip(region: &str, at: i64) -> Alteration {
        Alteration::FlipBit { region: region.into(), at, bit: 7 }
    }

    #[test]
    fn only_the_declared_bytes_change() {
        assert_eq!(changed(flip("payload", 0)), [64]);
        assert_eq!(changed(flip("payload", -1)), [135]);
        assert_eq!(changed(flip("signature", 3)), [139]);
        assert_eq!(changed(Alteration::Replace { region: "signature".into(), at: -2, bytes: vec![0; 2] }), [198, 199]);
    }

    #[test]
    fn truncations_keep_the_start() {
        let half = try_it(Alteration::Truncate(Truncation::Permille(500))).unwrap();
        assert_eq!(half, device().images["v2"].bytes[..100]);
        assert_eq!(try_it(Alteration::Truncate(Truncation::AllBut(1))).unwrap().len(), 199);
        assert_eq!(try_it(Alteration::Truncate(Truncation::AllBut(200))).unwrap().len(), 0);
        assert!(matches!(try_it(Alteration::Truncate(Truncation::AllBut(201))), Err(AlterError::Outside(_))));
    }

    #[test]
    fn changes_outside_and_changes_of_nothing_are_refused() {
        for (region, at) in [("payload", 72), ("payload", -73), ("payload", i64::MIN), ("signature", i64::MAX)] {
            assert!(matches!(try_it(flip(region, at)), Err(AlterError::Outside(_))), "{region} {at}");
        }
        assert_eq!(try_it(flip("header", 0)), Err(AlterError::NoRegion("header".into())));
        let same = Alteration::Replace { region: "payload".into(), at: 0, bytes: vec![64, 65] };
        assert_eq!(try_it(same), Err(AlterError::Same));
        assert_eq!(try_it(Alteration::Truncate(Truncation::Permille(1000))), Err(AlterError::Same));
    }
}
