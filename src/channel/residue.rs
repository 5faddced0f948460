//! What is left of secrets in memory: the forms in which a device may keep one, and a search for all of them at once.
//!
//! A search for the plain text alone misses what was stored as UTF-16, in hex, in a word-swapped dump or as a key derived from it (catalogue,
//! section 2.2). Whatever is found was put there by the secret: forms shorter than [`SHORTEST`] are left out, because so few bytes also
//! occur by chance (in 16 MiB of random bytes, six of them with a probability of 6e-8).

use std::{collections::BTreeSet, fmt, num::NonZeroU32};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::memmem;
use ring::{digest, pbkdf2};

/// Fewest bytes of a form that is searched for, and of a piece of the plain text that counts as a finding.
pub const SHORTEST: usize = 6;
/// Fewest bytes of a secret that can be searched for: shorter ones have forms that occur by chance (catalogue, section 2.2).
pub const SHORTEST_SECRET: usize = 8;
/// Rounds of PBKDF2 by which a Wi-Fi passphrase becomes a key (IEEE 802.11-2020, annex J.4.1).
const WIFI_ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

/// A way in which a secret can be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is.
    Plain,
    /// A piece of it, as it is.
    Piece,
    /// Last byte first.
    Reversed,
    /// Words of 32 bits, each last byte first, as a dump in the other byte order has them.
    WordsReversed,
    /// UTF-16, low byte first.
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
    /// Hexadecimal digits.
    Hex,
    /// The bytes that it writes in hexadecimal digits, as keys are written; first or last byte first.
    Bytes,
    /// Base64 of a text in which it stands, at any of the three places of a group.
    Base64,
    /// With the escapes of JSON.
    Json,
    /// With the escapes of URLs.
    Url,
    /// Every bit inverted.
    Inverted,
    /// Its SHA-1, in bytes or hexadecimal digits.
    Sha1,
    /// Its SHA-256, in bytes or hexadecimal digits.
    Sha256,
    /// The Wi-Fi key made of it and of a network's name, in bytes or hexadecimal digits.
    WifiKey,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Piece => "a piece of it",
            Self::Reversed => "reversed",
            Self::WordsReversed => "with reversed words",
            Self::Utf16Le => "as UTF-16LE",
            Self::Utf16Be => "as UTF-16BE",
            Self::Hex => "as hex",
            Self::Bytes => "as the bytes that it writes in hex",
            Self::Base64 => "in Base64",
            Self::Json => "with JSON escapes",
            Self::Url => "with URL escapes",
            Self::Inverted => "inverted",
            Self::Sha1 => "as its SHA-1",
            Self::Sha256 => "as its SHA-256",
            Self::WifiKey => "as a Wi-Fi key made of it",
        })
    }
}

/// Where a form of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which of the secrets, from 0.
    pub secret: usize,
    /// How it is written there.
    pub form: Form,
    /// Offset of its first byte.
    pub at: usize,
    /// Bytes of it.
    pub len: usize,
}

/// A search for some secrets.
#[derive(Debug, Clone)]
pub struct Search {
    forms: Vec<(usize, Form, Vec<u8>)>,
    /// What pieces are looked for: each secret, and the bytes that it writes in hex.
    whole: Vec<[Vec<u8>; 2]>,
}

/// Why a secret cannot be searched for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is too short to be searched for: fewer than {SHORTEST_SECRET} bytes also occur by chance")]
pub struct TooShort(pub String);

impl Search {
    /// Prepares a search for these secrets, in all forms; Wi-Fi keys for networks of these names.
    ///
    /// # Errors
    /// A secret has fewer than [`SHORTEST_SECRET`] bytes.
    pub fn of(secrets: &[String], networks: &[String]) -> Result<Self, TooShort> {
        let mut forms = Vec::new();
        for (index, secret) in secrets.iter().enumerate() {
            if secret.len() < SHORTEST_SECRET {
                return Err(TooShort(secret.clone()));
            }
            let mut known = BTreeSet::new();
            for (form, bytes) in written(secret, networks) {
                // A form that is the same as one before (hex without letters, escapes of what needs none) is that one.
                if bytes.len() >= SHORTEST && known.insert(bytes.clone()) {
                    forms.push((index, form, bytes));
                }
            }
        }
        let whole = secrets.iter().map(|secret| [secret.as_bytes().to_vec(), from_hex(secret)]).collect();
        Ok(Self { forms, whole })
    }

    /// How many different byte sequences are searched for, pieces not counted.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.forms.len()
    }

    /// The first place of each form of each secret, in the order of the secrets; of a secret that is nowhere whole, the longest piece.
    #[must_use]
    pub fn within(&self, memory: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for (secret, whole) in self.whole.iter().enumerate() {
            let mine = self.forms.iter().filter(|(of, ..)| *of == secret);
            let forms = mine.filter_map(|(_, form, bytes)| {
                memmem::find(memory, bytes).map(|at| Found { secret, form: *form, at, len: bytes.len() })
            });
            let before = found.len();
            found.extend(forms);
            if found.len() == before {
                let longest = whole.iter().filter_map(|bytes| longest_piece(bytes, memory)).max_by_key(|(_, len)| *len);
                found.extend(longest.map(|(at, len)| Found { secret, form: Form::Piece, at, len }));
            }
        }
        found
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes that a text writes in hexadecimal digits; none if it is something else.
fn from_hex(text: &str) -> Vec<u8> {
    let digit = |&byte: &u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
        }
        _ => Vec::new(),
    }
}

