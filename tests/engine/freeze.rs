//! A service that was to freeze and closed a connection has not frozen: nothing that comes of it is a verdict on the device.

use hilbench::{
    channel::cloud::EventKind,
    step::{
        Silence,
        cloud::{CloudStep, EventPattern},
    },
};

use super::{
    cloud::{Happens, around},
    *,
};

/// The device must connect anew within three seconds, because nobody answers any more.
async fn after_silence(script: Vec<(u64, Happens)>) -> Ran {
    let what = EventPattern { kind: EventKind::Connect, pattern: None };
    let step = CloudStep::Expect { what, within: span(3000), silence: Silence::Fail, fail_as: Some(code("NET-HALFOPEN")) };
    around(script, vec![StepKind::Cloud { channel: "cloud".to_owned(), step }], true, Duration::from_mins(1)).await
}

const CONNECTS: Happens = Happens::Event(EventKind::Connect, "from 127.0.0.1");

#[tokio::test(start_paused = true)]
async fn a_device_that_notices_the_silence_is_judged() {
    after_silence(vec![(1500, CONNECTS)]).await.is(Verdict::Pass, "");
    after_silence(Vec::new()).await.is(Verdict::Fail, "NET-HALFOPEN");
    // What the device closes itself is its own way of noticing.
    let closes = Happens::Event(EventKind::Disconnect, "the device closed it");
    after_silence(vec![(1000, closes), (1500, CONNECTS)]).await.is(Verdict::Pass, "");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_started_anew_was_not_frozen() {
    let closed = || Happens::Own(EventKind::Disconnect, "reset by the bench");
    after_silence(vec![(0, closed()), (500, CONNECTS)]).await.is(Verdict::Inconclusive, "NO-WITNESS");
    // Also if the device would fail, and if a lot happened after it.
    after_silence(vec![(0, closed())]).await.is(Verdict::Inconclusive, "fell silent and closed nothing");
    after_silence(vec![(0, closed()), (0, Happens::Flood(5000)), (500, CONNECTS)]).await.is(Verdict::Inconclusive, "");
}
