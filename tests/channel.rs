//! The console on a plain byte stream and a clock that the test turns by hand.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hilbench::{
    channel::{
        clock::{BoxFuture, Clock, WallClock},
        console::{Console, Expectation, Found, QUIET, Returns},
        link::{Driver as _, LinkError, Opened, Parameters},
        matcher::Matcher,
        tap::{NoTap, Tap},
    },
    driver::serial::Serial,
    event::{ChannelName, Nanos},
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A clock that stands where it is put.
struct HandClock(tokio::sync::watch::Sender<Nanos>);

impl HandClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(tokio::sync::watch::Sender::new(Nanos(0))))
    }

    fn put(&self, now: Nanos) {
        self.0.send_replace(now);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Nanos {
        *self.0.borrow()
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            now.wait_for(|now| *now >= instant).await.expect("the clock outlives its sleepers");
        })
    }

    fn name(&self) -> &'static str {
        "hand"
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, line: String) {
        self.0.lock().expect("no test thread panics with it").push(line);
    }
}

impl Tap for Log {
    fn received(&self, channel: &ChannelName, at: Nanos, bytes: &[u8]) {
        self.add(format!("{channel} {} < {}", at.0, bytes.escape_ascii()));
    }
    fn sent(&self, channel: &ChannelName, at: Nanos, bytes: &[u8]) {
        self.add(format!("{channel} {} > {}", at.0, bytes.escape_ascii()));
    }
    fn lost(&self, channel: &ChannelName, at: Nanos, _why: &str) {
        self.add(format!("{channel} {} lost", at.0));
    }
    fn gap(&self, channel: &ChannelName, at: Nanos, _lost: Option<u64>) {
        self.add(format!("{channel} {} gap", at.0));
    }
}

struct Bench {
    console: Console,
    device: DuplexStream,
    clock: Arc<HandClock>,
    log: Arc<Log>,
}

fn bench(buffer: usize) -> Bench {
    let (near, device) = tokio::io::duplex(buffer);
    let (clock, log) = (HandClock::new(), Arc::new(Log::default()));
    let console = Console::spawn("console".into(), Box::new(near), clock.clone(), log.clone());
    Bench { console, device, clock, log }
}

impl Bench {
    /// The device says something, and the console has captured it.
    async fn say(&mut self, bytes: &[u8]) {
        let end = self.console.mark() + bytes.len() as u64;
        self.device.write_all(bytes).await.expect("the console reads");
        while self.console.mark() < end {
            tokio::task::yield_now().await;
        }
    }

    /// Starts an expectation and lets it get as far as waiting.
    async fn expecting(&self, from: u64, pattern: &str, deadline: Nanos) -> tokio::task::JoinHandle<Expectation> {
        let (console, matcher) = (self.console.clone(), Matcher::compile(pattern).expect("a pattern"));
        let task = tokio::spawn(async move { console.expect(from, &[&matcher], deadline).await });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        task
    }
}

const SECOND: Nanos = Nanos(1_000_000_000);

