//! The page `docs/lock-states.md`, from the table in code.

use super::{Certainty, Family};

const HEAD: &str = "# Lock states

How the bench tells whether a debug port is locked, family by family. Nothing attaches to the device: raw reads of debug port and access
ports, and a pure function of what came back (`src/driver/probe/lock.rs`). This file is generated from the table in code; a test
compares the two.

A lock is proven or it is not reported. Silence is `no-debug-port` if the probe senses the device's supply and `undetermined`
otherwise; a loose wire looks the same as a port that is switched off. An answer that no rule expects is `undetermined`. All families need a
debug port that identifies itself and acknowledges power-up, and contact that is not lost on the way.

*documented*: the manual named describes register and values. They were taken over by way of vendor headers, public tools (OpenOCD, pyOCD,
probe-rs) and the bench's own catalogue; a comparison with the manual's pages is still to be made. *uncertain*: sources differ or leave
room; to be confirmed on hardware before a verdict rests on it alone. No rule has been tried on hardware by this project yet, except that of
nrf51 on the emulated chip.
";

const TAIL: &str = "
## What reading writes

DP: ABORT (clears sticky flags), CTRL/STAT (power-up), SELECT. AP: CSW and TAR, and only in ports that have just identified themselves as
memory access ports. Everything else, every write to memory included, is refused unless the plan says `destructive: true` and the rig
marks the unit as sacrificial. The environment variable `PROBE_RS_ALLOW_ERASE_ALL` of probe-rs' command-line tools has no effect on
the bench: the library does not read it.
";

/// The page as it should be.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for family in Family::ALL {
        let profile = family.profile();
        let certainty = match profile.certainty {
            Certainty::Documented => "documented",
            Certainty::Uncertain => "uncertain",
        };
        let chips = profile.chips.iter().map(|prefix| format!("`{prefix}`")).collect::<Vec<_>>().join(", ");
        page += &format!("\n## {}\n\n| | |\n|---|---|\n", profile.name);
        for (head, text) in [
            ("chips that begin with", chips.as_str()),
            ("read", profile.reads),
            ("proves open", profile.proves_open),
            ("proves a lock", profile.proves_locked),
            ("traps", profile.traps),
            ("source", profile.source),
            ("certainty", certainty),
        ] {
            page += &format!("| {head} | {text} |\n");
        }
    }
    page + TAIL
}
