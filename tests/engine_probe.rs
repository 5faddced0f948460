//! Steps with a debug probe, on a probe that answers as told: what its answers, its refusals and its faults lead to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

#[path = "engine/bench.rs"]
mod bench;
#[path = "engine/fake.rs"]
mod fake;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bench::{channel, code, ended, judged, one, setup, step, text};
use fake::fake;
use hilbench::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, LinkError, Opened, ProbeLink, Proof, Segment},
        probe::{LockReading, LockVerdict},
    },
    driver::probe::lock::Family,
    event::{Event, Fact, Verdict, Witness},
    plan::model::{Alteration, AlteredImage},
    rig::model::{Device, Image, Rig},
    run::registry::Registry,
    step::{
        StepKind,
        probe::{Lock, ProbeStep, Residue},
    },
};

/// Bytes, and where they stand.
type Planted = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

/// What the probe answers, and what it was asked.
#[derive(Clone)]
struct Probe {
    lock: Result<(LockVerdict, bool), String>,
    /// Memory from address 0 on; reading beyond it is refused.
    memory: usize,
    /// What stands in that memory until a reset erases it.
    planted: Planted,
    /// Reads before the probe is gone.
    reads: Arc<Mutex<usize>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Probe {
    fn with(lock: Result<(LockVerdict, bool), String>) -> Self {
        Self { lock, memory: 1 << 20, planted: Arc::default(), reads: Arc::new(Mutex::new(usize::MAX)), asked: Arc::default() }
    }

    fn planted(self, at: usize, bytes: &[u8]) -> Self {
        self.planted.lock().unwrap().push((at, bytes.to_vec()));
        self
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

fn seen(what: &str) -> BoxFuture<'static, Result<Proof, LinkError>> {
    let witness = Witness { what: what.to_owned(), evidence: None };
    Box::pin(std::future::ready(Ok(Proof::Seen(witness))))
}

impl ProbeLink for Probe {
    fn flash(&mut self, segments: Vec<Segment>, erase_all: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let places: Vec<_> = segments.iter().map(|part| (part.address, part.bytes.len())).collect();
        self.ask(format!("flash {places:?} {erase_all}"));
        seen("flashed")
    }
    fn reset(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.planted.lock().unwrap().clear();
        seen("reset")
    }
    fn read(&mut self, address: u32, len: u32) -> BoxFuture<'_, Result<Result<Vec<u8>, String>, LinkError>> {
        self.ask(format!("read {address:#x} {len}"));
        let mut reads = self.reads.lock().unwrap();
        let read = if *reads == 0 {
            Err(LinkError { lost: true, ..LinkError::new("read memory with the probe", "unplugged") })
        } else if address as usize + len as usize > self.memory {
            Ok(Err("it faults".to_owned()))
        } else {
            let mut bytes: Vec<u8> = (address..address + len).map(|at| (at / 3) as u8).collect();
            for (at, planted) in &*self.planted.lock().unwrap() {
                for (offset, byte) in planted.iter().enumerate() {
                    if let Some(there) = (at + offset).checked_sub(address as usize).and_then(|place| bytes.get_mut(place)) {
                        *there = *byte;
                    }
                }
            }
            Ok(Ok(bytes))
        };
        *reads = reads.saturating_sub(1);
        Box::pin(std::future::ready(read))
    }
    fn halt(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.ask("halt".to_owned());
        seen("core halted at 0x100")
    }
    fn resume(&mut self) -> BoxFuture<'_, Result<Proof, LinkError>> {
        self.ask("resume".to_owned());
        seen("core let run")
    }
    fn lock_state(&mut self, family: Option<String>) -> BoxFuture<'_, Result<LockReading, LinkError>> {
        let reading = match &self.lock {
            Ok((verdict, documented)) => Ok(LockReading {
                family: family.unwrap_or_else(|| "nrf51".to_owned()),
                verdict: *verdict,
                text: format!("{verdict:?}"),
                documented: *documented,
                transcript: "dp r 0x00 = 0x0bb11477\n".to_owned(),
            }),
            Err(what) => Err(LinkError::new("read the lock with the probe", what)),
        };
        Box::pin(std::future::ready(reading))
    }
}

