//! The operations, each a session of its own, on the thread that calls them.

use std::{ops::Range, sync::OnceLock, time::Duration};

use probe_rs::{
    Core, CoreStatus, HaltReason, MemoryInterface, Permissions, Session, Target,
    config::{MemoryRegion, Registry},
    flashing::{DownloadOptions, FlashProgress, erase_all},
    probe::{DebugProbeError, DebugProbeSelector, Probe, ProbeCreationError, list::Lister},
    rtt::{Rtt, ScanRegion},
};

use serde::{Deserialize, Serialize};

use super::{
    failure::{Cause, Failure},
    lock,
    nrf51::{self, Configuration},
    order::{Unit, to_hex},
};
use crate::{channel::link::Segment, event::Digest};

/// Longest read of one operation.
pub(super) const MAX_READ: u32 = 16 << 20;
/// Below this no chip that a probe can drive is running. A probe-rs attach to an unpowered target takes five seconds to fail.
const NO_SUPPLY_VOLTS: f32 = 1.0;
/// Most that one exchange reads of an RTT buffer, whose size is the device's word.
const LARGEST_RTT: usize = 64 << 10;
/// Wall time for the core to halt.
const HALT: Duration = Duration::from_millis(500);

/// Chips that probe-rs knows. Loading takes some 30 ms, so it is done once.
fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::from_builtin_families)
}

/// A debug probe that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// USB vendor id.
    pub vendor: u16,
    /// USB product id.
    pub product: u16,
    /// Serial number.
    pub serial_number: Option<String>,
    /// What it is.
    pub name: String,
}

impl std::fmt::Display for Listed {
    /// As rigs name it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)?;
        self.serial_number.as_ref().map_or(Ok(()), |number| write!(f, ":{number}"))
    }
}

/// Debug probes that are there. None is opened.
pub(super) fn listed() -> Vec<Listed> {
    let listed = Lister::new().list_all().into_iter().map(|probe| Listed {
        vendor: probe.vendor_id,
        product: probe.product_id,
        serial_number: probe.serial_number.clone(),
        name: probe.identifier.clone(),
    });
    listed.collect()
}

/// The chip of that name.
fn target(chip: &str) -> Result<Target, Failure> {
    registry().get_target_by_name(chip).map_err(|error| {
        let mut failure = Failure::of(&error);
        if let Some(first) = registry().search_chips(chip).first() {
            failure.text = format!("{}; did you mean {first}?", failure.text);
        }
        failure
    })
}

/// Flash of a chip, and the configuration registers that this driver knows how to write.
pub(super) fn writable(chip: &str) -> Result<Vec<Range<u64>>, Failure> {
    let target = target(chip)?;
    let flash = target.memory_map.iter().filter_map(|region| match region {
        MemoryRegion::Nvm(flash) => Some(flash.range.clone()),
        _ => None,
    });
    Ok(flash.chain(nrf51::is(&target).then_some(nrf51::CONFIGURATION)).collect())
}

/// Which probe, and which chip.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Instrument {
    pub(super) selector: String,
    pub(super) chip: String,
    pub(super) identity: String,
    pub(super) speed_khz: Option<u32>,
    pub(super) unit: Option<Unit>,
}

/// The session that is kept from one operation to the next: one that keeps a core halted, because when a session ends the core runs on, or one
/// that exchanges bytes with the device, because attaching halts the core for some microseconds.
#[derive(Default)]
pub(super) struct Held(Option<Kept>);

struct Kept {
    session: Session,
    /// The board that was found to be the right one.
    unit: Option<Unit>,
    halted: bool,
    /// Where the device's RTT buffers are, with the address that was asked for.
    rtt: Option<(Option<u32>, Rtt)>,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Looking.
    Read,
    /// Changing what the device is or does.
    Act,
    /// Writing, after everything was erased.
    Erase,
}

impl Instrument {
    /// Whether the chip is known and the probe can be opened, unless it is open.
    pub(super) fn check(&self, held: &Held) -> Result<(), Failure> {
        target(&self.chip)?;
        if held.0.is_some() { Ok(()) } else { self.open().map(drop) }
    }

