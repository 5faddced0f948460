//! An outage that the device is heard through is no outage: nothing that comes of it is a verdict on the device.

use hilbench::{
    channel::{cloud::EventKind, network::Disturbance},
    step::{
        cloud::{CloudStep, EventPattern},
        network::NetworkStep,
    },
};

use super::{
    cloud::{Happens, beside},
    *,
};

fn network(name: &str, step: NetworkStep) -> StepKind {
    StepKind::Network { channel: name.to_owned(), step }
}

/// The service hears nothing that the plan looks for, for three seconds.
fn quiet() -> StepKind {
    let what = EventPattern { kind: EventKind::Publish, pattern: None };
    let step = CloudStep::Refrain { what, during: span(3000), needs: None, fail_as: code("NET-FALLBACK-OPEN") };
    StepKind::Cloud { channel: "cloud".to_owned(), step }
}

/// The network goes, the device is looked at, the network comes back, and the device is looked at again.
fn outage() -> Vec<StepKind> {
    vec![network("network", NetworkStep::Disturb(Disturbance::Down)), quiet(), network("network", NetworkStep::Restore), quiet()]
}

async fn on(networks: &[&str], script: Vec<(u64, Happens)>, steps: Vec<StepKind>) -> Ran {
    beside(networks, script, steps, true, Duration::from_mins(1)).await
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_not_heard_in_an_outage_is_judged() {
    on(&["network"], Vec::new(), outage()).await.is(Verdict::Pass, "");
    // What was on its way may still come, and afterwards it may speak.
    on(&["network"], vec![(500, Happens::Heard), (4000, Happens::Heard)], outage()).await.is(Verdict::Pass, "");
    let publishes = vec![(4000, Happens::Event(EventKind::Publish, "x"))];
    on(&["network"], publishes, outage()).await.is(Verdict::Fail, "NET-FALLBACK-OPEN");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_heard_in_an_outage_neither_passes_nor_fails() {
    let heard = || (2000, Happens::Heard);
    on(&["network"], vec![heard()], outage()).await.is(Verdict::Inconclusive, "NO-WITNESS");
    // Also if the plan would have failed it, or ends while the network is still away.
    let failing = vec![heard(), (4000, Happens::Event(EventKind::Publish, "x"))];
    on(&["network"], failing, outage()).await.is(Verdict::Inconclusive, "NET-FALLBACK-OPEN");
    on(&["network"], vec![heard()], outage()[..2].to_vec()).await.is(Verdict::Inconclusive, "another way to its service");
    // A second order of the same does not hide the first.
    let twice: Vec<StepKind> = outage()[..2].iter().chain(&outage()).cloned().collect();
    on(&["network"], vec![heard()], twice).await.is(Verdict::Inconclusive, "NO-WITNESS");
}

#[tokio::test(start_paused = true)]
async fn with_two_networks_the_device_may_be_heard_through_the_other() {
    on(&["network", "other"], vec![(2000, Happens::Heard)], outage()).await.is(Verdict::Pass, "");
}
