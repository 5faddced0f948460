//! A pseudo-terminal with the program on one side and a terminal emulator on the other.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};
use vt100::Parser;

use super::bench::Bench;

/// Longer than anything here takes on a busy machine; only a hang meets it.
const PATIENCE: Duration = Duration::from_mins(2);

/// The emulator fails on less (vt100 0.16: a subtraction below zero); the real terminal gets the size that was asked for.
const SMALLEST: u16 = 2;

fn emulator(columns: u16, rows: u16) -> Parser {
    Parser::new(rows.max(SMALLEST), columns.max(SMALLEST), 0)
}

/// The program on a terminal.
pub(crate) struct Screen {
    child: Child,
    master: Option<File>,
    slave: OwnedFd,
    before: Termios,
    parser: Parser,
    told: Vec<u8>,
    below_a_shell: bool,
}

impl Screen {
    /// Starts it in a session of its own, with the terminal as its controlling one.
    pub(crate) fn start(bench: &Bench, arguments: &[&str], columns: u16, rows: u16) -> Self {
        Self::with(bench, &[env!("CARGO_BIN_EXE_hilbench")], arguments, columns, rows)
    }

    /// The same below a shell, whose session it is then.
    pub(crate) fn below_a_shell(bench: &Bench, arguments: &[&str], columns: u16, rows: u16) -> Self {
        let shell = ["sh", "-c", "\"$0\" \"$@\"; exit $?", env!("CARGO_BIN_EXE_hilbench")];
        let mut screen = Self::with(bench, &shell, arguments, columns, rows);
        screen.below_a_shell = true;
        screen
    }