    fn open(&self) -> Result<Probe, Failure> {
        let selector: DebugProbeSelector = self.selector.parse().map_err(|error| Failure::of(&error))?;
        let lister = Lister::new();
        // A listed probe is opened by its own driver: a lister that tries all drivers reports the trouble of any of them.
        let opened = match lister.list(Some(&selector)).as_slice() {
            [] => lister.open(selector).map_err(|error| {
                let found: Vec<_> = lister.list_all().iter().map(|probe| DebugProbeSelector::from(probe).to_string()).collect();
                let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
                let why = Failure::of(&error).text;
                Failure::new(Cause::Absent, format!("there is no debug probe {}, there is: {found} ({why})", self.selector))
            }),
            [probe] => probe.open().map_err(|error| match error {
                DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::CouldNotOpen) => {
                    Failure::new(Cause::Absent, format!("debug probe {} is in use or may not be opened", self.selector))
                }
                // udev gives permission to a probe a moment after the kernel has listed it.
                error => match Failure::from(error) {
                    Failure { cause: Cause::Probe, text } => Failure { cause: Cause::Absent, text },
                    other => other,
                },
            }),
            several => {
                let several: Vec<_> = several.iter().map(|probe| DebugProbeSelector::from(probe).to_string()).collect();
                Err(Failure::new(Cause::Probe, format!("{} fits several debug probes: {}", self.selector, several.join(", "))))
            }
        };
        let mut probe = opened?;
        if let Some(khz) = self.speed_khz {
            probe.set_speed(khz)?;
        }
        Ok(probe)
    }

    /// Opens the probe and attaches to the device. probe-rs halts the core for some microseconds to clear breakpoints, here and when the
    /// session ends; then it goes on where it was.
    fn attach(&self, permissions: Permissions) -> Result<Session, Failure> {
        let mut probe = self.open()?;
        if let Ok(Some(volts)) = probe.get_target_voltage()
            && volts < NO_SUPPLY_VOLTS
        {
            return Err(Failure::new(
                Cause::NoTarget,
                format!("the device has no supply: the probe's sense pin is at {volts:.2} V"),
            ));
        }
        Ok(probe.attach_with_registry(self.chip.as_str(), permissions, registry())?)
    }

    /// A session with the right board. What changes a device is never done to one that is not known to be the right one.
    fn session(&self, purpose: Purpose) -> Result<Session, Failure> {
        // On chips whose lock only an erase opens, attaching with this permission erases: that is what erasing asks for, and nothing else may.
        let erasing = || Permissions::new().allow_erase_all();
        let Some(unit) = &self.unit else {
            let mut session = self.attach(if purpose == Purpose::Erase { erasing() } else { Permissions::new() })?;
            if purpose != Purpose::Read {
                forget_halts(&mut session)?;
            }
            return Ok(session);
        };
        let attached = self.attach(Permissions::new()).map_err(|failure| match (purpose, failure) {
            (Purpose::Act | Purpose::Erase, Failure { cause: Cause::Refused | Cause::Locked, text }) => {
                Failure::new(Cause::Unit, format!("which board is attached cannot be told: {text}"))
            }
            (_, failure) => failure,
        });
        let mut session = attached?;
        let found = identity(&mut session, unit).map_err(|failure| match failure {
            Failure { cause: Cause::Refused | Cause::Locked, text } if purpose != Purpose::Read => {
                Failure::new(Cause::Unit, format!("which board is attached cannot be told: {text}"))
            }
            failure => failure,
        });
        match found {
            Ok(found) if found == unit.bytes => {}
            Ok(found) => {
                let (wanted, found) = (to_hex(&unit.bytes), to_hex(&found));
                let text = format!("another board is attached: its chip is unit {found}, the rig is for unit {wanted}");
                return Err(Failure::new(Cause::Unit, text));
            }
            // A chip that does not show its identity is only looked at.
            Err(Failure { cause: Cause::Refused | Cause::Locked, .. }) if purpose == Purpose::Read => {}
            Err(failure) => return Err(failure),
        }
        if purpose == Purpose::Erase {
            drop(session);
            session = self.attach(erasing())?;
        }
        if purpose != Purpose::Read {
            forget_halts(&mut session)?;
        }
        Ok(session)
    }

    /// Asks the debug port about its lock; see [`lock`].
    pub(super) fn read_lock(&self, held: &mut Held, family: lock::Family) -> Result<lock::Transcript, Failure> {
        held.0 = None;
        lock::ask(self.open()?, family)
    }

    /// Writes, verifies, resets.
    pub(super) fn flash(&self, held: &mut Held, segments: &[Segment], erase: bool) -> Result<String, Failure> {
        held.0 = None;
        let mut session = self.session(if erase { Purpose::Erase } else { Purpose::Act })?;
        let nrf51 = nrf51::is(session.target());
        let (configuration, code) =
            if nrf51 { Configuration::split(segments)? } else { (Configuration::default(), segments.iter().collect()) };
        // Segments that fit nowhere, or overlap, are found before anything is erased.
        let mut loader = session.target().flash_loader();
        for segment in &code {
            loader.add_data(segment.address.into(), &segment.bytes)?;
        }
        if nrf51 {
            let mut core = session.core(0)?;
            if erase {
                nrf51::erase_all(&mut core)?;
            } else if let Some(range) = nrf51::protected(&mut core)? {
                return Err(Failure::new(Cause::Locked, format!("readback protection is on for {range:#x?}")));
            }
            configuration.fits(&mut core)?;
        } else if erase {
            erase_all(&mut session, &mut FlashProgress::empty(), false)?;
        }

        let mut options = DownloadOptions::new();
        options.verify = true;
        options.skip_erase = erase;
        // A page is erased as a whole; what the segments leave out of it stays as it was.
        options.keep_unwritten_bytes = !erase;
        loader.commit(&mut session, options)?;

        let mut core = session.core(0)?;
        core.halt(HALT)?;
        // The witness is a read of its own, before protection is written and takes effect.
        let mut found = Vec::new();
        for segment in &code {
            let mut bytes = vec![0; segment.bytes.len()];
            core.read(segment.address.into(), &mut bytes)?;
            if bytes != segment.bytes {
                return Err(Failure::new(Cause::Other, format!("the segment at {:#010x} reads back different", segment.address)));
            }
            found.append(&mut bytes);
        }
        configuration.write(&mut core)?;
        let caught = reset(&mut core)?;
        let erased = if erase { "erased all; " } else { "" };
        let registers = match configuration.len() {
            0 => String::new(),
            registers => format!(" and {registers} configuration registers"),
        };
        Ok(format!(
            "{erased}wrote {} bytes in {} segments{registers}; read back equal, blake3 {}; {caught}",
            found.len(),
            code.len(),
            Digest::of(&found).0
        ))
    }

    /// Resets and lets run.
    pub(super) fn reset(&self, held: &mut Held) -> Result<String, Failure> {
        held.0 = None;
        let mut session = self.session(Purpose::Act)?;
        reset(&mut session.core(0)?)
    }

    /// Halts the core until it is let run, reset or written.
    pub(super) fn halt(&self, held: &mut Held) -> Result<String, Failure> {
        held.0 = None;
        let mut session = self.session(Purpose::Act)?;
        let mut core = session.core(0)?;
        let at = core.halt(HALT)?.pc;
        match core.status()? {
            CoreStatus::Halted(_) => {}
            other => return Err(Failure::new(Cause::Other, format!("the core is not halted but {other:?}"))),
        }
        drop(core);
        held.0 = Some(Kept { session, unit: self.unit.clone(), halted: true, rtt: None });
        Ok(format!("core halted at {at:#010x}"))
    }

    /// Lets a halted core run and ends its session.
    pub(super) fn resume(held: &mut Held) -> Result<String, Failure> {
        let Some(Kept { mut session, halted: true, .. }) = held.0.take() else {
            return Err(Failure::new(Cause::Other, "the core was not halted, or its session was lost since"));
        };
        let mut core = session.core(0)?;
        core.run()?;
        match core.status()? {
            CoreStatus::Running | CoreStatus::Sleeping => Ok("core let run".to_owned()),
            // What its program does then is the device's affair.
            CoreStatus::LockedUp => Ok("core let run; it has locked up since".to_owned()),
            other => Err(Failure::new(Cause::Other, format!("the core does not run but is {other:?}"))),
        }
    }

    /// Whether the board of a kept session was compared as this instrument asks. One that was not is looked at anew, even if its core was halted:
    /// two channels of a probe that ask for different boards are a mistake in the rig.
    fn knows(&self, kept: &Kept) -> bool {
        self.unit.is_none() || kept.unit == self.unit
    }

    /// Reads memory, without a reset.
    pub(super) fn read(&self, held: &mut Held, address: u32, len: u32) -> Result<Result<Vec<u8>, String>, Failure> {
        let asked = u64::from(address)..u64::from(address) + u64::from(len);
        if len > MAX_READ || asked.end > 1 << 32 {
            return Err(Failure::new(
                Cause::Other,
                format!("cannot read {len} bytes at {address:#010x}: at most 16 MiB below 4 GiB"),
            ));
        }
        if held.0.as_ref().is_some_and(|kept| !self.knows(kept)) {
            held.0 = None;
        }
        let found = match &mut held.0 {
            Some(kept) => read(&mut kept.session, &asked),
            None => self.session(Purpose::Read).and_then(|mut session| read(&mut session, &asked)),
        };
        if matches!(&found, Err(failure) if matches!(failure.cause, Cause::NoTarget | Cause::Probe)) {
            // The device lost its power, or the probe its plug: nothing is halted any more.
            held.0 = None;
        }
        match found {
            Err(Failure { cause: Cause::Refused | Cause::Locked, text }) => Ok(Err(text)),
            other => other,
        }
    }

    /// Exchanges bytes with an RTT channel: how many of `offered` were taken, and what was there. A core that is halted stays so.
    pub(super) fn exchange(
        &self,
        held: &mut Held,
        number: u32,
        at: Option<u32>,
        offered: &[u8],
    ) -> Result<(usize, Vec<u8>), Failure> {
        if held.0.as_ref().is_some_and(|kept| !self.knows(kept)) {
            held.0 = None;
        }
        if held.0.is_none() {
            // Reading is writing, too: the device is told how far it was read.
            held.0 = Some(Kept { session: self.session(Purpose::Act)?, unit: self.unit.clone(), halted: false, rtt: None });
        }
        let Some(kept) = &mut held.0 else { return Err(Failure::new(Cause::Other, "no session")) };
        let exchanged = kept.exchange(number as usize, at, offered);
        if exchanged.is_err() {
            // Whatever went wrong, the next attempt begins anew; only a halted core is not let run for that.
            kept.rtt = None;
            if !kept.halted {
                held.0 = None;
            }
        }
        exchanged
    }
}

