//! Text for `hilbench show`.

use std::fmt::Write;

use super::Source;
use crate::{
    event::{Limit, Nanos, Verdict},
    journal::RunState,
    view::{
        CaseState, CaseView, Measurement, Prompt, PromptOutcome, StepView,
        lines::{self, Paint},
        quantity,
        sanitise::line,
        seconds,
    },
};

/// Bad cuts and evidence places that are shown per step; the rest is counted.
const MOST: usize = 10;
/// Widest text of one item.
const WIDE: usize = 400;

/// The run for a person: verdict, cases, steps, reasons with what the device said, how to repeat a failure. Ends in a newline; nothing
/// in it but colours, if asked for, drives a terminal.
#[must_use]
pub fn show(source: &Source<'_>, paint: Paint) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_run(&mut out, source, paint);
    out
}

fn write_run(out: &mut String, source: &Source<'_>, paint: Paint) -> std::fmt::Result {
    let view = source.view;
    let verdict = match source.state {
        RunState::Running => "running".to_owned(),
        _ => paint.verdict(source.verdict()).trim_end().to_owned(),
    };
    writeln!(out, "{verdict}  {}", lines::title(view))?;
    if let Some(header) = &view.header {
        let wall = view.finish.as_ref().map_or_else(String::new, |finish| {
            format!(", {} of wall time", seconds(std::time::Duration::from_millis(finish.wall_ms)))
        });
        let bench = seconds(view.at.since(Nanos::default()));
        writeln!(
            out,
            "run {} · started {} · {bench} of bench time{wall} · seed {}",
            line(header.run.as_str(), 60),
            line(&header.started, 60),
            header.seed
        )?;
        writeln!(out, "command: {}", line(&lines::again(header), WIDE))?;
    }
    if let Some(by) = view.stopped_by() {
        writeln!(out, "stopped by {}", line(by, 60))?;
    }
    if let Some(reason) = view.finish.as_ref().and_then(|finish| finish.reason.as_ref()) {
        writeln!(out, "reason: {}", line(&reason.to_string(), WIDE))?;
    }
    for problem in source.problems() {
        writeln!(out, "problem: {}", line(&problem, WIDE))?;
    }
    if !source.damage.is_empty() {
        writeln!(out, "{} events before the damage were read", view.seen)?;
    }
    for case in view.cases.iter().filter(|case| !case.is_unselected()) {
        writeln!(out)?;
        write_case(out, case, source, paint)?;
    }
    for prompt in view.prompts.iter().filter(|prompt| prompt.step.is_none()).take(MOST) {
        writeln!(out, "{}", line(&asked(prompt), WIDE))?;
    }
    writeln!(out, "\n{} · {}", lines::counts(view), lines::safe_state(view))
}

fn write_case(out: &mut String, case: &CaseView, source: &Source<'_>, paint: Paint) -> std::fmt::Result {
    let took = case.took().map_or_else(String::new, |took| format!("  {}", seconds(took)));
    let word = if case.is_section { " ".repeat(6) } else { paint.state(&case.state) };
    writeln!(out, "{}", format!("{word}  {}{took}  {}", line(case.name(), 60), line(&case.title, WIDE)).trim_end())?;
    let indent = " ".repeat(8);
    match &case.state {
        CaseState::Skipped(why) => writeln!(out, "{indent}{}", line(why, WIDE))?,
        CaseState::Finished { reason: Some(reason), .. } => writeln!(out, "{indent}{}", line(&reason.to_string(), WIDE))?,
        _ => {}
    }
    if !case.assesses.is_empty() {
        writeln!(out, "{indent}TS 103 701: {}", line(&case.assesses.join(", "), WIDE))?;
    }
    for step in &case.steps {
        write_step(out, case, step, source, paint)?;
    }
    Ok(())
}

