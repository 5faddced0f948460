//! `hilbench check`.

use std::path::Path;

use super::{Exit, arguments, arguments::MessageFormat, complain, out, wiring};
use crate::{
    diagnostic::Report,
    plan::{bind, load_plan},
    prove::Matrix,
    rig::{RigFile, load_device, load_rig},
};

pub(super) fn check(arguments: &arguments::Check) -> Exit {
    let catalogue = wiring::catalogue();
    let failed = std::cell::Cell::new(0_usize);
    let tell = |path: &Path, report: Result<Report, Report>| {
        let (report, ok) = match report {
            Ok(report) => (report, true),
            Err(report) => (report, false),
        };
        failed.set(failed.get() + usize::from(!ok));
        print(&report, arguments.message_format);
        if ok && arguments.message_format == MessageFormat::Human {
            out(&format!("ok  {}\n", path.display()));
        }
    };
    // What only the drivers know.
    let complain_of = |problems: Vec<String>| {
        failed.set(failed.get() + problems.len());
        for problem in problems {
            complain(&format!("error: {}", crate::diagnostic::sanitise(&problem)));
        }
    };
    let of_drivers = |loaded: &RigFile| complain_of(wiring::problems(&loaded.rig));
    let rig = arguments.rig.as_ref().map(|path| (path, load_rig(path, &catalogue)));
    if let Some((path, loaded)) = &rig {
        tell(path, loaded.as_ref().map(|rig| rig.report.clone()).map_err(Clone::clone));
        if let Ok(loaded) = loaded {
            of_drivers(loaded);
        }
    }
    for path in &arguments.files {
        let report = match kind(path) {
            Kind::Rig => load_rig(path, &catalogue).map(|loaded| {
                of_drivers(&loaded);
                loaded.report
            }),
            Kind::Device => load_device(path).map(|device| device.report),
            Kind::Matrix => Matrix::load(path).map(|_| Report::default()),
            Kind::Plan => load_plan(path).and_then(|plan| match &rig {
                Some((_, Ok(rig))) => bind(&plan, rig).map(|bound| {
                    complain_of(wiring::misplaced(&bound.rig, &bound.altered, &format!("plan {}", bound.plan.name)));
                    bound.report
                }),
                _ => Ok(plan.report),
            }),
        };
        tell(path, report);
    }
    if failed.get() == 0 { Exit::Pass } else { Exit::InvalidInput }
}

/// Prints diagnostics where they belong: people read them on standard error, tools on standard output.
pub(super) fn print(report: &Report, format: MessageFormat) {
    if report.is_empty() {
        return;
    }
    match format {
        MessageFormat::Human => {
            let colour =
                std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            complain(report.human(colour).trim_end());
        }
        MessageFormat::Json => out(&report.json_lines()),
    }
}

enum Kind {
    Rig,
    Device,
    Plan,
    Matrix,
}

/// Which format a file claims to be, by its `schema:` line. Whatever else it is, the plan's reader says what is wrong with it.
fn kind(path: &Path) -> Kind {
    use std::io::Read as _;
    let mut start = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // Enough for a long comment above the first key; what cannot be read is told by the reader proper.
        let _ = file.take(64 * 1024).read_to_end(&mut start);
    }
    let text = String::from_utf8_lossy(&start);
    let schema = text.lines().find_map(|line| line.strip_prefix("schema:")).unwrap_or_default();
    let schema = schema.trim().trim_matches(['"', '\'']);
    match schema.split('/').next() {
        Some("rig") => Kind::Rig,
        Some("device") => Kind::Device,
        Some("matrix") => Kind::Matrix,
        _ => Kind::Plan,
    }
}