impl Kept {
    fn exchange(&mut self, number: usize, at: Option<u32>, offered: &[u8]) -> Result<(usize, Vec<u8>), Failure> {
        let mut core = self.session.core(0)?;
        let mut rtt = match self.rtt.take() {
            Some((known, rtt)) if known == at => rtt,
            _ => Rtt::attach_region(&mut core, &at.map_or(ScanRegion::Ram, |at| ScanRegion::Exact(at.into())))?,
        };
        let missing = |which: &str| Failure::new(Cause::Other, format!("the device's RTT has no {which} channel {number}"));
        let up = rtt.up_channel(number).ok_or_else(|| missing("up"))?;
        let mut bytes = vec![0; up.buffer_size().min(LARGEST_RTT)];
        let count = up.read(&mut core, &mut bytes)?;
        bytes.truncate(count);
        let taken = match (offered, rtt.down_channel(number)) {
            ([], _) => 0,
            (_, None) => return Err(missing("down")),
            (_, Some(down)) => down.write(&mut core, offered)?,
        };
        self.rtt = Some((at, rtt));
        Ok((taken, bytes))
    }
}

/// Clears the reasons of earlier halts, which stay until then (ARMv6-M and ARMv7-M Architecture Reference Manuals, C1.6.1, DFSR). A session that
/// was cut in the middle of a write leaves a breakpoint there; probe-rs would look for its instruction where the core is next halted, which on
/// a device with half a program may be where no memory is.
fn forget_halts(session: &mut Session) -> Result<(), Failure> {
    const DFSR: u64 = 0xE000_ED30;
    let mut core = session.core(0)?;
    if core.core_type().is_cortex_m() {
        core.write_word_32(DFSR, 0x1F)?;
    }
    Ok(())
}

