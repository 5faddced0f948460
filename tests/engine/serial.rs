//! Consoles that vanish: whose doing it was decides what silence means.

use std::sync::Mutex;

use tokio::io::AsyncReadExt as _;

use super::*;

/// What happens on the bench besides the plan, at so many milliseconds.
#[derive(Clone, Copy)]
enum Hand {
    Pull,
    PutBack,
    /// Another board in the same socket.
    Swap,
    Say(&'static str),
}

/// A console whose plug can be pulled, or that goes with the power of its device.
struct Plug {
    world: Arc<World>,
    on_supply: bool,
    pulled: AtomicBool,
    swapped: AtomicBool,
    says: Mutex<Vec<&'static str>>,
}

impl Plug {
    fn there(&self) -> bool {
        !self.pulled.load(Ordering::SeqCst) && (!self.on_supply || self.world.up.load(Ordering::SeqCst))
    }

    fn gone() -> LinkError {
        LinkError { lost: true, ..LinkError::new("find the plug", "nobody is plugged in") }
    }

    /// The device's end until the plug is pulled.
    async fn serve(self: Arc<Self>, theirs: tokio::io::DuplexStream) {
        let (mut read, mut write) = tokio::io::split(theirs);
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.there() {
            let said: Vec<_> = self.says.lock().unwrap().drain(..).collect();
            for text in said {
                write.write_all(text.as_bytes()).await.unwrap();
            }
            match tokio::time::timeout(Duration::from_millis(5), read.read(&mut byte)).await {
                Ok(Ok(1)) if byte[0] == b'\n' => {
                    if let Some(answer) = lock(&String::from_utf8(std::mem::take(&mut line)).unwrap()) {
                        write.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
                Ok(Ok(1)) => line.push(byte[0]),
                Ok(_) => return,
                Err(_) => {}
            }
        }
    }
}

struct PlugDriver(Arc<Plug>);

impl Driver for PlugDriver {
    fn name(&self) -> &'static str {
        "fake-console"
    }
    fn kind(&self) -> ChannelKind {
        ChannelKind::Console
    }
    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[]
    }
    fn identity(&self, _: &Parameters) -> Result<String, LinkError> {
        Ok(if self.0.swapped.load(Ordering::SeqCst) { "plug 2" } else { "plug 1" }.to_owned())
    }
    fn returns(&self) -> bool {
        true
    }
    fn open<'a>(&'a self, _: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            if !self.0.there() {
                return Err(Plug::gone());
            }
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(Arc::clone(&self.0).serve(theirs));
            Ok(Opened::Console(Box::new(ours)))
        })
    }
}

/// Runs steps while somebody does things to the plug.
async fn with_plug(parameters: &[(&str, &str)], on_supply: bool, hands: &[(u64, Hand)], steps: Vec<Step>) -> Ran {
    let world = Arc::new(World::default());
    let pulled = AtomicBool::new(false);
    let plug =
        Arc::new(Plug { world: Arc::clone(&world), on_supply, pulled, swapped: AtomicBool::new(false), says: Mutex::default() });
    let values = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let console = Some((Arc::new(PlugDriver(Arc::clone(&plug))) as Arc<dyn Driver>, Parameters { values, base: PathBuf::new() }));
    let hands = hands.to_vec();
    let start = tokio::time::Instant::now();
    tokio::spawn(async move {
        for (at, hand) in hands {
            tokio::time::sleep_until(start + Duration::from_millis(at)).await;
            match hand {
                Hand::Pull => plug.pulled.store(true, Ordering::SeqCst),
                Hand::PutBack => plug.pulled.store(false, Ordering::SeqCst),
                Hand::Swap => {
                    plug.swapped.store(true, Ordering::SeqCst);
                    plug.pulled.store(false, Ordering::SeqCst);
                }
                Hand::Say(text) => plug.says.lock().unwrap().push(text),
            }
        }
    });
    Bench { world, console, ..Bench::default() }.run(one(steps)).await
}

const ON_SUPPLY: &[(&str, &str)] = &[("powered-by", "supply")];
const OUT_AND_IN: &[(u64, Hand)] = &[(100, Hand::Pull), (300, Hand::PutBack)];

/// Silence is the device's failure.
fn must_say(pattern: &str) -> Step {
    expect_as(pattern, Silence::Fail, Some(code("DEAD")))
}

