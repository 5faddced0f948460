//! How a device comes back to its service: intervals are measured, and judged by what they mean for a fleet.

use std::{sync::Arc, time::Duration};

use super::{
    console::Seen,
    execute::{Executor, Passed, StepResult, failed, out_of_time},
    outcome::{Ended, code},
    values,
};
use crate::{
    channel::cloud::EventKind,
    event::{EvidenceRef, Fact, Limit, StepId, Verdict},
    fleet::{Alike, Estimate, Fleet, HORIZON, Holds, Phase, Range, Share, alike, estimate, law_uncertainty, phase, simulate},
    step::{
        FailAs, Template, Within,
        reconnect::{FleetStep, ReconnectStep},
    },
    units::Span,
};

/// A time that did not come.
const NONE: &str = "none";

/// What cannot be judged, and why.
fn unjudged(text: impl Into<String>) -> Ended {
    Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

impl Executor {
    /// The intervals between the first `count + 1` attempts since the last stimulus become the value `save_as`.
    pub(super) async fn cloud_intervals(
        &mut self,
        channel: &str,
        (kind, count): (EventKind, u32),
        within: &Within,
        save_as: &str,
        id: &StepId,
    ) -> StepResult {
        let (log, begun) = (self.log(channel)?, self.mark_of(channel));
        let clock = self.shared.bench.clock.clone();
        let started = log.now();
        let own = clock.now().after(values::span(within, &self.shared.device)?);
        let mut changes = log.changes();
        let times = loop {
            let since = log.since(begun);
            if let Some(why) = since.lost {
                return Err(super::cloud::lost(channel, &why));
            }
            if since.gap {
                return Err(unjudged(format!("{channel}: so much happened that the oldest of it is no longer in memory")));
            }
            let attempts = since.events.iter().filter(|event| event.kind == kind && !event.by_bench);
            let times: Vec<Duration> = attempts.map(|event| event.at).take(count as usize + 1).collect();
            if times.len() > count as usize || clock.now() >= own.min(self.deadline) {
                break times;
            }
            tokio::select! {
                biased;
                () = self.stopped() => return Err(Ended::cancelled()),
                changed = changes.changed() => if changed.is_err() { return Err(super::cloud::lost(channel, "its log is gone")) },
                () = clock.sleep_until(own.min(self.deadline)) => {}
            }
        };
        let intervals: Vec<f64> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
        let rounded: Vec<f64> = intervals.iter().map(|interval| (interval * 1000.0).round() / 1000.0).collect();
        let record = serde_json::json!({ "event": kind.word(), "intervals_s": rounded });
        let evidence = self.write(id, channel, &record.to_string());
        if intervals.len() < count as usize {
            if own > self.deadline {
                return Err(out_of_time());
            }
            // While its port was closed nobody could see what the device tried.
            if log.was_blind_since(started) {
                return Err(super::cloud::blind(channel));
            }
            let text = format!("{} {} at {channel}: {} are needed for {count} intervals", times.len(), kind.word(), count + 1);
            return Err(Ended::judged(
                Verdict::Inconclusive,
                if times.is_empty() { code::SILENT } else { code::UNEXPECTED },
                text,
            )
            .with(evidence));
        }
        let words: Vec<String> = rounded.iter().map(ToString::to_string).collect();
        self.values.set(save_as, words.join(" "));
        Ok(Passed { evidence, judged: false })
    }

    pub(super) async fn reconnect(&mut self, step: &ReconnectStep, id: &StepId) -> StepResult {
        match step {
            ReconnectStep::BackOff { intervals, jitter, noise, fail_as } => {
                let estimate = self.estimated(intervals, Span::from(*noise))?;
                self.back_off(&estimate, *jitter, fail_as, id)
            }
            ReconnectStep::Differ { of, noise, fail_as } => {
                let sequences: Vec<Vec<f64>> = of.iter().map(|one| self.intervals(one)).collect::<Result<_, _>>()?;
                differ(&sequences, Span::from(*noise), fail_as)
            }
            ReconnectStep::TimeTo { channel, pattern, within, save_as } => {
                self.time_to(channel, pattern, within, save_as, id).await
            }
            ReconnectStep::Phase { of, least, noise, fail_as } => {
                let times: Vec<Option<f64>> = of.iter().map(|one| self.time_of(one)).collect::<Result<_, _>>()?;
                let phase = phase(&times, Span::from(*noise), *least);
                let record = match phase {
                    Phase::Never { at_most } => serde_json::json!({ "times_s": times, "share_of_outages_at_most_95": at_most }),
                    Phase::Spread(width) | Phase::Locked(width) | Phase::Unclear { width, .. } => {
                        serde_json::json!({ "times_s": times, "spread": width })
                    }
                };
                let evidence = self.write(id, "restarts", &record.to_string());
                restarts(phase, *least, fail_as, evidence)
            }
            ReconnectStep::Fleet(step) => self.fleet(step, id).await,
        }
    }

    async fn time_to(&mut self, channel: &str, pattern: &Template, within: &Within, save_as: &str, id: &StepId) -> StepResult {
        let patterns = self.patterns(pattern, None)?;
        let allowed = values::span(within, &self.shared.device)?;
        let begun = self.shared.bench.clock.now();
        let cut_short = begun.after(allowed) > self.deadline;
        let (time, evidence) = match self.await_any(channel, &patterns, allowed).await? {
            Seen::Match { captures, evidence, .. } => {
                self.matched(id, channel, &patterns.sources[0], &captures, &evidence);
                let took = self.shared.bench.clock.now().since(begun);
                (format!("{:.3}", took.as_secs_f64()), vec![evidence])
            }
            Seen::Nothing { .. } if cut_short => return Err(out_of_time()),
            Seen::Nothing { evidence, .. } => (NONE.to_owned(), evidence),
        };
        self.values.set(save_as, time);
        Ok(Passed { evidence, judged: false })
    }

    fn time_of(&self, template: &Template) -> Result<Option<f64>, Ended> {
        let text = self.text(template)?;
        let number = text.parse().ok().filter(|time: &f64| time.is_finite() && *time >= 0.0);
        match (text == NONE, number) {
            (true, _) => Ok(None),
            (false, Some(time)) => Ok(Some(time)),
            (false, None) => Err(unjudged(format!("`{text}` is no time in seconds"))),
        }
    }

    fn intervals(&self, template: &Template) -> Result<Vec<f64>, Ended> {
        let text = self.text(template)?;
        let parsed: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
        parsed.map_err(|_| unjudged(format!("`{}` are no intervals in seconds", template.0)))
    }

    fn estimated(&self, template: &Template, noise: Span) -> Result<Estimate, Ended> {
        estimate(&self.intervals(template)?, noise).map_err(|error| unjudged(error.to_string()))
    }

    fn measured(&self, id: &StepId, name: &str, value: f64, unit: &str, limit: Limit, within: bool) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.shared.recorder.fact(Fact::Measured { step: id.clone(), name, value, unit, limit: Some(limit), within });
    }

    fn back_off(&self, estimate: &Estimate, least: Share, fail_as: &FailAs, id: &StepId) -> StepResult {
        let (width, least) = (&estimate.width, least.fraction());
        let limit = Limit { at_least: Some(least), at_most: None };
        self.measured(id, "jitter", width.observed, "1", limit, width.interval.low >= least);
        let text = format!(
            "{} intervals, {} of them at the longest delay, speak for `{}`: jitter {} (95 %: {} to {}), at least {} is wanted",
            estimate.intervals,
            width.intervals,
            estimate.law,
            percent(width.observed),
            percent(width.interval.low),
            percent(width.interval.high),
            percent(least),
        );
        if width.interval.low >= least {
            Ok(Passed { evidence: Vec::new(), judged: true })
        } else if width.interval.high < least {
            Err(failed(Some(fail_as), "", &text))
        } else {
            Err(unjudged(format!("{text}; measure more intervals")))
        }
    }

    async fn fleet(&mut self, step: &FleetStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let noise = Span::from(step.noise);
        let estimate = self.estimated(&step.intervals, noise)?;
        let span = |within: &Within| values::span(within, &shared.device).map(Span::from);
        let share = |template: &Template| -> Result<Share, Ended> {
            self.text(template)?.parse().map_err(|error: crate::fleet::ParseShareError| unjudged(error.to_string()))
        };
        let fleet = Fleet {
            devices: step.devices,
            outage: span(&step.outage)?,
            capacity: share(&step.capacity)?,
            noise,
            spread: step.spread.as_ref().map(span).transpose()?.unwrap_or_default(),
            seed: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let peak = step.peak.as_ref().map(share).transpose()?;
        let drain = step.drain.as_ref().map(span).transpose()?;
        let simulated = tokio::task::spawn_blocking(move || {
            let outcome = simulate(&estimate.law, &fleet)?;
            law_uncertainty(&estimate, noise, &fleet).map(|uncertainty| (estimate.law, outcome, uncertainty))
        });
        let (law, outcome, uncertainty) = self
            .bounded(simulated)
            .await?
            .map_err(|error| Ended::judged(Verdict::Error, code::BUG, format!("the simulation broke off: {error}")))?
            .map_err(|error| unjudged(error.to_string()))?;
        let seconds = |bound: Option<f64>| bound.unwrap_or(f64::INFINITY);
        let mut worst = Holds::Yes;
        let mut told = vec![format!("a fleet of {} devices under `{law}` after an outage of {}", step.devices, fleet.outage)];
        let drains = Range { low: seconds(uncertainty.served_99_s.0), high: seconds(uncertainty.served_99_s.1) };
        let limits = [
            peak.map(|limit| {
                ("peak", "1", limit.fraction(), limit.to_string(), outcome.all_attempts.share, uncertainty.all_attempts)
            }),
            drain.map(|limit| ("drain", "s", limit.duration().as_secs_f64(), limit.to_string(), outcome.drain(), drains)),
        ];
        for (name, unit, limit, written, figure, laws) in limits.into_iter().flatten() {
            let (low, high) = (figure.low.min(laws.low), figure.high.max(laws.high));
            let holds = Holds::at_most(limit, low, high);
            // The journal's numbers are finite: what is not served in the time that is simulated takes at least that time.
            let value = figure.value.min(HORIZON.duration().as_secs_f64());
            self.measured(id, name, value, unit, Limit { at_least: None, at_most: Some(limit) }, holds == Holds::Yes);
            let shown = |value: f64| if unit == "1" { percent(value) } else { format!("{value:.0} s") };
            told.push(format!(
                "{name} {} ({} to {}), at most {written} is allowed",
                shown(figure.value),
                shown(low),
                shown(high)
            ));
            worst = match (worst, holds) {
                (Holds::No, _) | (_, Holds::No) => Holds::No,
                (Holds::Undecided, _) | (_, Holds::Undecided) => Holds::Undecided,
                (Holds::Yes, Holds::Yes) => Holds::Yes,
            };
        }
        let text = told.join("; ");
        match worst {
            Holds::Yes => Ok(Passed { evidence: Vec::new(), judged: true }),
            Holds::No => Err(failed(Some(&step.fail_as), "", &text)),
            Holds::Undecided => Err(unjudged(format!("{text}: these intervals cannot decide it; measure more"))),
        }
    }
}

/// A device may start anew in an outage, at a time of its own.
fn restarts(phase: Phase, least: Share, fail_as: &FailAs, evidence: Vec<EvidenceRef>) -> StepResult {
    match phase {
        Phase::Never { .. } | Phase::Spread(_) => Ok(Passed { evidence, judged: true }),
        Phase::Locked(width) => {
            let text = format!(
                "the device starts anew in every outage, and its times vary by {}, at least {} is wanted",
                percent(width),
                percent(least.fraction())
            );
            Err(failed(Some(fail_as), "", &text).with(evidence))
        }
        Phase::Unclear { restarts, outages, width } => Err(unjudged(format!(
            "the device started anew in {restarts} of {outages} outages, at times that vary by {}: more or longer outages are needed to tell",
            percent(width)
        ))
        .with(evidence)),
    }
}

/// No two sequences may be the same.
fn differ(sequences: &[Vec<f64>], noise: Span, fail_as: &FailAs) -> StepResult {
    let mut unknown = None;
    for (index, one) in sequences.iter().enumerate() {
        for (further, other) in sequences.iter().enumerate().skip(index + 1) {
            let pair = format!("sequences {} and {}", index + 1, further + 1);
            match alike(one, other, noise) {
                Some(Alike::No) => {}
                Some(Alike::Yes) => {
                    let text = format!("{pair} are the same within {noise}: the device draws the same delays after every start");
                    return Err(failed(Some(fail_as), "", &text));
                }
                Some(Alike::Unknown) => unknown = Some(format!("{pair} vary too little to tell whether they are drawn anew")),
                None => unknown = Some(format!("{pair} are too short to tell")),
            }
        }
    }
    unknown.map_or_else(|| Ok(Passed { evidence: Vec::new(), judged: true }), |text| Err(unjudged(text)))
}
