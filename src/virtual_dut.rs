//! The virtual device under test: an ARMv6-M core with the peripherals of an nRF51822, and a model of its supply.
//!
//! Written from the ARMv6-M Architecture Reference Manual (DDI 0419), the Cortex-M0 Technical Reference Manual (DDI 0432) and the
//! nRF51 Series Reference Manual v3.0. The model is deterministic: the same configuration and the same inputs at the same device times give the
//! same machine, bit for bit, however the time is sliced and whether or not its short cuts (idle skipping, memoised calls) are taken.

mod access;
pub mod bench;
mod bus;
mod core;
mod cpu;
pub mod cuts;
pub mod dap;
mod debug;
mod decode;
mod events;
mod gpio;
pub mod hub;
mod looked;
mod machine;
mod memo;
mod noise;
mod nv;
mod nvic;
mod power;
pub mod probe;
mod recording;
mod rng;
mod rtc;
mod soc;
mod systick;
mod timer;
mod uart;
mod wdt;

pub use bus::{BusFault, Size};
pub use machine::{Machine, MachineConfig, StopReason, TxByte};
pub use memo::VerifyMemo;
pub use nv::{NvCounts, NvMemory};

/// Device time units per second: the 16 MHz high-frequency clock.
pub const CYCLES_PER_SECOND: u64 = 16_000_000;
/// First address of the code flash.
pub const FLASH_BASE: u32 = 0;
/// Bytes of code flash.
pub const FLASH_SIZE: u32 = 256 * 1024;
/// Bytes of a flash page, the unit of erase.
pub const PAGE_SIZE: u32 = 1024;
/// First address of the RAM.
pub const RAM_BASE: u32 = 0x2000_0000;
/// Bytes of RAM.
pub const RAM_SIZE: u32 = 16 * 1024;
/// First address of the factory information registers.
pub const FICR_BASE: u32 = 0x1000_0000;
/// First address of the user information registers.
pub const UICR_BASE: u32 = 0x1000_1000;
