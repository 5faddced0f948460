//! The attribute protocol's server: Core Specification, volume 3, part F.

use super::peripheral::{Attribute, Peripheral};

/// Fits in one packet of the controller with its headers.
pub(super) const MTU: u16 = 247;

mod op {
    pub(super) const ERROR: u8 = 0x01;
    pub(super) const MTU: u8 = 0x02;
    pub(super) const FIND_INFORMATION: u8 = 0x04;
    pub(super) const FIND_BY_VALUE: u8 = 0x06;
    pub(super) const READ_BY_TYPE: u8 = 0x08;
    pub(super) const READ: u8 = 0x0A;
    pub(super) const READ_BLOB: u8 = 0x0C;
    pub(super) const READ_BY_GROUP: u8 = 0x10;
    pub(super) const WRITE: u8 = 0x12;
    pub(super) const WRITE_COMMAND: u8 = 0x52;
    pub(super) const NOTIFICATION: u8 = 0x1B;
}

mod code {
    pub(super) const INVALID_HANDLE: u8 = 0x01;
    pub(super) const WRITE_NOT_PERMITTED: u8 = 0x03;
    pub(super) const INVALID_REQUEST: u8 = 0x04;
    pub(super) const NOT_SUPPORTED: u8 = 0x06;
    pub(super) const INVALID_OFFSET: u8 = 0x07;
    pub(super) const NOT_FOUND: u8 = 0x0A;
}

/// What a request led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reaction {
    /// The answer, if the request wants one.
    pub(super) answer: Option<Vec<u8>>,
    /// A write that was carried out: handle and value.
    pub(super) written: Option<(u16, Vec<u8>)>,
}

fn word(data: &[u8], at: usize) -> Result<u16, u8> {
    data.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes).ok_or(code::INVALID_REQUEST)
}

/// Handles one request. `refuse` is an error code that reads and writes of values get instead of their result.
pub(super) fn handle(peripheral: &mut Peripheral, request: &[u8], refuse: Option<u8>) -> Reaction {
    let Some((&opcode, data)) = request.split_first() else { return Reaction::default() };
    let refused = refuse.filter(|_| [op::READ, op::READ_BLOB, op::WRITE].contains(&opcode));
    let result = refused.map_or_else(|| answer(peripheral, opcode, data), Err);
    match result {
        Ok(reaction) => reaction,
        // Bit 6 marks commands, and confirmations want nothing either.
        Err(_) if opcode & 0x40 != 0 || opcode == 0x1E => Reaction::default(),
        Err(code) => {
            let [low, high] = word(data, 0).unwrap_or(0).to_le_bytes();
            Reaction { answer: Some(vec![op::ERROR, opcode, low, high, code]), written: None }
        }
    }
}

/// A notification of a value.
pub(super) fn notification(handle: u16, value: &[u8]) -> Vec<u8> {
    [&[op::NOTIFICATION], &handle.to_le_bytes()[..], value].concat()
}

fn answer(peripheral: &mut Peripheral, opcode: u8, data: &[u8]) -> Result<Reaction, u8> {
    let table = &peripheral.table;
    let bytes = match opcode {
        op::MTU => MTU.to_le_bytes().to_vec(),
        op::FIND_INFORMATION => find_information(table, data)?,
        op::FIND_BY_VALUE => {
            let rows = range(table, data)?
                .filter(|(_, row)| row.kind.0 == data[4..6.min(data.len())] && Some(&row.value[..]) == data.get(6..));
            let found = rows.flat_map(|(handle, row)| [handle, row.group_end.unwrap_or(handle)]).flat_map(u16::to_le_bytes);
            some(found.collect())?
        }
        op::READ_BY_TYPE | op::READ_BY_GROUP => list(table, opcode == op::READ_BY_GROUP, data)?,
        op::READ => cut(&allowed(row(table, data)?)?.value),
        op::READ_BLOB => {
            let offset = usize::from(word(data, 2)?);
            cut(allowed(row(table, data)?)?.value.get(offset..).ok_or(code::INVALID_OFFSET)?)
        }
        op::WRITE | op::WRITE_COMMAND => {
            let handle = word(data, 0)?;
            if !allowed(row(table, data)?)?.writable {
                return Err(code::WRITE_NOT_PERMITTED);
            }
            let value = data[2..].to_vec();
            peripheral.table[usize::from(handle) - 1].value.clone_from(&value);
            let answer = (opcode == op::WRITE).then(|| vec![op::WRITE + 1]);
            return Ok(Reaction { answer, written: Some((handle, value)) });
        }
        _ => return Err(code::NOT_SUPPORTED),
    };
    Ok(Reaction { answer: Some([vec![opcode + 1], bytes].concat()), written: None })
}

fn row<'a>(table: &'a [Attribute], data: &[u8]) -> Result<&'a Attribute, u8> {
    let handle = usize::from(word(data, 0)?);
    handle.checked_sub(1).and_then(|at| table.get(at)).ok_or(code::INVALID_HANDLE)
}

fn allowed(row: &Attribute) -> Result<&Attribute, u8> {
    row.guard.map_or(Ok(row), Err)
}

/// Rows between the two handles that a request begins with.
fn range<'a>(table: &'a [Attribute], data: &[u8]) -> Result<impl Iterator<Item = (u16, &'a Attribute)>, u8> {
    let (start, end) = (word(data, 0)?, word(data, 2)?);
    if start == 0 || start > end {
        return Err(code::INVALID_HANDLE);
    }
    Ok((1..).zip(table).filter(move |(handle, _)| (start..=end).contains(handle)))
}

