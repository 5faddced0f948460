//! QEMU's `microbit` machine (an nRF51822) with its gdb stub and its console on Unix sockets. (Over TCP each packet waits for Nagle's timer.)

use std::{
    env,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::state::State;

const PROGRAM: &str = "qemu-system-arm";
/// For one answer; the slowest, a boot with two signature checks on a loaded machine, takes a second or two.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether the tests can run. Where they must (`CI` is set), an absent QEMU fails them.
pub(crate) fn is_there() -> bool {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(found || env::var_os("CI").is_none(), "{PROGRAM} is not installed");
    if !found {
        eprintln!("SKIPPED: {PROGRAM} is not installed (Debian: apt install qemu-system-arm)");
    }
    found
}

pub(crate) struct Qemu {
    process: Child,
    gdb: UnixStream,
    pub(crate) console: UnixStream,
    received: Vec<u8>,
    _directory: TempDir,
}

fn accepted(listener: UnixListener) -> UnixStream {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(listener.accept()));
    let (stream, _) = receiver.recv_timeout(PATIENCE).expect("QEMU connects").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

impl Qemu {
    /// A machine that has not begun to run.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = |name: &str| {
            let path = directory.path().join(name);
            (UnixListener::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
        };
        let ((gdb, gdb_path), (console, console_path)) = (socket("gdb"), socket("console"));
        let process = Command::new(PROGRAM)
            .args(["-M", "microbit", "-display", "none", "-monitor", "none", "-S"])
            .args(["-serial", &format!("unix:{console_path}")])
            .args(["-chardev", &format!("socket,id=gdb,path={gdb_path}"), "-gdb", "chardev:gdb"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (console, gdb) = (accepted(console), accepted(gdb));
        let mut qemu = Self { process, gdb, console, received: Vec::new(), _directory: directory };
        // Asked for the description of its registers, the stub leaves the floating point ones of the ARM7 out.
        qemu.ask("qXfer:features:read:target.xml:0,ffb");
        qemu
    }

    /// Sends a packet and returns the answer's content.
    pub(crate) fn ask(&mut self, packet: &str) -> String {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.gdb.write_all(format!("${packet}#{sum:02x}").as_bytes()).unwrap();
        loop {
            if let Some(start) = self.received.iter().position(|byte| *byte == b'$')
                && let Some(len) = self.received[start..].iter().position(|byte| *byte == b'#')
                && self.received.len() >= start + len + 3
            {
                let answer = String::from_utf8_lossy(&self.received[start + 1..start + len]).into_owned();
                self.received.drain(..start + len + 3);
                self.gdb.write_all(b"+").unwrap();
                return answer;
            }
            let mut buffer = [0; 8192];
            let count = self.gdb.read(&mut buffer).unwrap_or_else(|error| panic!("QEMU to `{packet:.80}`: {error}"));
            assert!(count > 0, "QEMU has ended at `{packet:.80}`");
            self.received.extend(&buffer[..count]);
        }
    }

    fn ok(&mut self, packet: &str) {
        let answer = self.ask(packet);
        assert_eq!(answer, "OK", "to `{packet:.80}`");
    }

    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) {
        for (at, part) in (address..).step_by(512).zip(bytes.chunks(512)) {
            self.ok(&format!("M{at:x},{:x}:{}", part.len(), hex(part)));
        }
    }

    pub(crate) fn read(&mut self, address: u32, len: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u32) < len {
            let part = (len - bytes.len() as u32).min(1024);
            bytes.extend(unhex(&self.ask(&format!("m{:x},{part:x}", address + bytes.len() as u32))));
        }
        bytes
    }

    pub(crate) fn state(&mut self) -> State {
        let bytes = unhex(&self.ask("g"));
        let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        State(std::array::from_fn(|_| words.next().unwrap()))
    }

    pub(crate) fn set_state(&mut self, state: &State) {
        self.ok(&format!("G{}", hex(&state.0.map(u32::to_le_bytes).concat())));
    }

    pub(crate) fn break_at(&mut self, address: u32) {
        self.ok(&format!("Z1,{address:x},2"));
    }

    /// Runs to a breakpoint.
    pub(crate) fn go(&mut self) {
        let answer = self.ask("c");
        assert!(answer.starts_with("T05"), "{answer}");
    }

    /// One instruction.
    pub(crate) fn step(&mut self) {
        let answer = self.ask("s");
        assert!(answer.starts_with("T05"), "{answer}");
    }

    /// Resets it and lets it go. (The stub's own start would leave out the vectors, which were not there yet.)
    pub(crate) fn boot(&mut self) {
        self.ask(&format!("qRcmd,{}", hex(b"system_reset")));
        self.ask("D");
    }

    /// What the console says, up to and with `end`.
    pub(crate) fn hear(&mut self, end: &str) -> Vec<u8> {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            let mut byte = [0];
            match self.console.read(&mut byte) {
                Ok(0) => panic!("QEMU has ended after {:?}", String::from_utf8_lossy(&heard)),
                Ok(_) => heard.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("waiting for {end:?} after {:?}: {error}", String::from_utf8_lossy(&heard)),
            }
        }
        heard
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.bytes().all(|c| c.is_ascii_hexdigit()), "not hexadecimal: {text:.80}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
