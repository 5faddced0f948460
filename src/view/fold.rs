//! How each fact changes the view.
//!
//! The fold is total: facts may be missing (a journal that lost its tail) or strange (one that somebody wrote by hand), and are then
//! taken for what they say. An event that was seen already changes nothing, so a replay may overlap with a live view.

use super::{
    Attempt, BadCut, CaseState, CaseView, CutsView, Fault, Finish, Measurement, RunView, StepView,
    cuts::MOST_BAD,
    run::{Channel, case_name},
};
use crate::event::{CaseId, Event, Fact, Nanos, StepId};

/// Faults, and facts of one kind in one step, that are kept for display. The journal has them all.
const MOST: usize = 1000;

fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MOST {
        list.push(item);
    }
}

impl RunView {
    /// Takes the next event.
    pub fn apply(&mut self, event: &Event) {
        if event.seq < self.seen {
            return;
        }
        self.seen = event.seq.saturating_add(1);
        self.at = self.at.max(event.at);
        let at = event.at;
        match &event.fact {
            Fact::RunStarted(header) => {
                for (id, title) in &header.cases {
                    self.case(id).title.clone_from(title);
                }
                self.header = Some((**header).clone());
            }
            Fact::RunFinished { verdict, reason, wall_ms } => {
                self.finish = Some(Finish { verdict: *verdict, reason: reason.clone(), wall_ms: *wall_ms });
                self.current.clear();
            }
            Fact::BenchFault { channel, what } => {
                keep(&mut self.faults, Fault { channel: channel.clone(), what: what.clone(), at });
            }
            Fact::StopRequested { level, by } => {
                if self.stop.as_ref().is_none_or(|(before, _)| level > before) {
                    self.stop = Some((*level, by.clone()));
                }
            }
            Fact::SafeStateStarted => self.safe_state.started = true,
            Fact::SafeStateAction { channel, problem, .. } => {
                if let Some(problem) = problem {
                    keep(&mut self.safe_state.problems, (channel.clone(), problem.clone()));
                }
            }
            Fact::SafeStateFinished { ok, by } => self.safe_state.finished = Some((*ok, by.clone())),
            Fact::CaseStarted { case, title, assesses } => {
                let case = self.case(case);
                case.title.clone_from(title);
                case.assesses.clone_from(assesses);
                case.state = CaseState::Running;
                case.started = Some(at);
            }
            Fact::CaseSkipped { case, why } => self.case(case).state = CaseState::Skipped(why.clone()),
            Fact::CaseFinished { case, verdict, reason, step } => {
                let case = self.case(case);
                case.state = CaseState::Finished { verdict: *verdict, reason: reason.clone(), step: step.clone() };
                case.ended = Some(at);
            }
            fact => {
                self.channel_fact(fact);
                self.step_fact(fact, at);
            }
        }
    }

