//! Transcripts as text: one line per transaction, for evidence and for test fixtures.
//!
//! ```text
//! supply 3300 mV
//! dp r 0x00 = 0x2ba01477
//! dp w 0x04 0x50000000 = ok
//! ap0 w 0x04 0x10001208 = ok
//! ap0 r 0x0c = fault
//! ap@0x2000 r 0xdfc = 0x34770008
//! ```
//!
//! The reader also takes comments after `#`, a trailing `x32` for so many equal lines, and `mem ap0 0x10001208 = 0xffffffff` for the two
//! transactions that read a word of memory.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::transcript::{Access, Answer, Exchange, Port, Supply, Transaction, Transcript, mem_ap};

/// Most repetitions that one line may stand for.
const MAX_REPEATS: usize = 1000;

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dp => f.write_str("dp"),
            Self::Ap(number) => write!(f, "ap{number}"),
            Self::ApAt(base) => write!(f, "ap@{base:#x}"),
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.access {
            Access::Read => write!(f, "{} r {:#04x}", self.port, self.address),
            Access::Write(value) => write!(f, "{} w {:#04x} {value:#010x}", self.port, self.address),
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.transaction)?;
        match (self.answer, self.transaction.access) {
            (Answer::Ok(_), Access::Write(_)) => f.write_str("ok"),
            (Answer::Ok(value), Access::Read) => write!(f, "{value:#010x}"),
            (Answer::Fault, _) => f.write_str("fault"),
            (Answer::NoAck, _) => f.write_str("no-ack"),
            (Answer::Wait, _) => f.write_str("wait"),
            (Answer::Garbled, _) => f.write_str("garbled"),
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.supply {
            Supply::Unknown => writeln!(f, "supply unknown")?,
            Supply::Millivolts(level) => writeln!(f, "supply {level} mV")?,
        }
        self.exchanges.iter().try_for_each(|exchange| writeln!(f, "{exchange}"))
    }
}

/// A line that is none of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the transcript: {what}")]
pub struct TextError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is not a number of 32 bits"))
}

fn port(text: &str) -> Result<Port, String> {
    let unknown = || format!("{text:?} is not a port: dp, ap0 or ap@0x2000");
    if text == "dp" {
        return Ok(Port::Dp);
    }
    let rest = text.strip_prefix("ap").ok_or_else(unknown)?;
    match rest.strip_prefix('@') {
        Some(base) => number(base).map(Port::ApAt),
        None => rest.parse().map(Port::Ap).map_err(|_| unknown()),
    }
}

fn answer(text: &str, access: Access) -> Result<Answer, String> {
    match (text, access) {
        ("fault", _) => Ok(Answer::Fault),
        ("no-ack", _) => Ok(Answer::NoAck),
        ("wait", _) => Ok(Answer::Wait),
        ("garbled", _) => Ok(Answer::Garbled),
        ("ok", Access::Write(value)) => Ok(Answer::Ok(value)),
        (value, Access::Read) => number(value).map(Answer::Ok),
        (other, Access::Write(_)) => Err(format!("{other:?} is not what a write can be answered with")),
    }
}

fn exchange(port: Port, address: &str, access: Access, answered: &str) -> Result<Exchange, String> {
    let address = u16::try_from(number(address)?).map_err(|_| format!("{address:?} is not a register"))?;
    Ok(Exchange { transaction: Transaction { port, address, access }, answer: answer(answered, access)? })
}

fn line(words: &[&str], into: &mut Transcript) -> Result<(), String> {
    let (words, repeats) = match words.split_last() {
        Some((last, rest)) if last.starts_with('x') => {
            (rest, last[1..].parse().ok().filter(|count| (1..=MAX_REPEATS).contains(count)).ok_or("x needs a count")?)
        }
        _ => (words, 1),
    };
    let read: Vec<Exchange> = match *words {
        ["supply", "unknown"] => {
            into.supply = Supply::Unknown;
            return Ok(());
        }
        ["supply", level, "mV"] => {
            into.supply = Supply::Millivolts(number(level)?);
            return Ok(());
        }
        ["mem", at, address, "=", answered] => {
            let port = port(at)?;
            let target = number(address)?;
            let written =
                Exchange { transaction: Transaction::write(port, port.at(mem_ap::TAR), target), answer: Answer::Ok(target) };
            let transaction = Transaction::read(port, port.at(mem_ap::DRW));
            vec![written, Exchange { transaction, answer: answer(answered, Access::Read)? }]
        }
        [at, "r", address, "=", answered] => vec![exchange(port(at)?, address, Access::Read, answered)?],
        [at, "w", address, value, "=", answered] => {
            vec![exchange(port(at)?, address, Access::Write(number(value)?), answered)?]
        }
        _ => return Err(format!("{:?} is not a transaction: `ap0 r 0xfc = 0x24770011`", words.join(" "))),
    };
    into.exchanges.extend(read.iter().cycle().take(read.len() * repeats));
    Ok(())
}

impl FromStr for Transcript {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut transcript = Self::default();
        for (index, whole) in text.lines().enumerate() {
            let code = whole.split('#').next().unwrap_or_default();
            let words: Vec<&str> = code.split_whitespace().collect();
            if !words.is_empty() {
                line(&words, &mut transcript).map_err(|what| TextError { line: index + 1, what })?;
            }
        }
        Ok(transcript)
    }
}
