//! The tasks that own the stream.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{line::LineControl, link::ByteLink},
    Frame, Line, PIECE, Returns, Sent, Shared,
};

/// How often a console that is away is looked for, and how often once it should have been back.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_LATE: Duration = Duration::from_millis(250);
/// What a reader may still find in the buffers when writing has failed.
const DRAIN: Duration = Duration::from_millis(100);
/// How often the port's count of lost bytes is asked for.
const COUNT: Duration = Duration::from_millis(200);

type Stream = Box<dyn ByteLink>;

/// Ends the console even if its task is dropped with the runtime.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end("the console is closed", false);
        self.0.finished.cancel();
    }
}

/// What waits to be sent.
struct Outbox {
    queue: mpsc::Receiver<Frame>,
    /// Taken from the queue, nothing of it has gone out.
    next: Option<Frame>,
    /// Offset of the next byte in the stream of sent bytes.
    offset: u64,
}

/// Keeps the console from the beginning to the end, over all absences of its instrument.
pub(super) async fn keep(shared: Arc<Shared>, mut link: Option<Stream>, queue: mpsc::Receiver<Frame>) {
    let ends = Ends(Arc::clone(&shared));
    let mut outbox = Outbox { queue, next: None, offset: 0 };
    loop {
        if let Some(stream) = link.take() {
            session(&shared, stream, &mut outbox).await;
        }
        let Some(returns) = &shared.returns else { break };
        let Some((mut stream, identity)) = search(&shared, returns, &mut outbox).await else { break };
        shared.take_line(stream.as_mut());
        shared.back(&identity);
        link = Some(stream);
    }
    outbox.queue.close();
    let left = outbox.next.take().into_iter().chain(std::iter::from_fn(|| outbox.queue.try_recv().ok()));
    let why = shared.lock().lost.clone().unwrap_or_else(|| "the console is closed".to_owned());
    for frame in left.collect::<Vec<_>>() {
        // Nobody may be waiting any more; then nobody wants to know.
        let _ = frame.done.send(Err(shared.send_error(0, frame.bytes.len(), &why)));
    }
    drop(ends);
}

/// Reads and writes until the instrument is gone or the console is closed, and lets go of it.
async fn session(shared: &Arc<Shared>, stream: Stream, outbox: &mut Outbox) {
    let over = shared.finished.child_token();
    let line = shared.line.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let counting = line.map(|line| tokio::spawn(watch(Arc::clone(shared), line, over.clone())));
    let (rx, mut tx) = tokio::io::split(stream);
    let mut reader = tokio::spawn(read(Arc::clone(shared), rx, over.clone()));
    let mut read_end = None;
    let why = {
        let writing = write(shared, &mut tx, outbox, &over);
        tokio::pin!(writing);
        tokio::select! {
            wrote = &mut writing => match wrote {
                Some(why) => {
                    if let Ok(end) = tokio::time::timeout(DRAIN, &mut reader).await {
                        read_end = Some(end);
                    }
                    Some(why)
                }
                None => {
                    shared.finished.cancel();
                    None
                }
            },
            end = &mut reader => {
                let why = end.as_ref().map_or_else(|error| Some(format!("the reader broke off: {error}")), |(_, why)| why.clone());
                read_end = Some(end);
                // For the frame that is under way.
                shared.set_missing(why.clone().unwrap_or_default());
                over.cancel();
                writing.await;
                why
            }
        }
    };
    over.cancel();
    let end = match read_end {
        Some(end) => end,
        None => reader.await,
    };
    if let Some(counting) = counting {
        let _ = counting.await;
    }
    match &why {
        Some(why) if shared.returns.is_some() => shared.away(why, true),
        Some(why) => shared.end(why, true),
        None => {}
    }
    let line = shared.line.lock().unwrap_or_else(PoisonError::into_inner).take();
    // The kernel may wait for a hung instrument here, and until this is done an instrument that comes back gets another number.
    let _ = tokio::task::spawn_blocking(move || drop((end, tx, line))).await;
}

/// Looks for the instrument until it is there. Nothing if the console is closed.
async fn search(shared: &Arc<Shared>, returns: &Returns, outbox: &mut Outbox) -> Option<(Stream, String)> {
    let mut late = false;
    loop {
        let now = shared.clock.now();
        late = late || overdue(shared, returns);
        expire(shared, returns, outbox);
        let pause = if late && shared.lock().lost.is_some() { LOOK_LATE } else { LOOK };
        let found = async {
            tokio::time::sleep(pause).await;
            (returns.reopen)().await
        };
        let found = tokio::select! {
            biased;
            () = shared.closing.cancelled() => return None,
            () = shared.finished.cancelled() => return None,
            found = found => found,
        };
        match found {
            Ok(found) => return Some(found),
            Err(error) => {
                tracing::trace!(channel = %shared.name, %error, ?now, "not back yet");
                shared.set_missing(error.what);
            }
        }
    }
}

/// Whether the console has been away for too long while its device had power. Then nobody waits for it any longer, though it is still
/// looked for.
fn overdue(shared: &Shared, returns: &Returns) -> bool {
    let now = shared.clock.now();
    let mut state = shared.lock();
    let Some(absence) = state.absences.current() else { return false };
    let powered = match (&returns.powered_by, absence.explained) {
        (Some(supply), true) => supply.up_for(now),
        _ => Some(now.since(absence.since)),
    };
    let away = now.since(absence.since);
    if powered.is_none_or(|powered| powered.min(away) < returns.within) {
        return false;
    }
    absence.explained = false;
    let within = crate::units::Span::from(returns.within);
    let why = format!("{}; it did not come back within {within}: {}", absence.why, shared.missing());
    state.lose(&why);
    true
}

