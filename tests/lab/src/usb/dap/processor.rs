//! The commands of a probe that has serial wire debug and nothing else.

use super::{
    PACKET, PACKETS,
    swd::Swd,
    transfer::{self, Settings},
};

mod command {
    pub(super) const INFO: u8 = 0x00;
    pub(super) const HOST_STATUS: u8 = 0x01;
    pub(super) const CONNECT: u8 = 0x02;
    pub(super) const DISCONNECT: u8 = 0x03;
    pub(super) const TRANSFER_CONFIGURE: u8 = 0x04;
    pub(super) const TRANSFER: u8 = 0x05;
    pub(super) const TRANSFER_BLOCK: u8 = 0x06;
    pub(super) const TRANSFER_ABORT: u8 = 0x07;
    pub(super) const WRITE_ABORT: u8 = 0x08;
    pub(super) const DELAY: u8 = 0x09;
    pub(super) const RESET_TARGET: u8 = 0x0A;
    pub(super) const SWJ_PINS: u8 = 0x10;
    pub(super) const SWJ_CLOCK: u8 = 0x11;
    pub(super) const SWJ_SEQUENCE: u8 = 0x12;
    pub(super) const SWD_CONFIGURE: u8 = 0x13;
    pub(super) const SWD_SEQUENCE: u8 = 0x1D;
}

/// `DAP_OK`, and what an unknown command is answered with.
const OK: u8 = 0;
const INVALID: u8 = 0xFF;
/// Port of `DAP_Connect`: serial wire debug.
const SWD: u8 = 1;
/// Bit of the reset line in `DAP_SWJ_Pins`.
const RESET: u8 = 1 << 7;

/// Turns commands into accesses of a debug port.
pub struct Processor<S> {
    serial: String,
    swd: S,
    settings: Settings,
    /// Levels of the pins, as `DAP_SWJ_Pins` numbers them.
    pins: u8,
}

impl<S: Swd> Processor<S> {
    /// A probe's firmware in front of `swd`.
    pub fn new(serial: &str, swd: S) -> Self {
        Self { serial: serial.to_owned(), swd, settings: Settings::default(), pins: RESET }
    }

    /// The answer to one command.
    pub fn handle(&mut self, command: &[u8]) -> Vec<u8> {
        let Some((&name, data)) = command.split_first() else { return vec![INVALID] };
        let rest = match name {
            command::INFO => self.info(data.first().copied().unwrap_or(0)),
            command::CONNECT => vec![if matches!(data.first(), Some(0 | &SWD)) { SWD } else { 0 }],
            command::HOST_STATUS | command::DISCONNECT | command::TRANSFER_ABORT | command::DELAY => vec![OK],
            command::SWJ_CLOCK | command::SWD_CONFIGURE => vec![OK],
            // No reset sequence of the device is known.
            command::RESET_TARGET => vec![OK, 0],
            command::TRANSFER_CONFIGURE => self.configure(data),
            command::TRANSFER => transfer::transfer(&mut self.swd, &mut self.settings, data),
            command::TRANSFER_BLOCK => transfer::transfer_block(&mut self.swd, &mut self.settings, data),
            command::WRITE_ABORT => self.write_abort(data),
            command::SWJ_PINS => self.pins(data),
            command::SWJ_SEQUENCE => self.line_sequence(data),
            command::SWD_SEQUENCE => self.sequences(data),
            _ => return vec![INVALID],
        };
        [vec![name], rest].concat()
    }

    fn info(&self, id: u8) -> Vec<u8> {
        let text = |text: &str| [text.as_bytes(), &[0]].concat();
        let value = match id {
            1 => text("hilbench"),
            2 => text("lab CMSIS-DAP"),
            3 => text(&self.serial),
            // Version of the protocol, then of the firmware.
            4 => text("2.1.0"),
            9 => text("1.0.0"),
            // Capabilities: serial wire debug.
            0xF0 => vec![1],
            0xFE => vec![PACKETS],
            0xFF => PACKET.to_le_bytes().to_vec(),
            _ => Vec::new(),
        };
        [vec![value.len() as u8], value].concat()
    }

    fn configure(&mut self, data: &[u8]) -> Vec<u8> {
        let [_, wait_low, wait_high, match_low, match_high, ..] = data else { return vec![INVALID] };
        self.settings.wait_retries = u16::from_le_bytes([*wait_low, *wait_high]);
        self.settings.match_retries = u16::from_le_bytes([*match_low, *match_high]);
        vec![OK]
    }

    fn write_abort(&mut self, data: &[u8]) -> Vec<u8> {
        let Some(value) = data.get(1..5).and_then(|bytes| bytes.try_into().ok()) else { return vec![INVALID] };
        let result = self.swd.write(false, 0, u32::from_le_bytes(value));
        vec![if result.is_ok() { OK } else { INVALID }]
    }

    fn pins(&mut self, data: &[u8]) -> Vec<u8> {
        let [output, select, ..] = data else { return vec![self.pins] };
        let before = self.pins;
        self.pins = before & !select | output & select;
        if (before ^ self.pins) & RESET != 0 {
            self.swd.set_reset(self.pins & RESET != 0);
        }
        vec![self.pins]
    }

    fn line_sequence(&mut self, data: &[u8]) -> Vec<u8> {
        let Some((&count, bits)) = data.split_first() else { return vec![INVALID] };
        let count = if count == 0 { 256 } else { u16::from(count) };
        self.line(count, bits);
        vec![OK]
    }

    fn line(&mut self, mut count: u16, bits: &[u8]) {
        for part in bits.chunks(8) {
            let now = count.min(64);
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            if now > 0 {
                self.swd.line(now as u8, u64::from_le_bytes(bytes));
            }
            count -= now;
        }
    }

    /// Raw bits in both directions. Nothing drives the line outside transfers here, so reading gives its pull-up.
    fn sequences(&mut self, data: &[u8]) -> Vec<u8> {
        let Some((&count, mut rest)) = data.split_first() else { return vec![INVALID] };
        let mut answer = vec![OK];
        for _ in 0..count {
            let Some((&info, behind)) = rest.split_first() else { return vec![INVALID] };
            rest = behind;
            let cycles = if info & 0x3F == 0 { 64 } else { u16::from(info & 0x3F) };
            let length = usize::from(cycles.div_ceil(8));
            if info & 0x80 != 0 {
                answer.resize(answer.len() + length, 0xFF);
            } else {
                let Some((bits, behind)) = rest.split_at_checked(length) else { return vec![INVALID] };
                rest = behind;
                self.line(cycles, bits);
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests;
