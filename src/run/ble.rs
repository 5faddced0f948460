//! Steps over Bluetooth Low Energy.

use std::sync::Arc;

use super::{
    execute::{Executor, Passed, StepResult, failed, out_of_time},
    outcome::Ended,
    values,
};
use crate::{
    event::{ChannelName, Fact, StepId},
    step::ble::BleStep,
};

impl Executor {
    pub(super) async fn ble(&mut self, channel: &str, step: &BleStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no Bluetooth channel {channel}"));
        let link = shared.bench.bles.get(channel).ok_or_else(missing)?;
        match step {
            BleStep::Presence { present, within, fail_as } => {
                let allowed = values::span(within, &shared.device)?;
                if shared.bench.clock.now().after(allowed) > self.deadline {
                    return Err(out_of_time());
                }
                let heard = self.bounded(async { link.lock().await.advertises(allowed).await }).await??;
                let what = heard.clone().unwrap_or_else(|| format!("nothing heard in {allowed:?}"));
                let name = ChannelName::new(channel);
                shared.recorder.fact(Fact::Observed {
                    step: Some(id.clone()),
                    channel: name,
                    what: what.clone(),
                    evidence: None,
                });
                if heard.is_some() == *present {
                    return Ok(Passed { evidence: Vec::new(), judged: true });
                }
                Err(failed(Some(fail_as), "", &format!("{channel}: {what}")))
            }
        }
    }
}
