//! The journal as a whole: written, observed, broken, closed, read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::*;
use crate::event::{Event, EvidenceRef, Fact, FileDigest, Nanos, Reason, RunHeader, RunId, Verdict};

fn id(n: u32) -> RunId {
    RunId(format!("20261123-2215{n:02}-4f1c"))
}

fn clock() -> BenchClock {
    let ticks = AtomicU64::new(0);
    Arc::new(move || Nanos(ticks.fetch_add(1000, Ordering::Relaxed)))
}

fn header(run: &RunId) -> Fact {
    Fact::RunStarted(Box::new(RunHeader {
        schema: crate::event::SCHEMA.into(),
        tool: "hilbench 0.1.0".into(),
        run: run.clone(),
        command: vec!["hilbench".into(), "run".into()],
        started: "2026-11-23T22:15:30Z".into(),
        clock: "virtual".into(),
        seed: 1,
        plan: "secure-update".into(),
        rig: "virtual-lock".into(),
        device: "smart-lock".into(),
        files: vec![FileDigest { path: "plan.yaml".into(), digest: crate::event::Digest::of(b"plan") }],
        cases: vec![("genuine-update".into(), "installs".into())],
    }))
}

fn lease(n: usize) -> Fact {
    Fact::LeaseTaken { instrument: format!("instrument {n}"), waited_ms: None }
}

fn finished() -> Fact {
    let reason = Some(Reason { code: "SIG-PAYLOAD".into(), text: "was installed".into() });
    Fact::RunFinished { verdict: Verdict::Fail, reason, wall_ms: 5 }
}

fn options(store: &Path, n: u32) -> Options {
    Options::new(store, id(n), clock())
}

/// A run of `events` events in all, header first.
fn journal(store: &Path, n: u32, events: usize) -> Journal {
    let journal = Journal::create(options(store, n)).unwrap();
    journal.append(header(&id(n))).unwrap();
    for n in 1..events {
        journal.append(lease(n)).unwrap();
    }
    journal
}

#[test]
fn what_is_written_is_read_before_and_after_closing() {
    let store = tempfile::tempdir().unwrap();
    let mut options = options(store.path(), 1);
    options.inputs = vec![
        Input { name: "../rigs/virtual lock.yaml".into(), bytes: b"rig".to_vec() },
        Input { name: "virtual_lock.yaml".into(), bytes: b"other".to_vec() },
    ];
    let journal = Journal::create(options).unwrap();
    let mut written: Vec<Event> = Vec::new();
    let mut note = |event: Arc<Event>| written.push((*event).clone());
    note(journal.append(header(&id(1))).unwrap());
    note(journal.received(Nanos(5), &"console".into(), b"BL: verify a ok\r\n").unwrap());
    note(journal.sent(Nanos(6), &"console".into(), b"version\n").unwrap());
    note(journal.received(Nanos(7), &"console".into(), &[b'x'; 10_000]).unwrap());
    let transcript = journal.evidence_file("cut-117.txt", b"cut").unwrap();
    let again = journal.evidence_file("cut-117.txt", b"another").unwrap();
    assert_eq!((transcript.file.as_str(), again.file.as_str()), ("cut-117.txt", "cut-117-2.txt"));
    for n in 0..100 {
        note(journal.append(lease(n)).unwrap());
    }
    note(journal.append(finished()).unwrap());
    assert_eq!(written.iter().map(|event| event.seq).collect::<Vec<_>>(), (0..105).collect::<Vec<_>>());

    let live = RunDir::open(journal.directory()).unwrap();
    assert_eq!(live.state(), RunState::Running);
    assert_eq!(live.read().unwrap(), RunLog { events: written.clone(), damage: vec![] });

    let closed = journal.close().unwrap();
    assert_eq!(closed.directory, store.path().join(id(1).as_str()));
    let run = RunDir::open(&closed.directory).unwrap();
    assert_eq!((run.state(), run.is_compressed(), run.id()), (RunState::Closed, true, &id(1)));
    assert_eq!(run.read().unwrap(), RunLog { events: written.clone(), damage: vec![] });
    assert_eq!(run.events().unwrap().collect::<Vec<_>>(), written);
    assert_eq!(run.verify().unwrap(), []);
    assert_eq!(run.manifest().unwrap(), closed.manifest);
    assert_eq!(closed.manifest.summary.verdict, Some(Verdict::Fail));

    let place = |file: &str, offset, len| EvidenceRef { file: file.into(), offset, len };
    assert_eq!(run.evidence(&place("console.rx", 4, 6), 100).unwrap(), b"verify");
    assert_eq!(run.evidence(&place("console.rx", 17, 10_000), 3).unwrap(), b"xxx", "from a compressed file, shortened");
    assert_eq!(run.evidence(&again, 100).unwrap(), b"another");
    for bad in [
        place("console.rx", 20_000, 1),
        place("console.rx", u64::MAX, u64::MAX),
        place("../manifest.json", 0, 1),
        place("none", 0, 1),
    ] {
        assert!(run.evidence(&bad, 100).is_err(), "{bad:?}");
    }
    for (name, bytes) in [("virtual_lock.yaml", "rig"), ("virtual_lock-2.yaml", "other")] {
        assert_eq!(fs::read_to_string(closed.directory.join("inputs").join(name)).unwrap(), bytes);
    }
    assert_eq!(journal.append(lease(0)).unwrap_err(), JournalError::Closed);
    assert_eq!(journal.evidence_append("console.rx", b"late").unwrap_err(), JournalError::Closed);
    assert_eq!(journal.close().unwrap_err(), JournalError::Closed);
}

