//! Driver `cloud-https`: files and fixed answers over HTTP/1.1, behind the front.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    io::{self, SeekFrom},
    path::{Component, Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{self, HeaderMap, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{
    front::{BEGIN, Connection, Service},
    gate::{Stream, mute, released},
    packet::shown,
};
use crate::channel::{
    clock::BoxFuture,
    cloud::{Behaviour, EventKind},
    link::LinkError,
};

/// Longest head of a request.
const HEAD: usize = 64 * 1024;
/// Longest body of a request.
const BODY: usize = 1 << 20;
/// Headers of a request that are told.
const HEADERS: usize = 12;
/// Bytes read from a file at a time.
const PIECE: usize = 64 * 1024;
/// Largest file of answers.
const ANSWERS: u64 = 4 << 20;

type Body = StreamBody<Pin<Box<dyn futures::Stream<Item = io::Result<Frame<Bytes>>> + Send>>>;

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// Most files that a plan can have put here at a time.
const OFFERED: usize = 64;

/// Files that a plan has put at a path, in place of those of the directory.
#[derive(Clone, Default)]
pub(super) struct Files(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Files {
    /// Puts a file at a path.
    ///
    /// # Errors
    /// The path is none, or there are too many.
    pub(super) fn put(&self, path: &str, bytes: Arc<Vec<u8>>) -> Result<(), &'static str> {
        if !path.starts_with('/') || path.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err("a path begins with a slash and has no spaces");
        }
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= OFFERED && !files.contains_key(path) {
            return Err("there are too many files");
        }
        files.insert(path.to_owned(), Bytes::from_owner(Shared(bytes)));
        Ok(())
    }

    fn get(&self, path: &str) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// Bytes that several have.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The HTTP side of a service.
#[derive(Clone)]
pub(super) struct Https {
    root: Option<PathBuf>,
    files: Files,
    answers: Arc<BTreeMap<String, Answer>>,
}

impl Https {
    /// Reads what is to be served.
    ///
    /// # Errors
    /// The directory is none, or the answers are not what they should be.
    pub(super) fn new(root: Option<PathBuf>, answers: Option<&Path>) -> Result<Self, LinkError> {
        let root = match root {
            Some(root) => {
                let failed = |what: String| LinkError::new(format!("serve files of {}", root.display()), what);
                let found = root.canonicalize().map_err(|error| failed(error.to_string()))?;
                if !found.is_dir() {
                    return Err(failed("it is no directory".to_owned()));
                }
                Some(found)
            }
            None => None,
        };
        let answers = match answers {
            Some(file) => {
                let failed = |what: String| LinkError::new(format!("read answers from {}", file.display()), what);
                let size = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
                if size > ANSWERS {
                    return Err(failed(format!("it has {size} bytes; {ANSWERS} are enough")));
                }
                let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
                parse(&text).map_err(failed)?
            }
            None => BTreeMap::new(),
        };
        Ok(Self { root, files: Files::default(), answers: Arc::new(answers) })
    }

    /// Where a plan can put files.
    pub(super) fn files(&self) -> Files {
        self.files.clone()
    }
}

/// `{ "GET /v1/config": { "status": 200, "json": {...} }, ... }`
fn parse(text: &str) -> Result<BTreeMap<String, Answer>, String> {
    let root: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut answers = BTreeMap::new();
    for (route, answer) in root {
        let good = route.split_once(' ').is_some_and(|(method, path)| method.parse::<Method>().is_ok() && path.starts_with('/'));
        if !good {
            return Err(format!("`{route}` is not a method and a path, such as `GET /v1/config`"));
        }
        let answer = answer.as_object().ok_or_else(|| format!("`{route}`: an object with `status` and `json` is needed"))?;
        if let Some(key) = answer.keys().find(|key| !["status", "json"].contains(&key.as_str())) {
            return Err(format!("`{route}`: there is no key `{key}`; its keys are `status` and `json`"));
        }
        let status = answer.get("status").map_or(Some(200), serde_json::Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| (200..600).contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.ok_or_else(|| format!("`{route}`: `status` is a number from 200 to 599"))?;
        let body = answer.get("json").map_or_else(Bytes::new, |json| Bytes::from(json.to_string()));
        answers.insert(route, Answer { status, body });
    }
    Ok(answers)
}

impl Service for Https {
    fn serve(&self, stream: Box<dyn Stream>, connection: Connection) -> BoxFuture<'static, String> {
        let service = self.clone();
        Box::pin(async move {
            let begun = Arc::new(AtomicBool::new(false));
            let (each, seen) = (connection.clone(), Arc::clone(&begun));
            let answer = service_fn(move |request| {
                seen.store(true, Ordering::Relaxed);
                let (service, connection) = (service.clone(), each.clone());
                async move { Ok::<_, Infallible>(service.answer(request, &connection).await) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.max_buf_size(HEAD).half_close(false).keep_alive(true);
            let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
            // A device may be quiet between requests for as long as it likes, but has to begin with one.
            let first = connection.begin(async {
                tokio::select! {
                    ended = &mut served => Some(ended),
                    () = until(&begun) => None,
                }
            });
            let ended = match first.await {
                None => return format!("no request within {} s", BEGIN.as_secs()),
                Some(Some(ended)) => ended,
                Some(None) => served.await,
            };
            released(connection.behaviour.clone(), mute).await;
            match ended {
                Ok(()) => "closed after the last answer".to_owned(),
                Err(error) if error.is_parse() || error.is_parse_too_large() => {
                    let why = format!("no HTTP: {error}");
                    connection.record(EventKind::Violation, &why);
                    why
                }
                Err(error) => format!("broken off: {error}"),
            }
        })
    }

    fn can(&self, behaviour: Behaviour) -> bool {
        matches!(
            behaviour,
            Behaviour::Status(..)
                | Behaviour::RedirectPlain
                | Behaviour::TruncatedBody
                | Behaviour::SlowBody
                | Behaviour::Rubbish
        )
    }
}

async fn until(begun: &AtomicBool) {
    while !begun.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Https {
    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let (head, body) = request.into_parts();
        let described = format!("{} {}", head.method, head.uri);
        let headers = told(&head.headers);
        let body = match connection.begin(Limited::new(body, BODY).collect()).await {
            Some(Ok(body)) => body.to_bytes(),
            Some(Err(error)) => {
                let too_long = error.downcast_ref::<http_body_util::LengthLimitError>().is_some();
                let why = if too_long { format!("a body of more than {BODY} bytes") } else { error.to_string() };
                connection.record(EventKind::Violation, &format!("{described}: {why}"));
                return fixed(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new());
            }
            None => {
                connection.record(EventKind::Violation, &format!("{described}: the body did not come in time"));
                return fixed(StatusCode::REQUEST_TIMEOUT, Bytes::new());
            }
        };
        let mut text = described;
        if !body.is_empty() {
            let digest = blake3::hash(&body).to_hex();
            let _ = write!(text, " body {} bytes digest {}: {}", body.len(), &digest[..16], shown(&body));
        }
        let _ = write!(text, " {headers}");
        connection.record(EventKind::Request, &text);
        match connection.now() {
            Behaviour::Status(code, after) => {
                let mut answer = fixed(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Bytes::new());
                if let Some(after) = after {
                    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
                }
                answer
            }
            Behaviour::RedirectPlain => {
                let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
                let mut answer = fixed(StatusCode::FOUND, Bytes::new());
                if let Ok(target) = HeaderValue::from_str(&format!("http://{host}{}", head.uri.path())) {
                    answer.headers_mut().insert(header::LOCATION, target);
                }
                answer
            }
            Behaviour::Rubbish => fixed(StatusCode::OK, Bytes::from(super::rubbish(connection.number, 256))),
            behaviour => {
                let good = self.good(&head.method, head.uri.path(), head.headers.get(header::RANGE)).await;
                match behaviour {
                    Behaviour::TruncatedBody => spoiled(good, false).await,
                    Behaviour::SlowBody => spoiled(good, true).await,
                    _ => watched(good, head.uri.path(), connection),
                }
            }
        }
    }

    /// The answer of a good service: a fixed one, or a file.
    async fn good(&self, method: &Method, path: &str, range: Option<&HeaderValue>) -> Response<Body> {
        if let Some(answer) = self.answers.get(&format!("{method} {path}")) {
            return fixed(answer.status, answer.body.clone());
        }
        if method != Method::GET && method != Method::HEAD {
            return fixed(StatusCode::NOT_FOUND, Bytes::new());
        }
        match self.file(path, range).await {
            Some(answer) => answer,
            None => fixed(StatusCode::NOT_FOUND, Bytes::new()),
        }
    }

    /// A file below the root, and never one outside it.
    async fn file(&self, path: &str, range: Option<&HeaderValue>) -> Option<Response<Body>> {
        if let Some(bytes) = self.files.get(path) {
            let length = bytes.len() as u64;
            let wanted = range.and_then(|range| parse_range(range.to_str().ok()?, length));
            let (from, to) = wanted.unwrap_or((0, length));
            let piece = bytes.slice(usize::try_from(from).ok()?..usize::try_from(to).ok()?);
            let frames = futures::stream::iter([Ok(Frame::data(piece))]);
            return part(Box::pin(frames), wanted, length);
        }
        let root = self.root.as_ref()?;
        let relative = PathBuf::from(decoded(path)?.trim_start_matches('/'));
        if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
            return None;
        }
        // Links may lead out of the directory; what they lead to is compared.
        let found = tokio::fs::canonicalize(root.join(relative)).await.ok()?;
        if !found.starts_with(root) || !tokio::fs::metadata(&found).await.ok()?.is_file() {
            return None;
        }
        let mut file = tokio::fs::File::open(&found).await.ok()?;
        let length = file.metadata().await.ok()?.len();
        let wanted = range.and_then(|range| parse_range(range.to_str().ok()?, length));
        let (from, to) = wanted.unwrap_or((0, length));
        file.seek(SeekFrom::Start(from)).await.ok()?;
        let pieces = futures::stream::try_unfold((file, to - from), |(mut file, left)| async move {
            let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
            if piece.is_empty() {
                return Ok(None);
            }
            file.read_exact(&mut piece).await?;
            let left = left - piece.len() as u64;
            Ok(Some((Frame::data(Bytes::from(piece)), (file, left))))
        });
        part(Box::pin(pieces), wanted, length)
    }
}

/// All of a file of `length` bytes, or the part of it that was wanted.
fn part(
    pieces: Pin<Box<dyn futures::Stream<Item = io::Result<Frame<Bytes>>> + Send>>,
    wanted: Option<(u64, u64)>,
    length: u64,
) -> Option<Response<Body>> {
    let (from, to) = wanted.unwrap_or((0, length));
    let mut answer = Response::new(StreamBody::new(pieces));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if wanted.is_some() {
        let shown = format!("bytes {from}-{}/{length}", to.saturating_sub(1));
        headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&shown).ok()?);
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Some(answer)
}

/// Tells when the last byte of an answer's body has gone to the connection.
fn watched(answer: Response<Body>, path: &str, connection: &Connection) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let of = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let length: Option<u64> = of(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let Some(length) = length.filter(|length| *length > 0) else { return Response::from_parts(head, body) };
    let part = of(header::CONTENT_RANGE).unwrap_or_else(|| format!("all {length} bytes"));
    let (text, connection) = (format!("{} {path} {part}", head.status.as_u16()), connection.clone());
    let mut left = length;
    let frames = futures::StreamExt::map(body, move |frame| {
        if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
            let before = left;
            left = left.saturating_sub(data.len() as u64);
            if before > 0 && left == 0 {
                connection.record(EventKind::Served, &text);
            }
        }
        frame
    });
    Response::from_parts(head, StreamBody::new(Box::pin(frames) as Pin<Box<_>>))
}

/// `bytes=A-B` or `bytes=A-` that can be met, as from and one past the end. RFC 9110 section 14.
fn parse_range(text: &str, length: u64) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok().filter(|from| *from < length)?;
    let to = if to.is_empty() { length } else { to.parse::<u64>().ok()?.checked_add(1)?.min(length) };
    (from < to).then_some((from, to))
}

/// A path without its percent signs; `None` if it is malformed or holds a zero byte.
fn decoded(path: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok().filter(|value| *value != 0)?);
    }
    String::from_utf8(out).ok()
}

