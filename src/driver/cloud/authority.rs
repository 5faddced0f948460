//! The bench's own certification authority, and the certificates that it gives: good ones and wrong ones.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::channel::{cloud::BadCertificate, link::LinkError};

/// Server configurations kept; more names than that come only from a device that asks for a new one each time.
const KEPT: usize = 64;

/// A certification authority with its private key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// Names of the service.
    names: Vec<String>,
    /// Whether a certificate is for the name that the device asks for, as an interposer does.
    any_name: bool,
    made: Mutex<BTreeMap<(String, String), Arc<ServerConfig>>>,
}

fn failed(error: &impl std::fmt::Display) -> LinkError {
    LinkError::new("make a certificate", error.to_string())
}

/// Lets a certificate hold from and to so many days from today.
fn hold(params: &mut CertificateParams, from: i32, to: i32) {
    let date = |days: i32| {
        let today = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date();
        let day = today.saturating_add(jiff::Span::new().days(days));
        rcgen::date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (date(from), date(to));
}

fn named(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

fn authority_params(name: DistinguishedName) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    // Devices without a clock begin at some date of their firmware: the authority holds before and long after.
    hold(&mut params, -3650, 3650);
    params
}

impl Authority {
    /// A new authority for a service with these names. Nothing is written anywhere.
    ///
    /// # Errors
    /// A name that no certificate can hold.
    pub fn new(names: &[String], any_name: bool) -> Result<Self, LinkError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))?;
        let mark = crate::event::Digest::of(key.public_key_raw()).0;
        let params = authority_params(named(&format!("hilbench test authority {}", &mark[..12])));
        let root = CertifiedIssuer::self_signed(params, key).map_err(|error| failed(&error))?;
        let (pem, key) = (root.pem(), root.key().serialize_pem());
        Self::from_pem(&pem, &key, names, any_name)
    }

    /// An authority from its certificate and private key (PKCS #8, PEM).
    ///
    /// # Errors
    /// They do not belong together, or are not what they should be.
    pub fn from_pem(certificate: &str, key: &str, names: &[String], any_name: bool) -> Result<Self, LinkError> {
        let problem = |what: String| LinkError::new("read the certification authority", what);
        let key = KeyPair::from_pem(key).map_err(|error| problem(format!("private key: {error}")))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| problem(error.to_string()))?;
        if memchr::memmem::find(&der, key.public_key_raw()).is_none() {
            return Err(problem("the certificate and the private key do not belong together".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|error| problem(error.to_string()))?;
        CertificateParams::new(names.to_vec()).map_err(|error| problem(format!("names of the service: {error}")))?;
        Ok(Self {
            issuer,
            certificate: der,
            pem: certificate.to_owned(),
            names: names.to_vec(),
            any_name,
            made: Mutex::default(),
        })
    }

    /// The authority that `file` holds, with its key beside it in `FILE.key`; made and written there if neither exists.
    ///
    /// # Errors
    /// Only one of them is there, or they cannot be read or written.
    pub fn at(file: &Path, names: &[String]) -> Result<Self, LinkError> {
        let key_file = key_file(file);
        let io = |what: &Path, error: std::io::Error| {
            LinkError::new(format!("certification authority {}", what.display()), error.to_string())
        };
        match (file.exists(), key_file.exists()) {
            (true, true) => {
                let certificate = std::fs::read_to_string(file).map_err(|error| io(file, error))?;
                let key = std::fs::read_to_string(&key_file).map_err(|error| io(&key_file, error))?;
                Self::from_pem(&certificate, &key, names, false)
            }
            (false, false) => {
                let made = Self::new(names, false)?;
                let mut out = std::fs::OpenOptions::new();
                let mut out =
                    out.write(true).create_new(true).mode(0o600).open(&key_file).map_err(|error| io(&key_file, error))?;
                out.write_all(made.issuer.key().serialize_pem().as_bytes()).map_err(|error| io(&key_file, error))?;
                std::fs::write(file, &made.pem).map_err(|error| io(file, error))?;
                Ok(made)
            }
            (true, false) => {
                let what = format!(
                    "there is no key {} beside it; give both, or name a file that does not exist yet",
                    key_file.display()
                );
                Err(LinkError::new(format!("certification authority {}", file.display()), what))
            }
            (false, true) => {
                let what =
                    format!("only its key {} is there; move it away, or put the certificate beside it", key_file.display());
                Err(LinkError::new(format!("certification authority {}", file.display()), what))
            }
        }
    }

    /// The certificate of the authority, for the device's trust store.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The same as DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a server shows a device that asks for `asked`.
    ///
    /// # Errors
    /// A certificate could not be made.
    pub(super) fn server(&self, bad: Option<BadCertificate>, asked: Option<&str>) -> Result<Arc<ServerConfig>, LinkError> {
        let asked = asked.filter(|_| self.any_name).filter(|name| CertificateParams::new(vec![(*name).to_owned()]).is_ok());
        let key = (bad.map(|bad| bad.to_string()).unwrap_or_default(), asked.unwrap_or_default().to_owned());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let names = asked.map_or_else(|| self.names.clone(), |name| vec![name.to_owned()]);
        let certified = self.certify(bad, &names)?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(&error))?;
        let config = Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(Always(Arc::new(certified)))));
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    fn certify(&self, bad: Option<BadCertificate>, names: &[String]) -> Result<CertifiedKey, LinkError> {
        let names =
            if bad == Some(BadCertificate::WrongName) { vec!["other-service.invalid".to_owned()] } else { names.to_vec() };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))?;
        let mut params = CertificateParams::new(names.clone()).map_err(|error| failed(&error))?;
        params.distinguished_name = named(names.first().map_or("localhost", String::as_str));
        params.extended_key_usages = vec![match bad {
            Some(BadCertificate::ClientOnly) => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(u64::from_be_bytes(serial(&key))));
        let (from, to) = match bad {
            Some(BadCertificate::Expired) => (-400, -30),
            Some(BadCertificate::NotYetValid) => (30, 400),
            _ => (-30, 365),
        };
        hold(&mut params, from, to);
        let mut chain = Vec::new();
        let made = |error: rcgen::Error| failed(&error);
        let certificate = match bad {
            Some(BadCertificate::SelfSigned) => params.self_signed(&key).map_err(made)?,
            Some(BadCertificate::UnknownCa) => {
                let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?;
                // The same name and key identifier as the known one: only the signature tells them apart.
                let impostor = Issuer::from_ca_cert_der(&self.certificate, other).map_err(made)?;
                params.signed_by(&key, &impostor).map_err(made)?
            }
            Some(BadCertificate::LeafAsCa) => {
                let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?;
                let mut leaf = CertificateParams::new(vec!["leaf.invalid".to_owned()]).map_err(made)?;
                leaf.distinguished_name = named("leaf.invalid");
                hold(&mut leaf, -30, 365);
                let signed = leaf.signed_by(&leaf_key, &self.issuer).map_err(made)?;
                chain.push(signed.der().clone());
                params.signed_by(&key, &Issuer::new(leaf, leaf_key)).map_err(made)?
            }
            _ => params.signed_by(&key, &self.issuer).map_err(made)?,
        };
        chain.insert(0, certificate.der().clone());
        let signer = if bad == Some(BadCertificate::OtherKey) {
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(made)?
        } else {
            key
        };
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signer.serialize_der()));
        let signing = ring::sign::any_supported_type(&der).map_err(|error| failed(&error))?;
        Ok(CertifiedKey::new(chain, signing))
    }
}

fn key_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

fn serial(key: &KeyPair) -> [u8; 8] {
    let digest = blake3::hash(key.public_key_raw());
    let mut serial = [0; 8];
    serial.copy_from_slice(&digest.as_bytes()[..8]);
    // Positive and not zero.
    serial[0] = serial[0] & 0x7F | 1;
    serial
}

/// Names of a service from a parameter: separated by commas.
#[must_use]
pub(super) fn names(text: Option<&str>, listen: Option<IpAddr>) -> Vec<String> {
    match text {
        Some(text) => text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        None => std::iter::once("localhost".to_owned())
            .chain(listen.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()))
            .collect(),
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
