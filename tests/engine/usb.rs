//! Verdicts of steps on a USB port, on a model of the port: no kernel, no device.

use std::sync::Mutex;

use hilbench::{
    channel::usb::{Answer, Dump, Pipe, Setup as Request, Transfer, UsbLink},
    rig::usb::{UsbInterface, UsbPort},
    step::usb::{Must, Sweep, UsbStep},
};

use super::*;

/// What the model answers to the n-th transfer.
type Answers = dyn Fn(usize, &Transfer) -> Result<Answer, LinkError> + Send + Sync;

struct Model {
    dump: Option<Dump>,
    answers: Box<Answers>,
    /// Transfers so far.
    done: Mutex<Vec<Transfer>>,
    /// Whether a device that has left comes back.
    returns: bool,
    away: AtomicBool,
}

struct Port(Arc<Model>);

impl UsbLink for Port {
    fn place(&mut self) -> BoxFuture<'_, Result<Option<String>, LinkError>> {
        let here = self.0.dump.is_some() && !self.0.away.load(Ordering::SeqCst);
        Box::pin(async move { Ok(here.then(|| "1-1".to_owned())) })
    }

    fn descriptors(&mut self) -> BoxFuture<'_, Result<Option<Dump>, LinkError>> {
        Box::pin(async move { Ok(self.0.dump.clone()) })
    }

    fn transfer(&mut self, transfer: Transfer) -> BoxFuture<'_, Result<Answer, LinkError>> {
        let mut done = self.0.done.lock().unwrap();
        let answer = (self.0.answers)(done.len(), &transfer);
        if matches!(answer, Ok(Answer::Left)) {
            self.0.away.store(!self.0.returns, Ordering::SeqCst);
        }
        done.push(transfer);
        Box::pin(async move { answer })
    }
}

/// Descriptors of a device with these interfaces; `more` follows the last one.
fn descriptors(product: u16, interfaces: &[[u8; 3]], more: &[u8]) -> Vec<u8> {
    let mut rest: Vec<u8> =
        (0_u8..).zip(interfaces).flat_map(|(number, class)| [9, 4, number, 0, 0, class[0], class[1], class[2], 4]).collect();
    rest.extend(more);
    let total = (9 + rest.len()) as u16;
    let [low, high] = product.to_le_bytes();
    let device = [18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, low, high, 0, 1, 1, 2, 3, 1];
    [&device[..], &[9, 2], &total.to_le_bytes(), &[interfaces.len() as u8, 1, 0, 0x80, 50], &rest].concat()
}

const LOCK: [u8; 3] = [0xFF, 1, 1];
const HID: [u8; 3] = [3, 1, 1];
const DFU: [u8; 3] = [0xFE, 1, 2];

fn shows(interfaces: &[[u8; 3]]) -> Dump {
    let bytes = descriptors(3, interfaces, &[]);
    Dump { place: "1-1".to_owned(), arrival: bytes.clone(), now: Some(bytes), ..Dump::default() }
}

fn declared() -> UsbPort {
    let entry = |class: u8, what: &str| UsbInterface { class, subclass: None, protocol: None, what: what.to_owned() };
    UsbPort { id: Some((0x1209, 3)), interfaces: vec![entry(0xFF, "lock")], requests: [(0, 0x21)].into() }
}

/// A good device: it answers standard requests and refuses the rest.
#[expect(clippy::unnecessary_wraps, reason = "one of the models, others fail")]
fn good(_: usize, transfer: &Transfer) -> Result<Answer, LinkError> {
    Ok(match transfer.pipe {
        Pipe::Control(setup) if setup.kind & 0x60 == 0 => Answer::Done(vec![0; usize::from(transfer.length)]),
        _ => Answer::Stalled,
    })
}

