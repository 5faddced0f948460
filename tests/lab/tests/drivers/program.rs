//! The program itself, at work on the wired bench.

use std::{
    fs,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lab::lock::Lock;

use crate::host::{in_guest, pass};

/// The repository, which the guest sees under the host's path.
pub(crate) const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The rig of the wired bench.
pub(crate) const RIG: &str = "rigs/emulated-lock.yaml";
/// A run of the longest plan takes minutes; only a hang meets this.
const LONGEST: Duration = Duration::from_mins(20);

/// A store of its own for the runs of one test, on a file system of the guest.
pub(crate) struct Store(PathBuf);

impl Store {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/hilbench-{name}"));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The program with this store, in the repository's directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // target/debug/deps/drivers-… is this test, target/debug/hilbench the program.
        let test = std::env::current_exe().unwrap();
        let mut command = Command::new(test.parent().unwrap().parent().unwrap().join("hilbench"));
        command
            .args(arguments)
            .current_dir(REPOSITORY)
            .env("HILBENCH_STORE", self.0.join("store"))
            .env("HILBENCH_LEASES", self.0.join("leases"))
            .env_remove("HILBENCH_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn hilbench(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Starts it; its output is read all the time.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let output = thread::spawn(move || {
            let mut all = String::new();
            drop(stdout.read_to_string(&mut all));
            all
        });
        let errors = thread::spawn(move || {
            let mut all = String::new();
            drop(stderr.read_to_string(&mut all));
            all
        });
        Running { child, output, errors }
    }
}

/// A program at work.
pub(crate) struct Running {
    pub(crate) child: Child,
    output: JoinHandle<String>,
    errors: JoinHandle<String>,
}

impl Running {
    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let until = Instant::now() + LONGEST;
        while !self.has_ended() {
            assert!(Instant::now() < until, "the program hangs");
            pass(Duration::from_millis(5));
        }
        let code = self.child.wait().unwrap().code();
        Ended { code, stdout: self.output.join().unwrap(), stderr: self.errors.join().unwrap() }
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Fails the test unless the program ended with this code.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// The complete bench with a lock as it leaves the factory.
pub(crate) fn bench() -> Lock {
    in_guest();
    let lock = Lock::complete(lab::wired::NAME, lab::wired::UNIT).unwrap();
    provision(&lock);
    lock
}

/// Puts bootloader and application where a factory would.
pub(crate) fn provision(lock: &Lock) {
    let images = format!("{REPOSITORY}/firmware-fixtures/smart-lock/images");
    for (image, address) in [("bootloader.bin", 0), ("lock-v1.bin", 0x6000)] {
        let bytes = fs::read(format!("{images}/{image}")).unwrap();
        lock.device().with(|machine| machine.preload(address, &bytes)).unwrap();
    }
}