/// Every form of a secret, the short ones too.
fn written(secret: &str, networks: &[String]) -> Vec<(Form, Vec<u8>)> {
    let plain = secret.as_bytes();
    let units: Vec<u16> = secret.encode_utf16().collect();
    let mut forms = vec![
        (Form::Plain, plain.to_vec()),
        (Form::Reversed, plain.iter().rev().copied().collect()),
        (Form::Utf16Le, units.iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        (Form::Utf16Be, units.iter().flat_map(|unit| unit.to_be_bytes()).collect()),
        (Form::Hex, hex(plain).into_bytes()),
        (Form::Hex, hex(plain).to_uppercase().into_bytes()),
        (Form::Bytes, from_hex(secret)),
        (Form::Bytes, from_hex(secret).into_iter().rev().collect()),
        (Form::Json, json(secret).into_bytes()),
        (Form::Url, url(plain).into_bytes()),
        (Form::Url, url(plain).to_lowercase().into_bytes()),
        (Form::Inverted, plain.iter().map(|byte| !byte).collect()),
    ];
    // Where a word begins is not known: whole words from each of the four places.
    for first in 0..4 {
        let words = plain.get(first..).unwrap_or_default().chunks_exact(4);
        forms.push((Form::WordsReversed, words.flat_map(|word| word.iter().rev().copied()).collect()));
    }
    for before in 0..3 {
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            forms.push((Form::Base64, in_base64(plain, before, &engine)));
        }
    }
    let mut derived = |form, bytes: &[u8]| {
        forms.extend([(form, bytes.to_vec()), (form, hex(bytes).into_bytes()), (form, hex(bytes).to_uppercase().into_bytes())]);
    };
    derived(Form::Sha1, digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, plain).as_ref());
    derived(Form::Sha256, digest::digest(&digest::SHA256, plain).as_ref());
    for network in networks {
        let mut key = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, WIFI_ROUNDS, network.as_bytes(), plain, &mut key);
        derived(Form::WifiKey, &key);
    }
    forms
}

/// What Base64 makes of the secret when so many bytes of the group stand before it, without the characters that others have a part in.
fn in_base64(plain: &[u8], before: usize, engine: &impl Engine) -> Vec<u8> {
    let mut text = vec![0; before];
    text.extend(plain);
    let whole = text.len() * 8 / 6;
    let first = (before * 8).div_ceil(6);
    engine.encode(&text).into_bytes().get(first..whole).unwrap_or_default().to_vec()
}

/// With the shortest escapes of JSON (RFC 8259 section 7), and `/` escaped as some writers do.
fn json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().replace('/', "\\/")
}

/// Everything but RFC 3986's unreserved characters as `%2D`.
fn url(plain: &[u8]) -> String {
    let escaped = |&byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    plain.iter().map(escaped).collect()
}

