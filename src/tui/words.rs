//! Words and signs for states, acts and times. A state is always a word; its colour only repeats it.

use std::time::Duration;

use ratatui::style::Style;

use super::paper::{BAD, BOLD, DIM, FAULT, GOOD, NAME, PLAIN, WARN};
use crate::{
    event::{Act, CutOutcome, Event, Fact, Nanos, StopLevel, Verdict},
    view::{CaseState, Last, StepView, quantity},
};

/// A verdict in four letters.
#[must_use]
pub const fn verdict(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::None => ("none", WARN),
        Verdict::Pass => ("pass", GOOD),
        Verdict::Inconclusive => ("INCO", WARN),
        Verdict::Fail => ("FAIL", BAD),
        Verdict::Error => ("ERR!", FAULT),
    }
}

/// A verdict as a word for a headline.
#[must_use]
pub const fn verdict_word(verdict: Verdict) -> (&'static str, Style) {
    match verdict {
        Verdict::None => ("NO VERDICT", WARN),
        Verdict::Pass => ("PASS", GOOD),
        Verdict::Inconclusive => ("INCONCLUSIVE", WARN),
        Verdict::Fail => ("FAIL", BAD),
        Verdict::Error => ("BENCH ERROR", FAULT),
    }
}

/// A case's state in four letters.
#[must_use]
pub const fn case(state: &CaseState) -> (&'static str, Style) {
    match state {
        CaseState::Waiting => ("wait", DIM),
        CaseState::Running => ("RUN>", BOLD),
        CaseState::Skipped(_) => ("skip", DIM),
        CaseState::Finished { verdict: found, .. } => verdict(*found),
    }
}

/// A step's state in four letters.
#[must_use]
pub fn step(step: &StepView) -> (&'static str, Style) {
    match step.verdict {
        Some(found) => verdict(found),
        None if step.ended.is_none() => ("RUN>", BOLD),
        None => ("none", WARN),
    }
}

/// Bench time: `0:07.450`, `1:02:03.450`.
#[must_use]
pub fn clock(at: Nanos) -> String {
    let ms = at.0 / 1_000_000;
    let (s, m, h) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    if h > 0 { format!("{h}:{m:02}:{s:02}.{:03}", ms % 1000) } else { format!("{m}:{s:02}.{:03}", ms % 1000) }
}

/// A span in whole seconds: `42 s`, `3 min 05 s`.
#[must_use]
pub fn span(span: Duration) -> String {
    if span.as_secs() < 60 { format!("{} s", span.as_secs()) } else { crate::view::seconds(span) }
}

/// A time that somebody typed: `75`, `75s`, `1:15`, `1:02:03.5`.
#[must_use]
pub fn typed_time(text: &str) -> Option<Nanos> {
    let text = text.trim().trim_end_matches('s').trim();
    let mut seconds = 0.0_f64;
    for part in text.split(':') {
        let part: f64 = part.parse().ok().filter(|part: &f64| part.is_finite() && *part >= 0.0)?;
        seconds = seconds * 60.0 + part;
    }
    (seconds < 1e9).then_some(Nanos((seconds * 1e9) as u64))
}

/// Bytes: `512 B`, `3.4 kB`, `12.0 MB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

/// An act on the world.
#[must_use]
pub fn act(act: &Act) -> String {
    match act {
        Act::Power(true) => "power on".to_owned(),
        Act::Power(false) => "POWER OFF".to_owned(),
        Act::Press(true) => "press".to_owned(),
        Act::Press(false) => "release".to_owned(),
        Act::Flash { image, erase_all } => format!("flash {image}{}", if *erase_all { ", all erased first" } else { "" }),
        Act::Reset => "reset".to_owned(),
        Act::Network { what } | Act::Exchange { what } => what.clone(),
        Act::ReadMemory { address, len } => format!("read {len} bytes at {address:#010x}"),
    }
}