fn model(dump: Option<Dump>, answers: impl Fn(usize, &Transfer) -> Result<Answer, LinkError> + Send + Sync + 'static) -> Model {
    let (done, away) = (Mutex::default(), AtomicBool::new(false));
    Model { dump, answers: Box::new(answers), done, returns: true, away }
}

async fn run_on(model: Model, step: UsbStep) -> (Ran, Arc<Model>) {
    run_with(model, step, Duration::from_mins(1)).await
}

async fn run_with(model: Model, usb: UsbStep, timeout: Duration) -> (Ran, Arc<Model>) {
    let model = Arc::new(model);
    let mut plan = one(vec![step(StepKind::Usb { channel: "usb".to_owned(), step: usb })]);
    plan.cases[0].timeout = timeout;
    let mut rig = rig_of(&[("usb", "fake-usb")]);
    rig.device.usb = [("usb".to_owned(), declared())].into();
    let port = Arc::clone(&model);
    let open = move || Opened::Usb(Box::new(Port(Arc::clone(&port))));
    let registry = Registry::new().with(fake("fake-usb", ChannelKind::Usb, "port 1", open));
    (Bench::default().run_on(plan, rig, registry, Arc::default()).await, model)
}

fn broken(_: usize, _: &Transfer) -> Result<Answer, LinkError> {
    Err(LinkError::new("do a transfer", "no permission"))
}

// --- descriptors ---

async fn described(dump: Option<Dump>) -> Ran {
    run_on(model(dump, good), UsbStep::Descriptors { fail_as: code("PHY-USB-EXTRA") }).await.0
}

#[tokio::test]
async fn a_device_that_shows_what_is_declared_passes() {
    let ran = described(Some(shows(&[LOCK]))).await;
    ran.is(Verdict::Pass, "");
    let evidence: Vec<_> = ran
        .events
        .iter()
        .filter_map(|event| match &event.fact {
            Fact::StepFinished { evidence, .. } => Some(evidence.iter().map(|found| found.file.clone()).collect::<Vec<_>>()),
            _ => None,
        })
        .collect();
    assert_eq!(evidence, [["case-1-usb.json", "case-1-usb.descriptors.bin"]]);
}

#[tokio::test]
async fn an_undeclared_interface_fails_with_its_name_and_a_missing_one_with_its_own_text() {
    let ran = described(Some(shows(&[LOCK, HID]))).await;
    ran.is(Verdict::Fail, "PHY-USB-EXTRA: nobody declared interface 1 of configuration 1: hid");
    described(Some(shows(&[]))).await.is(Verdict::Fail, "PHY-USB-EXTRA: declared, but not there: lock (vendor)");
}

#[tokio::test]
async fn descriptors_that_cannot_be_trusted_never_pass_and_hide_nothing() {
    let bad = |interfaces: &[[u8; 3]]| {
        let bytes = descriptors(3, interfaces, &[0, 4]);
        Some(Dump { arrival: bytes.clone(), now: Some(bytes), ..Dump::default() })
    };
    described(bad(&[LOCK])).await.is(Verdict::Inconclusive, "UNEXPECTED");
    described(bad(&[])).await.is(Verdict::Inconclusive, "UNEXPECTED");
    described(bad(&[LOCK, HID])).await.is(Verdict::Fail, "nobody declared");
    // It behaves when the kernel asks, and shows more afterwards.
    let two_faced = Dump { now: Some(descriptors(3, &[LOCK, HID], &[])), ..shows(&[LOCK]) };
    described(Some(two_faced)).await.is(Verdict::Fail, "shown only when asked again");
    let changed = Dump { now: Some(descriptors(3, &[[0xFF, 2, 2]], &[])), ..shows(&[LOCK]) };
    described(Some(changed)).await.is(Verdict::Inconclusive, "other descriptors than when it arrived");
}

#[tokio::test]
async fn another_product_or_an_absent_one_is_not_judged() {
    let other = Dump { arrival: descriptors(4, &[HID], &[]), ..Dump::default() };
    described(Some(other)).await.is(Verdict::Inconclusive, "the profile declares 1209:0003");
    described(None).await.is(Verdict::Inconclusive, "not on the bus");
}

