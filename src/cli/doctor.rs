//! `hilbench doctor`.

use std::{fmt::Write as _, path::Path, time::Duration};

use super::{Exit, arguments, arguments::MessageFormat, check, complain, out, run, wiring};
use crate::{
    channel::finding::{Finding, Severity},
    plan::{
        Applicability, Bound, PlanFile, bind, load_plan,
        model::{Case, Plan},
    },
    rig::{Golden, RigFile, load_rig},
    run::{
        desk::{Attendance, Desk},
        doctor::{self, Examined},
        lease::{self, Holder},
    },
    view::sanitise::{columns, json as printable, line},
};

/// Bench time for the proof of one channel.
const PROOF: Duration = Duration::from_mins(10);
/// Bench time for all of them.
const PROOFS: Duration = Duration::from_hours(2);

pub(super) fn doctor(arguments: &arguments::Doctor) -> Exit {
    let format = arguments.message_format;
    let (rig, bound) = match load(arguments) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::BenchError;
        }
    };
    let examined = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err("stopped".to_owned()),
            examined = examine(&rig, &arguments.store.store) => examined,
        }
    });
    // What a hung instrument keeps is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    let examined = match examined {
        Ok(examined) => examined,
        Err(what) => {
            complain(&format!("error: {}", crate::diagnostic::sanitise(&what)));
            return Exit::BenchError;
        }
    };
    let width = examined.iter().map(|examined| columns(&line(&examined.subject, 32))).max().unwrap_or(0);
    for examined in &examined {
        out(&match format {
            MessageFormat::Human => human(examined, width),
            MessageFormat::Json => json(examined),
        });
    }
    if let Some(bound) = &bound {
        cannot_run(bound, format);
    }
    let sick = examined.iter().any(|examined| examined.severity() == Severity::Problem);
    if !arguments.golden {
        return if sick { Exit::BenchError } else { Exit::Pass };
    }
    if sick {
        complain("the channels are not proven: mend first what is wrong");
        return Exit::BenchError;
    }
    prove(arguments, rig)
}

/// Reads and checks the files.
fn load(arguments: &arguments::Doctor) -> Result<(RigFile, Option<Bound>), Exit> {
    let plan = arguments.plan.as_deref().map(load_plan);
    let rig = load_rig(&arguments.rig, &wiring::catalogue());
    for report in [plan.as_ref().and_then(|plan| plan.as_ref().err()), rig.as_ref().err()].into_iter().flatten() {
        check::print(report, arguments.message_format);
    }
    let (Ok(plan), Ok(rig)) = (plan.transpose(), rig) else { return Err(Exit::InvalidInput) };
    let problems = wiring::problems(&rig.rig);
    for problem in &problems {
        complain(&format!("error: {}", crate::diagnostic::sanitise(problem)));
    }
    let bound = plan.map(|plan: PlanFile| bind(&plan, &rig)).transpose().map_err(|report| {
        check::print(&report, arguments.message_format);
        Exit::InvalidInput
    })?;
    let erasing = arguments.golden.then(|| erasing(&rig)).flatten();
    if let Some(channel) = erasing {
        complain(&format!(
            "error: {}: the golden steps of channel `{}` erase the whole device, and the rig does not say that they may\n  \
             if this unit may lose everything on it, write `sacrificial: true` at the top of the rig file",
            line(&arguments.rig.display().to_string(), 400),
            line(channel, 64),
        ));
        return Err(Exit::InvalidInput);
    }
    if problems.is_empty() { Ok((rig, bound)) } else { Err(Exit::InvalidInput) }
}

/// A channel whose proof would erase a device that is not to be erased.
fn erasing(file: &RigFile) -> Option<&str> {
    let proofs = file.rig.device.golden.iter().filter(|golden| file.rig.channels.contains_key(&golden.channel));
    proofs.into_iter().find(|golden| golden.erases && !file.world.may_erase).map(|golden| golden.channel.as_str())
}

async fn examine(rig: &RigFile, store: &Path) -> Result<Vec<Examined>, String> {
    let store = std::path::absolute(store).map_err(|error| format!("{}: {error}", store.display()))?;
    let leases = lease::directory(&store);
    let mut rig = rig.rig.clone();
    let wired =
        wiring::for_run(&mut rig, &store, None, &Desk::new(Attendance::Nobody, Vec::new())).map_err(|error| error.to_string())?;
    let holder = Holder {
        pid: std::process::id(),
        since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        plan: "doctor".to_owned(),
        run: "doctor".to_owned(),
    };
    let mut examined = doctor::channels(&rig, &wired.registry, &leases, &holder).await;
    examined.push(Examined::part("clock", doctor::clock(wired.clock.name(), Path::new("/sys"))));
    let program = std::env::current_exe().map_err(|error| format!("cannot find the guard's program: {error}"))?;
    let guard = [program.display().to_string(), "guard".to_owned()];
    examined.push(Examined::part("guard", doctor::guard(&guard, &leases).await));
    examined.push(Examined::part("store", doctor::store(&store)));
    Ok(examined)
}

const fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "ok",
        Severity::Warning => "note",
        Severity::Problem => "BAD",
    }
}

