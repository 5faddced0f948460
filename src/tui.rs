//! The terminal UI: what a technician at the bench sees and does.
//!
//! It is a pure observer: it reads a run's journal and sends requests. A run that is started from here is a process of its own, in a
//! session of its own, so nothing that becomes of this terminal (slow, resized, suspended, killed) reaches it; decision 9 has the reasons.
//!
//! [`tape`] folds a run and goes to any moment of it, [`session`] is where somebody looks, [`app`] what keys do, [`screens`] and [`dialogs`]
//! what it looks like, [`terminal`] the terminal, which is restored however this ends.

pub mod app;
pub mod console;
pub mod dialogs;
pub mod history;
pub mod host;
pub mod input;
pub mod jobs;
pub mod keys;
pub mod own;
pub mod paper;
pub mod screens;
pub mod session;
pub mod tape;
pub mod terminal;
pub mod timeline;
pub mod words;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossterm::event::{Event, MouseEventKind};
use nix::{
    sys::signal::{Signal, raise},
    unistd::{getppid, getsid},
};
use ratatui::{Terminal as Frames, backend::CrosstermBackend, buffer::Buffer, layout::Rect};

use crate::event::StopLevel;
use app::{App, Left, Opening};
use host::Host;
use input::Input;
use keys::{Key, Keymap};
use own::{Own, Ward};
use paper::Abilities;
use terminal::{Outbox, Terminal};

/// Frames come at most this often: thirty a second.
const FRAME: Duration = Duration::from_millis(33);
/// How long nothing may happen before it is looked whether something did.
const IDLE: Duration = Duration::from_millis(40);
/// The same where nothing has happened for a while. Keys do not wait for it.
const QUIET: Duration = Duration::from_millis(120);
/// What a while is.
const WHILE: Duration = Duration::from_secs(2);
/// How long a terminal that is full is left alone.
const FULL: Duration = Duration::from_millis(4);
/// Keys taken before the next frame.
const KEYS: usize = 64;

/// How it is shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the terminal can show.
    pub abilities: Abilities,
    /// Whether clicks and the wheel are asked for.
    pub mouse: bool,
    /// The keys.
    pub keys: Keymap,
    /// A key that makes the program panic, for tests of what happens then.
    pub panic_key: Option<Key>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody left it.
    Left(Left),
    /// It was told to end, or its terminal is gone; a run of its own has ended meanwhile with this exit code.
    Told(Option<i32>),
    /// It has failed, by a defect; a run of its own has ended safely.
    Failed,
}

/// Shows the terminal UI until it is left.
///
/// # Errors
/// The terminal cannot be used.
pub fn run(host: Arc<dyn Host>, opening: Opening, options: Options) -> io::Result<(Outcome, Option<String>)> {
    let told = Told::default();
    // Before anything is started: without a terminal nothing is.
    let terminal = Terminal::take(options.mouse)?;
    let mut app = App::new(host, options.keys, options.abilities, opening, Instant::now());
    let ward = app.ward();
    let watching = told.watch(ward.clone())?;
    let shown = catch_unwind(AssertUnwindSafe(|| show(&mut app, &terminal, &told, options.panic_key)));
    drop(terminal);
    let left = app.left().filter(|_| matches!(shown, Ok(Ok(()))));
    let code = if left.is_some() { None } else { app.take_own().map(|mut own| see_off(&mut own, &ward, &told)) };
    watching.close();
    // After a panic nothing more is asked of what has failed.
    let words = match (&shown, code) {
        (Err(_), code) => code.map(|code| format!("the run was stopped and has ended with exit code {code}")),
        (Ok(_), _) => {
            app.read_to_end();
            app.last_words()
        }
    };
    match (left, shown) {
        (Some(left), _) => Ok((Outcome::Left(left), words)),
        // The hook has told it, below the restored screen.
        (None, Err(_)) => Ok((Outcome::Failed, words)),
        (None, Ok(Err(error))) if told.level() == 0 => Err(error),
        (None, Ok(_)) => Ok((Outcome::Told(code), words)),
    }
}