/// What happened last on a channel.
#[must_use]
pub fn last(last: &Last) -> String {
    match last {
        Last::Opened => "opened".to_owned(),
        Last::Lost => "LOST".to_owned(),
        Last::Reopened => "came back".to_owned(),
        Last::Acted(what) => act(what),
        Last::Sent(count) => format!("{} sent", bytes(*count)),
        Last::Received(count) => format!("{} received", bytes(*count)),
        Last::Gap => "bytes lost".to_owned(),
        Last::Matched(pattern) => format!("found: {pattern}"),
        Last::Observed(what) => what.clone(),
    }
}

/// How urgently a run is stopped.
#[must_use]
pub const fn stop(level: StopLevel) -> &'static str {
    match level {
        StopLevel::Graceful => "after the running step",
        StopLevel::Now => "at once",
        StopLevel::Forced => "without waiting for anything",
    }
}

/// What a power cut led to: a sign for the map, and words.
#[must_use]
pub const fn cut(outcome: CutOutcome) -> (char, &'static str, Style) {
    match outcome {
        CutOutcome::Old => ('o', "old image runs", GOOD),
        CutOutcome::New => ('n', "new image runs", NAME),
        CutOutcome::SettingsLost => ('S', "settings lost", WARN),
        CutOutcome::UnconfirmedKept => ('K', "kept unconfirmed", WARN),
        CutOutcome::CounterLowered => ('C', "counter lowered", BAD),
        CutOutcome::Poisoned => ('P', "no update works any more", BAD),
        CutOutcome::WrongImage => ('W', "wrong image", BAD),
        CutOutcome::Bricked => ('B', "does not start", BAD),
    }
}