fn must_not_say(pattern: &str) -> Step {
    let (channel, pattern) = ("console".to_owned(), text(pattern));
    step(StepKind::Refrain { channel, pattern, during: span(1000), fail_as: code("SPOKE") })
}

#[tokio::test(start_paused = true)]
async fn silence_while_the_console_was_pulled_is_never_the_devices() {
    let silent = || vec![send("hello"), must_say("pong")];
    with_plug(&[], false, &[], silent()).await.is(Verdict::Fail, "DEAD");
    with_plug(&[], false, OUT_AND_IN, silent()).await.is(Verdict::Error, "not there all the time");
    // Nor is it to its credit.
    let quiet = || vec![send("hello"), must_not_say("secret")];
    with_plug(&[], false, &[], quiet()).await.is(Verdict::Pass, "");
    with_plug(&[], false, OUT_AND_IN, quiet()).await.is(Verdict::Error, "not there all the time");
    // What decides a procedure is under the same rule, and so is speaking otherwise.
    let steps = vec![perform("install-nothing", Outcome::Refused, "X")];
    with_plug(&[], false, OUT_AND_IN, steps).await.is(Verdict::Error, "not there all the time");
    let steps = vec![send("other"), must_say("pong")];
    with_plug(&[], false, OUT_AND_IN, steps).await.is(Verdict::Error, "not there all the time");
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_counts_whatever_the_plug_did() {
    let hands = [(100, Hand::Pull), (300, Hand::PutBack), (600, Hand::Say("pong\n"))];
    let ran = with_plug(&[], false, &hands, vec![send("hello"), must_say("pong")]).await;
    ran.is(Verdict::Pass, "");
    let facts = ran.events.iter().filter_map(|event| match &event.fact {
        Fact::ChannelOpened { channel, identity } | Fact::ChannelReopened { channel, identity }
            if channel.as_str() == "console" =>
        {
            Some(format!("open {identity}"))
        }
        Fact::ChannelLost { .. } => Some("lost".to_owned()),
        Fact::Received { offset, len, .. } => Some(format!("{offset}+{len}")),
        _ => None,
    });
    assert_eq!(facts.collect::<Vec<_>>(), ["open fake-console plug 1", "lost", "open fake-console plug 1", "0+5"]);
    let steps = vec![send("hello"), must_not_say("pong")];
    with_plug(&[], false, &hands, steps).await.is(Verdict::Fail, "SPOKE");
}

#[tokio::test(start_paused = true)]
async fn an_absence_before_the_stimulus_does_not_matter() {
    let steps = vec![wait(1000), send("hello"), must_say("pong")];
    with_plug(&[], false, OUT_AND_IN, steps).await.is(Verdict::Fail, "DEAD");
    // Nor one before the match that the expectation follows.
    let hands = [(100, Hand::Pull), (300, Hand::PutBack), (600, Hand::Say("boot\n"))];
    with_plug(&[], false, &hands, vec![send("hello"), must_say("boot"), must_say("pong")]).await.is(Verdict::Fail, "DEAD");
}

#[tokio::test(start_paused = true)]
async fn no_match_reaches_over_an_absence() {
    let hands = [(50, Hand::Say("po")), (100, Hand::Pull), (300, Hand::PutBack), (600, Hand::Say("ng\n"))];
    with_plug(&[], false, &hands, vec![send("hello"), must_say("pong")]).await.is(Verdict::Error, "not there all the time");
    // Also for who begins to look when all of it is there.
    with_plug(&[], false, &hands, vec![send("hello"), wait(900), must_say("pong")])
        .await
        .is(Verdict::Error, "not there all the time");
}

#[tokio::test(start_paused = true)]
async fn a_console_on_the_supply_goes_and_comes_with_it() {
    // It is not there when the bench is opened; the power step waits for it.
    let up = || vec![power(true), send("ping"), must_say("pong")];
    with_plug(ON_SUPPLY, true, &[], up()).await.is(Verdict::Pass, "");
    // Switched down by us: silence is judged as always.
    let steps = [up(), vec![power(false), wait(50), must_say("pong")]].concat();
    with_plug(ON_SUPPLY, true, &[], steps.clone()).await.is(Verdict::Fail, "DEAD");
    let steps_quiet = [up(), vec![power(false), must_not_say("pong")]].concat();
    with_plug(ON_SUPPLY, true, &[], steps_quiet).await.is(Verdict::Pass, "");
    let steps = [up(), vec![power(false), wait(50), power(true), send("ping"), must_say("pong")]].concat();
    let ran = with_plug(ON_SUPPLY, true, &[], steps).await;
    ran.is(Verdict::Pass, "");
    let lost = ran.events.iter().find_map(|event| match &event.fact {
        Fact::ChannelLost { why, .. } => Some(why.clone()),
        _ => None,
    });
    assert!(lost.unwrap().contains("its supply `supply` was switched down"));
}

#[tokio::test(start_paused = true)]
async fn without_powered_by_nothing_explains_that_it_went_with_the_supply() {
    // The plug is in the device, but the rig does not say so: the bench cannot know that the cut did it.
    let world_up = vec![power(true), send("ping"), must_say("pong"), power(false), must_say("pong")];
    let ran = with_plug(&[], true, &[], world_up).await;
    assert_eq!(ran.end.verdict, Verdict::Error, "it is not there at first, which is an error without `powered-by`");
    let steps = vec![power(true), send("ping"), must_say("pong"), power(false), must_say("pong")];
    let hands = [(150, Hand::Pull)];
    let steps = [vec![power(true), power(false), wait(300)], steps].concat();
    with_plug(&[], false, &hands, steps).await.is(Verdict::Error, "");
}

#[tokio::test(start_paused = true)]
async fn a_loss_while_the_supply_is_up_is_a_fault_although_it_hangs_on_it() {
    let steps = || vec![power(true), send("hello"), must_say("pong")];
    let hands = [(400, Hand::Pull), (600, Hand::PutBack)];
    with_plug(ON_SUPPLY, true, &hands, steps()).await.is(Verdict::Error, "not there all the time");
    with_plug(ON_SUPPLY, true, &[], steps()).await.is(Verdict::Fail, "DEAD");
}

#[tokio::test(start_paused = true)]
async fn power_up_without_the_console_coming_back_is_a_fault_that_names_it() {
    let parameters = [("powered-by", "supply"), ("returns-within", "3s")];
    let ran = with_plug(&parameters, true, &[(0, Hand::Pull)], vec![power(true), send("ping"), must_say("pong")]).await;
    ran.is(Verdict::Error, "wait for console `console`: it did not come back within 3s; nobody is plugged in");
    assert_eq!(ran.started(), ["case/1"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_it_does_not_come_back() {
    let parameters = [("returns-within", "2s")];
    let long = StepKind::Expect {
        channel: "console".to_owned(),
        pattern: text("pong"),
        within: span(50_000),
        refused: None,
        silence: Silence::Fail,
        proves: None,
        fail_as: Some(code("DEAD")),
    };
    let ran = with_plug(&parameters, false, &[(100, Hand::Pull)], vec![send("hello"), step(long.clone())]).await;
    ran.is(Verdict::Error, "did not come back within 2s");
    let ended = ran.events.iter().find(|event| matches!(event.fact, Fact::CaseFinished { .. })).unwrap().at;
    assert!(ended.0 < 5_000_000_000, "at once, not at the end of the step: {ended:?}");
    // With `0s` nobody looks for it.
    let hands = [(100, Hand::Pull), (300, Hand::PutBack)];
    let ran = with_plug(&[("returns-within", "0s")], false, &hands, vec![send("hello"), step(long)]).await;
    ran.is(Verdict::Error, "was lost");
    assert!(!ran.events.iter().any(|event| matches!(event.fact, Fact::ChannelReopened { .. })));
}

#[tokio::test(start_paused = true)]
async fn another_instrument_in_its_place_is_not_it() {
    let parameters = [("returns-within", "2s")];
    let hands = [(100, Hand::Pull), (300, Hand::Swap), (500, Hand::Say("pong\n"))];
    let ran = with_plug(&parameters, false, &hands, vec![send("hello"), wait(5000), must_say("pong")]).await;
    ran.is(Verdict::Error, "another instrument, plug 2, in place of plug 1");
}

#[tokio::test(start_paused = true)]
async fn sending_waits_for_the_return_and_not_for_ever() {
    let steps = || vec![wait(200), send("ping"), must_say("pong")];
    let hands = [(100, Hand::Pull), (900, Hand::PutBack)];
    with_plug(&[], false, &hands, steps()).await.is(Verdict::Pass, "");
    let parameters = [("returns-within", "2s")];
    let ran = with_plug(&parameters, false, &[(100, Hand::Pull)], steps()).await;
    ran.is(Verdict::Error, "did not come back within 2s; 0 of 5 bytes had gone out");
}
