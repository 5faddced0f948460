//! Messages between the controller and the worker process: a head of twelve bytes (name of the protocol, length of the text, length of the
//! bytes, both little-endian), the text (JSON), the bytes. Both lengths are bounded, so neither side can make the other one grow.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    failure::Failure,
    operations::Instrument,
    order::{Done, Operation},
};

/// Name of the protocol, and its version.
const NAME: [u8; 4] = *b"hbp1";
/// Longest text: the transcript of a lock reading has some hundred exchanges of about a hundred characters.
const TEXT: usize = 1 << 20;
/// Most bytes: what the largest chips have as flash, and more than a read may have.
const BYTES: usize = 64 << 20;
/// Bytes of a head.
pub(super) const HEAD: usize = 12;

/// What the worker is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) instrument: Instrument,
    pub(super) operation: Operation,
}

/// What it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) result: Result<Done, Failure>,
}

/// Lengths of text and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) text: usize,
    pub(super) bytes: usize,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Head and text of a message; the bytes follow.
pub(super) fn encode(message: &impl Serialize, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    if text.len() > TEXT || bytes.len() > BYTES {
        return Err(invalid(format!("a message of {} and {} bytes is too long", text.len(), bytes.len())));
    }
    let mut out = NAME.to_vec();
    out.extend((text.len() as u32).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(text);
    Ok(out)
}

/// What follows a head.
pub(super) fn lengths(head: &[u8; HEAD]) -> io::Result<Lengths> {
    let [a, b, c, d, t0, t1, t2, t3, b0, b1, b2, b3] = *head;
    if [a, b, c, d] != NAME {
        return Err(invalid(format!("{:?} is not the head of a message", String::from_utf8_lossy(head))));
    }
    let (text, bytes) = (u32::from_le_bytes([t0, t1, t2, t3]) as usize, u32::from_le_bytes([b0, b1, b2, b3]) as usize);
    if text > TEXT || bytes > BYTES {
        return Err(invalid(format!("a message of {text} and {bytes} bytes is too long")));
    }
    Ok(Lengths { text, bytes })
}

/// The message in a text.
pub(super) fn decode<T: DeserializeOwned>(text: &[u8]) -> io::Result<T> {
    serde_json::from_slice(text).map_err(|error| invalid(format!("a message that is not understood: {error}")))
}

/// Reads a message; `None` at the end of the input.
pub(super) fn receive<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut head = [0; HEAD];
    let mut have = 0;
    while have < HEAD {
        match input.read(&mut head[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let lengths = lengths(&head)?;
    let mut body = vec![0; lengths.text + lengths.bytes];
    input.read_exact(&mut body)?;
    let bytes = body.split_off(lengths.text);
    Ok(Some((decode(&body)?, bytes)))
}

/// Writes a message.
pub(super) fn send(output: &mut impl Write, message: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&encode(message, bytes)?)?;
    output.write_all(bytes)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::driver::probe::failure::Cause;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let answer = Answer { id: 7, result: Err(Failure::new(Cause::Refused, "no\n")) };
        let mut wire = Vec::new();
        send(&mut wire, &answer, b"bytes").unwrap();
        send(&mut wire, &Answer { id: 8, result: Ok(Done::Seen("x".into())) }, b"").unwrap();
        let mut wire = wire.as_slice();
        let (first, bytes) = receive::<Answer>(&mut wire).unwrap().unwrap();
        assert_eq!((first.id, bytes.as_slice()), (7, &b"bytes"[..]));
        assert!(matches!(first.result, Err(Failure { cause: Cause::Refused, text }) if text == "no\n"));
        let (second, _) = receive::<Answer>(&mut wire).unwrap().unwrap();
        assert_eq!(second.result.unwrap(), Done::Seen("x".into()));
        assert!(receive::<Answer>(&mut wire).unwrap().is_none(), "the end between messages is no error");
    }

    #[test]
    fn a_message_that_is_cut_or_too_long_is_an_error() {
        let mut wire = Vec::new();
        send(&mut wire, &Answer { id: 7, result: Ok(Done::Checked) }, b"bytes").unwrap();
        for len in 1..wire.len() {
            assert!(receive::<Answer>(&mut &wire[..len]).is_err(), "{len}");
        }
        for at in [7, 11] {
            let mut wrong = wire.clone();
            wrong[at] = 0x7F;
            assert!(receive::<Answer>(&mut wrong.as_slice()).unwrap_err().to_string().contains("too long"));
        }
    }

    proptest! {
        #[test]
        fn rubbish_is_an_error(bytes in vec(any::<u8>(), 1..200)) {
            prop_assert!(receive::<Answer>(&mut bytes.as_slice()).is_err());
            let named = [&NAME[..], &bytes].concat();
            prop_assert!(receive::<Answer>(&mut named.as_slice()).is_err());
        }
    }
}