fn fixed(status: StatusCode, body: Bytes) -> Response<Body> {
    let length = body.len();
    let frames: Vec<_> = (length > 0).then(|| Ok(Frame::data(body))).into_iter().collect();
    let mut answer = Response::new(StreamBody::new(Box::pin(futures::stream::iter(frames)) as Pin<Box<_>>));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if length > 0 {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    answer
}

/// A good answer whose body stops half way, or crawls. The announced length stays.
async fn spoiled(good: Response<Body>, slow: bool) -> Response<Body> {
    let (head, body) = good.into_parts();
    let bytes = match Limited::new(body, 64 << 20).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return fixed(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
    };
    let frames = futures::stream::unfold((bytes, slow), |(mut bytes, slow)| async move {
        if bytes.is_empty() && slow {
            return None;
        }
        if slow {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let piece = bytes.split_to(bytes.len().min(16));
            return Some((Ok(Frame::data(piece)), (bytes, slow)));
        }
        if bytes.is_empty() {
            // What was sent before must have left.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return Some((Err(io::Error::other("truncated by the bench")), (bytes, slow)));
        }
        let piece = bytes.split_to(bytes.len().div_ceil(2));
        Some((Ok(Frame::data(piece)), (Bytes::new(), slow)))
    });
    Response::from_parts(head, StreamBody::new(Box::pin(frames) as Pin<Box<_>>))
}

/// Headers in a line, bounded; what may be a secret is told by its digest.
fn told(headers: &HeaderMap) -> String {
    let mut out = String::from("headers");
    for (name, value) in headers.iter().take(HEADERS) {
        let secret = ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token"].contains(&name.as_str());
        let value = if secret {
            format!("digest {}", &blake3::hash(value.as_bytes()).to_hex()[..16])
        } else {
            String::from_utf8_lossy(value.as_bytes()).chars().take(80).collect()
        };
        let _ = write!(out, " {name}: {value};");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_ranges_are_read_strictly() {
        assert_eq!(decoded("/a%20b"), Some("/a b".to_owned()));
        assert_eq!((decoded("/%0"), decoded("/%00"), decoded("/%zz")), (None, None, None));
        assert_eq!(parse_range("bytes=2-", 10), Some((2, 10)));
        assert_eq!(parse_range("bytes=2-3", 10), Some((2, 4)));
        assert_eq!(parse_range("bytes=2-18446744073709551615", 10), None);
        assert_eq!(parse_range("bytes=10-", 10), None);
    }

    #[tokio::test]
    async fn nothing_outside_the_root_is_served() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("fw.bin"), "firmware").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        let service = Https::new(Some(root), None).unwrap();
        for path in ["/../secret", "/%2e%2e/secret", "//secret", "/link", "/", "/%2fetc/passwd", "/./fw.bin"] {
            assert!(service.file(path, None).await.is_none(), "{path}");
        }
        assert!(service.file("/fw.bin", None).await.is_some());
    }

    #[test]
    fn answers_are_checked() {
        assert_eq!(parse(r#"{"GET /a": {"json": {"b": 1}}}"#).unwrap()["GET /a"].body, r#"{"b":1}"#);
        assert!(parse(r#"{"/a": {}}"#).unwrap_err().contains("not a method"));
        assert!(parse(r#"{"GET /a": {"status": 99}}"#).unwrap_err().contains("status"));
        assert!(parse(r#"{"GET /a": {"jsn": 99}}"#).unwrap_err().contains("jsn"));
    }

    #[test]
    fn secrets_in_headers_are_told_by_digest() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
        headers.insert("user-agent", HeaderValue::from_static("lock/2"));
        let text = told(&headers);
        assert!(text.contains("user-agent: lock/2;") && !text.contains("hunter2"), "{text}");
    }
}
