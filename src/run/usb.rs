//! Steps on the device's USB port.

use std::{sync::Arc, time::Duration};

use super::{
    execute::{Executor, Passed, StepResult, failed, out_of_time},
    outcome::Ended,
    values,
};
use crate::{
    event::{ChannelName, Fact, StepId},
    step::usb::UsbStep,
};

/// How often the bus is looked at while a step waits for a change.
const LOOK: Duration = Duration::from_millis(20);

impl Executor {
    pub(super) async fn usb(&mut self, channel: &str, step: &UsbStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no USB channel {channel}"));
        let port = shared.bench.usbs.get(channel).ok_or_else(missing)?;
        match step {
            UsbStep::Presence { present, within, fail_as } => {
                let allowed = values::span(within, &shared.device)?;
                let own = shared.bench.clock.now().after(allowed);
                let until = own.min(self.deadline);
                loop {
                    let place = self.bounded(async { port.lock().await.place().await }).await??;
                    if place.is_some() == *present {
                        let what = place.map_or_else(|| "gone from the bus".to_owned(), |place| format!("on the bus at {place}"));
                        let channel = ChannelName::new(channel);
                        shared.recorder.fact(Fact::Observed { step: Some(id.clone()), channel, what, evidence: None });
                        return Ok(Passed { evidence: Vec::new(), judged: true });
                    }
                    if shared.bench.clock.now() >= until {
                        if own > self.deadline {
                            return Err(out_of_time());
                        }
                        let seen =
                            place.map_or_else(|| "not on the bus".to_owned(), |place| format!("still on the bus at {place}"));
                        return Err(failed(Some(fail_as), "", &format!("{channel} was {seen} after {allowed:?}")));
                    }
                    self.pause(LOOK).await?;
                }
            }
        }
    }
}