#[test]
fn a_changed_file_is_noticed() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 10);
    journal.evidence_append("console.rx", b"version 2.0.0").unwrap();
    journal.evidence_append("supply.rx", b"3.3").unwrap();
    let directory = journal.close().unwrap().directory;
    fs::write(directory.join("evidence/console.rx"), b"version 1.0.0").unwrap();
    fs::write(directory.join("evidence/planted.rx"), b"x").unwrap();
    fs::remove_file(directory.join("evidence/supply.rx")).unwrap();
    let run = RunDir::open(directory).unwrap();
    let mut wrong: Vec<String> = run.verify().unwrap().into_iter().map(|m| m.file).collect();
    wrong.sort();
    assert_eq!(wrong, ["evidence/console.rx", "evidence/planted.rx", "evidence/supply.rx"]);
}

#[test]
fn links_in_a_run_directory_are_not_followed() {
    let store = tempfile::tempdir().unwrap();
    let secret = store.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let journal = journal(store.path(), 1, 3);
    std::os::unix::fs::symlink(&secret, journal.directory().join("evidence/console.rx")).unwrap();
    let run = RunDir::open(journal.directory()).unwrap();
    assert!(run.evidence(&EvidenceRef { file: "console.rx".into(), offset: 0, len: 6 }, 6).is_err());
    let closed = journal.close().unwrap();
    assert!(closed.manifest.files.iter().all(|entry| entry.file != "evidence/console.rx"));
}

/// Cut at every byte, the journal reads as exactly the events whose lines are whole, and says whether something is left over.
#[test]
fn a_torn_tail_costs_only_the_torn_line() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 6);
    let path = journal.directory().join("events.jsonl");
    let bytes = fs::read(&path).unwrap();
    let whole = RunDir::open(journal.directory()).unwrap().read().unwrap().events;
    let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i).collect();
    assert_eq!(ends.len(), 6);
    drop(journal);
    let directory = store.path().join(format!("{}.partial", id(1)));
    for cut in (0..=bytes.len()).rev() {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut as u64).unwrap();
        let log = RunDir::open(&directory).unwrap().read().unwrap();
        // A line is whole when all but its newline is there.
        let expected = ends.iter().filter(|end| cut >= **end).count();
        assert_eq!(log.events, whole[..expected], "cut at {cut}");
        let begins = expected.checked_sub(1).map_or(0, |last| ends[last] + 1);
        assert_eq!(
            log.damage.iter().map(|d| &d.why).collect::<Vec<_>>(),
            if cut > begins { vec![&DamageKind::Torn] } else { vec![] }
        );
    }
}