/// Waits until a run of ours has reached its end, after asking it to. Further signals are passed on by the thread that receives them.
fn see_off(own: &mut Own, ward: &Ward, told: &Told) -> i32 {
    if told.level() == 0 {
        let _ = ward.stop(StopLevel::Graceful, "the terminal UI, which has failed");
    }
    let mut unasked = Instant::now();
    loop {
        if let Some(code) = own.exit() {
            return code;
        }
        // A run that is still starting could not be reached when the signal came.
        if unasked.elapsed() > Duration::from_secs(1) {
            unasked = Instant::now();
            if told.level() > 0 && !told.reached.load(Ordering::Relaxed) {
                told.reached.store(ward.stop(StopLevel::Now, "the closed terminal"), Ordering::Relaxed);
            }
        }
        std::thread::park_timeout(Duration::from_millis(30));
    }
}

/// What signals say.
#[derive(Clone, Default)]
struct Told {
    /// How often it was told to end.
    ends: Arc<AtomicUsize>,
    suspend: Arc<AtomicBool>,
    resumed: Arc<AtomicBool>,
    resized: Arc<AtomicBool>,
    reached: Arc<AtomicBool>,
}

/// The thread that receives signals.
struct Watching(signal_hook::iterator::Handle);

impl Watching {
    fn close(&self) {
        self.0.close();
    }
}

impl Told {
    fn level(&self) -> usize {
        self.ends.load(Ordering::SeqCst)
    }

    /// Begins to receive them. The thread passes a stop on by itself: whoever draws may be waiting for a terminal.
    fn watch(&self, ward: Ward) -> io::Result<Watching> {
        use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH])?;
        let handle = signals.handle();
        let told = self.clone();
        std::thread::Builder::new().name("tui-signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let by = match signal {
                    SIGTSTP => {
                        told.suspend.store(true, Ordering::SeqCst);
                        continue;
                    }
                    SIGCONT => {
                        told.resumed.store(true, Ordering::SeqCst);
                        continue;
                    }
                    SIGWINCH => {
                        told.resized.store(true, Ordering::SeqCst);
                        continue;
                    }
                    SIGHUP => "SIGHUP",
                    SIGTERM => "SIGTERM",
                    _ => "SIGINT",
                };
                let level = match (told.ends.fetch_add(1, Ordering::SeqCst), signal) {
                    (0, SIGINT) => StopLevel::Graceful,
                    (0, _) => StopLevel::Now,
                    _ => StopLevel::Forced,
                };
                if ward.stop(level, by) {
                    told.reached.store(true, Ordering::SeqCst);
                }
            }
        })?;
        Ok(Watching(handle))
    }
}

/// Draws and takes keys until it is left, told to end, or the terminal is gone.
fn show(app: &mut App, terminal: &Terminal, told: &Told, panic_key: Option<Key>) -> io::Result<()> {
    let input = Input::open()?;
    let mut frames = Frames::new(CrosstermBackend::new(terminal.outbox()))?;
    let mut drawn: Option<Instant> = None;
    let mut dirty = true;
    let mut clear = true;
    let mut happened = Instant::now();
    loop {
        if app.left().is_some() || told.level() > 0 {
            return Ok(());
        }
        if !terminal.is_up() {
            // A panic somewhere else has restored it: that is a defect, and no more is drawn.
            return Err(io::Error::other("a part of the terminal UI has failed"));
        }
        if told.suspend.swap(false, Ordering::SeqCst) || std::mem::take(&mut app.wishes.suspend) {
            if !suspend(terminal)? {
                app.say("There is no shell to go to.");
            }
            clear = true;
        }
        if told.resumed.swap(false, Ordering::SeqCst) {
            // Stopped and continued from outside: whoever had the terminal meanwhile may have changed everything.
            terminal.release();
            terminal.retake()?;
            clear = true;
        }
        clear |= std::mem::take(&mut app.wishes.redraw);
        if let Some(text) = app.wishes.copy.take() {
            copy(&mut terminal.outbox(), &text)?;
        }
        let until_frame = drawn.map_or(Duration::ZERO, |drawn| FRAME.saturating_sub(drawn.elapsed()));
        let wait = match (dirty || clear, app.is_behind()) {
            (_, true) => Duration::ZERO,
            // The rest of a frame that the terminal did not take at once.
            _ if !terminal.outbox().is_empty() => FULL,
            (true, false) => until_frame.min(IDLE),
            (false, false) if happened.elapsed() > WHILE => QUIET,
            (false, false) => IDLE,
        };
        let typed = take_input(&input, app, wait, panic_key)?;
        let changed = app.tick(Instant::now());
        if typed || changed {
            happened = Instant::now();
        }
        dirty |= typed | changed | told.resized.swap(false, Ordering::SeqCst) | app.clock();
        let due = drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME);
        if (dirty || clear) && due && terminal.outbox().is_empty() {
            if std::mem::take(&mut clear) {
                let size = frames.size()?;
                frames.resize(Rect::new(0, 0, size.width, size.height))?;
            }
            frames.draw(|frame| app.draw(frame.buffer_mut()))?;
            drawn = Some(Instant::now());
            dirty = false;
        }
        terminal.pump()?;
    }
}

