//! An outage that was ordered is one only if the device does not get through: its services must not hear it meanwhile.
//!
//! The read-back of a switched-off port shows that the order was carried out, not that the device is behind that port. A device that is heard
//! during the outage has another way to its service, so nothing that it does can be held against it or counted for it.

use std::{collections::BTreeMap, time::Duration};

use super::execute::{Executor, Shared};
use crate::event::{Fact, StepId};

/// What may still be on its way when the outage begins: in buffers of the bench, and of a machine that is busy.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// An outage that has begun.
#[derive(Debug, Clone)]
pub(super) struct Outage {
    step: StepId,
    channel: String,
    /// Per service: time on its log from which it must hear nothing.
    from: BTreeMap<String, Duration>,
}

impl Outage {
    /// One that begins now. None if the device may rightly be heard: a rig with two networks does not say which service is behind which.
    pub(super) fn begins(shared: &Shared, channel: &str, step: &StepId) -> Option<Self> {
        let logs = &shared.bench.cloud_logs;
        (shared.bench.networks.len() == 1).then(|| Self {
            step: step.clone(),
            channel: channel.to_owned(),
            from: logs.iter().map(|(name, log)| (name.clone(), log.now() + ON_ITS_WAY)).collect(),
        })
    }

    /// The service that has heard the device, and how long after the outage began.
    fn heard(&self, shared: &Shared) -> Option<(String, Duration)> {
        self.from.iter().find_map(|(name, from)| {
            let heard = shared.bench.cloud_logs.get(name)?.last_heard().filter(|heard| heard > from)?;
            Some((name.clone(), heard.saturating_sub(*from) + ON_ITS_WAY))
        })
    }
}

impl Executor {
    /// The outage, if there is one, is over, or nothing more of this case comes: looks whether it was one.
    pub fn end_outage(&mut self) {
        let Some(outage) = self.outage.take() else { return };
        let Some((service, after)) = outage.heard(&self.shared) else { return };
        let missing = format!(
            "that the outage reached the device: {service} heard it {:.1} s after {} was down, so it has another way to its service",
            after.as_secs_f64(),
            outage.channel
        );
        self.ledger.unwitnessed.push(missing.clone());
        self.shared.recorder.fact(Fact::Unwitnessed { step: outage.step, missing });
    }
}
