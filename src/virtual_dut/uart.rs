//! UART0 (reference manual, chapter UART), with the line at its RXD.

use std::collections::VecDeque;

use super::{
    CYCLES_PER_SECOND,
    events::{EventBlock, NEVER},
    machine::TxByte,
};

/// Bytes the receiver keeps, the one in RXD included.
const FIFO: usize = 6;
const CTS: u32 = 0;
const NCTS: u32 = 1;
const RXDRDY: u32 = 2;
const TXDRDY: u32 = 7;
const ERROR: u32 = 9;
const RXTO: u32 = 17;
const EVENTS: u32 = 1 << CTS | 1 << NCTS | 1 << RXDRDY | 1 << TXDRDY | 1 << ERROR | 1 << RXTO;

/// ERRORSRC bits.
const OVERRUN: u32 = 1;
const FRAMING: u32 = 4;

/// The registers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Uart {
    pub(super) block: EventBlock,
    shorts: u32,
    error_source: u32,
    enable: u32,
    psel: [u32; 4],
    baudrate: u32,
    config: u32,
    tx_on: bool,
    /// Byte in the shifter and the end of its stop bit.
    sending: Option<(u8, u64)>,
    rx_on: bool,
    /// Time at which a stopped receiver gives up.
    rx_timeout: u64,
    fifo: VecDeque<u8>,
    /// Last byte read from RXD.
    rxd: u8,
}

/// The other end of the serial line. Not part of the device: it survives resets and power loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Line {
    baud: u32,
    /// Bytes under way to the device, with the end of their stop bits.
    arriving: VecDeque<(u64, u8)>,
    idle_at: u64,
    /// Bytes from the device.
    pub(super) sent: Vec<TxByte>,
}

impl Line {
    /// Hashes what the future depends on: once the line is idle, it does not matter since when.
    pub(super) fn feed_future<H: std::hash::Hasher>(&self, state: &mut H, now: u64) {
        use std::hash::Hash as _;
        (self.baud, &self.arriving, self.idle_at.max(now), &self.sent).hash(state);
    }

    pub(super) fn new(baud: u32) -> Self {
        Self { baud: baud.clamp(300, 1_000_000), arriving: VecDeque::new(), idle_at: 0, sent: Vec::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8], now: u64) {
        for byte in bytes {
            let start = self.idle_at.max(now);
            self.idle_at = start + 10 * CYCLES_PER_SECOND / u64::from(self.baud);
            self.arriving.push_back((self.idle_at, *byte));
        }
    }

    pub(super) const fn idle_at(&self) -> u64 {
        self.idle_at
    }

    pub(super) fn next(&self) -> u64 {
        self.arriving.front().map_or(NEVER, |(at, _)| *at)
    }

    /// The next byte that has arrived by `now`.
    pub(super) fn take(&mut self, now: u64) -> Option<u8> {
        self.arriving.pop_front_if(|(at, _)| *at <= now).map(|(_, byte)| byte)
    }
}

impl Uart {
    pub(super) fn new() -> Self {
        Self {
            block: EventBlock::default(),
            shorts: 0,
            error_source: 0,
            enable: 0,
            psel: [u32::MAX; 4],
            baudrate: 0x0400_0000,
            config: 0,
            tx_on: false,
            sending: None,
            rx_on: false,
            rx_timeout: NEVER,
            fifo: VecDeque::new(),
            rxd: 0,
        }
    }

    /// Cycles of `bits` bit times: BAUDRATE is the fraction of 16 MHz in units of 2^-32.
    fn bits(&self, bits: u64) -> u64 {
        (bits << 32) / u64::from(self.baudrate.max(1 << 12))
    }

    const fn enabled(&self) -> bool {
        self.enable & 7 == 4
    }

    pub(super) fn next(&self) -> u64 {
        self.sending.map_or(NEVER, |(_, end)| end).min(self.rx_timeout)
    }

    pub(super) fn advance(&mut self, now: u64, line: &mut Line) {
        if let Some((byte, end)) = self.sending
            && end <= now
        {
            self.sending = None;
            line.sent.push(TxByte { at: end, byte });
            self.block.fire(TXDRDY);
        }
        if self.rx_timeout <= now {
            self.rx_timeout = NEVER;
            self.rx_on = false;
            self.block.fire(RXTO);
        }
    }

    /// A byte has arrived on the pin, from a sender at `baud`.
    pub(super) fn receive(&mut self, byte: u8, baud: u32) {
        if !self.enabled() || !self.rx_on || self.psel[3] > 31 {
            return;
        }
        let rate = f64::from(self.baudrate) * CYCLES_PER_SECOND as f64 / 4_294_967_296.0;
        let byte = if (rate / f64::from(baud) - 1.0).abs() > 0.05 {
            self.error_source |= FRAMING;
            self.block.fire(ERROR);
            byte.reverse_bits() ^ 0xA5
        } else {
            byte
        };
        if self.fifo.len() == FIFO {
            self.error_source |= OVERRUN;
            self.block.fire(ERROR);
            return;
        }
        self.fifo.push_back(byte);
        if self.fifo.len() == 1 {
            self.block.fire(RXDRDY);
        }
    }

    pub(super) fn receive_from(&mut self, line: &mut Line, now: u64) {
        while let Some(byte) = line.take(now) {
            self.receive(byte, line.baud);
        }
    }