/// Gives up frames that have waited long enough, and those that nobody waits for any more: the device must not get them later.
fn expire(shared: &Shared, returns: &Returns, outbox: &mut Outbox) {
    let now = shared.clock.now();
    loop {
        let Some(frame) = outbox.next.take().or_else(|| outbox.queue.try_recv().ok()) else { return };
        if frame.done.is_closed() {
            continue;
        }
        if now.since(frame.given) < returns.within {
            outbox.next = Some(frame);
            return;
        }
        let why = format!("the console did not come back within {}", crate::units::Span::from(returns.within));
        let _ = frame.done.send(Err(shared.send_error(0, frame.bytes.len(), &why)));
    }
}

/// Reads until the stream ends, and tells why it did; nothing if that was asked for.
async fn read(shared: Arc<Shared>, mut link: ReadHalf<Stream>, over: CancellationToken) -> (ReadHalf<Stream>, Option<String>) {
    let mut piece = vec![0; PIECE];
    let mut filled = 0;
    loop {
        let read = tokio::select! {
            biased;
            () = over.cancelled() => None,
            read = link.read(&mut piece[filled..]) => Some(read),
        };
        let end = match read {
            None => Some(None),
            Some(Ok(0)) => Some(Some("end of the stream: the other side has closed or the instrument was removed".to_owned())),
            Some(Ok(n)) => {
                filled += n;
                None
            }
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => None,
            Some(Err(error)) => Some(Some(format!("reading failed: {error}"))),
        };
        let counts = shared.counters.get();
        let more = counts.captured + (filled as u64) < counts.announced && filled < PIECE;
        if filled > 0 && (end.is_some() || !more) {
            let at = shared.clock.now();
            shared.tap.received(&shared.name, at, &piece[..filled]);
            shared.lock().received(at, &piece[..filled]);
            shared.counters.update(|counts| counts.captured += filled as u64);
            filled = 0;
        }
        if let Some(why) = end {
            return (link, why);
        }
        // A device that never pauses must not keep this thread to itself.
        tokio::task::consume_budget().await;
    }
}

/// Writes frame after frame. Returns why the instrument takes no more; nothing if it is to end.
async fn write(shared: &Shared, link: &mut WriteHalf<Stream>, outbox: &mut Outbox, over: &CancellationToken) -> Option<String> {
    loop {
        if shared.closing.is_cancelled() {
            return None;
        }
        let frame = match outbox.next.take() {
            Some(frame) => frame,
            None => tokio::select! {
                biased;
                () = shared.closing.cancelled() => return None,
                () = over.cancelled() => return None,
                frame = outbox.queue.recv() => frame?,
            },
        };
        match write_frame(shared, link, &frame.bytes, over).await {
            Ok(()) => {
                let len = frame.bytes.len() as u64;
                let sent = Sent { offset: outbox.offset, len, at: shared.clock.now() };
                outbox.offset += len;
                let _ = frame.done.send(Ok(sent));
            }
            // Nothing of it has gone out: the instrument was gone before. It can still go out when the instrument is back.
            Err((0, why)) if shared.returns.is_some() && !shared.finished.is_cancelled() => {
                outbox.next = Some(frame);
                return why;
            }
            Err((written, why)) => {
                outbox.offset += written as u64;
                let told = why.clone().unwrap_or_else(|| match shared.missing() {
                    why if why.is_empty() || shared.finished.is_cancelled() => "given up while closing".to_owned(),
                    why => why,
                });
                let _ = frame.done.send(Err(shared.send_error(written, frame.bytes.len(), &told)));
                return why;
            }
        }
    }
}

/// Writes one frame. On failure: how much of it had gone out, and why the instrument took no more, if it was the instrument.
async fn write_frame(
    shared: &Shared,
    link: &mut WriteHalf<Stream>,
    bytes: &[u8],
    over: &CancellationToken,
) -> Result<(), (usize, Option<String>)> {
    let mut written = 0;
    while written < bytes.len() {
        let result = tokio::select! {
            biased;
            () = over.cancelled() => return Err((written, None)),
            result = link.write(&bytes[written..]) => result,
        };
        let why = match result {
            Ok(0) => "the instrument takes no more bytes".to_owned(),
            Ok(n) => {
                shared.tap.sent(&shared.name, shared.clock.now(), &bytes[written..written + n]);
                written += n;
                shared.counters.update(|counts| counts.written += n as u64);
                continue;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => format!("writing failed: {error}"),
        };
        return Err((written, Some(why)));
    }
    Ok(())
}

/// Notes the lines as they are after opening, then watches the port's own count of lost bytes, if it has one.
async fn watch(shared: Arc<Shared>, line: Line, over: CancellationToken) {
    if let Ok(Ok(Some(lines))) = on_line(&line, |line| line.lines()).await {
        shared.tap.noted(&shared.name, shared.clock.now(), &lines.to_string());
    }
    let mut known: Option<u64> = None;
    while let Ok(Some(total)) = on_line(&line, |line| line.overruns()).await {
        if let Some(known) = known.filter(|known| total > *known) {
            shared.gap(Some(total - known));
        }
        known = Some(total);
        tokio::select! {
            biased;
            () = over.cancelled() => break,
            () = tokio::time::sleep(COUNT) => {}
        }
    }
}

/// The calls can block.
fn on_line<T: Send + 'static>(line: &Line, ask: impl FnOnce(&mut dyn LineControl) -> T + Send + 'static) -> JoinHandle<T> {
    let line = Arc::clone(line);
    tokio::task::spawn_blocking(move || ask(line.lock().unwrap_or_else(PoisonError::into_inner).as_mut()))
}
