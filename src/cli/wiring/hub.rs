//! The virtual hub's channels: its supply, its console and its button. Network and cloud of such a rig are the ordinary drivers.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::Arc,
};

use super::{super::bench_fault::RestartedService, Gone, LATCH, Relay, Wired, at_path, registry};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Opened, Parameters},
        operator::Ask,
    },
    driver::{api::fingerprint, serial::Serial},
    rig::model::{BenchFault, Rig},
    virtual_dut::hub::{Attachment, CLOCK_PORT, Flaw, Hub, HubConfig, SERVICE_PORT},
};

/// What stands for the hub's address in a rig file.
const BENCH: &str = "{bench}";
/// What stands for a second address, where the hub has nothing: for what a network puts in the place of a service.
const OTHER: &str = "{other}";
/// What stands for the hub's own address, where only the hub is.
const DEVICE: &str = "{device}";
/// What stands for the SHA-256 of the certificate of its local API.
const CERTIFICATE: &str = "{certificate}";
/// Addresses tried before there is none.
const TRIES: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Supply,
    Console,
    Button,
}

/// One channel of the hub as a driver. Without a hub: for checks, and for the guard, which only has the relay.
struct HubDriver {
    part: Part,
    hub: Option<(Arc<Hub>, String)>,
}

/// The drivers of a hub's own channels.
pub(super) fn drivers(hub: Option<(&Arc<Hub>, &str)>) -> Vec<Arc<dyn Driver>> {
    let of = |part| -> Arc<dyn Driver> {
        Arc::new(HubDriver { part, hub: hub.map(|(hub, identity)| (Arc::clone(hub), identity.to_owned())) })
    };
    [Part::Supply, Part::Console, Part::Button].map(of).into()
}

/// The rig at the machine's own address, for checks that touch nothing.
pub(super) fn somewhere(rig: &Rig) -> Cow<'_, Rig> {
    if rig.virtual_hub.is_none() {
        return Cow::Borrowed(rig);
    }
    let mut rig = rig.clone();
    place(&mut rig, Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    fill(&mut rig, CERTIFICATE, &"0".repeat(64));
    Cow::Owned(rig)
}

fn place(rig: &mut Rig, address: Ipv4Addr, other: Ipv4Addr, device: Ipv4Addr) {
    for (name, address) in [(BENCH, address), (OTHER, other), (DEVICE, device)] {
        fill(rig, name, &address.to_string());
    }
}

fn fill(rig: &mut Rig, name: &str, with: &str) {
    for value in rig.channels.values_mut().flat_map(|spec| spec.parameters.values.values_mut()) {
        *value = value.replace(name, with);
    }
}