// --- transfers ---

fn asked(must: Must, pattern: Option<&str>, silence: Silence, fail_as: Option<FailAs>) -> UsbStep {
    UsbStep::Transfer {
        pipe: Pipe::Control(Request { kind: 0xC0, request: 0x42, value: 0, index: 0 }),
        data: Vec::new(),
        length: 64,
        within: span(1000),
        must,
        pattern: pattern.map(text),
        silence,
        fail_as,
    }
}

async fn answered(answer: Answer, step: UsbStep) -> Ran {
    run_on(model(Some(shows(&[LOCK])), move |_, _| Ok(answer.clone())), step).await.0
}

#[tokio::test]
async fn answers_mean_what_the_plan_asked_for() {
    let data = || Answer::Done(b"abc".to_vec());
    let plain = |must| asked(must, None, Silence::Inconclusive, Some(code("READ")));
    let table = [
        (Must::Accept, data(), Verdict::Pass, ""),
        (Must::Accept, Answer::Stalled, Verdict::Fail, "READ"),
        (Must::Accept, Answer::Silent, Verdict::Inconclusive, "SILENT"),
        (Must::Accept, Answer::Overrun, Verdict::Inconclusive, "UNEXPECTED"),
        (Must::Accept, Answer::Absent, Verdict::Inconclusive, "SILENT"),
        (Must::Accept, Answer::Lacking("endpoint".to_owned()), Verdict::Inconclusive, "has no endpoint"),
        (Must::Refuse, data(), Verdict::Fail, "READ"),
        (Must::Refuse, Answer::Overrun, Verdict::Fail, "READ"),
        (Must::Refuse, Answer::Stalled, Verdict::Pass, ""),
        (Must::Refuse, Answer::Silent, Verdict::Inconclusive, "SILENT"),
        (Must::Refuse, Answer::Absent, Verdict::Inconclusive, "SILENT"),
        (Must::Refuse, Answer::Lacking("endpoint".to_owned()), Verdict::Inconclusive, "UNEXPECTED"),
        // Recorded only: nothing was judged, so the case does not pass.
        (Must::Any, data(), Verdict::Inconclusive, "NOTHING-JUDGED"),
        (Must::Any, Answer::Stalled, Verdict::Inconclusive, "NOTHING-JUDGED"),
    ];
    for (must, answer, verdict, reason) in table {
        answered(answer, plain(must)).await.is(verdict, reason);
    }
    let strict = |must| asked(must, None, Silence::Fail, Some(code("DEAD")));
    answered(Answer::Silent, strict(Must::Accept)).await.is(Verdict::Fail, "DEAD");
    let unnamed = |must| asked(must, None, Silence::Inconclusive, None);
    answered(data(), unnamed(Must::Refuse)).await.is(Verdict::Fail, "NOT-REFUSED");
    answered(Answer::Stalled, unnamed(Must::Accept)).await.is(Verdict::Fail, "REFUSED");
}

#[tokio::test]
async fn an_answer_must_hold_its_pattern() {
    let step = |pattern, fail_as| asked(Must::Accept, Some(pattern), Silence::Inconclusive, fail_as);
    let data = || Answer::Done(b"\x00abc".to_vec());
    answered(data(), step("ab+c", None)).await.is(Verdict::Pass, "");
    answered(data(), step("xyz", Some(code("TEXT")))).await.is(Verdict::Fail, "TEXT");
    answered(data(), step("xyz", None)).await.is(Verdict::Inconclusive, "do not hold `xyz`");
}

