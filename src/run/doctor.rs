//! Whether a bench could be used, found out without disturbing the device on it.
//!
//! Each instrument's lease is taken while it is looked at: one that a run has is left alone, and no run begins in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::statvfs::statvfs;

use super::{
    guard::{Guard, Watch},
    lease::{self, Holder, Lease, LeaseError},
    registry::Registry,
};
use crate::{
    channel::{
        finding::{Finding, Severity},
        link::ChannelKind,
    },
    event::RunId,
    rig::model::{ChannelSpec, Rig},
};

/// Time for one channel; an instrument that hangs is a finding, too.
const LIMIT: Duration = Duration::from_secs(30);
/// Free space below which a run is not to be begun: some captured consoles and evidence.
const TOO_LITTLE: u64 = 100 << 20;
/// Free space below which somebody should make room.
const LITTLE: u64 = 1 << 30;

/// What was found about one part of the bench.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Channel, or `store`, `guard`, `clock`.
    pub subject: String,
    /// Driver, for channels.
    pub driver: Option<String>,
    /// What was found; never empty.
    pub findings: Vec<Finding>,
}

impl Examined {
    /// How bad the worst finding is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine)
    }

    /// A part of the bench that is no channel.
    #[must_use]
    pub fn part(subject: &str, finding: Finding) -> Self {
        Self { subject: subject.to_owned(), driver: None, findings: vec![finding] }
    }
}

/// Examines every channel of `rig`, in the order of names. `leases` is where leases are kept, `holder` what others are told meanwhile.
pub async fn channels(rig: &Rig, registry: &Registry, leases: &Path, holder: &Holder) -> Vec<Examined> {
    let mut held = BTreeMap::new();
    let mut found: BTreeMap<&String, Examined> = BTreeMap::new();
    let is_supply = |spec: &ChannelSpec| registry.get(&spec.driver).is_some_and(|driver| driver.kind() == ChannelKind::Supply);
    // Supplies first: what they feed may be away.
    let mut order: Vec<_> = rig.channels.iter().collect();
    order.sort_by_key(|(_, spec)| !is_supply(spec));
    for (name, spec) in order {
        let mut findings = channel(spec, registry, leases, holder, &mut held).await;
        let supply = spec.parameters.powered_by().and_then(|supply| found.get(&supply.to_owned()));
        if let Some(supply) = supply {
            findings = findings.into_iter().map(|finding| away(finding, supply)).collect();
        }
        found.insert(name, Examined { subject: name.clone(), driver: Some(spec.driver.clone()), findings });
    }
    found.into_values().collect()
}

/// An instrument that is away because its supply is down is as it should be.
fn away(finding: Finding, supply: &Examined) -> Finding {
    let up = supply.findings.iter().any(|finding| finding.what.ends_with("reads back up"));
    if !finding.absent || up || supply.severity() == Severity::Problem {
        return finding;
    }
    Finding::warning(
        format!("away, as is to be expected while `{}` is down", supply.subject),
        "`hilbench doctor --golden` powers it and looks again",
    )
}

async fn channel(
    spec: &ChannelSpec,
    registry: &Registry,
    leases: &Path,
    holder: &Holder,
    held: &mut BTreeMap<String, Vec<Lease>>,
) -> Vec<Finding> {
    let Some(driver) = registry.get(&spec.driver) else {
        return vec![Finding::problem(format!("there is no driver `{}` in this build", spec.driver), "correct the rig")];
    };
    if let Err(error) = driver.check(&spec.parameters) {
        return vec![error.into()];
    }
    // Without an instrument there is nothing to lease; the driver says why it is not there.
    if let Ok(instrument) = driver.identity(&spec.parameters)
        && !held.contains_key(&instrument)
    {
        match lease::take(leases, &BTreeSet::from([instrument.clone()]), holder, None) {
            Ok(lease) => drop(held.insert(instrument, lease)),
            Err(error @ LeaseError::Io { .. }) => {
                let advice = "the file must be writable for all who use this bench; remove it if it is left over";
                return vec![Finding::problem(error.to_string(), advice)];
            }
            Err(error) => {
                let advice = "`hilbench leases` lists who has what; `hilbench run --wait 10m` waits for it";
                return vec![Finding::problem(error.to_string(), advice)];
            }
        }
    }
    let found = tokio::time::timeout(LIMIT, driver.examine(&spec.parameters)).await;
    let found = found.unwrap_or_else(|_| {
        let advice = "unplug the instrument and plug it in again";
        vec![Finding::problem(format!("no answer within {LIMIT:?}"), advice)]
    });
    if found.is_empty() { vec![Finding::fine("nothing is wrong with it")] } else { found }
}

