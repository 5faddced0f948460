//! Signals become stop requests.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::event::{Request, StopLevel};

/// Forwards SIGINT, SIGTERM and SIGHUP to the engine until the run ends. The first SIGINT asks to stop after the running step, the second
/// to stop at once, the third to leave; SIGTERM and SIGHUP ask to stop at once, the second of them to leave.
///
/// # Errors
/// The handlers cannot be installed.
pub(super) fn forward(requests: mpsc::Sender<Request>) -> std::io::Result<()> {
    let interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(serve(interrupt, terminate, hangup, requests));
    Ok(())
}

async fn serve(mut interrupt: Signal, mut terminate: Signal, mut hangup: Signal, requests: mpsc::Sender<Request>) {
    let mut level = None;
    loop {
        let (by, at_least) = tokio::select! {
            Some(()) = interrupt.recv() => ("SIGINT", StopLevel::Graceful),
            Some(()) = terminate.recv() => ("SIGTERM", StopLevel::Now),
            Some(()) = hangup.recv() => ("SIGHUP", StopLevel::Now),
            () = requests.closed() => return,
        };
        let next = next_level(level, at_least);
        level = Some(next);
        if requests.send(Request::Stop { level: next, by: by.to_owned() }).await.is_err() {
            return;
        }
    }
}

/// Each signal raises the level by one, to at least what it stands for.
fn next_level(level: Option<StopLevel>, at_least: StopLevel) -> StopLevel {
    let raised = match level {
        None => StopLevel::Graceful,
        Some(StopLevel::Graceful) => StopLevel::Now,
        Some(StopLevel::Now | StopLevel::Forced) => StopLevel::Forced,
    };
    raised.max(at_least)
}

#[cfg(test)]
mod tests {
    use super::{StopLevel, next_level};

    #[test]
    fn each_signal_is_more_urgent_than_the_last() {
        use StopLevel::{Forced, Graceful, Now};
        assert_eq!(next_level(None, Graceful), Graceful);
        assert_eq!(next_level(Some(Graceful), Graceful), Now);
        assert_eq!(next_level(Some(Now), Graceful), Forced);
        assert_eq!(next_level(None, Now), Now);
        assert_eq!(next_level(Some(Now), Now), Forced);
        assert_eq!(next_level(Some(Graceful), Now), Now);
    }
}