/// The longest piece of at least [`SHORTEST`] bytes: where it is in the memory, and how long.
fn longest_piece(plain: &[u8], memory: &[u8]) -> Option<(usize, usize)> {
    let mut longest: Option<(usize, usize)> = None;
    for (from, window) in plain.windows(SHORTEST).enumerate() {
        for at in memmem::find_iter(memory, window) {
            let same = memory[at..].iter().zip(&plain[from..]).take_while(|(a, b)| a == b).count();
            if longest.is_none_or(|(_, len)| same > len) {
                longest = Some((at, same));
            }
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "canary-7f3a";

    fn search(networks: &[&str]) -> Search {
        let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
        Search::of(&["another-secret".to_owned(), SECRET.to_owned()], &networks).unwrap()
    }

    #[track_caller]
    fn is_found(written: &[u8], form: Form) {
        let mut memory = vec![0xA5; 301];
        memory.extend(written);
        memory.extend([0x5A; 100]);
        let found = search(&["home"]).within(&memory);
        assert!(
            found.iter().any(|found| found.secret == 1 && found.form == form && found.at >= 301),
            "{form:?} is not found in {written:02x?}: {found:?}"
        );
        assert!(found.iter().all(|found| found.secret == 1), "{found:?}");
    }

    /// Written down by other means than the module's own.
    #[test]
    fn every_form_is_found() {
        is_found(b"canary-7f3a", Form::Plain);
        is_found(b"a3f7-yranac", Form::Reversed);
        is_found(b"c\0a\0n\0a\0r\0y\0-\x007\0f\x003\0a\0", Form::Utf16Le);
        is_found(b"\0c\0a\0n\0a\0r\0y\0-\x007\0f\x003\0a", Form::Utf16Be);
        is_found(b"63616e6172792d37663361", Form::Hex);
        is_found(b"63616E6172792D37663361", Form::Hex);
        is_found(b"\x9c\x9e\x91\x9e\x8d\x86\xd2\xc8\x99\xcc\x9e", Form::Inverted);
        // `xxcanary-7f3axx`, `xcanary-7f3ax`, `canary-7f3a` by the program base64.
        is_found(b"eHhjYW5hcnktN2YzYXh4", Form::Base64);
        is_found(b"eGNhbmFyeS03ZjNheA==", Form::Base64);
        is_found(b"Y2FuYXJ5LTdmM2E=", Form::Base64);
        // Words of a dump in the other byte order; the secret begins at each place of a word.
        for before in 0..4 {
            let mut text = vec![b'x'; before];
            text.extend(SECRET.as_bytes());
            text.resize(16, b'x');
            let swapped: Vec<u8> = text.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
            is_found(&swapped, Form::WordsReversed);
        }
        // By the programs sha1sum, sha256sum, and openssl kdf (PBKDF2, SHA1, 4096 rounds, salt `home`, 32 bytes).
        is_found(b"e12ca1ccffda27adc755c918c37c9e935cb9e91b", Form::Sha1);
        is_found(b"59fb5173e179d3563ef4f73f8dbcb3fab16ea4e1d6625e5d1408ddc070ac513d", Form::Sha256);
        is_found(b"1b122fbdfcec042a9925d7c9ce9d801859ee6cc42f8f68169e4ae51a7b148717", Form::WifiKey);
    }

    /// Test vector of IEEE 802.11-2020, annex J.4.2: passphrase `password`, network `IEEE`.
    #[test]
    fn a_wifi_key_is_that_of_the_standard() {
        let search = Search::of(&["password".to_owned()], &["IEEE".to_owned()]).unwrap();
        let found = search.within(b"psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e");
        assert_eq!(found, [Found { secret: 0, form: Form::WifiKey, at: 4, len: 64 }]);
    }

    #[test]
    fn escapes_are_found_where_they_are_needed() {
        let search = Search::of(&["pass/\"word".to_owned()], &[]).unwrap();
        let form = |memory: &[u8]| search.within(memory).first().map(|found| found.form);
        assert_eq!(form(br#"{"psk":"pass\/\"word"}"#), Some(Form::Json));
        assert_eq!(form(b"psk=pass%2F%22word"), Some(Form::Url));
        assert_eq!(form(b"psk=pass%2f%22word"), Some(Form::Url));
    }

    #[test]
    fn a_piece_that_survived_is_found_and_a_shorter_one_is_not() {
        let search = search(&[]);
        assert_eq!(search.within(b"....nary-7f3....nary-7...."), [Found { secret: 1, form: Form::Piece, at: 4, len: 8 }]);
        assert_eq!(search.within(b"....nary-7f...."), [Found { secret: 1, form: Form::Piece, at: 4, len: 7 }]);
        assert_eq!(search.within(b"....nary-...."), []);
    }

    #[test]
    fn a_key_that_is_written_in_hex_is_found_in_bytes() {
        let search = Search::of(&["00112233445566778899AAbb".to_owned()], &[]).unwrap();
        let found = |memory: &[u8]| search.within(memory).first().map(|found| (found.form, found.at, found.len));
        assert_eq!(found(b"..\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb.."), Some((Form::Bytes, 2, 12)));
        assert_eq!(found(b"..\xbb\xaa\x99\x88\x77\x66\x55\x44\x33\x22\x11\x00.."), Some((Form::Bytes, 2, 12)));
        assert_eq!(found(b".\x33\x44\x55\x66\x77\x88."), Some((Form::Piece, 1, 6)));
        assert_eq!(found(b".\x33\x44\x55\x66\x77."), None);
        for none in ["00112233445566778", "0x112233445566", "ghghghghghghghgh", "+1+1+1+1+1+1"] {
            assert_eq!(from_hex(none), b"", "{none} is no row of whole bytes in hex");
        }
    }

    #[test]
    fn short_secrets_are_refused_and_forms_that_are_the_same_count_once() {
        assert_eq!(Search::of(&["1234567".to_owned()], &[]).unwrap_err(), TooShort("1234567".to_owned()));
        let digits = Search::of(&["90715523".to_owned()], &[]).unwrap();
        assert!(
            digits.forms.iter().filter(|(_, form, _)| *form == Form::Hex).count() == 1,
            "digits have no capital letters in hex"
        );
        assert!(digits.forms.iter().all(|(_, form, _)| *form != Form::Url), "digits need no escapes");
        assert!(digits.forms.iter().all(|(.., bytes)| bytes.len() >= SHORTEST));
    }

    #[test]
    fn random_memory_holds_nothing() {
        let mut state = 7_u64;
        let memory: Vec<u8> = (0..1 << 20)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(search(&["home"]).within(&memory), []);
    }
}