#[tokio::test]
async fn half_a_write_is_no_acceptance() {
    let step = UsbStep::Transfer {
        pipe: Pipe::Bulk(1),
        data: vec![0; 10],
        length: 0,
        within: span(1000),
        must: Must::Accept,
        pattern: None,
        silence: Silence::Inconclusive,
        fail_as: Some(code("WRITE")),
    };
    answered(Answer::Taken(10), step.clone()).await.is(Verdict::Pass, "");
    answered(Answer::Taken(3), step).await.is(Verdict::Inconclusive, "took 3 bytes of 10");
}

#[tokio::test]
async fn a_bench_that_cannot_do_a_transfer_is_at_fault() {
    let step = asked(Must::Refuse, None, Silence::Fail, Some(code("READ")));
    run_on(model(Some(shows(&[LOCK])), broken), step).await.0.is(Verdict::Error, "no permission");
}

#[tokio::test]
async fn one_departure_proves_nothing_and_two_do() {
    let step = || asked(Must::Refuse, None, Silence::Fail, Some(code("CRASH")));
    let leaves = |times: usize| {
        model(Some(shows(&[LOCK])), move |number, _| Ok(if number < times { Answer::Left } else { Answer::Stalled }))
    };
    // A hand pulled the cable and put it back.
    let (ran, device) = run_on(leaves(1), step()).await;
    ran.is(Verdict::Inconclusive, "when it was done again it refused");
    assert_eq!(device.done.lock().unwrap().len(), 2);
    run_on(leaves(2), step()).await.0.is(Verdict::Fail, "CRASH");
    // Without a reason the plan has not said that this is a failure.
    run_on(leaves(2), asked(Must::Accept, None, Silence::Inconclusive, None)).await.0.is(Verdict::Inconclusive, "twice in a row");
    // Pulled, and left out.
    let gone = Model { returns: false, ..leaves(2) };
    run_with(gone, step(), Duration::from_millis(200)).await.0.is(Verdict::Inconclusive, "");
}

// --- vendor sweep ---

fn sweep() -> UsbStep {
    let sweep = Sweep { recipients: vec![0, 1], first: 0x20, last: 0x24, values: vec![0], indexes: vec![0], length: 16 };
    UsbStep::VendorSweep { sweep, within: span(20_000), fail_as: code("PHY-USB-READ") }
}

/// A good device, except for one vendor request to the device.
fn except(request: u8, answer: Answer) -> impl Fn(usize, &Transfer) -> Result<Answer, LinkError> + Send + Sync {
    move |number, transfer| match transfer.pipe {
        Pipe::Control(setup) if setup.kind == 0xC0 && setup.request == request => Ok(answer.clone()),
        _ => good(number, transfer),
    }
}

async fn swept(answers: impl Fn(usize, &Transfer) -> Result<Answer, LinkError> + Send + Sync + 'static) -> Ran {
    let (ran, device) = run_on(model(Some(shows(&[LOCK])), answers), sweep()).await;
    let done = device.done.lock().unwrap();
    assert!(done.iter().all(|transfer| transfer.pipe.inward() && transfer.data.is_empty()), "a sweep only asks: {done:?}");
    ran
}

#[tokio::test]
async fn an_answered_request_must_be_declared() {
    swept(good).await.is(Verdict::Pass, "");
    swept(except(0x21, Answer::Done(vec![1]))).await.is(Verdict::Pass, "");
    let found = swept(except(0x22, Answer::Done(vec![1, 2]))).await;
    found.is(
        Verdict::Fail,
        "PHY-USB-READ: nobody declared request 0x22 of type 0xc0, value 0x0000, index 0x0000: it answered with 2 bytes",
    );
    swept(except(0x22, Answer::Overrun)).await.is(Verdict::Fail, "PHY-USB-READ");
    // The same number to an interface is another request.
    let to_interface = |number: usize, transfer: &Transfer| match transfer.pipe {
        Pipe::Control(Request { kind: 0xC1, request: 0x21, .. }) => Ok(Answer::Done(vec![1])),
        _ => good(number, transfer),
    };
    swept(to_interface).await.is(Verdict::Fail, "type 0xc1");
}

