//! Steps on the device's network.

use std::{sync::Arc, time::Duration};

use super::{
    execute::{Executor, Passed, StepResult, failed, out_of_time},
    outage::Outage,
    outcome::{Ended, code},
    values,
};
use crate::{
    channel::network::{Counted, Disturbance},
    event::{Act, ChannelName, Fact, Limit, StepId, Verdict},
    step::{
        FailAs, Silence, Within,
        network::{NetworkStep, Wanted, counted},
    },
};

/// How often a count is looked at while a step waits for it.
const LOOK: Duration = Duration::from_millis(50);

impl Executor {
    pub(super) async fn network(&mut self, channel: &str, step: &NetworkStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no network channel {channel}"));
        let network = shared.bench.networks.get(channel).ok_or_else(missing)?;
        match step {
            NetworkStep::Disturb(disturbance) => self.change(channel, step, Some(disturbance), id).await,
            NetworkStep::Restore => self.change(channel, step, None, id).await,
            NetworkStep::Traffic { of, wanted, within, silence, fail_as } => {
                self.traffic(channel, *of, *wanted, within, *silence, fail_as, id).await
            }
            NetworkStep::StartCapture => {
                self.bounded(async { network.lock().await.start_capture().await }).await??;
                Ok(Passed::default())
            }
            NetworkStep::StopCapture { name } => {
                let captured = self.bounded(async { network.lock().await.stop_capture().await }).await??;
                let file = format!("{}-{name}.{}", id.as_str().replace(['/', '.'], "-"), captured.ending);
                let evidence = shared.recorder.evidence(&file, &captured.bytes);
                let mut what = format!("captured {} packets or flows", captured.count);
                if captured.left_out > 0 {
                    what += &format!("; there was no room for another {}", captured.left_out);
                }
                let channel = ChannelName::new(channel);
                shared.recorder.fact(Fact::Observed { step: Some(id.clone()), channel, what, evidence: evidence.clone() });
                Ok(Passed { evidence: evidence.into_iter().collect(), judged: false })
            }
        }
    }

    async fn change(&mut self, channel: &str, step: &NetworkStep, to: Option<&Disturbance>, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let Some(network) = shared.bench.networks.get(channel) else { return Ok(Passed::default()) };
        shared.bench.announce(channel, Act::Network { what: step.describe(channel) }, Some(id)).await?;
        self.mark_all();
        let act = async {
            let mut network = network.lock().await;
            match to.cloned() {
                Some(disturbance) => network.disturb(disturbance).await,
                None => network.restore().await,
            }
        };
        if matches!(to, None | Some(Disturbance::Down)) {
            self.end_outage();
        }
        let proof = self.bounded(act).await??;
        if to == Some(&Disturbance::Down) {
            self.outage = Outage::begins(&shared, channel, id);
        }
        Ok(self.stimulus(proof, id))
    }

    /// Counts until it is known whether the device did what it must. Too little is the device's failure only if the plan says so; too much
    /// always is. What cannot be counted cannot be judged.
    async fn traffic(
        &mut self,
        channel: &str,
        of: Counted,
        wanted: Wanted,
        within: &Within,
        silence: Silence,
        fail_as: &FailAs,
        id: &StepId,
    ) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let Some(network) = shared.bench.networks.get(channel) else { return Ok(Passed::default()) };
        let allowed = values::span(within, &shared.device)?;
        let own = shared.bench.clock.now().after(allowed);
        let until = own.min(self.deadline);
        let count = loop {
            // Looked at after the clock: what came before the end counts.
            let now = shared.bench.clock.now();
            let Some(count) = self.bounded(async { network.lock().await.count(of).await }).await?? else {
                let text = format!("nothing on {channel} can count {}; without that it cannot be judged", counted(of));
                return Err(Ended::judged(Verdict::Inconclusive, code::NO_WITNESS, text));
            };
            let settled = match wanted {
                Wanted::Some => count > 0,
                Wanted::AtMost(most) => count > most,
            };
            if settled || now >= until {
                break count;
            }
            self.pause(LOOK.min(Duration::from_nanos(until.0.saturating_sub(now.0)))).await?;
        };
        let (limit, good) = match wanted {
            Wanted::Some => (Limit { at_least: Some(1.0), at_most: None }, count > 0),
            Wanted::AtMost(most) => (Limit { at_least: None, at_most: Some(most as f64) }, count <= most),
        };
        let out_of_step = own > self.deadline && shared.bench.clock.now() < own;
        if out_of_step && (good != matches!(wanted, Wanted::Some)) {
            // None has come so far, or few: with the whole time it might have been otherwise.
            return Err(out_of_time());
        }
        shared.recorder.fact(Fact::Measured {
            step: id.clone(),
            name: counted(of).replace(' ', "-"),
            value: count as f64,
            unit: "1".to_owned(),
            limit: Some(limit),
            within: good,
        });
        if good {
            return Ok(Passed { evidence: Vec::new(), judged: true });
        }
        match (wanted, silence) {
            (Wanted::Some, Silence::Inconclusive) => {
                let text = format!("no {} came on {channel} within {allowed:?}", counted(of));
                Err(Ended::judged(Verdict::Inconclusive, code::SILENT, text))
            }
            (Wanted::Some, Silence::Fail) => {
                Err(failed(Some(fail_as), "", &format!("no {} came on {channel} within {allowed:?}", counted(of))))
            }
            (Wanted::AtMost(most), _) => Err(failed(
                Some(fail_as),
                "",
                &format!("{count} {} came on {channel}, allowed {most} in {allowed:?}", counted(of)),
            )),
        }
    }
}