/// Whether runs can be recorded in `store`.
#[must_use]
pub fn store(store: &Path) -> Finding {
    let shown = store.display();
    let probe = store.join(format!(".doctor-{}", std::process::id()));
    let written = fs::create_dir_all(store).and_then(|()| fs::write(&probe, [0; 4096])).and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        return Finding::problem(
            format!("{shown} cannot be written: {error}"),
            "choose another place with --store or HILBENCH_STORE",
        );
    }
    let free = match statvfs(store) {
        Ok(facts) => facts.blocks_available().saturating_mul(facts.fragment_size()),
        Err(error) => return Finding::warning(format!("{shown}: free space is not known: {}", error.desc()), "look with `df`"),
    };
    room(&store.display().to_string(), free)
}

fn room(store: &str, free: u64) -> Finding {
    let what = format!("{store} can be written, {} free", size(free));
    let advice = "delete runs that are no longer needed, or choose another place with --store";
    match free {
        0..TOO_LITTLE => Finding::problem(what, advice),
        TOO_LITTLE..LITTLE => Finding::warning(what, advice),
        _ => Finding::fine(what),
    }
}

fn size(bytes: u64) -> String {
    if bytes >= 1 << 30 { format!("{} GiB", bytes >> 30) } else { format!("{} MiB", bytes >> 20) }
}

/// Whether the guard can be started and dismissed. It is given nothing to do.
pub async fn guard(command: &[String], leases: &Path) -> Finding {
    let watch = Watch {
        run: RunId::new("doctor"),
        run_directory: PathBuf::from("/nonexistent"),
        actions: Vec::new(),
        timeout_ms: 0,
        leases: leases.to_owned(),
        instruments: Vec::new(),
    };
    let tried = async { Guard::start(command, watch).await?.dismiss().await };
    match tried.await {
        Ok(()) => Finding::fine("starts, answers and ends"),
        Err(error) => Finding::problem(error.to_string(), "may this user start processes? no run begins without a guard"),
    }
}

/// What times are measured with. `name` is the clock of the bench.
#[must_use]
pub fn clock(name: &str, sys: &Path) -> Finding {
    if name != "wall" {
        return Finding::fine("times are the device's own");
    }
    let source = fs::read_to_string(sys.join("devices/system/clocksource/clocksource0/current_clocksource"));
    match source.as_deref().map(str::trim) {
        Ok(coarse @ ("jiffies" | "refined-jiffies")) => Finding::warning(
            format!("times come from {coarse}, which is good to some milliseconds"),
            "boot without `clocksource=`, or use another machine for measurements",
        ),
        Ok(source) => Finding::fine(format!("times come from {}", source.chars().take(32).collect::<String>())),
        Err(_) => Finding::warning("what times come from is not known", "measured times may be coarse"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_needs_room_and_permission() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("new/store");
        assert!(!store(&inside).is_problem(), "{}", store(&inside));
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0, "nothing is left behind");
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(store(&dir.path().join("file")).is_problem());
        let severity = |free| room("s", free).severity;
        assert_eq!(severity(TOO_LITTLE - 1), Severity::Problem);
        assert_eq!(severity(TOO_LITTLE), Severity::Warning);
        assert_eq!(severity(LITTLE), Severity::Fine);
        assert_eq!((size(5 << 30), size(99 << 20)), ("5 GiB".to_owned(), "99 MiB".to_owned()));
    }

    #[test]
    fn a_coarse_clock_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("devices/system/clocksource/clocksource0");
        fs::create_dir_all(&place).unwrap();
        for (source, severity) in [("tsc\n", Severity::Fine), ("jiffies\n", Severity::Warning)] {
            fs::write(place.join("current_clocksource"), source).unwrap();
            assert_eq!(clock("wall", dir.path()).severity, severity);
        }
        assert_eq!(clock("virtual", Path::new("/nonexistent")).severity, Severity::Fine);
    }

    #[test]
    fn what_a_supply_feeds_may_be_away_only_while_it_is_down() {
        let supply = |what: &str| Examined::part("supply", Finding::fine(what));
        let gone = || Finding::absent("no such port", "plug it in");
        assert_eq!(away(gone(), &supply("opens, and reads back down")).severity, Severity::Warning);
        assert_eq!(away(gone(), &supply("opens, and reads back up")).severity, Severity::Problem);
        let broken = Examined::part("supply", Finding::problem("welded", ""));
        assert_eq!(away(gone(), &broken).severity, Severity::Problem);
        let denied = Finding::problem("not allowed", "join the group");
        assert_eq!(away(denied.clone(), &supply("opens, and reads back down")), denied);
    }
}