#[test]
fn an_interrupted_run_is_listed_and_can_be_recovered_unchanged() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 5);
    journal.received(Nanos(1), &"console".into(), b"boot").unwrap();
    let directory = journal.directory().to_owned();
    let run = RunDir::open(&directory).unwrap();
    assert!(matches!(recover(&run), Err(RecoverError::Running(_))));
    let mut guard = GuardWriter::open(&directory, journal.run()).unwrap();
    drop(journal);
    OpenOptions::new().append(true).open(directory.join("events.jsonl")).unwrap().write_all(b"{\"seq\":6,").unwrap();
    assert_eq!(run.state(), RunState::Interrupted);
    guard.append(Nanos(9), &Fact::SafeStateStarted).unwrap();
    assert!(matches!(recover(&run), Err(RecoverError::Guarded(_))));
    assert!(GuardWriter::open(&directory, run.id()).is_err(), "one guard at a time");
    guard.append(Nanos(10), &Fact::SafeStateFinished { ok: true, by: "guard".into() }).unwrap();
    drop(guard);

    let list = runs(store.path()).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(
        (list[0].state, list[0].summary.plan.as_deref(), list[0].summary.verdict),
        (RunState::Interrupted, Some("secure-update"), None)
    );
    assert!(list[0].damage.as_ref().unwrap().contains("middle of the line"));

    let before = run.read().unwrap();
    let last: Vec<_> = before.events[6..].iter().map(|event| (event.seq, event.fact.clone())).collect();
    assert_eq!(last, [(6, Fact::SafeStateStarted), (7, Fact::SafeStateFinished { ok: true, by: "guard".into() })]);
    let (closed, damage) = recover(&run).unwrap();
    assert_eq!(damage, before.damage);
    assert_eq!(closed.manifest.ended, Ended::Recovered);
    let run = RunDir::open(closed.directory).unwrap();
    assert_eq!(run.read().unwrap(), before);
    assert_eq!(run.events().unwrap().collect::<Vec<_>>(), before.events);
    assert_eq!(run.verify().unwrap(), []);
    assert!(matches!(recover(&run), Err(RecoverError::Closed(_))));
    // A guard that has not reached the safe state goes on after the run is closed; what it wrote before must stay.
    let path = run.path().join("guard.jsonl");
    let before = std::fs::read(&path).unwrap();
    GuardWriter::open(run.path(), run.id()).unwrap().append(Nanos(9), &lease(3)).unwrap();
    assert_eq!(run.verify().unwrap(), []);
    let mut changed = std::fs::read(&path).unwrap();
    changed[before.len() / 2] ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert_eq!(run.verify().unwrap().len(), 1);
    std::fs::write(&path, &before[..before.len() / 2]).unwrap();
    assert_eq!(run.verify().unwrap().len(), 1, "less than there was");
}

#[test]
fn a_second_guard_goes_on_after_the_first() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 1);
    let directory = journal.directory();
    GuardWriter::open(directory, journal.run()).unwrap().append(Nanos(1), &lease(1)).unwrap();
    OpenOptions::new().append(true).open(directory.join("guard.jsonl")).unwrap().write_all(b"torn").unwrap();
    GuardWriter::open(directory, journal.run()).unwrap().append(Nanos(2), &lease(2)).unwrap();
    let log = RunDir::open(directory).unwrap().read().unwrap();
    assert_eq!((log.events.len(), log.damage), (3, vec![]));
}

