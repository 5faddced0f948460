//! `hilbench crosscheck`: whether the records of several runs of one device hold together.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;

use super::{Exit, arguments, arguments::MessageFormat, complain, out};
use crate::{
    event::Event,
    journal::{RunDir, RunState, find, runs},
    view::{
        crosscheck::{Contradiction, Crosscheck, Rule, Spot, crosscheck},
        sanitise::line,
        seconds,
    },
};

/// A run that was read whole.
pub(super) struct Read {
    name: String,
    device: String,
    plan: String,
    events: Vec<Event>,
}

pub(super) fn check(arguments: &arguments::Crosscheck) -> Exit {
    let store = arguments.store.store.join("runs");
    let read = chosen(arguments, &store).and_then(|chosen| chosen.iter().map(read).collect::<Result<Vec<_>, _>>());
    let read = match read.and_then(of_one_device) {
        Ok(read) => read,
        Err(what) => {
            complain(&format!("error: {what}"));
            return Exit::InvalidInput;
        }
    };
    let result = compare(&read);
    match arguments.message_format {
        MessageFormat::Human => out(&text(&read, &result)),
        MessageFormat::Json => match serde_json::to_string_pretty(&json(&read, &result)) {
            Ok(text) => out(&format!("{text}\n")),
            Err(error) => complain(&error.to_string()),
        },
    }
    if result.contradictions.is_empty() { Exit::Pass } else { Exit::Inconclusive }
}

/// The runs that were asked for, or the newest of each plan.
fn chosen(arguments: &arguments::Crosscheck, store: &Path) -> Result<Vec<RunDir>, String> {
    if !arguments.runs.is_empty() {
        let found: Vec<_> =
            arguments.runs.iter().map(|id| find(store, id).map_err(|error| error.to_string())).collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        return Ok(found.into_iter().filter(|run| seen.insert(run.path().to_owned())).collect());
    }
    let known = runs(store).map_err(|error| format!("cannot list {}: {error}", store.display()))?;
    let mut closed = known.into_iter().filter(|run| run.state == RunState::Closed && run.damage.is_none()).peekable();
    let rig = closed.peek().map(|run| run.summary.rig.clone());
    let mut plans = BTreeSet::new();
    let newest = closed.filter(|run| Some(&run.summary.rig) == rig.as_ref() && plans.insert(run.summary.plan.clone()));
    let found: Vec<_> =
        newest.map(|run| RunDir::open(&run.directory).map_err(|error| error.to_string())).collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(format!("no run in {} has ended; `hilbench run` makes one", store.display()));
    }
    Ok(found)
}

/// Reads a run, if it is as it was written.
pub(super) fn read(run: &RunDir) -> Result<Read, String> {
    let name = run.path().file_name().map(|name| line(&name.to_string_lossy(), 60)).unwrap_or_default();
    if run.state() != RunState::Closed {
        return Err(format!(
            "run {name} has not been closed; wait for its end, or `hilbench recover {name}` if its writer is gone"
        ));
    }
    let wrong = run.verify().map_err(|error| format!("run {name} has no readable manifest: {error}"))?;
    if let Some(first) = wrong.first() {
        let (file, what) = (line(&first.file, 100), line(&first.what, 200));
        return Err(format!("run {name} is not as it was written: {file}: {what}; what was changed is no evidence"));
    }
    let log = run.read().map_err(|error| format!("run {name}: {error}"))?;
    if let Some(damage) = log.damage.first() {
        return Err(format!("run {name} is damaged: {}", line(&damage.to_string(), 200)));
    }
    let header = log.events.iter().find_map(|event| match &event.fact {
        crate::event::Fact::RunStarted(header) => Some((header.device.clone(), header.plan.clone())),
        _ => None,
    });
    let (device, plan) = header.ok_or_else(|| format!("run {name} does not say what it is of"))?;
    Ok(Read { name, device, plan, events: log.events })
}

/// Records of two products say nothing about each other.
fn of_one_device(read: Vec<Read>) -> Result<Vec<Read>, String> {
    let other = read.iter().find(|run| run.device != read[0].device);
    match other {
        Some(other) => Err(format!(
            "run {} is of `{}`, run {} of `{}`; name runs of one device",
            read[0].name,
            line(&read[0].device, 60),
            other.name,
            line(&other.device, 60)
        )),
        None => Ok(read),
    }
}

pub(super) fn compare(read: &[Read]) -> Crosscheck {
    let recorded: Vec<_> = read.iter().map(|run| (run.name.as_str(), run.events.as_slice())).collect();
    crosscheck(&recorded)
}

fn place(spot: &Spot) -> String {
    if spot.seq == 0 {
        format!("{}: {}", spot.run, spot.what)
    } else {
        format!("{} at {}: {}", spot.run, seconds(std::time::Duration::from_nanos(spot.at.0)), spot.what)
    }
}

/// A contradiction as a line.
pub(super) fn words(found: &Contradiction) -> String {
    format!("{}: {}; but {}", found.rule.code(), place(&found.one), place(&found.other))
}

fn text(read: &[Read], result: &Crosscheck) -> String {
    let mut text = String::new();
    for run in read {
        text += &format!("run  {}  {}\n", run.name, line(&run.plan, 60));
    }
    for (rule, count) in &result.examined {
        let broken = result.contradictions.iter().filter(|found| found.rule == *rule).count();
        let (sign, what) = match (broken, *count) {
            (0, 0) => ("-   ", "nothing in these runs to hold against it".to_owned()),
            (0, count) => ("ok  ", format!("{count} looked at")),
            (_, count) => ("BAD ", format!("{count} looked at")),
        };
        text += &format!("{sign} {:<24}  {} ({what})\n", rule.code(), rule.demand());
    }
    for found in &result.contradictions {
        text += &format!("\ncontradiction: {}\n  one of the two is wrong: {}\n", words(found), found.rule.advice());
    }
    if result.contradictions.is_empty() {
        text += "\nthe records hold together\n";
    } else {
        text += &format!(
            "\n{} contradictions: no verdict that rests on these records can be believed\n",
            result.contradictions.len()
        );
    }
    text
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Json<'a> {
    schema: &'static str,
    runs: Vec<&'a str>,
    holds: bool,
    rules: Vec<JsonRule>,
    contradictions: Vec<JsonContradiction<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JsonRule {
    rule: &'static str,
    examined: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JsonContradiction<'a> {
    rule: &'static str,
    one: JsonSpot<'a>,
    other: JsonSpot<'a>,
    advice: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JsonSpot<'a> {
    run: &'a str,
    seq: u64,
    at: u64,
    what: &'a str,
}

fn json<'a>(read: &'a [Read], result: &'a Crosscheck) -> Json<'a> {
    fn spot(spot: &Spot) -> JsonSpot<'_> {
        JsonSpot { run: &spot.run, seq: spot.seq, at: spot.at.0, what: &spot.what }
    }
    Json {
        schema: "crosscheck/1",
        runs: read.iter().map(|run| run.name.as_str()).collect(),
        holds: result.contradictions.is_empty(),
        rules: Rule::ALL.map(|rule| JsonRule { rule: rule.code(), examined: result.examined[&rule] }).into(),
        contradictions: result
            .contradictions
            .iter()
            .map(|found| JsonContradiction {
                rule: found.rule.code(),
                one: spot(&found.one),
                other: spot(&found.other),
                advice: found.rule.advice(),
            })
            .collect(),
    }
}
