//! Which drivers exist, and how the virtual bench's channels reach the real ones.

use std::{path::PathBuf, sync::Arc};

use crate::{
    channel::{
        clock::{BoxFuture, Clock, WallClock},
        link::{ChannelKind, Driver, LinkError, Opened, Parameters, SupplyLink},
    },
    driver::{probe::ProbeRsDriver, serial::SerialDriver},
    rig::{DriverCatalogue, model::Rig},
    run::registry::Registry,
    virtual_dut::bench::VirtualBench,
};
