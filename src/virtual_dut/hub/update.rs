//! The hub fetches an update from its maker's service: over HTTPS, into the slot that does not run, and on from where it broke off.

use std::{io, net::SocketAddr, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    Flaw, Hardware, UPDATE_NAME, UPDATE_PATH, UPDATE_PORT,
    attach::Servers,
    bundle::{HEADER, Header},
    firmware::{LOOK, Life},
    lock, names,
    slots::ROOM,
    trust,
};

/// What each step of a download may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest head of an answer, in bytes.
const HEAD: usize = 4096;
/// Bytes that are written at a time, and the rest in between: a small system has other things to do.
const PIECE: usize = 256;
const REST: Duration = Duration::from_millis(50);
/// Most bytes that a hub with [`Flaw::LengthUnchecked`] writes.
const MOST: usize = 16 * 1024;

/// A download that broke off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partial {
    /// Bytes of the bundle that are on flash.
    have: usize,
    /// Bytes of the whole bundle.
    total: usize,
}

/// Where an answer's body belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Body {
    from: usize,
    total: usize,
}

/// Why there is no update, in a word for the console.
type Why = &'static str;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Fetches what is offered and chooses it for the next start.
///
/// # Errors
/// Why not. What broke off half way is kept, and the next attempt goes on from there.
pub(super) async fn run(hardware: &Hardware, life: &Life) -> Result<(), Why> {
    let flaw = hardware.config.flaw;
    if lock(&hardware.slots).on_trial() {
        return Err("trial");
    }
    let servers = servers(hardware, life).await.ok_or("network")?;
    let address = names::resolve(&servers, UPDATE_NAME, &hardware.pace).await.ok_or("network")?;
    let mut partial = lock(&life.partial).take();
    let stream = match connect(hardware, life, SocketAddr::new(address, UPDATE_PORT)).await {
        Ok(stream) => stream,
        Err(_) if flaw == Some(Flaw::PortalImage) => {
            // Better than nothing, somebody thought.
            partial = None;
            plain(SocketAddr::new(address, servers.plain), hardware).await?
        }
        Err(why) => {
            *lock(&life.partial) = partial;
            return Err(why);
        }
    };
    let resumed = partial.is_some();
    let mut fetched = fetch(hardware, stream, &mut partial).await;
    if fetched == Err("redirect") && flaw == Some(Flaw::FollowsRedirect) {
        partial = None;
        let stream = plain(SocketAddr::new(address, servers.plain), hardware).await?;
        fetched = fetch(hardware, stream, &mut partial).await;
    }
    if fetched == Err("broken") {
        *lock(&life.partial) = partial;
    }
    fetched?;
    hardware.settled().await;
    let unchecked = resumed && flaw == Some(Flaw::ResumeUnchecked) || flaw == Some(Flaw::PortalImage);
    let judged = lock(&hardware.slots).judge_new(flaw);
    match judged {
        Err(refusal) if !unchecked => {
            // Nothing is left of it that a later mistake could start.
            lock(&hardware.slots).clear(hardware.now());
            hardware.settled().await;
            Err(refusal.word())
        }
        _ => {
            lock(&hardware.slots).choose(hardware.now());
            Ok(())
        }
    }
}

/// Where things are. Right after a start the network may not have answered yet.
async fn servers(hardware: &Hardware, life: &Life) -> Option<Servers> {
    let there = async {
        loop {
            if let Some(servers) = life.servers() {
                return servers;
            }
            hardware.pace.sleep(LOOK).await;
        }
    };
    let joined = lock(&hardware.store).state().settings.network.is_some();
    if joined { hardware.pace.within(PATIENCE, there).await } else { None }
}

async fn connect(hardware: &Hardware, life: &Life, address: SocketAddr) -> Result<Box<dyn Stream>, Why> {
    let authority = std::fs::read(&hardware.config.authority).map_err(|_| "tls")?;
    let client = trust::client(&authority, &life.clock, hardware.config.flaw).map_err(|_| "tls")?;
    let tcp = in_time(hardware, TcpStream::connect(address)).await.map_err(|_| "network")?;
    let name = ServerName::try_from(UPDATE_NAME).map_err(|_| "tls")?;
    let tls = in_time(hardware, TlsConnector::from(client).connect(name, tcp)).await.map_err(|_| "tls")?;
    Ok(Box::new(tls))
}

/// Without TLS, as no good hub does.
async fn plain(address: SocketAddr, hardware: &Hardware) -> Result<Box<dyn Stream>, Why> {
    Ok(Box::new(in_time(hardware, TcpStream::connect(address)).await.map_err(|_| "network")?))
}

