//! What crosses the system bus.

use std::fmt;

/// Width of one access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Half,
    /// 32 bits.
    Word,
}

impl Size {
    /// Number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }

    /// The bits that a value of this width can have.
    #[must_use]
    pub const fn mask(self) -> u32 {
        match self {
            Self::Byte => 0xFF,
            Self::Half => 0xFFFF,
            Self::Word => 0xFFFF_FFFF,
        }
    }
}

/// The bus answered an access with an error: nothing at that address, an unaligned address, or an access the memory refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BusFault {
    /// The address of the access.
    pub address: u32,
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bus fault at {:#010x}", self.address)
    }
}

impl std::error::Error for BusFault {}
