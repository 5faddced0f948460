//! What a driver of the device's own network services gives the bench: a client of its local API, a look at its ports, and questions by mDNS.

use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

use super::{clock::BoxFuture, link::LinkError};

/// Longest body of an answer, in bytes; a longer one is no whole answer.
pub const LONGEST_BODY: usize = 64 * 1024;

/// One request to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Method: capital letters.
    pub method: String,
    /// Path; begins with a slash.
    pub path: String,
    /// Token of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// Body, sent as JSON.
    pub body: Option<String>,
}

impl Ask {
    /// Why it cannot be sent: captured texts come from the device, and must not put lines of their own into a request.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.method.is_empty() || !self.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err("a method is capital letters");
        }
        if !self.path.starts_with('/') || !visible(&self.path) {
            return Err("a path begins with a slash and has no spaces");
        }
        if self.bearer.as_deref().is_some_and(|token| token.is_empty() || !visible(token)) {
            return Err("a token has no spaces");
        }
        Ok(())
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The device answered.
    Answer {
        /// Status of HTTP.
        status: u16,
        /// Body, at most [`LONGEST_BODY`] bytes.
        body: Vec<u8>,
    },
    /// No connection, no TLS, or no whole answer (also one that is too long); in words.
    Nothing(String),
    /// Who answers has another certificate than the rig says; its SHA-256.
    Stranger(String),
}

/// What a look at ports came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scanned {
    /// Ports that took a connection.
    pub open: BTreeSet<u16>,
    /// Ports that refused one.
    pub closed: u32,
    /// Ports from which nothing came in time.
    pub silent: u32,
}

/// One instance of a service, as the device announces it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Port at which it is.
    pub port: Option<u16>,
    /// TXT: keys and values, in the order of their keys.
    pub text: Vec<(String, String)>,
}

/// A client on the device's own network.
pub trait ApiLink: Send {
    /// Does one request over a connection of its own. Ends by itself; the caller's time may be shorter.
    fn request<'a>(&'a mut self, ask: &'a Ask) -> BoxFuture<'a, Result<Heard, LinkError>>;
    /// Tries a TCP connection to each port of the device's address, waiting `each` for an answer.
    fn scan<'a>(&'a mut self, ports: &'a [RangeInclusive<u16>], each: Duration) -> BoxFuture<'a, Result<Scanned, LinkError>>;
    /// Asks the device by mDNS for instances of a service (`_hub._tcp.local`). `None`: no answer.
    fn announced<'a>(&'a mut self, service: &'a str) -> BoxFuture<'a, Result<Option<Vec<Instance>>, LinkError>>;
}

/// Reads a list of ports: `22, 8000-8100`. At least one, none is 0.
#[must_use]
pub fn ports(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    text.split(',')
        .map(|part| match part.split_once('-') {
            Some((first, last)) => Some(port(first)?..=port(last)?).filter(|range| !range.is_empty()),
            None => port(part).map(|port| port..=port),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ports_are_read_whole_or_not_at_all() {
        assert_eq!(ports("22, 8000-8100"), Some(vec![22..=22, 8000..=8100]));
        assert_eq!(ports("1-65535"), Some(vec![1..=65535]));
        for wrong in ["", "0", "9-3", "22,", "65536", "a", "1-2-3"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_the_device_said_cannot_add_lines_to_a_request() {
        let ask = |path: &str, bearer: Option<&str>| {
            Ask { method: "GET".to_owned(), path: path.to_owned(), bearer: bearer.map(str::to_owned), body: None }.check()
        };
        assert!(ask("/status", Some("00ff")).is_ok());
        assert!(ask("/a\r\nHost: b", None).is_err());
        assert!(ask("status", None).is_err());
        assert!(ask("/", Some("a\r\nX: y")).is_err());
    }
}
