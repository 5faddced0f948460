//! The rules over Bluetooth Low Energy, each on a model of a link.

use hilbench::{
    channel::ble::{
        Advertisement, Answer, BleLink, Bond, Characteristic, CharacteristicId, Connection, LinkState, Listening, Notification,
        NotificationSink, Refusal, Service, Why,
    },
    rig::ble::{Declared, DeclaredCharacteristic, DeclaredService},
    step::ble::{BleStep, WriteData},
};

use super::*;

/// How the model behaves.
#[derive(Clone)]
struct Model {
    listening: Listening,
    connection: Connection,
    link: LinkState,
    services: Vec<Service>,
    answer: Answer<Vec<u8>>,
    bond: Bond,
    /// What is notified at once when something is written.
    echo: &'static [&'static [u8]],
    /// The adapter is gone.
    pulled: bool,
}

const LOCK: &str = "1000";
const STATE: &str = "2000";

fn id(text: &str) -> CharacteristicId {
    CharacteristicId::parse(text).unwrap()
}

fn uuid(text: &str) -> String {
    id(text).uuid
}

fn heard() -> Listening {
    let heard = Advertisement { address: "C0:1A:AB:00:00:01".to_owned(), rssi: Some(-50), ..Advertisement::default() };
    Listening { heard: Some(heard), ..Listening::default() }
}

fn doubt() -> String {
    "the adapter listened for 1s of 2s".to_owned()
}

impl Default for Model {
    fn default() -> Self {
        let access = ["read", "write", "notify"].map(str::to_owned).to_vec();
        let state = Characteristic { uuid: uuid(STATE), access, descriptors: Vec::new() };
        Self {
            listening: heard(),
            connection: Connection::Connected,
            link: LinkState::Up,
            services: vec![Service { uuid: uuid(LOCK), primary: true, characteristics: vec![state] }],
            answer: Answer::Done(b"state=locked".to_vec()),
            bond: Bond::default(),
            echo: &[],
            pulled: false,
        }
    }
}

struct FakeLink {
    model: Model,
    closed: Arc<AtomicBool>,
    sink: Option<NotificationSink>,
}

impl FakeLink {
    fn done<T: Send + 'static>(&self, value: T) -> BoxFuture<'static, Result<T, LinkError>> {
        let pulled = self.model.pulled;
        Box::pin(async move {
            if pulled {
                return Err(LinkError { lost: true, ..LinkError::new("use adapter hci0", "it is gone; was it pulled out?") });
            }
            Ok(value)
        })
    }

    fn unit(&self) -> Answer<()> {
        match self.model.answer.clone() {
            Answer::Done(_) => Answer::Done(()),
            Answer::Refused(refusal) => Answer::Refused(refusal),
            Answer::Unlinked(why) => Answer::Unlinked(why),
            Answer::Unknown(why) => Answer::Unknown(why),
        }
    }
}

impl BleLink for FakeLink {
    fn listen(&mut self, _: Duration, _: bool) -> BoxFuture<'_, Result<Listening, LinkError>> {
        self.done(self.model.listening.clone())
    }
    fn connect(&mut self, _: Duration) -> BoxFuture<'_, Result<Connection, LinkError>> {
        self.done(self.model.connection.clone())
    }
    fn disconnect(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.done(())
    }
    fn link(&mut self, _: Duration) -> BoxFuture<'_, Result<LinkState, LinkError>> {
        self.done(self.model.link.clone())
    }
    fn services(&mut self) -> BoxFuture<'_, Result<Answer<Vec<Service>>, LinkError>> {
        self.done(Answer::Done(self.model.services.clone()))
    }
    fn read(&mut self, _: CharacteristicId) -> BoxFuture<'_, Result<Answer<Vec<u8>>, LinkError>> {
        self.done(self.model.answer.clone())
    }
    fn write(&mut self, to: CharacteristicId, _: Vec<u8>, _: bool) -> BoxFuture<'_, Result<Answer<()>, LinkError>> {
        for value in self.model.echo {
            if let Some(sink) = &self.sink {
                sink(Notification { characteristic: to.uuid.clone(), bytes: value.to_vec() });
            }
        }
        self.done(self.unit())
    }
    fn subscribe(&mut self, _: CharacteristicId) -> BoxFuture<'_, Result<Answer<()>, LinkError>> {
        self.done(self.unit())
    }
    fn bond(&mut self) -> BoxFuture<'_, Result<Bond, LinkError>> {
        self.done(self.model.bond)
    }
    fn forget(&mut self) -> BoxFuture<'_, Result<(), LinkError>> {
        self.model.bond = Bond::default();
        self.done(())
    }
    fn refuse_bonds(&mut self, _: bool) -> BoxFuture<'_, Result<(), LinkError>> {
        self.done(())
    }
    fn capture(&mut self, sink: NotificationSink) {
        self.sink = Some(sink);
    }
    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::SeqCst);
        Box::pin(async {})
    }
}