struct Ran {
    verdict: Verdict,
    events: Vec<Event>,
    evidence: BTreeMap<String, Vec<u8>>,
}

impl Ran {
    #[track_caller]
    fn is(&self, verdict: Verdict, reason: &str) {
        bench::is(&self.events, verdict, reason);
    }
}

async fn ran(probe: &Probe, sacrificial: bool, steps: Vec<StepKind>) -> Ran {
    let store = tempfile::tempdir().unwrap();
    let image = |byte| Image { file: PathBuf::new(), address: Some(0), version: None, bytes: vec![byte; 16] };
    let images = [("code", 1), ("new", 2), ("copy-of-new", 2)].map(|(role, byte)| (role.to_owned(), image(byte)));
    let rig = Rig {
        name: "rig".to_owned(),
        device: Device {
            name: "device".to_owned(),
            images: images.into(),
            layout: [("all".to_owned(), (0, None))].into(),
            ..Device::default()
        },
        channels: [("probe".to_owned(), channel("fake-probe"))].into(),
        safe_state_timeout: Duration::from_mins(1),
        sacrificial,
        ..Rig::default()
    };
    let mut plan = one(steps.into_iter().map(step).collect());
    let altered = |name: &str, address| AlteredImage {
        name: name.to_owned(),
        from: "code".to_owned(),
        address,
        alteration: Alteration::FlipBit { region: "all".to_owned(), at: 5, bit: 0 },
    };
    plan.images = vec![altered("changed", None), altered("elsewhere", Some(0x400))];
    let link = probe.clone();
    let open = move || Opened::Probe(Box::new(link.clone()));
    let registry = Registry::new().with(fake("fake-probe", ChannelKind::Probe, "probe", open));
    let (_, events) = ended(setup(store.path(), None, plan, rig, registry), Vec::new()).await;
    let mut evidence = BTreeMap::new();
    collect(store.path(), &mut evidence);
    let (verdict, _) = judged(&events, "case").unwrap_or_else(|| panic!("{events:#?}"));
    Ran { verdict, events, evidence }
}

fn collect(directory: &std::path::Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.insert(path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap());
        }
    }
}

fn probe(step: ProbeStep) -> StepKind {
    StepKind::Probe { channel: "probe".to_owned(), step }
}

fn lock(expect: Lock) -> StepKind {
    probe(ProbeStep::ReadLock { family: None, expect: Some(expect), fail_as: Some(code("PHY-LOCKBIT")) })
}

fn dump(address: u32, length: u32) -> StepKind {
    probe(ProbeStep::DumpMemory { address, length, name: "code".to_owned() })
}

#[test]
fn plans_name_families_as_the_driver_does() {
    let named: Vec<_> = hilbench::step::probe::FAMILIES.iter().map(|word| word.word).collect();
    assert_eq!(named, Family::ALL.map(Family::name));
}

#[tokio::test]
async fn a_proven_lock_is_judged_and_its_transcript_kept() {
    let ended = ran(&Probe::with(Ok((LockVerdict::Locked, true))), false, vec![lock(Lock::Closed)]).await;
    ended.is(Verdict::Pass, "");
    let kept = ended.evidence.iter().find(|(name, _)| name.ends_with("lock.txt")).expect("the transcript is evidence");
    assert_eq!(kept.1, b"dp r 0x00 = 0x0bb11477\n");
    let ended = ran(&Probe::with(Ok((LockVerdict::Open, true))), false, vec![lock(Lock::Closed)]).await;
    ended.is(Verdict::Fail, "PHY-LOCKBIT");
    let ended = ran(&Probe::with(Ok((LockVerdict::ReadProtected, true))), false, vec![lock(Lock::Locked)]).await;
    ended.is(Verdict::Fail, "PHY-LOCKBIT");
}