fn write_step(out: &mut String, case: &CaseView, step: &StepView, source: &Source<'_>, paint: Paint) -> std::fmt::Result {
    let word = step.verdict.map_or_else(|| format!("{:<6}", "BEGUN"), |verdict| paint.verdict(verdict));
    let took = step.ended.map_or_else(String::new, |ended| format!("  {}", seconds(ended.since(step.started))));
    writeln!(out, "        {word}  {}  {}{took}", line(step.number(), 20), line(&step.text, WIDE))?;
    let indent = " ".repeat(16);
    for attempt in &step.attempts {
        writeln!(out, "{indent}attempt {} of {}: {}", attempt.attempt, attempt.of, line(&attempt.reason.to_string(), WIDE))?;
    }
    // Usually it is the case's reason, which stands a few lines above.
    let told = |reason| matches!(&case.state, CaseState::Finished { reason: Some(of_case), .. } if of_case == reason);
    if let Some(reason) = step.reason.as_ref().filter(|reason| !told(*reason)) {
        writeln!(out, "{indent}{}", line(&reason.to_string(), WIDE))?;
    }
    for place in step.evidence.iter().take(MOST) {
        let file = line(&place.file, 60);
        match lines::quoted(place, 120, source.evidence) {
            Some(text) => writeln!(out, "{indent}{text}  (evidence/{file}, byte {}, {} bytes)", place.offset, place.len)?,
            None => writeln!(out, "{indent}evidence/{file}, byte {}, {} bytes: not readable", place.offset, place.len)?,
        }
    }
    for prompt in source.view.prompts.iter().filter(|prompt| prompt.step.as_ref() == Some(&step.id)).take(MOST) {
        writeln!(out, "{indent}{}", line(&asked(prompt), WIDE))?;
    }
    for measurement in &step.measured {
        writeln!(out, "{indent}{}", measured(measurement))?;
    }
    // Proofs matter where the verdict is in doubt; what is missing always does.
    if step.verdict.is_some_and(|verdict| verdict != Verdict::Pass) {
        for witness in step.witnesses.iter().take(MOST) {
            writeln!(out, "{indent}witness: {}", line(&witness.what, WIDE))?;
        }
    }
    for missing in step.unwitnessed.iter().take(MOST) {
        writeln!(out, "{indent}not proven: {}", line(missing, WIDE))?;
    }
    if let Some(cuts) = &step.cuts {
        writeln!(out, "{indent}{} flash operations; {}", cuts.operations, lines::cuts(cuts))?;
        for cut in cuts.bad.iter().take(MOST) {
            let code = cut.outcome.reason_code().unwrap_or("OK");
            writeln!(out, "{indent}cut {}  {code}", cut.point)?;
            writeln!(out, "{indent}  reproduce: {}", line(&cut.reproduce, WIDE))?;
            if let Some(place) = &cut.evidence {
                writeln!(out, "{indent}  transcript: evidence/{}", line(&place.file, 60))?;
            }
        }
        let shown = cuts.bad.len().min(MOST) as u64;
        if cuts.told > shown {
            writeln!(out, "{indent}and {} more bad cuts with details in the journal", cuts.told - shown)?;
        }
    }
    Ok(())
}

/// `asked: Is the light green? (kim answered: green)`.
fn asked(prompt: &Prompt) -> String {
    let outcome = match &prompt.outcome {
        Some(PromptOutcome::Answered(answer, by)) => format!("{by} answered: {answer}"),
        Some(PromptOutcome::Unanswered(why)) => format!("not answered: {why}"),
        None => "open".to_owned(),
    };
    format!("asked: {} ({outcome})", prompt.text)
}

/// `recovery-time 1.25 s, limit at most 10 s`.
fn measured(m: &Measurement) -> String {
    let unit = line(&m.unit, 20);
    let mut text = format!("{} {}", line(&m.name, 60), quantity(m.value, &unit));
    if let Some(Limit { at_least, at_most }) = m.limit {
        let bounds: Vec<String> = [("at least", at_least), ("at most", at_most)]
            .into_iter()
            .filter_map(|(word, bound)| bound.map(|bound| format!("{word} {}", quantity(bound, &unit))))
            .collect();
        if !bounds.is_empty() {
            let _ = write!(text, ", limit {}", bounds.join(" and "));
        }
    }
    if !m.within {
        text.push_str(": OUTSIDE");
    }
    text
}
