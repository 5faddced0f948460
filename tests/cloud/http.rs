//! HTTP: files, fixed answers, and answers that a device must survive.

use std::time::Duration;

use hilbench::channel::cloud::{Behaviour, EventKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::bench::{Cloud, SOON, Trust, https};

/// One request on a connection of its own; everything that came until the end.
async fn get(cloud: &Cloud, request: &str) -> (String, Vec<u8>) {
    let mut stream = cloud.tls(Trust::Bench, "localhost").await.unwrap();
    stream.write_all(format!("{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end may be one without close_notify: truncation is a behaviour.
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let body = answer.get(head + 4..).unwrap_or_default().to_vec();
    (String::from_utf8_lossy(&answer[..head]).to_lowercase(), body)
}

async fn service() -> (Cloud, Vec<u8>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let firmware: Vec<u8> = (0..200_000_u32).map(|i| (i * 7) as u8).collect();
    std::fs::create_dir(directory.path().join("root")).unwrap();
    std::fs::write(directory.path().join("root/fw.bin"), &firmware).unwrap();
    std::fs::write(
        directory.path().join("answers.json"),
        r#"{"GET /v1/config": {"json": {"interval": 60}}, "POST /v1/state": {"status": 204}}"#,
    )
    .unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let cloud = https(&[("root", &at("root")), ("answers", &at("answers.json"))]).await;
    (cloud, firmware, directory)
}

#[tokio::test]
async fn files_and_fixed_answers_are_served_and_requests_recorded() {
    let (cloud, firmware, _keep) = service().await;
    let (head, body) = get(&cloud, "GET /fw.bin HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 200") && body == firmware, "{head}");
    let (head, body) = get(&cloud, "GET /fw.bin HTTP/1.1\r\nRange: bytes=100000-100009").await;
    assert!(head.starts_with("http/1.1 206") && head.contains("bytes 100000-100009/200000"), "{head}");
    assert_eq!(body, firmware[100_000..100_010]);
    let (_, body) = get(&cloud, "GET /v1/config HTTP/1.1").await;
    assert_eq!(body, br#"{"interval":60}"#);
    let (head, _) = get(&cloud, "GET /%2e%2e/answers.json HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");

    let mark = cloud.log.mark();
    let mut stream = cloud.tls(Trust::Bench, "localhost").await.unwrap();
    let request = "POST /v1/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hunter2\r\nContent-Length: 8\r\n\r\n{\"a\": 1}";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204");
    let request = cloud.event(mark, EventKind::Request).await.text;
    assert!(
        request.starts_with("POST /v1/state body 8 bytes digest ") && request.contains("{\"a\": 1} headers host: x;"),
        "{request}"
    );
    assert!(!request.contains("hunter2"), "{request}");
}

#[tokio::test]
async fn each_bad_answer_is_what_it_says() {
    let (mut cloud, firmware, _keep) = service().await;
    cloud.behave(Behaviour::Status(503, Some(Duration::from_mins(2)))).await;
    let (head, _) = get(&cloud, "GET /fw.bin HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 503") && head.contains("retry-after: 120"), "{head}");
    cloud.behave(Behaviour::Status(429, None)).await;
    let (head, _) = get(&cloud, "GET /fw.bin HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 429") && !head.contains("retry-after"), "{head}");
    cloud.behave(Behaviour::RedirectPlain).await;
    let (head, _) = get(&cloud, "GET /fw.bin HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 302") && head.contains("location: http://localhost/fw.bin"), "{head}");
    cloud.behave(Behaviour::TruncatedBody).await;
    let (head, body) = get(&cloud, "GET /fw.bin HTTP/1.1").await;
    assert!(head.contains("content-length: 200000"), "{head}");
    assert_eq!(body, firmware[..100_000], "half of it, and then the end");
    cloud.behave(Behaviour::Rubbish).await;
    let (head, body) = get(&cloud, "GET /v1/config HTTP/1.1").await;
    assert!(head.starts_with("http/1.1 200") && serde_json::from_slice::<serde_json::Value>(&body).is_err(), "{head}");
    cloud.behave(Behaviour::Accept).await;
    let (_, body) = get(&cloud, "GET /v1/config HTTP/1.1").await;
    assert_eq!(body, br#"{"interval":60}"#);
}

#[tokio::test]
async fn a_slow_body_crawls() {
    let (mut cloud, _, _keep) = service().await;
    cloud.behave(Behaviour::SlowBody).await;
    let mut stream = cloud.tls(Trust::Bench, "localhost").await.unwrap();
    stream.write_all(b"GET /fw.bin HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).await.unwrap();
            seen.extend_from_slice(&piece[..count]);
        }
    };
    assert!(timeout(Duration::from_millis(2500), reading).await.is_err());
    let head = seen.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!((16..=48).contains(&(seen.len() - head)), "{} bytes in 2.5 s", seen.len() - head);
}

#[tokio::test]
async fn a_behaviour_reaches_a_connection_that_is_there() {
    let (mut cloud, _, _keep) = service().await;
    let mut stream = cloud.tls(Trust::Bench, "localhost").await.unwrap();
    for (behaviour, status) in [(Behaviour::Accept, "200"), (Behaviour::Status(500, None), "500"), (Behaviour::Accept, "200")] {
        cloud.behave(behaviour).await;
        stream.write_all(b"GET /v1/config HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let count = timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        // The rest of the body, if it came by itself.
        let _ = timeout(Duration::from_millis(100), stream.read(&mut [0; 4096])).await;
    }
    assert!(cloud.link.behave(Behaviour::Kick).await.is_err(), "HTTP has no CONNACK");
}