fn found(outcome: Expectation) -> Found {
    match outcome {
        Expectation::Matched(found) => found,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_is_found_after_the_mark_with_its_time_and_groups() {
    let mut bench = bench(1 << 16);
    bench.say(b"version 0.9.0\r\n").await;
    let mark = bench.console.mark();
    let waiting = bench.expecting(mark, r"version (?<version>\S+)", SECOND).await;
    bench.clock.put(Nanos(5));
    bench.say(b"vers").await;
    bench.clock.put(Nanos(9));
    bench.say(b"ion 1.0").await;
    assert!(!waiting.is_finished(), "the number may go on");
    bench.clock.put(Nanos(11));
    bench.say(b".3\r\nversion 7\r\n").await;
    let found = found(waiting.await.unwrap());
    assert_eq!((found.start, found.end, found.at), (mark, mark + 13, Nanos(11)));
    assert_eq!(found.bytes, b"version 1.0.3");
    assert_eq!(found.captures["version"], "1.0.3");
    assert_eq!(bench.console.bytes(mark..found.end).unwrap(), b"version 1.0.3");
    assert_eq!(
        bench.log.0.lock().unwrap()[1..],
        ["console 5 < vers", "console 9 < ion 1.0", r"console 11 < .3\r\nversion 7\r\n"]
    );
}

#[tokio::test]
async fn of_several_patterns_the_earliest_in_the_stream_wins_not_the_first_listed() {
    let mut bench = bench(1 << 16);
    bench.say(b"denied, not ok\r\n").await;
    let (ok, denied, den) =
        (Matcher::compile("ok").unwrap(), Matcher::compile("denied").unwrap(), Matcher::compile("den").unwrap());
    assert_eq!(found(bench.console.expect(0, &[&ok, &denied], SECOND).await).which, 1);
    assert_eq!(found(bench.console.expect(0, &[&den, &denied], SECOND).await).which, 0, "of equals the first");
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_later_bytes_do_not_count() {
    let mut bench = bench(1 << 16);
    bench.say(b"old\r\n").await;
    let mark = bench.console.mark();
    let waiting = bench.expecting(mark, "ready", SECOND).await;
    bench.clock.put(Nanos(SECOND.0 - 1));
    bench.say(b"re").await;
    assert!(!waiting.is_finished());
    // Both in one go: the answer is one nanosecond late and may be seen before the deadline is.
    bench.clock.put(Nanos(SECOND.0 + 1));
    bench.say(b"ady\r\n").await;
    assert_eq!(waiting.await.unwrap(), Expectation::TimedOut { seen: b"re".to_vec(), until: mark + 2 });
    assert_eq!(
        bench.console.expect(mark, &[&Matcher::compile("ready").unwrap()], SECOND).await,
        Expectation::TimedOut { seen: b"re".to_vec(), until: mark + 2 },
        "nor do they for an expectation that begins after its deadline"
    );
    let later = SECOND.after(Duration::from_secs(1));
    assert_eq!(found(bench.console.expect(mark, &[&Matcher::compile("ready").unwrap()], later).await).at, Nanos(SECOND.0 + 1));
}

#[tokio::test]
async fn a_prompt_without_a_line_end_is_taken_when_the_line_is_quiet() {
    let mut bench = bench(1 << 16);
    let waiting = bench.expecting(0, r"PIN:\s*", SECOND).await;
    bench.clock.put(Nanos(100));
    bench.say(b"PIN:").await;
    bench.clock.put(Nanos(200));
    bench.say(b" ").await;
    bench.clock.put(Nanos(100).after(QUIET));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "quiet counts from the last byte");
    bench.clock.put(Nanos(200).after(QUIET));
    let found = found(waiting.await.unwrap());
    assert_eq!((found.bytes.as_slice(), found.at), (&b"PIN: "[..], Nanos(200)));
}

#[tokio::test]
async fn bytes_that_are_not_text_are_matched_and_shown() {
    let mut bench = bench(1 << 16);
    bench.say(b"\xff\xfe\x1b[2J id=\xc3\x28\x80 ok\n").await;
    let matcher = Matcher::compile(r"(?-u)id=(?<id>[^ \n]+) ok").unwrap();
    let found = found(bench.console.expect(0, &[&matcher], SECOND).await);
    assert_eq!(found.start, 7);
    assert_eq!(found.captures["id"], "\u{fffd}(\u{fffd}");
}

#[tokio::test]
async fn a_frame_goes_out_whole_though_nobody_waits_for_it_any_more() {
    let mut bench = bench(8);
    let frame: Vec<u8> = (0..=255).collect();
    let (console, bytes) = (bench.console.clone(), frame.clone());
    let sending = tokio::spawn(async move { tokio::time::timeout(Duration::ZERO, console.send(bytes)).await.is_err() });
    assert!(sending.await.unwrap(), "nobody has read yet, so it cannot be complete");
    let (console, second) = (bench.console.clone(), tokio::sync::oneshot::channel());
    tokio::spawn(async move { second.0.send(console.send(b"second".as_slice()).await) });
    let mut got = vec![0; frame.len() + 6];
    bench.device.read_exact(&mut got).await.unwrap();
    assert_eq!(got, [&frame[..], b"second"].concat());
    let sent = second.1.await.unwrap().unwrap();
    assert_eq!((sent.offset, sent.len), (256, 6));
    let counts = bench.console.counters().get();
    assert_eq!((counts.queued, counts.written), (262, 262));
}

#[tokio::test]
async fn a_lost_channel_says_how_much_went_out_and_ends_what_waits() {
    let mut bench = bench(8);
    let waiting = bench.expecting(0, "ready", SECOND).await;
    let console = bench.console.clone();
    let sending = tokio::spawn(async move { console.send(vec![b'x'; 20]).await });
    let mut got = [0; 3];
    bench.device.read_exact(&mut got).await.unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    bench.device.write_all(b"rea").await.unwrap();
    drop(bench.device);
    let Expectation::Lost { why } = waiting.await.unwrap() else { panic!("not lost") };
    assert!(why.contains("end of the stream") || why.contains("writing failed"), "{why}");
    let error = sending.await.unwrap().unwrap_err();
    assert!(error.lost);
    assert!(error.what.ends_with("11 of 20 bytes had gone out"), "{}", error.what);
    assert!(bench.console.send(b"more".as_slice()).await.unwrap_err().what.ends_with("0 of 4 bytes had gone out"));
    assert!(bench.console.counters().get().closed);
    let log = bench.log.0.lock().unwrap();
    assert_eq!(log.iter().filter(|line| line.ends_with("lost")).count(), 1);
}

#[tokio::test]
async fn what_arrived_before_the_loss_still_counts() {
    let mut bench = bench(64);
    bench.say(b"version 1.0").await;
    drop(bench.device);
    let matcher = Matcher::compile(r"version \S+").unwrap();
    assert_eq!(found(bench.console.expect(0, &[&matcher], SECOND).await).bytes, b"version 1.0");
    let matcher = Matcher::compile("ready").unwrap();
    assert!(matches!(bench.console.expect(0, &[&matcher], SECOND).await, Expectation::Lost { .. }));
}

#[tokio::test]
async fn closing_finishes_the_frame_and_gives_the_stream_back() {
    let mut bench = bench(8);
    let console = bench.console.clone();
    let sending = tokio::spawn(async move { console.send(vec![b'x'; 20]).await });
    let mut got = [0; 4];
    bench.device.read_exact(&mut got).await.unwrap();
    let console = bench.console.clone();
    let closing = tokio::spawn(async move { console.close().await });
    let mut rest = Vec::new();
    bench.device.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 16);
    assert_eq!(sending.await.unwrap().unwrap().len, 20);
    closing.await.unwrap();
    assert!(matches!(bench.console.expect(0, &[], SECOND).await, Expectation::Lost { .. }));
    assert!(!bench.log.0.lock().unwrap().iter().any(|line| line.ends_with("lost")), "closed on purpose is not lost");
}

#[tokio::test]
async fn a_console_that_nobody_holds_closes() {
    let mut bench = bench(8);
    drop(bench.console);
    assert_eq!(bench.device.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_flood_is_captured_whole_in_bounded_memory_and_starves_nobody() {
    const PIECE: usize = 1 << 16;
    const PIECES: usize = 512;
    let (near, mut device) = tokio::io::duplex(PIECE);
    let clock = HandClock::new();
    let console = Console::spawn("console".into(), Box::new(near), clock.clone(), Arc::new(NoTap));
    let flood = tokio::spawn(async move {
        let piece = b"0123456789abcde\n".repeat(PIECE / 16);
        for _ in 0..PIECES {
            device.write_all(&piece).await.unwrap();
        }
        device.write_all(b"needle\n").await.unwrap();
        device
    });
    let needle = Matcher::compile("n..dle").unwrap();
    let found = found(console.expect(0, &[&needle], SECOND).await);
    assert_eq!(found.start, (PIECE * PIECES) as u64);
    let _device = flood.await.unwrap();
    assert_eq!(console.mark(), (PIECE * PIECES) as u64 + 7);
    assert_eq!(console.bytes(0..1), None, "old bytes are not kept in memory");
    let Expectation::Gap { missing } = console.expect(0, &[&needle], SECOND).await else { panic!("no gap") };
    assert!(missing.start == 0 && console.mark() - missing.end >= 8 << 20, "{missing:?}");
}

/// A console whose instrument is, each time it is looked for, the next of these.
fn returning(links: Vec<DuplexStream>) -> (Console, Arc<HandClock>, Arc<Log>) {
    let (clock, log) = (HandClock::new(), Arc::new(Log::default()));
    let links = Arc::new(Mutex::new(links));
    let reopen = move || {
        let next = links.lock().expect("no test panics with it").pop();
        let found = async move {
            let link = next.ok_or_else(|| LinkError::new("find it", "not there"))?;
            Ok((Box::new(link) as Box<dyn hilbench::channel::link::ByteLink>, "it".to_owned()))
        };
        Box::pin(found) as BoxFuture<'static, _>
    };
    let returns = Returns { reopen: Arc::new(reopen), within: Duration::from_secs(5), powered_by: None };
    let console = Console::returning("console".into(), None, clock.clone(), log.clone(), returns);
    (console, clock, log)
}

#[tokio::test]
async fn a_console_lost_in_the_middle_of_a_frame_says_how_much_went_out_and_does_not_send_it_again() {
    let ((second, mut after), (first, mut before)) = (tokio::io::duplex(64), tokio::io::duplex(8));
    let (console, _clock, log) = returning(vec![second, first]);
    console.present().await.unwrap();
    let sender = console.clone();
    let sending = tokio::spawn(async move { sender.send(vec![b'x'; 20]).await });
    let mut got = [0; 3];
    before.read_exact(&mut got).await.unwrap();
    while console.counters().get().written < 11 {
        tokio::task::yield_now().await;
    }
    drop(before);
    let error = sending.await.unwrap().unwrap_err();
    assert!(error.lost && error.what.ends_with("11 of 20 bytes had gone out"), "{}", error.what);
    // The next frame goes to the one that came back, and nothing of the old one does.
    assert_eq!(console.send(b"next".as_slice()).await.unwrap().offset, 11);
    let mut got = [0; 4];
    after.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"next");
    console.close().await;
    assert_eq!(after.read(&mut got).await.unwrap(), 0);
    assert_eq!(log.0.lock().unwrap().iter().filter(|line| line.ends_with(" lost")).count(), 1);
}

/// Three megabytes through a pseudo-terminal behind the real driver, while somebody looks for what never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_through_a_terminal_is_captured_to_the_last_byte() {
    const TOTAL: usize = 3 << 20;
    struct Bytes(Mutex<Vec<u8>>);
    impl Tap for Bytes {
        fn received(&self, _: &ChannelName, _: Nanos, bytes: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(bytes);
        }
        fn sent(&self, _: &ChannelName, _: Nanos, _: &[u8]) {}
        fn lost(&self, _: &ChannelName, _: Nanos, _: &str) {}
        fn gap(&self, _: &ChannelName, _: Nanos, _: Option<u64>) {}
    }
    let pty = nix::pty::openpty(None, None).unwrap();
    let path = nix::unistd::ttyname(&pty.slave).unwrap();
    let parameters = Parameters { values: [("path".to_owned(), path.display().to_string())].into(), base: "/".into() };
    let Opened::Console(link) = Serial.open(&parameters).await.unwrap() else { panic!("not a console") };
    let tap = Arc::new(Bytes(Mutex::default()));
    let clock = Arc::new(WallClock::start());
    let console = Console::spawn("console".into(), link, clock.clone(), tap.clone());
    let sent: Vec<u8> = (0..TOTAL).map(|at| (at * 31 >> 3) as u8).collect();
    let (mut device, flood) = (std::fs::File::from(pty.master), sent.clone());
    let flooding = std::thread::spawn(move || {
        std::io::Write::write_all(&mut device, &flood).unwrap();
        device
    });
    let never = Matcher::compile("(?-u)\\x00never[a-z]+\\xff").unwrap();
    let all = async {
        while console.mark() < TOTAL as u64 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let patterns = [&never];
    tokio::select! {
        outcome = console.expect(0, &patterns, clock.now().after(Duration::from_mins(1))) => panic!("{outcome:?}"),
        () = all => {}
    }
    let _device = flooding.join().unwrap();
    assert!(*tap.0.lock().unwrap() == sent, "byte for byte");
    console.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// However the stream is cut up and whenever the expectation begins, it ends on the same bytes at the time at which they arrived.
    #[test]
    fn an_expectation_does_not_depend_on_how_the_stream_was_cut(
        cuts in proptest::collection::vec(1usize..12, 1..20),
        begin in 0usize..20,
    ) {
        let text = b"boot 1\r\nversion 1.2.3 counter 4\r\nready\r\nversion 9\r\n";
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (hit, line_end) = runtime.block_on(async {
            let mut bench = bench(1 << 16);
            let mut waiting = None;
            let mut sent = 0;
            let mut line_end = Nanos(0);
            for (i, cut) in cuts.iter().copied().chain([text.len()]).enumerate() {
                if i == begin {
                    waiting = Some(bench.expecting(0, r"version (?<v>\S+)", SECOND).await);
                }
                let piece = &text[sent..(sent + cut).min(text.len())];
                bench.clock.put(Nanos(10 + i as u64));
                bench.say(piece).await;
                if (sent..sent + piece.len()).contains(&20) {
                    line_end = Nanos(10 + i as u64);
                }
                sent += piece.len();
            }
            let waiting = match waiting {
                Some(waiting) => waiting,
                None => bench.expecting(0, r"version (?<v>\S+)", SECOND).await,
            };
            (found(waiting.await.unwrap()), line_end)
        });
        prop_assert_eq!((hit.start, hit.end, hit.captures["v"].as_str()), (8, 21, "1.2.3"));
        prop_assert_eq!(hit.at, line_end);
    }
}
