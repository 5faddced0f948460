//! GPIO port and GPIOTE (reference manual, chapters GPIO and GPIOTE).

use super::events::EventBlock;

/// GPIO port registers and what is connected outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Gpio {
    out: u32,
    /// PIN_CNF; bit 0 of each is also the DIR register.
    config: [u32; 32],
    /// Pins driven from outside, and their levels. Survives reset and power loss.
    driven: u32,
    level: u32,
}

impl Gpio {
    pub(super) const fn new() -> Self {
        Self { out: 0, config: [2; 32], driven: 0, level: 0 }
    }

    /// Reset of the registers; the outside stays.
    pub(super) const fn reset(&mut self) {
        self.out = 0;
        self.config = [2; 32];
    }

    pub(super) fn drive(&mut self, pin: u8, level: Option<bool>) {
        let bit = 1_u32.checked_shl(u32::from(pin)).unwrap_or(0);
        self.driven = if level.is_some() { self.driven | bit } else { self.driven & !bit };
        self.level = if level == Some(true) { self.level | bit } else { self.level & !bit };
    }

    fn dir(&self) -> u32 {
        (0..32).fold(0, |dir, pin| dir | (self.config[pin] & 1) << pin)
    }

    /// Levels at the pads: an output wins over what is outside, that over the pull resistor; a floating pin is low.
    pub(super) fn levels(&self) -> u32 {
        let dir = self.dir();
        let pulled = (0..32).fold(0, |up, pin| up | u32::from(self.config[pin] >> 2 & 3 == 3) << pin);
        dir & self.out | !dir & (self.driven & self.level | !self.driven & pulled)
    }

    /// IN: levels of the pins whose input buffer is connected.
    fn input(&self) -> u32 {
        let connected = (0..32).fold(0, |on, pin| on | (!self.config[pin] >> 1 & 1) << pin);
        self.levels() & connected
    }

    /// The DETECT signal: some pin is at the level that its SENSE field looks for.
    pub(super) fn detect(&self) -> bool {
        let levels = self.levels();
        (0..32).any(|pin| match self.config[pin] >> 16 & 3 {
            2 => levels >> pin & 1 == 1,
            3 => levels >> pin & 1 == 0,
            _ => false,
        })
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            0x504..=0x50C => self.out,
            0x510 => self.input(),
            0x514..=0x51C => self.dir(),
            0x700..=0x77C => self.config[(offset as usize - 0x700) / 4],
            _ => 0,
        }
    }

    fn set_dir(&mut self, dir: u32) {
        for (pin, config) in self.config.iter_mut().enumerate() {
            *config = *config & !1 | dir >> pin & 1;
        }
    }

    /// GPIOTE drives an output.
    const fn set_out(&mut self, pin: u32, level: bool) {
        let bit = 1 << (pin & 31);
        self.out = if level { self.out | bit } else { self.out & !bit };
    }

    pub(super) fn write(&mut self, offset: u32, value: u32) {
        match offset {
            0x504 => self.out = value,
            0x508 => self.out |= value,
            0x50C => self.out &= !value,
            0x514 => self.set_dir(value),
            0x518 => self.set_dir(self.dir() | value),
            0x51C => self.set_dir(self.dir() & !value),
            0x700..=0x77C => self.config[(offset as usize - 0x700) / 4] = value & 0x0003_070F,
            _ => {}
        }
    }
}

const PORT: u32 = 31;
const EVENTS: u32 = 1 << PORT | 0xF;

/// GPIOTE registers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Gpiote {
    pub(super) block: EventBlock,
    config: [u32; 4],
    levels: u32,
    detect: bool,
}

impl Gpiote {
    pub(super) fn new() -> Self {
        Self { block: EventBlock::default(), config: [0; 4], levels: 0, detect: false }
    }

    /// Looks for edges since the last call.
    pub(super) fn watch(&mut self, gpio: &Gpio) {
        let levels = gpio.levels();
        let changed = levels ^ self.levels;
        self.levels = levels;
        for (channel, config) in (0..).zip(self.config) {
            let pin = config >> 8 & 31;
            if config & 3 == 1 && changed >> pin & 1 == 1 {
                let rising = levels >> pin & 1 == 1;
                let polarity = config >> 16 & 3;
                if polarity == 3 || polarity == 1 && rising || polarity == 2 && !rising {
                    self.block.fire(channel);
                }
            }
        }
        let detect = gpio.detect();
        if detect && !self.detect {
            self.block.fire(PORT);
        }
        self.detect = detect;
    }

    pub(super) fn read(&self, offset: u32) -> u32 {
        match offset {
            0x510..=0x51C => self.config[(offset as usize - 0x510) / 4],
            _ => self.block.read(offset).unwrap_or(0),
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, gpio: &mut Gpio) {
        match offset {
            0x000..=0x00C if value & 1 == 1 => {
                let config = self.config[offset as usize / 4];
                let pin = config >> 8 & 31;
                if config & 3 == 3 {
                    let level = match config >> 16 & 3 {
                        1 => true,
                        2 => false,
                        3 => gpio.out >> pin & 1 == 0,
                        _ => return,
                    };
                    gpio.set_out(pin, level);
                }
            }
            0x510..=0x51C => {
                let value = value & 0x0013_1F03;
                self.config[(offset as usize - 0x510) / 4] = value;
                if value & 3 == 3 {
                    let pin = value >> 8 & 31;
                    gpio.config[pin as usize] |= 1;
                    gpio.set_out(pin, value >> 20 & 1 == 1);
                }
            }
            _ => {
                self.block.write(offset, value, EVENTS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulled_up_button_reads_low_while_pressed() {
        let mut gpio = Gpio::new();
        gpio.write(0x700 + 4 * 17, 0x0C);
        assert_eq!(gpio.read(0x510), 1 << 17);
        gpio.drive(17, Some(false));
        assert_eq!(gpio.read(0x510), 0);
        gpio.drive(17, None);
        assert_eq!(gpio.read(0x510), 1 << 17);
        gpio.drive(40, Some(true));
    }

    #[test]
    fn outputs_follow_out_and_inputs_need_their_buffer() {
        let mut gpio = Gpio::new();
        gpio.write(0x508, 1 << 4);
        assert_eq!(gpio.levels(), 0, "not an output yet");
        gpio.write(0x518, 1 << 4);
        assert_eq!((gpio.levels(), gpio.read(0x510), gpio.read(0x710)), (1 << 4, 0, 3));
        gpio.drive(4, Some(false));
        assert_eq!(gpio.levels(), 1 << 4);
        gpio.write(0x51C, 1 << 4);
        assert_eq!(gpio.levels(), 0);
    }

    #[test]
    fn edges_and_sense_make_events() {
        let mut gpio = Gpio::new();
        let mut gpiote = Gpiote::new();
        gpio.write(0x700 + 4 * 17, 0x0003_000C);
        gpiote.write(0x510, 0x0002_1101, &mut gpio);
        gpiote.watch(&gpio);
        assert_eq!(gpiote.block.events, 0);
        gpio.drive(17, Some(false));
        gpiote.watch(&gpio);
        assert_eq!(gpiote.block.events, 1 | 1 << PORT);
        gpiote.write(0x100, 0, &mut gpio);
        gpio.drive(17, Some(true));
        gpiote.watch(&gpio);
        assert_eq!(gpiote.block.events, 1 << PORT, "rising edge is not asked for");
    }
}
