//! What probe-rs asks of a probe driver.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use probe_rs::{
    CoreStatus,
    architecture::arm::{
        ArmCommunicationInterface, ArmDebugInterface, ArmError, DapError, DapProbe, Pins, RawDapAccess, RegisterAddress,
        sequences::ArmDebugSequence,
    },
    probe::{
        DebugProbe, DebugProbeError, DebugProbeInfo, DebugProbeSelector, ProbeCreationError, ProbeFactory, WireProtocol,
        list::ProbeListItem,
    },
};

use super::{Dap, PRODUCT_ID, Port, Refusal, Socket, VENDOR_ID, lock, table};

/// Supply of the target as the probe's sense pin sees it while the device is powered.
const SUPPLY_VOLTS: f32 = 3.3;
/// Clock the probe starts with, and the fastest it can do. The device model has no notion of the wire's clock.
const SPEED_KHZ: u32 = 11_500;

/// The driver of all virtual probes.
#[derive(Debug)]
pub(super) struct Factory;

impl fmt::Display for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("virtual bench")
    }
}

impl ProbeFactory for Factory {
    fn open(&self, selector: &DebugProbeSelector) -> Result<Box<dyn DebugProbe>, DebugProbeError> {
        let not_found = || DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::NotFound);
        if (selector.vendor_id, selector.product_id) != (VENDOR_ID, PRODUCT_ID) || selector.interface.is_some() {
            return Err(not_found());
        }
        let serial = match &selector.serial_number {
            Some(serial) => serial.clone(),
            None => match table::serials().as_slice() {
                [only] => only.clone(),
                [] => return Err(not_found()),
                several => {
                    return Err(DebugProbeError::Other(format!(
                        "the selector fits several virtual probes: {}",
                        several.join(", ")
                    )));
                }
            },
        };
        let socket = table::find(&serial).ok_or_else(not_found)?;
        let mut held = lock(&socket);
        if std::mem::replace(&mut held.opened, true) {
            return Err(DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::CouldNotOpen));
        }
        drop(held);
        Ok(Box::new(VirtualProbe { socket: Arc::downgrade(&socket), speed_khz: SPEED_KHZ }))
    }

    fn list_probes(&self) -> Vec<ProbeListItem> {
        table::serials()
            .into_iter()
            .map(|serial| DebugProbeInfo::new("Virtual probe", VENDOR_ID, PRODUCT_ID, Some(serial), &Factory, None, false))
            .map(ProbeListItem::accessible)
            .collect()
    }
}

/// An opened virtual probe.
struct VirtualProbe {
    /// Weak: a probe that is unplugged while a session is open answers with errors, as a real one.
    socket: Weak<Mutex<Socket>>,
    speed_khz: u32,
}

impl fmt::Debug for VirtualProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualProbe").finish_non_exhaustive()
    }
}

impl Drop for VirtualProbe {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.upgrade() {
            lock(&socket).opened = false;
        }
    }
}

impl VirtualProbe {
    fn with<T>(&self, act: impl FnOnce(&mut Socket) -> T) -> Result<T, DebugProbeError> {
        let socket = self.socket.upgrade().ok_or_else(|| DebugProbeError::Other("the virtual probe was unplugged".to_owned()))?;
        let result = act(&mut lock(&socket));
        Ok(result)
    }
}

/// Turns the target's answer into the error probe-rs expects of a driver. After a fault the driver has to clear the sticky error itself:
/// the layers above do not, and everything after one refused read would fail.
fn settle<T>(socket: &mut Socket, answer: Result<T, Refusal>) -> Result<T, ArmError> {
    answer.map_err(|refusal| match refusal {
        Refusal::Silent => DapError::NoAcknowledge.into(),
        Refusal::Fault => {
            let clear_sticky_error = 1 << 2;
            match socket.write(Port::Dp, 0x0, clear_sticky_error) {
                Ok(()) => DapError::FaultResponse.into(),
                Err(_) => DapError::NoAcknowledge.into(),
            }
        }
    })
}

fn register_of(address: RegisterAddress) -> (Port, u8) {
    (if address.is_ap() { Port::Ap } else { Port::Dp }, address.a2_and_3())
}

/// Reads a register as often as there are places; reads of the access port come one transfer late.
fn read_all(socket: &mut Socket, address: RegisterAddress, values: &mut [u32]) -> Result<(), Refusal> {
    let (port, register) = register_of(address);
    if port == Port::Dp {
        for value in values {
            *value = socket.read(port, register)?;
        }
        return Ok(());
    }
    let Some(last) = values.len().checked_sub(1) else { return Ok(()) };
    socket.read(port, register)?;
    for value in &mut values[..last] {
        *value = socket.read(port, register)?;
    }
    values[last] = socket.read(Port::Dp, Dap::READ_BUFFER)?;
    Ok(())
}

