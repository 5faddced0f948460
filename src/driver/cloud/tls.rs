//! The TLS side of a service: good and bad certificates, offers that a device must refuse, and what it made of them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    authority::Authority,
    front::Wire,
    hello::{self, Hello},
};
use crate::channel::cloud::{Behaviour, CloudLog, EventKind};

/// Time for a device to answer an offer of an old version; it does so with an alert at once, or waits for more.
const VERDICT: Duration = Duration::from_secs(3);

/// The alert that an error stands for: `bad_certificate (42)`, in the words of RFC 8446 section 6.
pub(super) fn alert(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(format!("{} ({})", snake(&format!("{alert:?}")), u8::from(*alert))),
        _ => None,
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = c.is_ascii_lowercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Alert numbers, RFC 8446 section 6 and RFC 5246 section 7.2, by rustls' names.
fn alert_name(number: u8) -> String {
    format!("{} ({number})", snake(&format!("{:?}", rustls::AlertDescription::from(number))))
}

/// A stream whose first bytes have been looked at.
struct Rewound<S> {
    first: Vec<u8>,
    at: usize,
    inner: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.at < this.first.len() {
            let count = (this.first.len() - this.at).min(buf.remaining());
            buf.put_slice(&this.first[this.at..this.at + count]);
            this.at += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Does the server's part of TLS. `Err` is why the connection ends here.
pub(super) async fn accept(
    mut stream: Box<dyn Wire>,
    authority: &Authority,
    behaviour: Behaviour,
    log: &CloudLog,
    connection: u64,
) -> Result<(Box<dyn Wire>, Hello), String> {
    let mut first = Vec::new();
    loop {
        // What is no TLS record is not waited for: its length means nothing.
        let wanted = hello::length(&first).map_or(6, |length| length.clamp(6, hello::LONGEST));
        if first.len() >= wanted || first.first().is_some_and(|byte| *byte != 22) {
            break;
        }
        let mut piece = vec![0; wanted - first.len()];
        match stream.read(&mut piece).await {
            Ok(0) => return Err(format!("closed after {} bytes, before a TLS hello", first.len())),
            Ok(count) => first.extend_from_slice(&piece[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
    let hello = match Hello::parse(&first) {
        Ok(hello) => hello,
        Err(why) => {
            log.record(connection, EventKind::Violation, &why);
            return Err(why);
        }
    };
    log.record(connection, EventKind::ClientHello, &hello.to_string());
    match behaviour {
        Behaviour::Plaintext => return Err(plaintext(stream, log, connection).await),
        Behaviour::OldTls(minor) => return Err(old(stream, &hello, minor, log, connection).await),
        _ => {}
    }
    let bad = match behaviour {
        Behaviour::Certificate(bad) => Some(bad),
        _ => None,
    };
    let config = authority.server(bad, hello.name.as_deref()).map_err(|error| format!("the bench: {error}"))?;
    let stream = Rewound { first, at: 0, inner: stream };
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => {
            let state = stream.get_ref().1;
            let version = state.protocol_version().map_or(0, u16::from);
            let cipher = state.negotiated_cipher_suite().map_or(0, |suite| u16::from(suite.suite()));
            let certificate = bad.map_or_else(|| "as the service's".to_owned(), |bad| bad.to_string());
            log.record(
                connection,
                EventKind::TlsEstablished,
                &format!("{} cipher {cipher:04x} with a certificate {certificate}", hello::version(version)),
            );
            Ok((Box::new(stream), hello))
        }
        Err(error) => match alert(&error) {
            Some(alert) => {
                log.record(connection, EventKind::TlsAlert, &alert);
                Err(format!("alert {alert} from the device"))
            }
            None => Err(format!("the TLS handshake did not end: {error}")),
        },
    }
}

/// Answers in plain text; a device that goes on in plain text has been downgraded.
async fn plaintext(mut stream: Box<dyn Wire>, log: &CloudLog, connection: u64) -> String {
    if let Err(error) = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await {
        return error.to_string();
    }
    answer(stream, log, connection, "a plain-text answer").await
}

/// Answers with the ServerHello of an old version and the first cipher suite of the device that version has.
async fn old(mut stream: Box<dyn Wire>, hello: &Hello, minor: u8, log: &CloudLog, connection: u64) -> String {
    // TLS_(ECDHE_)RSA/ECDSA with AES or 3DES in CBC mode and SHA-1: RFC 5246 appendix A.5, RFC 8422 section 6.
    let known = [0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035, 0x000A];
    let cipher = hello.ciphers.iter().copied().find(|cipher| known.contains(cipher)).unwrap_or(0x002F);
    let random: [u8; 32] = *blake3::hash(&connection.to_be_bytes()).as_bytes();
    let mut body = vec![3, minor];
    body.extend_from_slice(&random);
    body.push(0);
    body.extend_from_slice(&cipher.to_be_bytes());
    body.push(0);
    let mut record = vec![22, 3, minor];
    record.extend_from_slice(&u16::try_from(body.len() + 4).unwrap_or(0).to_be_bytes());
    record.extend_from_slice(&[2, 0, 0]);
    record.push(u8::try_from(body.len()).unwrap_or(0));
    record.extend_from_slice(&body);
    if let Err(error) = stream.write_all(&record).await {
        return error.to_string();
    }
    answer(stream, log, connection, &format!("an offer of {}", hello::version(0x0300 | u16::from(minor)))).await
}

/// What a device says to something that it must refuse: an alert or the end of the connection is a refusal.
async fn answer(mut stream: Box<dyn Wire>, log: &CloudLog, connection: u64, offer: &str) -> String {
    let mut bytes = [0; 7];
    match timeout(VERDICT, stream.read_exact(&mut bytes)).await {
        Ok(Ok(_)) if bytes[0] == 21 => {
            let alert = alert_name(bytes[6]);
            log.record(connection, EventKind::TlsAlert, &alert);
            format!("alert {alert} from the device, after {offer}")
        }
        Ok(Ok(_)) => {
            log.record(connection, EventKind::TlsDowngraded, &format!("the device went on after {offer}"));
            format!("the device went on after {offer}")
        }
        Ok(Err(_)) => format!("closed by the device after {offer}"),
        Err(_) => {
            log.record(connection, EventKind::TlsDowngraded, &format!("the device waits for more after {offer}"));
            format!("the device waits for more after {offer}")
        }
    }
}

/// Trusts nobody in particular: what an interposer says to the real service. The bench is the attacker here.
#[derive(Debug)]
pub(super) struct AnyServer(pub(super) Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        assert_eq!(alert_name(42), "bad_certificate (42)");
        assert_eq!(alert_name(48), "unknown_ca (48)");
        assert_eq!(alert_name(70), "protocol_version (70)");
    }
}