#[tokio::test]
async fn a_lock_that_is_not_proven_is_inconclusive_whatever_is_expected() {
    for (verdict, documented) in
        [(LockVerdict::NoDebugPort, true), (LockVerdict::Undetermined, true), (LockVerdict::Locked, false)]
    {
        let ended = ran(&Probe::with(Ok((verdict, documented))), false, vec![lock(Lock::Closed)]).await;
        ended.is(Verdict::Inconclusive, "LOCK-UNKNOWN");
    }
    for verdict in [LockVerdict::NoDebugPort, LockVerdict::Undetermined] {
        let ended = ran(&Probe::with(Ok((verdict, true))), false, vec![lock(Lock::Open)]).await;
        ended.is(Verdict::Inconclusive, "LOCK-UNKNOWN");
    }
}

#[tokio::test]
async fn a_lock_that_could_not_be_asked_about_is_a_fault_of_the_bench() {
    let ended = ran(&Probe::with(Err("the probe is gone".to_owned())), false, vec![lock(Lock::Closed)]).await;
    ended.is(Verdict::Error, "BENCH-FAULT");
}

#[tokio::test]
async fn a_lock_that_is_only_recorded_judges_nothing() {
    let step = probe(ProbeStep::ReadLock { family: None, expect: None, fail_as: None });
    let ended = ran(&Probe::with(Ok((LockVerdict::Locked, true))), false, vec![step]).await;
    ended.is(Verdict::Inconclusive, "NOTHING-JUDGED");
}

#[tokio::test]
async fn a_dump_is_read_in_pieces_and_kept_whole() {
    let fake = Probe::with(Ok((LockVerdict::Open, true)));
    let ended = ran(&fake, false, vec![dump(4, 600_000), lock(Lock::Open)]).await;
    ended.is(Verdict::Pass, "");
    let (_, bytes) = ended.evidence.iter().find(|(name, _)| name.ends_with("code.bin")).expect("the dump is evidence");
    assert_eq!(*bytes, (4..600_004_u32).map(|at| (at / 3) as u8).collect::<Vec<_>>());
    assert_eq!(*fake.asked.lock().unwrap(), ["read 0x4 262144", "read 0x40004 262144", "read 0x80004 75712"]);
    let told = ended.events.iter().any(|event| {
        matches!(&event.fact, Fact::Observed { what, evidence: Some(_), .. } if what.contains("600000 bytes") && what.contains("blake3"))
    });
    assert!(told, "with its digest");
}

#[tokio::test]
async fn a_dump_that_is_refused_is_inconclusive_and_one_that_breaks_off_a_fault() {
    let fake = Probe { memory: 300_000, ..Probe::with(Ok((LockVerdict::Open, true))) };
    let ended = ran(&fake, false, vec![dump(0, 600_000), lock(Lock::Open)]).await;
    ended.is(Verdict::Inconclusive, "262144 bytes of 600000 were read");
    let fake = Probe { reads: Arc::new(Mutex::new(1)), ..Probe::with(Ok((LockVerdict::Open, true))) };
    ran(&fake, false, vec![dump(0, 600_000), lock(Lock::Open)]).await.is(Verdict::Error, "unplugged");
    let ended = ran(&Probe::with(Ok((LockVerdict::Open, true))), false, vec![dump(u32::MAX - 3, 16), lock(Lock::Open)]).await;
    assert_ne!(ended.verdict, Verdict::Pass);
}

/// Byte `at` of the fake probe's memory is `at / 3`.
fn search(address: u32, holds: Option<&str>, lacks: Option<&str>) -> StepKind {
    let (holds, lacks, fail_as) = (holds.map(text), lacks.map(text), Some(code("FRS-RAM")));
    StepKind::ReadMemory { channel: "probe".to_owned(), address, length: 300, readable: None, holds, lacks, fail_as }
}