/// Writes a register several times; one more transfer shows whether the bus took the last write to the access port.
fn write_all(socket: &mut Socket, address: RegisterAddress, values: &[u32]) -> Result<(), Refusal> {
    let (port, register) = register_of(address);
    for &value in values {
        socket.write(port, register, value)?;
    }
    if port == Port::Ap {
        socket.read(Port::Dp, Dap::READ_BUFFER)?;
    }
    Ok(())
}

impl RawDapAccess for VirtualProbe {
    fn raw_read_register(&mut self, address: RegisterAddress) -> Result<u32, ArmError> {
        let mut value = [0];
        self.raw_read_block(address, &mut value)?;
        Ok(value[0])
    }

    fn raw_read_block(&mut self, address: RegisterAddress, values: &mut [u32]) -> Result<(), ArmError> {
        self.with(|socket| {
            let answer = read_all(socket, address, values);
            settle(socket, answer)
        })?
    }

    fn raw_write_register(&mut self, address: RegisterAddress, value: u32) -> Result<(), ArmError> {
        self.raw_write_block(address, &[value])
    }

    fn raw_write_block(&mut self, address: RegisterAddress, values: &[u32]) -> Result<(), ArmError> {
        self.with(|socket| {
            let answer = write_all(socket, address, values);
            settle(socket, answer)
        })?
    }

    fn jtag_sequence(&mut self, _cycles: u8, _tms: bool, _tdi: u64) -> Result<(), DebugProbeError> {
        Err(DebugProbeError::UnsupportedProtocol(WireProtocol::Jtag))
    }

    fn swj_sequence(&mut self, bit_len: u8, bits: u64) -> Result<(), DebugProbeError> {
        self.with(|socket| socket.dap.line_bits(socket.target.as_mut(), bit_len, bits))
    }

    fn swj_pins(&mut self, pin_out: u32, pin_select: u32, _pin_wait: u32) -> Result<u32, DebugProbeError> {
        let (out, select) = (Pins(pin_out as u8), Pins(pin_select as u8));
        self.with(|socket| {
            if select.nreset() {
                socket.nrst = out.nreset();
                socket.target.set_nrst(out.nreset());
            }
            let mut level = Pins(0);
            level.set_nreset(socket.nrst);
            level.set_swdio_tms(true);
            u32::from(level.0)
        })
    }

    fn into_probe(self: Box<Self>) -> Box<dyn DebugProbe> {
        self
    }

    fn core_status_notification(&mut self, _state: CoreStatus) -> Result<(), DebugProbeError> {
        Ok(())
    }
}

impl DapProbe for VirtualProbe {}

impl DebugProbe for VirtualProbe {
    fn get_name(&self) -> &'static str {
        "Virtual probe"
    }

    fn speed_khz(&self) -> u32 {
        self.speed_khz
    }

    fn set_speed(&mut self, speed_khz: u32) -> Result<u32, DebugProbeError> {
        if speed_khz == 0 {
            return Err(DebugProbeError::UnsupportedSpeed(speed_khz));
        }
        self.speed_khz = speed_khz.min(SPEED_KHZ);
        Ok(self.speed_khz)
    }

    fn attach(&mut self) -> Result<(), DebugProbeError> {
        self.with(|_| ())
    }

    fn detach(&mut self) -> Result<(), probe_rs::Error> {
        Ok(())
    }

    fn target_reset(&mut self) -> Result<(), DebugProbeError> {
        self.target_reset_assert()?;
        self.target_reset_deassert()
    }

    fn target_reset_assert(&mut self) -> Result<(), DebugProbeError> {
        self.swj_pins(0, 1 << 7, 0).map(drop)
    }

    fn target_reset_deassert(&mut self) -> Result<(), DebugProbeError> {
        self.swj_pins(1 << 7, 1 << 7, 0).map(drop)
    }

    fn select_protocol(&mut self, protocol: WireProtocol) -> Result<(), DebugProbeError> {
        match protocol {
            WireProtocol::Swd => Ok(()),
            WireProtocol::Jtag => Err(DebugProbeError::UnsupportedProtocol(protocol)),
        }
    }

    fn active_protocol(&self) -> Option<WireProtocol> {
        Some(WireProtocol::Swd)
    }

    fn has_arm_interface(&self) -> bool {
        true
    }

    fn try_get_arm_debug_interface<'probe>(
        self: Box<Self>,
        sequence: Arc<dyn ArmDebugSequence>,
    ) -> Result<Box<dyn ArmDebugInterface + 'probe>, (Box<dyn DebugProbe>, ArmError)> {
        Ok(ArmCommunicationInterface::create(self, sequence, false))
    }

    fn try_as_dap_probe(&mut self) -> Option<&mut dyn DapProbe> {
        Some(self)
    }

    fn get_target_voltage(&mut self) -> Result<Option<f32>, DebugProbeError> {
        self.with(|socket| Some(if socket.target.powered() { SUPPLY_VOLTS } else { 0.0 }))
    }

    fn into_probe(self: Box<Self>) -> Box<dyn DebugProbe> {
        self
    }
}