/// One line with the worst finding, details below.
fn human(examined: &Examined, width: usize) -> String {
    let severity = examined.severity();
    let subject = line(&examined.subject, 32);
    let pad = " ".repeat(width.saturating_sub(columns(&subject)));
    let driver = examined.driver.as_ref().map(|driver| format!("{}: ", line(driver, 32))).unwrap_or_default();
    let mut text = format!("{:<4} {subject}{pad}  {driver}", sign(severity));
    let below = " ".repeat(7 + width);
    let worst = examined.findings.iter().position(|finding| finding.severity == severity).unwrap_or(0);
    let worst_first = examined.findings.get(worst).into_iter();
    let others = examined.findings.iter().enumerate().filter(|(index, _)| *index != worst).map(|(_, finding)| finding);
    for (index, Finding { what, advice, .. }) in worst_first.chain(others).enumerate() {
        if index > 0 {
            text.push_str(&below);
        }
        let _ = writeln!(text, "{}", line(what, 400));
        for advice in advice.iter().flat_map(|advice| advice.lines()) {
            let _ = writeln!(text, "{below}{}", line(advice, 400));
        }
    }
    text
}

fn json(examined: &Examined) -> String {
    let object = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Fine => "fine",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        };
        let object = serde_json::json!({
            "subject": examined.subject, "driver": examined.driver, "severity": severity, "what": finding.what, "advice": finding.advice,
        });
        format!("{}\n", printable(&object.to_string()))
    };
    examined.findings.iter().map(object).collect()
}

/// Which cases of the plan are not for this rig.
fn cannot_run(bound: &Bound, format: MessageFormat) {
    let mut able = 0_usize;
    for (case, applicability) in bound.plan.cases.iter().zip(&bound.applicability) {
        let Applicability::NotApplicable(why) = applicability else {
            able += 1;
            continue;
        };
        match format {
            MessageFormat::Human => out(&format!("n/a  case {}: {}\n", line(&case.id, 64), line(why, 300))),
            MessageFormat::Json => {
                let object = serde_json::json!({ "subject": case.id, "severity": "not-applicable", "what": why });
                out(&format!("{}\n", printable(&object.to_string())));
            }
        }
    }
    if format == MessageFormat::Human {
        out(&format!("{able} of {} cases of {} can run here\n", bound.plan.cases.len(), line(&bound.plan.name, 64)));
    }
}

/// Proves each channel on a golden device, in a run of its own.
fn prove(arguments: &arguments::Doctor, file: RigFile) -> Exit {
    let RigFile { rig, sources, report, .. } = file;
    for name in rig.channels.keys() {
        if !rig.device.golden.iter().any(|golden| golden.channel == *name) {
            unproven(name, &rig.device.name, arguments.message_format);
        }
    }
    let (cases, applicability): (Vec<_>, Vec<_>) = rig
        .device
        .golden
        .iter()
        .filter(|golden| rig.channels.contains_key(&golden.channel))
        .map(|golden| (case(golden), applicable(golden, &rig.channels)))
        .unzip();
    if cases.is_empty() {
        return Exit::Pass;
    }
    if arguments.message_format == MessageFormat::Human {
        out("proving the channels on a golden device; this switches it\n");
    }
    let plan = Plan {
        name: "golden".to_owned(),
        title: "Each channel sees what it should on a golden device".to_owned(),
        requires: Vec::new(),
        images: Vec::new(),
        before_each: Vec::new(),
        cases,
        finally: Vec::new(),
        timeout: PROOFS,
    };
    let run_arguments = arguments::Run {
        plan: "golden".into(),
        rig: arguments.rig.clone(),
        case: Vec::new(),
        cut: None,
        seed: None,
        threads: 0,
        execute_checks: false,
        fail_fast: false,
        answers: None,
        unattended: None,
        wait: None,
        message_format: arguments.message_format,
        tui: false,
        screen: arguments::Screen::default(),
        identity: None,
        own_session: false,
        store: arguments.store.clone(),
    };
    let bound = Bound { plan, rig, applicability, altered: std::collections::BTreeMap::new(), report, sources };
    match run::run_bound(run_arguments, bound) {
        // A golden device does not fail: what it should show and did not is the bench's doing.
        Exit::Fail | Exit::Inconclusive => {
            complain(
                "a channel did not show what a golden device shows on it: check its wiring, and whether the device is a good one",
            );
            Exit::BenchError
        }
        exit => exit,
    }
}

fn unproven(name: &str, device: &str, format: MessageFormat) {
    let what = format!("not proven: device profile {device} has no `golden` steps for it");
    match format {
        MessageFormat::Human => out(&format!("note {}  {}\n", line(name, 32), line(&what, 200))),
        MessageFormat::Json => {
            let object = serde_json::json!({ "subject": name, "severity": "warning", "what": what });
            out(&format!("{}\n", printable(&object.to_string())));
        }
    }
}

fn case(golden: &Golden) -> Case {
    Case {
        id: golden.channel.clone(),
        title: format!("{} sees what it should", golden.channel),
        assesses: Vec::new(),
        timeout: PROOF,
        steps: golden.steps.clone(),
        line: 0,
    }
}

fn applicable(golden: &Golden, channels: &std::collections::BTreeMap<String, crate::rig::model::ChannelSpec>) -> Applicability {
    let missing: Vec<_> =
        golden.channels.iter().filter(|name| !channels.contains_key(*name)).map(|name| format!("`{name}`")).collect();
    if missing.is_empty() {
        return Applicability::Applicable;
    }
    Applicability::NotApplicable(format!("not proven: the rig has no {}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_nothing_that_a_terminal_obeys() {
        let examined = Examined {
            subject: "console".to_owned(),
            driver: Some("serial".to_owned()),
            findings: vec![
                Finding::fine("port /dev/ttyACM0"),
                Finding::problem("in use by \u{1b}[2Jevil\u{202e}", "end it:\nkill 7"),
            ],
        };
        let text = human(&examined, 10);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("BAD  console     serial: in use by "), "{text}");
        assert_eq!(lines[1], "                 end it:");
        assert_eq!(lines[2], "                 kill 7");
        assert_eq!(lines[3], "                 port /dev/ttyACM0");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}
