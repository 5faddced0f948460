//! Steps at the device's cloud.

use std::sync::Arc;

use super::{
    execute::{Executor, StepResult},
    outcome::Ended,
};
use crate::{
    event::{Act, StepId},
    step::cloud::CloudStep,
};

impl Executor {
    pub(super) async fn cloud(&mut self, channel: &str, step: &CloudStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no cloud channel {channel}"));
        let cloud = shared.bench.clouds.get(channel).ok_or_else(missing)?;
        shared.bench.announce(channel, Act::Exchange { what: step.describe(channel) }, Some(id)).await?;
        self.mark_all();
        match step {
            CloudStep::Behave(behaviour) => {
                let proof = self.bounded(async { cloud.lock().await.behave(*behaviour).await }).await??;
                Ok(self.stimulus(proof, id))
            }
        }
    }
}
