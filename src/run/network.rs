//! Steps on the device's network.

use std::sync::Arc;

use super::{
    execute::{Executor, StepResult},
    outcome::Ended,
};
use crate::{
    event::{Act, StepId},
    step::network::NetworkStep,
};

impl Executor {
    pub(super) async fn network(&mut self, channel: &str, step: &NetworkStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no network channel {channel}"));
        let network = shared.bench.networks.get(channel).ok_or_else(missing)?;
        shared.bench.announce(channel, Act::Network { what: step.describe(channel) }, Some(id)).await?;
        self.mark_all();
        let proof = match step {
            NetworkStep::Disturb(disturbance) => {
                let disturbance = disturbance.clone();
                self.bounded(async { network.lock().await.disturb(disturbance).await }).await??
            }
            NetworkStep::Restore => self.bounded(async { network.lock().await.restore().await }).await??,
        };
        Ok(self.stimulus(proof, id))
    }
}
