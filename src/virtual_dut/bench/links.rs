//! Supply and button of the virtual bench.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    device::{Device, Input},
    latch::latch_write,
    stage::{Shared, Stage},
    timeline::VirtualClock,
};
use crate::{
    channel::{
        clock::{BoxFuture, Clock},
        link::{ButtonLink, CutLab, LinkError, Proof, SupplyLink},
    },
    event::Witness,
};

/// Voltage of the rail when it is up, in millivolt.
const RAIL_MV: u32 = 3300;

/// Does something with the device off the executor: whoever holds it may be waiting for a task of the executor.
async fn on_stage<D: Device, T: Send + 'static>(
    shared: &Arc<Shared<D>>,
    operation: &str,
    act: impl FnOnce(&mut Stage<D>) -> T + Send + 'static,
) -> Result<T, LinkError> {
    shared.timeline.check(operation)?;
    let shared = Arc::clone(shared);
    // Counted from here on, so that no time passes while the act is on its way to another thread.
    let outsider = shared.timeline.outsider();
    let act = move |stage: &mut Stage<D>| {
        let result = act(stage);
        drop(outsider);
        result
    };
    let result = tokio::task::spawn_blocking(move || shared.with(act)).await;
    result.map_err(|error| LinkError::new(operation, format!("the virtual device cannot be reached: {error}")))
}

/// The supply: a relay whose position outlives the program, and a rail that can be read back.
pub(super) struct Supply<D> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) name: String,
    pub(super) latch: Option<PathBuf>,
    pub(super) settle: Duration,
    pub(super) lab: Option<Arc<dyn CutLab>>,
}

impl<D: Device> SupplyLink for Supply<D> {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let operation = format!("switch supply {} {}", self.name, if up { "up" } else { "down" });
            let latch = self.latch.clone();
            let clock = VirtualClock(Arc::clone(&self.shared.timeline));
            let start = clock.now();
            let switched = on_stage(&self.shared, &operation, move |stage| {
                // The relay moves first, as in life: should this process die between the two, the position is the truth.
                if let Some(path) = &latch {
                    latch_write(path, up).map_err(|error| format!("{}: {error}", path.display()))?;
                }
                stage.apply(Input::Power(up));
                Ok::<(), String>(())
            });
            switched.await?.map_err(|what| LinkError::new(&operation, what))?;
            clock.sleep_until(start.after(self.settle)).await;
            let (powered, now) =
                on_stage(&self.shared, &operation, |stage| (stage.device.powered(), stage.clock().now())).await?;
            let rail = if powered { RAIL_MV } else { 0 };
            let what = format!("rail {rail} mV {} ms after the command", now.since(start).as_millis());
            if powered == up {
                Ok(Proof::Seen(Witness { what, evidence: None }))
            } else {
                Err(LinkError::new(operation, format!("{what}: it did not follow")))
            }
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async move {
            let operation = format!("read back supply {}", self.name);
            on_stage(&self.shared, &operation, |stage| Some(stage.device.powered())).await
        })
    }

    fn cut_lab(&self) -> Option<Arc<dyn CutLab>> {
        self.lab.clone()
    }
}

/// A button from a pin to ground.
pub(super) struct Button<D> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) name: String,
    pub(super) pin: u8,
}

impl<D: Device> ButtonLink for Button<D> {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let pin = self.pin;
            let (act, contact) = if pressed { ("press", "closed") } else { ("release", "open") };
            let operation = format!("{act} button {} at P0.{pin:02}", self.name);
            let high = on_stage(&self.shared, &operation, move |stage| {
                stage.apply(Input::Pin { pin, level: pressed.then_some(false) });
                stage.device.pin(pin)
            });
            let high = high.await?;
            if pressed && high {
                return Ok(Proof::None(format!("P0.{pin:02} reads high with the contact closed")));
            }
            let level = if high { "high" } else { "low" };
            Ok(Proof::Seen(Witness { what: format!("contact {contact}, P0.{pin:02} {level}"), evidence: None }))
        })
    }
}
