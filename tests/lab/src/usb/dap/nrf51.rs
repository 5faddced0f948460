//! The emulated nRF51822 of hilbench behind the two wires of a probe.
//!
//! [`Nrf51Port`] is its debug port for any [`DebugTarget`]; [`Nrf51`] is such a target: the machine by itself, shared between the
//! probe and whoever wired it up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hilbench::virtual_dut::{
    BusFault, Machine, Size,
    dap::{Dap, DebugTarget, Port, Refusal},
};

use super::swd::{Ack, Swd};

/// Cycles from the rise of the supply to a device that has left its reset: the product specification gives some hundred microseconds.
const SETTLED: u64 = 10_000;

/// Debug port and access port of an nRF51822 in front of a device.
#[derive(Debug, Default)]
pub struct Nrf51Port<T> {
    dap: Dap,
    target: T,
}

impl<T: DebugTarget> Nrf51Port<T> {
    /// A port that has not been powered yet.
    pub fn new(target: T) -> Self {
        Self { dap: Dap::new(), target }
    }
}

fn ack(refusal: Refusal) -> Ack {
    match refusal {
        Refusal::Silent => Ack::Silent,
        Refusal::Fault => Ack::Fault,
    }
}

fn port(ap: bool) -> Port {
    if ap { Port::Ap } else { Port::Dp }
}

impl<T: DebugTarget> Swd for Nrf51Port<T> {
    fn read(&mut self, ap: bool, address: u8) -> Result<u32, Ack> {
        self.dap.read(&mut self.target, port(ap), address).map_err(ack)
    }

    fn write(&mut self, ap: bool, address: u8, value: u32) -> Result<(), Ack> {
        self.dap.write(&mut self.target, port(ap), address, value).map_err(ack)
    }

    fn line(&mut self, count: u8, bits: u64) {
        self.dap.line_bits(&mut self.target, count, bits);
    }

    fn set_reset(&mut self, high: bool) {
        self.target.set_nrst(high);
    }
}

struct Shared {
    machine: Machine,
    power_ups: u64,
}

/// A handle of an emulated nRF51822; clones are the same device. Its time passes only with the probe's traffic and with [`Nrf51::run_for`].
#[derive(Clone)]
pub struct Nrf51(Arc<Mutex<Shared>>);

impl Nrf51 {
    /// A handle of this machine, which may be powered already.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        let power_ups = u64::from(machine.is_powered());
        Self(Arc::new(Mutex::new(Shared { machine, power_ups })))
    }

    /// Its debug port, for [`CmsisDap::with_target`](super::CmsisDap::with_target).
    #[must_use]
    pub fn port(&self) -> Nrf51Port<Self> {
        Nrf51Port::new(self.clone())
    }

    /// Raises or drops the supply.
    pub fn power(&self, up: bool) {
        {
            let mut shared = self.lock();
            match (up, shared.machine.is_powered()) {
                (true, false) => {
                    shared.power_ups += 1;
                    shared.machine.power_on();
                }
                (false, true) => shared.machine.power_off(),
                _ => return,
            }
        }
        if up {
            self.run_for(SETTLED);
        }
    }

    /// Lets cycles of 16 MHz pass.
    pub fn run_for(&self, cycles: u64) {
        let mut shared = self.lock();
        let until = shared.machine.now().saturating_add(cycles);
        // It also stops at bytes on the serial line and when a debugger halts it.
        while shared.machine.now() < until && shared.machine.is_powered() {
            let _ = shared.machine.run_until(until);
        }
    }

    /// Does something with the machine. Its supply is raised by [`Nrf51::power`] only: the debug port has to know.
    pub fn with<R>(&self, act: impl FnOnce(&mut Machine) -> R) -> R {
        act(&mut self.lock().machine)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A test that failed while it held the machine has told so already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DebugTarget for Nrf51 {
    fn debug_read(&mut self, address: u32, size: Size) -> Result<u32, BusFault> {
        self.lock().machine.debug_read(address, size)
    }

    fn debug_write(&mut self, address: u32, size: Size, value: u32) -> Result<(), BusFault> {
        self.lock().machine.debug_write(address, size, value)
    }

    fn run(&mut self, cycles: u64) {
        self.run_for(cycles);
    }

    fn powered(&mut self) -> bool {
        self.lock().machine.is_powered()
    }

    fn power_ups(&mut self) -> u64 {
        self.lock().power_ups
    }

    fn set_nrst(&mut self, high: bool) {
        if !high {
            self.lock().machine.pin_reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use hilbench::virtual_dut::MachineConfig;

    use super::{super::Processor, *};

    #[test]
    fn its_debug_port_answers_behind_a_probe_while_it_has_power() {
        let device = Nrf51::new(Machine::new(MachineConfig::default()));
        let mut probe = Processor::new("N", device.port());
        let line_reset = [0x12, 51, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x07];
        let identify = [5, 0, 1, 0x02];
        probe.handle(&line_reset);
        assert_eq!(probe.handle(&identify), [5, 0, Ack::Silent.code()], "no supply, no answer");
        device.power(true);
        assert_eq!(probe.handle(&identify), [5, 0, Ack::Silent.code()], "no line reset since");
        probe.handle(&line_reset);
        assert_eq!(probe.handle(&identify), [5, 1, 1, 0x77, 0x14, 0xB1, 0x0B]);
        device.power(false);
        device.power(true);
        assert_eq!(probe.handle(&identify), [5, 0, Ack::Silent.code()], "a power cycle is noticed");
    }
}
