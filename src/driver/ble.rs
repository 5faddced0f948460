//! Driver `ble`: the device's Bluetooth Low Energy side, over BlueZ.
//!
//! Connections, services, values and notifications go through btleplug. What it has no call for goes to BlueZ's D-Bus interface directly: listening
//! to Low Energy only and proof that the adapter does listen, bonds, every characteristic (btleplug keeps the first of each UUID). All of it runs
//! on a thread of its own, which outlives nobody who could wait for it.

mod bus;
mod gatt;
mod refusal;
mod session;
mod state;
mod target;
mod worker;

use target::{Target, adapter, identity};

use crate::channel::{
    clock::BoxFuture,
    finding::Finding,
    link::{ChannelKind, Driver, LinkError, Opened, Parameters},
};

/// Driver `ble`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ble;

impl Driver for Ble {
    fn name(&self) -> &'static str {
        "ble"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Ble
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("adapter", false, "the bench's adapter, such as hci0, or its address; without it there must be exactly one"),
            ("address", false, "the device's address, such as 'C0:1A:AB:00:00:07'"),
            ("name", false, "the name that the device advertises"),
            ("service", false, "UUID of a service that the device advertises"),
            ("powered-by", false, "supply channel that feeds the device: it vanishes with that supply"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        adapter(parameters)?;
        Target::read(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(identity(adapter(parameters)?.as_ref(), std::path::Path::new("/sys/class/bluetooth")))
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            match self.open(parameters).await {
                Ok(Opened::Ble(mut link)) => {
                    link.close().await;
                    vec![Finding::fine(format!("{} is on, and BlueZ answers", self.identity(parameters).unwrap_or_default()))]
                }
                Ok(_) => Vec::new(),
                Err(error) => vec![error.into()],
            }
        })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let (adapter, target) = (adapter(parameters)?, Target::read(parameters)?);
            let link = worker::start(self.identity(parameters)?, adapter, target).await?;
            Ok(Opened::Ble(Box::new(link)))
        })
    }
}