#[tokio::test]
async fn memory_is_searched_and_a_search_that_proves_nothing_does_not_pass() {
    let fake = Probe::with(Ok((LockVerdict::Open, true)));
    ran(&fake, false, vec![search(0, Some("AAABBBCCC"), Some("AABBCC"))]).await.is(Verdict::Pass, "");
    ran(&fake, false, vec![search(0, None, Some("AAABBBCCC"))]).await.is(Verdict::Fail, "FRS-RAM: `AAABBBCCC` is at 0x000000c3");
    // What was to be there is not: the search may be of the wrong place. That is nothing against the device.
    ran(&fake, false, vec![search(0, Some("canary"), Some("other"))]).await.is(Verdict::Inconclusive, "NO-WITNESS");
    ran(&fake, false, vec![search(0, Some("AAABBBCCC"), None)]).await.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    ran(&fake, false, vec![search((1 << 20) - 8, None, Some("canary"))]).await.is(Verdict::Inconclusive, "REFUSED");
}

#[tokio::test]
async fn a_core_is_halted_and_let_run_with_witnesses() {
    let fake = Probe::with(Ok((LockVerdict::Open, true)));
    let ended = ran(&fake, false, vec![probe(ProbeStep::Halt), probe(ProbeStep::Resume), lock(Lock::Open)]).await;
    ended.is(Verdict::Pass, "");
    assert_eq!(*fake.asked.lock().unwrap(), ["halt", "resume"]);
    let facts: Vec<_> = ended.events.iter().map(|event| &event.fact).collect();
    let acting = facts.iter().position(|fact| matches!(fact, Fact::Acting { .. })).unwrap();
    let witnessed = facts.iter().position(|fact| matches!(fact, Fact::Witnessed { .. })).unwrap();
    assert!(acting < witnessed);
}

#[tokio::test]
async fn a_unit_that_is_not_sacrificial_is_not_erased_even_if_the_check_was_passed_by() {
    let erase = || flash("code", true);
    let fake = Probe::with(Ok((LockVerdict::Open, true)));
    ran(&fake, false, vec![erase(), lock(Lock::Open)]).await.is(Verdict::Error, "sacrificial");
    assert!(fake.asked.lock().unwrap().is_empty(), "the probe was not even asked");
    ran(&fake, true, vec![erase(), lock(Lock::Open)]).await.is(Verdict::Pass, "");
    assert_eq!(*fake.asked.lock().unwrap(), ["flash [(0, 16)] true"]);
}

fn flash(image: &str, erase_all: bool) -> StepKind {
    StepKind::Flash { channel: "probe".to_owned(), images: vec![image.to_owned()], erase_all }
}

#[tokio::test]
async fn an_altered_image_goes_where_the_genuine_one_does_unless_it_has_a_place_and_its_witness_tells_the_difference() {
    let fake = good();
    let ended = ran(&fake, false, vec![flash("changed", false), flash("elsewhere", false), lock(Lock::Open)]).await;
    ended.is(Verdict::Pass, "");
    assert_eq!(*fake.asked.lock().unwrap(), ["flash [(0, 16)] false", "flash [(1024, 16)] false"]);
    let told = "flashed; changed differs from code in 1 bytes from byte 5 on";
    assert!(ended.events.iter().any(|event| matches!(&event.fact, Fact::Witnessed { witness, .. } if witness.what == told)));
}

#[tokio::test]
async fn a_file_that_is_there_under_two_names_proves_nothing_once_it_is_written_except_as_the_state_that_all_begins_with() {
    ran(&good(), false, vec![flash("new", false), lock(Lock::Open)]).await.is(Verdict::Inconclusive, "NO-WITNESS");
    ran(&good(), false, vec![flash("new", false), lock(Lock::Locked)]).await.is(Verdict::Inconclusive, "NO-WITNESS");
    ran(&good(), false, vec![flash("code", false), lock(Lock::Open)]).await.is(Verdict::Pass, "");
    ran(&good(), true, vec![flash("new", true), lock(Lock::Open)]).await.is(Verdict::Pass, "");
}

fn residue(length: u32, secrets: &[&str], expect: Residue) -> StepKind {
    let secrets = secrets.iter().map(|secret| text(secret)).collect();
    probe(ProbeStep::SearchMemory {
        address: 0,
        length,
        secrets,
        networks: Vec::new(),
        expect,
        fail_as: Some(code("FRS-CANARY")),
    })
}

fn good() -> Probe {
    Probe::with(Ok((LockVerdict::Open, true)))
}