    fn channel_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::LeaseTaken { instrument, .. } => keep(&mut self.leases, instrument.clone()),
            Fact::ChannelOpened { channel, identity } | Fact::ChannelReopened { channel, identity } => {
                let channel = self.channels.entry(channel.clone()).or_default();
                channel.identity.clone_from(identity);
                channel.lost = None;
            }
            Fact::ChannelLost { channel, why } => self.channels.entry(channel.clone()).or_default().lost = Some(why.clone()),
            Fact::Acting { channel, act, .. } => self.last_act = Some((channel.clone(), act.clone())),
            Fact::Sent { channel, len, .. } => self.count(channel, |channel| &mut channel.sent, *len),
            Fact::Received { channel, len, .. } => self.count(channel, |channel| &mut channel.received, *len),
            Fact::Gap { channel, .. } => self.count(channel, |channel| &mut channel.gaps, 1),
            _ => {}
        }
    }

    fn count(&mut self, channel: &crate::event::ChannelName, of: impl Fn(&mut Channel) -> &mut u64, more: u64) {
        // The usual case first: no allocation for each piece of traffic.
        if !self.channels.contains_key(channel) {
            self.channels.insert(channel.clone(), Channel::default());
        }
        if let Some(channel) = self.channels.get_mut(channel) {
            let count = of(channel);
            *count = count.saturating_add(more);
        }
    }

    fn step_fact(&mut self, fact: &Fact, at: Nanos) {
        match fact {
            Fact::StepStarted { step, text, deadline } => {
                self.current.retain(|running| running != step);
                self.current.push(step.clone());
                let view = self.step(step);
                // A further attempt of a retried step begins it again; its failed attempts stay.
                let attempts = std::mem::take(&mut view.attempts);
                *view = StepView::new(step.clone(), text.clone(), at, *deadline);
                view.attempts = attempts;
            }
            Fact::AttemptFailed { step, attempt, of, reason } => {
                let attempt = Attempt { attempt: *attempt, of: *of, reason: reason.clone() };
                keep(&mut self.step(step).attempts, attempt);
            }
            Fact::StepFinished { step, verdict, reason, evidence } => {
                self.current.retain(|running| running != step);
                let view = self.step(step);
                view.verdict = Some(*verdict);
                view.reason.clone_from(reason);
                view.evidence.clone_from(evidence);
                view.ended = Some(at);
            }
            Fact::Matched { step, channel, pattern, evidence, .. } => {
                keep(&mut self.step(step).matched, (channel.clone(), pattern.clone(), evidence.clone()));
            }
            Fact::Measured { step, name, value, unit, limit, within } => {
                let measurement =
                    Measurement { name: name.clone(), value: *value, unit: unit.clone(), limit: *limit, within: *within };
                keep(&mut self.step(step).measured, measurement);
            }
            Fact::Witnessed { step, witness } => keep(&mut self.step(step).witnesses, witness.clone()),
            Fact::Unwitnessed { step, missing } => keep(&mut self.step(step).unwitnessed, missing.clone()),
            Fact::CutBaseline { step, operations, points } => {
                let cuts = self.cuts(step);
                cuts.operations = *operations;
                cuts.points = *points;
            }
            Fact::CutsJudged { step, outcomes, .. } => {
                let cuts = self.cuts(step);
                for (outcome, n) in outcomes {
                    let count = cuts.outcomes.entry(*outcome).or_default();
                    *count = count.saturating_add(u64::from(*n));
                }
            }
            Fact::CutFailed { step, point, outcome, evidence, reproduce } => {
                let cuts = self.cuts(step);
                cuts.told = cuts.told.saturating_add(1);
                if cuts.bad.len() < MOST_BAD {
                    let (point, outcome) = (*point, *outcome);
                    cuts.bad.push(BadCut { point, outcome, evidence: evidence.clone(), reproduce: reproduce.clone() });
                }
            }
            Fact::CutsFinished { step, judged, of, bad, upper_95 } => {
                self.cuts(step).result = Some((*judged, *of, *bad, *upper_95));
            }
            _ => {}
        }
    }

    fn case(&mut self, id: &CaseId) -> &mut CaseView {
        let index = self.cases.iter().position(|case| !case.is_section && case.id.as_ref() == Some(id)).unwrap_or_else(|| {
            self.cases.push(CaseView { id: Some(id.clone()), ..CaseView::default() });
            self.cases.len() - 1
        });
        &mut self.cases[index]
    }

    fn step(&mut self, id: &StepId) -> &mut StepView {
        let name = case_name(id);
        // The case that is running is nearly always the last one that began, so look from the end.
        let index = self.cases.iter().rposition(|case| case.name() == name).unwrap_or_else(|| {
            self.cases.push(CaseView {
                id: Some(name.into()),
                is_section: true,
                state: CaseState::Running,
                ..CaseView::default()
            });
            self.cases.len() - 1
        });
        let at = self.at;
        let steps = &mut self.cases[index].steps;
        let index = steps.iter().rposition(|step| step.id == *id).unwrap_or_else(|| {
            steps.push(StepView::new(id.clone(), String::new(), at, at));
            steps.len() - 1
        });
        &mut steps[index]
    }

    fn cuts(&mut self, step: &StepId) -> &mut CutsView {
        self.step(step).cuts.get_or_insert_with(CutsView::default)
    }
}
