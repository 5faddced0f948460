//! The bench's cloud as a device meets it: each behaviour seen from a client, and what the log says of it. Loopback only.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "cloud/bench.rs"]
mod bench;
#[path = "cloud/hostile.rs"]
mod hostile;
#[path = "cloud/http.rs"]
mod http;
#[path = "cloud/mqtt.rs"]
mod mqtt;
#[path = "cloud/tls.rs"]
mod tls;