    fn with(bench: &Bench, program: &[&str], arguments: &[&str], columns: u16, rows: u16) -> Self {
        // Not inherited by the program, or its terminal would never hang up.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags | OFlag::O_NONBLOCK).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = OwnedFd::from(
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlag::O_NOCTTY.bits())
                .open(ptsname_r(&master).unwrap())
                .unwrap(),
        );
        set_size(&slave, columns, rows);
        let before = tcgetattr(&slave).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = bench
            .command("setsid")
            .arg("--ctty")
            .args(program)
            .args(arguments)
            .envs([("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("HILBENCH_TUI_PANIC_KEY", "f12")])
            .env_remove("LC_ALL")
            .env_remove("RUST_BACKTRACE")
            .env_remove("NO_COLOR")
            .env_remove("HILBENCH_KEYS")
            .env("XDG_CONFIG_HOME", bench.path("config"))
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let parser = emulator(columns, rows);
        let master = Some(File::from(OwnedFd::from(master)));
        Self { child, master, slave, before, parser, told: Vec::new(), below_a_shell: false }
    }

    /// The process of the program itself.
    fn pid(&self) -> Pid {
        let pid = self.child.id();
        let below = || {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            children.split_whitespace().next().unwrap().parse().unwrap()
        };
        Pid::from_raw(if self.below_a_shell { below() } else { i32::try_from(pid).unwrap() })
    }

    /// Takes what the program writes, waiting for it at most so long; false if nothing came.
    fn read(&mut self, wait: Duration) -> bool {
        let Some(mut master) = self.master.as_ref() else { return false };
        let mut ready = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut ready, PollTimeout::try_from(wait).unwrap()).is_ok_and(|count| count > 0) {
            return false;
        }
        let mut piece = [0; 16 * 1024];
        match master.read(&mut piece) {
            Ok(count) if count > 0 => {
                self.parser.process(&piece[..count]);
                self.told.extend_from_slice(&piece[..count]);
                true
            }
            _ => false,
        }
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Waits until a text is on the screen.
    pub(crate) fn until(&mut self, wanted: &str) {
        let start = Instant::now();
        while !self.text().contains(wanted) {
            assert!(start.elapsed() < PATIENCE, "{wanted:?} does not come:\n{}", self.text());
            if !self.read(Duration::from_millis(50)) && self.child.try_wait().unwrap().is_some() {
                while self.read(Duration::ZERO) {}
                assert!(self.text().contains(wanted), "it ended before {wanted:?}:\n{}", self.text());
            }
        }
    }

    /// Waits until nothing more is drawn.
    pub(crate) fn settle(&mut self) {
        while self.read(Duration::from_millis(150)) {}
    }

    /// Takes what is drawn for so long.
    pub(crate) fn settle_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.read(left.min(Duration::from_millis(50)));
        }
    }

    /// Processor time of the program so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // User and system time, in hundredths of a second on every Linux.
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    /// The most memory that the program has had, in kilobytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        // One key a time, as hands do: an escape followed by a letter at once would be another key.
        let mut rest = keys;
        while !rest.is_empty() {
            let end = if rest.starts_with("\x1b[") { rest.len() } else { rest.chars().next().unwrap().len_utf8() };
            let key = &rest[..end];
            self.master.as_ref().unwrap().write_all(key.as_bytes()).unwrap();
            rest = &rest[end..];
            if key == "\x1b" {
                self.read(Duration::from_millis(60));
            }
        }
    }

    /// Changes the size of the terminal, as a window does.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        set_size(&self.slave, columns, rows);
        self.parser.screen_mut().set_size(rows.max(SMALLEST), columns.max(SMALLEST));
        self.read(Duration::from_millis(5));
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits until the program is stopped.
    pub(crate) fn until_stopped(&mut self) {
        let start = Instant::now();
        let stat = format!("/proc/{}/stat", self.pid());
        loop {
            let text = std::fs::read_to_string(&stat).unwrap();
            let state = text.rsplit_once(')').unwrap().1.trim_start().chars().next();
            if state == Some('T') {
                self.settle();
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it is not stopped: {text}");
            self.read(Duration::from_millis(20));
        }
    }

    /// Whether the terminal's own screen is shown.
    pub(crate) fn has_given_back(&self) -> bool {
        !self.parser.screen().alternate_screen()
    }

    /// The terminal is as it was before.
    pub(crate) fn is_restored(&self) {
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "still the other screen");
        assert!(!screen.hide_cursor(), "no cursor");
        assert!(!screen.bracketed_paste(), "pasting is still bracketed");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let now = tcgetattr(&self.slave).unwrap();
        assert_eq!(now.local_flags, self.before.local_flags);
        assert_eq!(now.input_flags, self.before.input_flags);
        assert_eq!(now.output_flags, self.before.output_flags);
        assert_eq!(now.control_flags, self.before.control_flags);
    }

    /// Makes it draw, and reads nothing of it.
    pub(crate) fn redraw_without_reading(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            // The input queue may be full, too.
            let _ = self.master.as_ref().unwrap().write(b"\x0c");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Closes the terminal, as somebody does with a window, and waits for the end of the program.
    pub(crate) fn hang_up(&mut self) {
        self.master = None;
        self.waited();
    }

    fn waited(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            if !self.read(Duration::from_millis(20)) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }

    /// Its exit code; the terminal must be as it was.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let code = self.waited();
        while self.read(Duration::from_millis(50)) {}
        self.is_restored();
        code
    }

    /// Only what this program has reason to say was said to the terminal: cursor, colours, and its own modes.
    pub(crate) fn was_only_told_harmless_things(&self) {
        let text = String::from_utf8(self.told.clone()).unwrap_or_else(|error| panic!("not UTF-8: {error}"));
        let mut rest = text.as_str();
        while let Some(at) = rest.find(|c: char| c.is_control() || hilbench_harmful(c)) {
            let here = &rest[at..];
            let context = || here.chars().take(30).collect::<String>().escape_debug().to_string();
            let sequence = here.strip_prefix("\x1b[").unwrap_or_else(|| panic!("told {}", context()));
            let end = sequence.find(|c: char| ('@'..='~').contains(&c)).unwrap_or_else(|| panic!("told {}", context()));
            let (parameters, last) = (&sequence[..end], sequence[end..].chars().next().unwrap());
            let own = match last {
                'H' | 'm' => parameters.chars().all(|c| c.is_ascii_digit() || c == ';'),
                'J' => parameters == "2",
                'h' | 'l' => ["?1049", "?25", "?2004"].contains(&parameters),
                _ => false,
            };
            assert!(own, "told {}", context());
            rest = &sequence[end + 1..];
        }
        // On and off exactly as often as the program does it.
        assert_eq!((text.matches("\x1b[?1049h").count(), text.matches("\x1b[?1049l").count()), (1, 0));
        assert_eq!(text.matches("\x1b[?2004l").count(), 0);
    }
}

/// A terminal gets a size, and with it its program a SIGWINCH.
fn set_size(slave: &OwnedFd, columns: u16, rows: u16) {
    let size = [columns, rows].map(|number| number.to_string());
    let mut stty = Command::new("stty");
    let status = stty.args(["cols", &size[0], "rows", &size[1]]).stdin(slave.try_clone().unwrap()).status().unwrap();
    assert!(status.success());
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What changes the direction of a text, or cannot be seen.
fn hilbench_harmful(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
}
