//! How each fact changes the view.
//!
//! The fold is total: facts may be missing (a journal that lost its tail) or strange (one that somebody wrote by hand), and are then
//! taken for what they say. An event that was seen already changes nothing, so a replay may overlap with a live view.

use super::{
    Attempt, BadCut, CaseState, CaseView, CutMap, CutsView, Fault, Finish, Measurement, RunView, StepView,
    cuts::MOST_BAD,
    run::{Channel, Last, Prompt, PromptOutcome, SafeAction, case_name},
};
use crate::event::{Act, CaseId, ChannelName, Event, Fact, Nanos, StepId};

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
            Fact::Prompted { prompt, step, text, picture, choices, free, within_ms } => {
                let prompt = Prompt {
                    number: *prompt,
                    step: step.clone(),
                    text: text.clone(),
                    picture: picture.clone(),
                    choices: choices.clone(),
                    free: *free,
                    asked: at,
                    within_ms: *within_ms,
                    outcome: None,
                };
                keep(&mut self.prompts, prompt);
            }
            Fact::Answered { prompt, answer, by } => {
                self.settle(*prompt, PromptOutcome::Answered(answer.clone(), by.clone()));
            }
            Fact::Unanswered { prompt, why } => self.settle(*prompt, PromptOutcome::Unanswered(why.clone())),
            Fact::BenchFault { channel, what } => {
                keep(&mut self.faults, Fault { channel: channel.clone(), what: what.clone(), at });
            }
            Fact::StopRequested { level, by } => {
                if self.stop.as_ref().is_none_or(|(before, _)| level > before) {
                    self.stop = Some((*level, by.clone()));
                }
            }
            Fact::SafeStateStarted => self.safe_state.started = true,
            Fact::SafeStateAction { channel, act, problem, witness } => {
                if let Some(problem) = problem {
                    keep(&mut self.safe_state.problems, (channel.clone(), problem.clone()));
                } else {
                    self.switched(channel, act);
                }
                let read_back = witness.as_ref().map(|witness| witness.what.clone());
                let (channel, act, problem) = (channel.clone(), act.clone(), problem.clone());
                keep(&mut self.safe_state.actions, SafeAction { channel, act, problem, read_back });
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
                self.channel_fact(fact, at);
                self.step_fact(fact, at);
            }
        }
    }

    fn settle(&mut self, number: u32, outcome: PromptOutcome) {
        if let Some(prompt) = self.prompts.iter_mut().rfind(|prompt| prompt.number == number) {
            prompt.outcome = Some(outcome);
        }
    }

    fn channel_fact(&mut self, fact: &Fact, at: Nanos) {
        match fact {
            Fact::LeaseTaken { instrument, .. } => keep(&mut self.leases, instrument.clone()),
            Fact::ChannelOpened { channel, identity } => self.opened(channel, identity, at, Last::Opened),
            Fact::ChannelReopened { channel, identity } => self.opened(channel, identity, at, Last::Reopened),
            Fact::ChannelLost { channel, why } => self.on(channel, |channel| {
                channel.lost = Some(why.clone());
                channel.last = Some((at, Last::Lost));
            }),
            Fact::Acting { channel, act, .. } => {
                self.last_act = Some((channel.clone(), act.clone()));
                self.switched(channel, act);
                self.on(channel, |channel| channel.last = Some((at, Last::Acted(act.clone()))));
            }
            Fact::Sent { channel, len, .. } => self.on(channel, |channel| {
                channel.sent = channel.sent.saturating_add(*len);
                channel.last = Some((at, Last::Sent(*len)));
            }),
            Fact::Received { channel, len, .. } => self.on(channel, |channel| {
                channel.received = channel.received.saturating_add(*len);
                channel.last = Some((at, Last::Received(*len)));
            }),
            Fact::Gap { channel, .. } => self.on(channel, |channel| {
                channel.gaps = channel.gaps.saturating_add(1);
                channel.last = Some((at, Last::Gap));
            }),
            Fact::Matched { channel, pattern, .. } => {
                self.on(channel, |channel| channel.last = Some((at, Last::Matched(pattern.clone()))));
            }
            Fact::Observed { channel, what, .. } => {
                self.on(channel, |channel| channel.last = Some((at, Last::Observed(what.clone()))));
            }
            _ => {}
        }
    }

    fn opened(&mut self, name: &ChannelName, identity: &String, at: Nanos, how: Last) {
        self.on(name, |channel| {
            channel.identity.clone_from(identity);
            channel.lost = None;
            channel.last = Some((at, how));
        });
    }

    /// Changes a channel. The usual case first: no allocation for each piece of traffic.
    fn on(&mut self, name: &ChannelName, change: impl FnOnce(&mut Channel)) {
        if let Some(channel) = self.channels.get_mut(name) {
            change(channel);
            return;
        }
        change(self.channels.entry(name.clone()).or_default());
    }

    fn switched(&mut self, name: &ChannelName, act: &Act) {
        match act {
            Act::Power(up) => self.on(name, |channel| channel.power = Some(*up)),
            Act::Press(pressed) => self.on(name, |channel| channel.pressed = Some(*pressed)),
            Act::Network { what } => self.on(name, |channel| channel.network = Some(what.clone())),
            Act::Flash { .. } | Act::Reset | Act::Exchange { .. } | Act::ReadMemory { .. } => {}
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
                cuts.map = CutMap::new(*points);
            }
            Fact::CutsJudged { step, first, outcomes } => {
                let cuts = self.cuts(step);
                cuts.map.note(*first, outcomes);
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
