//! Searching memory for what is left of secrets.

use super::{
    execute::{Executor, Passed, StepResult, failed},
    outcome::{Ended, code},
};
use crate::{
    channel::residue::{Form, Found, Search},
    event::{StepId, Verdict},
    step::{FailAs, Template, probe::Residue},
};

/// What is searched for, and what has to come of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) secrets: &'a [Template],
    pub(super) networks: &'a [Template],
    pub(super) expect: Residue,
    pub(super) fail_as: Option<&'a FailAs>,
}

impl Executor {
    /// Reads memory and searches it. That nothing is found means something only after the same search has found it: memory that was read from the
    /// wrong place holds no secret either.
    pub(super) async fn search_memory(
        &mut self,
        channel: &str,
        (address, length): (u32, u32),
        sought: Sought<'_>,
        id: &StepId,
    ) -> StepResult {
        let texts = |templates: &[Template]| templates.iter().map(|one| self.text(one)).collect::<Result<Vec<_>, _>>();
        let (secrets, networks) = (texts(sought.secrets)?, texts(sought.networks)?);
        let search = Search::of(&secrets, &networks)
            .map_err(|error| Ended::judged(Verdict::Inconclusive, code::NOT_PREPARED, error.to_string()))?;
        let (bytes, refusal) = self.read_all(channel, address, length, id).await?;
        let found = search.within(&bytes);
        let mut told = told(&secrets, &found, address);
        if told.is_empty() {
            told = format!("none of {} secrets ({} byte sequences)", secrets.len(), search.sequences());
        }
        let place = format!("in {length} bytes at {address:#010x}");
        let text = match &refusal {
            Some(refusal) => format!("{told} {place}; {refusal}"),
            None => format!("{told} {place}"),
        };
        let evidence = self.keep(channel, id, "memory.bin", &bytes, text.clone());
        let unclear = |code: &str, text: String| Err(Ended::judged(Verdict::Inconclusive, code, text).with(evidence.clone()));
        match sought.expect {
            // What could be read may hold something, whatever could not.
            Residue::Absent if !found.is_empty() => Err(failed(sought.fail_as, code::UNEXPECTED, &text).with(evidence)),
            _ if refusal.is_some() => unclear(code::REFUSED, text),
            Residue::Unused if !found.is_empty() => {
                unclear(code::NOT_PREPARED, format!("{text}, before it was put there: choose another secret"))
            }
            Residue::Unused => Ok(Passed { evidence, judged: false }),
            Residue::Found => {
                let whole = |index| found.iter().any(|found| found.secret == index && found.form != Form::Piece);
                let missing: Vec<_> =
                    (0..secrets.len()).filter(|index| !whole(*index)).map(|index| secrets[index].as_str()).collect();
                if missing.is_empty() {
                    self.found.extend(secrets.into_iter().map(|secret| (channel.to_owned(), secret)));
                    return Ok(Passed { evidence, judged: false });
                }
                unclear(code::NO_WITNESS, format!("`{}` is not {place}, so a search there proves nothing", missing.join("`, `")))
            }
            Residue::Absent => {
                if secrets.iter().any(|secret| self.found.contains(&(channel.to_owned(), secret.clone()))) {
                    return Ok(Passed { evidence, judged: true });
                }
                unclear(
                    code::NO_WITNESS,
                    format!("{text}; but no search through {channel} has found any of them before, so this proves nothing"),
                )
            }
        }
    }
}

/// What was found, in words.
fn told(secrets: &[String], found: &[Found], address: u32) -> String {
    let one = |found: &Found| {
        let secret = secrets.get(found.secret).map_or("", String::as_str);
        let len = if found.form == Form::Piece { format!(" ({} bytes)", found.len) } else { String::new() };
        format!("`{secret}` {}{len} at {:#010x}", found.form, address as usize + found.at)
    };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}
