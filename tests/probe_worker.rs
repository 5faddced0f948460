//! The process that does a probe's operations, and ones that misbehave in its place: always an error of the bench, and the next operation works.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use hilbench::{
    channel::link::{LinkError, ProbeLink, Segment},
    driver::probe::ProbeRsLink,
};

const WORKER: &str = env!("CARGO_BIN_EXE_hilbench");
/// Against hangs only.
const PATIENCE: Duration = Duration::from_mins(1);

fn link(command: Vec<String>) -> ProbeRsLink {
    let link = ProbeRsLink::new("ffff:fffe:none".to_owned(), "nRF51822_xxAA".to_owned(), "probe x".to_owned());
    link.in_process(command).with_timeout(PATIENCE)
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

/// A script that does something bad in the first process, and is the real worker afterwards.
fn once(directory: &Path, bad: &str) -> Vec<String> {
    let mark = directory.join("mark");
    let mark = mark.display();
    shell(&format!("if [ -e {mark} ]; then exec {WORKER} probe-worker; fi; echo $$ > {mark}; {bad}"))
}

/// An operation that the real worker answers: the probe is not there.
async fn real_answer(link: &mut ProbeRsLink) {
    let error = link.read(0, 4).await.unwrap_err();
    assert!(error.what.contains("there is no debug probe ffff:fffe:none"), "{error}");
}

async fn bad_once(bad: &str, timeout: Duration) -> LinkError {
    let directory = tempfile::tempdir().unwrap();
    let mut link = link(once(directory.path(), bad)).with_timeout(timeout);
    let error = link.read(0, 4).await.unwrap_err();
    assert!(error.lost, "the instrument did not do its part: {error}");
    assert!(error.operation.contains("probe x"), "{error}");
    let process = fs::read_to_string(directory.path().join("mark")).unwrap();
    assert!(!Path::new("/proc").join(process.trim()).exists(), "the process is gone");
    link = link.with_timeout(PATIENCE);
    real_answer(&mut link).await;
    error
}

#[tokio::test]
async fn the_real_worker_answers() {
    let mut link = link(vec![WORKER.to_owned(), "probe-worker".to_owned()]);
    real_answer(&mut link).await;
    let error = link.flash(vec![Segment { address: 0, bytes: vec![7; 300_000] }], false).await.unwrap_err();
    assert!(error.what.contains("there is no debug probe"), "a long message arrives whole: {error}");
    real_answer(&mut link).await;
}

#[tokio::test]
async fn a_crash_in_mid_operation_is_an_error_that_tells_how() {
    let error = bad_once("head -c 20 > /dev/null; echo 'driver: bad wire' >&2; kill -SEGV $$", PATIENCE).await;
    assert!(error.what.contains("signal: 11") && error.what.contains("driver: bad wire"), "{error}");
}

#[tokio::test]
async fn an_end_in_mid_operation_is_an_error() {
    let error = bad_once("head -c 20 > /dev/null; exit 3", PATIENCE).await;
    assert!(error.what.contains("exit status: 3"), "{error}");
    bad_once("exit 0", PATIENCE).await;
}

#[tokio::test]
async fn a_hang_ends_with_the_deadline() {
    let start = Instant::now();
    let error = bad_once("exec sleep 1000", Duration::from_secs(1)).await;
    assert!(error.what.contains("did not finish within 1s"), "{error}");
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn rubbish_and_floods_are_errors() {
    for bad in [
        "exec yes",
        "exec cat /dev/zero",
        "echo hello, this is not an answer; sleep 100",
        // A head that announces four gigabytes.
        r"printf 'hbp1\377\377\377\377\000\000\000\000'; sleep 100",
        // A well-formed answer to a question that was not asked.
        r#"printf 'hbp1\051\000\000\000\000\000\000\000{"id":99,"result":{"Ok":"checked"}}          '; sleep 100"#,
        // What it was told, back.
        "exec cat",
    ] {
        let error = bad_once(bad, PATIENCE).await;
        assert!(error.what.contains("does not speak the protocol"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_flood_of_messages_is_cut_to_the_last_words() {
    let error = bad_once("yes noise | head -n 200000 >&2; echo the end >&2; exit 1", PATIENCE).await;
    assert!(error.what.contains("the end") && error.what.len() < 1200, "{error}");
}

#[tokio::test]
async fn an_answer_that_announces_more_than_comes_ends_with_the_deadline() {
    let error = bad_once(r"printf 'hbp1\000\020\000\000\000\000\000\002'; exec sleep 1000", Duration::from_secs(1)).await;
    assert!(error.what.contains("did not finish within"), "{error}");
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_an_error() {
    for command in [vec!["/nonexistent/worker".to_owned()], Vec::new()] {
        let error = link(command).read(0, 4).await.unwrap_err();
        assert!(error.what.contains("cannot be started"), "{error}");
    }
}

#[tokio::test]
async fn an_operation_that_nobody_waits_for_any_more_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let (begun, finished) = (directory.path().join("begun"), directory.path().join("finished"));
    let script = format!("head -c 20 >/dev/null; : > {}; sleep 1; : > {}; exec sleep 100", begun.display(), finished.display());
    let mut link = link(shell(&script)).with_timeout(Duration::from_secs(2));
    let waited = tokio::time::timeout(Duration::from_millis(200), link.read(0, 4)).await;
    assert!(waited.is_err());
    link.read(0, 4).await.unwrap_err();
    assert!(finished.exists(), "the first operation had its time");
}

#[tokio::test]
async fn the_worker_has_a_process_group_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("group");
    let script = format!("cut -d' ' -f1,5 /proc/$$/stat > {}; exit 1", file.display());
    link(shell(&script)).read(0, 4).await.unwrap_err();
    let text = fs::read_to_string(file).unwrap();
    let [process, group] = text.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert_eq!(process, group, "Ctrl-C on the terminal does not reach it");
}

#[test]
fn the_worker_ends_when_its_controller_does() {
    let mut child = Command::new(WORKER).arg("probe-worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it is still there");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Where the child below writes what its worker's environment was.
const REPORT: &str = "HILBENCH_TEST_REPORT";

#[test]
fn options_of_probe_rs_in_the_environment_do_not_reach_the_worker() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("environment");
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "child_that_starts_a_worker"])
        .env("PROBE_RS_ALLOW_ERASE_ALL", "1")
        .env(REPORT, &report)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(ended.success());
    let environment = fs::read_to_string(report).unwrap();
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("PROBE_RS"), "{environment}");
}

#[tokio::test]
#[ignore = "part of options_of_probe_rs_in_the_environment_do_not_reach_the_worker"]
async fn child_that_starts_a_worker() {
    let Some(report) = std::env::var_os(REPORT) else { return };
    assert!(std::env::var_os("PROBE_RS_ALLOW_ERASE_ALL").is_some());
    link(shell(&format!("env > {}; exit 1", Path::new(&report).display()))).read(0, 4).await.unwrap_err();
}