#[tokio::test]
async fn silence_in_a_sweep_never_passes() {
    swept(except(0x22, Answer::Silent)).await.is(Verdict::Inconclusive, "neither answered nor refused");
    // Dead before, from the middle on, and after the last request: a dead device also refuses nothing.
    let dead_from = |from: usize| {
        move |number: usize, transfer: &Transfer| if number < from { good(number, transfer) } else { Ok(Answer::Silent) }
    };
    swept(dead_from(0)).await.is(Verdict::Inconclusive, "before the sweep");
    swept(dead_from(4)).await.is(Verdict::Inconclusive, "has not answered at all since");
    swept(dead_from(11)).await.is(Verdict::Inconclusive, "after the sweep");
    // A stalled endpoint 0 refuses everything, the witness too.
    swept(|_, _| Ok(Answer::Stalled)).await.is(Verdict::Inconclusive, "before the sweep");
    swept(broken).await.is(Verdict::Error, "no permission");
}

#[tokio::test]
async fn a_request_that_brings_the_device_down_is_a_finding_if_it_does_so_again() {
    swept(except(0x22, Answer::Left)).await.is(Verdict::Fail, "leaves the bus, twice in a row");
    let once = |number: usize, transfer: &Transfer| if number == 3 { Ok(Answer::Left) } else { good(number, transfer) };
    swept(once).await.is(Verdict::Inconclusive, "when it was done again");
}

#[tokio::test]
async fn a_sweep_that_was_not_finished_does_not_pass() {
    let UsbStep::VendorSweep { sweep, fail_as, .. } = sweep() else { unreachable!() };
    let short = UsbStep::VendorSweep { sweep, within: span(0), fail_as };
    run_on(model(Some(shows(&[LOCK])), good), short).await.0.is(Verdict::Inconclusive, "the time for the sweep was over");
}

// --- firmware update interfaces ---

/// A device with such an interface in update mode; `version` is that of its functional descriptor.
fn with_dfu(version: u16) -> Dump {
    let [low, high] = version.to_le_bytes();
    let bytes = descriptors(3, &[DFU], &[9, 0x21, 0x0B, 0xFF, 0, 16, 0, low, high]);
    Dump { arrival: bytes.clone(), now: Some(bytes), ..Dump::default() }
}

/// What it gives for a block; it is idle otherwise, and healthy.
fn gives(
    block: impl Fn(u16) -> Answer + Send + Sync + 'static,
) -> impl Fn(usize, &Transfer) -> Result<Answer, LinkError> + Send + Sync {
    move |number, transfer| match transfer.pipe {
        Pipe::Control(Request { kind: 0xA1, request: 2, value, .. }) => Ok(block(value)),
        Pipe::Control(Request { kind: 0xA1, request: 3, .. }) => Ok(Answer::Done(vec![0, 0, 0, 0, 2, 0])),
        Pipe::Control(Request { kind: 0x21, request: 4 | 6, .. }) => Ok(Answer::Taken(0)),
        _ => good(number, transfer),
    }
}

async fn uploaded(
    dump: Dump,
    answers: impl Fn(usize, &Transfer) -> Result<Answer, LinkError> + Send + Sync + 'static,
) -> (Ran, Vec<Transfer>) {
    let step = UsbStep::DfuUpload { bytes: 40, within: span(20_000), fail_as: code("PHY-USB-DFU") };
    let (ran, device) = run_on(model(Some(dump), answers), step).await;
    let done = device.done.lock().unwrap().clone();
    // Nothing that writes firmware: only CLRSTATUS and ABORT go out.
    for transfer in &done {
        if let Pipe::Control(setup) = transfer.pipe {
            assert!(setup.inward() || (setup.kind == 0x21 && [4, 6].contains(&setup.request)), "{setup}");
        }
    }
    (ran, done)
}

