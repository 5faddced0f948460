//! Answers typed on the terminal of `hilbench run` itself.
//!
//! A thread looks whether a line was typed, a few times per second, and only while something is asked: a run never waits for a terminal, and
//! its end never waits for this thread.

use std::{
    io::{IsTerminal as _, stdin},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{getpgrp, read, tcgetpgrp},
};

use super::complain;
use crate::run::desk::Desk;

/// How often it is looked whether something is asked.
const LOOK: Duration = Duration::from_millis(200);
/// Longest line.
const LONGEST: usize = 4096;

/// Ends the thread when dropped; does not wait for it.
pub(super) struct Typed(Arc<AtomicBool>);

impl Drop for Typed {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes answers from the terminal, if standard input is one.
pub(super) fn listen(desk: Desk) -> Option<Typed> {
    if !stdin().is_terminal() {
        return None;
    }
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    std::thread::Builder::new().name("terminal".to_owned()).spawn(move || lines(&desk, &ended)).ok()?;
    Some(Typed(over))
}

fn lines(desk: &Desk, over: &AtomicBool) {
    let stdin = stdin();
    let (mut line, mut piece) = (Vec::new(), [0; 256]);
    while !over.load(Ordering::Relaxed) {
        // Reading a terminal from the background would stop the whole process, with the bench as it is.
        let ours = tcgetpgrp(stdin.as_fd()).is_ok_and(|foreground| foreground == getpgrp());
        if desk.open().is_empty() || !ours {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to do")]
            std::thread::sleep(LOOK);
            continue;
        }
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        if !poll(&mut ready, timeout).is_ok_and(|count| count > 0) {
            continue;
        }
        match read(stdin.as_fd(), &mut piece) {
            Ok(count) if count > 0 => line.extend_from_slice(&piece[..count]),
            // End of input, or the terminal is gone: other ways to answer remain.
            _ => return,
        }
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(end + 1);
            let typed = String::from_utf8_lossy(&std::mem::replace(&mut line, rest)).trim().to_owned();
            if let Err(why) = take(desk, &typed) {
                complain(&format!("  answer  {}", crate::view::sanitise::line(&why, 200)));
            }
        }
        if line.len() > LONGEST {
            line.clear();
        }
    }
}

/// `ANSWER` while one prompt is open, `NUMBER ANSWER` otherwise.
fn take(desk: &Desk, typed: &str) -> Result<(), String> {
    if typed.is_empty() {
        return Ok(());
    }
    let by = super::answer::user();
    let open = desk.open();
    let numbered = typed.split_once(char::is_whitespace).and_then(|(number, answer)| Some((number.parse::<u32>().ok()?, answer)));
    match (open.as_slice(), numbered) {
        (_, Some((number, answer))) if open.iter().any(|(known, _)| *known == number) => desk.answer(number, answer, &by),
        ([(number, _)], _) => desk.answer(*number, typed, &by),
        ([], _) => Err("nothing is asked".to_owned()),
        _ => Err("several prompts are open: type the number of one, then the answer".to_owned()),
    }
}