/// What the chip has where its identity is.
fn identity(session: &mut Session, unit: &Unit) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; unit.bytes.len()];
    session.core(0)?.read(unit.address.into(), &mut bytes)?;
    Ok(bytes)
}

fn read(session: &mut Session, asked: &Range<u64>) -> Result<Result<Vec<u8>, String>, Failure> {
    let protected_chip = nrf51::is(session.target());
    let mut core = session.core(0)?;
    let mut bytes = vec![0; (asked.end - asked.start) as usize];
    core.read(asked.start, &mut bytes)?;
    if protected_chip && let Some(range) = nrf51::protected(&mut core)? {
        // This chip does not refuse: what it does not show reads as zero. Anything else there is a leak, and is handed out.
        let hidden = u64::from(range.start).max(asked.start)..u64::from(range.end).min(asked.end);
        if hidden.start < hidden.end {
            let hidden = (hidden.start - asked.start) as usize..(hidden.end - asked.start) as usize;
            if bytes[hidden].iter().all(|&byte| byte == 0) {
                return Ok(Err(format!("readback protection is on for {range:#x?}: it reads as zero")));
            }
        }
    }
    Ok(Ok(bytes))
}

/// Resets the system into the core's reset vector catch, which proves the reset, and lets it run from there.
fn reset(core: &mut Core<'_>) -> Result<String, Failure> {
    let at = core.reset_and_halt(HALT)?.pc;
    match core.status()? {
        CoreStatus::Halted(HaltReason::Exception) => {}
        other => return Err(Failure::new(Cause::Other, format!("the core is not caught at reset but {other:?}"))),
    }
    core.run()?;
    Ok(format!("core caught in reset at {at:#010x} and let run"))
}
