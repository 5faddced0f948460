//! What the bench needs of a device, and the inputs it gives it.

use crate::virtual_dut::Machine;

/// Something that happens to the device from outside, at one instant of its time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// Bytes put on its serial line, one after the other from now on.
    Serial(Vec<u8>),
    /// A pin driven high or low, or let go.
    Pin {
        /// GPIO number, 0 to 31.
        pin: u8,
        /// The level, or `None` for let go.
        level: Option<bool>,
    },
    /// The supply raised or dropped.
    Power(bool),
    /// A pulse on the reset line.
    Reset,
}

/// A device that lives in device time, counted in cycles of 16 MHz. Deterministic: the same inputs at the same cycles, however the time
/// between is sliced, make the same device. A clone is a snapshot.
pub trait Device: Clone + Send + 'static {
    /// Device time. Goes on while the device is off.
    fn now(&self) -> u64;
    /// Lets time pass until `cycle`, or until a byte has left the serial line, whichever is first. May overshoot by an instruction.
    fn run_until(&mut self, cycle: u64);
    /// Bytes that left the serial line since the last call.
    fn output(&mut self) -> Vec<u8>;
    /// Applies an input now.
    fn apply(&mut self, input: &Input);
    /// Whether the supply is up.
    fn powered(&self) -> bool;
    /// Level at a pin.
    fn pin(&self, pin: u8) -> bool;
}

impl Device for Machine {
    fn now(&self) -> u64 {
        Machine::now(self)
    }

    fn run_until(&mut self, cycle: u64) {
        self.stop_on_uart(true);
        // A stop for another reason (halted by the debugger, a cut) is no reason for the bench to stop: time goes on.
        let _ = Machine::run_until(self, cycle);
    }

    fn output(&mut self) -> Vec<u8> {
        self.uart_take()
    }

    fn apply(&mut self, input: &Input) {
        match input {
            Input::Serial(bytes) => self.uart_push(bytes),
            Input::Pin { pin, level } => self.set_pin(*pin, *level),
            Input::Power(true) => self.power_on(),
            Input::Power(false) => self.power_off(),
            Input::Reset => self.pin_reset(),
        }
    }

    fn powered(&self) -> bool {
        self.is_powered()
    }

    fn pin(&self, pin: u8) -> bool {
        Machine::pin(self, pin)
    }
}
