//! One HTTP/1.1 request over TLS (RFC 9112), on a connection that ends with its answer. Lengths and times are bounded: who answers is not trusted.

use std::{net::SocketAddr, sync::PoisonError, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::certificate::{self, Pin};
use crate::channel::{
    api::{Ask, Heard, LONGEST_BODY},
    link::LinkError,
};

/// Longest exchange; steps have shorter times of their own.
const LONGEST: Duration = Duration::from_mins(1);
/// Longest head of an answer.
const HEAD: usize = 16 * 1024;
/// Header fields of an answer.
const FIELDS: usize = 64;

/// Does one request.
pub(super) async fn request(address: SocketAddr, pin: Option<Pin>, ask: &Ask) -> Result<Heard, LinkError> {
    let failed = |what: String| LinkError::new(format!("{} {} at {address}", ask.method, ask.path), what);
    ask.check().map_err(|what| failed(what.to_owned()))?;
    let (config, stranger) = certificate::client(pin).map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("no connection: {error}"))?;
        let name = ServerName::IpAddress(address.ip().into());
        let connected = TlsConnector::from(config).connect(name, stream).await;
        let mut stream = connected.map_err(|error| format!("no TLS: {error}"))?;
        stream.write_all(&head(address, ask)).await.map_err(|error| format!("not sent: {error}"))?;
        answer(&mut stream).await
    };
    let heard = timeout(LONGEST, exchange).await.unwrap_or_else(|_| Err("no answer within a minute".to_owned()));
    if let Some(shown) = stranger.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Ok(Heard::Stranger(shown));
    }
    Ok(heard.unwrap_or_else(Heard::Nothing))
}

/// The request as it is sent.
fn head(address: SocketAddr, ask: &Ask) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n", ask.method, ask.path);
    if let Some(token) = &ask.bearer {
        text += &format!("Authorization: Bearer {token}\r\n");
    }
    if let Some(body) = &ask.body {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += ask.body.as_deref().unwrap_or_default();
    text.into_bytes()
}

/// How a body ends.
enum End {
    Length(usize),
    Chunks,
    Close,
}

/// Reads an answer.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<Heard, String> {
    let mut bytes = Vec::new();
    let (status, end, body_at) = loop {
        if let Some(found) = parse(&bytes)? {
            break found;
        }
        if bytes.len() > HEAD {
            return Err("the head of the answer is too long".to_owned());
        }
        if !more(stream, &mut bytes).await? {
            return Err(format!("the connection ended after {} bytes, before a whole answer", bytes.len()));
        }
    };
    let mut body = bytes.split_off(body_at);
    let whole = match end {
        End::Length(length) => length,
        End::Chunks | End::Close => usize::MAX,
    };
    loop {
        if body.len() >= whole {
            body.truncate(whole);
            break;
        }
        // Half an answer would be searched for secrets in vain.
        if body.len() > LONGEST_BODY || matches!(end, End::Length(length) if length > LONGEST_BODY) {
            return Err(format!("the answer is longer than {LONGEST_BODY} bytes, so it was not read to its end"));
        }
        if matches!(end, End::Chunks) && chunks(&body)?.1 {
            break;
        }
        if !more(stream, &mut body).await? {
            if matches!(end, End::Close) {
                break;
            }
            return Err("the connection ended before the end of the answer".to_owned());
        }
    }
    let body = if matches!(end, End::Chunks) { chunks(&body)?.0 } else { body };
    Ok(Heard::Answer { status, body })
}

/// Reads some more; whether there was any. A connection that ends without TLS saying so is one that ended.
async fn more(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<bool, String> {
    let mut piece = [0; 4096];
    match stream.read(&mut piece).await {
        Ok(count) => {
            bytes.extend_from_slice(&piece[..count]);
            Ok(count > 0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(format!("no answer: {error}")),
    }
}

/// Status, how the body ends, and where it begins; `None` while the head is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(u16, End, usize)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let at = match response.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer is not HTTP: {error}")),
    };
    let field = |name: &str| {
        let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    };
    let status = response.code.unwrap_or_default();
    let chunked = field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let end = match field("content-length") {
        // RFC 9112 section 6.3: these have no body, whatever their fields say.
        _ if status < 200 || matches!(status, 204 | 304) => End::Length(0),
        _ if chunked => End::Chunks,
        Some(length) => End::Length(length.parse().map_err(|_| "the length of the answer is no number".to_owned())?),
        None => End::Close,
    };
    Ok(Some((status, end, at)))
}

/// The data of the whole chunks in `bytes`, and whether the last one is among them.
fn chunks(mut bytes: &[u8]) -> Result<(Vec<u8>, bool), String> {
    let mut data = Vec::new();
    loop {
        match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete((_, 0))) => return Ok((data, true)),
            Ok(httparse::Status::Complete((at, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let Some(chunk) = at.checked_add(size).and_then(|end| bytes.get(at..end)) else { return Ok((data, false)) };
                data.extend_from_slice(chunk);
                bytes = bytes.get(at + size + 2..).unwrap_or_default();
            }
            Ok(httparse::Status::Partial) => return Ok((data, false)),
            Err(_) => return Err("a chunk of the answer has no length".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Heard, String> {
        answer(&mut &*bytes).await
    }

    fn said(status: u16, body: &str) -> Heard {
        Heard::Answer { status, body: body.as_bytes().to_vec() }
    }

    #[tokio::test]
    async fn bodies_end_by_length_by_chunks_or_with_the_connection() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more").await.unwrap(), said(200, "{}"));
        assert_eq!(read(b"HTTP/1.1 401 No\r\n\r\n{}").await.unwrap(), said(401, "{}"));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(read(chunked).await.unwrap(), said(200, "abcde"));
        assert_eq!(read(b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n").await.unwrap(), said(204, ""));
    }

    #[tokio::test]
    async fn a_broken_answer_is_no_answer() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for cut in 0..whole.len() - 4 {
            assert!(read(&whole[..cut]).await.is_err(), "{cut}");
        }
        assert!(read(b"SSH-2.0-x\r\n\r\n").await.is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").await.is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc").await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_none() {
        let mut endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
        endless.resize(4 * LONGEST_BODY, b'x');
        assert!(read(&endless).await.is_err());
        let with = |head: &str, length: usize| [head.as_bytes(), b"\r\n\r\n", &vec![b'x'; length]].concat();
        assert!(read(&with("HTTP/1.1 200 OK", LONGEST_BODY)).await.is_ok());
        assert!(read(&with("HTTP/1.1 200 OK", LONGEST_BODY + 4096)).await.is_err());
        let said = format!("HTTP/1.1 200 OK\r\nContent-Length: {}", LONGEST_BODY + 1);
        assert!(read(&with(&said, LONGEST_BODY + 1)).await.is_err());
        let head = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 4 * HEAD]].concat();
        assert!(read(&head).await.is_err());
    }

    #[test]
    fn a_request_says_all_that_it_is_to_say() {
        let ask =
            Ask { method: "POST".to_owned(), path: "/a".to_owned(), bearer: Some("t".to_owned()), body: Some("{}".to_owned()) };
        let text = String::from_utf8(head("127.0.0.1:1".parse().unwrap(), &ask)).unwrap();
        assert!(text.starts_with("POST /a HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"), "{text}");
        assert!(text.contains("Authorization: Bearer t\r\n") && text.ends_with("Content-Length: 2\r\n\r\n{}"), "{text}");
    }
}
