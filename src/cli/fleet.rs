//! `hilbench fleet`: reads intervals, simulates, prints.

use std::{fmt::Write as _, fs::File, io::Read as _, path::Path};

use serde::Serialize;

use super::{Exit, arguments, arguments::MessageFormat, complain, out};
use crate::{
    fleet::{
        ClassName, Estimate, Figure, Fleet, HORIZON, Holds, Law, LawUncertainty, MOST_INTERVALS, Outcome, Range, WorstSecond,
        estimate, law_uncertainty, simulate,
    },
    units::Span,
    view::sanitise::{self, line},
};

/// Largest file of intervals, in bytes: enough for the most intervals with room for comments.
const LARGEST: u64 = 1 << 20;

/// All that was found.
struct Found {
    law: Law,
    estimate: Option<Estimate>,
    outcome: Outcome,
    uncertainty: Option<LawUncertainty>,
    limits: Vec<Limit>,
}

/// A declared limit and whether it holds.
#[derive(Serialize)]
struct Limit {
    name: &'static str,
    /// Largest good value: a share, or seconds.
    most: f64,
    /// What is compared: the interval of the simulation, and of the law where it was estimated.
    low: Option<f64>,
    high: Option<f64>,
    holds: Holds,
    #[serde(skip)]
    written: String,
}

pub(super) fn fleet(arguments: &arguments::Fleet) -> Exit {
    match find(arguments) {
        Ok(found) => {
            match arguments.message_format {
                MessageFormat::Human => out(&human(arguments, &found)),
                MessageFormat::Json => out(&json(arguments, &found)),
            }
            exit(&found.limits)
        }
        Err(what) => {
            complain(&format!("error: {}", line(&what, 600)));
            Exit::InvalidInput
        }
    }
}

fn exit(limits: &[Limit]) -> Exit {
    let any = |holds| limits.iter().any(|limit| limit.holds == holds);
    if any(Holds::No) {
        Exit::Fail
    } else if any(Holds::Undecided) {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

fn find(arguments: &arguments::Fleet) -> Result<Found, String> {
    let fleet = Fleet {
        devices: arguments.devices,
        outage: arguments.outage,
        capacity: arguments.capacity,
        noise: arguments.noise,
        spread: arguments.spread,
        seed: arguments.seed,
        threads: arguments.threads,
    };
    let (law, estimate) = match (&arguments.law, &arguments.intervals) {
        (Some(law), _) => (*law, None),
        (None, Some(path)) => {
            let read = read(path).and_then(|intervals| estimate(&intervals, fleet.noise).map_err(|error| error.to_string()));
            let estimate = read.map_err(|what| format!("intervals {}: {what}", path.display()))?;
            (estimate.law, Some(estimate))
        }
        (None, None) => return Err("give a reconnection law with `--law`, or a file with `--intervals`".to_owned()),
    };
    let outcome = simulate(&law, &fleet).map_err(|error| error.to_string())?;
    let uncertainty = estimate.as_ref().map(|estimate| law_uncertainty(estimate, fleet.noise, &fleet)).transpose();
    let uncertainty = uncertainty.map_err(|error| error.to_string())?;
    let limits = limits(arguments, &outcome, uncertainty.as_ref());
    Ok(Found { law, estimate, outcome, uncertainty, limits })
}

fn limits(arguments: &arguments::Fleet, outcome: &Outcome, uncertainty: Option<&LawUncertainty>) -> Vec<Limit> {
    let judge = |name, limit: f64, written: String, figure: Figure, law: Option<Range>| {
        let (low, high) = law.map_or((figure.low, figure.high), |law| (figure.low.min(law.low), figure.high.max(law.high)));
        let finite = |bound: f64| bound.is_finite().then_some(bound);
        Limit { name, most: limit, low: finite(low), high: finite(high), holds: Holds::at_most(limit, low, high), written }
    };
    let peak = arguments.peak_limit.map(|limit| {
        let law = uncertainty.map(|uncertainty| uncertainty.all_attempts);
        judge("peak", limit.fraction(), limit.to_string(), outcome.all_attempts.share, law)
    });
    let drain = arguments.drain_limit.map(|limit| {
        let seconds = |bound: Option<f64>| bound.unwrap_or(f64::INFINITY);
        let law = uncertainty.map(|u| Range { low: seconds(u.served_99_s.0), high: seconds(u.served_99_s.1) });
        judge("drain", limit.duration().as_secs_f64(), limit.to_string(), outcome.drain(), law)
    });
    peak.into_iter().chain(drain).collect()
}

/// Intervals in seconds: a JSON array of them, or one duration per line; empty lines and lines that begin with `#` are comments.
fn read(path: &Path) -> Result<Vec<f64>, String> {
    let mut bytes = Vec::new();
    // Whatever it is (a device, a pipe), no more than this is read.
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than 1 MiB; {MOST_INTERVALS} intervals at most are of use"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is no text: write one duration per line, such as `67.1s`".to_owned())?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|error| format!("a JSON array of seconds is needed: {error}"));
    }
    let numbered = text.lines().zip(1..).map(|(line, number): (&str, usize)| (line.trim(), number));
    let durations = numbered.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let seconds = |(line, number): (&str, usize)| {
        let span: Result<Span, _> = line.parse();
        span.map(|span| span.duration().as_secs_f64()).map_err(|error| format!("line {number}: {error}"))
    };
    durations.map(seconds).collect()
}

