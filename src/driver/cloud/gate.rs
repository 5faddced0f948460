//! Streams that obey the behaviour of the service: held while it is silent, late while it is slow, reset when it is told to.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep},
};

use crate::channel::cloud::{Behaviour, CloudLog, EventKind, PAUSE};

/// A stream to a device, whatever is around it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Held = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether a frozen service holds everything.
pub(super) fn frozen(behaviour: &Behaviour) -> bool {
    *behaviour == Behaviour::Silent
}

/// Whether the service holds what comes after TLS.
pub(super) fn mute(behaviour: &Behaviour) -> bool {
    matches!(behaviour, Behaviour::Silent | Behaviour::SilentAfterTls)
}

/// Waits until the behaviour is no longer one that holds.
pub(super) async fn released(mut behaviour: watch::Receiver<Behaviour>, holds: fn(&Behaviour) -> bool) {
    let _ = behaviour.wait_for(|now| !holds(now)).await;
}

/// A socket that is closed with RST if it was told to be reset.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream that nothing passes, in either direction, while the service's behaviour holds it. Not even its end.
pub(super) struct Gate<S> {
    inner: S,
    behaviour: watch::Receiver<Behaviour>,
    holds: fn(&Behaviour) -> bool,
    read: Option<Held>,
    write: Option<Held>,
    late: Option<Pin<Box<Sleep>>>,
    paid: bool,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, behaviour: watch::Receiver<Behaviour>, holds: fn(&Behaviour) -> bool) -> Self {
        Self { inner, behaviour, holds, read: None, write: None, late: None, paid: false }
    }

    fn open(
        behaviour: &watch::Receiver<Behaviour>,
        holds: fn(&Behaviour) -> bool,
        held: &mut Option<Held>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if let Some(waiting) = held {
                ready!(waiting.as_mut().poll(cx));
                *held = None;
            }
            // The controller that held it is gone: its streams go too, so there is nobody to hold for.
            if behaviour.has_changed().is_err() || !holds(&behaviour.borrow()) {
                return Poll::Ready(());
            }
            *held = Some(Box::pin(released(behaviour.clone(), holds)));
        }
    }

    fn writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Self::open(&self.behaviour, self.holds, &mut self.write, cx));
        let slow = match *self.behaviour.borrow() {
            Behaviour::Slow(by) => Some(by),
            _ => None,
        };
        if let (Some(by), false) = (slow, self.paid) {
            let late = self.late.get_or_insert_with(|| Box::pin(tokio::time::sleep(by)));
            ready!(late.as_mut().poll(cx));
            self.late = None;
            self.paid = true;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Self::open(&this.behaviour, this.holds, &mut this.read, cx));
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.writable(cx));
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        self.paid = false;
        Poll::Ready(written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Self::open(&this.behaviour, this.holds, &mut this.write, cx));
        Pin::new(&mut this.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Self::open(&this.behaviour, this.holds, &mut this.write, cx));
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// A stream of application data that records its first bytes, those after a pause, and the alert that ends it.
pub(super) struct Watched<S> {
    inner: S,
    log: Arc<CloudLog>,
    connection: u64,
    /// What is said of the first bytes; `None` once it was said.
    first: Option<String>,
    /// When the last bytes came.
    last: Instant,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, log: Arc<CloudLog>, connection: u64, first: String) -> Self {
        Self { inner, log, connection, first: Some(first), last: Instant::now() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        let count = buf.filled().len() - before;
        if count > 0 {
            let silence = std::mem::replace(&mut self.last, Instant::now()).elapsed();
            self.log.hear();
            // What the bytes are may be secret, and how many are read at once means nothing.
            if let Some(first) = self.first.take() {
                self.log.record(self.connection, EventKind::Data, &first);
            } else if silence >= PAUSE {
                let text = format!("after {:.1} s without any", silence.as_secs_f64());
                self.log.record(self.connection, EventKind::Data, &text);
            }
        }
        if let Err(error) = &done
            && let Some(alert) = super::tls::alert(error)
        {
            self.log.record(self.connection, EventKind::TlsAlert, &alert);
        }
        Poll::Ready(done)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