/// Takes the keys that there are, waiting up to `wait` for the first; true if there were any.
fn take_input(input: &Input, app: &mut App, wait: Duration, panic_key: Option<Key>) -> io::Result<bool> {
    let mut any = false;
    let mut wait = wait;
    for _ in 0..KEYS {
        let Some(event) = input.next(wait)? else { break };
        wait = Duration::ZERO;
        any = true;
        match event {
            Event::Key(event) => {
                if let Some(key) = Key::of(&event) {
                    assert!(panic_key != Some(key), "asked to panic");
                    app.key(key);
                }
            }
            Event::Paste(text) => app.paste(&text),
            Event::Mouse(event) => match event.kind {
                MouseEventKind::ScrollDown => app.wheel(true),
                MouseEventKind::ScrollUp => app.wheel(false),
                _ => {}
            },
            Event::Resize(..) | Event::FocusGained | Event::FocusLost => {}
        }
        if app.left().is_some() {
            break;
        }
    }
    Ok(any)
}

/// Gives the terminal to the shell until it continues us; false where there is no shell that could.
fn suspend(terminal: &Terminal) -> io::Result<bool> {
    if getsid(Some(getppid())).ok() != getsid(None).ok() {
        return Ok(false);
    }
    terminal.release();
    raise(Signal::SIGSTOP)?;
    terminal.retake()?;
    Ok(true)
}

/// Puts a text into the clipboard of the terminal, which works through ssh and tmux where it is allowed.
fn copy(outbox: &mut Outbox, text: &str) -> io::Result<()> {
    use io::Write as _;
    write!(outbox, "\x1b]52;c;{}\x07", base64(text.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let number = piece.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - piece.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[(number >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= piece.len() { digit } else { '=' });
        }
    }
    text
}

/// A screen as text: after a run was read and these keys were pressed.
#[must_use]
pub fn picture(host: Arc<dyn Host>, opening: Opening, keys: &[Key], abilities: Abilities, width: u16, height: u16) -> String {
    // Longer than reading anything takes; what is not there then is not in the picture.
    const PATIENCE: Duration = Duration::from_mins(1);
    let start = Instant::now();
    let mut app = App::new(host, Keymap::default(), abilities, opening, start);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let mut settle = |app: &mut App| {
        while (app.is_behind() || app.is_busy()) && start.elapsed() < PATIENCE {
            app.tick(start);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        app.tick(start);
        // A screen learns its size, and with it its pages, by being drawn.
        buffer.reset();
        app.draw(&mut buffer);
    };
    settle(&mut app);
    for key in keys {
        app.key(*key);
        settle(&mut app);
    }
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(width)) {
        let mut line = String::new();
        let mut skip = 0;
        for cell in row {
            // The column behind a wide character is part of it.
            if skip == 0 {
                line.push_str(cell.symbol());
                skip = crate::view::sanitise::columns(cell.symbol()).saturating_sub(1);
            } else {
                skip -= 1;
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
