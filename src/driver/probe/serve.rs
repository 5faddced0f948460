//! The worker process: does operations for a controller that must survive them.
//!
//! It ends when its input does, which is when the controller is gone. An operation that is at work then has a short time to finish, so that a
//! device is not left in the middle of a write without need; nobody can wait for more, because the probe has to be free for the next run.

use std::{
    io::{self, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use super::{
    failure::{Cause, Failure},
    frame::{self, Answer, Question},
    operations::Held,
    order::{Order, Reply},
};

/// Time for the operation at work once nobody waits for it any more.
const FAREWELL: Duration = Duration::from_secs(2);

/// Does the operations that are asked for on `input`, until it ends.
///
/// # Errors
/// What was asked is not understood, or the answers cannot be written.
pub fn serve(input: &mut impl Read, output: impl Write + Send + 'static) -> io::Result<()> {
    let (questions, asked) = channel();
    let (finished, ended) = channel::<()>();
    thread::Builder::new().name("probe".to_owned()).spawn(move || {
        // Never used: that it is dropped is the sign.
        let _finished = finished;
        work(&asked, output);
    })?;
    let result = loop {
        match frame::receive::<Question>(input) {
            Ok(Some(question)) => {
                if questions.send(question).is_err() {
                    // The other end of the answers is gone.
                    break Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(questions);
    // Whether it finished in time makes no difference: the end of the process ends the thread.
    let _ = ended.recv_timeout(FAREWELL);
    result
}

fn work(asked: &Receiver<(Question, Vec<u8>)>, mut output: impl Write) {
    let mut held = Held::default();
    for (Question { id, instrument, operation }, bytes) in asked {
        let (result, bytes) = match guarded(|| Order { operation, bytes }.perform(&instrument, &mut held)) {
            Ok((done, bytes)) => (Ok(done), bytes),
            Err(failure) => (Err(failure), Vec::new()),
        };
        if frame::send(&mut output, &Answer { id, result }, &bytes).is_err() {
            return;
        }
    }
}

/// Some drivers of probe-rs panic on wires that misbehave.
pub(super) fn guarded(operation: impl FnOnce() -> Reply) -> Reply {
    catch_unwind(AssertUnwindSafe(operation)).unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let why = why.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Failure::new(Cause::Driver, format!("the probe driver panicked: {why}")))
    })
}