/// One event in a few words: where, what, and how it is shown. `None` for traffic, whose bytes say more.
#[must_use]
pub fn event(event: &Event) -> Option<(String, String, Style)> {
    let bench = || "bench".to_owned();
    let steps = || "step".to_owned();
    let told = |found: Verdict, reason: &Option<crate::event::Reason>| {
        let why = reason.as_ref().map_or_else(String::new, |reason| format!(" {reason}"));
        format!("{}{why}", verdict(found).0)
    };
    Some(match &event.fact {
        Fact::RunStarted(header) => ("run".to_owned(), format!("{} on {} begins", header.plan, header.rig), BOLD),
        Fact::RunFinished { verdict: found, reason, .. } => {
            ("run".to_owned(), format!("ends: {}", told(*found, reason)), verdict(*found).1)
        }
        Fact::LeaseAwaited { what } => (bench(), format!("waits: {what}"), WARN),
        Fact::LeaseTaken { instrument, .. } => (bench(), format!("has {instrument}"), DIM),
        Fact::ChannelOpened { channel, identity } => (channel.to_string(), format!("opened, {identity}"), DIM),
        Fact::ChannelLost { channel, why } => (channel.to_string(), format!("LOST: {why}"), FAULT),
        Fact::ChannelReopened { channel, .. } => (channel.to_string(), "came back".to_owned(), WARN),
        Fact::Acting { channel, act: what, .. } => {
            let style = if matches!(what, Act::Power(false)) { BAD } else { WARN };
            (channel.to_string(), act(what), style)
        }
        Fact::SafeStateStarted => (bench(), "to the safe state".to_owned(), BOLD),
        Fact::SafeStateAction { channel, act: what, problem, .. } => match problem {
            None => (channel.to_string(), format!("{}: confirmed", act(what)), GOOD),
            Some(problem) => (channel.to_string(), format!("{}: NOT CONFIRMED, {problem}", act(what)), BAD),
        },
        Fact::SafeStateFinished { ok: true, by } => (bench(), format!("safe state confirmed by the {by}"), GOOD),
        Fact::SafeStateFinished { ok: false, by } => (bench(), format!("SAFE STATE NOT CONFIRMED by the {by}"), BAD),
        Fact::CaseStarted { case, title, .. } => ("case".to_owned(), format!("{case}: {title}"), BOLD),
        Fact::CaseSkipped { case, why } => ("case".to_owned(), format!("{case} skipped: {why}"), DIM),
        Fact::CaseFinished { case, verdict: found, reason, .. } => {
            ("case".to_owned(), format!("{case} ends: {}", told(*found, reason)), verdict(*found).1)
        }
        Fact::StepStarted { step, text, .. } => (steps(), format!("{step} {text}"), PLAIN),
        Fact::AttemptFailed { step, attempt, of, reason } => {
            (steps(), format!("{step} attempt {attempt} of {of}: {reason}"), WARN)
        }
        Fact::StepFinished { step, verdict: found, reason, .. } => {
            (steps(), format!("{step} {}", told(*found, reason)), verdict(*found).1)
        }
        Fact::Sent { .. } | Fact::Received { .. } => return None,
        Fact::Gap { channel, lost } => {
            let lost = lost.map_or_else(|| "bytes".to_owned(), bytes);
            (channel.to_string(), format!("{lost} LOST on the way"), FAULT)
        }
        Fact::Matched { channel, pattern, .. } => (channel.to_string(), format!("found: {pattern}"), GOOD),
        Fact::Measured { name, value, unit, within, .. } => {
            let word = if *within { "within limits" } else { "OUTSIDE LIMITS" };
            (steps(), format!("{name} = {}, {word}", quantity(*value, unit)), if *within { GOOD } else { BAD })
        }
        Fact::Observed { channel, what, .. } => (channel.to_string(), what.clone(), PLAIN),
        Fact::Witnessed { witness, .. } => (steps(), format!("proven: {}", witness.what), GOOD),
        Fact::Unwitnessed { missing, .. } => (steps(), format!("NOT PROVEN: {missing}"), WARN),
        Fact::CutBaseline { operations, points, .. } => {
            (steps(), format!("{operations} flash operations, {points} points to cut at"), PLAIN)
        }
        Fact::CutsJudged { outcomes, .. } => {
            let (mut all, mut bad) = (0_u64, 0_u64);
            for (outcome, count) in outcomes {
                all += u64::from(*count);
                bad += if outcome.is_good() { 0 } else { u64::from(*count) };
            }
            (steps(), format!("{all} cuts judged, {bad} bad"), if bad > 0 { BAD } else { DIM })
        }
        Fact::CutFailed { point, outcome, .. } => (steps(), format!("cut at {point}: {}", cut(*outcome).1), BAD),
        Fact::CutsFinished { judged, of, bad, .. } => (steps(), format!("{judged} of {of} cuts judged, {bad} bad"), PLAIN),
        Fact::Prompted { prompt, text, .. } => ("ask".to_owned(), format!("{prompt}: {text}"), WARN),
        Fact::Answered { prompt, answer, by } => ("answer".to_owned(), format!("{prompt}: {answer} ({by})"), PLAIN),
        Fact::Unanswered { prompt, why } => ("answer".to_owned(), format!("{prompt}: none, {why}"), WARN),
        Fact::StopRequested { level, by } => ("stop".to_owned(), format!("{by}: {}", stop(*level)), WARN),
        Fact::BenchFault { channel, what } => {
            (channel.as_ref().map_or_else(bench, ToString::to_string), format!("FAULT: {what}"), FAULT)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_shown() {
        for (typed, ms) in [("75", 75_000), ("75s", 75_000), ("1:15", 75_000), (" 1:02:03.5 ", 3_723_500), ("0", 0)] {
            assert_eq!(typed_time(typed), Some(Nanos(ms * 1_000_000)), "{typed}");
        }
        for wrong in ["", "x", "-1", "1:x", "inf", "nan", "1e300"] {
            assert_eq!(typed_time(wrong), None, "{wrong}");
        }
        assert_eq!((clock(Nanos(7_450_000_000)).as_str(), clock(Nanos(3_723_450_000_000)).as_str()), ("0:07.450", "1:02:03.450"));
        assert_eq!(typed_time(&clock(Nanos(3_723_450_000_000))), Some(Nanos(3_723_450_000_000)));
    }
}
