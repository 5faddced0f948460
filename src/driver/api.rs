//! Driver `https-client`: the bench as a client of the device's local API, and of what else it offers on its address.

mod certificate;
mod http;
mod mdns;
mod scan;

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use super::parameters::{parsed, required};
use crate::channel::{
    api::{ApiLink, Ask, Heard, Instance, Scanned},
    clock::BoxFuture,
    link::{ChannelKind, Driver, LinkError, Opened, Parameters},
};

use certificate::Pin;
pub use certificate::fingerprint;

/// Reaches the device's local API over HTTPS.
#[derive(Debug, Clone, Copy)]
pub struct HttpsClient;

struct Client {
    address: SocketAddr,
    mdns: Option<SocketAddr>,
    besides: Option<IpAddr>,
    pin: Option<Pin>,
}

impl Client {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let driver = HttpsClient.name();
        let refused = |what: &str| LinkError::new(format!("open {driver}"), what.to_owned());
        required(parameters, "address", driver)?;
        let socket = |name| parsed::<SocketAddr>(parameters, name, "an address with a port such as 192.0.2.7:443", driver);
        let address = socket("address")?.ok_or_else(|| refused("the parameter `address` is missing"))?;
        let pin = match required(parameters, "pin", driver)? {
            "any" => None,
            text => Some(Pin::parse(text).ok_or_else(|| refused("`pin` is 64 hex digits, or `any`"))?),
        };
        let besides = parsed(parameters, "besides", "an address such as 127.0.0.2", driver)?;
        Ok(Self { address, mdns: socket("mdns")?, besides, pin })
    }
}

impl Driver for HttpsClient {
    fn name(&self) -> &'static str {
        "https-client"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Api
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("address", true, "address and port of the device's API, `192.0.2.7:443`"),
            ("pin", true, "SHA-256 of the certificate that the device shows (DER), 64 hex digits; `any` for whichever it is"),
            ("mdns", false, "address and port at which the device answers mDNS; without it `api-mdns` cannot be used"),
            (
                "besides",
                false,
                "for a device on an address of this machine: another such address, where the device is not; ports that are open there too are not its own",
            ),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Client::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(Client::from(parameters)?.address.to_string())
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        // Nothing is sent: the device may be without power now.
        Box::pin(async move { Ok(Opened::Api(Box::new(Client::from(parameters)?))) })
    }
}

impl ApiLink for Client {
    fn request<'a>(&'a mut self, ask: &'a Ask) -> BoxFuture<'a, Result<Heard, LinkError>> {
        Box::pin(http::request(self.address, self.pin, ask))
    }

    fn scan<'a>(&'a mut self, ports: &'a [RangeInclusive<u16>], each: Duration) -> BoxFuture<'a, Result<Scanned, LinkError>> {
        Box::pin(scan::scan(self.address.ip(), self.besides, ports, each))
    }

    fn announced<'a>(&'a mut self, service: &'a str) -> BoxFuture<'a, Result<Option<Vec<Instance>>, LinkError>> {
        Box::pin(async move {
            let Some(server) = self.mdns else {
                return Err(LinkError::new("ask by mDNS", "the rig gives no `mdns` address; add one to the channel"));
            };
            mdns::ask(server, service).await
        })
    }
}
