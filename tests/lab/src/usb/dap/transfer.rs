//! `DAP_Transfer` and `DAP_TransferBlock`: sequences of register accesses with the posted reads of access ports hidden from the host.

use super::swd::{Ack, Swd};

/// `ACK` of a sequence that went well.
const OK: u8 = 1;
const MISMATCH: u8 = 0x10;
/// The debug port's register with the last result of an access port.
const READ_BUFFER: u8 = 0xC;

/// Bits of a transfer request.
mod request {
    pub(super) const AP: u8 = 1;
    pub(super) const READ: u8 = 1 << 1;
    pub(super) const ADDRESS: u8 = 0xC;
    pub(super) const MATCH_VALUE: u8 = 1 << 4;
    pub(super) const MATCH_MASK: u8 = 1 << 5;
}

/// What `DAP_TransferConfigure` sets, and the mask of a match, which lives across commands.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) wait_retries: u16,
    pub(super) match_retries: u16,
    match_mask: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { wait_retries: 100, match_retries: 0, match_mask: 0 }
    }
}

/// Reads a little-endian word off the front.
fn word(data: &mut &[u8]) -> Option<u32> {
    let (first, rest) = data.split_first_chunk()?;
    *data = rest;
    Some(u32::from_le_bytes(*first))
}

/// One sequence on the wires.
struct Sequence<'a> {
    swd: &'a mut dyn Swd,
    settings: &'a mut Settings,
    /// An access port read has been started whose result was not taken yet.
    posted: bool,
    result: Vec<u8>,
}

impl Sequence<'_> {
    fn retry<T>(&mut self, mut transfer: impl FnMut(&mut dyn Swd) -> Result<T, Ack>) -> Result<T, u8> {
        let mut left = self.settings.wait_retries;
        loop {
            match transfer(self.swd) {
                Err(Ack::Wait) if left > 0 => left -= 1,
                result => return result.map_err(Ack::code),
            }
        }
    }

    fn read(&mut self, ap: bool, address: u8) -> Result<u32, u8> {
        self.retry(|swd| swd.read(ap, address))
    }

    /// Takes the result of a read that was started.
    fn collect(&mut self) -> Result<(), u8> {
        if self.posted {
            self.posted = false;
            let value = self.read(false, READ_BUFFER)?;
            self.result.extend(value.to_le_bytes());
        }
        Ok(())
    }

    /// Reads a register for the host: its value is in the result now, or with the next access.
    fn read_register(&mut self, ap: bool, address: u8) -> Result<(), u8> {
        if !ap {
            self.collect()?;
        }
        let value = self.read(ap, address)?;
        if !ap || self.posted {
            self.result.extend(value.to_le_bytes());
        }
        self.posted = ap;
        Ok(())
    }

    fn write_register(&mut self, ap: bool, address: u8, value: u32) -> Result<(), u8> {
        self.collect()?;
        self.retry(|swd| swd.write(ap, address, value))
    }

    /// Reads until the value is as wanted.
    fn match_register(&mut self, ap: bool, address: u8, wanted: u32) -> Result<(), u8> {
        self.collect()?;
        if ap {
            self.read(ap, address)?;
        }
        for _ in 0..=self.settings.match_retries {
            if self.read(ap, address)? & self.settings.match_mask == wanted {
                return Ok(());
            }
        }
        Err(OK | MISMATCH)
    }

    fn one(&mut self, request: u8, data: &mut &[u8]) -> Result<(), u8> {
        let (ap, address) = (request & request::AP != 0, request & request::ADDRESS);
        // A host that sends less than it announces gets what a silent line gives.
        let mut next = || word(data).ok_or(Ack::Silent.code());
        if request & request::READ != 0 {
            if request & request::MATCH_VALUE != 0 {
                let wanted = next()?;
                return self.match_register(ap, address, wanted);
            }
            return self.read_register(ap, address);
        }
        let value = next()?;
        if request & request::MATCH_MASK != 0 {
            self.settings.match_mask = value;
            return Ok(());
        }
        self.write_register(ap, address, value)
    }

    /// What has to follow the last access: its result, or the sign that a buffered write went through.
    fn end(&mut self, wrote: bool) -> Result<(), u8> {
        if self.posted {
            return self.collect();
        }
        if wrote { self.read(false, READ_BUFFER).map(drop) } else { Ok(()) }
    }
}

/// `DAP_Transfer`, without its first byte.
pub(super) fn transfer(swd: &mut dyn Swd, settings: &mut Settings, data: &[u8]) -> Vec<u8> {
    let [_, count, rest @ ..] = data else { return vec![0, Ack::Silent.code()] };
    let mut rest = rest;
    let mut sequence = Sequence { swd, settings, posted: false, result: Vec::new() };
    let (mut done, mut ack, mut wrote) = (0, OK, false);
    for _ in 0..*count {
        let Some((request, behind)) = rest.split_first() else { break };
        rest = behind;
        wrote = request & (request::READ | request::MATCH_MASK) == 0;
        if let Err(code) = sequence.one(*request, &mut rest) {
            ack = code;
            break;
        }
        done += 1;
    }
    if ack == OK {
        ack = sequence.end(wrote).err().unwrap_or(OK);
    }
    [vec![done, ack], sequence.result].concat()
}

/// `DAP_TransferBlock`, without its first byte.
pub(super) fn transfer_block(swd: &mut dyn Swd, settings: &mut Settings, data: &[u8]) -> Vec<u8> {
    let [_, low, high, request, rest @ ..] = data else { return vec![0, 0, Ack::Silent.code()] };
    let mut rest = rest;
    let mut sequence = Sequence { swd, settings, posted: false, result: Vec::new() };
    let (mut done, mut ack) = (0_u16, OK);
    let request = request & (request::AP | request::READ | request::ADDRESS);
    let reads = request & request::READ != 0;
    for _ in 0..u16::from_le_bytes([*low, *high]) {
        if let Err(code) = sequence.one(request, &mut rest) {
            ack = code;
            break;
        }
        done += 1;
    }
    if ack == OK {
        ack = sequence.end(!reads).err().unwrap_or(OK);
    }
    // A read counts once its value is there, not when it was posted.
    if reads {
        done = (sequence.result.len() / 4) as u16;
    }
    [done.to_le_bytes().to_vec(), vec![ack], sequence.result].concat()
}