fn find_information(table: &[Attribute], data: &[u8]) -> Result<Vec<u8>, u8> {
    let mut rows = range(table, data)?.peekable();
    let length = rows.peek().ok_or(code::NOT_FOUND)?.1.kind.0.len();
    let format = if length == 2 { 1 } else { 2 };
    // One answer has UUIDs of one length only.
    let same = rows.take_while(|(_, row)| row.kind.0.len() == length).take(room(length + 2));
    Ok([vec![format], same.flat_map(|(handle, row)| [&handle.to_le_bytes()[..], &row.kind.0].concat()).collect()].concat())
}

/// Rows of a type with their values, or, for groups, with their ends as well.
fn list(table: &[Attribute], groups: bool, data: &[u8]) -> Result<Vec<u8>, u8> {
    let kind = data.get(4..).ok_or(code::INVALID_REQUEST)?;
    let mut rows = range(table, data)?.filter(|(_, row)| row.kind.0 == kind).peekable();
    let value = rows.peek().ok_or(code::NOT_FOUND)?.1.value.len();
    let length = value + if groups { 4 } else { 2 };
    // One answer has values of one length only.
    let same = rows.take_while(|(_, row)| row.value.len() == value).take(room(length));
    let entries = same.flat_map(|(handle, row)| {
        let end = groups.then(|| row.group_end.unwrap_or(handle).to_le_bytes());
        [&handle.to_le_bytes()[..], end.as_ref().map_or(&[][..], |end| end), &row.value].concat()
    });
    Ok([vec![length as u8], entries.collect()].concat())
}

fn room(entry: usize) -> usize {
    (usize::from(MTU) - 2) / entry
}

fn cut(value: &[u8]) -> Vec<u8> {
    value[..value.len().min(usize::from(MTU) - 1)].to_vec()
}

fn some(found: Vec<u8>) -> Result<Vec<u8>, u8> {
    if found.is_empty() { Err(code::NOT_FOUND) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::{super::peripheral::*, *};

    fn device() -> Peripheral {
        Peripheral::new("x", 1).service(Uuid::long(0xA0), vec![Characteristic::new(Uuid::long(0xA1), b"value")])
    }

    fn ask(device: &mut Peripheral, request: &[u8]) -> Vec<u8> {
        handle(device, request, None).answer.unwrap()
    }

    #[test]
    fn services_are_found_one_length_at_a_time() {
        let mut device = device();
        assert_eq!(ask(&mut device, &[0x10, 1, 0, 0xFF, 0xFF, 0x00, 0x28]), [0x11, 6, 1, 0, 4, 0, 0x00, 0x18]);
        let second = ask(&mut device, &[0x10, 5, 0, 0xFF, 0xFF, 0x00, 0x28]);
        assert_eq!(second[..7], [0x11, 20, 5, 0, 8, 0, 0xA0]);
        assert_eq!(ask(&mut device, &[0x10, 9, 0, 0xFF, 0xFF, 0x00, 0x28]), [1, 0x10, 9, 0, code::NOT_FOUND]);
    }

    #[test]
    fn values_are_read_written_and_refused() {
        let mut device = device();
        let value = device.handle(&Uuid::long(0xA1)).unwrap() as u8;
        assert_eq!(ask(&mut device, &[0x0A, value, 0]), [&[0x0B], &b"value"[..]].concat());
        let reaction = handle(&mut device, &[0x12, value, 0, 7], None);
        assert_eq!(reaction, Reaction { answer: Some(vec![0x13]), written: Some((u16::from(value), vec![7])) });
        assert_eq!(ask(&mut device, &[0x0A, value, 0]), [0x0B, 7]);
        assert_eq!(handle(&mut device, &[0x0A, value, 0], Some(5)).answer.unwrap(), [1, 0x0A, value, 0, 5]);
        assert_eq!(ask(&mut device, &[0x0A, 99, 0]), [1, 0x0A, 99, 0, code::INVALID_HANDLE]);
        assert_eq!(ask(&mut device, &[0x12, 1, 0, 7])[4], code::WRITE_NOT_PERMITTED);
    }

    #[test]
    fn guarded_values_are_refused_and_so_are_subscriptions() {
        let guarded = Characteristic::new(Uuid::long(0xA1), b"secret").guarded(5);
        let mut device = Peripheral::new("x", 1).service(Uuid::long(0xA0), vec![guarded]);
        let value = device.handle(&Uuid::long(0xA1)).unwrap() as u8;
        for request in [vec![0x0A, value, 0], vec![0x0C, value, 0, 0, 0], vec![0x12, value, 0, 7], vec![0x12, value + 1, 0, 1, 0]]
        {
            assert_eq!(ask(&mut device, &request), [1, request[0], request[1], 0, 5]);
        }
        assert_eq!(device.table[usize::from(value) - 1].value, b"secret");
    }

    #[test]
    fn cut_requests_are_errors_and_commands_are_silent() {
        let mut device = device();
        for opcode in [0x04, 0x06, 0x08, 0x0A, 0x0C, 0x10, 0x12] {
            assert_eq!(ask(&mut device, &[opcode, 1])[0], op::ERROR, "{opcode:x}");
            assert_eq!(ask(&mut device, &[opcode])[0], op::ERROR, "{opcode:x}");
        }
        assert_eq!(ask(&mut device, &[0x06, 1, 0, 9, 0])[0], op::ERROR);
        assert_eq!(handle(&mut device, &[0x52, 99, 0, 1], None), Reaction::default());
        assert_eq!(handle(&mut device, &[], None), Reaction::default());
    }
}
