//! Updates of the hub: how a bundle is made up, and what the hub wants of one.
//!
//! A header of 128 bytes, then the payload. Numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `HUBu` |
//! | 4..8 | product |
//! | 8..12 | version: major, minor, patch, and a zero |
//! | 12..16 | security counter |
//! | 16..20 | bytes of payload |
//! | 20..32 | zeros |
//! | 32..64 | SHA-256 of the payload |
//! | 64..128 | Ed25519 signature (RFC 8032) of bytes 0..64 |

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::Flaw;

/// Bytes of a header.
pub(super) const HEADER: usize = 128;
/// Bytes of a header that are signed.
const SIGNED: usize = 64;
const MAGIC: [u8; 4] = *b"HUBu";
/// This product.
const PRODUCT: u32 = 0x4842_0001;
/// Key of the maker, `vendor-test` in `firmware-fixtures/smart-hub/manifest.toml`.
const KEY: [u8; 32] = [
    0x2b, 0xaa, 0x23, 0xe4, 0xa5, 0xb2, 0x97, 0xa0, 0x20, 0x6d, 0x0c, 0xa1, 0x99, 0xc7, 0xa4, 0x4e, 0xc2, 0xfa, 0xe1, 0xb7, 0x07,
    0x9a, 0x08, 0x8c, 0x2e, 0x5a, 0xcd, 0x16, 0x54, 0xec, 0xb6, 0x46,
];

/// Why a bundle is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No header, or none that is as it should be.
    Header,
    /// For another product.
    Product,
    /// The payload is too long, or not as long as the header says.
    Length,
    /// The security counter is lower than the hub's.
    Rollback,
    /// The signature is not that of the maker.
    Signature,
    /// The payload is not the one that is signed.
    Digest,
}

impl Refusal {
    /// The word on the console.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Product => "product",
            Self::Length => "length",
            Self::Rollback => "rollback",
            Self::Signature => "signature",
            Self::Digest => "digest",
        }
    }
}

/// A header that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    version: [u8; 3],
    /// Security counter.
    pub(super) counter: u32,
    /// Bytes of payload.
    pub(super) length: usize,
    digest: [u8; 32],
}

impl Header {
    /// Reads a header and holds it against the rules: those of the hub, its counter, and the room that there is for all of a bundle.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(bytes: &[u8], counter: u32, room: usize, flaw: Option<Flaw>) -> Result<Self, Refusal> {
        let signed = bytes.get(..SIGNED).ok_or(Refusal::Header)?;
        let signature = bytes.get(SIGNED..HEADER).and_then(|bytes| bytes.try_into().ok()).ok_or(Refusal::Header)?;
        let word = |at: usize| signed.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        if signed[..4] != MAGIC || signed[11] != 0 || signed[20..32].iter().any(|byte| *byte != 0) {
            return Err(Refusal::Header);
        }
        if word(4) != PRODUCT && flaw != Some(Flaw::AnyProduct) {
            return Err(Refusal::Product);
        }
        let length = usize::try_from(word(16)).map_err(|_| Refusal::Length)?;
        if length == 0 || length > room.saturating_sub(HEADER) {
            return Err(Refusal::Length);
        }
        if word(12) < counter && flaw != Some(Flaw::NoCounterCheck) {
            return Err(Refusal::Rollback);
        }
        let key = VerifyingKey::from_bytes(&KEY).map_err(|_| Refusal::Signature)?;
        if key.verify_strict(signed, &Signature::from_bytes(&signature)).is_err() && flaw != Some(Flaw::SignatureIgnored) {
            return Err(Refusal::Signature);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&signed[32..]);
        Ok(Self { version: [signed[8], signed[9], signed[10]], counter: word(12), length, digest })
    }

    /// Whether this is the payload that is signed.
    ///
    /// # Errors
    /// It is not, or not all of it.
    pub(super) fn check_payload(&self, payload: &[u8], flaw: Option<Flaw>) -> Result<(), Refusal> {
        if payload.len() != self.length {
            return Err(Refusal::Length);
        }
        let same = Sha256::digest(payload).as_slice() == self.digest;
        if same || flaw == Some(Flaw::SignatureIgnored) { Ok(()) } else { Err(Refusal::Digest) }
    }

    /// The version: `2.0.0`.
    pub(super) fn version(&self) -> String {
        let [major, minor, patch] = self.version;
        format!("{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 8192;

    fn image(name: &str) -> Vec<u8> {
        let file = format!("{}/firmware-fixtures/smart-hub/images/{name}.bundle", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn judge(bytes: &[u8], counter: u32, flaw: Option<Flaw>) -> Result<String, Refusal> {
        let header = Header::check(bytes, counter, ROOM, flaw)?;
        header.check_payload(bytes.get(HEADER..).unwrap_or_default(), flaw)?;
        Ok(header.version())
    }

    #[test]
    fn genuine_bundles_are_taken_and_others_are_not() {
        for (name, version, counter) in
            [("hub-v1", "1.0.0", 1), ("hub-v2", "2.0.0", 2), ("hub-v3", "3.0.0", 3), ("hub-v2-hang", "2.0.0", 2)]
        {
            assert_eq!(judge(&image(name), counter, None), Ok(version.to_owned()));
            assert_eq!(judge(&image(name), counter + 1, None), Err(Refusal::Rollback));
            assert_eq!(judge(&image(name), counter + 1, Some(Flaw::NoCounterCheck)), Ok(version.to_owned()));
        }
        assert_eq!(judge(&image("hub-v2-wrong-key"), 1, None), Err(Refusal::Signature));
        assert_eq!(judge(&image("hub-v2-wrong-product"), 1, None), Err(Refusal::Product));
        assert_eq!(judge(&image("hub-v2-wrong-product"), 1, Some(Flaw::AnyProduct)), Ok("2.0.0".to_owned()));
        assert_eq!(judge(b"<!DOCTYPE html><html></html>", 1, None), Err(Refusal::Header));
        assert_eq!(Header::check(&image("hub-v2"), 1, 1000, None), Err(Refusal::Length));
    }

    #[test]
    fn every_byte_counts_and_nothing_panics() {
        let good = image("hub-v2");
        for at in (0..good.len()).step_by(7).chain(0..HEADER).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(judge(&bad, 1, None).is_err(), "byte {at}");
        }
        for length in 0..good.len() {
            assert!(judge(&good[..length], 1, None).is_err(), "{length} bytes");
        }
        let longer = [good.clone(), vec![0]].concat();
        assert_eq!(judge(&longer, 1, None), Err(Refusal::Length));
        let mut changed = good;
        changed[HEADER] ^= 1;
        assert!(judge(&changed, 1, Some(Flaw::SignatureIgnored)).is_ok());
    }
}
