//! Standard requests: USB 2.0 specification, chapter 9.4. `SET_ADDRESS` never comes here: the virtual host controller keeps it.

use std::collections::BTreeMap;

use super::{
    description::Description,
    model::{Answer, Setup},
};

const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const SET_FEATURE: u8 = 3;
const GET_DESCRIPTOR: u8 = 6;
const GET_CONFIGURATION: u8 = 8;
const SET_CONFIGURATION: u8 = 9;
const GET_INTERFACE: u8 = 10;
const SET_INTERFACE: u8 = 11;

/// Recipient "endpoint" of a request.
const TO_ENDPOINT: u8 = 2;

/// What the host has chosen.
#[derive(Debug, Default)]
pub(super) struct Selection {
    configuration: u8,
    alternates: BTreeMap<u8, u8>,
}

/// What a request means beside its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    /// The halt of this endpoint is cleared.
    Cleared(u8),
}

impl Selection {
    /// Answers a standard request.
    pub(super) fn answer(&mut self, description: &Description, setup: &Setup) -> (Answer, Effect) {
        let interface = setup.index as u8;
        let answer = match setup.request {
            GET_STATUS => Answer::Done(vec![0, 0]),
            CLEAR_FEATURE if setup.kind & 0x1F == TO_ENDPOINT => return (Answer::ACK, Effect::Cleared(setup.index as u8)),
            CLEAR_FEATURE | SET_FEATURE => Answer::ACK,
            GET_DESCRIPTOR => match descriptor(description, setup.value) {
                Some(mut bytes) => {
                    bytes.truncate(usize::from(setup.length));
                    Answer::Done(bytes)
                }
                None => Answer::Stall,
            },
            GET_CONFIGURATION => Answer::Done(vec![self.configuration]),
            SET_CONFIGURATION => {
                self.configuration = setup.value as u8;
                self.alternates.clear();
                Answer::ACK
            }
            GET_INTERFACE => Answer::Done(vec![self.alternates.get(&interface).copied().unwrap_or(0)]),
            SET_INTERFACE => {
                let alternate = setup.value as u8;
                let exists = description.interfaces.iter().any(|found| found.number == interface && found.alternate == alternate);
                if exists {
                    self.alternates.insert(interface, alternate);
                    Answer::ACK
                } else {
                    Answer::Stall
                }
            }
            _ => Answer::Stall,
        };
        (answer, Effect::None)
    }
}

fn descriptor(description: &Description, value: u16) -> Option<Vec<u8>> {
    match value.to_be_bytes() {
        [1, 0] => Some(description.device_bytes()),
        [2, 0] => Some(description.configuration_bytes()),
        [3, number] => description.string_bytes(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::description::*, *};

    #[test]
    fn only_declared_settings_can_be_chosen() {
        let alternate = Interface { alternate: 1, ..Interface::default() };
        let device = Description::new(Speed::Full, 1, 2, "x").interface(Interface::default()).interface(alternate);
        let mut selection = Selection::default();
        let set = |value| Setup { kind: 1, request: SET_INTERFACE, value, ..Setup::default() };
        let get = Setup { kind: 0x81, request: GET_INTERFACE, length: 1, ..Setup::default() };
        assert_eq!(selection.answer(&device, &set(1)).0, Answer::ACK);
        assert_eq!(selection.answer(&device, &set(2)).0, Answer::Stall);
        assert_eq!(selection.answer(&device, &get).0, Answer::Done(vec![1]));
    }

    #[test]
    fn a_descriptor_is_cut_to_what_was_asked_for() {
        let device = Description::new(Speed::Full, 1, 2, "x");
        let get = Setup { kind: 0x80, request: GET_DESCRIPTOR, value: 0x100, length: 8, ..Setup::default() };
        assert!(matches!(Selection::default().answer(&device, &get).0, Answer::Done(bytes) if bytes.len() == 8));
        // A full-speed device has no qualifier.
        let qualifier = Setup { value: 0x600, ..get };
        assert_eq!(Selection::default().answer(&device, &qualifier).0, Answer::Stall);
    }
}