    /// A register as it reads now; reading RXD also has the effect in [`Uart::read`].
    pub(super) fn peek(&self, offset: u32) -> u32 {
        match offset {
            0x200 => self.shorts,
            0x480 => self.error_source,
            0x500 => self.enable,
            0x508..=0x514 => self.psel[(offset as usize - 0x508) / 4],
            0x518 => u32::from(self.fifo.front().copied().unwrap_or(self.rxd)),
            0x524 => self.baudrate,
            0x56C => self.config,
            _ => self.block.read(offset).unwrap_or(0),
        }
    }

    pub(super) fn read(&mut self, offset: u32) -> u32 {
        let value = self.peek(offset);
        if offset == 0x518
            && let Some(byte) = self.fifo.pop_front()
        {
            self.rxd = byte;
            if !self.fifo.is_empty() {
                self.block.fire(RXDRDY);
            }
        }
        value
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, now: u64) {
        match offset {
            0x000 if value & 1 == 1 => {
                self.rx_on = true;
                self.rx_timeout = NEVER;
            }
            0x004 if value & 1 == 1 && self.rx_on => self.rx_timeout = now + self.bits(50),
            0x008 if value & 1 == 1 => self.tx_on = true,
            0x00C if value & 1 == 1 => self.tx_on = false,
            0x01C if value & 1 == 1 => {
                self.tx_on = false;
                if self.rx_on {
                    self.rx_timeout = now + self.bits(50);
                }
            }
            0x200 => self.shorts = value & 0x18,
            0x480 => self.error_source &= !value,
            0x500 => {
                self.enable = value & 7;
                if !self.enabled() {
                    self.sending = None;
                    self.fifo.clear();
                }
            }
            0x508..=0x514 => self.psel[(offset as usize - 0x508) / 4] = value,
            // A byte written while another is in the shifter is lost, as is one written to a stopped transmitter.
            0x51C if self.enabled() && self.tx_on && self.sending.is_none() => {
                self.sending = Some((value as u8, now + self.bits(10)));
            }
            0x524 => self.baudrate = value,
            0x56C => self.config = value & 0xF,
            _ => {
                self.block.write(offset, value, EVENTS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Uart {
        let mut uart = Uart::new();
        for (offset, value) in [(0x500, 4), (0x50C, 24), (0x514, 25), (0x524, 0x01D7_E000), (0x000, 1), (0x008, 1)] {
            uart.write(offset, value, 0);
        }
        uart
    }

    #[test]
    fn a_byte_takes_ten_bit_times() {
        let mut uart = started();
        let mut line = Line::new(115_200);
        uart.write(0x51C, u32::from(b'x'), 1000);
        let end = uart.next();
        assert!((1000 + 1388..=1000 + 1389).contains(&end), "{end}");
        uart.advance(end - 1, &mut line);
        assert!(!uart.block.is_set(TXDRDY) && line.sent.is_empty());
        uart.write(0x51C, u32::from(b'y'), end - 1);
        uart.advance(end, &mut line);
        assert!(uart.block.is_set(TXDRDY));
        assert_eq!(line.sent, [TxByte { at: end, byte: b'x' }], "the byte written into a busy transmitter is lost");
        assert_eq!(uart.next(), NEVER);
    }

    #[test]
    fn bytes_arrive_one_after_the_other() {
        let mut line = Line::new(115_200);
        line.push(b"ab", 0);
        line.push(b"c", 100);
        assert_eq!(line.take(1387), None);
        assert_eq!(line.take(1388), Some(b'a'));
        assert_eq!((line.next(), line.idle_at()), (2776, 4164));
        assert_eq!((line.take(5000), line.take(5000), line.take(5000)), (Some(b'b'), Some(b'c'), None));
    }

    #[test]
    fn the_seventh_unread_byte_is_lost_and_recorded() {
        let mut uart = started();
        let mut line = Line::new(115_200);
        line.push(b"1234567", 0);
        uart.receive_from(&mut line, 100_000);
        assert_eq!(uart.peek(0x480), OVERRUN);
        uart.write(0x480, OVERRUN, 0);
        assert_eq!(uart.peek(0x480), 0);
        let mut got = Vec::new();
        while uart.block.is_set(RXDRDY) {
            uart.write(0x108, 0, 0);
            got.push(uart.read(0x518) as u8);
        }
        assert_eq!(got, b"123456");
    }

    #[test]
    fn a_wrong_rate_is_a_framing_error_and_garbage() {
        let mut uart = started();
        uart.write(0x524, 0x0275_0000, 0);
        uart.receive(b'A', 115_200);
        assert_eq!(uart.peek(0x480), FRAMING);
        assert_ne!(uart.read(0x518), u32::from(b'A'));
    }

    #[test]
    fn a_receiver_that_is_off_hears_nothing() {
        let mut uart = Uart::new();
        uart.receive(b'A', 115_200);
        let mut stopped = started();
        stopped.write(0x004, 1, 0);
        let mut line = Line::new(115_200);
        stopped.advance(stopped.next(), &mut line);
        stopped.receive(b'A', 115_200);
        assert!(!uart.block.is_set(RXDRDY) && !stopped.block.is_set(RXDRDY) && stopped.block.is_set(RXTO));
    }
}