fn declared(authenticated: bool, access: &[&str]) -> Declared {
    let access = access.iter().map(|word| (*word).to_owned()).collect();
    let state = DeclaredCharacteristic { uuid: uuid(STATE), access, authenticated };
    let lock = DeclaredService { uuid: uuid(LOCK), what: "lock".to_owned(), characteristics: vec![state] };
    Declared { services: vec![lock] }
}

impl Model {
    async fn run(self, declared: Option<Declared>, steps: Vec<BleStep>) -> Ran {
        let closed = Arc::new(AtomicBool::new(false));
        let mut rig = rig_of(&[("ble", "fake-ble")]);
        rig.device.ble = declared;
        let seen = Arc::clone(&closed);
        let open = move || Opened::Ble(Box::new(FakeLink { model: self.clone(), closed: Arc::clone(&seen), sink: None }));
        let registry = Registry::new().with(fake("fake-ble", ChannelKind::Ble, "adapter hci0", open));
        let steps = steps.into_iter().map(|step| super::step(StepKind::Ble { channel: "ble".to_owned(), step })).collect();
        let ran = Bench::default().run_on(one(steps), rig, registry, Arc::new(World::default())).await;
        assert!(closed.load(Ordering::SeqCst), "the link is closed whatever happened");
        ran
    }

    async fn one(self, step: BleStep) -> Ran {
        self.run(None, vec![step]).await
    }
}

fn presence(present: bool) -> BleStep {
    BleStep::Presence { present, within: span(100), fail_as: code("ADV") }
}

fn connect(accepted: bool) -> BleStep {
    BleStep::Connect { within: span(100), accepted, fail_as: code("CONNECT") }
}

fn read(readable: bool, pattern: Option<&str>) -> BleStep {
    BleStep::Read { from: id(STATE), readable, pattern: pattern.map(text), fail_as: code("READ") }
}

fn write(with_response: bool) -> BleStep {
    BleStep::Write { to: id(STATE), data: WriteData::Bytes(vec![1]), with_response, accepted: true, fail_as: code("WRITE") }
}

fn notify(pattern: &str) -> BleStep {
    BleStep::Notify { from: id(STATE), pattern: text(pattern), within: span(100), fail_as: code("NOTIFY") }
}

fn subscribe() -> BleStep {
    BleStep::Subscribe { to: id(STATE), accepted: true, fail_as: code("SUBSCRIBE") }
}

fn unauthenticated() -> BleStep {
    BleStep::Unauthenticated { write: Vec::new(), bytes: vec![0], fail_as: code("UNAUTH") }
}