/// An address of the loopback network that nobody uses: all of 127/8 is this machine's own (RFC 1122 section 3.2.1.3), so that several runs
/// can have the same ports at once.
fn free_address() -> Result<Ipv4Addr, LinkError> {
    let failed = |what: String| LinkError::new("find an address for the virtual hub", what);
    let mut last = String::new();
    for attempt in 0..TRIES {
        let [a, b, c, ..] = RandomState::new().hash_one((std::process::id(), attempt)).to_le_bytes();
        let address = Ipv4Addr::new(127, 64 + a % 128, b, 1 + c % 254);
        match TcpListener::bind((address, SERVICE_PORT)).and(std::net::UdpSocket::bind((address, CLOCK_PORT))) {
            Ok(_) => return Ok(address),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(failed(format!("none of {TRIES} loopback addresses can be used, last {last}")))
}

/// Puts the rig's hub on the bench; the drivers of its run.
pub(super) fn for_run(rig: &mut Rig, store: &Path, seed: Option<u64>, ask: &Arc<dyn Ask>) -> Result<Wired, LinkError> {
    let (seed_of_rig, flaw, fault) =
        rig.virtual_hub.as_ref().map(|hub| (hub.seed, hub.flaw.clone(), hub.bench_fault)).unwrap_or_default();
    let address = free_address()?;
    let own = free_address()?;
    place(rig, address, free_address()?, own);
    let state = store.join("state");
    let name = rig.name.replace(['/', '\\', '.'], "-");
    let (latch, authority) = (state.join(format!("{name}.supply")), state.join(format!("{name}.pem")));
    std::fs::create_dir_all(&state).map_err(|error| LinkError::new(format!("prepare {}", state.display()), error.to_string()))?;
    for spec in rig.channels.values_mut() {
        match spec.driver.as_str() {
            "hub-power" => drop(spec.parameters.values.insert(LATCH.to_owned(), latch.display().to_string())),
            // The hub has the bench's authority built in, as a test firmware would have.
            "cloud-mqtt" | "cloud-https"
                if !spec.parameters.values.contains_key("ca-file")
                    && spec.parameters.values.get("tls").is_none_or(|tls| tls != "false") =>
            {
                spec.parameters.values.insert("ca-file".to_owned(), authority.display().to_string());
            }
            _ => {}
        }
    }
    let config = HubConfig {
        name: rig.name.clone(),
        latch: Some(latch),
        attachment: Attachment::Loopback { bench: address, own },
        authority,
        seed: seed.unwrap_or(seed_of_rig),
        flaw: flaw.as_deref().and_then(Flaw::named),
    };
    let hub = Arc::new(Hub::start(config)?);
    // As whoever sets up a bench reads it off the device.
    fill(rig, CERTIFICATE, &fingerprint(hub.certificate()));
    let identity = format!("{} in {}", rig.name, store.display());
    let mut registry = registry(&super::VirtualChannels::default(), ask).with_all(drivers(Some((&hub, &identity))));
    if fault == Some(BenchFault::RestartedService) {
        registry = registry.with(Arc::new(RestartedService));
    }
    Ok(Wired { registry, clock: hub.clock(), hold: Some(Box::new(hub)) })
}

impl Driver for HubDriver {
    fn name(&self) -> &'static str {
        match self.part {
            Part::Supply => "hub-power",
            Part::Console => "hub-serial",
            Part::Button => "hub-button",
        }
    }

    fn kind(&self) -> ChannelKind {
        match self.part {
            Part::Supply => ChannelKind::Supply,
            Part::Console => ChannelKind::Console,
            Part::Button => ChannelKind::Button,
        }
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[]
    }

    fn identity(&self, _: &Parameters) -> Result<String, LinkError> {
        Ok(format!("virtual hub {}", self.hub.as_ref().map_or("", |(_, identity)| identity)))
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            match (self.part, &self.hub) {
                (Part::Supply, Some((hub, _))) => Ok(Opened::Supply(hub.supply())),
                (Part::Button, Some((hub, _))) => Ok(Opened::Button(hub.button())),
                (Part::Console, Some((hub, _))) => Serial.open(&at_path(parameters, hub.console_path())).await,
                (Part::Supply, None) if parameters.values.contains_key(LATCH) => {
                    Ok(Opened::Supply(Box::new(Relay(parameters.values[LATCH].clone().into()))))
                }
                (Part::Button, None) => Ok(Opened::Button(Box::new(Gone))),
                (_, None) => {
                    let what = "there is no virtual hub in this process; the rig file needs a `virtual-hub` section";
                    Err(LinkError::new(format!("open {}", self.name()), what))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hubs_get_two_addresses() {
        let (one, other) = (free_address().unwrap(), free_address().unwrap());
        assert!(one.is_loopback() && other.is_loopback() && one != other, "{one} {other}");
    }

    #[test]
    fn every_flaw_of_a_rig_file_is_one_of_the_hub() {
        let text = include_str!("../../../docs/schema/rig-1.json");
        for (word, flaw) in Flaw::WORDS {
            assert_eq!(Flaw::named(word), Some(*flaw));
            assert!(text.contains(&format!("\"{word}\"")), "`{word}` is not in the schema of rigs");
        }
        assert_eq!(Flaw::named("none"), None);
    }
}
