//! `hilbench runs`, `hilbench show` and `hilbench recover`.

use std::io::IsTerminal as _;

use super::{Exit, arguments, arguments::ShowFormat, complain, out};
use crate::{
    event::EvidenceRef,
    journal::{self, RunState, find, runs},
    report::{Source, junit, show as text, summary},
    view::{RunView, lines::Paint, sanitise},
};

pub(super) fn list(arguments: &arguments::Runs) -> Exit {
    let store = arguments.store.store.join("runs");
    let found = match runs(&store) {
        Ok(found) => found,
        Err(error) => {
            complain(&format!("cannot list {}: {error}", store.display()));
            return Exit::InvalidInput;
        }
    };
    if found.is_empty() {
        complain(&format!("no runs in {}; `hilbench run` makes one", store.display()));
        return Exit::Pass;
    }
    for run in found.iter().take(arguments.most) {
        let state = match (run.state, &run.damage) {
            (RunState::Running, _) => "running".to_owned(),
            (RunState::Interrupted, _) => "interrupted".to_owned(),
            (RunState::Closed, _) => run.summary.verdict.map_or_else(|| "unknown".to_owned(), |verdict| verdict.to_string()),
        };
        let field = |text: &Option<String>| sanitise::line(text.as_deref().unwrap_or("?"), 40);
        let started = run.summary.started.as_deref().unwrap_or("?");
        let damage = run.damage.as_ref().map(|damage| format!("  ({})", sanitise::line(damage, 100))).unwrap_or_default();
        let (plan, rig) = (field(&run.summary.plan), field(&run.summary.rig));
        out(&format!("{}  {:<20}  {state:<12}  {plan} on {rig}{damage}\n", run.id, sanitise::line(started, 20)));
    }
    if found.len() > arguments.most {
        out(&format!("... and {} older; --most N shows more\n", found.len() - arguments.most));
    }
    Exit::Pass
}

pub(super) fn show(arguments: &arguments::Show) -> Exit {
    let run = match find(&arguments.store.store.join("runs"), &arguments.run) {
        Ok(run) => run,
        Err(error) => {
            complain(&error.to_string());
            return Exit::InvalidInput;
        }
    };
    let log = match run.read() {
        Ok(log) => log,
        Err(error) => {
            complain(&error.to_string());
            return Exit::InvalidInput;
        }
    };
    let view = RunView::of(&log.events);
    let excerpts = |place: &EvidenceRef, most: usize| run.evidence(place, most).ok();
    let source = Source { damage: &log.damage, state: run.state(), ..Source::new(&view, &excerpts) };
    match arguments.format {
        ShowFormat::Text => {
            let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            out(&text(&source, Paint { color }));
        }
        ShowFormat::Json => match summary(&source) {
            Ok(text) => out(&text),
            Err(error) => complain(&error.to_string()),
        },
        ShowFormat::Junit => match junit(&source) {
            Ok(text) => out(&text),
            Err(error) => complain(&error.to_string()),
        },
        ShowFormat::Events => {
            for event in &log.events {
                if let Ok(line) = serde_json::to_string(event) {
                    out(&sanitise::json(&line));
                    out("\n");
                }
            }
        }
    }
    if !arguments.verify {
        return Exit::Pass;
    }
    match run.verify() {
        Ok(wrong) if wrong.is_empty() => {
            complain("all recorded files have the digests of their manifest");
            Exit::Pass
        }
        Ok(wrong) => {
            for mismatch in wrong {
                complain(&sanitise::line(&format!("{}: {}", mismatch.file, mismatch.what), 400));
            }
            Exit::InvalidInput
        }
        Err(error) => {
            complain(&format!("the run has no readable manifest: {error}"));
            Exit::InvalidInput
        }
    }
}

pub(super) fn recover(arguments: &arguments::Recover) -> Exit {
    let run = match find(&arguments.store.store.join("runs"), &arguments.run) {
        Ok(run) => run,
        Err(error) => {
            complain(&error.to_string());
            return Exit::InvalidInput;
        }
    };
    match journal::recover(&run) {
        Ok((closed, damage)) => {
            for place in damage {
                complain(&sanitise::line(&place.to_string(), 400));
            }
            out(&format!("closed {}\n", closed.directory.display()));
            Exit::Pass
        }
        Err(error) => {
            complain(&sanitise::line(&error.to_string(), 400));
            Exit::InvalidInput
        }
    }
}
