//! Puts the questions to a wire, and the wire that leads through probe-rs.

use probe_rs::{
    architecture::arm::{
        ApV2Address, ArmDebugInterface, ArmError, DapError, FullyQualifiedApAddress,
        dp::{DpAddress, DpRegisterAddress},
        sequences::DefaultArmSequence,
    },
    probe::Probe,
};

use super::{
    Family, Licence, permits, questions,
    transcript::{Access, Answer, Exchange, Port, Supply, Transaction, Transcript, mem_ap},
};
use crate::driver::probe::failure::{Cause, Failure};

/// What performs single transactions.
pub(super) trait Wire {
    /// The answer; an error is a fault of the bench, not the device's doing.
    fn transact(&mut self, transaction: &Transaction) -> Result<Answer, Failure>;
}

/// Asks what a family is to be asked. A question that the policy refuses is left out: it is one that needs a memory access port where
/// another port answered, and the rule will see that.
pub(super) fn put(wire: &mut dyn Wire, family: Family, supply: Supply) -> Result<Transcript, Failure> {
    let mut transcript = Transcript { supply, exchanges: Vec::new() };
    if supply.is_down() {
        // Nothing can answer, and trying takes probe-rs seconds.
        return Ok(transcript);
    }
    // The port whose address was to be set and was not: its data register would be of another address.
    let mut unaddressed = None;
    for transaction in questions(family) {
        let Transaction { port, address, access } = transaction;
        let addressing = matches!(access, Access::Write(_)) && address == port.at(mem_ap::TAR) && port != Port::Dp;
        if unaddressed == Some(port) && access == Access::Read && address == port.at(mem_ap::DRW) {
            continue;
        }
        if permits(&transcript, &transaction, Licence::ReadOnly).is_err() {
            if addressing {
                unaddressed = Some(port);
            }
            continue;
        }
        let answer = wire.transact(&transaction)?;
        transcript.exchanges.push(Exchange { transaction, answer });
        if addressing {
            unaddressed = (!matches!(answer, Answer::Ok(_))).then_some(port);
        }
        if answer == Answer::NoAck {
            break;
        }
    }
    Ok(transcript)
}

/// Reads the lock of a device through an open probe. No session: probe-rs connects to the debug port, and none of the sequences is run that
/// it has for attaching to a chip, some of which unlock or reset.
pub(in super::super) fn ask(mut probe: Probe, family: Family) -> Result<Transcript, Failure> {
    let supply = match probe.get_target_voltage() {
        Ok(Some(volts)) => Supply::Millivolts((volts.max(0.0) * 1000.0) as u32),
        _ => Supply::Unknown,
    };
    probe.attach_to_unspecified()?;
    let interface = probe.try_into_arm_debug_interface(DefaultArmSequence::create()).map_err(|(_, error)| {
        Failure::new(Cause::Probe, format!("the probe gives no raw access: {}", Failure::of(&error).text))
    })?;
    put(&mut Raw { interface, dp: family.multidrop().map_or(DpAddress::Default, DpAddress::Multidrop) }, family, supply)
}

struct Raw<'probe> {
    interface: Box<dyn ArmDebugInterface + 'probe>,
    dp: DpAddress,
}

impl Raw<'_> {
    fn access_port(&self, port: Port) -> Option<FullyQualifiedApAddress> {
        match port {
            Port::Dp => None,
            Port::Ap(number) => Some(FullyQualifiedApAddress::v1_with_dp(self.dp, number)),
            Port::ApAt(base) => Some(FullyQualifiedApAddress::v2_with_dp(self.dp, ApV2Address::new(base.into()))),
        }
    }

    fn perform(&mut self, transaction: &Transaction) -> Result<u32, ArmError> {
        let Transaction { port, address, access } = *transaction;
        let Some(access_port) = self.access_port(port) else {
            let register = DpRegisterAddress { address: address as u8 & 0xF, bank: Some((address >> 4) as u8 & 0xF) };
            // ABORT has no bank, and asking for one would write SELECT while an error is pending.
            let register = if address == 0 { DpRegisterAddress { bank: None, ..register } } else { register };
            return match access {
                Access::Read => self.interface.read_raw_dp_register(self.dp, register),
                Access::Write(value) => self.interface.write_raw_dp_register(self.dp, register, value).map(|()| value),
            };
        };
        match access {
            Access::Read => self.interface.read_raw_ap_register(&access_port, address.into()),
            Access::Write(value) => {
                self.interface.write_raw_ap_register(&access_port, address.into(), value)?;
                self.interface.flush().map(|()| value)
            }
        }
    }
}

impl Wire for Raw<'_> {
    fn transact(&mut self, transaction: &Transaction) -> Result<Answer, Failure> {
        match self.perform(transaction) {
            Ok(value) => Ok(Answer::Ok(value)),
            Err(error) => answer_of(&error).ok_or_else(|| Failure::of(&error)),
        }
    }
}

/// The device's answer in an error of probe-rs; `None` if the error is not about what came over the wire.
pub(super) fn answer_of(error: &ArmError) -> Option<Answer> {
    match error {
        ArmError::Dap(DapError::FaultResponse) => Some(Answer::Fault),
        ArmError::Dap(DapError::NoAcknowledge) => Some(Answer::NoAck),
        // Power-up that is not acknowledged is a port that answers and is not ready.
        ArmError::Dap(DapError::WaitResponse) | ArmError::Timeout | ArmError::DebugPort(_) => Some(Answer::Wait),
        ArmError::Dap(DapError::Protocol(_) | DapError::IncorrectParity) => Some(Answer::Garbled),
        ArmError::NoTargetResponse { source } => answer_of(source),
        _ => None,
    }
}