fn counting(block: u16) -> Answer {
    Answer::Done((0..16).map(|byte| byte + block as u8).collect())
}

#[tokio::test]
async fn firmware_that_can_be_read_is_a_finding_with_the_bytes() {
    let (ran, done) = uploaded(with_dfu(0x0110), gives(counting)).await;
    ran.is(Verdict::Fail, "PHY-USB-DFU: firmware can be read: interface 0 setting 0 (in update mode): 48 bytes");
    // It ends after the bytes that the step allows, and leaves the device idle.
    let blocks: Vec<_> = done
        .iter()
        .filter_map(|transfer| match transfer.pipe {
            Pipe::Control(Request { kind: 0xA1, request: 2, value, .. }) => Some(value),
            _ => None,
        })
        .collect();
    assert_eq!(blocks, [0, 1, 2]);
    assert!(matches!(done.last().unwrap().pipe, Pipe::Control(Request { kind: 0x21, request: 6, .. })));
    let short = |block| if block == 0 { Answer::Done(vec![1, 2, 3]) } else { Answer::Stalled };
    uploaded(with_dfu(0x0110), gives(short)).await.0.is(Verdict::Fail, "3 bytes, then the end of what it gives");
}

#[tokio::test]
async fn refusal_passes_and_so_does_a_device_without_such_an_interface() {
    uploaded(with_dfu(0x0110), gives(|_| Answer::Stalled)).await.0.is(Verdict::Pass, "");
    uploaded(shows(&[LOCK]), good).await.0.is(Verdict::Pass, "");
}

#[tokio::test]
async fn what_shows_no_firmware_is_not_a_finding_and_not_a_refusal() {
    let erased = |_| Answer::Done(vec![0xFF; 16]);
    uploaded(with_dfu(0x0110), gives(erased)).await.0.is(Verdict::Inconclusive, "all 0xff");
    uploaded(with_dfu(0x0110), gives(|_| Answer::Silent)).await.0.is(Verdict::Inconclusive, "did not answer");
    uploaded(with_dfu(0x0110), gives(|_| Answer::Left)).await.0.is(Verdict::Inconclusive, "leaves the bus");
    uploaded(with_dfu(0x0110), |_, _| Ok(Answer::Stalled)).await.0.is(Verdict::Inconclusive, "GET_DESCRIPTOR afterwards");
    uploaded(with_dfu(0x0110), broken).await.0.is(Verdict::Error, "no permission");
    // ST's block 0 is a list of commands, not memory: a device that gives only that has refused.
    let commands = |block| if block == 0 { Answer::Done(vec![0x00, 0x21, 0x41, 0x92]) } else { Answer::Stalled };
    uploaded(with_dfu(0x011A), gives(commands)).await.0.is(Verdict::Pass, "");
    let broken = descriptors(3, &[LOCK], &[0, 4]);
    uploaded(Dump { arrival: broken, ..Dump::default() }, good).await.0.is(Verdict::Inconclusive, "descriptors are broken");
}

#[tokio::test]
async fn a_device_in_its_error_state_is_woken_before_it_is_asked() {
    let answers = |number: usize, transfer: &Transfer| match transfer.pipe {
        Pipe::Control(Request { kind: 0xA1, request: 3, .. }) => Ok(Answer::Done(vec![0, 0, 0, 0, 10, 0])),
        _ => gives(|_| Answer::Stalled)(number, transfer),
    };
    let (_, done) = uploaded(with_dfu(0x0110), answers).await;
    let order: Vec<_> = done
        .iter()
        .filter_map(|transfer| match transfer.pipe {
            Pipe::Control(setup) if setup.kind & 0x60 != 0 => Some(setup.request),
            _ => None,
        })
        .collect();
    // GETSTATUS, CLRSTATUS, UPLOAD, CLRSTATUS.
    assert_eq!(order, [3, 4, 2, 4]);
}
