//! Steps for the person at the bench.

use std::sync::Arc;

use super::{
    desk::LONGEST_PROMPT,
    execute::{Executor, Passed, StepResult, failed, out_of_time},
    outcome::{Ended, code},
    values,
};
use crate::{
    channel::{
        link::Proof,
        operator::{Answer, Ask as _, CANNOT, DONE, Question, Unanswered},
    },
    event::{StepId, Verdict, Witness},
    step::prompt::PromptStep,
};

impl Executor {
    pub(super) async fn prompt(&mut self, step: &PromptStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let allowed = values::span(&step.within, &shared.device)?.min(LONGEST_PROMPT);
        let left = self.deadline.since(shared.bench.clock.now());
        let something_to_do = step.choices.is_empty() && !step.free;
        let choices = if something_to_do { vec![DONE.to_owned(), CANNOT.to_owned()] } else { step.choices.clone() };
        let question = Question {
            text: self.text(&step.text)?,
            picture: step.picture.clone(),
            choices,
            free: step.free,
            within: allowed.min(left),
        };
        // What the device says while somebody acts on it counts.
        self.mark_all();
        let text = question.text.clone();
        let answered = self.bounded(shared.desk.ask(question, Some(id.as_str().to_owned()))).await?;
        let Answer { text: answer, by } = match answered {
            Ok(answer) => answer,
            Err(Unanswered(_)) if left < allowed && shared.bench.clock.now() >= self.deadline => return Err(out_of_time()),
            Err(Unanswered(why)) if step.goes_on => {
                return Ok(self.stimulus(Proof::None(format!("an answer to `{text}`: {why}")), id));
            }
            Err(Unanswered(why)) => {
                return Err(Ended::judged(Verdict::Inconclusive, code::OPERATOR, format!("`{text}`: {why}")));
            }
        };
        if let Some(name) = &step.save_as {
            self.values.set(name, answer.clone());
        }
        let said = format!("operator {by} answered `{answer}` to `{text}`");
        if something_to_do {
            if answer == CANNOT {
                return Err(Ended::fault(said));
            }
            let what = format!("operator {by} confirmed: {text}");
            return Ok(self.stimulus(Proof::Seen(Witness { what, evidence: None }), id));
        }
        self.stimulus(Proof::Seen(Witness { what: said.clone(), evidence: None }), id);
        if step.fail.contains(&answer) {
            return Err(failed(step.fail_as.as_ref(), code::UNEXPECTED, &said));
        }
        if step.pass.is_empty() && step.fail.is_empty() {
            return Ok(Passed::default());
        }
        // With bad answers only, every other one leaves it open, as the document says.
        if step.pass.contains(&answer) {
            return Ok(Passed { evidence: Vec::new(), judged: true });
        }
        Err(Ended::judged(Verdict::Inconclusive, code::OPERATOR, said))
    }
}
