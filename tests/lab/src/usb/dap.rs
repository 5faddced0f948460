//! A CMSIS-DAP v2 debug probe: two bulk endpoints, a command in each transfer. Arm's CMSIS-DAP documentation, version 2.1 ("DAP_Info" and
//! following); libraries find it by the text "CMSIS-DAP" in the interface's name.

mod nrf51;
mod processor;
mod swd;
mod target;
mod transfer;

pub use nrf51::{Nrf51, Nrf51Port};
pub use processor::Processor;
pub use swd::{Ack, Swd};
pub use target::SimpleTarget;

use std::collections::VecDeque;

use super::{
    description::{Description, Direction, Endpoint, Interface, Speed},
    model::{Answer, Model, Setup, Waker},
};

/// Size of a packet, as the probe tells it in `DAP_Info`.
pub(crate) const PACKET: u16 = 512;
/// Packets that the probe keeps.
pub(crate) const PACKETS: u8 = 4;

type Handler = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// The probe: commands go through a handler, such as [`Processor`].
pub struct CmsisDap {
    description: Description,
    handler: Handler,
    answers: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
}

impl CmsisDap {
    /// A probe with a serial number. The handler runs in the device's thread and gives one answer to each command.
    #[must_use]
    pub fn new(serial: &str, handler: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        let interface = Interface {
            class: [0xFF, 0, 0],
            name: Some("CMSIS-DAP v2".to_owned()),
            // The order is part of the interface: commands, then answers.
            endpoints: vec![Endpoint::bulk(1, Direction::Out, PACKET), Endpoint::bulk(2, Direction::In, PACKET)],
            ..Interface::default()
        };
        let description = Description::new(Speed::High, 0x1209, 0x0002, "lab CMSIS-DAP").serial(serial).interface(interface);
        Self { description, handler: Box::new(handler), answers: VecDeque::new(), waker: None }
    }

    /// A probe with [`Processor`] in front of a debug port.
    #[must_use]
    pub fn with_target(serial: &str, target: impl Swd + 'static) -> Self {
        let mut processor = Processor::new(serial, target);
        Self::new(serial, move |command| processor.handle(command))
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

impl Model for CmsisDap {
    fn description(&self) -> &Description {
        &self.description
    }

    fn plugged(&mut self, waker: Waker) {
        self.answers.clear();
        self.waker = Some(waker);
    }

    fn control(&mut self, _setup: &Setup, _data: &[u8]) -> Answer {
        Answer::Stall
    }

    fn output(&mut self, _endpoint: u8, data: &[u8]) -> Answer {
        if self.answers.len() >= usize::from(PACKETS) {
            return Answer::Wait;
        }
        self.answers.push_back((self.handler)(data));
        self.wake();
        Answer::ACK
    }

    fn input(&mut self, _endpoint: u8, _space: usize) -> Answer {
        let Some(answer) = self.answers.pop_front() else { return Answer::Wait };
        self.wake();
        Answer::Done(answer)
    }
}