const RESET: fn() -> StepKind = || StepKind::Reset { channel: "probe".to_owned() };

#[tokio::test]
async fn what_was_found_and_is_gone_was_erased() {
    let steps = vec![residue(4096, &["canary-7f3a"], Residue::Found), RESET(), residue(4096, &["canary-7f3a"], Residue::Absent)];
    let ended = ran(&good().planted(900, b"canary-7f3a"), false, steps).await;
    ended.is(Verdict::Pass, "");
    assert!(
        ended.events.iter().any(|event| matches!(&event.fact, Fact::Observed { what, .. } if what.contains("none of 1 secrets"))),
        "what was tried is told"
    );
}

#[tokio::test]
async fn what_is_left_in_any_form_fails_and_is_told() {
    for (bytes, form) in [
        (&b"canary-7f3a"[..], "`canary-7f3a` plain at 0x00000384"),
        (b"Y2FuYXJ5LTdmM2E=", "in Base64"),
        (b"nary-7f3", "a piece of it (8 bytes)"),
    ] {
        // The control is another secret of the same search.
        let secrets = ["canary-7f3a", "another-one"];
        let steps = vec![residue(4096, &secrets[1..], Residue::Found), residue(4096, &secrets, Residue::Absent)];
        let ended = ran(&good().planted(2000, b"another-one").planted(900, bytes), false, steps).await;
        ended.is(Verdict::Fail, "FRS-CANARY");
        ended.is(Verdict::Fail, form);
    }
}

/// A probe that reads the wrong region finds nothing, before and after.
#[tokio::test]
async fn a_search_that_never_found_anything_proves_nothing() {
    let ended = ran(&good(), false, vec![residue(4096, &["canary-7f3a"], Residue::Found)]).await;
    ended.is(Verdict::Inconclusive, "NO-WITNESS");
    let ended = ran(&good(), false, vec![residue(4096, &["canary-7f3a"], Residue::Absent)]).await;
    ended.is(Verdict::Inconclusive, "NO-WITNESS");
    // Nor does one that found something else, or only a piece.
    let steps = vec![residue(4096, &["another-one"], Residue::Found), residue(4096, &["canary-7f3a"], Residue::Absent)];
    ran(&good().planted(9, b"another-one"), false, steps).await.is(Verdict::Inconclusive, "NO-WITNESS");
    let ended = ran(&good().planted(9, b"canary-7"), false, vec![residue(4096, &["canary-7f3a"], Residue::Found)]).await;
    ended.is(Verdict::Inconclusive, "NO-WITNESS");
}

#[tokio::test]
async fn a_secret_that_is_there_before_it_was_put_there_is_no_canary() {
    let ended = ran(&good().planted(9, b"canary-7f"), false, vec![residue(4096, &["canary-7f3a"], Residue::Unused)]).await;
    ended.is(Verdict::Inconclusive, "NOT-PREPARED");
    let ended = ran(&good(), false, vec![residue(4096, &["canary-7f3a"], Residue::Unused)]).await;
    ended.is(Verdict::Inconclusive, "NOTHING-JUDGED");
    let ended = ran(&good(), false, vec![residue(4096, &["short"], Residue::Absent)]).await;
    ended.is(Verdict::Inconclusive, "NOT-PREPARED");
}

#[tokio::test]
async fn memory_that_cannot_be_read_to_its_end_is_searched_in_vain() {
    let half = || Probe { memory: 300_000, ..good() };
    let steps =
        |secrets: &[&str]| vec![residue(262_144, secrets, Residue::Found), RESET(), residue(600_000, secrets, Residue::Absent)];
    let ended = ran(&half().planted(900, b"canary-7f3a"), false, steps(&["canary-7f3a"])).await;
    ended.is(Verdict::Inconclusive, "REFUSED");
    // What was found in what could be read is found.
    let steps = vec![residue(4096, &["canary-7f3a"], Residue::Found), residue(600_000, &["canary-7f3a"], Residue::Absent)];
    ran(&half().planted(900, b"canary-7f3a"), false, steps).await.is(Verdict::Fail, "FRS-CANARY");
}