/// Lets `room` bytes through to the file of that name, then fails as a full disk does, in the middle of a write.
fn full_after(room: usize, of: &'static str) -> Sink {
    struct Full(Box<dyn Write + Send>, usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = self.0.write(&bytes[..bytes.len().min(self.1)])?;
            self.1 -= n;
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    Arc::new(move |name, file| if name == of { Box::new(Full(Box::new(file), room)) } else { Box::new(file) })
}

#[test]
fn the_first_failure_stays_and_what_was_written_is_readable() {
    let store = tempfile::tempdir().unwrap();
    let mut options = options(store.path(), 1);
    options.sink = Some(full_after(2000, "events.jsonl"));
    let journal = Journal::create(options).unwrap();
    journal.append(header(&id(1))).unwrap();
    let mut cursor = journal.observe();
    let mut good = 1;
    let error = loop {
        match journal.append(lease(good)) {
            Ok(_) => good += 1,
            Err(error) => break error,
        }
    };
    let JournalError::Failed(failure) = error else { panic!("{error}") };
    assert_eq!(failure.kind, io::ErrorKind::StorageFull);
    assert_eq!(journal.failed(), Some(failure.clone()));
    // Everything afterwards is refused with the first failure, evidence too, and nothing more reaches the file.
    let len = fs::metadata(journal.directory().join("events.jsonl")).unwrap().len();
    assert_eq!(len, 2000);
    assert_eq!(journal.append(lease(0)).unwrap_err(), JournalError::Failed(failure.clone()));
    assert_eq!(journal.evidence_append("console.rx", b"x").unwrap_err(), JournalError::Failed(failure.clone()));
    let seen = std::iter::from_fn(|| cursor.try_next()).count();
    assert_eq!(seen, good, "observers see what is in the file");
    assert_eq!(journal.close().unwrap_err(), JournalError::Failed(failure));
    let directory = journal.directory().to_owned();
    drop(journal);
    let log = RunDir::open(directory).unwrap().read().unwrap();
    assert_eq!((log.events.len(), log.damage[0].why.clone()), (good, DamageKind::Torn));
}

#[test]
fn lost_evidence_is_a_failure_of_the_journal() {
    let store = tempfile::tempdir().unwrap();
    let mut options = options(store.path(), 1);
    options.sink = Some(full_after(6, "console.rx"));
    let journal = Journal::create(options).unwrap();
    journal.received(Nanos(1), &"console".into(), b"boot").unwrap();
    assert!(matches!(journal.received(Nanos(2), &"console".into(), b"boot"), Err(JournalError::Failed(_))));
    assert!(matches!(journal.append(lease(1)), Err(JournalError::Failed(_))));
    let events = RunDir::open(journal.directory()).unwrap().read().unwrap().events;
    assert_eq!(events.len(), 1, "no fact points to bytes that are not there");
}

#[test]
fn a_full_device_is_a_failure() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("skipped: this system has no /dev/full");
        return;
    }
    let store = tempfile::tempdir().unwrap();
    let mut options = options(store.path(), 1);
    options.sink = Some(Arc::new(|_, _| Box::new(OpenOptions::new().write(true).open("/dev/full").unwrap())));
    let journal = Journal::create(options).unwrap();
    assert!(matches!(journal.append(lease(1)), Err(JournalError::Failed(failure)) if failure.kind == io::ErrorKind::StorageFull));
}

#[test]
fn what_cannot_be_recorded_is_refused_without_harm() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 1);
    let measured =
        |value| Fact::Measured { step: "a/1".into(), name: "t".into(), value, unit: "s".into(), limit: None, within: true };
    assert!(matches!(journal.append(measured(f64::NAN)), Err(JournalError::Invalid(_))));
    assert!(matches!(
        journal.append(Fact::LeaseTaken { instrument: "x".repeat(MAX_LINE), waited_ms: None }),
        Err(JournalError::Invalid(_))
    ));
    for name in ["../x", "a/b", "", ".x", "x.gz", "x.tmp"] {
        assert!(matches!(journal.evidence_append(name, b"x"), Err(JournalError::Invalid(_))), "{name}");
        assert!(matches!(journal.evidence_file(name, b"x"), Err(JournalError::Invalid(_))), "{name}");
    }
    journal.append(measured(1.0)).unwrap();
    let log = RunDir::open(journal.directory()).unwrap().read().unwrap();
    assert_eq!((log.events.len(), log.damage), (2, vec![]));
    assert!(matches!(Journal::create(options(store.path(), 1)), Err(JournalError::Failed(_))), "a run is created once");
    journal.close().unwrap();
    assert!(matches!(Journal::create(options(store.path(), 1)), Err(JournalError::Invalid(_))), "also after closing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_late_observers_lose_nothing() {
    const EVENTS: u64 = 5000;
    let store = tempfile::tempdir().unwrap();
    let mut options = options(store.path(), 1);
    options.keep = 16;
    let journal = Journal::create(options).unwrap();
    let watch = |every: u64| {
        let mut cursor = journal.observe();
        tokio::spawn(async move {
            let mut next = 0;
            while let Some(event) = cursor.next().await {
                assert_eq!((event.seq, &event.fact), (next, &lease(next as usize)));
                next += 1;
                if next.is_multiple_of(every) {
                    tokio::task::yield_now().await;
                }
            }
            next
        })
    };
    let observers = [watch(1), watch(7), watch(u64::MAX)];
    let writer = journal.clone();
    tokio::task::spawn_blocking(move || (0..EVENTS).for_each(|n| drop(writer.append(lease(n as usize)).unwrap()))).await.unwrap();
    let late = journal.observe();
    let closing = journal.clone();
    tokio::task::spawn_blocking(move || closing.close().unwrap()).await.unwrap();
    for observer in observers {
        assert_eq!(observer.await.unwrap(), EVENTS);
    }
    // After closing, compressing and renaming, with nearly everything gone from memory.
    let mut late = late;
    let mut seen = 0;
    while let Some(event) = late.next().await {
        assert_eq!(event.seq, seen);
        seen += 1;
    }
    assert_eq!(seen, EVENTS);
}

