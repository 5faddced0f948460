//! The thread of a plugged device: it owns the model, takes the host's requests and the bench's commands in one queue, and answers.

use std::{
    collections::{BTreeSet, VecDeque},
    io::Write,
    os::unix::net::UnixStream,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use super::{
    fault::{Fault, Faults},
    model::{Answer, Model, Waker},
    queue::LateAnswers,
    standard::{Effect, Selection},
    usbip::{self, Request, Submit, status},
};

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Event {
    /// By the host.
    Request(Request),
    /// By the model's surroundings.
    Wake,
    /// By the bench.
    Fault(Fault),
    /// By the bench: good again.
    Heal,
    /// The host has closed the connection.
    Closed,
}

/// A running device.
pub(super) struct Engine {
    commands: mpsc::Sender<Event>,
    worker: thread::JoinHandle<Box<dyn Model>>,
}

impl Engine {
    /// Starts the thread of `model` at one end of the connection whose other end the kernel has.
    pub(super) fn start(model: Box<dyn Model>, stream: UnixStream) -> std::io::Result<Self> {
        let (commands, events) = mpsc::channel();
        let mut reading = stream.try_clone()?;
        let requests = commands.clone();
        thread::spawn(move || {
            while let Ok(request) = usbip::read(&mut reading) {
                if requests.send(Event::Request(request)).is_err() {
                    return;
                }
            }
            drop(requests.send(Event::Closed));
        });
        let waker = Waker(commands.clone());
        let worker = thread::spawn(move || {
            let mut device = Device::new(model, stream);
            device.model.plugged(waker);
            device.run(&events);
            device.model.unplugged();
            device.model
        });
        Ok(Self { commands, worker })
    }

    pub(super) fn tell(&self, event: Event) {
        // A device that has ended is gone already.
        drop(self.commands.send(event));
    }

    /// Waits until the thread has ended, which it does when the connection is closed, and gives the model back. `None` if it panicked.
    pub(super) fn finish(self) -> Option<Box<dyn Model>> {
        self.worker.join().ok()
    }
}

struct Device {
    model: Box<dyn Model>,
    stream: UnixStream,
    selection: Selection,
    faults: Faults,
    /// Transfers without an answer yet, oldest first.
    waiting: VecDeque<Submit>,
    late: LateAnswers,
}

impl Device {
    fn new(model: Box<dyn Model>, stream: UnixStream) -> Self {
        let (selection, faults, late) = (Selection::default(), Faults::default(), LateAnswers::default());
        Self { model, stream, selection, faults, waiting: VecDeque::new(), late }
    }

    fn run(&mut self, events: &mpsc::Receiver<Event>) {
        loop {
            let event = match self.late.wait() {
                Some(time) => events.recv_timeout(time),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            match event {
                Ok(Event::Request(Request::Submit(submit))) => {
                    self.waiting.push_back(submit);
                    self.offer();
                }
                Ok(Event::Request(Request::Unlink { number, wanted })) => self.unlink(number, wanted),
                Ok(Event::Wake) => self.offer(),
                Ok(Event::Fault(fault)) => self.faults.add(fault),
                Ok(Event::Heal) => {
                    self.faults = Faults::default();
                    self.offer();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(bytes) = self.late.pop_due() {
                self.write(&bytes);
            }
        }
    }

    /// Offers waiting transfers to the model. The transfers of an endpoint stay in order: behind one that waits, all wait.
    fn offer(&mut self) {
        let mut blocked = BTreeSet::new();
        let mut still = VecDeque::new();
        while let Some(submit) = self.waiting.pop_front() {
            // Both directions of control transfers are one endpoint.
            let endpoint = if submit.endpoint & 0xF == 0 { 0 } else { submit.endpoint };
            if blocked.contains(&endpoint) || self.faults.hangs(endpoint) || !self.answer(&submit) {
                blocked.insert(endpoint);
                still.push_back(submit);
            }
        }
        self.waiting = still;
    }

    /// `false` if the transfer has to wait.
    fn answer(&mut self, submit: &Submit) -> bool {
        let answer = if submit.isochronous || self.faults.stalls(submit.endpoint) { Answer::Stall } else { self.ask(submit) };
        match answer {
            Answer::Wait => return false,
            Answer::Stall => self.reply(submit.number, usbip::submit_reply(submit.number, status::STALL, 0, &[])),
            Answer::Done(_) if !submit.inward() => {
                self.reply(submit.number, usbip::submit_reply(submit.number, status::OK, submit.data.len(), &[]));
            }
            Answer::Done(mut data) => {
                self.faults.shorten(submit.endpoint, &mut data);
                let status = if data.len() > submit.space { status::BABBLE } else { status::OK };
                data.truncate(submit.space);
                self.reply(submit.number, usbip::submit_reply(submit.number, status, data.len(), &data));
            }
        }
        true
    }

    fn ask(&mut self, submit: &Submit) -> Answer {
        let setup = &submit.setup;
        if submit.endpoint & 0xF != 0 {
            return if submit.inward() {
                self.model.input(submit.endpoint, submit.space)
            } else {
                self.model.output(submit.endpoint, &submit.data)
            };
        }
        if setup.kind & 0x60 != 0 {
            return self.model.control(setup, &submit.data);
        }
        let (answer, effect) = self.selection.answer(self.model.description(), setup);
        if let Effect::Cleared(endpoint) = effect {
            self.faults.clear_halt(endpoint);
        }
        answer
    }

    /// The host takes a transfer back. That is between the host and its controller: a device that hangs has no part in it.
    fn unlink(&mut self, number: u32, wanted: u32) {
        let before = self.waiting.len();
        self.waiting.retain(|submit| submit.number != wanted);
        let taken_back = self.waiting.len() < before || self.late.remove(wanted);
        self.write(&usbip::unlink_reply(number, if taken_back { status::UNLINKED } else { status::OK }));
        // What waited behind it may go on.
        self.offer();
    }

    fn reply(&mut self, number: u32, bytes: Vec<u8>) {
        match self.faults.delay() {
            None if self.late.is_empty() => self.write(&bytes),
            delay => self.late.push(delay.unwrap_or(Duration::ZERO), number, bytes),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        // When the host is gone, the reading thread says so.
        drop(self.stream.write_all(bytes));
    }
}

#[cfg(test)]
mod tests;
