//! The first record of a TLS connection: what the device offers. RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301.

use std::fmt::Write as _;

/// Longest record: RFC 8446 section 5.1, with its header.
pub(super) const LONGEST: usize = 16_384 + 5;
/// Values of one list that are told.
const TOLD: usize = 64;

/// What a ClientHello says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hello {
    /// Server name, if asked for.
    pub name: Option<String>,
    /// Versions offered, such as 0x0304.
    pub versions: Vec<u16>,
    /// Cipher suites offered.
    pub ciphers: Vec<u16>,
    /// Application protocols.
    pub alpn: Vec<String>,
}

/// Reads forward, never past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }
    fn u16(&mut self) -> Option<u16> {
        self.number(2).and_then(|number| u16::try_from(number).ok())
    }
    /// A vector with a length of so many bytes before it.
    fn vector(&mut self, bytes: usize) -> Option<Reader<'a>> {
        let length = self.number(bytes)?;
        self.take(length).map(Reader)
    }
    fn u16s(mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.u16()).collect()
    }
}

/// Whether these bytes are a whole first record, as far as is needed; the length that it will have once known.
#[must_use]
pub fn length(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader(bytes);
    reader.take(3)?;
    reader.number(2).map(|length| length + 5)
}

impl Hello {
    /// Reads a handshake record. A hello that continues in a second record is read as far as it goes.
    ///
    /// # Errors
    /// It is no ClientHello.
    pub fn parse(record: &[u8]) -> Result<Self, String> {
        let shown = |bytes: &[u8]| {
            bytes.iter().take(16).fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        let not = || format!("no TLS: {}", shown(record));
        if record.first() != Some(&22) || record.get(1) != Some(&3) || record.get(5) != Some(&1) {
            return Err(not());
        }
        let mut hello = Self::default();
        let mut body = Reader(record.get(9..).ok_or_else(not)?);
        let mut read = || {
            let legacy = body.u16()?;
            body.take(32)?;
            body.vector(1)?;
            hello.versions = vec![legacy];
            hello.ciphers = body.vector(2)?.u16s();
            body.vector(1)?;
            let mut extensions = body.vector(2).or_else(|| Some(Reader(&[])))?;
            while let (Some(kind), Some(mut content)) = (extensions.u16(), extensions.vector(2)) {
                match kind {
                    0 => {
                        let mut names = content.vector(2)?;
                        if names.number(1) == Some(0) {
                            hello.name = names.vector(2).map(|name| String::from_utf8_lossy(name.0).into_owned());
                        }
                    }
                    16 => {
                        let mut protocols = content.vector(2)?;
                        while let Some(protocol) = protocols.vector(1) {
                            hello.alpn.push(String::from_utf8_lossy(protocol.0).into_owned());
                        }
                    }
                    43 => hello.versions = content.vector(1)?.u16s(),
                    _ => {}
                }
            }
            Some(())
        };
        read().ok_or_else(|| "a ClientHello that ends too early".to_owned())?;
        Ok(hello)
    }

    /// The newest version offered that is not a reserved one (GREASE, RFC 8701).
    #[must_use]
    pub fn newest(&self) -> u16 {
        self.versions.iter().copied().filter(|version| version >> 8 == 3).max().unwrap_or(0)
    }
}

/// The name of a version.
#[must_use]
pub fn version(number: u16) -> String {
    match number {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", number - 0x0301),
        other => format!("{other:#06x}"),
    }
}

impl std::fmt::Display for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let versions: Vec<_> = self.versions.iter().take(TOLD).filter(|v| *v >> 8 == 3).map(|v| version(*v)).collect();
        let ciphers: Vec<_> = self.ciphers.iter().take(TOLD).map(|cipher| format!("{cipher:04x}")).collect();
        write!(f, "name {} versions {} ciphers {}", self.name.as_deref().unwrap_or("-"), versions.join(","), ciphers.join(","))?;
        if !self.alpn.is_empty() {
            write!(f, " alpn {}", self.alpn.iter().take(TOLD).cloned().collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Vec<u8> {
        let name = rustls::pki_types::ServerName::try_from("mqtt.vendor.example").unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    #[test]
    fn a_real_hello_is_read() {
        let record = hello();
        assert_eq!(length(&record), Some(record.len()));
        let hello = Hello::parse(&record).unwrap();
        assert_eq!(hello.name.as_deref(), Some("mqtt.vendor.example"));
        assert_eq!((hello.newest(), hello.alpn.as_slice()), (0x0304, ["mqtt".to_owned()].as_slice()));
        assert!(hello.ciphers.contains(&0x1301) && hello.versions.contains(&0x0303));
        assert!(hello.to_string().contains("TLS 1.3"));
    }

    #[test]
    fn what_is_not_tls_is_said_to_be_so() {
        assert!(Hello::parse(b"GET / HTTP/1.1\r\n").unwrap_err().starts_with("no TLS: 474554"));
        assert!(Hello::parse(&[]).is_err());
        assert!(Hello::parse(&hello()[..60]).is_err());
    }

    proptest! {
        #[test]
        fn a_mangled_hello_is_never_a_panic(at in 5_usize..200, value: u8, cut in 0_usize..300) {
            let mut record = hello();
            let at = at % record.len();
            record[at] = value;
            record.truncate(cut.min(record.len()));
            let _ = Hello::parse(&record).map(|hello| hello.to_string());
        }
    }
}
