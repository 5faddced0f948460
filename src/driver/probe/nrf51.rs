//! What the nRF51 needs beside its flash algorithm: erasing a protected chip, and the user configuration registers, which probe-rs'
//! description of the chip does not have.
//!
//! Addresses and values are those of the nRF51 Series Reference Manual v3.0 (chapters NVMC and UICR). Everything here goes through the
//! access port only: a protected chip lets a debugger reach NVMC and UICR, but no code.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use probe_rs::{Core, MemoryInterface, Target};

use super::failure::{Cause, Failure};
use crate::channel::link::Segment;

const NVMC_READY: u64 = 0x4001_E400;
const NVMC_CONFIG: u64 = 0x4001_E504;
const NVMC_ERASEALL: u64 = 0x4001_E50C;
const READ_ONLY: u32 = 0;
const WRITE_ENABLE: u32 = 1;
const ERASE_ENABLE: u32 = 2;

/// Length of code region 0 in bytes; all ones: there is none.
const UICR_CLENR0: u32 = 0x1000_1000;
/// Readback protection: low byte of region 0, next byte of all code; `0xFF` is off.
const UICR_RBPCONF: u32 = 0x1000_1004;
const UICR: Range<u32> = 0x1000_1000..0x1000_1100;
/// The same for whoever asks what can be written.
pub(super) const CONFIGURATION: Range<u64> = UICR.start as u64..UICR.end as u64;

const CODE: Range<u32> = 0..0x4_0000;

/// Wall time allowed for one operation of the flash controller. The longest, erasing all, takes 22 ms on the chip.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether `session` is with an nRF51.
pub(super) fn is(target: &Target) -> bool {
    target.name.to_ascii_lowercase().starts_with("nrf51")
}

/// The part of the code memory that the device does not let a debugger read, if any.
pub(super) fn protected(core: &mut Core<'_>) -> Result<Option<Range<u32>>, Failure> {
    let protection = core.read_word_32(UICR_RBPCONF.into())?;
    if protection >> 8 & 0xFF != 0xFF {
        return Ok(Some(CODE));
    }
    let region = core.read_word_32(UICR_CLENR0.into())?;
    Ok((protection & 0xFF != 0xFF && region != u32::MAX && region != 0).then(|| CODE.start..region.min(CODE.end)))
}

/// Erases code and configuration registers, then resets into the first instruction so that the erased protection is in effect.
pub(super) fn erase_all(core: &mut Core<'_>) -> Result<(), Failure> {
    core.halt(Duration::from_millis(500))?;
    wait_ready(core)?;
    core.write_word_32(NVMC_CONFIG, ERASE_ENABLE)?;
    core.write_word_32(NVMC_ERASEALL, 1)?;
    wait_ready(core)?;
    core.write_word_32(NVMC_CONFIG, READ_ONLY)?;
    core.reset_and_halt(Duration::from_millis(500))?;
    match protected(core)? {
        None => Ok(()),
        Some(_) => Err(Failure::new(Cause::Other, "readback protection is still on after erasing all")),
    }
}

fn wait_ready(core: &mut Core<'_>) -> Result<(), Failure> {
    let start = Instant::now();
    while core.read_word_32(NVMC_READY)? & 1 == 0 {
        if start.elapsed() > PATIENCE {
            return Err(Failure::new(Cause::Other, "the flash controller does not become ready"));
        }
    }
    Ok(())
}

/// What is wanted of one configuration register.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    value: u32,
    /// Bits that a segment names; the others stay as they are.
    mask: u32,
}

impl Wanted {
    /// A write clears bits and sets none, so ones leave the register as it is.
    fn word(self) -> u32 {
        self.value | !self.mask
    }

    fn met_by(self, register: u32) -> bool {
        (register ^ self.value) & self.mask == 0
    }
}

/// Words for the configuration registers, by address.
#[derive(Debug, Default)]
pub(super) struct Configuration(BTreeMap<u32, Wanted>);

impl Configuration {
    /// Parts the segments in those for the configuration registers and the rest.
    pub(super) fn split(segments: &[Segment]) -> Result<(Self, Vec<&Segment>), Failure> {
        let mut words = BTreeMap::<u32, Wanted>::new();
        let mut rest = Vec::new();
        for segment in segments {
            let first = segment.address;
            if !UICR.contains(&first) {
                rest.push(segment);
                continue;
            }
            if segment.bytes.len() > (UICR.end - first) as usize {
                return Err(Failure::new(
                    Cause::Other,
                    format!("the segment at {first:#010x} is longer than the configuration registers"),
                ));
            }
            for (address, &byte) in (first..).zip(&segment.bytes) {
                let word = words.entry(address & !3).or_default();
                let shift = 8 * (address & 3);
                word.value |= u32::from(byte) << shift;
                word.mask |= 0xFF << shift;
            }
        }
        Ok((Self(words), rest))
    }

    /// Whether the registers can become what is wanted from what they are.
    pub(super) fn fits(&self, core: &mut Core<'_>) -> Result<(), Failure> {
        for (&address, wanted) in &self.0 {
            let present = core.read_word_32(address.into())?;
            if !wanted.met_by(present & wanted.word()) {
                let text = format!(
                    "configuration register {address:#010x} holds {present:#010x} and cannot become {:#010x} without erasing all",
                    wanted.word()
                );
                return Err(Failure::new(Cause::Other, text));
            }
        }
        Ok(())
    }

    /// Writes what differs and reads it back; readback protection last. It takes effect at the next reset.
    pub(super) fn write(&self, core: &mut Core<'_>) -> Result<(), Failure> {
        let open = self.0.iter().filter(|&(&address, _)| address != UICR_RBPCONF);
        for (&address, wanted) in open.chain(self.0.get_key_value(&UICR_RBPCONF)) {
            if wanted.met_by(core.read_word_32(address.into())?) {
                continue;
            }
            core.write_word_32(NVMC_CONFIG, WRITE_ENABLE)?;
            core.write_word_32(address.into(), wanted.word())?;
            wait_ready(core)?;
            core.write_word_32(NVMC_CONFIG, READ_ONLY)?;
            let found = core.read_word_32(address.into())?;
            if !wanted.met_by(found) {
                let text =
                    format!("configuration register {address:#010x} reads {found:#010x} after writing {:#010x}", wanted.word());
                return Err(Failure::new(Cause::Other, text));
            }
        }
        Ok(())
    }

    /// How many registers are named.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
