//! The wire behind an emulated serial port: what the firmware of a device would see of its UART.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::model::{Answer, Waker};

/// Bytes kept for a host that does not read; more are lost, as on a wire.
const TO_HOST: usize = 1 << 20;
/// Bytes kept for a device that does not read; then the host has to wait.
const TO_DEVICE: usize = 64 << 10;

/// Modem lines and speed, as the host has set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    /// Data terminal ready.
    pub dtr: bool,
    /// Request to send.
    pub rts: bool,
    /// Baud rate, if the protocol carries it as such.
    pub baud: u32,
}

/// The device's end of the wire. Clones are the same end.
#[derive(Clone, Default)]
pub struct Peer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    to_host: VecDeque<u8>,
    to_device: VecDeque<u8>,
    lines: Lines,
    /// While the plug is in.
    waker: Option<Waker>,
}

impl Peer {
    /// Sends bytes to the host. Gives how many were taken: none without a host, and not more than fit.
    #[must_use]
    pub fn send(&self, bytes: &[u8]) -> usize {
        let mut state = self.lock();
        let Some(waker) = state.waker.clone() else { return 0 };
        let taken = bytes.len().min(TO_HOST - state.to_host.len());
        state.to_host.extend(&bytes[..taken]);
        drop(state);
        waker.wake();
        taken
    }

    /// Takes what the host has sent; waits for the first byte at most `time`.
    #[must_use]
    pub fn receive(&self, time: Duration) -> Vec<u8> {
        let state = self.wait(time, |state| !state.to_device.is_empty());
        Self::take(state, usize::MAX)
    }

    /// Takes what the host has sent up to and including `end`. `None`, and nothing taken, if that does not come in time.
    #[must_use]
    pub fn receive_until(&self, end: &[u8], time: Duration) -> Option<Vec<u8>> {
        let find = |state: &mut State| state.to_device.make_contiguous().windows(end.len()).position(|part| part == end);
        let mut state = self.wait(time, |state| find(state).is_some());
        let at = find(&mut state)?;
        Some(Self::take(state, at + end.len()))
    }

    /// Modem lines and speed.
    #[must_use]
    pub fn lines(&self) -> Lines {
        self.lock().lines
    }

    /// Waits until the lines are as wanted. `false` if they are not in time.
    #[must_use]
    pub fn wait_lines(&self, time: Duration, wanted: impl Fn(Lines) -> bool) -> bool {
        wanted(self.wait(time, |state| wanted(state.lines)).lines)
    }

    pub(super) fn plugged(&self, waker: Waker) {
        *self.lock() = State { waker: Some(waker), ..State::default() };
        self.0.changed.notify_all();
    }

    pub(super) fn unplugged(&self) {
        // What had arrived before stays readable.
        let mut state = self.lock();
        state.waker = None;
        state.to_host.clear();
        state.lines = Lines::default();
        drop(state);
        self.0.changed.notify_all();
    }

    pub(super) fn set_lines(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.lock().lines);
        self.0.changed.notify_all();
    }

    /// Bytes of the host.
    pub(super) fn output(&self, bytes: &[u8]) -> Answer {
        let mut state = self.lock();
        if state.to_device.len() >= TO_DEVICE {
            return Answer::Wait;
        }
        state.to_device.extend(bytes);
        drop(state);
        self.0.changed.notify_all();
        Answer::ACK
    }

    /// At most `most` bytes for the host.
    pub(super) fn input(&self, most: usize) -> Vec<u8> {
        let mut state = self.lock();
        let count = most.min(state.to_host.len());
        state.to_host.drain(..count).collect()
    }

    fn take(mut state: MutexGuard<'_, State>, most: usize) -> Vec<u8> {
        let count = most.min(state.to_device.len());
        let bytes = state.to_device.drain(..count).collect();
        let waker = state.waker.clone();
        drop(state);
        // There is room again.
        if let Some(waker) = waker {
            waker.wake();
        }
        bytes
    }

    fn wait(&self, time: Duration, mut condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while !condition(&mut state) {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_host_that_writes_too_much_has_to_wait() {
        let peer = Peer::default();
        let (sender, events) = mpsc::channel();
        peer.plugged(Waker(sender));
        assert_eq!(peer.output(&vec![1; TO_DEVICE]), Answer::ACK);
        assert_eq!(peer.output(b"x"), Answer::Wait);
        assert_eq!(peer.receive(Duration::ZERO).len(), TO_DEVICE);
        assert!(events.try_recv().is_ok());
        assert_eq!(peer.output(b"x"), Answer::ACK);
    }

    #[test]
    fn text_up_to_a_mark_leaves_the_rest() {
        let peer = Peer::default();
        assert_eq!(peer.output(b"one\ntwo"), Answer::ACK);
        assert_eq!(peer.receive_until(b"\n", Duration::ZERO).unwrap(), b"one\n");
        assert_eq!(peer.receive_until(b"\n", Duration::ZERO), None);
        assert_eq!(peer.receive(Duration::ZERO), b"two");
    }

    #[test]
    fn without_a_host_nothing_is_kept() {
        assert_eq!(Peer::default().send(b"lost"), 0);
    }
}
