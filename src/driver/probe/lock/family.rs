//! Families of chips with one lock each, and their names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use super::{Profile, microchip, nordic, nxp, raspberry, silabs, stm32, ti};

/// Chips whose lock is read in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the chips")]
pub enum Family {
    Nrf51,
    Nrf52,
    Nrf53,
    Nrf91,
    Nrf54l,
    Stm32F0F3,
    Stm32F1,
    Stm32F2F4F7,
    Stm32L0,
    Stm32L1,
    Stm32G0G4L4,
    Stm32Wb,
    Stm32H7,
    Stm32L5U5,
    Sam,
    Kinetis,
    LpcCrp,
    Lpc55,
    Efm32,
    Efr32S2,
    Cc13,
    Rp2040,
    Rp2350,
}

/// A name that belongs to no family here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no rule for reading the lock of {what} {name:?}: {why}; there are rules for: {}", names())]
pub struct UnknownFamily {
    what: &'static str,
    name: String,
    why: &'static str,
}

fn names() -> String {
    Family::ALL.map(Family::name).join(", ")
}

/// Beginnings of chip names that look like those of a family whose lock the chips do not have, and what is different.
const ODD_ONES: &[(&str, &str)] = &[
    ("stm32wba", "its flash controller is another one"),
    ("stm32wb0", "its flash controller is another one"),
    ("stm32wl3", "its flash controller is another one"),
    ("stm32h7r", "it has product states and debug authentication"),
    ("stm32h7s", "it has product states and debug authentication"),
    ("atsaml10", "it has access levels"),
    ("atsaml11", "it has access levels"),
    ("cc1314", "its customer configuration is at another place"),
    ("cc1354", "its customer configuration is at another place"),
    ("cc1352p7", "its customer configuration is at another place"),
    ("cc2652r7", "its customer configuration is at another place"),
    ("cc2652p7", "its customer configuration is at another place"),
    ("cc2674", "its customer configuration is at another place"),
    ("rp235x_riscv", "its RISC-V cores are behind another access port"),
];

impl Family {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Nrf51,
        Self::Nrf52,
        Self::Nrf53,
        Self::Nrf91,
        Self::Nrf54l,
        Self::Stm32F0F3,
        Self::Stm32F1,
        Self::Stm32F2F4F7,
        Self::Stm32L0,
        Self::Stm32L1,
        Self::Stm32G0G4L4,
        Self::Stm32Wb,
        Self::Stm32H7,
        Self::Stm32L5U5,
        Self::Sam,
        Self::Kinetis,
        Self::LpcCrp,
        Self::Lpc55,
        Self::Efm32,
        Self::Efr32S2,
        Self::Cc13,
        Self::Rp2040,
        Self::Rp2350,
    ];

    pub(super) fn profile(self) -> &'static Profile {
        match self {
            Self::Nrf51 => &nordic::NRF51,
            Self::Nrf52 => &nordic::NRF52,
            Self::Nrf53 => &nordic::NRF53,
            Self::Nrf91 => &nordic::NRF91,
            Self::Nrf54l => &nordic::NRF54L,
            Self::Stm32F0F3 => &stm32::F0F3,
            Self::Stm32F1 => &stm32::F1,
            Self::Stm32F2F4F7 => &stm32::F2F4F7,
            Self::Stm32L0 => &stm32::L0,
            Self::Stm32L1 => &stm32::L1,
            Self::Stm32G0G4L4 => &stm32::G0G4L4,
            Self::Stm32Wb => &stm32::WB,
            Self::Stm32H7 => &stm32::H7,
            Self::Stm32L5U5 => &stm32::L5U5,
            Self::Sam => &microchip::SAM,
            Self::Kinetis => &nxp::KINETIS,
            Self::LpcCrp => &nxp::LPC_CRP,
            Self::Lpc55 => &nxp::LPC55,
            Self::Efm32 => &silabs::EFM32,
            Self::Efr32S2 => &silabs::EFR32_S2,
            Self::Cc13 => &ti::CC13,
            Self::Rp2040 => &raspberry::RP2040,
            Self::Rp2350 => &raspberry::RP2350,
        }
    }

    /// Name in rig files.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.profile().name
    }

    /// TARGETSEL of the debug port, for chips that share the wire with others of their kind.
    #[must_use]
    pub fn multidrop(self) -> Option<u32> {
        self.profile().multidrop
    }

    /// The family of a chip by its probe-rs name.
    ///
    /// # Errors
    /// No family has it.
    pub fn of_chip(chip: &str) -> Result<Self, UnknownFamily> {
        let lower = chip.to_ascii_lowercase();
        let length = |family: &Self| {
            let fitting = family.profile().chips.iter().filter(|prefix| lower.starts_with(**prefix));
            fitting.map(|prefix| prefix.len()).max()
        };
        let odd = ODD_ONES.iter().find(|(prefix, _)| lower.starts_with(prefix)).map(|(_, why)| *why);
        let found = Self::ALL.into_iter().filter_map(|family| Some((length(&family)?, family))).max();
        match (found, odd) {
            (Some((_, family)), None) => Ok(family),
            (_, why) => {
                Err(UnknownFamily { what: "chip", name: chip.to_owned(), why: why.unwrap_or("it is of no family known here") })
            }
        }
    }
}

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(name: &str) -> Result<Self, UnknownFamily> {
        let known = Self::ALL.into_iter().find(|family| family.name() == name);
        known.ok_or_else(|| UnknownFamily { what: "family", name: name.to_owned(), why: "it is misspelt, or not known here" })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
