//! What may be written to a device that must stay as it is.
//!
//! An allow-list: whatever is not known to be harmless is refused, so a chip that nobody thought of is as safe as the others. An access
//! port counts as a memory access port only after it said so *in this transcript*: the same offsets are RESET and ERASEALL in the
//! control port of a Nordic chip, and on a locked EFM32 the port that was the AHB-AP is the one that erases the device.
//!
//! Writing SELECT is refused too. A transaction names its port; whoever wrote SELECT behind the back of the code that performs
//! transactions could turn a harmless write of one port into an erase in another.

use std::fmt;

use thiserror::Error;

use super::transcript::{Access, Answer, Port, Transaction, Transcript, mem_ap};

/// What a device may be put through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Licence {
    /// Nothing that lasts.
    #[default]
    ReadOnly,
    /// Anything, erasing and unlocking included.
    Destructive,
}

impl Licence {
    /// The licence of a step. It takes two: a plan that says `destructive: true`, and a rig that marks the unit as sacrificial.
    #[must_use]
    pub fn of(plan_says_destructive: bool, unit_is_sacrificial: bool) -> Self {
        if plan_says_destructive && unit_is_sacrificial { Self::Destructive } else { Self::ReadOnly }
    }
}

/// A transaction that the licence does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("refused `{transaction}`: {why}; it takes a plan with `destructive: true` and a unit that the rig marks as sacrificial")]
pub struct Refusal {
    /// What was to be done.
    pub transaction: Transaction,
    /// What it would do, as far as known.
    pub why: String,
}

/// Whether a transaction may be made after all that `so_far` has.
///
/// # Errors
/// It is not on the allow-list, and the licence is not [`Licence::Destructive`].
pub fn permits(so_far: &Transcript, transaction: &Transaction, licence: Licence) -> Result<(), Refusal> {
    let Access::Write(value) = transaction.access else { return Ok(()) };
    if licence == Licence::Destructive || harmless(so_far, transaction.port, transaction.address, value) {
        return Ok(());
    }
    Err(Refusal { transaction: *transaction, why: effect(so_far, transaction, value) })
}

/// ABORT: all its bits only clear flags or end a transfer.
const ABORT: u32 = 0x1F;
/// CTRL/STAT: power-up requests, byte lanes, overrun detection, and the sticky flags. Not the debug reset request, not the counter that
/// repeats writes.
const CTRL_STAT: u32 = 1 << 30 | 1 << 28 | 0xF << 8 | 0x33;

fn harmless(so_far: &Transcript, port: Port, address: u16, value: u32) -> bool {
    match (port, address) {
        (Port::Dp, 0x00) => value & !ABORT == 0,
        (Port::Dp, 0x04) => value & !CTRL_STAT == 0,
        (Port::Dp, _) => false,
        (Port::Ap(_) | Port::ApAt(_), _) => {
            (address == port.at(mem_ap::CSW) || address == port.at(mem_ap::TAR)) && so_far.is_mem_ap(port)
        }
    }
}

/// Registers of a vendor's access port, and what writing them does.
type Effects = &'static [(u16, &'static str)];

/// Access ports of vendors: bits of IDR that tell them, their value, their name.
const VENDOR_PORTS: &[(u32, u32, &str, Effects)] = &[
    (
        0x0FFF_FFFF,
        0x0288_0000,
        "the control port of a Nordic chip",
        &[
            (0x00, "resets the device"),
            (0x04, "erases the whole device (ERASEALL)"),
            (0x10, "opens a protection (DISABLE)"),
            (0x14, "opens a protection (DISABLE)"),
            (0x1C, "lifts the erase protection (ERASEPROTECT.DISABLE)"),
        ],
    ),
    (0xFFFF_FF0F, 0x001C_0000, "the MDM-AP of a Kinetis", &[(0x04, "resets or mass-erases the device (CONTROL)")]),
    (
        0x0FFF_FF0F,
        0x06E6_0001,
        "the AAP of a locked EFM32",
        &[(0x00, "resets or erases the device (CMD)"), (0x04, "arms the erase (CMDKEY)")],
    ),
    (
        0xFFFF_FFFF,
        0x002A_0000,
        "the debug mailbox of an NXP chip",
        &[(0x00, "resets the chip or synchronises the mailbox (CSW)"), (0x04, "gives a command to the boot ROM (REQUEST)")],
    ),
];

/// Registers in memory whose writing unlocks or erases.
const MEMORY: &[(u32, u32, &str)] = &[
    (0x4001_E504, 0x4001_E514, "erases flash (NVMC of nRF51 and nRF52)"),
    (0x4002_2004, 0x4002_2014, "unlocks or erases flash (FLASH of an STM32)"),
    (0x4002_3C04, 0x4002_3C18, "unlocks or erases flash, or sets option bytes (FLASH of an STM32)"),
    (0x5200_2004, 0x5200_2024, "unlocks or erases flash, or sets option bytes (FLASH of an STM32H7)"),
    (0x5800_4008, 0x5800_4024, "unlocks or erases flash, or sets option bytes (FLASH of an STM32WB)"),
    (0x4100_2000, 0x4100_2104, "starts a chip erase (DSU of a SAM D or E)"),
    (0x4100_4000, 0x4100_4008, "erases flash or sets the security bit (NVMCTRL of a SAM D or E)"),
];

/// What a refused write would do.
fn effect(so_far: &Transcript, transaction: &Transaction, value: u32) -> String {
    let (port, address) = (transaction.port, transaction.address);
    match port {
        Port::Dp if address == 0x08 => {
            "SELECT is set by whoever performs transactions; setting it here could misdirect them".into()
        }
        Port::Dp => format!("writing {value:#x} to this register of the debug port is not needed for reading"),
        Port::Ap(_) | Port::ApAt(_) if so_far.is_mem_ap(port) && address == port.at(mem_ap::DRW) => {
            let target = so_far.exchanges.iter().rev().find_map(|exchange| match exchange.transaction {
                Transaction { port: at, address, access: Access::Write(target) }
                    if at == port && address == port.at(mem_ap::TAR) =>
                {
                    Some(target)
                }
                _ => None,
            });
            let known = |target| MEMORY.iter().find(|(from, to, _)| (*from..*to).contains(&target));
            match (target, target.and_then(known)) {
                (_, Some((_, _, what))) => format!("it {what}"),
                (Some(target), None) => format!("it writes memory at {target:#010x}"),
                (None, None) => "it writes memory".to_owned(),
            }
        }
        Port::Ap(_) | Port::ApAt(_) => match identified(so_far, port) {
            Some((name, effects)) => match effects.iter().find(|(register, _)| *register == address) {
                Some((_, what)) => format!("this is {name}, and the write {what}"),
                None => format!("this is {name}"),
            },
            None if so_far.is_mem_ap(port) => "of a memory access port only CSW and TAR are needed for reading".to_owned(),
            None => "the access port has not been identified as a memory access port".to_owned(),
        },
    }
}

/// The vendor's port that answered under this address.
fn identified(so_far: &Transcript, port: Port) -> Option<(&'static str, Effects)> {
    let Some(Answer::Ok(identification)) = so_far.reads(port, port.at(mem_ap::IDR)).last() else { return None };
    VENDOR_PORTS.iter().find(|(mask, value, ..)| identification & mask == *value).map(|(_, _, name, effects)| (*name, *effects))
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::Destructive => "destructive",
        })
    }
}
