//! A captive portal: whatever is asked over plain HTTP, the answer is its login page.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{
    services::Shared,
    sink::{Counter, Sink},
};
use crate::channel::network::Portal;

/// Longest head of a request.
const HEAD: usize = 8192;
/// Time for a client to say what it wants and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients at a time; others wait.
const CLIENTS: usize = 32;

const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in to this network</title></head>\
    <body><form method=\"post\" action=\"/login\"><input name=\"room\"><button>Sign in</button></form></body></html>";

/// What a portal answers to a request's head; nothing if it is no HTTP. Also what was asked, in words.
pub(super) fn respond(head: &[u8], portal: Portal) -> Option<(String, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    if !request.parse(head).ok()?.is_complete() {
        return None;
    }
    let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host.map_or_else(String::new, |header| String::from_utf8_lossy(header.value).chars().take(100).collect());
    let path: String = request.path.unwrap_or_default().chars().take(200).collect();
    let method = request.method.unwrap_or_default().to_owned();
    let answer = if portal == Portal::Redirect && path != "/login" {
        "HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    } else {
        let headers = "Content-Type: text/html\r\nCache-Control: no-store\r\nConnection: close\r\n";
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{PAGE}", PAGE.len())
    };
    Some((format!("portal asked: {method} {path} of {host}"), answer))
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, sink: Sink, count: Counter) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let portal = shared.now().portal;
        let (sink, count) = (sink.clone(), count.clone());
        tokio::spawn(async move {
            let _permit = permit;
            match portal {
                Some(portal) => drop(timeout(PATIENCE, talk(client, portal, &sink, &count)).await),
                // Without a portal nobody listens there.
                None => drop(socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))),
            }
        });
    }
}

async fn talk(mut client: TcpStream, portal: Portal, sink: &Sink, count: &Counter) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        if let Some((asked, answer)) = respond(&head, portal) {
            count.add();
            sink.tell(asked);
            client.write_all(answer.as_bytes()).await?;
            return client.shutdown().await;
        }
        let room = HEAD - head.len();
        if room == 0 || (&mut client).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_answered_with_the_portal() {
        let head = b"GET /update.bin HTTP/1.1\r\nHost: vendor.example\r\n\r\n";
        let (asked, answer) = respond(head, Portal::Redirect).unwrap();
        assert_eq!(asked, "portal asked: GET /update.bin of vendor.example");
        assert!(answer.starts_with("HTTP/1.1 302 ") && answer.contains("Location: http://portal.invalid/login"));
        let (_, answer) = respond(head, Portal::Login).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(PAGE));
        let (_, answer) = respond(b"GET /login HTTP/1.1\r\n\r\n", Portal::Redirect).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "no endless redirection");
        for bad in [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/1.1\r\n", b""] {
            assert!(respond(bad, Portal::Login).is_none());
        }
    }
}