/// Three digits of a percentage, which is what differs between policies.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = if percent >= 10.0 { 1 } else { 2 };
    format!("{percent:.decimals$}")
}

fn worst(text: &mut String, what: &str, worst: &WorstSecond) {
    let Figure { value, low, high } = worst.share;
    let (value, low, high) = (percent(value), percent(low), percent(high));
    let _ = writeln!(text, "{what:<12} {value} % of the fleet, {:.1} s after the return (95 %: {low}..{high} %)", worst.begins_s);
}

fn human(arguments: &arguments::Fleet, found: &Found) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "law          {}", found.law);
    if let Some(estimate) = &found.estimate {
        estimated(&mut text, estimate);
    }
    let limit = |on: bool, words: String| if on { words } else { String::new() };
    let _ = writeln!(
        text,
        "fleet        {} devices · outage {} · {}{}{}",
        arguments.devices,
        arguments.outage,
        if arguments.capacity.fraction() > 0.0 {
            format!("the service admits {} per second", arguments.capacity)
        } else {
            "the service admits everybody".to_owned()
        },
        limit(arguments.noise > Span::default(), format!(" · noise {}", arguments.noise)),
        limit(arguments.spread > Span::default(), format!(" · noticed within {}", arguments.spread)),
    );
    let outcome = &found.outcome;
    worst(&mut text, "worst second", &outcome.all_attempts);
    if outcome.first_attempts != outcome.all_attempts {
        worst(&mut text, "  first only", &outcome.first_attempts);
    }
    let served = outcome.served.iter().map(|served| match served.after_s {
        Some(figure) => format!("{:.0} % after {:.1} s", served.share * 100.0, figure.value),
        None if outcome.given_up => format!("{:.0} % not in the time that was simulated", served.share * 100.0),
        None => format!("{:.0} % not within {HORIZON}", served.share * 100.0),
    });
    let _ = write!(text, "served       {}", served.collect::<Vec<_>>().join(" · "));
    let drain = outcome.drain();
    let _ =
        if drain.value.is_finite() { writeln!(text, " (95 %: {:.1}..{:.1} s)", drain.low, drain.high) } else { writeln!(text) };
    let _ = writeln!(
        text,
        "attempts     per device {:.1} during the outage, {:.2} after it",
        outcome.attempts_during, outcome.attempts_after
    );
    if let Some(uncertainty) = &found.uncertainty {
        let bound = |bound: Option<f64>| bound.map_or_else(|| format!("more than {HORIZON}"), |bound| format!("{bound:.1} s"));
        let _ = writeln!(
            text,
            "other laws   that fit the intervals: worst second {}..{} %, 99 % after {} to {} (5..95 % of {})",
            percent(uncertainty.all_attempts.low),
            percent(uncertainty.all_attempts.high),
            bound(uncertainty.served_99_s.0),
            bound(uncertainty.served_99_s.1),
            uncertainty.laws,
        );
    }
    for limit in &found.limits {
        let holds = match limit.holds {
            Holds::Yes => "holds",
            Holds::Undecided => "cannot be decided: it is within the range of what was found",
            Holds::No => "is exceeded",
        };
        let _ = writeln!(text, "{:<12} {} {holds}", format!("{} limit", limit.name), limit.written);
    }
    text
}