#[tokio::test]
async fn observers_end_when_the_writer_is_dropped() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 3);
    let mut cursor = journal.observe();
    drop(journal);
    let mut seen = 0;
    while cursor.next().await.is_some() {
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn many_threads_write_one_order() {
    let store = tempfile::tempdir().unwrap();
    let journal = journal(store.path(), 1, 1);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let journal = journal.clone();
            scope.spawn(move || {
                for n in 0..200 {
                    journal.received(Nanos(n), &format!("c{}", thread % 2).as_str().into(), &[thread; 3]).unwrap();
                }
            });
        }
    });
    let run = RunDir::open(journal.directory()).unwrap();
    let log = run.read().unwrap();
    assert_eq!((log.events.len(), log.damage), (801, vec![]));
    let mut covered = [0; 2];
    for event in &log.events[1..] {
        let Fact::Received { channel, offset, len } = &event.fact else { panic!() };
        let bytes = run.evidence(&EvidenceRef { file: format!("{channel}.rx"), offset: *offset, len: *len }, 3).unwrap();
        assert!(bytes.iter().all(|b| *b == bytes[0]), "a write is not mixed with another");
        covered[usize::from(channel.as_str() == "c1")] += len;
    }
    assert_eq!(covered, [1200, 1200]);
}

#[test]
fn runs_are_found_by_what_people_type() {
    let store = tempfile::tempdir().unwrap();
    assert_eq!(runs(&store.path().join("missing")).unwrap(), []);
    for n in [2, 1, 3] {
        let journal = journal(store.path(), n, 3);
        journal.append(finished()).unwrap();
        journal.close().unwrap();
    }
    fs::create_dir(store.path().join("20261123-221509-0000")).unwrap();
    fs::create_dir(store.path().join("not-a-run")).unwrap();
    fs::write(store.path().join("20261123-221510-0000"), b"a file").unwrap();
    fs::write(store.path().join(id(2).as_str()).join("manifest.json"), b"{").unwrap();
    let list = runs(store.path()).unwrap();
    let seen: Vec<_> = list.iter().map(|run| (run.id.as_str(), run.summary.verdict, run.damage.is_some())).collect();
    let fail = Some(Verdict::Fail);
    assert_eq!(
        seen,
        [
            ("20261123-221509-0000", None, true),
            ("20261123-221503-4f1c", fail, false),
            ("20261123-221502-4f1c", fail, true),
            ("20261123-221501-4f1c", fail, false)
        ]
    );
    fs::remove_dir(store.path().join("20261123-221509-0000")).unwrap();
    assert_eq!(find(store.path(), "latest").unwrap().id(), &id(3));
    assert_eq!(find(store.path(), "20261123-221501").unwrap().id(), &id(1));
    assert!(matches!(find(store.path(), "2026"), Err(FindError::Ambiguous { matches, .. }) if matches.len() == 3));
    for missing in ["", "2027", "../x", "latest-"] {
        assert!(matches!(find(store.path(), missing), Err(FindError::NotFound { .. })), "{missing}");
    }
    assert!(matches!(RunDir::open(store.path()), Err(OpenError::NotARun(_))));
}