async fn in_time<T>(hardware: &Hardware, act: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    hardware.pace.within(PATIENCE, act).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks for the bundle and writes what comes.
async fn fetch(hardware: &Hardware, mut stream: Box<dyn Stream>, partial: &mut Option<Partial>) -> Result<(), Why> {
    let flaw = hardware.config.flaw;
    let range = partial.as_ref().map(|partial| format!("Range: bytes={}-\r\n", partial.have)).unwrap_or_default();
    let request = format!("GET {UPDATE_PATH} HTTP/1.1\r\nHost: {UPDATE_NAME}\r\n{range}Connection: close\r\n\r\n");
    in_time(hardware, stream.write_all(request.as_bytes())).await.map_err(|_| "broken")?;
    in_time(hardware, stream.flush()).await.map_err(|_| "broken")?;
    let (head, mut come) = head(hardware, &mut stream).await?;
    let body = answer(&head, partial.as_ref())?;
    if body.total > ROOM && flaw != Some(Flaw::LengthUnchecked) {
        return Err("length");
    }
    if body.from == 0 {
        *partial = None;
    }
    let mut state = partial.take().unwrap_or(Partial { have: 0, total: body.total });
    let limit = if flaw == Some(Flaw::LengthUnchecked) { body.total.min(MOST) } else { body.total };
    while state.have < limit {
        while come.len() < PIECE.min(limit - state.have) {
            let mut piece = [0; PIECE];
            let read = stream.read(&mut piece);
            let read = if flaw == Some(Flaw::DownloadHangs) { read.await } else { in_time(hardware, read).await };
            match read {
                Ok(read) if read > 0 => come.extend_from_slice(&piece[..read]),
                // It goes on from here, once there is something on flash.
                _ => {
                    *partial = (state.have >= HEADER).then_some(state);
                    return Err("broken");
                }
            }
        }
        let piece: Vec<u8> = come.drain(..come.len().min(PIECE).min(limit - state.have)).collect();
        if state.have == 0 {
            begin(hardware, &piece, body.total).await?;
        }
        lock(&hardware.slots).write(state.have, &piece, hardware.now());
        state.have += piece.len();
        hardware.pace.sleep(REST).await;
        hardware.settled().await;
    }
    Ok(())
}

/// Looks at the header before anything is erased for it.
async fn begin(hardware: &Hardware, piece: &[u8], total: usize) -> Result<(), Why> {
    let flaw = hardware.config.flaw;
    let lenient = matches!(flaw, Some(Flaw::PortalImage | Flaw::LengthUnchecked));
    let counter = lock(&hardware.slots).counter();
    match Header::check(piece, counter, ROOM, flaw) {
        Err(refusal) if !lenient => return Err(refusal.word()),
        Ok(header) if header.length + HEADER != total && !lenient => return Err("length"),
        _ => {}
    }
    lock(&hardware.slots).clear(hardware.now());
    hardware.settled().await;
    Ok(())
}

/// The head of an answer, and what came with it.
async fn head(hardware: &Hardware, stream: &mut Box<dyn Stream>) -> Result<(Vec<u8>, Vec<u8>), Why> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        let mut piece = [0; 512];
        let read = in_time(hardware, stream.read(&mut piece)).await.map_err(|_| "broken")?;
        if read == 0 {
            return Err("broken");
        }
        if bytes.len() + read > HEAD {
            return Err("answer");
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// What the head of an answer announces.
fn answer(head: &[u8], partial: Option<&Partial>) -> Result<Body, Why> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    if !response.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err("answer");
    }
    let find = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    if find("transfer-encoding").is_some() {
        return Err("answer");
    }
    let length = find("content-length").and_then(|length| length.parse::<usize>().ok()).ok_or("answer");
    match (response.code, partial) {
        (Some(200), _) => Ok(Body { from: 0, total: length? }),
        (Some(206), Some(partial)) => {
            let range =
                find("content-range").and_then(range).filter(|body| body.from == partial.have && body.total == partial.total);
            range.filter(|body| length == Ok(body.total - body.from)).ok_or("answer")
        }
        (Some(300..=399), _) => Err("redirect"),
        _ => Err("answer"),
    }
}

/// `bytes 100-199/200`, where the range goes to the end (RFC 9110 section 14.4).
fn range(text: &str) -> Option<Body> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, last) = range.split_once('-')?;
    let (from, last, total): (usize, usize, usize) = (from.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (from <= last && last.checked_add(1) == Some(total)).then_some(Body { from, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str, partial: Option<&Partial>) -> Result<Body, Why> {
        answer(format!("HTTP/1.1 {}\r\n\r\n", text.replace('\n', "\r\n")).as_bytes(), partial)
    }

    #[test]
    fn only_what_was_asked_for_is_taken() {
        let partial = Partial { have: 100, total: 300 };
        let whole = Ok(Body { from: 0, total: 300 });
        assert_eq!(head("200 OK\nContent-Length: 300", None), whole);
        assert_eq!(head("200 OK\nContent-Length: 300", Some(&partial)), whole, "the server does not know ranges");
        let rest = "206 Partial\nContent-Length: 200\nContent-Range: bytes 100-299/300";
        assert_eq!(head(rest, Some(&partial)), Ok(Body { from: 100, total: 300 }));
        assert_eq!(head(rest, None), Err("answer"), "nobody asked for a part");
        for bad in [
            "206 Partial\nContent-Length: 200",
            "206 Partial\nContent-Length: 200\nContent-Range: bytes 99-298/299",
            "206 Partial\nContent-Length: 200\nContent-Range: bytes 100-299/301",
            "206 Partial\nContent-Length: 199\nContent-Range: bytes 100-299/300",
            "206 Partial\nContent-Length: 200\nContent-Range: bytes 100-18446744073709551615/300",
            "200 OK",
            "200 OK\nContent-Length: -1",
            "200 OK\nContent-Length: 300\nTransfer-Encoding: chunked",
            "404 Not Found\nContent-Length: 0",
            "503 Busy\nContent-Length: 0",
        ] {
            assert_eq!(head(bad, Some(&partial)), Err("answer"), "{bad}");
        }
        assert_eq!(head("302 Found\nLocation: http://update.hub.example/", None), Err("redirect"));
        assert_eq!(answer(b"\x16\x03\x01\r\n\r\n", None), Err("answer"));
    }
}