fn estimated(text: &mut String, estimate: &Estimate) {
    let Estimate { intervals, jitter, width, .. } = estimate;
    let name = |class: ClassName| {
        serde_json::to_value(class).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let classes = std::iter::once(jitter.class).chain(jitter.or.iter().copied()).map(name).collect::<Vec<_>>().join(" or ");
    let _ = writeln!(
        text,
        "  from       {intervals} intervals, {} at the cap: jitter {classes}, width {} % (95 %: {}..{} %)",
        width.intervals,
        percent(width.observed),
        percent(width.interval.low),
        percent(width.interval.high),
    );
    if let Some(factor) = estimate.factor {
        let _ = writeln!(
            text,
            "             factor {:.2} (supported: {:.2}..{:.2})",
            factor.value, factor.supported.low, factor.supported.high
        );
    }
    for sentence in &estimate.uncertain {
        let _ = writeln!(text, "  unknown    {sentence}");
    }
}

fn json(arguments: &arguments::Fleet, found: &Found) -> String {
    let seconds = |span: Span| span.duration().as_secs_f64();
    let object = serde_json::json!({
        "law": found.law,
        "estimate": found.estimate,
        "fleet": {
            "devices": arguments.devices,
            "outage_s": seconds(arguments.outage),
            "capacity_per_s": arguments.capacity,
            "noise_s": seconds(arguments.noise),
            "spread_s": seconds(arguments.spread),
            "seed": arguments.seed,
        },
        "outcome": found.outcome,
        "law_uncertainty": found.uncertainty,
        "limits": found.limits,
    });
    format!("{}\n", sanitise::json(&object.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Exit, Holds, Limit, exit, read};

    #[test]
    fn intervals_are_lines_or_an_array() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("intervals");
        let of = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            read(&file)
        };
        assert_eq!(of(b"# device 7\n67.1s\n\n  500ms \r\n1m\n").unwrap(), [67.1, 0.5, 60.0]);
        assert_eq!(of(b" [67.1, 0.5, 60]\n").unwrap(), [67.1, 0.5, 60.0]);
        assert_eq!(of(b"").unwrap(), [0.0; 0]);
        for (bytes, words) in [
            (&b"67.1s\nsoon\n"[..], "line 2: `soon`"),
            (b"67.1\n", "line 1: `67.1` has no unit"),
            (b"[1, 2,\n\"3\"]", "line 2"),
            (b"[1e999]", "number"),
            (b"\xFF\x00", "no text"),
        ] {
            let error = of(bytes).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(of("1s\n".repeat(1 << 19).as_bytes()).unwrap_err().contains("larger than 1 MiB"));
        assert!(read(dir.path()).is_err());
    }

    #[test]
    fn the_worst_limit_decides_the_exit_code() {
        let limit = |holds| Limit { name: "peak", most: 0.0, low: None, high: None, holds, written: String::new() };
        let of = |all: &[Holds]| exit(&all.iter().map(|holds| limit(*holds)).collect::<Vec<_>>());
        assert_eq!(of(&[]), Exit::Pass);
        assert_eq!(of(&[Holds::Yes, Holds::Yes]), Exit::Pass);
        assert_eq!(of(&[Holds::Yes, Holds::Undecided]), Exit::Inconclusive);
        assert_eq!(of(&[Holds::Undecided, Holds::No]), Exit::Fail);
    }
}
