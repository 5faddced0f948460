//! Steps on supplies and buttons besides switching and pressing.

use std::sync::Arc;

use super::{
    execute::{Executor, Passed, StepResult, failed},
    outcome::{Ended, code},
};
use crate::{
    event::{Fact, Limit, StepId, Verdict},
    step::supply::{SupplyMeasurement, unit},
};

impl Executor {
    pub(super) async fn measure_supply(&mut self, channel: &str, step: &SupplyMeasurement, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no supply channel {channel}"));
        let supply = shared.bench.supplies.get(channel).ok_or_else(missing)?;
        let Some(value) = self.bounded(async { supply.lock().await.measure(step.what).await }).await?? else {
            let text = format!("the supply behind {channel} cannot measure {}", step.name);
            return Err(Ended::judged(Verdict::Inconclusive, code::NO_WITNESS, text));
        };
        if !value.is_finite() {
            return Err(Ended::fault(format!("{channel}: {} is not a number", step.name)));
        }
        let within = step.at_least.is_none_or(|low| value >= low) && step.at_most.is_none_or(|high| value <= high);
        let limit = (step.at_least.is_some() || step.at_most.is_some())
            .then_some(Limit { at_least: step.at_least, at_most: step.at_most });
        let unit = unit(step.what);
        shared.recorder.fact(Fact::Measured {
            step: id.clone(),
            name: step.name.clone(),
            value,
            unit: unit.to_owned(),
            limit,
            within,
        });
        if !within {
            let allowed = step.describe(channel);
            return Err(failed(
                step.fail_as.as_ref(),
                code::UNEXPECTED,
                &format!("{} was {value} {unit} ({allowed})", step.name),
            ));
        }
        Ok(Passed { evidence: Vec::new(), judged: limit.is_some() })
    }

    /// Presses or releases, and leaves it so.
    pub(super) async fn button(&mut self, channel: &str, pressed: bool, id: &StepId) -> StepResult {
        self.mark_all();
        let shared = Arc::clone(&self.shared);
        let proof = self.bounded(shared.bench.press(channel, pressed, Some(id))).await??;
        Ok(self.stimulus(proof, id))
    }
}
