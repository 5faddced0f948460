//! A device whose interfaces the test declares: for comparing descriptors, and for libraries that talk to devices without a driver.

use std::collections::{BTreeMap, VecDeque};

use super::{
    description::Description,
    model::{Answer, Model, Setup, Waker},
};

/// Messages that an endpoint keeps.
const KEPT: usize = 64;

/// What comes in on endpoint `n` goes out on endpoint `n` again, one transfer for one.
pub struct Loopback {
    description: Description,
    kept: BTreeMap<u8, VecDeque<Vec<u8>>>,
    echoes: bool,
    waker: Option<Waker>,
}

impl Loopback {
    /// A device that is described so.
    #[must_use]
    pub fn new(description: Description) -> Self {
        Self { description, kept: BTreeMap::new(), echoes: true, waker: None }
    }

    /// Refuses every vendor request, as a product does that declares none.
    #[must_use]
    pub fn without_requests(self) -> Self {
        Self { echoes: false, ..self }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

impl Model for Loopback {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, waker: Waker) {
        self.waker = Some(waker);
        self.kept.clear();
    }

    /// Vendor requests to the host give back their own setup, so that a test can see what arrived.
    fn control(&mut self, setup: &Setup, _data: &[u8]) -> Answer {
        if !self.echoes || setup.kind & 0x60 != 0x40 {
            return Answer::Stall;
        }
        if setup.kind & 0x80 == 0 {
            return Answer::ACK;
        }
        let words = [setup.value.to_le_bytes(), setup.index.to_le_bytes(), setup.length.to_le_bytes()];
        let mut bytes = [&[setup.kind, setup.request], words.as_flattened()].concat();
        bytes.truncate(usize::from(setup.length));
        Answer::Done(bytes)
    }

    fn output(&mut self, endpoint: u8, data: &[u8]) -> Answer {
        let kept = self.kept.entry(endpoint & 0xF).or_default();
        if kept.len() >= KEPT {
            return Answer::Wait;
        }
        kept.push_back(data.to_vec());
        self.wake();
        Answer::ACK
    }

    fn input(&mut self, endpoint: u8, _space: usize) -> Answer {
        let Some(message) = self.kept.get_mut(&(endpoint & 0xF)).and_then(VecDeque::pop_front) else { return Answer::Wait };
        self.wake();
        Answer::Done(message)
    }
}