fn refused(why: Why) -> Answer<Vec<u8>> {
    Answer::Refused(Refusal { why, words: "Not paired".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn silence_counts_only_if_the_adapter_listened_all_the_time() {
    let silent = |doubt| Model { listening: Listening { doubt, ..Listening::default() }, ..Model::default() };
    Model::default().one(presence(true)).await.is(Verdict::Pass, "");
    Model::default().one(presence(false)).await.is(Verdict::Fail, "ADV");
    silent(None).one(presence(false)).await.is(Verdict::Pass, "");
    silent(None).one(presence(true)).await.is(Verdict::Fail, "ADV");
    for present in [true, false] {
        silent(Some(doubt())).one(presence(present)).await.is(Verdict::Inconclusive, "NO-WITNESS");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_refused_only_by_a_device_that_was_heard() {
    let tried = |connection: Connection| Model { connection, ..Model::default() };
    tried(Connection::Connected).one(connect(true)).await.is(Verdict::Pass, "");
    let disconnected = Model { link: LinkState::Never, ..Model::default() };
    disconnected.one(connect(false)).await.is(Verdict::Fail, "CONNECT");
    for accepted in [true, false] {
        let with = |connection| Model { link: LinkState::Never, connection, ..Model::default() }.one(connect(accepted));
        with(Connection::Unheard { doubt: None }).await.is(Verdict::Inconclusive, "SILENT");
        with(Connection::Unheard { doubt: Some(doubt()) }).await.is(Verdict::Inconclusive, "NO-WITNESS");
        with(Connection::Doubtful("once".to_owned())).await.is(Verdict::Inconclusive, "NO-WITNESS");
        with(Connection::Lost("gone".to_owned())).await.is(Verdict::Inconclusive, "NO-LINK");
        let verdict = if accepted { Verdict::Fail } else { Verdict::Pass };
        with(Connection::Refused("no link".to_owned())).await.is(verdict, if accepted { "CONNECT" } else { "" });
    }
    // A link that is there already says nothing about refusals.
    Model::default().one(connect(false)).await.is(Verdict::Inconclusive, "already connected");
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_never_a_refusal() {
    for answer in [Answer::Unlinked("the link was lost".to_owned()), Answer::Unknown("no such".to_owned())] {
        for readable in [true, false] {
            let model = Model { answer: answer.clone(), ..Model::default() };
            model.one(read(readable, None)).await.is(Verdict::Inconclusive, "");
        }
    }
    Model { answer: refused(Why::Security), ..Model::default() }.one(read(false, None)).await.is(Verdict::Pass, "");
    Model { answer: refused(Why::Security), ..Model::default() }.one(read(true, None)).await.is(Verdict::Fail, "READ");
    // An error that is no denial does not show a protection.
    Model { answer: refused(Why::Other), ..Model::default() }.one(read(false, None)).await.is(Verdict::Inconclusive, "");
    Model::default().one(read(false, None)).await.is(Verdict::Fail, "READ");
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_a_value_becomes_a_value() {
    let ran = Model::default().one(read(true, Some(r"state=(?<state>\w+)"))).await;
    ran.is(Verdict::Pass, "");
    let captured = ran.events.iter().any(|event| match &event.fact {
        Fact::Matched { captures, .. } => captures.get("state").is_some_and(|state| state == "locked"),
        _ => false,
    });
    assert!(captured);
    Model::default().one(read(true, Some("open"))).await.is(Verdict::Fail, "READ");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nothing_acknowledges_has_no_witness() {
    Model::default().one(write(true)).await.is(Verdict::Pass, "");
    Model::default().run(None, vec![write(false), read(true, None)]).await.is(Verdict::Inconclusive, "NO-WITNESS");
}

#[tokio::test(start_paused = true)]
async fn a_notification_counts_from_the_stimulus_on_and_once() {
    let echo = || Model { echo: &[b"moving", b"moved"], ..Model::default() };
    // It comes before the step that waits for it begins.
    echo().run(None, vec![subscribe(), write(true), notify("moved")]).await.is(Verdict::Pass, "");
    echo().run(None, vec![subscribe(), write(true), notify("moved"), notify("moved")]).await.is(Verdict::Fail, "NOTIFY");
    // What came before the last act does not count.
    let ran = echo().run(None, vec![subscribe(), write(true), subscribe(), notify("moved")]).await;
    ran.is(Verdict::Fail, "NOTIFY");
    let stored = ran.events.iter().filter(|event| matches!(event.fact, Fact::Received { .. })).count();
    assert_eq!(stored, 2, "all are in the evidence");
    // Silence of a device that is out of reach.
    let lost = Model { link: LinkState::Lost, ..Model::default() };
    lost.run(None, vec![notify("moved")]).await.is(Verdict::Inconclusive, "NO-LINK");
}

#[tokio::test(start_paused = true)]
async fn undeclared_services_are_a_finding() {
    let services = || vec![BleStep::Services { fail_as: code("UNDECLARED") }];
    let all = ["read", "write", "notify"];
    Model::default().run(Some(declared(false, &all)), services()).await.is(Verdict::Pass, "");
    Model::default().run(Some(declared(false, &all[..2])), services()).await.is(Verdict::Fail, "notify of 1000/2000");
    Model::default().run(Some(Declared::default()), services()).await.is(Verdict::Fail, "service 1000");
    Model::default().run(None, services()).await.is(Verdict::Inconclusive, "NOT-DECLARED");
    let empty = Model { services: Vec::new(), ..Model::default() };
    empty.run(Some(declared(false, &all)), services()).await.is(Verdict::Inconclusive, "no service at all");
}

#[tokio::test(start_paused = true)]
async fn unauthenticated_access_must_be_refused_and_not_only_fail() {
    let tried = |answer, authenticated| {
        let model = Model { answer, ..Model::default() };
        model.run(Some(declared(authenticated, &["read"])), vec![unauthenticated()])
    };
    tried(refused(Why::Security), true).await.is(Verdict::Pass, "");
    tried(refused(Why::Application(0x80)), true).await.is(Verdict::Pass, "");
    tried(Answer::Done(b"1234".to_vec()), true).await.is(Verdict::Fail, "UNAUTH");
    tried(refused(Why::Other), true).await.is(Verdict::Inconclusive, "");
    tried(Answer::Unlinked("the link was lost".to_owned()), true).await.is(Verdict::Inconclusive, "NO-LINK");
    tried(refused(Why::Security), false).await.is(Verdict::Inconclusive, "NOT-DECLARED");
    // With a bond the access is authenticated.
    let bonded = Bond { known: true, paired: true, bonded: true, trusted: false };
    let model = Model { bond: bonded, answer: refused(Why::Security), ..Model::default() };
    model.run(Some(declared(true, &["read"])), vec![unauthenticated()]).await.is(Verdict::Inconclusive, "bond");
    // The device does not have it.
    let model = Model { services: Vec::new(), answer: refused(Why::Security), ..Model::default() };
    model.run(Some(declared(true, &["read"])), vec![unauthenticated()]).await.is(Verdict::Inconclusive, "");
}

#[tokio::test(start_paused = true)]
async fn a_link_is_lost_or_kept() {
    let watched = |link, kept| {
        let step = BleStep::Link { kept, within: span(100), fail_as: code("LINK") };
        Model { link, ..Model::default() }.one(step)
    };
    watched(LinkState::Up, true).await.is(Verdict::Pass, "");
    watched(LinkState::Up, false).await.is(Verdict::Fail, "LINK");
    watched(LinkState::Lost, false).await.is(Verdict::Pass, "");
    watched(LinkState::Lost, true).await.is(Verdict::Fail, "LINK");
    for kept in [true, false] {
        watched(LinkState::Never, kept).await.is(Verdict::Inconclusive, "NO-LINK");
        watched(LinkState::Ended, kept).await.is(Verdict::Inconclusive, "NO-LINK");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bond_is_there_or_forgotten() {
    let bond = Bond { known: true, paired: true, bonded: true, trusted: false };
    let with = |bond, bonded| Model { bond, ..Model::default() }.one(BleStep::Bond { bonded, fail_as: code("BOND") });
    with(bond, true).await.is(Verdict::Pass, "");
    with(bond, false).await.is(Verdict::Fail, "BOND");
    with(Bond::default(), true).await.is(Verdict::Fail, "BOND");
    let gone = BleStep::Bond { bonded: false, fail_as: code("BOND") };
    Model { bond, ..Model::default() }.run(None, vec![BleStep::Forget, gone]).await.is(Verdict::Pass, "");
}

#[tokio::test(start_paused = true)]
async fn a_pulled_adapter_is_never_the_devices_doing() {
    let steps = [
        presence(true),
        presence(false),
        connect(true),
        connect(false),
        read(false, None),
        write(true),
        notify("x"),
        BleStep::Disconnect,
        BleStep::Link { kept: false, within: span(100), fail_as: code("LINK") },
        BleStep::Bond { bonded: false, fail_as: code("BOND") },
        BleStep::Forget,
        BleStep::Services { fail_as: code("UNDECLARED") },
        unauthenticated(),
    ];
    for step in steps {
        let model = Model { pulled: true, ..Model::default() };
        model.run(Some(declared(true, &["read"])), vec![step]).await.is(Verdict::Error, "was it pulled out?");
    }
}
