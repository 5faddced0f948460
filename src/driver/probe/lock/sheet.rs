//! The working sheet of a verdict: looks things up in a transcript and keeps what it saw, so that no verdict is without its values.

use super::{
    LockState, Value,
    transcript::{Answer, Port, Transcript, is_mem_ap, mem_ap},
};

/// What a transcript says about one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was read.
    Value(u32),
    /// The read was refused.
    Refused,
    /// Not asked, or neither read nor refused.
    Nothing,
}

impl Seen {
    /// What was read, if it was.
    pub(super) fn value(self) -> Option<u32> {
        match self {
            Self::Value(value) => Some(value),
            Self::Refused | Self::Nothing => None,
        }
    }

    /// Read, and not the zero that some chips show instead of refusing.
    pub(super) fn shows_content(self) -> bool {
        matches!(self, Self::Value(value) if value != 0)
    }
}

impl From<Option<Answer>> for Seen {
    fn from(answer: Option<Answer>) -> Self {
        match answer {
            Some(Answer::Ok(value)) => Self::Value(value),
            Some(Answer::Fault) => Self::Refused,
            Some(Answer::NoAck | Answer::Wait | Answer::Garbled) | None => Self::Nothing,
        }
    }
}

/// Nothing is known; `why` says what stands against a verdict.
pub(super) fn undetermined(why: impl Into<String>) -> LockState {
    LockState::Undetermined { why: why.into() }
}

/// A lock is programmed, and memory could be read all the same.
pub(super) fn not_in_effect(what: &str) -> LockState {
    undetermined(format!("{what}, but memory can still be read: it takes effect with the next reset, or this is another chip"))
}

/// See the [module](self).
pub(super) struct Sheet<'a> {
    pub(super) transcript: &'a Transcript,
    pub(super) values: Vec<Value>,
    pub(super) findings: Vec<String>,
    /// Set when this verdict is less certain than the rule it was made by.
    pub(super) doubtful: bool,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(transcript: &'a Transcript) -> Self {
        Self { transcript, values: Vec::new(), findings: Vec::new(), doubtful: false }
    }

    pub(super) fn finding(&mut self, text: impl Into<String>) {
        self.findings.push(text.into());
    }

    /// The last read of a register.
    pub(super) fn register(&mut self, port: Port, register: u16, name: &str) -> Seen {
        let seen = self.transcript.reads(port, register).last().into();
        self.keep(name, format!("{port} {register:#04x}"), seen);
        seen
    }

    /// All reads of a register that gave a value.
    pub(super) fn every(&self, port: Port, register: u16) -> Vec<u32> {
        self.transcript.reads(port, register).filter_map(|answer| Seen::from(Some(answer)).value()).collect()
    }

    /// Identification of an access port.
    pub(super) fn identification(&mut self, port: Port) -> Seen {
        self.register(port, port.at(mem_ap::IDR), "IDR")
    }

    /// Whether a port is the one of a vendor that it should be; says what it is instead.
    pub(super) fn vendor_port(&mut self, port: Port, mask: u32, wanted: u32, what: &str) -> Result<(), LockState> {
        match self.identification(port) {
            Seen::Value(value) if value & mask == wanted => Ok(()),
            Seen::Value(value) => Err(undetermined(format!("{port} is not {what}: it says {value:#010x}"))),
            Seen::Refused | Seen::Nothing => {
                Err(undetermined(format!("{port}, which should be {what}, did not identify itself")))
            }
        }
    }

    /// Control word of a memory access port; says why there is none.
    pub(super) fn control(&mut self, port: Port) -> Result<u32, LockState> {
        match self.identification(port) {
            Seen::Value(0) => Err(undetermined(format!("there is no access port {port}"))),
            Seen::Value(value) if is_mem_ap(value) => match self.register(port, port.at(mem_ap::CSW), "CSW") {
                Seen::Value(csw) => Ok(csw),
                Seen::Refused | Seen::Nothing => Err(undetermined(format!("the control word of {port} could not be read"))),
            },
            Seen::Value(value) => Err(undetermined(format!("{port} is not a memory access port but says {value:#010x}"))),
            Seen::Refused | Seen::Nothing => Err(undetermined(format!("{port} did not identify itself"))),
        }
    }

    /// A word of memory.
    pub(super) fn word(&mut self, port: Port, address: u32, name: &str) -> Seen {
        self.word_as(port, None, address, name)
    }

    /// A word of memory as read with one control word.
    pub(super) fn word_as(&mut self, port: Port, csw: Option<u32>, address: u32, name: &str) -> Seen {
        let seen = self.transcript.memory(port, csw, address).into();
        self.keep(name, format!("{address:#010x} by {port}"), seen);
        if seen == Seen::Refused {
            self.finding(format!("reading {name} at {address:#010x} was refused"));
        }
        seen
    }

    fn keep(&mut self, name: &str, place: String, seen: Seen) {
        if let Seen::Value(value) = seen {
            self.values.push(Value { name: name.to_owned(), place, value });
        }
    }
}
